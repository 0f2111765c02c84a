//! What the three signatures of a habilitation cover of the catalogue, by one digest of each sheet.
//!
//! Covered is whatever decides what leaves, about whom, to whom, on which assurance and on which ground: whoever changes
//! it under the same name has a producer answer what it never signed. That is the sheet, and where in what the operator's
//! source says its payload and the codes are that certify an absence. Not covered, so that nobody signs anew for it: words
//! for people (the page that shows them is the authority's, which could write others there all the same), when, how fast
//! and how often a source answers, contacts, samples, and the end of a revision, since a habilitation has an end of its own.

use serde_json::{Value, json};

use super::datatype::canonical;
use super::{Answers, DatatypeSheet, Demarche, Unit};
use crate::Sha256;

/// The digest of a datatype's sheet whose schema is canonical, with how the source of its operator lays its answers out.
pub(super) fn sheet(sheet: &DatatypeSheet, answers: Option<&Answers>) -> Sha256 {
    // Every member has its place here, so that a new one does not compile before it is judged.
    let DatatypeSheet {
        id,
        revision,
        legal_type,
        operator,
        holders,
        holder_from,
        subjects,
        pivot,
        period,
        assurance,
        legal_bases,
        secrecy,
        absence_when,
        units,
        persons,
        schema,
        label: _,
        summary: _,
        freshness: _,
        not_sent: _,
        timeout_ms: _,
        rate_per_minute: _,
        closed_windows: _,
        sunset: _,
        contact: _,
        sandbox: _,
        samples: _,
    } = sheet;
    let answers = answers.map(|Answers { payload, codes }| json!({ "payload": payload, "codes": codes }));
    digest(&json!({
        "id": id, "revision": revision, "legal_type": legal_type, "operator": operator, "holders": holders,
        "holder_from": holder_from, "subjects": subjects, "pivot": pivot, "period": period, "assurance": assurance,
        "legal_bases": legal_bases, "secrecy": secrecy, "absence_when": absence_when,
        "units": units.iter().map(unit).collect::<Vec<_>>(), "persons": persons, "schema": schema, "answers": answers,
    }))
}

fn unit(unit: &Unit) -> Value {
    let Unit {
        name,
        pointers,
        concerns,
        label: _,
        aliases: _,
        retention_days: _,
    } = unit;
    json!({ "name": name, "pointers": pointers, "concerns": concerns })
}

/// The digest of a démarche.
pub(super) fn demarche(demarche: &Demarche) -> Sha256 {
    let Demarche {
        id,
        participants,
        legal_references,
        legal_bases,
        mandatory,
        data,
        presence,
        fraud_detection,
        subject_unbound,
        data_life_days,
        standing,
        label: _,
        legal_text: _,
    } = demarche;
    digest(&json!({
        "id": id, "participants": participants, "legal_references": legal_references, "legal_bases": legal_bases,
        "mandatory": mandatory, "data": data, "presence": presence, "fraud_detection": fraud_detection,
        "subject_unbound": subject_unbound, "data_life_days": data_life_days, "standing": standing,
    }))
}

