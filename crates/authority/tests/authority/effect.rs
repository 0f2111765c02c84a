//! What a person reads of a withdrawal until it is effective, and the proof that they take home.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::commitment::{Field, Salt};
use unefois_core::effect::{Effect, LogLine, Standing};
use unefois_core::revocation::Withdrawal;
use unefois_core::{Acr, Capacity, Entry, Event, Handle, Micros, Sha256, WithdrawnBy};
use unefois_store::authority::effect::{effect_insert, effect_read};
use unefois_store::authority::grant::{Element, Grant, grant_insert};
use unefois_store::authority::{GrantId, PersonUid, person, revocation};
use unefois_store::{Component, Db};
use unefois_tlog::{Hash, Receipt};

use crate::both_databases;
use crate::browser::{Browser, Page};
use crate::database::TestDatabase;
use crate::kit::{AUTHORITY, Kit, execute, set, until};
use crate::withdrawal::{Watch, logged, open, producer_checkpoint};

both_databases![
    i3_a_page_says_effective_only_once_that_is_proved,
    i3_what_the_asker_gives_back_is_said_to_be_over_once_that_is_proved,
    i3_a_limitation_is_said_to_be_effective_once_that_is_proved,
    a_grant_whose_code_came_twice_says_that_the_person_did_nothing,
    a_proof_is_offered_to_take_home_once_its_entry_is_written,
    an_acknowledgement_ends_the_wait_of_the_page,
    i3_a_proof_that_cannot_be_logged_stands_in_no_others_way,
    i3_an_element_that_does_not_read_stands_in_no_others_way,
    i3_a_grant_that_does_not_read_stands_in_no_others_way,
    a_withdrawal_that_cannot_be_logged_stands_in_no_others_way,
];

/// Grants what two producers hold; the grant's address.
async fn granted(kit: &Kit, browser: &mut Browser) -> String {
    let mut parameters = kit.parameters();
    let both = json!([kit.element(), kit.student()]).to_string();
    set(&mut parameters, "authorization_details", Some(both));
    let code = kit.grant(browser, &parameters, "").await;
    let answer = kit.redeem(&code).await;
    format!("/autorisations/{}", answer.json["grant_id"].as_str().unwrap())
}

/// Withdraws it; the page that the browser is led to.
async fn withdraw(browser: &mut Browser, grant: &str) -> String {
    let question = browser.get(&format!("{grant}/arreter")).await;
    assert_eq!(question.status, StatusCode::OK, "{}", question.body);
    let done = browser
        .post(&format!("{grant}/arreter"), &format!("csrf={}", question.csrf()))
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    done.location
}

fn json_of(page: &Page) -> Value {
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert_eq!(page.headers["cache-control"], "no-store");
    serde_json::from_str(&page.body).unwrap()
}

fn instant(told: &Value, name: &str) -> Micros {
    told[name].as_str().unwrap().parse().unwrap()
}

