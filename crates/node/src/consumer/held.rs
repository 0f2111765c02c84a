//! What is stored sealed, and read back.

use serde::{Deserialize, Serialize};
use unefois_core::authorization::ModeKind;
use unefois_core::{AuthorizationDetails, DemarcheId, DossierRef, Handle, Micros, Random, UnitName};
use unefois_proto::GrantsCall;
use unefois_store::node::Mac;
use unefois_store::node::grant::{
    After, ElementRow, ElementState, GrantRow, element_find, grant_elements, grant_find, grant_page,
};

use super::rest::Purpose;
use super::{Error, Inner};

/// Life of a one-shot grant: a document may be resumed for an hour.
const ONCE_MS: i64 = 75 * 60_000;
/// Longest life of a standing grant.
const STANDING_MS: i64 = 365 * 24 * 3_600_000;

/// A pushed request, kept under its state.
#[derive(Serialize, Deserialize)]
pub(super) struct PendingBody {
    pub(super) verifier: String,
    pub(super) redirect_uri: String,
    pub(super) elements: Vec<AuthorizationDetails>,
    /// What a link leads to, so that it can be withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
}

/// A grant, kept under its name.
#[derive(Serialize, Deserialize)]
pub(super) struct GrantBody {
    pub(super) grant_id: String,
    /// `None` once nothing is fetched under the grant any more.
    pub(super) refresh_token: Option<String>,
    pub(super) dossier: DossierRef,
    pub(super) demarche: DemarcheId,
}

/// A request, kept under its id.
#[derive(Serialize, Deserialize)]
pub(super) struct RequestBody {
    pub(super) nonce: [u8; 32],
    pub(super) units: Vec<UnitName>,
}

/// A grant that this node holds.
#[derive(Clone, Debug)]
pub struct HeldGrant {
    /// The authority's name of it.
    pub grant_id: String,
    /// The file that it is for.
    pub dossier: DossierRef,
    /// The démarche that it is for.
    pub demarche: DemarcheId,
    /// When it ends by itself.
    pub ends_at: Micros,
    /// Its elements.
    pub elements: Vec<HeldElement>,
}

/// One element of a grant, at one producer.
#[derive(Clone, Debug)]
pub struct HeldElement {
    /// What was granted.
    pub details: AuthorizationDetails,
    /// Its handle.
    pub handle: Handle,
    /// Where it stands.
    pub state: ElementState,
}

/// One page of grants.
#[derive(Clone, Debug)]
pub struct GrantsPage {
    /// Newest first.
    pub grants: Vec<HeldGrant>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<String>,
}

/// An element with the grant that it belongs to.
pub(super) struct Element {
    pub(super) row: ElementRow,
    pub(super) grant: GrantRow,
    pub(super) details: AuthorizationDetails,
    pub(super) refresh_token: Option<String>,
}

/// When a grant of these elements ends by itself.
pub(super) fn ends_at(elements: &[AuthorizationDetails], now: Micros) -> Micros {
    let standing = elements.iter().any(|e| e.mode.kind == ModeKind::Standing);
    now.plus_ms(if standing { STANDING_MS } else { ONCE_MS })
}

impl Inner {
    /// The rows of a grant that was just made.
    pub(super) fn rows(
        &self,
        body: &GrantBody,
        elements: &[(Handle, AuthorizationDetails)],
        now: Micros,
    ) -> (GrantRow, Vec<ElementRow>) {
        let random: &dyn Random = &self.random;
        let mac = self.rest.name(Purpose::Grant, body.grant_id.as_bytes());
        let details: Vec<AuthorizationDetails> =
            elements.iter().map(|(_, details)| details.clone()).collect();
        let grant = GrantRow {
            mac,
            tenant: self.tenant(),
            dossier: self.rest.name(Purpose::Dossier, body.dossier.as_str().as_bytes()),
            at: now,
            ends_at: ends_at(&details, now),
            sealed: self.rest.seal(Purpose::Grant, &mac, body, random),
        };
        let rows = elements.iter().zip(0..).map(|((handle, details), place)| {
            let name = self.rest.name(Purpose::Handle, handle.as_bytes());
            ElementRow {
                handle: name,
                grant: mac,
                place,
                state: ElementState::Active,
                request_id: None,
                sealed: self.rest.seal(Purpose::Handle, &name, details, random),
            }
        });
        (grant, rows.collect())
    }

