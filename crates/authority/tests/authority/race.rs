//! Two acts on one grant at once: whatever ends it ends what another has just put in an element's place, too.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Answer, Kit, form, set};

both_databases![a_grant_that_is_ended_while_it_is_limited_is_ended];

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
