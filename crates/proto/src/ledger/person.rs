use unefois_core::subject_request::is_motive;
use unefois_core::{EntryFilter, ParticipantId};

use super::filter;
use crate::InvalidMessage;
use crate::invalid::Check;
use crate::pb::ledger::v1 as pb;

/// The sealed identities of a question about one person, in the order given.
///
/// # Errors
/// None or more than 16, or one that is longer than a sealed identity is.
pub fn identities(message: &pb::PersonHistoryRequest) -> Result<&[String], InvalidMessage> {
    const MAX: usize = 16;
    const MAX_BYTES: usize = 4 * 1024;
    let mut check = Check::default();
    if !(1..=MAX).contains(&message.identities.len()) {
        check.wrong("identities", format_args!("1 to {MAX} identities"));
    }
    for (i, sealed) in message.identities.iter().enumerate().take(MAX) {
        if sealed.len() > MAX_BYTES {
            check.wrong(
                format!("identities[{i}]"),
                format_args!("at most {MAX_BYTES} bytes"),
            );
        }
    }
    check.finish(Some(message.identities.as_slice()))
}

/// Which of the entries about a person are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonPart {
    /// All of them.
    All,
    /// Those that are known to concern the person.
    Theirs,
    /// Those that may be a namesake's.
    Near,
}

/// The part that a question about one person asks for.
///
/// # Errors
/// One that is not known here.
pub fn person_part(message: &pb::PersonHistoryRequest) -> Result<PersonPart, InvalidMessage> {
    let mut check = Check::default();
    let part = match pb::PersonHistoryPart::try_from(message.part) {
        Ok(pb::PersonHistoryPart::Unspecified) => Some(PersonPart::All),
        Ok(pb::PersonHistoryPart::Theirs) => Some(PersonPart::Theirs),
        Ok(pb::PersonHistoryPart::Near) => Some(PersonPart::Near),
        Err(_) => {
            check.wrong("part", format_args!("a part of a history"));
            None
        }
    };
    check.finish(part)
}

/// A checked question of how many people entries concern.
#[derive(Clone, Debug)]
pub struct CountPersonsCall {
    /// Which entries: those of one participant or publisher, over whole days.
    pub filter: EntryFilter,
    /// Why it is asked.
    pub purpose: String,
    /// In whose logs; `None` where the process is to write those of one participant alone.
    pub participant: Option<ParticipantId>,
}

impl TryFrom<pb::CountPersonsRequest> for CountPersonsCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::CountPersonsRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        if !message.places.is_empty() {
            check.wrong("places", "empty: people are counted by a filter");
        }
        if !is_motive(&message.purpose) {
            check.wrong("purpose", "one line of 1 to 512 bytes");
        }
        let filter = filter(&mut check, message.filter);
        if let Some(filter) = &filter {
            countable(&mut check, filter);
        }
        let participant = check.optional("participant", &message.participant);
        check.finish(filter.map(|filter| Self {
            filter,
            purpose: message.purpose,
            participant,
        }))
    }
}

/// Notes what of `filter` is not a question about a participant over whole days: whoever could narrow it to entries of
/// its choice would learn from the numbers which of them are about the same person.
fn countable(check: &mut Check, filter: &EntryFilter) {
    const DAY: i64 = 24 * 3_600 * 1_000_000;
    let allowed = EntryFilter {
        from: filter.from,
        to: filter.to,
        party: filter.party,
        publisher: filter.publisher,
        datatype: filter.datatype.clone(),
        ..EntryFilter::default()
    };
    if *filter != allowed {
        check.wrong("filter", "party or publisher, datatype, from_us and to_us alone");
    }
    if filter.party.is_some() == filter.publisher.is_some() {
        check.wrong("filter.party", "a participant, either here or as the publisher");
    }
    for (field, at) in [("filter.from_us", filter.from), ("filter.to_us", filter.to)] {
        if at.is_some_and(|at| at.get().rem_euclid(DAY) != 0) {
            check.wrong(field, "midnight UTC");
        }
    }
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && from >= to
    {
        check.wrong("filter.to_us", "after from_us");
    }
}
