//! The link between the producer and the authority: it forwards what either sends, holds it back, or lets it come late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::SystemClock;

/// Pieces that may be on their way, in each direction of a connection.
const ON_ITS_WAY: usize = 1_024;

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// They pass.
    Free,
    /// They wait until the passage is free again, as behind a network that comes back.
    Cut,
    /// Each arrives so much later.
    Late(Duration),
}

/// Where the authority is reached, as a floating address leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leads {
    pub(crate) to: SocketAddr,
    /// What was connected to where it led before is broken as it moves; else it stays as long as both ends do.
    pub(crate) breaks: bool,
}

/// Both directions.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// From the producer to the authority.
    pub(crate) up: Arc<watch::Sender<Passage>>,
    /// From the authority to the producer.
    pub(crate) down: Arc<watch::Sender<Passage>>,
    heard: Arc<AtomicI64>,
}

impl Link {
    /// Forwards what comes to `here` to where `there` leads at that moment, until `over`.
    pub(crate) async fn open(
        here: SocketAddr,
        there: watch::Receiver<Leads>,
        tasks: &TaskTracker,
        over: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(here).await?;
        let link = Self {
            up: Arc::new(watch::Sender::new(Passage::Free)),
            down: Arc::new(watch::Sender::new(Passage::Free)),
            heard: Arc::default(),
        };
        let (shared, spawning, over) = (link.clone(), tasks.clone(), over.clone());
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = over.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((producer, _)) = accepted else { continue };
                let (link, over, mut there) = (shared.clone(), over.clone(), there.clone());
                spawning.spawn(async move {
                    let to = there.borrow_and_update().to;
                    tokio::select! {
                        () = over.cancelled() => {}
                        () = link.join(producer, to) => {}
                        Ok(_) = there.wait_for(|leads| leads.breaks && leads.to != to) => {}
                    }
                });
            }
        });
        Ok(link)
    }

    /// When the authority last had bytes of the producer.
    pub(crate) fn heard(&self) -> Micros {
        Micros::new(self.heard.load(Ordering::SeqCst))
    }

    /// Holds back what goes to the authority, or comes from it.
    pub(crate) fn cut(&self, up: bool, down: bool) {
        for (passage, is_cut) in [(&self.up, up), (&self.down, down)] {
            if is_cut {
                passage.send_replace(Passage::Cut);
            }
        }
    }

    /// Lets everything pass.
    pub(crate) fn free(&self) {
        self.up.send_replace(Passage::Free);
        self.down.send_replace(Passage::Free);
    }

    /// One connection; its ends go together.
    async fn join(&self, producer: TcpStream, there: SocketAddr) {
        let Ok(authority) = TcpStream::connect(there).await else {
            return;
        };
        if producer
            .set_nodelay(true)
            .and(authority.set_nodelay(true))
            .is_err()
        {
            return;
        }
        let (from_producer, to_producer) = producer.into_split();
        let (from_authority, to_authority) = authority.into_split();
        tokio::select! {
            () = forward(from_producer, to_authority, self.up.subscribe(), Some(&self.heard)) => {}
            () = forward(from_authority, to_producer, self.down.subscribe(), None) => {}
        }
    }
}

async fn forward(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    passage: watch::Receiver<Passage>,
    heard: Option<&AtomicI64>,
) {
    let (queue, queued) = mpsc::channel(ON_ITS_WAY);
    // Whichever ends first: no byte comes any more, or none is taken.
    tokio::join!(take(from, queue), give(queued, to, passage, heard));
}

async fn take(mut from: OwnedReadHalf, queue: mpsc::Sender<(Micros, Vec<u8>)>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if queue.send((boot(), buffer[..n].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn give(
    mut queued: mpsc::Receiver<(Micros, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut passage: watch::Receiver<Passage>,
    heard: Option<&AtomicI64>,
) {
    while let Some((since, bytes)) = queued.recv().await {
        loop {
            let now = *passage.borrow_and_update();
            let wait = match now {
                Passage::Free => break,
                Passage::Cut => Duration::MAX,
                Passage::Late(by) => {
                    let due = since.get() + i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
                    match u64::try_from(due - boot().get()) {
                        Ok(left @ 1..) => Duration::from_micros(left),
                        Ok(0) | Err(_) => break,
                    }
                }
            };
            // Its time has come, or what becomes of it has changed.
            if let Ok(Err(_)) = tokio::time::timeout(wait, passage.changed()).await {
                return;
            }
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        if let Some(heard) = heard {
            heard.store(SystemClock.now().get(), Ordering::SeqCst);
        }
    }
}

/// A clock for waiting alone.
fn boot() -> Micros {
    Micros::new(SystemClock.boottime().get())
}
