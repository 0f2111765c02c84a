use opentelemetry_otlp::{MetricExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};
use unefois_mesh::metrics as names;
use url::Url;

use super::{EXPORT_TIMEOUT, Error};

/// The most series that a process shows, whatever its peers send.
pub const MOST_SERIES: usize = 10_000;

/// How many sets of attributes each metric keeps; what comes after is counted together, in one set marked
/// `otel_metric_overflow`. A set is one series, and 17 in a histogram of durations.
const SETS: [(&str, usize); 8] = [
    // 500 peers, six of datatype × direction × outcome each.
    (names::EXCHANGE_COUNT, 3_000),
    (names::REFUSALS, 2_000),
    (names::RPC_SERVER_CALL_DURATION, 100),
    (names::HTTP_SERVER_REQUEST_DURATION, 60),
    (names::STAGE_DURATION, 24),
    (names::LEDGER_APPEND_DURATION, 8),
    (names::LEDGER_BATCH_SIZE, 8),
    (names::REVOCATION_EFFECT_DURATION, 8),
];
/// The same for every other counter and gauge, and for every other histogram.
const OTHER_SETS: usize = 60;
const OTHER_HISTOGRAM_SETS: usize = 4;

/// The metrics of the process, as Prometheus reads them.
#[derive(Clone, Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// The exposition format, version 0.0.4.
    ///
    /// # Errors
    /// Two metrics disagree about one name.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.gather())
    }
}

pub(super) fn provider(
    endpoint: Option<&Url>,
    resource: Resource,
) -> Result<(SdkMeterProvider, Metrics), Error> {
    let registry = Registry::new();
    let scraped = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(Error::Sdk)?;
    let mut builder = SdkMeterProvider::builder()
        .with_reader(scraped)
        .with_resource(resource)
        .with_view(bounded);
    if let Some(endpoint) = endpoint {
        let pushed = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint.as_str())
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(Error::Exporter)?;
        builder = builder.with_periodic_exporter(pushed);
    }
    Ok((builder.build(), Metrics(registry)))
}

/// The view of every instrument: its limit, and our buckets where it measures seconds.
fn bounded(instrument: &Instrument) -> Option<Stream> {
    let histogram = instrument.kind() == InstrumentKind::Histogram;
    let known = SETS.iter().find(|(name, _)| *name == instrument.name());
    let sets = match known {
        Some((_, sets)) => *sets,
        None if histogram => OTHER_HISTOGRAM_SETS,
        None => OTHER_SETS,
    };
    let stream = Stream::builder().with_cardinality_limit(sets);
    let stream = match histogram && instrument.unit() == "s" {
        true => stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries: names::DURATION_BUCKETS.to_vec(),
            record_min_max: false,
        }),
        false => stream,
    };
    Some(
        stream
            .build()
            .expect("limits are above zero and buckets in order"),
    )
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::MeterProvider as _;

    use super::*;

    const COUNTERS: [&str; 6] = [
        names::EXCHANGE_COUNT,
        names::REFUSALS,
        names::LEDGER_VERIFICATION_FAILURES,
        names::REVOCATION_STALE_TIME,
        names::RECONCILIATION_UNMATCHED,
        names::TLS_HANDSHAKES,
    ];
    const GAUGES: [&str; 7] = [
        names::LEDGER_COSIGNATURE_AGE,
        names::LEDGER_SIZE,
        names::LEDGER_QUEUE_LENGTH,
        names::CERTIFICATE_NOT_AFTER,
        names::CLOCK_OFFSET,
        names::IDENTITIES_UNREAD,
        names::READY,
    ];
    const DURATIONS: [&str; 5] = [
        names::RPC_SERVER_CALL_DURATION,
        names::HTTP_SERVER_REQUEST_DURATION,
        names::STAGE_DURATION,
        names::LEDGER_APPEND_DURATION,
        names::REVOCATION_EFFECT_DURATION,
    ];

    fn series(text: &str) -> usize {
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn five_hundred_peers_that_vary_every_label_stay_within_the_limit() {
        let (provider, metrics) = provider(None, Resource::builder_empty().build()).unwrap();
        let meter = provider.meter("unefois");
        let counters = COUNTERS.map(|name| meter.u64_counter(name).build());
        let gauges = GAUGES.map(|name| meter.f64_gauge(name).build());
        let durations = DURATIONS.map(|name| meter.f64_histogram(name).with_unit("s").build());
        let sizes = meter.u64_histogram(names::LEDGER_BATCH_SIZE).build();
        for peer in 0..500 {
            for kind in 0..20 {
                let attributes = [
                    KeyValue::new(names::PEER, format!("urn:unefois:participant:{peer}")),
                    KeyValue::new(names::DATATYPE, format!("hostile/{peer}-{kind}")),
                ];
                counters.iter().for_each(|counter| counter.add(1, &attributes));
                gauges.iter().for_each(|gauge| gauge.record(1.0, &attributes));
                durations
                    .iter()
                    .for_each(|duration| duration.record(0.001, &attributes));
                sizes.record(1, &attributes);
            }
        }
        let text = metrics.text().unwrap();
        assert!(series(&text) <= MOST_SERIES, "{} series", series(&text));
        // Nothing is lost: what overflows is counted together.
        let exchanges: f64 = text
            .lines()
            .filter(|line| line.starts_with("unefois_exchange_count_total"))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum();
        assert_eq!(exchanges, 10_000.0);
        assert!(text.contains("otel_metric_overflow=\"true\""));
    }

    #[test]
    fn durations_have_buckets_from_a_quarter_of_a_millisecond() {
        let (provider, metrics) = provider(None, Resource::builder_empty().build()).unwrap();
        let duration = provider
            .meter("unefois")
            .f64_histogram("any.duration")
            .with_unit("s")
            .build();
        duration.record(0.000_3, &[]);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("any_duration_seconds_bucket{le=\"0.00025\"} 0"),
            "{text}"
        );
        assert!(
            text.contains("any_duration_seconds_bucket{le=\"0.0005\"} 1"),
            "{text}"
        );
    }
}
