use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connector::{ConnectError, Dial, Target};

const IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An HTTPS client for one participant, by mutual TLS and HTTP/2: the back channel to the authority.
///
/// It follows no redirect, and keeps no cookie.
#[derive(Clone, Debug)]
pub struct HttpsClient {
    client: Client<Dial, Full<Bytes>>,
    target: Target,
}

/// The answer to a request, whatever its status.
#[derive(Clone, Debug)]
pub struct HttpsResponse {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, whole.
    pub body: Bytes,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The URL is not an https one of the participant's address.
    #[error("the URL is not one of https://{0}")]
    ForeignUrl(Authority),
    /// There was no connection.
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The exchange broke off.
    #[error("the exchange broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is larger than was allowed.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer did not come within the deadline.
    #[error("the answer did not come in time")]
    Deadline,
}

impl HttpsError {
    /// What is wrong with the connection, where that is the cause: it names the peer and says what to check.
    pub fn connect_error(&self) -> Option<&ConnectError> {
        ConnectError::in_chain(self)
    }
}

impl HttpsClient {
    pub(crate) fn new(dial: Dial, target: Target) -> Self {
        let mut builder: Builder = Client::builder(TokioExecutor::new());
        builder
            .http2_only(true)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE);
        Self {
            client: builder.build(dial),
            target,
        }
    }

    /// Sends one request and reads its answer whole, within `deadline` and at most `max_bytes` of body.
    pub async fn request(
        &self,
        method: Method,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
        max_bytes: usize,
    ) -> Result<HttpsResponse, HttpsError> {
        if url.scheme_str() != Some("https") || url.authority() != Some(&self.target.authority) {
            return Err(HttpsError::ForeignUrl(self.target.authority.clone()));
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers;
        tokio::time::timeout(deadline, answer(&self.client, request, max_bytes))
            .await
            .unwrap_or(Err(HttpsError::Deadline))
    }
}

/// Sends a request and reads its answer whole.
pub(crate) async fn answer<C>(
    client: &Client<C, Full<Bytes>>,
    request: Request<Full<Bytes>>,
    max_bytes: usize,
) -> Result<HttpsResponse, HttpsError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let response = client
        .request(request)
        .await
        .map_err(|error| match error.is_connect() {
            true => HttpsError::Connect(error.into()),
            false => HttpsError::Broken(error.into()),
        })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, max_bytes).collect().await.map_err(|error| {
        match error.is::<LengthLimitError>() {
            true => HttpsError::TooLarge,
            false => HttpsError::Broken(error),
        }
    })?;
    Ok(HttpsResponse {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
    })
}
