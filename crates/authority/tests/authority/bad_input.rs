//! What a known client may not send: each refusal has its error and its reason, and stands in the ledger under the
//! client's name.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::{Clock as _, Entry, Event, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Answer, COMMUNE, CROUS, Kit, Publisher, VERIFIER, form, merge, redeem, set, subject_check};
use crate::provider::{Says, angela};

both_databases![
    a_pushed_request_that_asks_for_too_much_is_refused_and_recorded,
    a_pushed_request_out_of_form_is_refused_and_recorded,
    no_string_of_a_pushed_request_deceives_a_reader,
    a_code_of_another_session_is_refused_and_recorded,
    a_code_used_again_is_recorded_and_its_grant_dies,
    a_participant_that_speaks_for_another_is_recorded,
    a_sibling_s_identity_is_refused_and_recorded,
    a_grant_of_another_is_refused_and_recorded,
    i8_what_is_too_large_to_be_read_is_counted_in_the_tally,
    an_access_token_is_not_taken_back_alone
];

impl Kit {
    /// That the last call was refused with this error for this reason, and that its one entry says so.
    pub(crate) async fn assert_refused(
        &self,
        before: usize,
        answer: &Answer,
        expected: (&str, Reason),
        what: &str,
    ) {
        assert!(answer.status.is_client_error(), "{what}: {}", answer.json);
        let told = |member: &str| answer.json[member].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (told("error").as_str(), told("unefois_reason").as_str()),
            (expected.0, expected.1.as_str()),
            "{what}: {}",
            answer.json
        );
        self.assert_recorded(before, COMMUNE, expected.1, what).await;
    }

    pub(crate) async fn assert_recorded(&self, before: usize, client: &str, reason: Reason, what: &str) {
        let said = self.said_since(before).await;
        let said: Vec<_> = said.iter().map(|e| (e.event, e.reason, e.requester)).collect();
        let refused = (Event::Refused, Some(reason), Some(client.parse().unwrap()));
        assert_eq!(said, [refused], "{what}");
    }

    /// The entries after the first `before`, save that a withdrawal has taken effect: that is said when it has.
    async fn said_since(&self, before: usize) -> Vec<Entry> {
        let mut entries = self.entries().await.split_off(before);
        entries.retain(|entry| entry.event != Event::Effective);
        entries
    }

    /// Pushes a request with one parameter changed.
    async fn push_with(&self, name: &'static str, value: Option<String>) -> (usize, Answer) {
        let mut parameters = self.parameters();
        set(&mut parameters, name, value);
        let before = self.entries().await.len();
        (
            before,
            self.call(Method::POST, "/as/par", &form(&parameters)).await,
        )
    }

    /// Pushes a request with one element changed.
    async fn push_element(&self, more: Value) -> (usize, Answer) {
        let mut element = self.element();
        merge(&mut element, more);
        let elements = json!([element]).to_string();
        self.push_with("authorization_details", Some(elements)).await
    }
}

