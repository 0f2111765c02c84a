use serde::Serialize;
use unefois_core::authorization::ModeKind;
use unefois_core::catalogue::{Birthplace, DatatypeSheet, PivotAttribute};
use unefois_core::decision::Requester;
use unefois_core::directory::Jwk;
use unefois_core::{
    AccessTokenClaims, AuthorizationDetails, Cnf, Event, Handle, Micros, ParticipantId, Pivot, SealedSubject,
    Sha256,
};
use unefois_jose::{EncryptionKey, PublicKey, SigningKey, SystemRandom, access_token, jwe};
use unefois_mesh::Peer;
use unefois_store::authority::GrantId;
use unefois_store::authority::grant::{Element, Grant, GrantRow, grant_to_mint};
use zeroize::Zeroizing;

use super::client::Client;
use super::grants::text_of;
use super::pushed::still_unbound;
use super::token::element_ends_at;
use crate::Error;
use crate::journal::Fact;
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::{GrantSubject, capacity_of};

/// Life of a token under a one-shot handle.
const ONCE_S: i64 = 60;
/// Life of a token under a standing handle.
const STANDING_S: i64 = 300;

/// Which element of a grant a token is asked for.
pub(super) struct Wanted {
    pub(super) resource: Option<ParticipantId>,
    pub(super) handle: Option<Handle>,
}

/// What the token endpoint answers.
#[derive(Serialize)]
pub(super) struct Minted {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    grant_id: String,
    /// What was granted: all of it with a code, this token's element with a refresh token.
    authorization_details: Vec<AuthorizationDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    pivot_jwe: String,
    #[serde(skip)]
    pub(super) ends_at: Micros,
}

impl Authority {
    /// Mints one access token under a grant: grant and habilitation are read again, and the entry `minted` is durable
    /// before the token exists for anybody else.
    pub(super) async fn mint(
        &self,
        edition: &Edition,
        client: &Client,
        peer: &Peer,
        grant: &GrantId,
        wanted: &Wanted,
        first: bool,
    ) -> Result<Minted, Error> {
        let epoch = self.revocation.epoch()?;
        let now = self.clock.now();
        let read = grant_to_mint(&self.db, grant, now).await?;
        let (row, rvk, opposed) = read.ok_or(Error::Grant)?;
        if rvk.epoch != epoch {
            return Err(Error::Superseded);
        }
        if opposed {
            return Err(Error::Opposed);
        }
        let (element, details) = pick(&row, wanted, now)?;
        let requester = Requester {
            consumer: client.id,
            publisher: client.publisher,
        };
        let ground = edition.ground(now)?;
        let habilitated = ground
            .habilitated(&requester, &details)
            .map_err(|refusal| Error::Details {
                path: refusal.field,
                what: "not within the habilitation any more".into(),
                reason: refusal.reason,
            })?;
        if !edition
            .directory
            .issuer_entitled(&row.grant.idp_iss, row.grant.acr)
        {
            return Err(Error::AcrUnknown);
        }

        if row.grant.subject_unbound.is_some() {
            still_unbound(edition, &details.demarche)?;
        }
        if let Some(by) = &row.grant.by {
            self.still_officer(edition, by, row.grant.auth_time, now)?;
        }

        let sheet = habilitated.datatype().sheet();
        let asker = || self.identity(&row.grant.person, &row.grant.pivot_digest);
        let about = self.subject_at_mint(edition, &row.grant, &details, now).await?;
        let mandate = about.as_ref().and_then(GrantSubject::mandate);
        let mandate = mandate.map(|mandate| self.keys.mandate_at(details.operator(), &mandate.id));
        let subject = match about {
            None => SealedSubject::Person(needed(sheet, asker().await?)),
            Some(GrantSubject::Child(child)) => SealedSubject::Child {
                child: needed(sheet, child),
                asker: needed(sheet, asker().await?),
            },
            Some(GrantSubject::Entity { siren, .. } | GrantSubject::Run { siren, .. }) => {
                SealedSubject::Entity(siren)
            }
            Some(GrantSubject::Helped { person, .. }) => SealedSubject::Person(needed(sheet, person)),
        };
        let pivot_jwe = seal_subject(edition, details.operator(), &subject, &self.rng)?;
        let capacity = capacity_of(row.grant.capacity, details.subject.kind);
        let life = match details.mode.kind {
            ModeKind::Once => ONCE_S,
            ModeKind::Standing => STANDING_S,
        };
        // Nothing is fetched after the end by a token from before it.
        let left = end_of(&row.grant, &details).ms_since(now) / 1_000 + 1;
        let life = left.min(life);
        let handle = element.handle;
        let claims = AccessTokenClaims {
            iss: self.issuer.clone(),
            aud: *details.operator(),
            sub: self.keys.pairwise(&client.id, &row.grant.person),
            client_id: client.id,
            act_client: client.publisher,
            iat: now.secs(),
            nbf: now.secs(),
            exp: now.secs() + life,
            jti: text_of(&self.random.bytes()),
            acr: row.grant.acr,
            auth_time: row.grant.auth_time,
            idp_iss: row.grant.idp_iss.clone(),
            cnf: Cnf {
                x5t_s256: peer.x5t_s256(),
            },
            gh: handle,
            authorization_details: [details.clone()],
            capacity,
            mandate,
            pivot_hash: base64url(Sha256::of(pivot_jwe.as_bytes()).as_bytes()),
            gs: self.journal.secret(&handle, now).await?,
            rvk,
            motive: row.grant.by.as_ref().map(|by| by.motive.clone()),
            subject_unbound: row.grant.subject_unbound.clone(),
        };
        let token = access_token::sign(self.token_key(edition)?, &claims).map_err(Error::Key)?;
        let fact = Fact {
            details: Some(&details),
            handle: Some(handle),
            capacity: Some(capacity),
            acr: Some(row.grant.acr),
            ..client.fact(edition)
        };
        self.journal.write(Event::Minted, fact).await?;
        Ok(Minted {
            access_token: token,
            token_type: "Bearer",
            expires_in: life,
            grant_id: text_of(grant.as_bytes()),
            authorization_details: match first {
                true => row.last().map(details_of).collect::<Result<_, _>>()?,
                false => vec![details],
            },
            refresh_token: None,
            pivot_jwe,
            ends_at: row.grant.ends_at,
        })
    }

