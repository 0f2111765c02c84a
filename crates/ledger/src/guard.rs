//! The guard of one log: whether it may be written, and what stops it (I7).
//!
//! A database that went back — an old copy put in its place, a failover that lost commits — looks sound from inside: only
//! a head that somebody else holds shows what is missing. Whoever has one shows it to [`Ledger::seen`](crate::Ledger),
//! and a log that does not hold it writes nothing more. The evidence is kept, beside the log and in its anchor, so that a
//! restart finds it again.

mod anchoring;
mod standing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use unefois_core::{Boot, Clock, Event, ParticipantId};
use unefois_store::Db;
use unefois_store::head::{head_proved_last, head_read, origins_open};
use unefois_store::peer::{PeerHead, peer_head, peer_head_replace};
use unefois_tlog::{Checkpoint, Hash, Origin, SignedCheckpoint, Tree, VerifierKey};

pub use self::standing::Standing;
use self::standing::refusal;
use crate::Error;
use crate::anchor::Anchor;
use crate::read::tree_at;
use crate::receipt::Head;

/// How many published heads are compared without reading the database: what peers show is mostly of late.
const RECENT: usize = 4_096;
/// How long the server may take to say what standbys it has.
const STANDBY_WITHIN: Duration = Duration::from_secs(2);

/// How a head that somebody holds stands to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The log has it.
    Continued,
    /// The log does not have it: it is read-only from now on.
    Contradicted,
}

/// What keeps a log from being written on top of a past that is not its own, and its callers from waiting for it.
#[derive(Clone, Debug, Default)]
pub struct Safeguards {
    /// The file, outside the database, that remembers the last published head; without one, only peers do.
    pub anchor: Option<PathBuf>,
    /// How many bytes of disk must be left for exchanges, on SQLite; 0 for any.
    pub disk_floor_bytes: u64,
    /// Whether PostgreSQL must have a synchronous standby.
    pub synchronous_standby: bool,
    /// How long callers wait.
    pub patience: Patience,
}

/// How long callers wait before they are told that nothing is known to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For their entry to be durable.
    pub written: Duration,
    /// For the outcome of a batch that the database did not acknowledge: on a full disk nothing is learnt any more.
    pub settled: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            written: Duration::from_secs(2),
            settled: Duration::from_millis(500),
        }
    }
}

/// The heads shown of late.
#[derive(Debug, Default)]
struct Recent {
    roots: BTreeMap<u64, Hash>,
    /// The tree of the last one.
    tree: Arc<Tree>,
}

#[derive(Debug)]
pub(crate) struct Guard {
    db: Db,
    log: i32,
    origin: Origin,
    key: VerifierKey,
    clock: Arc<dyn Clock>,
    stops: AtomicU8,
    /// Whether the batch under way has taken too long.
    late: AtomicBool,
    recent: Mutex<Recent>,
    /// Who has not yet said what it holds, of those whose logs a restored one has seen.
    awaited: Mutex<Vec<ParticipantId>>,
    anchor: Option<PathBuf>,
    /// What is written to the anchor's file, one writer at a time; whether the last write succeeded. Held by the thread
    /// that writes, until the disk lets it go.
    anchored: Arc<tokio::sync::Mutex<bool>>,
    /// Since when a write of the anchor is under way, if one is.
    writing: Arc<Mutex<Option<Boot>>>,
    /// What is finished whatever becomes of the call that began it.
    tasks: TaskTracker,
    /// Whether the anchor named exactly the head that the log was opened with.
    pub(crate) anchor_is_head: bool,
}

impl Guard {
    pub(crate) fn new(
        db: Db,
        (head, tree): (&Head, &Arc<Tree>),
        log: i32,
        key: VerifierKey,
        clock: Arc<dyn Clock>,
        anchor: (Option<PathBuf>, Option<&Anchor>),
        tasks: TaskTracker,
    ) -> Self {
        let (path, read) = anchor;
        let is_head = |anchor: &Anchor| {
            let said = anchor.checkpoint.verify(&key);
            said.is_ok_and(|said| (said.size, said.root) == (head.size, head.root))
        };
        let anchor_is_head = read.is_some_and(is_head);
        let guard = Self {
            db,
            log,
            origin: head.origin.clone(),
            clock,
            stops: AtomicU8::new(0),
            late: AtomicBool::new(false),
            recent: Mutex::default(),
            awaited: Mutex::default(),
            anchor: path,
            anchored: Arc::new(tokio::sync::Mutex::new(true)),
            writing: Arc::default(),
            tasks,
            anchor_is_head,
            key,
        };
        guard.published(head, tree);
        guard
    }

    pub(crate) fn standing(&self) -> Standing {
        let stops = self.stops.load(Ordering::Acquire);
        let found = Standing::WORST_FIRST.into_iter().find(|s| stops & s.bit() != 0);
        found.unwrap_or(Standing::Open)
    }

    /// Stops what `standing` forbids; whether it did not hold before.
    pub(crate) fn stop(&self, standing: Standing) -> bool {
        self.stops.fetch_or(standing.bit(), Ordering::AcqRel) & standing.bit() == 0
    }

