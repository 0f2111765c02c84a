//! The record as a person reads it, and as a table.

use std::fmt::Write as _;

use unefois_core::Micros;

use super::{Activity, Register};

/// The columns of the table.
pub const COLUMNS: &[&str] = &[
    "role",
    "activite",
    "finalites",
    "bases_legales",
    "textes",
    "personnes",
    "donnees",
    "secret",
    "sources",
    "destinataires",
    "transferts",
    "durees",
    "habilitations",
    "reponses",
    "refus",
    "reports",
    "derniere_utilisation",
    "jamais_utilise",
    "volume_depasse",
];

/// One row an activity.
pub fn rows(register: &Register) -> Vec<Vec<String>> {
    let yes = |yes: bool| if yes { "oui" } else { "non" }.to_owned();
    let row = |activity: &Activity| {
        let data = activity.data.iter().map(|data| data.label.clone());
        let rights = activity.habilitations.iter().map(|right| right.id.clone());
        vec![
            role(activity).to_owned(),
            activity.name.clone(),
            activity.purposes.join(" | "),
            activity.legal_bases.join(" | "),
            activity.legal_texts.join(" | "),
            activity.persons.join(" | "),
            data.collect::<Vec<_>>().join(" | "),
            activity.secrecy.unwrap_or_default().to_owned(),
            activity.sources.join(" | "),
            activity.recipients.join(" | "),
            activity.transfers.to_owned(),
            activity.durations.join(" | "),
            rights.collect::<Vec<_>>().join(" | "),
            activity.used.answered.to_string(),
            activity.used.refused.to_string(),
            activity.used.later.to_string(),
            activity.used.last.map(Micros::to_rfc3339).unwrap_or_default(),
            yes(activity.used.answered == 0),
            yes(activity.over_volume),
        ]
    };
    register.activities.iter().map(row).collect()
}

fn role(activity: &Activity) -> &'static str {
    match activity.role {
        "producer" => "producteur",
        _ => "demandeur",
    }
}

/// The record, in French, each heading on a line of its own.
pub fn to_text(register: &Register) -> String {
    let controller = &register.controller;
    let mut text = format!(
        "# Registre des activités de traitement (RGPD, article 30)\n\n\
         Responsable du traitement : {}, {} (SIRET {})\nDélégué à la protection des données : {}\n",
        controller.name, controller.kind, controller.siret, controller.dpo
    );
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if let Some(url) = &controller.url {
        line(format!("Pages d'information : {url}"));
    }
    let [from, to] = &register.period;
    let bound = |at: &Option<String>, none: &str| at.clone().unwrap_or_else(|| none.to_owned());
    line(format!(
        "Calculé le {} d'après l'annuaire version {}, son catalogue et le registre vérifié des échanges.",
        register.computed_at, register.directory_version
    ));
    line(format!(
        "Volumes comptés du {} au {}.",
        bound(from, "début du registre"),
        bound(to, "jour du calcul")
    ));
    line("À compléter par le responsable : responsables conjoints, services internes, durées propres au système d'information.".to_owned());
    for (n, activity) in (1..).zip(&register.activities) {
        line(String::new());
        line(one(n, activity));
    }
    if register.activities.is_empty() {
        line("\nAucune habilitation ni aucune donnée servie : pas d'activité à inscrire.".to_owned());
    }
    if !register.uncovered.is_empty() {
        line("\n## Échanges que plus rien ne couvre\n".to_owned());
        for uncovered in &register.uncovered {
            let name = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
            line(format!(
                "- {} {} {} : {} réponse(s), {} refus",
                uncovered.role,
                name(uncovered.demarche.as_ref().map(ToString::to_string)),
                name(uncovered.datatype.as_ref().map(ToString::to_string)),
                uncovered.used.answered,
                uncovered.used.refused
            ));
        }
    }
    line("\n## Mesures de sécurité, communes à toutes les activités\n".to_owned());
    for measure in &register.security {
        line(format!("- {measure}"));
    }
    text
}

fn one(n: usize, activity: &Activity) -> String {
    let mut text = format!("## {n}. {} ({})\n\n", activity.name, role(activity));
    let mut list = |title: &str, items: &[String]| {
        // Writing to a string does not fail.
        let _ = match items {
            [] => writeln!(text, "{title} : –"),
            [one] => writeln!(text, "{title} : {one}"),
            many => writeln!(text, "{title} :\n- {}", many.join("\n- ")),
        };
    };
    list("Finalités", &activity.purposes);
    list("Bases légales", &activity.legal_bases);
    list("Textes", &activity.legal_texts);
    let persons: Vec<String> = activity
        .persons
        .iter()
        .map(|person| (*person).to_owned())
        .collect();
    list("Personnes concernées", &persons);
    let data = activity.data.iter().map(|data| {
        let beside = data
            .concerns
            .map(|who| format!(" ; concerne aussi {who}"))
            .unwrap_or_default();
        let used = if data.used {
            ""
        } else {
            " ; jamais transmis sur la période"
        };
        format!(
            "{} ({}, utile {} jours{beside}{used})",
            data.label, data.unit, data.useful_days
        )
    });
    list(
        &format!("Données ({})", activity.datatype),
        &data.collect::<Vec<_>>(),
    );
    list(
        "Secret",
        &activity
            .secrecy
            .map(str::to_owned)
            .into_iter()
            .collect::<Vec<_>>(),
    );
    list("Sources", &activity.sources);
    list("Destinataires", &activity.recipients);
    list("Transferts", &[activity.transfers.to_owned()]);
    list("Durées", &activity.durations);
    let rights = activity.habilitations.iter().map(|right| {
        let volume = right
            .volume_per_year
            .map(|n| format!(", {n} par an prévus"))
            .unwrap_or_default();
        let state = if right.in_force { "" } else { ", PAS EN VIGUEUR" };
        format!(
            "{} avec {} du {} au {}{volume}{state}",
            right.id, right.with, right.not_before, right.not_after
        )
    });
    list("Habilitations", &rights.collect::<Vec<_>>());
    let used = &activity.used;
    let last = match used.last {
        Some(last) => format!("dernière le {last}"),
        None => "jamais utilisé sur la période : l'habilitation est-elle encore nécessaire ?".to_owned(),
    };
    let over = if activity.over_volume {
        " ; au-delà du volume annuel prévu"
    } else {
        ""
    };
    list(
        "Volume",
        &[format!(
            "{} réponse(s), {} refus, {} report(s) ; {last}{over}",
            used.answered, used.refused, used.later
        )],
    );
    text.trim_end().to_owned()
}
