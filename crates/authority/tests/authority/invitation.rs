//! An invitation is no power: it serves one person, once, within its time, and whoever gave it accepts who that is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::json;
use unefois_core::directory::IdentityProvider;
use unefois_core::{Acr, Capacity, Event, OfficerAssurance, Sha256};

use crate::both_databases;
use crate::browser::{Browser, Page};
use crate::database::TestDatabase;
use crate::kit::{Kit, set, until};
use crate::mandate::{
    INVITATION, accepted, accepting, given, kit, mandated, not_mandated, officer, taken_up, today,
};
use crate::provider::Says;

both_databases![
    whoever_took_an_invitation_up_may_nothing_until_its_giver_has_recognised_them,
    what_opens_an_invitation_goes_through_no_login,
    of_two_who_take_an_invitation_up_at_once_one_asks,
    an_invitation_and_an_answer_to_it_have_their_time,
    no_more_than_fifty_mandates_are_given_or_held_at_once,
    what_the_ledger_does_not_hold_gives_nothing,
    an_invitation_that_was_not_read_is_not_taken_up,
    a_mandate_is_accepted_at_the_level_at_which_it_was_given,
    i10_an_invitation_is_answered_by_whom_a_provider_may_still_name,
];

const SEVEN_DAYS_MS: i64 = 7 * 24 * 3_600_000;

/// The browser of Angela, and that of somebody else.
async fn angela(kit: &Kit) -> Browser {
    let mut browser = kit.browser();
    browser.follow("/fc/connexion").await;
    browser
}

async fn other(kit: &Kit, sub: &'static str, family_name: &str, given_name: &str) -> Browser {
    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = sub;
        says.identity["family_name"] = family_name.into();
        says.identity["given_name_array"] = json!([given_name, "Pierre"]);
    }
    let mut browser = kit.browser();
    browser.follow("/fc/connexion").await;
    browser
}

fn for_angela(kit: &Kit) -> Vec<(&'static str, String)> {
    let mut parameters = kit.parameters();
    set(&mut parameters, "capacity", Some("helper".to_owned()));
    parameters
}

async fn whoever_took_an_invitation_up_may_nothing_until_its_giver_has_recognised_them(
    database: TestDatabase,
) {
    let kit = kit(database).await;
    let mut angela = angela(&kit).await;
    let address = given(&mut angela, "ecole", &today(&kit)).await;
    // Her own is not hers to take up.
    let own = angela.follow(&address).await;
    assert!(own.body.contains("Ce mandat est le vôtre"), "{}", own.body);
    let csrf = angela.get("/mandats").await.csrf();
    let secret = address.rsplit('/').next().unwrap();
    let shown = URL_SAFE_NO_PAD.encode(Sha256::of(secret.as_bytes()).as_bytes());
    let refused = angela.post(INVITATION, &format!("csrf={csrf}&lue={shown}")).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);

    let mut stranger = other(&kit, "stranger", "AUTRE", "Ali").await;
    let mut joel = other(&kit, "joel", "MERCIER", "Joël").await;
    let page = taken_up(&mut joel, &address).await;
    let list = joel.get("/mandats").await;
    for shown in [&page, &list.body] {
        assert!(!shown.contains("Angela") && !shown.contains("DUBOIS"), "{shown}");
    }
    assert!(page.contains("École et cantine") && list.body.contains("il ne permet rien encore"));
    not_mandated(&kit, &mut joel, &for_angela(&kit)).await;
    assert!(!kit.events().await.contains(&Event::Mandated));

    let seen = angela.get("/mandats").await;
    for words in [
        "Joël Pierre MERCIER",
        "24\u{a0}août\u{a0}1962",
        "identité déclarée",
    ] {
        let (plain, wanted) = (seen.body.replace('\u{a0}', " "), words.replace('\u{a0}', " "));
        assert!(plain.contains(&wanted), "{words}: {plain}");
    }
    let accept = accepting(&seen.body).unwrap();
    for browser in [&mut joel, &mut stranger] {
        let csrf = browser.get("/mandats").await.csrf();
        let refused = browser.post(&accept, &format!("csrf={csrf}")).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
    }
    let forged = angela
        .post_from(
            "https://elsewhere.example",
            &accept,
            &format!("csrf={}", seen.csrf()),
        )
        .await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    accepted(&mut angela).await;
    assert_eq!(kit.events().await.last(), Some(&Event::Mandated));
    let entry = kit.entries().await.pop().unwrap();
    assert_eq!(entry.capacity, Some(Capacity::Helper));
    assert!(entry.evidence_commit.is_some(), "it commits to which mandate");
    let again = angela.post(&accept, &format!("csrf={}", seen.csrf())).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(joel.get("/mandats").await.body.contains("Angela DUBOIS"));
    kit.grant(&mut joel, &for_angela(&kit), "").await;

    // Its end is in the ledger too; that of one which was refused is not.
    let list = angela.get("/mandats").await;
    let (_, rest) = list.body.split_once("action=\"/mandats/").unwrap();
    let end = format!("/mandats/{}", rest.split('"').next().unwrap());
    angela.post(&end, &format!("csrf={}", list.csrf())).await;
    assert_eq!(kit.events().await.last(), Some(&Event::Mandated));
    let address = given(&mut angela, "ecole", &today(&kit)).await;
    taken_up(&mut joel, &address).await;
    let list = angela.get("/mandats").await;
    let refuse = accepting(&list.body).unwrap().replace("/accepter", "/fin");
    let before = kit.events().await.len();
    angela.post(&refuse, &format!("csrf={}", list.csrf())).await;
    assert_eq!(kit.events().await.len(), before);
    let accept = refuse.replace("/fin", "/accepter");
    let late = angela.post(&accept, &format!("csrf={}", list.csrf())).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
    assert!(!joel.get("/mandats").await.body.contains("/fin\""));
    kit.stop().await;
}

