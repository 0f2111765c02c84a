//! How many access tokens an authority mints: it runs in a process of its own, people have granted at their browsers, and
//! two consumers exchange refresh tokens over mutual TLS, as many at once as is said. Each answer holds a token and its
//! sealed pivot, and each token an entry `minted` in the authority's ledger before it leaves.
//!
//! In turns with it, where one is named, another authorization server: the same number of requests at once, over mutual
//! TLS, for tokens signed with the same algorithm and bound to the same certificate. It keeps nothing on disk.

mod beside;
mod person;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use futures_util::future::try_join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::Deserialize;
use unefois_bench::{Mint, Mints, Place, Store, fdatasync_ms, machine};
use unefois_core::{Clock, ParticipantId};
use unefois_mesh::{
    Connector, DirectoryConfig, DirectoryFollower, HttpsClient, Identity, SystemClock, SystemRandom, Target,
    Trust,
};
use unefois_store::Db;
use unefois_store::head::head_read;

use self::beside::Beside;
use self::person::{Held, grant};
use crate::demo::process::Process;
use crate::demo::world::{AUTHORITY, CLAMART, CLAMART_BACK, LYON, LYON_BACK, Member, Setting, World};

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a process may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The authority's database.
    pub store: Store,
    /// Requests under way at once.
    pub in_flight: usize,
    /// Tokens of one turn.
    pub tokens: usize,
    /// Turns of each server.
    pub rounds: usize,
    /// The program of another server, for Node.
    pub beside: Option<PathBuf>,
    /// On whose disk everything lies.
    pub folder: PathBuf,
}

/// A consumer at the authority's back channel.
#[derive(Clone, Debug)]
struct Client {
    id: ParticipantId,
    back: &'static str,
    habilitation: &'static str,
    https: HttpsClient,
    target: Target,
}

