use unefois_core::Micros;

use super::{
    Duration, EffectProof, Lang, LegalGround, OnBehalf, Organisation, Progress, Publisher, Term, page,
};

/// Mes autorisations.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// « En cours ».
    pub current: Vec<GrantCard>,
    /// « Terminées ».
    pub ended: Vec<GrantCard>,
    /// « Arrêtées ».
    pub stopped: Vec<GrantCard>,
    /// How many of them were lately asked for with the person absent, by an officer or automatically.
    pub unasked: usize,
    /// Whether these are those of one mandate alone.
    pub by_mandate: bool,
}

/// One grant in the list.
#[derive(Clone, Debug)]
pub struct GrantCard {
    /// The asker's name.
    pub asker: String,
    /// Who runs the asker's software, where it is another.
    pub publisher: Option<Publisher>,
    /// The démarche, in words.
    pub demarche: String,
    /// The file's reference.
    pub dossier: String,
    /// What may be fetched, in words: « Quotient familial (CAF ou MSA) ».
    pub what: Vec<String>,
    /// Once, or until when.
    pub duration: Duration,
    /// Where it stands.
    pub state: GrantState,
    /// By whom it was asked for.
    pub on_behalf: OnBehalf,
    /// How many exchanges there were.
    pub exchanges: u32,
    /// Détail.
    pub href: String,
    /// Retrait; `None` where nothing is left to stop.
    pub stop: Option<String>,
    /// Whether the person is to be reminded of a consent given long ago.
    pub reminder: bool,
}

/// Where a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// It may serve.
    Current,
    /// It has served, or its time has passed.
    Ended {
        /// Since when.
        at: Micros,
    },
    /// Nothing of it stands any more.
    Withdrawn {
        /// Who ended it.
        by: Ender,
        /// When the withdrawal was recorded.
        at: Micros,
        /// Since when it is proved to hold everywhere; `None` while it is under way.
        effective_at: Option<Micros>,
    },
}

impl GrantState {
    /// How it ended, where the person did nothing.
    const fn why(self, lang: Lang) -> Option<&'static str> {
        match self {
            Self::Withdrawn { by, .. } => by.why(lang),
            Self::Current | Self::Ended { .. } => None,
        }
    }
}

/// Who ended a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ender {
    /// The person stopped it.
    Person,
    /// Whoever gave the mandate that it rested on stopped it, or another who answers for the same company.
    Mandator,
    /// The mandate that it rested on ended.
    Mandate,
    /// The asker gave it back.
    Asker,
    /// The authority, since a code of it was used twice: it may have been stolen.
    Security,
    /// The authority, since it could not be recorded; nobody could use it.
    Unrecorded,
}

impl Ender {
    /// « Arrêtée ».
    const fn tag(self, lang: Lang) -> &'static str {
        match self {
            Self::Person => lang.t("Arrêtée", "Stopped"),
            Self::Mandator => lang.t(
                "Arrêtée par qui a donné le mandat",
                "Stopped by whoever gave the mandate",
            ),
            Self::Mandate => lang.t("Arrêtée avec le mandat", "Stopped with the mandate"),
            Self::Asker => lang.t("Rendue", "Given back"),
            Self::Security => lang.t("Arrêtée par sécurité", "Stopped for security"),
            Self::Unrecorded => lang.t("Annulée", "Cancelled"),
        }
    }

    /// What happened, where the person did nothing.
    const fn why(self, lang: Lang) -> Option<&'static str> {
        match self {
            Self::Person => None,
            Self::Mandator => Some(lang.t(
                "Elle avait été donnée par un mandat : la personne qui l’a donné, ou qui dirige l’entreprise, l’a arrêtée.",
                "It had been given by a mandate: whoever gave that, or runs the company, stopped it.",
            )),
            Self::Mandate => Some(lang.t(
                "Elle avait été donnée par un mandat, qui a été arrêté.",
                "It had been given by a mandate, which was ended.",
            )),
            Self::Asker => Some(lang.t(
                "L’administration l’a rendue.",
                "The administration gave it back.",
            )),
            Self::Security => Some(lang.t(
                "Le code qui y donne accès a été présenté deux fois : il a pu être volé. Nous l’avons arrêtée, vous n’avez \
                 rien à faire.",
                "The code that gives access to it was presented twice: it may have been stolen. We stopped it; you need not \
                 do anything.",
            )),
            Self::Unrecorded => Some(lang.t(
                "Elle n’a pas pu être enregistrée : personne n’a pu s’en servir.",
                "It could not be recorded: nobody could use it.",
            )),
        }
    }
}

