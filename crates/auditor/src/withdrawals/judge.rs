//! Judging: every release that lies where none may.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use unefois_core::commitment::{Field, GrantSecret, Salts};
use unefois_core::effect::Effect;
use unefois_core::revocation::Withdrawal;
use unefois_core::{DatatypeRev, Entry, Handle, Micros, Month, ParticipantId, RevocationView};

use super::announced::{Announced, Noted};
use super::case::{Bound, Case, Listed};
use super::finding::{Fault, Judged, Late, NotJudged, Pending, Remark, Report, Why};
use super::producer::{ProducerLog, Release};

/// Judges `cases` by the `logs` that were read and verified, and says which withdrawals that
/// were `announced` within `window` wait for a proof.
///
/// The cost is that of one HKDF and two hashes for each release and secret that may belong together. They may where the
/// release names the requester and the data of the `effective` entry, in a log of its operator, and lies where it is not
/// in time; a producer that writes another name into its entry contradicts the consumer's, which `reconcile` shows.
/// `progress` is told after each case how many are judged.
pub fn judge(
    cases: &[Case],
    announced: &Announced,
    logs: &[ProducerLog],
    listed: &Listed,
    window: Range<Micros>,
    mut progress: impl FnMut(usize),
) -> Report {
    let mut withdrawals = Vec::with_capacity(cases.len());
    for (number, case) in cases.iter().enumerate() {
        withdrawals.push(one(case, announced, logs, listed));
        progress(number + 1);
    }
    compare_records(cases, &mut withdrawals);
    let late = withdrawals.iter().flat_map(|judged| &judged.late);
    let told: BTreeSet<(&str, u64)> = late
        .map(|late| (late.release.origin.as_str(), late.release.index))
        .collect();
    let closed = logs.iter().flat_map(|log| {
        let closed = log.all().filter(|(_, release)| release.closed);
        closed.map(|(_, release)| Late {
            release: log.place(release),
            why: Why::Closed,
        })
    });
    let mut closed: Vec<Late> = closed
        .filter(|late| !told.contains(&(late.release.origin.as_str(), late.release.index)))
        .collect();
    closed.sort_unstable();
    Report {
        withdrawals,
        closed,
        pending: pending(cases, announced, &window),
    }
}

/// Judges one case.
fn one(case: &Case, announced: &Announced, logs: &[ProducerLog], listed: &Listed) -> Judged {
    let effect = case.effect.as_ref();
    let mut judged = Judged {
        log: case.noted.log,
        index: case.noted.index,
        place: effect.map(Effect::place),
        kind: effect.map(|effect| kind(&effect.record.withdrawal)),
        operator: effect
            .and_then(|effect| effect.operator)
            .or(case.noted.entry.provider),
        effective_at: effect.map_or(case.noted.entry.at, |effect| effect.effective_at),
        late: Vec::new(),
        unproved: Vec::new(),
        faults: case.faults.clone(),
        remarks: case.remarks.clone(),
        not_judged: case.not_judged,
    };
    let Some(effect) = effect else { return judged };
    let of = Of::new(case);
    for (origin, bound) in &case.bounds {
        if !listed.logs.contains_key(origin) {
            continue;
        }
        let Some(log) = logs.iter().find(|log| log.origin == *origin) else {
            judged.remarks.push(Remark::Unread(origin.clone()));
            continue;
        };
        if let Bound::Acknowledged(size, root) | Bound::Lapsed(size, root) = bound
            && !log.had(*size, root)
        {
            judged.faults.push(Fault::OtherHistory(origin.clone()));
        }
        if let (None, Some(of)) = (case.not_judged, &of) {
            of.releases(log, *bound, effect.place(), &mut judged);
        }
    }
    if let Withdrawal::Client(client) = &effect.record.withdrawal
        && announced.minted_since(client, effect.record.at)
    {
        // What looks late may rest on a newer token; what lies where nothing may be released is told for the log.
        judged.late.clear();
        judged.unproved.clear();
        judged.not_judged = Some(NotJudged::MintedSince);
    }
    judged.late.sort_unstable();
    judged.unproved.sort_unstable();
    judged
}

