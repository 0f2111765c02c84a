//! A database that went back to what it was before two grants were stopped.

mod marked;

use http::{Method, StatusCode};
use unefois_core::revocation::{Extent, SignedRecords, Withdrawals};
use unefois_core::{AccessTokenClaims, Clock as _, Event, Reason, RevocationView};
use unefois_jose::{SigningKey, jws};
use unefois_mesh::{SystemClock, status};
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_proto::pb::revocation::v1::{Open, Position, SignedRecords as Signed};
use unefois_store::authority::restored::mark_restored;
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, Kit, form, ring, until};
use crate::withdrawal::{WAIT, Watch, logged, message, open, records};

both_databases![
    i3_a_restored_database_learns_from_a_node_what_it_has_lost,
    i3_what_no_withdrawal_key_signed_or_does_not_chain_teaches_nothing,
    i3_a_hole_before_what_is_proved_waits_for_who_can_fill_it,
    i3_a_showing_that_ends_badly_still_counts,
    i3_what_was_announced_meanwhile_is_not_lost,
    i3_a_proof_that_comes_while_somebody_withdraws_marks_the_database,
];

/// Two grants that were stopped after the backup, and what a node has applied of that.
struct Restored {
    kit: Kit,
    _backup: TestDatabase,
    browser: Browser,
    /// Where each grant is stopped.
    stops: [String; 2],
    /// What each grant's next token is asked for with.
    refresh: [String; 2],
    tokens: [AccessTokenClaims; 2],
    /// The signed messages, and the view that they make.
    held: Vec<String>,
    view: Withdrawals,
}

impl Restored {
    async fn new(database: TestDatabase) -> Self {
        Self::with(database, |_| {}).await
    }

    /// As `db restore` leaves it.
    async fn marked(database: TestDatabase) -> Self {
        Self::with(database, |backup| {
            let marking = async {
                let db = Db::open(backup.url(), Component::Authority).await.unwrap();
                let mut tx = db.begin().await.unwrap();
                mark_restored(&mut tx, SystemClock.now()).await.unwrap();
                tx.commit().await.unwrap();
                db.close().await;
            };
            let runtime = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| runtime.block_on(marking));
        })
        .await
    }

    async fn with(database: TestDatabase, restored: impl FnOnce(&TestDatabase)) -> Self {
        let kit = Kit::on(database).await;
        let mut browser = kit.browser();
        let (mut refresh, mut tokens, mut stops) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..2 {
            let code = kit.grant(&mut browser, &kit.parameters(), "").await;
            let answer = kit.redeem(&code).await;
            let text = |name: &str| answer.json[name].as_str().unwrap().to_owned();
            refresh.push(form(&[
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", text("refresh_token")),
            ]));
            tokens.push(kit.claims(&text("access_token")));
            stops.push(format!("/autorisations/{}/arreter", text("grant_id")));
        }
        let mut backup = None;
        let kit = kit.restart(|_, database| backup = Some(database.copy())).await;
        let backup = backup.expect("it was made");
        let mut watch = Watch::open(&kit, open()).await;
        let (mut held, mut view) = (Vec::new(), Withdrawals::default());
        for stop in [None, Some(&stops[0]), Some(&stops[1])] {
            if let Some(stop) = stop {
                let question = browser.get(stop).await;
                let done = browser.post(stop, &format!("csrf={}", question.csrf())).await;
                assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
            }
            let (Tell::Snapshot(signed) | Tell::Batch(signed)) = watch.next().await.unwrap() else {
                panic!("signed records");
            };
            view.apply(&records(&kit, &signed.jws)).unwrap();
            held.push(signed.jws);
        }
        assert_eq!(view.head().view(), RevocationView { epoch: 2, seq: 2 });
        drop(watch);
        restored(&backup);
        let kit = kit
            .restart(|config, _| config["database"]["url"] = backup.url().into())
            .await;
        Self {
            kit,
            _backup: backup,
            browser,
            stops: stops.try_into().unwrap(),
            refresh: refresh.try_into().unwrap(),
            tokens: tokens.try_into().unwrap(),
            held,
            view,
        }
    }

    /// What a node says that holds the view.
    fn claim(&self) -> Open {
        let head = self.view.head();
        Open {
            position: Some(Position {
                epoch: head.epoch,
                seq: head.seq,
                chain: head.chain.as_bytes().to_vec(),
            }),
            ..open()
        }
    }

    /// Claims the later place and shows these messages; what it is told then.
    async fn show(&self, texts: &[String]) -> tonic::Status {
        let mut watch = Watch::open(&self.kit, self.claim()).await;
        let Tell::Wanted(wanted) = watch.next().await.unwrap() else {
            panic!("a proof is asked for");
        };
        assert_eq!(wanted.after.unwrap().seq, 0);
        for jws in texts.iter().chain([&String::new()]) {
            let held = Ask::Held(Signed { jws: jws.clone() });
            // It may have refused the one before, and closed.
            let _closed = watch.ask.send(message(held)).await;
        }
        watch.next().await.expect_err("nothing is announced to it yet")
    }

    fn signed(&self, message: &SignedRecords, key: &SigningKey) -> String {
        jws::sign_claims(key, "unefois-withdrawals+jwt", message).unwrap()
    }

    /// The next start, once this one has found that it has to make room for it.
    async fn next(mut self) -> Self {
        tokio::time::timeout(WAIT, self.kit.running.relearnt())
            .await
            .expect("it starts again");
        self.kit = self.kit.restart(|_, _| {}).await;
        self
    }

    /// Opens the watch of the only producer with a log.
    async fn tell(&self, position: Position) -> Watch {
        let open = Open {
            position: Some(position),
            ..open()
        };
        Watch::open(&self.kit, open).await
    }

    fn why(&self) -> String {
        self.kit.running.readiness()().unwrap_err().into_owned()
    }

    /// Waits until a probe is told this.
    async fn says(&self, words: &str) {
        until(async || self.why().contains(words).then_some(())).await;
    }

    /// Nothing is given out or recorded.
    async fn assert_held(&mut self) {
        self.assert_closed().await;
        let question = self.browser.get(&self.stops[0]).await;
        let told = self
            .browser
            .post(&self.stops[0], &format!("csrf={}", question.csrf()))
            .await;
        assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE, "{}", told.body);
        assert!(
            told.body.contains("Les retraits sont en cours de récupération"),
            "{}",
            told.body
        );
        let grant = self.stops[0].trim_end_matches("/arreter").to_owned();
        let shown = self.browser.get(&grant).await;
        assert!(!shown.body.contains("Retrait enregistré"), "{}", shown.body);
    }

    /// Consumers and the operator are refused.
    async fn assert_closed(&self) {
        let refusals = [
            self.mint(0).await,
            self.kit
                .call(Method::POST, "/as/par", &form(&self.kit.parameters()))
                .await,
            self.kit
                .call_as_operator(
                    Method::POST,
                    "/as/withdrawals",
                    &form(&[("kind", "all_before".to_owned()), ("reason", "essai".to_owned())]),
                )
                .await,
        ];
        for refused in refusals {
            assert_eq!(
                refused.status,
                StatusCode::SERVICE_UNAVAILABLE,
                "{}",
                refused.json
            );
            assert_eq!(
                refused.json["unefois_reason"],
                Reason::RevocationStateStale.as_str()
            );
        }
    }

    async fn mint(&self, n: usize) -> crate::kit::Answer {
        self.kit.call(Method::POST, "/as/token", &self.refresh[n]).await
    }
}