async fn a_pushed_request_that_asks_for_too_much_is_refused_and_recorded(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let unit = |unit: &str| json!({"units": [{"unit": "valeur", "need": "required"}, {"unit": unit, "need": "optional"}]});
    for (what, more, reason) in [
        (
            "a unit beyond the habilitation",
            unit("adresse"),
            Reason::NotEntitled,
        ),
        (
            "a unit that does not exist",
            unit("fortune"),
            Reason::InvalidRequest,
        ),
        (
            "another's habilitation",
            json!({"habilitation": "DP-9"}),
            Reason::NotEntitled,
        ),
        (
            "another producer",
            json!({"locations": [CROUS]}),
            Reason::NotEntitled,
        ),
        ("an unknown key", json!({"extra": true}), Reason::InvalidRequest),
        (
            "a handle of its own",
            json!({"gh": "AAAAAAAAAAAAAAAAAAAAAA"}),
            Reason::InvalidRequest,
        ),
        (
            "two datatypes",
            json!({"datatypes": ["cnaf/quotient-familial@1", "mesr/statut-etudiant@1"]}),
            Reason::InvalidRequest,
        ),
        ("no unit", json!({"units": []}), Reason::InvalidRequest),
        ("a unit twice", unit("valeur"), Reason::InvalidRequest),
        (
            "kept for longer than allowed",
            json!({"data_life_days": 9999}),
            Reason::InvalidRequest,
        ),
        (
            "another type",
            json!({"type": "urn:unefois:justificatif:2"}),
            Reason::InvalidRequest,
        ),
    ] {
        let (before, answer) = kit.push_element(more).await;
        kit.assert_refused(before, &answer, ("invalid_authorization_details", reason), what)
            .await;
    }
    for (what, details) in [
        ("nine elements", json!(vec![kit.element(); 9]).to_string()),
        ("no element", "[]".to_owned()),
        ("no array", kit.element().to_string()),
        ("an element within an array", json!([[kit.element()]]).to_string()),
        (
            "nested without end",
            format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)),
        ),
        (
            "a member named twice",
            kit.elements()
                .to_string()
                .replacen(r#""demarche""#, r#""demarche":"x","demarche""#, 1),
        ),
        (
            "a member named twice, escaped",
            kit.elements()
                .to_string()
                .replacen(r#""demarche""#, r#""\u0064emarche":"x","demarche""#, 1),
        ),
    ] {
        let (before, answer) = kit.push_with("authorization_details", Some(details)).await;
        let expected = ("invalid_authorization_details", Reason::InvalidRequest);
        kit.assert_refused(before, &answer, expected, what).await;
    }
    kit.stop().await;
}

async fn a_pushed_request_out_of_form_is_refused_and_recorded(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let redirect = |text: &str| ("redirect_uri", Some(text.to_owned()));
    for (what, (name, value)) in [
        ("another site", redirect("https://evil.example/")),
        (
            "another path",
            redirect("https://commune.example/autre?dossier=1"),
        ),
        (
            "another file",
            redirect("https://commune.example/retour?dossier=2"),
        ),
        (
            "a user before the host",
            redirect("https://commune.example@evil.example/retour?dossier=1"),
        ),
        (
            "a host that looks alike",
            redirect("https://commune.ехample/retour?dossier=1"),
        ),
        (
            "another spelling",
            redirect("https://COMMUNE.example/retour?dossier=1"),
        ),
        (
            "a fragment",
            redirect("https://commune.example/retour?dossier=1#x"),
        ),
        (
            "a script",
            redirect("javascript:alert(1)//https://commune.example/retour?dossier=1"),
        ),
        (
            "a request by reference",
            ("request_uri", Some("https://commune.example/r.jwt".to_owned())),
        ),
        ("a request object", ("request", Some("e30.e30.".to_owned()))),
        (
            "another grant to merge into",
            ("grant_id", Some("AAAAAAAAAAAAAAAAAAAAAA".to_owned())),
        ),
        (
            "a grant to put in another's place",
            ("grant_management_action", Some("replace".to_owned())),
        ),
        ("no PKCE", ("code_challenge", None)),
        (
            "PKCE in the clear",
            ("code_challenge_method", Some("plain".to_owned())),
        ),
        ("the implicit flow", ("response_type", Some("token".to_owned()))),
        ("a check that is none", ("subject_check", Some("{}".to_owned()))),
        (
            "a check named twice",
            (
                "subject_check",
                Some(r#"{"salt":"AA","salt":"AA","hmac":"AA"}"#.to_owned()),
            ),
        ),
        ("no check", ("subject_check", None)),
        ("too long a state", ("state", Some("x".repeat(513)))),
    ] {
        let (before, answer) = kit.push_with(name, value).await;
        kit.assert_refused(before, &answer, ("invalid_request", Reason::InvalidRequest), what)
            .await;
        if let Some(sent) = answer.json["error_description"].as_str() {
            assert!(!sent.contains("evil"), "{what}: the text repeats nothing");
        }
    }
    // Before it is known which client speaks, the certificate says who called.
    for (what, body) in [
        (
            "a parameter twice",
            format!("{}&state=again", form(&kit.parameters())),
        ),
        ("bytes that are no text", "client_id=%ff%fe".to_owned()),
        (
            "too many parameters",
            (0..80).map(|n| format!("p{n}=1&")).collect(),
        ),
    ] {
        let before = kit.entries().await.len();
        let answer = kit.call(Method::POST, "/as/par", &body).await;
        kit.assert_refused(before, &answer, ("invalid_request", Reason::InvalidRequest), what)
            .await;
    }
    kit.stop().await;
}

/// Markup, marks that turn the direction of text, marks that nobody sees, and letters of another alphabet.
const HOSTILE: [&str; 7] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "2026\u{202e}2140",
    "2026\u{2066}0412",
    "2026\u{200b}0412",
    "c\u{430}ntine",
    "\u{0}",
];

