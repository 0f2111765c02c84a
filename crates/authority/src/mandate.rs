//! Mandates: a certified officer lets somebody act for a company, a person lets somebody act for them. Both sides are
//! named, the démarches are listed, and each mandate ends: by itself, by either side, or with the officer's certificate.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use unefois_core::{
    Acr, BirthDate, Capacity, DemarcheId, Event, Micros, OfficerAssurance, Pivot, Reason, Sha256, Siren,
};
use unefois_mesh::status::chain;
use unefois_store::authority::PersonUid;
use unefois_store::authority::mandate::{
    MandateRow, UnloggedPlace, mandate_accept, mandate_ask, mandate_fill, mandate_find, mandate_insert,
    mandate_invited, mandate_logged, mandate_unfilled, mandate_unlogged, mandates_given, mandates_held,
    mandates_living,
};
use unefois_store::authority::session::Holder;
use zeroize::Zeroizing;

use crate::Error;
use crate::journal::Fact;
use crate::oauth::{draw_secret, text_of};
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::{GrantSubject, Mandated};

const PURPOSE: &str = "mandate";
/// The longest life of a mandate.
pub(crate) const LONGEST_MS: i64 = 366 * 24 * 3_600_000;
/// How long an invitation waits to be taken up, and whoever took it up to be accepted.
const INVITED_MS: i64 = 7 * 24 * 3_600_000;
/// The most mandates that an account may have given, and the most that it may hold, in force or not yet.
const MOST: i64 = 50;
/// How long whoever changes a mandate has to log it; later, somebody else does.
const UNLOGGED_MS: i64 = 10_000;
/// Mandates filled in by one reading.
const FILLED_AT_ONCE: u32 = 200;

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
    /// What the giver is shown of them, before they may act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taker: Option<Taker>,
    /// For a company, démarches; for a person, perimeters of the configuration.
    pub(crate) perimeter: Vec<String>,
    /// For a person, the démarches of those perimeters when they gave it: none comes in later. `None` for a company, and of
    /// one from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) demarches: Option<BTreeSet<DemarcheId>>,
}

/// Whoever took a mandate up, as they were logged in.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Taker {
    /// All first names and the birth name.
    pub(crate) full_name: String,
    pub(crate) birthdate: BirthDate,
    pub(crate) acr: Acr,
    /// Which identity provider named them.
    pub(crate) idp_iss: String,
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

/// A mandate of a list.
pub(crate) enum Listed {
    /// It opens.
    Opened(Box<Mandate>),
    /// It does not, so that nobody acts by it: what its row says is all there is.
    Sealed(MandateRow),
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
}

/// Why somebody may not act by a mandate any more.
pub(crate) fn mandate_over() -> Error {
    Error::Details {
        path: "mandate".to_owned(),
        what: "it has ended or expired, does not cover the démarche, or whoever gave it may not any more"
            .into(),
        reason: Reason::NotEntitled,
    }
}

/// A mandate to be given.
pub(crate) struct NewMandate {
    pub(crate) mandator: [u8; 16],
    /// The account that it is given for.
    pub(crate) principal: PersonUid,
    pub(crate) body: MandateBody,
    pub(crate) expires_at: Micros,
}

