//! One proof of effect, opened: whether it is whole, and what it says of each log.

use std::collections::BTreeMap;

use unefois_core::commitment::{Field, GrantSecret};
use unefois_core::effect::{Effect, LogLine, Standing};
use unefois_core::revocation::Withdrawal;
use unefois_core::{Directory, Handle, Micros, Month, ParticipantId, RevocationView};
use unefois_tlog::{Origin, VerifierKey};

use super::announced::Noted;
use super::finding::{Fault, NotJudged, Remark};
use super::producer::Wanted;
use crate::head::head_of;

/// What a log disclosed of one `effective` entry.
#[derive(Clone, Debug)]
pub struct Disclosed {
    /// What the entry commits to as evidence.
    pub evidence: Opening,
    /// The secrets of the handle, each with its month.
    pub secrets: Vec<(Month, GrantSecret)>,
}

/// Whether evidence opens its commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// These bytes do.
    Opens(Vec<u8>),
    /// What was given does not.
    DoesNotOpen,
    /// It was destroyed.
    Erased,
}

/// The logs that the directory gives producers, as far as proofs are compared with it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The directory's version.
    pub version: u64,
    /// When it was issued.
    pub issued_at: Micros,
    /// Each producer's logs, by their origins.
    pub logs: BTreeMap<String, (ParticipantId, VerifierKey)>,
}

impl Listed {
    /// Those of `directory`: a producer has a key that pivots are sealed to.
    pub fn of(directory: &Directory) -> Self {
        let document = directory.document();
        let producers = document
            .participants
            .iter()
            .filter(|row| !row.pivot_keys.is_empty());
        let logs = producers.flat_map(|row| {
            let keyed = row
                .logs
                .iter()
                .filter_map(|log| Some((log, log.vkey.parse().ok()?)));
            keyed.map(|(log, key)| (log.origin.clone(), (row.id, key)))
        });
        Self {
            version: directory.version(),
            issued_at: document.issued_at,
            logs: logs.collect(),
        }
    }

    pub(super) fn concerned(&self, operator: Option<ParticipantId>) -> impl Iterator<Item = &String> {
        let of = move |whose: &ParticipantId| operator.is_none_or(|operator| operator == *whose);
        self.logs
            .iter()
            .filter(move |(_, (whose, _))| of(whose))
            .map(|(origin, _)| origin)
    }
}

/// From where on a log's releases are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// At and beyond this size, with this root.
    Acknowledged(u64, [u8; 32]),
    /// After the first `lapsed` at or beyond this size, with this root.
    Lapsed(u64, [u8; 32]),
    /// Under a view at the record or later only: nothing was answered below it.
    Opened,
    /// So too, and whatever is under an earlier view is not proved.
    Unknown,
}

/// One `effective` entry, and what it was opened to.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) noted: Noted,
    pub(super) effect: Option<Effect>,
    pub(super) secrets: Vec<(Month, GrantSecret)>,
    /// What the proof says of each log concerned, by its origin.
    pub(super) bounds: BTreeMap<String, Bound>,
    pub(super) faults: Vec<Fault>,
    pub(super) remarks: Vec<Remark>,
    pub(super) not_judged: Option<NotJudged>,
}

impl Case {
    /// The case of the entry `noted`, by what its log disclosed and by the directory at hand.
    pub fn open(noted: &Noted, disclosed: Disclosed, listed: &Listed) -> Self {
        let mut case = Self {
            noted: noted.clone(),
            effect: None,
            secrets: disclosed.secrets,
            bounds: BTreeMap::new(),
            faults: Vec::new(),
            remarks: Vec::new(),
            not_judged: None,
        };
        let fault = match disclosed.evidence {
            Opening::Opens(bytes) => match Effect::from_bytes(&bytes) {
                Some(effect) => {
                    case.judge_terms(&effect);
                    case.judge_lines(&effect, listed);
                    case.effect = Some(effect);
                    return case;
                }
                None => Fault::NotAProof,
            },
            Opening::DoesNotOpen => Fault::Evidence,
            Opening::Erased => {
                case.not_judged = Some(NotJudged::Erased);
                return case;
            }
        };
        case.faults.push(fault);
        case.not_judged = Some(NotJudged::Broken);
        case
    }

    /// The proof, where the entry's commitment was opened to one.
    pub const fn effect(&self) -> Option<&Effect> {
        self.effect.as_ref()
    }

    /// What is wrong with it, as far as the entry, what was disclosed and the directory tell.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What else is to be said of its lines.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The handle withdrawn, if it is of one.
    pub(super) fn handle(&self) -> Option<&Handle> {
        match &self.effect.as_ref()?.record.withdrawal {
            Withdrawal::Grant(handle) => Some(handle),
            _ => None,
        }
    }

