//! Who withdraws: a commune that gives its grants back, and the operator of the authority; and who looks when it holds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::Deserialize;
use unefois_bench::Took;
use unefois_core::effect::{Effect, Standing};
use unefois_core::{Acr, Capacity, Clock, Handle, Micros, ParticipantId, Random, Sha256};
use unefois_mesh::{Connector, DirectoryConfig, DirectoryFollower, HttpsClient, Identity, Target, Trust};
use unefois_store::authority::effect::effect_read;
use unefois_store::authority::grant::{Element, Grant, grant_insert, grant_of_handle};
use unefois_store::authority::person::person_insert;
use unefois_store::authority::{GrantId, PersonUid};
use unefois_store::{Component, Db};

use super::bare::DEADLINE;
use crate::demo::world::{CLAMART, LYON, World};

/// How often it is looked whether a withdrawal holds.
const LOOK: Duration = Duration::from_millis(2);
/// How long a withdrawal may take before nothing is measured any more.
const HOLDS_WITHIN: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
const DAY_MS: i64 = 86_400_000;

/// A grant that the commune holds, of one handle at one producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    id: GrantId,
    handle: Handle,
}

/// One withdrawal that holds.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) took: Took,
    pub(crate) effect: Effect,
}

/// Writes a grant for each of `operators` into the database of an authority that does not run: as many logins and
/// consents as a person's browser would take hours for.
pub(crate) async fn give(
    url: &str,
    operators: &[ParticipantId],
    now: Micros,
    random: &dyn Random,
) -> anyhow::Result<Vec<Given>> {
    let db = Db::open(url, Component::Authority).await?;
    let mut tx = db.begin().await?;
    let person = PersonUid::from_bytes(random.bytes());
    person_insert(&mut tx, &person, now).await?;
    let mut given = Vec::with_capacity(operators.len());
    for operator in operators {
        let (id, handle) = (GrantId::from_bytes(random.bytes()), Handle::draw(now, random));
        let grant = Grant {
            id,
            person,
            client: CLAMART.parse()?,
            act_client: None,
            capacity: Capacity::SelfPerson,
            acr: Acr::Eidas1,
            auth_time: now.secs(),
            idp_iss: "https://fc.example".to_owned(),
            pivot_digest: Sha256::from_bytes(random.bytes()),
            subject_unbound: None,
            demarche: None,
            proactive: false,
            by: None,
            granted_at: now,
            ends_at: now.plus_ms(DAY_MS),
        };
        let details = serde_json::json!({
            "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
            "units": [{ "unit": "valeur", "need": "required" }], "locations": [operator.to_string()],
            "actions": ["fetch"], "demarche": "cantine", "habilitation": "DEMO-clamart-qf",
            "dossier_ref": "2026-0412", "legal_basis": "CRPA-L114-8-I", "mode": { "kind": "once" },
            "use": "store", "data_life_days": 365, "subject": { "kind": "self" },
        });
        let element = Element {
            handle,
            details: details.to_string(),
            left_out: Vec::new(),
            withdrawn: None,
            followed_by: None,
        };
        grant_insert(&mut tx, &grant, &[element]).await?;
        given.push(Given { id, handle });
    }
    tx.commit().await?;
    db.close().await;
    Ok(given)
}

/// What the authority answers to its operator.
#[derive(Deserialize)]
struct Recorded {
    seq: u64,
}

/// Withdraws, and looks.
pub(crate) struct Hand {
    db: Db,
    clock: Arc<dyn Clock>,
    authority: Target,
    commune: HttpsClient,
    operator: HttpsClient,
    /// A reader without a lease.
    pub(crate) reader: Connector,
}

