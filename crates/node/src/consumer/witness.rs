//! Whether the log that answered is the one seen before (I7).

use std::time::Duration;

use tonic::transport::Channel;
use unefois_core::{ParticipantId, Reason};
use unefois_ledger::{Growth, Seen, Witnessed, peer_head_witness};
use unefois_mesh::status::{self, Refusal};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_store::peer::PeerHead;
use unefois_tlog::{Hash, SignedCheckpoint, VerifierKey};

use super::evidence::{Fault, Proved};
use super::verify::{Asked, VerifiedAnswer};
use super::{Error, Inner};

/// A verified answer of a log that continues what was seen of it: what may be recorded as received.
#[derive(Debug)]
pub(super) struct Continuing(pub(super) VerifiedAnswer);

/// Why a verified answer is not handed on.
pub(super) enum Stopped {
    /// The log contradicts this head, which it showed before.
    Forked(PeerHead),
    /// The log was asked for the proof, and gave none.
    Unproved,
    /// Our own fault.
    Failed(Error),
}

/// What a log says when it is asked to prove its growth.
enum Said {
    Proof(Vec<Hash>),
    /// It has not reached the later size: it went back.
    Shorter,
    Nothing,
}

/// What a call says of this node's own log.
pub(super) struct OwnHead {
    pub(super) checkpoint: String,
    /// The size that the producer holds, which the checkpoint is proved to extend; 0 for none.
    pub(super) from: u64,
    pub(super) growth: Vec<Vec<u8>>,
}

impl Inner {
    /// The present head of this node's log, with the proof that it continues the one that `witness` holds.
    pub(super) async fn own_head(&self, witness: ParticipantId) -> Result<OwnHead, Error> {
        let head = self.ledger.head();
        let checkpoint = head.checkpoint.as_str().to_owned();
        let held = self.endpoints.held_by((self.participant, witness));
        let Some(from) = held.filter(|from| *from > 0 && *from < head.size) else {
            return Ok(OwnHead {
                checkpoint,
                from: 0,
                growth: Vec::new(),
            });
        };
        let growth = self.ledger.consistency(from, head.size).await?;
        Ok(OwnHead {
            checkpoint,
            from,
            growth: growth.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
        })
    }

    /// Notes which head of this node's log a producer holds. One that the log does not have, with our signature, says
    /// that this node forgot what it wrote: the log is then read-only, and nothing is recorded or handed on.
    pub(super) async fn own_head_held(&self, witness: ParticipantId, checkpoint: &str) {
        let Ok(signed) = SignedCheckpoint::parse(checkpoint.as_bytes()) else {
            return;
        };
        let Ok(held) = signed.verify(self.ledger.verifier()) else {
            return;
        };
        match self.ledger.seen(&signed, &witness.to_string()).await {
            Ok(Seen::Continued) => self.endpoints.holds((self.participant, witness), held.size),
            Ok(Seen::Contradicted) => {}
            Err(error) => tracing::warn!(
                %witness,
                error = status::chain(&error),
                "the head that a peer holds of this node's log is not compared"
            ),
        }
    }

    /// Compares the head of an answer with the one held of the log that it came from, whichever log the call had named;
    /// where the answer does not prove that one continues the other, asks that log, at `channel`.
    pub(super) async fn witness(
        &self,
        answer: VerifiedAnswer,
        asked: &Asked,
        consistency: &[Hash],
        channel: &Channel,
        left: impl Fn() -> Duration,
    ) -> Result<Continuing, Stopped> {
        let producer = answer.producer();
        let (key, signed) =
            checkpoint(producer, asked).map_err(|fault| Stopped::Failed(Error::Unverified(fault)))?;
        let named = asked.known.as_ref();
        let named = named.filter(|known| known.origin == producer.origin);
        let mut proof = named.map(|known| (known.size, producer.size, consistency.to_vec()));
        loop {
            let growth = proof.as_ref().map(|(from, to, hashes)| Growth {
                from: *from,
                to: *to,
                hashes,
            });
            let witnessed = peer_head_witness(&self.db, &key, &signed, growth, self.clock.now()).await;
            let held = match witnessed.map_err(|error| Stopped::Failed(error.into()))? {
                Witnessed::Kept => return Ok(Continuing(answer)),
                Witnessed::Forked(held) => return Err(Stopped::Forked(held)),
                Witnessed::Unproved(held) => held,
            };
            let (from, to) = (held.size.min(producer.size), held.size.max(producer.size));
            let growth = prove_growth(channel, &producer.origin, from, to);
            let said = tokio::time::timeout(left(), growth).await;
            match said.unwrap_or(Said::Nothing) {
                Said::Proof(hashes) => proof = Some((from, to, hashes)),
                Said::Shorter => return Err(Stopped::Forked(held)),
                Said::Nothing => return Err(Stopped::Unproved),
            }
        }
    }
}

/// The head of an answer, and the key that signed it.
fn checkpoint(producer: &Proved, asked: &Asked) -> Result<(VerifierKey, SignedCheckpoint), Fault> {
    let (_, log) = asked
        .edition
        .directory
        .log(&producer.origin)
        .ok_or(Fault::ForeignLog)?;
    let key = log.vkey.parse().map_err(Fault::Proof)?;
    let signed = SignedCheckpoint::parse(producer.checkpoint.as_bytes()).map_err(Fault::Proof)?;
    Ok((key, signed))
}

async fn prove_growth(channel: &Channel, origin: &str, from: u64, to: u64) -> Said {
    let mut client = LedgerServiceClient::new(channel.clone());
    let asked = pb::GetConsistencyRequest {
        origin: origin.to_owned(),
        first: from,
        second: to,
    };
    match client.get_consistency(asked).await {
        Ok(response) => {
            let hashes = response.into_inner().consistency;
            let hashes = hashes.iter().map(|hash| Hash::try_from(hash.as_slice()));
            hashes
                .collect::<Result<_, _>>()
                .map_or(Said::Nothing, Said::Proof)
        }
        Err(status) => {
            let refusal = Refusal::of(&status);
            let shorter = refusal.is_some_and(|refusal| {
                refusal.reason == Reason::InvalidRequest
                    && refusal.fields.iter().any(|field| field.field != "origin")
            });
            tracing::warn!(
                origin,
                error = status::chain(&status),
                "a log does not prove its growth"
            );
            match shorter {
                true => Said::Shorter,
                false => Said::Nothing,
            }
        }
    }
}
