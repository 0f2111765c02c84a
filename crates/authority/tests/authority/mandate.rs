//! Acting for a company or for somebody one helps: by a mandate that holds, checked again at each token.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_authority::portal::paris;
use unefois_core::receipt::Representation;
use unefois_core::{Capacity, Clock as _, Event, Micros, Random, Reason, SealedSubject, Sha256};
use unefois_jose::jwe;
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::authority::mandate::{MandateRow, mandate_accept, mandate_ask, mandate_insert};
use unefois_store::authority::{PersonUid, person};
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{
    Answer, COMMUNE, CROUS, Kit, Which, Write, entity_check, execute, form, merge, set, subject_check, until,
};
use crate::login::with_tax_income;
use crate::provider::Says;

both_databases![
    a_company_s_mandate_lets_a_person_answer_for_it,
    a_mandate_that_ends_or_an_officer_who_is_none_any_more_gives_no_token,
    a_helper_acts_within_the_perimeter_that_was_given,
    what_stands_ends_with_the_mandate_s_last_day,
    a_demarche_that_comes_into_a_perimeter_later_is_not_given,
    mandates_that_do_not_open_keep_no_other_out_of_the_log,
];

/// Where an invitation is taken up, once its link was opened.
pub(crate) const INVITATION: &str = "/mandats/invitation";
pub(crate) const URSSAF: &str = "urn:unefois:participant:90000002700012";
/// The company that the officer of these tests runs, and another.
pub(crate) const SIREN: &str = "219200235";
pub(crate) const OTHER: &str = "130025265";

pub(crate) async fn kit(database: TestDatabase) -> Kit {
    Kit::with(database, |document, config| {
        with_tax_income(document, config);
        let pivot_keys = document["participants"][3]["pivot_keys"].clone();
        document["participants"].as_array_mut().unwrap().push(json!({
            "id": URSSAF, "name": {"fr": "Urssaf", "en": "Urssaf"}, "kind": "administration",
            "mesh": ["127.0.0.1:9"], "dpo": "dpo@example.fr", "pivot_keys": pivot_keys,
            "tls": [{"spki_sha256": "cd".repeat(32), "status": "current"}],
        }));
        document["habilitations"].as_array_mut().unwrap().push(json!({
            "id": "DP-5", "consumer": COMMUNE, "producer": URSSAF, "demarche": "marche-public",
            "datatypes": [{"datatype": "urssaf/attestation-de-vigilance@1", "units": ["statut", "attestation"]}],
            "legal_bases": ["CRPA-L114-8-I"],
            "not_before": "2020-01-01T00:00:00Z", "not_after": "2090-01-01T00:00:00Z",
        }));
        for provider in document["authority"]["identity_providers"].as_array_mut().unwrap() {
            if provider["officers"] == json!(["identified"]) {
                provider["officers"] = json!(["identified", "certified"]);
            }
        }
        config["perimeters"] = json!({
            "ecole": {"label": {"fr": "École et cantine", "en": "School and canteen"}, "demarches": ["cantine"]},
            "logement": {"label": {"fr": "Logement", "en": "Housing"}, "demarches": ["bourse"]},
        });
    })
    .await
}

/// The officer's browser, logged in as the one who runs the company.
pub(crate) async fn officer(kit: &Kit) -> Browser {
    *kit.pro.says.lock().unwrap() = Says::officer("dirigeant");
    let mut browser = kit.browser();
    let home = browser.follow("/pro/connexion?niveau=certified").await;
    assert!(home.body.contains("Camille EXEMPLE"), "{}", home.body);
    browser
}

/// Today, as the field of a day holds it.
pub(crate) fn today(kit: &Kit) -> String {
    paris::iso_day(kit.clock.now())
}

/// Gives a mandate; the address at which it is taken up.
pub(crate) async fn given(browser: &mut Browser, word: &str, until: &str) -> String {
    let page = browser.get("/mandats").await;
    let posted = format!("csrf={}&p.{word}=1&fin={until}", page.csrf());
    let shown = browser.post("/mandats", &posted).await;
    let (_, rest) = shown.body.split_once("/mandats/invitation/").expect("a link");
    format!("/mandats/invitation/{}", rest.split('<').next().unwrap())
}

