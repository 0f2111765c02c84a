//! A database that nobody else uses, gone with the process: a SQLite file in a folder of its own, or a database of a
//! PostgreSQL server started for the run, on a Unix socket, with `fsync` on as in service.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::Error;

/// Which database is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// A SQLite file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Store {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Where the measurement happens.
#[derive(Debug)]
pub struct Place {
    /// The database.
    pub url: String,
    /// The folder on whose disk the database lies, where it is this machine's.
    pub(crate) folder: Option<PathBuf>,
    server: Option<Server>,
    _temporary: Option<TempDir>,
}

impl Place {
    /// Makes the database in `folder`, or opens the one of `url`.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Io`].
    pub fn new(store: Store, url: Option<&str>, folder: &Path) -> Result<Self, Error> {
        if let Some(url) = url {
            return Ok(Self {
                url: url.to_owned(),
                folder: None,
                server: None,
                _temporary: None,
            });
        }
        match store {
            Store::Sqlite => {
                let temporary = tempfile::Builder::new()
                    .prefix("unefois-bench-")
                    .tempdir_in(folder)?;
                Ok(Self {
                    url: format!("sqlite:{}", temporary.path().join("ledger.db").display()),
                    folder: Some(temporary.path().to_owned()),
                    server: None,
                    _temporary: Some(temporary),
                })
            }
            Store::Postgres => {
                let server = Server::start(folder)?;
                let socket = server.folder.display();
                Ok(Self {
                    url: format!("postgres://postgres@localhost/postgres?host={socket}"),
                    folder: Some(server.folder.clone()),
                    server: Some(server),
                    _temporary: None,
                })
            }
        }
    }

    /// The process of the database server, where it was started here.
    pub(crate) fn server(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.pid)
    }

    /// Makes what is read next come from the disk: the server starts anew and its files leave the page cache. Every
    /// connection must be closed. `false` where the database is another's.
    pub(crate) fn evict(&mut self) -> Result<bool, Error> {
        let Some(folder) = self.folder.clone() else {
            return Ok(false);
        };
        if let Some(server) = &mut self.server {
            server.restart()?;
        }
        rustix::fs::sync();
        forget(&folder)?;
        Ok(true)
    }
}

/// Drops the pages of every file under `folder` from the cache.
fn forget(folder: &Path) -> Result<(), Error> {
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let kind = file.file_type()?;
        if kind.is_dir() {
            forget(&file.path())?;
        } else if kind.is_file() {
            let file = std::fs::File::open(file.path())?;
            fadvise(&file, 0, None, Advice::DontNeed).map_err(std::io::Error::from)?;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Server {
    folder: PathBuf,
    pid: u32,
    /// The script that started the server ends it once its standard input closes: with this process, however it ends.
    _script: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Server {
    fn start(folder: &Path) -> Result<Self, Error> {
        const SCRIPT: &str = r#"
            trap '' INT HUP
            dir=$(mktemp -d "$2/unefois-bench-XXXXXX") && cd "$dir" || exit 1
            told() { echo "$dir $(head -n 1 data/postmaster.pid)"; }
            "$1/initdb" -D data -U postgres -A trust --no-locale -E UTF8 >log 2>&1 &&
            "$1/pg_ctl" -D data -w -s -l log start -o "-k $dir -c listen_addresses= -c shared_buffers=512MB \
                -c max_wal_size=8GB -c checkpoint_timeout=1h -c max_connections=50" >>log 2>&1 &&
            told || cat log >&2
            while read -r order; do "$1/pg_ctl" -D data -w -s -l log -m fast restart >>log 2>&1 && told; done
            "$1/pg_ctl" -D data -m immediate -s stop >/dev/null 2>&1
            rm -rf "$dir"
        "#;
        let programs = programs().ok_or(Error::Server(None))?;
        // A server refuses to run as root.
        let mut shell = if rustix::process::getuid().is_root() {
            let mut runuser = Command::new("runuser");
            runuser.args(["-u", "postgres", "--", "sh"]);
            runuser
        } else {
            Command::new("sh")
        };
        let mut script = shell
            .args(["-c", SCRIPT, "sh"])
            .arg(&programs)
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Error::Server(Some(e)))?;
        let orders = script.stdin.take().ok_or(Error::Server(None))?;
        let answers = script.stdout.take().ok_or(Error::Server(None))?;
        let mut answers = BufReader::new(answers);
        let (folder, pid) = told(&mut answers)?;
        Ok(Self {
            folder,
            pid,
            _script: script,
            orders,
            answers,
        })
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.orders.write_all(b"restart\n")?;
        (_, self.pid) = told(&mut self.answers)?;
        Ok(())
    }
}

/// What the script says of the server it started: its folder and its process.
fn told(answers: &mut BufReader<ChildStdout>) -> Result<(PathBuf, u32), Error> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let (folder, pid) = line.trim_end().rsplit_once(' ').ok_or(Error::Server(None))?;
    let pid = pid.parse().map_err(|_| Error::Server(None))?;
    Ok((PathBuf::from(folder), pid))
}

/// The newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|version| {
        let version = version.ok()?;
        let number = version.file_name().to_str()?.parse::<u32>().ok()?;
        Some((number, version.path().join("bin")))
    });
    found.max().map(|(_, programs)| programs)
}
