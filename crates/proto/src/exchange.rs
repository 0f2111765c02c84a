use unefois_core::commitment::AnswerForm;
use unefois_core::{
    DatatypeRev, DemarcheId, DossierRef, ExchangeId, FetchCore, Handle, Period, Sha256, UnitName,
};

use crate::InvalidMessage;
use crate::invalid::Check;
use crate::pb::exchange::v1 as pb;

/// Longest access token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1_024;
/// Longest sealed identity that is read, in bytes.
const MAX_PIVOT_BYTES: usize = 8 * 1_024;
/// Longest checkpoint that is read, in bytes.
const MAX_CHECKPOINT_BYTES: usize = 4 * 1_024;
const MAX_UNITS: usize = 64;
const MAX_ACKNOWLEDGED: usize = 64;
const MAX_PROOF_HASHES: usize = 64;

/// A checked Fetch, before its token is.
#[derive(Clone, Debug)]
pub struct FetchCall {
    /// The exchange's name.
    pub request_id: ExchangeId,
    /// The token's text, unverified.
    pub access_token: String,
    /// The sealed identity's text, unopened.
    pub pivot_jwe: String,
    /// What is asked for.
    pub datatype: DatatypeRev,
    /// Which parts, sorted, each once, at least one.
    pub units: Vec<UnitName>,
    /// About which period.
    pub period: Option<Period>,
    /// For which démarche.
    pub demarche: DemarcheId,
    /// For which file.
    pub dossier: DossierRef,
    /// Drawn once a request.
    pub nonce: [u8; 32],
    /// Leaf hashes that the caller confirms.
    pub acknowledged: Vec<Sha256>,
    /// The size of our log that the caller last saw, and that log's origin.
    pub known: Option<(String, u64)>,
    /// Our checkpoint of that size, as the caller holds it, unverified.
    pub known_checkpoint: Option<String>,
    /// The caller's own signed checkpoint, unverified.
    pub caller_checkpoint: Option<String>,
    /// The size of the caller's log that it proves its checkpoint from, and the proof.
    pub caller_growth: Option<(u64, Vec<Sha256>)>,
    /// What proves a child's link to the asker, unverified.
    pub link: Option<LinkAttestation>,
}

/// An attestation's text that names a family, so a log never shows it.
#[derive(Clone)]
pub struct LinkAttestation(String);

impl LinkAttestation {
    /// Longest that is read, in bytes.
    pub const MAX_BYTES: usize = 64 * 1_024;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text of a message, where there is one.
    pub(crate) fn read(check: &mut Check, text: String) -> Option<Self> {
        match text.is_empty() {
            true => None,
            false => check.text("link_attestation", text, Self::MAX_BYTES).map(Self),
        }
    }
}

impl std::fmt::Debug for LinkAttestation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkAttestation(…)")
    }
}

impl FetchCall {
    /// The canonical request under the handle that the verified token names.
    pub fn core(&self, handle: Handle) -> FetchCore {
        FetchCore {
            request_id: self.request_id,
            handle,
            datatype: self.datatype.clone(),
            units: self.units.clone(),
            period: self.period,
            demarche: self.demarche.clone(),
            dossier: self.dossier.clone(),
            nonce: self.nonce,
        }
    }
}

impl TryFrom<pb::FetchRequest> for FetchCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::FetchRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let request_id = check.parse("request_id", &message.request_id);
        let access_token = check.text("access_token", message.access_token, MAX_TOKEN_BYTES);
        let pivot_jwe = check.text("pivot_jwe", message.pivot_jwe, MAX_PIVOT_BYTES);
        let datatype = check.parse("datatype", &message.datatype);
        let units = units(&mut check, &message.units);
        let period = check.optional("period", &message.period);
        let demarche = check.parse("demarche", &message.demarche);
        let dossier = check.parse("dossier_ref", &message.dossier_ref);
        let nonce = check.bytes("nonce", &message.nonce);
        let acknowledged = hashes(
            &mut check,
            "acknowledged",
            &message.acknowledged,
            MAX_ACKNOWLEDGED,
        );
        let known = match (message.known_origin, message.known_size) {
            (origin, _) if origin.is_empty() => None,
            (origin, size) => check
                .text("known_origin", origin, 256)
                .map(|origin| (origin, size)),
        };
        let known_checkpoint = match message.known_checkpoint {
            text if text.is_empty() => None,
            text => check.text("known_checkpoint", text, MAX_CHECKPOINT_BYTES),
        };
        let caller_checkpoint = match message.caller_checkpoint {
            text if text.is_empty() => None,
            text => check.text("caller_checkpoint", text, MAX_CHECKPOINT_BYTES),
        };
        let proof = hashes(
            &mut check,
            "caller_consistency",
            &message.caller_consistency,
            MAX_PROOF_HASHES,
        );
        let link = LinkAttestation::read(&mut check, message.link_attestation);
        let call = (|| {
            Some(Self {
                request_id: request_id?,
                access_token: access_token?,
                pivot_jwe: pivot_jwe?,
                datatype: datatype?,
                units: units?,
                period,
                demarche: demarche?,
                dossier: dossier?,
                nonce: nonce?,
                acknowledged,
                known,
                known_checkpoint,
                caller_checkpoint,
                caller_growth: (message.caller_size > 0).then_some((message.caller_size, proof)),
                link,
            })
        })();
        check.finish(call)
    }
}

