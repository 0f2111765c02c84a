//! A parent answers for a child, whom only this page hears of.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::{Capacity, Clock as _, Event, Reason, SealedSubject};
use unefois_jose::jwe;

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, Demande, Kit, form, merge, set, subject_check};

both_databases![
    a_parent_names_the_child_here_and_the_consumer_never_hears_of_it,
    a_sibling_is_not_the_file_s_child,
    a_parent_s_right_ends_at_majority_at_the_mint_too,
];

const MEN: &str = "urn:unefois:participant:11004301500012";
const EMMA: &str = "&enfant_nom=Exemple&enfant_prenoms=Emma+Louise&enfant_sexe=female&enfant_jour=7&enfant_mois=3&enfant_annee=2019";

/// A world in which the commune may ask where a child goes to school.
async fn kit(database: TestDatabase) -> Kit {
    Kit::with(database, |document, _| {
        let pivot_keys = document["participants"][3]["pivot_keys"].clone();
        let cnaf = document["participants"][3]["id"].clone();
        let participants = document["participants"].as_array_mut().unwrap();
        participants.push(json!({
            "id": MEN, "name": {"fr": "Éducation nationale", "en": "Education"}, "kind": "administration",
            "mesh": ["127.0.0.1:9"], "dpo": "dpo@example.fr", "pivot_keys": pivot_keys,
            "tls": [{"spki_sha256": "ab".repeat(32), "status": "current"}],
        }));
        let habilitation = |id: &str, producer: &Value, datatype: &str, units: Value| {
            json!({
                "id": id, "consumer": COMMUNE, "producer": producer, "demarche": "transport-scolaire",
                "datatypes": [{"datatype": datatype, "units": units}], "legal_bases": ["CRPA-L114-8-I"],
                "not_before": "2020-01-01T00:00:00Z", "not_after": "2090-01-01T00:00:00Z",
            })
        };
        let habilitations = document["habilitations"].as_array_mut().unwrap();
        habilitations.push(habilitation(
            "DP-3",
            &cnaf,
            "cnaf/quotient-familial@1",
            json!(["composition"]),
        ));
        let school = json!(["scolarite", "etablissement"]);
        habilitations.push(habilitation("DP-4", &json!(MEN), "men/statut-eleve@1", school));
    })
    .await
}

