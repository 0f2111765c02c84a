//! What a log sends to a witness, and what it gets back (C2SP tlog-witness, « add-checkpoint »).

use std::fmt;

use crate::{CosignerKey, Error, Hash, MAX_NOTE_BYTES, NoteSignature, SignedCheckpoint, decimal};

/// The most hashes of a consistency proof that a witness reads.
pub const MAX_WITNESS_HASHES: usize = 63;
/// The largest request to a witness: its size line, its hashes, its checkpoint.
pub const MAX_ADD_CHECKPOINT_BYTES: usize = MAX_NOTE_BYTES + 4 * 1024;

/// The content type of the size that a witness holds, told with 409 Conflict.
pub const TLOG_SIZE: &str = "text/x.tlog.size";

/// A head for a witness to cosign, with the proof that it continues the one that the witness holds; displayed, the
/// body of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the head that the witness is thought to hold; 0 if it holds none.
    pub old_size: u64,
    /// The consistency proof between the two sizes.
    pub proof: Vec<Hash>,
    /// The head, which nobody has verified.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Reads the body of a request; of the proof and of the signatures, only the form is checked.
    ///
    /// # Errors
    /// [`Error::AddCheckpoint`] for its size line, its end or its length; [`Error::ProofTooLong`]; [`Error::HashText`];
    /// those of [`SignedCheckpoint::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_ADD_CHECKPOINT_BYTES {
            return Err(Error::AddCheckpoint);
        }
        let body = std::str::from_utf8(bytes).map_err(|_| Error::NoteNotUtf8)?;
        // No line of the proof is empty, so the first empty line ends it.
        let (head, checkpoint) = body.split_once("\n\n").ok_or(Error::AddCheckpoint)?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| decimal(line.strip_prefix("old ")?))
            .ok_or(Error::AddCheckpoint)?;
        let count = lines.clone().count();
        if count > MAX_WITNESS_HASHES {
            return Err(Error::ProofTooLong(count));
        }
        Ok(Self {
            old_size,
            proof: lines.map(str::parse).collect::<Result<_, _>>()?,
            checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())?,
        })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl SignedCheckpoint {
    /// The cosignature of `key` among the signature lines that a witness answered with, and when it was made, in
    /// seconds since 1970. Lines of other keys are ignored.
    ///
    /// # Errors
    /// Those of [`SignedCheckpoint::parse`] and [`SignedCheckpoint::cosigned_at_s`].
    pub fn cosigned_by(&self, lines: &str, key: &CosignerKey) -> Result<(NoteSignature, u64), Error> {
        let cosigned = Self::parse([self.as_str(), lines].concat().as_bytes())?;
        // The lines must not have become text: what is cosigned is this checkpoint.
        if cosigned.note().text() != self.note().text() {
            return Err(Error::SignatureLine);
        }
        let at_s = cosigned.cosigned_at_s(key)?;
        let mut of_key = (cosigned.note().signatures().iter())
            .filter(|line| line.id == key.id() && line.name == *key.name());
        let line = of_key.next_back().cloned().ok_or_else(|| Error::NotSignedBy {
            name: key.name().clone(),
            id: key.id(),
        })?;
        Ok((line, at_s))
    }
}

