mod person;

use std::collections::BTreeSet;

use unefois_core::{EntryFilter, Event, Handle, Micros, PeerMatch, is_hidden};

pub use self::person::{CountPersonsCall, PersonPart, identities, person_part};
use crate::InvalidMessage;
use crate::invalid::Check;
use crate::pb::ledger::v1 as pb;

/// The handles of a History request: 1 to 64, 16 bytes each.
///
/// # Errors
/// [`InvalidMessage`] names the field.
pub fn handles(message: &pb::HistoryRequest) -> Result<Vec<Handle>, InvalidMessage> {
    const MAX: usize = 64;
    let mut check = Check::default();
    if !(1..=MAX).contains(&message.handles.len()) {
        check.wrong("handles", format_args!("1 to {MAX} handles"));
        return check.finish(None);
    }
    let handle = |(i, bytes): (usize, &Vec<u8>)| check.bytes(&format!("handles[{i}]"), bytes);
    let handles: Vec<Handle> = message
        .handles
        .iter()
        .enumerate()
        .filter_map(handle)
        .map(Handle::from_bytes)
        .collect();
    check.finish(Some(handles))
}

/// Longest reason for asking, in bytes.
const MAX_PURPOSE_BYTES: usize = 512;
/// Longest cursor that is read, in bytes.
const MAX_CURSOR_BYTES: usize = 8 * 1_024;
/// The most entries that are proved at once, and the most rows of a page.
pub const MAX_ROWS: u32 = 1_000;

/// A checked search.
#[derive(Clone, Debug)]
pub struct SearchCall {
    /// The log; empty where the process writes one.
    pub origin: String,
    /// How many rows at most, 1 to [`MAX_ROWS`].
    pub limit: u32,
    /// Which page.
    pub page: SearchPage,
}

/// Which page of a search is asked for.
#[derive(Clone, Debug)]
pub enum SearchPage {
    /// The first one.
    First {
        /// Which entries.
        filter: Box<EntryFilter>,
        /// Whether the latest come first.
        newest_first: bool,
        /// The size to search; `None` for the present head.
        size: Option<u64>,
        /// A size seen before; 0 for none.
        known_size: u64,
        /// Why it is asked; may be empty.
        purpose: String,
    },
    /// The one after the page that gave this cursor, unverified.
    Next(Vec<u8>),
}

impl TryFrom<pb::SearchRequest> for SearchCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::SearchRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        if message.limit == 0 {
            check.wrong("limit", "at least 1");
        }
        let limit = message.limit.min(MAX_ROWS);
        if !message.cursor.is_empty() {
            let alone = pb::SearchRequest {
                limit: message.limit,
                cursor: message.cursor.clone(),
                ..pb::SearchRequest::default()
            };
            if message != alone {
                check.wrong("cursor", "alone with the limit: the query is the first page's");
            }
            if message.cursor.len() > MAX_CURSOR_BYTES {
                check.wrong("cursor", "as it was given");
            }
            let page = SearchPage::Next(message.cursor);
            let origin = String::new();
            return check.finish(Some(Self { origin, limit, page }));
        }
        let newest_first = match message.order() {
            pb::Order::NewestFirst => true,
            pb::Order::OldestFirst => false,
            pb::Order::Unspecified => {
                check.wrong("order", "oldest first or newest first");
                false
            }
        };
        let filter = filter(&mut check, message.filter);
        let purpose = purpose(&mut check, message.purpose);
        let page = filter.zip(purpose).map(|(filter, purpose)| SearchPage::First {
            filter: Box::new(filter),
            newest_first,
            size: (message.size > 0).then_some(message.size),
            known_size: message.known_size,
            purpose,
        });
        let origin = message.origin;
        check.finish(page.map(|page| Self { origin, limit, page }))
    }
}

/// Checked places to prove.
#[derive(Clone, Debug)]
pub struct ProofCall {
    /// The log; empty where the process writes one.
    pub origin: String,
    /// The places, growing, 1 to [`MAX_ROWS`].
    pub indexes: Vec<u64>,
    /// The size to prove them in; `None` for the present head.
    pub size: Option<u64>,
    /// A size seen before; 0 for none.
    pub known_size: u64,
    /// Why it is asked; may be empty.
    pub purpose: String,
}

