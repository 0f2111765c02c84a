//! The faults, one after the other, each followed by a time in which all is well.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::SystemClock;

use super::chance::Chance;
use super::link::Passage;
use super::source::pause;
use super::stage::{Role, Stage};
use super::takeover::{self, Outsider, Takeover};
use super::trial::ask_on;

/// How long all is well between two faults.
const WELL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(2_500));
/// How long a fault lasts.
const LASTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// When what was sent before a cut has arrived.
const UNDER_WAY_MS: i64 = 2_000;
/// How late bytes come.
const LATE: Duration = Duration::from_secs(5);
/// How long a clock stays wrong at least: its process hears of it within a second.
const WRONG: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Fault {
    None,
    ProducerStopped,
    AuthorityStopped,
    /// Nothing comes from the producer to the authority.
    CutUp,
    /// Nothing comes from the authority to the producer.
    CutDown,
    CutBoth,
    Late,
    ProducerKilled,
    AuthorityKilled,
    ProducerClock,
    AuthorityClock,
    /// The authority is killed while another process waits for its turn.
    StandbyAfterKill,
    /// It is stopped in its tracks, and goes on once the other serves, or when that is about to.
    StandbyAfterStop,
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::ProducerStopped,
        Self::AuthorityStopped,
        Self::CutUp,
        Self::CutDown,
        Self::CutBoth,
        Self::Late,
        Self::ProducerKilled,
        Self::AuthorityKilled,
        Self::ProducerClock,
        Self::AuthorityClock,
        Self::StandbyAfterKill,
        Self::StandbyAfterStop,
    ];

    const fn is_clock(self) -> bool {
        matches!(self, Self::ProducerClock | Self::AuthorityClock)
    }

    /// Whether a second process of the authority takes over.
    pub(crate) const fn is_takeover(self) -> bool {
        matches!(self, Self::StandbyAfterKill | Self::StandbyAfterStop)
    }

    /// Whether the process that is the authority is another afterwards.
    const fn ends_authority(self) -> bool {
        self.is_takeover() || matches!(self, Self::AuthorityKilled)
    }

    /// Whether nothing of the producer reaches the authority meanwhile.
    pub(crate) const fn keeps_apart(self) -> bool {
        matches!(self, Self::ProducerStopped | Self::CutUp | Self::CutBoth)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::ProducerStopped => "producer stopped",
            Self::AuthorityStopped => "authority stopped",
            Self::CutUp => "cut, to the authority",
            Self::CutDown => "cut, to the producer",
            Self::CutBoth => "cut, both ways",
            Self::Late => "heartbeats 5 s late",
            Self::ProducerKilled => "producer killed",
            Self::AuthorityKilled => "authority killed",
            Self::ProducerClock => "producer's clock ± 1 h",
            Self::AuthorityClock => "authority's clock ± 1 h",
            Self::StandbyAfterKill => "standby after a kill",
            Self::StandbyAfterStop => "standby after a stop",
        })
    }
}

/// One fault, from when to when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    pub(crate) fault: Fault,
    pub(crate) from: Micros,
    pub(crate) to: Micros,
    /// How the standby took over, where one did.
    pub(crate) takeover: Option<Takeover>,
}

impl Spell {
    /// How much of a span it covers.
    pub(crate) fn overlap(&self, (from, to): (Micros, Micros)) -> i64 {
        self.to.min(to).get() - self.from.max(from).get()
    }
}

/// Injects until `enough`, `only` these or all; what was injected. `outsider` asks an authority that was superseded.
pub(crate) async fn inject(
    stage: &mut Stage,
    chance: &mut Chance,
    (only, outsider): (&[Fault], &Outsider),
    enough: &CancellationToken,
) -> anyhow::Result<Vec<Spell>> {
    let mut spells = Vec::new();
    // Each kind once before any comes again.
    let mut deck: Vec<Fault> = Vec::new();
    loop {
        let well = chance.between(WELL.0, WELL.1);
        // What is asked for comes at once, so that a short run meets it.
        if only.is_empty() || !spells.is_empty() {
            pause(well, enough).await;
        }
        if enough.is_cancelled() {
            return Ok(spells);
        }
        if deck.is_empty() {
            let possible = stage.possible();
            let wanted = possible.filter(|fault| only.is_empty() || only.contains(fault));
            deck.extend(wanted);
            ensure!(!deck.is_empty(), "none of these faults can be had here");
        }
        let drawn = usize::try_from(chance.pick(deck.len() as u64)).unwrap_or(0);
        let fault = deck.swap_remove(drawn);
        let back = CancellationToken::new();
        let injecting = async {
            let _back = back.clone().drop_guard();
            one(stage, fault, (chance, outsider), enough).await
        };
        let asking = async {
            match fault.ends_authority() {
                true => ask_on(&outsider.scene, &outsider.grant, &back).await,
                false => Ok(()),
            }
        };
        let (spell, ()) = tokio::try_join!(injecting, asking)?;
        spells.push(spell);
    }
}

