//! The log of withdrawals: its records, their hash chain, and a reader's view of it.
//!
//! A record at place S kills every matching token whose `rvk` is before S; that of a signing key kills every token of that
//! key, since whoever stole the key writes the `rvk`. All comparisons are on (epoch, seq); no clock takes part. Records
//! travel signed, as [`SignedRecords`] in a JWS whose signature the caller has checked.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AccessTokenClaims, Handle, Micros, ParticipantId, RevocationView, Sha256};

/// The most records that one signed message may carry.
pub const MAX_RECORDS: usize = 100_000;

/// What a record withdraws.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "key", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Withdrawal {
    /// One handle: the person stopped that element of a grant.
    Grant(Handle),
    /// All tokens of one consumer.
    Client(ParticipantId),
    /// All tokens bound to one certificate (its `x5t#S256`).
    ClientCert(String),
    /// All tokens signed by one key (its `kid`), for good.
    SigningKey(String),
    /// All tokens minted before this record.
    AllBefore,
}

/// A handle is personal data, so the kind alone shows.
impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grant(_) => "Grant(…)",
            Self::Client(_) => "Client(…)",
            Self::ClientCert(_) => "ClientCert(…)",
            Self::SigningKey(_) => "SigningKey(…)",
            Self::AllBefore => "AllBefore",
        })
    }
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place: the epoch that wrote it and its number, one more than the record before.
    #[serde(flatten)]
    pub place: RecordPlace,
    /// What it withdraws.
    #[serde(flatten)]
    pub withdrawal: Withdrawal,
    /// When it was written, by the authority's clock; told to people, compared with nothing.
    pub at: Micros,
}

impl Record {
    /// Whether it kills this token, which the key `kid` signed.
    pub fn kills(&self, token: &AccessTokenClaims, kid: &str) -> bool {
        let matches = match &self.withdrawal {
            Withdrawal::Grant(handle) => *handle == token.gh,
            Withdrawal::Client(client) => *client == token.client_id || Some(*client) == token.act_client,
            Withdrawal::ClientCert(x5t) => *x5t == token.cnf.x5t_s256,
            Withdrawal::SigningKey(signed) => return signed == kid,
            Withdrawal::AllBefore => true,
        };
        matches && RevocationView::from(self.place) > token.rvk
    }
}

/// The place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordPlace {
    /// The authority's epoch.
    pub epoch: u64,
    /// The record's number, from 1, never restarted.
    pub seq: u64,
}

impl From<RecordPlace> for RevocationView {
    fn from(place: RecordPlace) -> Self {
        Self {
            epoch: place.epoch,
            seq: place.seq,
        }
    }
}

/// The head of the log: the epoch in force, the last record's number, and the chain over all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The epoch in force; at least that of the last record.
    pub epoch: u64,
    /// The last record's number, 0 for none.
    pub seq: u64,
    /// [`chain`] over all records, hexadecimal on the wire.
    #[serde(with = "crate::digest::hex")]
    pub chain: Sha256,
}

impl Head {
    /// The head before any record of any epoch.
    pub fn empty() -> Self {
        Self {
            epoch: 0,
            seq: 0,
            chain: Sha256::default(),
        }
    }

    /// The head after one more record, the next.
    pub fn after(&self, record: &Record) -> Self {
        Self {
            epoch: record.place.epoch,
            seq: record.place.seq,
            chain: chain(&self.chain, record),
        }
    }

    /// Its place.
    pub const fn view(&self) -> RevocationView {
        RevocationView {
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}

/// Whether a message replaces the reader's view or extends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// Every record that may still matter.
    Snapshot,
    /// The records that follow `from`.
    Batch,
}

/// The payload of a signed message of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRecords {
    /// Snapshot or batch.
    pub extent: Extent,
    /// For a batch, the head that it extends; for a snapshot, the empty head or the one before its oldest record.
    pub from: Head,
    /// The head after its records.
    pub head: Head,
    /// The records, in order.
    pub records: Vec<Record>,
}

