//! A log of many entries, written in bulk: the true tree, tiles, names, indexes and signed head, so that it verifies.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use unefois_core::commitment::NodeKey;
use unefois_core::{Clock, Micros, Random, RevocationView};
use unefois_store::Db;
use unefois_store::entry::{Columns, EntryRow, entry_insert, partition_ensure};
use unefois_store::head::{Head, head_advance, head_take};
use unefois_store::index::{Index, Mac, SecretRow, index_insert, secret_insert_of};
use unefois_store::name::Names;
use unefois_store::tile::tile_insert;
use unefois_tlog::{Checkpoint, Hash, SignerKey, Tile, Tree};

use crate::Error;
use crate::sample::Sample;

/// Entries a transaction.
const CHUNK: u64 = 4_096;
/// Over how many days the loaded entries spread, up to now.
const DAYS: i64 = 90;

/// The keys of the log that is measured.
pub(crate) struct Log {
    pub(crate) signer: SignerKey,
    pub(crate) node_key: NodeKey,
}

struct Chunk {
    rows: Vec<EntryRow>,
    tiles: Vec<Tile>,
    handles: Vec<(Mac, u64)>,
    persons: Vec<(Mac, u64)>,
    secrets: Vec<SecretRow>,
    tree: Tree,
    at: Micros,
}

/// Loads `count` entries into an empty log; `progress` hears how many are written.
pub(crate) async fn load(
    db: &Db,
    log: &Log,
    sample: &Sample,
    count: u64,
    (clock, random): (&dyn Clock, &dyn Random),
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), Error> {
    let origin = log.signer.verifier().name().as_str();
    let mut tx = db.begin().await?;
    let head = head_take(&mut tx, origin, random.uuid_v4(), 0).await?;
    tx.commit().await?;
    let mut names = Names::default();
    names.learn(db, &sample.every_name()).await?;
    if count == 0 {
        return Ok(());
    }

    let now = clock.now();
    let (sender, receiver) = sync_channel(2);
    let (made, written) = std::thread::scope(|scope| {
        // One core makes the next chunk while the other writes the last one.
        let maker = scope.spawn(|| make(log, sample, &names, count, now, sender));
        let runtime = tokio::runtime::Handle::current();
        let written =
            tokio::task::block_in_place(|| runtime.block_on(write(db, head.log, count, receiver, progress)));
        (maker.join(), written)
    });
    drop(made);
    let (tree, at) = written?;
    let signed = Checkpoint::new(origin.parse()?, tree.size(), tree.root())?.sign(&log.signer)?;
    let next = Head {
        size: tree.size(),
        root: tree.root(),
        at,
        view: RevocationView::NONE,
        checkpoint: signed.as_str().to_owned(),
        ..head
    };
    let mut tx = db.begin().await?;
    head_advance(&mut tx, 0, &next).await?;
    Ok(tx.commit().await?)
}

fn make(log: &Log, sample: &Sample, names: &Names, count: u64, now: Micros, chunks: SyncSender<Chunk>) {
    let mut tree = Tree::new();
    let span = DAYS * 86_400_000_000;
    let step = span / i64::try_from(count).unwrap_or(i64::MAX).max(1);
    let mut at = Micros::new(now.get() - span);
    for first in (0..count).step_by(usize::try_from(CHUNK).unwrap_or(1)) {
        let mut leaves = Vec::new();
        let (mut rows, mut handles) = (Vec::new(), Vec::new());
        let (mut persons, mut secrets) = (Vec::new(), Vec::new());
        for idx in first..count.min(first + CHUNK) {
            at = Micros::new(at.get() + step);
            let exchange = sample.exchange(idx, at);
            let entry = exchange.entry.encode();
            let leaf = Hash::of_leaf(&entry);
            leaves.push(leaf);
            let columns = Columns::of(&exchange.entry, &leaf, Some(&sample.owner), names);
            rows.push(EntryRow { idx, columns, entry });
            let mac = log.node_key.handle_key(&exchange.handle);
            handles.push((mac, idx));
            persons.push((log.node_key.person_key(&exchange.person), idx));
            secrets.push(exchange.secret_row(mac));
        }
        let Ok(tiles) = tree.append(&leaves) else { return };
        let chunk = Chunk {
            rows,
            tiles,
            handles,
            persons,
            secrets,
            tree: tree.clone(),
            at,
        };
        if chunks.send(chunk).is_err() {
            return;
        }
    }
}

async fn write(
    db: &Db,
    log: i32,
    count: u64,
    chunks: Receiver<Chunk>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Tree, Micros), Error> {
    let mut last = (Tree::new(), Micros::new(0));
    for chunk in chunks {
        partition_ensure(db, last.0.size()).await?;
        let mut tx = db.begin().await?;
        entry_insert(&mut tx, log, &chunk.rows.iter().collect::<Vec<_>>()).await?;
        tile_insert(&mut tx, log, &chunk.tiles).await?;
        index_insert(&mut tx, Index::Handle, log, &chunk.handles).await?;
        index_insert(&mut tx, Index::Person, log, &chunk.persons).await?;
        secret_insert_of(&mut tx, log, &chunk.secrets).await?;
        tx.commit().await?;
        progress(chunk.tree.size(), count);
        last = (chunk.tree, chunk.at);
    }
    Ok(last)
}
