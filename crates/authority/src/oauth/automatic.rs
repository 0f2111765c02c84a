//! Requests with nobody present: the consumer names the person, and presents its request at the token endpoint.

use unefois_core::{Acr, Pivot, Reason, SealedSubject, Sha256, Way};
use unefois_jose::jwe;
use unefois_store::authority::GrantId;
use unefois_store::authority::opposition::{Unasked, grant_unasked};
use unefois_store::authority::request::pushed_take;

use super::client::Client;
use super::granted::{Behind, Draft};
use super::pushed::{Binding, PushedRequest};
use crate::Error;
use crate::form::Form;
use crate::published::Edition;
use crate::service::Authority;

/// The grant type of requests with nobody present.
pub(super) const AUTOMATIC: &str = "urn:unefois:grant-type:automatic";
/// How sure an identity is that a consumer's file alone says: the directory names the authority as who may assert that, or
/// such requests are refused (I10).
pub(crate) const ON_FILE: Acr = Acr::Eidas1;

impl Authority {
    /// Opens an identity that a consumer sealed to the authority. It has to be whole: nobody's login shows who is meant.
    pub(crate) fn sealed_subject(&self, subject_jwe: &str) -> Result<Pivot, Error> {
        let keys: Vec<_> = self.keys.pivot.iter().collect();
        if keys.is_empty() {
            return Err(Error::NotImplemented("subject_jwe"));
        }
        let unreadable = || Error::request("subject_jwe is not an identity sealed to the authority's key");
        let json = jwe::open_pivot(&keys, subject_jwe).map_err(|_| unreadable())?;
        let subject: SealedSubject = serde_json::from_slice(&json).map_err(|_| unreadable())?;
        match subject {
            SealedSubject::Person(pivot) => {
                let pivot = pivot.checked().map_err(|_| unreadable())?;
                match pivot.is_whole() {
                    true => Ok(pivot),
                    false => Err(Error::request(
                        "subject_jwe lacks the sex, the whole date or the place of birth",
                    )),
                }
            }
            SealedSubject::Child { .. } | SealedSubject::Entity(_) => {
                Err(Error::NotImplemented("subject_jwe of another than one person"))
            }
        }
    }

    /// The grant of a request with nobody present. The request serves once, whatever comes of it.
    pub(super) async fn grant_with_nobody(
        &self,
        edition: &Edition,
        client: &Client,
        form: &mut Form,
    ) -> Result<GrantId, Error> {
        let request_uri = form.required("request_uri", 128)?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let body = pushed_take(&mut tx, &Sha256::of(request_uri.as_bytes()), &client.id, now).await?;
        tx.commit().await?;
        let body = body.ok_or(Error::RequestUri)?;
        let request = PushedRequest::stored(&body).ok_or(Error::RequestUri)?;
        if request.way != Way::Automatic || request.publisher != client.publisher {
            return Err(Error::RequestUri);
        }
        let Binding::Sealed(subject_jwe) = &request.binding else {
            return Err(Error::Stored);
        };
        request.still_authorizable(edition, now)?;
        if request.level(edition) > ON_FILE {
            return Err(Error::AcrTooLow);
        }
        if !edition.directory.issuer_entitled(&self.issuer, ON_FILE) {
            return Err(Error::AcrUnknown);
        }
        let pivot = self.sealed_subject(subject_jwe)?;
        let (person, pivot_digest) = self.account_on_file(&pivot).await?;

        let behind = Behind {
            latest: None,
            person,
            pivot_digest,
            acr: ON_FILE,
            auth_time: now.secs(),
            idp_iss: self.issuer.clone(),
            by: None,
        };
        // Nobody ticks anything.
        let draft = self.draft(&request, &|_, _| false, behind)?;
        let draft = draft.ok_or_else(|| Error::Details {
            path: "authorization_details".to_owned(),
            what: "a required unit, since nobody is there to tick another".into(),
            reason: Reason::InvalidRequest,
        })?;
        let Draft {
            grant,
            elements,
            granted,
        } = draft;
        let mut tx = self.db.begin().await?;
        match grant_unasked(&mut tx, self.revocation.epoch()?, &grant, &elements).await? {
            Unasked::Written => tx.commit().await?,
            Unasked::Opposed => return Err(Error::Opposed),
            Unasked::Superseded => return Err(Error::Superseded),
        }
        self.record_granted(&grant, &granted, edition).await?;
        Ok(grant.id)
    }
}
