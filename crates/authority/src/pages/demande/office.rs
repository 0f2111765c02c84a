//! Whoever runs the company that the file is about answers for it by their own login, without a mandate.

use axum::response::Response;
use unefois_core::{Capacity, OfficerAssurance, Reason};
use unefois_store::authority::session::{Holder, OfficerLogin};

use super::subject::{Refusal, tries_left};
use super::{Acting, Open};
use crate::Error;
use crate::oauth::{Behind, Binding, ON_FILE};
use crate::pages::{self, Reader};
use crate::portal::{self, DemandeOutcome};
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::Office;

impl Open {
    /// The officer who reads a request about a company.
    pub(super) fn officer<'a>(&self, reader: &'a Reader) -> Option<&'a OfficerLogin> {
        match reader.visit.as_ref()?.holder.as_ref()? {
            Holder::Officer(login) if self.request.capacity == Capacity::Entity => Some(login),
            Holder::Officer(_) | Holder::Person(_) => None,
        }
    }
}

/// The login as one who runs the company; the request waits.
pub(super) fn to_certified_login(open: &Open) -> Response {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &open.address)
        .append_pair("niveau", OfficerAssurance::Certified.as_str())
        .finish();
    pages::see_other(&format!("{}?{query}", portal::path::LOGIN))
}

impl Authority {
    /// How an officer answers for their company: as its account, at the level that the authority itself may assert, since a
    /// provider of professionals asserts none of people's.
    ///
    /// # Errors
    /// [`Error::NotForOfficers`] for one who is not certified to run it; [`Error::AcrTooLow`] for data that need a person's
    /// login.
    pub(super) async fn answers_for_company(
        &self,
        open: &Open,
        edition: &Edition,
        officer: &OfficerLogin,
    ) -> Result<Behind, Error> {
        if !self.runs(officer).await? {
            return Err(Error::NotForOfficers);
        }
        if !(edition.directory).issuer_entitled_to_officers(&officer.idp_iss, OfficerAssurance::Certified)
            || !edition.directory.issuer_entitled(&self.issuer, ON_FILE)
        {
            return Err(Error::AcrUnknown);
        }
        if open.request.level(edition) > ON_FILE {
            return Err(Error::AcrTooLow);
        }
        let (person, pivot_digest) = self.company(&officer.siret.siren()).await?;
        Ok(Behind {
            latest: None,
            person,
            acr: ON_FILE,
            auth_time: officer.auth_time,
            idp_iss: self.issuer.clone(),
            pivot_digest,
            by: None,
        })
    }

    /// For whom this officer answers, if that is the company of the file; the page that refuses them otherwise.
    pub(super) async fn office(
        &self,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        officer: &OfficerLogin,
    ) -> Result<Result<Acting, Response>, Error> {
        let siren = officer.siret.siren();
        let Binding::Check(check) = &open.request.binding else {
            return Err(Error::Stored);
        };
        let mut tx = self.db.begin().await?;
        let Some(tries) = self.tried(&mut tx, open, check.is_entity(&siren)).await? else {
            let office = Office {
                officer: *officer.officer.as_bytes(),
                idp_iss: officer.idp_iss.clone(),
                name: self.profile(officer)?.name(),
            };
            return Ok(Ok(Acting::Office { siren, office }));
        };
        let refusal = Refusal {
            reason: Reason::SubjectMismatch,
            acr: ON_FILE,
            outcome: DemandeOutcome::OtherCompany {
                tries_left: tries_left(tries),
            },
        };
        self.refuse_answer(tx, reader, open, edition, refusal)
            .await
            .map(Err)
    }
}
