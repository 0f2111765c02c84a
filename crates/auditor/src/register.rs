//! The record of processing activities of one participant (GDPR, article 30, 1), computed from what is in force and what
//! was done: habilitations and contacts from the directory, purposes, data and durations from the catalogue, volumes and
//! last uses from the participant's own verified log.
//!
//! A consumer has one activity for each démarche and datatype that it may ask for; a producer one for each datatype that
//! it answers. What the three sources do not hold is not made up: the record says that the controller completes it.

mod text;
mod usage;

use std::collections::BTreeMap;

use serde::Serialize;
use unefois_core::catalogue::{Catalogue, Concerns, Datatype, DatatypeSheet, Demarche, SecrecyKind, UnitSet};
use unefois_core::directory::ParticipantKind;
use unefois_core::{
    DatatypeRev, DemarcheId, Directory, Habilitation, HolderId, LegalBasis, Micros, ParticipantId,
    SubjectKind,
};

pub use text::{COLUMNS, rows, to_text};
pub use usage::{Usage, Use};

use crate::reconcile::Role;

/// The record.
#[derive(Clone, Debug, Serialize)]
pub struct Register {
    /// Who answers for the processing.
    pub controller: Controller,
    /// The version of the directory that it was computed from.
    pub directory_version: u64,
    /// When it was computed.
    pub computed_at: String,
    /// The period that volumes are counted over, both ends where they are given.
    pub period: [Option<String>; 2],
    /// The activities, those of a consumer first.
    pub activities: Vec<Activity>,
    /// Exchanges of the log for which no activity stands: nothing in force covers them any more.
    pub uncovered: Vec<Uncovered>,
    /// Measures of security, which hold for every activity.
    pub security: Vec<&'static str>,
}

/// Who answers for the processing.
#[derive(Clone, Debug, Serialize)]
pub struct Controller {
    /// Its identifier.
    pub participant: ParticipantId,
    /// Its name.
    pub name: String,
    /// Its SIRET.
    pub siret: String,
    /// What kind of body it is.
    pub kind: &'static str,
    /// How to reach its data protection officer.
    pub dpo: String,
    /// Its pages for people.
    pub url: Option<String>,
}

/// One activity.
#[derive(Clone, Debug, Serialize)]
pub struct Activity {
    /// `consumer` or `producer`.
    pub role: &'static str,
    /// Its name.
    pub name: String,
    /// The démarche, of a consumer's.
    pub demarche: Option<DemarcheId>,
    /// The datatype.
    pub datatype: DatatypeRev,
    /// What it is for.
    pub purposes: Vec<String>,
    /// On which legal grounds.
    pub legal_bases: Vec<String>,
    /// By which texts.
    pub legal_texts: Vec<String>,
    /// Whom the data are about.
    pub persons: Vec<&'static str>,
    /// The data.
    pub data: Vec<Data>,
    /// The secrecy that they are under.
    pub secrecy: Option<&'static str>,
    /// Where they come from.
    pub sources: Vec<String>,
    /// Who receives them.
    pub recipients: Vec<String>,
    /// Whether they leave the European Union.
    pub transfers: &'static str,
    /// How long they are kept.
    pub durations: Vec<String>,
    /// The habilitations that it rests on.
    pub habilitations: Vec<Right>,
    /// What was done.
    pub used: Use,
    /// Whether more was fetched than the habilitations foresee in a year, where they foresee it and a year was counted.
    pub over_volume: bool,
}

/// One unit of data.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// Its name.
    pub unit: String,
    /// In plain words.
    pub label: String,
    /// Whose data it holds beside the person's.
    pub concerns: Option<&'static str>,
    /// For how many days it is of use.
    pub useful_days: u16,
    /// Whether any entry of the period holds it.
    pub used: bool,
}

/// A habilitation.
#[derive(Clone, Debug, Serialize)]
pub struct Right {
    /// Its number.
    pub id: String,
    /// The other participant.
    pub with: String,
    /// From when.
    pub not_before: String,
    /// Until when, excluded.
    pub not_after: String,
    /// How many fetches a year it foresees.
    pub volume_per_year: Option<u32>,
    /// Whether it is in force.
    pub in_force: bool,
}

/// Exchanges that no activity covers.
#[derive(Clone, Debug, Serialize)]
pub struct Uncovered {
    /// `consumer` or `producer`.
    pub role: &'static str,
    /// The démarche.
    pub demarche: Option<DemarcheId>,
    /// The datatype.
    pub datatype: Option<DatatypeRev>,
    /// What was done.
    pub used: Use,
}

/// What a record is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Who takes part.
    pub directory: &'a Directory,
    /// What is exchanged.
    pub catalogue: &'a Catalogue,
    /// What was done, by the participant's log.
    pub usage: &'a Usage,
    /// Now.
    pub now: Micros,
}

