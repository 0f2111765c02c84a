//! Whoever holds a stolen key that signs tokens, and the commune's certificate: tokens of their own, a handle each.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois::demo::persona::Persona;
use unefois::demo::world::{CLAMART, CNAF, World};
use unefois_core::directory::DirectoryDocument;
use unefois_core::{AccessTokenClaims, Clock as _, Handle, Micros, Random, RevocationView, Sha256};
use unefois_jose::{EncryptionKey, PublicKey, SigningKey, access_token, jwe};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_proto::pb::exchange::v1 as pb;

use crate::withdraw::consumer::{Consumer, Ended, Fetched, Manner};

/// Between two calls.
const PACE: Duration = Duration::from_millis(10);
const DATATYPE: &str = "cnaf/quotient-familial@1";
const DEMARCHE: &str = "cantine";
const DOSSIER: &str = "2026-0412";
const UNITS: [&str; 2] = ["composition", "valeur"];

/// The thief.
pub(super) struct Thief {
    key: SigningKey,
    document: DirectoryDocument,
    sealed_to: EncryptionKey,
    /// What the identity of each token is sealed from.
    subject: String,
    idp: String,
    certificate: Sha256,
    consumer: Consumer,
    /// The head of the log of withdrawals that the tokens claim to have been minted at.
    head: Mutex<RevocationView>,
    seen: Mutex<Vec<Fetched>>,
    random: SystemRandom,
}

impl Thief {
    /// Of a world whose directory is this one now.
    pub(super) fn new(
        world: &World,
        document: &DirectoryDocument,
        key: SigningKey,
        person: &Persona,
        tasks: TaskTracker,
    ) -> anyhow::Result<Self> {
        let fund = document
            .participants
            .iter()
            .find(|row| row.id.to_string() == CNAF);
        let pivot = fund
            .and_then(|row| row.pivot_keys.first())
            .context("a key of the fund")?;
        let subject = json!({"person": {
            "family_name": person.family_name, "given_names": person.given_name_array, "birthdate": person.birthdate,
            "gender": person.gender, "birthplace": person.birthplace, "birthcountry": person.birthcountry,
        }});
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let (authority, producer) = (address(world.ports.authority), address(world.ports.cnaf));
        Ok(Self {
            key,
            document: document.clone(),
            sealed_to: EncryptionKey::new(PublicKey::from_point(&pivot.sec1())?),
            subject: subject.to_string(),
            idp: world.idps[0].issuer.clone(),
            certificate: certificate(&world.folder("clamart").join("tls.pem"))?,
            consumer: Consumer::new(world, "clamart", authority, producer, tasks)?,
            head: Mutex::new(RevocationView { epoch: 1, seq: 0 }),
            seen: Mutex::default(),
            random: SystemRandom::new(),
        })
    }

    /// Fetches until `over`, one answer after the other.
    pub(super) async fn work(&self, over: &CancellationToken) -> anyhow::Result<()> {
        let opened = CancellationToken::new();
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !over.is_cancelled() {
            pace.tick().await;
            let fetched = self
                .consumer
                .fetch(
                    &self.request()?,
                    Manner::Prompt,
                    &opened,
                    &CancellationToken::new(),
                )
                .await;
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(fetched);
        }
        Ok(())
    }

    /// From now on the tokens claim to know this head.
    pub(super) fn claims(&self, head: RevocationView) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }

    /// Answers, and calls in all, so far.
    pub(super) fn counts(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = seen.iter().filter(|fetched| fetched.ended == Ended::Answered);
        (answered.count(), seen.len())
    }

    /// Every call, in order.
    pub(super) fn seen(&self) -> Vec<Fetched> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request under a token and a handle of its own.
    fn request(&self) -> anyhow::Result<pb::FetchRequest> {
        let (now, random) = (SystemClock.now(), &self.random as &dyn Random);
        let pivot_jwe = jwe::seal_pivot(&self.sealed_to, &self.subject, self.random.ring())?;
        Ok(pb::FetchRequest {
            request_id: random.exchange_id(now).to_string(),
            access_token: access_token::sign(&self.key, &self.token(&pivot_jwe, now)?)?,
            pivot_jwe,
            datatype: DATATYPE.to_owned(),
            units: UNITS.map(str::to_owned).to_vec(),
            demarche: DEMARCHE.to_owned(),
            dossier_ref: DOSSIER.to_owned(),
            nonce: random.bytes::<32>().to_vec(),
            ..Default::default()
        })
    }

    fn token(&self, pivot_jwe: &str, now: Micros) -> anyhow::Result<AccessTokenClaims> {
        let random = &self.random as &dyn Random;
        let head = *self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let (handle, habilitation) = (Handle::draw(now, random), self.habilitation()?);
        let units = UNITS.map(|unit| json!({"unit": unit, "need": "required"}));
        let claims = json!({
            "iss": self.document.authority.issuer, "aud": CNAF, "sub": "vol", "client_id": CLAMART,
            "iat": now.secs(), "nbf": now.secs(), "exp": now.secs() + 60,
            "jti": URL_SAFE_NO_PAD.encode(random.bytes::<16>()),
            "acr": "eidas1", "auth_time": now.secs(), "idp_iss": self.idp,
            "cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(self.certificate.as_bytes())}, "gh": handle,
            "authorization_details": [{
                "type": "urn:unefois:justificatif:1", "datatypes": [DATATYPE], "units": units, "locations": [CNAF],
                "actions": ["fetch"], "demarche": DEMARCHE, "habilitation": habilitation, "dossier_ref": DOSSIER,
                "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "once"}, "use": "store", "data_life_days": 365,
                "subject": {"kind": "self"}, "gh": handle,
            }],
            "capacity": "self",
            "pivot_hash": URL_SAFE_NO_PAD.encode(Sha256::of(pivot_jwe.as_bytes()).as_bytes()),
            "gs": URL_SAFE_NO_PAD.encode(random.bytes::<32>()), "rvk": head,
        });
        Ok(serde_json::from_value(claims)?)
    }

    fn habilitation(&self) -> anyhow::Result<String> {
        let mut rows = self.document.habilitations.iter().map(|row| &row.habilitation);
        let row = rows.find(|row| row.consumer.to_string() == CLAMART && row.producer.to_string() == CNAF);
        Ok(row
            .context("a habilitation of the commune at the fund")?
            .id
            .to_string())
    }
}

fn certificate(chain: &Path) -> anyhow::Result<Sha256> {
    Ok(Sha256::of(&CertificateDer::from_pem_file(chain)?))
}
