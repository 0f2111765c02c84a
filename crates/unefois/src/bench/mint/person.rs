//! People who grant at their browsers, so that there are refresh tokens to exchange.

use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;
use serde_json::json;
use unefois_core::{Sha256, check_form};

use super::{Client, Minted};
use crate::demo::browser::Browser;
use crate::demo::world::{CNAF, World};

const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more";
const FAMILY: &str = "DUBOIS";
const BORN: &str = "1962-08-24";

/// A grant that a consumer holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    client: Client,
    /// The form that exchanges its refresh token.
    form: String,
}

impl Held {
    /// Exchanges it: one token and its sealed pivot.
    pub(super) async fn refresh(&self) -> anyhow::Result<()> {
        let minted: Minted = self.client.post("/as/token", self.form.clone()).await?;
        ensure!(
            minted.access_token.matches('.').count() == 2 && minted.pivot_jwe.matches('.').count() == 4,
            "the authority answers no token with a pivot"
        );
        Ok(())
    }
}

#[derive(Deserialize)]
struct Pushed {
    request_uri: String,
}

#[derive(Deserialize)]
struct Redeemed {
    refresh_token: String,
    authorization_details: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    gh: String,
}

/// A grant of the person number `n` to `client`: pushed, granted at a browser, its code exchanged.
pub(super) async fn grant(world: &World, client: &Client, n: usize) -> anyhow::Result<Held> {
    let given = format!("Personne{}", char::from(b'A' + u8::try_from(n % 26).unwrap_or(0)));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::of(VERIFIER.as_bytes()).as_bytes());
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]),
        &check_form(FAMILY, &given, &BORN.parse()?),
    );
    let check = json!({"salt": URL_SAFE_NO_PAD.encode([9; 32]), "hmac": URL_SAFE_NO_PAD.encode(mac)});
    let element = json!([{
        "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
        "units": [{"unit": "valeur", "need": "required"}], "locations": [CNAF], "actions": ["fetch"],
        "demarche": "cantine", "habilitation": client.habilitation, "dossier_ref": format!("2026-{n}"),
        "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "once"}, "use": "store", "data_life_days": 365,
        "subject": {"kind": "self"},
    }]);
    let id = client.id.to_string();
    let pushed: Pushed = client
        .post(
            "/as/par",
            form(&[
                ("client_id", &id),
                ("response_type", "code"),
                ("redirect_uri", client.back),
                ("state", "state"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
                ("authorization_details", &element.to_string()),
                ("subject_check", &check.to_string()),
            ]),
        )
        .await?;

    // An address each, since the portal counts by address.
    let host = u8::try_from(n % 250).unwrap_or(0) + 2;
    let mut browser = Browser::at(Ipv4Addr::new(127, 0, 0, host));
    let portal = format!("http://localhost:{}", world.ports.portal);
    let persona = json!({"provider": "fc", "sub": format!("sub-{n}"), "acr": "eidas1", "pivot": {
        "family_name": FAMILY, "given_names": [given], "birthdate": BORN, "gender": "female"}});
    let entered = browser
        .post_json(&format!("{portal}/demo/persona"), &persona)
        .await?;
    ensure!(
        entered.is_success(),
        "the portal answers {entered} to a simulated login"
    );
    let query = form(&[("client_id", &id), ("request_uri", &pushed.request_uri)]);
    let page = browser
        .open(&format!("{portal}/as/authorize?{query}"), client.back)
        .await?;
    let fields = [("csrf", page.hidden("csrf")?), ("choix", "recuperer".to_owned())];
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let action = page.url.path().to_owned();
    let back = browser.submit(&page, &action, &fields, client.back).await?;
    let code = back.parameter("code").context("no code came back")?;

    let redeemed: Redeemed = client
        .post(
            "/as/token",
            form(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", client.back),
                ("code_verifier", VERIFIER),
            ]),
        )
        .await?;
    let gh = &redeemed
        .authorization_details
        .first()
        .context("nothing was granted")?
        .gh;
    let form = form(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", &redeemed.refresh_token),
        ("resource", CNAF),
        ("gh", gh),
    ]);
    Ok(Held {
        client: client.clone(),
        form,
    })
}

pub(super) fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
