//! One log under load, and what its database says of it afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use unefois_core::commitment::{Field, GrantSecret, NodeKey};
use unefois_core::{Boot, Clock as _, Entry, Event, Handle, Micros, Random, RevocationView, Sha256};
use unefois_ledger::verify::verify_database;
use unefois_ledger::{
    About, Begin, ClaimMode, ClaimRequest, Draft, GateState, Keys, Ledger, Release, ReleaseDraft, Safeguards,
};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::{Component, Db};
use unefois_tlog::{Hash, SignerKey};

const PRODUCER: &str = "urn:unefois:participant:18003506500010";
const CONSUMER: &str = "urn:unefois:participant:21920023500014";

/// A release that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ack {
    pub(crate) index: u64,
    pub(crate) leaf: [u8; 32],
}

/// What a database holds of what was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    /// Acknowledged.
    pub(crate) acknowledged: usize,
    /// Of those, not in the log at their place.
    pub(crate) lost: usize,
    /// Places that were acknowledged with two entries.
    pub(crate) twice: usize,
    /// Claims without an entry `released`, and the reverse.
    pub(crate) unpaired: i64,
    /// What `ledger verify` finds.
    pub(crate) faults: usize,
}

impl Judged {
    pub(crate) const fn holds(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.unpaired == 0 && self.faults == 0
    }

    pub(crate) const fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.twice += other.twice;
        self.unpaired += other.unpaired;
        self.faults += other.faults;
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged {}, lost {}, twice {}, claim or release alone {}, faults {}",
            self.acknowledged, self.lost, self.twice, self.unpaired, self.faults
        )
    }
}

fn signer(shard: u8) -> SignerKey {
    let name = format!("{PRODUCER}/{shard}").parse().expect("a name");
    SignerKey::new(name, &[shard; 32])
}

/// Opens the log of `shard`, as a node does.
pub(crate) async fn open(url: &str, shard: u8, anchor: Option<&Path>) -> anyhow::Result<(Db, Ledger)> {
    let safeguards = Safeguards {
        anchor: anchor.map(Path::to_owned),
        ..Safeguards::default()
    };
    open_with(url, shard, safeguards).await
}

/// As [`open`], with these safeguards.
pub(crate) async fn open_with(url: &str, shard: u8, safeguards: Safeguards) -> anyhow::Result<(Db, Ledger)> {
    let db = Db::open(url, Component::Node).await?;
    let keys = Keys {
        signer: signer(shard),
        node_key: NodeKey::new(&[9; 32]),
    };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::new()));
    match Ledger::open(db.clone(), keys, safeguards, clock, random).await {
        Ok(ledger) => Ok((db, ledger)),
        Err(error) => {
            db.close().await;
            Err(error.into())
        }
    }
}

/// One exchange under a handle of its own, from its claim to its acknowledgement.
pub(crate) async fn exchange(ledger: &Ledger) -> Result<Ack, unefois_ledger::Error> {
    let random = SystemRandom::new();
    let random: &dyn Random = &random;
    let now = SystemClock.now();
    let request_id = random.exchange_id(now);
    // Half of them are uses of a standing grant: these are written claim by claim,
    // in a transaction of several statements.
    let mode = match random.bytes::<1>()[0] % 2 {
        0 => ClaimMode::Once,
        _ => ClaimMode::Standing {
            max_count: Some(3),
            min_interval_s: None,
        },
    };
    let request = ClaimRequest {
        handle: Handle::draw(now, random),
        mode,
        client: CONSUMER.parse().expect("a participant"),
        request_id,
        request_hash: Sha256::of(request_id.as_bytes()),
    };
    let secret = GrantSecret::from_bytes(random.bytes());
    let entry = Entry {
        exchange_id: Some(request_id),
        attempt: 1,
        requester: Some(request.client),
        provider: Some(PRODUCER.parse().expect("a participant")),
        datatype: Some("cnaf/quotient-familial@1".parse().expect("a datatype")),
        units: 3,
        grant_commit: Some(secret.commit(&request_id, Field::Grant, request.handle.as_bytes())),
        content_commit: Some(Sha256::of(b"content")),
        request_hash: Some(request.request_hash),
        ..Entry::new(Event::Released, Micros::new(0))
    };
    let draft = Draft::new(entry).about(About {
        handle: Some(request.handle),
        secret: Some((now.month(), secret)),
        persons: vec![request_id.as_bytes().to_vec()],
        ..About::default()
    });
    let attempt = match ledger.begin(request).await? {
        Begin::First(attempt) | Begin::Again(attempt) => attempt,
        Begin::Refused(_) | Begin::TooSoon(_) => return Err(unefois_ledger::Error::Unavailable),
    };
    let view = RevocationView { epoch: 1, seq: 1 };
    let release = ReleaseDraft {
        draft,
        payload: Sha256::of(b"payload"),
        gate: Arc::new(move || GateState::Open(view)),
    };
    match ledger.release(&attempt, release).await? {
        Release::Claimed(receipt) => Ok(Ack {
            index: receipt.index(),
            leaf: *receipt.leaf_hash().as_bytes(),
        }),
        Release::Again(_) | Release::Refused(..) => Err(unefois_ledger::Error::Unavailable),
    }
}

