//! One batch: from the items of the queue to the rows of one transaction.

use std::sync::Arc;

use tokio::sync::oneshot;
use unefois_core::commitment::{Field, Salt};
use unefois_core::{Entry, Event, Micros, Outcome, ParticipantId, Reason, RevocationView};
use unefois_store::batch::Rows;
use unefois_store::entry::{Columns, EntryRow, entry_insert};
use unefois_store::erase::{Erased, rows_erase};
use unefois_store::evidence::{EvidenceRow, evidence_insert};
use unefois_store::index::{Index, Mac, SecretRow, index_insert, secret_insert_of};
use unefois_store::name::Names;
use unefois_store::tile::tile_insert;
use unefois_store::{Tx, head};
use unefois_tlog::{Checkpoint, Hash, Origin, SignedCheckpoint, SignerKey, Tile, Tiles, Tree};

use crate::Error;
use crate::attempt::ClaimRequest;
use crate::claims::{Book, Verdict};
use crate::draft::{Gate, GateState, refused, released_again};
use crate::receipt::{DurableReceipt, Head, Held, Release};

/// A draft whose keys and salts are computed.
pub(crate) struct Leaf {
    pub(crate) entry: Entry,
    pub(crate) handle_key: Option<Mac>,
    pub(crate) secret: Option<SecretRow>,
    pub(crate) person_keys: Vec<Mac>,
    pub(crate) evidence: Option<(Salt, Vec<u8>)>,
    pub(crate) erasing: Vec<Erased>,
}

impl Leaf {
    /// Whether its rows are those of any exchange: no evidence, nothing erased with it.
    pub(crate) fn is_plain(&self) -> bool {
        self.evidence.is_none() && self.erasing.is_empty()
    }
}

/// One thing to do, and whom to tell.
pub(crate) enum Item {
    /// Append an entry.
    Append {
        leaf: Box<Leaf>,
        reply: oneshot::Sender<Result<DurableReceipt, Error>>,
    },
    /// Claim, and append the entry that says how the claim ended.
    Release {
        leaf: Box<Leaf>,
        request: ClaimRequest,
        payload_mac: [u8; 32],
        gate: Gate,
        reply: oneshot::Sender<Result<Release, Error>>,
    },
    /// Give a claim back, and append the entry that says so.
    Withhold {
        leaf: Box<Leaf>,
        request: ClaimRequest,
        reply: oneshot::Sender<Result<DurableReceipt, Error>>,
    },
    /// Write down the process's view of the withdrawal log once all items before are committed.
    Observe {
        view: RevocationView,
        reply: oneshot::Sender<Result<Head, Error>>,
    },
}

impl Item {
    /// The claim that the item needs.
    pub(crate) const fn claim(&self) -> Option<&ClaimRequest> {
        match self {
            Self::Release { request, .. } | Self::Withhold { request, .. } => Some(request),
            Self::Append { .. } | Self::Observe { .. } => None,
        }
    }

