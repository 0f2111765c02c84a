//! One exchange is opened, one person found: who may, and that it is recorded.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use tonic::{Code, Request, Status};
use unefois_core::commitment::{Field, GrantSecret, Salt};
use unefois_core::effect::Effect;
use unefois_core::revocation::{Record, RecordPlace, Withdrawal};
use unefois_core::subject_request::{SubjectQuestion, SubjectRequest};
use unefois_core::{Clock as _, Entry, Event, LegalBasis, Micros, ParticipantId, Reason, Sha256};
use unefois_ledger::{About, Draft, LedgerService, Lent, Retention};
use unefois_mesh::{Peer, PeerId, Serial, status::reason_of};
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService as _;
use unefois_proto::pb::ledger::v1::{CommittedField, DiscloseRequest, DisclosedEntry, SearchSubjectRequest};
use unefois_store::index::{SecretRow, secret_insert};
use unefois_tlog::{Hash, Receipt};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::retention::{Exchange, announced, turn};
use crate::scene::{Scene, events, producer, stranger, verifier};
use crate::service::lent;

both_databases![
    only_an_auditor_with_a_motive_opens_an_exchange,
    what_cannot_be_recorded_is_not_disclosed,
    one_exchange_is_opened_and_no_other,
    the_proof_of_a_withdrawal_opens_its_handle_and_nothing_else_does,
    an_erased_exchange_is_said_to_be,
    a_person_is_found_for_two_auditors_alone,
];

struct Auditor {
    name: &'static str,
    pair: EcdsaKeyPair,
    rng: SystemRandom,
}

impl Auditor {
    #[expect(clippy::disallowed_methods, reason = "a key for this test")]
    fn new(name: &'static str) -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap();
        Self { name, pair, rng }
    }

    fn spki(&self) -> Vec<u8> {
        const PREFIX: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
        let prefix = (0..PREFIX.len()).step_by(2);
        let mut spki: Vec<u8> = prefix
            .map(|at| u8::from_str_radix(&PREFIX[at..at + 2], 16).unwrap())
            .collect();
        spki.extend_from_slice(self.pair.public_key().as_ref());
        spki
    }

    fn key(&self) -> Sha256 {
        Sha256::of(&self.spki())
    }

    fn sign(&self, request: &mut SubjectRequest) {
        let signature = self.pair.sign(&self.rng, request.signed_bytes()).unwrap();
        request.sign(self.spki(), signature.as_ref().to_vec()).unwrap();
    }

    fn calls<T>(&self, message: T) -> Request<T> {
        call(PeerId::Auditor(self.name.to_owned()), self.key(), message)
    }
}

fn call<T>(id: PeerId, spki_sha256: Sha256, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Peer {
        id,
        serial: Serial::from_bytes(&[1]),
        spki_sha256,
        cert_sha256: Sha256::of(b"certificate"),
        not_after: Micros::from_secs(2_000_000_000),
    });
    request
}

fn authority() -> ParticipantId {
    stranger()
}

/// Serves the log to the auditors of this directory.
fn service(ledger: &unefois_ledger::Ledger, auditors: &[&Auditor]) -> LedgerService {
    let known: Vec<(Sha256, String)> = auditors
        .iter()
        .map(|auditor| (auditor.key(), auditor.name.to_owned()))
        .collect();
    let lent = Lent {
        auditor: Arc::new(move |key| {
            known
                .iter()
                .find(|(known, _)| known == key)
                .map(|(_, name)| name.clone())
        }),
        ..lent()
    };
    LedgerService::new(vec![ledger.clone()], authority(), lent)
}

fn asked(exchange: &Exchange) -> DiscloseRequest {
    DiscloseRequest {
        exchange_id: exchange.id.to_string(),
        motive: "réclamation 2026-0412".to_owned(),
        ..DiscloseRequest::default()
    }
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: Reason) {
    let refusal = answer.expect_err("refused");
    assert_eq!(reason_of(&refusal), Some(reason), "{refusal:?}");
}

/// The salts given for one field of an entry.
fn salts(disclosed: &DisclosedEntry, field: CommittedField) -> Vec<(Salt, Vec<u8>)> {
    let of_field = disclosed.salts.iter().filter(|salt| salt.field() == field);
    of_field
        .map(|salt| {
            (
                Salt::from_bytes(salt.salt.clone().try_into().unwrap()),
                salt.value.clone(),
            )
        })
        .collect()
}

