//! What the law ends: after its months nothing opens a commitment or finds a person, and every proof still holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use unefois_core::commitment::{Field, GrantSecret};
use unefois_core::{Clock as _, Entry, Event, ExchangeId, Handle, LegalBasis, Micros, Sha256};
use unefois_ledger::verify::verify_database;
use unefois_ledger::{About, Draft, DurableReceipt, Ledger, Retention};
use unefois_store::erase::Erasable;
use unefois_store::evidence::evidence_read;
use unefois_store::head::head_read;
use unefois_store::index::{SecretRow, secret_insert};
use unefois_store::peer::{peer_receipt_exists, peer_receipt_insert};
use unefois_tlog::{Receipt, verify_consistency};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, assert_proved, consumer, draft, events, verifier};

both_databases![
    an_erasure_that_cannot_be_announced_destroys_nothing,
    an_erasure_cut_short_is_announced_and_ends_at_the_next_start,
    nothing_of_a_month_opens_37_months_later_and_every_proof_verifies,
    proactive_information_ends_after_13_months_and_nothing_else_does,
    a_secret_ends_with_its_own_month_where_its_entry_is_of_the_next,
    one_replica_erases_for_all_and_the_others_find_nothing,
    appends_go_on_while_a_month_is_erased,
];

/// A handle, whom it is about, and what opens what is logged under it.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) handle: Handle,
    pub(crate) secret: GrantSecret,
    pub(crate) person: Vec<u8>,
    basis: LegalBasis,
    iat: Micros,
}

impl Given {
    /// Logs an exchange under it, in which the person was found or not.
    pub(crate) async fn log(&self, scene: &Scene, ledger: &Ledger, found: bool) -> Exchange {
        let request = scene.once(self.handle);
        let id = request.request_id;
        let evidence = GrantSecret::draw(&*scene.random).as_bytes().repeat(3);
        let entry = Entry {
            legal_basis: Some(self.basis.clone()),
            grant_commit: Some(self.secret.commit(&id, Field::Grant, self.handle.as_bytes())),
            dossier_commit: Some(self.secret.commit(&id, Field::Dossier, b"2026-0412")),
            ..draft(&request).entry
        };
        let draft = Draft::new(entry).evidence(evidence.clone()).about(About {
            handle: Some(self.handle),
            secret: Some((self.iat.month(), self.secret.clone())),
            persons: found.then(|| self.person.clone()).into_iter().collect(),
            ..About::default()
        });
        let receipt = ledger.append(draft).await.expect("appended");
        let mut tx = scene.db.begin().await.expect("begun");
        let leaf = Sha256::from_bytes(*receipt.leaf_hash().as_bytes());
        let peer = consumer().siret().to_string();
        let noted = peer_receipt_insert(&mut tx, &peer, &[leaf], scene.clock.now()).await;
        assert_eq!(noted.expect("noted"), 1);
        tx.commit().await.expect("committed");
        Exchange {
            given: self.clone(),
            id,
            evidence,
            receipt,
        }
    }
}

/// One exchange, and what opens it.
pub(crate) struct Exchange {
    pub(crate) given: Given,
    pub(crate) id: ExchangeId,
    pub(crate) evidence: Vec<u8>,
    pub(crate) receipt: DurableReceipt,
}

impl Exchange {
    /// One logged now, whose token is of the month of `iat`.
    pub(crate) async fn log(scene: &Scene, ledger: &Ledger, basis: LegalBasis, iat: Micros) -> Self {
        let given = Given {
            handle: scene.handle(),
            secret: GrantSecret::draw(&*scene.random),
            person: GrantSecret::draw(&*scene.random).as_bytes().to_vec(),
            basis,
            iat,
        };
        given.log(scene, ledger, true).await
    }

    pub(crate) async fn now(scene: &Scene, ledger: &Ledger, basis: LegalBasis) -> Self {
        Self::log(scene, ledger, basis, scene.clock.now()).await
    }

    /// Whether what is stored opens the commitment of its entry.
    pub(crate) async fn opens(&self, ledger: &Ledger) -> bool {
        let month = Micros::new(0).month();
        let kept = ledger
            .secrets(&self.given.handle, month, month.plus(12 * 200))
            .await
            .unwrap();
        kept.iter().any(|secret| {
            Some(secret.commit(&self.id, Field::Grant, self.given.handle.as_bytes()))
                == self.receipt.entry().grant_commit
        })
    }

