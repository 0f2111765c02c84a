//! The receipt of a grant: signed, and readable beside its signature.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use unefois_core::authorization::Need;
use unefois_core::directory::Jwk;
use unefois_core::receipt::{
    AskedWithoutPerson, Attribute, DecidedBy, GrantEvent, GrantReceipt, Notice, Party, PartyRole, Purpose,
    PurposeState, SCHEMA, TYP,
};
use unefois_core::{AuthorizationDetails, Capacity, Micros, ParticipantId, UnitName};
use unefois_jose::jws;
use unefois_store::authority::PersonUid;
use unefois_store::authority::grant::{Element, GrantRow};
use unefois_store::authority::notice::notice_read;

use super::grants::address;
use super::history::disposition;
use super::words;
use crate::Error;
use crate::oauth::{details_of, end_of, stands, text_of};
use crate::pages::Reader;
use crate::portal::Lang;
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::GrantSubject;

/// `GET /autorisations/{id}/recu.json`: the receipt of a grant that the reader sees, as it stands: what is signed, and the same
/// in clear.
pub(crate) async fn download(
    State(authority): State<Arc<Authority>>,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let row = authority.seen_grant(&reader, &id).await?;
    let owner = authority.owner(&reader).await?;
    let receipt = authority.receipt(&row, &owner, reader.lang).await?;
    let edition = authority.published.edition();
    let listed = edition.directory.authority().withdrawal_keys.iter().map(Jwk::kid);
    let key = authority.keys.withdrawal.first_or_present(listed);
    let signed = jws::sign_claims(key, TYP, &receipt).map_err(Error::Key)?;
    let mut response = Json(json!({ "receipt": receipt, "signed": signed })).into_response();
    disposition(&mut response, "recu-autorisation.json");
    Ok(response)
}

impl Authority {
    async fn receipt(&self, row: &GrantRow, owner: &PersonUid, lang: Lang) -> Result<GrantReceipt, Error> {
        let (edition, now, grant) = (self.published.edition(), self.clock.now(), &row.grant);
        let subject = self.subject_of(&grant.id).await?;
        let notice = notice_read(&self.db, &grant.id).await?;
        let of_party = |id: ParticipantId, party_role| Party {
            party_id: id,
            party_name: words::name(&edition, lang, &id),
            party_role,
            party_contact: words::dpo(&edition, &id),
        };
        let notice = notice.map(|(language, text)| Notice::new(&language, text));
        // Whoever chose read it: the person or whoever acts for them, or an officer in their place.
        let (privacy_notice, shown_to_officer) = match grant.by {
            None => (notice, None),
            Some(_) => (None, notice),
        };
        let authority = edition.directory.authority().participant;
        let mut parties = vec![of_party(grant.client, PartyRole::PiiController)];
        parties.extend(grant.act_client.map(|id| of_party(id, PartyRole::PiiProcessor)));
        let mut purposes = Vec::new();
        for element in row.last() {
            let purpose = self.purpose(&edition, lang, row, element, now)?;
            let source = purpose.pii_source;
            if !parties
                .iter()
                .any(|p| (p.party_id, p.party_role) == (source, PartyRole::PiiSource))
            {
                parties.push(of_party(source, PartyRole::PiiSource));
            }
            purposes.push(purpose);
        }
        parties.push(of_party(authority, PartyRole::AuthorityParty));
        Ok(GrantReceipt {
            schema_version: SCHEMA.to_owned(),
            receipt_id: text_of(&self.random.bytes()),
            record_id: text_of(grant.id.as_bytes()),
            pii_principal_id: (grant.person == *owner)
                .then(|| self.keys.pairwise(&grant.client, &grant.person)),
            capacity: grant.capacity,
            representation: subject.as_ref().and_then(GrantSubject::representation),
            iss: self.issuer.clone(),
            issued_at: now,
            language: lang.code().to_owned(),
            privacy_notice_unknown: privacy_notice.is_none() && is_chosen(grant.capacity),
            privacy_notice,
            asked_without_person: decided_by(grant.capacity).map(|decided_by| AskedWithoutPerson {
                decided_by,
                party_id: grant.client,
                motive: grant.by.as_ref().map(|by| by.motive.clone()),
                shown_to_officer,
            }),
            party_identification: parties,
            purposes,
            events: events(row)?,
        })
    }

    fn purpose(
        &self,
        edition: &Edition,
        lang: Lang,
        row: &GrantRow,
        element: &Element,
        now: Micros,
    ) -> Result<Purpose, Error> {
        let details = details_of(element)?;
        let datatype = edition.catalogue.datatype(details.datatype());
        let attribute = |name: &UnitName, pii_optional| Attribute {
            pii_attribute: name.clone(),
            name: words::unit(lang, datatype, name),
            pii_optional,
        };
        let withdrawn = element.withdrawn.is_some();
        Ok(Purpose {
            purpose: words::demarche(edition, lang, &details.demarche),
            lawful_basis: details.legal_basis.clone(),
            pii_controllers: [row.grant.client],
            pii_source: *details.operator(),
            pii_type: details.datatype().clone(),
            pii_type_name: words::datatype(edition, lang, details.datatype()),
            period: details.period,
            pii_information: (details.units.iter())
                .map(|asked| attribute(&asked.unit, asked.need == Need::Optional))
                .collect(),
            pii_left_out: element
                .left_out
                .iter()
                .map(|unit| attribute(unit, true))
                .collect(),
            processing_method: details.usage,
            retention_days: details.data_life_days,
            collection: details.mode.kind,
            valid_until: end_of(&row.grant, &details),
            withdrawal_method: format!("{}{}/arreter", self.issuer, address(row)),
            state: match stands(&row.grant, element, &details, now) {
                true => PurposeState::Active,
                false if withdrawn => PurposeState::Withdrawn,
                false => PurposeState::Expired,
            },
            service: details.demarche,
            dossier_ref: details.dossier_ref,
            habilitation: details.habilitation,
        })
    }
}

/// Whether the person, or whoever acts for them, chose at a page of the authority's: of a grant from before its words were
/// kept, that is all that is known.
const fn is_chosen(capacity: Capacity) -> bool {
    decided_by(capacity).is_none()
}

/// Who decided where the person was not asked.
const fn decided_by(capacity: Capacity) -> Option<DecidedBy> {
    match capacity {
        Capacity::SelfPerson | Capacity::Child | Capacity::Entity | Capacity::Helper => None,
        Capacity::Agent => Some(DecidedBy::Officer),
        Capacity::Automatic => Some(DecidedBy::Nobody),
    }
}

/// What has happened to a grant, in order.
fn events(row: &GrantRow) -> Result<Vec<GrantEvent>, Error> {
    let mut events = vec![GrantEvent {
        event_time: row.grant.granted_at,
        event_type: "granted".to_owned(),
        pii_type: None,
    }];
    for element in &row.elements {
        let Some(withdrawn) = &element.withdrawn else {
            continue;
        };
        let details: AuthorizationDetails = details_of(element)?;
        let of_this = |event_time, event_type: &str| GrantEvent {
            event_time,
            event_type: event_type.to_owned(),
            pii_type: Some(details.datatype().clone()),
        };
        events.push(of_this(
            withdrawn.at,
            &format!("withdrawn_by_{}", withdrawn.by.as_str()),
        ));
        events.extend(withdrawn.effective_at.map(|at| of_this(at, "effective")));
    }
    events.sort_by_key(|event| event.event_time);
    Ok(events)
}
