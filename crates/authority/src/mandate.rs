//! Mandates: a certified officer lets somebody act for a company, a person lets somebody act for them. Both sides are
//! named, the démarches are listed, and each mandate ends: by itself, by either side, or with the officer's certificate.

use serde::{Deserialize, Serialize};
use unefois_core::{
    Acr, Capacity, DemarcheId, Event, Micros, OfficerAssurance, Pivot, Reason, Sha256, Siren,
};
use unefois_store::authority::PersonUid;
use unefois_store::authority::mandate::{
    MandateRow, mandate_accept, mandate_find, mandate_insert, mandate_invited, mandates_given, mandates_held,
};
use zeroize::Zeroizing;

use crate::Error;
use crate::journal::Fact;
use crate::oauth::draw_secret;
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::{GrantSubject, Mandated};

const PURPOSE: &str = "mandate";
/// The longest life of a mandate.
pub(crate) const LONGEST_MS: i64 = 366 * 24 * 3_600_000;
/// How long an invitation waits to be taken up.
const INVITED_MS: i64 = 7 * 24 * 3_600_000;

/// What a mandate says, kept sealed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MandateBody {
    /// For whom.
    pub(crate) principal: Principal,
    /// The name of whoever gave it.
    pub(crate) by: String,
    /// Which identity provider had named them.
    pub(crate) idp_iss: String,
    /// The name of whoever took it up.
    pub(crate) to: Option<String>,
    /// For a company, démarches; for a person, perimeters of the configuration.
    pub(crate) perimeter: Vec<String>,
}

/// For whom somebody acts by a mandate.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Principal {
    /// A company.
    Entity(Siren),
    /// A person, as they were logged in when they gave it: nobody may ask more in their name than they could.
    Person {
        /// Who they are.
        person: Pivot,
        /// How surely.
        acr: Acr,
    },
}

/// A mandate, opened.
#[derive(Clone)]
pub(crate) struct Mandate {
    pub(crate) row: MandateRow,
    pub(crate) body: MandateBody,
}

impl Mandate {
    /// Whom a grant under this mandate is about, and by what.
    pub(crate) fn subject(&self, to: String) -> GrantSubject {
        let mandate = Mandated {
            id: self.row.id,
            by: self.body.by.clone(),
            to,
        };
        match &self.body.principal {
            Principal::Entity(siren) => GrantSubject::Entity {
                siren: *siren,
                mandate,
            },
            Principal::Person { person, .. } => GrantSubject::Helped {
                person: person.clone(),
                mandate,
            },
        }
    }

    const fn capacity(&self) -> Capacity {
        match self.body.principal {
            Principal::Entity(_) => Capacity::Entity,
            Principal::Person { .. } => Capacity::Helper,
        }
    }
}

/// A mandate to be given.
pub(crate) struct NewMandate {
    pub(crate) mandator: [u8; 16],
    pub(crate) body: MandateBody,
    pub(crate) expires_at: Micros,
}

impl Authority {
    /// Writes a mandate; the secret that its holder takes it up with, within seven days.
    pub(crate) async fn give_mandate(&self, new: NewMandate) -> Result<String, Error> {
        let now = self.clock.now();
        let secret = draw_secret(&*self.random);
        let id = self.random.bytes();
        let row = MandateRow {
            id,
            mandator: new.mandator,
            holder: None,
            sealed: self.seal_mandate(&id, &new.body)?,
            issued_at: now,
            invited_until: now.plus_ms(INVITED_MS).min(new.expires_at),
            accepted_at: None,
            expires_at: new.expires_at,
            ended_at: None,
        };
        let mut tx = self.db.begin().await?;
        mandate_insert(&mut tx, &row, &Sha256::of(secret.as_bytes())).await?;
        tx.commit().await?;
        Ok(secret)
    }

    /// The mandate of an invitation that can still be taken up.
    pub(crate) async fn invited(&self, secret: &str) -> Result<Mandate, Error> {
        let now = self.clock.now();
        let row = mandate_invited(&self.db, &Sha256::of(secret.as_bytes()), now).await?;
        self.open_mandate(row.ok_or(Error::NotFound)?)
    }

    /// Takes an invited mandate up; one that cannot be recorded ends at once.
    pub(crate) async fn take_mandate_up(
        &self,
        secret: &str,
        holder: &PersonUid,
        name: String,
    ) -> Result<(), Error> {
        let mut mandate = self.invited(secret).await?;
        mandate.body.to = Some(name);
        let sealed = self.seal_mandate(&mandate.row.id, &mandate.body)?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let taken = mandate_accept(&mut tx, &Sha256::of(secret.as_bytes()), holder, &sealed, now).await?;
        tx.commit().await?;
        if !taken {
            return Err(Error::NotFound);
        }
        let fact = Fact {
            edition: &self.published.edition(),
            client: None,
            publisher: None,
            details: None,
            handle: None,
            capacity: Some(mandate.capacity()),
            acr: None,
        };
        if let Err(error) = self.journal.write(Event::Mandated, fact).await {
            // What no entry records does not hold.
            self.end_mandate(&mandate.row.id, holder.as_bytes())
                .await
                .unwrap_or_else(|e| crate::pages::log(&e));
            return Err(error);
        }
        Ok(())
    }