async fn only_an_auditor_with_a_motive_opens_an_exchange(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let auditor = Auditor::new("cnil-1");
    let service = service(&ledger, &[&auditor]);
    for peer in [producer(), authority()] {
        let request = call(PeerId::Participant(peer), auditor.key(), asked(&exchange));
        assert_refused(service.disclose(request).await, Reason::NotEntitled);
    }
    assert_refused(
        service.disclose(Request::new(asked(&exchange))).await,
        Reason::NotEntitled,
    );
    for motive in [String::new(), " ".to_owned(), "a\nb".to_owned(), "m".repeat(513)] {
        let request = DiscloseRequest {
            motive,
            ..asked(&exchange)
        };
        assert_refused(
            service.disclose(auditor.calls(request)).await,
            Reason::InvalidRequest,
        );
    }
    let request = DiscloseRequest {
        exchange_id: "7".to_owned(),
        ..asked(&exchange)
    };
    assert_refused(
        service.disclose(auditor.calls(request)).await,
        Reason::InvalidRequest,
    );
    assert_eq!(events(&ledger).await, [Event::Refused], "nothing was asked");
}

async fn what_cannot_be_recorded_is_not_disclosed(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let auditor = Auditor::new("cnil-1");
    let service = service(&ledger, &[&auditor]);
    Raw::open(&scene.database).await.break_head().await;
    let refused = service.disclose(auditor.calls(asked(&exchange))).await;
    assert_refused(refused, Reason::LedgerUnavailable);
}

async fn one_exchange_is_opened_and_no_other(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    // Under the same handle, in the same month: the same secret.
    let other = exchange.given.log(&scene, &ledger, true).await;
    let auditor = Auditor::new("cnil-1");
    let service = service(&ledger, &[&auditor]);
    let answer = service
        .disclose(auditor.calls(asked(&exchange)))
        .await
        .expect("disclosed")
        .into_inner();

    let [disclosed] = &answer.entries[..] else {
        panic!("one entry: {answer:?}")
    };
    let proved = disclosed.proved.as_ref().unwrap();
    let receipt: Receipt = proved.proof.parse().unwrap();
    receipt
        .verify(&Hash::of_leaf(&proved.entry), &verifier(1))
        .expect("proved");
    let entry = Entry::decode(&proved.entry).unwrap();
    assert_eq!(entry.exchange_id, Some(exchange.id));
    assert!(!disclosed.erased);
    let handle = exchange.given.handle.as_bytes();
    for (name, field, value, commit) in [
        (
            CommittedField::Grant,
            Field::Grant,
            &handle[..],
            entry.grant_commit,
        ),
        (
            CommittedField::Dossier,
            Field::Dossier,
            b"2026-0412",
            entry.dossier_commit,
        ),
    ] {
        let [(salt, _)] = &salts(disclosed, name)[..] else {
            panic!("one salt of {name:?}")
        };
        assert_eq!(Some(salt.commit(field, value)), commit);
        let others = [
            other.receipt.entry().grant_commit,
            other.receipt.entry().dossier_commit,
        ];
        assert!(
            !others.contains(&Some(salt.commit(field, value))),
            "the other exchange stays shut"
        );
    }
    let [(salt, body)] = &salts(disclosed, CommittedField::Evidence)[..] else {
        panic!("evidence")
    };
    assert_eq!(Some(salt.commit(Field::Evidence, body)), entry.evidence_commit);
    assert_eq!(*body, exchange.evidence);
    // Neither the secret nor its like leaves.
    let secret = exchange.given.secret.as_bytes();
    assert!(disclosed.salts.iter().all(|salt| salt.salt != secret));

    assert_eq!(answer.queried, 2);
    assert_eq!(events(&ledger).await.last(), Some(&Event::Queried));
    let record = announced(&scene, &ledger).await;
    assert!(record.contains("\nkind disclose\n"), "{record}");
    assert!(
        record.contains(&format!(
            "\nwhat {}\npurpose réclamation 2026-0412\n",
            exchange.id
        )),
        "{record}"
    );
    let nothing = DiscloseRequest {
        exchange_id: scene.exchange().to_string(),
        ..asked(&exchange)
    };
    let nothing = service
        .disclose(auditor.calls(nothing))
        .await
        .expect("recorded")
        .into_inner();
    assert_eq!(nothing.entries, []);
}