impl Authority {
    /// Writes a mandate; the secret that its holder takes it up with, within seven days.
    ///
    /// # Errors
    /// [`Error::TooManyMandates`].
    pub(crate) async fn give_mandate(&self, new: NewMandate) -> Result<String, Error> {
        let now = self.clock.now();
        let secret = draw_secret(&*self.random);
        let id = self.random.bytes();
        let row = MandateRow {
            id,
            mandator: new.mandator,
            principal: Some(new.principal),
            holder: None,
            sealed: self.seal_mandate(&id, &new.body)?,
            issued_at: now,
            invited_until: now.plus_ms(INVITED_MS).min(new.expires_at),
            asked_at: None,
            accepted_at: None,
            accepted_logged_at: None,
            expires_at: new.expires_at,
            ended_at: None,
        };
        let mut tx = self.db.begin().await?;
        if mandates_living(&mut tx, &new.principal, now).await?.given >= MOST {
            return Err(Error::TooManyMandates);
        }
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

    /// Takes an invited mandate up: it gives nothing until whoever answers for whom it was given has accepted who that is.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the invitation has served or is over, or is the person's own; [`Error::TooManyMandates`].
    pub(crate) async fn take_mandate_up(
        &self,
        secret: &str,
        holder: &PersonUid,
        (name, taker): (String, Taker),
    ) -> Result<(), Error> {
        let mut mandate = self.invited(secret).await?;
        if mandate.row.principal == Some(*holder) {
            return Err(Error::NotFound);
        }
        mandate.body.to = Some(name);
        mandate.body.taker = Some(taker);
        let sealed = self.seal_mandate(&mandate.row.id, &mandate.body)?;
        let now = self.clock.now();
        let until = now.plus_ms(INVITED_MS).min(mandate.row.expires_at);
        let mut tx = self.db.begin().await?;
        if mandates_living(&mut tx, holder, now).await?.held >= MOST {
            return Err(Error::TooManyMandates);
        }
        let hash = Sha256::of(secret.as_bytes());
        let taken = mandate_ask(&mut tx, &hash, holder, &sealed, (now, until)).await?;
        tx.commit().await?;
        taken.then_some(()).ok_or(Error::NotFound)
    }

    /// Accepts who took a mandate up. It is in force once the ledger holds the entry, at once or within minutes.
    ///
    /// What it opens is what its giver's login could open, so a person accepts at that level: a login below it could not
    /// have given the mandate either. Nor could one whose provider may not say so any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it is not theirs to accept, or not any more; [`Error::AcrUnknown`], [`Error::AcrTooLow`].
    pub(crate) async fn accept_mandate(
        &self,
        id: &[u8; 16],
        principal: &PersonUid,
        holder: &Holder,
    ) -> Result<(), Error> {
        let row = mandate_find(&self.db, id).await?.ok_or(Error::NotFound)?;
        if row.principal != Some(*principal) {
            return Err(Error::NotFound);
        }
        self.still_named(&self.published.edition(), holder)?;
        if let Principal::Person { acr, .. } = self.open_mandate(row)?.body.principal {
            match holder {
                Holder::Person(login) if login.acr >= acr => {}
                Holder::Person(_) | Holder::Officer(_) => return Err(Error::AcrTooLow),
            }
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let accepted = mandate_accept(&mut tx, id, principal, now).await?;
        tx.commit().await?;
        if !accepted {
            return Err(Error::NotFound);
        }
        self.log_mandates(now.plus_ms(1), Some(id)).await
    }

    /// Ends a mandate for either side, whoever holds it or answers for whom it was given, and with it all that rests on it;
    /// what is not theirs is not found.
    pub(crate) async fn end_mandate(&self, id: &[u8; 16], side: &PersonUid) -> Result<(), Error> {
        let row = mandate_find(&self.db, id).await?.ok_or(Error::NotFound)?;
        if ![row.principal, row.holder].contains(&Some(*side)) {
            return Err(Error::NotFound);
        }
        let now = self.clock.now();
        let stopped = self.revocation.end_mandate(*id, now).await?;
        self.log_stopped(&stopped).await?;
        self.log_mandates(now.plus_ms(1), Some(id)).await
    }

    /// Writes the entries of mandates that began or ended and could not be logged in their time.
    pub(crate) async fn log_missing_mandates(&self) -> Result<(), Error> {
        self.log_mandates(self.clock.now().plus_ms(-UNLOGGED_MS), None)
            .await
    }

    /// One that cannot be logged stands in no other's way: the next minute tries again.
    async fn log_mandates(&self, before: Micros, one: Option<&[u8; 16]>) -> Result<(), Error> {
        let mut after = UnloggedPlace::START;
        loop {
            let page = mandate_unlogged(&self.db, before, one, &after).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = last.clone();
            for (_, read) in page {
                let logged = match read {
                    Ok(row) => self.log_mandate(row).await,
                    Err(unread) => Err(unread.into()),
                };
                if let Err(error) = logged {
                    tracing::warn!(error = chain(&error), "the entry of a mandate is not written yet");
                }
            }
        }
    }

    /// Each entry commits to the mandate's name, which leads to nobody outside this database. One that does not open is
    /// not put in force; that it ended is told all the same, without the capacity that it does not say.
    async fn log_mandate(&self, row: MandateRow) -> Result<(), Error> {
        let body = self.body(&row);
        if row.ended_at.is_none() {
            body.as_ref().map_err(|_| Error::Stored)?;
        }
        let fact = Fact {
            edition: &self.published.edition(),
            client: None,
            publisher: None,
            details: None,
            handle: None,
            capacity: body.ok().map(|body| match body.principal {
                Principal::Entity(_) => Capacity::Entity,
                Principal::Person { .. } => Capacity::Helper,
            }),
            acr: None,
        };
        let begins = row.accepted_logged_at.is_none().then_some(("begins", false));
        let ends = row.ended_at.map(|_| ("ends", true));
        for (act, is_end) in begins.into_iter().chain(ends) {
            let evidence = json!({
                "act": act,
                "mandate": text_of(&row.id),
                "since_us": row.accepted_at.map(Micros::get),
                "until_us": row.expires_at.get(),
                "ended_us": row.ended_at.filter(|_| is_end).map(Micros::get),
            });
            let evidence = evidence.to_string().into_bytes();
            self.journal.evidenced(Event::Mandated, fact, evidence).await?;
            let mut tx = self.db.begin().await?;
            mandate_logged(&mut tx, &row.id, is_end, self.clock.now()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Whether a mandate was given for this account, so that whoever answers for that sees what rests on it.
    pub(crate) async fn is_principal(&self, id: &[u8; 16], account: &PersonUid) -> Result<bool, Error> {
        let row = mandate_find(&self.db, id).await?;
        Ok(row.is_some_and(|row| row.principal == Some(*account)))
    }

    /// The mandates that were given for an account.
    pub(crate) async fn given_mandates(&self, principal: &PersonUid) -> Result<Vec<Listed>, Error> {
        let rows = mandates_given(&self.db, principal, self.clock.now()).await?;
        Ok(self.listed(rows))
    }

    /// The mandates that a person took up.
    pub(crate) async fn held_mandates(&self, holder: &PersonUid) -> Result<Vec<Listed>, Error> {
        let rows = mandates_held(&self.db, holder, self.clock.now()).await?;
        Ok(self.listed(rows))
    }

    /// One that does not open takes no other's place, nor the way of ending it.
    fn listed(&self, rows: Vec<MandateRow>) -> Vec<Listed> {
        let listed = rows.into_iter().map(|row| match self.body(&row) {
            Ok(body) => Listed::Opened(Box::new(Mandate { row, body })),
            Err(_) => Listed::Sealed(row),
        });
        let listed: Vec<Listed> = listed.collect();
        let sealed = listed.iter().filter(|one| matches!(one, Listed::Sealed(_)));
        unopened(sealed.count());
        listed
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
    /// perimeter, as it was given and as the configuration has it now, whoever gave it known that surely, and still somebody
    /// who may.
    pub(crate) async fn mandate_covers(
        &self,
        edition: &Edition,
        mandate: &Mandate,
        (demarche, level): (&DemarcheId, Acr),
        now: Micros,
    ) -> Result<bool, Error> {
        let body = &mandate.body;
        let listed = match &body.principal {
            Principal::Entity(_) => body.perimeter.iter().any(|listed| listed == demarche.as_str()),
            Principal::Person { acr, .. } => {
                let given = body
                    .demarches
                    .as_ref()
                    .is_some_and(|given| given.contains(demarche));
                *acr >= level && given && self.demarches_of(&body.perimeter).contains(demarche)
            }
        };
        Ok(listed && mandate.row.holds(now) && self.mandate_is_supported(edition, mandate, now).await?)
    }

    /// The démarches of these perimeters of the configuration.
    pub(crate) fn demarches_of(&self, perimeter: &[String]) -> BTreeSet<DemarcheId> {
        let known = perimeter.iter().filter_map(|name| self.perimeters.get(name));
        known.flat_map(|known| known.demarches.iter().cloned()).collect()
    }

    /// Fills in, of the mandates from before that was kept, for which account they are and which démarches they cover. One
    /// that does not open stays as it is, and nobody's to act by.
    pub(crate) async fn fill_mandates(&self) -> Result<(), Error> {
        let (mut after, mut unread) = ([0; 16], 0);
        loop {
            let some = mandate_unfilled(&self.db, &after, FILLED_AT_ONCE).await?;
            let Some(last) = some.last() else { break };
            after = last.id;
            for row in some {
                let Ok(Mandate { row, mut body }) = self.open_mandate(row) else {
                    unread += 1;
                    continue;
                };
                let principal = match &body.principal {
                    Principal::Entity(siren) => self.company(siren).await?.0,
                    Principal::Person { .. } => {
                        body.demarches = Some(self.demarches_of(&body.perimeter));
                        PersonUid::from_bytes(row.mandator)
                    }
                };
                let sealed = self.seal_mandate(&row.id, &body)?;
                let mut tx = self.db.begin().await?;
                mandate_fill(&mut tx, &row, &principal, &sealed).await?;
                tx.commit().await?;
            }
        }
        unopened(unread);
        Ok(())
    }

    /// Checks again that the mandate of a grant still lets this person act, in a démarche, for what needs this level.
    pub(crate) async fn mandate_in_force(
        &self,
        edition: &Edition,
        (mandated, holder): (&Mandated, &PersonUid),
        matter: (&DemarcheId, Acr),
        now: Micros,
    ) -> Result<(), Error> {
        let Some(row) = mandate_find(&self.db, &mandated.id).await? else {
            return Err(mandate_over());
        };
        let mandate = self.open_mandate(row)?;
        let covers = mandate.row.holder == Some(*holder)
            && self.mandate_covers(edition, &mandate, matter, now).await?;
        covers.then_some(()).ok_or_else(mandate_over)
    }

    fn seal_mandate(&self, id: &[u8; 16], body: &MandateBody) -> Result<Vec<u8>, Error> {
        let plain = Zeroizing::new(serde_json::to_vec(body).map_err(|_| Error::Stored)?);
        Ok(self.keys.seal(PURPOSE, id, &plain, &*self.random))
    }

    fn open_mandate(&self, row: MandateRow) -> Result<Mandate, Error> {
        let body = self.body(&row)?;
        Ok(Mandate { row, body })
    }

    fn body(&self, row: &MandateRow) -> Result<MandateBody, Error> {
        let plain = self.keys.open(PURPOSE, &row.id, &row.sealed);
        serde_json::from_slice(&plain.ok_or(Error::Stored)?).map_err(|_| Error::Stored)
    }
}

/// Tells whoever runs the authority that mandates do not open: of a lost storage key.
fn unopened(mandates: usize) {
    if mandates > 0 {
        tracing::error!(mandates, "kept mandates do not open: nobody acts by them");
    }
}