    /// Whether the entry is of the record that the proof names, and can be linked to releases.
    fn judge_terms(&mut self, effect: &Effect) {
        let entry = &self.noted.entry;
        let same = match &effect.record.withdrawal {
            Withdrawal::Grant(handle) => {
                match (entry.exchange_id, entry.grant_commit) {
                    (Some(exchange), Some(commit)) => {
                        let opens = |(month, secret): &(Month, GrantSecret)| {
                            *month == entry.at.month()
                                && secret.commit(&exchange, Field::Grant, handle.as_bytes()) == commit
                        };
                        match self.secrets.iter().any(opens) {
                            true => {}
                            false if self.secrets.is_empty() => self.not_judged = Some(NotJudged::Erased),
                            false => {
                                self.faults.push(Fault::Secret);
                                self.not_judged = Some(NotJudged::Broken);
                            }
                        }
                    }
                    _ => self.not_judged = Some(NotJudged::UnknownHandle),
                }
                effect.operator == entry.provider
            }
            Withdrawal::Client(client) => effect.operator.is_none() && entry.requester == Some(*client),
            Withdrawal::ClientCert(_) => {
                self.not_judged = Some(NotJudged::Certificate);
                effect.operator.is_none()
            }
            Withdrawal::SigningKey(_) => {
                self.not_judged = Some(NotJudged::SigningKey);
                effect.operator.is_none()
            }
            Withdrawal::AllBefore => {
                self.not_judged = Some(NotJudged::Age);
                effect.operator.is_none()
            }
        };
        if !same {
            self.faults.push(Fault::OtherTerms);
        }
    }

    /// Whether there is one line for each log concerned, in order, and what each says.
    fn judge_lines(&mut self, effect: &Effect, listed: &Listed) {
        // The proof names no directory, its entry does: one that was issued after the effect is not the one it rests on,
        // whatever the entry, which may have been written late, says.
        let same =
            self.noted.entry.directory_version == listed.version && listed.issued_at <= effect.effective_at;
        let mut before: Option<&str> = None;
        for line in &effect.logs {
            let origin = line.origin.as_str();
            let key = listed
                .logs
                .get(origin)
                .filter(|(whose, _)| *whose == line.participant);
            let foreign = effect
                .operator
                .is_some_and(|operator| operator != line.participant);
            if foreign || before.is_some_and(|before| before >= origin) || (key.is_none() && same) {
                self.faults.push(Fault::OtherLine(origin.to_owned()));
            } else if key.is_none() {
                self.remarks.push(Remark::RemovedSince(origin.to_owned()));
            }
            before = Some(origin);
            if let Some((_, key)) = key.filter(|_| !foreign) {
                let bound = self.bound(line, key, effect.place());
                self.bounds.entry(origin.to_owned()).or_insert(bound);
            }
        }
        for origin in listed.concerned(effect.operator) {
            if self.bounds.contains_key(origin) {
                continue;
            }
            self.bounds.insert(origin.clone(), Bound::Unknown);
            match same {
                true => self.faults.push(Fault::NoLine(origin.clone())),
                false => self.remarks.push(Remark::AddedSince(origin.clone())),
            }
        }
    }

    /// What one line says, once its checkpoint is seen to be the log's own.
    fn bound(&mut self, line: &LogLine, key: &VerifierKey, place: RevocationView) -> Bound {
        match &line.standing {
            Standing::Acknowledged { view, checkpoint } => {
                if *view < place {
                    self.faults.push(Fault::BelowRecord(line.origin.clone()));
                    return Bound::Unknown;
                }
                let origin: Option<Origin> = line.origin.parse().ok();
                let head = origin.and_then(|origin| head_of(checkpoint, &origin, key).ok());
                match head {
                    Some((_, head)) => Bound::Acknowledged(head.size, *head.root.as_bytes()),
                    None => {
                        self.faults.push(Fault::Checkpoint(line.origin.clone()));
                        Bound::Unknown
                    }
                }
            }
            Standing::Lapsed { size, root } => Bound::Lapsed(*size, *root.as_bytes()),
            Standing::Opened => Bound::Opened,
            Standing::Absent => Bound::Unknown,
        }
    }

    /// What the cases need of each log.
    pub fn wanted(cases: &[Self]) -> BTreeMap<String, Wanted> {
        let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
        for case in cases {
            for (origin, bound) in &case.bounds {
                let of_log = wanted.entry(origin.clone()).or_default();
                let first = match bound {
                    Bound::Acknowledged(size, _) | Bound::Lapsed(size, _) => {
                        of_log.sizes.insert(*size);
                        *size
                    }
                    Bound::Opened => u64::MAX,
                    Bound::Unknown => 0,
                };
                let Some(effect) = case.effect.as_ref().filter(|_| case.not_judged.is_none()) else {
                    continue;
                };
                let (held, view) = of_log.from.unwrap_or((first, effect.place()));
                of_log.from = Some((held.min(first), view.min(effect.place())));
            }
        }
        wanted
    }
}
