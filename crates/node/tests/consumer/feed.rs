//! What a consumer is told of withdrawals: it drops what it holds, what is on its way, and tells its back-office.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::revocation::Withdrawal;
use unefois_core::{Event, Handle, ParticipantId, Reason, Sha256, WithdrawnBy};
use unefois_node::consumer::{Consumer, Error, GrantChange, GrantChanges};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_store::node::feed::feed_place;
use unefois_store::node::grant::ElementState;
use unefois_store::node::notice::{NoticeKind, notices};
use unefois_tlog::Hash;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::{House, page, producing};
use crate::world::{WAIT, World, authority_id, case, consumer_id};

both_databases![
    a_withdrawal_ends_what_is_held_and_the_back_office_is_told_once,
    a_stream_that_breaks_goes_on_from_its_place,
    what_is_told_ahead_of_the_place_ends_at_once_and_is_told_once,
    two_replicas_tell_of_each_change_once,
    a_grant_s_end_is_told_before_and_after
];

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}]}}"#;

async fn house(database: TestDatabase) -> House {
    let world = Arc::new(World::new(&[]).await);
    House::new(&world, database, vec![], |_| {}).await
}

async fn watch_all(consumer: &Consumer) -> GrantChanges {
    consumer.watch_grants(None).await.expect("a watch")
}

async fn next(changes: &mut GrantChanges) -> GrantChange {
    let change = tokio::time::timeout(WAIT, changes.recv()).await.expect("in time");
    change.expect("an open watch").expect("a change")
}

fn told(change: &GrantChange) -> (Handle, NoticeKind, ElementState) {
    (change.element.handle, change.kind, change.element.state)
}

/// The state of each grant's first element, newest grant first.
async fn states(house: &House) -> Vec<ElementState> {
    let page = house.consumer.grants(&page()).await.expect("a page");
    page.grants.iter().map(|grant| grant.elements[0].state).collect()
}

