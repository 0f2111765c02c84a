//! The signed messages that a node has applied. An authority whose database has gone back asks for them: they alone prove
//! to it, and to anybody, what it has lost.

use std::collections::VecDeque;
use std::sync::Arc;

use unefois_core::RevocationView;
use unefois_core::revocation::{Extent, Head, SignedRecords};

/// Largest message that an authority takes.
const MAX_MESSAGE: usize = 3 * 1024 * 1024;
/// Bytes that are kept; the oldest go first.
const MAX_BYTES: usize = 32 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<Message>,
    bytes: usize,
}

#[derive(Debug)]
struct Message {
    from: Head,
    head: Head,
    text: Arc<str>,
}

impl Held {
    /// Keeps a message that was applied.
    pub(super) fn push(&mut self, message: &SignedRecords, text: &str) {
        if message.extent == Extent::Snapshot {
            // It holds again what came since its beginning.
            while let Some(last) = self
                .messages
                .pop_back_if(|last| last.from.seq >= message.from.seq)
            {
                self.bytes -= last.text.len();
            }
        }
        if text.len() > MAX_MESSAGE {
            tracing::warn!(
                bytes = text.len(),
                "records too large to be shown to an authority that has lost them"
            );
            return;
        }
        self.bytes += text.len();
        self.messages.push_back(Message {
            from: message.from,
            head: message.head,
            text: text.into(),
        });
        while self.bytes > MAX_BYTES
            && let Some(oldest) = self.messages.pop_front()
        {
            self.bytes -= oldest.text.len();
        }
    }

    /// Those that lead beyond `place`, oldest first.
    pub(super) fn beyond(&self, place: RevocationView) -> Vec<Arc<str>> {
        let later = |message: &&Message| message.head.seq > place.seq || message.head.epoch > place.epoch;
        let later = self.messages.iter().filter(later);
        later.map(|message| Arc::clone(&message.text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(epoch: u64, seq: u64) -> Head {
        Head {
            epoch,
            seq,
            ..Head::empty()
        }
    }

    fn message(extent: Extent, from: Head, head: Head) -> SignedRecords {
        SignedRecords {
            extent,
            from,
            head,
            records: Vec::new(),
        }
    }

    fn texts(held: &Held, epoch: u64, seq: u64) -> Vec<String> {
        let beyond = held.beyond(RevocationView { epoch, seq });
        beyond.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_leads_beyond_a_place_is_kept_whatever_snapshots_leave_out() {
        let mut held = Held::default();
        held.push(&message(Extent::Snapshot, head(0, 0), head(1, 2)), "to 2");
        held.push(&message(Extent::Batch, head(1, 2), head(1, 3)), "3");
        held.push(&message(Extent::Batch, head(1, 3), head(1, 4)), "4");
        assert_eq!(texts(&held, 1, 2), ["3", "4"]);
        assert_eq!(texts(&held, 1, 4), [""; 0]);
        assert_eq!(texts(&held, 0, 9), ["to 2", "3", "4"], "an epoch is proved too");
        // What came before a snapshot that begins later is in no other message.
        held.push(&message(Extent::Snapshot, head(1, 2), head(2, 5)), "3 to 5");
        assert_eq!(texts(&held, 1, 0), ["to 2", "3 to 5"]);
        held.push(&message(Extent::Snapshot, head(0, 0), head(3, 5)), "all");
        assert_eq!(texts(&held, 1, 0), ["all"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut held = Held::default();
        let large = "x".repeat(MAX_MESSAGE);
        for seq in 0..20 {
            held.push(&message(Extent::Batch, head(1, seq), head(1, seq + 1)), &large);
        }
        assert!(held.bytes <= MAX_BYTES && held.messages.len() == MAX_BYTES / MAX_MESSAGE);
        held.push(
            &message(Extent::Batch, head(1, 20), head(1, 21)),
            &format!("{large}x"),
        );
        assert_eq!(texts(&held, 1, 20), [""; 0]);
    }
}
