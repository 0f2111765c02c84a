//! A process of many producers: each keeps its lease as a node does, with its own certificate, stream and log in a SQLite
//! file, and answers nobody.
//!
//! Orders come as lines on standard input, one answer to each leaves on standard output.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::{Clock, Micros};
use unefois_ledger::Ledger;
use unefois_mesh::{
    Connector, DirectoryConfig, DirectoryFollower, Identity, SystemClock, SystemRandom, Trust,
};
use unefois_node::config::{Database, LedgerKeys};
use unefois_node::lease::{Guard, Keeper, Lease};
use unefois_store::{Component, Db};

use super::unread::Unread;
use crate::demo::world::crowd::{crowd_directory, crowd_folder};

/// How often each lease is asked whether it would allow a release.
const LOOK: Duration = Duration::from_millis(2);
/// Megabytes of disk that must be left.
const DISK_FLOOR_MB: u64 = 256;

/// Which producers, in which world.
#[derive(Clone, Debug, Args)]
pub struct Producers {
    /// The world's folder.
    #[arg(long)]
    pub root: PathBuf,
    /// The first of its crowd.
    #[arg(long)]
    pub first: usize,
    /// How many.
    #[arg(long)]
    pub count: usize,
    /// The port under which they reach the authority.
    #[arg(long)]
    pub port: u16,
    /// Thumbprint of the key that signs the directory.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pub pin: String,
}

/// What the process is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Answer once every lease is fresh.
    Await,
    /// Give the streams up for ones that nobody reads.
    StopReading,
    /// Keep the leases again.
    ReadAgain,
    /// Tell what was seen.
    Tell,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It is so.
    Done,
    /// For each producer: by the number of the last record applied, the last moment (wall clock, microseconds) at which it
    /// could have decided a release.
    Seen(Vec<BTreeMap<u64, i64>>),
    /// It could not be done.
    Failed(String),
}

/// One producer.
struct Node {
    lease: Arc<Lease>,
    ledger: Ledger,
    db: Db,
    connector: Connector,
    open: Mutex<BTreeMap<u64, i64>>,
}

impl Node {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, i64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That it could decide a release under record `seq` at this moment.
    fn saw(&self, seq: u64, at: Micros) {
        let mut open = self.open();
        let last = open.entry(seq).or_insert(at.get());
        *last = at.get().max(*last);
    }
}

/// The streams of the process: kept, or left unread.
enum Streams {
    Kept(CancellationToken, TaskTracker),
    Unread(Vec<Unread>),
}

struct Crowd {
    nodes: Vec<Arc<Node>>,
    directory: Arc<DirectoryFollower>,
    clock: Arc<dyn Clock>,
    random: SystemRandom,
}

/// Runs until standard input ends.
pub(crate) async fn run(asked: &Producers) -> anyhow::Result<()> {
    // A process that is stopped would outlive whoever started it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let crowd = Crowd::open(asked).await?;
    let (ended, looking) = (CancellationToken::new(), TaskTracker::new());
    looking.spawn(look(crowd.nodes.clone(), Arc::clone(&crowd.clock), ended.clone()));
    looking.close();
    let mut streams = crowd.keep();
    while let Some(order) = next().await? {
        let answer = match crowd.obey(order, &mut streams).await {
            Ok(answer) => answer,
            Err(error) => Answer::Failed(format!("{error:#}")),
        };
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&answer)?)?;
    }
    end(streams).await;
    ended.cancel();
    looking.wait().await;
    for node in &crowd.nodes {
        node.ledger.close().await;
        node.db.close().await;
    }
    Ok(())
}

/// The next order; `None` once there will be none.
async fn next() -> anyhow::Result<Option<Order>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = read.await??;
    match line.trim() {
        "" => Ok(None),
        order => Ok(Some(serde_json::from_str(order)?)),
    }
}

async fn end(streams: Streams) {
    match streams {
        Streams::Kept(stop, keepers) => {
            stop.cancel();
            keepers.wait().await;
        }
        Streams::Unread(closed) => drop(closed),
    }
}

