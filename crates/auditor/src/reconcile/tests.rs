//! Worlds of two logs: what an honest pair gives, and what one entry dropped, changed or invented at either end gives.

mod attempts;
mod bounds;
mod lies;

use unefois_core::{Entry, Event, ExchangeId, Micros, Outcome, ParticipantId, Reason, Sha256};
use unefois_tlog::{Hash, Origin};

use super::{Cause, End, Reconciliation, Rules, Weight, reconcile};
use crate::Visited;

const PRODUCER: &str = "urn:unefois:participant:18003506500010";
const CONSUMER: &str = "urn:unefois:participant:21920023500014";
const STRANGER: &str = "urn:unefois:participant:11004401300016";
const BEGIN: i64 = 1_795_512_000_000_000;
const MINUTE: i64 = 60_000_000;

/// How one exchange goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tale {
    /// Released and received.
    Answered,
    /// The first answer is lost, the second received.
    AnsweredAgain,
    /// Two refusals that the consumer's node waits out, and the answer.
    AnsweredLate,
    /// Released and received; a second use is refused.
    UsedTwice,
    /// Refused.
    Refused,
    /// The guard held the answer back.
    Withheld,
}

const TALES: [Tale; 6] = [
    Tale::Answered,
    Tale::AnsweredAgain,
    Tale::AnsweredLate,
    Tale::UsedTwice,
    Tale::Refused,
    Tale::Withheld,
];

/// The two logs, each in the order of time.
#[derive(Clone, Debug, Default)]
struct World {
    producer: Vec<Entry>,
    consumer: Vec<Entry>,
    now: i64,
    exchanges: u64,
}

fn id(of: &str) -> ParticipantId {
    of.parse().unwrap()
}

fn origin(of: &str) -> Origin {
    format!("{of}/1").parse().unwrap()
}

fn exchange_id(n: u64, at: i64) -> ExchangeId {
    let ms = u64::try_from(at / 1_000).unwrap();
    format!("{:08x}-{:04x}-7000-8000-{n:012x}", ms >> 16, ms & 0xffff)
        .parse()
        .unwrap()
}

fn leaf(entry: &Entry) -> Sha256 {
    Sha256::from_bytes(*Hash::of_leaf(&entry.encode()).as_bytes())
}

impl World {
    fn tell(&mut self, tales: &[Tale]) {
        for tale in tales {
            self.one(*tale);
        }
    }

    fn tick(&mut self) -> Micros {
        self.now += 100_000;
        Micros::new(BEGIN + self.now)
    }

    /// An exchange not heard of before: what both ends say of it.
    fn begin(&mut self) -> Entry {
        self.exchanges += 1;
        self.now += 20 * MINUTE;
        let n = self.exchanges;
        let digest = |what: &str| Some(Sha256::of(format!("{what} {n}").as_bytes()));
        Entry {
            exchange_id: Some(exchange_id(n, BEGIN + self.now)),
            attempt: 1,
            requester: Some(id(CONSUMER)),
            provider: Some(id(PRODUCER)),
            datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
            units: 1 + n % 3,
            directory_version: 1,
            grant_commit: digest("grant"),
            dossier_commit: digest("dossier"),
            request_hash: digest("request"),
            ..Entry::new(Event::Released, Micros::new(0))
        }
    }

    fn released(&mut self, about: &Entry, attempt: u16) -> Entry {
        let event = if attempt == 1 {
            Event::Released
        } else {
            Event::ReleasedAgain
        };
        let content = format!("{:?} {attempt}", about.exchange_id);
        self.produced(Entry {
            event,
            attempt,
            outcome: Some(Outcome::Answered),
            content_commit: Some(Sha256::of(content.as_bytes())),
            ..about.clone()
        })
    }

    fn refused(&mut self, about: &Entry, reason: Reason) -> Entry {
        let outcome = if reason.retryable() {
            Outcome::Later
        } else {
            Outcome::Refused
        };
        self.produced(Entry {
            event: Event::Refused,
            outcome: Some(outcome),
            reason: Some(reason),
            // What was not established when it was refused.
            units: 0,
            ..about.clone()
        })
    }

    fn produced(&mut self, entry: Entry) -> Entry {
        let entry = Entry {
            at: self.tick(),
            ..entry
        };
        self.producer.push(entry.clone());
        entry
    }

    /// What the consumer logs of the entry that the producer named.
    fn consumed(&mut self, about: &Entry, attempt: u16, named: &Entry) {
        let received = matches!(named.event, Event::Released | Event::ReleasedAgain);
        let entry = Entry {
            event: if received { Event::Received } else { Event::Refused },
            attempt,
            at: self.tick(),
            outcome: named.outcome,
            reason: named.reason,
            content_commit: named.content_commit.filter(|_| received),
            peer_entry_hash: Some(leaf(named)),
            peer_origin_hash: Some(Sha256::of(origin(PRODUCER).as_str().as_bytes())),
            ..about.clone()
        };
        self.consumer.push(entry);
    }

