use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry::metrics::Gauge;
use tokio_util::task::TaskTracker;
use unefois_core::{Clock, ParticipantId, Random};
use unefois_jose::SystemRandom;
use unefois_mesh::metrics::ExchangeInstruments;
use unefois_mesh::{Connector, PeerId};
use unefois_store::Db;
use unefois_store::authority::PersonUid;

use crate::config::Perimeter;
use crate::journal::Journal;
use crate::keys::Keys;
use crate::limiter::Limiter;
use crate::login::Provider;
use crate::portal::Site;
use crate::published::Published;
use crate::revocation::Revocation;

/// Everything that a request may need: one for the process.
pub(crate) struct Authority {
    /// The issuer URL, which is the portal's.
    pub(crate) issuer: String,
    /// The issuer's origin, as browsers send it.
    pub(crate) origin: String,
    /// Where consumers reach the back channel.
    pub(crate) mesh_url: String,
    pub(crate) participant: ParticipantId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) rng: SystemRandom,
    pub(crate) db: Db,
    pub(crate) keys: Arc<Keys>,
    pub(crate) published: Arc<Published>,
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) journal: Journal,
    pub(crate) providers: Vec<Provider>,
    /// For what people may let others help them.
    pub(crate) perimeters: BTreeMap<String, Perimeter>,
    pub(crate) site: Site,
    pub(crate) connector: Connector,
    /// Work that goes on though nobody waits for it: it ends before the process does.
    pub(crate) tasks: TaskTracker,
    /// Whether identities are simulated and personas may log in without a browser.
    pub(crate) demonstration: bool,
    /// The pages that may wait for a withdrawal to take effect at once; one more is answered as things stand.
    pub(crate) waits: tokio::sync::Semaphore,
    pub(crate) browsers: Limiter<std::net::IpAddr>,
    pub(crate) peers: Limiter<PeerId>,
    /// Of each person, the pages that ask administrations.
    pub(crate) histories: Limiter<PersonUid>,
    pub(crate) instruments: ExchangeInstruments,
    /// Kept identities that do not open, as counted last.
    pub(crate) identities_unread: Gauge<u64>,
}

impl Authority {
    /// An identity provider by its short name.
    pub(crate) fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers
            .iter()
            .find(|provider| provider.config.name == name)
    }
}
