//! The heads of peers' logs: each partner of an exchange is a witness of the other's log (I7).

use unefois_core::Micros;
use unefois_store::Db;
use unefois_store::peer::{PeerHead, peer_head, peer_head_replace};
use unefois_tlog::{Hash, SignedCheckpoint, VerifierKey, verify_consistency};

use crate::Error;

/// A proof that a log of one size is the beginning of the same log at a later one (RFC 9162, 2.1.4).
#[derive(Clone, Copy, Debug)]
pub struct Growth<'a> {
    /// The earlier size.
    pub from: u64,
    /// The later size.
    pub to: u64,
    /// The proof.
    pub hashes: &'a [Hash],
}

/// What a head that a peer showed is to the one held of the same log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a fork is to be refused"]
pub enum Witnessed {
    /// One history: the later of the two is held now.
    Kept,
    /// Nothing proves that the two are of one history. The one held stays; a [`Growth`] between the two sizes decides.
    Unproved(PeerHead),
    /// Two histories, or a proof that proves nothing. The one held stays: with the one shown it is the evidence.
    Forked(PeerHead),
}

/// Compares the head that a peer showed with the one held of the same log, and holds the later of the two if `growth`
/// proves that it continues the other. The first head seen of a log is believed.
///
/// # Errors
/// [`Error::Proof`] if the head is not signed by `key`; [`Error::Store`].
pub async fn peer_head_witness(
    db: &Db,
    key: &VerifierKey,
    signed: &SignedCheckpoint,
    growth: Option<Growth<'_>>,
    now: Micros,
) -> Result<Witnessed, Error> {
    let shown = signed.verify(key)?.clone();
    let head = PeerHead {
        size: shown.size,
        root: shown.root,
        checkpoint: signed.as_str().to_owned(),
        at: now,
    };
    let origin = shown.origin.as_str();
    loop {
        let held = peer_head(db, origin).await?;
        if let Some(held) = &held {
            if held.size == head.size {
                return Ok(match held.root == head.root {
                    true => Witnessed::Kept,
                    false => Witnessed::Forked(held.clone()),
                });
            }
            let (early, late) = match held.size < head.size {
                true => (held, &head),
                false => (&head, held),
            };
            let of_these = |growth: &Growth<'_>| (growth.from, growth.to) == (early.size, late.size);
            // Nothing is the beginning of every log.
            let hashes = match growth.filter(of_these) {
                Some(growth) => growth.hashes,
                None if early.size == 0 => &[],
                None => return Ok(Witnessed::Unproved(held.clone())),
            };
            let proved = verify_consistency((early.size, &early.root), (late.size, &late.root), hashes);
            if proved.is_err() {
                return Ok(Witnessed::Forked(held.clone()));
            }
            if held.size > head.size {
                // Whatever is held by now continues this one.
                return Ok(Witnessed::Kept);
            }
        }
        let mut tx = db.begin().await?;
        let replaced = peer_head_replace(&mut tx, origin, held.map(|held| held.size), &head).await?;
        tx.commit().await?;
        if replaced {
            return Ok(Witnessed::Kept);
        }
        // Another call moved it meanwhile, which happens once for each that succeeds.
    }
}
