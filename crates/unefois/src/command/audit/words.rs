//! What entries say, in French, with the names of the directory and the catalogue.

use unefois_core::catalogue::UnitSet;
use unefois_core::{
    Acr, Capacity, DatatypeRev, DemarcheId, Entry, Event, HolderId, LegalBasis, Micros, Outcome,
    ParticipantId,
};
use unefois_mesh::Edition;

/// The words of one edition of the directory and its catalogue.
#[derive(Clone, Copy)]
pub struct Words<'a>(pub &'a Edition);

impl Words<'_> {
    /// A participant's name; its SIRET where the directory does not list it.
    pub fn participant(&self, id: &ParticipantId) -> String {
        let row = self.0.directory.participant(id);
        row.map_or_else(|| id.siret().to_string(), |row| row.name.fr.clone())
    }

    /// A datatype's name.
    pub fn datatype(&self, rev: &DatatypeRev) -> String {
        let known = self.0.catalogue.datatype(rev);
        known.map_or_else(|| rev.to_string(), |datatype| datatype.sheet().label.fr.clone())
    }

    /// A démarche's name.
    pub fn demarche(&self, id: &DemarcheId) -> String {
        let known = self.0.catalogue.demarche(id);
        known.map_or_else(|| id.to_string(), |demarche| demarche.label.fr.clone())
    }

    /// A holder's name.
    pub fn holder(&self, id: &HolderId) -> String {
        let known = self.0.catalogue.producer(id);
        known.map_or_else(|| id.to_string(), |holder| holder.label.fr.clone())
    }

    /// The units of an entry, by the names that the catalogue gives them; a unit that it does not know by its number.
    pub fn units(&self, entry: &Entry) -> Vec<String> {
        let known = entry
            .datatype
            .as_ref()
            .and_then(|rev| self.0.catalogue.datatype(rev));
        let name = |n: usize| {
            let unit = known.and_then(|datatype| datatype.sheet().units.get(n));
            unit.map_or_else(|| format!("n° {n}"), |unit| unit.name.to_string())
        };
        UnitSet::from_bits(entry.units).iter().map(name).collect()
    }

    /// One entry on one line: when, what, who of whom, which data, for what, how it ended.
    pub fn line(&self, index: u64, entry: &Entry, acknowledged: bool) -> String {
        let mut line = format!("{index:>9}  {}  {:<20}", instant(entry.at), event(entry.event));
        if let (Some(requester), Some(provider)) = (&entry.requester, &entry.provider) {
            line += &format!(
                "  {} ← {}",
                self.participant(requester),
                self.participant(provider)
            );
        }
        if let Some(datatype) = &entry.datatype {
            let units = self.units(entry).join(", ");
            line += &format!("  {} ({units})", self.datatype(datatype));
        }
        if let Some(demarche) = &entry.demarche {
            line += &format!("  {}", self.demarche(demarche));
        }
        if let Some(reason) = entry.reason {
            line += &format!("  {reason}");
        }
        if acknowledged {
            line += "  réception confirmée*";
        }
        line
    }
}

/// An instant to the second, in UTC.
pub fn instant(at: Micros) -> String {
    let text = at.to_rfc3339();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// What happened.
pub const fn event(event: Event) -> &'static str {
    match event {
        Event::Released => "transmis",
        Event::ReleasedAgain => "transmis à nouveau",
        Event::Withheld => "retenu",
        Event::Deferred => "différé",
        Event::Refused => "refusé",
        Event::Received => "reçu",
        Event::Unanswered => "sans réponse",
        Event::Granted => "accordé",
        Event::Declined => "décliné",
        Event::Mandated => "mandat",
        Event::Opposed => "opposition",
        Event::Narrowed => "restreint",
        Event::Minted => "jeton émis",
        Event::Withdrawn => "retrait enregistré",
        Event::Effective => "retrait effectif",
        Event::Lapsed => "bail échu",
        Event::Resumed => "bail repris",
        Event::Admin => "administration",
        Event::Queried => "consultation",
        Event::Reported => "signalement",
        Event::Erased => "effacement",
        Event::Tally => "décompte",
        Event::Closed => "clôture",
    }
}

/// How it ended.
pub const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "répondu (un document, ou une absence certifiée)",
        Outcome::Later => "rien encore ; la même demande peut aboutir plus tard",
        Outcome::Refused => "refusé",
    }
}

/// In what capacity the person stands behind it.
pub const fn capacity(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::SelfPerson => "la personne pour elle-même",
        Capacity::Child => "un parent pour son enfant",
        Capacity::Entity => "un représentant pour une entreprise ou une association",
        Capacity::Helper => "un aidant avec mandat",
        Capacity::Agent => "un agent, avec un motif",
        Capacity::Automatic => "personne : échange automatique",
    }
}

/// How sure the person's identity was.
pub const fn acr(acr: Acr) -> &'static str {
    match acr {
        Acr::Eidas1 => "faible (eidas1)",
        Acr::Eidas2 => "substantiel (eidas2)",
        Acr::Eidas3 => "élevé (eidas3)",
    }
}

/// On which legal ground.
pub fn legal_basis(basis: &LegalBasis) -> String {
    match basis {
        LegalBasis::Request => "traitement d'une demande (CRPA, L. 114-8, I)".to_owned(),
        LegalBasis::Proactive => "information proactive (CRPA, L. 114-8, II)".to_owned(),
        LegalBasis::Consent => "consentement (RGPD, art. 6, 1, a)".to_owned(),
        LegalBasis::Text(id) => format!("texte particulier : {id}"),
    }
}
