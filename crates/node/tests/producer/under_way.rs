//! Answers under way when what they rest on ends: nothing more of them leaves, and nobody waits for a consumer.

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use unefois_core::directory::DirectoryDocument;
use unefois_core::revocation::Withdrawal;
use unefois_core::{Acr, Event, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::held_source::HeldSource;
use crate::tap::Tap;
use crate::world::{World, case, until};

both_databases![
    i3_what_ends_while_the_source_answers_takes_no_claim,
    i4_what_the_directory_narrows_while_the_source_answers_does_not_leave,
    i3_whatever_the_moment_nothing_follows_a_withdrawal,
    i3_a_withdrawal_resets_what_waits_for_its_consumer,
    i3_without_the_guard_it_would_leave,
    i3_a_lapse_resets_what_waits_for_its_consumer,
    i3_a_consumer_that_reads_nothing_delays_nobody
];

/// Bytes of an answer, and some more.
const LARGE: usize = 700_000;
/// What a consumer takes of an answer beyond what it read.
const WINDOW: u32 = 10_000;
/// What it has then taken, once it has read the first frame.
const TAKEN: usize = 20_000;
/// What the wire may carry once nothing may leave: control frames of HTTP/2 and TLS.
const CONTROL: usize = 1_000;

async fn world() -> World {
    let name = "x".repeat(LARGE);
    let document = format!(r#"{{"data":{{"montant":900,"membres":[{{"nom":"{name}"}}]}}}}"#);
    World::new(&[("a.yaml", &case("EXEMPLE", 200, &document))]).await
}

/// The third leaf: the release was on its way to the ledger, and is `refused` there.
async fn i3_what_ends_while_the_source_answers_takes_no_claim(database: TestDatabase) {
    let world = World::new(&[]).await;
    let source = HeldSource::new().await;
    let (asked, answer) = (&source.asked, &source.answer);
    let mut config = world.config(database.url());
    source.serve(&mut config);
    let node = world.node_with(config).await;
    let caller = world.caller(&node, &world.consumer);

    let grant = world.grant("EXEMPLE", &["montant"]);
    let withdraw = async {
        asked.notified().await;
        let withdrawal = Withdrawal::Grant(grant.claims.gh);
        let place = world.authority.0.withdraw_everywhere(withdrawal).await;
        answer.notify_one();
        place
    };
    let ((reason, _), place) = tokio::join!(caller.refused(world.request(&grant)), withdraw);
    assert_eq!(reason, Reason::GrantRevoked);
    let entry = node.entries().await.pop().expect("an entry");
    assert_eq!(
        (entry.event, entry.reason, entry.view),
        (Event::Refused, Some(Reason::GrantRevoked), place)
    );

    let grant = world.grant("EXEMPLE", &["montant"]);
    let lapse = async {
        asked.notified().await;
        world.authority.0.mute(true);
        until(|| !node.producer.ready()).await;
        answer.notify_one();
    };
    let ((reason, _), ()) = tokio::join!(caller.refused(world.request(&grant)), lapse);
    assert_eq!(reason, Reason::RevocationStateStale);
    world.authority.0.mute(false);
    until(|| node.producer.ready()).await;
    // No claim was taken: another request may have it.
    answer.notify_one();
    caller.fetch(world.request(&grant)).await.expect("a document");
    node.stop().await;
}

/// What a directory says less of while the source works, and the reason that it must give.
type Narrowed = (&'static str, fn(&mut DirectoryDocument), Reason);

/// Units, level and issuer were right when the source was asked, and are judged again by the edition in use.
async fn i4_what_the_directory_narrows_while_the_source_answers_does_not_leave(database: TestDatabase) {
    let world = World::new(&[]).await.unhurried();
    let source = HeldSource::new().await;
    let mut config = world.config(database.url());
    source.serve(&mut config);
    let node = world.node_with(config).await;
    let caller = world.caller(&node, &world.consumer);
    let (mut rights, mut providers) = (Vec::new(), Vec::new());
    world.change(|d| {
        rights.clone_from(&d.habilitations);
        providers.clone_from(&d.authority.identity_providers);
    });

    let grant = world.grant("EXEMPLE", &["montant"]);
    let narrowed: [Narrowed; 3] = [
        (
            "the unit",
            |d| {
                let units = &mut d.habilitations[0].habilitation.datatypes[0].units;
                units.retain(|unit| unit.as_str() != "montant");
            },
            Reason::NotEntitled,
        ),
        (
            "the level",
            |d| d.authority.identity_providers[0].acr = vec![Acr::Eidas1],
            Reason::AcrTooLow,
        ),
        (
            "the issuer",
            |d| d.authority.identity_providers[0].issuer = "https://autre.example".into(),
            Reason::AcrTooLow,
        ),
    ];
    for (what, change, expected) in narrowed {
        let narrow = async {
            source.asked.notified().await;
            world.publish(&node, change).await;
            source.answer.notify_one();
        };
        let ((reason, _), ()) = tokio::join!(caller.refused(world.request(&grant)), narrow);
        assert_eq!(reason, expected, "{what}");
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason),
            (Event::Refused, Some(expected)),
            "{what}"
        );
        let as_before = |d: &mut DirectoryDocument| {
            d.habilitations.clone_from(&rights);
            d.authority.identity_providers.clone_from(&providers);
        };
        world.publish(&node, as_before).await;
    }
    // No claim was taken: another request may have it.
    source.answer.notify_one();
    caller.fetch(world.request(&grant)).await.expect("a document");
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert_eq!(
        events,
        [Event::Refused, Event::Refused, Event::Refused, Event::Released]
    );
    node.stop().await;
}

/// Withdrawn before, while and after an answer leaves: once it is acknowledged the wire has but what was on it.
async fn i3_whatever_the_moment_nothing_follows_a_withdrawal(database: TestDatabase) {
    /// What may have been sent and not be read by the tap yet: twice its buffer in the kernel, and its own.
    const ON_THE_WIRE: usize = 160 * 1024;
    let world = world().await;
    let node = world.node(database.url()).await;
    for moment in 0..12 {
        let tap = Tap::before(&node).await;
        let mut consumer = tap.consumer(&world, 100_000).await;
        let grant = world.grant("EXEMPLE", &["montant", "foyer"]);
        let request = world.request(&grant);
        let withdrawal = Withdrawal::Grant(grant.claims.gh);
        let begun = Notify::new();
        let fetch = async {
            let mut answer = consumer.fetch(&request).await.expect("an answer");
            for _ in 0..moment {
                // A withdrawal may be faster.
                if !answer.next().await.unwrap_or(false) {
                    break;
                }
            }
            begun.notify_one();
            (answer.take().await, answer.read)
        };
        let withdraw = async {
            if moment > 0 {
                begun.notified().await;
            }
            world.authority.0.withdraw_everywhere(withdrawal).await;
            tap.passed()
        };
        let ((ended, read), acknowledged) = tokio::join!(fetch, withdraw);
        let after = tap.passed() - acknowledged;
        assert!(after < ON_THE_WIRE, "{moment}: {after}");
        // Refused, whole, or reset: never shorter as if that were all.
        assert!(ended.is_err() || read == 0 || read > LARGE, "{moment}: {read}");
    }
    node.stop().await;
}

async fn i3_a_withdrawal_resets_what_waits_for_its_consumer(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let tap = Tap::before(&node).await;
    let mut consumer = tap.consumer(&world, WINDOW).await;
    let [withdrawn, other] = [(); 2].map(|()| world.grant("EXEMPLE", &["montant", "foyer"]));
    let mut answer = consumer.begin(&world.request(&withdrawn)).await;
    let mut untouched = consumer.begin(&world.request(&other)).await;

    let withdrawal = Withdrawal::Grant(withdrawn.claims.gh);
    world.authority.0.withdraw_everywhere(withdrawal).await;
    let acknowledged = tap.passed();
    // The consumer makes room for the rest only now.
    let error = answer.take().await.expect_err("reset");
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    assert!(answer.read <= TAKEN, "{}", answer.read);
    assert!(
        tap.passed() - acknowledged < CONTROL,
        "{}",
        tap.passed() - acknowledged
    );

    untouched
        .take()
        .await
        .expect("the same connection's other answer");
    assert!(untouched.read > LARGE);
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert_eq!(events, [Event::Released, Event::Released], "bytes have left");
    node.stop().await;
}

/// What the tap shows of a node that only its ledger guards.
async fn i3_without_the_guard_it_would_leave(database: TestDatabase) {
    let world = world().await;
    let node = world.unguarded(database.url()).await;
    let tap = Tap::before(&node).await;
    let mut consumer = tap.consumer(&world, WINDOW).await;
    let grant = world.grant("EXEMPLE", &["montant", "foyer"]);
    let mut answer = consumer.begin(&world.request(&grant)).await;

    let withdrawal = Withdrawal::Grant(grant.claims.gh);
    world.authority.0.withdraw_everywhere(withdrawal).await;
    let acknowledged = tap.passed();
    answer.take().await.expect("the whole answer");
    assert!(answer.read > LARGE);
    assert!(tap.passed() - acknowledged > LARGE);
    node.stop().await;
}

async fn i3_a_lapse_resets_what_waits_for_its_consumer(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let tap = Tap::before(&node).await;
    let mut consumer = tap.consumer(&world, WINDOW).await;
    let grant = world.grant("EXEMPLE", &["montant", "foyer"]);
    let mut answer = consumer.begin(&world.request(&grant)).await;

    world.authority.0.mute(true);
    // The entry `lapsed` is durable.
    until(|| node.foundation.ledger.head().size == 2).await;
    let lapsed = tap.passed();
    let error = answer.take().await.expect_err("reset");
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    assert!(answer.read <= TAKEN, "{}", answer.read);
    assert!(tap.passed() - lapsed < CONTROL, "{}", tap.passed() - lapsed);

    world.authority.0.mute(false);
    until(|| node.producer.ready()).await;
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert_eq!(events, [Event::Released, Event::Lapsed, Event::Resumed]);
    node.stop().await;
}

/// More answers than the kernel holds, of a consumer that has room for all of them and reads none.
async fn i3_a_consumer_that_reads_nothing_delays_nobody(database: TestDatabase) {
    const ANSWERS: usize = 8;
    let world = world().await;
    let node = world.node(database.url()).await;
    let healthy = Tap::before(&node).await;
    let grant = world.grant("EXEMPLE", &["montant", "foyer"]);
    let mut untouched = healthy
        .consumer(&world, WINDOW)
        .await
        .begin(&world.request(&grant))
        .await;

    let tap = Tap::before(&node).await;
    let consumer = tap.consumer(&world, 1 << 24).await;
    let grants: Vec<_> = (0..ANSWERS)
        .map(|_| world.grant("EXEMPLE", &["montant", "foyer"]))
        .collect();
    // The handshake is over once an answer has come.
    let first = world.grant("EXEMPLE", &["montant"]);
    let mut first = consumer.clone().begin(&world.request(&first)).await;
    first.take().await.expect("a small answer");
    tap.read(false);
    let before = tap.passed();
    let (tasks, mut calls) = (TaskTracker::new(), Vec::new());
    for grant in &grants {
        let (mut consumer, request) = (consumer.clone(), world.request(grant));
        let size = node.foundation.ledger.head().size;
        calls.push(tasks.spawn(async move {
            let mut answer = consumer.fetch(&request).await.ok()?;
            Some((answer.take().await, answer.read))
        }));
        until(|| node.foundation.ledger.head().size > size).await;
    }
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert_eq!(events, [Event::Released; ANSWERS + 2]);

    let began = world.clock.boottime();
    let (last, others) = grants.split_last().expect("some");
    for grant in others {
        world.authority.0.withdraw(Withdrawal::Grant(grant.claims.gh));
    }
    let last = Withdrawal::Grant(last.claims.gh);
    world.authority.0.withdraw_everywhere(last).await;
    let took_us = world.clock.boottime().micros_since(began);
    // An unread connection is cut after 10 s: nobody waited for that.
    assert!(took_us < 9_000_000, "{took_us}");

    // What the kernel had may still come.
    tap.read(true);
    let mut read = 0;
    for call in calls {
        let ended = tokio::time::timeout(crate::world::WAIT, call).await;
        read += ended
            .expect("it ends")
            .expect("no panic")
            .map_or(0, |(_, read)| read);
    }
    assert!(read < ANSWERS * LARGE, "{read}");
    assert!(tap.passed() - before < ANSWERS * LARGE);
    untouched.take().await.expect("another connection's answer");
    assert!(untouched.read > LARGE);
    node.stop().await;
}
