//! Companies: whoever is certified to run one answers for it, and sees what was granted for it, by whichever of its officers.

use unefois_core::{Micros, OfficerAssurance, Reason, Sha256, Siren};
use unefois_store::authority::PersonUid;
use unefois_store::authority::mandate::officer_is_certified;
use unefois_store::authority::person::Said;
use unefois_store::authority::session::{Holder, OfficerLogin};

use crate::Error;
use crate::account::Names;
use crate::pages::Reader;
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::Office;

/// How long an officer counts as certified after the last login that said so: nobody tells when one is dismissed.
const CERTIFIED_MS: i64 = 90 * 24 * 3_600_000;

impl Authority {
    /// The account of a company, made where there is none. It is in no relation to an account of people: what names it is
    /// no identity of a person's.
    pub(crate) async fn company(&self, siren: &Siren) -> Result<(PersonUid, Sha256), Error> {
        let digest = self.keys.company_digest(siren);
        let said = Said {
            iss: &self.issuer,
            sub: &digest.to_string(),
            pivot: &digest,
        };
        let (tx, uid) = self.account_said(said, Names::One).await?;
        tx.commit().await?;
        Ok((uid, digest))
    }

    /// The account whose grants a reader sees: a person's own, or the one of the company that they are certified to run.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`]; [`Error::NotForOfficers`] for an officer who is not certified, or not any more.
    pub(crate) async fn owner(&self, reader: &Reader) -> Result<PersonUid, Error> {
        match reader.somebody()?.holder.as_ref().ok_or(Error::NotLoggedIn)? {
            Holder::Person(login) => Ok(login.person),
            Holder::Officer(login) => match self.runs(login).await? {
                true => Ok(self.company(&login.siret.siren()).await?.0),
                false => Err(Error::NotForOfficers),
            },
        }
    }

    /// Whether an officer who is logged in is certified to run the company: by this login, and none has said otherwise since.
    pub(crate) async fn runs(&self, login: &OfficerLogin) -> Result<bool, Error> {
        let certified = login.assurance == OfficerAssurance::Certified;
        Ok(certified
            && self
                .is_certified(login.officer.as_bytes(), self.clock.now())
                .await?)
    }

    /// Whether an officer counts as certified: a login said so within ninety days, and none has said otherwise since.
    pub(crate) async fn is_certified(&self, officer: &[u8; 16], now: Micros) -> Result<bool, Error> {
        Ok(officer_is_certified(&self.db, officer, now.plus_ms(-CERTIFIED_MS)).await?)
    }

    /// Checks again that whoever granted for a company still runs it, as named by a provider that may still say so.
    pub(crate) async fn office_in_force(
        &self,
        edition: &Edition,
        office: &Office,
        now: Micros,
    ) -> Result<(), Error> {
        let entitled =
            (edition.directory).issuer_entitled_to_officers(&office.idp_iss, OfficerAssurance::Certified);
        match entitled && self.is_certified(&office.officer, now).await? {
            true => Ok(()),
            false => Err(Error::Details {
                path: "officer".to_owned(),
                what: "whoever granted for the company is not certified to run it any more".into(),
                reason: Reason::NotEntitled,
            }),
        }
    }
}
