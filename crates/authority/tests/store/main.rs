//! What the authority stores, on both databases: races and refusals first.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod log;
mod mandate;
mod opposition;

use database::TestDatabase;
use unefois_core::revocation::{Extent, Head, RecordPlace, SignedRecords, Withdrawal, Withdrawals};
use unefois_core::{
    Acr, Capacity, Handle, Micros, OfficerAssurance, ParticipantId, RevocationView, Sha256, Siret,
    WithdrawnBy,
};
use unefois_store::authority::effect::{self, Written};
use unefois_store::authority::grant::{self, Bearer, Code, CodeUse, Element, Grant};
use unefois_store::authority::narrow::{Narrowing, narrow};
use unefois_store::authority::officer::{self, OfficerSaid};
use unefois_store::authority::person::{Kept, Said};
use unefois_store::authority::request::{self, Interaction};
use unefois_store::authority::revocation;
use unefois_store::authority::session::{self, Attempt, Holder, Login, OfficerLogin};
use unefois_store::authority::{GrantId, OfficerUid, PersonUid, person, restored};
use unefois_store::{Component, Db, Tx};

both_databases![
    a_code_is_used_once_whoever_races,
    a_request_and_a_state_are_taken_once,
    a_grant_shows_its_withdrawal_or_an_earlier_head,
    a_withdrawal_waits_for_its_entry,
    a_subject_leads_to_one_account,
    a_session_ends_with_its_logins,
    an_officer_is_of_one_body_and_nobody_s_account,
    what_has_expired_is_swept,
];

const CLIENT: &str = "urn:unefois:participant:21920023500014";

fn at(ms: i64) -> Micros {
    Micros::new(1_795_512_305_000_000).plus_ms(ms)
}

fn client() -> ParticipantId {
    CLIENT.parse().unwrap()
}

fn handle(n: u8) -> Handle {
    Handle::from_bytes([n; 16])
}

fn hash(n: u8) -> Sha256 {
    Sha256::of(&[n])
}

async fn open(database: &TestDatabase) -> Db {
    Db::open(database.url(), Component::Authority).await.unwrap()
}

/// Writes a person with a grant of these handles.
async fn granted(db: &Db, n: u8, handles: &[u8]) -> GrantId {
    let mut tx = db.begin().await.unwrap();
    let uid = PersonUid::from_bytes([n; 16]);
    person::person_insert(&mut tx, &uid, at(0)).await.unwrap();
    let grant = Grant {
        id: GrantId::from_bytes([n; 16]),
        person: uid,
        client: client(),
        act_client: None,
        capacity: Capacity::SelfPerson,
        acr: Acr::Eidas1,
        auth_time: 1,
        idp_iss: "https://fc.example".to_owned(),
        pivot_digest: hash(n),
        subject_unbound: Some("un motif".to_owned()),
        demarche: None,
        proactive: false,
        by: None,
        granted_at: at(0),
        ends_at: at(1_000),
    };
    let elements: Vec<Element> = handles
        .iter()
        .map(|n| Element {
            handle: handle(*n),
            details: format!("{{\"n\":{n}}}"),
            left_out: vec!["adresse".parse().unwrap(), "composition".parse().unwrap()],
            withdrawn: None,
            followed_by: None,
        })
        .collect();
    grant::grant_insert(&mut tx, &grant, &elements).await.unwrap();
    tx.commit().await.unwrap();
    grant.id
}

async fn take_epoch(db: &Db) -> Head {
    let mut tx = db.begin().await.unwrap();
    let (head, _) = revocation::epoch_take(&mut tx, 1_000, at(0)).await.unwrap();
    tx.commit().await.unwrap();
    head
}

async fn withdraw(db: &Db, epoch: u64, handles: &[u8]) -> Option<Head> {
    let mut tx = db.begin().await.unwrap();
    let handles: Vec<_> = handles
        .iter()
        .map(|n| (handle(*n), WithdrawnBy::Person))
        .collect();
    let done = revocation::withdraw(&mut tx, epoch, &handles, at(5))
        .await
        .unwrap();
    let (_, head) = done?;
    tx.commit().await.unwrap();
    Some(head)
}

async fn use_code(db: &Db, client: &ParticipantId, publisher: Option<&ParticipantId>) -> CodeUse {
    let mut tx = db.begin().await.unwrap();
    let by = Bearer { client, publisher };
    let used = grant::code_use(&mut tx, &hash(1), by, at(1)).await.unwrap();
    tx.commit().await.unwrap();
    used
}

