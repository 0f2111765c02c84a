//! The order of checks, each of which stops the call (authority.md, « Producer's order of checks »).
//!
//! A [`VerifiedCall`] has a token that is authentic, meant for here and now, bound to the caller's certificate and of
//! the caller itself; an [`Authorized`] call may be answered, about one opened identity. Both exist only here.

use std::time::Duration;

use unefois_core::authorization::{Mode, ModeKind};
use unefois_core::decision::{Entitlement, Permit, Requester};
use unefois_core::{
    AccessTokenClaims, Event, FetchCore, Micros, ParticipantId, Pivot, SealedSubject, SubjectKind,
};
use unefois_jose::access_token::{Expected, VerifiedToken, authenticate};
use unefois_jose::{DecryptionKey, PublicKey, Thumbprint, VerifyingKey, jwe};
use unefois_ledger::{Attempt, Begin, ClaimMode, ClaimRequest};
use unefois_mesh::{Edition, Peer};
use unefois_proto::FetchCall;

use super::link::{Judgement, Linked};
use super::suspension::Asked;
use super::trail::Trail;
use super::{Inner, concerned};
use crate::Error;

/// How many entries of a handle are read to number an attempt.
const MAX_HISTORY_READ: usize = 64;

/// A call whose token is this caller's, authentic and in time.
pub(super) struct VerifiedCall {
    pub(super) call: FetchCall,
    pub(super) core: FetchCore,
    pub(super) token: VerifiedToken,
}

/// A call that may be answered, about an opened identity.
pub(super) struct Authorized<'a> {
    pub(super) permit: Permit<'a>,
    pub(super) attempt: Attempt,
    pub(super) linked: Linked,
    pub(super) quota_left: u32,
}

impl Inner {
    /// From signature to the caller's identity.
    pub(super) fn verify(
        &self,
        call: FetchCall,
        peer: &Peer,
        edition: &Edition,
        trail: &mut Trail,
    ) -> Result<VerifiedCall, Error> {
        let _span = tracing::info_span!(unefois_mesh::spans::TOKEN_VERIFY).entered();
        let authority = edition.directory.authority();
        let token = authenticate(&call.access_token, |kid| token_key(edition, kid)).map_err(Error::Token)?;
        let now = self.lease.authority_time().ok_or(Error::Stale);
        let expected = Expected {
            issuer: &authority.issuer,
            audience: &self.operator.participant,
        };
        // Without a lease there is no authority's time: our own clock reads the claims for the record, and the call
        // is refused as stale below.
        let token = token
            .check(expected, *now.as_ref().unwrap_or(&self.clock.now()))
            .map_err(Error::Token)?;
        let claims = token.claims();
        let core = call.core(claims.gh);
        // From here on the person's history may show the refusal: the signature is valid, the client known.
        if edition.directory.participant(&claims.client_id).is_some() {
            trail.authentic(claims, &core);
        }
        now?;

        if *token.certificate() != peer.cert_sha256 {
            return Err(Error::TokenBinding);
        }
        let caller = claims.act_client.unwrap_or(claims.client_id);
        if peer.id.participant() != Some(caller)
            || !edition.directory.peer_allowed(&caller, &peer.spki_sha256)
            || !edition.directory.acts_for(&caller, &claims.client_id)
        {
            return Err(Error::OtherClient);
        }
        trail.client(claims);
        Ok(VerifiedCall { call, core, token })
    }

    /// Refuses what the operator has suspended.
    pub(super) async fn suspended(&self, claims: &AccessTokenClaims, now: Micros) -> Result<(), Error> {
        let element = &claims.authorization_details[0];
        let asked = Asked {
            consumer: &claims.client_id,
            publisher: claims.act_client.as_ref(),
            datatype: element.datatype(),
            habilitation: &element.habilitation,
        };
        match self.suspensions.covers(&asked, now).await.map_err(unread)? {
            true => Err(Error::Suspended),
            false => Ok(()),
        }
    }

