use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use unefois_core::effect::{Effect, LogLine, Standing};
use unefois_core::{Entry, Event, Handle};
use unefois_store::authority::effect::effect_read;
use unefois_store::authority::grant::{Element, GrantRow};

use super::grants::address;
use super::history::disposition;
use super::standing::{Withdrawal, withdrawal};
use super::words;
use crate::Error;
use crate::form::Form;
use crate::oauth::details_of;
use crate::pages::Reader;
use crate::portal::{EffectProof, Lang, Progress, SourceProof, Stage};
use crate::published::Edition;
use crate::service::Authority;

/// The longest that an answer waits, in milliseconds, however long leases last: half of what a listener gives it, which would
/// answer in its place.
const LONGEST_MS: i64 = 5_000;
/// The parameter of a page that is to wait longer.
pub(super) const WAIT: &str = "attendre";
/// How long the first page after a withdrawal waits for its effect, in milliseconds from the record.
const FIRST_MS: i64 = 250;
/// How often the database is asked meanwhile: another process of the authority may write the proof.
const LOOK: Duration = Duration::from_millis(500);

type Shared = State<Arc<Authority>>;

/// `GET /autorisations/{id}/effet`: where a withdrawal of the reader's own stands, in words; the answer waits until it is
/// effective, or late. `langue` says in which language: the one of the page that asks.
pub(crate) async fn follow(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let asked = Form::query(query.as_deref())?.take("langue");
    let lang = asked
        .and_then(|code| Lang::from_code(&code))
        .unwrap_or(reader.lang);
    let within = authority.until_late();
    let row = authority.settled(&reader, &id, within, Wanted::Effective).await?;
    let progress = authority
        .progress(&row, lang, String::new())
        .ok_or(Error::NotFound)?;
    let words = progress.words(lang);
    // `no-store`, as every answer here that names no other rule.
    let told = json!({
        "stage": progress.stage.code(),
        "recorded_at": progress.recorded_at.to_rfc3339(),
        "effective_at": progress.stage.effective_at().map(|at| at.to_rfc3339()),
        "words": {"before": words.before, "time": words.time, "after": words.after, "means": words.means},
    });
    Ok(Json(told).into_response())
}

/// `GET /autorisations/{id}/preuve.json`: what proves that a withdrawal of the reader's own has taken effect: one proof an
/// element, with the entry of the authority's ledger that commits to it, its salt and its place in the tree.
pub(crate) async fn proof(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let row = authority.seen_grant(&reader, &id).await?;
    let mut proofs = Vec::new();
    for element in &row.elements {
        let Some((effect, bytes)) = authority.effect(element).await? else {
            continue;
        };
        let text = String::from_utf8(bytes).map_err(|_| Error::Stored)?;
        proofs.push(json!({
            "effective_at": effect.effective_at.to_rfc3339(),
            // Its text, since the entry commits to these very bytes.
            "effect": text,
            "receipt": authority.effect_receipt(&element.handle, text.as_bytes()).await?,
        }));
    }
    if proofs.is_empty() {
        return Err(Error::NotFound);
    }
    let mut response = Json(json!({ "grant_id": id, "proofs": proofs })).into_response();
    disposition(&mut response, "preuve-retrait.json");
    Ok(response)
}

/// What an answer waits for.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// What was withdrawn has taken effect.
    Effective,
    /// Its proof can be taken home.
    Proof,
}

impl Wanted {
    fn is_met(self, row: &GrantRow) -> bool {
        withdrawal(row).is_none_or(|withdrawal| match self {
            Self::Effective => withdrawal.effective_at.is_some(),
            Self::Proof => withdrawal.is_proof_logged,
        })
    }
}

