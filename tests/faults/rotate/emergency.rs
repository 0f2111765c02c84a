//! The loss of the key that signs tokens: withdrawn as its operator would type it, while a thief uses it and the commune
//! goes on.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois::demo::script::Script;
use unefois::demo::world::Member;
use unefois_core::{Micros, Reason, RevocationView};
use unefois_store::authority::effect::effect_read;
use unefois_store::authority::revocation;
use unefois_store::{Component, Db};

use super::Running;
use super::publisher::Publisher;
use super::thief::Thief;
use crate::withdraw::consumer::{Ended, Fetched};

/// How long the thief may take until it is at work, and then, once the key is withdrawn, until it was refused often.
const THIEF_WITHIN: Duration = Duration::from_secs(60);
/// Answers that the thief has before the key is withdrawn, and refusals after that, at least.
const ENOUGH: usize = 20;
/// Within so much more than the lease a withdrawal takes effect.
const MORE: i64 = 10;

/// The loss of the key that signed tokens.
#[derive(Debug)]
pub(super) struct Emergency {
    lease_us: i64,
    /// From the record until it had taken effect.
    took_us: i64,
    /// Answers that the thief had, of which the last was recorded so long after the record of the withdrawal.
    stolen: usize,
    last_us: Option<i64>,
    /// Bytes of answers that reached the thief once the withdrawal had taken effect.
    late: usize,
    /// Calls of the thief, begun after that, that were refused for the withdrawal, and that ended in another way.
    refused: usize,
    otherwise: Vec<String>,
    /// Requests of the commune under its tokens of that key that were refused before it had new ones.
    waited: Vec<String>,
    /// Answers under tokens of the next key, and requests spoiled meanwhile.
    after: usize,
    spoiled: Vec<String>,
}

impl Emergency {
    /// Whether the key opened something until it was withdrawn and nothing once that had taken effect, within the lease,
    /// and the commune was refused for nothing else.
    pub(super) fn holds(&self) -> bool {
        let of_the_key = |told: &String| told.starts_with(&Reason::GrantRevoked.to_string());
        self.stolen >= ENOUGH
            && self.took_us * 100 <= self.lease_us * (100 + MORE)
            && self.late == 0
            && self.refused >= ENOUGH
            && self.otherwise.is_empty()
            && self.waited.iter().all(of_the_key)
            && self.after > 0
            && self.spoiled.is_empty()
    }

    /// What the thief was given, against when the withdrawal was recorded and had taken effect.
    fn judge(calls: &[Fetched], recorded: Micros, effective: Micros, lease_us: i64) -> Self {
        let answered = || calls.iter().filter(|call| call.ended == Ended::Answered);
        let arrivals = || calls.iter().flat_map(|call| &call.arrivals);
        let later = calls.iter().filter(|call| call.began > effective);
        let (refused, otherwise): (Vec<_>, Vec<_>) = later
            .map(|call| &call.ended)
            .partition(|ended| **ended == Ended::Refused(Reason::GrantRevoked.to_string()));
        Self {
            lease_us,
            took_us: effective.get() - recorded.get(),
            stolen: answered().count(),
            last_us: arrivals().map(|arrival| arrival.by.get() - recorded.get()).max(),
            late: arrivals()
                .filter(|arrival| arrival.after > effective)
                .map(|arrival| arrival.bytes)
                .sum(),
            refused: refused.len(),
            otherwise: otherwise.iter().map(|ended| format!("{ended:?}")).collect(),
            waited: Vec::new(),
            after: 0,
            spoiled: Vec::new(),
        }
    }
}

