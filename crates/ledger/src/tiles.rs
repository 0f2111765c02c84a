//! One log over HTTP in the form of C2SP tlog-tiles: its checkpoint, its hash tiles and, for auditors, its entries.
//!
//! Anybody is shown the published head and nothing beyond it; an auditor the present one. What is beyond is absent.
//! A tile, once there, never changes: it may be kept for ever, and a narrower one than the log has by now is its start.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderName, StatusCode, Uri};
use tokio::sync::{Mutex, Semaphore, watch};
use unefois_core::Sha256;
use unefois_mesh::{Peer, PeerId, status};
use unefois_store::entry::entry_range;
use unefois_tlog::{Tile, TileId};

use crate::publish::Published;
use crate::query::Query;
use crate::read::tile_at;
use crate::witness::Registry;
use crate::{Error, Ledger};

/// How many tiles are read from the database at once for the public, of whom an exchange must not have to wait.
const PUBLIC_READS: usize = 2;
/// How long a reader waits for its turn.
const TURN: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const FOR_SECONDS: &str = "public, max-age=5";
const PRIVATE: &str = "private, max-age=31536000, immutable";
const NOT_AT_ALL: &str = "no-store";

/// `/checkpoint` and `/tile/<L>/<N>[.p/<W>]` of the published head, for anybody.
pub(crate) fn public(log: Ledger, published: watch::Receiver<Option<Arc<Published>>>) -> Router {
    Router::new()
        .route("/checkpoint", get(published_checkpoint))
        .route("/tile/{*path}", get(published_tile))
        .with_state(Arc::new(Shown {
            log,
            published,
            reads: Semaphore::new(PUBLIC_READS),
        }))
}

/// The same of the present head, and `/tile/entries/<N>[.p/<W>]`, for auditors: to be merged into the router of a
/// listener that knows its peers.
pub(crate) fn audited(log: Ledger, registry: Registry) -> Router {
    Router::new()
        .route("/checkpoint", get(present_checkpoint))
        .route("/tile/{*path}", get(present_tile))
        .route("/tile/entries/{*path}", get(bundle))
        .with_state(Arc::new(Audited {
            log,
            registry,
            hours: Mutex::default(),
        }))
}

/// A log as anybody sees it.
struct Shown {
    log: Ledger,
    published: watch::Receiver<Option<Arc<Published>>>,
    reads: Semaphore,
}

impl Shown {
    fn head(&self) -> Result<Arc<Published>, Denied> {
        self.published.borrow().clone().ok_or(Denied::Absent)
    }
}

async fn published_checkpoint(State(shown): State<Arc<Shown>>) -> Result<Response, Denied> {
    let head = shown.head()?;
    Ok(text(FOR_SECONDS, head.checkpoint.as_str().to_owned()))
}

async fn published_tile(State(shown): State<Arc<Shown>>, uri: Uri) -> Result<Response, Denied> {
    let (id, head) = (tile_of(&uri)?, shown.head()?);
    within(&id, head.size)?;
    // The right edge stays in memory; every other tile is full, and stored.
    let edge = head
        .edge
        .iter()
        .find(|tile| (tile.id().level(), tile.id().index()) == (id.level(), id.index()));
    let tile = match edge {
        Some(tile) => tile.narrowed(id.width()).map_err(Error::from)?,
        None => {
            let turn = tokio::time::timeout(TURN, shown.reads.acquire()).await;
            let _turn = turn
                .ok()
                .and_then(Result::ok)
                .ok_or(Denied::Failed(Error::Overloaded))?;
            shown.log.tile(id).await?
        }
    };
    Ok(bytes(FOR_EVER, tile.to_bytes()))
}

/// A log as an auditor sees it.
struct Audited {
    log: Ledger,
    registry: Registry,
    /// The hour in which each auditor's reading of entries was written down last, by the auditor's key.
    hours: Mutex<HashMap<Sha256, i64>>,
}

async fn present_checkpoint(State(audited): State<Arc<Audited>>, _: Auditor) -> Response {
    text(NOT_AT_ALL, audited.log.head().checkpoint.as_str().to_owned())
}

async fn present_tile(State(audited): State<Arc<Audited>>, _: Auditor, uri: Uri) -> Result<Response, Denied> {
    let id = tile_of(&uri)?;
    within(&id, audited.log.head().size)?;
    Ok(bytes(PRIVATE, audited.log.tile(id).await?.to_bytes()))
}

async fn bundle(
    State(audited): State<Arc<Audited>>,
    Auditor(auditor): Auditor,
    uri: Uri,
) -> Result<Response, Denied> {
    // A bundle is where the tile of its entries' hashes is.
    let path = uri
        .path()
        .strip_prefix("/tile/entries/")
        .ok_or(Denied::Malformed)?;
    let id: TileId = format!("tile/0/{path}").parse().map_err(|_| Denied::Malformed)?;
    bare(&uri)?;
    within(&id, audited.log.head().size)?;
    audited.note_reading(&auditor, id).await?;
    Ok(bytes(PRIVATE, audited.log.bundle(id).await?))
}

