//! `POST /add-checkpoint`: cosigning the heads of the logs that the directory names.
//!
//! The head held of a log moves in one transaction, from the head that the proof began at, before its cosignature
//! leaves: whatever is asked at once, by whomever, and wherever a crash comes between, no two histories are cosigned.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use opentelemetry::metrics::Counter;
use tokio::sync::Semaphore;
use unefois_core::{Clock, Micros};
use unefois_mesh::{metrics, status};
use unefois_store::Db;
use unefois_store::witness::{CosignedHead, witness_advance, witness_head};
use unefois_tlog::{
    AddCheckpoint, Checkpoint, Cosignature, Cosigner, CosignerKey, Hash, MAX_ADD_CHECKPOINT_BYTES, Origin,
    TLOG_SIZE, verify_consistency,
};

use super::{Registry, Stale, cosigner};
use crate::guard::Guard;
use crate::public::PublicError;
use crate::{Error, Ledger};

/// How long a request waits for the one write under way.
const TURN: Duration = Duration::from_secs(2);
/// How long a cosignature is given again to whoever shows the same head: it costs no write.
const AGAIN_MS: i64 = 10_000;

/// `/add-checkpoint` of a witness.
pub(crate) fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add))
        .layer(DefaultBodyLimit::max(MAX_ADD_CHECKPOINT_BYTES))
        .with_state(witness)
}

/// Cosigns others' heads.
pub(crate) struct Witness {
    key: Cosigner,
    db: Db,
    /// Says whether the database is the one that the heads were held in (I7).
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
    registry: Registry,
    /// The process's own log, of which its own word would be worth nothing.
    own: Origin,
    /// The database has one writer, which an exchange must not have to wait for.
    turn: Semaphore,
    /// The last cosignature of each log; at most one for each that the directory names.
    given: Mutex<HashMap<Origin, Given>>,
    failures: Counter<u64>,
}

struct Given {
    size: u64,
    root: Hash,
    at: Micros,
    line: String,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness")
            .field("key", self.key.verifier())
            .finish_non_exhaustive()
    }
}

