//! What a caller says in passing of its own log, and of the entries of ours that it has received.

use unefois_core::Micros;
use unefois_mesh::Edition;
use unefois_store::peer::{PeerHead, peer_head, peer_head_store, peer_receipt_insert};
use unefois_store::{Db, Error};
use unefois_tlog::{SignedCheckpoint, VerifierKey};

use super::authorize::VerifiedCall;

/// Keeps the caller's head, if it is signed by a log of its own that the directory lists and goes no way back, and notes
/// the entries of ours that it acknowledges.
///
/// # Errors
/// The database failed. A head that does not verify is not kept, and one that contradicts the head held is reported:
/// two roots of one size are a fork.
pub(super) async fn keep(
    db: &Db,
    verified: &VerifiedCall,
    edition: &Edition,
    now: Micros,
) -> Result<(), Error> {
    let client = verified.token.claims().client_id;
    let head = verified.call.caller_checkpoint.as_deref().and_then(|text| {
        let signed = SignedCheckpoint::parse(text.as_bytes()).ok()?;
        let (row, log) = edition.directory.log(signed.claimed_origin().as_str())?;
        let key: VerifierKey = log.vkey.parse().ok()?;
        let checkpoint = signed.verify(&key).ok().filter(|_| row.id == client)?.clone();
        Some((log.origin.clone(), checkpoint, text.to_owned()))
    });
    if head.is_none() && verified.call.acknowledged.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    if let Some((origin, checkpoint, text)) = head {
        let held = peer_head(db, &origin).await?;
        if held.is_some_and(|held| held.size == checkpoint.size && held.root != checkpoint.root) {
            tracing::error!(
                origin,
                size = checkpoint.size,
                "a peer showed two roots of one size of its log"
            );
        } else {
            let head = PeerHead {
                size: checkpoint.size,
                root: checkpoint.root,
                checkpoint: text,
                at: now,
            };
            peer_head_store(&mut tx, &origin, &head).await?;
        }
    }
    peer_receipt_insert(
        &mut tx,
        &client.siret().to_string(),
        &verified.call.acknowledged,
        now,
    )
    .await?;
    tx.commit().await
}
