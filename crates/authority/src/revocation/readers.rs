//! What readers of the log are told and say: signed messages, answers to pings, acknowledgements.

use super::*;

impl Revocation {
    /// Everything that is kept, signed: what a reader starts from. It is signed once for each head and key, however many come:
    /// a reader that knows the next key alone would not believe what the one before has signed.
    pub(super) async fn snapshot(&self) -> Result<Signed, Error> {
        let mut signed = self.snapshot.lock().await;
        let key = self.key();
        let message = {
            let mut state = self.state();
            if let Some((kid, (head, text))) = &*signed
                && (kid, *head) == (key.thumbprint(), state.log.head())
            {
                return Ok((*head, Arc::clone(text)));
            }
            state
                .log
                .prune(self.clock.boottime(), |kid| self.in_force.lists(kid));
            state.log.snapshot()
        };
        if message.records.len() > MAX_RECORDS {
            tracing::error!(
                records = message.records.len(),
                "more withdrawals within two hours than readers take at once"
            );
        }
        let text = sign(key, &message)?;
        *signed = Some((*key.thumbprint(), (message.head, Arc::clone(&text))));
        Ok((message.head, text))
    }

    /// The records after `from`, signed; `None` where there are none.
    ///
    /// # Errors
    /// [`Error::Superseded`] for a reader so far behind that it needs a snapshot.
    pub(super) fn batch(&self, from: Head) -> Result<Option<Signed>, Error> {
        let key = self.key();
        let message = {
            let state = self.state();
            if state.log.head() == from {
                return Ok(None);
            }
            let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((kid, first, (last, text))) = &*signed
                && (kid, *first, *last) == (key.thumbprint(), from, state.log.head())
            {
                return Ok(Some((*last, Arc::clone(text))));
            }
            state.log.batch(from).ok_or(Error::Superseded)?
        };
        let signed = (message.head, sign(key, &message)?);
        let kept = Some((*key.thumbprint(), from, (signed.0, Arc::clone(&signed.1))));
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(Some(signed))
    }

    /// The key that the directory lists first.
    fn key(&self) -> &SigningKey {
        self.keys
            .withdrawal
            .first_or_present(self.in_force.withdrawal_kids())
    }

    /// Whether what this key signs is dead everywhere.
    pub(crate) fn is_key_withdrawn(&self, kid: &str) -> bool {
        self.state().log.is_key_withdrawn(kid)
    }

    /// A process that holds a lease has opened its view. That is durable before any of its pings is answered: an older
    /// start, which goes on without knowing that it was replaced, may be the first to come to the next epoch.
    pub(super) async fn opened(&self, lease: &LeaseKey) -> Result<(), Error> {
        // Written again where it did not succeed: it is known only once it is durable.
        if !self.state().barrier.is_known(lease) {
            let mut tx = self.db.begin().await?;
            store::start_keep(&mut tx, &lease.participant, &lease.origin, lease.boot).await?;
            tx.commit().await?;
        }
        self.state().barrier.opened(lease, self.clock.boottime());
        Ok(())
    }

    /// Registers that a ping is answered with the head `told`; for how long the answer holds, or `None` where the head
    /// has moved on: the reader is told of the rest first.
    pub(super) fn answer(
        &self,
        lease: &LeaseKey,
        told: Head,
        received: Boot,
        log: (u64, Sha256),
    ) -> Option<u32> {
        let lease_ms = self
            .in_force
            .lease_ms()
            .min(self.longest_ms.load(Ordering::Acquire));
        let (size, root) = log;
        let asked = Asked {
            received,
            lease_ms,
            size,
            root,
        };
        let mut state = self.state();
        if state.log.head() != told {
            return None;
        }
        state.barrier.answer(lease, asked);
        Some(lease_ms)
    }

    /// A process says that everything up to a view is in force there.
    pub(super) fn acknowledged(&self, lease: &LeaseKey, acknowledged: &Acknowledged) {
        self.state().barrier.acknowledge(lease, acknowledged);
        self.moved.notify_one();
    }

    /// Tells whoever watches that a reader names a later place than this database holds: a restored backup, or a reader
    /// that is wrong or lies. Unless it proves its word ([`relearn`]) it stops nobody but itself; told once a minute and reader.
    pub(super) fn doubted(&self, reader: ParticipantId, theirs: RevocationView) {
        if self.doubts.admit(reader, self.clock.boottime()) {
            let ours = self.view();
            tracing::error!(
                peer = %reader,
                claimed_epoch = theirs.epoch,
                claimed_seq = theirs.seq,
                epoch = ours.epoch,
                seq = ours.seq,
                "a reader claims withdrawals that this database does not hold: was it restored from a backup?"
            );
        }
    }
}

fn sign(key: &SigningKey, message: &SignedRecords) -> Result<Arc<str>, Error> {
    let text = jws::sign_claims(key, TYP, message).map_err(Error::Key)?;
    Ok(text.into())
}