/// Why a head is not cosigned.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Malformed(#[source] unefois_tlog::Error),
    #[error("the old size is larger than that of the checkpoint")]
    Order,
    #[error("the log is not one that the directory names, or is this process's own")]
    Unknown,
    #[error("the log's key has not signed the checkpoint")]
    Unsigned(#[source] unefois_tlog::Error),
    /// The size held, which the caller did not begin at.
    #[error("another head is held")]
    Conflict(u64),
    #[error("the consistency proof does not verify")]
    Unproved(#[source] unefois_tlog::Error),
    #[error("the directory has expired")]
    Stale,
    #[error("nothing can be cosigned at this moment")]
    Failed(#[from] Error),
}

async fn add(State(witness): State<Arc<Witness>>, body: Bytes) -> Result<Response, Refusal> {
    let line = witness.cosign(&body).await?;
    Ok((text("text/plain; charset=utf-8"), format!("{line}\n")).into_response())
}

impl Witness {
    /// The witness of the key in `path`, for the process that writes `log`.
    pub(crate) fn open(path: &Path, log: &Ledger, registry: Registry) -> Result<Self, PublicError> {
        Ok(Self {
            key: cosigner(path)?,
            db: log.inner().db.clone(),
            guard: Arc::clone(&log.inner().guard),
            clock: Arc::clone(&log.inner().clock),
            registry,
            own: log.origin().clone(),
            turn: Semaphore::new(1),
            given: Mutex::default(),
            failures: metrics::meter()
                .u64_counter(metrics::LEDGER_VERIFICATION_FAILURES)
                .build(),
        })
    }

    /// Its public key.
    pub(crate) const fn verifier(&self) -> &CosignerKey {
        self.key.verifier()
    }

    /// The signature line over the head of a request, once it is seen to continue the one held: in a database that is
    /// known to have gone back, or is not known to be the last one, the one held may be older than one cosigned.
    async fn cosign(&self, body: &[u8]) -> Result<String, Refusal> {
        self.guard.writes()?;
        let request = AddCheckpoint::parse(body).map_err(Refusal::Malformed)?;
        let origin = request.checkpoint.claimed_origin();
        let now = self.clock.now();
        let key = self.registry.log(origin.as_str(), now);
        let key = key.map_err(|Stale| Refusal::Stale)?;
        let key = key.filter(|_| *origin != self.own).ok_or(Refusal::Unknown)?;
        let head = request.checkpoint.verify(&key).map_err(Refusal::Unsigned)?;
        if request.old_size > head.size {
            return Err(Refusal::Order);
        }
        if request.old_size == head.size
            && let Some(line) = self.given(head, now)
        {
            return Ok(line);
        }
        let held = witness_head(&self.db, origin.as_str()).await;
        let held = held.map_err(Error::from)?;
        self.check(&request, head, held.as_ref())?;

        let next = CosignedHead {
            size: head.size,
            root: head.root,
            checkpoint: request.checkpoint.to_string(),
            at: now,
        };
        if !self.advance(origin, held.as_ref(), &next).await? {
            let held = witness_head(&self.db, origin.as_str()).await;
            return Err(Refusal::Conflict(
                held.map_err(Error::from)?.map_or(0, |h| h.size),
            ));
        }
        let at_s = u64::try_from(now.secs()).unwrap_or(0);
        let line = Cosignature::sign(&request.checkpoint, &self.key, at_s);
        let line = line.map_err(Error::from)?.to_string();
        self.lock().insert(
            origin.clone(),
            Given {
                size: head.size,
                root: head.root,
                at: now,
                line: line.clone(),
            },
        );
        Ok(line)
    }

    /// Whether the head of `request` continues the one held.
    fn check(
        &self,
        request: &AddCheckpoint,
        head: &Checkpoint,
        held: Option<&CosignedHead>,
    ) -> Result<(), Refusal> {
        let (size, root) = held.map_or((0, Hash::EMPTY), |held| (held.size, held.root));
        if request.old_size != size {
            return Err(Refusal::Conflict(size));
        }
        if head.size == size && head.root != root {
            self.alarm(head, held);
            return Err(Refusal::Conflict(size));
        }
        verify_consistency((size, &root), (head.size, &head.root), &request.proof).map_err(|error| {
            self.alarm(head, held);
            Refusal::Unproved(error)
        })
    }

    /// A log showed what it cannot prove to be of one history: both heads are signed, and the log says where they are.
    fn alarm(&self, shown: &Checkpoint, held: Option<&CosignedHead>) {
        self.failures.add(1, &[]);
        tracing::error!(
            origin = %shown.origin,
            shown_size = shown.size,
            shown_root = %shown.root,
            held_size = held.map(|held| held.size),
            held_root = held.map(|held| held.root.to_string()),
            "a log's head is not cosigned: it does not continue the one cosigned before"
        );
    }

    /// Moves the head held, durably; `false` if it is another one by now.
    async fn advance(
        &self,
        origin: &Origin,
        held: Option<&CosignedHead>,
        next: &CosignedHead,
    ) -> Result<bool, Error> {
        let turn = tokio::time::timeout(TURN, self.turn.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(Error::Overloaded)?;
        let mut tx = self.db.begin().await?;
        let moved = witness_advance(&mut tx, origin.as_str(), held, next).await?;
        tx.commit().await?;
        // What went into a file that was deleted or replaced meanwhile is not held.
        self.db.check_file()?;
        self.guard.writes()?;
        Ok(moved)
    }

    /// The cosignature given a moment ago of the same head.
    fn given(&self, head: &Checkpoint, now: Micros) -> Option<String> {
        let given = self.lock();
        let last = given.get(&head.origin)?;
        let same = (last.size, last.root) == (head.size, head.root) && head.extensions().is_empty();
        let recent = (last.at..last.at.plus_ms(AGAIN_MS)).contains(&now);
        (same && recent).then(|| last.line.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Origin, Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = match &self {
            Self::Malformed(_) | Self::Order => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Unsigned(_) => StatusCode::FORBIDDEN,
            Self::Conflict(size) => {
                return (StatusCode::CONFLICT, text(TLOG_SIZE), format!("{size}\n")).into_response();
            }
            Self::Unproved(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stale | Self::Failed(_) => {
                // Readiness tells the operator too; who asks asks again and again.
                tracing::warn!(error = status::chain(&self), "no head can be cosigned");
                let later = [(RETRY_AFTER, "5")];
                return (StatusCode::SERVICE_UNAVAILABLE, later, format!("{self}\n")).into_response();
            }
        };
        (code, text("text/plain; charset=utf-8"), format!("{self}\n")).into_response()
    }
}

fn text(kind: &'static str) -> [(HeaderName, &'static str); 2] {
    [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")]
}
