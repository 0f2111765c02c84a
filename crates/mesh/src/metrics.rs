//! Names of metrics, their attributes and buckets, in one place; the few instruments that this crate feeds.
//!
//! Attributes never hold a person, a token, an exchange or a handle: peers, datatypes and reasons only.

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{KeyValue, global};

use crate::PeerRefusal;

/// Time to answer a call, seconds (OpenTelemetry RPC conventions).
pub const RPC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";
/// Time to answer an HTTP request, seconds (OpenTelemetry HTTP conventions).
pub const HTTP_SERVER_REQUEST_DURATION: &str = "http.server.request.duration";
/// Exchanges, by peer, datatype, direction and outcome.
pub const EXCHANGE_COUNT: &str = "unefois.exchange.count";
/// Refusals, by reason.
pub const REFUSALS: &str = "unefois.refusals";
/// Time spent in one stage of an exchange, seconds.
pub const STAGE_DURATION: &str = "unefois.stage.duration";
/// Time until an append is durable, seconds.
pub const LEDGER_APPEND_DURATION: &str = "unefois.ledger.append.duration";
/// Entries in one durable write.
pub const LEDGER_BATCH_SIZE: &str = "unefois.ledger.batch.size";
/// Entries of a log.
pub const LEDGER_SIZE: &str = "unefois.ledger.size";
/// Appends that wait.
pub const LEDGER_QUEUE_LENGTH: &str = "unefois.ledger.queue.length";
/// Proofs or checkpoints of others that did not verify.
pub const LEDGER_VERIFICATION_FAILURES: &str = "unefois.ledger.verification.failures";
/// Age of the last cosignature of the published head, seconds, by log and witness.
pub const LEDGER_COSIGNATURE_AGE: &str = "unefois.ledger.cosignature.age";
/// Time from a withdrawal to its effect, seconds.
pub const REVOCATION_EFFECT_DURATION: &str = "unefois.revocation.effect.duration";
/// Time spent without a fresh lease, seconds.
pub const REVOCATION_STALE_TIME: &str = "unefois.revocation.stale.time";
/// Entries that one end alone has.
pub const RECONCILIATION_UNMATCHED: &str = "unefois.reconciliation.unmatched";
/// TLS handshakes, by outcome: `accepted`, or the reason of the refusal.
pub const TLS_HANDSHAKES: &str = "unefois.tls.handshakes";
/// End of validity of a certificate or CRL, seconds since the epoch.
pub const CERTIFICATE_NOT_AFTER: &str = "unefois.certificate.not_after";
/// How far the authority's clock is from ours, seconds.
pub const CLOCK_OFFSET: &str = "unefois.clock.offset";
/// Kept identities that do not open.
pub const IDENTITIES_UNREAD: &str = "unefois.identities.unread";
/// 1 where the process can serve, otherwise 0.
pub const READY: &str = "unefois.ready";

/// Attribute: the peer's URN.
pub const PEER: &str = "unefois.peer";
/// Attribute: the datatype, `cnaf/quotient-familial`.
pub const DATATYPE: &str = "unefois.datatype";
/// Attribute: `in` or `out`.
pub const DIRECTION: &str = "unefois.direction";
/// Attribute: how it ended.
pub const OUTCOME: &str = "unefois.outcome";
/// Attribute: the reason of a refusal.
pub const REASON: &str = "unefois.reason";
/// Attribute: the stage of an exchange, as its span is called.
pub const STAGE: &str = "unefois.stage";
/// Attribute: what was withdrawn: `grant`, `client`, `client_cert`, `signing_key` or `all_before`.
pub const KIND: &str = "unefois.kind";
/// Attribute: the origin of a log.
pub const LOG: &str = "unefois.log";
/// Attribute: the name of a witness's key.
pub const WITNESS: &str = "unefois.witness";
/// Attribute: which of the roles of a process, `node` or `authority`.
pub const ROLE: &str = "unefois.role";

/// Bounds of the buckets of durations, seconds, from 0.25 ms.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The meter of everything of ours; instruments made before the exporter is installed count nothing.
pub fn meter() -> Meter {
    global::meter("unefois")
}

/// A histogram of durations in seconds.
pub fn duration(name: &'static str) -> Histogram<f64> {
    meter()
        .f64_histogram(name)
        .with_unit("s")
        .with_boundaries(DURATION_BUCKETS.to_vec())
        .build()
}

/// What nodes and the authority count of exchanges.
#[derive(Clone, Debug)]
pub struct ExchangeInstruments {
    /// [`EXCHANGE_COUNT`].
    pub count: Counter<u64>,
    /// [`REFUSALS`].
    pub refusals: Counter<u64>,
    /// [`STAGE_DURATION`].
    pub stage: Histogram<f64>,
}

impl ExchangeInstruments {
    /// The instruments, on the global meter.
    pub fn new() -> Self {
        Self {
            count: meter().u64_counter(EXCHANGE_COUNT).build(),
            refusals: meter().u64_counter(REFUSALS).build(),
            stage: duration(STAGE_DURATION),
        }
    }
}

impl Default for ExchangeInstruments {
    fn default() -> Self {
        Self::new()
    }
}

/// [`TLS_HANDSHAKES`].
pub(crate) struct Handshakes(Counter<u64>);

impl Handshakes {
    pub(crate) fn new() -> Self {
        Self(meter().u64_counter(TLS_HANDSHAKES).build())
    }

    pub(crate) fn accepted(&self) {
        self.0.add(1, &[KeyValue::new(OUTCOME, "accepted")]);
    }

    pub(crate) fn refused(&self, refusal: PeerRefusal) {
        self.0.add(1, &[KeyValue::new(OUTCOME, refusal.to_string())]);
    }
}
