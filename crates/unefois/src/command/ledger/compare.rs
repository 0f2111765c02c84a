//! `ledger compare`: whether two heads of a log are of one history.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use unefois_ledger::StoredLog;
use unefois_mesh::OutsideClient;
use unefois_tlog::{
    Checkpoint, Hash, MAX_NOTE_BYTES, SignedCheckpoint, Tile, TileId, Tiles, Tree, VerifierKey,
    verify_consistency,
};

use super::head::{open, verifier};
use crate::command::{read_text, runtime};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// How long one answer of a public address may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// A full tile.
const TILE_BYTES: usize = 8_192;

/// `ledger compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// A head: a file with a signed checkpoint, a log's public address (https://…), or a database (postgres://… or
    /// sqlite:PATH).
    one: String,
    /// The other head, likewise.
    other: String,
    /// File with the log's verifier key, or the key itself, as the directory publishes it.
    #[arg(long, value_name = "KEY")]
    vkey: String,
    /// The certificate authorities of public addresses, PEM.
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
}

/// A head, and what may prove that another one leads to it.
struct Shown {
    head: Checkpoint,
    source: Source,
}

/// What a later head says of an earlier size.
struct Past {
    /// The root that it had then.
    root: Hash,
    /// That the later one continues it.
    proof: Vec<Hash>,
}

/// Where a head comes from.
enum Source {
    File,
    Database(Box<StoredLog>),
    Public(Box<OutsideClient>),
}

/// Runs `ledger compare`. Two histories end with 1.
pub(super) fn run(compare: &Compare, console: Console) -> Result<(), Failure> {
    let key = verifier(&compare.vkey)?;
    let (early, late, fork) = runtime()?.block_on(async {
        let authorities = compare.authorities.as_deref();
        let one = Shown::read(&compare.one, &key, authorities).await?;
        let other = Shown::read(&compare.other, &key, authorities).await?;
        let (early, late) = match one.head.size <= other.head.size {
            true => (one, other),
            false => (other, one),
        };
        let fork = judge(&early, &late).await?;
        Ok::<_, Failure>((early.head, late.head, fork))
    })?;
    let head = |head: &Checkpoint| json!({"size": head.size, "root": head.root.to_string()});
    let value = json!({
        "origin": early.origin.as_str(), "early": head(&early), "late": head(&late), "one_history": fork.is_none(),
    });
    console.data(&value, || {
        let verdict = match &fork {
            None => "une seule histoire : la seconde tête continue la première",
            Some(_) => "DEUX HISTOIRES : la seconde tête ne continue pas la première",
        };
        format!(
            "{}\n{} entrées, racine {}\n{} entrées, racine {}\n{verdict}",
            early.origin, early.size, early.root, late.size, late.root
        )
    })?;
    let Some(cause) = fork else { return Ok(()) };
    let failure = Failure::new(Kind::No, "ce registre a deux histoires").because(cause);
    Err(failure.next("gardez les deux têtes : elles sont signées, et se prouvent l'une par l'autre"))
}

/// Why the two heads are of two histories; `None` where they are of one.
async fn judge(early: &Shown, late: &Shown) -> Result<Option<unefois_tlog::Error>, Failure> {
    let (old, new) = (&early.head, &late.head);
    if old.size == new.size || old.size == 0 {
        return Ok(verify_consistency((old.size, &old.root), (new.size, &new.root), &[]).err());
    }
    let past = match late.past(old.size, new.size).await? {
        Some(past) => Some(past),
        None => early.past(old.size, new.size).await?,
    };
    let past = past.ok_or_else(|| {
        Failure::new(
            Kind::NoInput,
            "rien ne dit si l'une de ces têtes continue l'autre",
        )
        .because("aucune des deux ne vient d'une base ou d'une adresse qui va jusqu'à la plus grande")
        .next("donnez la base du registre, ou son adresse publique, à la place d'un fichier")
    })?;
    // Only what hashes to the later head's signed root says anything of the earlier one.
    verify_consistency((old.size, &past.root), (new.size, &new.root), &past.proof).map_err(unproved)?;
    Ok((past.root != old.root).then_some(unefois_tlog::Error::OldRootMismatch))
}

/// What was shown does not make the head that was shown with it: that is no second history.
fn unproved(error: unefois_tlog::Error) -> Failure {
    Failure::new(Kind::Protocol, "ce registre ne prouve pas sa propre tête")
        .because(error)
        .next("gardez la tête, qui est signée, et demandez au participant ; sur sa base : unefois ledger verify")
}

