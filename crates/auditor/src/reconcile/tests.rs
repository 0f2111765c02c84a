//! Worlds of two logs: what an honest pair gives, and what one entry dropped, changed or invented at either end gives.

use std::collections::BTreeSet;

use proptest::prelude::*;
use unefois_core::{Entry, Event, ExchangeId, Micros, Outcome, ParticipantId, Reason, Sha256};
use unefois_tlog::{Hash, Origin};

use super::{Cause, End, Reconciliation, Role, Rules, Weight, reconcile};
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
fn i2_an_answer_twice_or_again_without_a_first_is_a_fault() {
    let mut world = World::default();
    world.tell(&[Tale::Answered]);
    let mut twice = world.clone();
    let again = Entry {
        at: twice.tick(),
        ..twice.producer[0].clone()
    };
    twice.producer.push(again);
    assert_eq!(
        causes(&twice.compare()),
        [
            (Weight::Fault, &Cause::Attempts),
            (Weight::Unconfirmed, &Cause::Unconfirmed)
        ]
    );
    let mut world = World::default();
    world.tell(&[Tale::AnsweredAgain]);
    world.producer.remove(0);
    assert_eq!(causes(&world.compare()), [(Weight::Fault, &Cause::Attempts)]);
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
fn others_exchanges_other_periods_and_unnumbered_calls_stay_out() {
    let mut world = World::default();
    world.tell(&[Tale::Answered, Tale::Answered]);
    let mut stray = world.producer[0].clone();
    stray.requester = Some(id(STRANGER));
    world.producer.push(stray);
    world.producer.push(Entry {
        exchange_id: None,
        ..world.producer[0].clone()
    });
    let found = world.compare();
    assert!(found.findings.is_empty(), "{found:?}");
    assert_eq!((found.exchanges, found.unnumbered), (2, [1, 0]));

    let first = world.producer[0].exchange_id.unwrap().drawn_at();
    let window = first..first.plus_ms(1);
    let ends = [
        World::end(PRODUCER, &world.producer, window.clone()),
        World::end(CONSUMER, &world.consumer, window),
    ];
    let rules = Rules {
        under_way: Micros::new(0)..Micros::new(0),
        clock_ms: 0,
    };
    let found = reconcile(&ends[0], &ends[1], &rules);
    assert_eq!((found.exchanges, found.findings.len()), (1, 0));
    assert_eq!(ends[0].counterparties().count(), 2);
}

/// What is done to one exchange at one end.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Drop,
    Change,
    Invent,
}

/// Does it, and says of which exchange. What is dropped or changed is what the other end names, or the consumer's own.
fn lie(world: &mut World, lie: Lie, role: Role, exchange: ExchangeId, odd: u64) -> ExchangeId {
    let consumer = &world.consumer;
    let named: BTreeSet<Sha256> = consumer.iter().filter_map(|e| e.peer_entry_hash).collect();
    let entries = match role {
        Role::Producer => &mut world.producer,
        Role::Consumer => &mut world.consumer,
    };
    let of_it =
        |e: &Entry| e.exchange_id == Some(exchange) && (role == Role::Consumer || named.contains(&leaf(e)));
    match lie {
        Lie::Drop => {
            let at = entries.iter().position(of_it).unwrap();
            entries.remove(at);
            exchange
        }
        Lie::Change => {
            let entry = entries.iter_mut().find(|e| of_it(e)).unwrap();
            match odd % 3 {
                0 => entry.datatype = Some("mesr/statut-etudiant@1".parse().unwrap()),
                1 => entry.request_hash = Some(Sha256::of(&odd.to_be_bytes())),
                _ => entry.grant_commit = Some(Sha256::of(&odd.to_be_bytes())),
            }
            exchange
        }
        Lie::Invent => {
            let mut entry = entries.iter().find(|e| of_it(e)).unwrap().clone();
            let new = exchange_id(1 << 40 | odd, entry.at.get());
            entry.exchange_id = Some(new);
            entries.push(entry);
            entries.sort_by_key(|e| e.at);
            new
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn honest_logs_agree_and_each_lie_is_found_and_no_other(
        tales in prop::collection::vec(prop::sample::select(&TALES[..]), 1..40),
        lies in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop::sample::select(vec![Lie::Drop, Lie::Change, Lie::Invent]),
                any::<bool>(),
                any::<u32>(),
            ),
            0..4,
        ),
    ) {
        let mut world = World::default();
        world.tell(&tales);
        let honest = world.compare();
        prop_assert!(honest.findings.is_empty(), "{:?}", honest.findings);
        prop_assert!(honest.hours.iter().all(super::Hour::agrees));
        prop_assert_eq!(honest.exchanges, tales.len() as u64);

        let ids: Vec<ExchangeId> = {
            let all: BTreeSet<_> = world.consumer.iter().filter_map(|e| e.exchange_id).collect();
            all.into_iter().collect()
        };
        let mut touched = BTreeSet::new();
        let mut lied = BTreeSet::new();
        for (place, what, at_producer, odd) in lies {
            let exchange = ids[place.index(ids.len())];
            if !touched.insert(exchange) {
                continue;
            }
            let role = if at_producer { Role::Producer } else { Role::Consumer };
            lied.insert(lie(&mut world, what, role, exchange, odd.into()));
        }
        let found = world.compare();
        let told: BTreeSet<ExchangeId> = found.findings.iter().map(|f| f.exchange).collect();
        prop_assert_eq!(&told, &lied, "{:?}", found.findings);
        prop_assert_eq!(found.agrees(), lied.is_empty());
        // The hours whose rows differ are hours of what was found.
        for hour in found.hours.iter().filter(|hour| !hour.agrees()) {
            prop_assert!(lied.iter().any(|id| super::hour::of(id) == hour.at));
        }
    }
}