/// SHA-256 of the JSON of RFC 8785.
fn digest(value: &Value) -> Sha256 {
    Sha256::of(canonical(value).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::super::Producer;
    use super::*;

    const SHEET: &[(&str, &str)] = &[
        (
            "pointers: [/quotient_familial]",
            "pointers: [/quotient_familial, /adresse]",
        ),
        ("assurance: eidas1", "assurance: eidas2"),
        (
            "legal_bases: [CRPA-L114-8-I, CRPA-L114-8-II]",
            "legal_bases: [CRPA-L114-8-I, CRPA-L114-8-II, RGPD-6-1-a]",
        ),
        (
            "operator: cnaf\nholders: [cnaf, msa]",
            "operator: cnaf\nholders: [msa, cnaf]",
        ),
        ("{CNAF: cnaf, MSA: msa}", "{CNAF: msa, MSA: cnaf}"),
        ("gender, birthcountry]", "gender]"),
        ("birthplace: if_france", "birthplace: never"),
        ("past: 23", "past: 24"),
        ("absence_when: []", "absence_when: [{status: 404, code: '37003'}]"),
        ("concerns: household", "concerns: none"),
        (
            "{type: integer, minimum: 0, description",
            "{type: integer, minimum: 1, description",
        ),
        ("role: adult", "role: child"),
    ];
    const DEMARCHE: &[(&str, &str)] = &[
        ("free: [composition, adresse]", "free: [composition]"),
        (
            "participants: [collectivite]",
            "participants: [collectivite, administration]",
        ),
        ("presence: required", "presence: none"),
        ("subject_unbound: false", "subject_unbound: true"),
        ("data_life_days: 366", "data_life_days: 365"),
        ("max_count: 12", "max_count: 24"),
        ("R. 531-52", "R. 531-53"),
    ];
    const WORDS: &[(&str, &str)] = &[
        ("fr: Quotient familial (CAF ou MSA)", "fr: Quotient"),
        ("en: The address that your fund holds", "en: The address"),
        ("vos ressources, ", ""),
        ("cache_s: 86400", "cache_s: 60"),
        ("timeout_ms: 10000", "timeout_ms: 9000"),
        ("rate_per_minute: 100", "rate_per_minute: 50"),
        ("{day: sunday, from", "{day: monday, from"),
        ("retention_days: 366", "retention_days: 30"),
        ("aliases: [cnaf_adresse]", "aliases: []"),
        ("not_sent:", "sunset: '2090-01-01'\nnot_sent:"),
    ];
    const QF: &str = include_str!("../../../../catalogue/types/cnaf.quotient-familial@1.yaml");
    const CNAF: &str = include_str!("../../../../catalogue/producers/cnaf.yaml");
    const CANTINE: &str = include_str!("../../../../catalogue/demarches/cantine.yaml");

    /// The digest of a file, as it is and once `from` is `to`.
    fn digests<T: DeserializeOwned>(of: fn(&T) -> Sha256, file: &str, from: &str, to: &str) -> [Sha256; 2] {
        let changed = file.replacen(from, to, 1);
        assert_ne!(changed, file, "{from}");
        [file, &changed].map(|text| of(&serde_saphyr::from_str(text).unwrap()))
    }

    #[test]
    fn what_decides_what_leaves_and_to_whom_is_in_the_digest() {
        for (from, to) in SHEET {
            let [as_it_is, changed] = digests(|of| sheet(of, None), QF, from, to);
            assert_ne!(as_it_is, changed, "{to}");
        }
        for (from, to) in DEMARCHE {
            let [as_it_is, changed] = digests(demarche, CANTINE, from, to);
            assert_ne!(as_it_is, changed, "{to}");
        }
    }

    #[test]
    fn where_an_answer_and_the_proof_of_its_absence_are_read_is_in_the_digest_and_the_operator_s_words_are_not()
     {
        let of = |producer: &Producer| sheet(&serde_saphyr::from_str(QF).unwrap(), producer.answers.as_ref());
        for (from, to) in [
            ("payload: /data", "payload: /meta"),
            ("codes: /errors/*/code", "codes: /data/*/code"),
        ] {
            let [as_it_is, changed] = digests(of, CNAF, from, to);
            assert_ne!(as_it_is, changed, "{to}");
        }
        let [as_it_is, changed] = digests(of, CNAF, "Caisse nationale des", "Caisse des");
        assert_eq!(as_it_is, changed);
    }

    #[test]
    fn words_for_people_and_the_source_s_hours_are_not() {
        for (from, to) in WORDS {
            let [as_it_is, changed] = digests(|of| sheet(of, None), QF, from, to);
            assert_eq!(as_it_is, changed, "{to}");
        }
        let [as_it_is, changed] = digests(demarche, CANTINE, "Tarif de la cantine", "Tarif");
        assert_eq!(as_it_is, changed);
    }
}
