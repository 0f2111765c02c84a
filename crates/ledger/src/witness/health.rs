//! How old the cosignatures of a log are: what alarms are made of.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use unefois_core::{Clock, Micros};
use unefois_mesh::metrics;

use super::Asked;

/// After how many periods without a cosignature somebody must look.
const PERIODS: i64 = 3;

/// When each witness cosigned last; told as the metric `unefois.ledger.cosignature.age`.
#[derive(Debug)]
pub struct Cosigned {
    clock: Arc<dyn Clock>,
    alarm_ms: i64,
    witnesses: Arc<Mutex<Vec<Row>>>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// When it cosigned last; before it ever did, when it was first asked.
    at: Option<Micros>,
    contradicts: bool,
}

impl Cosigned {
    pub(crate) fn new(origin: &str, clock: &Arc<dyn Clock>, period: Duration, witnesses: &[Asked]) -> Self {
        let rows = witnesses.iter().map(|witness| Row {
            name: witness.name().to_owned(),
            at: witness.cosigned_at(),
            contradicts: false,
        });
        let rows = Arc::new(Mutex::new(rows.collect::<Vec<_>>()));
        let (gauged, at) = (Arc::clone(&rows), Arc::clone(clock));
        let log = KeyValue::new(metrics::LOG, origin.to_owned());
        metrics::meter()
            .f64_observable_gauge(metrics::LEDGER_COSIGNATURE_AGE)
            .with_unit("s")
            .with_callback(move |age| {
                let now = at.now();
                for row in gauged.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    let Some(at) = row.at else { continue };
                    let s = Duration::from_millis(u64::try_from(now.ms_since(at)).unwrap_or(0));
                    let witness = KeyValue::new(metrics::WITNESS, row.name.clone());
                    age.observe(s.as_secs_f64(), &[log.clone(), witness]);
                }
            })
            .build();
        let period_ms = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
        Self {
            clock: Arc::clone(clock),
            alarm_ms: period_ms.saturating_mul(PERIODS),
            witnesses: rows,
        }
    }

    pub(crate) fn note(&self, witnesses: &[Asked]) {
        let now = self.clock.now();
        let mut rows = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        for (row, witness) in rows.iter_mut().zip(witnesses) {
            row.at = witness.cosigned_at().or(row.at).or(Some(now));
            row.contradicts = witness.contradicts();
        }
        drop(rows);
        if let Some(alarm) = self.alarm() {
            tracing::error!(alarm, "the log's head wants a look");
        }
    }

    /// What somebody must look at, if anything: no witness cosigned for three periods, or one holds a head that the
    /// log does not have. Releases go on.
    pub fn alarm(&self) -> Option<&'static str> {
        let rows = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let last = rows.iter().filter_map(|row| row.at).max()?;
        match () {
            () if rows.iter().any(|row| row.contradicts) => {
                Some("a witness holds a head that this log does not have")
            }
            () if now.ms_since(last) > self.alarm_ms => Some("no witness has cosigned for three periods"),
            () => None,
        }
    }
}
