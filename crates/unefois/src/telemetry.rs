//! Logs, traces and metrics of a process.
//!
//! - No signal holds a name, birth data, an identifier of a person or of an exchange, a token, a value, a header or
//!   a URL's query (invariant I6). Spans and metrics take their names from `unefois_mesh::{spans, metrics}`; other
//!   crates' logs pass from WARN up whatever the filter says, since some of them log headers below it.
//! - What a peer controls cannot make series without bound: methods and routes are ours or `_OTHER`, and each
//!   metric has a limit ([`MOST_SERIES`] in all).
//! - Metrics are always there to be scraped; traces and metrics also go to a collector where one is configured.

mod filter;
mod metrics;

use std::io;
use std::panic::PanicHookInfo;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;
use url::Url;

pub use filter::InvalidFilter;
pub use metrics::{MOST_SERIES, Metrics};

/// How long one export, and the last one, may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// `[telemetry]`: where signals go.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of this process in traces and metrics.
    pub service_name: String,
    /// The form of logs, on standard error.
    pub log_format: LogFormat,
    /// Levels of logs: `info`, or `info,unefois_node=debug`.
    pub log_filter: String,
    /// An OTLP collector that speaks gRPC, `http://127.0.0.1:4317`; traces are recorded only with one.
    #[serde(deserialize_with = "url")]
    pub otlp_endpoint: Option<Url>,
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_name: "unefois".to_owned(),
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
        }
    }
}

/// The form of logs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why telemetry does not start, or does not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `log_filter` is wrong.
    #[error("telemetry.log_filter is wrong")]
    Filter(#[source] InvalidFilter),
    /// `otlp_endpoint` has another scheme than http.
    #[error(
        "telemetry.otlp_endpoint must be http://HOST:PORT, a collector on this machine or in its network"
    )]
    Endpoint,
    /// The exporter cannot be made.
    #[error("the exporter to telemetry.otlp_endpoint cannot be made")]
    Exporter(#[source] ExporterBuildError),
    /// Two subscribers in one process.
    #[error("telemetry is already started in this process")]
    AlreadyStarted,
    /// Metrics cannot be registered, or the last export failed.
    #[error("the metrics or the last export failed")]
    Sdk(#[source] OTelSdkError),
}

/// Telemetry of the process, from [`init`] to [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    filter: filter::Handle,
    tracer: Option<SdkTracerProvider>,
    meter: SdkMeterProvider,
    metrics: Metrics,
}

/// Starts telemetry with logs on standard error, and withholds the text of panics.
///
/// Call it once, inside the runtime, before anything that counts is made: an instrument made earlier counts nothing.
///
/// # Errors
/// The configuration is wrong, or telemetry was started before.
pub fn init(config: &Config) -> Result<Telemetry, Error> {
    let telemetry = init_to(config, io::stderr)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(telemetry)
}

/// The same with logs on `writer`, and panics left as they are.
///
/// # Errors
/// As [`init`].
pub fn init_to<W>(config: &Config, writer: W) -> Result<Telemetry, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let endpoint = config.otlp_endpoint.as_ref();
    if endpoint.is_some_and(|url| url.scheme() != "http" || url.host().is_none()) {
        return Err(Error::Endpoint);
    }
    let (filter, handle) = filter::reloadable(&config.log_filter).map_err(Error::Filter)?;
    // Empty, so that no environment variable adds attributes that nobody has read.
    let resource = Resource::builder_empty()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();

    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let tracer = endpoint.map(|url| tracer(url, resource.clone())).transpose()?;
    let spans = tracer.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("unefois"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // Only ours: an exporter whose own calls were traced would never end.
            .with_filter(filter::ours())
    });
    let (meter, metrics) = metrics::provider(endpoint, resource)?;
    Registry::default()
        .with(lines.with_filter(filter))
        .with(spans)
        .try_init()
        .map_err(|_| Error::AlreadyStarted)?;
    global::set_meter_provider(meter.clone());
    Ok(Telemetry {
        filter: handle,
        tracer,
        meter,
        metrics,
    })
}

fn tracer(endpoint: &Url, resource: Resource) -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.as_str())
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(Error::Exporter)?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .build())
}

impl Telemetry {
    /// Replaces the filter of logs while the process runs.
    ///
    /// # Errors
    /// `filter` is wrong; the one in force stays.
    pub fn set_log_filter(&self, filter: &str) -> Result<(), InvalidFilter> {
        self.filter.set(filter)
    }

    /// What the admin listener serves.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Sends what is recorded so far to the collector, where there is one.
    ///
    /// # Errors
    /// The collector did not take it.
    pub async fn flush(&self) -> Result<(), Error> {
        let (tracer, meter) = (self.tracer.clone(), self.meter.clone());
        blocking(move || {
            let spans = tracer.map_or(Ok(()), |tracer| tracer.force_flush());
            meter.force_flush().and(spans)
        })
        .await
    }

    /// Sends what is left to the collector, and ends.
    ///
    /// # Errors
    /// The collector did not take it within five seconds.
    pub async fn shutdown(self) -> Result<(), Error> {
        let (tracer, meter) = (self.tracer, self.meter);
        blocking(move || {
            let spans = tracer.map_or(Ok(()), |tracer| tracer.shutdown_with_timeout(EXPORT_TIMEOUT));
            meter.shutdown_with_timeout(EXPORT_TIMEOUT).and(spans)
        })
        .await
    }
}

/// The SDK blocks the thread until its own has exported, through this runtime.
async fn blocking(run: impl FnOnce() -> Result<(), OTelSdkError> + Send + 'static) -> Result<(), Error> {
    let ran = tokio::task::spawn_blocking(run).await;
    ran.unwrap_or_else(|e| Err(OTelSdkError::InternalFailure(e.to_string())))
        .map_err(Error::Sdk)
}

/// Logs where a panic happened. Its message may quote what was being handled, and stays out of the log.
pub fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    tracing::error!(location, thread, "panic; its message is withheld");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_section_is_refused_by_name() {
        for (text, named) in [
            ("otlp = 'http://127.0.0.1:4317'", "otlp"),
            ("log_format = 'xml'", "xml"),
            ("otlp_endpoint = 'collector'", "otlp_endpoint"),
            ("log_filter = 3", "log_filter"),
        ] {
            let error = toml::from_str::<Config>(text).expect_err(text).to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn an_empty_section_is_the_default() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    }

    #[test]
    fn only_plain_grpc_collectors_are_taken() {
        for url in [
            "https://collector:4317",
            "unix:/run/otel.sock",
            "grpc://collector:4317",
        ] {
            let config = Config {
                otlp_endpoint: Some(url.parse().unwrap()),
                ..Config::default()
            };
            assert!(
                matches!(init_to(&config, io::sink), Err(Error::Endpoint)),
                "{url}"
            );
        }
    }

    #[test]
    fn a_wrong_filter_does_not_start() {
        let config = Config {
            log_filter: "inof".to_owned(),
            ..Config::default()
        };
        assert!(matches!(init_to(&config, io::sink), Err(Error::Filter(_))));
    }
}