/// Extends the chain by one record: SHA-256 over a tag, the chain before and the record's fields, each of the latter
/// preceded by its length.
pub fn chain(before: &Sha256, record: &Record) -> Sha256 {
    let (kind, key) = match &record.withdrawal {
        Withdrawal::Grant(handle) => ("GRANT", handle.to_string()),
        Withdrawal::Client(client) => ("CLIENT", client.to_string()),
        Withdrawal::ClientCert(x5t) => ("CLIENT_CERT", x5t.clone()),
        Withdrawal::SigningKey(kid) => ("SIGNING_KEY", kid.clone()),
        Withdrawal::AllBefore => ("ALL_BEFORE", String::new()),
    };
    let mut bytes = b"unefois/withdrawal/v1".to_vec();
    bytes.extend_from_slice(before.as_bytes());
    let (epoch, seq, at) = (record.place.epoch, record.place.seq, record.at.get());
    for part in [
        &epoch.to_be_bytes()[..],
        &seq.to_be_bytes(),
        kind.as_bytes(),
        key.as_bytes(),
        &at.to_be_bytes(),
    ] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Sha256::of(&bytes)
}

/// Why a message of records cannot be applied; the view stays as it was, and the reader must ask for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotApply {
    /// Its epoch is lower than the view's.
    #[error("the records come from an older epoch of the authority")]
    OlderEpoch,
    /// It does not follow the view: a gap, a reordering or another history.
    #[error("the records do not follow the ones already known")]
    NotNext,
    /// Its head is not what its records chain to.
    #[error("the records do not chain to their head")]
    BrokenChain,
    /// It would take records away.
    #[error("the snapshot ends before the records already known")]
    Rollback,
    /// More than [`MAX_RECORDS`] records.
    #[error("too many records in one message")]
    TooMany,
}

/// What a signed message, whose signature has been checked, adds to a log that ends at `head`: the records beyond it, in
/// order; none where it ends at or before it.
///
/// # Errors
/// [`CannotApply::NotNext`] where it does not pass through `head`: a gap, or another history; as
/// [`Withdrawals::apply`] where it contradicts itself.
pub fn beyond(message: &SignedRecords, head: &Head) -> Result<Vec<Record>, CannotApply> {
    let mut itself = Withdrawals {
        head: message.from,
        last: HashMap::new(),
    };
    let extent = Extent::Batch;
    itself.apply(&SignedRecords {
        extent,
        ..message.clone()
    })?;
    if message.head.seq < head.seq {
        return Ok(Vec::new());
    }
    let known = |at: &Head| at.seq == head.seq && at.chain == head.chain;
    let mut at = message.from;
    let mut passes = known(&at);
    for record in &message.records {
        at = at.after(record);
        passes |= known(&at);
    }
    let records = message.records.iter();
    let later = records.filter(|record| record.place.seq > head.seq).cloned();
    passes.then(|| later.collect()).ok_or(CannotApply::NotNext)
}

/// A reader's view of the log: its head, and for each thing withdrawn the last place that withdrew it.
///
/// The view never goes back: an epoch or a number lower than the one applied is refused.
#[derive(Clone, Debug)]
pub struct Withdrawals {
    head: Head,
    last: HashMap<Withdrawal, RevocationView>,
}

impl Default for Withdrawals {
    fn default() -> Self {
        Self {
            head: Head::empty(),
            last: HashMap::new(),
        }
    }
}

impl Withdrawals {
    /// The head applied.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Applies a message whose signature has been checked, whole or not at all.
    ///
    /// # Errors
    /// [`CannotApply`]; the view is unchanged.
    pub fn apply(&mut self, message: &SignedRecords) -> Result<(), CannotApply> {
        if message.records.len() > MAX_RECORDS {
            return Err(CannotApply::TooMany);
        }
        if message.head.epoch < self.head.epoch {
            return Err(CannotApply::OlderEpoch);
        }
        match message.extent {
            Extent::Batch if message.from.seq != self.head.seq || message.from.chain != self.head.chain => {
                return Err(CannotApply::NotNext);
            }
            Extent::Snapshot if message.head.seq < self.head.seq => return Err(CannotApply::Rollback),
            Extent::Batch | Extent::Snapshot => {}
        }
        let mut at = message.from;
        // A snapshot that passes through the place already applied must agree with it there.
        let mut agrees = message.extent == Extent::Batch || at.seq > self.head.seq || self.head.seq == 0;
        agrees |= at.seq == self.head.seq && at.chain == self.head.chain;
        for record in &message.records {
            if record.place.seq != at.seq + 1 || record.place.epoch < at.epoch {
                return Err(CannotApply::NotNext);
            }
            at = at.after(record);
            agrees |= at.seq == self.head.seq && at.chain == self.head.chain;
        }
        if at.seq != message.head.seq || at.chain != message.head.chain || at.epoch > message.head.epoch {
            return Err(CannotApply::BrokenChain);
        }
        if !agrees {
            return Err(CannotApply::NotNext);
        }
        if message.extent == Extent::Snapshot {
            // What lies before it matters to no token that may still live, save a signing key's: the authority forgets it by
            // its own directory, and the one in use here may still list that key.
            let key = |what: &Withdrawal| matches!(what, Withdrawal::SigningKey(_));
            self.last
                .retain(|what, place| place.seq > message.from.seq || key(what));
        }
        for record in &message.records {
            self.last.insert(record.withdrawal.clone(), record.place.into());
        }
        self.head = message.head;
        Ok(())
    }

