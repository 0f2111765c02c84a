//! One person, one account: which account a login leads to, and the identities kept sealed.

use unefois_core::{Pivot, Sha256};
use unefois_store::authority::PersonUid;
use unefois_store::authority::person::{self as store, Said};
use zeroize::Zeroizing;

use crate::Error;
use crate::login::LoggedIn;
use crate::service::Authority;

const PURPOSE: &str = "pivot";

impl Authority {
    /// The account of whoever logged in, made or joined where needed, and the digest of the identity given.
    ///
    /// A subject of the provider with one identity leads to one account for good. A new subject joins the account to
    /// which providers of people alone ever led with exactly this identity, if its own provider is one (`people`);
    /// otherwise it gets an account of its own. So does a subject that comes back with another identity, rectified or
    /// not its own: a desk may join the two.
    pub(crate) async fn account(
        &self,
        iss: &str,
        people: bool,
        who: &LoggedIn,
    ) -> Result<(PersonUid, Sha256), Error> {
        let now = self.clock.now();
        let digest = self.keys.identity_digest(&who.pivot);
        let said = Said {
            iss,
            sub: &who.sub,
            pivot: &digest,
            people,
        };
        let mut tx = self.db.begin().await?;
        let uid = match store::identity_find(&mut tx, said).await? {
            Some(uid) => uid,
            None => {
                let joins = people && !store::subject_known(&mut tx, iss, &who.sub).await?;
                let same = match joins {
                    true => store::pivot_find(&mut tx, &digest).await?,
                    false => Vec::new(),
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
                    return Box::pin(self.account(iss, people, who)).await;
                }
                uid
            }
        };
        let plain = Zeroizing::new(serde_json::to_vec(&who.pivot).map_err(|_| Error::Stored)?);
        let sealed = self.keys.seal(PURPOSE, uid.as_bytes(), &plain, &*self.random);
        store::pivot_put(&mut tx, &uid, &digest, &sealed, now).await?;
        tx.commit().await?;
        Ok((uid, digest))
    }

    /// One of a person's identities.
    pub(crate) async fn identity(&self, person: &PersonUid, digest: &Sha256) -> Result<Pivot, Error> {
        let sealed = store::pivot_sealed(&self.db, person, digest)
            .await?
            .ok_or(Error::Stored)?;
        self.unsealed(person, &sealed)
    }

    /// The identities that a person has or had, as providers of people gave them: the newest first, `limit` at most.
    pub(crate) async fn identities(&self, person: &PersonUid, limit: u32) -> Result<Vec<Pivot>, Error> {
        let sealed = store::pivots_sealed(&self.db, person, limit).await?;
        sealed
            .iter()
            .map(|sealed| self.unsealed(person, sealed))
            .collect()
    }

    fn unsealed(&self, person: &PersonUid, sealed: &[u8]) -> Result<Pivot, Error> {
        let plain = self
            .keys
            .open(PURPOSE, person.as_bytes(), sealed)
            .ok_or(Error::Stored)?;
        serde_json::from_slice(&plain).map_err(|_| Error::Stored)
    }
}
