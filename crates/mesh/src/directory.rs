use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use unefois_core::catalogue::{Catalogue, CatalogueError};
use unefois_core::decision::{Ground, Refusal};
use unefois_core::directory::{DirectoryError, Freshness, Succession};
use unefois_core::{Clock, Directory, Micros, ParticipantId, Sha256};
use unefois_jose::Thumbprint;
use unefois_jose::directory::{self, DirectoryRefused};
use unefois_proto::pb::directory::v1::WatchRequest;
use unefois_proto::pb::directory::v1::directory_service_client::DirectoryServiceClient;

use crate::{Connector, Peer, PeerGate, PeerId, PeerRefusal, Target, Trust, status};

/// Largest message of the authority: a directory and a compiled catalogue.
const MAX_MESSAGE_BYTES: usize = 2 * directory::MAX_BYTES;
/// Bounds of the wait between two attempts to reach the authority.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
const DEADLINE: Duration = Duration::from_secs(10);
/// What is written before it takes its place.
const NEXT: &str = ".next";
/// The directory that announced the key of the one in use.
const ANNOUNCED: &str = ".announced";

/// `[directory]`: where the last good directory is kept, and whose signature it needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryConfig {
    /// The signed directory; replaced by each newer one.
    pub file: PathBuf,
    /// The compiled catalogue that it names; replaced together with it.
    pub catalogue: PathBuf,
    /// Thumbprint of the key that signs directories, which is kept offline; believed until the next one has signed.
    pub key: String,
    /// That of the key that is to sign after it, once a directory has announced it.
    #[serde(default)]
    pub next_key: Option<String>,
}

impl DirectoryConfig {
    /// The keys whose signature is believed.
    ///
    /// # Errors
    /// [`FollowError::Pin`].
    pub fn pins(&self) -> Result<Vec<Thumbprint>, FollowError> {
        let pins = std::iter::once(&self.key).chain(&self.next_key);
        pins.map(|pin| pin.parse().map_err(|_| FollowError::Pin))
            .collect()
    }
}

/// A directory is not taken up; the one in use stays.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    File {
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
    Succession(#[source] DirectoryError),
    /// The catalogue is not the one that the directory names.
    #[error("the catalogue is refused")]
    Catalogue(#[source] CatalogueError),
}

/// One version of the directory and the catalogue that it names, both verified.
#[derive(Debug)]
pub struct Edition {
    /// The directory.
    pub directory: Directory,
    /// The catalogue.
    pub catalogue: Catalogue,
}

impl Edition {
    /// The ground of a decision at `now`.
    ///
    /// # Errors
    /// DIRECTORY_STALE once the directory has expired (I9).
    pub fn ground(&self, now: Micros) -> Result<Ground<'_>, Refusal> {
        Ground::new(&self.catalogue, &self.directory, now)
    }
}

/// The directory in use by one process, verified, kept on disk, and replaced by newer ones alone.
///
/// A version that goes back, forks, or is not signed by the pinned key is refused, and the one in use stays, until it
/// expires: then it opens no connection and founds no decision (I9).
#[derive(Debug)]
pub struct DirectoryFollower {
    config: DirectoryConfig,
    /// The keys whose signature is believed: the one that signed the directory in use, the one that it announces, and
    /// those of the configuration that have not given way to it.
    pins: Mutex<Vec<Thumbprint>>,
    current: ArcSwap<Edition>,
    version: watch::Sender<u64>,
}

impl DirectoryFollower {
    /// Reads and verifies the files.
    ///
    /// # Errors
    /// They cannot be read, are not signed by the pinned key or do not belong together. An expired directory is no
    /// error: a newer one may be had from the authority, if its peers still let it in.
    pub fn load(config: DirectoryConfig) -> Result<Self, FollowError> {
        let mut pins = config.pins()?;
        // Keys that were announced after the configuration was written, each by one that is believed.
        for announcing in announcements(&config.file) {
            // One of before the key that the configuration names by now does not verify, and one after it may.
            if let Ok((directory, _)) = directory::verify_any(&announcing, &pins) {
                pins.extend(directory::announced(&directory));
            }
        }
        let (directory, signer) =
            directory::verify_any(&text(&config.file)?, &pins).map_err(FollowError::Refused)?;
        let catalogue = match catalogue(&read(&config.catalogue)?, &directory) {
            // Stopped between the two replacements of `keep`: the catalogue is still beside its place.
            Err(FollowError::Catalogue(CatalogueError::OtherBytes)) => {
                catalogue(&read(&beside(&config.catalogue, NEXT))?, &directory)?
            }
            read => read?,
        };
        let edition = Edition { directory, catalogue };
        Ok(Self {
            pins: believed(config.pins()?, signer, &edition.directory).into(),
            version: watch::Sender::new(edition.directory.version()),
            current: ArcSwap::from_pointee(edition),
            config,
        })
    }

