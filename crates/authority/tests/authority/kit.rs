//! One authority with its directory, a commune that consumes, a producer, and an identity provider.

mod ledgers;
mod pki;
mod request;
mod until;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_authority::{Config, Running, StartError, start};
use unefois_core::catalogue::Catalogue;
use unefois_core::directory::DirectoryDocument;
use unefois_core::{AccessTokenClaims, Boot, Clock, Entry, Event, Micros, Sha256};
use unefois_jose::{DecryptionKey, Pkcs8, SigningKey, directory, jws};
use unefois_ledger::Retention;
use unefois_mesh::{Connector, Identity, Limits, Listener, SystemClock, SystemRandom, Target, Trust};
use unefois_tlog::SignerKey;

pub(crate) use ledgers::{Node, Served, Which, Write};
pub(crate) use request::{Demande, entity_check, form, merge, redeem, set, subject_check};
pub(crate) use until::until;

use crate::answers::Answering;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::port::free_port;
use crate::provider::{CLIENT, IdentityProvider, SECRET, Says, Sends};
use crate::signers::Signers;
use ledgers::{Crowded, Endless, Nobody, Slow};
pub(crate) use pki::ring;
use pki::{Ca, Pem, jwk, signing_key};

pub(crate) const AUTHORITY: &str = "urn:unefois:participant:13002526500013";
pub(crate) const COMMUNE: &str = "urn:unefois:participant:21920023500014";
pub(crate) const CROUS: &str = "urn:unefois:participant:13000495500014";
pub(crate) const REDIRECT: &str = "https://commune.example/retour?dossier=1";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const DAY_MS: i64 = 86_400_000;

/// Answers of the back channel.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

/// The system's clocks, each put forward by some milliseconds.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    wall_ms: AtomicI64,
    boot_ms: AtomicI64,
}

impl TestClock {
    /// Lets time go by on the wall clock.
    pub(crate) fn pass(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Lets time go by on the clock that ages are counted by.
    pub(crate) fn age(&self, ms: i64) {
        self.boot_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        SystemClock.now().plus_ms(self.wall_ms.load(Ordering::SeqCst))
    }

    fn boottime(&self) -> Boot {
        SystemClock
            .boottime()
            .plus_ms(self.boot_ms.load(Ordering::SeqCst))
    }
}

pub(crate) struct Kit {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) running: Running,
    pub(crate) issuer: String,
    /// FranceConnect.
    pub(crate) provider: IdentityProvider,
    /// FranceConnect+.
    pub(crate) plus: IdentityProvider,
    /// ProConnect.
    pub(crate) pro: IdentityProvider,
    pub(crate) token_key: SigningKey,
    /// The one that is to follow it, which the authority holds and no directory lists yet.
    pub(crate) next_token_key: SigningKey,
    pub(crate) withdrawal_key: SigningKey,
    pub(crate) pivot_key: Arc<DecryptionKey>,
    /// The authority's own, which consumers seal identities to.
    pub(crate) sealing_key: DecryptionKey,
    pub(crate) directory_key: SigningKey,
    pub(crate) document: DirectoryDocument,
    signers: Signers,
    pub(crate) cnaf: String,
    folder: TempDir,
    ca: Ca,
    authority: Pem,
    commune: Pem,
    crous: Pem,
    producer: Pem,
    other: Pem,
    stop_provider: CancellationToken,
    tasks: TaskTracker,
    config: Value,
    database: TestDatabase,
}

/// Changes a database with statements that both kinds of it know.
pub(crate) async fn execute(database: &TestDatabase, sql: &'static str) {
    let url = database.url();
    let done = match url.strip_prefix("sqlite:") {
        Some(path) => {
            let options = SqliteConnectOptions::new().filename(path);
            let mut file = options.connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut file).await.map(drop)
        }
        None => {
            let mut server = PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut server).await.map(drop)
        }
    };
    done.unwrap();
}

