//! When each withdrawal had taken effect: the instant that people are shown, as the authority's database holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::SystemClock;

/// How often it is looked up.
const LOOK: Duration = Duration::from_millis(10);
/// By how much a clock is set wrong.
const HOUR_US: i64 = 3_600_000_000;

/// When one withdrawal had taken effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effective {
    /// The instant that is shown, by the machine's clock.
    pub(crate) at: Micros,
    /// When it was first seen.
    pub(crate) seen: Micros,
}

/// What is known so far, by handle.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    known: Mutex<BTreeMap<String, Effective>>,
    news: watch::Sender<()>,
}

impl Effects {
    /// Follows the database until `over`. One that cannot be read for a moment is read again.
    pub(crate) async fn follow(&self, url: &str, over: &CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut connection = None;
        // Every number up to `low` has taken effect; of those above, these have.
        let (mut low, mut beyond) = (0, BTreeSet::new());
        loop {
            tokio::select! {
                () = over.cancelled() => return,
                _ = look.tick() => {}
            }
            let reading = async {
                let open = match connection.take() {
                    Some(open) => open,
                    None => Reader::open(url).await?,
                };
                open.after(low).await
            };
            let Ok((open, rows)) = reading.await else { continue };
            connection = Some(open);
            let news = self.learn(&rows, &beyond);
            beyond.extend(rows.iter().map(|(seq, ..)| *seq));
            while beyond.remove(&(low + 1)) {
                low += 1;
            }
            if news {
                self.news.send_replace(());
            }
        }
    }

    fn learn(&self, rows: &[(i64, String, i64)], before: &BTreeSet<i64>) -> bool {
        let seen = SystemClock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = rows.iter().filter(|(seq, ..)| !before.contains(seq));
        let mut news = false;
        for (_, handle, at) in fresh {
            // The authority's clock may have been set wrong: by a whole hour, where a withdrawal takes seconds.
            let hours = (at - seen.get() + HOUR_US / 2).div_euclid(HOUR_US);
            let at = Micros::new(at - hours * HOUR_US);
            known.insert(handle.clone(), Effective { at, seen });
            news = true;
        }
        news
    }

    /// Returns once the withdrawal of `handle` has taken effect.
    pub(crate) async fn of(&self, handle: &str) -> Effective {
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            let known = self
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(handle)
                .copied();
            if let Some(effective) = known {
                return effective;
            }
            // The sender is here, so that there is an answer in the end.
            let _news = news.changed().await.is_ok();
        }
    }
}

enum Reader {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Reader {
    async fn open(url: &str) -> sqlx::Result<Self> {
        Ok(match url.starts_with("sqlite:") {
            true => {
                let options: SqliteConnectOptions = url.parse()?;
                Self::Sqlite(options.read_only(true).connect().await?)
            }
            false => Self::Postgres(PgConnection::connect(url).await?),
        })
    }

    /// The number, handle and instant of each effect after `low`.
    async fn after(mut self, low: i64) -> sqlx::Result<(Self, Vec<(i64, String, i64)>)> {
        const SQL: &str = "SELECT f.seq, r.record_key, f.effective_at FROM revocation_effect f \
             JOIN revocation_record r ON r.seq = f.seq WHERE f.seq > $1 ORDER BY f.seq";
        let rows = match &mut self {
            Self::Postgres(c) => sqlx::query_as(SQL).bind(low).fetch_all(c).await?,
            Self::Sqlite(c) => sqlx::query_as(SQL).bind(low).fetch_all(c).await?,
        };
        Ok((self, rows))
    }
}
