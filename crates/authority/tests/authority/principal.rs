//! Whoever a mandate was given for sees what rests on it, stops it and ends it: the person who is helped, any officer who
//! runs the company.

use http::StatusCode;
use serde_json::{Value, json};
use unefois_core::{Capacity, Clock as _, Event, Random};
use unefois_mesh::{SystemClock, SystemRandom};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{Answer, Kit, Which, Write, set, until};
use crate::mandate::{SIREN, for_company, kit, mandated, not_mandated, officer, refreshed, today};

both_databases![
    to_limit_is_its_holder_s_and_not_offered_to_whom_it_is_for,
    whoever_is_helped_sees_and_stops_what_the_helper_granted,
    any_officer_who_runs_the_company_sees_and_ends_what_another_gave,
    of_an_answer_and_the_end_of_its_mandate_at_once_nothing_stands,
    of_two_who_end_a_mandate_at_once_both_are_told_so,
    a_mandate_that_does_not_open_closes_nobody_s_page_and_is_ended_all_the_same,
];

/// What is told of a mandate that does not open.
const SEALED: &str = "Son contenu ne peut pas être lu pour l’instant";

/// Angela's browser, and that of Joël, whom she lets act for school and canteen.
async fn helped(kit: &Kit) -> (Browser, Browser) {
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = "joel";
        says.identity["family_name"] = "MERCIER".into();
        says.identity["given_name_array"] = json!(["Joël"]);
    }
    let mut joel = kit.browser();
    joel.follow("/fc/connexion").await;
    mandated(&mut angela, &mut joel, "ecole", &today(kit)).await;
    (angela, joel)
}

fn for_angela(kit: &Kit) -> Vec<(&'static str, String)> {
    let mut parameters = kit.parameters();
    set(&mut parameters, "capacity", Some("helper".to_owned()));
    parameters
}

fn address(redeemed: &Answer) -> String {
    format!("/autorisations/{}", redeemed.json["grant_id"].as_str().unwrap())
}

/// The address at which the newest mandate of this page is ended.
fn end(page: &str) -> String {
    let (_, rest) = page.split_once("action=\"/mandats/").expect("a mandate to end");
    format!("/mandats/{}", rest.split('"').next().unwrap())
}

async fn to_limit_is_its_holder_s_and_not_offered_to_whom_it_is_for(database: TestDatabase) {
    let kit = kit(database).await;
    let (mut angela, mut joel) = helped(&kit).await;
    let code = kit.grant(&mut joel, &for_angela(&kit), "&e0.composition=1").await;
    let redeemed = kit.redeem(&code).await;
    let handle = |answer: &Answer| answer.json["authorization_details"][0]["gh"].clone();
    let grant = address(&redeemed);
    let narrow = format!("{grant}/limiter");
    assert!(
        joel.get(&grant).await.body.contains(&narrow),
        "it is his to limit"
    );

    let seen = angela.get(&grant).await;
    assert!(
        seen.status == StatusCode::OK && !seen.body.contains("limiter"),
        "{}",
        seen.body
    );
    assert_eq!(angela.get(&narrow).await.status, StatusCode::NOT_FOUND);
    let csrf = angela.get("/mandats").await.csrf();
    let asked = angela.post(&narrow, &format!("csrf={csrf}&p0=1")).await;
    assert_eq!(asked.status, StatusCode::NOT_FOUND, "{}", asked.body);
    assert!(!kit.events().await.contains(&Event::Narrowed));
    assert_eq!(handle(&refreshed(&kit, &redeemed).await), handle(&redeemed));

    // The same of him is done.
    let csrf = joel.get(&narrow).await.csrf();
    let asked = joel.post(&narrow, &format!("csrf={csrf}&p0=1")).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER, "{}", asked.body);
    assert!(kit.events().await.contains(&Event::Narrowed));
    kit.stop().await;
}

