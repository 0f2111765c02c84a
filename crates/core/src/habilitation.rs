//! The right to ask, and the three who sign it: whoever asks, whoever answers, and the authority.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::digest::hex;
use crate::directory::rfc3339;
use crate::{DatatypeRev, DemarcheId, HabilitationId, LegalBasis, Micros, ParticipantId, Sha256, UnitName};

/// The right of one consumer to ask one producer for some units of some datatypes, for one démarche. It counts while
/// the directory carries it, signed by three, and between its two dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Habilitation {
    /// Its number; one given elsewhere, such as DataPass's, will do.
    pub id: HabilitationId,
    /// Who may ask.
    pub consumer: ParticipantId,
    /// Who may ask in the consumer's name; it alone, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<ParticipantId>,
    /// The operator that answers.
    pub producer: ParticipantId,
    /// The authority that signs it: it counts in the directory of no other.
    pub authority: ParticipantId,
    /// For which démarche.
    pub demarche: DemarcheId,
    /// What that démarche is, as the three sign it: [`Catalogue::demarche_sha256`].
    #[serde(with = "hex")]
    pub demarche_sha256: Sha256,
    /// What may be asked.
    pub datatypes: Vec<HabilitatedDatatype>,
    /// On which legal grounds.
    pub legal_bases: Vec<LegalBasis>,
    /// How many fetches a year were foreseen; more of them raises a question, not a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_per_year: Option<u32>,
    /// From when.
    #[serde(with = "rfc3339")]
    pub not_before: Micros,
    /// Until when, excluded.
    #[serde(with = "rfc3339")]
    pub not_after: Micros,
}

/// The units of one datatype that a habilitation covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HabilitatedDatatype {
    /// The datatype.
    pub datatype: DatatypeRev,
    /// Its units.
    pub units: BTreeSet<UnitName>,
    /// What these names mean, as the three sign it: [`Datatype::sheet_sha256`](crate::catalogue::Datatype::sheet_sha256).
    #[serde(with = "hex")]
    pub sheet_sha256: Sha256,
}

/// In which capacity a habilitation is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignerRole {
    /// Whoever may ask.
    Consumer,
    /// Whoever answers.
    Producer,
    /// The authority.
    Authority,
}

impl SignerRole {
    /// All three, in the order in which they sign.
    pub const ALL: [Self; 3] = [Self::Consumer, Self::Producer, Self::Authority];

    /// The word in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Producer => "producer",
            Self::Authority => "authority",
        }
    }
}

impl fmt::Display for SignerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What each of the three signs: this very habilitation, in this capacity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HabilitationStatement {
    /// [`Habilitation::hash`].
    #[serde(with = "hex")]
    pub habilitation: Sha256,
    /// In which capacity.
    pub role: SignerRole,
}

/// The signatures of a habilitation, each a compact JWS over a [`HabilitationStatement`]; nothing here is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HabilitationSignatures {
    /// The consumer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// The producer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// The authority's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl HabilitationSignatures {
    /// The signature given in this capacity.
    pub fn of(&self, role: SignerRole) -> Option<&str> {
        match role {
            SignerRole::Consumer => self.consumer.as_deref(),
            SignerRole::Producer => self.producer.as_deref(),
            SignerRole::Authority => self.authority.as_deref(),
        }
    }

    /// Puts a signature in its place.
    pub fn set(&mut self, role: SignerRole, jws: String) {
        let place = match role {
            SignerRole::Consumer => &mut self.consumer,
            SignerRole::Producer => &mut self.producer,
            SignerRole::Authority => &mut self.authority,
        };
        *place = Some(jws);
    }
}

/// A habilitation with what was signed of it so far, as files and the directory carry it; nothing here is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HabilitationRow {
    /// What it allows.
    pub habilitation: Habilitation,
    /// Who has signed; the directory takes it with all three alone.
    #[serde(default)]
    pub signatures: HabilitationSignatures,
}

/// A habilitation whose three signatures were verified, each with a key of its signer's row.
///
/// That the authority wrote the producer's row is why a producer asks for more: [`signed_by`](Self::signed_by) one of the
/// keys that its own configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHabilitation {
    habilitation: Habilitation,
    hash: Sha256,
    producer_kid: String,
}

impl SignedHabilitation {
    /// To be called by whoever has just verified the signatures of all three over `habilitation`, the producer's with
    /// the key of the thumbprint `producer_kid`: crate `jose`. For anyone else to call it is to lie.
    pub fn checked(habilitation: Habilitation, producer_kid: String) -> Self {
        Self {
            hash: habilitation.hash(),
            habilitation,
            producer_kid,
        }
    }

    /// What it allows.
    pub const fn habilitation(&self) -> &Habilitation {
        &self.habilitation
    }

    /// [`Habilitation::hash`].
    pub const fn hash(&self) -> &Sha256 {
        &self.hash
    }

    /// Whether the producer's signature is by one of these keys, named by their thumbprints (RFC 7638).
    pub fn signed_by(&self, keys: &[String]) -> bool {
        keys.contains(&self.producer_kid)
    }
}

impl HabilitatedDatatype {
    /// Whether `catalogue` says of the datatype what the three signed.
    pub fn described_by(&self, catalogue: &Catalogue) -> bool {
        let datatype = catalogue.datatype(&self.datatype);
        datatype.is_some_and(|datatype| *datatype.sheet_sha256() == self.sheet_sha256)
    }
}

