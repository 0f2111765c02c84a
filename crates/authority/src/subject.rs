//! Whom a grant is about, where that is not the person who gives it.

use serde::{Deserialize, Serialize};
use unefois_core::{Capacity, Micros, Pivot, Reason, SubjectKind};
use unefois_store::Tx;
use unefois_store::authority::GrantId;
use unefois_store::authority::subject::{grant_subject_insert, grant_subject_sealed};
use zeroize::Zeroizing;

use crate::Error;
use crate::service::Authority;

const PURPOSE: &str = "grant subject";

/// The subject of a grant, kept sealed beside it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum GrantSubject {
    /// A child of the person.
    Child(Pivot),
}

/// In what capacity the person stands behind one element: what is asked for beside a child's datum is about themselves.
pub(crate) const fn capacity_of(grant: Capacity, kind: SubjectKind) -> Capacity {
    match (grant, kind) {
        (Capacity::Child, SubjectKind::SelfPerson | SubjectKind::Household) => Capacity::SelfPerson,
        (capacity, _) => capacity,
    }
}

impl Authority {
    /// Keeps the subject of a grant that is being written.
    pub(crate) async fn keep_subject(
        &self,
        tx: &mut Tx,
        id: &GrantId,
        subject: &GrantSubject,
    ) -> Result<(), Error> {
        let plain = Zeroizing::new(serde_json::to_vec(subject).map_err(|_| Error::Stored)?);
        let sealed = self.keys.seal(PURPOSE, id.as_bytes(), &plain, &*self.random);
        Ok(grant_subject_insert(tx, id, &sealed).await?)
    }

    /// The subject of a grant; `None` where it is the person who gave it.
    pub(crate) async fn subject_of(&self, id: &GrantId) -> Result<Option<GrantSubject>, Error> {
        let Some(sealed) = grant_subject_sealed(&self.db, id).await? else {
            return Ok(None);
        };
        let plain = self
            .keys
            .open(PURPOSE, id.as_bytes(), &sealed)
            .ok_or(Error::Stored)?;
        serde_json::from_slice(&plain)
            .map(Some)
            .map_err(|_| Error::Stored)
    }

    /// The child of a grant, as long as the parent's right lasts.
    pub(crate) async fn child_of(&self, id: &GrantId, now: Micros) -> Result<Pivot, Error> {
        let Some(GrantSubject::Child(child)) = self.subject_of(id).await? else {
            return Err(Error::Stored);
        };
        match child.birthdate.may_be_of_age(now) {
            true => Err(Error::Details {
                path: "subject".to_owned(),
                what: "the child is of age: a parent's right to ask for it has ended".into(),
                reason: Reason::LegalBlock,
            }),
            false => Ok(child),
        }
    }
}
