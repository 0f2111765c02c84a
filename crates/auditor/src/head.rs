//! Heads of a log as it serves them: signed by its key, and each the continuation of those seen before.

use tonic::transport::Channel;
use unefois_proto::pb::ledger::v1::GetConsistencyRequest;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_tlog::{
    Checkpoint, Hash, MAX_PROOF_HASHES, Origin, SignedCheckpoint, VerifierKey, verify_consistency,
};

use crate::Error;

/// A head of the log that the reader has seen before and trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownHead {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl From<&Checkpoint> for KnownHead {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            size: checkpoint.size,
            root: checkpoint.root,
        }
    }
}

/// The present head of the log `origin`, signed by `key`; it continues `known`.
///
/// # Errors
/// [`Error::Call`], [`Error::Head`], [`Error::OtherLog`], [`Error::Forked`].
pub async fn present_head(
    channel: Channel,
    origin: &Origin,
    key: &VerifierKey,
    known: Option<KnownHead>,
) -> Result<(SignedCheckpoint, KnownHead), Error> {
    let mut client = LedgerServiceClient::new(channel);
    let ask = |first| GetConsistencyRequest {
        origin: origin.as_str().to_owned(),
        first,
        second: 0,
    };
    let answered = client
        .get_consistency(ask(known.map_or(0, |known| known.size)))
        .await;
    let answer = match (answered, known) {
        (Ok(answer), _) => answer.into_inner(),
        // A log smaller than the known head cannot prove that it continues it: its own head is the evidence.
        (Err(refused), Some(known)) => {
            let answer = client.get_consistency(ask(0)).await?.into_inner();
            if head_of(&answer.checkpoint, origin, key)?.1.size >= known.size {
                return Err(refused.into());
            }
            answer
        }
        (Err(refused), None) => return Err(refused.into()),
    };
    let (signed, head) = head_of(&answer.checkpoint, origin, key)?;
    if let Some(known) = known {
        check_growth(&answer.consistency, known, &head)?;
    }
    Ok((signed, KnownHead::from(&head)))
}

/// The head that `text` is, once it is seen to be signed by the key of the log `origin`.
pub(crate) fn head_of(
    text: &str,
    origin: &Origin,
    key: &VerifierKey,
) -> Result<(SignedCheckpoint, Checkpoint), Error> {
    let signed = SignedCheckpoint::parse(text.as_bytes()).map_err(Error::Head)?;
    let head = signed.verify(key).map_err(Error::Head)?.clone();
    if head.origin != *origin {
        return Err(Error::OtherLog {
            wanted: origin.as_str().to_owned(),
            got: head.origin.as_str().to_owned(),
        });
    }
    Ok((signed, head))
}

/// Whether `proof` shows that `head` continues `known`.
pub(crate) fn check_growth(proof: &[Vec<u8>], known: KnownHead, head: &Checkpoint) -> Result<(), Error> {
    let forked = |source| Error::Forked {
        old: known.size,
        new: head.size,
        source,
    };
    if proof.len() > MAX_PROOF_HASHES {
        return Err(forked(unefois_tlog::Error::ProofTooLong(proof.len())));
    }
    let proof: Vec<Hash> = (proof.iter())
        .map(|hash| Hash::try_from(hash.as_slice()))
        .collect::<Result<_, _>>()
        .map_err(forked)?;
    verify_consistency((known.size, &known.root), (head.size, &head.root), &proof).map_err(forked)
}
