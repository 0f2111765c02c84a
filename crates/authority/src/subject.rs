//! Whom a grant is about, where that is not the person who gives it.

use serde::{Deserialize, Serialize};
use unefois_core::receipt::Representation;
use unefois_core::{Acr, AuthorizationDetails, Capacity, Micros, Pivot, Reason, Siren, SubjectKind};
use unefois_store::Tx;
use unefois_store::authority::GrantId;
use unefois_store::authority::grant::Grant;
use unefois_store::authority::subject::{grant_subject_insert, grant_subject_sealed};
use zeroize::Zeroizing;

use crate::Error;
use crate::published::Edition;
use crate::service::Authority;

const PURPOSE: &str = "grant subject";

/// The subject of a grant, kept sealed beside it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum GrantSubject {
    /// A child of the person.
    Child(Pivot),
    /// A company, under a mandate of its officer.
    Entity {
        /// The company.
        siren: Siren,
        /// What the person acts by.
        mandate: Mandated,
    },
    /// A company, for which whoever runs it answered.
    Run {
        /// The company.
        siren: Siren,
        /// Who runs it.
        office: Office,
    },
    /// Somebody who is helped, under a mandate of their own.
    Helped {
        /// The person who is helped.
        person: Pivot,
        /// What the helper acts by.
        mandate: Mandated,
    },
}

/// A mandate as it was acted by: both names stay with the grant.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mandated {
    /// Which.
    pub(crate) id: [u8; 16],
    /// The name of whoever gave it.
    pub(crate) by: String,
    /// The name of whoever acts by it.
    pub(crate) to: String,
}

/// Who answered for a company that they run: the name stays with the grant.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Office {
    /// The officer.
    pub(crate) officer: [u8; 16],
    /// Which identity provider had named them.
    pub(crate) idp_iss: String,
    /// Their name.
    pub(crate) name: String,
}

impl GrantSubject {
    /// Who acts for whom, as the receipt says it.
    pub(crate) fn representation(&self) -> Option<Representation> {
        let by_mandate = |siren, mandate: &Mandated| Representation {
            siren,
            acted_by: mandate.to.clone(),
            mandated_by: Some(mandate.by.clone()),
        };
        match self {
            Self::Child(_) => None,
            Self::Entity { siren, mandate } => Some(by_mandate(Some(*siren), mandate)),
            Self::Helped { mandate, .. } => Some(by_mandate(None, mandate)),
            Self::Run { siren, office } => Some(Representation {
                siren: Some(*siren),
                acted_by: office.name.clone(),
                mandated_by: None,
            }),
        }
    }

    /// The mandate that the person acts by, if any.
    pub(crate) const fn mandate(&self) -> Option<&Mandated> {
        match self {
            Self::Child(_) | Self::Run { .. } => None,
            Self::Entity { mandate, .. } | Self::Helped { mandate, .. } => Some(mandate),
        }
    }
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
        let mandate = subject.mandate().map(|mandate| &mandate.id);
        Ok(grant_subject_insert(tx, id, &sealed, mandate).await?)
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

    /// Whom one element of a grant is about, if that may be asked for now: a parent's right, a mandate and an office end.
    pub(crate) async fn subject_at_mint(
        &self,
        edition: &Edition,
        grant: &Grant,
        details: &AuthorizationDetails,
        now: Micros,
    ) -> Result<Option<GrantSubject>, Error> {
        let subject = match details.subject.kind {
            SubjectKind::SelfPerson | SubjectKind::Household if grant.capacity != Capacity::Helper => {
                return Ok(None);
            }
            SubjectKind::SelfPerson | SubjectKind::Household | SubjectKind::Child | SubjectKind::Entity => {
                self.subject_of(&grant.id).await?.ok_or(Error::Stored)?
            }
        };
        match &subject {
            GrantSubject::Child(child) if child.birthdate.may_be_of_age(now) => {
                return Err(Error::Details {
                    path: "subject".to_owned(),
                    what: "the child is of age: a parent's right to ask for it has ended".into(),
                    reason: Reason::LegalBlock,
                });
            }
            GrantSubject::Child(_) => {}
            GrantSubject::Run { office, .. } => self.office_in_force(edition, office, now).await?,
            GrantSubject::Entity { mandate, .. } | GrantSubject::Helped { mandate, .. } => {
                let datatype = edition.catalogue.datatype(details.datatype());
                let level = datatype.map_or(Acr::Eidas3, |datatype| datatype.sheet().assurance);
                let matter = (&details.demarche, level);
                self.mandate_in_force(edition, (mandate, &grant.person), matter, now)
                    .await?;
            }
        }
        Ok(Some(subject))
    }
}
