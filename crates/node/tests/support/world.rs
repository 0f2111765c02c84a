//! A small mesh: a certificate authority, a signed directory and catalogue, an authority that does what it is told, a
//! producer's node, and callers with tokens.

#[path = "callers.rs"]
mod callers;
#[path = "catalogue.rs"]
mod catalogue;
#[path = "grants.rs"]
mod grants;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::catalogue::Catalogue;
use unefois_core::directory::{
    AuthorityRow, Bilingual, DirectoryDocument, IdentityProvider, Jwk, KeyStatus, LogRow, ParticipantKind,
    ParticipantRow, Quota, TlsKey,
};
use unefois_core::{
    Acr, Clock, Entry, HabilitatedDatatype, Habilitation, Handle, LegalBasis, ParticipantId, Random, Sha256,
};
use unefois_jose::{DecryptionKey, EncryptionKey, Pkcs8, PublicKey, SigningKey, directory};
use unefois_mesh::{DirectoryConfig, Identity, Limits, Listener, SystemClock, SystemRandom, Target, Trust};
use unefois_node::config::{
    Database, Identity as NodeIdentity, LedgerKeys, Listen, Produce, ProducerConfig, Tls,
};
use unefois_node::{Config, Foundation, Node, Surroundings};
use unefois_proto::pb::directory::v1::directory_service_server::DirectoryServiceServer;
use unefois_proto::pb::revocation::v1::revocation_service_server::RevocationServiceServer;
use unefois_tlog::{KeyName, SignerKey};

pub(crate) use callers::{Answer, Caller};
pub(crate) use grants::{Grant, person, x5t};

use crate::authority::{FakeAuthority, Handle as AuthorityHandle};
use crate::pki::{Ca, Pem};
use crate::signers::{Signers, unsigned};

pub(crate) const ISSUER: &str = "https://autorite.example";
pub(crate) const IDP: &str = "https://fc.example";
pub(crate) const WAIT: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;

pub(crate) fn authority_id() -> ParticipantId {
    "urn:unefois:participant:13002526500013"
        .parse()
        .expect("as the test arranges it")
}

pub(crate) fn producer_id() -> ParticipantId {
    "urn:unefois:participant:18003506500010"
        .parse()
        .expect("as the test arranges it")
}

pub(crate) fn consumer_id() -> ParticipantId {
    "urn:unefois:participant:21920023500014"
        .parse()
        .expect("as the test arranges it")
}

pub(crate) fn stranger_id() -> ParticipantId {
    "urn:unefois:participant:11004301500012"
        .parse()
        .expect("as the test arranges it")
}