impl Stage {
    /// The faults that can be had.
    pub(crate) fn possible(&self) -> impl Iterator<Item = Fault> + use<> {
        let (clocks, two) = (self.clocks, self.two);
        let all = Fault::ALL.into_iter();
        all.filter(move |fault| (clocks || !fault.is_clock()) && (two || !fault.is_takeover()))
    }
}

async fn one(
    stage: &mut Stage,
    fault: Fault,
    (chance, outsider): (&mut Chance, &Outsider),
    enough: &CancellationToken,
) -> anyhow::Result<Spell> {
    // Rather short than long: once its lease has lapsed, a producer only refuses.
    let lasts = chance
        .between(LASTS.0, LASTS.1)
        .min(chance.between(LASTS.0, LASTS.1));
    let (mut from, mut takeover) = (SystemClock.now(), None);
    match fault {
        Fault::None => {}
        Fault::ProducerStopped | Fault::AuthorityStopped => {
            let role = match fault {
                Fault::ProducerStopped => Role::Producer,
                _ => Role::Authority,
            };
            stage.signal(role, Signal::STOP)?;
            from = SystemClock.now();
            pause(lasts, enough).await;
            stage.signal(role, Signal::CONT)?;
        }
        Fault::CutUp | Fault::CutDown | Fault::CutBoth => {
            let (up, down) = (fault != Fault::CutDown, fault != Fault::CutUp);
            stage.cut(up, down)?;
            from = SystemClock.now();
            pause(lasts, enough).await;
            let heard = stage.link.heard();
            stage.mend(up, down)?;
            ensure!(
                !up || heard < from.plus_ms(UNDER_WAY_MS),
                "{fault}: the authority hears of the producer"
            );
        }
        Fault::Late => {
            let (up, down) = (Arc::clone(&stage.link.up), Arc::clone(&stage.link.down));
            let which = chance.pick(3);
            if which != 0 {
                up.send_replace(Passage::Late(LATE));
            }
            if which != 1 {
                down.send_replace(Passage::Late(LATE));
            }
            pause(LATE + lasts, enough).await;
            stage.link.free();
        }
        Fault::ProducerKilled | Fault::AuthorityKilled => {
            let role = match fault {
                Fault::ProducerKilled => Role::Producer,
                _ => Role::Authority,
            };
            stage.kill(role)?;
            // At once, or after a while.
            if chance.one_in(2) {
                pause(lasts / 2, enough).await;
            }
            // One that does not wait for its turn takes over at once, and does not end by itself once it is superseded.
            let waits = role == Role::Authority && stage.two && chance.one_in(2);
            stage.start(role, waits)?;
        }
        Fault::ProducerClock | Fault::AuthorityClock => {
            let role = match fault {
                Fault::ProducerClock => Role::Producer,
                _ => Role::Authority,
            };
            stage.set_clock(role, if chance.one_in(2) { 1 } else { -1 })?;
            pause(chance.between(WRONG.0, WRONG.1), enough).await;
            stage.set_clock(role, 0)?;
        }
        Fault::StandbyAfterKill | Fault::StandbyAfterStop => {
            // In half of them the producer hears nothing of the old one, of the new one, or of both.
            let (up, down) = (chance.one_in(2), chance.one_in(2));
            let (up, down) = match chance.one_in(2) {
                true => (up, down),
                false => (false, false),
            };
            stage.cut(up, down)?;
            let stopped = fault == Fault::StandbyAfterStop;
            let mut taken = takeover::take_over(stage, stopped, (chance, outsider), enough).await?;
            if up || down {
                pause(lasts / 2, enough).await;
                stage.mend(up, down)?;
            }
            taken.cut = up || down;
            (from, takeover) = (taken.from, Some(taken));
        }
    }
    let to = SystemClock.now();
    stage.ready(Role::Authority).await?;
    stage.ready(Role::Producer).await?;
    Ok(Spell {
        fault,
        from,
        takeover,
        // What is down stays so until it is ready.
        to: match fault {
            Fault::ProducerKilled | Fault::AuthorityKilled => SystemClock.now(),
            _ => to,
        },
    })
}