async fn i3_a_restored_database_learns_from_a_node_what_it_has_lost(database: TestDatabase) {
    let world = Restored::new(database).await;
    // Nothing tells yet that anything is missing; what is minted now is below the records that are.
    let early = world.mint(0).await;
    assert_eq!(early.status, StatusCode::OK, "{}", early.json);
    let early = world.kit.claims(early.json["access_token"].as_str().unwrap());
    assert!(world.view.kills(&early, "kid"));

    let told = world.show(&world.held).await;
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    tokio::time::timeout(WAIT, world.kit.running.relearnt())
        .await
        .expect("it has learnt");
    let refused = world.mint(1).await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        refused.json
    );
    assert_eq!(
        refused.json["unefois_reason"],
        Reason::RevocationStateStale.as_str()
    );
    let why = world.kit.running.readiness()().unwrap_err();
    assert!(why.contains("lost"), "{why}");

    // What others know is heard first, though nobody had marked the database.
    let world = world.next().await;
    world.assert_closed().await;
    let _watch = world.tell(world.claim().position.unwrap()).await;
    let mut world = world.next().await;
    for n in [0, 1] {
        let refused = world.mint(n).await;
        assert_eq!(refused.json["unefois_reason"], Reason::GrantRevoked.as_str());
    }
    let mut watch = Watch::open(&world.kit, world.claim()).await;
    let Tell::Snapshot(snapshot) = watch.next().await.unwrap() else {
        panic!("it is ahead of everybody again");
    };
    // The node that taught it follows it, and so does one that knows nothing.
    let snapshot = records(&world.kit, &snapshot.jws);
    assert_eq!(snapshot.head.view(), RevocationView { epoch: 4, seq: 2 });
    let mut fresh = Withdrawals::default();
    for view in [&mut world.view, &mut fresh] {
        view.apply(&snapshot).unwrap();
        assert!(
            world
                .tokens
                .iter()
                .chain([&early])
                .all(|token| view.kills(token, "kid"))
        );
    }
    logged(&world.kit, Event::Effective).await;
    world.kit.stop().await;
}

