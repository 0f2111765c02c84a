use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::PeerId;

/// How many calls, or connections, each peer has under way.
#[derive(Debug, Default)]
pub(crate) struct PerPeer(Mutex<HashMap<PeerId, u16>>);

/// One of them; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<PerPeer>,
    peer: PeerId,
}

impl PerPeer {
    /// One more for `peer`, unless it has `most` already.
    pub(crate) fn take(self: &Arc<Self>, peer: &PeerId, most: u16) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place {
            of: Arc::clone(self),
            peer: peer.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_own_places_and_gets_them_back() {
        let per_peer = Arc::new(PerPeer::default());
        let (one, two) = (PeerId::Auditor("one".into()), PeerId::Auditor("two".into()));
        let first = per_peer.take(&one, 1);
        assert!(first.is_some());
        assert!(per_peer.take(&one, 1).is_none());
        assert!(per_peer.take(&two, 1).is_some());
        drop(first);
        assert!(per_peer.take(&one, 1).is_some());
        assert!(per_peer.0.lock().unwrap().is_empty());
    }
}