/// Everything but the node under test.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: SystemRandom,
    pub(crate) ca: Ca,
    pub(crate) authority: AuthorityHandle,
    pub(crate) token_key: SigningKey,
    pub(crate) consumer: Pem,
    pub(crate) stranger: Pem,
    producer: Pem,
    directory_key: SigningKey,
    pub(crate) pivot: EncryptionKey,
    signers: Mutex<Signers>,
    document: Mutex<DirectoryDocument>,
    catalogue: Catalogue,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl World {
    /// A world whose producer answers from `cases`: file name and text of each.
    pub(crate) async fn new(cases: &[(&str, &str)]) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random = SystemRandom::new();
        let now = clock.now();
        let folder = tempfile::tempdir().expect("a folder");
        let ca = Ca::new(now);
        let [authority_pem, producer, consumer, stranger] =
            [authority_id(), producer_id(), consumer_id(), stranger_id()].map(|id| ca.issue(&id));
        let key = || SigningKey::generate(random.ring()).expect("a key");
        let (token_key, withdrawal_key, directory_key) = (key(), key(), key());
        let jwk = |key: &PublicKey| Jwk::from_sec1(key.point()).expect("a point");

        let seal = Pkcs8::generate(random.ring()).expect("a key");
        let pivot = Pkcs8::generate(random.ring()).expect("a key");
        let seal_public = SigningKey::from_pkcs8(&seal, random.ring()).expect("a key");
        let pivot_public = DecryptionKey::from_pkcs8(&pivot)
            .expect("a key")
            .encryption_key()
            .clone();
        let seed: [u8; 32] = (&random as &dyn Random).bytes();
        let origin: KeyName = format!("{}/1", producer_id()).parse().expect("an origin");
        let log = LogRow {
            origin: origin.as_str().to_owned(),
            vkey: SignerKey::new(origin.clone(), &seed).verifier().to_string(),
        };
        let catalogue = catalogue::catalogue();

        let authority = FakeAuthority::start(withdrawal_key);
        let withdrawal_public = authority.0.public();
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let address = {
            let trust = Arc::new(Trust::from_pem(&ca.cert, &ca.crl).expect("trust"));
            let identity = Arc::new(Identity::new(authority_pem.credential()));
            let at = "127.0.0.1:0".parse().expect("as the test arranges it");
            let everyone = Arc::new(|_: &unefois_mesh::Peer| Ok(()));
            let listener = Listener::mesh(at, &identity, &trust, everyone, &clock, Limits::default());
            let listener = listener.await.expect("a socket");
            let address = listener.local_addr().expect("an address");
            let routes = tonic::service::Routes::new(RevocationServiceServer::new(authority.clone()))
                .add_service(DirectoryServiceServer::new(authority.clone()));
            tasks.spawn(listener.serve(routes.into_axum_router(), shutdown.clone()));
            address
        };

        let row = |id: ParticipantId, kind, pem: &Pem| ParticipantRow {
            id,
            name: name("Essai", "Test"),
            kind,
            mesh: vec![],
            public_url: None,
            dpo: "mailto:dpo@example.org".into(),
            redirect_uris: vec![],
            tls: vec![TlsKey {
                spki_sha256: pem.credential().spki_sha256,
                status: KeyStatus::Current,
            }],
            seal_keys: vec![],
            pivot_keys: vec![],
            logs: vec![],
            habilitation_keys: vec![],
            publishers: vec![],
        };
        let document = DirectoryDocument {
            version: 1,
            prev: None,
            issued_at: now,
            next_update: now.plus_ms(DAY_MS),
            expires: now.plus_ms(2 * DAY_MS),
            next_directory_key: None,
            lease_ms: 1_000,
            catalogue_hash: catalogue.hash(),
            participants: vec![
                ParticipantRow {
                    mesh: vec![address.to_string()],
                    ..row(authority_id(), ParticipantKind::Administration, &authority_pem)
                },
                ParticipantRow {
                    seal_keys: vec![jwk(seal_public.verifying_key().public())],
                    pivot_keys: vec![jwk(pivot_public.public())],
                    logs: vec![log],
                    ..row(producer_id(), ParticipantKind::Administration, &producer)
                },
                row(consumer_id(), ParticipantKind::Collectivite, &consumer),
                row(stranger_id(), ParticipantKind::Administration, &stranger),
            ],
            authority: AuthorityRow {
                participant: authority_id(),
                issuer: ISSUER.into(),
                portal: ISSUER.into(),
                token_keys: vec![jwk(token_key.verifying_key().public())],
                withdrawal_keys: vec![jwk(&withdrawal_public)],
                subject_keys: vec![],
                identity_providers: vec![IdentityProvider {
                    issuer: IDP.into(),
                    acr: vec![Acr::Eidas1, Acr::Eidas2],
                    officers: vec![],
                }],
            },
            auditors: vec![],
            habilitations: vec![unsigned(Habilitation {
                id: "DP-1".parse().expect("as the test arranges it"),
                consumer: consumer_id(),
                publisher: None,
                producer: producer_id(),
                authority: authority_id(),
                demarche: "cantine".parse().expect("as the test arranges it"),
                demarche_sha256: Sha256::default(),
                datatypes: vec![HabilitatedDatatype {
                    datatype: "cnaf/revenu@1".parse().expect("as the test arranges it"),
                    units: ["montant", "foyer"]
                        .iter()
                        .map(|u| u.parse().expect("as the test arranges it"))
                        .collect(),
                    sheet_sha256: Sha256::default(),
                }],
                legal_bases: vec![LegalBasis::Request, LegalBasis::Consent],
                volume_per_year: None,
                not_before: now.plus_ms(-DAY_MS),
                not_after: now.plus_ms(DAY_MS),
            })],
            quotas: vec![Quota {
                consumer: consumer_id(),
                datatype: "cnaf/revenu@1".parse().expect("as the test arranges it"),
                per_minute: 10_000,
            }],
            closed_windows: vec![],
        };

        let world = Self {
            clock,
            ca,
            authority,
            token_key,
            consumer,
            stranger,
            producer,
            directory_key,
            signers: Mutex::new(Signers::new(random.ring().clone(), &catalogue)),
            pivot: pivot_public,
            document: Mutex::new(document),
            catalogue,
            shutdown,
            tasks,
            random,
            folder,
        };
        world.sign_habilitations();
        let secret: [u8; 32] = (&world.random as &dyn Random).bytes();
        for (file, bytes) in [
            ("ca.pem", world.ca.cert.as_bytes()),
            ("crl.pem", world.ca.crl.as_bytes()),
            ("producer.pem", world.producer.cert.as_bytes()),
            ("producer.key", world.producer.key.as_bytes()),
            ("seal.key", seal.to_pem().as_bytes()),
            ("pivot.key", pivot.to_pem().as_bytes()),
            ("ledger.key", SignerKey::to_text(origin, &seed).as_bytes()),
            ("node.key", &secret),
            ("directory.jws", world.sign().as_bytes()),
            ("catalogue.json", world.catalogue.to_bytes()),
        ] {
            std::fs::write(world.path(file), bytes).expect("a file");
        }
        std::fs::create_dir(world.path("cases")).expect("a folder");
        for (file, text) in cases {
            std::fs::write(world.path("cases").join(file), text).expect("a case");
        }
        world
    }

    /// The same, whose leases outlive a busy machine's pauses.
    pub(crate) fn unhurried(self) -> Self {
        let (_, jws) = self.change(|directory| directory.lease_ms = 30_000);
        std::fs::write(self.path("directory.jws"), jws).expect("a file");
        self
    }

    /// Serves `routes` as the consumer, at an address that the next directory may name.
    pub(crate) async fn serve_as_consumer(
        &self,
        routes: axum::Router,
        shutdown: CancellationToken,
    ) -> String {
        let trust = Arc::new(Trust::from_pem(&self.ca.cert, &self.ca.crl).expect("trust"));
        let identity = Arc::new(Identity::new(self.consumer.credential()));
        let at = "127.0.0.1:0".parse().expect("as the test arranges it");
        let everyone = Arc::new(|_: &unefois_mesh::Peer| Ok(()));
        let listener = Listener::mesh(at, &identity, &trust, everyone, &self.clock, Limits::default());
        let listener = listener.await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        self.tasks.spawn(listener.serve(routes, shutdown));
        address.to_string()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn sign(&self) -> String {
        directory::sign(
            &self.document.lock().expect("as the test arranges it"),
            &self.directory_key,
        )
        .expect("a sound directory")
    }

    /// All three sign each habilitation as it stands.
    fn sign_habilitations(&self) {
        let mut signers = self.signers.lock().expect("as the test arranges it");
        signers.sign(&mut self.document.lock().expect("as the test arranges it"));
    }

    /// Changes the directory, and signs the next version without publishing it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut DirectoryDocument)) -> (u64, String) {
        self.change_with(|document, signers| {
            change(document);
            signers.sign(document);
        })
    }

    /// The same; who signs the habilitations is the change's to say.
    pub(crate) fn change_with(
        &self,
        change: impl FnOnce(&mut DirectoryDocument, &mut Signers),
    ) -> (u64, String) {
        {
            let mut signers = self.signers.lock().expect("as the test arranges it");
            let mut document = self.document.lock().expect("as the test arranges it");
            let payload = serde_json::to_vec(&*document).expect("as the test arranges it");
            document.prev = Some(Sha256::of(&payload));
            document.version += 1;
            change(&mut document, &mut signers);
        }
        let version = self.document.lock().expect("as the test arranges it").version;
        (version, self.sign())
    }

    /// Changes the directory, publishes it, and waits until `node` has taken it up.
    pub(crate) async fn publish(&self, node: &Running, change: impl FnOnce(&mut DirectoryDocument)) {
        let next = self.change(change);
        self.publish_signed(node, next).await;
    }

    /// Publishes what [`change`](Self::change) has signed, and waits until `node` has taken it up.
    pub(crate) async fn publish_signed(&self, node: &Running, signed: (u64, String)) {
        self.publish_beside(node, signed, &self.catalogue).await;
    }

    /// The same beside another catalogue.
    pub(crate) async fn publish_beside(
        &self,
        node: &Running,
        (version, jws): (u64, String),
        catalogue: &Catalogue,
    ) {
        let mut versions = node.foundation.directory.versions();
        self.authority
            .0
            .publish(version, jws, catalogue.to_bytes().to_vec());
        let taken = versions.wait_for(|taken| *taken >= version);
        tokio::time::timeout(WAIT, taken)
            .await
            .expect("in time")
            .expect("the follower lives");
    }

    /// The hash of the first habilitation of the directory, as it is now.
    pub(crate) fn habilitation_hash(&self) -> Sha256 {
        let document = self.document.lock().expect("as the test arranges it");
        document.habilitations[0].habilitation.hash()
    }

    /// The catalogue with another text at each place of `from` in its compiled form.
    pub(crate) fn catalogue_with(&self, from: &str, to: &str) -> Catalogue {
        let text = std::str::from_utf8(self.catalogue.to_bytes()).expect("JSON");
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        Catalogue::from_bytes(changed.as_bytes(), &Sha256::of(changed.as_bytes())).expect("a sound catalogue")
    }

    /// A second replica's log: in the directory that nodes start from, its key in `ledger2.key`.
    pub(crate) fn add_log(&self) {
        let origin: KeyName = format!("{}/2", producer_id()).parse().expect("an origin");
        let seed: [u8; 32] = (&self.random as &dyn Random).bytes();
        let vkey = SignerKey::new(origin.clone(), &seed).verifier().to_string();
        let row = LogRow {
            origin: origin.as_str().to_owned(),
            vkey,
        };
        let (_, jws) = self.change(|d| {
            let producer = d.participants.iter_mut().find(|row| row.id == producer_id());
            producer.expect("the producer").logs.push(row);
        });
        let key = SignerKey::to_text(origin, &seed);
        std::fs::write(self.path("ledger2.key"), key.as_bytes()).expect("a file");
        std::fs::write(self.path("directory.jws"), jws).expect("a file");
    }

    pub(crate) fn config(&self, database: &str) -> Config {
        let path = |file: &str| self.path(file);
        Config {
            node: NodeIdentity {
                participant: producer_id(),
            },
            listen: Listen {
                mesh: "127.0.0.1:0".parse().expect("as the test arranges it"),
            },
            tls: Tls {
                chain: path("producer.pem"),
                key: path("producer.key"),
                authorities: path("ca.pem"),
                crls: path("crl.pem"),
            },
            database: Database {
                url: database.to_owned(),
                synchronous_standby: false,
            },
            ledger: LedgerKeys {
                signer: path("ledger.key"),
                node_key: path("node.key"),
                anchor: None,
                disk_floor_mb: 0,
            },
            directory: self.directory_config(),
            limits: Limits::default(),
            public: None,
            witness: unefois_ledger::WitnessConfig::default(),
            producer: Some(ProducerConfig {
                seal: path("seal.key"),
                seal_next: None,
                pivot: vec![path("pivot.key")],
                habilitation_keys: {
                    let mut signers = self.signers.lock().expect("as the test arranges it");
                    vec![*signers.key(producer_id()).thumbprint()]
                },
                habilitations_ended: Vec::new(),
                produce: vec![Produce {
                    datatype: "cnaf/revenu@1".parse().expect("as the test arranges it"),
                    sandbox: Some(path("cases")),
                    http: None,
                    parameters: serde_json::from_str(r#"{"nom":"family_name"}"#)
                        .expect("as the test arranges it"),
                    layout: unefois_node::producer::source::reply::Layout::default(),
                }],
            }),
            consumer: None,
            tenants: Vec::new(),
        }
    }

    pub(crate) fn directory_config(&self) -> DirectoryConfig {
        DirectoryConfig {
            file: self.path("directory.jws"),
            catalogue: self.path("catalogue.json"),
            key: self.directory_key.thumbprint().to_string(),
            next_key: None,
        }
    }

    /// A producer's node, its lease fresh.
    pub(crate) async fn node(&self, database: &str) -> Running {
        self.node_with(self.config(database)).await
    }

    pub(crate) async fn node_with(&self, config: Config) -> Running {
        let node = self.started(config).await;
        until(|| node.producer.ready()).await;
        node
    }

    /// A producer's node whose guard is removed, its lease fresh.
    pub(crate) async fn unguarded(&self, database: &str) -> Running {
        let node = self.built(self.config(database)).await.without_guard();
        let node = Self::served(node);
        until(|| node.producer.ready()).await;
        node
    }

    /// A producer's node, ready or not.
    pub(crate) async fn started(&self, config: Config) -> Running {
        Self::served(self.built(config).await)
    }

    async fn built(&self, config: Config) -> Node {
        let surroundings = Surroundings {
            clock: Arc::clone(&self.clock),
            random: self.random.clone(),
        };
        Node::build(config, surroundings).await.expect("a node")
    }

    fn served(node: Node) -> Running {
        let producer = node.producer().expect("a producer").clone();
        let (foundation, address) = (
            node.foundation().clone(),
            node.mesh_address().expect("an address"),
        );
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(node.serve(shutdown.clone()));
        tasks.close();
        let target = Target {
            peer: producer_id(),
            authority: address.to_string().parse().expect("as the test arranges it"),
        };
        Running {
            foundation,
            producer,
            target,
            shutdown,
            tasks,
        }
    }

    /// The directory's key of attestations.
    pub(crate) fn seal_key(&self) -> unefois_jose::VerifyingKey {
        let document = self.document.lock().expect("as the test arranges it");
        let row = document
            .participants
            .iter()
            .find(|row| row.id == producer_id())
            .expect("as the test arranges it");
        unefois_jose::VerifyingKey::new(
            PublicKey::from_point(&row.seal_keys[0].sec1()).expect("as the test arranges it"),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A node that serves.
pub(crate) struct Running {
    pub(crate) foundation: Foundation,
    pub(crate) producer: unefois_node::producer::Producer,
    pub(crate) target: Target,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// Every entry of its log.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let leaves = self
            .foundation
            .ledger
            .entries(0, u64::MAX)
            .await
            .expect("the log reads");
        leaves
            .iter()
            .map(|leaf| Entry::decode(leaf).expect("an entry"))
            .collect()
    }

    /// How many entries the history of a handle has.
    pub(crate) async fn of_handle(&self, handle: &Handle) -> usize {
        self.foundation
            .ledger
            .by_handle(handle)
            .await
            .expect("the index reads")
            .len()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(WAIT, self.tasks.wait())
            .await
            .expect("the node stops");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Waits until `holds`.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let held = async {
        while !holds() {
            look.tick().await;
        }
    };
    tokio::time::timeout(WAIT, held).await.expect("in time");
}

/// A case about the person of this family name.
pub(crate) fn case(family_name: &str, code: u16, payload: &str) -> String {
    let payload = payload.replace('\'', "''");
    format!("params: {{nom: '{family_name}'}}\nstatus: {code}\npayload: '{payload}'\n")
}

fn name(fr: &str, en: &str) -> Bilingual {
    Bilingual {
        fr: fr.into(),
        en: en.into(),
    }
}
