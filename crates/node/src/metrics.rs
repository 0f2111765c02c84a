//! What a node counts. Attributes are peers, datatypes, reasons and stages only.

use opentelemetry::KeyValue;
use unefois_core::{Boot, Clock, DatatypeRev, Outcome, ParticipantId, Reason};
use unefois_mesh::metrics::{DATATYPE, DIRECTION, ExchangeInstruments, OUTCOME, PEER, REASON, STAGE};

/// Which end of an exchange this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It answers.
    Out,
    /// It asks.
    In,
}

/// The instruments of one role of a node.
#[derive(Clone, Debug)]
pub struct Exchanges {
    instruments: ExchangeInstruments,
    direction: Direction,
}

impl Exchanges {
    /// The instruments of the role that has this direction.
    pub fn new(direction: Direction) -> Self {
        Self {
            instruments: ExchangeInstruments::new(),
            direction,
        }
    }

    /// One exchange ended; `datatype` only where the catalogue has it, so that peers do not invent series.
    pub fn ended(
        &self,
        peer: &ParticipantId,
        datatype: Option<&DatatypeRev>,
        outcome: Outcome,
        reason: Option<Reason>,
    ) {
        let direction = match self.direction {
            Direction::Out => "out",
            Direction::In => "in",
        };
        let datatype = datatype.map(|d| d.id().to_string()).unwrap_or_default();
        self.instruments.count.add(
            1,
            &[
                KeyValue::new(PEER, peer.to_string()),
                KeyValue::new(DATATYPE, datatype),
                KeyValue::new(DIRECTION, direction),
                KeyValue::new(OUTCOME, outcome.as_str()),
            ],
        );
        if let Some(reason) = reason {
            self.instruments
                .refusals
                .add(1, &[KeyValue::new(REASON, reason.as_str())]);
        }
    }

    /// A stage of an exchange began at `since` and ends now.
    pub fn stage(&self, stage: &'static str, since: Boot, clock: &dyn Clock) {
        let micros = u32::try_from(clock.boottime().micros_since(since)).unwrap_or_default();
        self.instruments
            .stage
            .record(f64::from(micros) / 1e6, &[KeyValue::new(STAGE, stage)]);
    }
}
