//! What the commune asks for, from the pushed request to the code that it exchanges.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::Sha256;

use super::{Answer, COMMUNE, Kit, Publisher, REDIRECT, VERIFIER};
use crate::browser::{Browser, Page};

impl Kit {
    /// A good request for one datatype; tests spoil one parameter.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::of(VERIFIER.as_bytes()).as_bytes());
        vec![
            ("response_type", "code".to_owned()),
            ("client_id", COMMUNE.to_owned()),
            ("redirect_uri", REDIRECT.to_owned()),
            ("state", "state-of-the-back-office".to_owned()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
            ("authorization_details", self.elements().to_string()),
            ("subject_check", subject_check("DUBOIS", "Angela", "1962-08-24")),
        ]
    }

    pub(crate) fn elements(&self) -> Value {
        json!([self.element()])
    }

    pub(crate) fn element(&self) -> Value {
        json!({
            "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
            "units": [{"unit": "valeur", "need": "required"}, {"unit": "composition", "need": "optional"}],
            "locations": [self.cnaf], "actions": ["fetch"], "demarche": "cantine", "habilitation": "DP-1",
            "dossier_ref": "2026-0412", "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "once"},
            "use": "store", "data_life_days": 365, "subject": {"kind": "self"}
        })
    }

    pub(crate) fn student(&self) -> Value {
        let mut element = self.element();
        let mesr = self.document.participants[4].id.to_string();
        merge(
            &mut element,
            json!({
                "datatypes": ["mesr/statut-etudiant@1"], "locations": [mesr], "habilitation": "DP-2",
                "units": [{"unit": "inscription", "need": "required"}],
            }),
        );
        element
    }

    /// Pushes a request; the browser's address.
    pub(crate) async fn push(&self, parameters: &[(&str, String)]) -> String {
        let answer = self.call(Method::POST, "/as/par", &form(parameters)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        let uri = answer.json["request_uri"].as_str().unwrap();
        let query = form(&[("client_id", COMMUNE.to_owned()), ("request_uri", uri.to_owned())]);
        format!("/as/authorize?{query}")
    }

    /// Goes as far as the page on which the person decides.
    pub(crate) async fn open(&self, browser: &mut Browser, parameters: &[(&str, String)]) -> Demande {
        let address = self.push(parameters).await;
        let opened = browser.get(&address).await;
        let page = browser.follow(&opened.location).await;
        Demande {
            address: opened.location,
            page,
        }
    }

    /// A whole grant with these boxes ticked; the code.
    pub(crate) async fn grant(
        &self,
        browser: &mut Browser,
        parameters: &[(&str, String)],
        ticks: &str,
    ) -> String {
        let demande = self.open(browser, parameters).await;
        assert_eq!(demande.page.status, StatusCode::OK, "{}", demande.page.body);
        let posted = format!("csrf={}&choix=recuperer{ticks}", demande.page.csrf());
        let back = browser.post(&demande.address, &posted).await;
        assert_eq!(back.status, StatusCode::SEE_OTHER, "{}", back.body);
        back.parameter("code").expect("a code")
    }

    /// A whole grant of the commune that this publisher asked for; what its code is exchanged with.
    pub(crate) async fn grant_through(
        &self,
        publisher: Publisher,
        browser: &mut Browser,
    ) -> Vec<(&'static str, String)> {
        let asked = form(&self.parameters());
        let pushed = self
            .call_as_publisher(publisher, Method::POST, "/as/par", &asked)
            .await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.json);
        let uri = pushed.json["request_uri"].as_str().unwrap();
        let query = form(&[("client_id", COMMUNE.to_owned()), ("request_uri", uri.to_owned())]);
        let opened = browser.get(&format!("/as/authorize?{query}")).await;
        let page = browser.follow(&opened.location).await;
        let posted = format!("csrf={}&choix=recuperer", page.csrf());
        let back = browser.post(&opened.location, &posted).await;
        let mut code = redeem_parameters(&back.parameter("code").unwrap()).to_vec();
        code.push(("client_id", COMMUNE.to_owned()));
        code
    }

    /// Exchanges a code.
    pub(crate) async fn redeem(&self, code: &str) -> Answer {
        self.call(Method::POST, "/as/token", &redeem(code)).await
    }
}

/// The page on which the person decides.
pub(crate) struct Demande {
    pub(crate) address: String,
    pub(crate) page: Page,
}

pub(crate) fn redeem(code: &str) -> String {
    form(&redeem_parameters(code))
}

fn redeem_parameters(code: &str) -> [(&'static str, String); 4] {
    [
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", REDIRECT.to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
    ]
}

pub(crate) fn form(parameters: &[(&str, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// The parameters with one changed, or without it.
pub(crate) fn set(parameters: &mut Vec<(&'static str, String)>, name: &'static str, value: Option<String>) {
    parameters.retain(|(known, _)| *known != name);
    parameters.extend(value.map(|value| (name, value)));
}

pub(crate) fn subject_check(family: &str, given: &str, birthdate: &str) -> String {
    checked(&unefois_core::check_form(
        family,
        given,
        &birthdate.parse().unwrap(),
    ))
}

fn checked(message: &[u8]) -> String {
    use ring::hmac;
    let salt = [9; 32];
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), message);
    json!({"salt": URL_SAFE_NO_PAD.encode(salt), "hmac": URL_SAFE_NO_PAD.encode(mac)}).to_string()
}

/// The check of a file about a company.
pub(crate) fn entity_check(siren: &str) -> String {
    let message = unefois_core::entity_form(&siren.parse().unwrap());
    checked(&message)
}

pub(crate) fn merge(value: &mut Value, more: Value) {
    for (name, member) in more.as_object().unwrap() {
        value[name] = member.clone();
    }
}
