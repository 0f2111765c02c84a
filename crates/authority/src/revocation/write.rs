//! Withdrawals as they are recorded: each in the transaction that changes what it withdraws, announced in the order of
//! commits.

use unefois_store::authority::GrantId;
use unefois_store::authority::mandate::mandate_end;
use unefois_store::authority::narrow::{Narrowing, narrow};
use unefois_store::authority::opposition::{Opposition, oppose};
use unefois_store::authority::order::order_record;

use super::*;

/// What is withdrawn in one transaction.
enum Change {
    /// All that stands of this grant, by whom.
    Grant(GrantId, WithdrawnBy),
    /// These elements of one grant, each for the narrower one that follows it.
    Narrow(Vec<Narrowing>),
    /// What is no single grant, and why.
    Order(Withdrawal, String),
    /// What stands under an opposition, with it.
    Oppose(Opposition),
    /// What rests on a mandate, with it.
    EndMandate([u8; 16]),
}

impl Revocation {
    /// Withdraws all that stands of a grant and announces it; when it returns, that is durable. The handles that this call
    /// has withdrawn: others had been before. What takes an element's place at the same moment is withdrawn as well, or
    /// finds that element withdrawn.
    ///
    /// Whoever asks may leave at any moment (a closed connection, a deadline): what has begun goes on without it, since
    /// a record that is committed and not announced would hold for tokens and be unknown to producers.
    pub(crate) async fn withdraw(
        self: &Arc<Self>,
        grant: GrantId,
        by: WithdrawnBy,
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        Ok(handles(self.change(Change::Grant(grant, by), at).await?))
    }

    /// Puts narrower elements in the places of others, all at once; as [`Self::withdraw`]. One that had been withdrawn before
    /// stays as it is.
    pub(crate) async fn narrow(
        self: &Arc<Self>,
        narrowings: Vec<Narrowing>,
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        Ok(handles(self.change(Change::Narrow(narrowings), at).await?))
    }

    /// Records an opposition with the withdrawal of what stands under it; as [`Self::withdraw`].
    pub(crate) async fn oppose(
        self: &Arc<Self>,
        opposition: Opposition,
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        Ok(handles(self.change(Change::Oppose(opposition), at).await?))
    }

    /// Ends a mandate with the withdrawal of what rests on it; as [`Self::withdraw`].
    pub(crate) async fn end_mandate(
        self: &Arc<Self>,
        mandate: [u8; 16],
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        Ok(handles(self.change(Change::EndMandate(mandate), at).await?))
    }

    /// Withdraws what is no single grant, for a reason, and announces it; when it returns, both are durable. As
    /// [`Self::withdraw`], it goes on though nobody waits.
    pub(crate) async fn order(
        self: &Arc<Self>,
        withdrawal: Withdrawal,
        reason: String,
        at: Micros,
    ) -> Result<Record, Error> {
        let records = self.change(Change::Order(withdrawal, reason), at).await?;
        records.into_iter().next().ok_or(Error::Stored)
    }

    /// The record of a number, however old; `None` where there is none.
    pub(crate) async fn kept(&self, seq: u64) -> Result<Option<Record>, Error> {
        let Some(before) = seq.checked_sub(1) else {
            return Ok(None);
        };
        let mut tx = self.db.begin().await?;
        let (_, records) = store::log(&mut tx, before, seq).await?;
        Ok(records.into_iter().next())
    }

    async fn change(self: &Arc<Self>, change: Change, at: Micros) -> Result<Vec<Record>, Error> {
        self.epoch()?;
        let revocation = Arc::clone(self);
        let written = self
            .tasks
            .spawn(async move { revocation.write(&change, at).await });
        match written.await {
            Ok(done) => done,
            Err(_) => {
                self.start_again("a withdrawal was cut off: it is started again");
                Err(Error::Superseded)
            }
        }
    }

    async fn write(&self, change: &Change, at: Micros) -> Result<Vec<Record>, Error> {
        let _one = self.writer.lock().await;
        let mut tx = self.db.begin().await?;
        let written = match change {
            Change::Grant(id, by) => store::withdraw_grant(&mut tx, self.epoch, id, *by, at).await?,
            Change::Narrow(narrowings) => narrow(&mut tx, self.epoch, narrowings, at).await?,
            Change::Order(withdrawal, reason) => {
                order_record(&mut tx, self.epoch, withdrawal.clone(), reason, at).await?
            }
            Change::Oppose(opposition) => oppose(&mut tx, self.epoch, opposition, at).await?,
            Change::EndMandate(id) => mandate_end(&mut tx, self.epoch, id, at).await?,
        };
        let Some((records, head)) = written else {
            drop(tx);
            self.not_held().await;
            return Err(Error::Superseded);
        };
        let committed = tx.commit().await;
        if committed.is_err() || !self.publish(&records, head) {
            // The outcome is unknown, or that of an earlier write was: the database tells.
            self.catch_up().await?;
        }
        if let Err(error) = committed
            && !self.state().log.ends_with(&records)
        {
            return Err(error.into());
        }
        Ok(records)
    }

    /// Announces the records that the database holds beyond those announced. The caller holds `writer`.
    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let (head, records) = store::log(&mut tx, self.view().seq, u64::MAX).await?;
        drop(tx);
        if head.epoch != self.epoch {
            self.not_held().await;
            return Err(Error::Superseded);
        }
        match self.publish(&records, head) {
            true => Ok(()),
            false => {
                self.went_back().await;
                Err(Error::Superseded)
            }
        }
    }

    /// Announces these records, unless they do not lead from the head announced to `head`.
    #[must_use]
    pub(super) fn publish(&self, records: &[Record], head: Head) -> bool {
        let mut state = self.state();
        if !state.log.extend(records, head, self.clock.boottime()) {
            return false;
        }
        for record in records {
            let place = record.place.into();
            state.barrier.publish(place);
            state.waiting.insert(place, record.clone());
        }
        state
            .log
            .prune(self.clock.boottime(), |kid| self.in_force.lists(kid));
        drop(state);
        self.moved.notify_one();
        self.head.send_if_modified(|told| {
            let news = *told != head;
            *told = head;
            news
        });
        true
    }
}

/// The handles that records withdraw.
fn handles(records: Vec<Record>) -> Vec<Handle> {
    let handle = |record: Record| match record.withdrawal {
        Withdrawal::Grant(handle) => Some(handle),
        Withdrawal::Client(_)
        | Withdrawal::ClientCert(_)
        | Withdrawal::SigningKey(_)
        | Withdrawal::AllBefore => None,
    };
    records.into_iter().filter_map(handle).collect()
}
