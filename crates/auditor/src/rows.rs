//! Rows that a log shows, each proved to be in it.

use unefois_core::Entry;
use unefois_proto::pb::ledger::v1 as pb;
use unefois_tlog::{Checkpoint, Hash, MAX_PROOF_HASHES, verify_multi_inclusion};

use crate::Error;

/// The most rows of one answer.
pub(crate) const MAX_ROWS: usize = 1_000;
/// Largest answer that is read: 1,000 entries below 1 KiB, a hash of 34 bytes for each level over each, the head.
pub(crate) const MAX_ANSWER_BYTES: usize = 4 * 1_024 * 1_024;

/// An entry that is in its log, under the head that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place in the log.
    pub index: u64,
    /// What it says.
    pub entry: Entry,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Whether the log's owner says that the counterparty confirmed this release; `None` where it was not asked. Nothing
    /// proves it.
    pub acknowledged: Option<bool>,
}

/// The rows of an answer, in the order they came, once their shared proof leads from all of them to the root of `head`.
pub(crate) fn proved(
    rows: Vec<pb::EntryRow>,
    proof: &[Vec<u8>],
    head: &Checkpoint,
) -> Result<Vec<Row>, Error> {
    if rows.len() > MAX_ROWS || proof.len() > rows.len().saturating_mul(MAX_PROOF_HASHES) {
        return Err(Error::TooMuch);
    }
    let rows: Vec<Row> = rows.into_iter().map(row).collect::<Result<_, _>>()?;
    let mut leaves: Vec<(u64, Hash)> = rows.iter().map(|row| (row.index, row.leaf)).collect();
    leaves.sort_unstable();
    let proof: Vec<Hash> = (proof.iter())
        .map(|hash| Hash::try_from(hash.as_slice()))
        .collect::<Result<_, _>>()
        .map_err(Error::Rows)?;
    verify_multi_inclusion(&leaves, head.size, &proof, &head.root).map_err(Error::Rows)?;
    Ok(rows)
}

fn row(row: pb::EntryRow) -> Result<Row, Error> {
    let pb::EntryRow {
        index,
        entry: bytes,
        acknowledged,
    } = row;
    let entry = Entry::decode(&bytes).map_err(|source| Error::Entry { index, source })?;
    Ok(Row {
        index,
        leaf: Hash::of_leaf(&bytes),
        entry,
        bytes,
        acknowledged: Some(acknowledged),
    })
}