/// Détail of one grant.
#[derive(Clone, Debug)]
pub struct GrantDetail {
    /// Who may fetch.
    pub asker: Organisation,
    /// Who runs the asker's software, where it is another.
    pub publisher: Option<Publisher>,
    /// The démarche, in words.
    pub demarche: String,
    /// The file's reference.
    pub dossier: String,
    /// When the person chose, or somebody else asked.
    pub granted_at: Micros,
    /// By whom it was asked for.
    pub on_behalf: OnBehalf,
    /// Where it stands.
    pub state: GrantState,
    /// What, source by source.
    pub parts: Vec<GrantPart>,
    /// How long.
    pub terms: Vec<Term>,
    /// On what ground.
    pub ground: LegalGround,
    /// How to reach the asker's data protection officer.
    pub dpo: String,
    /// The exchanges under this grant.
    pub exchanges: u32,
    /// Historique, filtered on this grant.
    pub history: String,
    /// Limiter; `None` where nothing in force is optional or could end earlier.
    pub narrow: Option<String>,
    /// Retrait; `None` where nothing is left to stop.
    pub stop: Option<String>,
    /// Since when nothing that the person took out can be sent, as is proved.
    pub limited_at: Option<Micros>,
    /// Where a withdrawal, of a part too, stands that is under way.
    pub progress: Option<Progress>,
    /// What shows that a withdrawal has taken effect.
    pub proof: Option<EffectProof>,
    /// Where the signed receipt is taken.
    pub receipt: String,
}

/// Limiter: what may be left out, and until when the rest may be fetched.
#[derive(Clone, Debug)]
pub struct Narrow {
    /// Where the form posts.
    pub action: String,
    /// Détail, for « Annuler ».
    pub cancel: String,
    /// The asker's name.
    pub asker: String,
    /// The démarche, in words.
    pub demarche: String,
    /// The file's reference.
    pub dossier: String,
    /// What is in force, source by source; never empty.
    pub parts: Vec<NarrowPart>,
    /// The end; `None` where it cannot be earlier.
    pub end: Option<NarrowEnd>,
    /// What was not done of the choice posted, because the grant had changed since the form was shown.
    pub missed: Option<Missed>,
}

/// How much of a choice was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing was done.
    All,
    /// Some parts were limited, others not.
    Some,
}

/// The end of a grant, which may be earlier.
#[derive(Clone, Debug)]
pub struct NarrowEnd {
    /// Now: no day before may be chosen.
    pub now: Micros,
    /// The end as it is: no day after may be chosen.
    pub end: Micros,
    /// What the field holds.
    pub value: String,
    /// What is wrong with it.
    pub error: Option<EndError>,
}

/// Why a day is no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndError {
    /// It is no day.
    NotADay,
    /// It is over.
    Past,
    /// The grant ends before it.
    Later,
}

impl NarrowEnd {
    fn first(&self) -> String {
        super::paris::iso_day(self.now)
    }

    fn last(&self) -> String {
        super::paris::iso_day(self.end)
    }