fn units(check: &mut Check, names: &[String]) -> Option<Vec<UnitName>> {
    if names.is_empty() || names.len() > MAX_UNITS {
        check.wrong("units", format_args!("1 to {MAX_UNITS} units"));
        return None;
    }
    let mut units = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        units.push(check.parse::<UnitName>(&format!("units[{i}]"), name)?);
    }
    units.sort();
    if units.windows(2).any(|pair| pair[0] == pair[1]) {
        check.wrong("units", "each unit once");
        return None;
    }
    Some(units)
}

fn hashes(check: &mut Check, field: &str, hashes: &[Vec<u8>], most: usize) -> Vec<Sha256> {
    if hashes.len() > most {
        check.wrong(field, format_args!("at most {most} hashes"));
        return Vec::new();
    }
    let digest = |(i, hash): (usize, &Vec<u8>)| check.bytes(&format!("{field}[{i}]"), hash);
    hashes
        .iter()
        .enumerate()
        .filter_map(digest)
        .map(Sha256::from_bytes)
        .collect()
}

impl From<AnswerForm> for pb::AnswerForm {
    fn from(form: AnswerForm) -> Self {
        match form {
            AnswerForm::Document => Self::Document,
            AnswerForm::Absence => Self::Absence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> pb::FetchRequest {
        pb::FetchRequest {
            request_id: "0190163d-8694-739b-aea5-966c26f8ad91".into(),
            access_token: "a.b.c".into(),
            pivot_jwe: "a..b.c.d".into(),
            datatype: "cnaf/quotient-familial@1".into(),
            units: vec!["valeur".into(), "composition".into()],
            period: String::new(),
            demarche: "cantine".into(),
            dossier_ref: "2026-0412".into(),
            nonce: vec![7; 32],
            ..Default::default()
        }
    }

    fn fields(message: pb::FetchRequest) -> Vec<String> {
        let invalid = FetchCall::try_from(message).expect_err("malformed");
        invalid.violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn names_each_field_at_fault() {
        assert_eq!(
            fields(pb::FetchRequest {
                request_id: "x".into(),
                nonce: vec![1],
                ..message()
            }),
            ["request_id", "nonce"]
        );
        assert_eq!(
            fields(pb::FetchRequest {
                units: vec![],
                ..message()
            }),
            ["units"]
        );
        assert_eq!(
            fields(pb::FetchRequest {
                units: vec!["a".into(), "a".into()],
                ..message()
            }),
            ["units"]
        );
        assert_eq!(
            fields(pb::FetchRequest {
                units: vec!["a".into(), "A<".into()],
                ..message()
            }),
            ["units[1]"]
        );
        assert_eq!(
            fields(pb::FetchRequest {
                period: "2026-13".into(),
                ..message()
            }),
            ["period"]
        );
        assert_eq!(
            fields(pb::FetchRequest {
                acknowledged: vec![vec![0; 31]],
                ..message()
            }),
            ["acknowledged[0]"]
        );
        assert_eq!(
            fields(pb::FetchRequest {
                caller_consistency: vec![vec![0; 32]; 65],
                ..message()
            }),
            ["caller_consistency"]
        );
        assert_eq!(
            fields(pb::FetchRequest {
                access_token: "x".repeat(20_000),
                ..message()
            }),
            ["access_token"]
        );
        assert_eq!(fields(pb::FetchRequest::default()).len(), 8);
    }

    #[test]
    fn a_value_at_fault_is_not_repeated() {
        let invalid = FetchCall::try_from(pb::FetchRequest {
            dossier_ref: "DUBOIS Angela".into(),
            ..message()
        });
        assert!(!invalid.unwrap_err().to_string().contains("DUBOIS"));
    }

    #[test]
    fn units_come_sorted() {
        let call = FetchCall::try_from(message()).unwrap();
        assert_eq!(
            call.units.iter().map(UnitName::as_str).collect::<Vec<_>>(),
            ["composition", "valeur"]
        );
    }
}
