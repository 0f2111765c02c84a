//! How long a withdrawal takes until it holds everywhere: an authority in one process, producers in several others.
//!
//! Two kinds: the commune gives a grant back (GRANT, which waits for one producer), and the operator withdraws a client
//! (CLIENT, which waits for all). First with every producer connected; then with some cut off at the moment of the
//! withdrawal, a quarter of them each way: their process stopped, what the authority says held up, what they say held up,
//! and a reader that takes nothing. Time runs from the request to the instant that the proof names, both by the clock of
//! this one machine.
//!
//! Beside the times it is checked that no producer could decide a release under a withdrawal after that instant: each asks
//! its lease every 2 ms.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::{try_join_all, try_join3};
use unefois_bench::{Judged, Place, Store, Took, Withdrawals, fdatasync_ms, machine, participant};
use unefois_core::effect::Standing;
use unefois_core::{Clock, Micros, ParticipantId};
use unefois_mesh::{SystemClock, SystemRandom};

use super::bare::observe_ms;
use super::hand::{Done, Given, Hand, give};
use super::process::Process;
use super::producers::{Answer, Order, Producers};
use super::way::{Door, Held, Way};
use crate::demo::process::Process as Role;
use crate::demo::world::crowd::Crowd;
use crate::demo::world::{Member, Setting, World};

/// How long an answer of the authority holds, as the directory says.
const LEASE_MS: u32 = 1_000;
/// What 99 of 100 withdrawals must reach where every producer concerned is connected, in milliseconds.
const CONNECTED_MS: f64 = 250.0;
/// What every withdrawal must reach: the lease and a tenth of it.
const BOUND_MS: f64 = 1_100.0;
/// Processes of the producers that are never cut off.
const WHOLE: usize = 4;
/// How long the authority may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// One in how many rounds is done with producers cut off too.
const CUT_EVERY: usize = 5;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Producers that hold a lease.
    pub nodes: usize,
    /// How many of them are cut off in the second part.
    pub partitioned: usize,
    /// Withdrawals of each kind with all connected; a fifth of that, 4 at least, with some cut off.
    pub rounds: usize,
    /// The authority's database.
    pub store: Store,
    /// On whose disk everything lies.
    pub folder: PathBuf,
}

impl Plan {
    fn cuts(&self) -> usize {
        match self.partitioned {
            0 => 0,
            _ => self.rounds.div_ceil(CUT_EVERY).max(4),
        }
    }
}

/// What was measured, and what must not be.
#[derive(Debug)]
pub struct Outcome {
    /// The figures.
    pub report: Withdrawals,
    /// What contradicts that the withdrawals held when they were said to; none is how it must be.
    pub wrong: Vec<String>,
}

/// A way of being cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The process is stopped.
    Stopped,
    /// It hears nothing.
    Deaf,
    /// It is not heard.
    Mute,
    /// Its readers take nothing.
    Unread,
}

impl Cut {
    const ALL: [Self; 4] = [Self::Stopped, Self::Deaf, Self::Mute, Self::Unread];
}