/// Every string of a request either is refused, or is shown as text and nothing else.
async fn no_string_of_a_pushed_request_deceives_a_reader(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let (mut refused, mut shown) = (0, 0);
    for hostile in HOSTILE {
        let elements = [
            json!({"datatypes": [hostile]}),
            json!({"units": [{"unit": hostile, "need": "required"}]}),
            json!({"units": [{"unit": "valeur", "need": hostile}]}),
            json!({"period": hostile}),
            json!({"locations": [hostile]}),
            json!({"actions": [hostile]}),
            json!({"demarche": hostile}),
            json!({"habilitation": hostile}),
            json!({"dossier_ref": hostile}),
            json!({"legal_basis": hostile}),
            json!({"mode": {"kind": hostile}}),
            json!({"use": hostile}),
            json!({"subject": {"kind": hostile}}),
            json!({"type": hostile}),
            json!({hostile: 1}),
        ];
        let mut answers = Vec::new();
        for element in elements {
            let what = element.to_string();
            let (before, answer) = kit.push_element(element).await;
            answers.push((what, answer, kit.entries().await.split_off(before)));
        }
        for name in [
            "redirect_uri",
            "response_type",
            "code_challenge",
            "code_challenge_method",
            "subject_check",
            "authorization_details",
            "way",
            "capacity",
        ] {
            let (before, answer) = kit.push_with(name, Some(hostile.to_owned())).await;
            answers.push((name.to_owned(), answer, kit.entries().await.split_off(before)));
        }
        for (what, answer, entries) in answers {
            let text = answer.json.to_string();
            assert!(
                !text.contains("alert") && !text.contains('\u{202e}'),
                "{what}: {text}"
            );
            if answer.status == StatusCode::CREATED {
                // A file's reference alone may hold any printable character.
                assert!(
                    what.contains("dossier_ref") && hostile.bytes().all(|c| c.is_ascii_graphic()),
                    "{what}"
                );
                let query = form(&[
                    ("client_id", COMMUNE.to_owned()),
                    (
                        "request_uri",
                        answer.json["request_uri"].as_str().unwrap().to_owned(),
                    ),
                ]);
                let mut browser = kit.browser();
                let page = browser.follow(&format!("/as/authorize?{query}")).await;
                assert_eq!(page.status, StatusCode::OK, "{}", page.body);
                assert!(page.body.contains("alert(1)"), "the reference is shown");
                assert!(!page.body.contains("<script"), "{}", page.body);
                shown += 1;
                continue;
            }
            assert_eq!(
                answer.status,
                StatusCode::BAD_REQUEST,
                "{what} {hostile:?}: {text}"
            );
            let events: Vec<_> = entries
                .iter()
                .map(|entry| (entry.event, entry.requester))
                .collect();
            let by_the_commune = (Event::Refused, Some(COMMUNE.parse().unwrap()));
            assert_eq!(events, [by_the_commune], "{what} {hostile:?}");
            refused += 1;
        }
    }
    assert_eq!(shown, 1, "of one reference in ASCII without a space");
    assert!(refused > 100, "{refused}");
    kit.stop().await;
}