/// An authority that has just started says « en cours » to everybody, whoever has acknowledged: leases of the epoch before
/// may still last.
async fn i3_a_page_says_effective_only_once_that_is_proved(database: TestDatabase) {
    let kit = Kit::with(database, |document, _| document["lease_ms"] = json!(8_000)).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = watch.snapshot(&kit).await;
    let mut browser = kit.browser();
    let grant = granted(&kit, &mut browser).await;
    let (follow, file) = (format!("{grant}/effet"), format!("{grant}/preuve.json"));
    let mut second_tab = browser.copy();
    let second_question = second_tab.get(&format!("{grant}/arreter")).await;
    let mut stranger = kit.browser();
    kit.provider.says.lock().unwrap().sub = "somebody";
    kit.provider.says.lock().unwrap().identity["family_name"] = "MERCIER".into();
    stranger.follow("/fc/connexion").await;
    for path in [&follow, &file, &format!("{grant}/arretee")] {
        let of_another = stranger.get(path).await;
        assert_eq!(of_another.status, StatusCode::NOT_FOUND, "{path}");
        let nobody = kit.browser().get(path).await;
        assert_eq!(nobody.status, StatusCode::SEE_OTHER, "{path}");
    }
    assert_eq!(
        browser.get(&follow).await.status,
        StatusCode::NOT_FOUND,
        "in force"
    );
    assert_eq!(browser.get(&file).await.status, StatusCode::NOT_FOUND, "in force");

    watch.pong().await;
    let page = withdraw(&mut browser, &grant).await;
    watch.batch(&kit, &mut view).await;
    watch.acknowledge(view.head(), producer_checkpoint()).await;
    let told = browser.get(&page).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    assert!(told.body.contains("Retrait enregistré à"), "{}", told.body);
    assert!(told.body.contains(", en cours"), "{}", told.body);
    assert!(told.body.contains("/static/effect."), "it is followed");
    assert!(!told.body.contains("ffectif"), "{}", told.body);
    let english = browser.copy().get(&format!("{page}?lang=en")).await;
    assert!(english.body.contains("Withdrawal recorded at") && english.body.contains(", under way"));
    for path in ["/autorisations", &grant] {
        let seen = browser.get(path).await;
        assert!(!seen.body.contains("ffectif"), "{path}: {}", seen.body);
        assert!(seen.body.contains("en cours"), "{path}: {}", seen.body);
    }
    assert_eq!(
        browser.get(&file).await.status,
        StatusCode::NOT_FOUND,
        "not proved"
    );
    // As if the clock had run: the page does not pretend.
    kit.clock.pass(60_000);
    let late = browser.get(&page).await;
    assert!(late.body.contains("toujours en cours"), "{}", late.body);
    assert!(!late.body.contains("ffectif"), "{}", late.body);
    kit.clock.pass(-60_000);
    assert!(
        !kit.events().await.contains(&Event::Effective),
        "all that was before the proof"
    );

    // « Actualiser »: the answer waits for it, some seconds at most.
    let refresh = format!("{page}?attendre=oui");
    let told = until(async || {
        let told = browser.get(&refresh).await;
        told.body.contains("Retrait effectif").then_some(told)
    })
    .await;
    assert!(
        !told.body.contains("/static/effect."),
        "nothing is left to follow"
    );
    let stands = json_of(&browser.get(&follow).await);
    assert_eq!(stands["stage"], "effective");
    assert!(instant(&stands, "effective_at") >= instant(&stands, "recorded_at"));
    let in_english = json_of(&browser.get(&format!("{follow}?langue=en")).await);
    assert_eq!(in_english["words"]["time"], stands["words"]["time"]);
    assert!(
        in_english["words"]["before"]
            .as_str()
            .unwrap()
            .starts_with("Withdrawal effective")
    );

    let again = second_tab
        .post(
            &format!("{grant}/arreter"),
            &format!("csrf={}", second_question.csrf()),
        )
        .await;
    assert_eq!((again.status, &again.location), (StatusCode::SEE_OTHER, &page));
    assert_eq!(
        json_of(&second_tab.get(&follow).await),
        stands,
        "nothing has moved"
    );

    let list = browser.get("/autorisations").await;
    assert!(list.body.contains("Retrait effectif depuis le"), "{}", list.body);
    let detail = browser.get(&grant).await;
    for words in [
        "Retrait effectif depuis le",
        "1 registre sur 1 a confirmé",
        "aucun registre",
    ] {
        assert!(detail.body.contains(words), "{words}: {}", detail.body);
    }
    verified(&kit, &whole(&mut browser, &file).await, &stands).await;
    kit.stop().await;
}

/// The file, once the ledger holds the entries that commit to it.
async fn whole(browser: &mut Browser, file: &str) -> Value {
    until(async || {
        let read = json_of(&browser.get(file).await);
        let mut proofs = read["proofs"].as_array().unwrap().iter();
        proofs.all(|proof| !proof["receipt"].is_null()).then_some(read)
    })
    .await
}