async fn the_proof_of_a_withdrawal_opens_its_handle_and_nothing_else_does(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let (handle, secret) = (exchange.given.handle, exchange.given.secret.clone());
    let now = scene.clock.now();
    let month = now.month();
    let kept: Vec<SecretRow> = [-2, -1, 1, 2]
        .into_iter()
        .map(|months| SecretRow {
            month: month.plus(months),
            unit: handle.unit(),
            mac: ledger.node_key().handle_key(&handle),
            secret: GrantSecret::draw(&*scene.random),
        })
        .collect();
    let mut tx = scene.db.begin().await.unwrap();
    secret_insert(&mut tx, &kept).await.unwrap();
    tx.commit().await.unwrap();
    let effect = |withdrawal| Effect {
        record: Record {
            place: RecordPlace { epoch: 1, seq: 1 },
            withdrawal,
            at: now,
        },
        operator: None,
        effective_at: now,
        logs: Vec::new(),
    };
    let id = scene.exchange();
    let about = About {
        handle: Some(handle),
        secret: Some((month, secret.clone())),
        ..About::default()
    };
    let of_handle = Entry {
        exchange_id: Some(id),
        grant_commit: Some(secret.commit(&id, Field::Grant, handle.as_bytes())),
        ..Entry::new(Event::Effective, now)
    };
    let proof = effect(Withdrawal::Grant(handle)).to_bytes();
    let of_handle = ledger.append(Draft::new(of_handle).about(about).evidence(proof.clone()));
    let of_handle = of_handle.await.unwrap().index();
    let of_all =
        Draft::new(Entry::new(Event::Effective, now)).evidence(effect(Withdrawal::AllBefore).to_bytes());
    let of_all = ledger.append(of_all).await.unwrap().index();
    let auditor = Auditor::new("cnil-1");
    let service = service(&ledger, &[&auditor]);
    let opened = async |exchange_id: String, index: Option<u64>| {
        let request = DiscloseRequest {
            exchange_id,
            index,
            ..asked(&exchange)
        };
        Ok::<_, Status>(
            service
                .disclose(auditor.calls(request))
                .await?
                .into_inner()
                .entries,
        )
    };
    assert_refused(opened(String::new(), None).await, Reason::InvalidRequest);
    // A place of another exchange, of none that is a proof, and beyond the log.
    for (id, index) in [
        (exchange.id.to_string(), of_handle),
        (String::new(), of_handle),
        (String::new(), 0),
    ] {
        assert_eq!(opened(id, Some(index)).await.unwrap(), []);
    }
    let queried = ledger.head().size - 1;
    assert_eq!(opened(String::new(), Some(queried)).await.unwrap(), []);
    assert_eq!(opened(id.to_string(), Some(9_000)).await.unwrap(), []);

    let all = opened(exchange.id.to_string(), None).await.unwrap();
    assert_eq!(
        (all.len(), &all[0].secrets),
        (1, &Vec::new()),
        "an exchange gives salts"
    );
    for index in [None, Some(of_handle)] {
        let [disclosed] = &opened(id.to_string(), index).await.unwrap()[..] else {
            panic!("one entry")
        };
        let [(salt, body)] = &salts(disclosed, CommittedField::Evidence)[..] else {
            panic!("the proof")
        };
        let entry = Entry::decode(&disclosed.proved.as_ref().unwrap().entry).unwrap();
        assert_eq!(Some(salt.commit(Field::Evidence, body)), entry.evidence_commit);
        assert_eq!((body, disclosed.erased), (&proof, false));
        let given: Vec<(i32, &[u8])> = (disclosed.secrets.iter())
            .map(|given| (given.month, &given.secret[..]))
            .collect();
        let ordinal = month.ordinal();
        assert_eq!(
            given,
            [
                (ordinal - 1, &kept[1].secret.as_bytes()[..]),
                (ordinal, &secret.as_bytes()[..]),
                (ordinal + 1, &kept[2].secret.as_bytes()[..]),
            ]
        );
    }
    let record = announced(&scene, &ledger).await;
    assert!(
        record.contains(&format!("\nwhat {id} place {of_handle}\n")),
        "{record}"
    );
    let [disclosed] = &opened(String::new(), Some(of_all)).await.unwrap()[..] else {
        panic!("one entry")
    };
    assert_eq!(
        (disclosed.salts.len(), disclosed.secrets.len(), disclosed.erased),
        (1, 0, false)
    );
    let record = announced(&scene, &ledger).await;
    assert!(record.contains(&format!("\nwhat place {of_all}\n")), "{record}");
}

