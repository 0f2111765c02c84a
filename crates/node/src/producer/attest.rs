//! The attestation: an SD-JWT with one disclosure for each granted unit (exchange.md, « Attestation »).

use serde::Serialize;
use unefois_core::{DatatypeRev, ExchangeId, Micros, ParticipantId, Period, Random, Sha256};
use unefois_jose::{Error, SigningKey, sd_jwt};

use super::minimise::Minimised;

/// What an attestation states beside its units.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The operator, whose seal key signs.
    pub issuer: &'a ParticipantId,
    /// The consumer.
    pub audience: &'a ParticipantId,
    /// What it is about.
    pub datatype: &'a DatatypeRev,
    /// The period asked for; `None` for the datatype's default.
    pub period: Option<Period>,
    /// The exchange.
    pub exchange: &'a ExchangeId,
    /// Hash of the canonical request.
    pub request_hash: &'a Sha256,
    /// When the source answered.
    pub computed_at: Micros,
    /// When it is signed.
    pub issued_at: Micros,
    /// How long the consumer may keep the data, in days.
    pub data_life_days: u16,
}

#[derive(Serialize)]
struct Claims<'a> {
    vct: String,
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    computed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<Period>,
    outcome: &'static str,
    exchange_id: String,
    request_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a str>,
    /// Documents beside the data; none are sent yet.
    parts: [(); 0],
}

/// Signs what leaves: only what was minimised can be signed.
///
/// # Errors
/// The key cannot sign, or a value nests deeper than an attestation may.
pub fn attest(
    key: &SigningKey,
    statement: &Statement<'_>,
    minimised: &Minimised,
    random: &dyn Random,
) -> Result<String, Error> {
    const DAY_S: i64 = 86_400;
    let iat = statement.issued_at.secs();
    let claims = Claims {
        vct: statement.datatype.vct(),
        iss: statement.issuer.to_string(),
        aud: statement.audience.to_string(),
        iat,
        exp: iat + i64::from(statement.data_life_days) * DAY_S,
        computed_at: statement.computed_at.to_rfc3339(),
        period: statement.period,
        outcome: minimised.form().as_str(),
        exchange_id: statement.exchange.to_string(),
        request_hash: statement.request_hash.to_string(),
        holder: minimised.holder().map(|holder| holder.as_str()),
        parts: [],
    };
    let disclosures: Vec<sd_jwt::Disclosure<'_>> = minimised
        .units()
        .iter()
        .map(|(name, json)| sd_jwt::Disclosure {
            name: name.as_str(),
            json,
            salt: random.bytes(),
        })
        .collect();
    sd_jwt::issue(key, &claims, &disclosures)
}
