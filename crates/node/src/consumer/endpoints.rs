//! Where a producer answers: its replicas in turn, the sick ones left out for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::Channel;
use unefois_core::{Boot, ParticipantId};
use unefois_mesh::{Connector, Credential, Target};

/// How long an endpoint is left out after its first failure; twice as long after each further one.
const EJECTED_MS: i64 = 500;
const MAX_EJECTED_MS: i64 = 30_000;

/// Whose log, and who holds a head of it.
pub(super) type Witness = (ParticipantId, ParticipantId);

/// One replica.
type Key = (ParticipantId, String);

/// The replicas that were called, by participant and address.
#[derive(Debug)]
pub(super) struct Endpoints {
    connector: Connector,
    known: Mutex<HashMap<Key, Endpoint>>,
    /// Size of each log of this node's that each participant said it holds.
    witnesses: Mutex<HashMap<Witness, u64>>,
}

#[derive(Debug, Default)]
struct Endpoint {
    failures: u32,
    out_until: Option<Boot>,
    used: u64,
    /// The origin of the log that answered there last.
    origin: Option<String>,
    channel: Option<(Arc<Credential>, Channel)>,
}

/// A replica that was chosen for a call.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) address: String,
    pub(super) channel: Channel,
    /// The origin of the log that answered there last.
    pub(super) origin: Option<String>,
}

impl Endpoints {
    pub(super) fn new(connector: Connector) -> Self {
        Self {
            connector,
            known: Mutex::default(),
            witnesses: Mutex::default(),
        }
    }

    /// The replica to call next: the least used of those that are well, otherwise the one that is well again first.
    /// Those in `tried` come last. `None` where the directory gives no address.
    pub(super) fn choose(
        &self,
        operator: ParticipantId,
        addresses: &[String],
        tried: &[String],
        credential: &Arc<Credential>,
        now: Boot,
    ) -> Option<Chosen> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // An address that the directory no longer gives is forgotten.
        known.retain(|(peer, address), _| *peer != operator || addresses.contains(address));
        let rank = |address: &&String| {
            let endpoint = known.get(&(operator, (*address).clone()));
            let out = endpoint.and_then(|e| e.out_until).filter(|until| *until > now);
            (tried.contains(address), out, endpoint.map_or(0, |e| e.used))
        };
        let address = addresses.iter().min_by_key(rank)?.clone();
        let target = Target {
            peer: operator,
            authority: address.parse().ok()?,
        };
        let endpoint = known.entry((operator, address.clone())).or_default();
        endpoint.used += 1;
        let channel = match &endpoint.channel {
            Some((shown, channel)) if Arc::ptr_eq(shown, credential) => channel.clone(),
            Some(_) | None => {
                let connector = self.connector.with_credential(Arc::clone(credential));
                // Each call sets its own, shorter deadline.
                let channel = connector.channel(&target, Duration::from_secs(60));
                endpoint.channel = Some((Arc::clone(credential), channel.clone()));
                channel
            }
        };
        Some(Chosen {
            address,
            channel,
            origin: endpoint.origin.clone(),
        })
    }

    /// Notes that a replica answered.
    pub(super) fn answered(&self, operator: ParticipantId, address: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get_mut(&(operator, address.to_owned())) {
            endpoint.failures = 0;
            endpoint.out_until = None;
        }
    }

    /// Notes the log whose verified receipt came from a replica.
    pub(super) fn wrote_to(&self, operator: ParticipantId, address: &str, origin: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get_mut(&(operator, address.to_owned())) {
            endpoint.origin = Some(origin.to_owned());
        }
    }

    /// Notes the size of a log of ours that a participant holds.
    pub(super) fn holds(&self, witness: Witness, size: u64) {
        let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        witnesses.insert(witness, size);
    }

    /// The size of a log of ours that a participant said it holds.
    pub(super) fn held_by(&self, witness: Witness) -> Option<u64> {
        let witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        witnesses.get(&witness).copied()
    }

    /// Leaves a replica out for a while.
    pub(super) fn failed(&self, operator: ParticipantId, address: &str, now: Boot) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get_mut(&(operator, address.to_owned())) {
            let out_ms = EJECTED_MS << endpoint.failures.min(10);
            endpoint.failures += 1;
            endpoint.out_until = Some(now.plus_ms(out_ms.min(MAX_EJECTED_MS)));
        }
    }
}

/// How many retries the node allows itself: each call earns a tenth of one, each retry costs one, so that a producer
/// in trouble is not asked several times as much as one that is well.
#[derive(Debug)]
pub(super) struct RetryBudget {
    tenths: Mutex<u32>,
    most: u32,
}

impl RetryBudget {
    pub(super) fn new(retries: u16) -> Self {
        let most = u32::from(retries) * 10;
        Self {
            tenths: Mutex::new(most),
            most,
        }
    }

    /// One of the same size that nothing was spent of.
    pub(super) const fn fresh(&self) -> Self {
        Self {
            tenths: Mutex::new(self.most),
            most: self.most,
        }
    }

    pub(super) fn earn(&self) {
        let mut tenths = self.tenths.lock().unwrap_or_else(PoisonError::into_inner);
        *tenths = (*tenths + 1).min(self.most);
    }

    pub(super) fn spend(&self) -> bool {
        let mut tenths = self.tenths.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tenths.checked_sub(10);
        *tenths = left.unwrap_or(*tenths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_earned_by_tenths() {
        let budget = RetryBudget::new(1);
        assert!(budget.spend());
        for _ in 0..9 {
            budget.earn();
            assert!(!budget.spend());
        }
        budget.earn();
        assert!(budget.spend());
    }
}