    /// The edition in use.
    pub fn edition(&self) -> Arc<Edition> {
        self.current.load_full()
    }

    /// Tells each new version.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Takes up a directory and its catalogue, once both are on disk; whether it was newer.
    ///
    /// # Errors
    /// [`FollowError`]; the edition in use stays.
    pub fn offer(&self, jws: &str, catalogue_bytes: &[u8]) -> Result<bool, FollowError> {
        // One at a time: what is believed goes with what is held.
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let (directory, signer) = directory::verify_any(jws, &pins).map_err(FollowError::Refused)?;
        let held = self.current.load();
        match directory
            .successor_of(&held.directory)
            .map_err(FollowError::Succession)?
        {
            Succession::Same => return Ok(false),
            Succession::Newer => {}
        }
        let catalogue = catalogue(catalogue_bytes, &directory)?;
        if directory::announced(&held.directory) == Some(signer) {
            self.keep_announcing()?;
        }
        self.keep(jws, catalogue_bytes)?;
        *pins = believed(self.config.pins()?, signer, &directory);
        let version = directory.version();
        self.current.store(Arc::new(Edition { directory, catalogue }));
        self.version.send_replace(version);
        tracing::info!(version, "directory taken up");
        Ok(true)
    }

    /// Keeps the directory in use, which announced the key of the one that is to take its place: a later start, whose
    /// configuration may not name that key yet, finds there why it is believed.
    fn keep_announcing(&self) -> Result<(), FollowError> {
        let announcing = text(&self.config.file)?;
        let mut all = announcements(&self.config.file);
        if all.contains(&announcing) {
            return Ok(());
        }
        all.push(announcing);
        let text = serde_json::to_vec(&all).expect("texts have a form in JSON");
        let place = beside(&self.config.file, ANNOUNCED);
        let next = beside(&place, NEXT);
        write(&next, &text)?;
        rename(&next, &place)
    }

    /// Replaces both files. A stop between the two leaves the catalogue beside its place, where `load` looks.
    fn keep(&self, jws: &str, catalogue: &[u8]) -> Result<(), FollowError> {
        let (next_file, next_catalogue) = (
            beside(&self.config.file, NEXT),
            beside(&self.config.catalogue, NEXT),
        );
        write(&next_catalogue, catalogue)?;
        write(&next_file, jws.as_bytes())?;
        rename(&next_file, &self.config.file)?;
        rename(&next_catalogue, &self.config.catalogue)
    }

    /// Lets in whoever the directory in use names with the key that it shows: participants, and auditors by their own
    /// rows.
    pub fn gate(self: &Arc<Self>, clock: Arc<dyn Clock>) -> PeerGate {
        let follower = Arc::clone(self);
        Arc::new(move |peer: &Peer| admit(&follower.current.load().directory, peer, clock.now()))
    }

    /// Where the authority answers, by the directory in use.
    pub fn authority(&self) -> Option<Target> {
        let edition = self.current.load();
        target(&edition.directory, &edition.directory.authority().participant)
    }