impl Kit {
    pub(crate) async fn new() -> Self {
        Self::on(TestDatabase::sqlite()).await
    }

    pub(crate) async fn on(database: TestDatabase) -> Self {
        Self::with(database, |_, _| {}).await
    }

    /// A world whose directory and configuration `change` has changed.
    pub(crate) async fn with(database: TestDatabase, change: impl FnOnce(&mut Value, &mut Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let ca = Ca::new();
        let [authority, commune, crous] = [AUTHORITY, COMMUNE, CROUS].map(|id| ca.issue(id));
        let catalogue = catalogue(str::to_owned);
        let cnaf = operator(&catalogue, "cnaf/quotient-familial@1");
        let mesr = operator(&catalogue, "mesr/statut-etudiant@1");
        let [producer, other] = [&cnaf, &mesr].map(|id| ca.issue(id));

        let portal_port = free_port();
        let issuer = format!("http://127.0.0.1:{portal_port}");
        let (stop_provider, tasks) = (CancellationToken::new(), TaskTracker::new());
        let plus_key = Pkcs8::generate(&ring()).unwrap();
        write(&at("fcp.key"), &plus_key.to_pem());
        let plus_key = DecryptionKey::from_pkcs8(&plus_key).unwrap();
        let encrypted = Sends::Encrypted(plus_key.encryption_key().clone());
        let provider = serve(Sends::Signed, Says::default(), &stop_provider, &tasks).await;
        let plus = serve(encrypted, Says::person("eidas2"), &stop_provider, &tasks).await;
        let pro = serve(Sends::Signed, Says::officer("agent"), &stop_provider, &tasks).await;
        let [fc, fcp, pro_issuer] = [&provider, &plus, &pro].map(|idp| idp.issuer.clone());

        let [token_key, next_token_key, withdrawal_key, directory_key] =
            ["token", "token.next", "withdrawal", "directory"].map(|name| signing_key(&at(name)));
        for name in ["subject", "storage", "node"] {
            write(&at(name), &"5a".repeat(32));
        }
        let sealing = Pkcs8::generate(&ring()).unwrap();
        write(&at("pivot"), &sealing.to_pem());
        let sealing_key = DecryptionKey::from_pkcs8(&sealing).unwrap();
        let pivot = Pkcs8::generate(&ring()).unwrap();
        let pivot_key = Arc::new(DecryptionKey::from_pkcs8(&pivot).unwrap());
        let log = "autorite.example/1";
        write(&at("ledger"), &SignerKey::to_text(log.parse().unwrap(), &[3; 32]));
        write(&at("fc.secret"), SECRET);
        for (name, text) in [
            ("ca.pem", &ca.cert),
            ("crl.pem", &ca.crl()),
            ("tls.pem", &authority.cert),
            ("tls.key", &authority.key),
        ] {
            write(&at(name), text);
        }
        std::fs::write(at("catalogue.json"), catalogue.to_bytes()).unwrap();

        let pivot_jwk = jwk(pivot_key.encryption_key().public().point());
        let row = |id: &str, name: &str, kind: &str, pem: &Pem, more: Value| {
            let mut row = json!({
                "id": id, "name": {"fr": name, "en": name}, "kind": kind,
                "mesh": [format!("127.0.0.1:{}", free_port())],
                "dpo": "dpo@example.fr", "tls": [{"spki_sha256": pem.spki().to_string(), "status": "current"}],
            });
            merge(&mut row, more);
            row
        };
        let unasked = |id: &str, demarche: &str, basis: &str| {
            json!({
                "id": id, "consumer": COMMUNE, "producer": cnaf, "demarche": demarche,
                "datatypes": [{"datatype": "cnaf/quotient-familial@1", "units": ["valeur"]}], "legal_bases": [basis],
                "not_before": "2020-01-01T00:00:00Z", "not_after": "2090-01-01T00:00:00Z",
            })
        };
        let habilitation = |id: &str, producer: &str, datatype: &str, units: Value| {
            json!({
                "id": id, "consumer": COMMUNE, "producer": producer, "demarche": "cantine",
                "datatypes": [{"datatype": datatype, "units": units}], "legal_bases": ["CRPA-L114-8-I"],
                "not_before": "2020-01-01T00:00:00Z", "not_after": "2090-01-01T00:00:00Z",
            })
        };
        let now = SystemClock.now();
        let mut document = json!({
            "version": 1, "issued_at": now.plus_ms(-1_000).to_rfc3339(),
            "next_update": now.plus_ms(DAY_MS).to_rfc3339(), "expires": now.plus_ms(2 * DAY_MS).to_rfc3339(),
            "lease_ms": 1000, "catalogue_hash": catalogue.hash().to_string(),
            "participants": [
                row(AUTHORITY, "Autorité", "administration", &authority,
                    json!({"logs": [log_row(log, 3)]})),
                row(COMMUNE, "Mairie de Clamart", "collectivite", &commune,
                    json!({"redirect_uris": [REDIRECT], "logs": [log_row("clamart.example/1", 5)]})),
                row(CROUS, "CROUS de Versailles", "administration", &crous, json!({})),
                row(&cnaf, "Caisse nationale des allocations familiales", "administration", &producer,
                    json!({"pivot_keys": [pivot_jwk], "logs": [log_row("cnaf.example/1", 4)]})),
                row(&mesr, "Enseignement supérieur", "administration", &other, json!({"pivot_keys": [pivot_jwk]})),
            ],
            "authority": {
                "participant": AUTHORITY, "issuer": issuer, "portal": issuer,
                "token_keys": [jwk(token_key.verifying_key().public().point())],
                "withdrawal_keys": [jwk(withdrawal_key.verifying_key().public().point())],
                "subject_keys": [jwk(sealing_key.encryption_key().public().point())],
                "identity_providers": [
                    {"issuer": fc, "acr": ["eidas1"]}, {"issuer": fcp, "acr": ["eidas2"]},
                    {"issuer": pro_issuer, "acr": [], "officers": ["identified"]},
                    {"issuer": issuer, "acr": ["eidas1"]},
                ],
            },
            "habilitations": [
                habilitation("DP-1", &cnaf, "cnaf/quotient-familial@1", json!(["valeur", "composition"])),
                habilitation("DP-2", &mesr, "mesr/statut-etudiant@1", json!(["inscription", "etablissement"])),
                unasked("UN-1", "transports-verification", "CRPA-L114-8-I"),
                unasked("UN-2", "transports-information", "CRPA-L114-8-II"),
            ],
            "quotas": [],
        });
        let file = |name: &str| at(name).display().to_string();
        let mut config = json!({
            "authority": {"participant": AUTHORITY, "issuer": issuer, "mesh_url": "https://127.0.0.1:9"},
            "listen": {"mesh": "127.0.0.1:0", "portal": format!("127.0.0.1:{portal_port}")},
            "tls": {"chain": file("tls.pem"), "key": file("tls.key"), "authorities": file("ca.pem"),
                "crls": file("crl.pem")},
            "database": {"url": database.url()},
            "keys": {"token": file("token"), "token_next": file("token.next"), "withdrawal": file("withdrawal"), "withdrawal_next": file("token.next"),
                "subject": file("subject"), "storage": file("storage"), "node": file("node"), "pivot": [file("pivot")]},
            "ledger": {"signer": file("ledger")},
            "directory": {"file": file("directory.jws"), "catalogue": file("catalogue.json"),
                "key": directory_key.thumbprint().to_string()},
            "login": [
                {"name": "fc", "label": "FranceConnect", "issuer": fc, "client_id": CLIENT,
                    "client_secret": file("fc.secret"), "levels": {"eidas1": "eidas1"}},
                {"name": "fcp", "kind": "franceconnect+", "label": "FranceConnect+", "issuer": fcp,
                    "client_id": CLIENT, "client_secret": file("fc.secret"), "decryption": [file("fcp.key")],
                    "levels": {"eidas2": "eidas2", "eidas3": "eidas3"}},
                {"name": "pro", "kind": "proconnect", "label": "ProConnect", "issuer": pro_issuer,
                    "client_id": CLIENT, "client_secret": file("fc.secret"),
                    "officers": {"agent": "identified", "dirigeant": "certified"}},
            ],
        });
        change(&mut document, &mut config);
        for row in document["habilitations"].as_array_mut().unwrap() {
            // Whoever signs says over what.
            row["authority"] = json!(AUTHORITY);
            row["demarche_sha256"] = json!(Sha256::default().to_string());
            for covered in row["datatypes"].as_array_mut().unwrap() {
                covered["sheet_sha256"] = json!(Sha256::default().to_string());
            }
            *row = json!({"habilitation": row.take()});
        }
        let mut document: DirectoryDocument = serde_json::from_value(document).unwrap();
        let mut signers = Signers::new(ring(), &catalogue);
        signers.sign(&mut document);
        write(
            &at("directory.jws"),
            &directory::sign(&document, &directory_key).unwrap(),
        );
        let clock = Arc::new(TestClock::default());
        let running = begin(&config, &clock).await.unwrap();
        Self {
            clock,
            running,
            issuer,
            provider,
            plus,
            pro,
            token_key,
            next_token_key,
            withdrawal_key,
            pivot_key,
            sealing_key,
            directory_key,
            document,
            signers,
            cnaf,
            folder,
            ca,
            authority,
            commune,
            crous,
            producer,
            other,
            stop_provider,
            tasks,
            config,
            database,
        }
    }

    /// Stops the authority and starts it again, as `change` has changed its configuration meanwhile.
    pub(crate) async fn restart(mut self, change: impl FnOnce(&mut Value, &TestDatabase)) -> Self {
        self.running.stop().await;
        change(&mut self.config, &self.database);
        self.running = begin(&self.config, &self.clock).await.unwrap();
        self
    }

    /// Changes the database with statements that both kinds of it know.
    pub(crate) async fn execute(&self, sql: &'static str) {
        execute(&self.database, sql).await;
    }

    /// The texts that a query gives which both kinds of database know, one column a row.
    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<String> {
        let url = self.database.url();
        let texts = match url.strip_prefix("sqlite:") {
            Some(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut file = options.connect().await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut file).await
            }
            None => {
                let mut server = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut server).await
            }
        };
        texts.unwrap()
    }

    /// Another process of this authority, whose configuration `change` has changed, once it serves.
    pub(crate) async fn beside(&self, change: impl FnOnce(&mut Value)) -> Result<Running, StartError> {
        let mut config = self.config.clone();
        change(&mut config);
        begin(&config, &self.clock).await
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
        self.stop_provider.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.issuer)
    }

    /// The node of the producer, or of the commune, as far as its ledger goes.
    pub(crate) async fn node(&self, which: Which) -> Node {
        let (pem, n, seed) = match which {
            Which::Producer => (&self.producer, 3, 4),
            Which::Commune => (&self.commune, 1, 5),
        };
        Node::start(self, pem, self.document.participants[n].clone(), seed).await
    }

    /// The other producer, who knows nobody.
    pub(crate) async fn other_producer(&self) -> Served {
        Served::start(
            self,
            &self.other,
            &self.document.participants[4],
            Answering(Nobody),
        )
        .await
    }

    /// The producer, with a history that nobody reads to its end.
    pub(crate) async fn endless_history(&self) -> Served {
        Served::start(
            self,
            &self.producer,
            &self.document.participants[3],
            Answering(Endless),
        )
        .await
    }

    /// Another producer that holds more of namesakes than can be read.
    pub(crate) async fn crowded_producer(&self) -> Served {
        let row = &self.document.participants[4];
        Served::start(self, &self.other, row, Answering(Crowded)).await
    }

    /// The producer, with a history that nobody waits for to its end; how many questions it was asked.
    pub(crate) async fn slow_history(&self) -> (Served, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let row = &self.document.participants[3];
        let answers = Answering(Slow(Arc::clone(&asked)));
        (Served::start(self, &self.producer, row, answers).await, asked)
    }

    fn connector(&self, pem: &Pem) -> (Connector, Target) {
        let trust = Trust::from_pem(&self.ca.cert, &self.ca.crl()).unwrap();
        let identity = Identity::new(pem.credential());
        let connector = Connector::new(
            Arc::new(trust),
            Arc::new(|_: &unefois_mesh::Peer| Ok(())),
            Arc::new(identity),
            Arc::new(SystemClock),
        );
        let target = Target {
            peer: AUTHORITY.parse().unwrap(),
            authority: self.running.mesh.to_string().parse().unwrap(),
        };
        (connector, target)
    }

    /// A gRPC channel of the producer's.
    pub(crate) fn producer_channel(&self) -> tonic::transport::Channel {
        let (connector, target) = self.connector(&self.producer);
        connector.channel(&target, Duration::from_secs(5))
    }

    /// A gRPC channel of the commune's.
    pub(crate) fn commune_channel(&self) -> tonic::transport::Channel {
        let (connector, target) = self.connector(&self.commune);
        connector.channel(&target, Duration::from_secs(5))
    }

    /// A gRPC channel of a publisher that the commune may list.
    pub(crate) fn crous_channel(&self) -> tonic::transport::Channel {
        let (connector, target) = self.connector(&self.crous);
        connector.channel(&target, Duration::from_secs(5))
    }

    /// The certificate that the commune shows, as tokens name it.
    pub(crate) fn commune_x5t(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.commune.credential().cert_sha256.as_bytes())
    }

    /// A back-channel request of the commune's.
    pub(crate) async fn call(&self, method: Method, path: &str, form: &str) -> Answer {
        self.call_as(&self.commune, method, path, form).await
    }

    /// The same by another participant.
    pub(crate) async fn call_as_crous(&self, path: &str, form: &str) -> Answer {
        self.call_as(&self.crous, Method::POST, path, form).await
    }

    /// The same with the authority's own certificate, as its operator.
    pub(crate) async fn call_as_operator(&self, method: Method, path: &str, form: &str) -> Answer {
        self.call_as(&self.authority, method, path, form).await
    }

    /// The same by either of two publishers that the commune may list.
    pub(crate) async fn call_as_publisher(
        &self,
        which: Publisher,
        method: Method,
        path: &str,
        form: &str,
    ) -> Answer {
        let pem = match which {
            Publisher::Crous => &self.crous,
            Publisher::Cnaf => &self.producer,
        };
        self.call_as(pem, method, path, form).await
    }

    async fn call_as(&self, pem: &Pem, method: Method, path: &str, form: &str) -> Answer {
        let (connector, target) = self.connector(pem);
        let url = format!("https://{}{path}", target.authority).parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let body = Bytes::from(form.to_owned());
        let answer = connector
            .https(&target)
            .request(method, &url, headers, body, Duration::from_secs(10), 1 << 20)
            .await
            .unwrap();
        Answer {
            status: answer.status,
            headers: answer.headers,
            json: serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        }
    }

    /// The claims of a token, its signature verified.
    pub(crate) fn claims(&self, token: &str) -> AccessTokenClaims {
        let key = self.token_key.verifying_key().clone();
        let verified = jws::verify(token, "at+jwt", 16 * 1024, |_| Some(key)).unwrap();
        verified.claims().unwrap()
    }

    /// The job that destroys what is past its time.
    pub(crate) fn retention(&self) -> Retention {
        Retention::new(self.running.ledger().clone())
    }

    pub(crate) fn database_url(&self) -> &str {
        self.database.url()
    }

    /// The events of the authority's ledger.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.entries()
            .await
            .into_iter()
            .map(|entry| entry.event)
            .collect()
    }

    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let entries = self.running.ledger().entries(0, u64::MAX).await.unwrap();
        entries
            .iter()
            .map(|bytes| Entry::decode(bytes).unwrap())
            .collect()
    }

    /// Signs and publishes the next version of the directory, with the catalogue whose files are the repository's as
    /// `change` has them read.
    pub(crate) fn publish_with_catalogue(&mut self, change: impl Fn(&str) -> String) {
        let catalogue = catalogue(change);
        self.signers.sign_over(&catalogue);
        let next = self.file("catalogue.next");
        std::fs::write(&next, catalogue.to_bytes()).unwrap();
        std::fs::rename(next, self.file("catalogue.json")).unwrap();
        self.publish(|document| document.catalogue_hash = catalogue.hash());
    }

    /// Signs and publishes the next version of the directory.
    pub(crate) fn publish(&mut self, change: impl FnOnce(&mut DirectoryDocument)) {
        let payload = serde_json::to_vec(&self.document).unwrap();
        self.document.prev = Some(Sha256::of(&payload));
        self.document.version += 1;
        change(&mut self.document);
        self.signers.sign(&mut self.document);
        let jws = directory::sign(&self.document, &self.directory_key).unwrap();
        let next = self.file("directory.next");
        write(&next, &jws);
        std::fs::rename(next, self.file("directory.jws")).unwrap();
    }

    /// Waits until what was published last is in use.
    pub(crate) async fn taken_up(&self) {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self.document).unwrap());
        until(async || {
            let published = self.call(Method::GET, "/directory", "").await;
            (published.json["payload"] == payload).then_some(())
        })
        .await;
    }
}