async fn a_code_is_used_once_whoever_races(database: TestDatabase) {
    let db = open(&database).await;
    let id = granted(&db, 1, &[1]).await;
    let code = Code {
        redirect_uri: "https://commune.example/retour".to_owned(),
        challenge: hash(9),
        expires_at: at(30_000),
    };
    let mut tx = db.begin().await.unwrap();
    grant::code_insert(&mut tx, &hash(1), &id, &client(), &code)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let other = "urn:unefois:participant:13000495500014".parse().unwrap();
    assert!(matches!(use_code(&db, &other, None).await, CodeUse::Unknown));
    assert!(matches!(
        use_code(&db, &client(), Some(&other)).await,
        CodeUse::Unknown
    ));
    let uses = futures_util::future::join_all((0..8).map(|_| {
        let db = db.clone();
        async move { use_code(&db, &client(), None).await }
    }));
    let uses = uses.await;
    let first: Vec<_> = uses
        .iter()
        .filter(|u| matches!(u, CodeUse::First(_, c) if *c == code))
        .collect();
    let again = uses
        .iter()
        .filter(|u| matches!(u, CodeUse::Again(grant) if *grant == id))
        .count();
    assert_eq!((first.len(), again), (1, 7));
    for (client, publisher) in [(&other, None), (&client(), Some(&other))] {
        let used = use_code(&db, client, publisher).await;
        assert!(matches!(used, CodeUse::Again(grant) if grant == id), "{used:?}");
    }
}

async fn a_request_and_a_state_are_taken_once(database: TestDatabase) {
    let db = open(&database).await;
    let mut tx = db.begin().await.unwrap();
    request::pushed_insert(&mut tx, &hash(1), &client(), "{}", at(60_000))
        .await
        .unwrap();
    let attempt = Attempt {
        session_hash: hash(2),
        issuer: "fc".to_owned(),
        nonce: "n".to_owned(),
        next: "/".to_owned(),
        wanted: "eidas2".to_owned(),
        created_at: at(0),
    };
    session::attempt_insert(&mut tx, &hash(3), &attempt)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let other = "urn:unefois:participant:13000495500014".parse().unwrap();
    let mut tx = db.begin().await.unwrap();
    assert_eq!(
        request::pushed_take(&mut tx, &hash(1), &other, at(0))
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        request::pushed_take(&mut tx, &hash(1), &client(), at(60_000))
            .await
            .unwrap(),
        None,
        "expired"
    );
    tx.commit().await.unwrap();
    let takes = futures_util::future::join_all((0..8).map(|_| {
        let db = db.clone();
        async move {
            let mut tx = db.begin().await.unwrap();
            let body = request::pushed_take(&mut tx, &hash(1), &client(), at(1))
                .await
                .unwrap();
            let state = session::attempt_take(&mut tx, &hash(3)).await.unwrap();
            tx.commit().await.unwrap();
            (body.is_some(), state == Some(attempt_of(&hash(2))))
        }
    }));
    let takes = takes.await;
    assert_eq!(takes.iter().filter(|(body, _)| *body).count(), 1);
    assert_eq!(takes.iter().filter(|(_, state)| *state).count(), 1);

    let interaction = Interaction {
        session_hash: hash(2),
        link_hash: None,
        body: "{}".to_owned(),
    };
    let mut tx = db.begin().await.unwrap();
    request::interaction_insert(&mut tx, &[1; 16], &interaction, at(10))
        .await
        .unwrap();
    request::interaction_move(&mut tx, &hash(2), &hash(4))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(
        request::interaction_find(&db, &[1; 16], at(10))
            .await
            .unwrap()
            .is_none()
    );
    let found = request::interaction_find(&db, &[1; 16], at(9))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.session_hash, hash(4));
    let mut tx = db.begin().await.unwrap();
    assert!(
        request::interaction_answer(&mut tx, &[1; 16], at(1))
            .await
            .unwrap()
    );
    assert!(
        !request::interaction_answer(&mut tx, &[1; 16], at(1))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();

    // Several open what a link leads to: one answers.
    let linked = |n: u8| Interaction {
        session_hash: hash(n),
        link_hash: Some(hash(9)),
        body: "{}".to_owned(),
    };
    let mut tx = db.begin().await.unwrap();
    request::link_insert(&mut tx, &hash(9), &client(), "{}", at(20))
        .await
        .unwrap();
    for n in 2..=5 {
        request::interaction_insert(&mut tx, &[n; 16], &linked(n), at(30))
            .await
            .unwrap();
    }
    request::interaction_close(&mut tx, &[2; 16]).await.unwrap();
    tx.commit().await.unwrap();
    let open = async |at| {
        request::interaction_find(&db, &[3; 16], at)
            .await
            .unwrap()
            .is_some()
    };
    assert_eq!(
        (open(at(19)).await, open(at(20)).await),
        (true, false),
        "no longer than its link"
    );
    let answer = |n: u8, at| {
        let db = db.clone();
        async move {
            let mut tx = db.begin().await.unwrap();
            let answered = request::interaction_answer(&mut tx, &[n; 16], at).await.unwrap();
            tx.commit().await.unwrap();
            answered
        }
    };
    assert!(!answer(2, at(19)).await, "closed without an answer");
    assert!(!answer(3, at(20)).await, "the link's time is over");
    let both = tokio::join!(answer(4, at(19)), answer(5, at(19)));
    assert!(both.0 != both.1, "{both:?}");
    assert!(
        request::link_find(&db, &hash(9), &client(), at(1))
            .await
            .unwrap()
            .is_none()
    );
}

