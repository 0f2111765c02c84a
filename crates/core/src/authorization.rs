//! What a consumer asks for and a person grants: one element of `authorization_details` (RFC 9396), in a closed
//! schema.

use serde::{Deserialize, Serialize};

use crate::{
    DatatypeRev, DemarcheId, DossierRef, HabilitationId, Handle, LegalBasis, Micros, ParticipantId, Period,
    SubjectKind, UnitName,
};

/// The most elements that one request may hold.
pub const MAX_ELEMENTS: usize = 8;

/// One element: some units of one datatype at one producer, for one démarche and file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetails {
    /// Always [`DetailsType`].
    #[serde(rename = "type")]
    pub kind: DetailsType,
    /// The one datatype.
    pub datatypes: [DatatypeRev; 1],
    /// The units asked for, or granted.
    pub units: Vec<UnitRequest>,
    /// The period; the datatype's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The one operator whose node answers.
    pub locations: [ParticipantId; 1],
    /// Always `fetch`.
    pub actions: [Action; 1],
    /// For which démarche.
    pub demarche: DemarcheId,
    /// By which right.
    pub habilitation: HabilitationId,
    /// For which file.
    pub dossier_ref: DossierRef,
    /// On which legal ground.
    pub legal_basis: LegalBasis,
    /// Once or standing.
    pub mode: Mode,
    /// Whether the consumer keeps what it gets.
    #[serde(rename = "use")]
    pub usage: Use,
    /// How long the consumer keeps it, in days.
    pub data_life_days: u16,
    /// Who it is about.
    pub subject: Subject,
    /// The handle, in what the token endpoint answers and tokens carry; never in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gh: Option<Handle>,
}

impl AuthorizationDetails {
    /// The datatype asked for.
    pub const fn datatype(&self) -> &DatatypeRev {
        &self.datatypes[0]
    }

    /// The operator whose node answers.
    pub const fn operator(&self) -> &ParticipantId {
        &self.locations[0]
    }
}

/// The type of our elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DetailsType {
    /// `urn:unefois:justificatif:1`.
    #[serde(rename = "urn:unefois:justificatif:1")]
    Justificatif1,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Fetch an attestation.
    #[serde(rename = "fetch")]
    Fetch,
}

/// One grant unit and whether the démarche can do without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRequest {
    /// The unit's name in its datatype.
    pub unit: UnitName,
    /// Required or optional.
    pub need: Need,
}

/// Whether a unit may be unticked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// The démarche cannot do without it.
    Required,
    /// The person may leave it out; it is not ticked beforehand.
    Optional,
}

/// How often a handle serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// Once or standing.
    pub kind: ModeKind,
    /// For a standing handle: how many times in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u32>,
    /// For a standing handle: the least time between two fetches, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval_s: Option<u32>,
    /// For a standing handle: an end earlier than the grant's, which the person chose; never in a request.
    #[serde(default, rename = "until_us", skip_serializing_if = "Option::is_none")]
    pub until: Option<Micros>,
}

impl Mode {
    /// When the handle ends, in a grant that ends then: earlier where the person chose so.
    pub fn ends_at(&self, grant: Micros) -> Micros {
        self.until.map_or(grant, |until| until.min(grant))
    }
}

/// Once or standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeKind {
    /// One-shot.
    Once,
    /// Until it ends or is withdrawn.
    Standing,
}

/// What the consumer does with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Looks at it.
    View,
    /// Keeps it for `data_life_days`.
    Store,
}

/// Who the attestation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The kind.
    pub kind: SubjectKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENT: &str = r#"{"type":"urn:unefois:justificatif:1","datatypes":["cnaf/quotient-familial@1"],
        "units":[{"unit":"valeur","need":"required"}],"locations":["urn:unefois:participant:18003506500010"],
        "actions":["fetch"],"demarche":"cantine","habilitation":"DP-1","dossier_ref":"2026-0412",
        "legal_basis":"CRPA-L114-8-I","mode":{"kind":"once"},"use":"store","data_life_days":365,
        "subject":{"kind":"self"}}"#;

    #[test]
    fn the_schema_is_closed() {
        for (from, to) in [
            (r#""actions":["fetch"]"#, r#""actions":["fetch"],"extra":1"#),
            (r#"["fetch"]"#, r#"["delete"]"#),
            (
                r#"["cnaf/quotient-familial@1"]"#,
                r#"["cnaf/quotient-familial@1","mesr/statut-etudiant@1"]"#,
            ),
            ("justificatif:1", "justificatif:2"),
            ("\"need\":\"required\"", "\"need\":\"maybe\""),
            ("CRPA-L114-8-I", "SDG-14"),
            ("2026-0412", "2026 0412"),
        ] {
            let changed = ELEMENT.replace(from, to);
            assert_ne!(changed, ELEMENT);
            assert!(
                serde_json::from_str::<AuthorizationDetails>(&changed).is_err(),
                "{to}"
            );
        }
        let details: AuthorizationDetails = serde_json::from_str(ELEMENT).unwrap();
        assert_eq!(details.operator().siren().as_str(), "180035065");
    }
}