async fn whoever_is_helped_sees_and_stops_what_the_helper_granted(database: TestDatabase) {
    let kit = kit(database).await;
    let (mut angela, mut joel) = helped(&kit).await;
    let code = kit.grant(&mut joel, &for_angela(&kit), "").await;
    let redeemed = kit.redeem(&code).await;
    let grant = address(&redeemed);

    // Neither a stranger nor the helper's own helper sees it.
    kit.provider.says.lock().unwrap().sub = "stranger";
    kit.provider.says.lock().unwrap().identity["family_name"] = "AUTRE".into();
    let mut stranger = kit.browser();
    stranger.follow("/fc/connexion").await;
    assert_eq!(stranger.get(&grant).await.status, StatusCode::NOT_FOUND);
    assert!(!stranger.get("/autorisations").await.body.contains(&grant));

    let mandates = angela.get("/mandats").await.body;
    assert!(
        mandates.contains("1 autorisation donnée ainsi, en cours"),
        "{mandates}"
    );
    let (_, rest) = mandates.split_once("/autorisations?mandat=").unwrap();
    let by_mandate = format!("/autorisations?mandat={}", rest.split('"').next().unwrap());
    for at in [by_mandate.as_str(), "/autorisations"] {
        let list = angela.get(at).await.body;
        assert!(list.contains(&grant), "{at}: {list}");
        assert!(
            list.contains("par Joël MERCIER pour Angela DUBOIS, par son mandat"),
            "{at}: {list}"
        );
    }
    let none = angela.get("/autorisations?mandat=AAAAAAAAAAAAAAAAAAAAAA").await;
    assert!(none.body.contains("Aucune autorisation"), "{}", none.body);
    assert_eq!(
        angela.get("/autorisations?mandat=x").await.status,
        StatusCode::NOT_FOUND
    );

    // Her history names who asked in her place, under the handle of the helper's grant.
    let commune = kit.node(Which::Commune).await;
    let random: &dyn Random = &SystemRandom::new();
    let exchange = random.exchange_id(SystemClock.now());
    let received = Write {
        event: Event::Received,
        reason: None,
        content: Some(1),
        units: 3,
    };
    let claims = kit.claims(redeemed.json["access_token"].as_str().unwrap());
    commune.write(&claims, exchange, received).await;
    let json: Value = serde_json::from_str(&angela.get("/historique.json").await.body).unwrap();
    let row = &json["exchanges"][0];
    assert_eq!(
        row["mandate"],
        json!({"by": "Angela DUBOIS", "to": "Joël MERCIER"}),
        "{json}"
    );
    assert_eq!(row["found_by"], "grant");
    commune.stop().await;

    // To limit it is the helper's; to stop it is either's, and told as what it is.
    let narrow = angela.get(&format!("{grant}/limiter")).await;
    assert_eq!(narrow.status, StatusCode::NOT_FOUND);
    let ask = angela.get(&format!("{grant}/arreter")).await;
    assert_eq!(ask.status, StatusCode::OK, "{}", ask.body);
    let csrf = format!("csrf={}", ask.csrf());
    let not_theirs = stranger.get("/mandats").await.csrf();
    let refused = stranger
        .post(&format!("{grant}/arreter"), &format!("csrf={not_theirs}"))
        .await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let stopped = angela.post(&format!("{grant}/arreter"), &csrf).await;
    assert_eq!(stopped.location, format!("{grant}/arretee"));
    assert_eq!(kit.events().await.last(), Some(&Event::Withdrawn));
    let answer = refreshed(&kit, &redeemed).await;
    assert_eq!(answer.json["unefois_reason"], "GRANT_REVOKED", "{}", answer.json);
    for browser in [&mut angela, &mut joel] {
        let detail = browser.get(&grant).await.body;
        assert!(detail.contains("Arrêtée par qui a donné le mandat"), "{detail}");
    }
    let mandates = angela.get("/mandats").await.body;
    assert!(
        mandates.contains("1 autorisation donnée ainsi, terminée"),
        "{mandates}"
    );

    // What ends with the mandate is told as that.
    let code = kit.grant(&mut joel, &for_angela(&kit), "").await;
    let grant = address(&kit.redeem(&code).await);
    let list = joel.get("/mandats").await;
    joel.post(&end(&list.body), &format!("csrf={}", list.csrf()))
        .await;
    let detail = angela.get(&grant).await.body;
    assert!(detail.contains("Arrêtée avec le mandat"), "{detail}");
    kit.stop().await;
}

