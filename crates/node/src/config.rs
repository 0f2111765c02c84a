use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use unefois_core::commitment::NodeKey;
use unefois_core::{DatatypeRev, ParticipantId, Sha256};
use unefois_jose::{DecryptionKey, Pkcs8, SigningKey, Thumbprint};
use unefois_ledger::{PublicConfig, Safeguards, WitnessConfig};
use unefois_mesh::{DirectoryConfig, Limits, SystemRandom};
use unefois_tlog::SignerKey;
use zeroize::Zeroizing;

use crate::consumer::ConsumerConfig;
use crate::producer::source::http::HttpConfig;
use crate::producer::source::parameters::Parameters;
use crate::producer::source::reply::Layout;
use crate::tenant::TenantConfig;

/// The configuration of a node's process. Paths are as the process's working directory has them; unknown keys are
/// refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who it is.
    pub node: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// Its certificate, and whom it trusts.
    pub tls: Tls,
    /// Where it stores.
    pub database: Database,
    /// The keys of its ledger.
    pub ledger: LedgerKeys,
    /// The directory that it follows.
    pub directory: DirectoryConfig,
    /// What one peer may ask for.
    #[serde(default)]
    pub limits: Limits,
    /// What anybody may check of its ledger, and where.
    #[serde(default)]
    pub public: Option<PublicConfig>,
    /// What it cosigns of others' ledgers, and who cosigns its own.
    #[serde(default)]
    pub witness: WitnessConfig,
    /// What it answers for; absent for a node that only consumes.
    #[serde(default)]
    pub producer: Option<ProducerConfig>,
    /// What it fetches for; absent for a node that only produces.
    #[serde(default)]
    pub consumer: Option<ConsumerConfig>,
    /// The bodies that it hosts as their publisher.
    #[serde(default, rename = "tenant")]
    pub tenants: Vec<TenantConfig>,
}

/// `[node]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The participant, as its certificate and the directory name it.
    pub participant: ParticipantId,
}

/// `[listen]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// gRPC over mutual TLS.
    pub mesh: SocketAddr,
}

/// `[tls]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, leaf first, PEM.
    pub chain: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
    /// The certificate authorities of the mesh, PEM.
    pub authorities: PathBuf,
    /// Their CRLs, PEM.
    pub crls: PathBuf,
}

/// `[database]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://…` or `sqlite:PATH`.
    pub url: String,
    /// Whether PostgreSQL must have a synchronous standby: what is acknowledged then survives the loss of the server.
    #[serde(default)]
    pub synchronous_standby: bool,
}

/// `[ledger]`: the participant's own, and what those of the bodies that it hosts have in common with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerKeys {
    /// File of the ledger's signing key, in C2SP text (`PRIVATE+KEY+…`); its name is the log's origin.
    pub signer: PathBuf,
    /// 32 secret bytes behind the erasable indexes and the payload MACs, shared by all that the node serves, and
    /// by its replicas, and never rotated while a claim lives.
    pub node_key: PathBuf,
    /// File outside the database, and outside its backups, that remembers the last published head; without one, only
    /// peers would notice that the database is an old copy.
    #[serde(default)]
    pub anchor: Option<PathBuf>,
    /// Megabytes of disk that must be left for exchanges; SQLite only.
    #[serde(default = "disk_floor_mb")]
    pub disk_floor_mb: u64,
}

const fn disk_floor_mb() -> u64 {
    256
}

impl LedgerKeys {
    pub(crate) fn safeguards(&self, database: &Database) -> Safeguards {
        Safeguards {
            anchor: self.anchor.clone(),
            disk_floor_bytes: self.disk_floor_mb.saturating_mul(1 << 20),
            synchronous_standby: database.synchronous_standby,
            ..Safeguards::default()
        }
    }
}