/// Starts again on the database, writes once more, and compares all that was acknowledged with what is there.
pub(crate) async fn judge(url: &str, shard: u8, acks: &[Ack]) -> anyhow::Result<Judged> {
    let (db, ledger) = open(url, shard, None).await?;
    let last = exchange(&ledger).await?;
    let entries = ledger.entries(0, u64::MAX).await?;
    let origin = ledger.origin().to_string();
    ledger.close().await;
    let report = verify_database(&db, &origin, signer(shard).verifier(), |_, _| {}).await?;
    db.close().await;
    let all: BTreeSet<Ack> = acks.iter().copied().chain([last]).collect();
    let places: BTreeSet<u64> = all.iter().map(|ack| ack.index).collect();
    let held = |ack: &&Ack| {
        let entry = usize::try_from(ack.index)
            .ok()
            .and_then(|index| entries.get(index));
        entry.is_some_and(|entry| *Hash::of_leaf(entry).as_bytes() == ack.leaf)
    };
    Ok(Judged {
        acknowledged: acks.len(),
        lost: all.iter().filter(|ack| !held(ack)).count(),
        twice: all.len() - places.len(),
        unpaired: unpaired(url).await?,
        faults: report.log.len() + report.index.len(),
    })
}

async fn unpaired(url: &str) -> anyhow::Result<i64> {
    let released = Event::Released.code();
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM claim c WHERE NOT EXISTS (SELECT 1 FROM ledger_entry e \
         WHERE e.exchange_id = c.request_id AND e.event = {released})) \
         + (SELECT COUNT(*) FROM ledger_entry e WHERE e.event = {released} \
         AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.request_id = e.exchange_id))"
    );
    let sql = sqlx::AssertSqlSafe(sql);
    Ok(match url.starts_with("sqlite:") {
        true => {
            sqlx::query_scalar(sql)
                .fetch_one(&mut SqliteConnection::connect(url).await?)
                .await?
        }
        false => {
            sqlx::query_scalar(sql)
                .fetch_one(&mut PgConnection::connect(url).await?)
                .await?
        }
    })
}

/// What a worker says, one line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It serves.
    Open,
    /// An exchange was acknowledged.
    Ack {
        /// When it began.
        began: i64,
        /// When it was acknowledged.
        at: i64,
        ack: Ack,
    },
    /// An exchange was refused, at that time.
    No(i64),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Ack { began, at, ack } => {
                let leaf = Sha256::from_bytes(ack.leaf);
                write!(f, "ack {began} {at} {} {leaf}", ack.index)
            }
            Self::No(at) => write!(f, "no {at}"),
        }
    }
}

impl Line {
    pub(crate) fn parse(line: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = line.split(' ').collect();
        Ok(match parts.as_slice() {
            ["open"] => Self::Open,
            ["ack", began, at, index, leaf] => {
                let leaf: Sha256 = leaf.parse()?;
                let ack = Ack {
                    index: index.parse()?,
                    leaf: *leaf.as_bytes(),
                };
                Self::Ack {
                    began: began.parse()?,
                    at: at.parse()?,
                    ack,
                }
            }
            ["no", at] => Self::No(at.parse()?),
            _ => bail!("a worker said: {line}"),
        })
    }
}

/// The clock that workers and their masters share, in microseconds.
pub(crate) fn boottime_us() -> i64 {
    SystemClock.boottime().micros_since(Boot::new(0))
}
