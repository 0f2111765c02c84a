//! Which entries of a log somebody asks for.
//!
//! Every condition but one reads a field of the entry, so that a row shown is a row proved. The one is
//! [`EntryFilter::peer`]: whether the counterparty said that it received a release is known to the log's owner alone,
//! and nothing proves it.
//!
//! The text form, which the record of a search keeps, is one line: the conditions in the order of the fields, each
//! `name=value`, with a space between two; `all` where there is none. Values hold no space, and one filter has one
//! text.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::{
    Acr, Capacity, DatatypeId, DatatypeRev, DemarcheId, Entry, Event, ExchangeId, HabilitationId, HolderId,
    LegalBasis, Micros, Outcome, ParticipantId, Reason,
};

/// The text of the filter that every entry passes.
const ALL: &str = "all";
/// The longest text that is read: every condition at its longest stays below it.
const MAX_TEXT: usize = 4_096;

/// The conditions that an entry has to meet, all of them; `None` where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Written at this instant or later.
    pub from: Option<Micros>,
    /// Written before this instant.
    pub to: Option<Micros>,
    /// Who asked.
    pub requester: Option<ParticipantId>,
    /// Who answers.
    pub provider: Option<ParticipantId>,
    /// Who asked or answers.
    pub party: Option<ParticipantId>,
    /// Whose data it is.
    pub holder: Option<HolderId>,
    /// Who hosts the requester.
    pub publisher: Option<ParticipantId>,
    /// What was asked for.
    pub datatype: Option<DatatypeFilter>,
    /// For which démarche.
    pub demarche: Option<DemarcheId>,
    /// By which right.
    pub habilitation: Option<HabilitationId>,
    /// On which legal ground.
    pub legal_basis: Option<LegalBasis>,
    /// In what capacity the person stands behind it.
    pub capacity: Option<Capacity>,
    /// How sure the person's identity was: exactly this level.
    pub acr: Option<Acr>,
    /// At least one of these units.
    pub units_any: Option<u64>,
    /// All of these units.
    pub units_all: Option<u64>,
    /// One of these events; none means any.
    pub events: BTreeSet<Event>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it was refused or put off.
    pub reason: Option<Reason>,
    /// Of this exchange.
    pub exchange_id: Option<ExchangeId>,
    /// At this place of the log or later.
    pub first: Option<u64>,
    /// Before this place of the log.
    pub end: Option<u64>,
    /// Whether the counterparty confirmed a release. No entry says so: it is not proved.
    pub peer: Option<PeerMatch>,
}

/// A datatype, in one revision or in any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatatypeFilter {
    /// `cnaf/quotient-familial`: whatever revision.
    Any(DatatypeId),
    /// `cnaf/quotient-familial@1`.
    Revision(DatatypeRev),
}

/// What the log's owner knows of the counterparty's receipt of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMatch {
    /// A release whose requester said that it received it.
    Confirmed,
    /// A release whose requester said nothing yet: « envoyé, réception non confirmée ».
    Unconfirmed,
}

/// The text is not a filter; the message names the condition, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// It is no list of conditions in their order, or too long.
    #[error("a filter is one line of conditions in their order, or the word all")]
    Form,
    /// A condition's value is malformed.
    #[error("the condition {0} of the filter is malformed")]
    Condition(&'static str),
}