/// Waits until the node has noted this place.
pub(crate) async fn noted(house: &House, seq: u64) {
    let reached = async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        loop {
            look.tick().await;
            let place = feed_place(&house.db, &authority_id()).await.expect("reads");
            if place.is_some_and(|place| place.seq >= seq) {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT, reached).await.expect("in time");
}

async fn a_withdrawal_ends_what_is_held_and_the_back_office_is_told_once(database: TestDatabase) {
    let house = house(database).await;
    let grants = [
        house.granted().await,
        house.granted().await,
        house.granted().await,
    ];
    let handles = grants.each_ref().map(|grant| grant.elements[0].handle);
    let mut changes = watch_all(&house.consumer).await;

    // Somebody else's, which a faulty authority tells of: nobody here knows it.
    house
        .announcer
        .end(Handle::from_bytes([7; 16]), WithdrawnBy::Person);
    house.announcer.end(handles[0], WithdrawnBy::Person);
    let first = next(&mut changes).await;
    assert_eq!(
        told(&first),
        (handles[0], NoticeKind::Withdrawn, ElementState::Withdrawn)
    );
    assert_eq!(first.grant_id, grants[0].grant_id);
    assert_eq!(first.dossier.as_str(), "2026-0412");
    let calls = house.oauth.calls().len();
    let error = house.fetch(&handles[0], "").await.expect_err("withdrawn");
    assert!(matches!(error, Error::Over(ElementState::Withdrawn)), "{error}");
    assert_eq!(house.oauth.calls().len(), calls, "nobody was asked for a token");

    // Again, then given back at the authority by another of the consumer's systems, then for a stolen code.
    house.announcer.end(handles[0], WithdrawnBy::Person);
    house.announcer.end(handles[1], WithdrawnBy::Consumer);
    house.announcer.end(handles[2], WithdrawnBy::CodeReuse);
    let second = next(&mut changes).await;
    assert_eq!(
        told(&second),
        (handles[1], NoticeKind::GivenBack, ElementState::GivenBack)
    );
    let third = next(&mut changes).await;
    assert_eq!(
        told(&third),
        (handles[2], NoticeKind::Withdrawn, ElementState::Withdrawn)
    );

    // Whoever comes back misses nothing and hears nothing twice.
    for (cursor, expected) in [(None, 3), (Some(&first), 2), (Some(&second), 1)] {
        let cursor = cursor.map(|change| change.cursor.as_str());
        let mut again = house.consumer.watch_grants(cursor).await.expect("a watch");
        for cursor in [&first.cursor, &second.cursor, &third.cursor][3 - expected..].iter() {
            assert_eq!(next(&mut again).await.cursor, **cursor);
        }
    }
    let mut nothing = house
        .consumer
        .watch_grants(Some(&third.cursor))
        .await
        .expect("a watch");
    assert!(nothing.try_recv().is_err());
    let tag = third.cursor.split_once('.').expect("a tag").1;
    for cursor in [
        "x",
        "0.0",
        "-1.0",
        "4.0123456789abcdef",
        &format!("2.{tag}"),
        &format!("4.{tag}"),
    ] {
        let refused = house
            .consumer
            .watch_grants(Some(cursor))
            .await
            .expect_err("no cursor of ours");
        assert_eq!(refused.reason(), Some(Reason::InvalidRequest), "{cursor}");
    }
    // Another body's back-office, were there one in this database, hears nothing of these.
    assert_eq!(
        notices(&house.db, "18003506500010", 0, 9).await.expect("reads"),
        []
    );
    assert_eq!(house.entries().await, [], "nothing was fetched");
    house.stop().await;
}

async fn a_stream_that_breaks_goes_on_from_its_place(database: TestDatabase) {
    let house = house(database).await;
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(house.granted().await.elements[0].handle);
    }
    house.announcer.end(handles[0], WithdrawnBy::Person);
    noted(&house, 1).await;
    let streams = house.announcer.streams();
    house.announcer.cut();
    assert_eq!(house.announcer.opened(streams, 1).await, [1]);

    // A message that leaves one out, one in another order, one of another place: none is applied, and the same place is
    // asked for again until the truth is told.
    let changes: [fn(&mut pb::ConsumerRecords); 6] = [
        |message| message.after_seq += 1,
        |message| message.after_seq -= 1,
        |message| message.records.swap(0, 1),
        |message| message.records[0].seq = 99,
        |message| message.position = None,
        |message| message.position.as_mut().expect("a place").epoch = 0,
    ];
    house.announcer.end(handles[1], WithdrawnBy::Person);
    noted(&house, 2).await;
    house.announcer.change(Some(changes[0]));
    house.announcer.end(handles[2], WithdrawnBy::Person);
    house.announcer.end(handles[3], WithdrawnBy::Person);
    for change in changes {
        let streams = house.announcer.streams();
        house.announcer.change(Some(change));
        assert_eq!(house.announcer.opened(streams, 2).await, [2, 2]);
        let [active, withdrawn] = [ElementState::Active, ElementState::Withdrawn];
        assert_eq!(states(&house).await, [active, active, withdrawn, withdrawn]);
    }
    house.announcer.change(None);
    noted(&house, 4).await;
    assert_eq!(states(&house).await, [ElementState::Withdrawn; 4]);

    // An authority that has lost records is asked for the place that this node has reached, never for an earlier one.
    house.announcer.forget_after(3);
    let streams = house.announcer.streams();
    house.announcer.cut();
    assert_eq!(house.announcer.opened(streams, 2).await, [4, 4]);
    assert_eq!(states(&house).await, [ElementState::Withdrawn; 4]);
    house.stop().await;
}

