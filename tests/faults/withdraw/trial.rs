//! One interleaving: a token, a withdrawal of its grant, and fetches begun at any moment around it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::{SystemClock, SystemRandom};

use super::chance::Chance;
use super::consumer::{Consumer, Fetched, Manner, Token};
use super::effects::{Effective, Effects};
use super::grants::Given;
use super::link::Link;
use super::source::pause;
use super::tap::Arrival;

/// Within this, fetch and withdrawal begin.
const TOGETHER: Duration = Duration::from_millis(300);
/// Within this, a request is sent again, and a consumer that waits reads.
const LATER: Duration = Duration::from_millis(700);
/// How long an authority that does not answer is asked again, and a withdrawal may take until it is proved.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before the authority is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// What happens in one interleaving, and when, from when its token is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    fetch: Duration,
    withdraw: Duration,
    /// Whether the withdrawal waits for the answer to be on its way first.
    behind: bool,
    /// How the first request is taken, and the same one where it is sent again.
    manners: [Manner; 2],
    again: Option<When>,
    open: When,
}

/// A moment.
#[derive(Clone, Copy, Debug)]
enum When {
    At(Duration),
    /// Once the withdrawal has taken effect.
    Effective,
}

impl Plan {
    /// Any of them.
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let when = |chance: &mut Chance| match chance.one_in(2) {
            true => When::Effective,
            false => When::At(chance.below(LATER)),
        };
        Self {
            fetch: chance.below(TOGETHER),
            withdraw: chance.below(TOGETHER),
            behind: false,
            manners: [manner(chance), manner(chance)],
            again: chance.one_in(2).then(|| when(chance)),
            open: when(chance),
        }
    }

    /// One whose answer is on its way when its grant is withdrawn, to a consumer that takes the rest once the withdrawal
    /// has taken effect.
    pub(crate) fn under_way(chance: &mut Chance) -> Self {
        Self {
            fetch: Duration::ZERO,
            withdraw: chance.below(TOGETHER),
            behind: true,
            manners: [Manner::Window(window(chance)); 2],
            again: None,
            open: When::Effective,
        }
    }
}

fn manner(chance: &mut Chance) -> Manner {
    match chance.pick(4) {
        0 => Manner::Window(window(chance)),
        1 => Manner::Unread,
        _ => Manner::Prompt,
    }
}

/// Less than the smallest answer.
fn window(chance: &mut Chance) -> u32 {
    u32::try_from(1 + chance.pick(1_500)).unwrap_or(1)
}

/// What all interleavings share.
pub(crate) struct Scene {
    pub(crate) consumer: Consumer,
    pub(crate) effects: Arc<Effects>,
    pub(crate) link: Link,
    pub(crate) over: CancellationToken,
    /// When each token was asked for, and there.
    pub(crate) minted: Mutex<Vec<(Micros, Micros)>>,
    /// When each withdrawal was asked for, and acknowledged.
    pub(crate) withdrawn: Mutex<Vec<(Micros, Micros)>>,
}

/// One interleaving, as it went.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) handle: String,
    /// When the token was asked for that it had.
    pub(crate) minted: Micros,
    /// When the withdrawal was first asked for; it was acknowledged, later.
    pub(crate) asked: Micros,
    pub(crate) effective: Effective,
    /// When the authority had last heard of the producer, as the withdrawal was asked for.
    pub(crate) heard: Micros,
    pub(crate) fetches: Vec<(Manner, Fetched)>,
}

impl Trial {
    /// From when to when it lasted.
    pub(crate) fn span(&self) -> (Micros, Micros) {
        let began = self.fetches.iter().map(|(_, fetched)| fetched.began);
        let ended = self.fetches.iter().map(|(_, fetched)| fetched.at);
        (
            began.fold(self.asked, Micros::min),
            ended.fold(self.effective.at, Micros::max),
        )
    }

    /// Whether a consumer took nothing of an answer that was under way when the withdrawal was asked for.
    pub(crate) fn is_shut(&self) -> bool {
        let mut fetches = self.fetches.iter();
        fetches.any(|(manner, fetched)| {
            !matches!(manner, Manner::Prompt) && fetched.began < self.asked && self.asked < fetched.at
        })
    }

    /// Bytes of answers that arrived after the withdrawal had taken effect, and how much later the last of them.
    pub(crate) fn late(&self) -> (usize, i64) {
        let late = self
            .arrivals()
            .filter(|arrival| arrival.after > self.effective.at);
        late.fold((0, 0), |(bytes, us), arrival| {
            let later = arrival.by.get() - self.effective.at.get();
            (bytes + arrival.bytes, us.max(later))
        })
    }

    /// Bytes of answers of which two looks do not tell whether they arrived before.
    pub(crate) fn unclear(&self) -> usize {
        let at = self.effective.at;
        let unclear = self
            .arrivals()
            .filter(|arrival| arrival.after <= at && at < arrival.by);
        unclear.map(|arrival| arrival.bytes).sum()
    }

