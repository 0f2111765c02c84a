//! Who holds a handle: the claims of one batch, judged in the order of the queue and written in one go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use unefois_core::{Handle, Micros, Reason};
use unefois_store::claim::{self, Claim, ClaimKey, Uses};
use unefois_store::{Error, Tx};

use crate::attempt::{ClaimMode, ClaimRequest};
use crate::batch::Item;

/// How long after its first `released` a request may be answered again.
const RETRY_MS: i64 = 120_000;

/// How a request stands to the claim on its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody holds the key.
    First,
    /// The same request holds it, and would be sent the same payload.
    Again,
    /// It may not be answered.
    Refused(Reason),
}

/// Judges `request` against what is stored.
///
/// `payload_mac` is `None` before the source was asked: then what it would be is not judged.
pub(crate) fn judge(
    request: &ClaimRequest,
    claim: Option<&Claim>,
    uses: Option<&Uses>,
    payload_mac: Option<&[u8; 32]>,
    now: Micros,
) -> Verdict {
    let Some(claim) = claim else {
        return judge_uses(request.mode, uses, now);
    };
    let same_request = claim.client == request.client.siret().to_string()
        && claim.request_id == request.request_id.as_uuid();
    if !same_request {
        return Verdict::Refused(Reason::TokenConsumed);
    }
    if claim.request_hash != request.request_hash {
        return Verdict::Refused(Reason::RetryMismatch);
    }
    // A blanked MAC tells that the time is over, whatever the clock says.
    let Some(stored) = &claim.payload_mac else {
        return Verdict::Refused(Reason::AlreadyDelivered);
    };
    if now.ms_since(claim.at) > RETRY_MS {
        return Verdict::Refused(Reason::AlreadyDelivered);
    }
    match payload_mac {
        Some(mac) if mac != stored => Verdict::Refused(Reason::RetryMismatch),
        Some(_) | None => Verdict::Again,
    }
}

/// Judges a new use of a handle by the limits of a standing grant.
fn judge_uses(mode: ClaimMode, uses: Option<&Uses>, now: Micros) -> Verdict {
    let ClaimMode::Standing {
        max_count,
        min_interval_s,
    } = mode
    else {
        return Verdict::First;
    };
    let Some(uses) = uses.filter(|uses| uses.uses > 0) else {
        return match max_count {
            Some(0) => Verdict::Refused(Reason::TokenConsumed),
            Some(_) | None => Verdict::First,
        };
    };
    if max_count.is_some_and(|max| uses.uses >= i64::from(max)) {
        return Verdict::Refused(Reason::TokenConsumed);
    }
    let early = |s| now < uses.at.plus_ms(i64::from(s) * 1_000);
    if min_interval_s.is_some_and(early) {
        return Verdict::Refused(Reason::QuotaConsumer);
    }
    Verdict::First
}