/// A publisher may not be told of one body's grants for a while: its place stays before them, and the others' end all the
/// same.
async fn what_is_told_ahead_of_the_place_ends_at_once_and_is_told_once(database: TestDatabase) {
    let house = house(database).await;
    let grants = [house.granted().await, house.granted().await];
    let [first, second] = grants.each_ref().map(|grant| grant.elements[0].handle);
    let mut changes = watch_all(&house.consumer).await;
    house.announcer.opened(0, 1).await;
    house.announcer.change(Some(|message| {
        message.ahead = std::mem::take(&mut message.records);
        let position = message.position.as_mut().expect("a place");
        position.seq = message.after_seq;
    }));
    house.announcer.end(first, WithdrawnBy::Person);
    let change = next(&mut changes).await;
    assert_eq!(
        told(&change),
        (first, NoticeKind::Withdrawn, ElementState::Withdrawn)
    );
    let place = feed_place(&house.db, &authority_id()).await.expect("reads");
    assert_eq!(place.map_or(0, |place| place.seq), 0, "it has not come further");

    // Another stream begins at that place, and tells it again.
    house.announcer.change(None);
    let known = house.announcer.streams();
    house.announcer.cut();
    assert_eq!(house.announcer.opened(known, 1).await, [0]);
    noted(&house, 1).await;
    house.announcer.end(second, WithdrawnBy::Person);
    let change = next(&mut changes).await;
    assert_eq!(
        told(&change),
        (second, NoticeKind::Withdrawn, ElementState::Withdrawn)
    );
    house.stop().await;
}

async fn two_replicas_tell_of_each_change_once(database: TestDatabase) {
    let house = house(database).await;
    let replica = house.replica();
    let mut watches = [watch_all(&house.consumer).await, watch_all(&replica).await];
    let grants = [
        house.granted().await,
        house.granted().await,
        house.granted().await,
    ];
    let [withdrawn, given_back, narrowed] = grants.each_ref().map(|grant| grant.elements[0].handle);
    // The back-office gives one back while the authority's word of it is on its way.
    house.announcer.end(withdrawn, WithdrawnBy::Person);
    house.announcer.end(given_back, WithdrawnBy::Consumer);
    let done = replica.give_back(&grants[1].grant_id).await;
    done.expect("given back");
    house.announcer.end(narrowed, WithdrawnBy::Narrowed);
    noted(&house, 3).await;
    for changes in &mut watches {
        let mut heard = [
            told(&next(changes).await),
            told(&next(changes).await),
            told(&next(changes).await),
        ];
        heard.sort_by_key(|(_, kind, _)| *kind as i16);
        let expected = [
            (withdrawn, NoticeKind::Withdrawn, ElementState::Withdrawn),
            (given_back, NoticeKind::GivenBack, ElementState::GivenBack),
            (narrowed, NoticeKind::Narrowed, ElementState::Narrowed),
        ];
        assert_eq!(heard, expected);
    }
    let tenant = consumer_id().siret().to_string();
    assert_eq!(notices(&house.db, &tenant, 0, 99).await.expect("reads").len(), 3);
    replica.drained().await;
    for changes in &mut watches[1..] {
        let last = tokio::time::timeout(WAIT, changes.recv()).await.expect("in time");
        assert!(matches!(last, Some(Err(Error::Stopping))));
    }
    house.stop().await;
}

async fn a_grant_s_end_is_told_before_and_after(database: TestDatabase) {
    let house = house(database).await;
    let grants = [house.granted().await, house.granted().await];
    let [kept, gone] = grants.each_ref().map(|grant| grant.elements[0].handle);
    house.announcer.end(gone, WithdrawnBy::Person);
    let mut changes = watch_all(&house.consumer).await;
    assert_eq!(next(&mut changes).await.element.handle, gone);
    // A one-shot grant lives for 75 minutes: its end is told in the last tenth, and the withdrawn one's is nobody's news.
    for (ms, kind) in [
        (68 * 60_000, NoticeKind::Expiring),
        (8 * 60_000, NoticeKind::Expired),
    ] {
        house.clock.pass(ms);
        let change = next(&mut changes).await;
        assert_eq!(told(&change), (kept, kind, ElementState::Active));
        assert_eq!(change.ends_at, grants[0].ends_at);
    }
    let error = house.fetch(&kept, "").await.expect_err("over");
    assert!(matches!(error, Error::Expired), "{error}");
    house.stop().await;
}