impl TryFrom<pb::GetProofRequest> for ProofCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::GetProofRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let places = &message.indexes;
        let some = (1..=MAX_ROWS as usize).contains(&places.len());
        if !some || !places.is_sorted_by(|a, b| a < b) {
            check.wrong("indexes", format_args!("1 to {MAX_ROWS} places, growing"));
        }
        let purpose = purpose(&mut check, message.purpose);
        check.finish(purpose.map(|purpose| Self {
            origin: message.origin,
            indexes: message.indexes,
            size: (message.size > 0).then_some(message.size),
            known_size: message.known_size,
            purpose,
        }))
    }
}

/// A checked watch.
#[derive(Clone, Debug)]
pub struct WatchCall {
    /// The log; empty where the process writes one.
    pub origin: String,
    /// Which entries.
    pub filter: EntryFilter,
    /// The first place looked at; `None` for what comes from now on.
    pub from: Option<u64>,
    /// A size seen before; 0 for none.
    pub known_size: u64,
    /// Why it is asked; may be empty.
    pub purpose: String,
}

impl TryFrom<pb::WatchRequest> for WatchCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::WatchRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let filter = filter(&mut check, message.filter);
        let purpose = purpose(&mut check, message.purpose);
        check.finish(filter.zip(purpose).map(|(filter, purpose)| Self {
            origin: message.origin,
            filter,
            from: message.from,
            known_size: message.known_size,
            purpose,
        }))
    }
}

/// Why entries are read in order, as the request for a page of them says it.
///
/// # Errors
/// [`InvalidMessage`] names the field.
pub fn reading_purpose(message: &pb::ListEntriesRequest) -> Result<String, InvalidMessage> {
    let mut check = Check::default();
    if message.reading.len() > MAX_CURSOR_BYTES {
        check.wrong("reading", "as it was given");
    }
    let purpose = purpose(&mut check, message.purpose.clone());
    check.finish(purpose)
}

/// One line of text within its limit: it is kept as it was written, in a record of lines.
fn purpose(check: &mut Check, text: String) -> Option<String> {
    if text.len() <= MAX_PURPOSE_BYTES && !text.chars().any(is_hidden) {
        return Some(text);
    }
    check.wrong(
        "purpose",
        format_args!("one line of at most {MAX_PURPOSE_BYTES} bytes"),
    );
    None
}

