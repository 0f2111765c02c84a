//! Whoever runs a company answers for it by their own login, as long as they are certified to.

use http::StatusCode;
use serde_json::json;
use unefois_core::receipt::Representation;
use unefois_core::{Acr, Capacity, Event, Reason, SealedSubject};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{Answer, COMMUNE, Kit, until};
use crate::mandate::{OTHER, SIREN, URSSAF, for_company, kit, officer, refreshed, sealed};
use crate::provider::Says;

both_databases![
    only_whoever_runs_the_company_of_the_file_answers_for_it,
    a_dismissed_officer_s_grant_gives_no_token,
    whoever_runs_a_company_answers_for_it_and_may_stop,
];

async fn last_refusal(kit: &Kit) -> Option<Reason> {
    let last = kit.entries().await.pop().expect("an entry");
    assert_eq!(
        (last.event, last.requester),
        (Event::Refused, Some(COMMUNE.parse().unwrap()))
    );
    last.reason
}

/// What the officer granted for the company.
async fn granted(kit: &Kit, browser: &mut Browser) -> Answer {
    let code = kit.grant(browser, &for_company(kit, SIREN), "").await;
    kit.redeem(&code).await
}

async fn only_whoever_runs_the_company_of_the_file_answers_for_it(database: TestDatabase) {
    let kit = kit(database).await;
    // An officer of it who does not run it is asked to log in as who does.
    *kit.pro.says.lock().unwrap() = Says::officer("agent");
    let mut clerk = kit.browser();
    clerk.follow("/pro/connexion").await;
    let opened = kit.push(&for_company(&kit, SIREN)).await;
    let address = clerk.get(&opened).await.location;
    let turned = clerk.get(&address).await;
    assert!(
        turned.location.starts_with("/connexion?") && turned.location.ends_with("niveau=certified"),
        "{}",
        turned.location
    );
    let csrf = clerk.get("/").await.csrf();
    let posted = format!("csrf={csrf}&choix=recuperer");
    assert_eq!(clerk.post(&address, &posted).await.status, StatusCode::FORBIDDEN);
    for page in ["/autorisations", "/historique"] {
        assert!(clerk.get(page).await.location.starts_with("/connexion"), "{page}");
    }

    // Another company's file: each try counts, and the third is the last of the day.
    for left in [
        "Il reste 2 essais",
        "Il reste un essai",
        "attend demain",
        "attend demain",
    ] {
        let mut boss = officer(&kit).await;
        let demande = kit.open(&mut boss, &for_company(&kit, OTHER)).await;
        assert!(
            demande
                .page
                .body
                .contains("Ce dossier est celui d’une autre entreprise")
                && demande.page.body.contains(left),
            "{left}: {}",
            demande.page.body
        );
        assert_eq!(last_refusal(&kit).await, Some(Reason::SubjectMismatch));
    }

    // What is asked of a person is no officer's to answer.
    let mut boss = officer(&kit).await;
    let about_a_person = kit.push(&kit.parameters()).await;
    let address = boss.get(&about_a_person).await.location;
    assert!(boss.get(&address).await.location.starts_with("/connexion?"));
    kit.stop().await;
}