async fn any_officer_who_runs_the_company_sees_and_ends_what_another_gave(database: TestDatabase) {
    let mut kit = kit(database).await;
    let mut boss = officer(&kit).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    mandated(&mut boss, &mut angela, "marche-public", &today(&kit)).await;
    let code = kit.grant(&mut angela, &for_company(&kit, SIREN), "").await;
    let redeemed = kit.redeem(&code).await;
    let grant = address(&redeemed);

    // As it was kept before that named the company: it is filled in by the first chores of the next start.
    kit.execute("UPDATE mandate SET principal = NULL").await;
    assert!(!boss.get("/mandats").await.body.contains("Angela DUBOIS"));
    kit = kit.restart(|_, _| {}).await;
    until(async || {
        let page = boss.get("/mandats").await.body;
        page.contains("Angela DUBOIS").then_some(())
    })
    .await;

    // An officer of it who does not run it sees neither.
    {
        let mut says = kit.pro.says.lock().unwrap();
        *says = crate::provider::Says::officer("agent");
        says.sub = "clerk-at-pro";
    }
    let mut clerk = kit.browser();
    clerk.follow("/pro/connexion").await;
    let seen = clerk.get("/mandats").await;
    assert!(!seen.body.contains("Angela DUBOIS"), "{}", seen.body);
    let of_the_boss = end(&boss.get("/mandats").await.body);
    let refused = clerk.post(&of_the_boss, &format!("csrf={}", seen.csrf())).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);

    {
        let mut says = kit.pro.says.lock().unwrap();
        *says = crate::provider::Says::officer("dirigeant");
        says.sub = "second-at-pro";
    }
    let mut second = kit.browser();
    second.follow("/pro/connexion?niveau=certified").await;
    let list = second.get("/mandats").await;
    assert!(
        list.body.contains("Angela DUBOIS") && list.body.contains("1 autorisation donnée ainsi, en cours"),
        "{}",
        list.body
    );
    assert!(second.get("/autorisations").await.body.contains(&grant));
    assert!(second.get(&grant).await.body.contains("par Angela DUBOIS pour"));
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    let ended = second
        .post(&end(&list.body), &format!("csrf={}", list.csrf()))
        .await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER, "{}", ended.body);
    let answer = refreshed(&kit, &redeemed).await;
    assert_eq!(answer.json["unefois_reason"], "GRANT_REVOKED", "{}", answer.json);
    not_mandated(&kit, &mut angela, &for_company(&kit, SIREN)).await;
    kit.stop().await;
}

async fn of_an_answer_and_the_end_of_its_mandate_at_once_nothing_stands(database: TestDatabase) {
    let kit = kit(database).await;
    let (mut angela, mut joel) = helped(&kit).await;
    for _ in 0..8 {
        let demande = kit.open(&mut joel, &for_angela(&kit)).await;
        let yes = format!("csrf={}&choix=recuperer", demande.page.csrf());
        let list = angela.get("/mandats").await;
        let (at, csrf) = (end(&list.body), format!("csrf={}", list.csrf()));
        let (answered, ended) = tokio::join!(joel.post(&demande.address, &yes), angela.post(&at, &csrf));
        assert_eq!(ended.status, StatusCode::SEE_OTHER, "{}", ended.body);
        match answered.parameter("code") {
            Some(code) => {
                let redeemed = kit.redeem(&code).await;
                assert_eq!(
                    redeemed.json["unefois_reason"], "GRANT_REVOKED",
                    "{}",
                    redeemed.json
                );
            }
            None => {
                assert!(
                    answered.body.contains("Aucun mandat ne vous permet de répondre"),
                    "{} {}",
                    answered.status,
                    answered.body
                );
            }
        }
        let list = joel.get("/autorisations").await.body;
        assert!(!list.contains("/arreter\""), "something stands: {list}");
        mandated(&mut angela, &mut joel, "ecole", &today(&kit)).await;
    }
    kit.stop().await;
}

