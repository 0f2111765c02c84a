//! A second process of the authority takes over from one that was killed, or that stands still and goes on later.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::SystemClock;

use super::chance::Chance;
use super::grants::Given;
use super::source::pause;
use super::stage::Stage;
use super::trial::Scene;

/// Within this of when the second process waits, the first one fails.
const SOON: Duration = Duration::from_millis(300);
/// When one that was stopped goes on just before or after another has its epoch.
const ABOUT: (Duration, Duration) = (Duration::from_millis(900), Duration::from_millis(2_200));
/// For how long one that goes on must serve until nobody is about to supersede it.
const UNDISPUTED_MS: i64 = 3_000;
/// How long the other may serve before it goes on.
const SERVES: Duration = Duration::from_secs(2);
/// How one ends that was superseded, for its supervisor to start it again.
const SUPERSEDED: i32 = 75;

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeover {
    /// Since when nobody held the authority.
    pub(crate) from: Micros,
    /// Whether the one before went on only once the other served, or never: until then, nobody answered.
    pub(crate) clean: bool,
    /// Whether it was killed in the end.
    pub(crate) killed: bool,
    /// Whether the producer was cut off meanwhile.
    pub(crate) cut: bool,
    /// Calls that the one before was asked once it was superseded, and those that it allowed.
    pub(crate) asked: usize,
    pub(crate) allowed: usize,
    /// How long that one went on until it had ended, or knew that it serves no more.
    pub(crate) went_on_us: Option<i64>,
}

/// Who asks the authority, at an address of its own too, with a grant that nobody else has.
pub(crate) struct Outsider {
    pub(crate) scene: Arc<Scene>,
    pub(crate) grant: Given,
}

/// Has the second process wait, kills or stops the first, and has everybody led to the second once it serves.
pub(crate) async fn take_over(
    stage: &mut Stage,
    stopped: bool,
    (chance, outsider): (&mut Chance, &Outsider),
    enough: &CancellationToken,
) -> anyhow::Result<Takeover> {
    let (before, next) = (stage.holder, 1 - stage.holder);
    stage.authorities[next].start(true)?;
    stage.authorities[next].running()?.up().await?;
    pause(chance.below(SOON), enough).await;
    let mut taken = Takeover {
        from: SystemClock.now(),
        clean: true,
        killed: !stopped,
        cut: false,
        asked: 0,
        allowed: 0,
        went_on_us: None,
    };
    let early = stopped && chance.one_in(2);
    match stopped {
        true => stage.authorities[before].running()?.signal(Signal::STOP)?,
        false => stage.authorities[before].kill()?,
    }
    if early {
        pause(chance.between(ABOUT.0, ABOUT.1), &CancellationToken::new()).await;
        stage.authorities[before].running()?.signal(Signal::CONT)?;
        taken.clean = false;
        if !supersedes(stage, before, next).await? {
            (taken.from, taken.clean, taken.killed) = (SystemClock.now(), true, true);
            stage.authorities[before].kill()?;
            stage.authorities[next].running()?.ready().await?;
            stage.move_to(next, true);
            return Ok(taken);
        }
    }
    stage.authorities[next].running()?.ready().await?;
    stage.move_to(next, chance.one_in(2));
    if !stopped {
        return Ok(taken);
    }
    if !early {
        pause(chance.below(SERVES), enough).await;
        stage.authorities[before].running()?.signal(Signal::CONT)?;
    }
    fenced(stage, before, outsider, &mut taken).await?;
    Ok(taken)
}

/// Whether the other takes over from one that goes on.
async fn supersedes(stage: &mut Stage, before: usize, next: usize) -> anyhow::Result<bool> {
    let by = SystemClock.boottime().plus_ms(UNDISPUTED_MS);
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        let ended = stage.authorities[before].running()?.ended()?;
        let next = stage.authorities[next].running()?.says().await;
        if ended.is_some() || next == Some(true) {
            return Ok(true);
        }
        let undisputed = SystemClock.boottime() > by;
        if undisputed && stage.authorities[before].running()?.says().await == Some(true) {
            return Ok(false);
        }
    }
}

/// Asks one that was superseded until it has ended, or knows that it serves no more: it may allow nothing.
async fn fenced(
    stage: &mut Stage,
    before: usize,
    outsider: &Outsider,
    taken: &mut Takeover,
) -> anyhow::Result<()> {
    let began = SystemClock.boottime();
    let place = &mut stage.authorities[before];
    let (consumer, grant) = (outsider.scene.consumer.at(place.at), &outsider.grant);
    let ends = place.waits;
    let over = async {
        match ends {
            true => place.running()?.end().await.map(Some),
            false => place.running()?.unready().await.map(|()| None),
        }
    };
    let asking = async {
        loop {
            let minted = consumer.mint(&grant.refresh_token, &grant.handle).await;
            let withdrawn = consumer.withdraw(&grant.grant).await;
            taken.asked += 2;
            taken.allowed += usize::from(minted.is_ok()) + usize::from(withdrawn.is_ok());
            pause(Duration::from_millis(20), &CancellationToken::new()).await;
        }
    };
    let status = tokio::select! {
        status = over => status?,
        () = asking => None,
    };
    taken.went_on_us = Some(SystemClock.boottime().micros_since(began));
    match status {
        Some(status) => {
            let place = &mut stage.authorities[before];
            let words = place.running()?.last_words();
            ensure!(
                status.code() == Some(SUPERSEDED),
                "it ended with {status}: {words}"
            );
            place.clear();
        }
        None => stage.authorities[before].kill()?,
    }
    Ok(())
}
