//! A source that answers when the test lets it.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use unefois_node::Config;
use unefois_node::producer::source::http::{CallMethod, HttpConfig};

/// Answers 900 to whoever asks, once for each time that it is let.
pub(crate) struct HeldSource {
    /// Told of each question.
    pub(crate) asked: Arc<Notify>,
    /// Lets one answer go.
    pub(crate) answer: Arc<Notify>,
    url: String,
}

impl HeldSource {
    pub(crate) async fn new() -> Self {
        let (asked, answer) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let (tell, told) = (Arc::clone(&asked), Arc::clone(&answer));
        let source = move || async move {
            tell.notify_one();
            told.notified().await;
            r#"{"data":{"montant":900}}"#
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let url = format!("http://{}/", socket.local_addr().expect("an address"));
        let routes = Router::new().route("/", get(source));
        TaskTracker::new().spawn(async move { axum::serve(socket, routes).await });
        Self { asked, answer, url }
    }

    /// Is the source of the first datatype that the node produces.
    pub(crate) fn serve(&self, config: &mut Config) {
        let produce = &mut config.producer.as_mut().expect("a producer").produce[0];
        produce.sandbox = None;
        produce.http = Some(HttpConfig {
            url: self.url.clone(),
            method: CallMethod::Get,
            ca: None,
            header: None,
            timeout_ms: 2_000,
        });
    }
}