async fn i3_what_no_withdrawal_key_signed_or_does_not_chain_teaches_nothing(database: TestDatabase) {
    let world = Restored::new(database).await;
    let last: SignedRecords = records(&world.kit, &world.held[2]);
    let all = SignedRecords {
        extent: Extent::Snapshot,
        from: records(&world.kit, &world.held[1]).from,
        records: [
            &records(&world.kit, &world.held[1]).records[..],
            &last.records[..],
        ]
        .concat(),
        head: last.head,
    };
    let own = &world.kit.withdrawal_key;
    let change = |change: &dyn Fn(&mut SignedRecords)| {
        let mut message = all.clone();
        change(&mut message);
        world.signed(&message, own)
    };
    let stranger = SigningKey::generate(&ring()).unwrap();
    let broken = [
        world.signed(&all, &stranger),
        change(&|message| message.records.swap(0, 1)),
        change(&|message| drop(message.records.pop())),
        change(&|message| drop(message.records.remove(0))),
        change(&|message| message.records[0].at = message.records[0].at.plus_ms(1)),
        change(&|message| message.head.seq += 1),
        world.held[1].replace('.', ""),
        "x".to_owned(),
    ];
    for text in broken {
        let refused = world.show(&[text]).await;
        assert_eq!(status::reason_of(&refused), Some(Reason::InvalidRequest));
    }
    // A claim without a proof, and a proof of what is known.
    for texts in [&[][..], &world.held[..1]] {
        let told = world.show(texts).await;
        assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    }
    let minted = world.mint(0).await;
    assert_eq!(
        minted.status,
        StatusCode::OK,
        "nobody else is stopped: {}",
        minted.json
    );
    assert!(world.kit.running.readiness()().is_ok());
    world.kit.stop().await;
}

async fn i3_a_hole_before_what_is_proved_waits_for_who_can_fill_it(database: TestDatabase) {
    let world = Restored::new(database).await;
    let told = world.show(&world.held[2..]).await;
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    // One that was stopped asks nobody.
    let mut watch = world.tell(world.claim().position.unwrap()).await;
    let told = watch.next().await.expect_err("nothing is wanted");
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    let mut world = world.next().await;
    world.assert_held().await;

    let told = world.show(&world.held).await;
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    let world = world.next().await;
    let _watch = world.tell(world.claim().position.unwrap()).await;
    let world = world.next().await;
    for n in [0, 1] {
        let refused = world.mint(n).await;
        assert_eq!(refused.json["unefois_reason"], Reason::GrantRevoked.as_str());
    }
    world.kit.stop().await;
}

/// Whoever claims a later place and then shows what everybody was told since has proved nothing.
async fn i3_what_was_announced_meanwhile_is_not_lost(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let stop = format!(
        "/autorisations/{}/arreter",
        answer.json["grant_id"].as_str().unwrap()
    );
    let mut watch = Watch::open(&kit, open()).await;
    assert!(matches!(watch.next().await, Ok(Tell::Snapshot(_))));
    let later = Position {
        epoch: 1,
        seq: 1,
        chain: vec![1; 32],
    };
    let unlisted = Open {
        position: Some(later.clone()),
        origin: "ailleurs.example/1".to_owned(),
        ..open()
    };
    let told = Watch::open(&kit, unlisted).await.next().await;
    assert_eq!(status::reason_of(&told.unwrap_err()), Some(Reason::NotEntitled));
    let claim = Open {
        position: Some(later),
        ..open()
    };
    let mut liar = Watch::open(&kit, claim).await;
    assert!(matches!(liar.next().await, Ok(Tell::Wanted(_))));

    let question = browser.get(&stop).await;
    let done = browser.post(&stop, &format!("csrf={}", question.csrf())).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let Ok(Tell::Batch(signed)) = watch.next().await else {
        panic!("the withdrawal is announced");
    };
    for jws in [signed.jws, String::new()] {
        let held = Ask::Held(Signed { jws });
        liar.ask.send(message(held)).await.unwrap();
    }
    let told = liar.next().await.expect_err("it is told nothing");
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    // Nobody else is stopped.
    watch.pong().await;
    assert!(kit.running.readiness()().is_ok());
    kit.stop().await;
}

/// A node that is cut off, or whose next message nobody signed, has proved what it showed before.
async fn i3_a_showing_that_ends_badly_still_counts(database: TestDatabase) {
    let world = Restored::new(database).await;
    let texts = [&world.held[..], &["x".to_owned()]].concat();
    let told = world.show(&texts).await;
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    let world = world.next().await;
    world.assert_closed().await;
    world.kit.stop().await;
}

/// Another history has begun: what was shown cannot follow it, and is not forgotten either.
async fn i3_a_proof_that_comes_while_somebody_withdraws_marks_the_database(database: TestDatabase) {
    let mut world = Restored::new(database).await;
    let mut watch = Watch::open(&world.kit, world.claim()).await;
    assert!(matches!(watch.next().await, Ok(Tell::Wanted(_))));
    let question = world.browser.get(&world.stops[0]).await;
    let done = world
        .browser
        .post(&world.stops[0], &format!("csrf={}", question.csrf()))
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    for jws in world.held.iter().chain([&String::new()]) {
        let held = Ask::Held(Signed { jws: jws.clone() });
        watch.ask.send(message(held)).await.unwrap();
    }
    let told = watch.next().await.expect_err("nothing is announced to it");
    assert_eq!(status::reason_of(&told), Some(Reason::RevocationStateStale));
    let world = world.next().await;
    world.assert_closed().await;
    let mut watch = world.tell(world.claim().position.unwrap()).await;
    assert!(matches!(watch.next().await, Ok(Tell::Wanted(_))));
    world.says("cannot be shown").await;
    world.kit.stop().await;
}