/// What a test changes in a request.
type Change<'a> = &'a dyn Fn(&mut Vec<(&'static str, String)>);

/// The school year that runs now.
fn school_year(kit: &Kit) -> String {
    let month = kit.clock.now().month();
    let first = month.year - i32::from(month.month < 9);
    format!("{first}-{}", first + 1)
}

fn elements(kit: &Kit) -> Value {
    let (mut family, mut school) = (kit.element(), kit.element());
    merge(
        &mut family,
        json!({"demarche": "transport-scolaire", "habilitation": "DP-3",
            "units": [{"unit": "composition", "need": "required"}]}),
    );
    merge(
        &mut school,
        json!({"demarche": "transport-scolaire", "habilitation": "DP-4", "locations": [MEN],
            "datatypes": ["men/statut-eleve@1"], "period": school_year(kit), "subject": {"kind": "child"},
            "units": [{"unit": "scolarite", "need": "required"}, {"unit": "etablissement", "need": "required"}]}),
    );
    json!([family, school])
}

fn parameters(kit: &Kit, birthdate: &str) -> Vec<(&'static str, String)> {
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "authorization_details",
        Some(elements(kit).to_string()),
    );
    set(&mut parameters, "capacity", Some("child".to_owned()));
    let check = subject_check("EXEMPLE", "Emma", birthdate);
    set(&mut parameters, "subject_check_child", Some(check));
    parameters
}

async fn answer(browser: &mut Browser, demande: &Demande, fields: &str) -> crate::browser::Page {
    let posted = format!("csrf={}&choix=recuperer{fields}", demande.page.csrf());
    browser.post(&demande.address, &posted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_about_a_child_says_how_the_link_and_the_child_are_checked() {
    let kit = kit(TestDatabase::sqlite()).await;
    let all = elements(&kit);
    let push = async |change: Change<'_>| {
        let mut parameters = parameters(&kit, "2019-03-07");
        change(&mut parameters);
        kit.call(Method::POST, "/as/par", &form(&parameters)).await
    };
    let alone = json!([all[1]]).to_string();
    let optional = {
        let mut all = all.clone();
        all[0]["units"] = json!([{"unit": "composition", "need": "optional"}]);
        all.to_string()
    };
    let nobody = json!([kit.element()]).to_string();
    let rows: [(&str, Change<'_>, &str, &str); 7] = [
        (
            "no check of the child",
            &|p| set(p, "subject_check_child", None),
            "INVALID_REQUEST",
            "subject_check_child",
        ),
        (
            "a malformed one",
            &|p| set(p, "subject_check_child", Some("{}".to_owned())),
            "INVALID_REQUEST",
            "subject_check",
        ),
        (
            "for oneself",
            &|p| set(p, "capacity", None),
            "INVALID_REQUEST",
            "authorization_details[1].subject.kind",
        ),
        (
            "nothing proves the link",
            &|p| set(p, "authorization_details", Some(alone.clone())),
            "INVALID_REQUEST",
            "subject.kind",
        ),
        (
            "what proves it may be left out",
            &|p| set(p, "authorization_details", Some(optional.clone())),
            "INVALID_REQUEST",
            "need",
        ),
        (
            "no element about a child",
            &|p| set(p, "authorization_details", Some(nobody.clone())),
            "INVALID_REQUEST",
            "capacity=child",
        ),
        (
            "for somebody helped",
            &|p| set(p, "capacity", Some("helper".to_owned())),
            "INVALID_REQUEST",
            "subject.kind",
        ),
    ];
    for (what, change, reason, words) in rows {
        let refused = push(change).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{what}");
        let text = refused.json.to_string();
        assert!(text.contains(words), "{what}: {text}");
        if what != "for oneself" {
            assert_eq!(refused.json["unefois_reason"], reason, "{what}: {text}");
        }
        let last = kit.entries().await.pop().unwrap();
        assert_eq!(
            (last.event, last.requester),
            (Event::Refused, COMMUNE.parse().ok()),
            "{what}"
        );
    }
    assert_eq!(push(&|_| {}).await.status, StatusCode::CREATED);
    kit.stop().await;
}

async fn a_parent_names_the_child_here_and_the_consumer_never_hears_of_it(database: TestDatabase) {
    let kit = kit(database).await;
    let mut browser = kit.browser();
    let demande = kit.open(&mut browser, &parameters(&kit, "2019-03-07")).await;
    let page = demande.page.body.replace(['\u{a0}', '\u{202f}'], " ");
    for words in [
        "De quel enfant s’agit-il ?",
        "Pour prouver que c’est votre enfant, cette information est montrée à cette administration : <bdi>La composition de votre foyer",
        "Concerne aussi : <bdi>les autres membres de votre foyer",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // What is missing is said at its field and in the summary, and what was typed comes back.
    let wrong = answer(
        &mut browser,
        &demande,
        "&enfant_nom=%22%3Cb%3EExemple&enfant_annee=2019&enfant_jour=7",
    )
    .await;
    assert_eq!(wrong.status, StatusCode::OK);
    for words in [
        "role=\"alert\"",
        "id=\"enfant_prenoms-erreur\"",
        "id=\"enfant_sexe-erreur\"",
        "id=\"enfant_jour-erreur\"",
        "href=\"#enfant_prenoms\"",
        "value=\"2019\"",
    ] {
        assert!(wrong.body.contains(words), "{words}: {}", wrong.body);
    }
    assert!(!wrong.body.contains("<b>") && !wrong.body.contains("enfant_nom-erreur"));
    let grown = answer(&mut browser, &demande, &EMMA.replace("2019", "1999")).await;
    assert!(
        grown.body.replace('\u{a0}', " ").contains("À 18 ans"),
        "{}",
        grown.body
    );

    let back = answer(&mut browser, &demande, EMMA).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{}", back.body);
    let redeemed = kit.redeem(&back.parameter("code").unwrap()).await;
    assert_eq!(redeemed.status, StatusCode::OK, "{}", redeemed.json);
    let told = redeemed.json.to_string();
    assert!(!told.contains("Emma") && !told.contains("2019-03"), "{told}");
    let details = redeemed.json["authorization_details"].as_array().unwrap();
    let token = async |n: usize| {
        let refresh = form(&[
            ("grant_type", "refresh_token".to_owned()),
            (
                "refresh_token",
                redeemed.json["refresh_token"].as_str().unwrap().to_owned(),
            ),
            ("gh", details[n]["gh"].as_str().unwrap().to_owned()),
        ]);
        let answer = kit.call(Method::POST, "/as/token", &refresh).await;
        let claims = kit.claims(answer.json["access_token"].as_str().unwrap());
        let sealed = answer.json["pivot_jwe"].as_str().unwrap().to_owned();
        let plain = jwe::open_pivot(&[&*kit.pivot_key], &sealed).unwrap();
        (claims, serde_json::from_slice::<SealedSubject>(&plain).unwrap())
    };
    let (claims, family) = token(0).await;
    assert_eq!(claims.capacity, Capacity::SelfPerson);
    assert!(matches!(family, SealedSubject::Person(person) if person.family_name == "DUBOIS"));
    let (claims, school) = token(1).await;
    assert_eq!(
        (claims.capacity, claims.aud),
        (Capacity::Child, MEN.parse().unwrap())
    );
    assert!(!serde_json::to_string(&claims).unwrap().contains("Emma"), "I6");
    let SealedSubject::Child { child, asker } = school else {
        panic!("a child");
    };
    assert_eq!(
        (child.given_names.as_slice(), asker.family_name.as_str()),
        (&["Emma".to_owned(), "Louise".to_owned()][..], "DUBOIS")
    );
    let capacities: Vec<Option<Capacity>> = kit
        .entries()
        .await
        .iter()
        .filter(|entry| entry.event == Event::Granted)
        .map(|entry| entry.capacity)
        .collect();
    assert_eq!(capacities, [Some(Capacity::SelfPerson), Some(Capacity::Child)]);
    kit.stop().await;
}

async fn a_sibling_is_not_the_file_s_child(database: TestDatabase) {
    let kit = kit(database).await;
    let mut browser = kit.browser();
    let demande = kit.open(&mut browser, &parameters(&kit, "2019-03")).await;
    let hugo = EMMA.replace("Emma+Louise", "Hugo").replace("female", "male");
    for left in [2, 1, 0] {
        let page = answer(&mut browser, &demande, &hugo).await;
        match left {
            0 => assert!(page.body.contains("access_denied"), "{}", page.body),
            _ => assert!(
                page.body.contains("Ce n’est pas l’enfant du dossier"),
                "{}",
                page.body
            ),
        }
        let last = kit.entries().await.pop().unwrap();
        assert_eq!(
            (last.event, last.reason, last.capacity),
            (
                Event::Refused,
                Some(Reason::SubjectMismatch),
                Some(Capacity::Child)
            )
        );
    }
    // Even the right child waits until tomorrow.
    let demande = kit.open(&mut browser, &parameters(&kit, "2019-03-07")).await;
    assert!(demande.page.body.contains("access_denied"));
    assert!(!kit.events().await.contains(&Event::Granted));
    kit.stop().await;
}

async fn a_parent_s_right_ends_at_majority_at_the_mint_too(database: TestDatabase) {
    let kit = kit(database).await;
    // A quarter of an hour before midnight in summer Paris, whatever the hour of the test.
    let day_ms = 86_400_000;
    let until = (22 * 3_600_000 - 900_000 - kit.clock.now().get() / 1_000).rem_euclid(day_ms);
    kit.clock.pass(until);
    kit.provider.says.lock().unwrap().ahead_s = until / 1_000;
    let tomorrow = kit.clock.now().plus_ms(3 * 3_600_000).to_utc().unwrap();
    let (year, month, day) = (tomorrow.year() - 18, u8::from(tomorrow.month()), tomorrow.day());
    let mut browser = kit.browser();
    let born = format!("{year:04}-{month:02}-{day:02}");
    let demande = kit.open(&mut browser, &parameters(&kit, &born)).await;
    let typed = format!(
        "&enfant_nom=Exemple&enfant_prenoms=Emma&enfant_sexe=female&enfant_jour={day}&enfant_mois={month}&enfant_annee={year}"
    );
    let back = answer(&mut browser, &demande, &typed).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{}", back.body);
    let redeemed = kit.redeem(&back.parameter("code").unwrap()).await;
    let details = redeemed.json["authorization_details"].as_array().unwrap();
    let refresh = |n: usize| {
        form(&[
            ("grant_type", "refresh_token".to_owned()),
            (
                "refresh_token",
                redeemed.json["refresh_token"].as_str().unwrap().to_owned(),
            ),
            ("gh", details[n]["gh"].as_str().unwrap().to_owned()),
        ])
    };
    let minted = kit.call(Method::POST, "/as/token", &refresh(1)).await;
    assert_eq!(minted.status, StatusCode::OK, "{}", minted.json);
    kit.clock.pass(1_800_000);
    let refused = kit.call(Method::POST, "/as/token", &refresh(1)).await;
    assert_eq!(refused.json["unefois_reason"], "LEGAL_BLOCK", "{}", refused.json);
    let last = kit.entries().await.pop().unwrap();
    assert_eq!(
        (last.event, last.reason),
        (Event::Refused, Some(Reason::LegalBlock))
    );
    let own = kit.call(Method::POST, "/as/token", &refresh(0)).await;
    assert_eq!(
        own.status,
        StatusCode::OK,
        "what is about the parent goes on: {}",
        own.json
    );
    kit.stop().await;
}
