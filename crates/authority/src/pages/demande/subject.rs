//! Whether the reader is the person whom the file is about; whoever is not is refused, and counted.

use axum::response::Response;
use unefois_core::{Acr, Reason};
use unefois_store::Tx;
use unefois_store::authority::request::{interaction_close, subject_try};
use unefois_store::authority::session::Login;

use super::{Acting, Open, ended};
use crate::Error;
use crate::oauth::Binding;
use crate::pages::{Reader, words};
use crate::portal::DemandeOutcome;
use crate::published::Edition;
use crate::service::Authority;
use crate::session::Visit;

/// How many identities may be tried for one dossier in a day.
pub(super) const TRIES: i64 = 3;
const DAY_S: i64 = 86_400;

/// Why somebody may not answer.
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) acr: Acr,
    pub(super) outcome: DemandeOutcome,
}

impl Authority {
    /// The session of somebody who may decide: logged in, at the level that the data need, by whom it may be asserted.
    pub(super) fn decider<'a>(
        &self,
        reader: &'a Reader,
        open: &Open,
        edition: &Edition,
    ) -> Result<&'a Visit, Error> {
        let visit = reader.logged_in()?;
        let login = visit.login()?;
        if !edition.directory.issuer_entitled(&login.idp_iss, login.acr) {
            return Err(Error::AcrUnknown);
        }
        match login.acr >= open.request.level(edition) {
            true => Ok(visit),
            false => Err(Error::AcrTooLow),
        }
    }

    /// Counts an identity that was tried for the file, and says how many there were that day; `None` for the right one, as
    /// long as there were not too many: its try goes with the transaction, which is not to be committed then.
    ///
    /// It is counted before anything is told: several at once wait for each other here, and none sees an older count.
    pub(super) async fn tried(&self, tx: &mut Tx, open: &Open, right: bool) -> Result<Option<i64>, Error> {
        let day = self.clock.now().secs().div_euclid(DAY_S);
        let tries = subject_try(tx, &open.request.dossier_hash(), day).await?;
        Ok((tries > TRIES || !right).then_some(tries))
    }

    /// For whom a person may answer the request, `None` for themselves; the page that refuses them where they may not.
    pub(super) async fn acts_as(
        &self,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        login: &Login,
    ) -> Result<Result<Option<Acting>, Response>, Error> {
        if open.request.by_mandate() {
            return match self.mandate_for(open, edition, login).await? {
                Some(mandate) => Ok(Ok(Some(Acting::Mandate(Box::new(mandate))))),
                None => self.not_mandated(reader, open, edition, login.acr).await.map(Err),
            };
        }
        let refused = self.not_the_subject(reader, open, edition, login).await?;
        Ok(refused.map_or(Ok(None), Err))
    }

    /// The page that refuses whoever is not the person of the file; `None` for that person.
    ///
    /// A wrong identity counts once a login, and after three the file waits until the next day.
    async fn not_the_subject(
        &self,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        login: &Login,
    ) -> Result<Option<Response>, Error> {
        let check = match &open.request.binding {
            Binding::Check(check) => check,
            Binding::Unbound(_) => return Ok(None),
            Binding::Sealed(_) => return Err(Error::Stored),
        };
        let pivot = self.identity(&login.person, &login.pivot_digest).await?;
        let mut tx = self.db.begin().await?;
        let Some(tries) = self.tried(&mut tx, open, check.is(&pivot)).await? else {
            return Ok(None);
        };
        let refusal = Refusal {
            reason: Reason::SubjectMismatch,
            acr: login.acr,
            outcome: DemandeOutcome::Mismatch {
                tries_left: tries_left(tries),
            },
        };
        self.refuse_answer(tx, reader, open, edition, refusal)
            .await
            .map(Some)
    }

    /// Closes a request that somebody may not answer, records why, and shows them the way back.
    pub(super) async fn refuse_answer(
        &self,
        mut tx: Tx,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        refusal: Refusal,
    ) -> Result<Response, Error> {
        interaction_close(&mut tx, &open.id).await?;
        tx.commit().await?;
        let first = open.request.elements.first();
        self.record_refusal(open, edition, refusal.reason, first, Some(refusal.acr))
            .await?;
        let told = [
            ("error", "access_denied"),
            ("error_description", refusal.reason.as_str()),
        ];
        let back = open.request.back(&self.issuer, &told)?;
        let asker = words::name(edition, reader.lang, &open.request.client);
        ended(self, reader, refusal.outcome, Some((asker, back))).await
    }
}

/// How often another identity may still be tried for the file that day.
pub(super) fn tries_left(tries: i64) -> u8 {
    u8::try_from((TRIES - tries).max(0)).unwrap_or(0)
}