impl Habilitation {
    /// SHA-256 of its canonical form, which any two programs write alike: JSON by RFC 8785, units in the order of their
    /// names, instants in UTC with six decimals, nothing for what is absent.
    pub fn hash(&self) -> Sha256 {
        let value = serde_json::to_value(self).expect("every member has a form in JSON");
        Sha256::of(crate::catalogue::canonical(&value).to_string().as_bytes())
    }

    /// Who signs it in this capacity.
    pub const fn party(&self, role: SignerRole) -> ParticipantId {
        match role {
            SignerRole::Consumer => self.consumer,
            SignerRole::Producer => self.producer,
            SignerRole::Authority => self.authority,
        }
    }

    /// Whether `now` lies between its dates.
    pub fn in_force(&self, now: Micros) -> bool {
        (self.not_before..self.not_after).contains(&now)
    }

    /// What it covers of a datatype; `None` if nothing.
    pub fn datatype(&self, datatype: &DatatypeRev) -> Option<&HabilitatedDatatype> {
        self.datatypes.iter().find(|d| d.datatype == *datatype)
    }

    /// The units that may be asked of a datatype; `None` if it is not covered.
    pub fn units(&self, datatype: &DatatypeRev) -> Option<&BTreeSet<UnitName>> {
        self.datatype(datatype).map(|d| &d.units)
    }

    /// Takes its digests from `catalogue`, before anybody signs; of what the catalogue does not have they stay.
    pub fn describe(&mut self, catalogue: &Catalogue) {
        if let Some(digest) = catalogue.demarche_sha256(&self.demarche) {
            self.demarche_sha256 = *digest;
        }
        for covered in &mut self.datatypes {
            if let Some(datatype) = catalogue.datatype(&covered.datatype) {
                covered.sheet_sha256 = *datatype.sheet_sha256();
            }
        }
    }

    /// The members of which `catalogue` says something else than what the three signed: `demarche`, `datatypes[0]`.
    pub fn changed_in(&self, catalogue: &Catalogue) -> Vec<String> {
        let demarche = (!self.demarche_described_by(catalogue)).then(|| "demarche".to_owned());
        let changed = |(n, covered): (usize, &HabilitatedDatatype)| {
            (!covered.described_by(catalogue)).then(|| format!("datatypes[{n}]"))
        };
        let datatypes = self.datatypes.iter().enumerate().filter_map(changed);
        demarche.into_iter().chain(datatypes).collect()
    }

    /// Whether `catalogue` says of the démarche what the three signed.
    pub fn demarche_described_by(&self, catalogue: &Catalogue) -> bool {
        catalogue.demarche_sha256(&self.demarche) == Some(&self.demarche_sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"id":"DP-1","consumer":"urn:unefois:participant:21920023500014",
        "producer":"urn:unefois:participant:18003506500010",
        "authority":"urn:unefois:participant:11004301500012","demarche":"cantine",
        "demarche_sha256":"1111111111111111111111111111111111111111111111111111111111111111",
        "datatypes":[{"datatype":"cnaf/quotient-familial@1","units":["valeur","composition"],
        "sheet_sha256":"2222222222222222222222222222222222222222222222222222222222222222"}],
        "legal_bases":["CRPA-L114-8-I"],"not_before":"2026-01-01T00:00:00Z","not_after":"2028-01-01T00:00:00Z"}"#;

    fn hash(text: &str) -> Sha256 {
        serde_json::from_str::<Habilitation>(text).unwrap().hash()
    }

    #[test]
    fn the_hash_is_of_the_canonical_json_and_of_all_of_it() {
        // RFC 8785 by hand: members in order, no white space.
        let canonical = r#"{"authority":"urn:unefois:participant:11004301500012","consumer":"urn:unefois:participant:21920023500014","datatypes":[{"datatype":"cnaf/quotient-familial@1","sheet_sha256":"2222222222222222222222222222222222222222222222222222222222222222","units":["composition","valeur"]}],"demarche":"cantine","demarche_sha256":"1111111111111111111111111111111111111111111111111111111111111111","id":"DP-1","legal_bases":["CRPA-L114-8-I"],"not_after":"2028-01-01T00:00:00.000000Z","not_before":"2026-01-01T00:00:00.000000Z","producer":"urn:unefois:participant:18003506500010"}"#;
        assert_eq!(hash(TEXT), Sha256::of(canonical.as_bytes()));
        assert_eq!(
            hash(TEXT),
            hash(&TEXT.replace(r#""valeur","composition""#, r#""composition","valeur""#))
        );
        for (from, to) in [
            ("DP-1", "DP-2"),
            (r#""valeur","#, ""),
            ("quotient-familial@1", "quotient-familial@2"),
            ("cantine", "bourse"),
            ("CRPA-L114-8-I", "RGPD-6-1-a"),
            ("2028-01-01", "2029-01-01"),
            ("2026-01-01", "2025-01-01"),
            (r#""demarche""#, r#""volume_per_year":9,"demarche""#),
            (
                r#""demarche""#,
                r#""publisher":"urn:unefois:participant:13002526500013","demarche""#,
            ),
            ("21920023500014", "13002526500013"),
            ("11004301500012", "13002526500013"),
            ("1111111111", "1111111112"),
            ("2222222222", "2222222223"),
        ] {
            let changed = TEXT.replace(from, to);
            assert_ne!(changed, TEXT, "{from}");
            assert_ne!(hash(&changed), hash(TEXT), "{to}");
        }
    }
}
