use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use unefois_core::Reason;
use unefois_mesh::{Peer, status};
use unefois_proto::pb::directory::v1 as pb;
use unefois_proto::pb::directory::v1::directory_service_server::DirectoryService;

use crate::published::Published;
use crate::service::Authority;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// `DirectoryService`: the present version at once if it is newer than the one known, then each new one.
#[derive(Clone)]
pub(crate) struct WatchDirectory {
    pub(crate) published: Arc<Published>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl DirectoryService for WatchDirectory {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Peer::of(&request)?;
        let mut known = request.get_ref().known_version;
        let (out, answers) = mpsc::channel(1);
        let (published, shutdown) = (Arc::clone(&self.published), self.shutdown.clone());
        let version = published.edition().directory.version();
        if known > version {
            tracing::error!(
                version,
                known,
                "a node holds a newer directory than this authority publishes"
            );
        }
        let mut versions = published.versions();
        self.tasks.spawn(async move {
            loop {
                let edition = published.edition();
                if edition.directory.version() > known {
                    known = edition.directory.version();
                    let answer = pb::WatchResponse {
                        directory_jws: edition.jws.clone(),
                        catalogue: edition.catalogue_bytes.to_vec(),
                    };
                    if out.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = out.closed() => return,
                    () = shutdown.cancelled() => {
                        let stops = status::refused(Reason::DirectoryStale, "the authority stops");
                        let _gone = out.send(Err(stops)).await;
                        return;
                    }
                    changed = versions.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// Takes up each new version of the files, until `shutdown`; `news` runs after each.
pub(crate) async fn follow_files(
    published: Arc<Published>,
    news: impl Fn() + Send,
    shutdown: CancellationToken,
) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut seen = published.stamp();
    let mut refused = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        let stamp = published.stamp();
        if stamp == seen {
            continue;
        }
        match published.reload() {
            Ok(newer) => {
                seen = stamp;
                if newer {
                    tracing::info!(
                        version = published.edition().directory.version(),
                        "directory taken up"
                    );
                    news();
                }
            }
            // The catalogue may be written a moment after the directory that names it: look again.
            Err(error) => {
                if refused.as_ref() != Some(&stamp) {
                    tracing::warn!(
                        error = status::chain(&error),
                        "the directory's files are not taken up"
                    );
                }
                refused = Some(stamp);
            }
        }
    }
}

/// `GET /directory`: the signed directory, for whoever prefers to fetch it.
pub(crate) async fn file(State(authority): State<Arc<Authority>>) -> impl IntoResponse {
    let edition = authority.published.edition();
    ([(CONTENT_TYPE, "application/jose+json")], edition.jws.clone())
}

/// `GET /catalogue`: the compiled catalogue that the directory names.
pub(crate) async fn catalogue(State(authority): State<Arc<Authority>>) -> impl IntoResponse {
    let edition = authority.published.edition();
    (
        [(CONTENT_TYPE, "application/json")],
        edition.catalogue_bytes.clone(),
    )
}
