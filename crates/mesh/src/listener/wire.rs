//! What a connection still holds of what it was given to write.
//!
//! HTTP/2, TLS and the kernel keep bytes until the next takes them, and tell nobody. But each turn of a connection, one
//! poll of it, ends either with everything flushed or with a write that waits for the socket; and a socket with
//! `TCP_NOTSENT_LOWAT` of one byte is writable only while the kernel has nothing left that it has not sent. So whoever saw
//! HTTP/2 let go of its bytes during a turn knows that they were sent once that turn, or a later one, has ended flushed and
//! the socket writable.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::egress::Way;

/// The writing side of one connection.
#[derive(Debug)]
pub(super) struct Wire {
    turns: watch::Sender<Turns>,
    /// Whether the last that this turn did was a flush after which nothing was left.
    flushed: AtomicBool,
    cut: CancellationToken,
    /// The guarded answers that it may have something of.
    answers: Mutex<Vec<Weak<Way>>>,
    /// Wakes the connection once a body has ended.
    ended: AtomicWaker,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    begun: u64,
    /// The last one that ended flushed.
    flushed: u64,
    /// Whether the last one has ended, and waits for the socket.
    waits: bool,
    closed: bool,
}

impl Wire {
    /// The wire of a connection that `cut` ends at once.
    pub(super) fn new(cut: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            turns: watch::Sender::default(),
            flushed: AtomicBool::new(false),
            cut,
            answers: Mutex::default(),
            ended: AtomicWaker::new(),
        })
    }

    /// One turn of the connection, if it holds nothing that may not be sent any more.
    pub(super) fn turn<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.keeps_back(cx) {
            return Poll::Pending;
        }
        self.flushed.store(false, Ordering::Release);
        self.turns.send_modify(|turns| {
            turns.begun += 1;
            turns.waits = false;
        });
        let polled = poll(cx);
        let flushed = self.flushed.load(Ordering::Acquire);
        self.turns.send_modify(|turns| match flushed {
            true => turns.flushed = turns.begun,
            false => turns.waits = true,
        });
        polled
    }

    /// Looks after what it holds of `answer`, from now on.
    pub(super) fn watch(&self, answer: &Arc<Way>) {
        self.answers().push(Arc::downgrade(answer));
    }

    /// The body of a guarded answer has ended.
    pub(super) fn body_ended(&self) {
        self.ended.wake();
    }

    /// Whether a turn would send what may not be sent any more. As long as all of it is in HTTP/2, its stream is reset, and
    /// the turn waits until the stream's task has ended. What lies below cannot be told apart: the connection is cut.
    fn keeps_back(&self, cx: &Context<'_>) -> bool {
        let forbidden = self.forbidden();
        if forbidden.is_empty() {
            return false;
        }
        self.ended.register(cx.waker());
        forbidden.iter().for_each(|way| way.reset());
        let Turns { begun, flushed, .. } = *self.turns.borrow();
        let below = flushed < begun;
        if !below && forbidden.iter().any(|way| way.has_body()) {
            return true;
        }
        let leaves = below || forbidden.iter().any(|way| way.leaves());
        if leaves {
            tracing::warn!("what a connection had to send may not be sent any more: it is cut");
            self.cut();
        }
        forbidden.iter().for_each(|way| way.keep_back());
        leaves
    }

    /// The answers that it may have something of, and that may not be sent any more.
    fn forbidden(&self) -> Vec<Arc<Way>> {
        let mut answers = self.answers();
        answers.retain(|answer| answer.upgrade().is_some_and(|way| !way.is_over()));
        let answers = answers.iter().filter_map(Weak::upgrade);
        answers.filter(|way| way.is_forbidden()).collect()
    }

    /// Whether nothing more may be written: the connection is cut, at this moment if something may not be sent any more
    /// that this turn does not keep back already. A process may be stopped within a turn.
    pub(super) fn stops(&self) -> bool {
        if self.cut.is_cancelled() {
            return true;
        }
        let forbidden = |way: &Weak<Way>| way.upgrade().is_some_and(|way| way.is_forbidden());
        let stops = self.answers().iter().any(forbidden);
        if stops {
            tracing::warn!("what a connection was about to send may not be sent any more: it is cut");
            self.cut();
        }
        stops
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Weak<Way>>> {
        // Each change is one call on a list.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn under way, or the last one.
    pub(super) fn this_turn(&self) -> u64 {
        self.turns.borrow().begun
    }

    /// Whether what was let go of at `turn` was sent, or is gone with the connection.
    pub(super) fn is_rid_of(&self, turn: u64) -> bool {
        self.turns.borrow().are_rid_of(turn)
    }

    /// Returns once [`is_rid_of`](Self::is_rid_of) is so.
    pub(super) async fn rid_of(&self, turn: u64) {
        let mut turns = self.turns.subscribe();
        // The sender is here: it is so, in the end.
        let _so = turns.wait_for(|turns| turns.are_rid_of(turn)).await.is_ok();
    }

    /// Whether it waits for its socket.
    pub(super) fn waits(&self) -> bool {
        self.turns.borrow().waits
    }

    /// Returns once the socket is closed.
    pub(super) async fn closed(&self) {
        let mut turns = self.turns.subscribe();
        let _so = turns.wait_for(|turns| turns.closed).await.is_ok();
    }

    /// Whether the socket is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.turns.borrow().closed
    }

    /// Ends the connection at once: what it holds does not leave.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

impl Turns {
    const fn are_rid_of(&self, turn: u64) -> bool {
        self.closed || self.flushed >= turn
    }
}

/// How the kernel's part of a connection is reached from what HTTP writes to.
pub(super) struct Kernel<I>(pub(super) fn(&I) -> Option<&TcpStream>);

impl<I> Clone for Kernel<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Kernel<I> {}

impl<I> Kernel<I> {
    /// A connection that nothing is to be kept back on.
    pub(super) const UNWATCHED: Self = Self(|_| None);
}

/// What HTTP writes to, whose writes are watched.
pub(super) struct Watched<I> {
    /// Closed before `end` says so.
    io: I,
    end: End,
    kernel: Kernel<I>,
}

struct End(Arc<Wire>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.turns.send_modify(|turns| turns.closed = true);
    }
}

