//! Every signal of a process, caught: logs, spans, metrics.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use unefois::telemetry::{self, Metrics, Telemetry};

use crate::canary::Signal;
use crate::collector::Collector;

/// The telemetry of this process, caught. One a process: a test that starts it is alone in its binary, or shares it.
#[derive(Debug)]
pub struct Captured {
    /// The telemetry itself.
    pub telemetry: Telemetry,
    /// Where its spans and metrics arrive.
    pub collector: Collector,
    logs: Logs,
    metrics: Metrics,
}

impl Captured {
    /// Starts telemetry with logs in memory, all levels of ours, and a collector in the process.
    ///
    /// # Errors
    /// It was started before.
    pub async fn start() -> anyhow::Result<Self> {
        let collector = Collector::start().await?;
        let logs = Logs::default();
        let config = telemetry::Config {
            log_filter: "trace".to_owned(),
            otlp_endpoint: Some(collector.endpoint().parse()?),
            ..telemetry::Config::default()
        };
        let telemetry = telemetry::init_to(&config, logs.clone())?;
        Ok(Self {
            metrics: telemetry.metrics(),
            telemetry,
            collector,
            logs,
        })
    }

    /// The lines logged so far.
    pub fn logs(&self) -> String {
        let bytes = self.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything so far, exports included, for a search.
    ///
    /// # Errors
    /// The last export failed, or the metrics cannot be shown.
    pub async fn signals(&self) -> anyhow::Result<Vec<Signal>> {
        self.telemetry.flush().await?;
        Ok(vec![
            Signal::new("logs", self.logs()),
            Signal::new("spans and metrics over OTLP", self.collector.text()),
            Signal::new("/metrics", self.metrics.text()?),
        ])
    }
}

#[derive(Clone, Debug, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logs {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
