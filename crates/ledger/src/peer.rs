//! The heads of peers' logs: each partner of an exchange is a witness of the other's log (I7).

use unefois_core::Micros;
use unefois_store::Db;
use unefois_store::peer::{PeerHead, peer_head, peer_head_store};
use unefois_tlog::{Checkpoint, Hash, SignedCheckpoint, VerifierKey, verify_consistency};

use crate::Error;

/// Verifies the head that a peer sent against `known`, the head of the same log that the request named, and keeps it.
///
/// `consistency` proves that the log only grew from `known`; without a known head nothing needs a proof.
///
/// # Errors
/// [`Error::Proof`] if the head is not signed by `key`; [`Error::Forked`] if it does not continue what was seen: the
/// answer that came with it is to be refused and the two heads shown to an auditor. [`Error::Store`].
pub async fn peer_head_check(
    db: &Db,
    key: &VerifierKey,
    known: Option<&PeerHead>,
    signed: &SignedCheckpoint,
    consistency: &[Hash],
    now: Micros,
) -> Result<Checkpoint, Error> {
    let said = signed.verify(key)?.clone();
    if let Some(known) = known {
        let (old, new) = ((known.size, &known.root), (said.size, &said.root));
        verify_consistency(old, new, consistency).map_err(|_| Error::Forked)?;
    }
    // Another answer may have come meanwhile: two roots of one size need no proof.
    let held = peer_head(db, said.origin.as_str()).await?;
    if held.is_some_and(|held| held.size == said.size && held.root != said.root) {
        return Err(Error::Forked);
    }
    let head = PeerHead {
        size: said.size,
        root: said.root,
        checkpoint: signed.as_str().to_owned(),
        at: now,
    };
    let mut tx = db.begin().await?;
    peer_head_store(&mut tx, said.origin.as_str(), &head).await?;
    tx.commit().await?;
    Ok(said)
}