    /// Whether a record kills this token: one that matches its handle, client (or the publisher acting for it),
    /// certificate, or that ends everything, at a place after the token's `rvk`; or one of its signing key (`kid`).
    pub fn kills(&self, token: &AccessTokenClaims, kid: &str) -> bool {
        let stolen = Withdrawal::SigningKey(kid.to_owned());
        let killed = |what: Withdrawal| self.last.get(&what).is_some_and(|place| *place > token.rvk);
        killed(Withdrawal::Grant(token.gh))
            || killed(Withdrawal::Client(token.client_id))
            || token
                .act_client
                .is_some_and(|publisher| killed(Withdrawal::Client(publisher)))
            || killed(Withdrawal::ClientCert(token.cnf.x5t_s256.clone()))
            || self.last.contains_key(&stolen)
            || killed(Withdrawal::AllBefore)
    }

    /// Whether a record withdrew this handle, whatever the token: what a waiting ticket or a stored grant asks.
    pub fn withdrew(&self, handle: &Handle, since: RevocationView) -> bool {
        self.last
            .get(&Withdrawal::Grant(*handle))
            .is_some_and(|place| *place > since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64, seq: u64, withdrawal: Withdrawal) -> Record {
        Record {
            place: RecordPlace { epoch, seq },
            withdrawal,
            at: Micros::new(1),
        }
    }

    fn grant(n: u8) -> Withdrawal {
        Withdrawal::Grant(Handle::from_bytes([n; 16]))
    }

    fn message(extent: Extent, from: Head, epoch: u64, records: Vec<Record>) -> SignedRecords {
        let head = records.iter().fold(from, |at, r| Head {
            epoch,
            seq: r.place.seq,
            chain: chain(&at.chain, r),
        });
        SignedRecords {
            extent,
            from,
            head: Head { epoch, ..head },
            records,
        }
    }

    fn view() -> (Withdrawals, SignedRecords) {
        let first = message(
            Extent::Snapshot,
            Head::empty(),
            1,
            vec![record(1, 1, grant(1)), record(1, 2, grant(2))],
        );
        let mut view = Withdrawals::default();
        view.apply(&first).unwrap();
        (view, first)
    }

    #[test]
    fn what_a_message_adds_to_a_log_follows_its_head_or_is_refused() {
        let (_, first) = view();
        let next = message(Extent::Batch, first.head, 2, vec![record(2, 3, grant(3))]);
        let all = message(
            Extent::Snapshot,
            Head::empty(),
            2,
            [&first.records[..], &next.records[..]].concat(),
        );
        assert_eq!(beyond(&next, &first.head), Ok(next.records.clone()));
        assert_eq!(beyond(&all, &first.head), Ok(next.records.clone()));
        assert_eq!(beyond(&all, &Head::empty()), Ok(all.records.clone()));
        assert_eq!(beyond(&all, &next.head), Ok(Vec::new()));
        assert_eq!(beyond(&first, &next.head), Ok(Vec::new()));

        assert_eq!(beyond(&next, &Head::empty()), Err(CannotApply::NotNext), "a gap");
        let other = message(Extent::Batch, Head::empty(), 1, vec![record(1, 1, grant(9))]);
        assert_eq!(
            beyond(&all, &other.head),
            Err(CannotApply::NotNext),
            "another history"
        );
        let mut swapped = all.clone();
        swapped.records.swap(1, 2);
        assert_eq!(beyond(&swapped, &first.head), Err(CannotApply::NotNext));
        let mut truncated = all.clone();
        truncated.records.pop();
        assert_eq!(beyond(&truncated, &first.head), Err(CannotApply::BrokenChain));
        let mut changed = all;
        changed.records[2].withdrawal = grant(8);
        assert_eq!(beyond(&changed, &first.head), Err(CannotApply::BrokenChain));
    }

    #[test]
    fn a_gap_a_reordering_and_another_history_are_refused() {
        let (mut view, first) = view();
        let next = message(Extent::Batch, first.head, 1, vec![record(1, 3, grant(3))]);
        let gap = message(Extent::Batch, next.head, 1, vec![record(1, 4, grant(4))]);
        assert_eq!(view.apply(&gap), Err(CannotApply::NotNext));
        let mut swapped = message(
            Extent::Batch,
            first.head,
            1,
            vec![record(1, 4, grant(4)), record(1, 3, grant(3))],
        );
        assert_eq!(view.apply(&swapped), Err(CannotApply::NotNext));
        swapped.records.truncate(0);
        assert_eq!(view.apply(&swapped), Err(CannotApply::BrokenChain));
        let forked = message(
            Extent::Snapshot,
            Head::empty(),
            1,
            vec![record(1, 1, grant(9)), record(1, 2, grant(2))],
        );
        assert_eq!(view.apply(&forked), Err(CannotApply::NotNext));
        assert_eq!(view.head(), first.head);
        assert_eq!(view.apply(&next), Ok(()));
    }

    #[test]
    fn a_view_never_goes_back() {
        let (mut view, first) = view();
        let older = message(Extent::Snapshot, Head::empty(), 1, vec![record(1, 1, grant(1))]);
        assert_eq!(view.apply(&older), Err(CannotApply::Rollback));
        view.apply(&message(Extent::Batch, first.head, 2, vec![]))
            .unwrap();
        assert_eq!(view.head().epoch, 2);
        assert_eq!(
            view.apply(&message(Extent::Batch, first.head, 1, vec![])),
            Err(CannotApply::OlderEpoch)
        );
    }

    #[test]
    fn a_longer_snapshot_of_the_same_history_is_taken() {
        let (mut view, first) = view();
        let records = [first.records.clone(), vec![record(2, 3, grant(3))]].concat();
        view.apply(&message(Extent::Snapshot, Head::empty(), 2, records))
            .unwrap();
        assert!(view.withdrew(&Handle::from_bytes([3; 16]), first.head.view()));
        assert!(!view.withdrew(&Handle::from_bytes([1; 16]), RevocationView { epoch: 1, seq: 1 }));
        assert!(view.withdrew(&Handle::from_bytes([1; 16]), RevocationView { epoch: 1, seq: 0 }));
    }

    #[test]
    fn a_snapshot_forgets_what_lies_before_it_and_nothing_else() {
        let (mut view, first) = view();
        let one = first.head;
        let later = message(
            Extent::Batch,
            one,
            1,
            vec![record(1, 3, grant(3)), record(1, 4, grant(1))],
        );
        let lost = Withdrawal::SigningKey("k".into());
        view.last
            .insert(lost.clone(), RevocationView { epoch: 1, seq: 1 });
        view.apply(&later).unwrap();
        let from = Head::empty().after(&first.records[0]).after(&first.records[1]);
        assert_eq!(from, one);
        view.apply(&message(Extent::Snapshot, from, 1, later.records))
            .unwrap();
        let withdrew = |n| view.withdrew(&Handle::from_bytes([n; 16]), RevocationView::NONE);
        assert_eq!([1, 2, 3].map(withdrew), [true, false, true]);
        assert!(view.last.contains_key(&lost), "a key that was lost stays so");
        assert_eq!(view.last.len(), 3);
    }

    #[test]
    fn records_read_back_from_their_json() {
        let (_, first) = view();
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<SignedRecords>(&text).unwrap(), first);
        assert!(text.contains(r#""kind":"GRANT""#), "{text}");
        assert!(!format!("{first:?}").contains("AQEB"), "a handle never shows");
    }
}
