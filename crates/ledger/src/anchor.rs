//! The anchor: a small file outside the database that remembers how far the log had come.
//!
//! A database that is put back from an old copy knows nothing of what it lost; the anchor, which is not in the copy,
//! does. It holds the last head that was published and the epoch that wrote it, and is replaced at once or not at all.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use unefois_tlog::{SignedCheckpoint, VerifierKey};

const HEADER: &str = "unefois/anchor/v1";
const MAX_BYTES: u64 = 16 * 1_024;
/// What is wrong where it cannot be written.
pub(crate) const UNWRITTEN: &str = "it cannot be written; check its folder, its rights and its disk";

/// What the file says.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    /// The epoch of the writer; no later one may be as low.
    pub(crate) epoch: u64,
    /// The head, signed by the log's key.
    pub(crate) checkpoint: SignedCheckpoint,
}

/// The anchor cannot be used. Starting without it would be starting blind.
#[derive(Debug, thiserror::Error)]
#[error("the anchor {path} cannot be used: {what}")]
pub struct AnchorError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub what: &'static str,
    /// What the system says.
    #[source]
    pub source: Option<std::io::Error>,
}

impl Anchor {
    /// Reads the anchor of the log of `key`; `None` where there is no file.
    pub(crate) fn read(path: &Path, key: &VerifierKey) -> Result<Option<Self>, AnchorError> {
        let wrong = |what| AnchorError {
            path: path.to_owned(),
            what,
            source: None,
        };
        let unread = |source| AnchorError {
            path: path.to_owned(),
            what: "it cannot be read; give the process the right to read and replace it",
            source: Some(source),
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unread(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unread)?;
        let anchor = parse(&bytes).ok_or_else(|| {
            wrong("it is no anchor; put back the right file, or remove it only if you know that the database is the last one")
        })?;
        if anchor.checkpoint.claimed_origin().as_str() != key.name().as_str() {
            return Err(wrong(
                "it is of another log; check [ledger] anchor, [ledger] signer and [database] url",
            ));
        }
        match anchor.checkpoint.verify(key) {
            Ok(_) => Ok(Some(anchor)),
            Err(_) => Err(wrong("it is not signed by this log's key; check [ledger] signer")),
        }
    }

    /// Puts this anchor in the place of the one at `path`: after a crash there is one or the other.
    pub(crate) fn write(&self, path: &Path) -> Result<(), AnchorError> {
        let failed = |source| AnchorError {
            path: path.to_owned(),
            what: UNWRITTEN,
            source: Some(source),
        };
        self.replace(path).map_err(failed)
    }

    /// Whether a file can be made beside the one at `path`; nothing that another process writes there is touched.
    pub(crate) fn try_folder(path: &Path) -> Result<(), AnchorError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".try");
        let tried = File::create(&beside).and_then(|file| {
            file.sync_all()?;
            std::fs::remove_file(&beside)
        });
        tried.map_err(|source| AnchorError {
            path: path.to_owned(),
            what: UNWRITTEN,
            source: Some(source),
        })
    }

    fn replace(&self, path: &Path) -> std::io::Result<()> {
        let mut next = path.as_os_str().to_owned();
        next.push(".next");
        let text = format!("{HEADER}\nepoch {}\n{}", self.epoch, self.checkpoint.as_str());
        let mut file = File::create(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn parse(bytes: &[u8]) -> Option<Anchor> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (header, rest) = text.split_once('\n')?;
    let (epoch, note) = rest.split_once('\n')?;
    let epoch = epoch.strip_prefix("epoch ")?.parse().ok()?;
    let checkpoint = SignedCheckpoint::parse(note.as_bytes()).ok()?;
    (header == HEADER).then_some(Anchor { epoch, checkpoint })
}

#[cfg(test)]
mod tests {
    use unefois_tlog::{Checkpoint, Hash, SignerKey};

    use super::*;

    fn signer(name: &str, seed: u8) -> SignerKey {
        SignerKey::new(name.parse().unwrap(), &[seed; 32])
    }

    fn anchor(signer: &SignerKey) -> Anchor {
        let origin = signer.verifier().name().as_str().parse().unwrap();
        let checkpoint = Checkpoint::new(origin, 3, Hash::of_leaf(b"x")).unwrap();
        Anchor {
            epoch: 7,
            checkpoint: checkpoint.sign(signer).unwrap(),
        }
    }

    #[test]
    fn refuses_what_is_not_this_log_s_anchor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        let key = signer("log/1", 1);
        assert!(Anchor::read(&path, key.verifier()).unwrap().is_none());
        let whole = format!("{HEADER}\nepoch 7\n{}", anchor(&key).checkpoint.as_str());
        let garbage = [
            "",
            "garbage",
            "unefois/anchor/v2\nepoch 7\n",
            &whole.replace("epoch 7", "epoch x"),
            &whole[..whole.len() - 10],
        ];
        for text in garbage {
            std::fs::write(&path, text).unwrap();
            let refused = Anchor::read(&path, key.verifier()).unwrap_err();
            assert!(refused.what.starts_with("it is no anchor"), "{text}");
        }
        anchor(&signer("log/2", 1)).write(&path).unwrap();
        let refused = Anchor::read(&path, key.verifier()).unwrap_err();
        assert!(refused.what.starts_with("it is of another log"), "{refused}");
        anchor(&signer("log/1", 2)).write(&path).unwrap();
        let refused = Anchor::read(&path, key.verifier()).unwrap_err();
        assert!(refused.what.starts_with("it is not signed"), "{refused}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Anchor::read(&path, key.verifier()).unwrap_err().source.is_some());
        let nowhere = folder.path().join("nowhere").join("anchor");
        assert!(anchor(&key).write(&nowhere).unwrap_err().source.is_some());
    }

    #[test]
    fn reads_what_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("anchor"), signer("log/1", 1));
        for _ in 0..2 {
            anchor(&key).write(&path).unwrap();
        }
        let read = Anchor::read(&path, key.verifier())
            .unwrap()
            .expect("it was written");
        assert_eq!(read.epoch, 7);
        assert_eq!(read.checkpoint.as_str(), anchor(&key).checkpoint.as_str());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
