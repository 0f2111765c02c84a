//! A reader that has its lease renewed and then takes nothing more: the authority's answers fill its window and wait.

use anyhow::{Context as _, bail, ensure};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use unefois_core::{Clock, Micros, Random};
use unefois_ledger::Ledger;
use unefois_mesh::{Connector, Target};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Told;

use super::bare::DEADLINE;

/// How much may be under way unread: a few dozen answers.
const WINDOW: u32 = 4_096;
/// Pings whose answers nobody reads: more than window and the authority's queue take.
const UNREAD: usize = 256;

/// The reader, closed once it is dropped.
#[derive(Debug)]
pub(crate) struct Unread {
    _asks: mpsc::Sender<pb::WatchRequest>,
    _answers: Streaming<pb::WatchResponse>,
    /// The number of the last record that it was told.
    pub(crate) seq: u64,
    /// Until when it could act on the last answer that it read, by the wall clock.
    pub(crate) fresh_until: Micros,
}

impl Unread {
    /// Opens the view of the process that writes `ledger`, has its lease renewed once, asks for more and reads no answer.
    pub(crate) async fn open(
        connector: &Connector,
        authority: &Target,
        ledger: &Ledger,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> anyhow::Result<Self> {
        let channel = connector.with_window(WINDOW).channel(authority, DEADLINE);
        let mut client = RevocationServiceClient::new(channel);
        let (asks, asked) = mpsc::channel(2 + UNREAD);
        let head = ledger.head();
        let open = pb::Open {
            origin: ledger.origin().as_str().to_owned(),
            boot: head.epoch,
            position: None,
            takes_ahead: false,
        };
        send(&asks, Ask::Open(open)).await?;
        let mut answers = client.watch(ReceiverStream::new(asked)).await?.into_inner();
        let snapshot = answers.message().await?.and_then(|answer| answer.message);
        ensure!(matches!(snapshot, Some(Told::Snapshot(_))), "no snapshot came");

        let nonce = u64::from_be_bytes(random.bytes());
        let ping = pb::Ping {
            nonce,
            log_size: head.size,
            log_root: head.root.as_bytes().to_vec(),
        };
        let sent = clock.now();
        send(&asks, Ask::Ping(ping.clone())).await?;
        let pong = loop {
            let answer = answers
                .message()
                .await?
                .context("the authority ended the stream")?;
            match answer.message {
                Some(Told::Pong(pong)) if pong.nonce == nonce => break pong,
                Some(Told::Batch(_)) => {}
                Some(_) | None => bail!("the authority answered something else"),
            }
        };
        for _ in 0..UNREAD {
            send(&asks, Ask::Ping(ping.clone())).await?;
        }
        Ok(Self {
            _asks: asks,
            _answers: answers,
            seq: pong.head.map_or(0, |head| head.seq),
            fresh_until: sent.plus_ms(pong.lease_ms.into()),
        })
    }
}

async fn send(asks: &mpsc::Sender<pb::WatchRequest>, message: Ask) -> anyhow::Result<()> {
    let message = Some(message);
    asks.send(pb::WatchRequest { message })
        .await
        .context("the stream is closed")
}
