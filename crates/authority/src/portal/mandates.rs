use unefois_core::{BirthDate, Micros};

use super::{Choice, Lang, page, paris, typography};

/// Mandats: what somebody lets others do, and what others let them do.
#[derive(Clone, Debug, Default)]
pub struct Mandates {
    /// The link of the mandate that was just given, shown this once.
    pub invitation: Option<String>,
    /// What the reader let others do, newest first.
    pub given: Vec<MandateCard>,
    /// What others let the reader do, newest first.
    pub held: Vec<MandateCard>,
    /// Where the reader may give one.
    pub form: Option<MandateForm>,
    /// Where an officer has to be certified first, to give one for the company.
    pub certify: Option<String>,
}

/// One mandate.
#[derive(Clone, Debug)]
pub struct MandateCard {
    /// Who gave it; `None` for whoever has its link alone.
    pub by: Option<String>,
    /// Who took it up.
    pub to: Option<String>,
    /// Who asks to act by it, for its giver to accept.
    pub taker: Option<MandateTaker>,
    /// Where that is accepted.
    pub accept: Option<String>,
    /// For whom: « l’entreprise de SIREN 552 100 554 », a person's name.
    pub principal: String,
    /// For what, in words.
    pub perimeter: Vec<String>,
    /// When it ends by itself.
    pub until: Micros,
    /// Where it stands.
    pub state: MandateState,
    /// What was granted by it; `None` where nothing was.
    pub granted: Option<MandateGrants>,
    /// Where it is ended, as long as it can be.
    pub end: Option<String>,
}

impl MandateCard {
    fn title(&self) -> String {
        typography::capitalised(&self.principal)
    }

    /// Its last day, as long as that is still to come about.
    fn ends(&self) -> bool {
        !matches!(self.state, MandateState::Ended { .. } | MandateState::Expired)
    }

    fn end_label(&self, lang: Lang) -> &'static str {
        match (&self.taker, self.state) {
            (Some(_), _) => lang.t("Refuser", "Refuse"),
            (None, MandateState::Waiting { .. }) => lang.t("Annuler ce mandat", "Cancel this mandate"),
            (None, _) => lang.t("Arrêter ce mandat", "End this mandate"),
        }
    }
}

/// Whoever took a mandate up, as its giver has to recognise them.
#[derive(Clone, Debug)]
pub struct MandateTaker {
    /// All first names and the birth name.
    pub name: String,
    /// As much of the birth date as is known.
    pub birthdate: BirthDate,
    /// The identity provider's name.
    pub provider: String,
    /// Whether the identity was checked beyond the lowest level.
    pub surely: bool,
}

impl MandateTaker {
    fn words(&self, lang: Lang) -> String {
        let born = paris::birth_day(self.birthdate, lang);
        let surely = match self.surely {
            true => lang.t("identité vérifiée", "identity checked"),
            false => lang.t("identité déclarée", "identity stated"),
        };
        match lang {
            Lang::Fr => format!("Né·e le {born}, {surely} par {}", self.provider),
            Lang::En => format!("Born {born}, {surely} by {}", self.provider),
        }
    }
}

/// What rests, or rested, on a mandate.
#[derive(Clone, Debug)]
pub struct MandateGrants {
    /// How many grants there were.
    pub all: usize,
    /// How many of them are in force.
    pub current: usize,
    /// Where they are seen and stopped.
    pub href: String,
}

impl MandateGrants {
    fn words(&self, lang: Lang) -> String {
        match (lang, self.all, self.current) {
            (Lang::Fr, 1, 0) => "1 autorisation donnée ainsi, terminée".to_owned(),
            (Lang::Fr, 1, _) => "1 autorisation donnée ainsi, en cours".to_owned(),
            (Lang::Fr, all, current) => format!("{all} autorisations données ainsi, dont {current} en cours"),
            (Lang::En, 1, 0) => "1 authorisation given by it, over".to_owned(),
            (Lang::En, 1, _) => "1 authorisation given by it, in force".to_owned(),
            (Lang::En, all, current) => {
                format!("{all} authorisations given by it, {current} of them in force")
            }
        }
    }
}