/// Judges the file as anybody may who knows the log's key: no other word of the authority's counts.
async fn verified(kit: &Kit, file: &Value, stands: &Value) {
    let proofs = file["proofs"].as_array().unwrap();
    assert_eq!(proofs.len(), 2, "one an element: {file}");
    let mut last = Micros::new(0);
    for proof in proofs {
        let text = proof["effect"].as_str().unwrap();
        let effect = Effect::from_bytes(text.as_bytes()).unwrap();
        last = last.max(effect.effective_at);
        let bytes = |name: &str| STANDARD.decode(proof["receipt"][name].as_str().unwrap()).unwrap();
        let receipt: Receipt = proof["receipt"]["proof"].as_str().unwrap().parse().unwrap();
        let leaf = bytes("entry");
        receipt
            .verify(&Hash::of_leaf(&leaf), kit.running.ledger().verifier())
            .unwrap();
        let entry = Entry::decode(&leaf).unwrap();
        assert_eq!(entry.event, Event::Effective);
        let salt = Salt::from_bytes(bytes("salt").try_into().unwrap());
        assert_eq!(
            entry.evidence_commit,
            Some(salt.commit(Field::Evidence, text.as_bytes()))
        );
        match effect.logs.as_slice() {
            [line] => assert!(matches!(line.standing, Standing::Acknowledged { .. }), "{line:?}"),
            lines => assert_eq!(lines, [], "the other producer has no log"),
        }
    }
    assert_eq!(last, instant(stands, "effective_at"), "the latest of both");
}

/// Presses « Actualiser » on a page that says what is under way, until it no longer does, and asks where it stands: each
/// answer waits for that, some seconds at most.
async fn refreshed(browser: &mut Browser, page: &Page, grant: &str) -> Page {
    let (_, rest) = page.body.split_once("<p data-refresh>").expect("a button");
    let (_, rest) = rest.split_once("href=\"").unwrap();
    let refresh = rest.split('"').next().unwrap();
    until(async || {
        let told = browser.get(refresh).await;
        (!told.body.contains("data-refresh")).then_some(())
    })
    .await;
    browser.get(&format!("{grant}/effet")).await
}

async fn i3_what_the_asker_gives_back_is_said_to_be_over_once_that_is_proved(database: TestDatabase) {
    let kit = Kit::with(database, |document, _| document["lease_ms"] = json!(5_000)).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = watch.snapshot(&kit).await;
    let mut browser = kit.browser();
    let grant = granted(&kit, &mut browser).await;
    let id = grant.rsplit('/').next().unwrap();
    // From here on its lease alone holds the effect up.
    watch.pong().await;
    let back = kit.call(Method::DELETE, &format!("/as/grants/{id}"), "").await;
    assert_eq!(back.status, StatusCode::NO_CONTENT);
    watch.batch(&kit, &mut view).await;
    let under_way = browser.get(&grant).await;
    for words in ["Rendue", "Autorisation rendue à", ", en cours", "/static/effect."] {
        assert!(under_way.body.contains(words), "{words}: {}", under_way.body);
    }
    assert!(!under_way.body.contains("plus rien depuis"), "{}", under_way.body);

    watch.acknowledge(view.head(), producer_checkpoint()).await;
    let stands = json_of(&refreshed(&mut browser, &under_way, &grant).await);
    let detail = browser.get(&grant).await;
    let second = format!("à {}", stands["words"]["time"].as_str().unwrap());
    for words in ["plus rien depuis le", &second, "1 registre sur 1 a confirmé"] {
        assert!(detail.body.contains(words), "{words}: {}", detail.body);
    }
    kit.stop().await;
}