/// Takes a mandate up; the page that says to what.
pub(crate) async fn taken_up(browser: &mut Browser, address: &str) -> String {
    let page = browser.follow(address).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let taken = browser.post(INVITATION, &page.taking()).await;
    assert_eq!(taken.location, "/mandats", "{}", taken.body);
    page.body
}

/// Accepts whoever took a mandate up.
pub(crate) async fn accepted(giver: &mut Browser) {
    let page = giver.get("/mandats").await;
    let address = accepting(&page.body).expect("somebody who asks");
    let accepted = giver.post(&address, &format!("csrf={}", page.csrf())).await;
    assert_eq!(accepted.status, StatusCode::SEE_OTHER, "{}", accepted.body);
}

/// Where the first of those who ask is accepted.
pub(crate) fn accepting(page: &str) -> Option<String> {
    let (before, _) = page.split_once("/accepter\"")?;
    let (_, id) = before.rsplit_once('/')?;
    Some(format!("/mandats/{id}/accepter"))
}

/// Gives a mandate that another then holds.
pub(crate) async fn mandated(giver: &mut Browser, holder: &mut Browser, word: &str, until: &str) {
    let address = given(giver, word, until).await;
    taken_up(holder, &address).await;
    accepted(giver).await;
}

pub(crate) fn for_company(kit: &Kit, siren: &str) -> Vec<(&'static str, String)> {
    let mut element = kit.element();
    merge(
        &mut element,
        json!({
            "datatypes": ["urssaf/attestation-de-vigilance@1"], "locations": [URSSAF], "demarche": "marche-public",
            "habilitation": "DP-5", "subject": {"kind": "entity"}, "data_life_days": 183,
            "units": [{"unit": "statut", "need": "required"}, {"unit": "attestation", "need": "required"}],
        }),
    );
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    set(&mut parameters, "capacity", Some("entity".to_owned()));
    set(&mut parameters, "subject_check", Some(entity_check(siren)));
    parameters
}