/// A wire to the producer that holds back what it answers while `held`.
async fn wire(
    to: String,
    held: watch::Receiver<bool>,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address").to_string();
    let inner = tasks.clone();
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted.expect("a connection").0,
            };
            let (to, mut held, shutdown) = (to.clone(), held.clone(), shutdown.clone());
            inner.spawn(async move {
                let (mut here, mut out) = accepted.into_split();
                let there = TcpStream::connect(to).await.expect("the producer");
                let (from, mut into) = there.into_split();
                let up = tokio::io::copy(&mut here, &mut into);
                let down = async {
                    let mut buffer = vec![0; 16 * 1_024];
                    loop {
                        from.readable().await.expect("readable");
                        let read = match from.try_read(&mut buffer) {
                            Ok(0) => return,
                            Ok(read) => read,
                            Err(_) => continue,
                        };
                        held.wait_for(|held| !held).await.expect("the test lives");
                        if out.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    _ = up => {}
                    () = down => {}
                }
            });
        }
    });
    address
}

/// How what is on its way ends once `withdraw` has been told.
async fn on_its_way(
    withdraw: impl FnOnce(&House, Handle),
    known: impl AsyncFnOnce(&House),
    expected: impl FnOnce(&Error) -> bool,
) {
    let database = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))], &database).await;
    let (hold, held) = watch::channel(false);
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let address = wire(node.target.authority.to_string(), held, &tasks, shutdown.clone()).await;
    let house = House::new(&world, TestDatabase::sqlite(), vec![address], |_| {}).await;
    // The connection is there before anything is held back.
    let first = house.granted().await.elements[0].handle;
    house.fetch(&first, "").await.expect("a document");

    let handle = house.granted().await.elements[0].handle;
    hold.send_replace(true);
    let fetched = house.fetch(&handle, "");
    let told = async {
        while node.of_handle(&handle).await == 0 {
            tokio::task::yield_now().await;
        }
        withdraw(&house, handle);
        known(&house).await;
        hold.send_replace(false);
    };
    let (fetched, ()) = tokio::join!(fetched, told);
    let error = fetched.expect_err("it is not handed over");
    assert_eq!(error.reason(), Some(Reason::GrantRevoked));
    assert!(expected(&error), "{error}");
    let (ours, theirs) = (house.entries().await, node.entries().await);
    let (ours, theirs) = (ours.last().expect("an entry"), theirs.last().expect("an entry"));
    assert_eq!(
        (ours.event, ours.reason),
        (Event::Refused, Some(Reason::GrantRevoked))
    );
    assert_eq!(theirs.event, Event::Released);
    let leaf = Hash::of_leaf(&theirs.encode());
    assert_eq!(ours.peer_entry_hash, Some(Sha256::from_bytes(*leaf.as_bytes())));
    assert_eq!(ours.content_commit, None);
    house.stop().await;
    node.stop().await;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_a_withdrawn_grant_is_dropped_on_its_way() {
    on_its_way(
        |house, handle| house.announcer.end(handle, WithdrawnBy::Person),
        async |house| noted(house, 1).await,
        |error| matches!(error, Error::Over(ElementState::Withdrawn)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_a_withdrawn_token_is_dropped_on_its_way() {
    let all: [fn(ParticipantId) -> Withdrawal; 2] = [Withdrawal::Client, |_| Withdrawal::AllBefore];
    for withdrawal in all {
        on_its_way(
            |house, _| house.announcer.withdraw(withdrawal(consumer_id())),
            async |house| noted(house, 1).await,
            |error| matches!(error, Error::TokenWithdrawn),
        )
        .await;
    }
}