/// Two requests of one client: the code of one is worth nothing in the session of the other, and its grant
/// dies: it is in other hands than those it was given to.
async fn a_code_of_another_session_is_refused_and_recorded(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let other_verifier = "a-verifier-of-another-session-of-this-client";
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    let injected = redeem(&code).replace(VERIFIER, other_verifier);
    for (what, body) in [
        ("with the other's verifier", injected),
        ("then with its own", redeem(&code)),
    ] {
        let before = kit.entries().await.len();
        let answer = kit.call(Method::POST, "/as/token", &body).await;
        assert_eq!(
            (
                answer.json["error"].as_str(),
                answer.json["unefois_reason"].as_str()
            ),
            (Some("invalid_grant"), Some("TOKEN_INVALID")),
            "{what}"
        );
        let said = kit.said_since(before).await;
        let events: Vec<_> = said.iter().map(|e| (e.event, e.reason)).collect();
        let refused = (Event::Refused, Some(Reason::TokenInvalid));
        match what {
            "then with its own" => assert_eq!(events, [refused], "{what}"),
            _ => assert_eq!(events, [(Event::Withdrawn, None), refused], "the grant dies"),
        }
    }
    kit.stop().await;
}

async fn a_code_used_again_is_recorded_and_its_grant_dies(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    let first = kit.redeem(&code).await;
    let before = kit.entries().await.len();
    let again = kit.redeem(&code).await;
    assert_eq!(again.json["error"], "invalid_grant");
    let entries = kit.said_since(before).await;
    let events: Vec<_> = entries.iter().map(|entry| (entry.event, entry.reason)).collect();
    assert_eq!(
        events,
        [
            (Event::Withdrawn, None),
            (Event::Refused, Some(Reason::TokenInvalid))
        ]
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry.requester == Some(COMMUNE.parse().unwrap()))
    );

    let before = kit.entries().await.len();
    let refresh = [
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            first.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ];
    let answer = kit.call(Method::POST, "/as/token", &form(&refresh)).await;
    kit.assert_refused(
        before,
        &answer,
        ("invalid_grant", Reason::GrantRevoked),
        "the grant is over",
    )
    .await;
    kit.stop().await;
}

/// The one whose certificate it was is named; the one whose name it used is in no entry.
async fn a_participant_that_speaks_for_another_is_recorded(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let token = form(&[
        ("client_id", COMMUNE.to_owned()),
        ("grant_type", "refresh_token".to_owned()),
    ]);
    let revoke = form(&[("client_id", COMMUNE.to_owned()), ("token", "x".to_owned())]);
    for (path, body) in [
        ("/as/par", form(&kit.parameters())),
        ("/as/token", token),
        ("/as/revoke", revoke),
    ] {
        let before = kit.entries().await.len();
        let answer = kit.call_as_crous(path, &body).await;
        assert_eq!(answer.json["error"], "invalid_client", "{path}");
        kit.assert_recorded(before, CROUS, Reason::NotEntitled, path)
            .await;
    }
    kit.stop().await;
}