async fn an_erased_exchange_is_said_to_be(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let start = scene.clock.now();
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    turn(&scene, start, 37);
    Retention::new(ledger.clone())
        .run(scene.clock.now())
        .await
        .expect("erased");
    let auditor = Auditor::new("cnil-1");
    let answer = service(&ledger, &[&auditor])
        .disclose(auditor.calls(asked(&exchange)))
        .await;
    let answer = answer.expect("recorded").into_inner();
    assert_eq!(
        (answer.entries[0].erased, answer.entries[0].salts.len()),
        (true, 0)
    );
    let proved = answer.entries[0].proved.as_ref().unwrap();
    let receipt: Receipt = proved.proof.parse().unwrap();
    receipt
        .verify(&Hash::of_leaf(&proved.entry), &verifier(1))
        .expect("proved still");
}

async fn a_person_is_found_for_two_auditors_alone(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    let exchange = Exchange::now(&scene, &one, LegalBasis::Request).await;
    scene.clock.forward_ms(1);
    let again = exchange.given.log(&scene, &two, true).await;
    Exchange::now(&scene, &one, LegalBasis::Request).await;
    let (first, second, third) = (
        Auditor::new("cnil-1"),
        Auditor::new("cnil-2"),
        Auditor::new("cnil-3"),
    );
    let service = service(&one, &[&first, &second]);
    let request = |by: &[&Auditor]| {
        let question = SubjectQuestion {
            participant: producer(),
            person: exchange.given.person.clone(),
            motive: "réclamation 2026-0412".to_owned(),
            issued: scene.clock.now(),
            nonce: [7; 16],
        };
        let mut request = question.request().unwrap();
        by.iter().for_each(|auditor| auditor.sign(&mut request));
        request.to_string()
    };
    let ask = |text: &str| SearchSubjectRequest {
        request: text.to_owned(),
        ..SearchSubjectRequest::default()
    };
    let both = request(&[&first, &second]);
    for (text, reason) in [
        (String::new(), Reason::InvalidRequest),
        (
            both.replace("motive réclamation 2026-0412", "motive "),
            Reason::InvalidRequest,
        ),
        (request(&[&first]), Reason::NotEntitled),
        (request(&[&first, &third]), Reason::NotEntitled),
        (both.replace("2026-0412", "2026-0413"), Reason::NotEntitled),
    ] {
        assert_refused(service.search_subject(first.calls(ask(&text))).await, reason);
    }
    // A third auditor cannot use what two others signed, nor can a participant.
    assert_refused(
        service.search_subject(third.calls(ask(&both))).await,
        Reason::NotEntitled,
    );
    let peer = call(PeerId::Participant(producer()), first.key(), ask(&both));
    assert_refused(service.search_subject(peer).await, Reason::NotEntitled);
    let refusal = service
        .search_subject(Request::new(ask(&both)))
        .await
        .expect_err("no certificate");
    assert_ne!(refusal.code(), Code::Ok);
    assert_eq!(events(&one).await, [Event::Refused; 2], "nobody was looked up");

    let found = service
        .search_subject(second.calls(ask(&both)))
        .await
        .expect("found")
        .into_inner();
    let ids: Vec<_> = (found.entries.iter())
        .map(|proved| {
            let shard = if proved.origin.ends_with("/1") { 1 } else { 2 };
            let receipt: Receipt = proved.proof.parse().unwrap();
            receipt
                .verify(&Hash::of_leaf(&proved.entry), &verifier(shard))
                .expect("proved");
            Entry::decode(&proved.entry).unwrap().exchange_id
        })
        .collect();
    assert_eq!(ids, [Some(exchange.id), Some(again.id)]);
    let record = announced(&scene, &one).await;
    for part in [
        "\nkind subject\n".to_owned(),
        format!(" keys {} {}\n", first.key(), second.key()),
        "\npurpose réclamation 2026-0412\n".to_owned(),
    ] {
        assert!(record.contains(&part), "{record}");
    }

    scene.clock.forward_ms(3_600_001);
    assert_refused(
        service.search_subject(first.calls(ask(&both))).await,
        Reason::NotEntitled,
    );
}
