//! Witnesses (C2SP tlog-witness, tlog-cosignature): what this process cosigns of others' logs, and what it asks others
//! to cosign of its own.

mod ask;
mod health;
mod serve;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use unefois_core::directory::Freshness;
use unefois_core::{Directory, Micros, ParticipantId};
use unefois_mesh::Target;
use unefois_tlog::{Cosigner, VerifierKey};
use zeroize::Zeroizing;

use crate::public::PublicError;

pub(crate) use ask::{AskError, Asked};
pub use health::Cosigned;
pub(crate) use serve::{Witness, router};

/// `[witness]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WitnessConfig {
    /// File of the key that cosigns others' heads, in C2SP text (`PRIVATE+KEY+…`); nothing is cosigned without one.
    pub key: Option<PathBuf>,
    /// Who is asked to cosign this process's heads; at most 16.
    pub ask: Vec<AskConfig>,
}

/// `[[witness.ask]]`: one witness. Exactly one of `participant` and `url` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskConfig {
    /// Its key, as `unefois key generate witness` prints it.
    pub vkey: String,
    /// A participant of the mesh, asked where the directory says that it listens.
    #[serde(default)]
    pub participant: Option<ParticipantId>,
    /// The submission prefix of a witness outside of the mesh: `https`, or `http` on 127.0.0.1 or [::1].
    #[serde(default)]
    pub url: Option<String>,
    /// PEM file of the certificate authorities that its certificate may come from; needed for `https`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// What is asked of the directory in use, at the moment of asking.
#[derive(Clone)]
pub struct Registry {
    log: Arc<Lookup<str, Option<VerifierKey>>>,
    node: Arc<Lookup<ParticipantId, Option<Target>>>,
    version: Arc<dyn Fn() -> u64 + Send + Sync>,
}

type Lookup<K, V> = dyn Fn(&K, Micros) -> Result<V, Stale> + Send + Sync;

/// The directory has expired: it says nothing any more (I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory has expired")]
pub(crate) struct Stale;

impl Registry {
    /// Asks the directory of the edition that `edition` gives.
    pub fn new<E: 'static>(
        edition: impl Fn() -> Arc<E> + Clone + Send + Sync + 'static,
        directory: fn(&E) -> &Directory,
    ) -> Self {
        let (node, version) = (edition.clone(), edition.clone());
        Self {
            log: Arc::new(move |origin, now| {
                let edition = edition();
                let row = fresh(directory(&edition), now)?.log(origin);
                Ok(row.and_then(|(_, row)| row.vkey.parse().ok()))
            }),
            node: Arc::new(move |participant, now| {
                let edition = node();
                Ok(unefois_mesh::target(
                    fresh(directory(&edition), now)?,
                    participant,
                ))
            }),
            version: Arc::new(move || directory(&version()).version()),
        }
    }

    /// The version of the directory.
    pub(crate) fn version(&self) -> u64 {
        (self.version)()
    }

    /// The key of the log of `origin`.
    fn log(&self, origin: &str, now: Micros) -> Result<Option<VerifierKey>, Stale> {
        (self.log)(origin, now)
    }

    /// Where a participant listens.
    fn node(&self, participant: &ParticipantId, now: Micros) -> Result<Option<Target>, Stale> {
        (self.node)(participant, now)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

fn fresh(directory: &Directory, now: Micros) -> Result<&Directory, Stale> {
    match directory.freshness(now) {
        Freshness::Fresh | Freshness::Alarm => Ok(directory),
        Freshness::Expired => Err(Stale),
    }
}

/// Reads the file of a cosigner's key.
fn cosigner(path: &Path) -> Result<Cosigner, PublicError> {
    let unusable = || PublicError::Key(path.to_owned());
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|_| unusable())?);
    Cosigner::from_text(text.trim()).map_err(|_| unusable())
}
