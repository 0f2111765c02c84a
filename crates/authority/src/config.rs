use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use unefois_core::directory::Bilingual;
use unefois_core::{DemarcheId, ParticipantId};
use unefois_ledger::{PublicConfig, Safeguards, WitnessConfig};
use unefois_mesh::{DirectoryConfig, Limits};

use crate::keys::KeyFiles;
use crate::login::ProviderConfig;

/// The configuration of an authority's process. Paths are as the process's working directory has them; unknown keys
/// are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who and where it is.
    pub authority: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// Its certificate, and whom it trusts.
    pub tls: Tls,
    /// Where it stores.
    pub database: Database,
    /// Its private keys.
    pub keys: KeyFiles,
    /// The key of its ledger.
    pub ledger: LedgerKeys,
    /// What it publishes.
    pub directory: DirectoryConfig,
    /// The identity providers that it is registered with; at least one.
    pub login: Vec<ProviderConfig>,
    /// What anybody may check of its ledger, and where.
    #[serde(default)]
    pub public: Option<PublicConfig>,
    /// What it cosigns of others' ledgers, and who cosigns its own.
    #[serde(default)]
    pub witness: WitnessConfig,
    /// What one peer or browser may ask for.
    #[serde(default)]
    pub limits: Limits,
    /// For what people may let others help them: by a word, the démarches that it covers.
    #[serde(default)]
    pub perimeters: BTreeMap<String, Perimeter>,
    /// How its pages look.
    #[serde(default)]
    pub portal: Portal,
    /// What only demonstrations allow.
    #[serde(default)]
    pub demo: Demo,
}

/// `[perimeters.WORD]`: one of the matters in which a person may let somebody help.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perimeter {
    /// Its name for people.
    pub label: Bilingual,
    /// The démarches that it covers.
    pub demarches: BTreeSet<DemarcheId>,
}

/// `[authority]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The authority's participant, as its certificate and the directory name it.
    pub participant: ParticipantId,
    /// The issuer URL, which is where browsers reach the portal; without a slash at its end.
    pub issuer: String,
    /// Where participants reach the back channel, `https://host:port`.
    pub mesh_url: String,
    /// Whether another process of this authority, on the same PostgreSQL database, may hold the epoch: this one then
    /// waits until it is silent, and ends when another has taken over.
    #[serde(default)]
    pub standby: bool,
}

/// `[listen]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// gRPC and the OAuth back channel, over mutual TLS.
    pub mesh: SocketAddr,
    /// The portal: HTTPS, or plain HTTP on loopback.
    pub portal: SocketAddr,
    /// The portal's own certificate, chain and key in PEM; plain HTTP without one.
    #[serde(default)]
    pub portal_certificate: Option<CertificateFiles>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub chain: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// `[tls]`: the mesh's.
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

/// `[ledger]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerKeys {
    /// File of the ledger's signing key, in C2SP text (`PRIVATE+KEY+…`); its name is the log's origin.
    pub signer: PathBuf,
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

/// `[portal]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Portal {
    /// The name in the header.
    pub name: String,
    /// A theme folder instead of the one built in.
    pub theme: Option<PathBuf>,
}

impl Default for Portal {
    fn default() -> Self {
        Self {
            name: "Une fois".to_owned(),
            theme: None,
        }
    }
}

/// `[demo]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Demo {
    /// Lets simulated persons log in without a browser (`POST /demo/persona`); refused unless every listener is on
    /// loopback.
    pub personas: bool,
}