/// Where a mandate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MandateState {
    /// Nobody has taken it up.
    Waiting {
        /// Until when somebody may.
        until: Micros,
    },
    /// Somebody has taken it up, and its giver has not accepted them.
    Asked {
        /// Until when that may be done.
        until: Micros,
    },
    /// It was accepted, and the ledger does not hold that yet.
    Recording,
    /// It is in force.
    Current,
    /// Either side ended it.
    Ended {
        /// When.
        at: Micros,
    },
    /// Its time is over, or nobody took it up in time.
    Expired,
    /// The officer who gave it is certified no more.
    Unsupported,
    /// What it says cannot be read, so that nobody acts by it.
    Sealed {
        /// When it was given.
        since: Micros,
    },
}

impl MandateState {
    fn words(self, lang: Lang) -> String {
        match (self, lang) {
            (Self::Waiting { until }, Lang::Fr) => format!("Pas encore accepté : le lien vaut jusqu’au {}.", lang.day(&until)),
            (Self::Waiting { until }, Lang::En) => format!("Not taken up yet: the link is good until {}.", lang.day(&until)),
            (Self::Asked { until }, Lang::Fr) => {
                format!("En attente, jusqu’au {}, de l’accord de qui donne le mandat : il ne permet rien encore.", lang.day(&until))
            }
            (Self::Asked { until }, Lang::En) => {
                format!("Waiting until {} for whoever gives the mandate to agree: it allows nothing yet.", lang.day(&until))
            }
            (Self::Recording, _) => lang
                .t("En cours d’enregistrement : il ne permet rien encore.", "Being recorded: it allows nothing yet.")
                .to_owned(),
            (Self::Current, _) => lang.t("En cours.", "In force.").to_owned(),
            (Self::Ended { at }, Lang::Fr) => format!("Arrêté le {}.", lang.day(&at)),
            (Self::Ended { at }, Lang::En) => format!("Ended on {}.", lang.day(&at)),
            (Self::Expired, _) => lang.t("Expiré.", "Expired.").to_owned(),
            (Self::Unsupported, _) => lang
                .t(
                    "Suspendu : la personne qui l’a donné n’est plus reconnue comme dirigeante de l’entreprise.",
                    "Suspended: whoever gave it is not recognised as the company’s officer any more.",
                )
                .to_owned(),
            (Self::Sealed { since }, Lang::Fr) => format!(
                "Donné le {}. Son contenu ne peut pas être lu pour l’instant : il ne permet rien. Vous pouvez l’arrêter.",
                lang.day(&since)
            ),
            (Self::Sealed { since }, Lang::En) => format!(
                "Given on {}. What it says cannot be read for now: it allows nothing. You can end it.",
                lang.day(&since)
            ),
        }
    }
}

/// The form that gives a mandate; it posts `csrf`, one `1` under each [`Choice::value`] ticked, and `fin`.
#[derive(Clone, Debug)]
pub struct MandateForm {
    /// For whom.
    pub principal: String,
    /// Whether that is a company.
    pub company: bool,
    /// For what it may be given.
    pub choices: Vec<Choice>,
    /// The last day, `YYYY-MM-DD`.
    pub until: String,
    /// The first and the last day that may be chosen.
    pub days: (String, String),
    /// What was wrong with the form as posted.
    pub errors: Vec<MandateError>,
}

/// What may be wrong with the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MandateError {
    /// Nothing is ticked.
    Perimeter,
    /// Not a day, or not one within the year to come.
    Until,
}

impl MandateError {
    /// The id of the field at fault.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Perimeter => "perimetre",
            Self::Until => "fin",
        }
    }

    /// What to do about it.
    pub const fn text(self, lang: Lang) -> &'static str {
        match self {
            Self::Perimeter => lang.t("Cochez au moins une démarche.", "Tick at least one matter."),
            Self::Until => lang.t(
                "Choisissez le dernier jour du mandat, au plus tard dans un an.",
                "Choose the last day of the mandate, a year from now at the latest.",
            ),
        }
    }
}

impl MandateForm {
    fn error(&self, error: &MandateError) -> bool {
        self.errors.contains(error)
    }
}

/// An invitation to act by a mandate, before it is taken up: who gives it is told once they have accepted who took it up.
#[derive(Clone, Debug)]
pub struct MandateInvitation {
    /// Whether it is for a company, or for a person.
    pub company: bool,
    /// Whether the reader gave it themselves.
    pub own: bool,
    /// For what.
    pub perimeter: Vec<String>,
    /// Until when.
    pub until: Micros,
    /// Which invitation it is.
    pub shown: String,
}

page!(Mandates, "mandates.html", Mandates);
page!(MandateInvitation, "mandate_invitation.html", Task);
