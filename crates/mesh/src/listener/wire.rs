//! What a connection still holds of what it was given to write.
//!
//! HTTP/2 and TLS keep bytes until the socket takes them, and tell nobody. But each turn of a connection, one poll of it,
//! ends either with everything flushed or with a write that waits for the socket. So whoever saw HTTP/2 let go of its bytes
//! during a turn knows that they are in the kernel once that turn, or a later one, has ended flushed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The writing side of one connection.
#[derive(Debug)]
pub(super) struct Wire {
    turns: watch::Sender<Turns>,
    /// Whether the last that this turn did was a flush that ended.
    flushed: AtomicBool,
    cut: CancellationToken,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    begun: u64,
    /// The last one that ended flushed.
    flushed: u64,
    closed: bool,
}

impl Wire {
    /// The wire of a connection that `cut` ends at once.
    pub(super) fn new(cut: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            turns: watch::Sender::default(),
            flushed: AtomicBool::new(false),
            cut,
        })
    }

    /// One turn of the connection.
    pub(super) fn turn<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.flushed.store(false, Ordering::Release);
        self.turns.send_modify(|turns| turns.begun += 1);
        let polled = poll();
        if self.flushed.load(Ordering::Acquire) {
            self.turns.send_modify(|turns| turns.flushed = turns.begun);
        }
        polled
    }

    /// The turn under way, or the last one.
    pub(super) fn this_turn(&self) -> u64 {
        self.turns.borrow().begun
    }

    /// Whether what was let go of at `turn` is in the kernel, or gone with the connection.
    pub(super) fn is_rid_of(&self, turn: u64) -> bool {
        self.turns.borrow().are_rid_of(turn)
    }

    /// Returns once [`is_rid_of`](Self::is_rid_of) is so.
    pub(super) async fn rid_of(&self, turn: u64) {
        let mut turns = self.turns.subscribe();
        // The sender is here: it is so, in the end.
        let _so = turns.wait_for(|turns| turns.are_rid_of(turn)).await.is_ok();
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

/// A connection's socket, whose writes are watched.
pub(super) struct Watched<I> {
    /// Closed before `end` says so.
    io: I,
    end: End,
    /// Makes the kernel forget what it has not sent yet.
    forget: fn(&I),
}

struct End(Arc<Wire>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.turns.send_modify(|turns| turns.closed = true);
    }
}

impl<I> Watched<I> {
    /// `io`, the socket of `wire`; a cut ends with `forget`.
    pub(super) fn new(io: I, wire: &Arc<Wire>, forget: fn(&I)) -> Self {
        Self {
            io,
            end: End(Arc::clone(wire)),
            forget,
        }
    }

    fn flushed(&self, flushed: bool) {
        self.end.0.flushed.store(flushed, Ordering::Release);
    }
}

impl<I> Drop for Watched<I> {
    fn drop(&mut self) {
        if self.end.0.cut.is_cancelled() {
            (self.forget)(&self.io);
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
        self.flushed(matches!(flush, Poll::Ready(Ok(()))));
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