impl EntryFilter {
    /// Whether `entry`, at `index` of its log, meets every condition that entries tell of: all but
    /// [`EntryFilter::peer`].
    pub fn matches(&self, index: u64, entry: &Entry) -> bool {
        fn meets<T: PartialEq>(wanted: &Option<T>, got: &Option<T>) -> bool {
            wanted.is_none() || wanted == got
        }
        self.from.is_none_or(|from| from <= entry.at)
            && self.to.is_none_or(|to| entry.at < to)
            && self.first.is_none_or(|first| first <= index)
            && self.end.is_none_or(|end| index < end)
            && (self.events.is_empty() || self.events.contains(&entry.event))
            && meets(&self.requester, &entry.requester)
            && meets(&self.provider, &entry.provider)
            && (self.party.is_none() || self.party == entry.requester || self.party == entry.provider)
            && meets(&self.holder, &entry.holder)
            && meets(&self.publisher, &entry.publisher)
            && self.meets_datatype(entry.datatype.as_ref())
            && meets(&self.demarche, &entry.demarche)
            && meets(&self.habilitation, &entry.habilitation)
            && meets(&self.legal_basis, &entry.legal_basis)
            && meets(&self.capacity, &entry.capacity)
            && meets(&self.acr, &entry.acr)
            && self.units_any.is_none_or(|any| entry.units & any != 0)
            && self.units_all.is_none_or(|all| entry.units & all == all)
            && meets(&self.outcome, &entry.outcome)
            && meets(&self.reason, &entry.reason)
            && meets(&self.exchange_id, &entry.exchange_id)
    }

    fn meets_datatype(&self, got: Option<&DatatypeRev>) -> bool {
        match &self.datatype {
            None => true,
            Some(DatatypeFilter::Any(id)) => got.is_some_and(|got| got.id() == id),
            Some(DatatypeFilter::Revision(wanted)) => got == Some(wanted),
        }
    }
}

impl PeerMatch {
    /// The word of the text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// Whether a release that the counterparty acknowledged, or did not, is what is looked for.
    ///
    /// Only what left can be confirmed: an entry of another event never matches.
    pub fn matches(self, event: Event, acknowledged: bool) -> bool {
        matches!(event, Event::Released | Event::ReleasedAgain) && acknowledged == (self == Self::Confirmed)
    }
}

impl fmt::Display for PeerMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PeerMatch {
    type Err = InvalidFilter;

    fn from_str(s: &str) -> Result<Self, InvalidFilter> {
        match s {
            "confirmed" => Ok(Self::Confirmed),
            "unconfirmed" => Ok(Self::Unconfirmed),
            _ => Err(InvalidFilter::Condition("peer")),
        }
    }
}

impl fmt::Display for DatatypeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(id) => id.fmt(f),
            Self::Revision(revision) => revision.fmt(f),
        }
    }
}

impl FromStr for DatatypeFilter {
    type Err = crate::InvalidId;

    fn from_str(s: &str) -> Result<Self, crate::InvalidId> {
        match s.contains('@') {
            true => s.parse().map(Self::Revision),
            false => s.parse().map(Self::Any),
        }
    }
}

impl fmt::Display for EntryFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line { f, empty: true };
        line.put("from", &self.from)?;
        line.put("to", &self.to)?;
        line.put("requester", &self.requester)?;
        line.put("provider", &self.provider)?;
        line.put("party", &self.party)?;
        line.put("holder", &self.holder)?;
        line.put("publisher", &self.publisher)?;
        line.put("datatype", &self.datatype)?;
        line.put("demarche", &self.demarche)?;
        line.put("habilitation", &self.habilitation)?;
        line.put("legal_basis", &self.legal_basis)?;
        line.put("capacity", &self.capacity)?;
        line.put("acr", &self.acr)?;
        line.put("units_any", &self.units_any)?;
        line.put("units_all", &self.units_all)?;
        let events: Vec<&str> = self.events.iter().map(|event| event.as_str()).collect();
        line.put("events", &(!events.is_empty()).then(|| events.join(",")))?;
        line.put("outcome", &self.outcome)?;
        line.put("reason", &self.reason)?;
        line.put("exchange_id", &self.exchange_id)?;
        line.put("first", &self.first)?;
        line.put("end", &self.end)?;
        line.put("peer", &self.peer)?;
        if line.empty { f.write_str(ALL) } else { Ok(()) }
    }
}

struct Line<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    empty: bool,
}

impl Line<'_, '_> {
    fn put<T: fmt::Display>(&mut self, name: &str, value: &Option<T>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        let space = if std::mem::replace(&mut self.empty, false) {
            ""
        } else {
            " "
        };
        write!(self.f, "{space}{name}={value}")
    }
}

