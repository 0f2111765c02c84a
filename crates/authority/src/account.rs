//! One person, one account: which account a login leads to, and the identities kept sealed.

use unefois_core::{Pivot, Sha256};
use unefois_store::authority::PersonUid;
use unefois_store::authority::person as store;
use zeroize::Zeroizing;

use crate::Error;
use crate::login::LoggedIn;
use crate::service::Authority;

const PURPOSE: &str = "pivot";

impl Authority {
    /// The account of whoever logged in, made or joined where needed, and the digest of the identity given.
    ///
    /// A subject of the provider leads to one account for good. A new subject joins the account that alone ever had
    /// exactly this identity, if the provider logs in people for themselves; otherwise it gets an account of its own,
    /// and a desk may join the two.
    pub(crate) async fn account(
        &self,
        iss: &str,
        joins: bool,
        who: &LoggedIn,
    ) -> Result<(PersonUid, Sha256), Error> {
        let now = self.clock.now();
        let digest = self.keys.identity_digest(&who.pivot);
        let mut tx = self.db.begin().await?;
        let known = store::identity_find(&mut tx, iss, &who.sub).await?;
        let same = match (known, joins) {
            (None, true) => store::pivot_find(&mut tx, &digest).await?,
            (None, false) | (Some(_), _) => Vec::new(),
        };
        let uid = match (known, same.as_slice()) {
            (Some(uid), _) => uid,
            (None, [only]) => {
                store::identity_insert(&mut tx, iss, &who.sub, only, now).await?;
                *only
            }
            (None, []) | (None, [_, _, ..]) => {
                let uid = PersonUid::from_bytes(self.random.bytes());
                store::person_insert(&mut tx, &uid, now).await?;
                if !store::identity_insert(&mut tx, iss, &who.sub, &uid, now).await? {
                    // Two first logins at once: the other one has made the account.
                    drop(tx);
                    return Box::pin(self.account(iss, joins, who)).await;
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
        let plain = self
            .keys
            .open(PURPOSE, person.as_bytes(), &sealed)
            .ok_or(Error::Stored)?;
        serde_json::from_slice(&plain).map_err(|_| Error::Stored)
    }
}
