//! The withdrawal lease of a node: stale means refuse, and every lapse is an entry.

use unefois_core::revocation::Withdrawal;
use unefois_core::{Event, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{World, case, until};

both_databases![
    i3_a_withdrawn_handle_is_refused,
    i9_a_lapsed_lease_refuses_until_it_is_fresh
];

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

async fn i3_a_withdrawn_handle_is_refused(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let (grant, other) = (
        world.grant("EXEMPLE", &["montant"]),
        world.grant("EXEMPLE", &["montant"]),
    );
    let place = world
        .authority
        .0
        .withdraw_everywhere(Withdrawal::Grant(grant.claims.gh))
        .await;
    assert_eq!(
        caller.refused(world.request(&grant)).await.0,
        Reason::GrantRevoked
    );
    let released = caller.fetch(world.request(&other)).await.expect("another handle");
    assert_eq!(released.entry.view, place);
    // Acknowledged means written down: a later start refuses an authority that is behind.
    assert_eq!(node.foundation.ledger.head().view, place);
    node.stop().await;

    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    assert_eq!(
        caller.refused(world.request(&grant)).await.0,
        Reason::GrantRevoked
    );
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert_eq!(
        events,
        [Event::Refused, Event::Released, Event::Resumed, Event::Refused]
    );
    node.stop().await;
}

async fn i9_a_lapsed_lease_refuses_until_it_is_fresh(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    caller
        .fetch(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await
        .expect("a fresh lease");

    world.authority.0.mute(true);
    until(|| !node.producer.ready()).await;
    let grant = world.grant("EXEMPLE", &["montant"]);
    let request = world.request(&grant);
    assert_eq!(
        caller.refused(request.clone()).await.0,
        Reason::RevocationStateStale
    );

    world.authority.0.mute(false);
    until(|| node.producer.ready()).await;
    caller.fetch(request).await.expect("fresh again");
    let mut events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    // The refusal may be recorded just before or after the lapse is noticed.
    events.retain(|event| *event != Event::Refused);
    assert_eq!(
        events,
        [Event::Released, Event::Lapsed, Event::Resumed, Event::Released]
    );
    node.stop().await;
}