impl FromStr for EntryFilter {
    type Err = InvalidFilter;

    /// Reads the text form, and nothing but it: what is read displays as it was written.
    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        if text.len() > MAX_TEXT {
            return Err(InvalidFilter::Form);
        }
        if text == ALL {
            return Ok(Self::default());
        }
        let mut parts = Parts {
            rest: text.split(' ').peekable(),
        };
        let filter = Self {
            from: parts.take("from")?,
            to: parts.take("to")?,
            requester: parts.take("requester")?,
            provider: parts.take("provider")?,
            party: parts.take("party")?,
            holder: parts.take("holder")?,
            publisher: parts.take("publisher")?,
            datatype: parts.take("datatype")?,
            demarche: parts.take("demarche")?,
            habilitation: parts.take("habilitation")?,
            legal_basis: parts.take("legal_basis")?,
            capacity: parts.take("capacity")?,
            acr: parts.take("acr")?,
            units_any: parts.take("units_any")?,
            units_all: parts.take("units_all")?,
            events: parts
                .take::<Events>("events")?
                .map(|list| list.0)
                .unwrap_or_default(),
            outcome: parts.take("outcome")?,
            reason: parts.take("reason")?,
            exchange_id: parts.take("exchange_id")?,
            first: parts.take("first")?,
            end: parts.take("end")?,
            peer: parts.take("peer")?,
        };
        (filter.to_string() == text)
            .then_some(filter)
            .ok_or(InvalidFilter::Form)
    }
}

/// A list of events as the text form has it.
struct Events(BTreeSet<Event>);

impl FromStr for Events {
    type Err = crate::UnknownWord;