impl Authority {
    /// As long as a withdrawal takes that is not late, and half of it more.
    fn until_late(&self) -> Duration {
        let ms = (self.revocation.bound_ms() * 3 / 2).min(LONGEST_MS);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// How long a page waits for the effect of what was withdrawn: what is left of the time that it waits by itself, or as long
    /// as it takes where the person asked for that.
    pub(super) fn within(&self, row: &GrantRow, query: Option<&str>) -> Result<Duration, Error> {
        if Form::query(query)?.has(WAIT) {
            return Ok(self.until_late());
        }
        let since = withdrawal(row).map(|withdrawal| self.clock.now().ms_since(withdrawal.at));
        let ms = since.map_or(0, |since| FIRST_MS - since).min(FIRST_MS);
        Ok(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    }

    /// A grant that the reader sees, as soon as what was withdrawn of it is `wanted`, or as it stands after `within`.
    pub(super) async fn settled(
        &self,
        reader: &Reader,
        id: &str,
        within: Duration,
        wanted: Wanted,
    ) -> Result<GrantRow, Error> {
        // Before the row is read, so that no proof is written in between.
        let mut proved = self.revocation.proved();
        let row = self.seen_grant(reader, id).await?;
        let Ok(_place) = self.waits.try_acquire() else {
            return Ok(row);
        };
        if within.is_zero() || wanted.is_met(&row) {
            return Ok(row);
        }
        let settled = async {
            loop {
                // In time or not, the next round looks.
                let _ = tokio::time::timeout(LOOK, proved.changed()).await;
                let row = self.seen_grant(reader, id).await?;
                if wanted.is_met(&row) {
                    return Ok(row);
                }
            }
        };
        match tokio::time::timeout(within, settled).await {
            Ok(row) => row,
            Err(_) => self.seen_grant(reader, id).await,
        }
    }

    /// Where the withdrawal of a grant, or of a part of it, stands; `None` where nothing was withdrawn.
    pub(super) fn progress(&self, row: &GrantRow, lang: Lang, refresh: String) -> Option<Progress> {
        let Withdrawal {
            act,
            at,
            effective_at,
            ..
        } = withdrawal(row)?;
        let bound_ms = self.revocation.bound_ms();
        Some(Progress {
            act,
            recorded_at: at,
            stage: match effective_at {
                Some(at) => Stage::Effective { at },
                None if self.clock.now().ms_since(at) > bound_ms => Stage::Late,
                None => Stage::UnderWay,
            },
            bound_ms,
            follow: format!("{}/effet?langue={}", address(row), lang.code()),
            refresh,
            proof: None,
        })
    }

    /// What the proofs of a withdrawal rest on; `None` until each element withdrawn has one.
    pub(super) async fn effect_proof(
        &self,
        edition: &Edition,
        lang: Lang,
        row: &GrantRow,
        refresh: String,
    ) -> Result<Option<EffectProof>, Error> {
        let Some(Withdrawal {
            act,
            effective_at: Some(_),
            is_proof_logged,
            ..
        }) = withdrawal(row)
        else {
            return Ok(None);
        };
        let mut sources = Vec::new();
        for element in row.elements.iter().filter(|element| element.withdrawn.is_some()) {
            let (effect, _) = self.effect(element).await?.ok_or(Error::Stored)?;
            let source = words::name(edition, lang, details_of(element)?.operator());
            let proof = source_proof(source, &effect.logs);
            // Two elements at one source mostly rest on the same.
            if !sources.contains(&proof) {
                sources.push(proof);
            }
        }
        Ok(Some(EffectProof {
            act,
            sources,
            download: is_proof_logged.then(|| format!("{}/preuve.json", address(row))),
            refresh,
        }))
    }

    /// The proof that an element's withdrawal has taken effect, and its bytes.
    async fn effect(&self, element: &Element) -> Result<Option<(Effect, Vec<u8>)>, Error> {
        let Some(withdrawn) = &element.withdrawn else {
            return Ok(None);
        };
        let Some((_, bytes)) = effect_read(&self.db, withdrawn.place.seq).await? else {
            return Ok(None);
        };
        let effect = Effect::from_bytes(&bytes).ok_or(Error::Stored)?;
        Ok(Some((effect, bytes)))
    }

    /// The entry that commits to a proof, with its salt and its place in the tree; null while it is not written, or once
    /// what leads to it was erased.
    async fn effect_receipt(&self, handle: &Handle, effect: &[u8]) -> Result<Value, Error> {
        let ledger = &self.journal.ledger;
        for index in ledger.by_handle(handle).await.map_err(Error::Ledger)? {
            let entries = ledger.entries(index, index + 1).await.map_err(Error::Ledger)?;
            let bytes = entries.first().ok_or(Error::Stored)?;
            let entry = Entry::decode(bytes).map_err(|_| Error::Stored)?;
            if entry.event != Event::Effective {
                continue;
            }
            let evidence = ledger.evidence(index).await.map_err(Error::Ledger)?;
            let Some(evidence) = evidence.filter(|evidence| evidence.body == effect) else {
                continue;
            };
            let receipt = ledger.proof(index).await.map_err(Error::Ledger)?;
            return Ok(json!({
                "log": ledger.origin().as_str(),
                "index": index,
                "entry": STANDARD.encode(bytes),
                "salt": STANDARD.encode(evidence.salt),
                "proof": receipt.to_string(),
            }));
        }
        Ok(Value::Null)
    }
}

fn source_proof(source: String, logs: &[LogLine]) -> SourceProof {
    let mut proof = SourceProof {
        source,
        acknowledged: 0,
        lapsed: 0,
        opened: 0,
        absent: 0,
    };
    for line in logs {
        *match line.standing {
            Standing::Acknowledged { .. } => &mut proof.acknowledged,
            Standing::Lapsed { .. } => &mut proof.lapsed,
            Standing::Opened => &mut proof.opened,
            Standing::Absent => &mut proof.absent,
        } += 1;
    }
    proof
}
