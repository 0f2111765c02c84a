//! Who may ask for what: the producer's decision to release, and the authority's to put a request before a person.
//!
//! Both are pure: everything they rest on is an argument, and what they refuse names the field at fault. A
//! [`Permit`] is made only here, so whatever a producer releases was asked for, granted, habilitated and in the
//! catalogue (I4).

use std::collections::BTreeSet;
use std::fmt;

use crate::authorization::{MAX_ELEMENTS, ModeKind, Need, UnitRequest};
use crate::catalogue::{Catalogue, Datatype, Datum, Demarche, LinkProof, Presence, UnitSet};
use crate::directory::{Directory, Freshness, ParticipantKind};
use crate::{
    Acr, AuthorizationDetails, Capacity, FetchCore, Habilitation, LegalBasis, Micros, ParticipantId, Reason,
    Sha256, SignedHabilitation, SubjectKind, UnitName, Way,
};

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as on the wire.
    pub reason: Reason,
    /// The field at fault, `units[1].unit`; no value of it.
    pub field: String,
}

impl Refusal {
    fn new(reason: Reason, field: impl Into<String>) -> Self {
        Self {
            reason,
            field: field.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason.as_str(), self.field)
    }
}

impl std::error::Error for Refusal {}

/// Who stands behind a request.
#[derive(Clone, Copy, Debug)]
pub struct Requester {
    /// The consumer.
    pub consumer: ParticipantId,
    /// The publisher that acts for it.
    pub publisher: Option<ParticipantId>,
}

/// What decisions rest on: a directory that has not expired, the catalogue that it names, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    catalogue: &'a Catalogue,
    directory: &'a Directory,
    now: Micros,
}

/// Whoever answers, as its own configuration says, not the directory.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The participant.
    pub participant: ParticipantId,
    /// The thumbprints of the keys that sign its habilitations, the present and the next.
    pub habilitation_keys: Vec<String>,
    /// The hashes of habilitations that it has signed and that have ended before their date.
    pub habilitations_ended: BTreeSet<Sha256>,
}

/// A right to ask that is in force, as the directory has it: no ground for any release.
#[derive(Clone, Copy, Debug)]
pub struct Habilitated<'a> {
    ground: Ground<'a>,
    element: &'a AuthorizationDetails,
    datatype: &'a Datatype,
    signed: &'a SignedHabilitation,
    demarche: &'a Demarche,
    datum: &'a Datum,
}

/// A right to ask that the operator's own key has signed; not yet a right to release.
#[derive(Clone, Copy, Debug)]
pub struct Entitlement<'a>(Habilitated<'a>);

/// The right to release some units of one datatype, once.
#[derive(Clone, Copy, Debug)]
pub struct Permit<'a> {
    datatype: &'a Datatype,
    habilitation: &'a Habilitation,
    demarche: &'a Demarche,
    units: UnitSet,
}

impl<'a> Permit<'a> {
    /// The datatype.
    pub const fn datatype(&self) -> &'a Datatype {
        self.datatype
    }

    /// The habilitation that it rests on.
    pub const fn habilitation(&self) -> &'a Habilitation {
        self.habilitation
    }

    /// The démarche that it is for.
    pub const fn demarche(&self) -> &'a Demarche {
        self.demarche
    }

    /// The units that may leave, and no other.
    pub const fn units(&self) -> UnitSet {
        self.units
    }
}

impl<'a> Ground<'a> {
    /// The ground at `now`; DIRECTORY_STALE if the directory has expired or names another catalogue (I9).
    pub fn new(catalogue: &'a Catalogue, directory: &'a Directory, now: Micros) -> Result<Self, Refusal> {
        if directory.freshness(now) == Freshness::Expired {
            return Err(Refusal::new(Reason::DirectoryStale, "directory"));
        }
        if *directory.catalogue_hash() != catalogue.hash() {
            return Err(Refusal::new(Reason::DirectoryStale, "catalogue"));
        }
        Ok(Self {
            catalogue,
            directory,
            now,
        })
    }

