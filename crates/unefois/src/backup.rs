//! Backups: a folder with one file of the database and a manifest that says what logs it holds and how far they were.
//!
//! What is restored is an old copy, and says so: its logs are marked, and a node writes them again only once its anchor
//! and its peers have shown that nothing came after. Nothing is restored over a log.

mod postgres;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use unefois_core::{Micros, Sha256};
use unefois_ledger::verify::{LogFault, verify_database};
use unefois_mesh::status;
use unefois_store::authority::restored::mark_restored;
use unefois_store::backup::LogState;
use unefois_store::head::heads_restored;
use unefois_store::{Component, Db, Error as StoreError};
use unefois_tlog::SignerKey;

use crate::failure::{Failure, Kind};

const FORMAT: &str = "unefois/backup/v1";
const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// When it was taken, microseconds UTC.
    pub at_us: i64,
    /// Which database it is of.
    pub engine: Engine,
    /// Whose.
    pub component: Owner,
    /// The schema of a PostgreSQL database that the tables are in.
    schema: Option<String>,
    /// The last migration of each table of them.
    pub migrations: Vec<(String, i64)>,
    /// The file beside the manifest.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// The logs.
    pub logs: Vec<Log>,
}

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// Whose database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// A node.
    Node,
    /// The authority.
    Authority,
}

/// One log, as far as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Which.
    pub origin: String,
    /// How many entries it had.
    pub size: u64,
    /// Their root.
    pub root: String,
    /// The signed checkpoint; empty before the first entry.
    pub checkpoint: String,
}

impl Log {
    fn of(state: &LogState) -> Self {
        Self {
            origin: state.origin.clone(),
            size: state.size,
            root: state.root.to_string(),
            checkpoint: state.checkpoint.clone(),
        }
    }
}

impl From<Component> for Owner {
    fn from(component: Component) -> Self {
        match component {
            Component::Node => Self::Node,
            Component::Authority => Self::Authority,
        }
    }
}

impl Engine {
    fn of(url: &str) -> Result<Self, Failure> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            Some(_) | None => Err(Failure::new(
                Kind::Usage,
                "une base est postgres://… ou sqlite:CHEMIN",
            )),
        }
    }
}

/// Backs the database `url` up to the new folder `to`, which nobody else may read, while its process goes on.
///
/// # Errors
/// The folder exists, the database cannot be read or holds no log, or the copy cannot be written.
pub async fn backup(url: &str, to: &Path, now: Micros) -> Result<Manifest, Failure> {
    let engine = Engine::of(url)?;
    let db = Db::open_for_reading(url).await.map_err(|e| unread(&e))?;
    let component = db.component().await.map_err(|e| unread(&e))?;
    let component = component.ok_or_else(|| unread(&StoreError::NoLog))?;
    let migrations = db.schema_versions(component).await.map_err(|e| unread(&e))?;
    DirBuilder::new().mode(0o700).create(to).map_err(|e| {
        let kind = match e.kind() {
            std::io::ErrorKind::AlreadyExists => Kind::Exists,
            _ => Kind::CannotWrite,
        };
        Failure::new(kind, format!("{} n'est pas créé", to.display()))
            .because(e)
            .next("donnez un dossier qui n'existe pas")
    })?;
    let (file, schema, logs) = match engine {
        Engine::Sqlite => {
            let path = to.join("database.db");
            private(&path).map_err(|e| unwritten(&path, e))?;
            db.copy_to(&path).await.map_err(|e| unwritten(&path, e))?;
            let copy = Db::open_for_reading(&sqlite(&path))
                .await
                .map_err(|e| unread(&e))?;
            let logs = copy.log_states().await.map_err(|e| unread(&e));
            copy.close().await;
            ("database.db", None, logs?)
        }
        Engine::Postgres => {
            let snapshot = db.snapshot().await.map_err(|e| unread(&e))?;
            let path = to.join("database.dump");
            private(&path).map_err(|e| unwritten(&path, e))?;
            postgres::dump(url, &snapshot.id, &path).await?;
            (
                "database.dump",
                Some(snapshot.schema.clone()),
                snapshot.logs.clone(),
            )
        }
    };
    db.close().await;
    let path = to.join(file);
    File::open(&path)
        .and_then(|file| file.sync_all())
        .map_err(|e| unwritten(&path, e))?;
    let (sha256, bytes) = digest(&path)?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        at_us: now.get(),
        engine,
        component: component.into(),
        schema,
        migrations,
        file: file.to_owned(),
        bytes,
        sha256,
        logs: logs.iter().map(Log::of).collect(),
    };
    // A folder without its manifest is no backup.
    write_manifest(to, &manifest)?;
    Ok(manifest)
}

