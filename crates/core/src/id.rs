use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Micros, Siren, Siret};

/// The text is not an identifier of the kind asked for; the message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

impl InvalidId {
    /// An error whose message is `form`: what a valid text looks like.
    pub const fn new(form: &'static str) -> Self {
        Self(form)
    }
}

/// A participating body, `urn:unefois:participant:<SIRET>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ParticipantId(Siret);

impl ParticipantId {
    const PREFIX: &'static str = "urn:unefois:participant:";

    /// The participant whose head office, or establishment, has this SIRET.
    pub const fn new(siret: Siret) -> Self {
        Self(siret)
    }

    /// Its SIRET.
    pub const fn siret(&self) -> Siret {
        self.0
    }

    /// Its SIREN.
    pub fn siren(&self) -> Siren {
        self.0.siren()
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.0)
    }
}

impl FromStr for ParticipantId {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let siret = s.strip_prefix(Self::PREFIX).and_then(|siret| siret.parse().ok());
        siret
            .map(Self)
            .ok_or(InvalidId("a participant is urn:unefois:participant: and a SIRET"))
    }
}

/// A datatype of the catalogue, `cnaf/quotient-familial`: the producer's short name and the datatype's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DatatypeId(String);

/// One revision of a datatype, `cnaf/quotient-familial@1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DatatypeRev {
    id: DatatypeId,
    revision: u16,
}

impl DatatypeRev {
    /// Revision `revision` of `id`.
    pub const fn new(id: DatatypeId, revision: u16) -> Self {
        Self { id, revision }
    }

    /// The datatype, of whatever revision.
    pub const fn id(&self) -> &DatatypeId {
        &self.id
    }

    /// The revision, from 1.
    pub const fn revision(&self) -> u16 {
        self.revision
    }

    /// The type of its attestations (claim `vct`), `urn:unefois:cnaf/quotient-familial@1`.
    pub fn vct(&self) -> String {
        format!("urn:unefois:{self}")
    }
}

/// The name of a grant unit, unique in its datatype: `valeur`, `composition`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct UnitName(String);

/// A démarche of the catalogue: `cantine`, `bourse`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DemarcheId(String);

/// The short name of a body whose data it is, as the catalogue writes it: `cnaf`, `msa`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HolderId(String);

/// The number of a habilitation, chosen by whoever drew it up (a DataPass number is fine): up to 64 characters of
/// `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HabilitationId(String);

/// The consumer's own name for the person's file, opaque to everyone else: 1 to 64 printable ASCII characters
/// without space. It may point at a person, so it never enters a log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DossierRef(String);

fn slug(s: &str, max: usize) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let (first, last) = (s.bytes().next(), s.bytes().last());
    let inner = s
        .bytes()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_');
    s.len() <= max && inner && edge(first) && edge(last)
}

impl FromStr for DatatypeId {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let valid = s
            .split_once('/')
            .is_some_and(|(producer, name)| slug(producer, 32) && slug(name, 64));
        valid
            .then(|| Self(s.to_owned()))
            .ok_or(InvalidId("a datatype is producer/name in lower case"))
    }
}

impl FromStr for DatatypeRev {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        const FORM: InvalidId =
            InvalidId("a revision of a datatype is producer/name@number, the number from 1");
        let (id, revision) = s.split_once('@').ok_or(FORM)?;
        // One spelling only: no sign, no leading zero.
        if !revision.bytes().all(|c| c.is_ascii_digit()) || revision.starts_with('0') {
            return Err(FORM);
        }
        Ok(Self {
            id: id.parse()?,
            revision: revision.parse().map_err(|_| FORM)?,
        })
    }
}

impl FromStr for UnitName {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        slug(s, 32)
            .then(|| Self(s.to_owned()))
            .ok_or(InvalidId("a unit is a name in lower case, up to 32 characters"))
    }
}

impl FromStr for HolderId {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        slug(s, 32)
            .then(|| Self(s.to_owned()))
            .ok_or(InvalidId("a holder is a short name in lower case"))
    }
}

impl FromStr for DemarcheId {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        slug(s, 64)
            .then(|| Self(s.to_owned()))
            .ok_or(InvalidId("a démarche is a name in lower case"))
    }
}

impl FromStr for HabilitationId {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let valid = (1..=64).contains(&s.len())
            && s.bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
        valid
            .then(|| Self(s.to_owned()))
            .ok_or(InvalidId("a habilitation is 1 to 64 of A-Z a-z 0-9 . _ -"))
    }
}