    /// Whether the consumer may ask this operator at all: habilitation in force, signed by the operator's own key and over
    /// what the catalogue says, revision answered, law not against it, nor against asking so: by whoever stands behind it
    /// in this capacity. It comes before retry, quota and closed window in the producer's order of checks.
    ///
    /// The authority alone opens nobody's data: it writes the directory, and so every row's keys, but not what an
    /// operator names as its own; and it writes the catalogue, but not what a datatype and a démarche were as the
    /// operator signed.
    pub fn entitle(
        &self,
        operator: &Operator,
        requester: &Requester,
        capacity: Capacity,
        element: &'a AuthorizationDetails,
    ) -> Result<Entitlement<'a>, Refusal> {
        if *element.operator() != operator.participant {
            return Err(Refusal::new(Reason::TokenInvalid, "locations"));
        }
        let habilitated = self.habilitated(requester, element)?;
        asked_lawfully(way_of(capacity), habilitated.demarche, &element.legal_basis)?;
        if !may_be_about(capacity, element.subject.kind) {
            return Err(Refusal::new(Reason::TokenInvalid, "subject.kind"));
        }
        // Signed once, a habilitation that ended or gave way could be listed again for as long as its dates run.
        let signed = habilitated.signed;
        let held = signed.signed_by(&operator.habilitation_keys)
            && !operator.habilitations_ended.contains(signed.hash());
        held.then_some(Entitlement(habilitated))
            .ok_or_else(|| Refusal::new(Reason::NotEntitled, "habilitation"))
    }

    /// Whether the consumer may ask, as far as the directory tells: for whoever asks, and for the authority.
    pub fn habilitated(
        &self,
        requester: &Requester,
        element: &'a AuthorizationDetails,
    ) -> Result<Habilitated<'a>, Refusal> {
        let not_entitled = |field: &str| Refusal::new(Reason::NotEntitled, field);
        let Self {
            catalogue,
            directory,
            now,
        } = *self;

        let row = directory
            .participant(&requester.consumer)
            .ok_or_else(|| not_entitled("client_id"))?;
        let publisher = requester.publisher.as_ref().unwrap_or(&requester.consumer);
        if !directory.acts_for(publisher, &requester.consumer) {
            return Err(not_entitled("act_client"));
        }
        let signed = directory
            .habilitation(&element.habilitation)
            .filter(|signed| signed.habilitation().in_force(now));
        let signed = signed.ok_or_else(|| not_entitled("habilitation"))?;
        let habilitation = signed.habilitation();
        if habilitation.consumer != requester.consumer || habilitation.producer != *element.operator() {
            return Err(not_entitled("habilitation"));
        }
        if habilitation.publisher.is_some_and(|only| only != *publisher) {
            return Err(not_entitled("act_client"));
        }
        if habilitation.demarche != element.demarche {
            return Err(not_entitled("demarche"));
        }
        let covered = habilitation
            .datatype(element.datatype())
            .ok_or_else(|| not_entitled("datatypes"))?;

        let datatype = catalogue
            .datatype(element.datatype())
            .filter(|d| d.sheet().in_use(now));
        let datatype = datatype.ok_or_else(|| Refusal::new(Reason::UnsupportedRevision, "datatypes"))?;
        if datatype.operator() != element.operator() {
            return Err(Refusal::new(Reason::UnsupportedRevision, "locations"));
        }
        let demarche = catalogue
            .demarche(&element.demarche)
            .ok_or_else(|| not_entitled("demarche"))?;
        // Whoever publishes the catalogue says what a name means, not what the three meant who signed it.
        let changed = |field: &str| Err(Refusal::new(Reason::CatalogueChanged, field));
        if !habilitation.demarche_described_by(catalogue) {
            return changed("demarche");
        }
        if !covered.described_by(catalogue) {
            return changed("datatypes");
        }
        if !demarche.participants.contains(&row.kind) {
            return Err(not_entitled("demarche"));
        }
        let datum = demarche
            .datum(element.datatype())
            .ok_or_else(|| not_entitled("datatypes"))?;
        if datatype.sheet().subject(element.subject.kind).is_none() {
            return Err(not_entitled("subject.kind"));
        }

        let basis = &element.legal_basis;
        let lawful = datatype.sheet().legal_bases.contains(basis)
            && demarche.legal_bases.contains(basis)
            && habilitation.legal_bases.contains(basis)
            && (row.kind != ParticipantKind::Prive || *basis == LegalBasis::Consent)
            && !(demarche.fraud_detection && *basis == LegalBasis::Proactive);
        if !lawful {
            return Err(Refusal::new(Reason::LegalBlock, "legal_basis"));
        }
        Ok(Habilitated {
            ground: *self,
            element,
            datatype,
            signed,
            demarche,
            datum,
        })
    }
}

