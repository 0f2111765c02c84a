//! What `verify FILE` does: an attestation, its two ledger entries and their proofs, checked offline against a pinned
//! directory key, one verdict a check.
//!
//! The file is what `fetch --out FILE` writes. It is complete: directory and catalogue are in it, and nothing is believed
//! but what the pinned key signed, directly or not.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use unefois_core::catalogue::Catalogue;
use unefois_core::commitment::{AnswerForm, Salt};
use unefois_core::{Directory, Event, Micros, Outcome};
use unefois_jose::{Thumbprint, directory, strict_json};
use unefois_node::consumer::evidence::{Attested, Fault, Proved};
use unefois_proto::pb::backoffice::v1::FetchResponse;

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 32 * 1_024 * 1_024;

const FORMAT: &str = "unefois-attestation/1";

/// A file that proves one exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationFile {
    format: String,
    /// The attestation, as any SD-JWT library reads it.
    sd_jwt: String,
    /// 32 bytes, base64url.
    content_salt: String,
    producer: LoggedEntry,
    consumer: LoggedEntry,
    /// The signed directory (JWS JSON), as text.
    directory: String,
    /// The compiled catalogue that the directory names, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    catalogue: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoggedEntry {
    /// The entry, base64url.
    entry: String,
    /// C2SP tlog-proof.
    proof: String,
}

/// The file is not one that this program writes; it says nothing either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFile {
    /// Too large.
    #[error("le fichier dépasse 32 Mio")]
    TooLarge,
    /// Not JSON of this form.
    #[error("le fichier n'est pas une attestation au format unefois-attestation/1")]
    Form,
    /// A member is not base64url of its length.
    #[error("le membre {0} du fichier est mal formé")]
    Member(&'static str),
}

/// What is checked, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The directory is signed by the pinned key.
    Directory,
    /// The attestation is signed by a seal key of the directory.
    Signature,
    /// Each unit is what its datatype says.
    Schema,
    /// The producer's entry is in the producer's log.
    ProducerEntry,
    /// The consumer's entry is in the consumer's log.
    ConsumerEntry,
    /// Both entries commit to this very content.
    Content,
    /// Attestation and entries are about one exchange, and the consumer's names the producer's.
    Exchange,
}

impl Check {
    /// Its name for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Signature => "signature",
            Self::Schema => "schema",
            Self::ProducerEntry => "producer_entry",
            Self::ConsumerEntry => "consumer_entry",
            Self::Content => "content",
            Self::Exchange => "exchange",
        }
    }

    /// What holds when it holds, in French and in English.
    pub const fn meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::Directory => (
                "l'annuaire est signé par la clé attendue",
                "the directory is signed by the expected key",
            ),
            Self::Signature => (
                "l'attestation est signée par l'administration qu'elle nomme",
                "the attestation is signed by the administration that it names",
            ),
            Self::Schema => (
                "chaque donnée est conforme au catalogue",
                "each datum is as the catalogue says",
            ),
            Self::ProducerEntry => (
                "l'échange figure au registre de l'administration qui a transmis",
                "the exchange is in the log of the administration that sent",
            ),
            Self::ConsumerEntry => (
                "l'échange figure au registre de l'administration qui a reçu",
                "the exchange is in the log of the administration that received",
            ),
            Self::Content => (
                "les deux registres engagent ce contenu et nul autre",
                "both logs commit to this content and no other",
            ),
            Self::Exchange => (
                "l'attestation et les deux registres parlent du même échange",
                "the attestation and both logs are about one exchange",
            ),
        }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not, for this reason.
    Fails(String),
    /// It could not be made, for want of this.
    NotChecked(&'static str),
}

/// Every check with its verdict, and what the attestation says of itself.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of [`Check`].
    pub checks: Vec<(Check, Verdict)>,
    /// What was signed; absent where the signature does not hold.
    pub summary: Option<Summary>,
}

/// What a verified attestation says of itself, without its units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Who attests.
    pub issuer: String,
    /// For whom.
    pub audience: String,
    /// What.
    pub datatype: String,
    /// Whether it certifies that there is no record.
    pub absence: bool,
    /// When the source answered.
    pub computed_at: Micros,
    /// Until when the data may be kept.
    pub expires_at: Micros,
    /// The names of the units that it holds.
    pub units: Vec<String>,
}

