//! A question about one person, asked of one participant's ledger by two auditors: one signed text.
//!
//! ```text
//! unefois/subject-request/v1
//! participant urn:unefois:participant:18003506500010
//! person MTIzNA
//! motive réclamation 2026-0412
//! issued 2026-11-29T10:00:00.000000Z
//! nonce q83vEjRWeJCrze8SNFZ4kA
//!
//! — MFkwEwYH… sfVnDXPp…
//! — MFkwEwYH… 8bK3lQ2a…
//! ```
//! Each signature line holds a P-256 key (DER SubjectPublicKeyInfo) and its ES256 signature, r then s, over everything
//! up to the empty line, in base64url. The nonce, 16 random bytes, keeps the hash of the text, which a ledger records,
//! from being guessed by whoever tries one person after another.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::{Micros, ParticipantId, Sha256, is_hidden};

/// The longest request, in bytes.
pub const MAX_BYTES: usize = 4_096;
/// The longest motive, in bytes.
pub const MAX_MOTIVE_BYTES: usize = 512;
/// How long a request may be used, in milliseconds.
pub const VALID_MS: i64 = 3_600_000;
/// How far the clocks of those who sign may be ahead, in milliseconds.
const AHEAD_MS: i64 = 60_000;
const MAX_PERSON_BYTES: usize = 512;
const TITLE: &str = "unefois/subject-request/v1";
const MARK: &str = "— ";
/// The DER of a P-256 SubjectPublicKeyInfo before its uncompressed point.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// What two auditors ask, before anybody signs it.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectQuestion {
    /// Whose ledger is asked.
    pub participant: ParticipantId,
    /// The person as the ledger's index knows them: the source's own id, or the canonical pivot.
    pub person: Vec<u8>,
    /// Why, in one line.
    pub motive: String,
    /// When the first of the two wrote it.
    pub issued: Micros,
    /// Random bytes, new for each request.
    pub nonce: [u8; 16],
}

/// The text of a question with the signatures under it, none of them checked.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectRequest {
    question: SubjectQuestion,
    body: String,
    signatures: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why a person is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubjectRequest {
    /// It is not such a text, or some part of it is too long, empty, or written in another way.
    #[error("the request is malformed at: {0}")]
    Malformed(&'static str),
    /// It has one signature, or none.
    #[error("the request is signed by fewer than two persons")]
    OnePerson,
    /// Two signatures are of one key, or of two keys of one auditor.
    #[error("the request is signed twice by the same person")]
    SamePerson,
    /// A key that the directory names for no auditor.
    #[error("the request is signed by a key that is no auditor's")]
    UnknownKey,
    /// The text was changed after it was signed, or another key signed it.
    #[error("a signature of the request does not verify")]
    Signature,
    /// It is older than an hour, or dated ahead.
    #[error("the request is out of its time: it may be used for one hour")]
    Expired,
    /// It is meant for another ledger.
    #[error("the request is meant for another participant")]
    OtherParticipant,
    /// Whoever sends it is neither of the two.
    #[error("the request is sent by neither of those who signed it")]
    Sender,
}

impl fmt::Debug for SubjectQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectQuestion(…)")
    }
}

impl fmt::Debug for SubjectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectRequest(…)")
    }
}

impl SubjectQuestion {
    /// The request, still without a signature.
    ///
    /// # Errors
    /// [`InvalidSubjectRequest::Malformed`] for a motive or a person that is empty, too long, or not in one line.
    pub fn request(self) -> Result<SubjectRequest, InvalidSubjectRequest> {
        if !is_motive(&self.motive) {
            return Err(InvalidSubjectRequest::Malformed("motive"));
        }
        let body = format!(
            "{TITLE}\nparticipant {}\nperson {}\nmotive {}\nissued {}\nnonce {}\n",
            self.participant,
            URL_SAFE_NO_PAD.encode(&self.person),
            self.motive,
            self.issued,
            URL_SAFE_NO_PAD.encode(self.nonce),
        );
        format!("{body}\n").parse()
    }
}

