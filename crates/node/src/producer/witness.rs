//! What a caller says in passing of its own log, and of the entries of ours that it has received.

use unefois_core::Micros;
use unefois_ledger::{Growth, Seen, Witnessed, peer_head_witness};
use unefois_mesh::Edition;
use unefois_store::peer::{peer_head, peer_receipt_insert};
use unefois_tlog::{Hash, SignedCheckpoint, VerifierKey};

use super::Inner;
use super::authorize::VerifiedCall;
use crate::Error;

impl Inner {
    /// Compares the caller's head with the one held of the same log, and holds the later where the call proves that it
    /// continues the other (I7); the head that is held in the end, as the caller signed it.
    ///
    /// An earlier head than the one held is no fault by itself: calls overtake one another. A head that no log of the
    /// caller's signed counts for nothing.
    ///
    /// # Errors
    /// [`Error::CallerForked`] if the caller shows two histories; [`Error::Ledger`].
    pub(super) async fn witness(
        &self,
        verified: &VerifiedCall,
        edition: &Edition,
        now: Micros,
    ) -> Result<Option<String>, Error> {
        self.own_head_shown(verified).await?;
        let Some((key, shown)) = shown(verified, edition) else {
            return Ok(None);
        };
        let growth = verified.call.caller_growth.as_ref();
        let growth = growth.map(|(from, hashes)| {
            let hashes = hashes.iter().map(|hash| Hash::new(*hash.as_bytes()));
            (*from, hashes.collect::<Vec<_>>())
        });
        let size = shown.verify(&key).map_err(unefois_ledger::Error::from)?.size;
        let growth = growth.as_ref().map(|(from, hashes)| Growth {
            from: *from,
            to: size,
            hashes,
        });
        let origin = shown.claimed_origin().as_str();
        match peer_head_witness(&self.db, &key, &shown, growth, now).await? {
            Witnessed::Kept => {
                let held = peer_head(&self.db, origin).await;
                let held = held.map_err(unefois_ledger::Error::from)?;
                Ok(held.map(|held| held.checkpoint))
            }
            Witnessed::Unproved(held) => Ok(Some(held.checkpoint)),
            Witnessed::Forked(held) => {
                tracing::error!(
                    origin,
                    size,
                    held = held.size,
                    "a peer shows two histories of its log"
                );
                Err(Error::CallerForked {
                    held: held.checkpoint,
                    shown: shown.as_str().to_owned(),
                })
            }
        }
    }

    /// Compares the head of this node's log that the caller shows with the log. One that the log does not have, with our
    /// signature, says that the database went back: nothing is released any more. What we did not sign counts for
    /// nothing.
    async fn own_head_shown(&self, verified: &VerifiedCall) -> Result<(), Error> {
        let Some(text) = verified.call.known_checkpoint.as_deref() else {
            return Ok(());
        };
        let Ok(signed) = SignedCheckpoint::parse(text.as_bytes()) else {
            return Ok(());
        };
        let by = verified.token.claims().client_id.to_string();
        match self.ledger.seen(&signed, &by).await {
            Ok(Seen::Continued) | Err(unefois_ledger::Error::Proof(_)) => Ok(()),
            Ok(Seen::Contradicted) => Ok(self.ledger.may_exchange()?),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes the entries of ours that the caller says it received, no more of them than it was answered.
    pub(super) async fn acknowledged(&self, verified: &VerifiedCall, now: Micros) {
        let client = verified.token.claims().client_id;
        let most = usize::try_from(self.credits.of(&client)).unwrap_or(usize::MAX);
        let leaves = &verified.call.acknowledged;
        let leaves = &leaves[..leaves.len().min(most)];
        if leaves.is_empty() {
            return;
        }
        let noted = async {
            let mut tx = self.db.begin().await?;
            let new = peer_receipt_insert(&mut tx, &client.siret().to_string(), leaves, now).await?;
            tx.commit().await?;
            Ok(new)
        };
        let noted: Result<u64, unefois_store::Error> = noted.await;
        match noted {
            Ok(new) => self.credits.spend(client, new),
            Err(error) => tracing::warn!(
                error = unefois_mesh::status::chain(&error),
                "what a peer acknowledges was not kept"
            ),
        }
    }
}

/// The caller's head, if a log of its own that the directory lists signed it, and that log's key.
fn shown(verified: &VerifiedCall, edition: &Edition) -> Option<(VerifierKey, SignedCheckpoint)> {
    let text = verified.call.caller_checkpoint.as_deref()?;
    let signed = SignedCheckpoint::parse(text.as_bytes()).ok()?;
    let (row, log) = edition.directory.log(signed.claimed_origin().as_str())?;
    let key: VerifierKey = log.vkey.parse().ok()?;
    let own = row.id == verified.token.claims().client_id;
    (own && signed.verify(&key).is_ok()).then_some((key, signed))
}