/// Restores the backup in the folder `from` to `url`, which holds no log, and marks its logs as restored.
///
/// # Errors
/// The manifest or the file is not what it must be, the database holds a log or exists, or what was restored is not what
/// the manifest says.
pub async fn restore(from: &Path, url: &str, now: Micros) -> Result<Manifest, Failure> {
    let manifest = read_manifest(from)?;
    let file = from.join(&manifest.file);
    if digest(&file)? != (manifest.sha256.clone(), manifest.bytes) {
        return Err(broken(
            "le fichier de la sauvegarde n'est pas celui de son manifeste",
        ));
    }
    if Engine::of(url)? != manifest.engine {
        return Err(
            Failure::new(Kind::Usage, "la sauvegarde vient d'une autre sorte de base")
                .next("restaurez SQLite vers sqlite:CHEMIN, PostgreSQL vers postgres://…"),
        );
    }
    match manifest.engine {
        Engine::Sqlite => restore_sqlite(&file, url, &manifest, now).await?,
        Engine::Postgres => {
            let target = Db::open_for_reading(url).await.map_err(|e| unread(&e))?;
            let held = target.component().await;
            target.close().await;
            if held.map_err(|e| unread(&e))?.is_some() {
                return Err(holds_a_log("donnez une base vide : createdb"));
            }
            let schema = manifest.schema.as_deref().unwrap_or("public");
            postgres::restore(url, &file, schema, now).await?;
            verify(url, &manifest).await?;
        }
    }
    Ok(manifest)
}

/// Puts the file in its place only once it is verified and marked.
async fn restore_sqlite(file: &Path, url: &str, manifest: &Manifest, now: Micros) -> Result<(), Failure> {
    let path = PathBuf::from(url.strip_prefix("sqlite:").unwrap_or(url));
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    if path.exists() || beside("-wal").exists() {
        return Err(holds_a_log("donnez un chemin où il n'y a rien"));
    }
    let next = beside(".restoring");
    let clear = || {
        for suffix in [
            ".restoring",
            ".restoring.lock",
            ".restoring-wal",
            ".restoring-shm",
        ] {
            // What is not there need not go.
            let _gone = std::fs::remove_file(beside(suffix));
        }
    };
    // SQLite would replay what an attempt that was killed had written over the new copy.
    clear();
    let made = async {
        private(&next)
            .and_then(|mut into| std::io::copy(&mut File::open(file)?, &mut into))
            .map_err(|e| unwritten(&next, e))?;
        let component = match manifest.component {
            Owner::Node => Component::Node,
            Owner::Authority => Component::Authority,
        };
        let db = Db::open(&sqlite(&next), component)
            .await
            .map_err(|e| unread(&e))?;
        let marked = mark(&db, component, now).await;
        db.close().await;
        marked.map_err(|e| unwritten(&next, e))?;
        verify(&sqlite(&next), manifest).await?;
        File::open(&next)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::hard_link(&next, &path))
            .map_err(|e| unwritten(&path, e))
    };
    let made = made.await;
    clear();
    made
}