    /// The consumer's right to ask, by one edition of the directory.
    pub(super) fn entitle<'a>(
        &self,
        claims: &'a AccessTokenClaims,
        edition: &'a Edition,
        now: Micros,
    ) -> Result<Entitlement<'a>, Error> {
        let requester = Requester {
            consumer: claims.client_id,
            publisher: claims.act_client,
        };
        let ground = edition.ground(now)?;
        let element = &claims.authorization_details[0];
        Ok(ground.entitle(&self.operator, &requester, claims.capacity, element)?)
    }

    /// From the lease to the opened identity.
    pub(super) async fn authorize<'a>(
        &self,
        verified: &'a VerifiedCall,
        edition: &'a Edition,
        now: Micros,
        trail: &mut Trail,
    ) -> Result<Authorized<'a>, Error> {
        let VerifiedCall { call, core, token } = verified;
        let claims = token.claims();
        let element = &claims.authorization_details[0];
        self.lease
            .admits(claims, token.kid())
            .await
            .map_err(super::withdrawal)?;

        self.suspended(claims, now).await?;
        let entitlement = self.entitle(claims, edition, now)?;
        let datatype = entitlement.datatype();
        if !self.sources.contains_key(datatype.rev()) {
            return Err(Error::NotServed);
        }

        let claim = ClaimRequest {
            handle: core.handle,
            mode: claim_mode(&element.mode),
            client: claims.client_id,
            request_id: core.request_id,
            request_hash: core.hash(),
        };
        let attempt = match self.ledger.begin(claim).await? {
            Begin::First(attempt) => attempt,
            Begin::Again(attempt) => {
                trail.attempt(self.next_attempt(core).await?);
                attempt
            }
            Begin::Refused(reason) => return Err(Error::Claim(reason)),
            Begin::TooSoon(wait) => return Err(Error::TooSoon { wait }),
        };

        let per_minute = edition
            .directory
            .quota_per_minute(&claims.client_id, datatype.rev())
            .unwrap_or(0);
        let quota_left = self
            .quotas
            .take(
                (claims.client_id, datatype.rev().clone()),
                per_minute,
                self.clock.boottime(),
            )
            .map_err(|wait| Error::Quota { wait })?;
        if let Some(until) = closed_until(edition, &self.operator.participant, datatype, now) {
            let ms = u64::try_from(until.ms_since(now)).unwrap_or_default();
            return Err(Error::Closed {
                wait: Duration::from_millis(ms.max(1_000)),
            });
        }

        let permit = entitlement.release(core, claims.acr, &claims.idp_iss)?;
        if !datatype.sheet().period.allows(core.period, now) {
            return Err(Error::Malformed(unefois_proto::InvalidMessage {
                violations: vec![unefois_proto::Violation {
                    field: "period".to_owned(),
                    description: "a period that the datatype answers for".to_owned(),
                }],
            }));
        }
        trail.units(permit.units().bits());

        if !token.names_pivot(&call.pivot_jwe) {
            return Err(Error::OtherToken);
        }
        let subject = open(&self.pivot_keys, &call.pivot_jwe, element.subject.kind)?;
        trail.persons(concerned::unproved(&subject, claims.capacity));
        let judgement = Judgement {
            edition,
            claims,
            datatype,
            now,
        };
        let linked = judgement.link(&subject, call.link.as_ref())?;
        if linked.holds {
            trail.persons(concerned::subject(&linked.subject, claims.capacity));
        }
        Ok(Authorized {
            permit,
            attempt,
            linked,
            quota_left,
        })
    }

    /// The number of this attempt: one more than the last that the handle's history shows of its request. The newest
    /// sending of the request has it, so that the tenth attempt costs no more than the second; a refusal that came before
    /// the claim was read has not. Other entries are few there: of the newest only some are read.
    async fn next_attempt(&self, core: &FetchCore) -> Result<u16, Error> {
        let indexes = self.ledger.by_handle(&core.handle).await?;
        for index in indexes.into_iter().rev().take(MAX_HISTORY_READ) {
            let leaf = self.ledger.entries(index, index + 1).await?;
            let entry = leaf
                .first()
                .and_then(|bytes| unefois_core::Entry::decode(bytes).ok());
            let sent = |entry: &unefois_core::Entry| {
                entry.exchange_id == Some(core.request_id)
                    && matches!(
                        entry.event,
                        Event::Released | Event::ReleasedAgain | Event::Withheld
                    )
            };
            if let Some(entry) = entry.filter(sent) {
                return Ok(entry.attempt.saturating_add(1));
            }
        }
        // An attempt of which another replica's log has the entries, or older ones than were read.
        Ok(2)
    }
}

/// When the node answers again for this datatype: by the directory's windows and the datatype's own.
pub(super) fn closed_until(
    edition: &Edition,
    operator: &ParticipantId,
    datatype: &unefois_core::catalogue::Datatype,
    now: Micros,
) -> Option<Micros> {
    edition
        .directory
        .closed_until(operator, datatype.rev(), now)
        .max(datatype.sheet().closed_until(now))
}

/// What is suspended lies beside the log, so that where it cannot be read, no release could be written either.
fn unread(error: unefois_store::Error) -> Error {
    Error::Ledger(unefois_ledger::Error::Store(error))
}

fn token_key(edition: &Edition, kid: &Thumbprint) -> Option<VerifyingKey> {
    let keys = &edition.directory.authority().token_keys;
    let mut keys = keys
        .iter()
        .filter_map(|jwk| PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new));
    keys.find(|key| key.thumbprint() == kid)
}

const fn claim_mode(mode: &Mode) -> ClaimMode {
    match mode.kind {
        ModeKind::Once => ClaimMode::Once,
        ModeKind::Standing => ClaimMode::Standing {
            max_count: mode.max_count,
            min_interval_s: mode.min_interval_s,
        },
    }
}

/// Opens the sealed identity, which must be of the kind that was granted.
fn open(keys: &[DecryptionKey], pivot_jwe: &str, kind: SubjectKind) -> Result<SealedSubject, Error> {
    let keys: Vec<&DecryptionKey> = keys.iter().collect();
    let json = jwe::open_pivot(&keys, pivot_jwe).map_err(Error::PivotKey)?;
    let subject: SealedSubject = serde_json::from_slice(&json).map_err(|_| Error::Pivot)?;
    let checked = |pivot: Pivot| pivot.checked().map_err(|_| Error::Pivot);
    match (subject, kind) {
        (SealedSubject::Person(person), SubjectKind::SelfPerson | SubjectKind::Household) => {
            checked(person).map(SealedSubject::Person)
        }
        (SealedSubject::Child { child, asker }, SubjectKind::Child) => Ok(SealedSubject::Child {
            child: checked(child)?,
            asker: checked(asker)?,
        }),
        (SealedSubject::Entity(siren), SubjectKind::Entity) => Ok(SealedSubject::Entity(siren)),
        (SealedSubject::Person(_) | SealedSubject::Child { .. } | SealedSubject::Entity(_), _) => {
            Err(Error::Pivot)
        }
    }
}
