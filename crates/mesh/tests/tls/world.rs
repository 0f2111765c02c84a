//! One authority, one listener, a directory and a clock that the test sets.

use std::collections::HashSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;
use unefois_core::{Boot, Clock, Micros, ParticipantId, Sha256};
use unefois_mesh::{
    Connector, Credential, Identity, Limits, Listener, Peer, PeerGate, PeerId, PeerRefusal, Refusals, Serial,
    Target, Trust,
};

pub(crate) const DAY_MS: i64 = 86_400_000;
pub(crate) const WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        Micros::new(self.0.load(Ordering::SeqCst))
    }

    fn boottime(&self) -> Boot {
        Boot::new(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn start() -> Micros {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn date(at: Micros) -> OffsetDateTime {
    at.to_utc().unwrap()
}

/// The `n`th establishment of one company.
pub(crate) fn participant(n: usize) -> ParticipantId {
    let sirets = (0..100_000).map(|nic| format!("urn:unefois:participant:130004955{nic:05}"));
    sirets.filter_map(|urn| urn.parse().ok()).nth(n).unwrap()
}

pub(crate) struct Leaf {
    pub(crate) sans: Vec<String>,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) not_before: Micros,
    pub(crate) not_after: Micros,
}

/// A good certificate of participant `n`; tests spoil one field.
pub(crate) fn leaf(n: usize) -> Leaf {
    Leaf {
        sans: vec![participant(n).to_string()],
        usages: vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ],
        not_before: start().plus_ms(-DAY_MS),
        not_after: start().plus_ms(30 * DAY_MS),
    }
}

#[derive(Clone)]
pub(crate) struct Pem {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pem {
    pub(crate) fn credential(&self) -> Credential {
        Credential::from_pem(&self.cert, &self.key).unwrap()
    }
}

fn params(leaf: &Leaf) -> CertificateParams {
    static SERIAL: AtomicUsize = AtomicUsize::new(1);
    let mut params = CertificateParams::default();
    params.not_before = date(leaf.not_before);
    params.not_after = date(leaf.not_after);
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = leaf.usages.clone();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some((SERIAL.fetch_add(1, Ordering::SeqCst) as u64).into());
    params.subject_alt_names = leaf
        .sans
        .iter()
        .map(|uri| SanType::URI(uri.as_str().try_into().unwrap()))
        .collect();
    params
}

pub(crate) fn self_signed(leaf: &Leaf) -> Pem {
    let key = KeyPair::generate().unwrap();
    Pem {
        cert: params(leaf).self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

pub(crate) struct Authority {
    pub(crate) cert: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self {
            cert: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Pem {
        let key = KeyPair::generate().unwrap();
        Pem {
            cert: params(leaf).signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A CRL that holds for a day.
    pub(crate) fn crl(&self, revoked: &[Serial]) -> String {
        let revoked_certs = revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial.as_bytes()),
                revocation_time: date(start()),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let params = CertificateRevocationListParams {
            this_update: date(start().plus_ms(-1_000)),
            next_update: date(start().plus_ms(DAY_MS)),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Name and key, as the directory has them.
pub(crate) type Directory = Arc<Mutex<HashSet<(PeerId, Sha256)>>>;

fn gate(directory: &Directory) -> PeerGate {
    let directory = Arc::clone(directory);
    Arc::new(move |peer| {
        let directory = directory.lock().unwrap();
        if directory.contains(&(peer.id.clone(), peer.spki_sha256)) {
            return Ok(());
        }
        Err(match directory.iter().any(|(id, _)| *id == peer.id) {
            true => PeerRefusal::KeyNotInDirectory,
            false => PeerRefusal::NotInDirectory,
        })
    })
}

/// What was logged on this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Participant 0 serves; its trust is `trust`, that of clients `client_trust`.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) client_trust: Arc<Trust>,
    pub(crate) directory: Directory,
    pub(crate) identity: Arc<Identity>,
    pub(crate) address: SocketAddr,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) health: HealthReporter,
    pub(crate) log: Log,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    _subscriber: tracing::subscriber::DefaultGuard,
}

pub(crate) async fn world() -> World {
    world_with(Limits::default(), Router::new()).await
}

pub(crate) async fn world_with(limits: Limits, more: Router) -> World {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let subscriber = tracing::subscriber::set_default(subscriber);

    let authority = Authority::new("mesh");
    let clock = Arc::new(TestClock(AtomicI64::new(start().get())));
    let trust = Arc::new(Trust::from_pem(&authority.cert, &authority.crl(&[])).unwrap());
    let client_trust = Arc::new(Trust::from_pem(&authority.cert, &authority.crl(&[])).unwrap());
    let directory = Directory::default();
    let identity = Arc::new(Identity::new(authority.issue(&leaf(0)).credential()));
    directory.lock().unwrap().insert((
        PeerId::Participant(participant(0)),
        identity.current().spki_sha256,
    ));

    let clock_of_mesh: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::mesh(
        any_port,
        &identity,
        &trust,
        gate(&directory),
        &clock_of_mesh,
        limits,
    )
    .await
    .unwrap();
    let (health, service) = tonic_health::server::health_reporter();
    let router = tonic::service::Routes::new(service)
        .into_axum_router()
        .route(
            "/whoami",
            get(|peer: Peer| async move { format!("{} {} {}", peer.id, peer.serial, peer.x5t_s256()) }),
        )
        .merge(more);
    let (address, refusals) = (listener.local_addr().unwrap(), listener.refusals());
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(listener.serve(router, shutdown.clone()));
    World {
        authority,
        clock,
        trust,
        client_trust,
        directory,
        identity,
        address,
        refusals,
        health,
        log,
        shutdown,
        tasks,
        _subscriber: subscriber,
    }
}

impl World {
    /// A good certificate of participant `n`, listed in the directory.
    pub(crate) fn member(&self, n: usize) -> Pem {
        self.list(n, self.authority.issue(&leaf(n)))
    }

    /// Lists this key for participant `n`, so that the gate is not what refuses.
    pub(crate) fn list(&self, n: usize, pem: Pem) -> Pem {
        let spki = pem.credential().spki_sha256;
        self.directory
            .lock()
            .unwrap()
            .insert((PeerId::Participant(participant(n)), spki));
        pem
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            peer: participant(0),
            authority: self.address.to_string().parse().unwrap(),
        }
    }

    pub(crate) fn connector(&self, pem: &Pem) -> Connector {
        self.connector_of(&Arc::new(Identity::new(pem.credential())))
    }

    pub(crate) fn connector_of(&self, identity: &Arc<Identity>) -> Connector {
        Connector::new(
            Arc::clone(&self.client_trust),
            gate(&self.directory),
            Arc::clone(identity),
            Arc::<TestClock>::clone(&self.clock),
        )
    }

    pub(crate) fn health_client(&self, pem: &Pem) -> HealthClient<tonic::transport::Channel> {
        HealthClient::new(self.connector(pem).channel(&self.target(), WAIT))
    }

    /// Stops the listener and waits for its last task, so that every refusal is recorded.
    pub(crate) async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(WAIT, self.tasks.wait())
            .await
            .expect("the listener ends");
    }
}
