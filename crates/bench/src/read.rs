//! What reading a log costs: its verification, proofs of old entries, searches.

use unefois_core::{Clock, Micros};
use unefois_ledger::Ledger;
use unefois_ledger::verify::verify_database;
use unefois_store::Db;
use unefois_store::entry::{Prefilter, entry_range, entry_search};
use unefois_store::head::head_read;
use unefois_tlog::{Hash, Tree, VerifierKey};

use crate::Error;
use crate::cpu::Cpu;
use crate::report::{Bar, Report, float, of_u64, quantile};
use crate::sample::{Draws, Sample};

/// How many entries are verified from memory, so that they fit there.
const IN_MEMORY: u64 = 1_000_000;
/// The leaves of one bundle (C2SP tlog-tiles).
const BUNDLE: u64 = 256;

/// The whole verification from the database, and hashing from entry bundles in memory.
pub(crate) async fn verification(
    db: &Db,
    key: &VerifierKey,
    server: Option<u32>,
    clock: &dyn Clock,
    progress: &(dyn Fn(u64, u64) + Sync),
    report: &mut Report,
) -> Result<(), Error> {
    let least = match db {
        Db::Postgres(_) => 800_000.0,
        Db::Sqlite(_) => 500_000.0,
    };
    let (cpu, start) = (Cpu::now(server), clock.boottime());
    let checked = verify_database(db, key.name().as_str(), key, progress).await?;
    let micros = clock.boottime().micros_since(start);
    let spent = Cpu::now(server);
    if !checked.is_sound() {
        return Err(Error::Unsound);
    }
    let entries = of_u64(checked.read);
    report.add(
        "verify_per_s",
        "vérification depuis la base",
        entries * 1e6 / float(micros.max(1)),
        "/s",
        None,
    );
    report.add(
        "verify_per_s_core",
        "vérification depuis la base, par cœur de ce processus",
        entries * 1e6 / of_u64(spent.own_since(cpu).max(1)),
        "/s",
        Some(Bar::AtLeast(least)),
    );
    report.add(
        "verify_per_s_core_all",
        "vérification depuis la base, par cœur, serveur compris",
        entries * 1e6 / of_u64(spent.since(cpu).max(1)),
        "/s",
        None,
    );

    let head = head_read(db, key.name().as_str()).await?.ok_or(Error::Unsound)?;
    let size = checked.size.min(IN_MEMORY);
    let mut bundles: Vec<Vec<u8>> = Vec::new();
    for first in (0..size).step_by(usize::try_from(BUNDLE).unwrap_or(1)) {
        let entries = entry_range(db, head.log, first, size.min(first + BUNDLE)).await?;
        let mut bundle = Vec::new();
        for (_, entry) in entries {
            // tlog-tiles, « Log entries »: a length of two bytes, then the entry.
            bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(0).to_be_bytes());
            bundle.extend_from_slice(&entry);
        }
        bundles.push(bundle);
    }
    let cpu = Cpu::now(None);
    let mut tree = Tree::new();
    for bundle in &bundles {
        tree.append(&leaves(bundle))?;
    }
    let spent = Cpu::now(None).own_since(cpu);
    if size == head.size && tree.root() != head.root {
        return Err(Error::Unsound);
    }
    report.add(
        "bundles_per_s_core",
        "vérification depuis des lots en mémoire, par cœur",
        of_u64(size) * 1e6 / of_u64(spent.max(1)),
        "/s",
        match db {
            Db::Postgres(_) => Some(Bar::AtLeast(2_000_000.0)),
            Db::Sqlite(_) => None,
        },
    );
    Ok(())
}

fn leaves(mut bundle: &[u8]) -> Vec<Hash> {
    let mut leaves = Vec::with_capacity(256);
    while let Some((length, rest)) = bundle.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, rest)) = rest.split_at_checked(length) else {
            break;
        };
        leaves.push(Hash::of_leaf(entry));
        bundle = rest;
    }
    leaves
}

/// Proofs of entries anywhere in the log: `warm` ones are asked for twice, and the second time counts.
pub(crate) async fn proofs(
    ledger: &Ledger,
    warm: bool,
    (count, seed): (u64, u64),
    clock: &dyn Clock,
    report: &mut Report,
) -> Result<(), Error> {
    let size = ledger.head().size;
    let draws = Draws::new(seed);
    let mut micros = Vec::new();
    for _ in 0..count {
        let index = draws.next() % size.max(1);
        if warm {
            ledger.proof(index).await?;
        }
        let start = clock.boottime();
        ledger.proof(index).await?;
        micros.push(clock.boottime().micros_since(start));
    }
    let (name, label, most) = match warm {
        true => ("proof_warm", "preuve d'une ancienne entrée, à chaud", 0.1),
        false => ("proof_cold", "preuve d'une ancienne entrée, à froid", 5.0),
    };
    let (p50, p99) = (quantile(&mut micros, 0.5), quantile(&mut micros, 0.99));
    report.add(
        &format!("{name}_p50"),
        &format!("{label}, p50"),
        p50 / 1e3,
        "ms",
        Some(Bar::AtMost(most)),
    );
    report.add(
        &format!("{name}_p99"),
        &format!("{label}, p99"),
        p99 / 1e3,
        "ms",
        None,
    );
    Ok(())
}

/// The last hundred entries of one participant.
pub(crate) async fn searches(
    db: &Db,
    origin: &str,
    sample: &Sample,
    count: usize,
    clock: &dyn Clock,
    report: &mut Report,
) -> Result<(), Error> {
    let head = head_read(db, origin).await?.ok_or(Error::Unsound)?;
    let mut micros = Vec::new();
    for participant in sample.peers.iter().cycle().take(count) {
        let filter = Prefilter {
            owner: Some(sample.owner),
            participant: Some(*participant),
            ..Prefilter::default()
        };
        let start = clock.boottime();
        let found = entry_search(db, head.log, &filter, (0, head.size), true, 100).await?;
        micros.push(clock.boottime().micros_since(start));
        if found.is_empty() && head.size > 100_000 {
            return Err(Error::Unsound);
        }
    }
    let (p50, p99) = (quantile(&mut micros, 0.5), quantile(&mut micros, 0.99));
    report.add(
        "search_p50",
        "les 100 dernières d'un participant, p50",
        p50 / 1e3,
        "ms",
        None,
    );
    report.add(
        "search_p99",
        "les 100 dernières d'un participant, p99",
        p99 / 1e3,
        "ms",
        Some(Bar::AtMost(5.0)),
    );
    Ok(())
}

/// The instant that a log's entries reach up to, to be found by bisection.
pub(crate) async fn bisection(
    db: &Db,
    origin: &str,
    clock: &dyn Clock,
    report: &mut Report,
) -> Result<(), Error> {
    let head = head_read(db, origin).await?.ok_or(Error::Unsound)?;
    let draws = Draws::new(11);
    let mut micros = Vec::new();
    for _ in 0..200 {
        let back = i64::try_from(draws.next() % 7_000_000_000_000).unwrap_or(0);
        let start = clock.boottime();
        unefois_store::entry::entry_at_or_after(db, head.log, Micros::new(head.at.get() - back)).await?;
        micros.push(clock.boottime().micros_since(start));
    }
    let p99 = quantile(&mut micros, 0.99);
    report.add("time_p99", "l'entrée d'un instant, p99", p99 / 1e3, "ms", None);
    Ok(())
}
