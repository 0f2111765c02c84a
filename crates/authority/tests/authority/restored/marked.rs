//! A database that is known to have gone back: until its producers have told what they know.

use super::*;

both_databases![
    i3_a_marked_database_gives_and_records_nothing_until_its_producers_have_told,
    i3_a_marked_database_has_in_force_all_that_it_had_lost_before_it_goes_on,
    i3_a_marked_database_whose_loss_nobody_can_show_waits_for_its_operator,
    i3_a_marked_database_does_not_take_another_history_for_its_own,
    i3_a_ledger_that_went_back_marks_the_database_once,
];

async fn i3_a_marked_database_gives_and_records_nothing_until_its_producers_have_told(
    database: TestDatabase,
) {
    let mut world = Restored::marked(database).await;
    world.assert_held().await;
    assert!(world.why().contains(&world.kit.cnaf), "{}", world.why());
    let mut consumer = Watch::open(
        &world.kit,
        Open {
            origin: String::new(),
            ..open()
        },
    )
    .await;
    let told = consumer.next().await.expect_err("it is told nothing");
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));

    // A start forgets nothing of that.
    world.kit = world.kit.restart(|_, _| {}).await;
    world.assert_held().await;
    assert_eq!(
        world.kit.events().await.last(),
        Some(&Event::Refused),
        "nothing was withdrawn"
    );

    // The only producer with a log knows nothing that is not there.
    let mut watch = world.tell(Position::default()).await;
    let told = watch
        .next()
        .await
        .expect_err("nothing is announced, and no ping is answered");
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    let world = world.next().await;
    let minted = world.mint(0).await;
    assert_eq!(minted.status, StatusCode::OK, "{}", minted.json);
    assert!(world.kit.running.readiness()().is_ok());
    world.kit.stop().await;
}

async fn i3_a_marked_database_has_in_force_all_that_it_had_lost_before_it_goes_on(database: TestDatabase) {
    let mut world = Restored::marked(database).await;
    // The first half behind a hole teaches nothing, and ends nothing.
    let mut behind = world.tell(world.claim().position.unwrap()).await;
    let Tell::Wanted(_) = behind.next().await.unwrap() else {
        panic!("a proof is asked for");
    };
    for jws in [&world.held[2], &String::new()] {
        let held = Ask::Held(Signed { jws: jws.clone() });
        behind.ask.send(message(held)).await.unwrap();
    }
    world.says("cannot be shown").await;
    world.assert_held().await;

    // It is asked again each time that it comes.
    let told = world.show(&world.held).await;
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    let world = world.next().await;
    // What was lost is there; that nothing else was is not known yet.
    world.assert_closed().await;
    let _watch = world.tell(world.claim().position.unwrap()).await;
    let mut world = world.next().await;
    for n in [0, 1] {
        let refused = world.mint(n).await;
        assert_eq!(refused.json["unefois_reason"], Reason::GrantRevoked.as_str());
    }
    let mut watch = Watch::open(&world.kit, world.claim()).await;
    let Tell::Snapshot(snapshot) = watch.next().await.unwrap() else {
        panic!("it is ahead of everybody");
    };
    world.view.apply(&records(&world.kit, &snapshot.jws)).unwrap();
    assert!(world.tokens.iter().all(|token| world.view.kills(token, "kid")));
    logged(&world.kit, Event::Effective).await;
    world.kit.stop().await;
}