    /// Which of the five kinds of rows about it are there.
    pub(crate) async fn kept(&self, scene: &Scene, ledger: &Ledger) -> Vec<Erasable> {
        let log = head_read(&scene.db, self.receipt.origin().as_str())
            .await
            .unwrap()
            .unwrap()
            .log;
        let peer = consumer().siret().to_string();
        let kept = [
            (Erasable::Secret, self.opens(ledger).await),
            (
                Erasable::Handle,
                !ledger.by_handle(&self.given.handle).await.unwrap().is_empty(),
            ),
            (
                Erasable::Person,
                !ledger.by_person(&self.given.person).await.unwrap().is_empty(),
            ),
            (
                Erasable::Evidence,
                evidence_read(&scene.db, log, self.receipt.index())
                    .await
                    .unwrap()
                    .is_some(),
            ),
            (
                Erasable::Receipt,
                peer_receipt_exists(&scene.db, &peer, self.receipt.leaf_hash())
                    .await
                    .unwrap(),
            ),
        ];
        kept.into_iter()
            .filter_map(|(kind, there)| there.then_some(kind))
            .collect()
    }

    /// The bytes that must be nowhere once it is erased.
    pub(crate) fn traces(&self, ledger: &Ledger) -> [Vec<u8>; 5] {
        [
            self.given.secret.as_bytes().to_vec(),
            ledger.node_key().handle_key(&self.given.handle)[..15].to_vec(),
            ledger.node_key().person_key(&self.given.person)[..15].to_vec(),
            self.evidence.clone(),
            self.given.person.clone(),
        ]
    }
}

/// Sets the clock to the first instant of the month that lies `months` after `from`.
pub(crate) fn turn(scene: &Scene, from: Micros, months: i32) {
    let to = from.month().plus(months).start();
    scene.clock.forward_ms(to.ms_since(scene.clock.now()));
    assert_eq!(scene.clock.now().month(), from.month().plus(months));
}

/// The evidence of the last entry of a log.
pub(crate) async fn announced(scene: &Scene, ledger: &Ledger) -> String {
    let head = head_read(&scene.db, ledger.origin().as_str())
        .await
        .unwrap()
        .unwrap();
    let evidence = evidence_read(&scene.db, head.log, head.size - 1)
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(evidence.body).unwrap()
}

/// How many of `traces` the database's files hold: the file with its free pages, the WAL and its index.
pub(crate) fn found_in_files(database: &TestDatabase, traces: &[Vec<u8>]) -> Option<usize> {
    const START: usize = 15;
    let path = database.url().strip_prefix("sqlite:")?;
    let starts: BTreeMap<&[u8], &[u8]> = traces.iter().map(|trace| (&trace[..START], &trace[..])).collect();
    let mut found = BTreeSet::new();
    for suffix in ["", "-wal", "-shm"] {
        let bytes = std::fs::read(PathBuf::from(format!("{path}{suffix}"))).unwrap_or_default();
        for (at, window) in bytes.windows(START).enumerate() {
            if let Some(trace) = starts.get(window).filter(|trace| bytes[at..].starts_with(trace)) {
                found.insert(*trace);
            }
        }
    }
    Some(found.len())
}

pub(crate) async fn assert_sound(scene: &Scene, ledger: &Ledger) {
    let report = verify_database(&scene.db, ledger.origin().as_str(), ledger.verifier(), |_, _| {}).await;
    let report = report.expect("it is read");
    assert!(report.is_sound(), "{report:?}");
}

async fn an_erasure_that_cannot_be_announced_destroys_nothing(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let proactive = Exchange::now(&scene, &ledger, LegalBasis::Proactive).await;
    let mut raw = Raw::open(&scene.database).await;
    raw.break_head().await;

    turn(&scene, start, 13);
    let mut retention = Retention::new(ledger.clone());
    retention.run(scene.clock.now()).await.expect_err("not announced");
    assert_eq!(proactive.kept(&scene, &ledger).await, Erasable::ALL);
    turn(&scene, start, 37);
    retention.run(scene.clock.now()).await.expect_err("not announced");
    assert_eq!(exchange.kept(&scene, &ledger).await, Erasable::ALL);

    raw.mend_head().await;
    let found = retention
        .run(scene.clock.now())
        .await
        .expect("the same job goes on");
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [2; 5]);
    assert_eq!(exchange.kept(&scene, &ledger).await, []);
    assert_eq!(
        events(&ledger).await,
        [Event::Refused, Event::Refused, Event::Erased]
    );
}

async fn an_erasure_cut_short_is_announced_and_ends_at_the_next_start(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let proactive = Exchange::now(&scene, &ledger, LegalBasis::Proactive).await;
    let mut raw = Raw::open(&scene.database).await;

    // The process ends after the secrets, before the index rows: what is kept is not lost from sight.
    for (months, cut) in [(13, &proactive), (37, &exchange)] {
        raw.break_deletion("person_index").await;
        turn(&scene, start, months);
        Retention::new(ledger.clone())
            .run(scene.clock.now())
            .await
            .expect_err("cut short");
        raw.mend_deletion("person_index").await;
        assert!(cut.kept(&scene, &ledger).await.contains(&Erasable::Person));

        let mut next = Retention::new(ledger.clone());
        assert!(!next.run(scene.clock.now()).await.expect("goes on").is_empty());
        assert_eq!(cut.kept(&scene, &ledger).await, []);
        assert!(announced(&scene, &ledger).await.contains("\nperson 1\n"));
        let again = Retention::new(ledger.clone()).run(scene.clock.now()).await;
        assert!(again.expect("nothing to do").is_empty());
    }
    let events = events(&ledger).await;
    assert_eq!(events[..2], [Event::Refused; 2]);
    assert_eq!(events[2..], [Event::Erased; 4]);
    assert_sound(&scene, &ledger).await;
}