const SECURITY: &[&str] = &[
    "Authentification mutuelle des participants par certificat (TLS 1.3), listes de révocation vérifiées à chaque connexion.",
    "Autorisation de la personne, à usage unique ou bornée, liée au certificat du demandeur ; arrêt possible à tout moment.",
    "Minimisation : seuls les éléments demandés, autorisés, habilités et prévus au catalogue quittent le producteur.",
    "Identité transmise chiffrée au seul producteur ; le demandeur ne la reçoit pas.",
    "Réponses signées par le producteur et vérifiées par le demandeur avant usage.",
    "Chaque échange, refus compris, est inscrit avant tout envoi dans un registre en ajout seul, vérifiable par les deux bouts et par un auditeur.",
    "Le registre ne contient que des engagements salés ; les secrets qui les ouvrent et les index de personnes sont détruits à leur terme.",
    "Toute consultation du registre par un tiers y est elle-même inscrite.",
];

const NO_TRANSFER: &str = "Aucun transfert hors de l'Union européenne : les participants de l'annuaire sont des établissements français, \
     identifiés par leur SIRET.";

/// The record of `participant`; `None` where the directory does not list it.
pub fn register(
    participant: &ParticipantId,
    sources: &Sources<'_>,
    period: [Option<Micros>; 2],
) -> Option<Register> {
    let row = sources.directory.participant(participant)?;
    let mut rights: BTreeMap<(DemarcheId, DatatypeRev), Vec<&Habilitation>> = BTreeMap::new();
    let mut served: BTreeMap<DatatypeRev, Vec<&Habilitation>> = BTreeMap::new();
    for datatype in sources
        .catalogue
        .datatypes()
        .filter(|d| d.operator() == participant)
    {
        served.entry(datatype.rev().clone()).or_default();
    }
    for row in &sources.directory.document().habilitations {
        let habilitation = &row.habilitation;
        for covered in &habilitation.datatypes {
            if habilitation.consumer == *participant {
                let key = (habilitation.demarche.clone(), covered.datatype.clone());
                rights.entry(key).or_default().push(habilitation);
            }
            if habilitation.producer == *participant {
                served
                    .entry(covered.datatype.clone())
                    .or_default()
                    .push(habilitation);
            }
        }
    }
    let asked = rights.iter().filter_map(|((demarche, rev), rights)| {
        let known = sources.catalogue.demarche(demarche)?;
        Some(sources.consumed(known, sources.catalogue.datatype(rev)?, rights))
    });
    let answered = served
        .iter()
        .filter_map(|(rev, rights)| Some(sources.produced(sources.catalogue.datatype(rev)?, rights)));
    let mut activities: Vec<Activity> = asked.chain(answered).collect();
    let yearly = matches!(period, [Some(from), Some(to)] if to.secs() - from.secs() <= 366 * 86_400);
    for activity in &mut activities {
        let foreseen: Option<u64> = (activity.habilitations.iter())
            .map(|right| right.volume_per_year.map(u64::from))
            .sum();
        activity.over_volume =
            yearly && foreseen.is_some_and(|most| most > 0 && activity.used.answered > most);
    }
    let covered = |role: Role, demarche: &Option<DemarcheId>, rev: &Option<DatatypeRev>| {
        activities.iter().any(|activity| {
            activity.role == role_word(role)
                && Some(&activity.datatype) == rev.as_ref()
                && (role == Role::Producer || activity.demarche == *demarche)
        })
    };
    let uncovered = sources
        .usage
        .all()
        .filter(|(role, demarche, rev, _)| !covered(*role, demarche, rev));
    let uncovered = uncovered.map(|(role, demarche, datatype, used)| Uncovered {
        role: role_word(role),
        demarche: demarche.clone(),
        datatype: datatype.clone(),
        used: *used,
    });
    Some(Register {
        controller: Controller {
            participant: *participant,
            name: row.name.fr.clone(),
            siret: participant.siret().to_string(),
            kind: match row.kind {
                ParticipantKind::Administration => {
                    "administration de l'État ou organisme de protection sociale"
                }
                ParticipantKind::Collectivite => "collectivité territoriale ou organisme rattaché",
                ParticipantKind::Prive => "organisme privé",
            },
            dpo: row.dpo.clone(),
            url: row.public_url.clone(),
        },
        directory_version: sources.directory.version(),
        computed_at: sources.now.to_rfc3339(),
        period: period.map(|at| at.map(Micros::to_rfc3339)),
        uncovered: uncovered.collect(),
        activities,
        security: SECURITY.to_vec(),
    })
}

const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Consumer => "consumer",
        Role::Producer => "producer",
    }
}