async fn a_dismissed_officer_s_grant_gives_no_token(database: TestDatabase) {
    let mut kit = kit(database).await;
    let mut boss = officer(&kit).await;
    let redeemed = granted(&kit, &mut boss).await;
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    let code = kit.grant(&mut boss, &for_company(&kit, SIREN), "").await;

    *kit.pro.says.lock().unwrap() = Says::officer("agent");
    let mut dismissed = kit.browser();
    dismissed.follow("/pro/connexion?niveau=certified").await;
    let refused = [kit.redeem(&code).await, refreshed(&kit, &redeemed).await];
    for answer in refused {
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json["unefois_reason"], "NOT_ENTITLED", "{}", answer.json);
    }
    assert_eq!(last_refusal(&kit).await, Some(Reason::NotEntitled));
    // The session that was open meanwhile shows and gives nothing either.
    assert!(
        boss.get("/autorisations")
            .await
            .location
            .starts_with("/connexion")
    );
    let opened = kit.push(&for_company(&kit, SIREN)).await;
    let address = boss.get(&opened).await.location;
    assert!(boss.get(&address).await.location.ends_with("niveau=certified"));

    // Certified again, the grant serves again; not once the directory lets nobody say so.
    let mut boss = officer(&kit).await;
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    kit.publish(|document| {
        let rows = &mut document.authority.identity_providers;
        rows.retain(|row| row.officers.is_empty());
    });
    let answer = until(async || {
        let answer = refreshed(&kit, &redeemed).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(answer.json["unefois_reason"], "NOT_ENTITLED", "{}", answer.json);
    let opened = kit.push(&for_company(&kit, SIREN)).await;
    let address = boss.get(&opened).await.location;
    assert_ne!(boss.get(&address).await.status, StatusCode::OK);
    kit.stop().await;
}

async fn whoever_runs_a_company_answers_for_it_and_may_stop(database: TestDatabase) {
    let kit = kit(database).await;
    *kit.pro.says.lock().unwrap() = Says::officer("dirigeant");
    let mut boss = kit.browser();
    let opened = kit.push(&for_company(&kit, SIREN)).await;
    let address = boss.get(&opened).await.location;
    let choice = boss.follow(&address).await;
    for provider in ["/fc/connexion?", "/pro/connexion?"] {
        assert!(choice.body.contains(provider), "{provider}: {}", choice.body);
    }
    let suite = address.replace('/', "%2F");
    let page = boss
        .follow(&format!("/pro/connexion?suite={suite}&niveau=certified"))
        .await;
    let shown = page.body.replace(['\u{a0}', '\u{202f}'], " ");
    for words in ["l’entreprise de SIREN 219 200 235", "que vous dirigez"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let posted = format!("csrf={}&choix=recuperer", page.csrf());
    let back = boss.post(&address, &posted).await;
    let redeemed = kit.redeem(&back.parameter("code").expect("a code")).await;
    let claims = kit.claims(redeemed.json["access_token"].as_str().unwrap());
    assert_eq!(
        (claims.capacity, claims.acr, claims.aud),
        (Capacity::Entity, Acr::Eidas1, URSSAF.parse().unwrap())
    );
    assert!(matches!(sealed(&kit, &redeemed), SealedSubject::Entity(siren) if siren.as_str() == SIREN));
    let declined = kit.open(&mut boss, &for_company(&kit, SIREN)).await;
    let posted = format!("csrf={}&choix=fournir", declined.page.csrf());
    boss.post(&declined.address, &posted).await;
    assert_eq!(kit.events().await.last(), Some(&Event::Declined));

    // It is the company's: another who runs it sees and stops it, a person does not.
    let grant = format!("/autorisations/{}", redeemed.json["grant_id"].as_str().unwrap());
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    assert_eq!(angela.get(&grant).await.status, StatusCode::NOT_FOUND);
    kit.pro.says.lock().unwrap().sub = "second-at-pro";
    kit.pro.says.lock().unwrap().identity["usual_name"] = json!("SECOND");
    let mut second = kit.browser();
    second.follow("/pro/connexion?niveau=certified").await;
    let detail = second.get(&grant).await;
    let words = detail.body.replace(['\u{a0}', '\u{202f}'], " ");
    assert!(
        words.contains("par Camille EXEMPLE pour l’entreprise de SIREN 219 200 235"),
        "{words}"
    );
    assert!(second.get("/autorisations").await.body.contains(&grant));
    assert_eq!(second.get("/historique").await.status, StatusCode::OK);
    let id = redeemed.json["grant_id"].as_str().unwrap();
    let (receipt, _) = kit.receipt(&mut second, id).await;
    let office = Representation {
        siren: Some(SIREN.parse().unwrap()),
        acted_by: "Camille EXEMPLE".to_owned(),
        mandated_by: None,
    };
    assert_eq!(receipt.representation, Some(office));
    let stopped = second
        .post(&format!("{grant}/arreter"), &format!("csrf={}", detail.csrf()))
        .await;
    assert_eq!(stopped.status, StatusCode::SEE_OTHER, "{}", stopped.body);
    assert_eq!(
        refreshed(&kit, &redeemed).await.json["error"],
        "invalid_grant",
        "stopped"
    );
    kit.stop().await;
}