async fn nothing_of_a_month_opens_37_months_later_and_every_proof_verifies(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    let mut ended = Vec::new();
    for _ in 0..300 {
        ended.push(Exchange::now(&scene, &ledger, LegalBasis::Request).await);
    }
    // As the authority keeps it: before any entry, for no log.
    let (minted, secret) = (scene.handle(), GrantSecret::draw(&*scene.random));
    let mut tx = scene.db.begin().await.unwrap();
    let key = ledger.node_key().handle_key(&minted);
    let row = SecretRow {
        month: start.month(),
        unit: minted.unit(),
        mac: key,
        secret: secret.clone(),
    };
    secret_insert(&mut tx, &[row]).await.unwrap();
    tx.commit().await.unwrap();
    let known = ledger.head();
    turn(&scene, start, 1);
    let next_month = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let traces: Vec<Vec<u8>> = ended
        .iter()
        .flat_map(|exchange| exchange.traces(&ledger))
        .collect();

    // The last instant of month M+36.
    turn(&scene, start, 37);
    let mut retention = Retention::new(ledger.clone());
    let found = retention
        .run(scene.clock.now().plus_ms(-1))
        .await
        .expect("nothing is due");
    assert!(found.is_empty());
    for exchange in &ended {
        assert_eq!(exchange.kept(&scene, &ledger).await, Erasable::ALL);
    }
    // A person's own bytes are in no file at any time.
    assert!(matches!(
        found_in_files(&scene.database, &traces),
        None | Some(1_200)
    ));

    let found = retention.run(scene.clock.now()).await.expect("erased");
    assert_eq!(
        found.values().copied().collect::<Vec<_>>(),
        [301, 300, 300, 300, 300]
    );
    for exchange in &ended {
        assert_eq!(exchange.kept(&scene, &ledger).await, []);
    }
    assert_eq!(
        ledger
            .secrets(&minted, start.month(), start.month())
            .await
            .unwrap(),
        []
    );
    assert_eq!(next_month.kept(&scene, &ledger).await, Erasable::ALL);
    assert!(matches!(found_in_files(&scene.database, &traces), None | Some(0)));
    assert_eq!(
        announced(&scene, &ledger).await,
        format!(
            "unefois/erased/v1 retention 2026-11 {}\nsecret 301\nhandle 300\nperson 300\nevidence 300\nreceipt 300\n",
            scene.clock.now().get()
        )
    );

    // The log is what it was: every receipt, every proof, and the growth since a head that somebody kept.
    assert_sound(&scene, &ledger).await;
    for exchange in &ended {
        assert_proved(&exchange.receipt, &verifier(1));
        let proof: Receipt = ledger.proof(exchange.receipt.index()).await.unwrap();
        proof
            .verify(exchange.receipt.leaf_hash(), &verifier(1))
            .expect("proved still");
    }
    let head = ledger.head();
    let proof = ledger.consistency(known.size, head.size).await.unwrap();
    verify_consistency((known.size, &known.root), (head.size, &head.root), &proof).expect("one history");

    // Over a restart, and in the month after: what is left is the next month's, and the announcement stays readable.
    ledger.close().await;
    let ledger = scene.open(1).await;
    turn(&scene, start, 38);
    let found = Retention::new(ledger.clone())
        .run(scene.clock.now())
        .await
        .expect("erased");
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [1; 5]);
    assert_eq!(next_month.kept(&scene, &ledger).await, []);
    turn(&scene, start, 90);
    assert!(
        Retention::new(ledger.clone())
            .run(scene.clock.now())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        announced(&scene, &ledger)
            .await
            .starts_with("unefois/erased/v1 retention 2026-12 ")
    );
}

