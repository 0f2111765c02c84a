use unefois_core::authorization::{Need, UnitRequest};
use unefois_core::{AuthorizationDetails, Event, Handle, UnitName, WithdrawnBy};
use unefois_store::authority::grant::{Element, Grant};

use crate::Error;
use crate::journal::Fact;
use crate::pages;
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::capacity_of;

/// One element as it is granted.
pub(crate) struct Granted {
    pub(crate) details: AuthorizationDetails,
    /// The optional units that were left unticked.
    left_out: Vec<UnitName>,
}

impl Granted {
    /// As it is stored.
    pub(crate) fn element(&self) -> Result<Element, Error> {
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
pub(crate) fn ticked(
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
