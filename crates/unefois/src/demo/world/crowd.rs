//! Many producers that hold a lease and answer nobody: what the withdrawal of a grant has to reach.

use std::path::{Path, PathBuf};

use unefois_core::ParticipantId;
use unefois_core::directory::{DirectoryDocument, ParticipantRow};
use unefois_jose::{SigningKey, directory};

use super::{Maker, World};
use crate::failure::{Failure, Kind};

/// Producers beside those of the demonstration, each with its own certificate, log and keys.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    /// Who they are.
    pub members: Vec<ParticipantId>,
    /// Ports beside the authority's own under which some of them reach it.
    pub detours: Vec<u16>,
}

impl World {
    /// The folder of the n-th of the crowd.
    pub fn crowd_folder(&self, n: usize) -> PathBuf {
        crowd_folder(&self.root, n)
    }

    /// The directory by which the authority is reached under `port`, its own or a detour's.
    pub fn crowd_directory(&self, port: u16) -> PathBuf {
        crowd_directory(&self.root, port)
    }
}

/// The folder of the n-th of the crowd of the world in `root`.
pub fn crowd_folder(root: &Path, n: usize) -> PathBuf {
    root.join(name(n))
}

/// The directory by which the authority of the world in `root` is reached under `port`.
pub fn crowd_directory(root: &Path, port: u16) -> PathBuf {
    root.join(format!("ca/directory-{port}.jws"))
}

fn name(n: usize) -> String {
    format!("crowd-{n}")
}

impl Maker<'_> {
    /// Makes the crowd; its rows.
    pub(super) fn crowd(&mut self, crowd: &Crowd) -> Result<Vec<ParticipantRow>, Failure> {
        let members = crowd.members.iter().enumerate();
        members
            .map(|(n, id)| {
                let (fr, en) = (format!("Producteur {n}"), format!("Producer {n}"));
                Ok(self.producer(&id.to_string(), &name(n), (&fr, &en))?.row)
            })
            .collect()
    }

    /// Writes the directory for each way to the authority; nothing where there is no crowd.
    pub(super) fn detours(
        &self,
        crowd: &Crowd,
        own: u16,
        document: &DirectoryDocument,
        key: &SigningKey,
    ) -> Result<(), Failure> {
        let ways = crowd
            .detours
            .iter()
            .chain((!crowd.members.is_empty()).then_some(&own));
        for port in ways {
            let mut document = document.clone();
            if let Some(authority) = document.participants.first_mut() {
                authority.mesh = vec![format!("localhost:{port}")];
            }
            let signed = directory::sign(&document, key)
                .map_err(|e| Failure::new(Kind::Bug, "l'annuaire n'est pas signé").because(e))?;
            let path = crowd_directory(self.root, *port);
            let folder = path.parent().unwrap_or(self.root);
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, signed))
                .map_err(super::cannot_write)?;
        }
        Ok(())
    }
}
