use std::collections::{BTreeMap, BTreeSet};

use super::{file_name, words};
use crate::catalogue::position::Entry;
use crate::catalogue::{DatatypeSheet, Datum, Demarche, LinkProof, Presence, Problem};
use crate::directory::ParticipantKind;
use crate::{DatatypeId, DatatypeRev, LegalBasis, SubjectKind};

/// The longest that a grant's data may be kept on the grounds of the law (a year); texts of their own say more.
const DATA_LIFE_DAYS: u16 = 366;

/// A secrecy that the datatype's own file does not lift is lifted for each démarche by a text, or not at all.
fn waiver_problem(sheet: &DatatypeSheet, datum: &Datum) -> Option<&'static str> {
    let lifted_for_all = sheet.secrecy.as_ref().map(|secrecy| secrecy.waiver.is_some());
    match (lifted_for_all, &datum.waiver) {
        (Some(false), Some(LegalBasis::Text(_))) | (Some(true) | None, None) => None,
        (Some(false), Some(_)) => Some("ce qui lève un secret est un texte : TEXTE:…"),
        (Some(false), None) => {
            Some("un secret couvre ce type : il manque le texte qui le lève pour cette démarche (waiver)")
        }
        (Some(true), Some(_)) => Some("le type dit déjà quel texte lève son secret : waiver est de trop"),
        (None, Some(_)) => Some("aucun secret ne couvre ce type : waiver est de trop"),
    }
}

pub(super) fn demarche(
    entry: &Entry<Demarche>,
    revs: &BTreeMap<DatatypeRev, &DatatypeSheet>,
    all: &mut Vec<Problem>,
) {
    let demarche = &entry.value;
    file_name(entry, &format!("demarches/{}.yaml", demarche.id), all);
    words(entry, "/label", &demarche.label, all);
    words(entry, "/legal_text", &demarche.legal_text, all);
    let mut wrong = |path: &str, code, message: String| all.push(entry.problem(path, code, message));

    if demarche.participants.is_empty() {
        wrong(
            "/participants",
            "participants",
            "il manque qui la conduit".to_owned(),
        );
    }
    if demarche.legal_references.is_empty() {
        wrong(
            "/legal_references",
            "legal_bases",
            "il manque la référence du texte".to_owned(),
        );
    }
    let consent_only = demarche
        .legal_bases
        .iter()
        .all(|basis| *basis == LegalBasis::Consent);
    if demarche.legal_bases.is_empty() {
        wrong(
            "/legal_bases",
            "legal_bases",
            "il manque une base légale".to_owned(),
        );
    } else if demarche.participants.contains(&ParticipantKind::Prive) && !consent_only {
        wrong(
            "/legal_bases",
            "legal_private",
            "un participant privé n'a que RGPD-6-1-a".to_owned(),
        );
    }
    if demarche.legal_bases.contains(&LegalBasis::Proactive) && demarche.presence != Presence::None {
        wrong(
            "/presence",
            "presence",
            "CRPA-L114-8-II est sans présence de la personne (presence: none)".to_owned(),
        );
    }
    if demarche.legal_bases.contains(&LegalBasis::Proactive) && demarche.fraud_detection {
        wrong(
            "/fraud_detection",
            "legal_fraud",
            "CRPA-L114-8-II ne sert jamais à détecter une fraude".to_owned(),
        );
    }
    if demarche.legal_bases.contains(&LegalBasis::Consent) && demarche.presence == Presence::None {
        wrong(
            "/presence",
            "presence",
            "un consentement se donne en personne".to_owned(),
        );
    }
    let own_text = demarche
        .legal_bases
        .iter()
        .all(|basis| matches!(basis, LegalBasis::Text(_)));
    if demarche.data_life_days == 0 || (demarche.data_life_days > DATA_LIFE_DAYS && !own_text) {
        wrong(
            "/data_life_days",
            "data_life",
            format!("de 1 à {DATA_LIFE_DAYS} jours, plus si un texte le dit"),
        );
    }
    if demarche
        .standing
        .is_some_and(|s| s.max_count == 0 || s.min_interval_s == 0)
    {
        wrong(
            "/standing",
            "standing",
            "au moins une fois, et un intervalle".to_owned(),
        );
    }

    let mut seen: BTreeSet<&DatatypeId> = BTreeSet::new();
    for (n, datum) in demarche.data.iter().enumerate() {
        let path = format!("/data/{n}");
        if !seen.insert(datum.datatype.id()) {
            wrong(
                &format!("{path}/datatype"),
                "duplicate",
                "ce type est déjà demandé".to_owned(),
            );
        }
        let Some(sheet) = revs.get(&datum.datatype) else {
            let message = format!("le type « {} » n'existe pas", datum.datatype);
            wrong(&format!("{path}/datatype"), "unknown_datatype", message);
            continue;
        };
        if !demarche
            .legal_bases
            .iter()
            .any(|basis| sheet.legal_bases.contains(basis))
        {
            let message = "aucune base légale commune avec ce type".to_owned();
            wrong(&format!("{path}/datatype"), "legal_bases", message);
        }
        if let Some(message) = waiver_problem(sheet, datum) {
            wrong(&format!("{path}/datatype"), "legal_secrecy", message.to_owned());
        }
        if datum.fixed.is_empty() && datum.free.is_empty() {
            wrong(&path, "unknown_unit", "aucune unité".to_owned());
        }
        let mut units = BTreeSet::new();
        for (list, names) in [("fixed", &datum.fixed), ("free", &datum.free)] {
            for (m, name) in names.iter().enumerate() {
                let path = format!("{path}/{list}/{m}");
                if !units.insert(name) {
                    wrong(&path, "duplicate", format!("l'unité « {name} » est déjà là"));
                }
                if !sheet.units.iter().any(|unit| unit.name == *name) {
                    wrong(
                        &path,
                        "unknown_unit",
                        format!("« {} » n'a pas d'unité « {name} »", datum.datatype),
                    );
                }
            }
        }
    }
    for (n, datum) in demarche.data.iter().enumerate() {
        let rule = revs
            .get(&datum.datatype)
            .and_then(|sheet| sheet.subject(SubjectKind::Child));
        let Some(LinkProof::Attestation(proof)) = rule.and_then(|rule| rule.link.as_ref()) else {
            continue;
        };
        let proves =
            |other: &Datum| *other.datatype.id() == proof.datatype && other.fixed.contains(&proof.unit);
        if !demarche.data.iter().any(proves) {
            let message = format!(
                "le lien de l'enfant se prouve par « {} » de « {} », que la démarche doit toujours demander (fixed)",
                proof.unit, proof.datatype
            );
            wrong(&format!("/data/{n}"), "child_link", message);
        }
    }
    if demarche.mandatory.any_of.iter().any(Vec::is_empty) {
        wrong(
            "/mandatory/any_of",
            "mandatory",
            "une alternative est vide".to_owned(),
        );
    }
    for (n, ids) in demarche.mandatory.any_of.iter().enumerate() {
        for (m, id) in ids.iter().enumerate() {
            if !seen.contains(id) {
                let message = format!("« {id} » n'est pas dans data");
                wrong(&format!("/mandatory/any_of/{n}/{m}"), "unknown_datatype", message);
            }
        }
    }
}
