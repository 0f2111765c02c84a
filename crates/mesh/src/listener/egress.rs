//! The way out of one answer: what of it has not left yet, and how to keep it here.
//!
//! Bytes that a body gave away wait in HTTP/2 for the peer's window, then in TLS and in the kernel for the network. Each
//! piece therefore carries its own count, which ends when HTTP/2 lets go of it, written or dropped; what then still lies
//! below is known by the connection's [`Wire`].

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

use super::pace::Pace;
use super::wire::Wire;

/// The largest piece of an answer that one check lets out.
const PIECE: usize = 16 * 1024;

/// The way out of one answer, in the extensions of the request that it answers. Clones are the same.
#[derive(Clone, Debug)]
pub struct Egress(Arc<Way>);

/// The same, as its connection knows it.
pub(super) struct Way {
    wire: Arc<Wire>,
    /// The task of its stream; none over HTTP/1.
    stream: Option<Arc<Pace>>,
    held: watch::Sender<Held>,
    /// Whether anything of it may still be sent, once it is guarded.
    lasts: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    /// Whether its stream was reset while HTTP/2 had all that was left of it.
    kept_back: AtomicBool,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("stream", &self.stream)
            .field("held", &*self.held.borrow())
            .finish_non_exhaustive()
    }
}

impl Way {
    /// Whether something of it is held that may not be sent any more, and would be. Where nothing has begun, the first check
    /// decides; what is kept back does not leave, though the connection is not rid of it until it has flushed what others have
    /// to send.
    pub(super) fn is_forbidden(&self) -> bool {
        let begun = self.held.borrow().begun;
        begun && !self.is_kept_back() && !self.is_over() && self.lasts.get().is_some_and(|lasts| !lasts())
    }

    /// HTTP/2 has all that is left of it, and its stream was reset: none of that leaves.
    pub(super) fn keep_back(&self) {
        self.kept_back.store(true, Ordering::Release);
    }

    fn is_kept_back(&self) -> bool {
        self.kept_back.load(Ordering::Acquire)
    }

    /// Whether the task of its stream is still there to be reset.
    pub(super) fn has_body(&self) -> bool {
        self.held.borrow().body
    }

    /// Whether HTTP/2 sends what it has of it: its task ended by itself, before a reset could end it.
    pub(super) fn leaves(&self) -> bool {
        self.held.borrow().pieces > 0 && !self.stream.as_ref().is_some_and(|stream| stream.was_reset())
    }

    pub(super) fn is_over(&self) -> bool {
        let held = *self.held.borrow();
        self.wire.is_closed() || held.is_none() && self.wire.is_rid_of(held.turn)
    }

    pub(super) fn reset(&self) {
        match &self.stream {
            Some(stream) => stream.reset(),
            None => self.wire.cut(),
        }
    }
}

/// What is held of an answer.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Whether its body lives.
    body: bool,
    /// Whether a piece was ever on its way out.
    begun: bool,
    /// Pieces that HTTP/2 has.
    pieces: usize,
    /// The turn of the connection in which the last piece, or the body, was let go of.
    turn: u64,
}

impl Egress {
    pub(super) fn new(wire: &Arc<Wire>) -> Self {
        Self(Arc::new(Way {
            wire: Arc::clone(wire),
            stream: Pace::of_this_task(),
            held: watch::Sender::default(),
            lasts: OnceLock::new(),
            kept_back: AtomicBool::new(false),
        }))
    }

    /// The way out of the answer to `request`; `None` where it did not come over a listener.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// What lets the answer out by pieces of at most 16 KiB, each only if `check` then says so; after a piece that it
    /// keeps, nothing leaves and the stream is reset. It counts once it is in the answer's extensions.
    ///
    /// `lasts` is asked before each turn of the connection: once it says no, nothing more of the answer is sent, though it
    /// was let out. A process that was frozen may have had it for long.
    pub fn guarded(
        &self,
        check: impl Fn() -> bool + Send + Sync + 'static,
        lasts: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Passage {
        self.0.held.send_modify(|held| held.body = true);
        // Guarded twice, it is as it was the first time.
        let _first = self.0.lasts.set(Box::new(lasts)).is_ok();
        self.0.wire.watch(&self.0);
        Passage(Arc::new(Door {
            way: Arc::clone(&self.0),
            check: Box::new(check),
        }))
    }

    /// Whether a piece was, or is, on its way out. Where none is, the next check decides.
    pub fn has_begun(&self) -> bool {
        self.0.held.borrow().begun
    }

    /// Resets the stream: what waits for its peer's window is dropped. Over HTTP/1 the connection is cut.
    pub fn reset(&self) {
        self.0.reset();
    }

    /// Cuts the whole connection: what it holds does not leave, the kernel's part included.
    pub fn cut(&self) {
        self.0.wire.cut();
    }

    /// Whether the connection has something to send that the network does not take at this moment.
    pub fn waits(&self) -> bool {
        self.0.wire.waits()
    }

    /// Whether every byte of the guarded answer was sent or dropped: none is in this process, nor waits in its kernel, and
    /// none will. Where the connection is not of the mesh, the kernel's part counts as sent.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    /// Returns once [`is_over`](Self::is_over) is so.
    pub async fn over(&self) {
        let let_go = async {
            let mut held = self.0.held.subscribe();
            // The sender is here, so that there is an answer in the end.
            if let Ok(turn) = held.wait_for(Held::is_none).await.map(|held| held.turn) {
                self.0.wire.rid_of(turn).await;
            }
        };
        tokio::select! {
            () = self.0.wire.closed() => {}
            () = let_go => {}
        }
    }
}

impl Held {
    const fn is_none(&self) -> bool {
        !self.body && self.pieces == 0
    }
}

/// What a guarded answer leaves by, once it is in the answer's extensions.
#[derive(Clone)]
pub struct Passage(Arc<Door>);

struct Door {
    way: Arc<Way>,
    check: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Passage").field(&self.0.way).finish()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let turn = self.way.wire.this_turn();
        self.way.held.send_modify(|held| {
            held.body = false;
            held.turn = turn;
        });
        self.way.wire.body_ended();
    }
}

impl Passage {
    /// The same body, behind the passage.
    pub(super) fn around(self, body: Body) -> Body {
        Body::new(Guarded {
            body,
            rest: Bytes::new(),
            passage: self,
        })
    }

    /// The same bytes, counted until HTTP/2 lets go of them; `None` if they may not leave.
    fn let_out(&self, bytes: Bytes) -> Option<Bytes> {
        let way = &self.0.way;
        // Counted first: whoever closes the check and then sees no piece knows that the next is kept.
        way.held.send_modify(|held| {
            held.begun = true;
            held.pieces += 1;
        });
        let piece = Piece {
            bytes,
            way: Arc::clone(way),
        };
        (self.0.check)().then(|| Bytes::from_owner(piece))
    }
}

struct Piece {
    bytes: Bytes,
    way: Arc<Way>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let turn = self.way.wire.this_turn();
        self.way.held.send_modify(|held| {
            held.pieces -= 1;
            held.turn = turn;
        });
    }
}

struct Guarded {
    body: Body,
    /// Of the last frame, what no check has let out yet.
    rest: Bytes,
    passage: Passage,
}

impl hyper::body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let most = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(most);
        match self.passage.let_out(piece) {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => {
                Egress(Arc::clone(&self.passage.0.way)).reset();
                // The reset drops the task that asks.
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first frame, when nothing is held back.
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