impl AttestationFile {
    /// The file of an answer: what a back-office got, with the directory and the catalogue of that moment.
    pub fn new(answer: &FetchResponse, directory_jws: String, catalogue: Option<String>) -> Self {
        let logged = |entry: &[u8], proof: &str| LoggedEntry {
            entry: URL_SAFE_NO_PAD.encode(entry),
            proof: proof.to_owned(),
        };
        Self {
            format: FORMAT.to_owned(),
            sd_jwt: answer.sd_jwt.clone(),
            content_salt: URL_SAFE_NO_PAD.encode(&answer.content_salt),
            producer: logged(&answer.producer_entry, &answer.producer_proof),
            consumer: logged(&answer.consumer_entry, &answer.consumer_proof),
            directory: directory_jws,
            catalogue,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`InvalidFile`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidFile> {
        if bytes.len() > MAX_BYTES {
            return Err(InvalidFile::TooLarge);
        }
        let file: Self = strict_json::from_slice(bytes).map_err(|_| InvalidFile::Form)?;
        match file.format == FORMAT {
            true => Ok(file),
            false => Err(InvalidFile::Form),
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text members make JSON")
    }

    /// Makes every check against the directory key that `pin` names. It needs no network and no clock.
    ///
    /// # Errors
    /// A member is malformed.
    pub fn verify(&self, pin: &Thumbprint) -> Result<Report, InvalidFile> {
        let bytes = |text: &str, member| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| InvalidFile::Member(member))
        };
        let producer = bytes(&self.producer.entry, "producer.entry")?;
        let consumer = bytes(&self.consumer.entry, "consumer.entry")?;
        let salt: [u8; 32] = bytes(&self.content_salt, "content_salt")?
            .try_into()
            .map_err(|_| InvalidFile::Member("content_salt"))?;

        let mut checks = Vec::new();
        let directory = match directory::verify(&self.directory, pin) {
            Ok(directory) => {
                checks.push((Check::Directory, Verdict::Holds));
                directory
            }
            Err(refused) => {
                checks.push((Check::Directory, Verdict::Fails(refused.to_string())));
                for check in [
                    Check::Signature,
                    Check::Schema,
                    Check::ProducerEntry,
                    Check::ConsumerEntry,
                    Check::Content,
                    Check::Exchange,
                ] {
                    checks.push((check, Verdict::NotChecked("directory")));
                }
                return Ok(Report {
                    checks,
                    summary: None,
                });
            }
        };
        let attested = Attested::verify(&self.sd_jwt, &directory);
        checks.push((Check::Signature, verdict(&attested)));
        let attested = attested.ok();
        checks.push((Check::Schema, self.schema(attested.as_ref(), &directory)));

        let prove = |bytes: &[u8], proof: &str, owner: Option<_>| match owner {
            Some(owner) => Proved::verify(bytes, proof, owner, &directory).map_err(Some),
            None => Err(None),
        };
        let producer = prove(
            &producer,
            &self.producer.proof,
            attested.as_ref().map(Attested::issuer),
        );
        let consumer = prove(
            &consumer,
            &self.consumer.proof,
            attested.as_ref().map(Attested::audience),
        );
        checks.push((Check::ProducerEntry, proved(&producer)));
        checks.push((Check::ConsumerEntry, proved(&consumer)));
        let (content, exchange) = match (&attested, producer, consumer) {
            (Some(attested), Ok(producer), Ok(consumer)) => (
                content(attested, &salt, &producer, &consumer),
                same_exchange(attested, &producer, &consumer),
            ),
            _ => (
                Verdict::NotChecked("signature, producer_entry, consumer_entry"),
                Verdict::NotChecked("signature, producer_entry, consumer_entry"),
            ),
        };
        checks.push((Check::Content, content));
        checks.push((Check::Exchange, exchange));
        Ok(Report {
            checks,
            summary: attested.as_ref().map(Summary::of),
        })
    }

    fn schema(&self, attested: Option<&Attested>, directory: &Directory) -> Verdict {
        let Some(attested) = attested else {
            return Verdict::NotChecked("signature");
        };
        let Some(text) = &self.catalogue else {
            return Verdict::NotChecked("catalogue");
        };
        match Catalogue::from_bytes(text.as_bytes(), directory.catalogue_hash()) {
            Ok(catalogue) => verdict(&attested.check_units(&catalogue)),
            Err(error) => Verdict::Fails(error.to_string()),
        }
    }
}

fn verdict<T>(result: &Result<T, Fault>) -> Verdict {
    match result {
        Ok(_) => Verdict::Holds,
        Err(fault) => Verdict::Fails(unefois_mesh::status::chain(fault)),
    }
}

fn proved(result: &Result<Proved, Option<Fault>>) -> Verdict {
    match result {
        Ok(_) => Verdict::Holds,
        Err(Some(fault)) => Verdict::Fails(unefois_mesh::status::chain(fault)),
        Err(None) => Verdict::NotChecked("signature"),
    }
}

fn content(attested: &Attested, salt: &[u8; 32], producer: &Proved, consumer: &Proved) -> Verdict {
    let commit = Some(attested.content_commit(&Salt::from_bytes(*salt)));
    let both = producer.entry.content_commit == commit && consumer.entry.content_commit == commit;
    match both {
        true => Verdict::Holds,
        false => Verdict::Fails(Fault::Content.to_string()),
    }
}

fn same_exchange(attested: &Attested, producer: &Proved, consumer: &Proved) -> Verdict {
    let (sent, got) = (&producer.entry, &consumer.entry);
    let both =
        |holds: fn(&unefois_core::Entry, &Attested) -> bool| holds(sent, attested) && holds(got, attested);
    for (field, holds) in [
        (
            "event",
            matches!(sent.event, Event::Released | Event::ReleasedAgain) && got.event == Event::Received,
        ),
        (
            "exchange_id",
            both(|e, a| e.exchange_id == Some(*a.exchange_id())),
        ),
        ("requester", both(|e, a| e.requester == Some(*a.audience()))),
        ("provider", both(|e, a| e.provider == Some(*a.issuer()))),
        ("datatype", both(|e, a| e.datatype.as_ref() == Some(a.datatype()))),
        (
            "request_hash",
            both(|e, a| e.request_hash == Some(*a.request_hash())),
        ),
        ("holder", both(|e, a| e.holder.as_ref() == a.holder())),
        ("outcome", both(|e, _| e.outcome == Some(Outcome::Answered))),
        ("grant_commit", sent.grant_commit == got.grant_commit),
        ("dossier_commit", sent.dossier_commit == got.dossier_commit),
        ("peer_entry_hash", got.peer_entry_hash == Some(producer.leaf)),
        (
            "peer_origin_hash",
            got.peer_origin_hash == Some(producer.origin_hash()),
        ),
    ] {
        if !holds {
            return Verdict::Fails(Fault::EntryField(field).to_string());
        }
    }
    Verdict::Holds
}

impl Summary {
    fn of(attested: &Attested) -> Self {
        Self {
            issuer: attested.issuer().to_string(),
            audience: attested.audience().to_string(),
            datatype: attested.datatype().to_string(),
            absence: attested.form() == AnswerForm::Absence,
            computed_at: attested.computed_at(),
            expires_at: attested.expires_at(),
            units: attested
                .units()
                .iter()
                .map(|(name, _)| name.to_string())
                .collect(),
        }
    }
}

impl Report {
    /// Whether nothing fails and nothing that matters was left unchecked: a missing catalogue leaves the schema
    /// unchecked, and the rest holds without it.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|(check, verdict)| match verdict {
            Verdict::Holds => true,
            Verdict::Fails(_) => false,
            Verdict::NotChecked(_) => *check == Check::Schema,
        })
    }

    /// One object, for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        let checks: Vec<_> = self
            .checks
            .iter()
            .map(|(check, verdict)| match verdict {
                Verdict::Holds => json!({ "check": check.as_str(), "verdict": "holds" }),
                Verdict::Fails(why) => json!({ "check": check.as_str(), "verdict": "fails", "why": why }),
                Verdict::NotChecked(want) => {
                    json!({ "check": check.as_str(), "verdict": "not_checked", "for_want_of": want })
                }
            })
            .collect();
        let summary = self.summary.as_ref().map(|summary| {
            json!({
                "issuer": summary.issuer,
                "audience": summary.audience,
                "datatype": summary.datatype,
                "outcome": if summary.absence { "absence" } else { "document" },
                "computed_at": summary.computed_at.to_rfc3339(),
                "expires_at": summary.expires_at.to_rfc3339(),
                "units": summary.units,
            })
        });
        json!({ "holds": self.holds(), "checks": checks, "attestation": summary })
    }
}

/// One line a check, in French.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, verdict) in &self.checks {
            let (meaning, _) = check.meaning();
            match verdict {
                Verdict::Holds => writeln!(f, "oui  {meaning}")?,
                Verdict::Fails(why) => writeln!(f, "NON  {meaning} : {why}")?,
                Verdict::NotChecked(want) => writeln!(f, "-    {meaning} : non vérifié, faute de {want}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
