//! Exactly one person, or one refusal that says nothing: nobody and several look the same, in words and in time.

use std::time::Duration;

use tracing::Instrument as _;
use unefois_core::catalogue::{Birthplace, DatatypeSheet};
use unefois_core::{Boot, Capacity, Clock, Cog, Pivot, SealedSubject};
use unefois_mesh::spans;

use super::source::{Answer, Failure, Question, Source};

/// An unresolved answer leaves at the next multiple of this after its call arrived.
const STEP: Duration = Duration::from_millis(250);

/// Whether an identity may be matched at all: where no login of the person stands behind it, its date of birth is whole,
/// and its place known wherever the datatype goes by it.
pub(super) fn is_strict_enough(subject: &SealedSubject, sheet: &DatatypeSheet, capacity: Capacity) -> bool {
    let absent = match capacity {
        Capacity::Agent | Capacity::Automatic => true,
        Capacity::SelfPerson | Capacity::Child | Capacity::Entity | Capacity::Helper => false,
    };
    let strict = |person: &Pivot| {
        let in_france = person.birthcountry.as_ref().is_some_and(Cog::is_france);
        let place = sheet.pivot.birthplace == Birthplace::IfFrance && in_france;
        person.birthdate.day().is_some() && (!place || person.birthplace.is_some())
    };
    match subject {
        SealedSubject::Person(person) => !absent || strict(person),
        SealedSubject::Child { child, .. } => !absent || strict(child),
        SealedSubject::Entity(_) => true,
    }
}

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
    fn whom_no_login_shows_is_matched_by_a_whole_date_and_place() {
        let sheet = |birthplace| {
            let mut sheet = super::super::source::tests::catalogue()
                .datatype(&"cnaf/revenu@1".parse().unwrap())
                .unwrap()
                .sheet()
                .clone();
            sheet.pivot.birthplace = birthplace;
            sheet
        };
        let person = |birthdate: &str, place: Option<&str>| {
            SealedSubject::Person(Pivot {
                family_name: "EXEMPLE".into(),
                given_names: vec!["Camille".into()],
                birthdate: birthdate.parse().unwrap(),
                gender: unefois_core::Gender::Female,
                birthplace: place.map(|place| place.parse().unwrap()),
                birthcountry: Some("99100".parse().unwrap()),
                preferred_username: None,
            })
        };
        let by_place = sheet(Birthplace::IfFrance);
        for (who, strict) in [
            (person("1980-04-00", Some("75107")), false),
            (person("1980", Some("75107")), false),
            (person("1980-04-01", None), false),
            (person("1980-04-01", Some("75107")), true),
        ] {
            for capacity in Capacity::ALL {
                let absent = matches!(capacity, Capacity::Agent | Capacity::Automatic);
                assert_eq!(is_strict_enough(&who, &by_place, *capacity), strict || !absent);
            }
        }
        let never = sheet(Birthplace::Never);
        assert!(is_strict_enough(
            &person("1980-04-01", None),
            &never,
            Capacity::Agent
        ));
    }

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