impl Sources<'_> {
    /// A démarche's use of a datatype.
    fn consumed(&self, demarche: &Demarche, datatype: &Datatype, rights: &[&Habilitation]) -> Activity {
        let sheet = datatype.sheet();
        let used = self.usage.of(Role::Consumer, Some(&demarche.id), datatype.rev());
        let granted = rights.iter().filter_map(|right| right.units(datatype.rev()));
        let granted = granted.fold(UnitSet::EMPTY, |set, units| set | datatype.known_units(units));
        let mut recipients = vec![format!("services chargés de : {}", demarche.label.fr)];
        recipients.extend(
            rights
                .iter()
                .filter_map(|right| right.publisher)
                .map(|publisher| format!("sous-traitant (éditeur) : {}", self.name(&publisher))),
        );
        recipients.dedup();
        let mut durations = vec![format!(
            "{} jours au plus après réception",
            demarche.data_life_days
        )];
        durations.push(traces(rights));
        Activity {
            role: role_word(Role::Consumer),
            name: format!("{} : {}", demarche.label.fr, sheet.label.fr),
            demarche: Some(demarche.id.clone()),
            datatype: datatype.rev().clone(),
            purposes: vec![demarche.label.fr.clone(), demarche.legal_text.fr.clone()],
            legal_bases: bases(rights),
            legal_texts: demarche.legal_references.clone(),
            persons: persons(sheet, datatype, granted),
            data: data(datatype, granted, used.units),
            secrecy: secrecy(sheet),
            sources: vec![self.name(datatype.operator()), self.holders(sheet)],
            recipients,
            transfers: NO_TRANSFER,
            durations,
            habilitations: self.rights(rights, |right| &right.producer),
            used,
            over_volume: false,
        }
    }

    /// A producer's answers with a datatype.
    fn produced(&self, datatype: &Datatype, rights: &[&Habilitation]) -> Activity {
        let sheet = datatype.sheet();
        let used = self.usage.of(Role::Producer, None, datatype.rev());
        let recipient = |right: &&Habilitation| {
            let demarche = self.catalogue.demarche(&right.demarche);
            let demarche = demarche.map_or_else(|| right.demarche.to_string(), |d| d.label.fr.clone());
            format!("{} ({demarche})", self.name(&right.consumer))
        };
        let mut recipients: Vec<String> = rights.iter().map(recipient).collect();
        recipients.sort();
        recipients.dedup();
        Activity {
            role: role_word(Role::Producer),
            name: format!("Transmission : {}", sheet.label.fr),
            demarche: None,
            datatype: datatype.rev().clone(),
            purposes: vec![
                "Transmettre aux administrations habilitées une information que la personne n'a plus à fournir".to_owned(),
                sheet.summary.fr.clone(),
            ],
            legal_bases: match rights.is_empty() {
                true => sheet.legal_bases.iter().map(basis).collect(),
                false => bases(rights),
            },
            legal_texts: vec![sheet.legal_type.clone()],
            persons: persons(sheet, datatype, datatype.all_units()),
            data: data(datatype, datatype.all_units(), used.units),
            secrecy: secrecy(sheet),
            sources: vec![self.holders(sheet)],
            recipients,
            transfers: NO_TRANSFER,
            durations: vec![
                "aucune copie de la réponse n'est gardée par le nœud ; le système d'information du détenteur a sa propre durée"
                    .to_owned(),
                traces(rights),
            ],
            habilitations: self.rights(rights, |right| &right.consumer),
            used,
            over_volume: false,
        }
    }

    fn name(&self, id: &ParticipantId) -> String {
        let row = self.directory.participant(id);
        row.map_or_else(|| id.siret().to_string(), |row| row.name.fr.clone())
    }

    fn holders(&self, sheet: &DatatypeSheet) -> String {
        let name = |id: &HolderId| {
            let known = self.catalogue.producer(id);
            known.map_or_else(|| id.to_string(), |holder| holder.label.fr.clone())
        };
        let names: Vec<String> = sheet.holders.iter().map(name).collect();
        format!("détenteur : {}", names.join(", "))
    }

    fn rights(&self, rights: &[&Habilitation], with: impl Fn(&Habilitation) -> &ParticipantId) -> Vec<Right> {
        let right = |right: &&Habilitation| Right {
            id: right.id.to_string(),
            with: self.name(with(right)),
            not_before: right.not_before.to_rfc3339(),
            not_after: right.not_after.to_rfc3339(),
            volume_per_year: right.volume_per_year,
            in_force: right.in_force(self.now),
        };
        rights.iter().map(right).collect()
    }
}

/// How long the traces of exchanges open (ledger.md, « Retention »).
fn traces(rights: &[&Habilitation]) -> String {
    let proactive = |basis: &LegalBasis| *basis == LegalBasis::Proactive;
    let bases = || rights.iter().flat_map(|right| &right.legal_bases);
    let months = match (bases().any(proactive), bases().any(|basis| !proactive(basis))) {
        (true, false) => "12 mois (R. 114-9-7 CRPA, information proactive)",
        (true, true) => {
            "12 mois pour l'information proactive, 36 mois pour les autres échanges (R. 114-9-7 CRPA)"
        }
        (false, _) => "36 mois (R. 114-9-7 CRPA)",
    };
    format!("traces de l'échange : {months}, puis secrets et index détruits")
}