pub(crate) fn sealed(kit: &Kit, answer: &Answer) -> SealedSubject {
    let plain = jwe::open_pivot(&[&*kit.pivot_key], answer.json["pivot_jwe"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&plain).unwrap()
}

pub(crate) async fn refreshed(kit: &Kit, redeemed: &Answer) -> Answer {
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            redeemed.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    kit.call(Method::POST, "/as/token", &refresh).await
}

/// What the page says of a request that no mandate covers; it is recorded.
pub(crate) async fn not_mandated(kit: &Kit, browser: &mut Browser, parameters: &[(&str, String)]) {
    let demande = kit.open(browser, parameters).await;
    assert!(
        demande
            .page
            .body
            .contains("Aucun mandat ne vous permet de répondre"),
        "{}",
        demande.page.body
    );
    let last = kit.entries().await.pop().unwrap();
    assert_eq!(
        (last.event, last.reason, last.requester),
        (
            Event::Refused,
            Some(Reason::NotEntitled),
            Some(COMMUNE.parse().unwrap())
        )
    );
}

async fn a_company_s_mandate_lets_a_person_answer_for_it(database: TestDatabase) {
    let kit = kit(database).await;
    let mut boss = officer(&kit).await;
    let page = boss.get("/mandats").await;
    assert!(
        page.body
            .replace(['\u{a0}', '\u{202f}'], " ")
            .contains("l’entreprise de SIREN 219 200 235"),
        "{}",
        page.body
    );
    // What is missing is said at its field and in the summary.
    for (fields, id) in [
        ("&fin=2027-01-01", "perimetre-erreur"),
        ("&p.marche-public=1", "fin-erreur"),
        ("&p.marche-public=1&fin=2001-01-01", "fin-erreur"),
        ("&p.marche-public=1&fin=2099-01-01", "fin-erreur"),
        ("&p.cantine=1&fin=2027-01-01", "perimetre-erreur"),
    ] {
        let wrong = boss
            .post("/mandats", &format!("csrf={}{fields}", page.csrf()))
            .await;
        assert!(
            wrong.body.contains(id) && wrong.body.contains("role=\"alert\""),
            "{fields}: {}",
            wrong.body
        );
    }
    let address = given(&mut boss, "marche-public", &today(&kit)).await;
    // An officer is no person: the company's mandate is a person's to take up.
    boss.get(&address).await;
    assert!(boss.get(INVITATION).await.location.starts_with("/connexion"));

    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    not_mandated(&kit, &mut angela, &for_company(&kit, SIREN)).await;
    let page = taken_up(&mut angela, &address).await;
    assert!(
        page.contains("répondre pour une entreprise") && !page.contains("EXEMPLE"),
        "{page}"
    );
    not_mandated(&kit, &mut angela, &for_company(&kit, SIREN)).await;
    accepted(&mut boss).await;
    assert_eq!(kit.events().await.last(), Some(&Event::Mandated));
    assert_eq!(
        angela.follow(&address).await.status,
        StatusCode::NOT_FOUND,
        "once"
    );
    let list = angela.get("/mandats").await.body;
    assert!(
        list.contains("Camille EXEMPLE") && list.contains("Angela DUBOIS"),
        "{list}"
    );

    not_mandated(&kit, &mut angela, &for_company(&kit, OTHER)).await;
    let demande = kit.open(&mut angela, &for_company(&kit, SIREN)).await;
    let shown = demande.page.body.replace(['\u{a0}', '\u{202f}'], " ");
    assert!(shown.contains("mandat de <bdi>Camille EXEMPLE</bdi>"), "{shown}");
    let code = kit.grant(&mut angela, &for_company(&kit, SIREN), "").await;
    let redeemed = kit.redeem(&code).await;
    let claims = kit.claims(redeemed.json["access_token"].as_str().unwrap());
    assert_eq!(
        (claims.capacity, claims.aud),
        (Capacity::Entity, URSSAF.parse().unwrap())
    );
    assert!(matches!(sealed(&kit, &redeemed), SealedSubject::Entity(siren) if siren.as_str() == SIREN));
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);

    // Both names stand in the receipt and in the history.
    let grant = redeemed.json["grant_id"].as_str().unwrap();
    let (receipt, _) = kit.receipt(&mut angela, grant).await;
    let both = Representation {
        siren: Some(SIREN.parse().unwrap()),
        acted_by: "Angela DUBOIS".to_owned(),
        mandated_by: Some("Camille EXEMPLE".to_owned()),
    };
    assert_eq!(
        (receipt.capacity, receipt.representation),
        (Capacity::Entity, Some(both))
    );
    let commune = kit.node(Which::Commune).await;
    let random: &dyn Random = &SystemRandom::new();
    let exchange = random.exchange_id(SystemClock.now());
    let received = Write {
        event: Event::Received,
        reason: None,
        content: Some(1),
        units: 3,
    };
    commune.write(&claims, exchange, received).await;
    let json: Value = serde_json::from_str(&angela.get("/historique.json").await.body).unwrap();
    let row = &json["exchanges"][0];
    assert_eq!(
        row["mandate"],
        json!({"by": "Camille EXEMPLE", "to": "Angela DUBOIS"}),
        "{json}"
    );
    assert_eq!(row["capacity"], "entity");
    let page = angela
        .get("/historique")
        .await
        .body
        .replace(['\u{a0}', '\u{202f}'], " ");
    let words = "par Angela DUBOIS pour l’entreprise de SIREN 219 200 235, mandat de Camille EXEMPLE";
    assert!(page.contains(words), "{page}");
    commune.stop().await;
    kit.stop().await;
}

