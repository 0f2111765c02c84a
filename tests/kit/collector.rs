//! A collector of OpenTelemetry signals inside the process.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

/// What was exported to it so far. It stops when the last copy is dropped.
#[derive(Clone, Debug)]
pub struct Collector {
    endpoint: String,
    received: Arc<Received>,
    _stop: Arc<DropGuard>,
}

#[derive(Debug, Default)]
struct Received {
    traces: Mutex<Vec<ExportTraceServiceRequest>>,
    metrics: Mutex<Vec<ExportMetricsServiceRequest>>,
}

impl Collector {
    /// Starts one on a free port of loopback.
    pub async fn start() -> anyhow::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", socket.local_addr()?);
        let received = Arc::<Received>::default();
        let stop = CancellationToken::new();
        let served = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Sink(Arc::clone(&received))))
            .add_service(MetricsServiceServer::new(Sink(Arc::clone(&received))))
            .serve_with_incoming_shutdown(TcpListenerStream::new(socket), stop.clone().cancelled_owned());
        TaskTracker::new().spawn(served);
        Ok(Self {
            endpoint,
            received,
            _stop: Arc::new(stop.drop_guard()),
        })
    }

    /// What `telemetry.otlp_endpoint` names it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Every span received.
    pub fn spans(&self) -> Vec<Span> {
        let traces = self
            .received
            .traces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let resources = traces.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.iter().cloned()).collect()
    }

    /// All that was received, as text.
    pub fn text(&self) -> String {
        let traces = self
            .received
            .traces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let metrics = self
            .received
            .metrics
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        format!("{traces:?}\n{metrics:?}")
    }
}

/// The text of an attribute of a span; `None` where it is absent or no text.
pub fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

struct Sink(Arc<Received>);

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut traces = self.0.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut metrics = self.0.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
