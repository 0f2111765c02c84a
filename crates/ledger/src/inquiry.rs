//! Asking peers what they hold of a participant's own logs: at start, before anything is written, and in the background
//! until each has answered (I7).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use unefois_core::{Directory, ParticipantId};
use unefois_mesh::{Connector, Target, status};
use unefois_proto::pb::ledger::v1::ListHeldHeadsRequest;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_store::peer::peer_origins;
use unefois_tlog::{SignedCheckpoint, VerifierKey};

use crate::guard::{Seen, Standing};
use crate::service::MAX_HEADS;
use crate::{Error, Ledger};

/// How long a start waits for its peers; those who have not answered by then are asked again.
const START_WITHIN: Duration = Duration::from_secs(2);
/// How long one address of one peer has.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Bounds of the wait between two rounds.
const EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Peers that are asked at once.
const AT_ONCE: usize = 16;
/// Bytes of the longest answer.
const MAX_ANSWER_BYTES: usize = 256 * 1_024;

/// The directory in use, whenever it is asked for.
pub type DirectoryInUse = Arc<dyn Fn() -> Directory + Send + Sync>;

/// The question, and who has answered it.
pub struct Inquiry {
    ledger: Ledger,
    connector: Connector,
    participant: ParticipantId,
    publisher: Option<ParticipantId>,
    directory: DirectoryInUse,
    answered: Mutex<BTreeSet<ParticipantId>>,
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inquiry")
            .field("participant", &self.participant)
            .finish_non_exhaustive()
    }
}

impl Inquiry {
    /// Asks every peer of `directory` once, on behalf of `participant`, whose log is `ledger`, and which `publisher` hosts
    /// where the connector's credential is not its own. Peers that do not answer in 2 s do not hold the start up:
    /// [`Inquiry::run`] goes on asking them.
    pub async fn begin(
        ledger: Ledger,
        connector: Connector,
        participant: ParticipantId,
        publisher: Option<ParticipantId>,
        directory: DirectoryInUse,
    ) -> Self {
        let inquiry = Self {
            ledger,
            connector,
            participant,
            publisher,
            directory,
            answered: Mutex::default(),
        };
        // What was answered by then is taken into account.
        let _late = tokio::time::timeout(START_WITHIN, inquiry.round()).await;
        inquiry.judge().await;
        inquiry
    }

