use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::Wire;

/// A connection's socket, below TLS: the last look before each write, with nothing but the system call after it.
///
/// Above TLS the look would be earlier by as long as TLS takes; a process may be stopped in between, and what it had let
/// out would leave once it goes on. After a write that [`Wire::stops`], nothing is written any more.
#[derive(Debug)]
pub(super) struct Socket<I> {
    io: I,
    wire: Arc<Wire>,
}

impl<I> Socket<I> {
    /// `io`, the socket of `wire`.
    pub(super) fn new(io: I, wire: &Arc<Wire>) -> Self {
        Self {
            io,
            wire: Arc::clone(wire),
        }
    }

    /// What it wraps.
    pub(super) const fn get_ref(&self) -> &I {
        &self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Socket<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Socket<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The cut wakes whoever serves the connection.
        if self.wire.stops() {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
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
        if self.wire.stops() {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;
    use hyper::rt::Write as _;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt as _;
    use tokio_util::sync::CancellationToken;

    use super::super::egress::Egress;
    use super::super::wire::{Kernel, Watched};
    use super::*;

    /// Stands for TLS, in which the process is stopped: whatever may be sent before may not be any more after it.
    struct Stopped<I> {
        io: I,
        lasts: Arc<AtomicBool>,
    }

    impl<I: AsyncRead + Unpin> AsyncRead for Stopped<I> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_read(cx, buf)
        }
    }

    impl<I: AsyncWrite + Unpin> AsyncWrite for Stopped<I> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.lasts.store(false, Ordering::SeqCst);
            Pin::new(&mut self.io).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_shutdown(cx)
        }
    }

    /// What reaches the peer of one answer, let out whole, whose process is stopped between HTTP/2 and the socket or not;
    /// and whether the connection is cut.
    async fn written(stopped: bool) -> (Vec<u8>, bool) {
        let cut = CancellationToken::new();
        let wire = Wire::new(cut.clone());
        let (mut peer, io) = tokio::io::duplex(64);
        let lasts = Arc::new(AtomicBool::new(true));
        let lasting = Arc::clone(&lasts);
        let passage = Egress::new(&wire).guarded(|| true, move || lasting.load(Ordering::SeqCst));
        let mut body = passage.around(Body::from("answer"));
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();

        let between = match stopped {
            true => lasts,
            false => Arc::default(),
        };
        let io = Stopped {
            io: Socket::new(io, &wire),
            lasts: between,
        };
        let mut io = Watched::new(TokioIo::new(io), &wire, Kernel::UNWATCHED);
        let turn = poll_fn(|cx| wire.turn(cx, |cx| Pin::new(&mut io).poll_write(cx, &piece)));
        assert_eq!(turn.now_or_never().is_some(), !stopped);
        drop(io);
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        (read, cut.is_cancelled())
    }

    #[tokio::test]
    async fn i3_what_a_process_had_let_out_as_it_was_stopped_below_http_does_not_leave() {
        assert_eq!(written(true).await, (Vec::new(), true));
        assert_eq!(written(false).await, (b"answer".to_vec(), false));
    }

    #[tokio::test]
    async fn nothing_is_written_once_the_connection_is_cut() {
        let cut = CancellationToken::new();
        let wire = Wire::new(cut.clone());
        let (mut peer, io) = tokio::io::duplex(64);
        let mut socket = Socket::new(io, &wire);
        cut.cancel();
        let write = poll_fn(|cx| Pin::new(&mut socket).poll_write(cx, b"late"));
        assert!(write.now_or_never().is_none());
        drop(socket);
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"");
    }
}