    /// Ends a mandate for either side, and with it all that rests on it; what is not theirs is not found.
    pub(crate) async fn end_mandate(&self, id: &[u8; 16], side: &[u8; 16]) -> Result<(), Error> {
        let row = mandate_find(&self.db, id).await?.ok_or(Error::NotFound)?;
        let theirs = row.mandator == *side || row.holder.is_some_and(|holder| holder.as_bytes() == side);
        if !theirs {
            return Err(Error::NotFound);
        }
        let stopped = self.revocation.end_mandate(*id, self.clock.now()).await?;
        self.log_stopped(&stopped).await
    }

    /// The mandates that somebody gave.
    pub(crate) async fn given_mandates(&self, mandator: &[u8; 16]) -> Result<Vec<Mandate>, Error> {
        let rows = mandates_given(&self.db, mandator).await?;
        rows.into_iter().map(|row| self.open_mandate(row)).collect()
    }

    /// The mandates that a person took up.
    pub(crate) async fn held_mandates(&self, holder: &PersonUid) -> Result<Vec<Mandate>, Error> {
        let rows = mandates_held(&self.db, holder).await?;
        rows.into_iter().map(|row| self.open_mandate(row)).collect()
    }

    /// Whether whoever gave a mandate still may: named by a provider that may still say so, and, for a company, certified
    /// to run it not long ago.
    pub(crate) async fn mandate_is_supported(
        &self,
        edition: &Edition,
        mandate: &Mandate,
        now: Micros,
    ) -> Result<bool, Error> {
        let (directory, iss) = (&edition.directory, &mandate.body.idp_iss);
        Ok(match mandate.body.principal {
            Principal::Entity(_) => {
                directory.issuer_entitled_to_officers(iss, OfficerAssurance::Certified)
                    && self.is_certified(&mandate.row.mandator, now).await?
            }
            Principal::Person { acr, .. } => directory.issuer_entitled(iss, acr),
        })
    }

    /// Whether a mandate holds for what needs this level in a démarche: neither ended nor expired, the démarche within its
    /// perimeter as the configuration has it now, whoever gave it known that surely, and still somebody who may.
    pub(crate) async fn mandate_covers(
        &self,
        edition: &Edition,
        mandate: &Mandate,
        (demarche, level): (&DemarcheId, Acr),
        now: Micros,
    ) -> Result<bool, Error> {
        let perimeter = &mandate.body.perimeter;
        let listed = match &mandate.body.principal {
            Principal::Entity(_) => perimeter.iter().any(|listed| listed == demarche.as_str()),
            Principal::Person { acr, .. } => {
                let known = perimeter.iter().filter_map(|name| self.perimeters.get(name));
                *acr >= level && known.into_iter().any(|known| known.demarches.contains(demarche))
            }
        };
        Ok(listed && mandate.row.holds(now) && self.mandate_is_supported(edition, mandate, now).await?)
    }

    /// Checks again that the mandate of a grant still lets this person act, in a démarche, for what needs this level.
    pub(crate) async fn mandate_in_force(
        &self,
        edition: &Edition,
        (mandated, holder): (&Mandated, &PersonUid),
        matter: (&DemarcheId, Acr),
        now: Micros,
    ) -> Result<(), Error> {
        let over = Error::Details {
            path: "mandate".to_owned(),
            what: "it has ended or expired, does not cover the démarche, or whoever gave it may not any more"
                .into(),
            reason: Reason::NotEntitled,
        };
        let Some(row) = mandate_find(&self.db, &mandated.id).await? else {
            return Err(over);
        };
        let mandate = self.open_mandate(row)?;
        let covers = mandate.row.holder == Some(*holder)
            && self.mandate_covers(edition, &mandate, matter, now).await?;
        covers.then_some(()).ok_or(over)
    }

    fn seal_mandate(&self, id: &[u8; 16], body: &MandateBody) -> Result<Vec<u8>, Error> {
        let plain = Zeroizing::new(serde_json::to_vec(body).map_err(|_| Error::Stored)?);
        Ok(self.keys.seal(PURPOSE, id, &plain, &*self.random))
    }

    fn open_mandate(&self, row: MandateRow) -> Result<Mandate, Error> {
        let plain = self
            .keys
            .open(PURPOSE, &row.id, &row.sealed)
            .ok_or(Error::Stored)?;
        let body = serde_json::from_slice(&plain).map_err(|_| Error::Stored)?;
        Ok(Mandate { row, body })
    }
}
