use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use unefois_core::{Boot, Clock};

use crate::PeerRefusal;
use crate::tls;
use crate::trust::Admission;

/// How long one judgement of the server holds where nothing changed: a CRL or a certificate may end meanwhile.
const JUDGE_EVERY_MICROS: i64 = 30_000_000;

/// A client's connection, which breaks before the next byte once its server would no longer be accepted.
pub(crate) struct Link {
    /// hyper-rustls's type, for it says that HTTP/2 was negotiated.
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    chain: Vec<CertificateDer<'static>>,
    admission: Admission,
    clock: Arc<dyn Clock>,
    changes: watch::Receiver<u64>,
    judged: Boot,
}

impl Link {
    /// A link to the server that showed `chain`.
    pub(crate) fn new(
        stream: MaybeHttpsStream<TokioIo<TcpStream>>,
        chain: Vec<CertificateDer<'static>>,
        admission: Admission,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            changes: admission.trust.changes(),
            // Trust may have changed since the handshake: the first poll judges.
            judged: Boot::new(i64::MIN),
            stream,
            chain,
            admission,
            clock,
        }
    }

    fn judge(&mut self) -> io::Result<()> {
        let now = self.clock.boottime();
        let changed = self.changes.has_changed().unwrap_or(false);
        if !changed && now.micros_since(self.judged) < JUDGE_EVERY_MICROS {
            return Ok(());
        }
        self.changes.mark_unchanged();
        let (leaf, intermediates) = self
            .chain
            .split_first()
            .ok_or_else(|| io::Error::other(PeerRefusal::NoCertificate))?;
        match self
            .admission
            .admit(leaf, intermediates, tls::unix_time(&*self.clock))
        {
            Ok(_) => {
                self.judged = now;
                Ok(())
            }
            Err(refusal) => {
                // Every later poll must judge again, and fail again.
                self.judged = Boot::new(i64::MIN);
                Err(io::Error::other(refusal))
            }
        }
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() {
            // After the read: what arrived meanwhile is dropped with the connection.
            this.judge()?;
        }
        read
    }
}

impl Write for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.judge()?;
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
