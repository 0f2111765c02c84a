//! A wire to PostgreSQL that fails at the one moment that matters: around COMMIT, or around the one statement that is a
//! batch of the ledger and its commit.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::database::TestDatabase;

/// What happens to the next COMMIT, or statement that commits.
#[derive(Clone)]
pub(crate) enum Fault {
    /// The connection breaks before the server hears of it: not applied.
    Unsent,
    /// The connection breaks after the server has done it: applied.
    Unheard,
    /// It is kept from the server until told to go.
    Held(Hold),
    /// The server does it; its answer is kept back until told to go.
    Unanswered(Hold),
}

/// A COMMIT under way.
#[derive(Clone, Default)]
pub(crate) struct Hold {
    /// Notified once it has come this far.
    pub(crate) reached: Arc<Notify>,
    /// Notify this to let it go on.
    pub(crate) go: Arc<Notify>,
}

impl Hold {
    async fn pass(&self) {
        self.reached.notify_one();
        self.go.notified().await;
    }
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    faults: Arc<Mutex<Vec<Fault>>>,
    _accepting: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl Proxy {
    pub(crate) fn new(database: &TestDatabase) -> Self {
        let (rest, server) = database.url().split_once("?host=").expect("a socket's directory");
        let server = PathBuf::from(server).join(".s.PGSQL.5432");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).expect("a socket");
        let faults: Arc<Mutex<Vec<Fault>>> = Arc::default();
        let mut accepting = JoinSet::new();
        let shared = Arc::clone(&faults);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.expect("the server's socket");
                connections.spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self {
            url: format!("{rest}?host={}", directory.path().display()),
            faults,
            _accepting: accepting,
            _directory: directory,
        }
    }

    /// Lets the next COMMITs meet `faults`, one each, in order.
    pub(crate) fn arm(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut all: Vec<Fault> = faults.into_iter().collect();
        all.reverse();
        *self.faults.lock().expect("no panic") = all;
    }
}

async fn forward(mut client: UnixStream, mut server: UnixStream, faults: Arc<Mutex<Vec<Fault>>>) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut batches = Vec::new();
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let fault = if commits(&up[..n], &mut batches) { faults.lock().expect("no panic").pop() } else { None };
                match &fault {
                    Some(Fault::Unsent) => return,
                    Some(Fault::Held(hold)) => hold.pass().await,
                    Some(Fault::Unheard | Fault::Unanswered(_)) | None => {}
                }
                if server.write_all(&up[..n]).await.is_err() {
                    return;
                }
                if let Some(Fault::Unheard | Fault::Unanswered(_)) = &fault {
                    let Ok(n @ 1..) = server.read(&mut down).await else { return };
                    let Some(Fault::Unanswered(hold)) = &fault else { return };
                    hold.pass().await;
                    if client.write_all(&down[..n]).await.is_err() {
                        return;
                    }
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether these messages commit. `batches` keeps the names of the prepared statements that are a batch at once.
fn commits(messages: &[u8], batches: &mut Vec<Vec<u8>>) -> bool {
    const BATCH: &[u8] = b"\0WITH claimed AS ";
    const NAME: &[u8] = b"sqlx_s_";
    let find =
        |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).rposition(|part| part == needle);
    // Parse: the statement's name, then its text.
    if let Some(end) = find(messages, BATCH) {
        let name = find(&messages[..end], NAME).expect("the driver names what it prepares");
        batches.push(messages[name..end].to_vec());
        return false;
    }
    // Bind: the portal's name, which is empty, then the statement's.
    let bound = |name: &Vec<u8>| find(messages, &[b"\0", name.as_slice(), b"\0"].concat()).is_some();
    find(messages, b"COMMIT\0").is_some() || batches.iter().any(bound)
}