    /// The key that signs tokens: the directory's first that is held here and was not withdrawn. What one signs that was
    /// is dead everywhere.
    fn token_key(&self, edition: &Edition) -> Result<&SigningKey, Error> {
        let listed = edition.directory.authority().token_keys.iter().map(Jwk::kid);
        let standing = listed.filter(|kid| !self.revocation.is_key_withdrawn(kid));
        self.keys
            .token
            .first_of(standing)
            .ok_or(Error::Key(unefois_jose::Error::UnknownKey))
    }
}

/// Seals an identity to a producer's key of the directory.
pub(crate) fn seal_subject(
    edition: &Edition,
    producer: &ParticipantId,
    subject: &SealedSubject,
    rng: &SystemRandom,
) -> Result<String, Error> {
    let row = edition.directory.participant(producer);
    let jwk = row.and_then(|row| row.pivot_keys.first()).ok_or(Error::Target)?;
    let key = PublicKey::from_point(&jwk.sec1()).map_err(Error::Key)?;
    let json = Zeroizing::new(serde_json::to_string(subject).map_err(|_| Error::Stored)?);
    jwe::seal_pivot(&EncryptionKey::new(key), &json, rng).map_err(Error::Key)
}

/// The element that a token is for: the one named, otherwise the first still standing.
fn pick(row: &GrantRow, wanted: &Wanted, now: Micros) -> Result<(Element, AuthorizationDetails), Error> {
    let mut named = false;
    let wanted_handle = wanted.handle.map(|handle| row.standing_for(handle));
    for element in &row.elements {
        let details = details_of(element)?;
        let meant = wanted_handle.is_none_or(|handle| handle == element.handle)
            && wanted
                .resource
                .is_none_or(|resource| resource == *details.operator());
        if !meant {
            continue;
        }
        named = true;
        if stands(&row.grant, element, &details, now) {
            return Ok((element.clone(), details));
        }
    }
    Err(match named {
        true => Error::GrantRevoked,
        false => Error::Target,
    })
}

/// Whether an element was neither withdrawn nor has ended.
pub(crate) fn stands(grant: &Grant, element: &Element, details: &AuthorizationDetails, now: Micros) -> bool {
    element.withdrawn.is_none() && now < end_of(grant, details)
}

/// When an element of a grant ends by itself.
pub(crate) fn end_of(grant: &Grant, details: &AuthorizationDetails) -> Micros {
    element_ends_at(&details.mode, grant.granted_at).min(grant.ends_at)
}

/// What was granted, with its handle.
pub(crate) fn details_of(element: &Element) -> Result<AuthorizationDetails, Error> {
    serde_json::from_str(&element.details).map_err(|_| Error::Stored)
}

/// Leaves out what the datatype does not need; names, birth date and sex always go.
pub(crate) fn needed(sheet: &DatatypeSheet, pivot: Pivot) -> Pivot {
    let attributes = sheet.pivot.any_of.first().map_or(&[][..], Vec::as_slice);
    let asked = |attribute| attributes.contains(&attribute);
    let born_in_france = pivot
        .birthcountry
        .as_ref()
        .is_some_and(|country| country.is_france());
    let place = sheet.pivot.birthplace == Birthplace::IfFrance && born_in_france;
    Pivot {
        birthplace: pivot.birthplace.filter(|_| place),
        // Without the country, the place could not be told from one abroad.
        birthcountry: pivot
            .birthcountry
            .filter(|_| place || asked(PivotAttribute::Birthcountry)),
        preferred_username: pivot
            .preferred_username
            .filter(|_| asked(PivotAttribute::PreferredUsername)),
        ..pivot
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
