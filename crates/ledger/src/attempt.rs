//! One attempt of one request: registered before the source is called, so that two attempts of one request never run
//! side by side in this process.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use unefois_core::{ExchangeId, Handle, ParticipantId, Sha256};
use unefois_store::claim::ClaimKey;

/// What a claim is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The handle that the verified token names.
    pub handle: Handle,
    /// How often the handle may be used.
    pub mode: ClaimMode,
    /// Who asks (claim `client_id`).
    pub client: ParticipantId,
    /// The exchange.
    pub request_id: ExchangeId,
    /// Hash of the canonical request.
    pub request_hash: Sha256,
}

/// How often a handle may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimMode {
    /// By one request.
    Once,
    /// By several, within the limits of the grant.
    Standing {
        /// How many requests in all.
        max_count: Option<u32>,
        /// Seconds between two requests.
        min_interval_s: Option<u32>,
    },
}

impl ClaimRequest {
    pub(crate) fn key(&self) -> ClaimKey {
        match self.mode {
            ClaimMode::Once => ClaimKey::once(&self.handle),
            ClaimMode::Standing { .. } => ClaimKey::standing(&self.handle, &self.request_id),
        }
    }
}

/// A registered attempt; dropping it lets the next one in.
#[derive(Debug)]
pub struct Attempt {
    pub(crate) request: ClaimRequest,
    key: ClaimKey,
    registry: Registry,
}

impl Attempt {
    /// What it claims.
    pub const fn request(&self) -> &ClaimRequest {
        &self.request
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.key);
    }
}

/// The attempts that run in this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<HashSet<ClaimKey>>>);

impl Registry {
    /// Registers an attempt; `None` while another one of the same request, or of the same one-shot handle, runs.
    pub(crate) fn begin(&self, request: ClaimRequest) -> Option<Attempt> {
        let key = request.key();
        let new = self.lock().insert(key.clone());
        new.then(|| Attempt {
            request,
            key,
            registry: self.clone(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<ClaimKey>> {
        // A set of keys is whole whatever panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