const fn kind(withdrawal: &Withdrawal) -> &'static str {
    match withdrawal {
        Withdrawal::Grant(_) => "GRANT",
        Withdrawal::Client(_) => "CLIENT",
        Withdrawal::ClientCert(_) => "CLIENT_CERT",
        Withdrawal::SigningKey(_) => "SIGNING_KEY",
        Withdrawal::AllBefore => "ALL_BEFORE",
    }
}

/// Which releases a record is about.
enum Of<'a> {
    Handle {
        handle: &'a Handle,
        terms: (Option<ParticipantId>, &'a Option<DatatypeRev>),
        secrets: Vec<Salts>,
    },
    Client(ParticipantId),
}

impl<'a> Of<'a> {
    fn new(case: &'a Case) -> Option<Self> {
        match &case.effect.as_ref()?.record.withdrawal {
            Withdrawal::Grant(handle) => Some(Self::Handle {
                handle,
                terms: (case.noted.entry.requester, &case.noted.entry.datatype),
                secrets: case.secrets.iter().map(|(_, secret)| secret.salts()).collect(),
            }),
            Withdrawal::Client(client) => Some(Self::Client(*client)),
            Withdrawal::ClientCert(_) | Withdrawal::SigningKey(_) | Withdrawal::AllBefore => None,
        }
    }

    /// Adds to `judged` the releases of `log` that are not in time.
    fn releases(&self, log: &ProducerLog, bound: Bound, place: RevocationView, judged: &mut Judged) {
        let first = match bound {
            Bound::Acknowledged(size, _) | Bound::Lapsed(size, _) => size,
            Bound::Opened => u64::MAX,
            Bound::Unknown => 0,
        };
        let lapsed = match bound {
            Bound::Lapsed(size, _) => log.lapsed_from(size),
            Bound::Acknowledged(..) | Bound::Opened | Bound::Unknown => None,
        };
        let mut take = |release: &Release| {
            let why = match bound {
                _ if release.view >= place => Some(Why::View),
                Bound::Acknowledged(size, _) if release.index >= size => Some(Why::Acknowledged),
                Bound::Lapsed(..) if lapsed.is_some_and(|lapsed| release.index > lapsed) => Some(Why::Lapsed),
                _ if release.closed => Some(Why::Closed),
                Bound::Acknowledged(..) | Bound::Lapsed(..) | Bound::Opened | Bound::Unknown => None,
            };
            let release = log.place(release);
            match why {
                Some(why) => judged.late.push(Late { release, why }),
                None => judged.unproved.push(release),
            }
        };
        match self {
            Self::Handle {
                handle,
                terms,
                secrets,
            } => {
                let releases = log.releases(*terms, first, place);
                releases
                    .filter(|release| opens(secrets, handle, release))
                    .for_each(&mut take);
            }
            Self::Client(client) => {
                let of_client = |requester: &Option<ParticipantId>, release: &Release| {
                    *requester == Some(*client) || release.publisher == Some(*client)
                };
                let releases = log
                    .all()
                    .filter(|(requester, release)| of_client(requester, release));
                releases
                    .map(|(_, release)| release)
                    .filter(|release| release.index >= first || release.view >= place)
                    .for_each(&mut take);
            }
        }
    }
}

/// Whether a release is of the handle: by the secret of any of the months, since the month of its token is in no entry
/// and its own instant is the producer's word.
fn opens(secrets: &[Salts], handle: &Handle, release: &Release) -> bool {
    let Some((exchange, commit)) = release.exchange.zip(release.grant) else {
        return false;
    };
    let commits = |salts: &Salts| {
        salts
            .salt(&exchange, Field::Grant)
            .commit(Field::Grant, handle.as_bytes())
    };
    secrets.iter().any(|salts| commits(salts) == commit)
}

