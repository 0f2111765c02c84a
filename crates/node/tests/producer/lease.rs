//! The withdrawal lease of a node: stale means refuse, and every lapse is an entry.

use futures_util::StreamExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use unefois_core::revocation::{SignedRecords, Withdrawal};
use unefois_core::{Event, Handle, Reason};
use unefois_jose::{SigningKey, VerifyingKey, jws};
use unefois_mesh::{Peer, status};
use unefois_proto::pb::exchange::v1::exchange_service_server::ExchangeService as _;
use unefois_store::head::heads_restored;
use unefois_tlog::Hash;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{Grant, World, case, until};

both_databases![
    i3_a_node_shows_an_authority_what_it_has_lost,
    i3_a_withdrawn_handle_is_refused,
    i3_what_is_not_handed_over_yet_is_withheld,
    i9_withdrawals_that_another_key_signed_count_for_nothing,
    i9_a_lapsed_lease_refuses_until_it_is_fresh,
    an_acknowledgement_that_waits_ends_no_lease
];

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

async fn i3_a_node_shows_an_authority_what_it_has_lost(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let authority = &world.authority.0;
    let mut places = vec![authority.view()];
    for n in 1..=3 {
        let handle = Handle::from_bytes([n; 16]);
        places.push(authority.withdraw_everywhere(Withdrawal::Grant(handle)).await);
    }
    let shown = authority.lose(places[1]).await;
    let heads = shown.iter().map(|text| {
        let key = VerifyingKey::new(authority.public());
        let signed = jws::verify(text, "unefois-withdrawals+jwt", 1 << 20, |_| Some(key));
        let message: SignedRecords = signed.expect("its signature").claims().expect("records");
        message.head.view()
    });
    assert_eq!(heads.collect::<Vec<_>>(), places[2..]);
    node.stop().await;
}

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

/// Recorded as released, and not handed over: a withdrawal, or a lapse, still stops it, and the entry `withheld` gives
/// the claim back.
async fn i3_what_is_not_handed_over_yet_is_withheld(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let peer = {
        let der = CertificateDer::from_pem_slice(world.consumer.cert.as_bytes()).expect("a certificate");
        Peer::from_der(&der).expect("a participant")
    };
    // The service itself, so that the answer waits until the test asks for it.
    let decided = async |grant: &Grant| {
        let mut request = tonic::Request::new(world.request(grant));
        request.extensions_mut().insert(peer.clone());
        let answer = node.producer.fetch(request).await.expect("decided");
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(entry.event, Event::Released);
        answer.into_inner()
    };
    let withheld = async |grant: &Grant, status: tonic::Status, reason: Reason| {
        assert_eq!(status::reason_of(&status), Some(reason));
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!((entry.event, entry.reason), (Event::Withheld, Some(reason)));
        let told = status
            .metadata()
            .get_bin("unefois-entry-bin")
            .expect("the entry's hash");
        let leaf = Hash::of_leaf(&entry.encode());
        assert_eq!(&told.to_bytes().expect("a hash")[..], leaf.as_bytes());
        assert_eq!(node.of_handle(&grant.claims.gh).await, 2);
    };

    let grant = world.grant("EXEMPLE", &["montant"]);
    let mut answer = decided(&grant).await;
    let withdrawal = Withdrawal::Grant(grant.claims.gh);
    world.authority.0.withdraw_everywhere(withdrawal).await;
    let status = answer.next().await.expect("an end").expect_err("withdrawn");
    withheld(&grant, status, Reason::GrantRevoked).await;
    assert!(answer.next().await.is_none(), "nothing follows");

    let grant = world.grant("EXEMPLE", &["montant"]);
    let mut answer = decided(&grant).await;
    world.authority.0.mute(true);
    until(|| !node.producer.ready()).await;
    let status = answer.next().await.expect("an end").expect_err("stale");
    assert_eq!(status::reason_of(&status), Some(Reason::RevocationStateStale));
    world.authority.0.mute(false);
    until(|| node.producer.ready()).await;
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert!(events[2..].contains(&Event::Withheld), "{events:?}");
    // The handle was not used: another request may use it.
    caller.fetch(world.request(&grant)).await.expect("a document");
    node.stop().await;
}

/// The stream is the authority's by its certificate; what it says of withdrawals counts by its own key alone.
async fn i9_withdrawals_that_another_key_signed_count_for_nothing(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    let before = world.authority.0.view();
    until(|| node.foundation.ledger.head().view == before).await;
    let impostor = SigningKey::generate(world.random.ring()).expect("a key");
    world.authority.0.sign_with(Some(impostor));
    let place = world.authority.0.withdraw(Withdrawal::Grant(grant.claims.gh));
    until(|| !node.producer.ready()).await;
    assert_eq!(
        caller.refused(world.request(&grant)).await.0,
        Reason::RevocationStateStale,
        "neither withdrawn nor released"
    );
    assert_eq!(node.foundation.ledger.head().view, before, "nothing is applied");

    world.authority.0.sign_with(None);
    until(|| node.producer.ready()).await;
    assert_eq!(
        caller.refused(world.request(&grant)).await.0,
        Reason::GrantRevoked
    );
    until(|| node.foundation.ledger.head().view == place).await;
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

/// A slow database makes acknowledgements late; the pings go on beside them.
async fn an_acknowledgement_that_waits_ends_no_lease(database: TestDatabase) {
    /// With the first of them up to 200 ms late, so many take a lease's second.
    const PINGS: u64 = 6;
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let authority = &world.authority.0;
    let [withdrawn, too, other] = [(); 3].map(|()| world.grant("EXEMPLE", &["montant"]));
    until(|| !authority.acknowledged().is_empty()).await;
    let before = authority.acknowledged();

    // Whoever writes the log waits for this transaction.
    let mut held = node.foundation.db.begin().await.expect("begun");
    heads_restored(&mut held, world.clock.now())
        .await
        .expect("locked");
    let first = authority.withdraw(Withdrawal::Grant(withdrawn.claims.gh));
    let answered = authority.answered();
    until(|| authority.answered() >= answered + PINGS).await;
    let second = authority.withdraw(Withdrawal::Grant(too.claims.gh));
    until(|| authority.answered() > answered + PINGS).await;
    assert_eq!(authority.acknowledged(), before);
    drop(held);

    let all = [&before[..], &[first, second]].concat();
    until(|| authority.acknowledged() == all).await;
    for grant in [&withdrawn, &too] {
        let (reason, _) = caller.refused(world.request(grant)).await;
        assert_eq!(reason, Reason::GrantRevoked);
    }
    caller.fetch(world.request(&other)).await.expect("another handle");
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert_eq!(
        events,
        [Event::Refused, Event::Refused, Event::Released],
        "no lapse"
    );
    node.stop().await;
}