impl Hand {
    /// The certificates of `world`, and the database at `url` for reading.
    pub(crate) async fn open(world: &World, url: &str, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let trust = Arc::new(Trust::load(
            world.folder("ca").join("ca.pem"),
            world.folder("ca").join("ca.crl"),
        )?);
        let directory = Arc::new(DirectoryFollower::load(DirectoryConfig {
            file: world.folder("authority").join("directory.jws"),
            catalogue: world.folder("authority").join("catalogue.bin"),
            key: world.pin.to_string(),
            next_key: None,
        })?);
        let authority = directory.authority();
        let authority = authority.context("the directory names no address of the authority")?;
        let gate = directory.gate(Arc::clone(clock));
        let of = |member: &str| {
            let folder = world.folder(member);
            let identity = Identity::load(folder.join("tls.pem"), folder.join("tls.key"))?;
            let (trust, gate) = (Arc::clone(&trust), Arc::clone(&gate));
            anyhow::Ok(Connector::new(trust, gate, Arc::new(identity), Arc::clone(clock)))
        };
        Ok(Self {
            db: Db::open_for_reading(url).await?,
            clock: Arc::clone(clock),
            commune: of("clamart")?.https(&authority),
            operator: of("authority")?.https(&authority),
            reader: of("lyon")?,
            authority,
        })
    }

    /// How long a ping without a lease takes.
    pub(crate) async fn ping_ms(&self) -> anyhow::Result<f64> {
        super::bare::ping_ms(&self.reader, &self.authority, &*self.clock).await
    }

    /// The commune gives a grant back (kind GRANT: one producer's logs are concerned).
    pub(crate) async fn grant(&self, given: &Given) -> anyhow::Result<Done> {
        let path = format!("/as/grants/{}", URL_SAFE_NO_PAD.encode(given.id.as_bytes()));
        let start = self.clock.now();
        let asked = self.ask(&self.commune, Method::DELETE, &path, Bytes::new());
        let holds = self.holds(async || {
            let row = grant_of_handle(&self.db, &given.handle).await?;
            let element = row.and_then(|row| row.elements.into_iter().next());
            let withdrawn = element.and_then(|element| element.withdrawn);
            Ok(withdrawn
                .filter(|w| w.effective_at.is_some())
                .map(|w| w.place.seq))
        });
        let (_, effect) = tokio::try_join!(asked, holds)?;
        Ok(self.done(start, effect))
    }

    /// The operator withdraws every token of a client (kind CLIENT: all producers' logs are concerned).
    pub(crate) async fn client(&self) -> anyhow::Result<Done> {
        let body = format!("kind=client&key={LYON}&reason=mesure");
        let start = self.clock.now();
        let recorded = self.ask(&self.operator, Method::POST, "/as/withdrawals", body.into());
        let recorded: Recorded = serde_json::from_slice(&recorded.await?)?;
        let effect = self.holds(async || Ok(Some(recorded.seq))).await?;
        Ok(self.done(start, effect))
    }

    /// Lets the database go.
    pub(crate) async fn close(self) {
        self.db.close().await;
    }

    fn done(&self, start: Micros, (effect, seen): (Effect, Micros)) -> Done {
        let since = |at: Micros| at.get() - start.get();
        let ran_out = effect
            .logs
            .iter()
            .filter(|line| matches!(line.standing, Standing::Lapsed { .. }));
        Done {
            took: Took {
                effective: since(effect.effective_at),
                seen: since(seen),
                ran_out: ran_out.count(),
            },
            effect,
        }
    }

    async fn ask(
        &self,
        client: &HttpsClient,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let url = Uri::builder()
            .scheme("https")
            .authority(self.authority.authority.clone())
            .path_and_query(path)
            .build()?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, form)]);
        let answer = client.request(method, &url, headers, body, DEADLINE, MAX_ANSWER);
        let answer = answer.await?;
        ensure!(
            answer.status.is_success(),
            "the authority answers {} to a withdrawal: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(answer.body)
    }

    /// Looks until the record whose number `seq` tells has taken effect: its proof, and when it was seen.
    async fn holds(
        &self,
        seq: impl AsyncFn() -> Result<Option<u64>, unefois_store::Error>,
    ) -> anyhow::Result<(Effect, Micros)> {
        let seen = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                let Some(seq) = seq().await? else { continue };
                if let Some((_, proof)) = effect_read(&self.db, seq).await? {
                    let now = self.clock.now();
                    return Ok((Effect::from_bytes(&proof).context("a proof does not read")?, now));
                }
            }
        };
        let within = tokio::time::timeout(HOLDS_WITHIN, seen).await;
        within.context("a withdrawal has not taken effect")?
    }
}