    /// Lets go on what `standing` forbade; whether it held before.
    pub(crate) fn lift(&self, standing: Standing) -> bool {
        self.stops.fetch_and(!standing.bit(), Ordering::AcqRel) & standing.bit() != 0
    }

    /// Whether the database owes the answer to a batch for too long.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Ordering::Acquire)
    }

    pub(crate) fn set_late(&self, late: bool) {
        self.late.store(late, Ordering::Release);
    }

    /// Whom a restored log waits for.
    pub(crate) fn awaited(&self) -> Vec<ParticipantId> {
        if self.standing() != Standing::Unproved {
            return Vec::new();
        }
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.clone()
    }

    pub(crate) fn set_awaited(&self, peers: Vec<ParticipantId>) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = peers;
    }

    /// Whether anything may be written.
    pub(crate) fn writes(&self) -> Result<(), Error> {
        match self.standing() {
            Standing::Open | Standing::DiskFloor | Standing::Unreplicated => Ok(()),
            standing => Err(refusal(standing)),
        }
    }

    /// Whether a new exchange may begin.
    pub(crate) fn exchanges(&self) -> Result<(), Error> {
        match self.standing() {
            Standing::Open => Ok(()),
            standing => Err(refusal(standing)),
        }
    }

    /// Whether an entry of `event` may be written: one that begins something needs more room than one that ends it.
    pub(crate) fn takes(&self, event: Event) -> Result<(), Error> {
        match event {
            Event::Released | Event::ReleasedAgain | Event::Granted | Event::Minted => self.exchanges(),
            _ => self.writes(),
        }
    }

    /// Remembers a head that is about to be shown to others.
    pub(crate) fn published(&self, head: &Head, tree: &Arc<Tree>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.tree = Arc::clone(tree);
        recent.roots.insert(head.size, head.root);
        while recent.roots.len() > RECENT {
            recent.roots.pop_first();
        }
    }

    /// Compares `signed`, a head of this very log that `by` holds, with the log.
    pub(crate) async fn seen(self: &Arc<Self>, signed: &SignedCheckpoint, by: &str) -> Result<Seen, Error> {
        let shown = signed.verify(&self.key)?;
        if self.holds(shown.size, &shown.root).await? {
            return Ok(Seen::Continued);
        }
        self.contradicted(self.evidence(shown, signed), by).await;
        Ok(Seen::Contradicted)
    }

    /// Compares `signed`, a head of another log of this database, with that log: replicas share their claims, so what
    /// one lost, all lost.
    pub(crate) async fn seen_beside(
        self: &Arc<Self>,
        key: &VerifierKey,
        signed: &SignedCheckpoint,
        by: &str,
    ) -> Result<Seen, Error> {
        let shown = signed.verify(key)?;
        let origin = shown.origin.as_str();
        // A log that was closed is no longer compared, and one that is kept elsewhere never was.
        if !origins_open(&self.db).await?.iter().any(|open| open == origin) {
            return Ok(Seen::Continued);
        }
        if stored_holds(&self.db, origin, shown.size, &shown.root).await? {
            return Ok(Seen::Continued);
        }
        self.contradicted(self.evidence(shown, signed), by).await;
        Ok(Seen::Contradicted)
    }

    async fn holds(&self, size: u64, root: &Hash) -> Result<bool, Error> {
        let (recent, tree) = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            (recent.roots.get(&size).copied(), Arc::clone(&recent.tree))
        };
        match recent {
            Some(held) => Ok(held == *root),
            None if size < tree.size() => {
                let then = tree_at(&self.db, self.log, size, Some(&tree)).await?;
                Ok(then.root() == *root)
            }
            // Ahead of this process: another one may go on with the log, in the same database. Where that cannot be read,
            // nothing may be written either.
            None => match stored_holds(&self.db, self.origin.as_str(), size, root).await {
                Ok(holds) => Ok(holds),
                Err(error) => {
                    self.stop(Standing::RolledBack);
                    Err(error)
                }
            },
        }
    }

    /// Says of every head that is kept as evidence whether the database holds it; called before anything is written.
    pub(crate) async fn compare_kept(self: &Arc<Self>, anchor: Option<&Anchor>) -> Result<(), Error> {
        if let Some(anchor) = anchor {
            self.seen(&anchor.checkpoint, "the anchor").await?;
        }
        for origin in origins_open(&self.db).await? {
            let Some(kept) = peer_head(&self.db, &origin).await? else {
                continue;
            };
            if !stored_holds(&self.db, &origin, kept.size, &kept.root).await? {
                self.contradicted((origin, kept), "the evidence kept in the database")
                    .await;
            }
        }
        Ok(())
    }

    /// The database does not hold the head that this process wrote: what it wrote is the evidence.
    pub(crate) async fn lost(self: &Arc<Self>, head: &Head) {
        match stored_holds(&self.db, self.origin.as_str(), head.size, &head.root).await {
            Ok(true) => {}
            Ok(false) => {
                let evidence = PeerHead {
                    size: head.size,
                    root: head.root,
                    checkpoint: head.checkpoint.as_str().to_owned(),
                    at: self.clock.now(),
                };
                self.contradicted((self.origin.to_string(), evidence), "this process")
                    .await;
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "it is not known whether the database went back"
            ),
        }
    }

    fn evidence(&self, shown: &Checkpoint, signed: &SignedCheckpoint) -> Evidence {
        let head = PeerHead {
            size: shown.size,
            root: shown.root,
            checkpoint: signed.as_str().to_owned(),
            at: self.clock.now(),
        };
        (shown.origin.to_string(), head)
    }

    /// Stops the log at once, says so, and keeps the evidence: in the anchor first, which depends on no database. The
    /// caller may give up meanwhile; the evidence is kept all the same.
    async fn contradicted(self: &Arc<Self>, (origin, evidence): Evidence, by: &str) {
        self.stop(Standing::RolledBack);
        tracing::error!(
            origin,
            by,
            size = evidence.size,
            root = %evidence.root,
            log = %self.origin,
            "the log is read-only: somebody holds a head that the database does not have, so it is an old copy, or was \
             changed. Put the right database back and start again; if it is lost, type: unefois ledger close --database \
             URL --signer FILE, draw a new log key with the next shard, and have the directory list it"
        );
        let guard = Arc::clone(self);
        let kept = self.tasks.spawn(async move {
            if origin == guard.origin.as_str() {
                let head = || SignedCheckpoint::parse(evidence.checkpoint.as_bytes()).ok();
                guard.write_anchor(head, 0).await;
            }
            if let Err(error) = guard.keep(&origin, &evidence).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the evidence is not kept in the database"
                );
            }
        });
        // It fails only where the process ends.
        let _ended = kept.await;
    }

    async fn keep(&self, origin: &str, evidence: &PeerHead) -> Result<(), Error> {
        loop {
            let kept = peer_head(&self.db, origin).await?;
            if let Some(kept) = &kept {
                let still = !stored_holds(&self.db, origin, kept.size, &kept.root).await?;
                if still && kept.size >= evidence.size {
                    return Ok(());
                }
            }
            let mut tx = self.db.begin().await?;
            let from = kept.map(|kept| kept.size);
            let replaced = peer_head_replace(&mut tx, origin, from, evidence).await?;
            tx.commit().await?;
            if replaced {
                return Ok(());
            }
        }
    }

    /// Whether the database is still where it was, with room enough; called at start and then again and again.
    pub(crate) fn check_store(&self, safeguards: &Safeguards) -> Result<(), Error> {
        if let Err(error) = self.db.check_file() {
            if self.stop(Standing::Replaced) {
                tracing::error!(log = %self.origin, "{}: put it back and start again", Standing::Replaced);
            }
            return Err(error.into());
        }
        let free = self.db.free_bytes()?;
        match free.is_some_and(|free| free < safeguards.disk_floor_bytes) {
            true if self.stop(Standing::DiskFloor) => tracing::error!(
                floor = safeguards.disk_floor_bytes,
                "{}: free some; exchanges go on by themselves then",
                Standing::DiskFloor
            ),
            false if self.lift(Standing::DiskFloor) => {
                tracing::warn!("there is disk enough again: exchanges go on");
            }
            true | false => {}
        }
        Ok(())
    }

    /// Whether the synchronous standby that must be there still is; called again and again.
    pub(crate) async fn check_standby(&self) {
        let checked = tokio::time::timeout(STANDBY_WITHIN, self.db.check_standby()).await;
        match checked {
            Ok(Ok(())) if self.lift(Standing::Unreplicated) => {
                tracing::warn!("the synchronous standby is back: exchanges go on");
            }
            Ok(Err(error @ unefois_store::Error::Standby(_))) if self.stop(Standing::Unreplicated) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no exchange until a standby is back"
                );
            }
            // A server that does not answer writes nothing either.
            Ok(_) | Err(_) => {}
        }
    }

    /// Takes the mark of a restored backup off: the anchor and every peer that the log knows hold nothing later.
    pub(crate) async fn proved_last(&self) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        head_proved_last(&mut tx, self.origin.as_str()).await?;
        tx.commit().await?;
        if self.lift(Standing::Unproved) {
            tracing::warn!(log = %self.origin, "the restored log is shown to be the last one: it is written again");
        }
        Ok(())
    }
}

/// A log, and a head of it that the database does not hold.
type Evidence = (String, PeerHead);

/// Whether the log of `origin` holds this head, as the database has it now.
async fn stored_holds(db: &Db, origin: &str, size: u64, root: &Hash) -> Result<bool, Error> {
    let Some(head) = head_read(db, origin).await? else {
        return Ok(size == 0);
    };
    if head.size < size {
        return Ok(false);
    }
    if head.size == size {
        return Ok(head.root == *root);
    }
    Ok(tree_at(db, head.log, size, None).await?.root() == *root)
}