impl<I> Watched<I> {
    /// `io`, which leads to the socket of `wire`.
    pub(super) fn new(io: I, wire: &Arc<Wire>, kernel: Kernel<I>) -> Self {
        if let Some(socket) = kernel.0(&io)
            && let Err(error) = SockRef::from(socket).set_tcp_notsent_lowat(1)
        {
            tracing::warn!(%error, "what the kernel holds of a connection is not known");
        }
        Self {
            io,
            end: End(Arc::clone(wire)),
            kernel,
        }
    }

    /// Wakes the connection where the kernel has something left; whether it has not.
    fn is_sent(&self, cx: &mut Context<'_>) -> bool {
        self.kernel.0(&self.io).is_none_or(|socket| poll_sent(socket, cx).is_ready())
    }

    fn flushed(&self, flushed: bool) {
        self.end.0.flushed.store(flushed, Ordering::Release);
    }
}

impl<I> Drop for Watched<I> {
    fn drop(&mut self) {
        if self.end.0.cut.is_cancelled()
            && let Some(socket) = self.kernel.0(&self.io)
            && let Err(error) = socket.set_zero_linger()
        {
            tracing::warn!(%error, "what the kernel holds of a connection that is cut may still leave");
        }
    }
}

impl<I: Read + Unpin> Read for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: Write + Unpin> Write for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.flushed(false);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.io).poll_flush(cx);
        self.flushed(matches!(flush, Poll::Ready(Ok(()))) && self.is_sent(cx));
        flush
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.flushed(false);
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
}

/// Ready once the kernel has sent all that it took, or the socket can send no more; on a socket whose `TCP_NOTSENT_LOWAT`
/// is one byte. Where that cannot be learnt, never.
fn poll_sent(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        // The kernel's word, where tokio would repeat what it heard last.
        let sent = socket.try_io(Interest::WRITABLE, || {
            let mut asked = [PollFd::new(socket, PollFlags::OUT)];
            match retry_on_intr(|| poll(&mut asked, Some(&Timespec::default())))? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match sent {
            Ok(()) => return Poll::Ready(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if ready!(socket.poll_write_ready(cx)).is_err() {
                    return Poll::Pending;
                }
            }
            Err(_) => return Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_the_kernel_holds_is_not_sent_until_its_peer_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpSocket::new_v4().unwrap();
        peer.set_recv_buffer_size(16 * 1024).unwrap();
        let mut peer = peer.connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        SockRef::from(&socket).set_tcp_notsent_lowat(1).unwrap();
        assert!(poll_fn(|cx| poll_sent(&socket, cx)).now_or_never().is_some());

        // Until the peer's kernel has no room; nothing but kernels takes part.
        let mut written = 0;
        while tokio::time::timeout(Duration::from_millis(500), socket.writable())
            .await
            .is_ok()
        {
            written += socket.try_write(&[7; 64 * 1024]).unwrap_or_default();
        }
        assert!(poll_fn(|cx| poll_sent(&socket, cx)).now_or_never().is_none());
        let mut read = vec![0; written];
        let sent = poll_fn(|cx| poll_sent(&socket, cx));
        let both = async { tokio::join!(sent, peer.read_exact(&mut read)) };
        let ((), n) = tokio::time::timeout(WAIT, both).await.unwrap();
        assert_eq!(n.unwrap(), written);
    }
}