async fn i3_a_limitation_is_said_to_be_effective_once_that_is_proved(database: TestDatabase) {
    let kit = Kit::with(database, |document, _| document["lease_ms"] = json!(5_000)).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = watch.snapshot(&kit).await;
    let mut browser = kit.browser();
    let mut parameters = kit.parameters();
    let both = json!([kit.element(), kit.student()]).to_string();
    set(&mut parameters, "authorization_details", Some(both));
    let code = kit.grant(&mut browser, &parameters, "&e0.composition=1").await;
    let given = kit.redeem(&code).await;
    let grant = format!("/autorisations/{}", given.json["grant_id"].as_str().unwrap());
    let (limit, file) = (format!("{grant}/limiter"), format!("{grant}/preuve.json"));
    let fields = format!("csrf={}&p0=1&p1=1", browser.get(&limit).await.csrf());
    watch.pong().await;
    let done = browser.post(&limit, &fields).await;
    assert_eq!(
        (done.status, &done.location),
        (StatusCode::SEE_OTHER, &grant),
        "{}",
        done.body
    );
    watch.batch(&kit, &mut view).await;
    let told = browser.get(&grant).await;
    for words in [
        "Limitation enregistrée à",
        ", en cours",
        "Vous avez retiré",
        "Arrêter cette autorisation",
        "/static/effect.",
    ] {
        assert!(told.body.contains(words), "{words}: {}", told.body);
    }
    assert!(!told.body.contains("ffecti"), "{}", told.body);
    assert_eq!(browser.get(&file).await.status, StatusCode::NOT_FOUND);
    let of_a_stop = browser.get(&format!("{grant}/arretee")).await;
    assert_eq!(
        (of_a_stop.status, &of_a_stop.location),
        (StatusCode::SEE_OTHER, &grant),
        "it was not stopped"
    );

    watch.acknowledge(view.head(), producer_checkpoint()).await;
    let stands = json_of(&refreshed(&mut browser, &told, &grant).await);
    assert!(
        stands["words"]["before"]
            .as_str()
            .unwrap()
            .starts_with("Limitation effective")
    );
    let detail = browser.get(&grant).await;
    for words in [
        "Limitation effective depuis le",
        stands["words"]["time"].as_str().unwrap(),
        "Preuve de la limitation",
        "1 registre sur 1 a confirmé la limitation",
        "Arrêter cette autorisation",
    ] {
        assert!(detail.body.contains(words), "{words}: {}", detail.body);
    }
    assert!(!detail.body.contains("aucun registre"), "the other part stands");
    let proofs = json_of(&browser.get(&file).await);
    assert_eq!(proofs["proofs"].as_array().unwrap().len(), 1, "{proofs}");

    // Stopped after that, the page follows the stop.
    withdraw(&mut browser, &grant).await;
    let told = browser.get(&grant).await;
    assert!(told.body.contains("Retrait"), "{}", told.body);
    assert!(!told.body.contains("Limitation"), "{}", told.body);
    kit.stop().await;
}

async fn a_grant_whose_code_came_twice_says_that_the_person_did_nothing(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let given = kit.redeem(&code).await;
    assert_eq!(kit.redeem(&code).await.status, StatusCode::BAD_REQUEST);
    let grant = format!("/autorisations/{}", given.json["grant_id"].as_str().unwrap());
    for path in ["/autorisations", &grant] {
        let seen = browser.get(path).await.body;
        assert!(seen.contains("Arrêtée par sécurité"), "{path}: {seen}");
    }
    let english = browser.get(&format!("{grant}?lang=en")).await.body;
    assert!(english.contains("Stopped for security"), "{english}");
    assert!(english.contains("was presented twice"), "{english}");
    kit.stop().await;
}

