//! Checkpoints and cosignatures.

use unefois_tlog::{
    Checkpoint, Cosignature, Cosigner, Error, Hash, KeyName, MAX_TREE_SIZE, Note, Origin, SignedCheckpoint,
    SignerKey,
};

const ORIGIN: &str = "urn:unefois:participant:12000101100010/1";

fn key(origin: &str) -> SignerKey {
    SignerKey::new(origin.parse().unwrap(), &[1; 32])
}

fn witness() -> Cosigner {
    Cosigner::new("witness.example/w1".parse().unwrap(), &[2; 32])
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN.parse().unwrap(), 20_852_163, Hash::of_leaf(b"root")).unwrap()
}

fn signed() -> SignedCheckpoint {
    checkpoint().sign(&key(ORIGIN)).unwrap()
}

/// The refusal of a checkpoint whose text is `text`, though its log signed it.
fn refusal(text: &str) -> Error {
    let note = Note::sign(text, &key(ORIGIN)).unwrap();
    SignedCheckpoint::parse(note.as_str().as_bytes()).unwrap_err()
}

#[test]
fn malformed_checkpoints_are_refused_each_for_its_reason() {
    let root = Hash::of_leaf(b"root");
    for (text, why) in [
        (format!("{ORIGIN}\n"), Error::CheckpointLines),
        (format!("{ORIGIN}\n1\n"), Error::CheckpointLines),
        (format!("\n1\n{root}\n"), Error::Origin),
        (format!("{}\n1\n{root}\n", "o".repeat(256)), Error::Origin),
        (format!("{ORIGIN}\n\n{root}\n"), Error::CheckpointSize),
        (format!("{ORIGIN}\n01\n{root}\n"), Error::CheckpointSize),
        (format!("{ORIGIN}\n+1\n{root}\n"), Error::CheckpointSize),
        (format!("{ORIGIN}\n-1\n{root}\n"), Error::CheckpointSize),
        (format!("{ORIGIN}\n1 \n{root}\n"), Error::CheckpointSize),
        (format!("{ORIGIN}\n0x1\n{root}\n"), Error::CheckpointSize),
        (
            format!("{ORIGIN}\n18446744073709551616\n{root}\n"),
            Error::CheckpointSize,
        ),
        (
            format!("{ORIGIN}\n{}\n{root}\n", MAX_TREE_SIZE + 1),
            Error::TreeTooLarge,
        ),
        (format!("{ORIGIN}\n1\nAAAA\n"), Error::CheckpointRoot),
        (format!("{ORIGIN}\n1\n{root} \n"), Error::CheckpointRoot),
        (format!("{ORIGIN}\n1\n{root}\n\n"), Error::CheckpointExtension),
        (
            format!("{ORIGIN}\n1\n{root}\na\n\nb\n"),
            Error::CheckpointExtension,
        ),
    ] {
        assert_eq!(refusal(&text), why, "{text}");
    }
}

#[test]
fn the_key_of_another_log_is_refused() {
    let other = key("urn:unefois:participant:12000101100010/2");
    let mismatch = Error::OriginMismatch(other.verifier().name().clone());
    assert_eq!(checkpoint().sign(&other).unwrap_err(), mismatch);
    assert_eq!(signed().verify(other.verifier()).unwrap_err(), mismatch);

    // Signed all the same, by a log that takes another's name.
    let stolen = Note::sign(&checkpoint().to_string(), &other).unwrap();
    let stolen = SignedCheckpoint::parse(stolen.as_str().as_bytes()).unwrap();
    assert_eq!(stolen.verify(other.verifier()).unwrap_err(), mismatch);
    let own = key(ORIGIN);
    assert_eq!(
        stolen.verify(own.verifier()).unwrap_err(),
        Error::NotSignedBy {
            name: own.verifier().name().clone(),
            id: own.verifier().id()
        }
    );
}

#[test]
fn a_checkpoint_with_any_byte_changed_is_refused() {
    let (text, key) = (signed().to_string(), key(ORIGIN));
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let read =
            SignedCheckpoint::parse(&changed).and_then(|signed| signed.verify(key.verifier()).map(drop));
        assert!(read.is_err(), "byte {at}");
    }
}

#[test]
fn extension_lines_are_signed_and_checked() {
    for wrong in ["", "a\nb", "a\r"] {
        assert_eq!(
            checkpoint().with_extension(wrong),
            Err(Error::CheckpointExtension)
        );
    }
    let extended = checkpoint()
        .with_extension("first line")
        .unwrap()
        .with_extension("second")
        .unwrap();
    let text = extended.clone().sign(&key(ORIGIN)).unwrap().to_string();
    let read = SignedCheckpoint::parse(text.as_bytes()).unwrap();
    assert_eq!(read.verify(key(ORIGIN).verifier()), Ok(&extended));
    assert_eq!(extended.extensions(), ["first line", "second"]);

    let without = SignedCheckpoint::parse(text.replace("second\n", "").as_bytes()).unwrap();
    assert!(matches!(
        without.verify(key(ORIGIN).verifier()),
        Err(Error::SignatureInvalid { .. })
    ));
}

