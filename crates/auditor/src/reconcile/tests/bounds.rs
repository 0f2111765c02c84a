//! What stays out, and where it ends.

use super::*;
use crate::Error;
use crate::reconcile::{MAX_COUNTERPARTIES, MAX_TRACES_OF_ONE};

#[test]
fn entries_of_one_exchange_and_others_named_are_bounded() {
    let mut world = World::default();
    let about = world.begin();
    for _ in 0..MAX_TRACES_OF_ONE + 500 {
        let refused = world.refused(&about, Reason::InProgress);
        world.consumed(&about, 1, &refused);
    }
    let always = Micros::new(i64::MIN)..Micros::new(i64::MAX);
    let end = World::end(PRODUCER, &world.producer, always.clone());
    let held: usize = end.with(&id(CONSUMER)).exchanges.values().map(Vec::len).sum();
    assert_eq!(held, MAX_TRACES_OF_ONE + 1);
    assert_eq!(causes(&world.compare()), [(Weight::Fault, &Cause::TooMany)]);

    let mut end = End::new(id(PRODUCER), always, None);
    let log = end.log(&origin(PRODUCER));
    let mut name = |n: usize| {
        let entry = Entry {
            requester: Some(stranger(n)),
            exchange_id: None,
            event: Event::Refused,
            ..about.clone()
        };
        let bytes = entry.encode();
        let visited = Visited {
            index: 0,
            leaf: &Hash::of_leaf(&bytes),
            entry: &entry,
            bytes: &bytes,
        };
        end.take(log, visited)
    };
    for n in 0..MAX_COUNTERPARTIES {
        name(n).unwrap();
    }
    name(0).unwrap();
    assert!(matches!(
        name(MAX_COUNTERPARTIES),
        Err(Error::TooManyCounterparties { .. })
    ));
}

/// One of many participants: an establishment of one of three bodies, with its check digit.
fn stranger(n: usize) -> ParticipantId {
    let siren = [PRODUCER, CONSUMER, STRANGER][n / 10_000].strip_prefix("urn:unefois:participant:");
    let (siren, place) = (&siren.unwrap()[..9], n % 10_000);
    let all = (0..10).map(|check| format!("urn:unefois:participant:{siren}{place:04}{check}"));
    all.filter_map(|id| id.parse().ok()).next().unwrap()
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