/// The same parents, the same day, another first name; then the right first name, another day.
async fn a_sibling_s_identity_is_refused_and_recorded(database: TestDatabase) {
    let kit = Kit::on(database).await;
    for (what, sub, more) in [
        (
            "a twin",
            "twin",
            json!({"given_name_array": ["Alice"], "given_name": "Alice"}),
        ),
        (
            "a younger one, named alike",
            "younger",
            json!({"birthdate": "1964-08-24"}),
        ),
    ] {
        let mut identity = angela();
        merge(&mut identity, more);
        *kit.provider.says.lock().unwrap() = Says {
            sub,
            identity,
            ..Says::default()
        };
        let before = kit.entries().await.len();
        let demande = kit.open(&mut kit.browser(), &kit.parameters()).await;
        assert!(
            demande.page.body.contains("access_denied"),
            "{what}: {}",
            demande.page.body
        );
        assert!(
            !demande.page.body.contains(r#"name="choix""#),
            "{what}: nothing to decide"
        );
        kit.assert_recorded(before, COMMUNE, Reason::SubjectMismatch, what)
            .await;
    }
    // A file of their own is theirs to answer for.
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "subject_check",
        Some(subject_check("DUBOIS", "Angela", "1964-08-24")),
    );
    let mut element = kit.element();
    merge(&mut element, json!({"dossier_ref": "2026-0413"}));
    set(
        &mut parameters,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    kit.grant(&mut kit.browser(), &parameters, "").await;
    kit.stop().await;
}

/// RFC 7009, 2.2.1: it would be a lie to say that it is void.
async fn an_access_token_is_not_taken_back_alone(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let give_back = |token: &str| {
        form(&[
            ("token", token.to_owned()),
            ("token_type_hint", "access_token".to_owned()),
        ])
    };
    let token = |member: &str| answer.json[member].as_str().unwrap().to_owned();

    let before = kit.entries().await.len();
    let refused = kit
        .call(Method::POST, "/as/revoke", &give_back(&token("access_token")))
        .await;
    let expected = ("unsupported_token_type", Reason::InvalidRequest);
    kit.assert_refused(before, &refused, expected, "an access token")
        .await;
    let none = kit
        .call(Method::POST, "/as/revoke", "token_type_hint=refresh_token")
        .await;
    kit.assert_refused(
        before + 1,
        &none,
        ("invalid_request", Reason::InvalidRequest),
        "no token",
    )
    .await;

    // A wrong hint is no reason to refuse (2.1).
    let given = kit
        .call(Method::POST, "/as/revoke", &give_back(&token("refresh_token")))
        .await;
    assert_eq!(given.status, StatusCode::OK);
    let again = kit
        .call(Method::POST, "/as/revoke", &give_back(&token("refresh_token")))
        .await;
    assert_eq!(again.status, StatusCode::OK, "void already");
    let events = kit.events().await;
    assert_eq!(
        events.iter().filter(|event| **event == Event::Withdrawn).count(),
        1
    );
    let path = format!("/as/grants/{}", token("grant_id"));
    let shown = kit.call(Method::GET, &path, "").await;
    assert_eq!(shown.headers["cache-control"], "no-store");
    assert_eq!(
        shown.json["authorization_details"],
        json!([]),
        "nothing of it stands"
    );
    kit.stop().await;
}

/// Whoever asks for a grant that is another's, or nobody's, hears the same, and is named.
async fn a_grant_of_another_is_refused_and_recorded(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    let granted = kit.redeem(&code).await;
    let another_s = granted.json["grant_id"].as_str().unwrap();
    let mut texts = Vec::new();
    for id in [another_s, "AAAAAAAAAAAAAAAAAAAAAA", "x"] {
        for method in [Method::GET, Method::DELETE] {
            let what = format!("{method} {id}");
            let before = kit.entries().await.len();
            let path = format!("/as/grants/{id}");
            let answer = kit.call_as_publisher(Publisher::Crous, method, &path, "").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{what}");
            kit.assert_recorded(before, CROUS, Reason::TokenInvalid, &what)
                .await;
            texts.push(answer.json.to_string());
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    let own = kit
        .call(Method::GET, &format!("/as/grants/{another_s}"), "")
        .await;
    assert_eq!(own.status, StatusCode::OK, "nothing was withdrawn");
    kit.stop().await;
}

/// It was not read, so that no entry could say what it was; the next tally says whose it was, and how many there were.
async fn i8_what_is_too_large_to_be_read_is_counted_in_the_tally(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let before = kit.entries().await.len();
    let huge = format!("client_id={COMMUNE}&state={}", "x".repeat(70_000));
    for path in ["/as/par", "/as/token", "/as/revoke"] {
        let answer = kit.call(Method::POST, path, &huge).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(answer.json["error"], "invalid_request", "{path}: {}", answer.json);
    }
    assert_eq!(kit.entries().await.len(), before, "no entry of its own");
    let ledger = kit.running.ledger();
    let tally = ledger.tally(kit.clock.now()).await.unwrap();
    let evidence = ledger.evidence(tally.index()).await.unwrap().unwrap();
    let text = String::from_utf8(evidence.body).unwrap();
    let counted = format!("turned_away {COMMUNE} INVALID_REQUEST 3\n");
    assert!(text.contains(&counted), "{text}");
    kit.stop().await;
}