async fn what_opens_an_invitation_goes_through_no_login(database: TestDatabase) {
    let kit = kit(database).await;
    let mut angela = angela(&kit).await;
    let address = given(&mut angela, "ecole", &today(&kit)).await;
    let secret = address.rsplit('/').next().unwrap();
    let mut browser = kit.browser();
    let opened = browser.get(&address).await;
    assert_eq!(opened.location, INVITATION);
    let cookie = opened.headers.get("set-cookie").unwrap().to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    let login = browser.get(INVITATION).await;
    assert_eq!(login.location, "/connexion?suite=%2Fmandats%2Finvitation");
    let choice = browser.get(&login.location).await;
    assert!(!choice.body.contains(secret), "{}", choice.body);
    let kept = browser
        .get(&format!("/fc/connexion?suite={}", address.replace('/', "%2F")))
        .await;
    assert_eq!(kept.status, StatusCode::BAD_REQUEST);
    for wrong in ["x", &"x".repeat(44), &"é".repeat(20)] {
        let refused = browser.get(&format!("{INVITATION}/{wrong}")).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{wrong}");
    }
    kit.stop().await;
}

async fn of_two_who_take_an_invitation_up_at_once_one_asks(database: TestDatabase) {
    let kit = kit(database).await;
    let mut angela = angela(&kit).await;
    let mut joel = other(&kit, "joel", "MERCIER", "Joël").await;
    let mut ali = other(&kit, "ali", "AUTRE", "Ali").await;
    for _ in 0..4 {
        let address = given(&mut angela, "ecole", &today(&kit)).await;
        let one = joel.follow(&address).await.taking();
        let two = ali.follow(&address).await.taking();
        let (one, two) = tokio::join!(joel.post(INVITATION, &one), ali.post(INVITATION, &two));
        let mut told = [one.status, two.status];
        told.sort();
        assert_eq!(told, [StatusCode::SEE_OTHER, StatusCode::NOT_FOUND]);
    }
    kit.stop().await;
}