#[test]
fn a_checkpoint_is_read_back_as_it_was() {
    let signed = signed();
    assert_eq!(
        checkpoint().to_string(),
        format!("{ORIGIN}\n20852163\n{}\n", Hash::of_leaf(b"root"))
    );
    let read = SignedCheckpoint::parse(signed.as_str().as_bytes()).unwrap();
    assert_eq!(read, signed);
    assert_eq!(read.claimed_origin().as_str(), ORIGIN);
    assert_eq!(read.verify(key(ORIGIN).verifier()), Ok(&checkpoint()));
    assert_eq!(
        Checkpoint::new(ORIGIN.parse().unwrap(), MAX_TREE_SIZE + 1, Hash::EMPTY),
        Err(Error::TreeTooLarge)
    );
}

#[test]
fn an_origin_that_cannot_name_a_key_is_refused_as_one() {
    for origin in ["go.sum database tree", "a+b"] {
        assert_eq!(
            KeyName::try_from(&origin.parse::<Origin>().unwrap()),
            Err(Error::KeyName)
        );
    }
    for wrong in ["", "a\nb", "a\tb", "a\u{7f}"] {
        assert_eq!(wrong.parse::<Origin>(), Err(Error::Origin));
    }
}

#[test]
fn forged_cosignatures_are_refused() {
    let witness = witness();
    let mut cosigned = signed();
    let absent = Error::NotSignedBy {
        name: witness.verifier().name().clone(),
        id: witness.verifier().id(),
    };
    assert_eq!(cosigned.cosigned_at_s(witness.verifier()), Err(absent.clone()));
    let line = Cosignature::sign(&cosigned, &witness, 1_679_315_147).unwrap();
    cosigned.add(line.clone()).unwrap();

    let invalid = Error::SignatureInvalid {
        name: witness.verifier().name().clone(),
        id: witness.verifier().id(),
    };
    for at in 0..line.signature.len() {
        let mut forged = line.clone();
        forged.signature[at] ^= 1;
        let mut checkpoint = signed();
        checkpoint.add(forged).unwrap();
        assert_eq!(
            checkpoint.cosigned_at_s(witness.verifier()),
            Err(invalid.clone()),
            "byte {at}"
        );
    }
    // Moved to another head of the same log.
    let mut later = Checkpoint::new(ORIGIN.parse().unwrap(), 20_852_164, Hash::EMPTY)
        .unwrap()
        .sign(&key(ORIGIN))
        .unwrap();
    later.add(line.clone()).unwrap();
    assert_eq!(later.cosigned_at_s(witness.verifier()), Err(invalid));
    // A key of the same name that is not the witness's.
    let other = Cosigner::new(witness.verifier().name().clone(), &[3; 32]);
    assert!(matches!(
        cosigned.cosigned_at_s(other.verifier()),
        Err(Error::NotSignedBy { .. })
    ));

    for bytes in [0, 8, 64, 71, 73] {
        assert_eq!(
            Cosignature::from_bytes(&vec![0; bytes]),
            Err(Error::CosignatureLength(bytes))
        );
    }
    assert_eq!(Cosignature::from_bytes(&[0x80; 72]), Err(Error::CosignatureTime));
    assert_eq!(
        Cosignature::sign(&cosigned, &witness, u64::MAX).unwrap_err(),
        Error::CosignatureTime
    );
}

#[test]
fn a_log_signature_is_no_cosignature_of_the_same_key() {
    let log = key(ORIGIN);
    let same = Cosigner::new(ORIGIN.parse().unwrap(), &[1; 32]);
    assert_eq!(same.verifier().as_bytes(), log.verifier().as_bytes());
    assert!(matches!(
        signed().cosigned_at_s(same.verifier()),
        Err(Error::NotSignedBy { .. })
    ));
}

#[test]
fn a_cosignature_is_a_line_of_the_checkpoint() {
    let witness = witness();
    let mut cosigned = signed();
    cosigned
        .add(Cosignature::sign(&cosigned, &witness, 1_679_315_147).unwrap())
        .unwrap();
    let read = SignedCheckpoint::parse(cosigned.as_str().as_bytes()).unwrap();
    assert_eq!(read.cosigned_at_s(witness.verifier()), Ok(1_679_315_147));
    assert_eq!(read.verify(key(ORIGIN).verifier()), Ok(&checkpoint()));
    let line = &read.note().signatures()[1];
    assert_eq!(
        Cosignature::from_bytes(&line.signature).unwrap().to_bytes()[..],
        line.signature
    );
}

/// A line of a public witness, as in `note/note_cosigv1_test.go` of github.com/transparency-dev/formats.
#[test]
fn the_time_of_a_known_cosignature() {
    let note = format!(
        "{}\n— witness.example ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA==\n",
        checkpoint()
    );
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    let cosignature = Cosignature::from_bytes(&signed.note().signatures()[0].signature).unwrap();
    assert_eq!(cosignature.at_s, 1_727_964_367);
}