    fn one(&mut self, tale: Tale) {
        let about = self.begin();
        let named = match tale {
            Tale::Answered => self.released(&about, 1),
            Tale::AnsweredAgain => {
                self.released(&about, 1);
                self.released(&about, 2)
            }
            Tale::AnsweredLate => {
                self.refused(&about, Reason::SourceTimeout);
                self.refused(&about, Reason::InProgress);
                self.released(&about, 1)
            }
            Tale::UsedTwice => {
                let released = self.released(&about, 1);
                self.consumed(&about, 1, &released);
                let refused = self.refused(&about, Reason::TokenConsumed);
                return self.consumed(&about, 2, &refused);
            }
            Tale::Refused => self.refused(&about, Reason::SubjectNotResolved),
            Tale::Withheld => {
                let released = self.released(&about, 1);
                self.produced(Entry {
                    event: Event::Withheld,
                    outcome: Some(Outcome::Refused),
                    reason: Some(Reason::GrantRevoked),
                    ..released
                })
            }
        };
        self.consumed(&about, 1, &named);
    }

    fn end(of: &str, entries: &[Entry], window: std::ops::Range<Micros>) -> End {
        let mut end = End::new(id(of), window, None);
        let log = end.log(&origin(of));
        for (index, entry) in (0..).zip(entries) {
            let bytes = entry.encode();
            let visited = Visited {
                index,
                leaf: &Hash::of_leaf(&bytes),
                entry,
                bytes: &bytes,
            };
            end.take(log, visited).unwrap();
        }
        end
    }

    fn compare(&self) -> Reconciliation {
        self.compare_within(Micros::new(i64::MAX)..Micros::new(i64::MAX))
    }

    fn compare_within(&self, under_way: std::ops::Range<Micros>) -> Reconciliation {
        let always = Micros::new(i64::MIN)..Micros::new(i64::MAX);
        let rules = Rules {
            under_way,
            clock_ms: 5_000,
        };
        let producer = Self::end(PRODUCER, &self.producer, always.clone());
        let consumer = Self::end(CONSUMER, &self.consumer, always);
        let found = reconcile(&producer, &consumer, &rules);
        let turned = reconcile(&consumer, &producer, &rules);
        assert_eq!(
            found.findings, turned.findings,
            "it does not matter who is named first"
        );
        found
    }
}

fn causes(found: &Reconciliation) -> Vec<(Weight, &Cause)> {
    found.findings.iter().map(|f| (f.weight, &f.cause)).collect()
}

#[test]
fn i7_what_one_end_lacks_is_told_by_its_kind() {
    let mut world = World::default();
    world.tell(&[Tale::Answered, Tale::Refused]);
    let honest = world.clone();

    world.consumer.remove(0);
    assert_eq!(
        causes(&world.compare()),
        [(Weight::Unconfirmed, &Cause::Unconfirmed)]
    );
    world.consumer.remove(0);
    assert_eq!(
        causes(&world.compare()),
        [
            (Weight::Unconfirmed, &Cause::Unconfirmed),
            (Weight::Fault, &Cause::NotAtConsumer)
        ]
    );

    let mut world = honest.clone();
    world.producer.remove(1);
    world.producer.remove(0);
    assert_eq!(
        causes(&world.compare()),
        [
            (Weight::Fault, &Cause::NotAtProducer),
            (Weight::Fault, &Cause::NotAtProducer)
        ]
    );
    let hours = honest.compare().hours;
    assert!(hours.iter().all(super::Hour::agrees));
}

#[test]
fn i7_a_field_changed_at_either_end_is_named() {
    let mut world = World::default();
    world.tell(&[Tale::Answered]);
    let mut changed = world.clone();
    changed.consumer[0].units ^= 4;
    assert_eq!(
        causes(&changed.compare()),
        [(Weight::Fault, &Cause::Differs(vec!["units"]))]
    );
    let mut changed = world.clone();
    changed.consumer[0].peer_origin_hash = Some(Sha256::of(b"another log"));
    assert_eq!(
        causes(&changed.compare()),
        [(Weight::Fault, &Cause::Differs(vec!["peer_origin_hash"]))]
    );
    let mut changed = world.clone();
    changed.consumer[0].at = Micros::new(world.producer[0].at.get() - 5_000_001);
    assert_eq!(causes(&changed.compare()), [(Weight::Fault, &Cause::Clock)]);
    let mut changed = world.clone();
    changed.producer[0].units ^= 4;
    assert_eq!(causes(&changed.compare()), [(Weight::Fault, &Cause::OtherEntry)]);
    assert!(world.compare().agrees());
}

