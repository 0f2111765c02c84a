//! The head that third parties see: a new one at most once a period, so that the log's growth does not tell when its
//! participant asks for something.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use unefois_core::Micros;
use unefois_mesh::status;
use unefois_store::checkpoint::{PublishedHead, checkpoint_publish, checkpoint_read};
use unefois_tlog::{Hash, SignedCheckpoint, Tile, Tree};

use crate::read::edge_at;
use crate::{Error, Ledger};

/// The head that anybody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// How many entries it covers.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The signed checkpoint, with the cosignatures it was given.
    pub checkpoint: SignedCheckpoint,
    /// When this size was published.
    pub at: Micros,
    /// Its partial tiles.
    pub(crate) edge: Vec<Tile>,
}

/// Publishes the heads of one log.
#[derive(Debug)]
pub struct Publisher {
    log: Ledger,
    period: Duration,
    published: watch::Sender<Option<Arc<Published>>>,
}

impl Publisher {
    /// Takes up what was published before; a new head is published once `period` has passed since.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the log does not hold what was published of it; [`Error::Store`].
    pub async fn open(log: Ledger, period: Duration) -> Result<Self, Error> {
        let inner = log.inner();
        let before = match checkpoint_read(&inner.db, inner.log).await? {
            Some(stored) => Some(Arc::new(taken_up(&log, stored).await?)),
            None => None,
        };
        Ok(Self {
            published: watch::Sender::new(before),
            log,
            period,
        })
    }

    /// What is published at each moment.
    pub fn published(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    /// Publishes until `shutdown`: first once the log has an entry, then each period.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut failed = false;
        loop {
            let expected = self.published.borrow().is_none() && self.log.is_writable() && !failed;
            let first = async {
                match expected {
                    true => drop(self.log.changed(0).await),
                    false => std::future::pending().await,
                }
            };
            let wait = tokio::time::timeout(self.wait(), first);
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = wait => {}
            }
            let turn = self.turn().await;
            failed = turn.is_err();
            if let Err(error) = turn {
                tracing::error!(error = status::chain(&error), "the log's head is not published");
            }
        }
    }

    /// What is due now, if anything is.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]; what was published stays.
    pub async fn turn(&mut self) -> Result<(), Error> {
        let held = self.published.borrow().clone();
        let now = self.log.inner().clock.now();
        let head = self.log.head();
        let due = held.as_ref().is_none_or(|held| self.is_due(held, now));
        if !due || head.size == 0 || held.is_some_and(|held| held.size >= head.size) {
            return Ok(());
        }
        let inner = self.log.inner();
        let edge = edge_at(&inner.db, inner.log, head.size).await?;
        self.publish(Published {
            size: head.size,
            root: head.root,
            checkpoint: SignedCheckpoint::clone(&head.checkpoint),
            at: now,
            edge,
        })
        .await
    }

    /// Shows a head once it is stored.
    async fn publish(&self, head: Published) -> Result<(), Error> {
        let inner = self.log.inner();
        let row = PublishedHead {
            size: head.size,
            root: head.root,
            checkpoint: head.checkpoint.to_string(),
            at: head.at,
        };
        let mut tx = inner.db.begin().await?;
        if !checkpoint_publish(&mut tx, inner.log, &row).await? {
            return Err(Error::Fenced);
        }
        tx.commit().await?;
        self.published.send_replace(Some(Arc::new(head)));
        Ok(())
    }

    fn is_due(&self, held: &Published, now: Micros) -> bool {
        // A clock that went back must not silence the log until it has caught up.
        !(held.at..held.at.plus_ms(self.period_ms())).contains(&now)
    }

    /// How long until the next turn.
    fn wait(&self) -> Duration {
        let now = self.log.inner().clock.now();
        let held = self.published.borrow();
        let left = held.as_ref().map_or(self.period_ms(), |held| {
            held.at.plus_ms(self.period_ms()).ms_since(now)
        });
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        left.clamp(self.period / 10, self.period)
    }

    fn period_ms(&self) -> i64 {
        i64::try_from(self.period.as_millis()).unwrap_or(i64::MAX)
    }
}

/// What was published before a start, once the log is seen to hold it.
async fn taken_up(log: &Ledger, stored: PublishedHead) -> Result<Published, Error> {
    let inner = log.inner();
    let other = Error::Corrupt("the log is not the one whose head was published");
    if stored.size > log.head().size {
        return Err(other);
    }
    let edge = edge_at(&inner.db, inner.log, stored.size).await?;
    let checkpoint = SignedCheckpoint::parse(stored.checkpoint.as_bytes())?;
    let said = checkpoint.verify(log.verifier())?;
    let root = Tree::restore(stored.size, &edge)?.root();
    if (said.size, said.root) != (stored.size, root) || root != stored.root {
        return Err(other);
    }
    Ok(Published {
        size: stored.size,
        root,
        checkpoint,
        at: stored.at,
        edge,
    })
}
