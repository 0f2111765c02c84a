//! A commune that asks and fetches without pause, and sends again, under its own id, what was not answered.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use unefois::demo::asker::Asker;
use unefois::demo::browser::Browser;
use unefois::demo::script::Script;
use unefois::demo::world::{CNAF, World};
use unefois_core::{Clock as _, Random};
use unefois_mesh::status::Refusal;
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_proto::pb::backoffice::v1::{FetchRequest, FetchResponse};

/// People who grant at once.
const GRANTING: usize = 3;
/// Fetches at once.
const FETCHING: usize = 8;
/// Grants that wait to be used, at most.
const WAITING: usize = 100;
/// Grants from one browser: the portal's limit of requests an address is for more people than one.
const GRANTS_A_BROWSER: usize = 25;
/// Each so many answers, one request is sent once more.
const REPEAT: usize = 8;
/// How long a fetch that was not answered waits before it is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// The commune at work.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) world: World,
    script: Arc<Script>,
    handles: Mutex<VecDeque<String>>,
    browsers: AtomicUsize,
    over: AtomicBool,
    /// Fetches under way, sent and not answered.
    pub(crate) in_flight: AtomicUsize,
    /// Whether the producer serves.
    pub(crate) up: watch::Sender<bool>,
    pub(crate) seen: Mutex<Seen>,
}

/// What the commune saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What it was given.
    pub(crate) answers: Vec<FetchResponse>,
    /// Requests that had to be sent again.
    pub(crate) sent_again: usize,
    /// Requests that ended in a refusal: its reason, when it came, and what had put it off before.
    pub(crate) refused: Vec<String>,
}

impl Load {
    pub(crate) fn new(world: World) -> Self {
        Self {
            world,
            script: Arc::default(),
            handles: Mutex::default(),
            browsers: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            up: watch::Sender::new(false),
            seen: Mutex::default(),
        }
    }

    /// Whether enough grants wait for the first kill.
    pub(crate) fn is_full(&self) -> bool {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).len() >= WAITING
    }

    /// Proofs received so far.
    pub(crate) fn proofs(&self) -> usize {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answers
            .len()
    }

    /// Takes no new grant and begins no new fetch; those under way end.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Works until [`Self::end`].
    pub(crate) async fn work(self: Arc<Self>) -> anyhow::Result<()> {
        let mut workers = JoinSet::new();
        for _ in 0..GRANTING {
            workers.spawn(Arc::clone(&self).grant());
        }
        for _ in 0..FETCHING {
            workers.spawn(Arc::clone(&self).fetch());
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn grant(self: Arc<Self>) -> anyhow::Result<()> {
        let mut pace = tokio::time::interval(PAUSE);
        while !self.is_over() {
            let number = self.browsers.fetch_add(1, Ordering::Relaxed);
            let [high, low] = u16::try_from(number).context("too many browsers")?.to_be_bytes();
            let browser = Browser::at(Ipv4Addr::new(127, 1, high, low));
            let mut asker = Asker::new(&self.world, Arc::clone(&self.script), browser);
            for _ in 0..GRANTS_A_BROWSER {
                while self.is_full() && !self.is_over() {
                    pace.tick().await;
                }
                if self.is_over() {
                    break;
                }
                let (grant, _) = asker.authorize("2026-0412").await?;
                let element = grant.elements.into_iter().find(|e| e.producer == CNAF);
                let handle = element.context("the fund's element was not granted")?.handle;
                let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
                handles.push_back(handle);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<String> {
        self.handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    async fn fetch(self: Arc<Self>) -> anyhow::Result<()> {
        let asker = Asker::new(&self.world, Arc::clone(&self.script), Browser::default());
        let mut backoffice = asker.backoffice;
        let mut pace = tokio::time::interval(PAUSE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut up = self.up.subscribe();
        while !self.is_over() {
            up.wait_for(|up| *up).await?;
            let Some(handle) = self.next() else {
                pace.tick().await;
                continue;
            };
            let request = FetchRequest {
                handle,
                request_id: request_id(),
                ..Default::default()
            };
            let (mut again, mut repeated) = (false, false);
            let (began, mut put_off) = (SystemClock.boottime(), BTreeMap::<String, usize>::new());
            loop {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                let answered = backoffice.fetch(request.clone()).await;
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
                match answered {
                    Ok(answer) => {
                        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.answers.push(answer.into_inner());
                        seen.sent_again += usize::from(again);
                        again = false;
                        // Every so often the same request once more, as a caller does that lost the answer.
                        let once_more = !repeated && seen.answers.len().is_multiple_of(REPEAT);
                        if !once_more {
                            break;
                        }
                        repeated = true;
                    }
                    Err(status) => match Refusal::of(&status) {
                        Some(refusal) if !refusal.reason.retryable() => {
                            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                            let ms = SystemClock.boottime().micros_since(began) / 1_000;
                            seen.refused.push(format!(
                                "{} after {ms} ms and {put_off:?}, repeated: {repeated}",
                                refusal.reason
                            ));
                            break;
                        }
                        refusal => {
                            again = true;
                            let why = refusal
                                .map_or_else(|| status.to_string(), |refusal| refusal.reason.to_string());
                            *put_off.entry(why).or_default() += 1;
                            up.wait_for(|up| *up).await?;
                            pace.tick().await;
                        }
                    },
                }
            }
        }
        Ok(())
    }
}

/// A new UUID version 7.
fn request_id() -> String {
    let random = SystemRandom::new();
    let millis = u64::try_from(SystemClock.now().get() / 1_000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &(&random as &dyn Random).bytes())
        .into_uuid()
        .to_string()
}
