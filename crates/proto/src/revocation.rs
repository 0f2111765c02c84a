use unefois_core::revocation::{Record, RecordPlace, Withdrawal};
use unefois_core::{Micros, RevocationView, WithdrawnBy};

use crate::InvalidMessage;
use crate::invalid::Check;
use crate::pb::revocation::v1 as pb;
use crate::pb::revocation::v1::consumer_record::Withdrawn;

/// The most records that one message tells a consumer of.
pub const MAX_CONSUMER_RECORDS: usize = 1_000;
/// Longest name of a certificate or a key, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// The withdrawals that concern a consumer, among those after one place and up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRecords {
    /// Number of the record after which they begin.
    pub after: u64,
    /// Up to where nothing else concerns the consumer; never before `after`.
    pub reached: RevocationView,
    /// The records, by strictly growing numbers between the two.
    pub records: Vec<OwnRecord>,
    /// Records beyond `reached`, by strictly growing numbers: they come again once the place goes on.
    pub ahead: Vec<OwnRecord>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRecord {
    /// The record.
    pub record: Record,
    /// Who ended the handle; `None` for a record of another kind.
    pub by: Option<WithdrawnBy>,
}

impl From<&OwnRecords> for pb::ConsumerRecords {
    fn from(own: &OwnRecords) -> Self {
        Self {
            after_seq: own.after,
            position: Some(pb::Position {
                epoch: own.reached.epoch,
                seq: own.reached.seq,
                chain: Vec::new(),
            }),
            records: own.records.iter().map(Into::into).collect(),
            ahead: own.ahead.iter().map(Into::into).collect(),
        }
    }
}

impl From<&OwnRecord> for pb::ConsumerRecord {
    fn from(own: &OwnRecord) -> Self {
        let withdrawn = match &own.record.withdrawal {
            Withdrawal::Grant(handle) => Withdrawn::Handle(pb::WithdrawnHandle {
                handle: handle.to_string(),
                by: match own.by {
                    Some(WithdrawnBy::Person) => pb::WithdrawnBy::Person,
                    Some(WithdrawnBy::Consumer) => pb::WithdrawnBy::Consumer,
                    Some(WithdrawnBy::CodeReuse) => pb::WithdrawnBy::CodeReuse,
                    Some(WithdrawnBy::Narrowed) => pb::WithdrawnBy::Narrowed,
                    Some(WithdrawnBy::Unrecorded) => pb::WithdrawnBy::Unrecorded,
                    Some(WithdrawnBy::Opposition) => pb::WithdrawnBy::Opposition,
                    // Which side of the mandate is not the asker's to know.
                    Some(WithdrawnBy::Mandate | WithdrawnBy::Mandator) => pb::WithdrawnBy::Mandate,
                    None => pb::WithdrawnBy::Unspecified,
                }
                .into(),
            }),
            Withdrawal::Client(client) => Withdrawn::Client(client.to_string()),
            Withdrawal::ClientCert(x5t) => Withdrawn::Certificate(x5t.clone()),
            Withdrawal::SigningKey(kid) => Withdrawn::SigningKey(kid.clone()),
            Withdrawal::AllBefore => Withdrawn::AllBefore(pb::AllBefore {}),
        };
        Self {
            epoch: own.record.place.epoch,
            seq: own.record.place.seq,
            at_us: own.record.at.get(),
            withdrawn: Some(withdrawn),
        }
    }
}

impl TryFrom<pb::ConsumerRecords> for OwnRecords {
    type Error = InvalidMessage;

    fn try_from(message: pb::ConsumerRecords) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let position = message.position.unwrap_or_default();
        let (after, reached) = (message.after_seq, position.seq);
        if reached < after {
            check.wrong("position.seq", "a place that is not before after_seq");
        }
        if message.records.len() + message.ahead.len() > MAX_CONSUMER_RECORDS {
            check.wrong("records", format_args!("at most {MAX_CONSUMER_RECORDS} records"));
            return check.finish(None);
        }
        let mut last = after;
        let mut records = Vec::with_capacity(message.records.len());
        for (n, record) in message.records.into_iter().enumerate() {
            if record.seq <= last || record.seq > reached || record.epoch > position.epoch {
                check.wrong(
                    format!("records[{n}].seq"),
                    "a place after the record before, within the message",
                );
            }
            last = record.seq;
            records.extend(own_record(&mut check, &format!("records[{n}]"), record));
        }
        let mut last = reached;
        let mut ahead = Vec::with_capacity(message.ahead.len());
        for (n, record) in message.ahead.into_iter().enumerate() {
            if record.seq <= last {
                check.wrong(
                    format!("ahead[{n}].seq"),
                    "a place after the record before, beyond the message's place",
                );
            }
            last = record.seq;
            ahead.extend(own_record(&mut check, &format!("ahead[{n}]"), record));
        }
        check.finish(Some(Self {
            after,
            reached: RevocationView {
                epoch: position.epoch,
                seq: reached,
            },
            records,
            ahead,
        }))
    }
}