async fn of_two_who_end_a_mandate_at_once_both_are_told_so(database: TestDatabase) {
    let kit = kit(database).await;
    let (mut angela, mut joel) = helped(&kit).await;
    let code = kit.grant(&mut joel, &for_angela(&kit), "").await;
    kit.redeem(&code).await;
    let before = kit.events().await.len();
    let (hers, his) = (angela.get("/mandats").await, joel.get("/mandats").await);
    let mut tab = angela.copy();
    let (at, csrf) = (end(&hers.body), format!("csrf={}", hers.csrf()));
    let of_joel = format!("csrf={}", his.csrf());
    let (one, two, three) = tokio::join!(
        angela.post(&at, &csrf),
        tab.post(&at, &csrf),
        joel.post(&at, &of_joel)
    );
    for ended in [one, two, three] {
        assert_eq!(ended.status, StatusCode::SEE_OTHER, "{}", ended.body);
    }
    let events = kit.events().await;
    let withdrawn = events[before..]
        .iter()
        .filter(|event| **event == Event::Withdrawn);
    assert_eq!(withdrawn.count(), 1, "what rested on it, once");
    assert!(angela.get("/mandats").await.body.contains("Arrêté le"));
    kit.stop().await;
}

async fn a_mandate_that_does_not_open_closes_nobody_s_page_and_is_ended_all_the_same(database: TestDatabase) {
    let kit = kit(database).await;
    let (mut angela, mut joel) = helped(&kit).await;
    let code = kit.grant(&mut joel, &for_angela(&kit), "").await;
    let redeemed = kit.redeem(&code).await;
    // As the content of a mandate reads whose storage key was lost.
    kit.execute("UPDATE mandate SET sealed = id").await;
    // Nobody acts by it, and no token is given under what rests on it.
    not_mandated(&kit, &mut joel, &for_angela(&kit)).await;
    assert_ne!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    let mut sealed_end = None;
    for browser in [&mut angela, &mut joel] {
        let list = browser.get("/mandats").await;
        assert_eq!(list.status, StatusCode::OK, "{}", list.body);
        for told in [
            SEALED,
            "Mandat n°",
            "1 autorisation donnée ainsi, en cours",
            "Fin le",
        ] {
            assert!(list.body.contains(told), "{told}: {}", list.body);
        }
        assert!(!list.body.contains("/accepter"), "{}", list.body);
        sealed_end = Some(end(&list.body));
    }
    let sealed_end = sealed_end.unwrap();

    // Others of the same two are given, shown and acted by beside it.
    mandated(&mut angela, &mut joel, "ecole", &today(&kit)).await;
    let list = angela.get("/mandats").await;
    assert!(
        list.body.contains(SEALED) && list.body.contains("Joël MERCIER"),
        "{}",
        list.body
    );
    kit.grant(&mut joel, &for_angela(&kit), "").await;

    // Not by a stranger; by either side, with all that rests on it.
    kit.provider.says.lock().unwrap().sub = "stranger";
    kit.provider.says.lock().unwrap().identity["family_name"] = "AUTRE".into();
    let mut stranger = kit.browser();
    stranger.follow("/fc/connexion").await;
    let csrf = stranger.get("/mandats").await.csrf();
    let refused = stranger.post(&sealed_end, &format!("csrf={csrf}")).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let before = kit.entries().await.len();
    let ended = angela.post(&sealed_end, &format!("csrf={}", list.csrf())).await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER, "{}", ended.body);
    let mut said = kit.entries().await.split_off(before);
    said.retain(|entry| entry.event != Event::Effective);
    let said: Vec<_> = said.iter().map(|entry| (entry.event, entry.capacity)).collect();
    // What it was for is not known, and so not said.
    let expected = [
        (Event::Withdrawn, Some(Capacity::Helper)),
        (Event::Mandated, None),
    ];
    assert_eq!(said, expected);
    let answer = refreshed(&kit, &redeemed).await;
    assert_eq!(answer.json["unefois_reason"], "GRANT_REVOKED", "{}", answer.json);
    for browser in [&mut angela, &mut joel] {
        let list = browser.get("/mandats").await.body;
        assert!(list.contains("Arrêté le") && !list.contains(SEALED), "{list}");
    }
    kit.stop().await;
}
