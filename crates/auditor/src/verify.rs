use std::collections::BTreeMap;

use tonic::transport::Channel;
use unefois_core::{Entry, Event, Micros, RevocationView};
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_proto::pb::ledger::v1::{ListEntriesRequest, ListEntriesResponse};
use unefois_tlog::{
    Checkpoint, Hash, MAX_PROOF_HASHES, Origin, SignedCheckpoint, Tree, VerifierKey, verify_consistency,
};

use crate::Error;

/// Entries asked for at once.
const PAGE: u32 = 1_000;
/// Largest page that is read: 1,000 entries below 1 KiB, the head and a proof.
const MAX_PAGE_BYTES: usize = 2 * 1_024 * 1_024;

/// A head of the log that the reader has seen before and trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownHead {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// What a verified log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// The log.
    pub origin: Origin,
    /// The head that was verified, to be kept for the next time.
    pub head: KnownHead,
    /// How many entries of each event.
    pub events: BTreeMap<Event, u64>,
    /// When the first and the last entry were written.
    pub span: Option<(Micros, Micros)>,
}

/// Reads the whole log `origin` through `channel` and verifies it: the head is signed by `key`, the entries hash to it,
/// each is a well-formed entry, neither time nor the view of withdrawals goes back, and it extends `known`.
///
/// `progress` is called after each page with the entries read and their total.
///
/// # Errors
/// The first thing that does not hold.
pub async fn verify_log(
    channel: Channel,
    origin: &Origin,
    key: &VerifierKey,
    known: Option<KnownHead>,
    mut progress: impl FnMut(u64, u64),
) -> Result<LogReport, Error> {
    let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_PAGE_BYTES);
    let mut reading = Reading::default();
    let asked = client.list_entries(page(origin, 0, 0, known)).await;
    let first = match (asked, known) {
        (Ok(first), _) => first.into_inner(),
        // A log that is smaller than the known head cannot prove that it extends it: its own head is the evidence.
        (Err(refused), Some(known)) => {
            let first = client.list_entries(page(origin, 0, 0, None)).await?.into_inner();
            if head_of(&first, origin, key)?.size >= known.size {
                return Err(refused.into());
            }
            first
        }
        (Err(refused), None) => return Err(refused.into()),
    };
    let head = head_of(&first, origin, key)?;
    if let Some(known) = known {
        check_growth(&first, known, &head)?;
    }
    reading.take(&first, head.size)?;
    progress(reading.read(), head.size);
    while reading.read() < head.size {
        let next = client
            .list_entries(page(origin, reading.read(), head.size, None))
            .await?
            .into_inner();
        let again = head_of(&next, origin, key)?;
        if again.size != head.size {
            return Err(Error::MovingHead {
                wanted: head.size,
                got: again.size,
            });
        }
        if next.entries.is_empty() {
            return Err(Error::Count {
                wanted: head.size,
                got: reading.read(),
            });
        }
        reading.take(&next, head.size)?;
        progress(reading.read(), head.size);
    }
    if reading.tree.root() != head.root {
        return Err(Error::Root { size: head.size });
    }
    Ok(LogReport {
        origin: origin.clone(),
        head: KnownHead {
            size: head.size,
            root: head.root,
        },
        events: reading.events,
        span: reading.span,
    })
}

fn page(origin: &Origin, start: u64, size: u64, known: Option<KnownHead>) -> ListEntriesRequest {
    ListEntriesRequest {
        origin: origin.as_str().to_owned(),
        start,
        limit: PAGE,
        size,
        known_size: known.map_or(0, |known| known.size),
    }
}

fn head_of(page: &ListEntriesResponse, origin: &Origin, key: &VerifierKey) -> Result<Checkpoint, Error> {
    let signed = SignedCheckpoint::parse(page.checkpoint.as_bytes()).map_err(Error::Head)?;
    let head = signed.verify(key).map_err(Error::Head)?.clone();
    if head.origin != *origin {
        return Err(Error::OtherLog {
            wanted: origin.as_str().to_owned(),
            got: head.origin.as_str().to_owned(),
        });
    }
    Ok(head)
}

fn check_growth(page: &ListEntriesResponse, known: KnownHead, head: &Checkpoint) -> Result<(), Error> {
    let forked = |source| Error::Forked {
        old: known.size,
        new: head.size,
        source,
    };
    if page.consistency.len() > MAX_PROOF_HASHES {
        return Err(forked(unefois_tlog::Error::ProofTooLong(page.consistency.len())));
    }
    let proof: Vec<Hash> = (page.consistency.iter())
        .map(|hash| Hash::try_from(hash.as_slice()))
        .collect::<Result<_, _>>()
        .map_err(forked)?;
    verify_consistency((known.size, &known.root), (head.size, &head.root), &proof).map_err(forked)
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    tree: Tree,
    events: BTreeMap<Event, u64>,
    span: Option<(Micros, Micros)>,
    view: Option<RevocationView>,
}

impl Reading {
    fn read(&self) -> u64 {
        self.tree.size()
    }

    fn take(&mut self, page: &ListEntriesResponse, size: u64) -> Result<(), Error> {
        let got = self.read().saturating_add(page.entries.len() as u64);
        if got > size {
            return Err(Error::Count { wanted: size, got });
        }
        let mut leaves = Vec::with_capacity(page.entries.len());
        for (index, bytes) in (self.read()..).zip(&page.entries) {
            leaves.push(Hash::of_leaf(bytes));
            let entry = Entry::decode(bytes).map_err(|source| Error::Entry { index, source })?;
            self.judge(index, &entry)?;
        }
        // The tree cannot grow beyond the size of a head that was parsed.
        self.tree.append(&leaves).map_err(Error::Head)?;
        Ok(())
    }

    fn judge(&mut self, index: u64, entry: &Entry) -> Result<(), Error> {
        let (first, last) = self.span.unwrap_or((entry.at, entry.at));
        if entry.at < last {
            return Err(Error::TimeWentBack { index });
        }
        self.span = Some((first, entry.at));
        if self.view.is_some_and(|view| entry.view < view) {
            return Err(Error::ViewWentBack { index });
        }
        self.view = Some(entry.view);
        *self.events.entry(entry.event).or_default() += 1;
        Ok(())
    }
}