fn own_record(check: &mut Check, which: &str, message: pb::ConsumerRecord) -> Option<OwnRecord> {
    let field = |member: &str| format!("{which}.{member}");
    let mut by = None;
    let withdrawal = match message.withdrawn {
        Some(Withdrawn::Handle(withdrawn)) => {
            by = ended_by(withdrawn.by());
            if by.is_none() {
                check.wrong(field("handle.by"), "who ended the handle");
            }
            check
                .parse(&field("handle.handle"), &withdrawn.handle)
                .map(Withdrawal::Grant)
        }
        Some(Withdrawn::Client(client)) => check.parse(&field("client"), &client).map(Withdrawal::Client),
        Some(Withdrawn::Certificate(x5t)) => check
            .text(&field("certificate"), x5t, MAX_NAME_BYTES)
            .map(Withdrawal::ClientCert),
        Some(Withdrawn::SigningKey(kid)) => check
            .text(&field("signing_key"), kid, MAX_NAME_BYTES)
            .map(Withdrawal::SigningKey),
        Some(Withdrawn::AllBefore(_)) => Some(Withdrawal::AllBefore),
        None => {
            check.wrong(field("withdrawn"), "one of the kinds of withdrawal");
            None
        }
    };
    Some(OwnRecord {
        record: Record {
            place: RecordPlace {
                epoch: message.epoch,
                seq: message.seq,
            },
            withdrawal: withdrawal?,
            at: Micros::new(message.at_us),
        },
        by,
    })
}

const fn ended_by(by: pb::WithdrawnBy) -> Option<WithdrawnBy> {
    match by {
        pb::WithdrawnBy::Person => Some(WithdrawnBy::Person),
        pb::WithdrawnBy::Consumer => Some(WithdrawnBy::Consumer),
        pb::WithdrawnBy::CodeReuse => Some(WithdrawnBy::CodeReuse),
        pb::WithdrawnBy::Narrowed => Some(WithdrawnBy::Narrowed),
        pb::WithdrawnBy::Unrecorded => Some(WithdrawnBy::Unrecorded),
        pb::WithdrawnBy::Opposition => Some(WithdrawnBy::Opposition),
        pb::WithdrawnBy::Mandate => Some(WithdrawnBy::Mandate),
        pb::WithdrawnBy::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use unefois_core::Handle;

    use super::*;

    fn own(seq: u64, withdrawal: Withdrawal) -> OwnRecord {
        let by = matches!(withdrawal, Withdrawal::Grant(_)).then_some(WithdrawnBy::Person);
        OwnRecord {
            record: Record {
                place: RecordPlace { epoch: 2, seq },
                withdrawal,
                at: Micros::new(7),
            },
            by,
        }
    }

    fn message() -> OwnRecords {
        let client = "urn:unefois:participant:21920023500014".parse().unwrap();
        OwnRecords {
            after: 3,
            reached: RevocationView { epoch: 2, seq: 12 },
            records: vec![
                own(4, Withdrawal::Grant(Handle::from_bytes([1; 16]))),
                own(6, Withdrawal::Client(client)),
                own(7, Withdrawal::ClientCert("x5t".to_owned())),
                own(9, Withdrawal::SigningKey("kid".to_owned())),
                own(12, Withdrawal::AllBefore),
            ],
            ahead: vec![own(14, Withdrawal::Grant(Handle::from_bytes([2; 16])))],
        }
    }

    fn fields(message: pb::ConsumerRecords) -> Vec<String> {
        let invalid = OwnRecords::try_from(message).unwrap_err();
        invalid.violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn a_message_out_of_order_or_beyond_its_place_is_refused_whole() {
        let mut swapped = pb::ConsumerRecords::from(&message());
        swapped.records.swap(0, 1);
        assert_eq!(fields(swapped), ["records[1].seq"]);
        let mut twice = pb::ConsumerRecords::from(&message());
        twice.records[1].seq = 4;
        assert_eq!(fields(twice), ["records[1].seq"]);
        let before = pb::ConsumerRecords {
            after_seq: 4,
            ..pb::ConsumerRecords::from(&message())
        };
        assert_eq!(fields(before), ["records[0].seq"]);
        let mut short = pb::ConsumerRecords::from(&message());
        short.position = Some(pb::Position {
            epoch: 1,
            seq: 11,
            chain: vec![],
        });
        assert_eq!(fields(short).len(), 5);
        let back = pb::ConsumerRecords {
            after_seq: 13,
            records: vec![],
            ..pb::ConsumerRecords::from(&message())
        };
        assert_eq!(fields(back), ["position.seq"]);
        let mut within = pb::ConsumerRecords::from(&message());
        within.ahead[0].seq = 12;
        assert_eq!(fields(within), ["ahead[0].seq"]);
        let mut nothing = pb::ConsumerRecords::from(&message());
        nothing.ahead[0].withdrawn = None;
        assert_eq!(fields(nothing), ["ahead[0].withdrawn"]);
        let many = pb::ConsumerRecords {
            records: vec![pb::ConsumerRecord::default(); MAX_CONSUMER_RECORDS + 1],
            ..Default::default()
        };
        assert_eq!(fields(many), ["records"]);
    }

    #[test]
    fn a_record_that_does_not_say_what_it_ends_is_refused() {
        let mut nothing = pb::ConsumerRecords::from(&message());
        nothing.records[1].withdrawn = None;
        nothing.records[2].withdrawn = Some(Withdrawn::Certificate(String::new()));
        nothing.records[3].withdrawn = Some(Withdrawn::SigningKey("k".repeat(129)));
        nothing.records[0].withdrawn = Some(Withdrawn::Handle(pb::WithdrawnHandle {
            handle: "x".to_owned(),
            by: 99,
        }));
        assert_eq!(
            fields(nothing),
            [
                "records[0].handle.by",
                "records[0].handle.handle",
                "records[1].withdrawn",
                "records[2].certificate",
                "records[3].signing_key"
            ]
        );
    }

    #[test]
    fn what_is_told_reads_back() {
        let told = pb::ConsumerRecords::from(&message());
        assert_eq!(OwnRecords::try_from(told), Ok(message()));
    }
}