    /// What to do about an error.
    fn error_text(&self, error: &EndError, lang: Lang) -> String {
        match error {
            EndError::NotADay => lang
                .t(
                    "Écrivez un jour : jour, mois, année. Exemple : 31/12/2026.",
                    "Enter a day: day, month, year. Example: 31/12/2026.",
                )
                .to_owned(),
            EndError::Past => lang
                .t(
                    "Ce jour est passé. Choisissez aujourd’hui ou un jour à venir.",
                    "This day is over. Choose today or a day to come.",
                )
                .to_owned(),
            EndError::Later => {
                let last = lang.short_day(&self.end);
                match lang {
                    Lang::Fr => {
                        format!("L’autorisation se termine le {last} : choisissez ce jour ou un jour avant.")
                    }
                    Lang::En => format!("The authorisation ends on {last}: choose this day or one before."),
                }
            }
        }
    }
}

/// What is in force at one source.
#[derive(Clone, Debug)]
pub struct NarrowPart {
    /// Names the part in the form, whatever was narrowed in another tab.
    pub field: String,
    /// The source's name.
    pub source: String,
    /// The justificatif.
    pub label: String,
    /// Its units.
    pub units: Vec<NarrowUnit>,
}

/// One unit that is in force.
#[derive(Clone, Debug)]
pub struct NarrowUnit {
    /// The name of its checkbox.
    pub field: String,
    /// In words.
    pub label: String,
    /// Whether the démarche needs it; an optional one has a checkbox.
    pub required: bool,
    /// Whether the checkbox is ticked.
    pub ticked: bool,
}

/// What a grant allows at one source.
#[derive(Clone, Debug)]
pub struct GrantPart {
    /// The source's name.
    pub source: String,
    /// The justificatif.
    pub label: String,
    /// The units granted, in words; none where all were taken out.
    pub units: Vec<String>,
    /// The optional units that the person left out.
    pub left_out: Vec<String>,
    /// Those that the person had granted and has taken out.
    pub taken_out: Vec<String>,
}

/// Retrait: the question.
#[derive(Clone, Debug)]
pub struct Withdraw {
    /// Where the form posts.
    pub action: String,
    /// Détail, for « Annuler ».
    pub cancel: String,
    /// The asker's name.
    pub asker: String,
    /// What would no longer be fetched: « votre quotient familial »; never empty.
    pub what: Vec<String>,
    /// The démarche, in words.
    pub demarche: String,
    /// The file's reference.
    pub dossier: String,
    /// Whether nothing was fetched yet, as every administration concerned has answered.
    pub nothing_sent: bool,
    /// How to reach the asker's data protection officer.
    pub dpo: String,
}

/// Retrait: recorded, then effective once that is proved.
#[derive(Clone, Debug)]
pub struct Withdrawn {
    /// The asker's name.
    pub asker: String,
    /// What is no longer fetched.
    pub what: Vec<String>,
    /// Where the withdrawal stands.
    pub progress: Progress,
    /// How to reach the asker's data protection officer.
    pub dpo: String,
    /// Détail, with the proof.
    pub grant: String,
    /// Historique, filtered on this grant.
    pub history: String,
}

impl Narrow {
    fn error(&self) -> Option<(&NarrowEnd, &EndError)> {
        let end = self.end.as_ref()?;
        Some((end, end.error.as_ref()?))
    }

    fn has_optional(&self) -> bool {
        self.parts
            .iter()
            .flat_map(|part| &part.units)
            .any(|unit| !unit.required)
    }
}

impl Grants {
    fn is_empty(&self) -> bool {
        self.current.is_empty() && self.ended.is_empty() && self.stopped.is_empty()
    }

    fn groups(&self) -> [(&'static str, &'static str, &'static str, &[GrantCard]); 3] {
        [
            ("en-cours", "En cours", "In force", &self.current),
            ("terminees", "Terminées", "Ended", &self.ended),
            ("arretees", "Arrêtées", "Stopped", &self.stopped),
        ]
    }
}

page!(Grants, "grants.html", Grants);
page!(GrantDetail, "grant.html", Grants);
page!(Narrow, "narrow.html", Grants);
page!(Withdraw, "withdraw.html", Grants);
page!(Withdrawn, "withdrawn.html", Grants);
