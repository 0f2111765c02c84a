//! Two acts on one grant at once: whatever ends it ends what another has just put in an element's place, too.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_authority::portal::paris;
use unefois_core::Clock as _;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Answer, Kit, form, set};

both_databases![
    a_grant_that_is_ended_while_it_is_limited_is_ended,
    of_two_limits_at_once_each_is_set_or_told_not_to_be
];

/// Whatever ends a grant.
#[derive(Clone, Copy, Debug)]
enum End {
    Stopped,
    GivenBack,
    TokenRevoked,
    CodeUsedTwice,
}

/// What still stands of a grant.
async fn standing(kit: &Kit, id: &str) -> Value {
    let shown = kit.call(Method::GET, &format!("/as/grants/{id}"), "").await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.json);
    shown.json["authorization_details"].clone()
}

fn text(answer: &Answer, name: &str) -> String {
    answer.json[name].as_str().unwrap().to_owned()
}

async fn a_grant_that_is_ended_while_it_is_limited_is_ended(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    let mut element = kit.element();
    element["mode"] = json!({"kind": "standing", "max_count": 12, "min_interval_s": 2_419_200});
    let details = json!([element]).to_string();
    set(&mut parameters, "authorization_details", Some(details));
    let mut browser = kit.browser();
    let mut csrf = None;
    for _ in 0..4 {
        for end in [
            End::Stopped,
            End::GivenBack,
            End::TokenRevoked,
            End::CodeUsedTwice,
        ] {
            let code = kit.grant(&mut browser, &parameters, "&e0.composition=1").await;
            let given = kit.redeem(&code).await;
            let id = text(&given, "grant_id");
            let grant = format!("/autorisations/{id}");
            if csrf.is_none() {
                csrf = Some(browser.get(&format!("{grant}/arreter")).await.csrf());
            }
            let form_token = format!("csrf={}", csrf.as_ref().unwrap());
            let (mut one_tab, mut another) = (browser.copy(), browser.copy());
            let limited = async {
                let fields = format!("{form_token}&p0=1");
                one_tab.post(&format!("{grant}/limiter"), &fields).await.status
            };
            let ended = async {
                match end {
                    End::Stopped => {
                        another
                            .post(&format!("{grant}/arreter"), &form_token)
                            .await
                            .status
                    }
                    End::GivenBack => {
                        kit.call(Method::DELETE, &format!("/as/grants/{id}"), "")
                            .await
                            .status
                    }
                    End::TokenRevoked => {
                        let token = form(&[("token", text(&given, "refresh_token"))]);
                        kit.call(Method::POST, "/as/revoke", &token).await.status
                    }
                    End::CodeUsedTwice => kit.redeem(&code).await.status,
                }
            };
            let (limited, ended) = tokio::join!(limited, ended);
            assert_eq!(limited, StatusCode::SEE_OTHER, "{end:?}");
            let told = match end {
                End::Stopped => StatusCode::SEE_OTHER,
                End::GivenBack => StatusCode::NO_CONTENT,
                End::TokenRevoked => StatusCode::OK,
                End::CodeUsedTwice => StatusCode::BAD_REQUEST,
            };
            assert_eq!(ended, told, "{end:?}");
            assert_eq!(standing(&kit, &id).await, json!([]), "{end:?}");
        }
    }
    kit.stop().await;
}

async fn of_two_limits_at_once_each_is_set_or_told_not_to_be(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    let mut element = kit.element();
    element["mode"] = json!({"kind": "standing", "max_count": 12, "min_interval_s": 2_419_200});
    let mut student = kit.student();
    student["units"] = json!([
        {"unit": "inscription", "need": "required"}, {"unit": "etablissement", "need": "optional"}
    ]);
    let details = json!([element, student]).to_string();
    set(&mut parameters, "authorization_details", Some(details));
    let mut browser = kit.browser();
    let ends = kit.clock.now().plus_ms(10 * 86_400_000);
    let (day, until) = (paris::iso_day(ends), paris::day_ends(ends).unwrap());
    for _ in 0..12 {
        let ticks = "&e0.composition=1&e1.etablissement=1";
        let code = kit.grant(&mut browser, &parameters, ticks).await;
        let id = text(&kit.redeem(&code).await, "grant_id");
        let narrow = format!("/autorisations/{id}/limiter");
        let csrf = browser.get(&narrow).await.csrf();
        let (mut one_tab, mut another) = (browser.copy(), browser.copy());
        let unticks = format!("csrf={csrf}&p0=1&p1=1&e1.etablissement=1");
        let shortens = format!("csrf={csrf}&p0=1&p1=1&e0.composition=1&fin={day}");
        let (unticked, shortened) =
            tokio::join!(one_tab.post(&narrow, &unticks), another.post(&narrow, &shortens));
        let stands = standing(&kit, &id).await;
        let of = |datatype: &str| {
            let mut stands = stands.as_array().unwrap().iter();
            stands
                .find(|element| element["units"][0]["unit"] == datatype)
                .unwrap()
        };
        let (income, student) = (of("valeur"), of("inscription"));
        let alone = |element: &Value| element["units"].as_array().unwrap().len() == 1;
        // Both began with the same part, and the second asked for a thing that the first did not do.
        let unset = match (unticked.status, shortened.status) {
            (StatusCode::SEE_OTHER, StatusCode::OK) => {
                assert!(
                    alone(income) && income["mode"].get("until_us").is_none(),
                    "{stands}"
                );
                shortened
            }
            (StatusCode::OK, StatusCode::SEE_OTHER) => {
                assert!(!alone(income), "{stands}");
                assert_eq!(income["mode"]["until_us"], until.get(), "{stands}");
                assert!(alone(student), "{stands}");
                unticked
            }
            both => panic!("one of them is set, and the other one told: {both:?}"),
        };
        let told = "Cette autorisation a changé entre-temps";
        assert!(unset.body.contains(told), "{}", unset.body);
        let partly = unset.body.contains("appliqué qu’en partie");
        assert!(!partly || alone(student), "{stands}");
    }
    kit.stop().await;
}