impl SubjectRequest {
    /// What is asked.
    pub const fn question(&self) -> &SubjectQuestion {
        &self.question
    }

    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// SHA-256 of the keys that signed, as the directory names them.
    pub fn keys(&self) -> Vec<Sha256> {
        self.signatures.iter().map(|(spki, _)| Sha256::of(spki)).collect()
    }

    /// Adds the signature of `spki` over [`Self::signed_bytes`].
    ///
    /// # Errors
    /// [`InvalidSubjectRequest::Signature`], [`InvalidSubjectRequest::SamePerson`] if the key has signed already.
    pub fn sign(&mut self, spki: Vec<u8>, signature: Vec<u8>) -> Result<(), InvalidSubjectRequest> {
        if self.signatures.iter().any(|(key, _)| *key == spki) {
            return Err(InvalidSubjectRequest::SamePerson);
        }
        verify(&spki, self.signed_bytes(), &signature)?;
        self.signatures.push((spki, signature));
        Ok(())
    }

    /// Checks that two auditors ask this of `participant`, now, and that `sender` is one of them; their keys.
    /// `auditor` gives the name of the auditor whose key has this hash.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(
        &self,
        participant: &ParticipantId,
        sender: &Sha256,
        now: Micros,
        auditor: impl Fn(&Sha256) -> Option<String>,
    ) -> Result<[Sha256; 2], InvalidSubjectRequest> {
        let keys: [Sha256; 2] = match self.keys()[..] {
            [one, two] => [one, two],
            [] | [_] => return Err(InvalidSubjectRequest::OnePerson),
            [_, _, ..] => return Err(InvalidSubjectRequest::Malformed("signatures")),
        };
        let name = |key| auditor(key).ok_or(InvalidSubjectRequest::UnknownKey);
        if keys[0] == keys[1] || name(&keys[0])? == name(&keys[1])? {
            return Err(InvalidSubjectRequest::SamePerson);
        }
        for (spki, signature) in &self.signatures {
            verify(spki, self.signed_bytes(), signature)?;
        }
        let age_ms = now.ms_since(self.question.issued);
        match () {
            () if !(-AHEAD_MS..VALID_MS).contains(&age_ms) => Err(InvalidSubjectRequest::Expired),
            () if self.question.participant != *participant => Err(InvalidSubjectRequest::OtherParticipant),
            () if !keys.contains(sender) => Err(InvalidSubjectRequest::Sender),
            () => Ok(keys),
        }
    }
}

impl FromStr for SubjectRequest {
    type Err = InvalidSubjectRequest;

    fn from_str(text: &str) -> Result<Self, InvalidSubjectRequest> {
        use InvalidSubjectRequest::Malformed;
        if text.len() > MAX_BYTES {
            return Err(Malformed("length"));
        }
        let (body, tail) = text.split_once("\n\n").ok_or(Malformed("end of the text"))?;
        let mut lines = body.split('\n');
        if lines.next() != Some(TITLE) {
            return Err(Malformed("title"));
        }
        let mut field = |name: &'static str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.and_then(|value| value.strip_prefix(' '))
                .ok_or(Malformed(name))
        };
        let participant = field("participant")?
            .parse()
            .map_err(|_| Malformed("participant"))?;
        let person = decode(field("person")?, "person")?;
        let motive = field("motive")?;
        let issued: Micros = field("issued")?.parse().map_err(|_| Malformed("issued"))?;
        let nonce = decode(field("nonce")?, "nonce")?;
        let nonce = nonce.try_into().map_err(|_| Malformed("nonce"))?;
        if person.is_empty() || person.len() > MAX_PERSON_BYTES {
            return Err(Malformed("person"));
        }
        if !is_motive(motive) {
            return Err(Malformed("motive"));
        }
        if lines.next().is_some() {
            return Err(Malformed("end of the text"));
        }
        let question = SubjectQuestion {
            participant,
            person,
            motive: motive.to_owned(),
            issued,
            nonce,
        };
        let mut signatures = Vec::new();
        for line in tail.lines() {
            let line = line.strip_prefix(MARK).and_then(|line| line.split_once(' '));
            let (key, signature) = line.ok_or(Malformed("signatures"))?;
            signatures.push((decode(key, "signatures")?, decode(signature, "signatures")?));
        }
        Ok(Self {
            question,
            body: format!("{body}\n"),
            signatures,
        })
    }
}

