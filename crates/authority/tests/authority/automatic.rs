//! Requests with nobody present: who is meant, on which ground, and that the person sees it.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::{Acr, Capacity, Event, Reason, SealedSubject};
use unefois_jose::{DecryptionKey, EncryptionKey, Pkcs8, jwe};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Answer, COMMUNE, Kit, form, merge, ring, set};

both_databases![
    i12_what_was_granted_with_nobody_is_the_person_s_at_the_first_login,
    a_request_with_nobody_serves_once_and_at_the_token_endpoint_alone,
    an_identity_that_was_not_sealed_as_it_should_be_is_refused,
    nobody_is_asked_only_on_the_grounds_that_allow_it,
    a_grant_with_nobody_that_comes_to_no_token_is_ended
];

/// The identity of FranceConnect's test person, as a file holds it.
pub(crate) fn angela() -> Value {
    json!({"person": {
        "family_name": "Dubois", "given_names": ["Angela", "Claire", "Louise"], "birthdate": "1962-08-24",
        "gender": "female", "birthplace": "75107", "birthcountry": "99100"
    }})
}

impl Kit {
    /// An identity, sealed to the authority.
    pub(crate) fn sealed(&self, subject: &Value) -> String {
        jwe::seal_pivot(self.sealing_key.encryption_key(), &subject.to_string(), &ring()).unwrap()
    }

    /// A good request with nobody present, for a check that a grant of a fare rests on, or for information.
    pub(crate) fn unasked(&self, habilitation: &str) -> Vec<(&'static str, String)> {
        let (demarche, basis, days) = match habilitation {
            "UN-1" => ("transports-verification", "CRPA-L114-8-I", 365),
            _ => ("transports-information", "CRPA-L114-8-II", 180),
        };
        let mut element = self.element();
        merge(
            &mut element,
            json!({
                "units": [{"unit": "valeur", "need": "required"}], "demarche": demarche, "habilitation": habilitation,
                "legal_basis": basis, "data_life_days": days,
                "mode": {"kind": "standing", "max_count": 2, "min_interval_s": 2_419_200}
            }),
        );
        vec![
            ("client_id", COMMUNE.to_owned()),
            ("way", "automatic".to_owned()),
            ("authorization_details", json!([element]).to_string()),
            ("subject_jwe", self.sealed(&angela())),
        ]
    }