    /// Whether a release's caller has gone before anything was decided: then nothing is.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self, Self::Release { reply, .. } if reply.is_closed())
    }

    /// Tells the caller that nothing is known to be written.
    pub(crate) fn fail(self, error: Error) {
        // A caller that gave up does not hear it.
        match self {
            Self::Append { reply, .. } | Self::Withhold { reply, .. } => drop(reply.send(Err(error))),
            Self::Release { reply, .. } => drop(reply.send(Err(error))),
            Self::Observe { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// How the claim of an item ended.
enum End {
    Plain,
    Claimed,
    Again,
    Refused(Reason),
}

/// The log as the writer has it: the committed head and its right edge.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) log: i32,
    pub(crate) origin: Origin,
    /// The participant that the log is of.
    pub(crate) owner: Option<ParticipantId>,
    /// The numbers of names that it has met.
    pub(crate) names: Names,
    pub(crate) signer: Arc<SignerKey>,
    pub(crate) epoch: u64,
    pub(crate) tree: Arc<Tree>,
    pub(crate) at: Micros,
    pub(crate) view: RevocationView,
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
}

impl State {
    pub(crate) fn head(&self) -> Head {
        Head {
            origin: self.origin.clone(),
            epoch: self.epoch,
            size: self.tree.size(),
            root: self.tree.root(),
            at: self.at,
            view: self.view,
            checkpoint: Arc::clone(&self.checkpoint),
        }
    }
}

/// The leaves of a batch, built and signed, with what the log becomes once they are committed.
pub(crate) struct Batch {
    leaves: Vec<Built>,
    tiles: Vec<Tile>,
    pub(crate) tree: Arc<Tree>,
    pub(crate) at: Micros,
    pub(crate) view: RevocationView,
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
}

struct Built {
    /// Place of the item in the batch.
    item: usize,
    row: EntryRow,
    entry: Entry,
    hash: Hash,
    end: End,
}

impl Batch {
    /// Decides every item in order, on top of `state`, and signs the head that results.
    ///
    /// Items whose claim another transaction holds and that cannot be refused are returned, to be tried again.
    pub(crate) fn build(
        state: &State,
        items: Vec<Item>,
        book: &mut Book,
        now: Micros,
    ) -> Result<(Self, Vec<Item>, Vec<Item>), Error> {
        let at = now.max(state.at);
        let mut view = state.view;
        let (mut kept, mut later) = (Vec::with_capacity(items.len()), Vec::new());
        let mut leaves: Vec<Built> = Vec::with_capacity(items.len());
        let mut idx = state.tree.size();
        for item in items {
            let (entry, end) = match &item {
                Item::Withhold { request, .. } if book.is_locked_out(request) => {
                    later.push(item);
                    continue;
                }
                item if item.is_abandoned() => continue,
                Item::Observe { view: seen, .. } => {
                    view = view.max(*seen);
                    kept.push(item);
                    continue;
                }
                Item::Append { leaf, .. } => (leaf.entry.clone(), End::Plain),
                Item::Withhold { leaf, request, .. } => {
                    book.give_back(request);
                    (leaf.entry.clone(), End::Plain)
                }
                Item::Release {
                    leaf,
                    request,
                    payload_mac,
                    gate,
                    ..
                } => {
                    let verdict = book.judge(request, payload_mac, at);
                    let verdict = through_gate(verdict, gate, &mut view);
                    match verdict {
                        Verdict::First => {
                            book.take(request, *payload_mac, at);
                            (leaf.entry.clone(), End::Claimed)
                        }
                        Verdict::Again => {
                            book.take_again(request);
                            (released_again(&leaf.entry), End::Again)
                        }
                        Verdict::Refused(reason) => (refused(&leaf.entry, reason), End::Refused(reason)),
                    }
                }
            };
            // No view of a log decreases: an entry drafted before the last one was written carries the later one.
            view = view.max(entry.view);
            let entry = Entry { at, view, ..entry };
            let bytes = entry.encode();
            let hash = Hash::of_leaf(&bytes);
            let row = EntryRow {
                idx,
                columns: Columns::of(&entry, &hash, state.owner.as_ref(), &state.names),
                entry: bytes,
            };
            leaves.push(Built {
                item: kept.len(),
                row,
                entry,
                hash,
                end,
            });
            kept.push(item);
            idx += 1;
        }

        let mut tree = Tree::clone(&state.tree);
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.hash).collect();
        let tiles = tree.append(&hashes)?;
        let checkpoint = if leaves.is_empty() {
            Arc::clone(&state.checkpoint)
        } else {
            let checkpoint = Checkpoint::new(state.origin.clone(), tree.size(), tree.root())?;
            Arc::new(checkpoint.sign(&state.signer)?)
        };
        let batch = Self {
            at: if leaves.is_empty() { state.at } else { at },
            leaves,
            tiles,
            tree: Arc::new(tree),
            view,
            checkpoint,
        };
        Ok((batch, kept, later))
    }

    /// Whether there is anything to write.
    pub(crate) fn changes(&self, state: &State) -> bool {
        !self.leaves.is_empty() || self.view != state.view
    }

    /// The signed head as it is stored: none before the first entry.
    pub(crate) fn stored_checkpoint(&self) -> String {
        match self.tree.size() {
            0 => String::new(),
            _ => self.checkpoint.as_str().to_owned(),
        }
    }

    /// Whether every release won its claim.
    pub(crate) fn is_all_won(&self) -> bool {
        let won = |leaf: &Built| matches!(leaf.end, End::Plain | End::Claimed);
        self.leaves.iter().all(won)
    }

    /// The head of `state`'s log once this is written.
    pub(crate) fn next(&self, state: &State) -> head::Head {
        head::Head {
            log: state.log,
            epoch: state.epoch,
            size: self.tree.size(),
            root: self.tree.root(),
            at: self.at,
            view: self.view,
            checkpoint: self.stored_checkpoint(),
        }
    }

    /// The rows to write beside the claims; evidence and what is erased are apart.
    pub(crate) fn rows<'a>(&'a self, size: u64, next: &'a head::Head, items: &'a [Item]) -> Rows<'a> {
        let mut rows = Rows {
            claims: Vec::new(),
            entries: self.leaves.iter().map(|leaf| &leaf.row).collect(),
            tiles: &self.tiles,
            handles: Vec::new(),
            persons: Vec::new(),
            secrets: Vec::new(),
            size,
            next,
        };
        for (idx, leaf) in self.drafted(items) {
            rows.handles.extend(leaf.handle_key.map(|key| (key, idx)));
            rows.persons
                .extend(leaf.person_keys.iter().map(|key| (*key, idx)));
            rows.secrets.extend(leaf.secret.clone());
        }
        // Neighbours in an index, one after the other.
        rows.handles.sort_unstable();
        rows.persons.sort_unstable();
        rows.secrets
            .sort_unstable_by_key(|row| (row.month, row.unit, row.mac));
        rows
    }

    /// Each leaf's place with what it was drafted with.
    fn drafted<'a>(&'a self, items: &'a [Item]) -> impl Iterator<Item = (u64, &'a Leaf)> {
        let leaf = |built: &Built| items.get(built.item).and_then(Item::leaf);
        self.leaves
            .iter()
            .filter_map(move |built| Some((built.row.idx, leaf(built)?)))
    }

    /// Writes leaves, tiles, index rows, secrets and evidence, and erases; claims and head are the caller's.
    pub(crate) async fn write(&self, tx: &mut Tx, rows: &Rows<'_>, items: &[Item]) -> Result<(), Error> {
        if self.leaves.is_empty() {
            return Ok(());
        }
        let log = rows.next.log;
        entry_insert(tx, log, &rows.entries).await?;
        tile_insert(tx, log, rows.tiles).await?;
        index_insert(tx, Index::Handle, log, &rows.handles).await?;
        index_insert(tx, Index::Person, log, &rows.persons).await?;
        secret_insert_of(tx, log, &rows.secrets).await?;
        let evidence = self.drafted(items).filter_map(|(idx, leaf)| {
            leaf.evidence.as_ref().map(|(salt, body)| EvidenceRow {
                idx,
                salt: *salt.as_bytes(),
                body: body.clone(),
            })
        });
        evidence_insert(tx, log, &evidence.collect::<Vec<_>>()).await?;
        let erasing = self
            .drafted(items)
            .flat_map(|(_, leaf)| leaf.erasing.iter().cloned());
        rows_erase(tx, &erasing.collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// Answers every item, once the batch is committed.
    pub(crate) fn acknowledge(self, head: &Head, items: Vec<Item>) {
        let Self {
            leaves,
            tree,
            checkpoint,
            ..
        } = self;
        let mut leaves = leaves.into_iter().peekable();
        for (place, item) in items.into_iter().enumerate() {
            let built = leaves.next_if(|built| built.item == place);
            match (item, built) {
                (Item::Observe { reply, .. }, _) => drop(reply.send(Ok(head.clone()))),
                (item, None) => item.fail(Error::Unavailable),
                (item, Some(built)) => {
                    // A leaf of the last append is proved from memory.
                    match tree.inclusion_proof(built.row.idx, tree.size(), &Tiles::new()) {
                        Ok(proof) => {
                            item.acknowledge(built, proof, Arc::clone(&checkpoint), tree.size());
                        }
                        Err(e) => item.fail(e.into()),
                    }
                }
            }
        }
    }
}

/// A claim that is won still needs the guard, at the moment its leaf is built.
fn through_gate(verdict: Verdict, gate: &Gate, view: &mut RevocationView) -> Verdict {
    if let Verdict::Refused(_) = verdict {
        return verdict;
    }
    match gate() {
        // A view behind what this log has written down: the guard does not know what the log knew.
        GateState::Open(seen) if seen < *view => Verdict::Refused(Reason::RevocationStateStale),
        GateState::Open(seen) => {
            *view = seen;
            verdict
        }
        GateState::Closed(reason, seen) => {
            *view = seen.max(*view);
            Verdict::Refused(reason)
        }
    }
}

impl Item {
    pub(crate) fn leaf(&self) -> Option<&Leaf> {
        match self {
            Self::Append { leaf, .. } | Self::Release { leaf, .. } | Self::Withhold { leaf, .. } => {
                Some(leaf)
            }
            Self::Observe { .. } => None,
        }
    }

    fn acknowledge(self, built: Built, proof: Vec<Hash>, checkpoint: Arc<SignedCheckpoint>, size: u64) {
        let mut receipt = DurableReceipt {
            index: built.row.idx,
            entry: built.entry,
            bytes: built.row.entry,
            leaf: built.hash,
            proof,
            checkpoint,
            size,
            held: None,
        };
        // A caller that gave up does not hear it: what is written stays written, and its claim live.
        match self {
            Self::Append { reply, .. } | Self::Withhold { reply, .. } => drop(reply.send(Ok(receipt))),
            Self::Release {
                reply, request, leaf, ..
            } => {
                if let End::Claimed | End::Again = built.end {
                    receipt.held = Some(Held {
                        request,
                        handle_key: leaf.handle_key,
                        person_keys: leaf.person_keys,
                    });
                }
                let release = match built.end {
                    End::Again => Release::Again(receipt),
                    End::Refused(reason) => Release::Refused(reason, receipt),
                    End::Claimed | End::Plain => Release::Claimed(receipt),
                };
                drop(reply.send(Ok(release)));
            }
            Self::Observe { .. } => {}
        }
    }
}

/// Sets what a leaf commits to, before it is queued.
pub(crate) fn commit_evidence(entry: &mut Entry, evidence: Option<&(Salt, Vec<u8>)>) {
    if let Some((salt, body)) = evidence {
        entry.evidence_commit = Some(salt.commit(Field::Evidence, body));
    }
}

/// What the leaf of a release says if its claim is won.
pub(crate) fn released(entry: Entry) -> Entry {
    Entry {
        event: Event::Released,
        outcome: Some(Outcome::Answered),
        reason: None,
        ..entry
    }
}