async fn an_invitation_and_an_answer_to_it_have_their_time(database: TestDatabase) {
    let kit = kit(database).await;
    let mut boss = officer(&kit).await;
    let until = unefois_authority::portal::paris::iso_day(
        unefois_core::Clock::now(&*kit.clock).plus_ms(30 * 24 * 3_600_000),
    );
    let late = given(&mut boss, "marche-public", &until).await;
    let taken = given(&mut boss, "marche-public", &until).await;
    let mut angela_now = angela(&kit).await;
    taken_up(&mut angela_now, &taken).await;

    kit.clock.pass(SEVEN_DAYS_MS + 1_000);
    for says in [&kit.provider.says, &kit.pro.says] {
        says.lock().unwrap().ahead_s = SEVEN_DAYS_MS / 1_000 + 1;
    }
    let mut angela = angela(&kit).await;
    assert_eq!(angela.follow(&late).await.status, StatusCode::NOT_FOUND);
    let mut boss = kit.browser();
    boss.follow("/pro/connexion?niveau=certified").await;
    let list = boss.get("/mandats").await;
    assert!(
        accepting(&list.body).is_none() && !list.body.contains("/fin\""),
        "{}",
        list.body
    );
    assert!(angela.get("/mandats").await.body.contains("Expiré"));
    kit.stop().await;
}