/// Compares the proofs with each other: one a record, and records in the order of their epochs.
fn compare_records(cases: &[Case], judged: &mut [Judged]) {
    let mut by_seq: BTreeMap<u64, usize> = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let Some(effect) = &case.effect else { continue };
        match by_seq.get(&effect.place().seq) {
            None => {
                by_seq.insert(effect.place().seq, number);
            }
            Some(first) if cases[*first].effect.as_ref() == Some(effect) => {
                let remark = Remark::Duplicate(judged[*first].index);
                let twice = &mut judged[number];
                twice.remarks.push(remark);
                // The first tells them.
                twice.late.clear();
                twice.unproved.clear();
            }
            Some(first) => {
                let fault = Fault::TwoProofs(judged[*first].index);
                judged[number].faults.push(fault);
            }
        }
    }
    let mut before: Option<(u64, u64)> = None;
    for number in by_seq.into_values() {
        let Some(effect) = &cases[number].effect else {
            continue;
        };
        let epoch = effect.place().epoch;
        match before {
            Some((highest, index)) if epoch < highest => judged[number].faults.push(Fault::Epochs(index)),
            _ => before = Some((epoch, judged[number].index)),
        }
    }
}

/// The entries `withdrawn` and `narrowed` that no proof answers. One of a handle is known by the secret that its proof was disclosed
/// with; where a proof was not opened, the latest one before it, under its terms, counts as answered, since nothing tells
/// them apart.
fn pending(cases: &[Case], announced: &Announced, window: &Range<Micros>) -> Vec<Pending> {
    let mut open: BTreeMap<Terms<'_>, BTreeMap<(usize, u64), &Noted>> = BTreeMap::new();
    for noted in &announced.withdrawn {
        open.entry(terms(&noted.entry))
            .or_default()
            .insert(noted.place(), noted);
    }
    let opened: BTreeMap<(usize, u64), &Case> = cases.iter().map(|case| (case.noted.place(), case)).collect();
    let mut blind = Vec::new();
    for noted in &announced.effective {
        let Some(of_terms) = open.get_mut(&terms(&noted.entry)) else {
            continue;
        };
        let case = opened
            .get(&noted.place())
            .and_then(|case| Some((*case, case.handle()?)));
        let Some((case, handle)) = case.filter(|(case, _)| !case.secrets.is_empty()) else {
            blind.push(noted);
            continue;
        };
        // It was written a moment before as a rule, and by exception after.
        let before = of_terms.range(..noted.place()).rev();
        let found = before.chain(of_terms.range(noted.place()..));
        let found = found
            .into_iter()
            .find(|(_, withdrawn)| is_of(&case.secrets, handle, &withdrawn.entry));
        if let Some(index) = found.map(|(index, _)| *index) {
            of_terms.remove(&index);
        }
    }
    for noted in blind {
        let of_terms = open.get_mut(&terms(&noted.entry));
        if let Some(of_terms) = of_terms
            && let Some((index, _)) = of_terms.range(..noted.place()).next_back()
        {
            let index = *index;
            of_terms.remove(&index);
        }
    }
    // An authority that died between writing an entry and noting that wrote it again. What is left is little.
    let again = |noted: &Noted| {
        let mut opened = cases.iter().filter(|case| !case.secrets.is_empty());
        opened.any(|case| {
            terms(&case.noted.entry) == terms(&noted.entry)
                && case
                    .handle()
                    .is_some_and(|handle| is_of(&case.secrets, handle, &noted.entry))
        })
    };
    let waiting = open.into_values().flatten().map(|(_, noted)| noted);
    let mut pending: Vec<Pending> = waiting
        .filter(|noted| window.contains(&noted.entry.at) && !again(noted))
        .map(|noted| Pending {
            log: noted.log,
            index: noted.index,
            at: noted.entry.at,
            requester: noted.entry.requester,
            provider: noted.entry.provider,
        })
        .collect();
    pending.sort_unstable_by_key(|pending| (pending.log, pending.index));
    pending
}

type Terms<'a> = (
    Option<ParticipantId>,
    Option<ParticipantId>,
    &'a Option<DatatypeRev>,
);

const fn terms(entry: &Entry) -> Terms<'_> {
    (entry.requester, entry.provider, &entry.datatype)
}

/// Whether an entry of the authority is of the handle.
fn is_of(secrets: &[(Month, GrantSecret)], handle: &Handle, entry: &Entry) -> bool {
    let Some((exchange, commit)) = entry.exchange_id.zip(entry.grant_commit) else {
        return false;
    };
    let of_month = secrets.iter().filter(|(month, _)| *month == entry.at.month());
    let mut commits = of_month.map(|(_, secret)| secret.commit(&exchange, Field::Grant, handle.as_bytes()));
    commits.any(|found| found == commit)
}
