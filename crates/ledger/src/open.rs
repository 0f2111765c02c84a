//! The start of a log: what would stop it is found first, then the log is taken from whoever wrote it, compared with all
//! that is kept of it, and only then written.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::{Clock, Random};
use unefois_store::Db;
use unefois_store::entry::{owner, partition_ensure};
use unefois_store::head::{self, head_marks, head_read, head_replicated, head_take};
use unefois_store::name::Names;
use unefois_tlog::{Checkpoint, Origin, SignedCheckpoint, SignerKey};

use crate::anchor::Anchor;
use crate::attempt::Registry;
use crate::batch::State;
use crate::guard::{Guard, Safeguards, Standing};
use crate::log::Inner;
use crate::lookout::{anchor_heads, watch_store};
use crate::read::tree_at;
use crate::sequencer::{Published, Sequencer};
use crate::tally::Tally;
use crate::{Error, Keys, Ledger};

/// How many items wait at most.
const QUEUE: usize = 4_096;

impl Ledger {
    /// Opens the log that `keys.signer` signs, in a new epoch: whoever wrote it before writes nothing more.
    ///
    /// A database that does not hold what the anchor or kept evidence says is opened for reading:
    /// [`Ledger::standing`] tells. Before anything is written, ask peers too ([`Inquiry`](crate::Inquiry)).
    ///
    /// # Errors
    /// [`Error::Corrupt`] if what is stored is not what the signed head says, or was signed by another key;
    /// [`Error::Closed`]; [`Error::Anchor`] if there is one that does not read, is of another log, or cannot be
    /// written; [`Error::Store`].
    pub async fn open(
        db: Db,
        keys: Keys,
        safeguards: Safeguards,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let origin: Origin = keys.signer.verifier().name().as_str().parse()?;
        if safeguards.synchronous_standby {
            // Without one the first commit would wait for it.
            db.check_standby().await?;
        }
        let anchor = match &safeguards.anchor {
            Some(path) => Anchor::read(path, keys.signer.verifier())?,
            None => None,
        };
        let signer = Arc::new(keys.signer);
        // What would stop this start is found before the log is taken from whoever writes it.
        if let Some(path) = safeguards.anchor.clone() {
            let tried = tokio::task::spawn_blocking(move || Anchor::try_folder(&path)).await;
            tried.map_err(|_| Error::Unavailable)??;
        }
        let before = match head_read(&db, origin.as_str()).await? {
            Some(head) => {
                let state = restore(&db, &head, origin.clone(), Arc::clone(&signer)).await?;
                Some((head, state))
            }
            None => None,
        };
        let floor = anchor.as_ref().map_or(0, |anchor| anchor.epoch);
        let holder = random.uuid_v4();
        let mut tx = db.begin().await?;
        let head = head_take(&mut tx, origin.as_str(), holder, floor).await?;
        let marks = head_marks(&mut tx, origin.as_str()).await?;
        if marks.closed_at.is_some() {
            return Err(Error::Closed);
        }
        tx.commit().await?;
        if safeguards.synchronous_standby && !head_replicated(&db, head.log, head.epoch, head.size).await? {
            return Err(Error::Fenced);
        }
        partition_ensure(&db, head.size).await?;

        // Unless whoever wrote it went on until it was taken.
        let same = |read: &head::Head| {
            (read.size, read.root, &read.checkpoint) == (head.size, head.root, &head.checkpoint)
        };
        let unmoved = before.filter(|(read, _)| same(read));
        let state = match unmoved {
            Some((_, state)) => State {
                epoch: head.epoch,
                at: head.at,
                view: head.view,
                ..state
            },
            None => restore(&db, &head, origin.clone(), Arc::clone(&signer)).await?,
        };
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let guard = Arc::new(Guard::new(
            db.clone(),
            (&state.head(), &state.tree),
            head.log,
            signer.verifier().clone(),
            Arc::clone(&clock),
            (safeguards.anchor.clone(), anchor.as_ref()),
            tasks.clone(),
        ));
        if marks.restored_at.is_some() {
            guard.stop(Standing::Unproved);
            tracing::error!(log = %origin, "{}", Standing::Unproved);
        }
        guard.compare_kept(anchor.as_ref()).await?;
        match (&safeguards.anchor, &anchor) {
            (Some(path), None) if head.size > 0 => tracing::warn!(
                path = %path.display(),
                "there is no anchor yet: what the database lost before this start is known to peers alone"
            ),
            (None, _) => tracing::warn!(
                log = %origin,
                "no anchor is set ([ledger] anchor): only peers would notice that the database is an old copy"
            ),
            (Some(_), _) => {}
        }
        guard.check_store(&safeguards)?;
        guard.try_anchor(&state.head()).await?;

        let patience = safeguards.patience;
        let (queue, items) = mpsc::channel(QUEUE);
        let first = Published {
            head: state.head(),
            tree: Arc::clone(&state.tree),
        };
        let (publish, published) = watch::channel(Arc::new(first));
        let sequencer = Sequencer {
            db: db.clone(),
            holder,
            clock: Arc::clone(&clock),
            state,
            queue: items,
            published: publish,
            guard: Arc::clone(&guard),
            settled: safeguards.patience.settled,
            synchronous_standby: safeguards.synchronous_standby,
            closing: closing.clone(),
        };
        tasks.spawn(sequencer.run());
        tasks.spawn(anchor_heads(
            Arc::clone(&guard),
            published.clone(),
            closing.clone(),
        ));
        tasks.spawn(watch_store(Arc::clone(&guard), safeguards, closing.clone()));
        tasks.close();
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                log: head.log,
                origin,
                signer,
                node_key: keys.node_key,
                clock,
                random,
                queue,
                published,
                shelf: Arc::default(),
                guard,
                patience,
                attempts: Registry::default(),
                tally: Tally::default(),
                closing,
                tasks,
            }),
        })
    }
}

/// Rebuilds the writer's state from what is stored and checks it against the signed head.
async fn restore(db: &Db, head: &head::Head, origin: Origin, signer: Arc<SignerKey>) -> Result<State, Error> {
    let tree = tree_at(db, head.log, head.size, None).await?;
    if tree.root() != head.root {
        return Err(Error::Corrupt(
            "the last entries or tiles do not make the stored root",
        ));
    }
    let expected = Checkpoint::new(origin.clone(), head.size, head.root)?;
    let checkpoint = if head.size == 0 {
        expected.sign(&signer)?
    } else {
        let stored = SignedCheckpoint::parse(head.checkpoint.as_bytes())
            .map_err(|_| Error::Corrupt("the stored checkpoint does not parse"))?;
        match stored.verify(signer.verifier()) {
            Ok(said) if *said == expected => stored,
            Ok(_) => return Err(Error::Corrupt("the stored checkpoint is of another head")),
            Err(_) => {
                return Err(Error::Corrupt(
                    "the stored checkpoint is not signed by this log's key",
                ));
            }
        }
    };
    Ok(State {
        log: head.log,
        owner: owner(origin.as_str()),
        origin,
        names: Names::default(),
        signer,
        epoch: head.epoch,
        tree: Arc::new(tree),
        at: head.at,
        view: head.view,
        checkpoint: Arc::new(checkpoint),
    })
}
