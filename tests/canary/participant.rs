//! A consumer whose software is this test: it speaks to the authority and to producers over mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kit::canary::Canaries;
use ring::hmac;
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::Channel;
use unefois::demo::persona::Persona;
use unefois::demo::world::{AUTHORITY, CNAF, LYON, LYON_BACK, MESR, World};
use unefois_core::{AccessTokenClaims, Clock as _, Random, Sha256};
use unefois_mesh::{Connector, Identity, Peer, SystemClock, SystemRandom, Target, Trust};
use unefois_proto::pb::exchange::v1 as pb;
use unefois_proto::pb::exchange::v1::exchange_service_client::ExchangeServiceClient;
use url::form_urlencoded;

pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const WITHIN: Duration = Duration::from_secs(10);

/// Somebody with a certificate of the mesh.
pub(crate) struct Participant {
    connector: Connector,
    authority: Target,
    cnaf: Target,
    mesr: Target,
}

/// What was granted for one datatype, and the token that says so.
#[derive(Clone)]
pub(crate) struct Element {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) pivot_jwe: String,
    pub(crate) grant_id: String,
    pub(crate) claims: AccessTokenClaims,
}

impl Participant {
    /// Whoever the certificate in `folder` of the world names.
    pub(crate) fn new(world: &World, folder: &str) -> Self {
        let (ca, own) = (world.folder("ca"), world.folder(folder));
        let trust = Trust::load(ca.join("ca.pem"), ca.join("ca.crl")).unwrap();
        let identity = Identity::load(own.join("tls.pem"), own.join("tls.key")).unwrap();
        let connector = Connector::new(
            Arc::new(trust),
            Arc::new(|_: &Peer| Ok(())),
            Arc::new(identity),
            Arc::new(SystemClock),
        );
        let target = |peer: &str, port: u16| Target {
            peer: peer.parse().unwrap(),
            authority: format!("localhost:{port}").parse().unwrap(),
        };
        Self {
            connector,
            authority: target(AUTHORITY, world.ports.authority),
            cnaf: target(CNAF, world.ports.cnaf),
            mesr: target(MESR, world.ports.mesr),
        }
    }

    /// Calls the authority's back channel.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
    ) -> (StatusCode, String) {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert("content-type", kind);
        let url = format!("https://{}{path}", self.authority.authority)
            .parse()
            .unwrap();
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let client = self.connector.https(&self.authority);
        let answer = client
            .request(method, &url, headers, body.into(), WITHIN, 1 << 20)
            .await
            .unwrap();
        (answer.status, text(&answer.body))
    }

    /// Exchanges a code, or a refresh token, for the element at `producer`.
    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> Element {
        let (status, body) = self.call(Method::POST, "/as/token", form).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let member = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let access_token = member("access_token");
        let claims = access_token
            .split('.')
            .nth(1)
            .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        Element {
            refresh_token: member("refresh_token"),
            pivot_jwe: member("pivot_jwe"),
            grant_id: member("grant_id"),
            claims: serde_json::from_slice(&claims.unwrap()).unwrap(),
            access_token,
        }
    }

    /// The exchange service of `producer`.
    pub(crate) fn exchange(&self, producer: &str) -> ExchangeServiceClient<Channel> {
        ExchangeServiceClient::new(self.channel(producer))
    }

    pub(crate) fn channel(&self, producer: &str) -> Channel {
        let target = match producer {
            CNAF => &self.cnaf,
            MESR => &self.mesr,
            _ => &self.authority,
        };
        self.connector.channel(target, WITHIN)
    }

    /// Fetches; the attestation.
    pub(crate) async fn fetch(
        &self,
        producer: &str,
        request: pb::FetchRequest,
    ) -> Result<pb::Attestation, Status> {
        use pb::fetch_response::Answer;
        let mut stream = self.exchange(producer).fetch(request).await?.into_inner();
        let mut attestation = None;
        while let Some(message) = stream.message().await? {
            if let Some(Answer::Attestation(part)) = message.answer {
                attestation = Some(part);
            }
        }
        Ok(attestation.unwrap())
    }
}

impl Element {
    /// A request for all of it, with a new name.
    pub(crate) fn request(&self) -> pb::FetchRequest {
        let random = SystemRandom::new();
        let random: &dyn Random = &random;
        let details = &self.claims.authorization_details[0];
        pb::FetchRequest {
            request_id: random.exchange_id(SystemClock.now()).to_string(),
            access_token: self.access_token.clone(),
            pivot_jwe: self.pivot_jwe.clone(),
            datatype: details.datatype().to_string(),
            units: details.units.iter().map(|unit| unit.unit.to_string()).collect(),
            demarche: details.demarche.to_string(),
            dossier_ref: details.dossier_ref.to_string(),
            nonce: random.bytes::<32>().to_vec(),
            ..Default::default()
        }
    }

    /// Searches for all that it is made of.
    pub(crate) fn watch(&self, canaries: &mut Canaries) {
        for (field, text) in [
            ("an access token", &self.access_token),
            ("a refresh token", &self.refresh_token),
            ("a sealed pivot", &self.pivot_jwe),
        ] {
            // The first part of a token is the same for all.
            for part in text
                .split('.')
                .filter(|part| part.len() >= 20 && !part.starts_with("eyJ"))
            {
                canaries.watch(field, part);
            }
        }
        for part in self.access_token.split('.').skip(1) {
            canaries.watch("an access token", part);
        }
        canaries.watch("a jti", &self.claims.jti);
        canaries.watch("a pairwise sub", &self.claims.sub);
        canaries.watch("a handle", self.claims.gh.to_string());
        canaries.watch("a grant's name", &self.grant_id);
    }
}

/// A good pushed request of Lyon's for both producers; a test spoils one parameter.
pub(crate) fn pushed(person: &Persona, dossier: &str) -> Vec<(&'static str, String)> {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::of(VERIFIER.as_bytes()).as_bytes());
    let elements = json!([
        element(
            CNAF,
            "cnaf/quotient-familial@1",
            "valeur",
            "DEMO-lyon-qf",
            dossier
        ),
        element(
            MESR,
            "mesr/statut-etudiant@1",
            "inscription",
            "DEMO-lyon-etudiant",
            dossier
        ),
    ]);
    vec![
        ("client_id", LYON.to_owned()),
        ("response_type", "code".to_owned()),
        ("redirect_uri", LYON_BACK.to_owned()),
        ("state", "state-of-the-test".to_owned()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        ("way", "present".to_owned()),
        ("capacity", "self".to_owned()),
        ("authorization_details", elements.to_string()),
        ("subject_check", subject_check(person)),
    ]
}

fn element(producer: &str, datatype: &str, unit: &str, habilitation: &str, dossier: &str) -> Value {
    json!({
        "type": "urn:unefois:justificatif:1", "datatypes": [datatype],
        "units": [{"unit": unit, "need": "required"}],
        "locations": [producer], "actions": ["fetch"], "demarche": "cantine", "habilitation": habilitation,
        "dossier_ref": dossier, "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "once"},
        "use": "store", "data_life_days": 365, "subject": {"kind": "self"}
    })
}

fn subject_check(person: &Persona) -> String {
    let salt = [9; 32];
    let birthdate = person.birthdate.parse().unwrap();
    let form = unefois_core::check_form(person.family_name, person.given_name_array[0], &birthdate);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), &form);
    json!({"salt": URL_SAFE_NO_PAD.encode(salt), "hmac": URL_SAFE_NO_PAD.encode(mac)}).to_string()
}

/// The parameters as a form takes them.
pub(crate) fn pairs<'a>(parameters: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    parameters
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}