/// `[producer]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerConfig {
    /// Signs attestations: PKCS#8, P-256.
    pub seal: PathBuf,
    /// The key that is to follow it, from before its turn: of the two, the directory's first signs.
    #[serde(default)]
    pub seal_next: Option<PathBuf>,
    /// Open sealed identities: PKCS#8, P-256; the present key and, at a change, the next one.
    pub pivot: Vec<PathBuf>,
    /// Thumbprints (RFC 7638) of the participant's own keys that sign its habilitations, which are kept offline: the
    /// present key and, at a change, the next one. What none of them has signed opens nothing, whatever the directory
    /// says.
    pub habilitation_keys: Vec<Thumbprint>,
    /// The hashes, as `habilitation show` prints them, of habilitations that such a key has signed and that have ended
    /// before their date, or given way to another: refused whatever the directory lists.
    #[serde(default, deserialize_with = "digests")]
    pub habilitations_ended: Vec<Sha256>,
    /// The datatypes that it answers for.
    pub produce: Vec<Produce>,
}

fn digests<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Sha256>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts
        .iter()
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .collect()
}

/// `[[producer.produce]]`: one datatype and its source. Exactly one of `sandbox` and `http` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Produce {
    /// The datatype.
    pub datatype: DatatypeRev,
    /// A folder of cases.
    #[serde(default)]
    pub sandbox: Option<PathBuf>,
    /// A JSON API.
    #[serde(default)]
    pub http: Option<HttpConfig>,
    /// Which attribute each of the source's parameters carries; the names of French administrations' hub by default.
    #[serde(default)]
    pub parameters: Parameters,
    /// How its answers differ from the payload by more than the catalogue's envelope.
    #[serde(default)]
    pub layout: Layout,
}

/// A key file cannot be used. It names the file, never what it holds.
#[derive(Debug, thiserror::Error)]
#[error("the key file {path} cannot be used: {what}")]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads a file of a log's signing key.
pub(crate) fn signer(path: &Path) -> Result<SignerKey, KeyFileError> {
    let text = Zeroizing::new(String::from_utf8(read(path)?).map_err(|_| broken(path, "not text"))?);
    SignerKey::from_text(text.trim()).map_err(|_| broken(path, "not a C2SP private key"))
}

/// Reads a file of 32 secret bytes: raw, in base64 or in hexadecimal.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let bytes = Zeroizing::new(read(path)?);
    if let Ok(raw) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(Zeroizing::new(raw));
    }
    let text = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    let hex = || text.parse::<Sha256>().ok().map(|secret| *secret.as_bytes());
    let base64 = || {
        STANDARD
            .decode(text)
            .ok()
            .and_then(|secret| secret.try_into().ok())
    };
    hex()
        .or_else(base64)
        .map(Zeroizing::new)
        .ok_or_else(|| broken(path, "neither 32 bytes nor their base64 or hexadecimal text"))
}

/// Reads the key of the erasable indexes and the payload MACs.
pub(crate) fn node_key(path: &Path) -> Result<NodeKey, KeyFileError> {
    Ok(NodeKey::new(&*secret(path)?))
}

/// Reads a private key that signs.
pub(crate) fn signing_key(path: &Path, random: &SystemRandom) -> Result<SigningKey, KeyFileError> {
    let key = Pkcs8::from_file(Zeroizing::new(read(path)?));
    key.and_then(|key| SigningKey::from_pkcs8(&key, random.ring()))
        .map_err(|_| broken(path, "not a P-256 private key in PKCS#8"))
}

/// Reads a private key that decrypts.
pub(crate) fn decryption_key(path: &Path) -> Result<DecryptionKey, KeyFileError> {
    let key = Pkcs8::from_file(Zeroizing::new(read(path)?));
    key.and_then(|key| DecryptionKey::from_pkcs8(&key))
        .map_err(|_| broken(path, "not a P-256 private key in PKCS#8"))
}

fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    std::fs::read(path).map_err(|_| broken(path, "it cannot be read"))
}

pub(crate) fn broken(path: &Path, what: &'static str) -> KeyFileError {
    KeyFileError {
        path: path.to_owned(),
        what,
    }
}
