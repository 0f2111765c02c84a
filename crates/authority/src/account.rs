//! Accounts: the one of a person, whatever provider names them, with the identities kept sealed; and officers, whose
//! rows lead to no person.

use unefois_core::{OfficerAssurance, Pivot, Sha256, SubjectForm};
use unefois_store::Tx;
use unefois_store::authority::mandate::officer_certified;
use unefois_store::authority::officer::{OfficerSaid, officer_find, officer_put};
use unefois_store::authority::person::{self as store, Kept, Said};
use unefois_store::authority::session::OfficerLogin;
use unefois_store::authority::{OfficerUid, PersonUid};
use zeroize::Zeroizing;

use crate::Error;
use crate::login::{Officer, Profile};
use crate::service::Authority;

const PURPOSE: &str = "pivot";
const OFFICER: &str = "officer";
/// Identities filled in by one transaction.
const FILLED_AT_ONCE: u32 = 200;

/// Whom an identity names.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    /// One person, or one company.
    One,
    /// Whoever of some namesakes: it lacks what tells them apart.
    Namesakes,
}

impl Authority {
    /// The account of the person whom a provider of people names `sub`, made or joined where needed, and the digest of
    /// the identity given.
    ///
    /// A subject of the provider with one identity leads to one account for good. A new subject joins the account to
    /// which providers of people ever led with exactly this identity, if there is exactly one; otherwise it gets an
    /// account of its own. So does a subject that comes back with another identity, rectified or not its own: a desk may
    /// join the two. An identity that namesakes may share joins one subject of each provider, which tells its own people
    /// apart, and nothing that a file said.
    pub(crate) async fn account(
        &self,
        iss: &str,
        sub: &str,
        pivot: &Pivot,
    ) -> Result<(PersonUid, Sha256), Error> {
        let now = self.clock.now();
        let digest = self.keys.identity_digest(pivot);
        let said = Said {
            iss,
            sub,
            pivot: &digest,
        };
        let names = match pivot.subject_form() {
            SubjectForm::Exact(_) => Names::One,
            SubjectForm::Shared(_) => Names::Namesakes,
        };
        let (mut tx, uid) = self.account_said(said, names).await?;
        let plain = Zeroizing::new(serde_json::to_vec(pivot).map_err(|_| Error::Stored)?);
        let sealed = self.keys.seal(PURPOSE, uid.as_bytes(), &plain, &*self.random);
        let kept = Kept {
            digest: &digest,
            near: &self.keys.near_digest(pivot),
            sealed: &sealed,
        };
        store::pivot_put(&mut tx, &uid, kept, now).await?;
        tx.commit().await?;
        Ok((uid, digest))
    }