impl Shown {
    async fn read(from: &str, key: &VerifierKey, authorities: Option<&Path>) -> Result<Self, Failure> {
        if from.starts_with("postgres:") || from.starts_with("postgresql:") || from.starts_with("sqlite:") {
            let log = open(from, key).await?;
            return Ok(Self {
                head: log.head().clone(),
                source: Source::Database(Box::new(log)),
            });
        }
        let (text, source) = match from.starts_with("https://") || from.starts_with("http://") {
            true => {
                let client = OutsideClient::new(from, authorities).map_err(|e| {
                    let failure =
                        Failure::new(Kind::Usage, "l'adresse publique n'est pas utilisable").because(e);
                    failure.next("https://…, avec --authorities")
                })?;
                let text = get(&client, "/checkpoint", MAX_NOTE_BYTES).await?;
                (text, Source::Public(Box::new(client)))
            }
            false => (read_text(Path::new(from))?.into_bytes(), Source::File),
        };
        let malformed = |e: unefois_tlog::Error| {
            Failure::new(
                Kind::Data,
                format!("{from} ne donne pas une tête signée de ce registre"),
            )
            .because(e)
        };
        let signed = SignedCheckpoint::parse(&text).map_err(malformed)?;
        let head = signed.verify(key).map_err(malformed)?.clone();
        Ok(Self { head, source })
    }

    /// What this head comes from held at size `old`, and the proof that `new` continues it, neither checked; `None` where
    /// that does not reach `new`.
    async fn past(&self, old: u64, new: u64) -> Result<Option<Past>, Failure> {
        if new > self.head.size {
            return Ok(None);
        }
        match &self.source {
            Source::File => Ok(None),
            Source::Database(log) => {
                let unread = |e: unefois_ledger::Error| {
                    let failure = Failure::new(Kind::No, "la base ne prouve pas sa propre tête").because(e);
                    failure.next("tapez : unefois ledger verify")
                };
                let root = log.root_at(old).await.map_err(unread)?;
                let proof = log.consistency(old, new).await.map_err(unread)?;
                Ok(Some(Past { root, proof }))
            }
            Source::Public(client) => self.of_tiles(client, old, new).await.map(Some),
        }
    }

    /// The same from the hash tiles of a public address, whose edge must make the signed root.
    async fn of_tiles(&self, client: &OutsideClient, old: u64, new: u64) -> Result<Past, Failure> {
        let malformed = |e: unefois_tlog::Error| {
            Failure::new(Kind::Protocol, "une tuile du registre est malformée").because(e)
        };
        let tile = async |id: TileId| {
            let bytes = get(client, &format!("/{id}"), TILE_BYTES).await?;
            Tile::from_bytes(id, &bytes).map_err(malformed)
        };
        let mut edge = Vec::new();
        for id in TileId::partials(self.head.size) {
            edge.push(tile(id).await?);
        }
        let tree = Tree::restore(self.head.size, &edge).map_err(malformed)?;
        if tree.root() != self.head.root {
            return Err(unproved(unefois_tlog::Error::RootMismatch));
        }
        let mut before = Vec::new();
        for id in TileId::partials(old) {
            let within = |tile: &&Tile| (tile.id().level(), tile.id().index()) == (id.level(), id.index());
            let whole = match edge.iter().find(within) {
                Some(tile) => tile.clone(),
                None => tile(TileId::full(id.level(), id.index()).map_err(malformed)?).await?,
            };
            before.push(whole.narrowed(id.width()).map_err(malformed)?);
        }
        let root = Tree::restore(old, &before).map_err(malformed)?.root();
        let mut tiles = Tiles::new();
        for id in tree.consistency_tiles(old, new).map_err(malformed)? {
            tiles.insert(tile(id).await?);
        }
        let proof = tree.consistency_proof(old, new, &tiles).map_err(malformed)?;
        Ok(Past { root, proof })
    }
}

async fn get(client: &OutsideClient, path: &str, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let answer = client.get(path, DEADLINE, max_bytes).await.map_err(|e| {
        let failure =
            Failure::new(Kind::Unreachable, "l'adresse publique du registre ne répond pas").because(e);
        failure.next("vérifiez l'adresse et --authorities")
    })?;
    match answer.status.as_u16() {
        200 => Ok(answer.body.to_vec()),
        status => Err(Failure::new(
            Kind::Unreachable,
            format!("l'adresse publique répond {status} à {path}"),
        )),
    }
}