async fn a_mandate_that_ends_or_an_officer_who_is_none_any_more_gives_no_token(database: TestDatabase) {
    let kit = kit(database).await;
    let mut boss = officer(&kit).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    let granted = async |boss: &mut Browser, angela: &mut Browser| {
        mandated(boss, angela, "marche-public", &today(&kit)).await;
        let code = kit.grant(angela, &for_company(&kit, SIREN), "").await;
        kit.redeem(&code).await
    };
    let refused = async |redeemed: &Answer| {
        let answer = refreshed(&kit, redeemed).await;
        assert_eq!(answer.json["unefois_reason"], "NOT_ENTITLED", "{}", answer.json);
        let last = kit.entries().await.pop().unwrap();
        assert_eq!(
            (last.event, last.reason),
            (Event::Refused, Some(Reason::NotEntitled))
        );
    };

    let redeemed = granted(&mut boss, &mut angela).await;
    let list = boss.get("/mandats").await;
    let (_, rest) = list.body.split_once("action=\"/mandats/").unwrap();
    let end = format!("/mandats/{}", rest.split('"').next().unwrap());
    // Nobody else's to end.
    let mut stranger = kit.browser();
    kit.provider.says.lock().unwrap().sub = "somebody";
    kit.provider.says.lock().unwrap().identity["family_name"] = "MERCIER".into();
    stranger.follow("/fc/connexion").await;
    let csrf = stranger.get("/mandats").await.csrf();
    let not_theirs = stranger.post(&end, &format!("csrf={csrf}")).await;
    assert_eq!(not_theirs.status, StatusCode::NOT_FOUND);
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    // What rests on it is withdrawn with it, for tokens that are out as well.
    boss.post(&end, &format!("csrf={}", list.csrf())).await;
    assert!(kit.events().await.contains(&Event::Withdrawn));
    let answer = refreshed(&kit, &redeemed).await;
    assert_eq!(answer.json["unefois_reason"], "GRANT_REVOKED", "{}", answer.json);
    not_mandated(&kit, &mut angela, &for_company(&kit, SIREN)).await;

    // The provider certifies Camille no more: another mandate of hers gives nothing either, and says why.
    let redeemed = granted(&mut boss, &mut angela).await;
    *kit.pro.says.lock().unwrap() = Says::officer("agent");
    let mut dismissed = kit.browser();
    dismissed.follow("/pro/connexion?niveau=certified").await;
    refused(&redeemed).await;
    assert!(angela.get("/mandats").await.body.contains("n’est plus reconnue"));
    let redeemed = granted(&mut officer(&kit).await, &mut angela).await;
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);

    // Its last day is over.
    kit.clock.pass(25 * 3_600_000);
    kit.provider.says.lock().unwrap().ahead_s = 25 * 3_600;
    let mut angela = kit.browser();
    *kit.provider.says.lock().unwrap() = Says {
        ahead_s: 25 * 3_600,
        ..Says::default()
    };
    angela.follow("/fc/connexion").await;
    not_mandated(&kit, &mut angela, &for_company(&kit, SIREN)).await;
    kit.stop().await;
}

