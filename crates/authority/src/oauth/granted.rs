use unefois_core::authorization::{ModeKind, Need, UnitRequest};
use unefois_core::{Acr, AuthorizationDetails, Event, Handle, Micros, Sha256, UnitName, WithdrawnBy};
use unefois_store::authority::grant::{ByOfficer, Element, Grant};
use unefois_store::authority::{GrantId, PersonUid};

use super::{Binding, PushedRequest, ends_at};
use crate::Error;
use crate::journal::Fact;
use crate::pages;
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::capacity_of;

/// Whose a grant is, and what vouches for that.
pub(crate) struct Behind {
    pub(crate) person: PersonUid,
    pub(crate) pivot_digest: Sha256,
    pub(crate) acr: Acr,
    /// When the person, or the officer in their place, logged in, in seconds.
    pub(crate) auth_time: i64,
    /// Who vouches for the person's identity.
    pub(crate) idp_iss: String,
    /// The officer who asks in the person's place.
    pub(crate) by: Option<ByOfficer>,
    /// When what the person acts by ends, and with it the grant.
    pub(crate) latest: Option<Micros>,
}

/// A grant that is not written yet.
pub(crate) struct Draft {
    pub(crate) grant: Grant,
    pub(crate) elements: Vec<Element>,
    /// What the elements allow.
    pub(crate) granted: Vec<AuthorizationDetails>,
}

/// One element as it is granted.
struct Granted {
    details: AuthorizationDetails,
    /// The optional units that were left unticked.
    left_out: Vec<UnitName>,
}

impl Granted {
    /// As it is stored.
    fn element(&self) -> Result<Element, Error> {
        Ok(Element {
            handle: self.details.gh.ok_or(Error::Stored)?,
            details: serde_json::to_string(&self.details).map_err(|_| Error::Stored)?,
            left_out: self.left_out.clone(),
            withdrawn: None,
            followed_by: None,
        })
    }
}

/// Granted = requested (within habilitation and catalogue, which was checked) ∩ what is ticked; `ticks` says whether an
/// optional unit of the n-th element is. An element of which nothing is left is not granted.
fn ticked(
    elements: &[AuthorizationDetails],
    ticks: &dyn Fn(usize, &UnitName) -> bool,
    draw: &mut dyn FnMut() -> Handle,
) -> Vec<Granted> {
    let mut granted = Vec::new();
    for (n, asked) in elements.iter().enumerate() {
        let kept = |unit: &UnitRequest| unit.need == Need::Required || ticks(n, &unit.unit);
        let (units, left_out): (Vec<_>, Vec<_>) = asked.units.iter().cloned().partition(kept);
        if !units.is_empty() {
            granted.push(Granted {
                details: AuthorizationDetails {
                    units,
                    gh: Some(draw()),
                    ..asked.clone()
                },
                left_out: left_out.into_iter().map(|unit| unit.unit).collect(),
            });
        }
    }
    granted
}

impl Authority {
    /// The grant of what is ticked of a request; `None` where nothing is.
    pub(crate) fn draft(
        &self,
        request: &PushedRequest,
        ticks: &dyn Fn(usize, &UnitName) -> bool,
        behind: Behind,
    ) -> Result<Option<Draft>, Error> {
        let now = self.clock.now();
        let mut ticked = ticked(&request.elements, ticks, &mut || Handle::draw(now, &*self.random));
        for Granted { details, .. } in &mut ticked {
            if details.mode.kind == ModeKind::Standing {
                details.mode.until = details.mode.until.into_iter().chain(behind.latest).min();
            }
        }
        if ticked.is_empty() {
            return Ok(None);
        }
        let elements = ticked.iter().map(Granted::element).collect::<Result<_, _>>()?;
        let granted: Vec<AuthorizationDetails> = ticked.into_iter().map(|one| one.details).collect();
        let grant = Grant {
            id: GrantId::from_bytes(self.random.bytes()),
            person: behind.person,
            client: request.client,
            act_client: request.publisher,
            capacity: request.capacity,
            acr: behind.acr,
            auth_time: behind.auth_time,
            idp_iss: behind.idp_iss,
            pivot_digest: behind.pivot_digest,
            subject_unbound: match &request.binding {
                Binding::Check(_) | Binding::Sealed(_) => None,
                Binding::Unbound(reason) => Some(reason.clone()),
            },
            demarche: request.elements.first().map(|first| first.demarche.clone()),
            proactive: request.is_proactive(),
            by: behind.by,
            granted_at: now,
            ends_at: behind
                .latest
                .into_iter()
                .fold(ends_at(&granted, now), Micros::min),
        };
        Ok(Some(Draft {
            grant,
            elements,
            granted,
        }))
    }

    /// Writes the entries `granted` of a grant that the database holds, one an element.
    ///
    /// # Errors
    /// The ledger was not written: then nobody can use the grant, and it need not stand in the list either.
    pub(crate) async fn record_granted(
        &self,
        grant: &Grant,
        granted: &[AuthorizationDetails],
        edition: &Edition,
    ) -> Result<(), Error> {
        for details in granted {
            let fact = Fact {
                edition,
                client: Some(grant.client),
                publisher: grant.act_client,
                details: Some(details),
                handle: details.gh,
                capacity: Some(capacity_of(grant.capacity, details.subject.kind)),
                acr: Some(grant.acr),
            };
            let written = match &grant.by {
                // The entry commits to why an officer asked.
                Some(by) => {
                    let evidence = serde_json::json!({ "motive": by.motive }).to_string();
                    self.journal
                        .evidenced(Event::Granted, fact, evidence.into_bytes())
                        .await
                }
                None => self.journal.write(Event::Granted, fact).await,
            };
            if let Err(error) = written {
                self.end_grant(&grant.id, WithdrawnBy::Unrecorded)
                    .await
                    .unwrap_or_else(|e| pages::log(&e));
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_what_is_not_ticked_is_not_granted() {
        let asked: Vec<AuthorizationDetails> = serde_json::from_str(
            r#"[{"type":"urn:unefois:justificatif:1","datatypes":["cnaf/quotient-familial@1"],
            "units":[{"unit":"valeur","need":"required"},{"unit":"composition","need":"optional"}],
            "locations":["urn:unefois:participant:18003506500010"],"actions":["fetch"],"demarche":"cantine",
            "habilitation":"DP-1","dossier_ref":"2026-0412","legal_basis":"CRPA-L114-8-I","mode":{"kind":"once"},
            "use":"store","data_life_days":365,"subject":{"kind":"self"}}]"#,
        )
        .unwrap();
        let units = |ticks: &dyn Fn(usize, &UnitName) -> bool| {
            let granted = ticked(&asked, ticks, &mut || Handle::from_bytes([1; 16]));
            let names: Vec<String> = granted[0]
                .details
                .units
                .iter()
                .map(|u| u.unit.to_string())
                .collect();
            names.join(" ")
        };
        assert_eq!(units(&|_, _| false), "valeur");
        assert_eq!(units(&|n, unit| n == 1 || unit.as_str() == "revenu"), "valeur");
        assert_eq!(
            units(&|n, unit| n == 0 && unit.as_str() == "composition"),
            "valeur composition"
        );
    }
}