/// An identity provider on a port of its own.
async fn serve(sends: Sends, says: Says, stop: &CancellationToken, tasks: &TaskTracker) -> IdentityProvider {
    let port = free_port();
    let key = SigningKey::generate(&ring()).unwrap();
    let provider = IdentityProvider::new(format!("http://127.0.0.1:{port}"), key, sends, says);
    let listener = Listener::loopback(([127, 0, 0, 1], port).into(), Limits::default()).await;
    tasks.spawn(listener.unwrap().serve(provider.router(), stop.clone()));
    provider
}

async fn begin(config: &Value, clock: &Arc<TestClock>) -> Result<Running, StartError> {
    let config: Config = serde_json::from_value(config.clone()).unwrap();
    let clock = Arc::<TestClock>::clone(clock);
    start(config, clock, Arc::new(SystemRandom::new()), ring()).await
}

/// Whoever hosts the commune, where its row says so.
#[derive(Clone, Copy)]
pub(crate) enum Publisher {
    Crous,
    Cnaf,
}

fn log_row(origin: &str, seed: u8) -> Value {
    let key = SignerKey::new(origin.parse().unwrap(), &[seed; 32]);
    json!({"origin": origin, "vkey": key.verifier().to_string()})
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// The repository's catalogue, each of its files as `change` has it read.
fn catalogue(change: impl Fn(&str) -> String) -> Catalogue {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalogue");
    let mut files = Vec::new();
    for folder in ["types", "demarches", "producers"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = file.unwrap().path();
            let name = format!("{folder}/{}", file.file_name().unwrap().to_str().unwrap());
            let text = std::fs::read_to_string(&file).unwrap();
            files.push((name, change(&text)));
        }
    }
    files.sort();
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    Catalogue::load(&files).unwrap()
}

fn operator(catalogue: &Catalogue, datatype: &str) -> String {
    let datatype = catalogue.datatype(&datatype.parse().unwrap()).unwrap();
    datatype.operator().to_string()
}