/// How long a standing handle that was used has to wait for its next use.
pub(crate) fn wait(mode: ClaimMode, uses: Option<Uses>, now: Micros) -> Duration {
    let (Some(uses), ClaimMode::Standing { min_interval_s, .. }) = (uses, mode) else {
        return Duration::ZERO;
    };
    let free = uses.at.plus_ms(i64::from(min_interval_s.unwrap_or(0)) * 1_000);
    let micros = free.get().saturating_sub(now.get());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// What was found under a key, and what the batch leaves there.
struct Slot<T> {
    before: Option<T>,
    now: Option<T>,
}

impl<T: Clone> Slot<T> {
    fn new(found: Option<T>) -> Self {
        Self {
            before: found.clone(),
            now: found,
        }
    }
}

/// The claims that the items of one batch touch, locked for its transaction.
pub(crate) struct Book {
    claims: BTreeMap<ClaimKey, Slot<Claim>>,
    uses: BTreeMap<Handle, Slot<Uses>>,
    locked_out: BTreeSet<ClaimKey>,
}

impl Book {
    /// Locks and reads the claims of `requests`, keys in order.
    pub(crate) async fn open<'a>(
        tx: &mut Tx,
        requests: impl Iterator<Item = &'a ClaimRequest>,
    ) -> Result<Self, Error> {
        let mut book = Self {
            claims: BTreeMap::new(),
            uses: BTreeMap::new(),
            locked_out: BTreeSet::new(),
        };
        let (mut keys, mut locks) = (BTreeSet::new(), BTreeSet::new());
        let mut standing = BTreeSet::new();
        for request in requests {
            keys.insert(request.key());
            locks.insert(request.key());
            if let ClaimMode::Standing { .. } = request.mode {
                locks.insert(ClaimKey::once(&request.handle));
                standing.insert(request.handle);
            }
        }
        if keys.is_empty() {
            return Ok(book);
        }
        let locks: Vec<&ClaimKey> = locks.iter().collect();
        book.locked_out = claim::claim_lock(tx, &locks).await?.into_iter().collect();

        let read: Vec<&ClaimKey> = keys.iter().collect();
        let mut found: BTreeMap<_, _> = claim::claim_read(tx, &read).await?.into_iter().collect();
        for key in keys {
            let claim = found.remove(&key);
            book.claims.insert(key, Slot::new(claim));
        }
        for handle in standing {
            let uses = claim::uses_read(tx, &handle).await?;
            book.uses.insert(handle, Slot::new(uses));
        }
        Ok(book)
    }

    /// The claims of `items` presumed free, for a batch that writes only if they are; `None` where one must be read
    /// first: a claim given back, one of a standing handle, two of one key.
    pub(crate) fn presumed_free<'a>(items: impl Iterator<Item = &'a Item>) -> Option<Self> {
        let mut book = Self {
            claims: BTreeMap::new(),
            uses: BTreeMap::new(),
            locked_out: BTreeSet::new(),
        };
        for item in items {
            match item {
                Item::Append { .. } | Item::Observe { .. } => {}
                Item::Release { request, .. } if request.mode == ClaimMode::Once => {
                    if book.claims.insert(request.key(), Slot::new(None)).is_some() {
                        return None;
                    }
                }
                Item::Release { .. } | Item::Withhold { .. } => return None,
            }
        }
        Some(book)
    }

    /// The claims that were taken on keys that nobody held.
    pub(crate) fn taken(&self) -> Vec<(&ClaimKey, &Claim)> {
        self.claims
            .iter()
            .filter_map(|(key, slot)| Some((key, slot.now.as_ref()?)))
            .collect()
    }

    /// Whether another transaction holds what this request needs.
    pub(crate) fn is_locked_out(&self, request: &ClaimRequest) -> bool {
        let standing = matches!(request.mode, ClaimMode::Standing { .. });
        self.locked_out.contains(&request.key())
            || standing && self.locked_out.contains(&ClaimKey::once(&request.handle))
    }

    /// Judges a request after those before it in the batch.
    pub(crate) fn judge(&self, request: &ClaimRequest, payload_mac: &[u8; 32], now: Micros) -> Verdict {
        if self.is_locked_out(request) {
            return Verdict::Refused(Reason::InProgress);
        }
        let claim = self.claims.get(&request.key()).and_then(|slot| slot.now.as_ref());
        let uses = self.uses.get(&request.handle).and_then(|slot| slot.now.as_ref());
        judge(request, claim, uses, Some(payload_mac), now)
    }

    /// Takes the claim that was judged free.
    pub(crate) fn take(&mut self, request: &ClaimRequest, payload_mac: [u8; 32], now: Micros) {
        let claim = Claim {
            client: request.client.siret().to_string(),
            request_id: request.request_id.as_uuid(),
            request_hash: request.request_hash,
            payload_mac: Some(payload_mac),
            live: 1,
            at: now,
        };
        if let Some(slot) = self.claims.get_mut(&request.key()) {
            slot.now = Some(claim);
        }
        if let Some(slot) = self.uses.get_mut(&request.handle) {
            let uses = slot.now.map_or(0, |uses| uses.uses) + 1;
            slot.now = Some(Uses { uses, at: now });
        }
    }

    /// Counts one more answer under the claim.
    pub(crate) fn take_again(&mut self, request: &ClaimRequest) {
        if let Some(claim) = self
            .claims
            .get_mut(&request.key())
            .and_then(|slot| slot.now.as_mut())
        {
            claim.live += 1;
        }
    }

    /// Gives back one answer of which not a byte left: only its own request's, and the key once none is left.
    pub(crate) fn give_back(&mut self, request: &ClaimRequest) {
        let Some(slot) = self.claims.get_mut(&request.key()) else {
            return;
        };
        let client = request.client.siret().to_string();
        let own = |claim: &&mut Claim| {
            claim.client == client
                && claim.request_id == request.request_id.as_uuid()
                && claim.request_hash == request.request_hash
        };
        let Some(claim) = slot.now.as_mut().filter(own) else {
            return;
        };
        claim.live -= 1;
        if claim.live > 0 {
            return;
        }
        slot.now = None;
        if let Some(uses) = self
            .uses
            .get_mut(&request.handle)
            .and_then(|slot| slot.now.as_mut())
        {
            uses.uses = (uses.uses - 1).max(0);
        }
    }

    /// Writes what changed; `false` if a row was not what had been read under its lock.
    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<bool, Error> {
        let mut new = Vec::new();
        for (key, slot) in &self.claims {
            let done = match (&slot.before, &slot.now) {
                (None, None) => true,
                (Some(before), Some(now)) if before == now => true,
                (Some(before), Some(now)) if same_holder(before, now) => {
                    claim::claim_update(tx, key, before, now.live).await?
                }
                (Some(before), now) => {
                    new.extend(now.as_ref().map(|now| (key, now)));
                    claim::claim_delete(tx, key, before).await?
                }
                (None, Some(now)) => {
                    new.push((key, now));
                    true
                }
            };
            if !done {
                return Ok(false);
            }
        }
        if !new.is_empty() && claim::claim_insert(tx, &new).await? != new.len() as u64 {
            return Ok(false);
        }
        for (handle, slot) in &self.uses {
            if let Some(now) = slot.now.filter(|now| slot.before != Some(*now))
                && !claim::uses_write(tx, handle, slot.before, now).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn same_holder(a: &Claim, b: &Claim) -> bool {
    (&a.client, a.request_id, a.request_hash, a.at) == (&b.client, b.request_id, b.request_hash, b.at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unefois_core::{ExchangeId, ParticipantId, Sha256};

    use super::*;

    const NOW: Micros = Micros::from_secs(1_795_512_305);
    const MAC: [u8; 32] = [1; 32];

    fn request(n: u8, mode: ClaimMode) -> ClaimRequest {
        let client: ParticipantId = "urn:unefois:participant:21920023500014".parse().unwrap();
        let request_id: ExchangeId = format!("0190163d-8694-739b-aea5-966c26f8ad{n:02x}")
            .parse()
            .unwrap();
        ClaimRequest {
            handle: Handle::from_bytes([7; 16]),
            mode,
            client,
            request_id,
            request_hash: Sha256::of(&[n]),
        }
    }

    fn empty_book(requests: &[ClaimRequest]) -> Book {
        let free = |r: &ClaimRequest| (r.key(), Slot::new(None));
        Book {
            claims: requests.iter().map(free).collect(),
            uses: requests.iter().map(|r| (r.handle, Slot::new(None))).collect(),
            locked_out: BTreeSet::new(),
        }
    }

    proptest! {
        /// In one batch, whatever is released, withheld and released again: bytes of a one-shot handle are out under
        /// one request at most, and a standing handle is used at most as often as it was granted.
        #[test]
        fn i2_one_batch_never_exceeds_a_grant(
            once in any::<bool>(),
            steps in prop::collection::vec((0_u8..4, any::<bool>()), 1..40),
        ) {
            let mode = if once {
                ClaimMode::Once
            } else {
                ClaimMode::Standing { max_count: Some(2), min_interval_s: None }
            };
            let requests: Vec<ClaimRequest> = (0..4).map(|n| request(n, mode)).collect();
            let mut book = empty_book(&requests);
            let mut out = [0_u32; 4];
            for (n, release) in steps {
                let (request, out_of) = (&requests[usize::from(n)], usize::from(n));
                match book.judge(request, &MAC, NOW) {
                    _ if !release => {
                        // Only who holds a receipt can withhold it.
                        if out[out_of] > 0 {
                            book.give_back(request);
                            out[out_of] -= 1;
                        }
                    }
                    Verdict::First => {
                        prop_assert_eq!(out[out_of], 0);
                        book.take(request, MAC, NOW);
                        out[out_of] += 1;
                    }
                    Verdict::Again => {
                        prop_assert!(out[out_of] > 0);
                        book.take_again(request);
                        out[out_of] += 1;
                    }
                    Verdict::Refused(reason) => prop_assert_eq!(reason, Reason::TokenConsumed),
                }
                let holders = out.iter().filter(|n| **n > 0).count();
                let most = if once { 1 } else { 2 };
                prop_assert!(holders <= most);
            }
        }
    }
}
