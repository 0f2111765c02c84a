//! How long an answer may wait for a peer that does not take it.
//!
//! hyper asks a body for a frame and only then waits for the peer's HTTP/2 window; what the window has no room for may
//! wait as long as the connection lives. Nothing in a body or a handler can tell, as neither is asked meanwhile. So each
//! stream's task runs [`paced`], and its body says when a frame was handed over and when the next is asked for: between
//! the two the frame waits. After too long the task is dropped, which resets the stream; so it is where whoever answers
//! says so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

tokio::task_local! {
    /// The pace of the stream whose task this is.
    static PACE: Arc<Pace>;
}

/// One stream's task, as its answer and its handler see it.
#[derive(Debug, Default)]
pub(super) struct Pace(watch::Sender<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Frames handed over so far.
    handed: u64,
    /// Whether the last of them may still wait: the next was not asked for.
    waits: bool,
    /// Whether it is to be reset.
    reset: bool,
    /// Whether it is: its task runs no more, and had not ended before.
    was_reset: bool,
}

impl Pace {
    /// That of the stream whose task asks; none over HTTP/1.
    pub(super) fn of_this_task() -> Option<Arc<Self>> {
        PACE.try_with(Arc::clone).ok()
    }

    /// Resets the stream.
    pub(super) fn reset(&self) {
        self.0.send_modify(|state| state.reset = true);
    }

    /// Whether the stream's task was ended by a reset, and not by itself.
    pub(super) fn was_reset(&self) -> bool {
        self.0.borrow().was_reset
    }

    /// Returns once the stream is reset: its task must not run on.
    async fn told(self: Arc<Self>) {
        let mut state = self.0.subscribe();
        let _so = state.wait_for(|state| state.reset).await.is_ok();
        self.0.send_modify(|state| state.was_reset = true);
    }

    /// Returns once a frame has waited for so long.
    async fn stalled(self: Arc<Self>, so_long: Duration) {
        let mut state = self.0.subscribe();
        loop {
            let Ok(handed) = state.wait_for(|state| state.waits).await.map(|s| s.handed) else {
                return;
            };
            let taken = state.wait_for(|state| !state.waits || state.handed != handed);
            if tokio::time::timeout(so_long, taken).await.is_err() {
                return;
            }
        }
    }
}

/// Runs a stream's task to its end, or until its peer has taken nothing for so long, or until it is to be reset.
pub(super) async fn paced(stream: impl Future, so_long: Duration) {
    let pace = Arc::<Pace>::default();
    let stalled = Arc::clone(&pace).stalled(so_long);
    let told = Arc::clone(&pace).told();
    tokio::select! {
        biased;
        () = told => {}
        _ = PACE.scope(pace, stream) => {}
        () = stalled => tracing::warn!("a peer does not take its answer: the stream is reset"),
    }
}

/// A body whose frames are watched, where the task is a stream's; over HTTP/1 the connection's age is the bound.
pub(super) fn paced_body(body: Body) -> Body {
    match Pace::of_this_task() {
        Some(pace) => Body::new(Paced {
            body,
            pace,
            last: None,
        }),
        None => body,
    }
}

struct Paced {
    body: Body,
    pace: Arc<Pace>,
    /// The last byte of a frame, held back. hyper gives a frame away as soon as there is room for one byte, and then asks
    /// for the next, or ends its task: so a frame's last byte goes by itself, and finds room once all others have.
    last: Option<Bytes>,
}

impl Paced {
    fn hand(&self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.pace.0.send_modify(|state| {
            state.handed += 1;
            state.waits = true;
        });
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(last) = self.last.take() {
            return self.hand(last);
        }
        self.pace
            .0
            .send_if_modified(|state| std::mem::take(&mut state.waits));
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            ended => return Poll::Ready(ended),
        };
        match frame.into_data() {
            Ok(mut data) => {
                if data.len() > 1 {
                    self.last = Some(data.split_off(data.len() - 1));
                }
                self.hand(data)
            }
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first frame, when nothing is held back.
        self.body.size_hint()
    }
}