async fn a_helper_acts_within_the_perimeter_that_was_given(database: TestDatabase) {
    let kit = kit(database).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    let school = given(&mut angela, "ecole", &today(&kit)).await;
    let housing = given(&mut angela, "logement", &today(&kit)).await;

    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = "joel";
        says.identity["family_name"] = "MERCIER".into();
        says.identity["given_name_array"] = json!(["Joël"]);
    }
    let mut joel = kit.browser();
    joel.follow("/fc/connexion").await;
    let mut parameters = kit.parameters();
    set(&mut parameters, "capacity", Some("helper".to_owned()));
    not_mandated(&kit, &mut joel, &parameters).await;
    taken_up(&mut joel, &housing).await;
    accepted(&mut angela).await;
    // Beyond its perimeter.
    not_mandated(&kit, &mut joel, &parameters).await;
    taken_up(&mut joel, &school).await;
    accepted(&mut angela).await;
    let mut another = parameters.clone();
    set(
        &mut another,
        "subject_check",
        Some(subject_check("DURAND", "Angela", "1962-08-24")),
    );
    not_mandated(&kit, &mut joel, &another).await;

    let elements = json!([kit.element(), kit.student()]).to_string();
    let mut two = parameters.clone();
    set(&mut two, "authorization_details", Some(elements));
    let code = kit.grant(&mut joel, &two, "").await;
    let redeemed = kit.redeem(&code).await;
    let claims = kit.claims(redeemed.json["access_token"].as_str().unwrap());
    assert_eq!(claims.capacity, Capacity::Helper);
    // A producer knows the mandate again; two producers cannot tell that theirs is the same.
    let refresh = (
        "refresh_token",
        redeemed.json["refresh_token"].as_str().unwrap().to_owned(),
    );
    let again = async |operator: String| {
        let grant = ("grant_type", "refresh_token".to_owned());
        let asked = form(&[grant, refresh.clone(), ("resource", operator)]);
        let answer = kit.call(Method::POST, "/as/token", &asked).await;
        kit.claims(answer.json["access_token"].as_str().unwrap())
    };
    let same = again(claims.aud.to_string()).await;
    let other = again(kit.student()["locations"][0].as_str().unwrap().to_owned()).await;
    assert!(claims.mandate.is_some() && other.mandate.is_some() && other.aud != claims.aud);
    assert_eq!(same.mandate, claims.mandate);
    assert_ne!(other.mandate, claims.mandate);
    assert!(
        matches!(sealed(&kit, &redeemed), SealedSubject::Person(person) if person.family_name == "DUBOIS")
    );
    let grant = redeemed.json["grant_id"].as_str().unwrap();
    let (receipt, _) = kit.receipt(&mut joel, grant).await;
    let both = Representation {
        siren: None,
        acted_by: "Joël MERCIER".to_owned(),
        mandated_by: Some("Angela DUBOIS".to_owned()),
    };
    assert_eq!(receipt.representation, Some(both));
    // Angela was known at eidas1 when she gave it: nobody asks in her name for what needs more, however sure of them one is.
    let mut element = kit.element();
    merge(
        &mut element,
        json!({"datatypes": ["dgfip/revenu-fiscal-de-reference@1"], "locations": [CROUS], "habilitation": "DP-3",
            "units": [{"unit": "revenu", "need": "required"}, {"unit": "foyer", "need": "optional"}]}),
    );
    let mut income = parameters.clone();
    set(
        &mut income,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    {
        let mut says = kit.plus.says.lock().unwrap();
        says.identity["family_name"] = "MERCIER".into();
        says.identity["given_name_array"] = json!(["Joël"]);
    }
    let mut surely = kit.browser();
    surely.follow("/fcp/connexion").await;
    assert!(surely.get("/mandats").await.body.contains("Angela DUBOIS"));
    not_mandated(&kit, &mut surely, &income).await;
    // Nobody is helped without having asked: whoever checks nobody is told so.
    set(&mut parameters, "subject_check", None);
    set(&mut parameters, "subject_unbound", Some("x".to_owned()));
    let refused = kit.call(Method::POST, "/as/par", &form(&parameters)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    kit.stop().await;
}

async fn what_stands_ends_with_the_mandate_s_last_day(database: TestDatabase) {
    let kit = kit(database).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = "joel";
        says.identity["family_name"] = "MERCIER".into();
    }
    let mut joel = kit.browser();
    joel.follow("/fc/connexion").await;
    mandated(&mut angela, &mut joel, "ecole", &today(&kit)).await;
    let mut element = kit.element();
    element["mode"] = json!({"kind": "standing", "max_count": 12, "min_interval_s": 2_419_200});
    let mut parameters = kit.parameters();
    set(&mut parameters, "capacity", Some("helper".to_owned()));
    set(
        &mut parameters,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    let code = kit.grant(&mut joel, &parameters, "").await;
    let redeemed = kit.redeem(&code).await;
    let id = redeemed.json["grant_id"].as_str().unwrap();
    let end = paris::day_ends(kit.clock.now()).unwrap();
    let shown = kit.call(Method::GET, &format!("/as/grants/{id}"), "").await;
    assert_eq!(shown.json["ends_at_us"], end.get(), "{}", shown.json);

    kit.clock.pass(end.ms_since(kit.clock.now()) - 20_000);
    let last = refreshed(&kit, &redeemed).await;
    let life = last.json["expires_in"].as_i64().unwrap();
    assert!((1..=21).contains(&life), "{life} s, no longer than the mandate");
    kit.clock.pass(21_000);
    let after = refreshed(&kit, &redeemed).await;
    assert_eq!(after.json["error"], "invalid_grant", "{}", after.json);
    kit.stop().await;
}

async fn a_demarche_that_comes_into_a_perimeter_later_is_not_given(database: TestDatabase) {
    let mut kit = kit(database).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = "joel";
        says.identity["family_name"] = "MERCIER".into();
    }
    let mut joel = kit.browser();
    joel.follow("/fc/connexion").await;
    mandated(&mut angela, &mut joel, "logement", &today(&kit)).await;
    let mut parameters = kit.parameters();
    set(&mut parameters, "capacity", Some("helper".to_owned()));
    kit = kit
        .restart(|config, _| {
            config["perimeters"]["logement"]["demarches"] = json!(["bourse", "cantine"]);
        })
        .await;
    not_mandated(&kit, &mut joel, &parameters).await;
    // One that is given now covers it, until the configuration takes it out.
    mandated(&mut angela, &mut joel, "logement", &today(&kit)).await;
    let code = kit.grant(&mut joel, &parameters, "").await;
    let redeemed = kit.redeem(&code).await;
    kit = kit
        .restart(|config, _| {
            config["perimeters"]["logement"]["demarches"] = json!(["bourse"]);
        })
        .await;
    not_mandated(&kit, &mut joel, &parameters).await;
    let answer = refreshed(&kit, &redeemed).await;
    assert_eq!(answer.json["unefois_reason"], "NOT_ENTITLED", "{}", answer.json);
    kit.stop().await;
}