    /// The account of whom a provider names, found, joined or made, in a transaction that is still open.
    pub(crate) async fn account_said(&self, said: Said<'_>, names: Names) -> Result<(Tx, PersonUid), Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if let Some(uid) = store::identity_find(&mut tx, said).await? {
            return Ok((tx, uid));
        }
        store::pivot_lock(&mut tx, said.pivot).await?;
        let known = store::subject_known(&mut tx, said.iss, said.sub).await?;
        let same = match names {
            _ if known => Vec::new(),
            Names::One => store::pivot_find(&mut tx, said.pivot).await?,
            Names::Namesakes if said.iss == self.issuer => Vec::new(),
            Names::Namesakes => store::pivot_find_shared(&mut tx, said, &self.issuer).await?,
        };
        let uid = match same.as_slice() {
            [only] => *only,
            [] | [_, _, ..] => {
                let uid = PersonUid::from_bytes(self.random.bytes());
                store::person_insert(&mut tx, &uid, now).await?;
                uid
            }
        };
        if !store::identity_insert(&mut tx, said, &uid, now).await? {
            // Two first logins at once: the other one has made the account.
            drop(tx);
            return Box::pin(self.account_said(said, names)).await;
        }
        Ok((tx, uid))
    }

    /// The row of an officer whom a provider of professionals names `sub`, made where needed, with the profile sealed.
    /// Nothing is joined: an officer who moves to another body is another one.
    pub(crate) async fn officer(
        &self,
        iss: &str,
        sub: &str,
        officer: &Officer,
    ) -> Result<(OfficerUid, Vec<u8>), Error> {
        let said = OfficerSaid {
            iss,
            sub,
            siret: &officer.siret,
        };
        let mut tx = self.db.begin().await?;
        let uid = match officer_find(&mut tx, said).await? {
            Some(uid) => uid,
            None => OfficerUid::from_bytes(self.random.bytes()),
        };
        let plain = Zeroizing::new(serde_json::to_vec(&officer.profile).map_err(|_| Error::Stored)?);
        let sealed = self.keys.seal(OFFICER, uid.as_bytes(), &plain, &*self.random);
        if !officer_put(&mut tx, &uid, said, &sealed, self.clock.now()).await? {
            // Two first logins at once: the other one has made the row.
            drop(tx);
            return Box::pin(self.officer(iss, sub, officer)).await;
        }
        if officer.assurance == OfficerAssurance::Certified {
            officer_certified(&mut tx, uid.as_bytes(), true, self.clock.now()).await?;
        }
        tx.commit().await?;
        Ok((uid, sealed))
    }

    /// Notes that whoever said to run a company is not certified to: what rested on that ends.
    pub(crate) async fn certified_no_more(
        &self,
        iss: &str,
        sub: &str,
        officer: &Officer,
    ) -> Result<(), Error> {
        let said = OfficerSaid {
            iss,
            sub,
            siret: &officer.siret,
        };
        let mut tx = self.db.begin().await?;
        if let Some(uid) = officer_find(&mut tx, said).await? {
            officer_certified(&mut tx, uid.as_bytes(), false, self.clock.now()).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What pages show of an officer.
    pub(crate) fn profile(&self, login: &OfficerLogin) -> Result<Profile, Error> {
        let plain = self.keys.open(OFFICER, login.officer.as_bytes(), &login.profile);
        serde_json::from_slice(&plain.ok_or(Error::Stored)?).map_err(|_| Error::Stored)
    }

    /// The account of the person whom a consumer's file names, made where there is none: a later login that gives exactly
    /// this identity joins it. Where several accounts have this identity, or namesakes may share it, it is of none of them;
    /// what any of them objects to holds all the same.
    pub(crate) async fn account_on_file(&self, pivot: &Pivot) -> Result<(PersonUid, Sha256), Error> {
        let digest = self.keys.identity_digest(pivot);
        let sub = match pivot.subject_form() {
            SubjectForm::Exact(_) => digest.to_string(),
            // A name of its own: what was once joined is not found by it.
            SubjectForm::Shared(_) => format!("{digest} shared"),
        };
        self.account(&self.issuer, &sub, pivot).await
    }

    /// One of a person's identities.
    pub(crate) async fn identity(&self, person: &PersonUid, digest: &Sha256) -> Result<Pivot, Error> {
        let sealed = store::pivot_sealed(&self.db, person, digest)
            .await?
            .ok_or(Error::Stored)?;
        self.unsealed(person, &sealed)
    }

    /// The identities that a person has or had, as providers of people gave them: the newest first, `limit` at most; and
    /// how many of those do not open.
    pub(crate) async fn identities(
        &self,
        person: &PersonUid,
        limit: u32,
    ) -> Result<(Vec<Pivot>, usize), Error> {
        let sealed = store::pivots_sealed(&self.db, person, limit).await?;
        let opened = sealed
            .iter()
            .filter_map(|sealed| self.unsealed(person, sealed).ok());
        let opened: Vec<Pivot> = opened.collect();
        let unread = sealed.len() - opened.len();
        Ok((opened, unread))
    }

    /// Fills in, of the identities that were kept before it was, the digest that they share with whoever may be the same
    /// person. Until this was tried, what such a person objects to is refused to everybody. One that does not open is noted,
    /// counted and tried again: its objections hold under the exact identity alone, whose digest needs no opening, until the
    /// key is back or its person logs in again.
    pub(crate) async fn fill_near_digests(&self) -> Result<(), Error> {
        let (mut last, mut unread, now) = (None, 0_u64, self.clock.now());
        loop {
            let after = last.as_ref().map(|(person, digest)| (person, digest));
            let some = store::pivot_unfilled(&self.db, after, FILLED_AT_ONCE).await?;
            let Some(end) = some.last() else { break };
            last = Some((end.person, end.digest));
            let mut tx = self.db.begin().await?;
            for one in &some {
                match self.unsealed(&one.person, &one.sealed) {
                    Ok(pivot) => {
                        let near = self.keys.near_digest(&pivot);
                        store::pivot_fill(&mut tx, &one.person, &one.digest, &near).await?;
                    }
                    Err(_) => {
                        store::pivot_unread(&mut tx, &one.person, &one.digest, now).await?;
                        unread += 1;
                    }
                }
            }
            tx.commit().await?;
        }
        self.identities_unread.record(unread, &[]);
        if unread > 0 {
            tracing::error!(
                identities = unread,
                "kept identities do not open: what their people object to holds under the exact identity alone; put the \
                 storage key back that sealed them and start again, or wait until they log in"
            );
        }
        Ok(())
    }

    fn unsealed(&self, person: &PersonUid, sealed: &[u8]) -> Result<Pivot, Error> {
        let plain = self
            .keys
            .open(PURPOSE, person.as_bytes(), sealed)
            .ok_or(Error::Stored)?;
        serde_json::from_slice(&plain).map_err(|_| Error::Stored)
    }
}