async fn mark(db: &Db, component: Component, now: Micros) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    heads_restored(&mut tx, now).await?;
    match component {
        Component::Node => {}
        Component::Authority => mark_restored(&mut tx, now).await?,
    }
    tx.commit().await
}

/// Whether the database at `url` holds the manifest's logs, each sound from its entries up. Who signed their heads is
/// for the node to say, which has the key.
async fn verify(url: &str, manifest: &Manifest) -> Result<(), Failure> {
    let db = Db::open_for_reading(url).await.map_err(|e| unread(&e))?;
    let verified = async {
        let states = db.log_states().await.map_err(|e| unread(&e))?;
        let logs: Vec<Log> = states.iter().map(Log::of).collect();
        if logs != manifest.logs {
            return Err(broken("les registres restaurés ne sont pas ceux du manifeste"));
        }
        for log in &logs {
            let name = log
                .origin
                .parse()
                .map_err(|_| broken("un registre a un nom impossible"))?;
            let nobody = SignerKey::new(name, &[0; 32]);
            let report = verify_database(&db, &log.origin, nobody.verifier(), |_, _| {}).await;
            let report = report.map_err(|e| broken("un registre restauré n'est pas lu").because(e))?;
            let fault = report.log.iter().find(|fault| **fault != LogFault::Checkpoint);
            if let Some(fault) = fault {
                return Err(broken("un registre restauré n'est pas intact").because(fault));
            }
        }
        Ok(())
    };
    let verified = verified.await;
    db.close().await;
    verified
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let path = folder.join(MANIFEST);
    let text = serde_json::to_string_pretty(manifest)
        .map_err(|e| Failure::new(Kind::Bug, "le manifeste n'est pas écrit").because(e))?;
    let written = private(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    });
    written.map_err(|e| unwritten(&path, e))
}

fn read_manifest(folder: &Path) -> Result<Manifest, Failure> {
    let path = folder.join(MANIFEST);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_string(&mut text));
    read.map_err(|e| {
        Failure::new(Kind::NoInput, format!("{} n'est pas lu", path.display()))
            .because(e)
            .next("donnez le dossier que « unefois db backup » a écrit")
    })?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|e| broken("le manifeste ne se lit pas").because(e))?;
    let plain = !manifest.file.contains('/') && !manifest.file.starts_with('.');
    if manifest.format != FORMAT || !plain {
        return Err(broken("le manifeste n'est pas celui d'une sauvegarde"));
    }
    Ok(manifest)
}

/// The SHA-256 of a file, hexadecimal, and its length.
fn digest(path: &Path) -> Result<(String, u64), Failure> {
    let read = || -> std::io::Result<(String, u64)> {
        let mut file = File::open(path)?;
        let (mut context, mut bytes, mut buffer) = (Context::new(&SHA256), 0, vec![0; 1 << 16]);
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            context.update(&buffer[..n]);
            bytes += n as u64;
        }
        let digest: [u8; 32] = context.finish().as_ref().try_into().unwrap_or_default();
        Ok((Sha256::from_bytes(digest).to_string(), bytes))
    };
    read().map_err(|e| Failure::new(Kind::NoInput, format!("{} n'est pas lu", path.display())).because(e))
}

/// Makes the file `path`, which its owner alone may read.
fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn unread(error: &StoreError) -> Failure {
    Failure::new(Kind::NoInput, "la base n'est pas lue")
        .because(status::chain(error))
        .next("vérifiez l'adresse de la base")
}

fn unwritten(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::CannotWrite, format!("{} n'est pas écrit", path.display())).because(error)
}

fn broken(what: &str) -> Failure {
    Failure::new(Kind::Data, what).next("prenez une autre sauvegarde ; rien ne doit être écrit sur celle-ci")
}

fn holds_a_log(next: &str) -> Failure {
    Failure::new(
        Kind::Exists,
        "la base existe : on ne restaure pas sur un registre, ce serait le faire bifurquer",
    )
    .next(next)
}