/// A hundred mandates in force that this authority's key does not open, before every other; the ledger holds the beginning
/// of none of all that there are.
async fn unopened(database: &TestDatabase) {
    execute(database, "UPDATE mandate SET accepted_logged_at = NULL").await;
    let db = Db::open(database.url(), Component::Authority).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let (giver, holder) = (PersonUid::from_bytes([1; 16]), PersonUid::from_bytes([2; 16]));
    let at = Micros::new(1_795_512_305_000_000);
    let until = at.plus_ms(30 * 24 * 3_600_000);
    for uid in [&giver, &holder] {
        person::person_insert(&mut tx, uid, at).await.unwrap();
    }
    for n in 1..=100 {
        let row = MandateRow {
            id: [n; 16],
            mandator: *giver.as_bytes(),
            principal: Some(giver),
            holder: None,
            sealed: vec![n],
            issued_at: at,
            invited_until: until,
            asked_at: None,
            accepted_at: None,
            accepted_logged_at: None,
            expires_at: until,
            ended_at: None,
        };
        let hash = Sha256::of(&[n]);
        mandate_insert(&mut tx, &row, &hash).await.unwrap();
        let asked = mandate_ask(&mut tx, &hash, &holder, &row.sealed, (at, until)).await;
        assert!(asked.unwrap());
        assert!(mandate_accept(&mut tx, &row.id, &giver, at).await.unwrap());
    }
    tx.commit().await.unwrap();
    db.close().await;
}

async fn mandates_that_do_not_open_keep_no_other_out_of_the_log(database: TestDatabase) {
    let kit = kit(database).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = "joel";
        says.identity["family_name"] = "MERCIER".into();
    }
    let mut joel = kit.browser();
    joel.follow("/fc/connexion").await;
    mandated(&mut angela, &mut joel, "ecole", &today(&kit)).await;
    let mandates = async |kit: &Kit| {
        let events = kit.events().await;
        events.iter().filter(|event| **event == Event::Mandated).count()
    };
    assert_eq!(mandates(&kit).await, 1);

    // Whoever accepted it is not at it any more.
    kit.clock.pass(11_000);
    let write = |database: &TestDatabase| {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(unopened(database)));
    };
    let kit = kit.restart(|_, database| write(database)).await;
    until(async || (mandates(&kit).await == 2).then_some(())).await;
    let held = "SELECT 'held' FROM mandate WHERE accepted_logged_at IS NOT NULL";
    until(async || (kit.texts(held).await.len() == 1).then_some(())).await;
    kit.stop().await;
}
