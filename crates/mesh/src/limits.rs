use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// How many calls, or connections, each peer or address has under way.
#[derive(Debug)]
pub(crate) struct Places<K>(Mutex<HashMap<K, Taken>>);

#[derive(Debug, Default)]
struct Taken {
    places: u16,
    /// What those who hold a place share beside.
    share: Option<Arc<Semaphore>>,
}

/// One of them; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    of: Arc<Places<K>>,
    by: K,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// One more for `by`, unless it has `most` already.
    pub(crate) fn take(self: &Arc<Self>, by: &K, most: u16) -> Option<Place<K>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = taken.get(by).map_or(0, |taken| taken.places);
        if places >= most {
            return None;
        }
        taken.entry(by.clone()).or_default().places += 1;
        Some(Place {
            of: Arc::clone(self),
            by: by.clone(),
        })
    }
}

impl<K: Eq + Hash> Place<K> {
    /// What all who hold a place under the same name share: `permits` of something.
    pub(crate) fn share(&self, permits: usize) -> Option<Arc<Semaphore>> {
        let mut taken = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = taken.get_mut(&self.by)?;
        let share = taken
            .share
            .get_or_insert_with(|| Arc::new(Semaphore::new(permits)));
        Some(Arc::clone(share))
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = all.get_mut(&self.by) {
            taken.places -= 1;
            if taken.places == 0 {
                all.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerId;

    #[test]
    fn a_peer_has_its_own_places_and_gets_them_back() {
        let places = Arc::<Places<PeerId>>::default();
        let (one, two) = (PeerId::Auditor("one".into()), PeerId::Auditor("two".into()));
        let first = places.take(&one, 1);
        assert!(first.is_some());
        assert!(places.take(&one, 1).is_none());
        assert!(places.take(&two, 1).is_some());
        drop(first);
        assert!(places.take(&one, 1).is_some());
        assert!(places.0.lock().unwrap().is_empty());
    }
}