    /// Asks those who have not answered again and again, until all did or `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut wait = EVERY.0;
        while !self.unanswered(&(self.directory)()).is_empty() || self.ledger.standing() == Standing::Unproved
        {
            if tokio::time::timeout(wait, shutdown.cancelled()).await.is_ok() {
                return;
            }
            wait = (wait * 2).min(EVERY.1);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.round() => self.judge().await,
            }
        }
    }

    /// The peers that have not answered, each with its addresses.
    fn unanswered(&self, directory: &Directory) -> Vec<(ParticipantId, Vec<Target>)> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let others = directory.document().participants.iter();
        others
            .filter(|row| row.id != self.participant && Some(row.id) != self.publisher)
            .filter(|row| !answered.contains(&row.id))
            .map(|row| {
                let addresses = row.mesh.iter().filter_map(|address| {
                    let authority = address.parse().ok()?;
                    Some(Target {
                        peer: row.id,
                        authority,
                    })
                });
                (row.id, addresses.collect())
            })
            .filter(|(_, targets): &(_, Vec<Target>)| !targets.is_empty())
            .collect()
    }

    async fn round(&self) {
        let directory = &(self.directory)();
        let asking = self.unanswered(directory).into_iter();
        stream::iter(asking.map(|(peer, targets)| self.ask(directory, peer, targets)))
            .for_each_concurrent(AT_ONCE, |asked| asked)
            .await;
    }

    /// Asks one peer, at one address after the other.
    async fn ask(&self, directory: &Directory, peer: ParticipantId, targets: Vec<Target>) {
        for target in targets {
            let asked = tokio::time::timeout(ANSWERS_WITHIN, self.question(&target)).await;
            let answer = asked.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
            match answer {
                Ok(checkpoints) => {
                    if self.compared(directory, &checkpoints, peer).await {
                        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
                        answered.insert(peer);
                    }
                    return;
                }
                Err(status) => tracing::debug!(
                    %peer,
                    error = status::chain(&status),
                    "a peer does not say which heads it holds of our logs"
                ),
            }
        }
    }

    /// Whether every head of an answer was compared. What our keys did not sign counts for nothing.
    async fn compared(&self, directory: &Directory, checkpoints: &[String], peer: ParticipantId) -> bool {
        let most = MAX_HEADS as usize;
        let mut all = checkpoints.len() <= most;
        for text in checkpoints.iter().take(most) {
            if let Err(error) = self.shown(directory, text, peer).await {
                all &= matches!(error, Error::Proof(_));
                tracing::warn!(
                    %peer,
                    error = &error as &dyn std::error::Error,
                    "a head that a peer holds of our logs is not compared"
                );
            }
        }
        all
    }

    async fn question(&self, target: &Target) -> Result<Vec<String>, Status> {
        let channel = self.connector.channel(target, ANSWERS_WITHIN);
        let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let hosted = self.publisher.map(|_| self.participant.to_string());
        let asked = ListHeldHeadsRequest {
            participant: hosted.clone().unwrap_or_default(),
        };
        let answer = client.list_held_heads(asked).await?.into_inner();
        // A peer that knows of no other logs than the caller's has said nothing of these.
        match hosted.is_none_or(|hosted| hosted == answer.participant) {
            true => Ok(answer.checkpoints),
            false => Err(Status::unimplemented(
                "the peer tells of the caller's own logs alone",
            )),
        }
    }

    async fn shown(&self, directory: &Directory, text: &str, peer: ParticipantId) -> Result<(), Error> {
        let signed = SignedCheckpoint::parse(text.as_bytes())?;
        let origin = signed.claimed_origin();
        let by = peer.to_string();
        if origin == self.ledger.origin() {
            let _told: Seen = self.ledger.seen(&signed, &by).await?;
            return Ok(());
        }
        let row = directory.log(origin.as_str());
        let Some((_, log)) = row.filter(|(row, _)| row.id == self.participant) else {
            return Ok(());
        };
        let key: VerifierKey = log.vkey.parse()?;
        let _told: Seen = self.ledger.seen_beside(&key, &signed, &by).await?;
        Ok(())
    }

    /// Lets a restored log be written again once nothing later can be held by anybody it knows: its anchor named the
    /// very head that it has, and every peer whose log it has seen has answered, of those that the directory still lists
    /// with an address: the others can never be asked.
    async fn judge(&self) {
        if self.ledger.standing() != Standing::Unproved || !self.ledger.anchor_is_head() {
            return;
        }
        let peer = |origin: &str| origin.rsplit_once('/').and_then(|(peer, _)| peer.parse().ok());
        let judged = async {
            let known = peer_origins(self.ledger.db()).await?;
            let silent: BTreeSet<ParticipantId> = {
                let unanswered = self.unanswered(&(self.directory)()).into_iter();
                unanswered.map(|(peer, _)| peer).collect()
            };
            let (awaited, gone): (Vec<String>, Vec<String>) = {
                let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
                let known = known.into_iter().filter(|origin| {
                    peer(origin).is_none_or(|peer| peer != self.participant && !answered.contains(&peer))
                });
                known.partition(|origin| peer(origin).is_some_and(|peer| silent.contains(&peer)))
            };
            let peers: BTreeSet<ParticipantId> = awaited.iter().filter_map(|origin| peer(origin)).collect();
            self.ledger.set_awaited(peers.into_iter().collect());
            if !awaited.is_empty() {
                tracing::warn!(
                    ?awaited,
                    "a restored log waits for the peers of these logs to answer"
                );
                return Ok(());
            }
            if !gone.is_empty() {
                tracing::warn!(
                    ?gone,
                    "peers that the directory lists no more, or without an address, are not asked of the restored log"
                );
            }
            self.ledger.proved_last().await
        };
        let judged: Result<(), Error> = judged.await;
        if let Err(error) = judged {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "it cannot be judged whether the restored log is the last one"
            );
        }
    }
}
