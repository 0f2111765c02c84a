//! Exactly one person, or one refusal that says nothing: nobody and several look the same, in words and in time.

use std::time::Duration;

use tracing::Instrument as _;
use unefois_core::{Boot, Clock};
use unefois_mesh::spans;

use super::source::{Answer, Failure, Question, Source};

/// An unresolved answer leaves at the next multiple of this after its call arrived.
const STEP: Duration = Duration::from_millis(250);

/// Asks the source, within the time that it is allowed.
///
/// # Errors
/// [`Failure`]; a source that outstays its time is [`Failure::Timeout`].
pub(super) async fn resolve(source: &dyn Source, question: &Question<'_>) -> Result<Answer, Failure> {
    let call = source
        .ask(question)
        .instrument(tracing::info_span!(spans::SOURCE_CALL));
    tokio::time::timeout(question.within, call)
        .await
        .unwrap_or(Err(Failure::Timeout))
}

/// How long an unresolved answer still has to wait, so that its time tells nothing of the source's work.
pub(super) fn until_next_step(arrived: Boot, now: Boot) -> Duration {
    let step = STEP.as_micros();
    let elapsed = u128::from(now.micros_since(arrived).max(0).unsigned_abs());
    let wait = (step - elapsed % step) % step;
    Duration::from_micros(u64::try_from(wait).unwrap_or_default())
}

/// Waits for the next step after `arrived`.
pub(super) async fn wait_for_next_step(arrived: Boot, clock: &dyn Clock) {
    #[expect(clippy::disallowed_methods, reason = "what is waited for is the time itself")]
    tokio::time::sleep(until_next_step(arrived, clock.boottime())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unresolved_answer_leaves_on_a_step() {
        let arrived = Boot::new(10_000_000);
        for (elapsed_us, wait_us) in [
            (0, 0),
            (1, 249_999),
            (249_999, 1),
            (250_000, 0),
            (260_000, 240_000),
            (-5, 0),
        ] {
            let now = Boot::new(10_000_000 + elapsed_us);
            assert_eq!(
                until_next_step(arrived, now),
                Duration::from_micros(wait_us),
                "{elapsed_us}"
            );
        }
    }
}