impl<'a> Habilitated<'a> {
    /// The datatype asked for.
    pub const fn datatype(&self) -> &'a Datatype {
        self.datatype
    }
}

impl<'a> Entitlement<'a> {
    /// The datatype asked for.
    pub const fn datatype(&self) -> &'a Datatype {
        self.0.datatype
    }

    /// Whether this very fetch may be answered: the identity assured well enough by an issuer entitled to, and what is
    /// asked for within what was granted. `acr` and `issuer` are the token's.
    pub fn release(&self, fetch: &FetchCore, acr: Acr, issuer: &str) -> Result<Permit<'a>, Refusal> {
        let Habilitated {
            ground,
            element,
            datatype,
            signed,
            demarche,
            datum,
        } = self.0;
        let habilitation = signed.habilitation();
        if acr < datatype.sheet().assurance || !ground.directory.issuer_entitled(issuer, acr) {
            return Err(Refusal::new(Reason::AcrTooLow, "acr"));
        }
        let not_granted = |field: &str| Err(Refusal::new(Reason::UnitNotGranted, field));
        if element.gh != Some(fetch.handle) {
            return Err(Refusal::new(Reason::TokenInvalid, "gh"));
        }
        if fetch.datatype != *element.datatype() {
            return not_granted("datatype");
        }
        if fetch.demarche != element.demarche {
            return not_granted("demarche");
        }
        if fetch.dossier != element.dossier_ref {
            return not_granted("dossier");
        }
        if fetch.period != element.period {
            return not_granted("period");
        }

        let asked = datatype
            .unit_set(&fetch.units)
            .map_err(|name| Refusal::new(Reason::InvalidRequest, field("units", &fetch.units, name)))?;
        if asked.is_empty() {
            return Err(Refusal::new(Reason::InvalidRequest, "units"));
        }
        let granted = datatype.known_units(element.units.iter().map(|u| &u.unit));
        let habilitated = datatype.known_units(habilitation.units(datatype.rev()).into_iter().flatten());
        let allowed = datatype.known_units(datum.fixed.iter().chain(&datum.free));
        if !asked.is_subset(granted) {
            return not_granted("units");
        }
        if !asked.is_subset(habilitated & allowed) {
            return Err(Refusal::new(Reason::NotEntitled, "units"));
        }
        Ok(Permit {
            datatype,
            habilitation,
            demarche,
            units: asked,
        })
    }
}

fn field(list: &str, names: &[UnitName], name: &UnitName) -> String {
    let place = names.iter().position(|n| n == name).unwrap_or_default();
    format!("{list}[{place}]")
}

