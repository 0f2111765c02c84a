//! A source that answers as it is told to.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What it answers: status, a header, body.
type Answer = (StatusCode, [(&'static str, String); 1], String);

/// The source; it ends with this.
pub(crate) struct Source {
    pub(crate) port: u16,
    answer: Arc<Mutex<Answer>>,
    _serving: AbortOnDropHandle<()>,
}

impl Source {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = (StatusCode::NOT_FOUND, [("x-none", String::new())], String::new());
        let answer = Arc::new(Mutex::new(answer));
        let router = Router::new().fallback(told).with_state(Arc::clone(&answer));
        let serving = async move { axum::serve(listener, router).await.unwrap() };
        let serving = tokio_util::task::TaskTracker::new().spawn(serving);
        Self {
            port,
            answer,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// From now on it answers this.
    pub(crate) fn answers(&self, status: u16, header: (&'static str, String), body: String) {
        let status = StatusCode::from_u16(status).unwrap();
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, [header], body);
    }
}

async fn told(State(answer): State<Arc<Mutex<Answer>>>) -> Response {
    let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    answer.into_response()
}
