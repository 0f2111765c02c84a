use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::MatchedPath;
use http::{HeaderMap, Request, Response, header};
use hyper::body::{Frame, SizeHint};
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context as Recorded, KeyValue};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};
use unefois_core::{Boot, Clock};

use crate::{Peer, method, metrics, spans};

/// The same router, each call of which is a span and is measured until the last byte of its answer.
///
/// [`Listener::serve`](crate::Listener::serve) does it to what it serves. A gRPC call's span is named by its full
/// method, any other request's by its method and route. Of a request it reads nothing but method, matched route,
/// peer, `content-type` and `traceparent`, which becomes a link and never a parent; of an answer only the status.
pub fn measured(router: Router, clock: Arc<dyn Clock>) -> Router {
    router.layer(Measure(Arc::new(Instruments {
        rpc: metrics::duration(metrics::RPC_SERVER_CALL_DURATION),
        http: metrics::duration(metrics::HTTP_SERVER_REQUEST_DURATION),
        clock,
    })))
}

#[derive(Clone)]
struct Measure(Arc<Instruments>);

#[derive(Clone)]
struct Measured<S> {
    inner: S,
    instruments: Arc<Instruments>,
}

struct Instruments {
    rpc: Histogram<f64>,
    http: Histogram<f64>,
    clock: Arc<dyn Clock>,
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured {
            inner,
            instruments: Arc::clone(&self.0),
        }
    }
}

impl<S, B> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = Call::begin(&request, Arc::clone(&self.instruments));
        let span = call.span.clone();
        let answer = span.in_scope(|| self.inner.call(request)).instrument(span);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            call.answered(parts.status, &parts.headers);
            Ok(Response::from_parts(parts, Body::new(Answer { body, call })))
        })
    }
}

/// A call under way: recorded when dropped, whether it ended, was cut or was given up.
struct Call {
    kind: Kind,
    span: Span,
    start: Boot,
    instruments: Arc<Instruments>,
}

enum Kind {
    Rpc {
        method: &'static str,
        /// `None` until the answer says it: a call that ends before was cancelled.
        code: Option<Code>,
    },
    Http {
        method: &'static str,
        route: Option<MatchedPath>,
        status: Option<http::StatusCode>,
    },
}

impl Call {
    fn begin<B>(request: &Request<B>, instruments: Arc<Instruments>) -> Self {
        let (kind, span) = if is_grpc(request.headers()) {
            let method = method::of_path(request.uri().path());
            (Kind::Rpc { method, code: None }, rpc_span(method))
        } else {
            let method = method::of_http(request.method());
            let route = request.extensions().get::<MatchedPath>().cloned();
            let span = http_span(method, route.as_ref());
            let status = None;
            (
                Kind::Http {
                    method,
                    route,
                    status,
                },
                span,
            )
        };
        if let Some(peer) = request.extensions().get::<Peer>() {
            span.record(metrics::PEER, tracing::field::display(&peer.id));
        }
        let traceparent = request.headers().get(spans::TRACEPARENT);
        if let Some(context) = traceparent
            .and_then(|value| value.to_str().ok())
            .and_then(spans::trace_context)
        {
            span.in_scope(|| Recorded::current().span().add_link(context, Vec::new()));
        }
        Self {
            kind,
            span,
            start: instruments.clock.boottime(),
            instruments,
        }
    }

    /// Headers of the answer: they carry the status of an HTTP answer, and of a gRPC one that has no body.
    fn answered(&mut self, http: http::StatusCode, headers: &HeaderMap) {
        match &mut self.kind {
            Kind::Http { status, .. } => *status = Some(http),
            Kind::Rpc { code, .. } => *code = Status::from_header_map(headers).map(|status| status.code()),
        }
    }

    /// The end of a gRPC answer; without trailers nobody knows how it went.
    fn ended(&mut self, trailers: Option<&HeaderMap>) {
        if let Kind::Rpc {
            code: code @ None, ..
        } = &mut self.kind
        {
            let status = trailers.and_then(Status::from_header_map);
            *code = Some(status.map_or(Code::Unknown, |status| status.code()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Instruments { rpc, http, clock } = &*self.instruments;
        let micros = clock.boottime().micros_since(self.start);
        let seconds = std::time::Duration::from_micros(micros.try_into().unwrap_or(0)).as_secs_f64();
        let span = &self.span;
        match &self.kind {
            Kind::Rpc { method, code } => {
                let code = code.unwrap_or(Code::Cancelled);
                let name = name(code);
                span.record(spans::RPC_STATUS, name);
                if is_server_fault(code) {
                    span.record(spans::ERROR_TYPE, name);
                    span.record("otel.status_code", "ERROR");
                }
                let attributes = [
                    KeyValue::new(spans::RPC_SYSTEM, "grpc"),
                    KeyValue::new(spans::RPC_METHOD, *method),
                    KeyValue::new(spans::RPC_STATUS, name),
                ];
                rpc.record(seconds, &attributes);
            }
            Kind::Http {
                method,
                route,
                status,
            } => {
                let status = status.map_or(0, |status| status.as_u16());
                span.record(spans::HTTP_STATUS, status);
                if status == 0 || status >= 500 {
                    span.record("otel.status_code", "ERROR");
                }
                let route = route.as_ref().map_or(spans::OTHER, MatchedPath::as_str);
                let attributes = [
                    KeyValue::new(spans::HTTP_METHOD, *method),
                    KeyValue::new(spans::HTTP_ROUTE, route.to_owned()),
                    KeyValue::new(spans::HTTP_STATUS, i64::from(status)),
                ];
                http.record(seconds, &attributes);
            }
        }
    }
}

// Field names are literals there: `spans` holds the same, and a test compares what arrives with it.
fn rpc_span(method: &'static str) -> Span {
    info_span!(
        parent: None,
        "call",
        "otel.name" = method,
        "otel.kind" = "server",
        "otel.status_code" = Empty,
        "rpc.system.name" = "grpc",
        "rpc.method" = method,
        "rpc.response.status_code" = Empty,
        "error.type" = Empty,
        "unefois.peer" = Empty,
    )
}

fn http_span(method: &'static str, route: Option<&MatchedPath>) -> Span {
    let route = route.map_or(spans::OTHER, MatchedPath::as_str);
    info_span!(
        parent: None,
        "request",
        "otel.name" = format!("{method} {route}"),
        "otel.kind" = "server",
        "otel.status_code" = Empty,
        "http.request.method" = method,
        "http.route" = route,
        "http.response.status_code" = Empty,
        "unefois.peer" = Empty,
    )
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The name of a code in signals (gRPC, « Status codes and their use »).
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What the conventions for gRPC call an error of the server.
const fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The body of an answer, which ends the call.
struct Answer {
    body: Body,
    call: Call,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, call } = &mut *self;
        // A stream of messages is made while it is read.
        let frame = call.span.in_scope(|| Pin::new(body).poll_frame(cx));
        let frame = ready!(frame);
        match &frame {
            None => call.ended(None),
            Some(Ok(frame)) if frame.is_trailers() => call.ended(frame.trailers_ref()),
            Some(Ok(_) | Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
