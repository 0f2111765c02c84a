//! Asking others to cosign a head: what they hold of the log is learnt from their answers.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use unefois_core::{Micros, ParticipantId};
use unefois_mesh::{Connector, HttpsError, HttpsResponse, OutsideClient};
use unefois_tlog::{
    AddCheckpoint, CosignerKey, MAX_WITNESS_HASHES, NoteSignature, SignedCheckpoint, TLOG_SIZE, held_size,
};

use super::{AskConfig, Registry};
use crate::public::PublicError;
use crate::{Error, Ledger};

const PATH: &str = "/add-checkpoint";
/// Longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(4);
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How often a witness may name another size before it is asked no more this time.
const ATTEMPTS: u32 = 3;
/// How far a witness's clock may be ahead of ours.
const AHEAD_MS: i64 = 300_000;

/// One witness, and what it said last.
#[derive(Debug)]
pub(crate) struct Asked {
    key: CosignerKey,
    way: Way,
    /// The size of the head that it is thought to hold.
    known: u64,
    /// Its last cosignature of the log.
    given: Option<Given>,
    /// When it was asked last.
    tried: Option<Micros>,
    /// It holds a head that this log does not have.
    contradicts: bool,
}

#[derive(Clone, Debug)]
struct Given {
    size: u64,
    at: Micros,
    line: NoteSignature,
}