async fn a_proof_is_offered_to_take_home_once_its_entry_is_written(database: TestDatabase) {
    let kit = Kit::with(database, |document, _| document["lease_ms"] = json!(5_000)).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = watch.snapshot(&kit).await;
    let mut browser = kit.browser();
    let grant = granted(&kit, &mut browser).await;
    withdraw(&mut browser, &grant).await;
    watch.batch(&kit, &mut view).await;
    kit.running.ledger().close().await;
    watch.acknowledge(view.head(), producer_checkpoint()).await;
    followed(&mut browser, &grant).await;
    let effective = browser.get(&grant).await.body;
    for words in ["Retrait effectif depuis", "Preuve du retrait", "sera proposé ici"] {
        assert!(effective.contains(words), "{words}: {effective}");
    }
    assert!(!effective.contains("preuve.json"), "{effective}");

    // The next start writes what has been missing for long enough.
    kit.clock.pass(11_000);
    let kit = kit.restart(|_, _| {}).await;
    let offered = until(async || {
        let page = browser.get(&format!("{grant}?attendre=oui")).await.body;
        page.contains("preuve.json").then_some(page)
    })
    .await;
    assert!(!offered.contains("sera proposé ici"), "{offered}");
    let file = json_of(&browser.get(&format!("{grant}/preuve.json")).await);
    let proofs = file["proofs"].as_array().unwrap();
    assert!(proofs.len() == 2 && proofs.iter().all(|proof| proof["receipt"].is_object()));
    kit.stop().await;
}

/// Asks as a script does, until it is effective.
async fn followed(browser: &mut Browser, grant: &str) {
    until(async || {
        let told = json_of(&browser.get(&format!("{grant}/effet")).await);
        (told["stage"] == "effective").then_some(())
    })
    .await;
}

/// A script's question is answered as soon as the proof is written, and not before.
async fn an_acknowledgement_ends_the_wait_of_the_page(database: TestDatabase) {
    let kit = Kit::with(database, |document, _| document["lease_ms"] = json!(5_000)).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = watch.snapshot(&kit).await;
    let mut browser = kit.browser();
    let grant = granted(&kit, &mut browser).await;
    let first = withdraw(&mut browser, &grant).await;
    watch.batch(&kit, &mut view).await;
    watch.acknowledge(view.head(), producer_checkpoint()).await;
    browser.get(&format!("{first}?attendre=oui")).await;
    // The start is over: from here on this lease alone counts.
    let other = granted(&kit, &mut browser).await;
    watch.pong().await;
    withdraw(&mut browser, &other).await;
    watch.batch(&kit, &mut view).await;
    let waiting = async { json_of(&browser.copy().get(&format!("{other}/effet")).await) };
    let told = async {
        watch.acknowledge(view.head(), producer_checkpoint()).await;
        watch.pong().await;
    };
    let (stands, ()) = tokio::join!(waiting, told);
    assert_eq!(stands["stage"], "effective", "{stands}");
    let file = json_of(&browser.get(&format!("{other}/preuve.json")).await);
    let effect: Value = serde_json::from_str(file["proofs"][0]["effect"].as_str().unwrap()).unwrap();
    assert_eq!(effect["logs"][0]["standing"]["state"], "acknowledged", "{effect}");
    kit.stop().await;
}

/// Writes the proofs of two records, both unlogged: the first is too large for the ledger.
async fn proved(url: &str) {
    let db = Db::open(url, Component::Authority).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let at = Micros::new(1_795_512_305_000_000);
    let (head, _) = revocation::epoch_take(&mut tx, 1_000, at).await.unwrap();
    let withdrawals = vec![Withdrawal::SigningKey("kid".to_owned()); 2];
    let written = revocation::record(&mut tx, head.epoch, withdrawals, at).await;
    let (records, _) = written.unwrap().unwrap();
    for (record, origin) in records.into_iter().zip(["x".repeat(2 << 20), "x".to_owned()]) {
        let seq = record.place.seq;
        let effect = Effect {
            record,
            operator: None,
            effective_at: at,
            logs: vec![LogLine {
                participant: AUTHORITY.parse().unwrap(),
                origin,
                boot: None,
                standing: Standing::Absent,
            }],
        };
        effect_insert(&mut tx, head.epoch, seq, at, &effect.to_bytes())
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    db.close().await;
}

async fn i3_a_proof_that_cannot_be_logged_stands_in_no_others_way(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let proofs = |database: &TestDatabase| {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(proved(database.url())));
    };
    let kit = kit.restart(|_, database| proofs(database)).await;
    logged(&kit, Event::Effective).await;
    let events = kit.events().await;
    assert_eq!(events, [Event::Effective], "the other one cannot be");
    kit.stop().await;
}