async fn i3_a_marked_database_whose_loss_nobody_can_show_waits_for_its_operator(database: TestDatabase) {
    let world = Restored::marked(database).await;
    let claim = world.claim().position.unwrap();
    let mut watch = world.tell(claim.clone()).await;
    let Tell::Wanted(_) = watch.next().await.unwrap() else {
        panic!("a proof is asked for");
    };
    let nothing = Ask::Held(Signed { jws: String::new() });
    watch.ask.send(message(nothing)).await.unwrap();
    world.says("cannot be shown").await;
    // Asked once: what it cannot show it cannot show later.
    let again = world.tell(claim).await;
    world.says(&world.kit.cnaf).await;

    let word = |without: &str| form(&[("without", without.to_owned()), ("reason", "sinistre".to_owned())]);
    let path = "/as/recovery";
    let refused = world.kit.call(Method::POST, path, &word(&world.kit.cnaf)).await;
    assert_eq!(refused.json["unefois_reason"], Reason::NotEntitled.as_str());
    for without in [COMMUNE, "cnaf"] {
        let refused = world
            .kit
            .call_as_operator(Method::POST, path, &word(without))
            .await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.json);
    }
    let done = world
        .kit
        .call_as_operator(Method::POST, path, &word(&world.kit.cnaf))
        .await;
    assert_eq!(done.status, StatusCode::CREATED, "{}", done.json);
    drop((watch, again));
    let mut world = world.next().await;
    assert!(world.kit.events().await.contains(&Event::Admin));

    // A start reads what is beyond the gap, as often as there is one.
    world.kit = world.kit.restart(|_, _| {}).await;
    for n in [0, 1] {
        let refused = world.mint(n).await;
        assert_eq!(
            refused.json["unefois_reason"],
            Reason::TokenInvalid.as_str(),
            "{}",
            refused.json
        );
    }
    let mut watch = Watch::open(&world.kit, world.claim()).await;
    let Tell::Snapshot(snapshot) = watch.next().await.unwrap() else {
        panic!("it is above every place seen");
    };
    let snapshot = records(&world.kit, &snapshot.jws);
    assert_eq!(snapshot.head.seq, done.json["seq"].as_u64().unwrap());
    assert!(snapshot.head.epoch > done.json["epoch"].as_u64().unwrap());
    world.view.apply(&snapshot).unwrap();
    assert!(world.tokens.iter().all(|token| world.view.kills(token, "kid")));
    logged(&world.kit, Event::Effective).await;

    // What is granted now is good, and is withdrawn.
    let kit = &world.kit;
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let token = kit.claims(answer.json["access_token"].as_str().unwrap());
    assert!(!world.view.kills(&token, "kid"));
    let gone = format!("/as/grants/{}", answer.json["grant_id"].as_str().unwrap());
    let gone = kit.call(Method::DELETE, &gone, "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    watch.batch(kit, &mut world.view).await;
    assert!(world.view.kills(&token, "kid"));
    world.kit.stop().await;
}

async fn i3_a_marked_database_does_not_take_another_history_for_its_own(database: TestDatabase) {
    let mut world = Restored::marked(database).await;
    let another = Position {
        chain: vec![1; 32],
        ..Position::default()
    };
    let _watch = world.tell(another).await;
    world.says("cannot be shown").await;
    let lies = Position {
        epoch: u64::MAX,
        seq: 0,
        chain: Vec::new(),
    };
    let mut watch = world.tell(lies).await;
    let Tell::Wanted(_) = watch.next().await.unwrap() else {
        panic!("a proof is asked for");
    };
    world.says("cannot be shown").await;
    // What was known once is not unknown because whoever knew it forgets it.
    let held = world.tell(Position::default()).await;
    world.says("cannot be shown").await;
    world.assert_held().await;
    drop((watch, held));
    world.kit = world.kit.restart(|_, _| {}).await;

    // A consumer is not waited for; what it knows counts all the same.
    let knows = Open {
        origin: String::new(),
        ..world.claim()
    };
    let told = Watch::open(&world.kit, knows).await.next().await;
    assert_eq!(
        status::reason_of(&told.expect_err("it is told nothing")),
        Some(Reason::RevocationStateStale)
    );
    world.says("cannot be shown").await;
    let watch = world.tell(Position::default()).await;
    world.assert_held().await;
    drop(watch);
    world.kit = world.kit.restart(|_, _| {}).await;
    let _watch = world.tell(Position::default()).await;
    let world = world.next().await;
    let minted = world.mint(0).await;
    assert_eq!(minted.status, StatusCode::OK, "{}", minted.json);
    world.kit.stop().await;
}

/// Whoever copies a database back by hand leaves no mark; the anchor does.
async fn i3_a_ledger_that_went_back_marks_the_database_once(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let anchor = folder.path().join("anchor").display().to_string();
    let kit = Kit::with(database, |_, config| config["ledger"]["anchor"] = anchor.into()).await;
    let mut backup = None;
    let kit = kit.restart(|_, database| backup = Some(database.copy())).await;
    let backup = backup.expect("it was made");
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    assert_eq!(kit.redeem(&code).await.status, StatusCode::OK);
    let kit = kit
        .restart(|config, _| config["database"]["url"] = backup.url().into())
        .await;
    tokio::time::timeout(WAIT, kit.running.relearnt())
        .await
        .expect("the ledger shows it");
    let kit = kit.restart(|_, _| {}).await;
    let readiness = kit.running.readiness();
    until(async || {
        readiness()
            .is_err_and(|why| why.contains(&kit.cnaf))
            .then_some(())
    })
    .await;

    let _watch = Watch::open(&kit, open()).await;
    tokio::time::timeout(WAIT, kit.running.relearnt())
        .await
        .expect("everybody has told");
    let kit = kit.restart(|_, _| {}).await;
    let mut watch = Watch::open(&kit, open()).await;
    assert!(matches!(watch.next().await, Ok(Tell::Snapshot(_))));
    // It would have looked by then.
    for _ in 0..10 {
        watch.pong().await;
    }
    assert!(kit.running.readiness()().is_ok());
    kit.stop().await;
}