    /// Takes up each new version that the authority publishes, until `shutdown`. After each one `trust` judges live
    /// connections again.
    pub async fn follow(
        self: Arc<Self>,
        connector: Connector,
        trust: Arc<Trust>,
        shutdown: CancellationToken,
    ) {
        let mut wait = RETRY.0;
        loop {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.watch(&connector, &trust) => ended,
            };
            wait = match ended {
                Ok(()) => RETRY.0,
                Err(error) => {
                    tracing::warn!(
                        error = status::chain(&error),
                        "the authority publishes no directory to us"
                    );
                    (wait * 2).min(RETRY.1)
                }
            };
            if tokio::time::timeout(wait, shutdown.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Follows one stream until it ends.
    async fn watch(&self, connector: &Connector, trust: &Trust) -> Result<(), Status> {
        let target = self.authority();
        let target =
            target.ok_or_else(|| Status::unavailable("the directory names no address of the authority"))?;
        let mut client = DirectoryServiceClient::new(connector.channel(&target, DEADLINE))
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let known_version = self.current.load().directory.version();
        let mut answers = client.watch(WatchRequest { known_version }).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            match self.offer(&answer.directory_jws, &answer.catalogue) {
                Ok(true) => trust.touch(),
                Ok(false) => {}
                // It is good and could not be kept: asked for again, as nobody sends it a second time.
                Err(error @ FollowError::File { .. }) => {
                    tracing::error!(error = status::chain(&error), "a newer directory cannot be kept");
                    return Err(Status::unavailable("a newer directory cannot be kept"));
                }
                Err(error) => {
                    tracing::error!(
                        error = status::chain(&error),
                        "the authority's directory is refused"
                    );
                }
            }
        }
        Ok(())
    }
}

/// The first address at which a participant's node answers, by the directory.
pub fn target(directory: &Directory, peer: &ParticipantId) -> Option<Target> {
    let row = directory.participant(peer)?;
    let authority = row.mesh.first()?.parse().ok()?;
    Some(Target {
        peer: *peer,
        authority,
    })
}

/// Whether `directory` lets this peer in at `now`, by its name and key; nobody once it has expired (I9).
///
/// # Errors
/// Why not.
pub fn admit(directory: &Directory, peer: &Peer, now: Micros) -> Result<(), PeerRefusal> {
    if directory.freshness(now) == Freshness::Expired {
        return Err(PeerRefusal::StaleDirectory);
    }
    match &peer.id {
        PeerId::Participant(id) => match directory.participant(id) {
            None => Err(PeerRefusal::NotInDirectory),
            Some(_) if directory.peer_allowed(id, &peer.spki_sha256) => Ok(()),
            Some(_) => Err(PeerRefusal::KeyNotInDirectory),
        },
        // One key stands in one row, so the key says which auditor it is.
        PeerId::Auditor(_) => match directory.auditor(&peer.spki_sha256) {
            Some(_) => Ok(()),
            None => Err(PeerRefusal::NotInDirectory),
        },
    }
}

fn catalogue(bytes: &[u8], directory: &Directory) -> Result<Catalogue, FollowError> {
    let expected: &Sha256 = directory.catalogue_hash();
    Catalogue::from_bytes(bytes, expected).map_err(FollowError::Catalogue)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The directories that each announced the key of a later one, the oldest first: signed like any other, so that a file
/// that was tampered with announces nothing.
fn announcements(file: &Path) -> Vec<String> {
    let text = std::fs::read(beside(file, ANNOUNCED)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The keys that may sign what follows `directory`: its signer, those of the configuration that are to sign after it, and the
/// one that it announces. Whichever came before the signer is believed no more: it may have been put away since, or lost.
pub fn believed(configured: Vec<Thumbprint>, signer: Thumbprint, directory: &Directory) -> Vec<Thumbprint> {
    let mut pins = match configured.iter().position(|pin| *pin == signer) {
        Some(place) => configured[place..].to_vec(),
        None => vec![signer],
    };
    pins.extend(directory::announced(directory));
    pins
}

fn text(path: &Path) -> Result<String, FollowError> {
    String::from_utf8(read(path)?)
        .map_err(|_| FollowError::Refused(DirectoryRefused::Signature(unefois_jose::Error::Malformed)))
}

fn read(path: &Path) -> Result<Vec<u8>, FollowError> {
    std::fs::read(path).map_err(failed(path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FollowError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(failed(path))
}

fn rename(from: &Path, to: &Path) -> Result<(), FollowError> {
    std::fs::rename(from, to).map_err(failed(to))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> FollowError {
    let path = path.to_owned();
    |source| FollowError::File { path, source }
}
