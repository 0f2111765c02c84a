//! Any world of exchanges, and any lies about them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::reconcile::{Hour, Role, hour};

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
        prop_assert!(honest.hours.iter().all(Hour::agrees));
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
            prop_assert!(lied.iter().any(|id| hour::of(id) == hour.at));
        }
    }
}