/// Whether a pushed request may be put before a person: each element within habilitation, catalogue and démarche, and
/// all of them together enough for the démarche. Fields are named `authorization_details[0].units[1].unit`.
pub fn authorizable(
    ground: &Ground<'_>,
    requester: &Requester,
    way: Way,
    elements: &[AuthorizationDetails],
) -> Result<(), Refusal> {
    if elements.is_empty() || elements.len() > MAX_ELEMENTS {
        return Err(Refusal::new(Reason::InvalidRequest, "authorization_details"));
    }
    for (n, element) in elements.iter().enumerate() {
        one(ground, requester, way, element).map_err(|refusal| Refusal {
            field: format!("authorization_details[{n}].{}", refusal.field),
            ..refusal
        })?;
        let same = |other: &AuthorizationDetails| {
            other.datatypes == element.datatypes
                && other.subject == element.subject
                && other.period == element.period
        };
        if elements[..n].iter().any(same) {
            return Err(invalid(format!("authorization_details[{n}].datatypes")));
        }
        // One page, one démarche, one file: the person decides on one matter at a time.
        if element.demarche != elements[0].demarche {
            return Err(invalid(format!("authorization_details[{n}].demarche")));
        }
        if element.dossier_ref != elements[0].dossier_ref {
            return Err(invalid(format!("authorization_details[{n}].dossier_ref")));
        }
    }
    for (n, element) in elements.iter().enumerate() {
        linked(ground, way, element, elements).map_err(|refusal| Refusal {
            field: format!("authorization_details[{n}].{}", refusal.field),
            ..refusal
        })?;
    }
    let asked: BTreeSet<_> = elements.iter().map(|e| e.datatype().id()).collect();
    let alternatives = ground
        .catalogue
        .demarche(&elements[0].demarche)
        .map(|d| &d.mandatory.any_of);
    let enough = alternatives.is_none_or(|any_of| {
        any_of.is_empty() || any_of.iter().any(|ids| ids.iter().all(|id| asked.contains(id)))
    });
    enough
        .then_some(())
        .ok_or_else(|| invalid("authorization_details"))
}

/// Whether what proves that a child is the asker's can be had: an attestation is asked for beside it, about the asker.
fn linked(
    ground: &Ground<'_>,
    way: Way,
    element: &AuthorizationDetails,
    elements: &[AuthorizationDetails],
) -> Result<(), Refusal> {
    if element.subject.kind != SubjectKind::Child {
        return Ok(());
    }
    let datatype = ground.catalogue.datatype(element.datatype());
    let rule = datatype.and_then(|datatype| datatype.sheet().subject(SubjectKind::Child));
    match rule.and_then(|rule| rule.link.as_ref()) {
        Some(LinkProof::Holder) => Ok(()),
        Some(LinkProof::Declared) if way == Way::Agent => Ok(()),
        Some(LinkProof::Declared) => Err(Refusal::new(Reason::LegalBlock, "subject.kind")),
        Some(LinkProof::Attestation(proof)) => {
            let proves = |other: &AuthorizationDetails| {
                let unit = |asked: &UnitRequest| asked.unit == proof.unit && asked.need == Need::Required;
                other.subject.kind != SubjectKind::Child
                    && *other.datatype().id() == proof.datatype
                    && other.units.iter().any(unit)
            };
            elements
                .iter()
                .any(proves)
                .then_some(())
                .ok_or_else(|| invalid("subject.kind"))
        }
        None => Err(Refusal::new(Reason::NotEntitled, "subject.kind")),
    }
}

/// Whether a request that is made this way may rest on this ground: consent is given in person, and what nobody asked for
/// is fetched with nobody present.
pub const fn may_rest_on(way: Way, basis: &LegalBasis) -> bool {
    match (way, basis) {
        (Way::Present | Way::Link, LegalBasis::Request | LegalBasis::Consent | LegalBasis::Text(_))
        | (Way::Agent, LegalBasis::Request | LegalBasis::Text(_))
        | (Way::Automatic, LegalBasis::Request | LegalBasis::Proactive) => true,
        (Way::Present | Way::Link, LegalBasis::Proactive)
        | (Way::Agent, LegalBasis::Consent | LegalBasis::Proactive)
        | (Way::Automatic, LegalBasis::Consent | LegalBasis::Text(_)) => false,
    }
}

