//! What is looked at beside the writing: the anchor that follows the head, and the database under the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::guard::{Guard, Safeguards};
use crate::sequencer::Published;

/// How often the anchor is written at most, and the database looked at.
const EVERY: Duration = Duration::from_secs(1);
/// At each how many looks the standbys are asked for.
const STANDBY_EVERY: u32 = 3;

/// Writes the head to the anchor when it moved, at most once a second, and once more when the log is closed.
pub(crate) async fn anchor_heads(
    guard: Arc<Guard>,
    mut published: watch::Receiver<Arc<Published>>,
    closing: CancellationToken,
) {
    let mut every = ticking();
    let mut over = false;
    while !over {
        // The sequencer is gone once it has written what was queued: what is read then is the last head.
        over = published.changed().await.is_err();
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            _ = every.tick() => {}
        }
        let head = published.borrow_and_update().head.clone();
        guard.anchor_head(&head).await;
    }
}

/// Looks at the database each second, so that a file that is gone or a full disk is known while nobody writes.
pub(crate) async fn watch_store(guard: Arc<Guard>, safeguards: Safeguards, closing: CancellationToken) {
    let mut every = ticking();
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = every.tick() => {}
        }
        // What is not as it must be is told by the guard.
        let _told = guard.check_store(&safeguards);
        if safeguards.synchronous_standby && looks.is_multiple_of(STANDBY_EVERY) {
            guard.check_standby().await;
        }
        looks = looks.wrapping_add(1);
    }
}

fn ticking() -> tokio::time::Interval {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}
