//! What is known of a call so far: the entry that its refusal, or its release, will be.

use unefois_core::commitment::Field;
use unefois_core::{AccessTokenClaims, Entry, Event, FetchCore, Micros, Outcome, ParticipantId, Reason};
use unefois_ledger::{About, Draft};
use unefois_mesh::Edition;
use unefois_proto::FetchCall;

use super::concerned::Keys;

/// The entry of a call, filled as checks succeed, so that a refusal says what was established and nothing else.
///
/// The caller's word counts for nothing: before the token is verified only what the catalogue knows is repeated, after
/// it what was granted. From then on the refusal is found by the handle in the person's history.
#[derive(Clone)]
pub(super) struct Trail {
    entry: Entry,
    about: About,
    peer: ParticipantId,
}

impl Trail {
    /// A call of `peer` to `provider`.
    pub(super) fn new(provider: ParticipantId, peer: ParticipantId) -> Self {
        // The sequencer sets the instant.
        let mut entry = Entry::new(Event::Refused, Micros::new(0));
        entry.attempt = 1;
        entry.provider = Some(provider);
        entry.requester = Some(peer);
        Self {
            entry,
            about: About::default(),
            peer,
        }
    }

    /// The decision rests on this edition.
    pub(super) fn edition(&mut self, edition: &Edition) {
        self.entry.directory_version = edition.directory.version();
    }

    /// The message was well-formed.
    pub(super) fn call(&mut self, call: &FetchCall, edition: &Edition) {
        self.entry.exchange_id = Some(call.request_id);
        self.entry.datatype = edition
            .catalogue
            .datatype(&call.datatype)
            .map(|d| d.rev().clone());
        self.entry.demarche = edition.catalogue.demarche(&call.demarche).map(|d| d.id.clone());
    }

    /// The token is authentic and its client known; who shows it is not judged yet.
    pub(super) fn authentic(&mut self, claims: &AccessTokenClaims, core: &FetchCore) {
        let details = &claims.authorization_details[0];
        let entry = &mut self.entry;
        entry.datatype = Some(details.datatype().clone());
        entry.demarche = Some(details.demarche.clone());
        entry.habilitation = Some(details.habilitation.clone());
        entry.legal_basis = Some(details.legal_basis.clone());
        entry.capacity = Some(claims.capacity);
        entry.acr = Some(claims.acr);
        entry.request_hash = Some(core.hash());
        let commit = |field, value: &[u8]| Some(claims.gs.commit(&core.request_id, field, value));
        entry.grant_commit = commit(Field::Grant, claims.gh.as_bytes());
        entry.dossier_commit = commit(Field::Dossier, details.dossier_ref.as_str().as_bytes());
        self.about.handle = Some(claims.gh);
        self.about.secret = Some((Micros::from_secs(claims.iat).month(), claims.gs.clone()));
    }

    /// The caller is the token's client, or the publisher that acts for it.
    pub(super) fn client(&mut self, claims: &AccessTokenClaims) {
        self.entry.requester = Some(claims.client_id);
        self.entry.publisher = claims.act_client;
    }

    /// It is this attempt of its request.
    pub(super) fn attempt(&mut self, attempt: u16) {
        self.entry.attempt = attempt;
    }

    /// These units may leave.
    pub(super) fn units(&mut self, bits: u64) {
        self.entry.units = bits;
    }

    /// The identity is opened: these find it.
    pub(super) fn persons(&mut self, keys: Keys) {
        self.about.persons = keys.persons;
        self.about.aliases = keys.aliases;
    }

    /// Who called, by its certificate.
    pub(super) const fn peer(&self) -> &ParticipantId {
        &self.peer
    }

    /// The entry as it stands.
    pub(super) const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The refusal's draft.
    pub(super) fn refused(mut self, reason: Reason, outcome: Outcome) -> Draft {
        self.entry.reason = Some(reason);
        self.entry.outcome = Some(outcome);
        Draft::new(self.entry).about(self.about)
    }

    /// The release's draft, which `complete` fills with what leaves.
    pub(super) fn released(mut self, keys: Keys, complete: impl FnOnce(&mut Entry)) -> Draft {
        complete(&mut self.entry);
        self.persons(keys);
        Draft::new(self.entry).about(self.about)
    }
}