#[test]
fn what_an_entry_explains_is_listed_and_no_fault() {
    let mut world = World::default();
    // Nothing reached the producer; it was answered too late; nobody believed the answer; the grant had ended.
    for (answered, event, reason) in [
        (false, Event::Unanswered, Reason::Deadline),
        (true, Event::Unanswered, Reason::Deadline),
        (true, Event::Refused, Reason::SourceSchema),
        (true, Event::Refused, Reason::GrantRevoked),
        (false, Event::Refused, Reason::LedgerUnavailable),
    ] {
        let about = world.begin();
        let released = answered.then(|| world.released(&about, 1));
        let named = released.filter(|_| event == Event::Refused);
        let entry = Entry {
            event,
            at: world.tick(),
            outcome: Some(Outcome::Later),
            reason: Some(reason),
            peer_entry_hash: named.as_ref().map(leaf),
            ..about
        };
        world.consumer.push(entry);
    }
    let found = world.compare();
    assert_eq!(
        causes(&found),
        [
            (Weight::Explained, &Cause::Unanswered),
            (Weight::Unconfirmed, &Cause::Unconfirmed),
            (Weight::Explained, &Cause::NotBelieved),
            (Weight::Explained, &Cause::Withdrawn),
            (Weight::Explained, &Cause::Tallied),
        ]
    );
    assert_eq!((found.exchanges, found.agrees()), (5, false));
}

#[test]
fn what_is_under_way_is_told_apart_and_counts_in_no_hour() {
    let mut world = World::default();
    world.tell(&[Tale::Answered, Tale::Answered]);
    world.consumer.pop();
    let last = world.producer[1].at;
    let found = world.compare_within(last..last.plus_ms(1));
    assert_eq!(causes(&found), [(Weight::UnderWay, &Cause::Unconfirmed)]);
    assert!(found.agrees());
    assert_eq!(found.hours.iter().map(|h| h.ends[0].count).sum::<u64>(), 1);
    // Dated beyond what is under way, it is none: nobody puts a fault off by dating it in the future.
    let found = world.compare_within(last.plus_ms(-1)..last);
    assert_eq!(causes(&found), [(Weight::Unconfirmed, &Cause::Unconfirmed)]);
}

#[test]
fn i7_entries_added_later_keep_no_disagreement_under_way() {
    let mut world = World::default();
    let about = world.begin();
    world.released(&about, 1);
    // Long after, each time that somebody looks.
    world.now += 30 * MINUTE;
    for reason in [Reason::InProgress, Reason::TokenConsumed] {
        let refused = world.refused(&about, reason);
        let found = world.compare_within(refused.at.plus_ms(-120_000)..refused.at.plus_ms(1));
        assert!(
            causes(&found).contains(&(Weight::Unconfirmed, &Cause::Unconfirmed)),
            "{found:?}"
        );
        assert!(!found.agrees());
    }
    // A sending of a day after is under way by its own time and not by the exchange's.
    world.now += 24 * 60 * MINUTE;
    let again = world.released(&about, 2);
    let found = world.compare_within(again.at.plus_ms(-120_000)..again.at.plus_ms(1));
    assert_eq!(causes(&found), [(Weight::Unconfirmed, &Cause::Unconfirmed)]);
}

#[test]
fn a_ticket_waits_no_longer_than_a_ticket_may() {
    let mut world = World::default();
    let about = world.begin();
    let deferred = world.produced(Entry {
        event: Event::Deferred,
        outcome: Some(Outcome::Later),
        ..about
    });
    let day = 24 * 3_600_000;
    for (days, weight) in [(0, Weight::UnderWay), (30, Weight::UnderWay), (32, Weight::Fault)] {
        let now = deferred.at.plus_ms(days * day);
        let found = world.compare_within(now..now.plus_ms(1));
        assert_eq!(causes(&found), [(weight, &Cause::Waiting)]);
    }
    // Nor is it put off by an id of the future.
    let before = deferred.at.plus_ms(-day);
    assert!(!world.compare_within(before..before.plus_ms(1)).agrees());
}

#[test]
fn i7_no_row_differs_without_a_finding() {
    let mut world = World::default();
    let about = world.begin();
    // The consumer keeps to the first refusal; the producer ended with another.
    let first = world.refused(&about, Reason::SourceTimeout);
    world.consumed(&about, 1, &first);
    world.refused(&about, Reason::SubjectNotResolved);
    let found = world.compare();
    assert!(found.hours.iter().any(|hour| !hour.agrees()));
    assert_eq!(causes(&found), [(Weight::Fault, &Cause::Unexplained)]);
    let mut without = found;
    without.findings.clear();
    assert!(!without.agrees(), "an hour that differs is told");

    // What the consumer refused by itself afterwards says so.
    let mut world = World::default();
    let about = world.begin();
    let released = world.released(&about, 1);
    world.consumed(&about, 1, &released);
    let at = world.tick();
    world.consumer.push(Entry {
        event: Event::Refused,
        attempt: 2,
        at,
        outcome: Some(Outcome::Later),
        reason: Some(Reason::LedgerUnavailable),
        ..about
    });
    let found = world.compare();
    assert_eq!(causes(&found), [(Weight::Explained, &Cause::Tallied)]);
    assert!(found.agrees());
}

#[test]
fn i7_one_end_that_writes_both_sides_agrees_with_nobody() {
    let mut world = World::default();
    let about = world.begin();
    let refused = world.refused(&about, Reason::SubjectNotResolved);
    // The consumer's log holds nothing.
    world.produced(Entry {
        requester: refused.provider,
        provider: refused.requester,
        ..refused
    });
    assert_eq!(causes(&world.compare()), [(Weight::Fault, &Cause::Unexplained)]);
}