fn bases(rights: &[&Habilitation]) -> Vec<String> {
    let mut bases: Vec<String> = rights
        .iter()
        .flat_map(|right| right.legal_bases.iter().map(basis))
        .collect();
    bases.sort();
    bases.dedup();
    bases
}

/// A legal ground in words, with the ground of the GDPR that it is.
fn basis(basis: &LegalBasis) -> String {
    match basis {
        LegalBasis::Request => "mission d'intérêt public (RGPD, art. 6-1-e) ; CRPA, L. 114-8, I".to_owned(),
        LegalBasis::Proactive => {
            "mission d'intérêt public (RGPD, art. 6-1-e) ; CRPA, L. 114-8, II".to_owned()
        }
        LegalBasis::Consent => "consentement (RGPD, art. 6-1-a)".to_owned(),
        LegalBasis::Text(id) => format!("obligation légale (RGPD, art. 6-1-c) ; texte {id}"),
    }
}

fn persons(sheet: &DatatypeSheet, datatype: &Datatype, granted: UnitSet) -> Vec<&'static str> {
    let subject = |kind| match kind {
        SubjectKind::SelfPerson => "la personne qui fait la démarche",
        SubjectKind::Child => "son enfant",
        SubjectKind::Household => "les membres de son foyer",
        SubjectKind::Entity => "l'entreprise ou l'association, et qui la représente",
    };
    let mut persons: Vec<&str> = sheet.subjects.iter().map(|rule| subject(rule.kind)).collect();
    persons.extend(
        datatype
            .sheets_of(granted)
            .filter_map(|unit| concerns(unit.concerns)),
    );
    let mut told = Vec::new();
    persons.retain(|person| {
        let new = !told.contains(person);
        told.push(*person);
        new
    });
    persons
}

const fn concerns(concerns: Concerns) -> Option<&'static str> {
    match concerns {
        Concerns::None => None,
        Concerns::Household => Some("les membres de son foyer"),
        Concerns::Children => Some("ses enfants"),
    }
}

fn data(datatype: &Datatype, granted: UnitSet, used: u64) -> Vec<Data> {
    let used = UnitSet::from_bits(used);
    let units = datatype.sheet().units.iter().enumerate();
    let covered = units.filter(|(n, _)| granted.contains(*n));
    covered
        .map(|(n, unit)| Data {
            unit: unit.name.to_string(),
            label: unit.label.fr.clone(),
            concerns: concerns(unit.concerns),
            useful_days: unit.retention_days,
            used: used.contains(n),
        })
        .collect()
}

fn secrecy(sheet: &DatatypeSheet) -> Option<&'static str> {
    let secrecy = sheet.secrecy.as_ref()?;
    Some(match secrecy.kind {
        SecrecyKind::SecretMedical => "secret médical",
        SecrecyKind::Defense => "secret de la défense nationale",
        SecrecyKind::SecretFiscal => "secret fiscal",
        SecrecyKind::SecretProfessionnel => "secret professionnel",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_kept_a_year_only_where_everything_is_proactive() {
        let right = |bases: &[&str]| -> Habilitation {
            let value = serde_json::json!({
                "id": "DEMO-clamart-qf", "consumer": "urn:unefois:participant:21920023500014",
                "producer": "urn:unefois:participant:18003506500010",
                "authority": "urn:unefois:participant:13002526500013", "demarche": "cantine",
                "demarche_sha256": "1".repeat(64),
                "datatypes": [{
                    "datatype": "cnaf/quotient-familial@1", "units": ["valeur"], "sheet_sha256": "2".repeat(64),
                }],
                "legal_bases": bases, "not_before": "2026-01-01T00:00:00.000000Z",
                "not_after": "2027-01-01T00:00:00.000000Z",
            });
            serde_json::from_value(value).unwrap()
        };
        let (request, proactive) = ("CRPA-L114-8-I", "CRPA-L114-8-II");
        let told = |bases: &[&[&str]]| {
            let rights: Vec<Habilitation> = bases.iter().map(|bases| right(bases)).collect();
            let text = traces(&rights.iter().collect::<Vec<_>>());
            (text.contains("12 mois"), text.contains("36 mois"))
        };
        assert_eq!(told(&[&[proactive, request]]), (true, true));
        assert_eq!(told(&[&[proactive], &[request]]), (true, true));
        assert_eq!(told(&[&[proactive]]), (true, false));
        assert_eq!(told(&[&[request]]), (false, true));
        assert_eq!(told(&[]), (false, true));
    }
}
