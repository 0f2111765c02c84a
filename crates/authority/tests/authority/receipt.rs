//! The receipt that a person takes home.

use http::StatusCode;
use serde_json::Value;
use unefois_core::Sha256;
use unefois_core::receipt::{DecidedBy, GrantReceipt, PartyRole, PurposeState, TYP};
use unefois_jose::jws;

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{CROUS, Kit, Publisher, set};
use crate::mandate;
use crate::provider::Says;

both_databases![
    a_receipt_is_its_person_s_alone,
    a_receipt_says_what_was_granted_and_shown_and_what_happened,
    a_receipt_tells_a_page_whose_words_were_not_kept_from_no_page,
    words_that_are_kept_name_nobody_who_acts_or_is_acted_for,
    words_of_before_that_may_name_somebody_are_put_away,
    whoever_gave_a_mandate_does_not_learn_how_its_holder_is_named_to_the_asker,
];

impl Kit {
    /// The receipt at this address: what is signed, and the same in clear.
    pub(crate) async fn receipt(&self, browser: &mut Browser, grant: &str) -> (GrantReceipt, Value) {
        let page = browser.get(&format!("/autorisations/{grant}/recu.json")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let file: Value = serde_json::from_str(&page.body).unwrap();
        let signed = file["signed"].as_str().unwrap();
        let key = self.withdrawal_key.verifying_key();
        let verified = jws::verify(signed, TYP, 1 << 20, |kid| {
            (kid == key.thumbprint()).then_some(key)
        })
        .unwrap();
        let receipt: GrantReceipt = verified.claims().unwrap();
        assert_eq!(
            serde_json::to_value(&receipt).unwrap(),
            file["receipt"],
            "what is read is what is signed"
        );
        assert_eq!(receipt.check(), Ok(()));
        (receipt, file)
    }
}

async fn a_receipt_is_its_person_s_alone(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let address = format!(
        "/autorisations/{}/recu.json",
        answer.json["grant_id"].as_str().unwrap()
    );
    let nobody = kit.browser().get(&address).await;
    assert_eq!(nobody.status, StatusCode::SEE_OTHER, "to the login");
    kit.provider.says.lock().unwrap().sub = "somebody-else";
    kit.provider.says.lock().unwrap().identity["birthdate"] = "1970-01-01".into();
    let mut other = kit.browser();
    other.follow("/fc/connexion").await;
    assert_eq!(other.get(&address).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get(&address).await.status, StatusCode::OK);
    kit.stop().await;
}

async fn a_receipt_says_what_was_granted_and_shown_and_what_happened(database: TestDatabase) {
    let kit = Kit::with(database, |directory, _| {
        directory["participants"][1]["publishers"] = serde_json::json!([CROUS]);
    })
    .await;
    let mut browser = kit.browser();
    let code = kit.grant_through(Publisher::Crous, &mut browser).await;
    let answer = kit
        .call_as_publisher(
            Publisher::Crous,
            http::Method::POST,
            "/as/token",
            &crate::kit::form(&code),
        )
        .await;
    let grant = answer.json["grant_id"].as_str().unwrap();
    let claims = kit.claims(answer.json["access_token"].as_str().unwrap());

    let page = browser.get(&format!("/autorisations/{grant}")).await;
    assert!(
        page.body.contains(&format!("/autorisations/{grant}/recu.json")),
        "the page leads to it"
    );
    let list = browser.get("/autorisations").await;
    for page in [&page.body, &list.body] {
        let (_, hosted) = page.split_once("Logiciel hébergé par").unwrap();
        assert!(page.contains("airie de Clamart"), "{page}");
        let name = hosted.split_once("</bdi>").unwrap().0;
        assert!(name.ends_with("<bdi>CROUS de Versailles"), "{name}");
    }
    let (receipt, file) = kit.receipt(&mut browser, grant).await;
    assert_eq!(
        (receipt.record_id.as_str(), receipt.pii_principal_id),
        (grant, Some(claims.sub))
    );
    let roles: Vec<PartyRole> = receipt
        .party_identification
        .iter()
        .map(|party| party.party_role)
        .collect();
    assert_eq!(
        roles,
        [
            PartyRole::PiiController,
            PartyRole::PiiProcessor,
            PartyRole::PiiSource,
            PartyRole::AuthorityParty
        ]
    );
    let [purpose] = &receipt.purposes[..] else {
        panic!("one element")
    };
    let units = |of: &[unefois_core::receipt::Attribute]| {
        of.iter()
            .map(|unit| unit.pii_attribute.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (units(&purpose.pii_information), units(&purpose.pii_left_out)),
        (vec!["valeur".to_owned()], vec!["composition".to_owned()])
    );
    assert_eq!(
        (purpose.state, purpose.retention_days),
        (PurposeState::Active, 365)
    );
    let notice = receipt.privacy_notice.unwrap();
    assert_eq!(notice.sha256, Sha256::of(notice.text.as_bytes()));
    for words in [
        "La mairie de Clamart demande",
        "2026-0412",
        "facultatif",
        "Récupérer pour moi",
    ] {
        assert!(notice.text.contains(words), "{words}: {}", notice.text);
    }
    for secret in ["DUBOIS", "csrf", "<"] {
        assert!(!notice.text.contains(secret), "{secret}: {}", notice.text);
    }
    assert!(!file.to_string().contains("DUBOIS") && !file.to_string().contains(&claims.gh.to_string()));

    let ask = browser.get(&format!("/autorisations/{grant}/arreter")).await;
    let stop = format!("csrf={}", ask.csrf());
    browser
        .post(&format!("/autorisations/{grant}/arreter"), &stop)
        .await;
    let (after, _) = kit.receipt(&mut browser, grant).await;
    assert_eq!(after.purposes[0].state, PurposeState::Withdrawn);
    let events: Vec<&str> = after
        .events
        .iter()
        .map(|event| event.event_type.as_str())
        .collect();
    assert_eq!(events[..2], ["granted", "withdrawn_by_person"]);
    assert_ne!(after.receipt_id, receipt.receipt_id);
    kit.stop().await;
}

async fn a_receipt_tells_a_page_whose_words_were_not_kept_from_no_page(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let chosen = kit.redeem(&code).await;
    let request_uri = kit.push_unasked(&kit.unasked("UN-1")).await;
    let unasked = kit.present(&request_uri).await;
    // As a grant was kept before its page's words were.
    kit.execute("DELETE FROM grant_notice").await;
    for (grant, unknown) in [(&chosen, true), (&unasked, false)] {
        let id = grant.json["grant_id"].as_str().unwrap();
        let (receipt, _) = kit.receipt(&mut browser, id).await;
        assert_eq!(
            (receipt.privacy_notice, receipt.privacy_notice_unknown),
            (None, unknown)
        );
        let decided_by = receipt.asked_without_person.map(|asked| asked.decided_by);
        assert_eq!(decided_by, (!unknown).then_some(DecidedBy::Nobody));
    }
    kit.stop().await;
}

/// The browser of somebody who helps.
async fn helper(kit: &Kit) -> Browser {
    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = "joel";
        says.identity["family_name"] = "MERCIER".into();
    }
    let mut joel = kit.browser();
    joel.follow("/fc/connexion").await;
    joel
}

fn of_a_helper(kit: &Kit) -> Vec<(&'static str, String)> {
    let mut parameters = kit.parameters();
    set(&mut parameters, "capacity", Some("helper".to_owned()));
    parameters
}

async fn words_that_are_kept_name_nobody_who_acts_or_is_acted_for(database: TestDatabase) {
    let kit = mandate::kit(database).await;
    {
        // A company whose number is not the asker's own.
        let mut says = kit.pro.says.lock().unwrap();
        *says = Says::officer("dirigeant");
        says.identity["siret"] = format!("{}00013", mandate::OTHER).into();
    }
    let mut boss = kit.browser();
    boss.follow("/pro/connexion?niveau=certified").await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    let mut joel = helper(&kit).await;
    let today = mandate::today(&kit);
    mandate::mandated(&mut boss, &mut joel, "marche-public", &today).await;
    mandate::mandated(&mut angela, &mut joel, "ecole", &today).await;

    let for_company = mandate::for_company(&kit, mandate::OTHER);
    let shown = kit.open(&mut joel, &for_company).await.page.body;
    assert!(shown.contains("mandat de <bdi>Camille EXEMPLE</bdi>"), "{shown}");
    kit.grant(&mut joel, &for_company, "").await;
    kit.grant(&mut boss, &for_company, "").await;
    let code = kit.grant(&mut joel, &of_a_helper(&kit), "").await;

    let kept = kit.texts("SELECT words FROM grant_notice").await;
    assert_eq!(kept.len(), 3);
    for words in kept {
        assert!(words.contains("La mairie de Clamart demande"), "{words}");
        let unbroken: String = words.split_whitespace().collect();
        for named in ["DUBOIS", "MERCIER", "EXEMPLE", "Camille", mandate::OTHER] {
            assert!(!unbroken.contains(named), "{named}: {words}");
        }
    }
    // What is signed says it nevertheless, from what is sealed.
    let redeemed = kit.redeem(&code).await;
    let grant = redeemed.json["grant_id"].as_str().unwrap();
    let (receipt, _) = kit.receipt(&mut joel, grant).await;
    let representation = receipt.representation.unwrap();
    assert_eq!(representation.mandated_by.as_deref(), Some("Angela DUBOIS"));
    kit.stop().await;
}

async fn words_of_before_that_may_name_somebody_are_put_away(database: TestDatabase) {
    let kit = mandate::kit(database).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    let code = kit.grant(&mut angela, &kit.parameters(), "").await;
    let own = kit.redeem(&code).await;
    let mut joel = helper(&kit).await;
    mandate::mandated(&mut angela, &mut joel, "ecole", &mandate::today(&kit)).await;
    let code = kit.grant(&mut joel, &of_a_helper(&kit), "").await;
    let helped = kit.redeem(&code).await;
    let company = mandate::for_company(&kit, mandate::SIREN);
    let mut boss = mandate::officer(&kit).await;
    kit.grant(&mut boss, &company, "").await;

    // As the program before the step that puts them away left it.
    kit.execute("DELETE FROM migration_authority WHERE version = 18")
        .await;
    let kit = kit.restart(|_, _| {}).await;
    let kept = "SELECT g.capacity FROM grant_notice n JOIN person_grant g ON g.id = n.grant_id";
    assert_eq!(kit.texts(kept).await, ["self"]);
    for (browser, grant, unknown) in [(&mut angela, &own, false), (&mut joel, &helped, true)] {
        let id = grant.json["grant_id"].as_str().unwrap();
        let (receipt, _) = kit.receipt(browser, id).await;
        assert_eq!(receipt.privacy_notice_unknown, unknown);
    }
    kit.stop().await;
}

async fn whoever_gave_a_mandate_does_not_learn_how_its_holder_is_named_to_the_asker(database: TestDatabase) {
    let kit = mandate::kit(database).await;
    let mut angela = kit.browser();
    angela.follow("/fc/connexion").await;
    let mut joel = helper(&kit).await;
    mandate::mandated(&mut angela, &mut joel, "ecole", &mandate::today(&kit)).await;
    let code = kit.grant(&mut joel, &of_a_helper(&kit), "").await;
    let redeemed = kit.redeem(&code).await;
    let sub = kit.claims(redeemed.json["access_token"].as_str().unwrap()).sub;
    let grant = redeemed.json["grant_id"].as_str().unwrap();

    let (giver_s, file) = kit.receipt(&mut angela, grant).await;
    assert_eq!(giver_s.pii_principal_id, None);
    assert!(!file.to_string().contains(&sub), "{file}");
    let (holder_s, _) = kit.receipt(&mut joel, grant).await;
    assert_eq!(holder_s.pii_principal_id, Some(sub));
    kit.stop().await;
}