impl Client {
    /// Posts a form; the answer of a request that was granted.
    async fn post<T: serde::de::DeserializeOwned>(&self, path: &str, form: String) -> anyhow::Result<T> {
        let url = Uri::builder()
            .scheme("https")
            .authority(self.target.authority.clone())
            .path_and_query(path)
            .build()?;
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let body = Bytes::from(form);
        let answer = self
            .https
            .request(Method::POST, &url, headers, body, DEADLINE, MAX_ANSWER)
            .await?;
        ensure!(
            answer.status.is_success(),
            "the authority answers {} to {path}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

/// What makes an answer one that is counted.
#[derive(Deserialize)]
struct Minted {
    access_token: String,
    pivot_jwe: String,
}

/// Measures; `progress` hears the step, and how much of how much of it is done.
///
/// # Errors
/// Nothing could be measured: a process did not start, or a token was refused.
pub async fn mint(plan: &Plan, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Mints> {
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
    let folder = tempfile::Builder::new()
        .prefix("unefois-bench-")
        .tempdir_in(&plan.folder)?;
    progress("monde", 0, 1);
    let world = World::create(folder.path(), Setting::default(), clock.now(), &random)
        .map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let server = match plan.store {
        Store::Sqlite => None,
        Store::Postgres => Some(Place::new(Store::Postgres, None, &plan.folder)?),
    };
    let file = world.folder("authority").join("authority.db");
    let url = server.as_ref().map_or_else(
        || format!("sqlite:{}", file.display()),
        |server| server.url.clone(),
    );
    let program = std::env::current_exe()?;
    let over = [
        ("UNEFOIS__DATABASE__URL", url.as_str()),
        ("UNEFOIS__LIMITS__CONCURRENT_CALLS", "1024"),
        // Who would cosign does not run.
        ("UNEFOIS__WITNESS__ASK", "[]"),
    ];
    let mut authority = Process::start(&program, &world, Member::Authority, &over)?;
    authority.ready(READY_WITHIN).await?;
    let beside = match &plan.beside {
        Some(script) => Some(Beside::start(script, &world).await?),
        None => None,
    };

    let clients = clients(&world, &clock)?;
    let mut held = Vec::with_capacity(plan.in_flight);
    for n in 0..plan.in_flight {
        progress("autorisations", count(n), count(plan.in_flight));
        held.push(grant(&world, &clients[n % clients.len()], n).await?);
    }
    let db = Db::open_for_reading(&url).await?;
    let before = log_size(&db).await?;
    let (mut ours, mut theirs) = (Turns::default(), Turns::default());
    for round in 0..=plan.rounds {
        progress("jetons", count(round), count(plan.rounds + 1));
        let own = turn(plan, &*clock, &held, async |held: &Held| held.refresh().await).await?;
        let other = match &beside {
            Some(beside) => Some(turn(plan, &*clock, &held, async |_: &Held| beside.token().await).await?),
            None => None,
        };
        // The first turn of each warms it up.
        if round > 0 {
            ours.add(own);
            other.into_iter().for_each(|other| theirs.add(other));
        }
    }
    let entries = log_size(&db).await? - before;
    db.close().await;
    let asked = plan.tokens * (plan.rounds + 1);
    ensure!(
        entries >= count(asked),
        "{asked} tokens and {entries} entries: a token had none"
    );
    authority.stop().await?;

    let mut servers = vec![Mint::new(
        "unefois",
        "unefois, pivot scellé et entrée durable",
        ours.took,
        ours.elapsed,
    )];
    if beside.is_some() {
        servers.push(Mint::new(
            "beside",
            "autre serveur, en mémoire",
            theirs.took,
            theirs.elapsed,
        ));
    }
    Ok(Mints {
        store: plan.store.as_str(),
        machine: machine(),
        fdatasync_ms: fdatasync_ms(&plan.folder, &*clock)?,
        in_flight: plan.in_flight,
        entries,
        servers,
        ratio: None,
    }
    .compared())
}

/// What several turns took, in microseconds.
#[derive(Default)]
struct Turns {
    took: Vec<i64>,
    elapsed: i64,
}

impl Turns {
    fn add(&mut self, turn: Self) {
        self.took.extend(turn.took);
        self.elapsed += turn.elapsed;
    }
}

/// The tokens of one turn: whoever has one asks for the next.
async fn turn(
    plan: &Plan,
    clock: &dyn Clock,
    held: &[Held],
    ask: impl AsyncFn(&Held) -> anyhow::Result<()>,
) -> anyhow::Result<Turns> {
    let (start, left) = (clock.boottime(), AtomicUsize::new(plan.tokens));
    let (ask, left) = (&ask, &left);
    let lanes = held.iter().map(async |held| {
        let mut took = Vec::new();
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_ok()
        {
            let began = clock.boottime();
            ask(held).await?;
            took.push(clock.boottime().micros_since(began));
        }
        anyhow::Ok(took)
    });
    let took = try_join_all(lanes).await?.concat();
    Ok(Turns {
        took,
        elapsed: clock.boottime().micros_since(start),
    })
}

fn clients(world: &World, clock: &Arc<dyn Clock>) -> anyhow::Result<Vec<Client>> {
    let ca = |name: &str| world.folder("ca").join(name);
    let trust = Arc::new(Trust::load(ca("ca.pem"), ca("ca.crl"))?);
    let directory = Arc::new(DirectoryFollower::load(DirectoryConfig {
        file: world.folder("authority").join("directory.jws"),
        catalogue: world.folder("authority").join("catalogue.bin"),
        key: world.pin.to_string(),
        next_key: None,
    })?);
    let target = directory
        .authority()
        .context("the directory names no address of the authority")?;
    let gate = directory.gate(Arc::clone(clock));
    let of = |member: &str, id: &str, back, habilitation| {
        let folder = world.folder(member);
        let identity = Identity::load(folder.join("tls.pem"), folder.join("tls.key"))?;
        let (trust, gate) = (Arc::clone(&trust), Arc::clone(&gate));
        let connector = Connector::new(trust, gate, Arc::new(identity), Arc::clone(clock));
        anyhow::Ok(Client {
            id: id.parse()?,
            back,
            habilitation,
            https: connector.https(&target),
            target: target.clone(),
        })
    };
    Ok(vec![
        of("clamart", CLAMART, CLAMART_BACK, "DEMO-clamart-qf")?,
        of("lyon", LYON, LYON_BACK, "DEMO-lyon-qf")?,
    ])
}

/// How many entries the authority's log has.
async fn log_size(db: &Db) -> anyhow::Result<u64> {
    let head = head_read(db, &format!("{AUTHORITY}/1")).await?;
    Ok(head.context("the authority has no log")?.size)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
