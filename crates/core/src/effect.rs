//! The proof that a withdrawal has taken effect: where each log of the producers concerned stood at that moment.
//!
//! An [`Effect`] is the evidence that an `effective` entry of the authority's ledger commits to, as its JSON text. With it
//! and the producers' ledgers anybody tells, without any clock, whether something was released after it: see
//! [`Standing`].

use serde::{Deserialize, Serialize};

use crate::revocation::{Record, Withdrawal};
use crate::{Micros, ParticipantId, RevocationView, Sha256};

/// How far the lease clocks of two machines may drift apart while a lease lasts: a deadline is a lease and this much of it.
const DRIFT_PERCENT: i64 = 5;

/// How long after the receipt of a ping that was answered, in milliseconds, no release under that answer may be decided:
/// the lease and 5 % of it, rounded up.
pub const fn deadline_ms(lease_ms: u32) -> i64 {
    let lease = lease_ms as i64;
    lease + (lease * DRIFT_PERCENT + 99) / 100
}

/// The proof of effect of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// The record. That of a grant names its handle, so the whole is personal data.
    pub record: Record,
    /// Whose logs it concerns: those of the handle's operator; `None` for every producer's.
    pub operator: Option<ParticipantId>,
    /// When it had taken effect, by the authority's clock; told to people, compared with nothing.
    pub effective_at: Micros,
    /// One line for every log that the directory gave those concerned, sorted by origin.
    pub logs: Vec<LogLine>,
}

/// One log, as its newest start stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// Whose log.
    pub participant: ParticipantId,
    /// Its origin.
    pub origin: String,
    /// The epoch that the log took at the newest start that the authority heard of; `None` for an absent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u64>,
    /// Where it stood.
    pub standing: Standing,
}

/// Where a log stood when record S took effect. A release under S is late if its own view is at S or later, if it lies
/// between a `lapsed` and its `resumed`, or where the variant says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum Standing {
    /// It said that S or a later record was in force. A release at or beyond the checkpoint's size is late.
    Acknowledged {
        /// The place that it acknowledged.
        view: RevocationView,
        /// Its signed checkpoint.
        checkpoint: String,
    },
    /// It did not say so, and its lease ran out. A release after the first `lapsed` at or beyond `size` is late; one
    /// between the two is not proved to be early or late.
    Lapsed {
        /// The log's size in the last ping that was answered below S.
        size: u64,
        /// The log's root in that ping.
        #[serde(with = "crate::digest::hex")]
        root: Sha256,
    },
    /// No ping of this start was answered below S: whatever it released after that carries a view at S or later.
    Opened,
    /// The directory lists the log and the authority knows of no process that writes it.
    Absent,
}

impl Effect {
    /// The bytes that the entry commits to.
    ///
    /// # Panics
    /// Never: every value has a JSON form.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain values have a JSON form")
    }

    /// The effect of these bytes; `None` unless they are what [`Self::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let effect: Self = serde_json::from_slice(bytes).ok()?;
        (effect.to_bytes() == bytes).then_some(effect)
    }

    /// The place of the record.
    pub fn place(&self) -> RevocationView {
        self.record.place.into()
    }

    /// Whether it is of one handle.
    pub const fn is_of_grant(&self) -> bool {
        matches!(self.record.withdrawal, Withdrawal::Grant(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Handle;
    use crate::revocation::RecordPlace;

    #[test]
    fn a_deadline_is_never_shorter_than_lease_and_drift() {
        for (lease, deadline) in [
            (1_000, 1_050),
            (1, 2),
            (0, 0),
            (1_950, 2_048),
            (u32::MAX, 4_509_715_660),
        ] {
            assert_eq!(deadline_ms(lease), deadline, "{lease}");
        }
    }

    #[test]
    fn an_effect_reads_back_from_its_bytes_and_from_nothing_else() {
        let participant: ParticipantId = "urn:unefois:participant:21920023500014".parse().unwrap();
        let view = RevocationView { epoch: 2, seq: 7 };
        let line = |origin: &str, boot, standing| LogLine {
            participant,
            origin: origin.to_owned(),
            boot,
            standing,
        };
        let effect = Effect {
            record: Record {
                place: RecordPlace { epoch: 2, seq: 7 },
                withdrawal: Withdrawal::Grant(Handle::from_bytes([3; 16])),
                at: Micros::new(1),
            },
            operator: Some(participant),
            effective_at: Micros::new(2),
            logs: vec![
                line(
                    "a/1",
                    Some(4),
                    Standing::Acknowledged {
                        view,
                        checkpoint: "a/1\n5\n".into(),
                    },
                ),
                line(
                    "a/2",
                    Some(1),
                    Standing::Lapsed {
                        size: 9,
                        root: Sha256::of(b"root"),
                    },
                ),
                line("a/3", Some(8), Standing::Opened),
                line("a/4", None, Standing::Absent),
            ],
        };
        let bytes = effect.to_bytes();
        assert_eq!(Effect::from_bytes(&bytes), Some(effect.clone()));
        assert_eq!((effect.place(), effect.is_of_grant()), (view, true));
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"state\":\"opened\"", "\"state\":\"opened\",\"x\":1"),
            ("{\"record\"", "{ \"record\""),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            assert_eq!(Effect::from_bytes(other.as_bytes()), None, "{other}");
        }
    }
}
