//! Whoever answers for a company or for somebody they help: by a mandate that holds, or not at all.

use axum::response::Response;
use unefois_core::{Acr, Capacity, Reason};
use unefois_store::authority::session::Login;

use super::Open;
use super::subject::Refusal;
use crate::Error;
use crate::mandate::{Listed, Mandate, Principal};
use crate::oauth::Binding;
use crate::pages::Reader;
use crate::portal::DemandeOutcome;
use crate::published::Edition;
use crate::service::Authority;

impl Authority {
    /// The mandate by which this person may answer: of whom the file is about, for this démarche and all that it asks for,
    /// in force.
    pub(super) async fn mandate_for(
        &self,
        open: &Open,
        edition: &Edition,
        login: &Login,
    ) -> Result<Option<Mandate>, Error> {
        let (Binding::Check(check), Some(first)) = (&open.request.binding, open.request.elements.first())
        else {
            return Ok(None);
        };
        let (now, matter) = (self.clock.now(), (&first.demarche, open.request.level(edition)));
        for listed in self.held_mandates(&login.person).await? {
            let Listed::Opened(mandate) = listed else {
                continue;
            };
            let of_the_file = match (&mandate.body.principal, open.request.capacity) {
                (Principal::Entity(siren), Capacity::Entity) => check.is_entity(siren),
                (Principal::Person { person, .. }, Capacity::Helper) => check.is(person),
                (Principal::Entity(_) | Principal::Person { .. }, _) => false,
            };
            if of_the_file && self.mandate_covers(edition, &mandate, matter, now).await? {
                return Ok(Some(*mandate));
            }
        }
        Ok(None)
    }

    /// The page that refuses whoever has no mandate for the file; whether another's file or an expired mandate is to blame,
    /// it says alike.
    pub(super) async fn not_mandated(
        &self,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        acr: Acr,
    ) -> Result<Response, Error> {
        let refusal = Refusal {
            reason: Reason::NotEntitled,
            acr,
            outcome: DemandeOutcome::NoMandate,
        };
        let tx = self.db.begin().await?;
        self.refuse_answer(tx, reader, open, edition, refusal).await
    }
}
