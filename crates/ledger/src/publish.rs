//! The head that third parties see: a new one at most once a period, so that the log's growth does not tell when its
//! participant asks for something.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use unefois_core::Micros;
use unefois_mesh::status;
use unefois_store::checkpoint::{PublishedHead, checkpoint_publish, checkpoint_read};
use unefois_tlog::{Hash, SignedCheckpoint, Tile, Tree};

use crate::read::edge_at;
use crate::witness::{AskError, Asked, Cosigned};
use crate::{Error, Ledger};

/// How long a head waits for the witnesses before it is shown without them.
const COSIGNED_WITHIN: Duration = Duration::from_secs(5);

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

/// Publishes the heads of one log, each with the cosignatures of those witnesses that answer.
#[derive(Debug)]
pub struct Publisher {
    log: Ledger,
    period: Duration,
    published: watch::Sender<Option<Arc<Published>>>,
    witnesses: Vec<Asked>,
    cosigned: Arc<Cosigned>,
}

impl Publisher {
    /// Takes up what was published before; a new head is published once `period` has passed since.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the log does not hold what was published of it; [`Error::Store`].
    pub(crate) async fn open(
        log: Ledger,
        period: Duration,
        mut witnesses: Vec<Asked>,
    ) -> Result<Self, Error> {
        let inner = log.inner();
        let before = match checkpoint_read(&inner.db, inner.log).await? {
            Some(stored) => Some(Arc::new(taken_up(&log, stored).await?)),
            None => None,
        };
        if let Some(before) = &before {
            for witness in &mut witnesses {
                witness.take_up(before.size, &before.checkpoint);
            }
        }
        let cosigned = Arc::new(Cosigned::new(
            log.origin().as_str(),
            &inner.clock,
            period,
            &witnesses,
        ));
        Ok(Self {
            published: watch::Sender::new(before),
            log,
            period,
            witnesses,
            cosigned,
        })
    }

    /// What is published at each moment.
    pub fn published(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    /// How old the cosignatures are.
    pub fn cosigned(&self) -> Arc<Cosigned> {
        Arc::clone(&self.cosigned)
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
            let turn = tokio::select! {
                () = shutdown.cancelled() => return,
                turn = self.turn() => turn,
            };
            failed = turn.is_err();
            if let Err(error) = turn {
                tracing::error!(error = status::chain(&error), "the log's head is not published");
            }
        }
    }

    /// Publishes what is due now, if anything is: a new head, or the present one with fresh cosignatures. A witness
    /// that does not answer delays it by 5 s at most.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`], [`Error::Fenced`]; what was published stays.
    pub async fn turn(&mut self) -> Result<(), Error> {
        let held = self.published.borrow().clone();
        let Some(head) = self.candidate(held.as_deref()).await? else {
            return Ok(());
        };
        // The log signs the same bytes again, here without the cosignatures of those that are asked.
        let bare = self.log.checkpoint(head.size).await?;
        self.ask(head.size, &bare).await;
        let mut checkpoint = SignedCheckpoint::clone(&bare);
        for line in self
            .witnesses
            .iter()
            .filter_map(|witness| witness.line(head.size))
        {
            checkpoint.add(line.clone())?;
        }
        let next = Published { checkpoint, ..head };
        match held.is_some_and(|held| *held == next) {
            true => Ok(()),
            false => self.publish(next).await,
        }
    }

    /// The head to be published: a new one where it is time, else the one held. A log that may not be written shows
    /// nothing new: somebody may hold a later head of it.
    async fn candidate(&self, held: Option<&Published>) -> Result<Option<Published>, Error> {
        let (inner, head) = (self.log.inner(), self.log.head());
        let now = inner.clock.now();
        let writable = self.log.is_writable();
        match held {
            Some(held) if head.size <= held.size || !writable || !self.is_due(held, now) => {
                Ok(Some(held.clone()))
            }
            None if head.size == 0 || !writable => Ok(None),
            Some(_) | None => Ok(Some(Published {
                edge: edge_at(&inner.db, inner.log, head.size, Some(&self.log.view().tree)).await?,
                size: head.size,
                root: head.root,
                checkpoint: SignedCheckpoint::clone(&head.checkpoint),
                at: now,
            })),
        }
    }

    /// Asks the witnesses whose turn it is, all at once.
    async fn ask(&mut self, size: u64, head: &SignedCheckpoint) {
        let (log, period_ms) = (&self.log, self.period_ms());
        let now = log.inner().clock.now();
        let due = self
            .witnesses
            .iter_mut()
            .filter(|witness| witness.is_due(size, now, period_ms));
        join_all(due.map(async |witness| {
            let answer = tokio::time::timeout(COSIGNED_WITHIN, witness.ask(log, size, head)).await;
            let answer = answer.unwrap_or(Err(AskError::Late));
            let name = witness.name();
            match answer {
                Ok(()) => tracing::debug!(witness = name, size, "head cosigned"),
                Err(error @ AskError::Contradicts(_)) => {
                    tracing::error!(
                        witness = name,
                        size,
                        error = status::chain(&error),
                        "head not cosigned"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        witness = name,
                        size,
                        error = status::chain(&error),
                        "head not cosigned"
                    );
                }
            }
        }))
        .await;
        self.cosigned.note(&self.witnesses);
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

    /// How long until the next turn: until a head is due, but a tenth of the period where a witness is to be asked.
    fn wait(&self) -> Duration {
        let now = self.log.inner().clock.now();
        let soonest = self.period / 10;
        let held = self.published.borrow();
        let Some(held) = held.as_ref() else {
            return soonest;
        };
        let fresh = |since: Micros| since.plus_ms(self.period_ms()).ms_since(now);
        let asked = self
            .witnesses
            .iter()
            .map(|witness| match witness.line(held.size) {
                Some(_) => witness.cosigned_at().map_or(0, fresh),
                None => 0,
            });
        let left = asked.chain([fresh(held.at)]).min().unwrap_or(0);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        left.clamp(soonest, self.period)
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
    let edge = edge_at(&inner.db, inner.log, stored.size, Some(&log.view().tree)).await?;
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
