//! A whole log, read in pages and proved against its signed head.

use std::ops::Range;

use tonic::transport::Channel;
use unefois_core::{Entry, Micros, RevocationView};
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_proto::pb::ledger::v1::{ListEntriesRequest, ListEntriesResponse};
use unefois_tlog::{Hash, Origin, SignedCheckpoint, Tree, VerifierKey};

use crate::head::{check_growth, head_of};
use crate::{Error, KnownHead};

/// Entries asked for at once.
const PAGE: u32 = 1_000;
/// Largest page that is read: 1,000 entries below 1 KiB, the head and a proof.
const MAX_PAGE_BYTES: usize = 2 * 1_024 * 1_024;

/// Which log is read, and what is known of it.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The log.
    pub origin: &'a Origin,
    /// The key that must have signed its head.
    pub key: &'a VerifierKey,
    /// A head that it must extend.
    pub known: Option<KnownHead>,
    /// The entries that are visited; the others are read for the root alone.
    pub range: Range<u64>,
    /// Why it is read, at most 512 bytes: the log records it.
    pub purpose: &'a str,
}

impl<'a> Asked<'a> {
    /// Every entry of the log `origin`, whose heads `key` signs.
    pub const fn all(origin: &'a Origin, key: &'a VerifierKey) -> Self {
        Self {
            origin,
            key,
            known: None,
            range: 0..u64::MAX,
            purpose: "",
        }
    }
}

/// One entry of a reading; nothing of it counts before the reading has ended well.
#[derive(Clone, Copy, Debug)]
pub struct Visited<'a> {
    /// Its place in the log.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: &'a Hash,
    /// What it says.
    pub entry: &'a Entry,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A log that was read to the end and hashes to its signed head.
#[derive(Clone, Debug)]
pub struct ReadLog {
    /// The head, to be kept for the next time.
    pub head: KnownHead,
    /// The same as the log signed it.
    pub checkpoint: SignedCheckpoint,
    /// When the first and the last entry were written.
    pub span: Option<(Micros, Micros)>,
}

/// Reads the whole log `asked` through `channel` and verifies it: the head is signed by its key, the entries hash to it,
/// each is a well-formed entry, neither time nor the view of withdrawals goes back, and it extends the known head.
///
/// Memory holds one page and the right edge of the tree, whatever the size of the log. `visit` sees each entry of the
/// range once, in order, before the root is known: its caller shows nothing of what it saw unless this succeeds.
/// `progress` is called after each page with the entries read and their total.
///
/// # Errors
/// The first thing that does not hold, or what `visit` returned.
pub async fn read_log(
    channel: Channel,
    asked: &Asked<'_>,
    mut visit: impl FnMut(Visited<'_>) -> Result<(), Error>,
    mut progress: impl FnMut(u64, u64),
) -> Result<ReadLog, Error> {
    let Asked {
        origin, key, known, ..
    } = asked;
    let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_PAGE_BYTES);
    let mut reading = Reading::default();
    let answered = client.list_entries(first_page(asked, *known)).await;
    let first = match (answered, known) {
        (Ok(first), _) => first.into_inner(),
        // A log that is smaller than the known head cannot prove that it extends it: its own head is the evidence.
        (Err(refused), Some(known)) => {
            let first = client.list_entries(first_page(asked, None)).await?.into_inner();
            if head_of(&first.checkpoint, origin, key)?.1.size >= known.size {
                return Err(refused.into());
            }
            first
        }
        (Err(refused), None) => return Err(refused.into()),
    };
    let (checkpoint, head) = head_of(&first.checkpoint, origin, key)?;
    if let Some(known) = known {
        check_growth(&first.consistency, *known, &head)?;
    }
    reading.take(&first, head.size, &asked.range, &mut visit)?;
    progress(reading.read(), head.size);
    while reading.read() < head.size {
        let next = ListEntriesRequest {
            start: reading.read(),
            size: head.size,
            reading: first.reading.clone(),
            ..first_page(asked, None)
        };
        let next = client.list_entries(next).await?.into_inner();
        let (_, again) = head_of(&next.checkpoint, origin, key)?;
        if again.size != head.size {
            return Err(Error::MovingHead {
                wanted: head.size,
                got: again.size,
            });
        }
        if again.root != head.root {
            return Err(Error::TwoHeads { size: head.size });
        }
        if next.entries.is_empty() {
            return Err(Error::Count {
                wanted: head.size,
                got: reading.read(),
            });
        }
        reading.take(&next, head.size, &asked.range, &mut visit)?;
        progress(reading.read(), head.size);
    }
    if reading.tree.root() != head.root {
        return Err(Error::Root { size: head.size });
    }
    Ok(ReadLog {
        head: KnownHead {
            size: head.size,
            root: head.root,
        },
        checkpoint,
        span: reading.span,
    })
}

fn first_page(asked: &Asked<'_>, known: Option<KnownHead>) -> ListEntriesRequest {
    ListEntriesRequest {
        origin: asked.origin.as_str().to_owned(),
        limit: PAGE,
        known_size: known.map_or(0, |known| known.size),
        purpose: asked.purpose.to_owned(),
        ..Default::default()
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    tree: Tree,
    span: Option<(Micros, Micros)>,
    view: Option<RevocationView>,
}

impl Reading {
    fn read(&self) -> u64 {
        self.tree.size()
    }

    fn take(
        &mut self,
        page: &ListEntriesResponse,
        size: u64,
        range: &Range<u64>,
        visit: &mut impl FnMut(Visited<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let got = self.read().saturating_add(page.entries.len() as u64);
        if got > size {
            return Err(Error::Count { wanted: size, got });
        }
        let mut leaves = Vec::with_capacity(page.entries.len());
        for (index, bytes) in (self.read()..).zip(&page.entries) {
            let leaf = Hash::of_leaf(bytes);
            let entry = Entry::decode(bytes).map_err(|source| Error::Entry { index, source })?;
            self.judge(index, &entry)?;
            if range.contains(&index) {
                visit(Visited {
                    index,
                    leaf: &leaf,
                    entry: &entry,
                    bytes,
                })?;
            }
            leaves.push(leaf);
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
        Ok(())
    }
}
