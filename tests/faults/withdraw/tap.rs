//! The tap: a consumer's end of the wire that knows when each byte of an answer arrived.
//!
//! A thread asks the kernel every millisecond how many bytes of each connection have arrived, read or not
//! (`ioctl_fionread`). So it matters neither when a reader is scheduled nor whether it reads at all: a byte arrived between
//! the last look that did not count it and the first that did. TLS is given one record at a time, and the frames that come
//! out are looked at: what counts are the bytes of DATA frames, the answer itself, and neither handshakes nor the frames
//! and alerts that end a stream.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rustix::io::ioctl_fionread;
use rustix::process::setpriority_process;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::SystemClock;

/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(1);
/// Before others, where that is allowed: the longer between two looks, the less is known.
const PRIORITY: i32 = -15;

/// Bytes of an answer that arrived together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// They had not arrived before this.
    pub(crate) after: Micros,
    /// They had arrived at this moment.
    pub(crate) by: Micros,
    pub(crate) bytes: usize,
}

/// What a tap knows, and whether it reads.
#[derive(Debug)]
pub(crate) struct Tap {
    stream: TcpStream,
    counts: Mutex<Counts>,
    /// Where in the connection's bytes the last record ends that was read.
    record: AtomicU64,
    shut: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct Counts {
    read: u64,
    /// Each look that found more: how much in all, not before, by then.
    looks: Vec<(u64, Micros, Micros)>,
    looked: Micros,
    /// Bytes of the answer, and where the records end that they came in.
    answer: Vec<(u64, usize)>,
}

impl Tap {
    fn new(stream: TcpStream) -> Self {
        let counts = Counts {
            read: 0,
            looks: Vec::new(),
            looked: SystemClock.now(),
            answer: Vec::new(),
        };
        Self {
            stream,
            counts: Mutex::new(counts),
            record: AtomicU64::new(0),
            shut: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// The bytes of the answer so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.look();
        let counts = self.counts();
        let arrival = |(end, bytes): &(u64, usize)| {
            // What was read had been counted, at the latest now.
            let look = counts.looks.iter().find(|(total, ..)| total >= end);
            let (after, by) = look.map_or((counts.looked, counts.looked), |(_, after, by)| (*after, *by));
            Arrival {
                after,
                by,
                bytes: *bytes,
            }
        };
        counts.answer.iter().map(arrival).collect()
    }

    /// Asks the kernel.
    fn look(&self) {
        let mut counts = self.counts();
        let before = SystemClock.now();
        let Ok(waiting) = ioctl_fionread(&self.stream) else {
            return;
        };
        let total = counts.read + waiting;
        if counts.looks.last().is_none_or(|(last, ..)| *last < total) {
            let after = counts.looked;
            counts.looks.push((total, after, SystemClock.now()));
        }
        counts.looked = before;
    }

    /// Leaves what comes in the kernel.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// Reads on.
    pub(crate) fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
        self.waker.wake();
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        match self.shut.load(Ordering::SeqCst) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// Reads and counts in one, so that no look falls between.
    fn read(&self, to: &mut [u8]) -> io::Result<usize> {
        let mut counts = self.counts();
        let n = self.stream.try_read(to)?;
        counts.read += n as u64;
        Ok(n)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks; it ends with this.
#[derive(Debug)]
pub(crate) struct Watcher {
    taps: Arc<Mutex<Vec<Weak<Tap>>>>,
}

impl Watcher {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let taps = Arc::<Mutex<Vec<Weak<Tap>>>>::default();
        let watched = Arc::downgrade(&taps);
        std::thread::Builder::new()
            .name("tap".to_owned())
            .spawn(move || {
                // Whoever may not, looks on as everybody.
                let _ = setpriority_process(None, PRIORITY);
                while let Some(taps) = watched.upgrade() {
                    let mut alive = Vec::new();
                    taps.lock().unwrap_or_else(PoisonError::into_inner).retain(|tap| {
                        let tap = tap.upgrade();
                        alive.extend(tap.clone());
                        tap.is_some()
                    });
                    alive.iter().for_each(|tap| tap.look());
                    drop((alive, taps));
                    std::thread::sleep(LOOK);
                }
            })?;
        Ok(Self { taps })
    }

    /// A tap on this connection.
    pub(crate) fn tap(&self, stream: TcpStream) -> Arc<Tap> {
        let tap = Arc::new(Tap::new(stream));
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.push(Arc::downgrade(&tap));
        tap
    }
}

/// The socket, read one TLS record at a time.
#[derive(Debug)]
pub(crate) struct Socket {
    tap: Arc<Tap>,
    /// The head of the record under way, and how much of it has come.
    head: [u8; 5],
    got: usize,
    /// What is missing of the record's body.
    rest: usize,
}

impl Socket {
    pub(crate) fn new(tap: &Arc<Tap>) -> Self {
        Self {
            tap: Arc::clone(tap),
            head: [0; 5],
            got: 0,
            rest: 0,
        }
    }

    /// How much may be read and no byte of the next record.
    const fn wanted(&self) -> usize {
        match self.rest {
            0 => self.head.len() - self.got,
            rest => rest,
        }
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.tap.record.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if self.rest > 0 {
            self.rest -= bytes.len();
            return;
        }
        self.head[self.got..self.got + bytes.len()].copy_from_slice(bytes);
        self.got += bytes.len();
        if self.got == self.head.len() {
            let [.., high, low] = self.head;
            self.rest = u16::from_be_bytes([high, low]).into();
            self.got = 0;
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.tap.poll_open(cx));
        let most = this.wanted().min(buf.remaining());
        loop {
            ready!(this.tap.stream.poll_read_ready(cx))?;
            match this.tap.read(buf.initialize_unfilled_to(most)) {
                Ok(n) => {
                    let filled = buf.filled().len();
                    buf.advance(n);
                    this.advance(&buf.filled()[filled..]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = &self.tap.stream;
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection ends with its last tap.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What TLS gives, with an eye on HTTP/2's frames.
#[derive(Debug)]
pub(crate) struct Frames {
    tls: TlsStream<Socket>,
    tap: Arc<Tap>,
    head: Vec<u8>,
    /// What is missing of the frame under way, and whether it is DATA.
    rest: usize,
    data: bool,
}

/// Length, kind, flags and stream (RFC 9113, 4.1).
const HEAD: usize = 9;
const DATA: u8 = 0;

impl Frames {
    pub(crate) const fn new(tls: TlsStream<Socket>, tap: Arc<Tap>) -> Self {
        Self {
            tls,
            tap,
            head: Vec::new(),
            rest: 0,
            data: false,
        }
    }

    fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.rest == 0 {
                let n = (HEAD - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
                if let [a, b, c, kind, ..] = self.head[..]
                    && self.head.len() == HEAD
                {
                    self.rest = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    self.data = kind == DATA;
                    self.head.clear();
                }
            } else {
                let n = self.rest.min(bytes.len());
                if self.data {
                    let record = self.tap.record.load(Ordering::SeqCst);
                    self.tap.counts().answer.push((record, n));
                }
                self.rest -= n;
                bytes = &bytes[n..];
            }
        }
    }
}

impl AsyncRead for Frames {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.tls).poll_read(cx, buf))?;
        this.look(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Frames {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