fn attempt_of(session_hash: &Sha256) -> Attempt {
    Attempt {
        session_hash: *session_hash,
        issuer: "fc".to_owned(),
        nonce: "n".to_owned(),
        next: "/".to_owned(),
        wanted: "eidas2".to_owned(),
        created_at: at(0),
    }
}

async fn a_grant_shows_its_withdrawal_or_an_earlier_head(database: TestDatabase) {
    let db = open(&database).await;
    let id = granted(&db, 1, &[1, 2]).await;
    granted(&db, 2, &[3]).await;
    let epoch = take_epoch(&db).await.epoch;
    let reader = db.clone();
    let readers = async move {
        loop {
            let (row, head) = grant::grant_at_head(&reader, &id).await.unwrap().unwrap();
            let places: Vec<_> = row
                .elements
                .iter()
                .map(|e| e.withdrawn.as_ref().map(|w| w.place))
                .collect();
            // What is withdrawn lies at or before the head read with it; what is not will lie after it.
            for place in places.iter().flatten() {
                assert!(*place <= head, "{places:?} {head:?}");
            }
            if head.seq == 2 {
                return places;
            }
            assert_eq!((head.seq, places), (0, vec![None, None]));
        }
    };
    let (places, head) = tokio::join!(readers, withdraw(&db, epoch, &[1, 2]));
    assert_eq!(head.unwrap().seq, 2);
    let place = |seq| Some(RevocationView { epoch, seq });
    assert_eq!(places, [place(1), place(2)]);

    let list = grant::grant_list(&db, &PersonUid::from_bytes([1; 16]), at(0))
        .await
        .unwrap();
    assert_eq!((list.len(), list[0].elements.len()), (1, 2));
    assert_eq!(list[0].grant.subject_unbound.as_deref(), Some("un motif"));
    let other = "urn:unefois:participant:13000495500014".parse().unwrap();
    for (participant, named) in [(client(), true), (other, false)] {
        assert_eq!(grant::grant_names(&db, &participant).await.unwrap(), named);
    }
    let left_out: Vec<&str> = list[0].elements[0]
        .left_out
        .iter()
        .map(|unit| unit.as_str())
        .collect();
    assert_eq!(left_out, ["adresse", "composition"]);
    let withdrawn = list[0].elements[0].withdrawn.as_ref().unwrap();
    assert_eq!((withdrawn.by, withdrawn.at), (WithdrawnBy::Person, at(5)));
    assert!(
        grant::grant_at_head(&db, &GrantId::from_bytes([9; 16]))
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_withdrawal_waits_for_its_entry(database: TestDatabase) {
    let db = open(&database).await;
    let id = granted(&db, 1, &[1, 2]).await;
    let epoch = take_epoch(&db).await.epoch;
    withdraw(&db, epoch, &[1]).await.unwrap();
    let waiting_after = async |before, after| {
        let rows = grant::withdrawal_unlogged(&db, before, after).await.unwrap();
        let elements = rows.into_iter().map(|(seq, read)| {
            let (grant, element) = read.unwrap();
            (seq, grant.id, element.handle)
        });
        elements.collect::<Vec<_>>()
    };
    let waiting = async |before| waiting_after(before, 0).await;
    assert_eq!(waiting(at(5)).await, [], "whoever withdrew it is still at it");
    assert_eq!(waiting(at(6)).await, [(1, id, handle(1))]);
    assert_eq!(waiting_after(at(6), 1).await, []);
    let mut tx = db.begin().await.unwrap();
    grant::withdrawal_logged(&mut tx, &handle(1), at(7))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(waiting(at(6)).await, []);
}

async fn a_subject_leads_to_one_account(database: TestDatabase) {
    let db = open(&database).await;
    let (one, two) = (PersonUid::from_bytes([1; 16]), PersonUid::from_bytes([2; 16]));
    let mut tx = db.begin().await.unwrap();
    for uid in [&one, &two] {
        person::person_insert(&mut tx, uid, at(0)).await.unwrap();
    }
    let digest = hash(1);
    let said = Said {
        iss: "fc",
        sub: "s",
        pivot: &digest,
    };
    assert!(!person::subject_known(&mut tx, "fc", "s").await.unwrap());
    assert!(person::identity_insert(&mut tx, said, &one, at(0)).await.unwrap());
    assert!(!person::identity_insert(&mut tx, said, &two, at(0)).await.unwrap());
    let find = async |tx: &mut Tx, said| person::identity_find(tx, said).await.unwrap();
    assert_eq!(find(&mut tx, said).await, Some(one));
    assert_eq!(find(&mut tx, Said { iss: "fcp", ..said }).await, None);
    let changed = Said {
        pivot: &hash(2),
        ..said
    };
    assert_eq!(find(&mut tx, changed).await, None, "another identity");
    assert!(person::subject_known(&mut tx, "fc", "s").await.unwrap());

    assert_eq!(person::pivot_find(&mut tx, &digest).await.unwrap(), [one]);
    let other = Said { sub: "t", ..said };
    assert!(
        person::identity_insert(&mut tx, other, &two, at(0))
            .await
            .unwrap()
    );
    assert_eq!(person::pivot_find(&mut tx, &digest).await.unwrap().len(), 2);
    for sealed in [b"first".as_slice(), b"second"] {
        let kept = Kept {
            digest: &digest,
            near: &hash(9),
            sealed,
        };
        person::pivot_put(&mut tx, &one, kept, at(0)).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(
        person::pivot_sealed(&db, &one, &digest).await.unwrap().unwrap(),
        b"second"
    );
    assert_eq!(person::pivot_sealed(&db, &one, &hash(2)).await.unwrap(), None);
}

async fn begin_session(tx: &mut Tx, id: &Sha256) {
    let uid = PersonUid::from_bytes([1; 16]);
    let login = Login {
        person: uid,
        idp_iss: "https://fc.example".to_owned(),
        acr: Acr::Eidas1,
        auth_time: 7,
        pivot_digest: hash(8),
        id_token: b"sealed".to_vec(),
    };
    session::session_insert(tx, id, Some(&Holder::Person(login)), at(0))
        .await
        .unwrap();
}

async fn a_session_ends_with_its_logins(database: TestDatabase) {
    let db = open(&database).await;
    let mut tx = db.begin().await.unwrap();
    person::person_insert(&mut tx, &PersonUid::from_bytes([1; 16]), at(0))
        .await
        .unwrap();
    begin_session(&mut tx, &hash(1)).await;
    session::session_insert(&mut tx, &hash(2), None, at(0))
        .await
        .unwrap();
    session::attempt_insert(&mut tx, &hash(3), &attempt_of(&hash(1)))
        .await
        .unwrap();
    session::session_touch(&mut tx, &hash(1), at(9)).await.unwrap();
    session::session_touch(&mut tx, &hash(1), at(5)).await.unwrap();
    tx.commit().await.unwrap();
    let found = session::session_find(&db, &hash(1)).await.unwrap().unwrap();
    assert_eq!(found.seen_at, at(9));
    assert!(matches!(found.holder, Some(Holder::Person(login)) if login.pivot_digest == hash(8)));
    assert!(
        session::session_find(&db, &hash(2))
            .await
            .unwrap()
            .unwrap()
            .holder
            .is_none()
    );

    let mut tx = db.begin().await.unwrap();
    session::session_delete(&mut tx, &hash(1)).await.unwrap();
    assert_eq!(session::attempt_take(&mut tx, &hash(3)).await.unwrap(), None);
    tx.commit().await.unwrap();
    assert!(session::session_find(&db, &hash(1)).await.unwrap().is_none());
}

async fn an_officer_is_of_one_body_and_nobody_s_account(database: TestDatabase) {
    let db = open(&database).await;
    let siret: Siret = "21920023500014".parse().unwrap();
    let said = OfficerSaid {
        iss: "https://pro.example",
        sub: "s",
        siret: &siret,
    };
    let [uid, other] = [1, 2].map(|n| OfficerUid::from_bytes([n; 16]));
    let mut tx = db.begin().await.unwrap();
    assert_eq!(officer::officer_find(&mut tx, said).await.unwrap(), None);
    let put = async |tx: &mut Tx, uid, said, profile: &[u8]| {
        officer::officer_put(tx, uid, said, profile, at(3)).await.unwrap()
    };
    assert!(put(&mut tx, &uid, said, b"first").await);
    assert!(
        !put(&mut tx, &other, said, b"raced").await,
        "it is somebody's already"
    );
    assert!(put(&mut tx, &uid, said, b"second").await);
    let elsewhere = OfficerSaid {
        siret: &"13000495500014".parse().unwrap(),
        ..said
    };
    assert_eq!(officer::officer_find(&mut tx, elsewhere).await.unwrap(), None);
    assert!(put(&mut tx, &other, elsewhere, b"elsewhere").await);
    assert!(!person::subject_known(&mut tx, said.iss, said.sub).await.unwrap());

    let login = OfficerLogin {
        officer: uid,
        idp_iss: said.iss.to_owned(),
        siret,
        assurance: OfficerAssurance::Certified,
        auth_time: 7,
        profile: b"not written here".to_vec(),
        id_token: b"sealed".to_vec(),
    };
    session::session_insert(&mut tx, &hash(1), Some(&Holder::Officer(login)), at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = session::session_find(&db, &hash(1)).await.unwrap().unwrap();
    let found = match found.holder {
        Some(Holder::Officer(found)) => Some(found),
        Some(Holder::Person(_)) | None => None,
    }
    .unwrap();
    assert_eq!((found.officer, found.siret, found.auth_time), (uid, siret, 7));
    assert_eq!(found.assurance, OfficerAssurance::Certified);
    assert_eq!(found.profile, b"second");
}

async fn what_has_expired_is_swept(database: TestDatabase) {
    let db = open(&database).await;
    let id = granted(&db, 1, &[1]).await;
    let mut tx = db.begin().await.unwrap();
    session::session_insert(&mut tx, &hash(1), None, at(0))
        .await
        .unwrap();
    request::pushed_insert(&mut tx, &hash(1), &client(), "{}", at(10))
        .await
        .unwrap();
    grant::refresh_insert(&mut tx, &hash(1), &id, &client(), at(10))
        .await
        .unwrap();
    assert_eq!(request::subject_try(&mut tx, &hash(1), 3).await.unwrap(), 1);
    assert_eq!(request::subject_try(&mut tx, &hash(1), 3).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let (client, publisher) = (
        client(),
        "urn:unefois:participant:13000495500014".parse().unwrap(),
    );
    for (publisher, now, found) in [(None, 9, Some(id)), (None, 10, None), (Some(&publisher), 9, None)] {
        let by = Bearer {
            client: &client,
            publisher,
        };
        let grant = grant::refresh_find(&db, &hash(1), by, at(now)).await.unwrap();
        assert_eq!(grant, found);
    }

    let mut tx = db.begin().await.unwrap();
    assert_eq!(session::session_sweep(&mut tx, at(0)).await.unwrap(), 0);
    assert_eq!(request::request_sweep(&mut tx, at(9), 3).await.unwrap(), 0);
    assert_eq!(grant::token_sweep(&mut tx, at(10)).await.unwrap(), 0);
    assert_eq!(session::session_sweep(&mut tx, at(1)).await.unwrap(), 1);
    assert_eq!(request::request_sweep(&mut tx, at(10), 4).await.unwrap(), 2);
    assert_eq!(grant::token_sweep(&mut tx, at(11)).await.unwrap(), 1);
}
