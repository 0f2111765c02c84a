//! The anchor follows the published head, on a disk that may not answer.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use unefois_tlog::SignedCheckpoint;

use super::{Guard, Standing};
use crate::Error;
use crate::anchor::{Anchor, AnchorError, UNWRITTEN};
use crate::receipt::Head;

/// How long a write of the anchor is waited for, and how long one may last before it is told.
const ANCHORED_WITHIN: Duration = Duration::from_secs(5);

impl Guard {
    /// Whether the anchor is as the log is, or there is none to be.
    pub(crate) fn anchor(&self) -> Result<(), &'static str> {
        match (&self.anchor, self.anchored.try_lock()) {
            (None, _) => Err("none is set ([ledger] anchor): only peers would notice an old database"),
            (Some(_), Ok(written)) if !*written => Err("it cannot be written"),
            (Some(_), Err(_)) if self.hangs() => Err("a write of it does not end: check its disk"),
            (Some(_), Ok(_) | Err(_)) => Ok(()),
        }
    }

    /// Whether the write of the anchor that is under way lasts too long.
    fn hangs(&self) -> bool {
        let began = *self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = began.map(|began| self.clock.boottime().micros_since(began));
        lasts.is_some_and(|lasts| {
            u128::try_from(lasts).is_ok_and(|lasts| lasts >= ANCHORED_WITHIN.as_micros())
        })
    }

    /// Writes the published head to the anchor, unless the log is not the last one that is known.
    pub(crate) async fn anchor_head(&self, head: &Head) {
        let last = || match self.standing() {
            Standing::Open | Standing::DiskFloor | Standing::Unreplicated => {
                Some(SignedCheckpoint::clone(&head.checkpoint))
            }
            _ => None,
        };
        self.write_anchor(last, head.epoch).await;
    }

    /// As [`Guard::anchor_head`], at start: an anchor that cannot be written is told at once.
    pub(crate) async fn try_anchor(&self, head: &Head) -> Result<(), Error> {
        self.anchor_head(head).await;
        let written = self.anchored.try_lock().is_ok_and(|written| *written);
        match &self.anchor {
            Some(path) if !written => Err(Error::Anchor(AnchorError {
                path: path.clone(),
                what: UNWRITTEN,
                source: None,
            })),
            Some(_) | None => Ok(()),
        }
    }

    /// Replaces the anchor by what `what` gives once no other write is under way. Its epoch never decreases. A disk that
    /// does not answer is waited for no longer than [`ANCHORED_WITHIN`], and not written to by a second thread.
    pub(super) async fn write_anchor(&self, what: impl FnOnce() -> Option<SignedCheckpoint>, epoch: u64) {
        let Some(path) = self.anchor.clone() else { return };
        let turn = tokio::time::timeout(ANCHORED_WITHIN, Arc::clone(&self.anchored).lock_owned()).await;
        let Ok(mut written) = turn else {
            tracing::error!("the anchor is not written: the write before does not end");
            return;
        };
        let Some(checkpoint) = what() else { return };
        let (key, writing) = (self.key.clone(), Arc::clone(&self.writing));
        let set = move |since| *writing.lock().unwrap_or_else(PoisonError::into_inner) = since;
        set(Some(self.clock.boottime()));
        let write = move || -> Result<(), AnchorError> {
            let before = Anchor::read(&path, &key)
                .ok()
                .flatten()
                .map_or(0, |anchor| anchor.epoch);
            let epoch = epoch.max(before);
            Anchor { epoch, checkpoint }.write(&path)
        };
        let done = tokio::task::spawn_blocking(move || {
            let before = std::mem::replace(&mut *written, false);
            let done = write();
            if let (Err(error), true) = (&done, before) {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "the anchor is not written: only peers would notice an old database"
                );
            }
            *written = done.is_ok();
            set(None);
        });
        if tokio::time::timeout(ANCHORED_WITHIN, done).await.is_err() {
            tracing::error!("the anchor is not written yet: its disk does not answer");
        }
    }
}