impl fmt::Display for SubjectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.body)?;
        for (spki, signature) in &self.signatures {
            let (spki, signature) = (URL_SAFE_NO_PAD.encode(spki), URL_SAFE_NO_PAD.encode(signature));
            writeln!(f, "{MARK}{spki} {signature}")?;
        }
        Ok(())
    }
}

/// Whether a text says why, in one line: 1 to 512 bytes, not blank, no character that does not
/// show ([`is_hidden`]).
pub fn is_motive(text: &str) -> bool {
    (1..=MAX_MOTIVE_BYTES).contains(&text.len()) && !text.chars().any(is_hidden) && !text.trim().is_empty()
}

fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, InvalidSubjectRequest> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| InvalidSubjectRequest::Malformed(what))
}

fn verify(spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSubjectRequest> {
    let point = spki
        .strip_prefix(&SPKI_PREFIX)
        .ok_or(InvalidSubjectRequest::Signature)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(message, signature)
        .map_err(|_| InvalidSubjectRequest::Signature)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

    use super::*;

    struct Auditor {
        pair: EcdsaKeyPair,
        rng: SystemRandom,
    }

    impl Auditor {
        #[expect(clippy::disallowed_methods, reason = "a key for this test")]
        fn new() -> Self {
            let rng = SystemRandom::new();
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap();
            Self { pair, rng }
        }

        fn spki(&self) -> Vec<u8> {
            [SPKI_PREFIX.as_slice(), self.pair.public_key().as_ref()].concat()
        }

        fn key(&self) -> Sha256 {
            Sha256::of(&self.spki())
        }

        fn sign(&self, request: &mut SubjectRequest) -> Result<(), InvalidSubjectRequest> {
            let signature = self.pair.sign(&self.rng, request.signed_bytes()).unwrap();
            request.sign(self.spki(), signature.as_ref().to_vec())
        }
    }

    const ISSUED: Micros = Micros::new(1_795_512_305_000_000);

    fn participant() -> ParticipantId {
        "urn:unefois:participant:18003506500010".parse().unwrap()
    }

    fn question() -> SubjectQuestion {
        SubjectQuestion {
            participant: participant(),
            person: b"1234".to_vec(),
            motive: "réclamation 2026-0412".to_owned(),
            issued: ISSUED,
            nonce: [7; 16],
        }
    }

    fn signed(by: &[&Auditor]) -> SubjectRequest {
        let mut request = question().request().unwrap();
        for auditor in by {
            auditor.sign(&mut request).unwrap();
        }
        request.to_string().parse().unwrap()
    }

    #[test]
    fn one_person_is_not_two() {
        let (one, two, stranger) = (Auditor::new(), Auditor::new(), Auditor::new());
        let second_key = Auditor::new();
        let name = |key: &Sha256| match key {
            key if *key == one.key() || *key == second_key.key() => Some("cnil-1".to_owned()),
            key if *key == two.key() => Some("cnil-2".to_owned()),
            _ => None,
        };
        let check = |request: &SubjectRequest| request.check(&participant(), &one.key(), ISSUED, name);
        assert_eq!(check(&signed(&[])), Err(InvalidSubjectRequest::OnePerson));
        assert_eq!(check(&signed(&[&one])), Err(InvalidSubjectRequest::OnePerson));
        assert_eq!(
            one.sign(&mut signed(&[&one])),
            Err(InvalidSubjectRequest::SamePerson)
        );
        let text = signed(&[&one]).to_string();
        let line = text.lines().last().unwrap();
        let twice: SubjectRequest = format!("{text}{line}\n").parse().unwrap();
        assert_eq!(check(&twice), Err(InvalidSubjectRequest::SamePerson));
        assert_eq!(
            check(&signed(&[&one, &second_key])),
            Err(InvalidSubjectRequest::SamePerson)
        );
        assert_eq!(
            check(&signed(&[&one, &stranger])),
            Err(InvalidSubjectRequest::UnknownKey)
        );
        let three = signed(&[&one, &two, &second_key]);
        assert_eq!(check(&three), Err(InvalidSubjectRequest::Malformed("signatures")));
        assert_eq!(check(&signed(&[&one, &two])), Ok([one.key(), two.key()]));
    }

    #[test]
    fn what_was_changed_late_or_meant_for_others_is_refused() {
        let (one, two) = (Auditor::new(), Auditor::new());
        let name = |key: &Sha256| Some(key.to_string());
        let good = signed(&[&one, &two]);
        let check = |request: &SubjectRequest, at| request.check(&participant(), &two.key(), at, name);
        for (from, to) in [
            ("2026-0412", "2026-0413"),
            ("MTIzNA", "MTIzNQ"),
            ("05.000000Z", "05.000001Z"),
            ("nonce Bw", "nonce Cw"),
            ("18003506500010", "21920023500014"),
        ] {
            assert!(good.to_string().contains(from), "{from}");
            let changed: SubjectRequest = good.to_string().replacen(from, to, 1).parse().unwrap();
            assert_eq!(
                check(&changed, ISSUED),
                Err(InvalidSubjectRequest::Signature),
                "{from}"
            );
        }
        for at in [ISSUED.plus_ms(VALID_MS), ISSUED.plus_ms(-AHEAD_MS - 1)] {
            assert_eq!(check(&good, at), Err(InvalidSubjectRequest::Expired));
        }
        let other: ParticipantId = "urn:unefois:participant:21920023500014".parse().unwrap();
        let elsewhere = good.check(&other, &two.key(), ISSUED, name);
        assert_eq!(elsewhere, Err(InvalidSubjectRequest::OtherParticipant));
        let sender = good.check(&participant(), &Sha256::of(b"third"), ISSUED, name);
        assert_eq!(sender, Err(InvalidSubjectRequest::Sender));
        assert!(check(&good, ISSUED.plus_ms(VALID_MS - 1)).is_ok());
    }

    #[test]
    fn a_request_has_one_reading() {
        for motive in [
            "",
            " ",
            "a\nb",
            "a\u{7f}",
            "a\u{9b}2J",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}",
        ] {
            let question = SubjectQuestion {
                motive: motive.to_owned(),
                ..question()
            };
            assert_eq!(
                question.request(),
                Err(InvalidSubjectRequest::Malformed("motive")),
                "{motive:?}"
            );
        }
        let text = question().request().unwrap().to_string();
        let long = SubjectQuestion {
            motive: "m".repeat(513),
            ..question()
        };
        assert!(long.request().is_err());
        for odd in [
            String::new(),
            text.replace("/v1", "/v2"),
            text.replace("motive", "reason"),
            text.replace("person MTIzNA", "person "),
            text.replace("nonce BwcHBwcHBwcHBwcHBwcHBw\n", ""),
            text.replace("nonce BwcHBwcHBwcHBwcHBwcHBw", "nonce BwcHBwcHBwcHBwcHBwcH"),
            text.replace("issued", "extra x\nissued"),
            text.replace("\n\n", "\nextra x\n\n"),
            format!("{text}no mark\n"),
            format!("{text}— a b c\n"),
            format!("{text}{}", " ".repeat(MAX_BYTES)),
        ] {
            assert!(odd.parse::<SubjectRequest>().is_err(), "{odd}");
        }
        assert_eq!(text.parse::<SubjectRequest>().unwrap().question(), &question());
        assert_eq!(format!("{:?}", question()), "SubjectQuestion(…)");
    }
}