async fn no_more_than_fifty_mandates_are_given_or_held_at_once(database: TestDatabase) {
    let kit = kit(database).await;
    let mut angela = angela(&kit).await;
    let page = angela.get("/mandats").await;
    let give = format!("csrf={}&p.ecole=1&fin={}", page.csrf(), today(&kit));
    for _ in 0..49 {
        let given = angela.post("/mandats", &give).await;
        assert!(given.body.contains("/mandats/invitation/"), "{}", given.body);
    }
    let mut tab = angela.copy();
    let (one, two) = tokio::join!(angela.post("/mandats", &give), tab.post("/mandats", &give));
    let mut told = [one.status, two.status];
    told.sort();
    assert_eq!(told, [StatusCode::OK, StatusCode::FORBIDDEN], "one passes");
    let refused = angela.post("/mandats", &give).await;
    assert!(
        refused.body.contains("Trop de mandats à la fois"),
        "{}",
        refused.body
    );

    // Joël holds them all, and no other.
    let address = match one.status {
        StatusCode::OK => one.body,
        _ => two.body,
    };
    let (_, rest) = address.split_once("/mandats/invitation/").unwrap();
    let address = format!("{INVITATION}/{}", rest.split('<').next().unwrap());
    let mut joel = other(&kit, "joel", "MERCIER", "Joël").await;
    taken_up(&mut joel, &address).await;
    kit.execute("UPDATE mandate SET holder = (SELECT holder FROM mandate WHERE holder IS NOT NULL)")
        .await;
    *kit.pro.says.lock().unwrap() = Says::officer("dirigeant");
    let mut boss = officer(&kit).await;
    let address = given(&mut boss, "marche-public", &today(&kit)).await;
    let page = joel.follow(&address).await;
    let refused = joel.post(INVITATION, &page.taking()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(
        refused.body.contains("Trop de mandats à la fois"),
        "{}",
        refused.body
    );
    kit.stop().await;
}

async fn what_the_ledger_does_not_hold_gives_nothing(database: TestDatabase) {
    let mut kit = kit(database).await;
    let mut angela = angela(&kit).await;
    let mut joel = other(&kit, "joel", "MERCIER", "Joël").await;
    mandated(&mut angela, &mut joel, "ecole", &today(&kit)).await;
    // As after a process that died before it wrote the entry.
    kit.execute("UPDATE mandate SET accepted_logged_at = NULL").await;
    not_mandated(&kit, &mut joel, &for_angela(&kit)).await;
    assert!(
        joel.get("/mandats")
            .await
            .body
            .contains("En cours d’enregistrement")
    );
    kit.clock.pass(11_000);
    kit = kit.restart(|_, _| {}).await;
    until(async || {
        let page = joel.get("/mandats").await.body;
        (!page.contains("En cours d’enregistrement")).then_some(())
    })
    .await;
    let mandated = kit
        .events()
        .await
        .into_iter()
        .filter(|event| *event == Event::Mandated);
    assert_eq!(mandated.count(), 2, "the entry was lost to the database alone");
    kit.grant(&mut joel, &for_angela(&kit), "").await;
    kit.stop().await;
}

/// Another link was followed in another tab: what is taken up is what was read.
async fn an_invitation_that_was_not_read_is_not_taken_up(database: TestDatabase) {
    let kit = kit(database).await;
    let mut angela = angela(&kit).await;
    let mut joel = other(&kit, "joel", "MERCIER", "Joël").await;
    let read = given(&mut angela, "ecole", &today(&kit)).await;
    let followed = given(&mut angela, "ecole", &today(&kit)).await;
    let page = joel.follow(&read).await;
    let other = joel.follow(&followed).await;
    for form in [page.taking(), format!("csrf={}", other.csrf())] {
        let refused = joel.post(INVITATION, &form).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
    }
    let taken = joel.post(INVITATION, &other.taking()).await;
    assert_eq!(taken.location, "/mandats", "{}", taken.body);
    kit.stop().await;
}

/// What was given at one level is not accepted at a lower one, which could not have given it.
async fn a_mandate_is_accepted_at_the_level_at_which_it_was_given(database: TestDatabase) {
    let kit = kit(database).await;
    let mut high = kit.browser();
    high.follow("/fcp/connexion").await;
    let mut low = angela(&kit).await;
    let mut joel = other(&kit, "joel", "MERCIER", "Joël").await;
    let address = given(&mut high, "ecole", &today(&kit)).await;
    taken_up(&mut joel, &address).await;
    let page = low.get("/mandats").await;
    let accept = accepting(&page.body).expect("somebody who asks");
    let refused = low.post(&accept, &format!("csrf={}", page.csrf())).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    accepted(&mut high).await;
    kit.stop().await;
}

/// The directory does not name a provider any more.
fn nothing(rows: &[IdentityProvider], issuer: &str) -> Vec<IdentityProvider> {
    let others = rows.iter().filter(|row| row.issuer != issuer);
    others.cloned().collect()
}

/// It names it, for other logins than those of these tests.
fn something_else(rows: &[IdentityProvider], issuer: &str) -> Vec<IdentityProvider> {
    let mut rows = rows.to_vec();
    for row in rows.iter_mut().filter(|row| row.issuer == issuer) {
        row.acr.retain(|acr| *acr == Acr::Eidas3);
        row.officers.retain(|may| *may == OfficerAssurance::Identified);
    }
    rows
}

/// The login was one that counted, and its provider may not say so any more: it does not say who takes a mandate up, nor
/// who accepts that.
async fn i10_an_invitation_is_answered_by_whom_a_provider_may_still_name(database: TestDatabase) {
    let mut kit = kit(database).await;
    let mut boss = officer(&kit).await;
    let mut high = kit.browser();
    high.follow("/fcp/connexion").await;
    let mut low = angela(&kit).await;
    let mut joel = other(&kit, "joel", "MERCIER", "Joël").await;
    let refused = |answer: &Page| {
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
        let told = "Votre moyen de connexion n’est pas reconnu";
        assert!(answer.body.contains(told), "{}", answer.body);
    };
    let waiting = given(&mut boss, "marche-public", &today(&kit)).await;
    let mut tab = joel.copy();
    let invitation = tab.follow(&waiting).await;
    let [fc, fcp, pro] = [&kit.provider, &kit.plus, &kit.pro].map(|idp| idp.issuer.clone());
    for (giver, word, issuer) in [
        (&mut low, "ecole", fc),
        (&mut high, "ecole", fcp),
        (&mut boss, "marche-public", pro),
    ] {
        let address = given(giver, word, &today(&kit)).await;
        taken_up(&mut joel, &address).await;
        let page = giver.get("/mandats").await;
        let accept = accepting(&page.body).expect("somebody who asks");
        let rows = kit.document.authority.identity_providers.clone();
        for may_say in [nothing, something_else] {
            kit.publish(|document| document.authority.identity_providers = may_say(&rows, &issuer));
            kit.taken_up().await;
            refused(&giver.post(&accept, &format!("csrf={}", page.csrf())).await);
            if issuer == kit.provider.issuer {
                refused(&tab.post(INVITATION, &invitation.taking()).await);
            }
            assert!(
                accepting(&giver.get("/mandats").await.body).is_some(),
                "it waits as before"
            );
            kit.publish(|document| document.authority.identity_providers.clone_from(&rows));
            kit.taken_up().await;
        }
        accepted(giver).await;
    }
    let taken = tab.post(INVITATION, &invitation.taking()).await;
    assert_eq!(taken.location, "/mandats", "{}", taken.body);
    kit.stop().await;
}
