//! Every door, knocked at with canaries in the hand: what is told to who is refused.

mod authority;
mod backoffice;
mod portal;
mod producer;
mod source;

use http::StatusCode;
use kit::canary::Signal;
use tonic::Status;
use unefois::demo::world::World;
use unefois_mesh::status::reason_of;

pub(crate) use authority::{back_channel, grant, push};
pub(crate) use backoffice::backoffice;
pub(crate) use portal::{callback, log_in, others, pages, withdrawn};
pub(crate) use producer::{consumed, malformed, source_fails};
pub(crate) use source::Source;

/// Where the doors are.
pub(crate) struct Places {
    /// The portal's origin.
    pub(crate) portal: String,
    pub(crate) port: u16,
    /// The identity provider's.
    pub(crate) provider: String,
}

/// What was told so far: bodies of refusals, statuses with their details.
#[derive(Default)]
pub(crate) struct Told {
    text: Vec<u8>,
    refusals: usize,
}

impl Places {
    pub(crate) fn of(world: &World) -> Self {
        Self {
            portal: format!("http://localhost:{}", world.ports.portal),
            port: world.ports.portal,
            provider: world.idps[0].issuer.clone(),
        }
    }
}

impl Told {
    /// An answer over HTTP that refuses.
    pub(crate) fn answer(&mut self, door: &str, status: StatusCode, body: &str) {
        assert!(
            status.is_client_error() || status.is_server_error(),
            "{door} answers {status}: {body}"
        );
        self.page(&format!("{status} {body}"));
    }

    /// A page that tells of an error and whose status says nothing of it.
    pub(crate) fn page(&mut self, body: &str) {
        self.text.extend_from_slice(body.as_bytes());
        self.refusals += 1;
    }

    /// A refusal over gRPC: code, message, details, metadata.
    pub(crate) fn status<T>(&mut self, door: &str, answer: Result<T, Status>) {
        assert!(answer.is_err(), "{door} opened");
        let Err(status) = answer else { return };
        self.text
            .extend_from_slice(format!("{status:?} {status} {:?}", reason_of(&status)).as_bytes());
        self.text.extend_from_slice(status.details());
        self.refusals += 1;
    }

    /// All of it, of more than `least` refusals.
    pub(crate) fn signal(self, least: usize) -> Signal {
        assert!(self.refusals >= least, "{} refusals only", self.refusals);
        Signal::new("what refusals tell", self.text)
    }
}