impl FromStr for DossierRef {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let valid = (1..=64).contains(&s.len()) && s.bytes().all(|c| c.is_ascii_graphic());
        valid
            .then(|| Self(s.to_owned()))
            .ok_or(InvalidId("a dossier is 1 to 64 printable ASCII characters"))
    }
}

impl fmt::Display for DatatypeRev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

macro_rules! display_of_string {
    ($($type:ty),*) => { $(
        impl $type {
            /// The identifier as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}
display_of_string!(
    DatatypeId,
    UnitName,
    DemarcheId,
    HolderId,
    HabilitationId,
    DossierRef
);

macro_rules! serde_as_text {
    ($($type:ty),*) => { $(
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidId;

            fn try_from(s: String) -> Result<Self, InvalidId> {
                s.parse()
            }
        }
    )* };
}
serde_as_text!(
    ParticipantId,
    DatatypeId,
    DatatypeRev,
    UnitName,
    DemarcheId,
    HolderId,
    HabilitationId,
    DossierRef
);

macro_rules! debug_as_text {
    ($($type:ty),*) => { $(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )* };
}
debug_as_text!(
    ParticipantId,
    DatatypeId,
    DatatypeRev,
    UnitName,
    DemarcheId,
    HolderId,
    HabilitationId
);

impl fmt::Debug for DossierRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DossierRef(…)")
    }
}

/// The name of one exchange at both ends: the request id that the consumer drew, a UUID version 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ExchangeId(Uuid);

impl ExchangeId {
    pub(crate) const fn from_v7(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The UUID.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// When it was drawn, by the consumer's clock, to the millisecond (RFC 9562, 5.7).
    pub fn drawn_at(&self) -> Micros {
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        let ms = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Micros::new(ms.saturating_mul(1_000))
    }
}

impl TryFrom<Uuid> for ExchangeId {
    type Error = InvalidId;

    fn try_from(uuid: Uuid) -> Result<Self, InvalidId> {
        let v7 = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
        v7.then_some(Self(uuid))
            .ok_or(InvalidId("a request id is a UUID version 7"))
    }
}

impl FromStr for ExchangeId {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        const FORM: InvalidId = InvalidId("a request id is a UUID version 7, hyphenated, in lower case");
        let uuid = Uuid::try_parse(s).map_err(|_| FORM)?;
        let id = Self::try_from(uuid)?;
        // One spelling only, so that one exchange has one name.
        (id.to_string() == s).then_some(id).ok_or(FORM)
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExchangeId(…)")
    }
}
serde_as_text!(ExchangeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_says_when_it_was_drawn() {
        let id: ExchangeId = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
        assert_eq!(id.drawn_at().to_rfc3339(), "2024-06-14T10:14:09.300000Z");
    }

    #[test]
    fn one_spelling_of_a_revision() {
        for text in [
            "cnaf/qf",
            "cnaf/qf@",
            "cnaf/qf@0",
            "cnaf/qf@01",
            "cnaf/qf@+1",
            "cnaf/qf@65536",
            "Cnaf/qf@1",
            "/qf@1",
        ] {
            assert!(text.parse::<DatatypeRev>().is_err(), "{text}");
        }
        let rev: DatatypeRev = "cnaf/quotient-familial@1".parse().unwrap();
        assert_eq!(rev.vct(), "urn:unefois:cnaf/quotient-familial@1");
    }

    #[test]
    fn a_request_id_is_v7_in_one_spelling() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "0190163d-8694-4f3c-9c5e-000000000000",
            "0190163D-8694-739b-aea5-966c26f8ad91",
            "0190163d8694739baea5966c26f8ad91",
            "{0190163d-8694-739b-aea5-966c26f8ad91}",
        ] {
            assert!(text.parse::<ExchangeId>().is_err(), "{text}");
        }
        assert!(
            "0190163d-8694-739b-aea5-966c26f8ad91"
                .parse::<ExchangeId>()
                .is_ok()
        );
    }

    #[test]
    fn names_hold_no_markup_and_no_homograph() {
        for text in ["", "-a", "a-", "a b", "а", "a<b", "../x", &"a".repeat(33)] {
            assert!(text.parse::<UnitName>().is_err(), "{text}");
        }
        for text in ["", "a b", "é", "a\u{202e}b", &"x".repeat(65)] {
            assert!(text.parse::<DossierRef>().is_err(), "{text}");
        }
        assert!(
            "urn:unefois:participant:13000495500014"
                .parse::<ParticipantId>()
                .is_ok()
        );
        assert!(
            "urn:unefois:participant:13000495500015"
                .parse::<ParticipantId>()
                .is_err()
        );
    }
}