/// Asks each lease again and again whether it allows a release, as a fetch would.
async fn look(nodes: Vec<Arc<Node>>, clock: Arc<dyn Clock>, ended: CancellationToken) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = every.tick() => {}
        }
        for node in &nodes {
            // The clock first: what is allowed after it was allowed at least until then.
            let now = clock.now();
            if let Ok(view) = node.lease.fresh() {
                node.saw(view.seq, now);
            }
        }
    }
}

impl Crowd {
    async fn open(asked: &Producers) -> anyhow::Result<Self> {
        let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
        let root = &asked.root;
        let trust = Arc::new(Trust::load(root.join("ca/ca.pem"), root.join("ca/ca.crl"))?);
        let directory = Arc::new(DirectoryFollower::load(DirectoryConfig {
            file: crowd_directory(root, asked.port),
            catalogue: root.join("authority/catalogue.bin"),
            key: asked.pin.clone(),
            next_key: None,
        })?);
        let gate = directory.gate(Arc::clone(&clock));
        let mut nodes = Vec::with_capacity(asked.count);
        for n in asked.first..asked.first + asked.count {
            let folder = crowd_folder(root, n);
            let identity = Identity::load(folder.join("tls.pem"), folder.join("tls.key"))?;
            let connector = Connector::new(
                Arc::clone(&trust),
                Arc::clone(&gate),
                Arc::new(identity),
                Arc::clone(&clock),
            );
            let keys = LedgerKeys {
                signer: folder.join("ledger.key"),
                node_key: folder.join("node.key"),
                anchor: Some(folder.join("ledger.anchor")),
                disk_floor_mb: DISK_FLOOR_MB,
            };
            let database = Database {
                url: format!("sqlite:{}", folder.join("node.db").display()),
                synchronous_standby: false,
            };
            let db = Db::open(&database.url, Component::Node).await?;
            let ledger = unefois_node::ledger(&keys, &database, &db, &clock, &random).await?;
            let head = ledger.head();
            nodes.push(Arc::new(Node {
                lease: Arc::new(Lease::new(Arc::clone(&clock), head.view, head.size > 0)),
                ledger,
                db,
                connector,
                open: Mutex::default(),
            }));
        }
        Ok(Self {
            nodes,
            directory,
            clock,
            random,
        })
    }

    fn keep(&self) -> Streams {
        let (stop, keepers) = (CancellationToken::new(), TaskTracker::new());
        for node in &self.nodes {
            let keeper = Keeper {
                lease: Arc::clone(&node.lease),
                guard: Arc::new(Guard::new(Arc::clone(&node.lease))),
                ledger: node.ledger.clone(),
                directory: Arc::clone(&self.directory),
                connector: node.connector.clone(),
                random: Arc::new(self.random.clone()),
            };
            keepers.spawn(keeper.run(stop.clone()));
        }
        keepers.close();
        Streams::Kept(stop, keepers)
    }

    async fn obey(&self, order: Order, streams: &mut Streams) -> anyhow::Result<Answer> {
        match order {
            Order::Await => {
                let mut look = tokio::time::interval(LOOK);
                while !self.nodes.iter().all(|node| node.lease.fresh().is_ok()) {
                    look.tick().await;
                }
            }
            Order::StopReading => {
                let kept = std::mem::replace(streams, Streams::Unread(Vec::new()));
                end(kept).await;
                *streams = Streams::Unread(self.stop_reading().await?);
            }
            Order::ReadAgain => *streams = self.keep(),
            Order::Tell => {
                let seen = self.nodes.iter().map(|node| node.open().clone());
                return Ok(Answer::Seen(seen.collect()));
            }
        }
        Ok(Answer::Done)
    }

    async fn stop_reading(&self) -> anyhow::Result<Vec<Unread>> {
        let authority = self.directory.authority();
        let authority = authority.context("the directory names no address of the authority")?;
        let mut unread = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let opened = Unread::open(
                &node.connector,
                &authority,
                &node.ledger,
                &*self.clock,
                &self.random,
            );
            let opened = opened.await?;
            node.saw(opened.seq, opened.fresh_until);
            unread.push(opened);
        }
        Ok(unread)
    }
}
