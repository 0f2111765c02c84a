//! Databases for tests: a SQLite file in a directory of its own, or a database of a PostgreSQL cluster that the test
//! process starts once and that goes away with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A database that nobody else uses, gone when it is dropped or with the test process.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    _directory: Option<tempfile::TempDir>,
    alone: Option<Cluster>,
}

impl TestDatabase {
    /// An empty SQLite file.
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self {
            url: format!("sqlite:{}", directory.path().join("unefois.db").display()),
            _directory: Some(directory),
            alone: None,
        }
    }

    /// An empty PostgreSQL database.
    pub fn postgres() -> Self {
        Self::postgres_from("template0")
    }

    /// An empty PostgreSQL database of a server that has no other: what is set or broken there is nobody else's.
    pub fn postgres_alone() -> Self {
        let cluster = Cluster::start();
        Self {
            url: Self::of(&cluster, "template0").url,
            _directory: None,
            alone: Some(cluster),
        }
    }

    fn postgres_from(template: &str) -> Self {
        Self::of(Cluster::of_this_process(), template)
    }

    fn of(cluster: &Cluster, template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let socket = cluster.socket.display();
        let made = Command::new(cluster.programs.join("createdb"))
            .args(["-h", &socket.to_string(), "-U", "postgres", "-T", template, &name])
            .status()
            .expect("createdb runs");
        assert!(made.success(), "createdb makes {name}");
        Self {
            url: format!("postgres://postgres@localhost/{name}?host={socket}"),
            _directory: None,
            alone: None,
        }
    }

    /// The same database at this moment, under another name: an old copy of it, once it went on. Nobody may have it
    /// open.
    pub fn copy(&self) -> Self {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => {
                let copy = Self::sqlite();
                let to = copy.url.strip_prefix("sqlite:").expect("as it was made");
                std::fs::copy(path, to).expect("the file is copied");
                copy
            }
            None => Self::postgres_from(self.name()),
        }
    }

    /// The name of a PostgreSQL database.
    fn name(&self) -> &str {
        let path = self.url.split_once("@localhost/").map_or("", |(_, path)| path);
        path.split_once('?').map_or(path, |(name, _)| name)
    }

    /// What to open it by.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has a shell execute `command` in the folder of the server that [`TestDatabase::postgres_alone`] started, as its own
    /// user: its data is in `data`, its programs are in `$1`. It does not wait for the end. A second server, in `standby`,
    /// ends with the first.
    pub fn server_shell(&mut self, command: &str) {
        let cluster = self.alone.as_mut().expect("a server of its own");
        let shell = cluster.script.stdin.as_mut().expect("the shell listens");
        writeln!(shell, "{command}").expect("the shell listens");
    }
}

/// A PostgreSQL server on a Unix socket, with `fsync` on as in service.
#[derive(Debug)]
struct Cluster {
    programs: PathBuf,
    socket: PathBuf,
    /// The script that started it ends it once its standard input closes: when this process is gone, however it ends.
    script: Child,
}

impl Cluster {
    fn of_this_process() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::start)
    }

    fn start() -> Self {
        const SCRIPT: &str = r#"
            trap '' INT HUP
            dir=$(mktemp -d) && cd "$dir" || exit 1
            "$1/initdb" -D data -U postgres -A trust --no-locale -E UTF8 --no-sync >log 2>&1 &&
            printf '%s\n' "unix_socket_directories = '$dir'" "listen_addresses = ''" 'max_connections = 300' \
                'shared_buffers = 64MB' 'max_wal_size = 128MB' 'min_wal_size = 32MB' >>data/postgresql.conf &&
            "$1/pg_ctl" -D data -w -s -l log start >>log 2>&1 &&
            echo "$dir" || cat log >&2
            exec >/dev/null 2>>log
            while read -r command; do eval "$command" >>log 2>&1; done
            "$1/pg_ctl" -D data -m immediate -s stop >/dev/null 2>&1
            if read -r second <standby/postmaster.pid; then
                kill -9 $(cat "/proc/$second/task/$second/children") "$second"
            fi 2>/dev/null
            rm -rf "$dir"
        "#;
        let programs = programs().expect("PostgreSQL is installed under /usr/lib/postgresql");
        // A server refuses to run as root.
        let mut shell = match uid() {
            0 => {
                let mut runuser = Command::new("runuser");
                runuser.args(["-u", "postgres", "--", "sh"]);
                runuser
            }
            _ => Command::new("sh"),
        };
        let mut script = shell
            .args(["-c", SCRIPT, "sh"])
            .arg(&programs)
            .current_dir("/")
            // What ends this process and its group, as a time limit does, would end the script before the server.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts the server");
        let mut socket = String::new();
        let out = script.stdout.take().expect("standard output is a pipe");
        BufReader::new(out)
            .read_line(&mut socket)
            .expect("the server's directory");
        let socket = PathBuf::from(socket.trim_end());
        assert!(socket.is_absolute(), "PostgreSQL did not start");
        Self {
            programs,
            socket,
            script,
        }
    }
}

/// The newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|version| {
        let number = version.as_ref().ok()?.file_name().to_str()?.parse::<u32>().ok()?;
        Some((number, version.ok()?.path().join("bin")))
    });
    found.max().map(|(_, programs)| programs)
}

/// Who runs the tests, by whose the process is.
fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("a Linux process").uid()
}

/// Makes a module a name, with one test for each database: `both_databases![i2_one_shot_claims_once];`, and
/// `async fn i2_one_shot_claims_once(database: TestDatabase)`.
#[macro_export]
macro_rules! both_databases {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                Box::pin(super::$name(super::TestDatabase::sqlite())).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                Box::pin(super::$name(super::TestDatabase::postgres())).await;
            }
        }
    )* };
}
