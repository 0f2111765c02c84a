//! A certificate authority kept in a folder: `ca.pem`, `ca.key`, `index.json`, `ca.crl`.
//!
//! One process at a time works in the folder: it holds a lock on `index.json.lock` meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use unefois_core::{Micros, Random};
use unefois_mesh::Serial;

use super::{Ca, Error, Issued, LeafRequest, Validity};

const CERT: &str = "ca.pem";
const KEY: &str = "ca.key";
const INDEX: &str = "index.json";
const LOCK: &str = "index.json.lock";
const CRL: &str = "ca.crl";

/// An authority on disk; each change is durable before it is answered.
#[derive(Debug)]
pub struct CaFolder {
    folder: PathBuf,
    ca: Ca,
    _lock: File,
}

impl CaFolder {
    /// Makes an authority in `folder`, with a first, empty CRL that holds until `next_update`.
    ///
    /// # Errors
    /// There is an authority already: nothing is overwritten.
    pub fn init(
        folder: &Path,
        name: &str,
        validity: Validity,
        crl: (Micros, Micros),
        random: &dyn Random,
    ) -> Result<Self, Error> {
        let ca = Ca::new(name, validity, random)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| write_error(folder, source))?;
        let lock = lock(folder)?;
        write_private(&folder.join(KEY), ca.key_pem())?;
        write_public(&folder.join(CERT), ca.cert_pem())?;
        let mut this = Self {
            folder: folder.to_owned(),
            ca,
            _lock: lock,
        };
        this.crl(crl.0, crl.1)?;
        Ok(this)
    }

    /// Opens the authority in `folder`, waiting for another process that works in it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let cert = read(&folder.join(CERT))?;
        let lock = lock(folder)?;
        let key = read(&folder.join(KEY))?;
        let path = folder.join(INDEX);
        let index = serde_json::from_str(&read(&path)?).map_err(|_| Error::Malformed {
            path: path.display().to_string(),
            what: "an index of this authority",
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            ca: Ca::from_pem(&cert, &key, index)?,
            _lock: lock,
        })
    }

    /// The authority.
    pub const fn ca(&self) -> &Ca {
        &self.ca
    }

    /// Issues a leaf and records it; the caller writes certificate and key, with [`write_pair`].
    pub fn issue(&mut self, request: &LeafRequest, random: &dyn Random) -> Result<Issued, Error> {
        let issued = self.ca.issue(request, random)?;
        self.save()?;
        Ok(issued)
    }

    /// Revokes a certificate; peers learn it from the next CRL.
    pub fn revoke(&mut self, serial: &Serial, now: Micros) -> Result<(), Error> {
        self.ca.revoke(serial, now)?;
        self.save()
    }

    /// Signs a CRL into `ca.crl` and returns it.
    pub fn crl(&mut self, now: Micros, next_update: Micros) -> Result<String, Error> {
        let crl = self.ca.crl(now, next_update)?;
        // The number is spent before the CRL is seen, so that no two CRLs share one.
        self.save()?;
        replace(&self.folder.join(CRL), &crl)?;
        Ok(crl)
    }

    fn save(&self) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self.ca.index()).expect("strings and numbers make JSON");
        replace(&self.folder.join(INDEX), &text)
    }
}

/// Writes a certificate and its key (mode 0600) beside each other, `<stem>.pem` and `<stem>.key`.
///
/// # Errors
/// One of the files exists: nothing is overwritten.
pub fn write_pair(stem: &Path, issued: &Issued) -> Result<(PathBuf, PathBuf), Error> {
    let with = |extension: &str| {
        let mut name = stem.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    let (cert, key) = (with(".pem"), with(".key"));
    if cert.exists() {
        return Err(Error::Exists(cert.display().to_string()));
    }
    write_private(&key, &issued.key_pem)?;
    write_public(&cert, &issued.cert_pem)?;
    Ok((cert, key))
}

/// Writes a new file that only its owner reads.
///
/// # Errors
/// The file exists: it is not overwritten.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    write_new(path, text, 0o600)
}

fn write_public(path: &Path, text: &str) -> Result<(), Error> {
    write_new(path, text, 0o644)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Error::Exists(path.display().to_string()),
        _ => write_error(path, source),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| write_error(path, source))
}

/// Puts `text` in the place of the file as one step, durable.
///
/// # Errors
/// It cannot be written; what was there is still there.
pub fn replace(path: &Path, text: &str) -> Result<(), Error> {
    // The parent of a bare name is the empty path, which cannot be opened.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let step = || -> std::io::Result<()> {
        let mut new = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(parent)?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(path)?;
        File::open(parent)?.sync_all()
    };
    step().map_err(|source| write_error(path, source))
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(|source| write_error(&path, source))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| write_error(&path, errno.into()))?;
    Ok(file)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.display().to_string(),
        source,
    })
}

fn write_error(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        action: "write",
        path: path.display().to_string(),
        source,
    }
}