    /// Each fetch: how it was taken, from when to when, and when its bytes arrived.
    pub(crate) fn told(&self, since: impl Fn(Micros) -> i64) -> String {
        let tell = |(manner, fetched): &(Manner, Fetched)| {
            let arrivals = fetched.arrivals.iter();
            let arrivals: Vec<_> = arrivals.map(|a| (since(a.after), since(a.by), a.bytes)).collect();
            let span = (since(fetched.began), since(fetched.at));
            format!("{manner:?} {span:?} {:?} {arrivals:?}", fetched.ended)
        };
        self.fetches.iter().map(tell).collect::<Vec<_>>().join("; ")
    }

    fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.fetches.iter().flat_map(|(_, fetched)| &fetched.arrivals)
    }
}

/// Plays one.
pub(crate) async fn play(scene: &Scene, given: &Given, plan: Plan) -> anyhow::Result<Trial> {
    let (minted, token) = mint(scene, given).await?;
    let (request, handle) = (token.request(&SystemRandom::new()), given.handle.to_string());
    let (opened, effective) = (CancellationToken::new(), CancellationToken::new());
    let (answering, later) = (CancellationToken::new(), CancellationToken::new());
    let [first, second] = plan.manners;
    let fetching = async {
        pause(plan.fetch, &scene.over).await;
        (
            first,
            scene.consumer.fetch(&request, first, &opened, &answering).await,
        )
    };
    let again = async {
        wait(scene, plan.again?, &effective).await;
        Some((
            second,
            scene.consumer.fetch(&request, second, &opened, &later).await,
        ))
    };
    let withdrawing = async {
        // However it ends, what waits for it goes on.
        let _ended = effective.clone().drop_guard();
        if plan.behind {
            answering.cancelled().await;
        }
        pause(plan.withdraw, &scene.over).await;
        let heard = scene.link.heard();
        let asked = SystemClock.now();
        withdraw(scene, given).await?;
        let taken = tokio::time::timeout(PATIENCE, scene.effects.of(&handle)).await;
        let taken = taken.context("a withdrawal does not take effect")?;
        anyhow::Ok((heard, asked, taken))
    };
    let opening = async {
        wait(scene, plan.open, &effective).await;
        opened.cancel();
    };
    let (fetched, again, withdrawn, ()) = tokio::join!(fetching, again, withdrawing, opening);
    let (heard, asked, taken) = withdrawn?;
    Ok(Trial {
        handle,
        minted,
        asked,
        effective: taken,
        heard,
        fetches: [Some(fetched), again].into_iter().flatten().collect(),
    })
}

/// Asks for tokens of a grant that nobody withdraws until `back`, and once more: how long the authority gives none is seen
/// although everybody else waits for something.
pub(crate) async fn ask_on(scene: &Scene, given: &Given, back: &CancellationToken) -> anyhow::Result<()> {
    let asking = async {
        loop {
            let (last, began) = (back.is_cancelled(), SystemClock.now());
            let minted = scene.consumer.mint(&given.refresh_token, &given.handle).await;
            if minted.is_ok() {
                note(&scene.minted, began);
                if last {
                    return;
                }
            }
            pause(AGAIN, &scene.over).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.context("the authority does not mint again")
}

async fn wait(scene: &Scene, when: When, effective: &CancellationToken) {
    match when {
        When::At(time) => pause(time, &scene.over).await,
        When::Effective => effective.cancelled().await,
    }
}

async fn mint(scene: &Scene, given: &Given) -> anyhow::Result<(Micros, Token)> {
    let minting = async {
        loop {
            let began = SystemClock.now();
            match scene.consumer.mint(&given.refresh_token, &given.handle).await {
                Ok(token) => {
                    note(&scene.minted, began);
                    return (began, token);
                }
                Err(_) => pause(AGAIN, &scene.over).await,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, minting).await {
        Ok(token) => Ok(token),
        Err(_) => {
            let last = scene.consumer.mint(&given.refresh_token, &given.handle).await;
            bail!("the authority mints nothing: {:?}", last.err())
        }
    }
}

/// Something that began then is done.
fn note(done: &Mutex<Vec<(Micros, Micros)>>, began: Micros) {
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    done.push((began, SystemClock.now()));
}

/// Asks until it is acknowledged: asked twice, it is withdrawn once.
async fn withdraw(scene: &Scene, given: &Given) -> anyhow::Result<()> {
    let asking = async {
        loop {
            let began = SystemClock.now();
            if scene.consumer.withdraw(&given.grant).await.is_ok() {
                return note(&scene.withdrawn, began);
            }
            pause(AGAIN, &scene.over).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.context("a withdrawal is not acknowledged")
}