    fn from_str(s: &str) -> Result<Self, crate::UnknownWord> {
        s.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

struct Parts<'a> {
    rest: std::iter::Peekable<std::str::Split<'a, char>>,
}

impl Parts<'_> {
    /// The next condition, if it is this one.
    fn take<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, InvalidFilter> {
        let value = |part: &str| Some(part.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        let Some(value) = self.rest.peek().copied().and_then(value) else {
            return Ok(None);
        };
        self.rest.next();
        let parsed = value.parse().map_err(|_| InvalidFilter::Condition(name))?;
        Ok(Some(parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RevocationView;

    const COMMUNE: &str = "urn:unefois:participant:21920023500014";
    const FUND: &str = "urn:unefois:participant:18003506500010";
    const OTHER: &str = "urn:unefois:participant:13000495500014";
    const EXCHANGE: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

    fn entry() -> Entry {
        Entry {
            exchange_id: Some(EXCHANGE.parse().unwrap()),
            attempt: 1,
            requester: Some(COMMUNE.parse().unwrap()),
            provider: Some(FUND.parse().unwrap()),
            holder: Some("msa".parse().unwrap()),
            publisher: Some(OTHER.parse().unwrap()),
            datatype: Some("cnaf/quotient-familial@2".parse().unwrap()),
            demarche: Some("cantine".parse().unwrap()),
            habilitation: Some("DP-1".parse().unwrap()),
            legal_basis: Some(LegalBasis::Request),
            capacity: Some(Capacity::Child),
            acr: Some(Acr::Eidas2),
            units: 0b0110,
            outcome: Some(Outcome::Refused),
            reason: Some(Reason::TokenConsumed),
            view: RevocationView::NONE,
            ..Entry::new(Event::Refused, Micros::new(1_000_000))
        }
    }

    /// Each condition alone: one text that the entry meets at place 7, one that it does not.
    const CONDITIONS: &[(&str, &str)] = &[
        (
            "from=1970-01-01T00:00:01.000000Z",
            "from=1970-01-01T00:00:01.000001Z",
        ),
        ("to=1970-01-01T00:00:01.000001Z", "to=1970-01-01T00:00:01.000000Z"),
        (
            "requester=urn:unefois:participant:21920023500014",
            "requester=urn:unefois:participant:18003506500010",
        ),
        (
            "provider=urn:unefois:participant:18003506500010",
            "provider=urn:unefois:participant:21920023500014",
        ),
        (
            "party=urn:unefois:participant:18003506500010",
            "party=urn:unefois:participant:13000495500014",
        ),
        ("holder=msa", "holder=cnaf"),
        (
            "publisher=urn:unefois:participant:13000495500014",
            "publisher=urn:unefois:participant:18003506500010",
        ),
        (
            "datatype=cnaf/quotient-familial",
            "datatype=cnaf/quotient-familia",
        ),
        (
            "datatype=cnaf/quotient-familial@2",
            "datatype=cnaf/quotient-familial@1",
        ),
        ("demarche=cantine", "demarche=bourse"),
        ("habilitation=DP-1", "habilitation=DP-2"),
        ("legal_basis=CRPA-L114-8-I", "legal_basis=TEXTE:LPF-L103"),
        ("capacity=child", "capacity=self"),
        ("acr=eidas2", "acr=eidas3"),
        ("units_any=3", "units_any=9"),
        ("units_all=6", "units_all=7"),
        ("events=released,refused", "events=released"),
        ("outcome=refused", "outcome=answered"),
        ("reason=TOKEN_CONSUMED", "reason=DEADLINE"),
        (
            "exchange_id=0190163d-8694-739b-aea5-966c26f8ad91",
            "exchange_id=0190163d-8694-739b-aea5-966c26f8ad92",
        ),
        ("first=7", "first=8"),
        ("end=8", "end=7"),
    ];

    #[test]
    fn each_condition_alone_lets_in_and_keeps_out() {
        let entry = entry();
        for (met, unmet) in CONDITIONS {
            let filter: EntryFilter = met.parse().unwrap();
            assert!(filter.matches(7, &entry), "{met}");
            assert_eq!(filter.to_string(), *met);
            let filter: EntryFilter = unmet.parse().unwrap();
            assert!(!filter.matches(7, &entry), "{unmet}");
            assert_eq!(filter.to_string(), *unmet);
        }
        // What an entry does not say meets no condition on it.
        let silent = Entry::new(Event::Tally, Micros::new(1_000_000));
        for (met, _) in CONDITIONS {
            let told = ["from", "to", "first", "end"].contains(&met.split('=').next().unwrap());
            assert_eq!(
                met.parse::<EntryFilter>().unwrap().matches(7, &silent),
                told,
                "{met}"
            );
        }
        assert!(EntryFilter::default().matches(0, &silent));
    }

    #[test]
    fn one_filter_has_one_text() {
        let whole = "from=1970-01-01T00:00:00.000000Z party=urn:unefois:participant:18003506500010 \
                     units_all=6 events=released,refused first=0 peer=unconfirmed";
        let filter: EntryFilter = whole.parse().unwrap();
        assert_eq!(filter.to_string(), whole);
        assert_eq!("all".parse(), Ok(EntryFilter::default()));
        for text in [
            "",
            " ",
            "all ",
            "first=0 all",
            "first=0  end=1",
            "end=1 first=0",
            "first=0 first=0",
            "first=00",
            "first=+1",
            "first=",
            "first",
            "unknown=1",
            "events=refused,released",
            "events=",
            "from=1970-01-01T00:00:00Z",
            "peer=maybe",
            "holder=a b",
        ] {
            assert!(text.parse::<EntryFilter>().is_err(), "{text}");
        }
        assert_eq!("a".repeat(5_000).parse::<EntryFilter>(), Err(InvalidFilter::Form));
    }

    #[test]
    fn only_a_release_is_confirmed_or_not() {
        for event in Event::ALL.iter().copied() {
            let left = matches!(event, Event::Released | Event::ReleasedAgain);
            assert_eq!(PeerMatch::Confirmed.matches(event, true), left);
            assert_eq!(PeerMatch::Unconfirmed.matches(event, false), left);
            assert!(!PeerMatch::Confirmed.matches(event, false));
            assert!(!PeerMatch::Unconfirmed.matches(event, true));
        }
    }
}