/// The way of asking that a capacity tells. Whoever answers themselves does so at the browser of the request or by a link:
/// that is not told, and makes no difference to any ground.
const fn way_of(capacity: Capacity) -> Way {
    match capacity {
        Capacity::SelfPerson | Capacity::Child | Capacity::Entity | Capacity::Helper => Way::Present,
        Capacity::Agent => Way::Agent,
        Capacity::Automatic => Way::Automatic,
    }
}

/// Whether it may be asked this way for this démarche, on this ground.
fn asked_lawfully(way: Way, demarche: &Demarche, basis: &LegalBasis) -> Result<(), Refusal> {
    if way == Way::Automatic && demarche.presence != Presence::None {
        return Err(Refusal::new(Reason::LegalBlock, "demarche"));
    }
    if !may_rest_on(way, basis) {
        return Err(Refusal::new(Reason::LegalBlock, "legal_basis"));
    }
    Ok(())
}

/// Whether whoever stands behind a request in this capacity may be asked about such a subject: about a child its parent
/// alone, about a company whoever answers for it, and about nothing else.
pub const fn may_be_about(capacity: Capacity, subject: SubjectKind) -> bool {
    match subject {
        SubjectKind::SelfPerson | SubjectKind::Household => !matches!(capacity, Capacity::Entity),
        SubjectKind::Child => matches!(capacity, Capacity::Child),
        SubjectKind::Entity => matches!(capacity, Capacity::Entity),
    }
}

fn invalid(field: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidRequest, field)
}

fn one(
    ground: &Ground<'_>,
    requester: &Requester,
    way: Way,
    element: &AuthorizationDetails,
) -> Result<(), Refusal> {
    if element.gh.is_some() {
        return Err(invalid("gh"));
    }
    let Habilitated {
        datatype,
        signed,
        demarche,
        datum,
        ..
    } = ground.habilitated(requester, element)?;
    let habilitation = signed.habilitation();

    asked_lawfully(way, demarche, &element.legal_basis)?;

    let habilitated = habilitation.units(datatype.rev());
    let mut seen = BTreeSet::new();
    for (n, asked) in element.units.iter().enumerate() {
        let at = |member: &str| format!("units[{n}].{member}");
        if datatype.unit(&asked.unit).is_none() || !seen.insert(&asked.unit) {
            return Err(invalid(at("unit")));
        }
        if !habilitated.is_some_and(|units| units.contains(&asked.unit)) {
            return Err(Refusal::new(Reason::NotEntitled, at("unit")));
        }
        // What the démarche fixes is required; what it leaves free stays the person's choice.
        let need = match (
            datum.fixed.contains(&asked.unit),
            datum.free.contains(&asked.unit),
        ) {
            (true, _) => Need::Required,
            (false, true) => Need::Optional,
            (false, false) => return Err(Refusal::new(Reason::NotEntitled, at("unit"))),
        };
        if asked.need != need {
            return Err(invalid(at("need")));
        }
    }
    if seen.is_empty() || !datum.fixed.iter().all(|unit| seen.contains(unit)) {
        return Err(invalid("units"));
    }
    if !datatype.sheet().period.allows(element.period, ground.now) {
        return Err(invalid("period"));
    }
    if element.data_life_days > demarche.data_life_days {
        return Err(invalid("data_life_days"));
    }
    let mode = &element.mode;
    if mode.until.is_some() {
        return Err(invalid("mode.until_us"));
    }
    match (mode.kind, demarche.standing) {
        (ModeKind::Once, _) => {
            if mode.max_count.is_some() || mode.min_interval_s.is_some() {
                return Err(invalid("mode"));
            }
        }
        (ModeKind::Standing, None) => return Err(invalid("mode.kind")),
        (ModeKind::Standing, Some(standing)) => {
            if !mode
                .max_count
                .is_some_and(|n| (1..=standing.max_count).contains(&n))
            {
                return Err(invalid("mode.max_count"));
            }
            if mode.min_interval_s.is_none_or(|s| s < standing.min_interval_s) {
                return Err(invalid("mode.min_interval_s"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
