//! The receipt that a person takes home.

use http::StatusCode;
use serde_json::Value;
use unefois_core::Sha256;
use unefois_core::receipt::{DecidedBy, GrantReceipt, PartyRole, PurposeState, TYP};
use unefois_jose::jws;

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{CROUS, Kit, Publisher};

both_databases![
    a_receipt_is_its_person_s_alone,
    a_receipt_says_what_was_granted_and_shown_and_what_happened,
    a_receipt_tells_a_page_whose_words_were_not_kept_from_no_page,
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
        (grant, claims.sub)
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
