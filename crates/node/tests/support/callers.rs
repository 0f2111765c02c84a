//! Who calls the node under test, each with a certificate of its own.

use std::sync::Arc;

use tonic::Status;
use unefois_core::{Entry, Reason, Sha256};
use unefois_mesh::{Connector, DirectoryFollower, Identity, Trust, status};
use unefois_proto::pb::exchange::v1 as pb;
use unefois_proto::pb::exchange::v1::exchange_service_client::ExchangeServiceClient;

use super::{Running, WAIT, World};
use crate::pki::Pem;

/// One certificate's calls.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: ExchangeServiceClient<tonic::transport::Channel>,
    pub(crate) cert: Sha256,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) attestation: pb::Attestation,
    pub(crate) receipt: pb::Receipt,
    pub(crate) entry: Entry,
}

impl Caller {
    pub(crate) async fn fetch(&self, request: pb::FetchRequest) -> Result<Answer, Status> {
        use pb::fetch_response::Answer as Part;
        let mut stream = self.client.clone().fetch(request).await?.into_inner();
        let (mut attestation, mut receipt) = (None, None);
        while let Some(message) = stream.message().await? {
            match message.answer.expect("an answer") {
                Part::Attestation(part) => attestation = Some(part),
                Part::Receipt(part) => receipt = Some(part),
                Part::Later(_) => unreachable!("no tickets are given"),
            }
        }
        let receipt: pb::Receipt = receipt.expect("a receipt");
        let entry = Entry::decode(&receipt.entry).expect("an entry");
        Ok(Answer {
            attestation: attestation.expect("an attestation"),
            receipt,
            entry,
        })
    }

    /// The reason of the refusal.
    pub(crate) async fn refused(&self, request: pb::FetchRequest) -> (Reason, Status) {
        let status = self.fetch(request).await.expect_err("a refusal");
        let reason = status::reason_of(&status);
        (
            reason.unwrap_or_else(|| unreachable!("a reason of ours, not {status:?}")),
            status,
        )
    }
}

impl World {
    /// A caller with this certificate.
    pub(crate) fn caller(&self, node: &Running, pem: &Pem) -> Caller {
        let trust = Arc::new(Trust::from_pem(&self.ca.cert, &self.ca.crl).expect("trust"));
        let follower = Arc::new(DirectoryFollower::load(self.directory_config()).expect("a directory"));
        let gate = follower.gate(Arc::clone(&self.clock));
        let credential = pem.credential();
        let cert = credential.cert_sha256;
        let connector = Connector::new(
            trust,
            gate,
            Arc::new(Identity::new(credential)),
            Arc::clone(&self.clock),
        );
        Caller {
            client: ExchangeServiceClient::new(connector.channel(&node.target, WAIT)),
            cert,
        }
    }
}