/// Withdraws an element that this version does not read, and then a key; both wait for their proofs.
async fn unreadable(url: &str) {
    let db = Db::open(url, Component::Authority).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let (person, at) = (PersonUid::from_bytes([1; 16]), Micros::new(1_795_512_305_000_000));
    person::person_insert(&mut tx, &person, at).await.unwrap();
    let grant = Grant {
        id: GrantId::from_bytes([1; 16]),
        person,
        client: AUTHORITY.parse().unwrap(),
        act_client: None,
        capacity: Capacity::SelfPerson,
        acr: Acr::Eidas1,
        auth_time: 1,
        idp_iss: "https://fc.example".to_owned(),
        pivot_digest: Sha256::of(b"pivot"),
        subject_unbound: None,
        demarche: None,
        proactive: false,
        by: None,
        granted_at: at,
        ends_at: at.plus_ms(60_000),
    };
    let element = Element {
        handle: Handle::from_bytes([1; 16]),
        details: r#"{"type":"of a later version"}"#.to_owned(),
        left_out: Vec::new(),
        withdrawn: None,
        followed_by: None,
    };
    let handle = element.handle;
    grant_insert(&mut tx, &grant, &[element]).await.unwrap();
    let (head, _) = revocation::epoch_take(&mut tx, 1_000, at).await.unwrap();
    let by = WithdrawnBy::Person;
    let done = revocation::withdraw(&mut tx, head.epoch, &[(handle, by)], at).await;
    assert!(done.unwrap().is_some());
    let key = vec![Withdrawal::SigningKey("kid".to_owned())];
    let done = revocation::record(&mut tx, head.epoch, key, at).await;
    assert!(done.unwrap().is_some());
    tx.commit().await.unwrap();
    db.close().await;
}

async fn i3_an_element_that_does_not_read_stands_in_no_others_way(database: TestDatabase) {
    both_are_proved(database, None).await;
}

async fn i3_a_grant_that_does_not_read_stands_in_no_others_way(database: TestDatabase) {
    both_are_proved(
        database,
        Some("UPDATE person_grant SET capacity = 'of a later version'"),
    )
    .await;
}

/// Starts beside what [`unreadable`] and `then` leave: both withdrawals are proved.
async fn both_are_proved(database: TestDatabase, then: Option<&'static str>) {
    let kit = Kit::on(database).await;
    let write = async |database: &TestDatabase| {
        unreadable(database.url()).await;
        if let Some(sql) = then {
            execute(database, sql).await;
        }
    };
    let write = |database: &TestDatabase| {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(write(database)));
    };
    let kit = kit.restart(|_, database| write(database)).await;
    logged(&kit, Event::Effective).await;
    let db = Db::open_for_reading(kit.database_url()).await.unwrap();
    for seq in [1, 2] {
        let (_, effect) = effect_read(&db, seq).await.unwrap().expect("proved");
        let effect = Effect::from_bytes(&effect).unwrap();
        assert_eq!(effect.operator, None, "it waited for every producer");
    }
    db.close().await;
    kit.stop().await;
}

async fn a_withdrawal_that_cannot_be_logged_stands_in_no_others_way(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let write = |database: &TestDatabase| {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(unreadable(database.url())));
    };
    // Its record has the lowest number, and its grant the lowest name.
    let kit = kit.restart(|_, database| write(database)).await;
    let grant = granted(&kit, &mut kit.browser()).await;
    let id = grant.trim_start_matches("/autorisations/");
    kit.running.ledger().close().await;
    let gone = kit.call(Method::DELETE, &format!("/as/grants/{id}"), "").await;
    assert!(gone.status.is_server_error(), "{}", gone.status);
    assert!(!kit.events().await.contains(&Event::Withdrawn));
    // Whoever withdrew it is not at it any more.
    kit.clock.pass(11_000);
    let kit = kit.restart(|_, _| {}).await;
    logged(&kit, Event::Withdrawn).await;
    kit.stop().await;
}