async fn proactive_information_ends_after_13_months_and_nothing_else_does(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    let (mut ended, mut others) = (Vec::new(), Vec::new());
    for basis in [
        LegalBasis::Request,
        LegalBasis::Consent,
        LegalBasis::Text("LPF-L103".to_owned()),
    ] {
        others.push(Exchange::now(&scene, &ledger, basis).await);
        ended.push(Exchange::now(&scene, &ledger, LegalBasis::Proactive).await);
    }
    turn(&scene, start, 1);
    others.push(Exchange::now(&scene, &ledger, LegalBasis::Proactive).await);
    let traces: Vec<Vec<u8>> = ended
        .iter()
        .flat_map(|exchange| exchange.traces(&ledger))
        .collect();

    let mut retention = Retention::new(ledger.clone());
    turn(&scene, start, 13);
    assert!(
        retention
            .run(scene.clock.now().plus_ms(-1))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(ended[0].kept(&scene, &ledger).await, Erasable::ALL);
    let found = retention.run(scene.clock.now()).await.expect("erased");
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [3; 5]);
    for exchange in &ended {
        assert_eq!(exchange.kept(&scene, &ledger).await, []);
    }
    for exchange in &others {
        assert_eq!(exchange.kept(&scene, &ledger).await, Erasable::ALL);
    }
    assert!(matches!(found_in_files(&scene.database, &traces), None | Some(0)));
    assert!(
        announced(&scene, &ledger)
            .await
            .starts_with("unefois/erased/v1 proactive 2026-11 ")
    );
    assert_sound(&scene, &ledger).await;
    // A start finds nothing more, and says nothing.
    assert!(
        Retention::new(ledger.clone())
            .run(scene.clock.now())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        events(&ledger)
            .await
            .iter()
            .filter(|event| **event == Event::Erased)
            .count(),
        1
    );
}

async fn a_secret_ends_with_its_own_month_where_its_entry_is_of_the_next(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    turn(&scene, start, 1);
    let minted = scene.clock.now().plus_ms(-1);
    let exchange = Exchange::log(&scene, &ledger, LegalBasis::Proactive, minted).await;
    turn(&scene, start, 13);
    Retention::new(ledger.clone())
        .run(scene.clock.now())
        .await
        .expect("erased");
    assert_eq!(exchange.kept(&scene, &ledger).await, Erasable::ALL[1..]);
    turn(&scene, start, 14);
    Retention::new(ledger.clone())
        .run(scene.clock.now())
        .await
        .expect("erased");
    assert_eq!(exchange.kept(&scene, &ledger).await, []);
}

async fn one_replica_erases_for_all_and_the_others_find_nothing(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    let start = scene.clock.now();
    let exchanges = [
        Exchange::now(&scene, &one, LegalBasis::Request).await,
        Exchange::now(&scene, &two, LegalBasis::Request).await,
    ];
    turn(&scene, start, 37);
    let found = Retention::new(one.clone())
        .run(scene.clock.now())
        .await
        .expect("erased");
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [2; 5]);
    for (exchange, ledger) in exchanges.iter().zip([&one, &two]) {
        assert_eq!(exchange.kept(&scene, ledger).await, []);
    }
    assert!(
        Retention::new(two.clone())
            .run(scene.clock.now())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(events(&one).await, [Event::Refused, Event::Erased]);
    assert_eq!(events(&two).await, [Event::Refused]);
}

async fn appends_go_on_while_a_month_is_erased(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    // More rows than one step takes, of one handle each.
    for _ in 0..40 {
        let persons = (0..200_u32).map(|n| format!("{n} of {}", scene.exchange()).into_bytes());
        let about = About {
            persons: persons.collect(),
            ..About::default()
        };
        let entry = draft(&scene.once(scene.handle())).entry;
        ledger
            .append(Draft::new(entry).about(about))
            .await
            .expect("appended");
    }
    turn(&scene, start, 37);
    let mut retention = Retention::new(ledger.clone());
    let erase = retention.run(scene.clock.now());
    let append = async {
        let mut appended = 0;
        for _ in 0..50 {
            ledger
                .append(Draft::new(Entry::new(Event::Lapsed, start)))
                .await
                .expect("in time");
            appended += 1;
        }
        appended
    };
    let (found, appended) = tokio::join!(erase, append);
    assert_eq!(found.expect("erased")[&Erasable::Person], 8_000);
    assert_eq!(appended, 50);
    assert_sound(&scene, &ledger).await;
}

/// SQLite keeps pages as they were in its WAL as long as somebody reads them: the job is not done before.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_delays_the_end_of_an_erasure_and_does_not_prevent_it() {
    let scene = Scene::new(TestDatabase::sqlite()).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let traces = exchange.traces(&ledger);
    let mut reader = Raw::open(&scene.database).await;
    reader.execute("BEGIN; SELECT COUNT(*) FROM grant_secret").await;

    turn(&scene, start, 37);
    let mut retention = Retention::new(ledger.clone());
    assert!(!retention.run(scene.clock.now()).await.expect("erased").is_empty());
    assert_ne!(found_in_files(&scene.database, &traces), Some(0));
    reader.execute("COMMIT").await;
    assert!(
        retention
            .run(scene.clock.now())
            .await
            .expect("settled")
            .is_empty()
    );
    assert_eq!(found_in_files(&scene.database, &traces), Some(0));
}
