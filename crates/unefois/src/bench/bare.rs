//! The bare limit beside which withdrawals are shown: one ping and its answer, and one view written down.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use unefois_bench::p50_ms;
use unefois_core::commitment::NodeKey;
use unefois_core::{Clock, Random, RevocationView};
use unefois_ledger::{Keys, Ledger, Safeguards};
use unefois_mesh::{Connector, SystemRandom, Target};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Told;
use unefois_store::{Component, Db};
use unefois_tlog::SignerKey;

/// How long a call of the measurement may take until its answer begins.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// How often each is done.
const TIMES: u64 = 200;

/// How long a ping of a reader without a lease and its answer take (p50, ms): no withdrawal waits for it.
pub(crate) async fn ping_ms(
    connector: &Connector,
    authority: &Target,
    clock: &dyn Clock,
) -> anyhow::Result<f64> {
    let mut client = RevocationServiceClient::new(connector.channel(authority, DEADLINE));
    let (asks, asked) = mpsc::channel(1);
    let ask = async |message| {
        let message = Some(message);
        asks.send(pb::WatchRequest { message })
            .await
            .context("the stream is closed")
    };
    ask(Ask::Open(pb::Open::default())).await?;
    let mut answers = client.watch(ReceiverStream::new(asked)).await?.into_inner();
    let mut micros = Vec::new();
    for nonce in 0..TIMES {
        let start = clock.boottime();
        let ping = pb::Ping {
            nonce,
            ..pb::Ping::default()
        };
        ask(Ask::Ping(ping)).await?;
        loop {
            let answer = answers
                .message()
                .await?
                .context("the authority ended the stream")?;
            match answer.message {
                Some(Told::Pong(pong)) if pong.nonce == nonce => break,
                // What concerns the reader comes first.
                Some(Told::ConsumerRecords(_)) => {}
                Some(_) | None => bail!("the authority answered something else"),
            }
        }
        micros.push(clock.boottime().micros_since(start));
    }
    Ok(p50_ms(micros))
}

/// How long a log in a SQLite file of its own under `folder` takes to write a view down (p50, ms).
pub(crate) async fn observe_ms(
    folder: &Path,
    clock: &Arc<dyn Clock>,
    random: &SystemRandom,
) -> anyhow::Result<f64> {
    let url = format!("sqlite:{}", folder.join("bare.db").display());
    let db = Db::open(&url, Component::Node).await?;
    let drawn: &dyn Random = random;
    let keys = Keys {
        signer: SignerKey::new("bare.example/1".parse()?, &drawn.bytes()),
        node_key: NodeKey::new(&drawn.bytes()),
    };
    let lent = Arc::new(random.clone());
    let ledger = Ledger::open(db.clone(), keys, Safeguards::default(), Arc::clone(clock), lent).await?;
    let mut micros = Vec::new();
    for seq in 1..=TIMES {
        let start = clock.boottime();
        ledger.observe(RevocationView { epoch: 1, seq }).await?;
        micros.push(clock.boottime().micros_since(start));
    }
    ledger.close().await;
    db.close().await;
    Ok(p50_ms(micros))
}