/// Measures; `progress` hears the step, and how much of how much of it is done.
///
/// # Errors
/// Nothing could be measured: a process did not start, or a withdrawal was refused.
pub async fn withdraw(plan: &Plan, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Outcome> {
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
    let folder = tempfile::Builder::new()
        .prefix("unefois-bench-")
        .tempdir_in(&plan.folder)?;
    progress("monde", 0, 1);
    let (deaf, mute) = (Door::open().await?, Door::open().await?);
    let members: Vec<ParticipantId> = (1_u64..).map(participant).take(plan.nodes).collect();
    let setting = Setting {
        lease_ms: LEASE_MS,
        crowd: Crowd {
            members: members.clone(),
            detours: vec![deaf.port()?, mute.port()?],
        },
        ..Setting::default()
    };
    let world = World::create(folder.path(), setting, clock.now(), &random)
        .map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let server = match plan.store {
        Store::Sqlite => None,
        Store::Postgres => Some(Place::new(Store::Postgres, None, &plan.folder)?),
    };
    let url = server.as_ref().map_or_else(
        || {
            format!(
                "sqlite:{}",
                world.folder("authority").join("authority.db").display()
            )
        },
        |server| server.url.clone(),
    );
    let operators = operators(plan, &members);
    let given = give(&url, &operators, clock.now(), &random).await?;

    let program = std::env::current_exe()?;
    let mut authority = Role::start(
        &program,
        &world,
        Member::Authority,
        &[
            ("UNEFOIS__DATABASE__URL", &url),
            // Everybody is at one address here.
            ("UNEFOIS__LIMITS__CONNECTIONS_PER_ADDRESS", "1024"),
            // Who would cosign does not run.
            ("UNEFOIS__WITNESS__ASK", "[]"),
        ],
    )?;
    authority.ready(READY_WITHIN).await?;
    let mut field = Field {
        deaf: deaf.lead(world.ports.authority)?,
        mute: mute.lead(world.ports.authority)?,
        whole: Vec::new(),
        cut: Vec::new(),
    };
    field.start(plan, &world, &program)?;
    progress("producteurs", 0, 1);
    field.all(Order::Await).await?;
    let hand = Hand::open(&world, &url, &clock).await?;
    let mut report = Withdrawals {
        nodes: plan.nodes,
        partitioned: plan.partitioned,
        processes: field.whole.len() + field.cut.len(),
        lease_ms: LEASE_MS,
        store: plan.store.as_str(),
        machine: machine(),
        fdatasync_ms: fdatasync_ms(&plan.folder, &*clock)?,
        ping_ms: hand.ping_ms().await?,
        observe_ms: observe_ms(folder.path(), &clock, &random).await?,
        rows: Vec::new(),
    };

    let mut run = Run {
        plan,
        hand: &hand,
        field: &mut field,
        given: given.into_iter().zip(operators),
        judged: Vec::new(),
    };
    run.measure(&mut report, progress)
        .await
        .with_context(|| last_words(&world))?;
    let judged = run.judged;
    let wrong = judge(&judged, &members, &mut field).await?;
    hand.close().await;
    drop(field);
    authority.stop().await?;
    Ok(Outcome { report, wrong })
}

/// The end of the authority's log, which goes with the world's folder.
fn last_words(world: &World) -> String {
    let log = std::fs::read_to_string(world.folder("authority").join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// The producer of each grant, in the order in which they are given back.
fn operators(plan: &Plan, members: &[ParticipantId]) -> Vec<ParticipantId> {
    let whole = plan.nodes - plan.partitioned;
    let connected = members.iter().copied().cycle().take(1 + plan.rounds);
    let (beside, cut) = members.split_at(whole);
    let pairs = cut.iter().cycle().zip(beside.iter().cycle()).take(plan.cuts());
    connected
        .chain(pairs.flat_map(|(cut, beside)| [*cut, *beside]))
        .collect()
}

/// The processes of producers, and the ways on which some reach the authority.
#[derive(Debug)]
struct Field {
    deaf: Way,
    mute: Way,
    whole: Vec<Process>,
    cut: Vec<(Cut, Process)>,
}

impl Field {
    fn start(&mut self, plan: &Plan, world: &World, program: &Path) -> anyhow::Result<()> {
        let process = |first: usize, count: usize, port: u16| {
            let asked = Producers {
                root: world.root.clone(),
                first,
                count,
                port,
                pin: world.pin.to_string(),
            };
            Process::start(program, asked)
        };
        let whole = plan.nodes - plan.partitioned;
        let mut first = 0;
        for count in shares(whole, WHOLE) {
            self.whole.push(process(first, count, world.ports.authority)?);
            first += count;
        }
        for (cut, count) in Cut::ALL.into_iter().zip(shares(plan.partitioned, Cut::ALL.len())) {
            let port = match cut {
                Cut::Stopped | Cut::Unread => world.ports.authority,
                Cut::Deaf => self.deaf.port,
                Cut::Mute => self.mute.port,
            };
            self.cut.push((cut, process(first, count, port)?));
            first += count;
        }
        Ok(())
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.whole
            .iter_mut()
            .chain(self.cut.iter_mut().map(|(_, process)| process))
    }

    /// Gives every process an order; their answers in the order of their producers.
    async fn all(&mut self, order: Order) -> anyhow::Result<Vec<Answer>> {
        try_join_all(self.processes().map(|process| process.order(order))).await
    }

    async fn order_unread(&mut self, order: Order) -> anyhow::Result<()> {
        for (cut, process) in &mut self.cut {
            if *cut == Cut::Unread {
                process.order(order).await?;
            }
        }
        Ok(())
    }

    /// Cuts them off.
    async fn cut(&mut self) -> anyhow::Result<()> {
        // What takes longest first: the others' last answers should be as fresh as can be.
        self.order_unread(Order::StopReading).await?;
        self.deaf.hold(Held::Answers);
        self.mute.hold(Held::Calls);
        for (cut, process) in &self.cut {
            if *cut == Cut::Stopped {
                process.freeze()?;
            }
        }
        Ok(())
    }

    /// Connects them again, and waits until every lease is fresh.
    async fn heal(&mut self) -> anyhow::Result<()> {
        for (cut, process) in &self.cut {
            if *cut == Cut::Stopped {
                process.thaw()?;
            }
        }
        self.deaf.hold(Held::Nothing);
        self.mute.hold(Held::Nothing);
        self.order_unread(Order::ReadAgain).await?;
        self.all(Order::Await).await.map(drop)
    }
}

/// `all` cut into `parts` that differ by one at most; those of nothing left out.
fn shares(all: usize, parts: usize) -> impl Iterator<Item = usize> {
    let share = move |n: usize| all / parts + usize::from(n < all % parts);
    (0..parts).map(share).filter(|count| *count > 0)
}

/// A withdrawal that is to be judged.
#[derive(Debug)]
struct Judgeable {
    done: Done,
    /// Whether some producers were cut off.
    cut: bool,
}

struct Run<'a, G> {
    plan: &'a Plan,
    hand: &'a Hand,
    field: &'a mut Field,
    given: G,
    judged: Vec<Judgeable>,
}

impl<G: Iterator<Item = (Given, ParticipantId)>> Run<'_, G> {
    async fn measure(
        &mut self,
        report: &mut Withdrawals,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<()> {
        let tell = |step: &str, n: usize, of: usize| {
            progress(
                step,
                u64::try_from(n).unwrap_or(0),
                u64::try_from(of).unwrap_or(0),
            );
        };
        let (rounds, cuts) = (self.plan.rounds, self.plan.cuts());
        // The first of all also waits out what an earlier epoch may have answered.
        let (first, _) = self.next()?;
        self.hand.grant(&first).await?;
        self.hand.client().await?;

        let (mut grants, mut clients) = (Vec::new(), Vec::new());
        for n in 0..rounds {
            tell("retraits d'une autorisation", n, rounds);
            let (given, _) = self.next()?;
            let done = self.hand.grant(&given).await?;
            grants.push(self.take(done, false));
        }
        for n in 0..rounds {
            tell("retraits d'un client", n, rounds);
            let done = self.hand.client().await?;
            clients.push(self.take(done, false));
        }
        let p99 = Judged::P99(CONNECTED_MS);
        report.add("grant", "autorisation (GRANT), tous joignables", &grants, p99);
        report.add("client", "client (CLIENT), tous joignables", &clients, p99);

        let (mut beside, mut grants, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..cuts {
            tell("retraits sous coupure", n, cuts);
            let ((cut, _), (connected, _)) = (self.next()?, self.next()?);
            self.field.cut().await?;
            let hand = self.hand;
            let asked = try_join3(hand.grant(&connected), hand.grant(&cut), hand.client());
            let (one, two, three) = asked.await?;
            beside.push(self.take(one, true));
            grants.push(self.take(two, true));
            clients.push(self.take(three, true));
            self.field.heal().await?;
        }
        let max = Judged::Max(BOUND_MS);
        report.add(
            "grant_beside",
            "autorisation d'un joignable, d'autres coupés",
            &beside,
            p99,
        );
        report.add("grant_cut", "autorisation d'un producteur coupé", &grants, max);
        report.add("client_cut", "client, des producteurs coupés", &clients, max);
        Ok(())
    }

    fn next(&mut self) -> anyhow::Result<(Given, ParticipantId)> {
        self.given.next().context("every grant is given back")
    }

    fn take(&mut self, done: Done, cut: bool) -> Took {
        let took = done.took;
        self.judged.push(Judgeable { done, cut });
        took
    }
}

/// What contradicts that the withdrawals held when they were said to, or that they were measured under the conditions said.
async fn judge(
    judged: &[Judgeable],
    members: &[ParticipantId],
    field: &mut Field,
) -> anyhow::Result<Vec<String>> {
    let is_cut: Vec<bool> = field
        .whole
        .iter()
        .map(|process| (process.asked.count, false))
        .chain(field.cut.iter().map(|(_, process)| (process.asked.count, true)))
        .flat_map(|(count, cut)| std::iter::repeat_n(cut, count))
        .collect();
    let mut seen = Vec::with_capacity(members.len());
    for answer in field.all(Order::Tell).await? {
        match answer {
            Answer::Seen(of) => seen.extend(of),
            Answer::Done | Answer::Failed(_) => {}
        }
    }
    ensure!(
        seen.len() == members.len(),
        "a process of producers tells too little"
    );
    let mut wrong = Vec::new();
    for Judgeable { done, cut } in judged {
        let effect = &done.effect;
        let (seq, effective_at) = (effect.record.place.seq, effect.effective_at);
        for ((member, seen), is_cut) in members.iter().zip(&seen).zip(&is_cut) {
            if effect.operator.is_some_and(|operator| operator != *member) {
                continue;
            }
            let line = effect.logs.iter().find(|line| line.participant == *member);
            let standing = match line.map(|line| &line.standing) {
                Some(Standing::Acknowledged { .. }) => "acknowledged",
                Some(Standing::Lapsed { .. }) => "lapsed",
                Some(Standing::Opened) => "opened",
                Some(Standing::Absent) | None => "absent",
            };
            let expected = match standing {
                "acknowledged" => !(*cut && *is_cut),
                standing => standing == "lapsed",
            };
            if !expected {
                wrong.push(format!("{member} is {standing} in the proof of record {seq}"));
            }
            let open = seen.range(..seq).next_back().map(|(_, at)| Micros::new(*at));
            if let Some(open) = open.filter(|open| *open > effective_at) {
                let micros = open.get() - effective_at.get();
                wrong.push(format!(
                    "{member} could release {micros} µs after record {seq} was said to be in force"
                ));
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_and_nearly_equal() {
        let of = |all, parts| shares(all, parts).collect::<Vec<_>>();
        assert_eq!(of(180, 4), [45; 4]);
        assert_eq!(of(7, 4), [2, 2, 2, 1]);
        assert_eq!(of(2, 4), [1, 1]);
        assert!(of(0, 4).is_empty());
    }

    #[test]
    fn there_is_a_grant_for_each_withdrawal_and_it_is_of_the_right_producer() {
        let members: Vec<ParticipantId> = (1..=5).map(participant).collect();
        let plan = Plan {
            nodes: 5,
            partitioned: 2,
            rounds: 3,
            store: Store::Sqlite,
            folder: PathBuf::new(),
        };
        let all = operators(&plan, &members);
        assert_eq!(all.len(), 1 + 3 + 2 * plan.cuts());
        for pair in all[4..].chunks(2) {
            assert!(members[3..].contains(&pair[0]), "one that is cut off");
            assert!(members[..3].contains(&pair[1]), "one that is not");
        }
    }
}