    /// The element of a handle, if this tenant holds it.
    pub(super) async fn element(&self, handle: &Handle) -> Result<Element, Error> {
        const UNKNOWN: Error = Error::Unknown { field: "handle" };
        let name = self.rest.name(Purpose::Handle, handle.as_bytes());
        let row = element_find(&self.db, &name).await?.ok_or(UNKNOWN)?;
        let grant = grant_find(&self.db, &row.grant).await?.ok_or(UNKNOWN)?;
        if grant.tenant != self.tenant() {
            return Err(UNKNOWN);
        }
        let details = self.details(&row)?;
        let body: GrantBody = self.body(&grant)?;
        Ok(Element {
            row,
            grant,
            details,
            refresh_token: body.refresh_token,
        })
    }

    /// A grant by the authority's name of it, if this tenant holds it.
    pub(super) async fn grant(&self, grant_id: &str) -> Result<GrantRow, Error> {
        let mac = self.rest.name(Purpose::Grant, grant_id.as_bytes());
        let grant = grant_find(&self.db, &mac).await?;
        grant
            .filter(|grant| grant.tenant == self.tenant())
            .ok_or(Error::Unknown { field: "grant_id" })
    }

    /// What a row holds, with its elements.
    pub(super) async fn held(&self, grant: &GrantRow) -> Result<HeldGrant, Error> {
        let body: GrantBody = self.body(grant)?;
        let mut elements = Vec::new();
        for row in grant_elements(&self.db, &grant.mac).await? {
            elements.push(self.held_element(&row)?);
        }
        Ok(HeldGrant {
            grant_id: body.grant_id,
            dossier: body.dossier,
            demarche: body.demarche,
            ends_at: grant.ends_at,
            elements,
        })
    }

    /// What a row of an element holds.
    pub(super) fn held_element(&self, row: &ElementRow) -> Result<HeldElement, Error> {
        let details = self.details(row)?;
        Ok(HeldElement {
            handle: details.gh.ok_or(Error::Sealed)?,
            details,
            state: row.state,
        })
    }

    /// One page of this tenant's grants.
    pub(super) async fn page(&self, call: &GrantsCall) -> Result<GrantsPage, Error> {
        let after = call.page_token.as_deref().map(read_token).transpose()?;
        let dossier = call.dossier.as_ref();
        let dossier = dossier.map(|dossier| self.rest.name(Purpose::Dossier, dossier.as_str().as_bytes()));
        let rows = grant_page(
            &self.db,
            &self.tenant(),
            dossier.as_ref(),
            after.as_ref(),
            call.page_size,
        )
        .await?;
        let full = rows.len() == usize::from(call.page_size);
        let next = rows.last().filter(|_| full).map(write_token);
        let mut grants = Vec::with_capacity(rows.len());
        for row in &rows {
            grants.push(self.held(row).await?);
        }
        Ok(GrantsPage { grants, next })
    }

    pub(super) fn body(&self, grant: &GrantRow) -> Result<GrantBody, Error> {
        let body = self.rest.open(Purpose::Grant, &grant.mac, &grant.sealed);
        body.ok_or(Error::Sealed)
    }

    fn details(&self, row: &ElementRow) -> Result<AuthorizationDetails, Error> {
        let details = self.rest.open(Purpose::Handle, &row.handle, &row.sealed);
        details.ok_or(Error::Sealed)
    }
}

/// `<instant>.<name>`: both are ours, and say nothing.
fn write_token(row: &GrantRow) -> String {
    let name = unefois_core::Sha256::from_bytes(row.mac);
    format!("{}.{name}", row.at.get())
}

fn read_token(text: &str) -> Result<After, Error> {
    let parsed = text.split_once('.').and_then(|(at, name)| {
        let mac: Mac = *name.parse::<unefois_core::Sha256>().ok()?.as_bytes();
        Some(After {
            at: Micros::new(at.parse().ok()?),
            mac,
        })
    });
    parsed.ok_or_else(|| Error::Field {
        field: "page_token".to_owned(),
        what: "what the last page ended with",
    })
}