/// Reads the size that a witness holds, as it tells it with 409 Conflict.
///
/// # Errors
/// [`Error::CheckpointSize`].
pub fn held_size(body: &str) -> Result<u64, Error> {
    body.strip_suffix('\n')
        .and_then(decimal)
        .ok_or(Error::CheckpointSize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cosignature, Cosigner};

    /// The example request of C2SP tlog-witness.
    const EXAMPLE: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";
    /// The cosignature of the example checkpoint of C2SP tlog-cosignature, over the same head.
    const LINE: &str = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    #[test]
    fn malformed_requests_are_refused_each_for_its_reason() {
        let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=";
        let (_, checkpoint) = EXAMPLE.split_once("\n\n").unwrap();
        let with = |head: &str| format!("{head}\n\n{checkpoint}");
        let hashes = |count: usize| with(&format!("old 1{}", format!("\n{hash}").repeat(count)));
        for (body, refusal) in [
            (String::new(), Error::AddCheckpoint),
            (checkpoint.to_owned(), Error::AddCheckpoint),
            (with(""), Error::AddCheckpoint),
            (with("old"), Error::AddCheckpoint),
            (with("old "), Error::AddCheckpoint),
            (with("old -1"), Error::AddCheckpoint),
            (with("old +1"), Error::AddCheckpoint),
            (with("old 01"), Error::AddCheckpoint),
            (with("old 0x1"), Error::AddCheckpoint),
            (with(" old 1"), Error::AddCheckpoint),
            (with("old 1 "), Error::AddCheckpoint),
            (with("old 1\r"), Error::AddCheckpoint),
            (with("old  1"), Error::AddCheckpoint),
            (with("OLD 1"), Error::AddCheckpoint),
            (with("old 18446744073709551616"), Error::AddCheckpoint),
            (format!("old 1\n{hash}\n{checkpoint}"), Error::HashText),
            (with("old 1\nabc"), Error::HashText),
            (with(&format!("old 1\n{hash} ")), Error::HashText),
            (hashes(64), Error::ProofTooLong(64)),
            (hashes(2_000), Error::ProofTooLong(2_000)),
            ("old 1\n\n".to_owned(), Error::NoteUnterminated),
            ("x".repeat(MAX_ADD_CHECKPOINT_BYTES + 1), Error::AddCheckpoint),
        ] {
            assert_eq!(AddCheckpoint::parse(body.as_bytes()), Err(refusal), "{body:.60}");
        }
        assert_eq!(AddCheckpoint::parse(b"old 1\n\n\xff"), Err(Error::NoteNotUtf8));
        assert_eq!(
            AddCheckpoint::parse(hashes(63).as_bytes()).unwrap().proof.len(),
            63
        );
    }

    #[test]
    fn a_request_cut_anywhere_is_refused() {
        let whole = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
        for end in 0..EXAMPLE.len() {
            // One signature fewer is a checkpoint still.
            match AddCheckpoint::parse(&EXAMPLE.as_bytes()[..end]) {
                Ok(cut) => assert_eq!(cut.checkpoint.note().signatures().len(), 1, "at {end}"),
                Err(_) => assert!(end < EXAMPLE.len()),
            }
        }
        assert_eq!(whole.checkpoint.note().signatures().len(), 2);
    }

    #[test]
    fn the_example_is_read_and_written_back() {
        let request = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((request.old_size, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.to_string(), EXAMPLE);
        let first = AddCheckpoint {
            old_size: 0,
            proof: Vec::new(),
            checkpoint: request.checkpoint,
        };
        assert_eq!(AddCheckpoint::parse(first.to_string().as_bytes()), Ok(first));
    }

    #[test]
    fn only_the_witness_asked_for_has_cosigned() {
        let checkpoint = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap().checkpoint;
        let witness = Cosigner::new("witness.example.com/w1".parse().unwrap(), &[7; 32]);
        let key = witness.verifier();
        // The example's line bears the witness's name, and the id of another key.
        for lines in ["", LINE, &LINE.repeat(3)] {
            let refusal = Err(Error::NotSignedBy {
                name: key.name().clone(),
                id: key.id(),
            });
            assert_eq!(checkpoint.cosigned_by(lines, key), refusal, "{lines:?}");
        }
        for lines in ["x", "\n", "\n\nx\n", "— \n", &LINE.repeat(40)] {
            assert!(checkpoint.cosigned_by(lines, key).is_err(), "{lines:?}");
        }
        let line = Cosignature::sign(&checkpoint, &witness, 1_795_512_305).unwrap();
        let mut forged = line.clone();
        forged.signature[71] ^= 1;
        let invalid = Err(Error::SignatureInvalid {
            name: key.name().clone(),
            id: key.id(),
        });
        assert_eq!(checkpoint.cosigned_by(&format!("{forged}\n"), key), invalid);
        // A head of the same log that goes on after the signatures is another text.
        let moved = format!("{line}\n\n{line}\n");
        assert!(checkpoint.cosigned_by(&moved, key).is_err());

        let answer = format!("{LINE}{line}\n");
        assert_eq!(checkpoint.cosigned_by(&answer, key), Ok((line, 1_795_512_305)));
    }

    #[test]
    fn a_size_held_is_one_decimal_line() {
        for body in [
            "",
            "\n",
            "1",
            "01\n",
            "-1\n",
            "1\n\n",
            " 1\n",
            "18446744073709551616\n",
        ] {
            assert_eq!(held_size(body), Err(Error::CheckpointSize), "{body:?}");
        }
        assert_eq!(held_size("20852014\n"), Ok(20_852_014));
    }
}
