//! A wire to PostgreSQL that breaks at one message of the client.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::workload::boottime_us;

const SOCKET: &str = ".s.PGSQL.5432";

/// How the wire breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the server has the message: not applied.
    Unsent,
    /// Once the server has done it, if it does anything at this message, and its answer is lost: applied.
    Unheard,
}

/// A socket beside the server's.
#[derive(Debug)]
pub(crate) struct Proxy {
    url: String,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
    _folder: tempfile::TempDir,
}

#[derive(Debug, Default)]
struct Shared {
    /// Messages of the client since the last [`Proxy::arm`].
    sent: AtomicUsize,
    armed: Mutex<Option<(usize, Cut)>>,
    /// When the wire broke, by the clock since boot; 0 if it did not.
    since: AtomicI64,
    unheard: AtomicUsize,
}

impl Proxy {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let (rest, server) = url.split_once("?host=").context("a socket")?;
        let server = PathBuf::from(server).join(SOCKET);
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join(SOCKET))?;
        let shared: Arc<Shared> = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server, Arc::clone(&shared)));
        Ok(Self {
            // Asking for TLS is no message like the others.
            url: format!("{rest}?host={}&sslmode=disable", folder.path().display()),
            shared,
            _accepting: accepting,
            _folder: folder,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Has the wire break at the `at`th message from now on, counted from 1 over all connections.
    pub(crate) fn arm(&self, at: usize, cut: Cut) {
        let mut armed = self.shared.armed.lock().unwrap_or_else(PoisonError::into_inner);
        *armed = Some((at, cut));
        self.shared.sent.store(0, Ordering::Relaxed);
        self.shared.since.store(0, Ordering::Relaxed);
    }

    /// Messages since then.
    pub(crate) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// When the wire broke, if it did.
    pub(crate) fn struck(&self) -> Option<i64> {
        match self.shared.since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(since),
        }
    }

    /// Answers lost in all.
    pub(crate) fn unheard(&self) -> usize {
        self.shared.unheard.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// What becomes of the next message.
    fn next(&self) -> Option<Cut> {
        let n = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let armed = *self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = armed.and_then(|(at, cut)| (at == n).then_some(cut))?;
        self.since.store(boottime_us(), Ordering::Relaxed);
        Some(cut)
    }
}

async fn accept(listener: UnixListener, server: PathBuf, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(forward(client, server.clone(), Arc::clone(&shared)));
    }
}

/// Goes on until either end, or the wire, breaks; then both ends see it.
async fn forward(client: UnixStream, server: impl AsRef<Path>, shared: Arc<Shared>) {
    if let Ok(server) = UnixStream::connect(server).await {
        let _broken = messages(client, server, &shared).await;
    }
}

async fn messages(mut client: UnixStream, mut server: UnixStream, shared: &Shared) -> std::io::Result<()> {
    let (mut asked, mut answered) = (Frames::untyped(), Frames::default());
    let mut down = vec![0; 1 << 16];
    // How many times the server has yet to say that it is ready.
    let mut owed = 0_usize;
    loop {
        tokio::select! {
            read = client.read_buf(&mut asked.bytes) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(message) = asked.next() {
                    let cut = shared.next();
                    if cut == Some(Cut::Unsent) {
                        return Ok(());
                    }
                    server.write_all(&message).await?;
                    owed += usize::from(matches!(message.first(), Some(b'S' | b'Q' | 0)));
                    if cut == Some(Cut::Unheard) {
                        shared.unheard.fetch_add(usize::from(owed > 0), Ordering::Relaxed);
                        while owed > 0 && server.read_buf(&mut answered.bytes).await? > 0 {
                            owed = owed.saturating_sub(answered.ready());
                        }
                        return Ok(());
                    }
                }
            }
            read = server.read(&mut down) => {
                let n = read?;
                if n == 0 {
                    return Ok(());
                }
                client.write_all(&down[..n]).await?;
                answered.bytes.extend_from_slice(&down[..n]);
                owed = owed.saturating_sub(answered.ready());
            }
        }
    }
}

/// One direction's messages: a letter, a length that counts itself, a body.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    /// Whether the next one has no letter: the first of a connection.
    untyped: bool,
}

impl Frames {
    const fn untyped() -> Self {
        Self {
            bytes: Vec::new(),
            untyped: true,
        }
    }

    /// The next whole message.
    fn next(&mut self) -> Option<Vec<u8>> {
        let letter = usize::from(!self.untyped);
        let length = self.bytes.get(letter..)?.first_chunk::<4>()?;
        let end = letter + usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let message = self.bytes.get(..end)?.to_vec();
        self.bytes.drain(..end);
        self.untyped = false;
        Some(message)
    }

    /// How many of the whole messages there say `ReadyForQuery`.
    fn ready(&mut self) -> usize {
        std::iter::from_fn(|| self.next())
            .filter(|message| message.first() == Some(&b'Z'))
            .count()
    }
}
