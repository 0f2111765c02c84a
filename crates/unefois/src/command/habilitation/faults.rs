//! What is wrong with a habilitation before anybody signs it.

use std::fmt;

use unefois_core::catalogue::{Catalogue, Datatype, Demarche};
use unefois_core::directory::ParticipantKind;
use unefois_core::{Directory, Habilitation, LegalBasis, Micros, UnitName};

/// One thing that would keep the habilitation from ever being of use.
pub(super) struct Fault {
    /// The member at fault.
    pub(super) member: String,
    /// What is wrong, and what is there.
    pub(super) text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} : {}", self.member, self.text)
    }
}

/// Everything that is wrong, by the catalogue and, where it is at hand, the directory.
pub(super) fn of(
    habilitation: &Habilitation,
    catalogue: &Catalogue,
    directory: Option<&Directory>,
    now: Micros,
) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    faults.dates(habilitation, now);
    faults.data(habilitation, catalogue, now);
    if let Some(directory) = directory {
        faults.participants(habilitation, catalogue, directory);
    }
    faults.0
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, member: impl Into<String>, text: impl Into<String>) {
        self.0.push(Fault {
            member: member.into(),
            text: text.into(),
        });
    }

    fn dates(&mut self, habilitation: &Habilitation, now: Micros) {
        if habilitation.not_before >= habilitation.not_after {
            self.add("not_after", "la fin vient avant le début");
        } else if habilitation.not_after <= now {
            self.add("not_after", "la fin est déjà passée");
        }
    }

    fn data(&mut self, habilitation: &Habilitation, catalogue: &Catalogue, now: Micros) {
        let demarche = catalogue.demarche(&habilitation.demarche);
        if demarche.is_none() {
            let known = list(catalogue.demarches().map(|d| d.id.to_string()));
            self.add(
                "demarche",
                format!(
                    "« {} » n'est pas au catalogue ; il y a : {known}",
                    habilitation.demarche
                ),
            );
        }
        if habilitation.datatypes.is_empty() {
            self.add("datatypes", "aucun justificatif n'est demandé");
        }
        if habilitation.legal_bases.is_empty() {
            self.add("legal_bases", "aucune base légale n'est donnée");
        }
        for (n, covered) in habilitation.datatypes.iter().enumerate() {
            let at = format!("datatypes[{n}]");
            if habilitation.datatypes[..n]
                .iter()
                .any(|other| other.datatype == covered.datatype)
            {
                self.add(at.clone(), format!("« {} » y est deux fois", covered.datatype));
            }
            match catalogue.datatype(&covered.datatype) {
                None => {
                    let known = list(catalogue.datatypes().map(|d| d.rev().to_string()));
                    self.add(
                        at,
                        format!(
                            "« {} » n'est pas au catalogue ; il y a : {known}",
                            covered.datatype
                        ),
                    );
                }
                Some(datatype) => self.datatype(&at, habilitation, demarche, (datatype, n), now),
            }
        }
    }

    fn datatype(
        &mut self,
        at: &str,
        habilitation: &Habilitation,
        demarche: Option<&Demarche>,
        (datatype, n): (&Datatype, usize),
        now: Micros,
    ) {
        let (rev, sheet) = (datatype.rev(), datatype.sheet());
        if !sheet.in_use(now) {
            self.add(
                at,
                format!(
                    "« {rev} » n'est plus servi depuis le {}",
                    sheet.sunset.as_deref().unwrap_or("–")
                ),
            );
        }
        if *datatype.operator() != habilitation.producer {
            self.add(
                "producer",
                format!(
                    "« {rev} » est servi par {}, pas par {}",
                    datatype.operator(),
                    habilitation.producer
                ),
            );
        }
        let units = &habilitation.datatypes[n].units;
        if units.is_empty() {
            self.add(format!("{at}.units"), "aucune information n'est demandée");
        }
        for unit in units.iter().filter(|unit| datatype.unit(unit).is_none()) {
            let known = list(sheet.units.iter().map(|u| u.name.to_string()));
            self.add(
                format!("{at}.units"),
                format!("« {rev} » n'a pas « {unit} » ; il a : {known}"),
            );
        }
        let Some(demarche) = demarche else { return };
        let Some(datum) = demarche.datum(rev) else {
            self.add(
                at,
                format!("la démarche « {} » ne demande pas « {rev} »", demarche.id),
            );
            return;
        };
        let allowed = |unit: &&UnitName| datum.fixed.contains(unit) || datum.free.contains(unit);
        for unit in units
            .iter()
            .filter(|unit| datatype.unit(unit).is_some() && !allowed(unit))
        {
            self.add(
                format!("{at}.units"),
                format!(
                    "la démarche « {} » ne demande pas « {unit} » de « {rev} »",
                    demarche.id
                ),
            );
        }
        for unit in datum.fixed.iter().filter(|unit| !units.contains(unit)) {
            self.add(
                format!("{at}.units"),
                format!(
                    "la démarche « {} » demande toujours « {unit} », qui manque : rien ne passerait",
                    demarche.id
                ),
            );
        }
        let lawful =
            |basis: &&LegalBasis| sheet.legal_bases.contains(basis) && demarche.legal_bases.contains(basis);
        for basis in habilitation.legal_bases.iter().filter(|basis| !lawful(basis)) {
            let possible = sheet.legal_bases.iter().filter(lawful).map(ToString::to_string);
            self.add(
                "legal_bases",
                format!(
                    "« {basis} » ne permet pas de demander « {rev} » pour « {} » ; possible : {}",
                    demarche.id,
                    list(possible)
                ),
            );
        }
    }

    fn participants(&mut self, habilitation: &Habilitation, catalogue: &Catalogue, directory: &Directory) {
        let parties = [
            ("consumer", Some(habilitation.consumer)),
            ("producer", Some(habilitation.producer)),
            ("publisher", habilitation.publisher),
        ];
        let authority = directory.authority().participant;
        if habilitation.authority != authority {
            self.add(
                "authority",
                format!(
                    "l'autorité de cet annuaire est {authority}, pas {}",
                    habilitation.authority
                ),
            );
        }
        for (member, id) in parties {
            if let Some(id) = id.filter(|id| directory.participant(id).is_none()) {
                self.add(member, format!("{id} n'est pas dans l'annuaire"));
            }
        }
        if let Some(publisher) = habilitation.publisher
            && !directory.acts_for(&publisher, &habilitation.consumer)
        {
            self.add(
                "publisher",
                "le demandeur ne l'a pas pour éditeur dans l'annuaire",
            );
        }
        let Some(row) = directory.participant(&habilitation.consumer) else {
            return;
        };
        let demarche = catalogue.demarche(&habilitation.demarche);
        if demarche.is_some_and(|demarche| !demarche.participants.contains(&row.kind)) {
            self.add(
                "consumer",
                "un organisme de cette sorte ne mène pas cette démarche",
            );
        }
        if row.kind == ParticipantKind::Prive
            && habilitation
                .legal_bases
                .iter()
                .any(|basis| *basis != LegalBasis::Consent)
        {
            self.add(
                "legal_bases",
                "un organisme privé n'obtient rien sans consentement (RGPD-6-1-a)",
            );
        }
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    match names.is_empty() {
        true => "rien".to_owned(),
        false => names.join(", "),
    }
}