/// The filter of a message, or noted violations.
fn filter(check: &mut Check, message: Option<pb::EntryFilter>) -> Option<EntryFilter> {
    const MAX_EVENTS: usize = Event::ALL.len();
    let message = message.unwrap_or_default();
    let peer = match message.peer() {
        pb::PeerMatch::Unspecified => None,
        pb::PeerMatch::Confirmed => Some(PeerMatch::Confirmed),
        pb::PeerMatch::Unconfirmed => Some(PeerMatch::Unconfirmed),
    };
    if pb::PeerMatch::try_from(message.peer).is_err() {
        check.wrong("filter.peer", "confirmed or unconfirmed");
    }
    let mut events = BTreeSet::new();
    if message.events.len() > MAX_EVENTS {
        check.wrong("filter.events", format_args!("at most {MAX_EVENTS} events"));
    } else {
        let parsed = message.events.iter().enumerate();
        events.extend(
            parsed.filter_map(|(i, event)| check.parse::<Event>(&format!("filter.events[{i}]"), event)),
        );
    }
    Some(EntryFilter {
        from: message.from_us.map(Micros::new),
        to: message.to_us.map(Micros::new),
        requester: check.optional("filter.requester", &message.requester),
        provider: check.optional("filter.provider", &message.provider),
        party: check.optional("filter.party", &message.party),
        holder: check.optional("filter.holder", &message.holder),
        publisher: check.optional("filter.publisher", &message.publisher),
        datatype: check.optional("filter.datatype", &message.datatype),
        demarche: check.optional("filter.demarche", &message.demarche),
        habilitation: check.optional("filter.habilitation", &message.habilitation),
        legal_basis: check.optional("filter.legal_basis", &message.legal_basis),
        capacity: check.optional("filter.capacity", &message.capacity),
        acr: check.optional("filter.acr", &message.acr),
        units_any: message.units_any,
        units_all: message.units_all,
        events,
        outcome: check.optional("filter.outcome", &message.outcome),
        reason: check.optional("filter.reason", &message.reason),
        exchange_id: check.optional("filter.exchange_id", &message.exchange_id),
        first: message.first,
        end: message.end,
        peer,
    })
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

impl From<&EntryFilter> for pb::EntryFilter {
    fn from(filter: &EntryFilter) -> Self {
        let peer = match filter.peer {
            None => pb::PeerMatch::Unspecified,
            Some(PeerMatch::Confirmed) => pb::PeerMatch::Confirmed,
            Some(PeerMatch::Unconfirmed) => pb::PeerMatch::Unconfirmed,
        };
        Self {
            from_us: filter.from.map(Micros::get),
            to_us: filter.to.map(Micros::get),
            requester: text(filter.requester.as_ref()),
            provider: text(filter.provider.as_ref()),
            party: text(filter.party.as_ref()),
            holder: text(filter.holder.as_ref()),
            publisher: text(filter.publisher.as_ref()),
            datatype: text(filter.datatype.as_ref()),
            demarche: text(filter.demarche.as_ref()),
            habilitation: text(filter.habilitation.as_ref()),
            legal_basis: text(filter.legal_basis.as_ref()),
            capacity: text(filter.capacity.as_ref()),
            acr: text(filter.acr.as_ref()),
            units_any: filter.units_any,
            units_all: filter.units_all,
            events: filter.events.iter().map(Event::to_string).collect(),
            outcome: text(filter.outcome.as_ref()),
            reason: text(filter.reason.as_ref()),
            exchange_id: text(filter.exchange_id.as_ref()),
            first: filter.first,
            end: filter.end,
            peer: peer.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_none_too_many_and_short_ones() {
        for list in [vec![], vec![vec![0; 16]; 65], vec![vec![0; 16], vec![0; 15]]] {
            assert!(
                handles(&pb::HistoryRequest {
                    handles: list,
                    since_us: 0
                })
                .is_err()
            );
        }
        assert_eq!(
            handles(&pb::HistoryRequest {
                handles: vec![vec![1; 16]],
                since_us: 0
            })
            .unwrap()
            .len(),
            1
        );
    }

    #[test]
    fn a_purpose_reads_as_one_line_of_one_text() {
        let page = |purpose: &str| pb::ListEntriesRequest {
            purpose: purpose.to_owned(),
            ..pb::ListEntriesRequest::default()
        };
        for hidden in ["a\nb", "a\u{9b}2J", "a\u{202e}b", "a\u{2066}b"] {
            assert!(reading_purpose(&page(hidden)).is_err(), "{hidden:?}");
        }
        assert_eq!(reading_purpose(&page("contrôle n° 3")).unwrap(), "contrôle n° 3");
    }

    const WHOLE: &str = "from=1970-01-01T00:00:00.000000Z to=2026-01-01T00:00:00.000000Z \
        requester=urn:unefois:participant:21920023500014 provider=urn:unefois:participant:18003506500010 \
        party=urn:unefois:participant:18003506500010 holder=msa publisher=urn:unefois:participant:13000495500014 \
        datatype=cnaf/quotient-familial demarche=cantine habilitation=DP-1 legal_basis=TEXTE:LPF-L103 capacity=self \
        acr=eidas1 units_any=0 units_all=6 events=released,refused outcome=refused reason=DEADLINE \
        exchange_id=0190163d-8694-739b-aea5-966c26f8ad91 first=0 end=9 peer=unconfirmed";

    fn first(filter: pb::EntryFilter) -> pb::SearchRequest {
        pb::SearchRequest {
            filter: Some(filter),
            order: pb::Order::NewestFirst.into(),
            limit: 5_000,
            ..pb::SearchRequest::default()
        }
    }

    fn fields(message: pb::SearchRequest) -> Vec<String> {
        let refused = SearchCall::try_from(message).expect_err("malformed");
        refused.violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn every_condition_travels_and_comes_back() {
        for text in ["all", WHOLE] {
            let wanted: EntryFilter = text.parse().unwrap();
            let call = SearchCall::try_from(first((&wanted).into())).unwrap();
            assert_eq!(call.limit, MAX_ROWS);
            let SearchPage::First {
                filter, newest_first, ..
            } = call.page
            else {
                panic!("not a first page");
            };
            assert_eq!((*filter, newest_first), (wanted, true));
        }
    }

    #[test]
    fn a_malformed_question_names_its_fields() {
        let odd = pb::EntryFilter {
            requester: "nobody".to_owned(),
            datatype: "x".to_owned(),
            events: vec!["released".to_owned(), "rleased".to_owned()],
            peer: 9,
            ..pb::EntryFilter::default()
        };
        let names = [
            "filter.peer",
            "filter.events[1]",
            "filter.requester",
            "filter.datatype",
        ];
        assert_eq!(fields(first(odd)), names);
        let bare = pb::SearchRequest {
            purpose: "two\nlines".to_owned(),
            ..pb::SearchRequest::default()
        };
        assert_eq!(fields(bare), ["limit", "order", "purpose"]);
        let many = pb::EntryFilter {
            events: vec!["released".to_owned(); 100],
            ..pb::EntryFilter::default()
        };
        assert_eq!(fields(first(many)), ["filter.events"]);
    }

    #[test]
    fn a_cursor_comes_alone() {
        let next = pb::SearchRequest {
            cursor: vec![1],
            limit: 10,
            ..pb::SearchRequest::default()
        };
        let page = SearchCall::try_from(next.clone()).unwrap().page;
        assert!(matches!(page, SearchPage::Next(cursor) if cursor == [1]));
        for smuggled in [
            pb::SearchRequest {
                filter: Some(pb::EntryFilter::default()),
                ..next.clone()
            },
            pb::SearchRequest {
                size: 7,
                ..next.clone()
            },
            pb::SearchRequest {
                origin: "x".to_owned(),
                ..next.clone()
            },
            pb::SearchRequest {
                cursor: vec![1; 9_000],
                ..next.clone()
            },
        ] {
            assert_eq!(fields(smuggled), ["cursor"]);
        }
        assert_eq!(fields(pb::SearchRequest { limit: 0, ..next }), ["limit"]);
    }

    #[test]
    fn people_are_counted_over_whole_days_of_one_participant_and_for_a_reason() {
        const PARTY: &str = "party=urn:unefois:participant:18003506500010";
        let asked = |filter: &str| pb::CountPersonsRequest {
            filter: Some((&filter.parse::<EntryFilter>().unwrap()).into()),
            purpose: "incident".to_owned(),
            ..pb::CountPersonsRequest::default()
        };
        let days = "from=2026-01-01T00:00:00.000000Z to=2026-01-02T00:00:00.000000Z";
        let good = [
            PARTY.to_owned(),
            PARTY.replace("party", "publisher"),
            format!("{days} {PARTY} datatype=cnaf/quotient-familial"),
        ];
        for text in &good {
            let call = CountPersonsCall::try_from(asked(text)).unwrap();
            assert_eq!(call.filter.to_string(), *text);
        }
        let fields = |message: pb::CountPersonsRequest| -> Vec<String> {
            let refused = CountPersonsCall::try_from(message).expect_err("malformed");
            refused.violations.into_iter().map(|v| v.field).collect()
        };
        for (text, field) in [
            ("all".to_owned(), "filter.party"),
            (
                format!("{PARTY} publisher=urn:unefois:participant:18003506500010"),
                "filter.party",
            ),
            (format!("{PARTY} first=0 end=9"), "filter"),
            (format!("{PARTY} events=released"), "filter"),
            (
                format!("{PARTY} exchange_id=0190163d-8694-739b-aea5-966c26f8ad91"),
                "filter",
            ),
            (
                format!("from=2026-01-01T00:00:00.000001Z {PARTY}"),
                "filter.from_us",
            ),
            (format!("to=2026-01-01T12:00:00.000000Z {PARTY}"), "filter.to_us"),
            (
                format!("from=2026-01-02T00:00:00.000000Z to=2026-01-02T00:00:00.000000Z {PARTY}"),
                "filter.to_us",
            ),
        ] {
            assert_eq!(fields(asked(&text)), [field], "{text}");
        }
        for purpose in ["", " ", "two\nlines", &"x".repeat(513)] {
            let unexplained = pb::CountPersonsRequest {
                purpose: purpose.to_owned(),
                ..asked(PARTY)
            };
            assert_eq!(fields(unexplained), ["purpose"]);
        }
        let of_places = pb::CountPersonsRequest {
            places: vec![pb::Places::default()],
            ..asked(PARTY)
        };
        assert_eq!(fields(of_places), ["places"]);
        let of_nobody = pb::CountPersonsRequest {
            participant: "18003506500010".to_owned(),
            ..asked(PARTY)
        };
        assert_eq!(fields(of_nobody), ["participant"]);
    }

    #[test]
    fn places_grow_and_are_few() {
        for indexes in [vec![], vec![1, 1], vec![2, 1], (0..1_001).collect()] {
            let asked = pb::GetProofRequest {
                indexes,
                ..pb::GetProofRequest::default()
            };
            assert!(ProofCall::try_from(asked).is_err());
        }
        let asked = pb::GetProofRequest {
            indexes: (0..1_000).collect(),
            ..pb::GetProofRequest::default()
        };
        assert_eq!(ProofCall::try_from(asked).unwrap().size, None);
    }
}