#[derive(Debug)]
enum Way {
    Peer {
        participant: ParticipantId,
        connector: Connector,
        registry: Registry,
    },
    Outside(Box<OutsideClient>),
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It is not where it is looked for.
    #[error("the directory names no address of this witness, or has expired")]
    NoAddress,
    /// It did not answer.
    #[error("the witness did not answer")]
    Unreachable(#[source] HttpsError),
    /// It did not cosign within the time that a head waits.
    #[error("the witness did not cosign in time")]
    Late,
    /// It refused.
    #[error("the witness answered {0}")]
    Refused(StatusCode),
    /// What it answered is not what it was asked for.
    #[error("the witness's answer does not verify")]
    Answer(#[source] unefois_tlog::Error),
    /// Its clock, or ours, is wrong.
    #[error("the witness's cosignature is from the future")]
    Future,
    /// It holds a head that is not published yet.
    #[error("the witness holds a later head than the one published")]
    Later,
    /// It holds a head that this log does not have: the log was rolled back or forked, or the witness is wrong.
    #[error("the witness holds a head of size {0} that this log does not have")]
    Contradicts(u64),
    /// The log cannot be read.
    #[error("the log could not be read")]
    Log(#[from] Error),
}

impl Asked {
    /// The witness that `config` names.
    pub(crate) fn open(
        config: &AskConfig,
        connector: &Connector,
        registry: &Registry,
    ) -> Result<Self, PublicError> {
        let key = config
            .vkey
            .parse()
            .map_err(|_| PublicError::Config("witness.ask.vkey is no key of a witness"))?;
        let way = match (&config.participant, &config.url) {
            (Some(participant), None) => Way::Peer {
                participant: *participant,
                connector: connector.clone(),
                registry: registry.clone(),
            },
            (None, Some(url)) => Way::Outside(Box::new(OutsideClient::new(url, config.ca.as_deref())?)),
            (None, None) | (Some(_), Some(_)) => {
                return Err(PublicError::Config(
                    "witness.ask needs one of participant and url",
                ));
            }
        };
        Ok(Self {
            key,
            way,
            known: 0,
            given: None,
            tried: None,
            contradicts: false,
        })
    }

    /// Takes up what a stored checkpoint of `size` says of it.
    pub(crate) fn take_up(&mut self, size: u64, checkpoint: &SignedCheckpoint) {
        self.known = size;
        if let Ok((line, at_s)) = checkpoint.cosigned_by("", &self.key) {
            let at = Micros::from_secs(i64::try_from(at_s).unwrap_or(0));
            self.given = Some(Given { size, at, line });
        }
    }

    /// The name of its key.
    pub(crate) fn name(&self) -> &str {
        self.key.name().as_str()
    }

    /// When it cosigned last.
    pub(crate) fn cosigned_at(&self) -> Option<Micros> {
        self.given.as_ref().map(|given| given.at)
    }

    /// Whether it holds a head that this log does not have.
    pub(crate) const fn contradicts(&self) -> bool {
        self.contradicts
    }

    /// Its signature line of the head of `size`, if it gave one.
    pub(crate) fn line(&self, size: u64) -> Option<&NoteSignature> {
        let of_size = self.given.as_ref().filter(|given| given.size == size);
        of_size.map(|given| &given.line)
    }

    /// Whether it is to be asked for the head of `size`: each `period_ms`, or a tenth of it after where it did not
    /// answer.
    pub(crate) fn is_due(&self, size: u64, now: Micros, period_ms: i64) -> bool {
        let passed = |since: Option<Micros>, ms: i64| {
            since.is_none_or(|since| !(since..since.plus_ms(ms)).contains(&now))
        };
        let fresh = self.line(size).is_some() && !passed(self.cosigned_at(), period_ms);
        !fresh && passed(self.tried, period_ms / 10)
    }

    /// Asks it to cosign `head` (of `size`, with the log's own signature alone), from whatever head it holds.
    ///
    /// # Errors
    /// [`AskError`]; what it gave before stays.
    pub(crate) async fn ask(
        &mut self,
        log: &Ledger,
        size: u64,
        head: &SignedCheckpoint,
    ) -> Result<(), AskError> {
        self.tried = Some(log.inner().clock.now());
        let mut old = self.known.min(size);
        for _ in 0..ATTEMPTS {
            let proof = log.consistency(old, size).await?;
            debug_assert!(proof.len() <= MAX_WITNESS_HASHES);
            let request = AddCheckpoint {
                old_size: old,
                proof,
                checkpoint: head.clone(),
            };
            let now = log.inner().clock.now();
            let answer = self.way.post(request.to_string(), now).await?;
            match answer.status {
                StatusCode::OK => return self.take(size, head, &answer.body, now),
                StatusCode::CONFLICT if is_size(&answer.headers) => {}
                StatusCode::UNPROCESSABLE_ENTITY => {
                    self.contradicts = true;
                    return Err(AskError::Contradicts(old));
                }
                other => return Err(AskError::Refused(other)),
            }
            let held = text(&answer.body).and_then(held_size).map_err(AskError::Answer)?;
            self.known = held;
            if held > log.head().size || (held == size && old == size) {
                self.contradicts = true;
                return Err(AskError::Contradicts(held));
            }
            if held > size {
                return Err(AskError::Later);
            }
            old = held;
        }
        Err(AskError::Refused(StatusCode::CONFLICT))
    }

    /// Keeps a cosignature that verifies.
    fn take(&mut self, size: u64, head: &SignedCheckpoint, body: &[u8], now: Micros) -> Result<(), AskError> {
        let cosigned = text(body).and_then(|lines| head.cosigned_by(lines, &self.key));
        let (line, at_s) = cosigned.map_err(AskError::Answer)?;
        let at = Micros::from_secs(i64::try_from(at_s).unwrap_or(i64::MAX / 1_000_000));
        if at > now.plus_ms(AHEAD_MS) {
            return Err(AskError::Future);
        }
        self.known = size;
        self.contradicts = false;
        self.given = Some(Given { size, at, line });
        Ok(())
    }
}

impl Way {
    async fn post(&self, request: String, now: Micros) -> Result<HttpsResponse, AskError> {
        let answer = match self {
            Self::Peer {
                participant,
                connector,
                registry,
            } => {
                let target = registry.node(participant, now).ok().flatten();
                let target = target.ok_or(AskError::NoAddress)?;
                let url = Uri::builder()
                    .scheme("https")
                    .authority(target.authority.clone())
                    .path_and_query(PathAndQuery::from_static(PATH))
                    .build()
                    .map_err(|_| AskError::NoAddress)?;
                let kind = [(CONTENT_TYPE, HeaderValue::from_static("text/plain"))];
                let headers = HeaderMap::from_iter(kind);
                let (client, body) = (connector.https(&target), Bytes::from(request));
                client
                    .request(Method::POST, &url, headers, body, DEADLINE, MAX_ANSWER_BYTES)
                    .await
            }
            Self::Outside(client) => client.post_text(PATH, request, DEADLINE, MAX_ANSWER_BYTES).await,
        };
        answer.map_err(AskError::Unreachable)
    }
}

fn is_size(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.split(|c| *c == b';').next() == Some(TLOG_SIZE.as_bytes()))
}

fn text(body: &[u8]) -> Result<&str, unefois_tlog::Error> {
    std::str::from_utf8(body).map_err(|_| unefois_tlog::Error::NoteNotUtf8)
}