impl fmt::Display for Emergency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: i64| {
            format!(
                "{:.1} ms",
                f64::from(i32::try_from(us).unwrap_or(i32::MAX)) / 1_000.0
            )
        };
        writeln!(
            f,
            "  the key of tokens is lost: its withdrawal took effect after {}, the lease is {}",
            ms(self.took_us),
            ms(self.lease_us)
        )?;
        let last = self.last_us.map_or_else(|| "never".to_owned(), ms);
        writeln!(
            f,
            "    a thief with that key: {} answers, the last byte {last} after the record; after the effect {} bytes, {} \
             calls refused, {} ended otherwise {}",
            self.stolen,
            self.late,
            self.refused,
            self.otherwise.len(),
            self.otherwise.join(" ")
        )?;
        writeln!(
            f,
            "    the commune: {} requests under its tokens of that key refused {}; then {} answers, {} refused or put off {}",
            self.waited.len(),
            self.waited.join(" "),
            self.after,
            self.spoiled.len(),
            self.spoiled.join(" ")
        )
    }
}

impl Running {
    /// Loses the key that signs tokens, and withdraws it.
    pub(super) async fn lose(&mut self, publisher: &Publisher, authority: &str) -> anyhow::Result<Emergency> {
        let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
        let thief = Arc::new(Thief::new(
            &self.load.world,
            publisher.document(),
            publisher.token_key()?,
            Script::default().person(),
            tasks.clone(),
        )?);
        let mut stealing = JoinSet::new();
        let (at_work, until) = (Arc::clone(&thief), over.clone());
        stealing.spawn(async move { at_work.work(&until).await });
        until_thief(&thief, &mut stealing, |(answered, _)| answered >= ENOUGH).await?;

        self.withdraw(publisher).await?;
        let db = Db::open_beside(authority, Component::Authority).await?;
        let mut tx = db.begin().await?;
        let (_, records) = revocation::log(&mut tx, 0, u64::MAX >> 1).await?;
        tx.commit().await?;
        let record = records.last().context("the withdrawal is recorded")?;
        let effect = effect_read(&db, record.place.seq).await?;
        db.close().await;
        let (effective, _) = effect.context("the withdrawal has taken effect")?;
        // Whoever stole the key also writes what its tokens claim to know.
        let (epoch, seq) = (record.place.epoch, record.place.seq);
        thief.claims(RevocationView { epoch, seq });
        let (_, before) = thief.counts();

        // Tokens of the lost key wait beside their grants: each is refused once, and asked for again.
        let (_, waited) = self.answered().await?;
        let (after, spoiled) = self.answered().await?;
        until_thief(&thief, &mut stealing, |(_, calls)| calls > before + ENOUGH).await?;
        over.cancel();
        while let Some(ended) = stealing.join_next().await {
            ended??;
        }
        tasks.close();
        tasks.wait().await;
        let lease_us = i64::from(publisher.document().lease_ms) * 1_000;
        Ok(Emergency {
            waited,
            after,
            spoiled,
            ..Emergency::judge(&thief.seen(), record.at, effective, lease_us)
        })
    }

    /// As the operator types it: it returns once the withdrawal has taken effect.
    async fn withdraw(&self, publisher: &Publisher) -> anyhow::Result<()> {
        let config = self.load.world.file(Member::Authority).display().to_string();
        let kid = publisher.token_kid()?;
        let line = [
            "unefois",
            "--json",
            "withdraw",
            "--config",
            &config,
            "--reason",
            "clé perdue",
            "signing-key",
            &kid,
        ]
        .map(std::ffi::OsString::from);
        let withdrawn = tokio::task::spawn_blocking(|| unefois::run(line)).await?;
        ensure!(withdrawn == ExitCode::SUCCESS, "the key is not withdrawn");
        Ok(())
    }
}

/// Waits until the thief's answers and calls are `enough`.
async fn until_thief(
    thief: &Thief,
    stealing: &mut JoinSet<anyhow::Result<()>>,
    enough: impl Fn((usize, usize)) -> bool,
) -> anyhow::Result<()> {
    let waiting = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while !enough(thief.counts()) {
            look.tick().await;
        }
    };
    tokio::select! {
        ended = stealing.join_next() => bail!("the thief stopped: {ended:?}"),
        waited = tokio::time::timeout(THIEF_WITHIN, waiting) => waited.with_context(|| {
            let last = thief.seen().pop().map(|call| call.ended);
            format!("the thief's answers and calls are {:?}, the last {last:?}", thief.counts())
        }),
    }
}
