use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;
use unefois_core::catalogue::{Catalogue, CatalogueError};
use unefois_core::decision::Ground;
use unefois_core::directory::{DirectoryError, Jwk, Succession};
use unefois_core::{Clock, Directory, Micros};
use unefois_jose::Thumbprint;
use unefois_jose::directory::{self, DirectoryRefused};
use unefois_mesh::{DirectoryConfig, Peer, PeerGate, admit, believed};

use crate::Error;
use crate::revocation::InForce;

/// The directory or catalogue cannot be taken up; the one in use stays.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The pinned thumbprint is none.
    #[error("the directory key's thumbprint is malformed")]
    Pin,
    /// The directory is not signed by the pinned key, or is malformed.
    #[error("the directory is refused")]
    Refused(#[source] DirectoryRefused),
    /// The directory does not follow the one in use.
    #[error("the directory does not follow the one in use")]
    Succession(#[from] DirectoryError),
    /// The catalogue is not the one that the directory names.
    #[error("the catalogue is refused")]
    Catalogue(#[from] CatalogueError),
}

/// One version of what is published, verified.
pub(crate) struct Edition {
    pub(crate) directory: Directory,
    /// The key that signed it.
    signer: Thumbprint,
    pub(crate) catalogue: Catalogue,
    pub(crate) jws: String,
    pub(crate) catalogue_bytes: Bytes,
}

impl Edition {
    /// The ground of a decision at `now`; refused once the directory has expired (I9).
    pub(crate) fn ground(&self, now: Micros) -> Result<Ground<'_>, Error> {
        Ground::new(&self.catalogue, &self.directory, now).map_err(|_| Error::DirectoryStale)
    }
}

/// The edition in use, and the news of each new one.
pub struct Published {
    config: DirectoryConfig,
    /// The keys that the configuration names: which of them are believed is the edition's to say.
    pins: Vec<Thumbprint>,
    current: ArcSwap<Edition>,
    version: watch::Sender<u64>,
}

impl Published {
    /// Reads and verifies the files.
    pub fn load(config: DirectoryConfig) -> Result<Self, PublishError> {
        let pins = config.pins().map_err(|_| PublishError::Pin)?;
        let edition = read(&config, &pins)?;
        Ok(Self {
            version: watch::Sender::new(edition.directory.version()),
            current: ArcSwap::from_pointee(edition),
            config,
            pins,
        })
    }

    /// Reads the files again; `true` if a newer version was taken up. On an error the one in use stays.
    pub fn reload(&self) -> Result<bool, PublishError> {
        let held = self.current.load_full();
        let pins = believed(self.pins.clone(), held.signer, &held.directory);
        let edition = read(&self.config, &pins)?;
        match edition.directory.successor_of(&held.directory)? {
            Succession::Same => Ok(false),
            Succession::Newer => {
                let version = edition.directory.version();
                self.current.store(Arc::new(edition));
                self.version.send_replace(version);
                Ok(true)
            }
        }
    }

    /// What tells whether the files may have changed: their times and sizes.
    pub(crate) fn stamp(&self) -> Vec<Option<(std::time::SystemTime, u64)>> {
        [&self.config.file, &self.config.catalogue]
            .map(|path| {
                let meta = std::fs::metadata(path).ok()?;
                Some((meta.modified().ok()?, meta.len()))
            })
            .into()
    }

    pub(crate) fn edition(&self) -> Arc<Edition> {
        self.current.load_full()
    }

    /// Lets in whoever the directory in use names with the key that it shows.
    pub fn gate(self: &Arc<Self>, clock: Arc<dyn Clock>) -> PeerGate {
        let published = Arc::clone(self);
        Arc::new(move |peer: &Peer| admit(&published.current.load().directory, peer, clock.now()))
    }

    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

fn read(config: &DirectoryConfig, pins: &[Thumbprint]) -> Result<Edition, PublishError> {
    let file = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| PublishError::Read {
            path: path.clone(),
            source,
        })
    };
    let jws = String::from_utf8(file(&config.file)?)
        .map_err(|_| PublishError::Refused(DirectoryRefused::Signature(unefois_jose::Error::Malformed)))?;
    let (directory, signer) = directory::verify_any(&jws, pins).map_err(PublishError::Refused)?;
    let catalogue_bytes = file(&config.catalogue)?;
    let catalogue = Catalogue::from_bytes(&catalogue_bytes, directory.catalogue_hash())?;
    Ok(Edition {
        directory,
        signer,
        catalogue,
        jws,
        catalogue_bytes: catalogue_bytes.into(),
    })
}
impl InForce for Published {
    fn lease_ms(&self) -> u32 {
        self.current.load().directory.lease_ms()
    }

    fn lists(&self, kid: &str) -> bool {
        let edition = self.current.load();
        let keys = &edition.directory.authority().token_keys;
        keys.iter().any(|key| key.kid() == kid)
    }

    fn withdrawal_kids(&self) -> Vec<String> {
        let edition = self.current.load();
        let keys = &edition.directory.authority().withdrawal_keys;
        keys.iter().map(Jwk::kid).collect()
    }
}
