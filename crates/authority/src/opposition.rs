//! What people object to being fetched without their asking (`CRPA-L114-8-II`): recorded, told to the ledger, and in force
//! from the same moment on for grants, tokens and producers.

use serde_json::json;
use unefois_core::{DemarcheId, Micros, ParticipantId};
use unefois_mesh::status::chain;
use unefois_store::authority::PersonUid;
use unefois_store::authority::opposition::{
    Opposition, Unlogged, opposition_lift, opposition_logged, opposition_renew, opposition_unlogged,
};

use crate::Error;
use crate::portal::paris;
use crate::service::Authority;

/// How long an opposition is kept, in months; the law leaves 12 to 24.
pub(crate) const MONTHS: i32 = 24;
/// The act that ends an opposition, as the store names it.
const LIFTED: &str = "lifted";
/// How long whoever changes an opposition has to log it; later, somebody else does.
const UNLOGGED_MS: i64 = 10_000;

/// To what a person objects: everything that is fetched without their asking, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) client: Option<ParticipantId>,
    pub(crate) demarche: Option<DemarcheId>,
}

/// Until when an opposition is kept that is made or renewed at `now`.
pub(crate) fn until(now: Micros) -> Result<Micros, Error> {
    paris::after_months(now, MONTHS).ok_or(Error::Stored)
}

impl Authority {
    /// Records that a person objects and stops what stands under it; how many grants' elements that were.
    pub(crate) async fn oppose(&self, person: PersonUid, scope: Scope) -> Result<usize, Error> {
        let now = self.clock.now();
        let opposition = Opposition {
            id: self.random.bytes(),
            person,
            client: scope.client,
            demarche: scope.demarche,
            since: now,
            ends_at: until(now)?,
        };
        let stopped = self.revocation.oppose(opposition, now).await?;
        self.log_stopped(&stopped).await?;
        self.log_oppositions(now.plus_ms(1), Some(&person)).await?;
        Ok(stopped.len())
    }

    /// Keeps a person's opposition for another [`MONTHS`] from now on.
    pub(crate) async fn renew_opposition(&self, person: &PersonUid, id: &[u8; 16]) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if !opposition_renew(&mut tx, person, id, until(now)?, now).await? {
            return Err(Error::NotFound);
        }
        tx.commit().await?;
        self.log_oppositions(now.plus_ms(1), Some(person)).await
    }

    /// Lifts a person's opposition.
    pub(crate) async fn lift_opposition(&self, person: &PersonUid, id: &[u8; 16]) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if !opposition_lift(&mut tx, person, id, now).await? {
            return Err(Error::NotFound);
        }
        tx.commit().await?;
        self.log_oppositions(now.plus_ms(1), Some(person)).await
    }

    /// Writes the entries of what was done with oppositions and could not be logged in its time.
    pub(crate) async fn log_missing_oppositions(&self) -> Result<(), Error> {
        let before = self.clock.now().plus_ms(-UNLOGGED_MS);
        self.log_oppositions(before, None).await
    }

    /// One that cannot be logged stands in no other's way: the next minute tries again.
    async fn log_oppositions(&self, before: Micros, of: Option<&PersonUid>) -> Result<(), Error> {
        for unlogged in opposition_unlogged(&self.db, before, of).await? {
            if let Err(error) = self.log_opposition(&unlogged).await {
                tracing::warn!(
                    error = chain(&error),
                    "the entry of an opposition is not written yet"
                );
            }
        }
        Ok(())
    }

    async fn log_opposition(&self, unlogged: &Unlogged) -> Result<(), Error> {
        let Unlogged {
            opposition,
            lifted_at,
            acts,
        } = unlogged;
        let edition = self.published.edition();
        for act in acts {
            let evidence = json!({
                "act": act,
                "since_us": opposition.since.get(),
                "until_us": opposition.ends_at.get(),
                "lifted_us": lifted_at.filter(|_| act == LIFTED).map(Micros::get),
            });
            let (client, demarche) = (opposition.client, opposition.demarche.clone());
            self.journal
                .opposed(client, demarche, &edition, evidence.to_string().into_bytes())
                .await?;
            let mut tx = self.db.begin().await?;
            opposition_logged(&mut tx, &opposition.id, act).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