    /// Pushes a request with nobody present; its `request_uri`.
    pub(crate) async fn push_unasked(&self, parameters: &[(&'static str, String)]) -> String {
        let answer = self.call(Method::POST, "/as/par", &form(parameters)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        answer.json["request_uri"].as_str().unwrap().to_owned()
    }

    /// Presents a request at the token endpoint.
    pub(crate) async fn present(&self, request_uri: &str) -> Answer {
        let parameters = [
            ("grant_type", "urn:unefois:grant-type:automatic".to_owned()),
            ("request_uri", request_uri.to_owned()),
        ];
        self.call(Method::POST, "/as/token", &form(&parameters)).await
    }

    async fn refused_par(&self, parameters: &[(&'static str, String)]) -> (String, String) {
        let answer = self.call(Method::POST, "/as/par", &form(parameters)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.json);
        let entries = self.entries().await;
        let last = entries.last().expect("an entry");
        assert_eq!(
            (last.event, last.requester),
            (Event::Refused, Some(COMMUNE.parse().unwrap()))
        );
        let reason = answer.json["unefois_reason"].as_str().unwrap().to_owned();
        assert_eq!(last.reason.map(Reason::as_str), Some(reason.as_str()));
        let text = answer.json["error_description"].as_str().unwrap();
        (reason, text.to_owned())
    }
}

async fn an_identity_that_was_not_sealed_as_it_should_be_is_refused(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let another = DecryptionKey::from_pkcs8(&Pkcs8::generate(&ring()).unwrap()).unwrap();
    let to =
        |key: &EncryptionKey, subject: &Value| jwe::seal_pivot(key, &subject.to_string(), &ring()).unwrap();
    let good = kit.sealed(&angela());
    let without = |member: &str| {
        let mut subject = angela();
        subject["person"].as_object_mut().unwrap().remove(member);
        kit.sealed(&subject)
    };
    let with = |member: &str, value: Value| {
        let mut subject = angela();
        subject["person"][member] = value;
        kit.sealed(&subject)
    };
    let header = |from: &str, to: &str| {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as b64;
        let (head, rest) = good.split_once('.').unwrap();
        let text = String::from_utf8(b64.decode(head).unwrap()).unwrap();
        assert!(text.contains(from), "{text}");
        format!("{}.{rest}", b64.encode(text.replace(from, to)))
    };
    let x = {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as b64;
        let head = String::from_utf8(b64.decode(good.split('.').next().unwrap()).unwrap()).unwrap();
        let (_, x) = head.split_once(r#""x":""#).unwrap();
        x.split('"').next().unwrap().to_owned()
    };
    let unpadded = jwe::seal(
        kit.sealing_key.encryption_key(),
        angela().to_string().as_bytes(),
        &ring(),
    )
    .unwrap();
    for (spoiled, why) in [
        (String::new(), "none"),
        (to(another.encryption_key(), &angela()), "another key"),
        (to(kit.pivot_key.encryption_key(), &angela()), "a producer's key"),
        (format!("{good}{}", "A".repeat(4_096)), "oversized"),
        (
            header(r#""alg":"ECDH-ES""#, r#""zip":"DEF","alg":"ECDH-ES""#),
            "zip",
        ),
        (header("A256GCM", "A128GCM"), "another enc"),
        (header(&x, &"A".repeat(x.len())), "a point off the curve"),
        (unpadded, "not padded"),
        (kit.sealed(&json!({"entity": "130025265"})), "no person"),
        (without("birthplace"), "no place of birth"),
        (without("birthcountry"), "no country of birth"),
        (with("birthdate", json!("1962-08-00")), "no day of birth"),
        (with("birthdate", json!("1962-02-30")), "no such day"),
        (with("gender", json!("unspecified")), "no sex"),
        (with("given_names", json!([])), "no given name"),
        (with("family_name", json!("DU\u{202e}BOIS")), "a hidden character"),
        (with("email", json!("a@b.c")), "an unknown member"),
    ] {
        let mut parameters = kit.unasked("UN-1");
        set(
            &mut parameters,
            "subject_jwe",
            Some(spoiled).filter(|text| !text.is_empty()),
        );
        let (reason, text) = kit.refused_par(&parameters).await;
        let expected = match why {
            "no person" => "NOT_IMPLEMENTED",
            _ => "INVALID_REQUEST",
        };
        assert_eq!(reason, expected, "{why}");
        assert!(!text.to_uppercase().contains("DUBOIS"), "{text}");
    }
    // Whoever logs in says who they are, and nobody else for them.
    let mut parameters = kit.parameters();
    parameters.push(("subject_jwe", good));
    assert_eq!(kit.refused_par(&parameters).await.0, "INVALID_REQUEST");
    set(&mut parameters, "subject_check", None);
    assert_eq!(kit.refused_par(&parameters).await.0, "INVALID_REQUEST");
    kit.stop().await;
}

async fn nobody_is_asked_only_on_the_grounds_that_allow_it(database: TestDatabase) {
    let kit = Kit::with(database, |directory, _| {
        let mesr = directory["participants"][4]["id"].clone();
        let more = json!({
            "id": "UN-3", "consumer": COMMUNE, "producer": mesr, "demarche": "cantine",
            "datatypes": [{"datatype": "mesr/statut-etudiant@1", "units": ["inscription"]}],
            "legal_bases": ["CRPA-L114-8-II"],
            "not_before": "2020-01-01T00:00:00Z", "not_after": "2090-01-01T00:00:00Z",
        });
        directory["habilitations"].as_array_mut().unwrap().push(more);
    })
    .await;
    let with = |habilitation: &str, more: Value| {
        let mut parameters = kit.unasked(habilitation);
        let details: Value = serde_json::from_str(&parameters[2].1).unwrap();
        let mut element = details[0].clone();
        merge(&mut element, more);
        set(
            &mut parameters,
            "authorization_details",
            Some(json!([element]).to_string()),
        );
        parameters
    };
    for (parameters, why) in [
        (
            with("UN-1", json!({"demarche": "cantine", "habilitation": "DP-1"})),
            "a démarche that wants somebody there",
        ),
        (
            with("UN-1", json!({"legal_basis": "CRPA-L114-8-II"})),
            "a ground that is not the démarche's",
        ),
        (
            with("UN-2", json!({"legal_basis": "CRPA-L114-8-I"})),
            "the same the other way round",
        ),
        (
            with("UN-1", json!({"legal_basis": "RGPD-6-1-a"})),
            "consent is given by somebody",
        ),
        (
            with("UN-1", json!({"legal_basis": "TEXTE:X"})),
            "a text of its own",
        ),
    ] {
        assert_eq!(kit.refused_par(&parameters).await.0, "LEGAL_BLOCK", "{why}");
    }
    let longer = with("UN-2", json!({"data_life_days": 400}));
    assert_eq!(
        kit.refused_par(&longer).await.0,
        "INVALID_REQUEST",
        "beyond what the law leaves"
    );
    for (name, value) in [
        ("capacity", "self"),
        ("capacity", "agent"),
        ("subject_unbound", "aucun"),
    ] {
        let mut parameters = kit.unasked("UN-1");
        parameters.push((name, value.to_owned()));
        assert_eq!(
            kit.refused_par(&parameters).await.0,
            "INVALID_REQUEST",
            "{name}={value}"
        );
    }
    // A person at their browser is asked on no ground that asks nobody.
    let mut parameters = kit.parameters();
    let mut element = kit.element();
    merge(
        &mut element,
        json!({
            "units": [{"unit": "valeur", "need": "required"}], "demarche": "transports-information",
            "habilitation": "UN-2", "legal_basis": "CRPA-L114-8-II", "data_life_days": 180
        }),
    );
    set(
        &mut parameters,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    assert_eq!(kit.refused_par(&parameters).await.0, "LEGAL_BLOCK");
    kit.stop().await;
}

async fn a_request_with_nobody_serves_once_and_at_the_token_endpoint_alone(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let parameters = kit.unasked("UN-1");
    let request_uri = kit.push_unasked(&parameters).await;
    let stolen = form(&[
        ("grant_type", "urn:unefois:grant-type:automatic".to_owned()),
        ("request_uri", request_uri.clone()),
    ]);
    let stolen = kit.call_as_crous("/as/token", &stolen).await;
    assert_eq!(
        stolen.json["error"], "invalid_request_uri",
        "another participant's"
    );
    let both = tokio::join!(kit.present(&request_uri), kit.present(&request_uri));
    let granted = [&both.0, &both.1]
        .into_iter()
        .filter(|answer| answer.status == StatusCode::OK);
    assert_eq!(granted.count(), 1, "{} {}", both.0.json, both.1.json);
    let entries = kit.entries().await;
    let refused: Vec<_> = entries
        .iter()
        .filter(|entry| entry.event == Event::Refused)
        .collect();
    assert_eq!(refused.len(), 2, "who stole it, and who came second");
    assert!(
        refused
            .iter()
            .all(|entry| entry.reason == Some(Reason::InvalidRequest))
    );

    let late = kit.push_unasked(&parameters).await;
    kit.clock.pass(60_000);
    assert_eq!(
        kit.present(&late).await.json["error"],
        "invalid_request_uri",
        "too old"
    );

    // What a person is to decide on is not granted without them, nor the other way round.
    let asked = kit.call(Method::POST, "/as/par", &form(&kit.parameters())).await;
    let asked = kit.present(asked.json["request_uri"].as_str().unwrap()).await;
    assert_eq!(asked.json["error"], "invalid_request_uri");
    let unasked = kit.push_unasked(&parameters).await;
    let query = form(&[("client_id", COMMUNE.to_owned()), ("request_uri", unasked)]);
    let page = kit.browser().get(&format!("/as/authorize?{query}")).await;
    assert_eq!(
        page.status,
        StatusCode::BAD_REQUEST,
        "no browser opens it: {}",
        page.location
    );
    kit.stop().await;
}

async fn i12_what_was_granted_with_nobody_is_the_person_s_at_the_first_login(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let keys = kit.call(Method::GET, "/as/jwks", "").await;
    let sealing = keys.json["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["use"] == "enc");
    assert_eq!(sealing.unwrap()["kid"], kit.sealing_key.thumbprint().to_string());

    let request_uri = kit.push_unasked(&kit.unasked("UN-1")).await;
    let answer = kit.present(&request_uri).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let claims = kit.claims(answer.json["access_token"].as_str().unwrap());
    assert_eq!((claims.capacity, claims.acr), (Capacity::Automatic, Acr::Eidas1));
    assert_eq!(
        claims.idp_iss, kit.issuer,
        "the authority says so, on the word of a file"
    );
    let pivot_jwe = answer.json["pivot_jwe"].as_str().unwrap();
    let plain = jwe::open_pivot(&[&kit.pivot_key], pivot_jwe).unwrap();
    let SealedSubject::Person(pivot) = serde_json::from_slice(&plain).unwrap() else {
        panic!("a person");
    };
    assert_eq!(pivot.given_names.len(), 3, "all of them");

    // The person comes for the first time, at an identity provider that spells them its own way.
    let mut browser = kit.browser();
    browser.follow("/fc/connexion").await;
    let list = browser.get("/autorisations").await;
    assert!(list.body.contains("vérification annuelle"), "{}", list.body);
    let id = answer.json["grant_id"].as_str().unwrap();
    let detail = browser.get(&format!("/autorisations/{id}")).await;
    assert!(detail.body.contains("automatiquement"), "{}", detail.body);
    let question = browser.get(&format!("/autorisations/{id}/arreter")).await;
    let posted = format!("csrf={}", question.csrf());
    let stopped = browser
        .post(&format!("/autorisations/{id}/arreter"), &posted)
        .await;
    assert_eq!(stopped.status, StatusCode::SEE_OTHER);
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            answer.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    let late = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(late.json["unefois_reason"], "GRANT_REVOKED");

    // Another one for somebody who has an account already joins it.
    let again = kit.push_unasked(&kit.unasked("UN-1")).await;
    let again = kit.present(&again).await;
    let other = kit.claims(again.json["access_token"].as_str().unwrap());
    assert_eq!(other.sub, claims.sub, "one person");
    kit.stop().await;
}

/// The request serves once: whoever got nothing for it would never hear of what was granted, and it would stand for a year.
async fn a_grant_with_nobody_that_comes_to_no_token_is_ended(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let request_uri = kit.push_unasked(&kit.unasked("UN-1")).await;
    let elsewhere = form(&[
        ("grant_type", "urn:unefois:grant-type:automatic".to_owned()),
        ("request_uri", request_uri),
        ("resource", COMMUNE.to_owned()),
    ]);
    let refused = kit.call(Method::POST, "/as/token", &elsewhere).await;
    assert_eq!(refused.json["error"], "invalid_target", "{}", refused.json);
    let events = kit.events().await;
    let count = |event| events.iter().filter(|one| **one == event).count();
    assert_eq!(
        (count(Event::Granted), count(Event::Withdrawn)),
        (1, 1),
        "{events:?}"
    );
    let mut browser = kit.browser();
    browser.follow("/fc/connexion").await;
    let list = browser.get("/autorisations").await;
    assert!(list.body.contains("vérification annuelle"), "{}", list.body);
    assert!(
        !list.body.contains("/arreter"),
        "nothing is left to stop: {}",
        list.body
    );
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_a_file_s_word_counts_only_where_the_directory_says_so() {
    let kit = Kit::with(TestDatabase::sqlite(), |directory, _| {
        directory["authority"]["identity_providers"]
            .as_array_mut()
            .unwrap()
            .pop();
    })
    .await;
    let request_uri = kit.push_unasked(&kit.unasked("UN-1")).await;
    let refused = kit.present(&request_uri).await;
    assert_eq!(refused.json["unefois_reason"], "ACR_TOO_LOW", "{}", refused.json);
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_for_identities_nobody_asks_for_anybody() {
    let kit = Kit::with(TestDatabase::sqlite(), |_, config| {
        config["keys"].as_object_mut().unwrap().remove("pivot");
    })
    .await;
    let (reason, _) = kit.refused_par(&kit.unasked("UN-1")).await;
    assert_eq!(reason, "NOT_IMPLEMENTED");
    kit.stop().await;
}