impl Audited {
    /// Writes down that an auditor reads entries, once an hour: the entry is durable before the first of them leaves. Where
    /// the log cannot be written, each bundle is counted for the next `tally`.
    async fn note_reading(&self, auditor: &Peer, id: TileId) -> Result<(), Error> {
        let hour = self.log.inner().clock.now().secs().div_euclid(3_600);
        let mut hours = self.hours.lock().await;
        if hours.get(&auditor.spki_sha256) == Some(&hour) {
            return Ok(());
        }
        let query = Query {
            kind: "bundles",
            reader: auditor,
            size: self.log.head().size,
            what: "any entry, for an hour".to_owned(),
            purpose: "",
            rows: id.width().into(),
            cursor: None,
            directory_version: self.registry.version(),
        };
        if !self.log.queried_or_counted(&query).await? {
            return Ok(());
        }
        hours.retain(|_, noted| *noted == hour);
        hours.insert(auditor.spki_sha256, hour);
        Ok(())
    }
}

impl Ledger {
    /// A tile of the committed log, which has it.
    async fn tile(&self, id: TileId) -> Result<Tile, Error> {
        tile_at(&self.inner().db, self.inner().log, id, Some(&self.view().tree)).await
    }

    /// The entries under a tile of leaf hashes of the committed log, each after its length.
    async fn bundle(&self, id: TileId) -> Result<Vec<u8>, Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        let (first, width) = (id.first(), id.width());
        let entries = entry_range(db, log, first, first + u64::from(width)).await?;
        if entries.len() != usize::from(width) {
            return Err(Error::Corrupt("an entry is missing"));
        }
        let mut bundle = Vec::with_capacity(entries.iter().map(|(_, entry)| entry.len() + 2).sum());
        for (_, entry) in entries {
            let length = u16::try_from(entry.len()).map_err(|_| Error::Corrupt("an entry is too long"))?;
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend_from_slice(&entry);
        }
        Ok(bundle)
    }
}

/// An auditor, by its certificate.
struct Auditor(Peer);

impl<S: Sync> FromRequestParts<S> for Auditor {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        let peer = Peer::from_request_parts(parts, state).await;
        match peer {
            Ok(peer) if matches!(peer.id, PeerId::Auditor(_)) => Ok(Self(peer)),
            Ok(_) | Err(_) => Err(Denied::NotAuditor),
        }
    }
}

fn tile_of(uri: &Uri) -> Result<TileId, Denied> {
    bare(uri)?;
    let path = uri.path().strip_prefix('/').ok_or(Denied::Malformed)?;
    path.parse().map_err(|_| Denied::Malformed)
}

/// A resource has one address, so that a cache holds it once.
fn bare(uri: &Uri) -> Result<(), Denied> {
    match uri.query() {
        None => Ok(()),
        Some(_) => Err(Denied::Malformed),
    }
}

fn within(id: &TileId, size: u64) -> Result<(), Denied> {
    match id.width() <= id.width_in(size) {
        true => Ok(()),
        false => Err(Denied::Absent),
    }
}

/// Why nothing is shown.
#[derive(Debug)]
enum Denied {
    Malformed,
    Absent,
    NotAuditor,
    Failed(Error),
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let (code, why) = match self {
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "a tile is /tile/<L>/<N> or /tile/<L>/<N>.p/<W>, as C2SP tlog-tiles writes it\n",
            ),
            Self::Absent => (StatusCode::NOT_FOUND, "not in the log as it is shown here\n"),
            Self::NotAuditor => (
                StatusCode::FORBIDDEN,
                "NOT_ENTITLED: a log is read here with an auditor's certificate; checkpoints and hash tiles are for \
                 anybody on the public address\n",
            ),
            Self::Failed(error) => {
                tracing::error!(error = status::chain(&error), "the log could not be shown");
                let later = [(RETRY_AFTER, "5"), (CACHE_CONTROL, NOT_AT_ALL)];
                let why = "the log cannot be read at this moment\n";
                return (StatusCode::SERVICE_UNAVAILABLE, later, why).into_response();
            }
        };
        (code, headers(TEXT, NOT_AT_ALL), why).into_response()
    }
}

fn headers(kind: &'static str, kept: &'static str) -> [(HeaderName, &'static str); 3] {
    [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, kept),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
}

fn text(kept: &'static str, body: String) -> Response {
    (headers(TEXT, kept), body).into_response()
}

fn bytes(kept: &'static str, body: Vec<u8>) -> Response {
    (headers(BYTES, kept), body).into_response()
}
