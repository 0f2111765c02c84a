use unefois_core::Siren;

use super::{LegalGround, Term, page};

/// Demande: the page on which a person decides, for one or several producers at once.
///
/// The form posts `csrf`, [`field::CHOICE`] (`recuperer` or `fournir`), one `1` under [`Unit::field`] for each
/// optional unit ticked, [`field::CONSENT`] where the ground is consent, and the [`ChildForm`]'s fields.
#[derive(Clone, Debug)]
pub struct Demande {
    /// Where the form posts.
    pub action: String,
    /// Where « Ce n’est pas vous ? » posts: it ends the session and asks for another login to the same request.
    pub other_person: String,
    /// Who asks, from the directory, never from the request.
    pub asker: Organisation,
    /// Who hosts the asker's software, where somebody else than the asker holds the connection.
    pub publisher: Option<Publisher>,
    /// The démarche, in words.
    pub demarche: String,
    /// The file's reference.
    pub dossier: String,
    /// What is asked, by where it comes from; never empty.
    pub sources: Vec<Source>,
    /// How long; one for all, or one a datum.
    pub terms: Vec<Term>,
    /// On what ground.
    pub ground: LegalGround,
    /// How to reach the asker's data protection officer.
    pub dpo: String,
    /// For whom the person answers, where not for themselves.
    pub acting: Option<Acting>,
    /// The child's identity, where the data are about a child.
    pub child: Option<ChildForm>,
    /// What was wrong with the form as posted; empty at first.
    pub errors: Vec<FormError>,
}

/// For whom somebody answers, where not for themselves.
#[derive(Clone, Debug)]
pub struct Acting {
    /// « l’entreprise de SIREN 552 100 554 », or a person's name.
    pub principal: String,
    /// Who gave the mandate and when it ends; `None` for whoever runs the company.
    pub mandate: Option<(String, unefois_core::Micros)>,
}

/// An administration or other body, from the directory.
#[derive(Clone, Debug)]
pub struct Organisation {
    /// Its name without article: « Mairie de Clamart ».
    pub name: String,
    /// Its number.
    pub siren: Siren,
    /// Its card on the portal.
    pub card: Option<String>,
}

/// Who runs the asker's software.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Its name, from the directory.
    pub name: String,
}

/// One source and what comes from it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name: « Caisse nationale des allocations familiales ».
    pub name: String,
    /// The bodies for which it answers, where they hold the data: « CAF et MSA ».
    pub holders: Option<String>,
    /// The justificatifs; never empty.
    pub datatypes: Vec<Datatype>,
}

/// One justificatif at one source.
#[derive(Clone, Debug)]
pub struct Datatype {
    /// « Quotient familial (CAF ou MSA) ».
    pub label: String,
    /// The period, in words: « octobre 2026 », « année scolaire 2026-2027 ».
    pub period: Option<String>,
    /// What is asked of it; never empty.
    pub units: Vec<Unit>,
    /// What the source knows and does not send: « adresse », « date de naissance ».
    pub not_sent: Vec<String>,
    /// What is shown to the source to prove that the child is the person's: « la composition de votre foyer ».
    pub link: Option<String>,
}

/// One grant unit, in words.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The name of its checkbox.
    pub field: String,
    /// « Votre quotient familial ».
    pub label: String,
    /// « montant, mois de calcul ».
    pub details: Option<String>,
    /// Whose data leaves with it beside the person's: « vos enfants ».
    pub also_about: Option<String>,
    /// Whether the démarche needs it; an optional one has a checkbox.
    pub required: bool,
    /// Whether the box is ticked: only when the person ticked it and the form comes back.
    pub ticked: bool,
}

/// The child's identity, typed here and never passed to the asker.
#[derive(Clone, Debug, Default)]
pub struct ChildForm {
    /// Birth name.
    pub birth_name: String,
    /// Given names, in the order of the civil register.
    pub given_names: String,
    /// `female`, `male` or empty.
    pub gender: String,
    /// Day of birth.
    pub day: String,
    /// Month of birth.
    pub month: String,
    /// Year of birth.
    pub year: String,
}

/// The names of the form's fields.
pub mod field {
    /// The button that was pressed.
    pub const CHOICE: &str = "choix";
    /// The value of « Récupérer pour moi » and « Je consens ».
    pub const FETCH: &str = "recuperer";
    /// The value of « Je fournirai la pièce moi-même » and « Je refuse ».
    pub const PROVIDE: &str = "fournir";
    /// The box « Je consens ».
    pub const CONSENT: &str = "accord";
    /// [`super::ChildForm::birth_name`].
    pub const CHILD_NAME: &str = "enfant_nom";
    /// [`super::ChildForm::given_names`].
    pub const CHILD_GIVEN_NAMES: &str = "enfant_prenoms";
    /// [`super::ChildForm::gender`].
    pub const CHILD_GENDER: &str = "enfant_sexe";
    /// [`super::ChildForm::day`].
    pub const CHILD_DAY: &str = "enfant_jour";
    /// [`super::ChildForm::month`].
    pub const CHILD_MONTH: &str = "enfant_mois";
    /// [`super::ChildForm::year`].
    pub const CHILD_YEAR: &str = "enfant_annee";
}

/// What may be wrong with the form; each is said at its field and in the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// « Je consens » was pressed with its box unticked.
    Consent,
    /// No birth name of the child.
    ChildName,
    /// A birth name longer than is read.
    ChildNameLong,
    /// No given name of the child.
    ChildGivenNames,
    /// Given names longer, or more of them, than are read.
    ChildGivenNamesLong,
    /// No sex of the child.
    ChildGender,
    /// Not a date, or one that has not come.
    ChildBirthDate,
    /// The child is of age.
    ChildOfAge,
    /// Not the child of the file.
    ChildMismatch,
}

impl FormError {
    /// The id of the field at fault.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Consent => field::CONSENT,
            Self::ChildName | Self::ChildNameLong | Self::ChildMismatch => field::CHILD_NAME,
            Self::ChildGivenNames | Self::ChildGivenNamesLong => field::CHILD_GIVEN_NAMES,
            Self::ChildGender => field::CHILD_GENDER,
            Self::ChildBirthDate | Self::ChildOfAge => field::CHILD_DAY,
        }
    }

    /// What to do about it.
    pub const fn text(self, lang: super::Lang) -> &'static str {
        match self {
            Self::Consent => lang.t(
                "Cochez la case « Je consens », ou choisissez « Je refuse ».",
                "Tick the box “I consent”, or choose “I refuse”.",
            ),
            Self::ChildName => lang.t(
                "Écrivez le nom de naissance de l’enfant.",
                "Enter the child’s birth name.",
            ),
            Self::ChildNameLong => lang.t(
                "Le nom de naissance de l’enfant tient en 100 caractères au plus : rien n’a été coupé, raccourcissez-le.",
                "The child’s birth name has 100 characters at most: nothing was cut, shorten it.",
            ),
            Self::ChildGivenNamesLong => lang.t(
                "Les prénoms de l’enfant tiennent en 100 caractères et 20 prénoms au plus : rien n’a été coupé, écrivez les premiers.",
                "The child’s given names have 100 characters and are 20 at most: nothing was cut, enter the first ones.",
            ),
            Self::ChildGivenNames => lang.t(
                "Écrivez le ou les prénoms de l’enfant.",
                "Enter the child’s given name or names.",
            ),
            Self::ChildGender => lang.t(
                "Indiquez le sexe de l’enfant, tel qu’il figure à l’état civil.",
                "Choose the child’s sex as in the civil register.",
            ),
            Self::ChildBirthDate => lang.t(
                "Écrivez la date de naissance de l’enfant : jour, mois, année. Exemple : 7, 3, 2019.",
                "Enter the child’s date of birth: day, month, year. Example: 7, 3, 2019.",
            ),
            Self::ChildOfAge => lang.t(
                "À 18 ans, c’est la personne elle-même qui répond à cette demande, avec sa propre identité.",
                "From the age of 18 the person answers this request, with an identity of their own.",
            ),
            Self::ChildMismatch => lang.t(
                "Ce n’est pas l’enfant du dossier. Vérifiez le nom de naissance, le premier prénom et la date de naissance.",
                "This is not the child of the file. Check the birth name, the first given name and the date of birth.",
            ),
        }
    }
}

fn units(sources: &[Source]) -> impl Iterator<Item = &Unit> {
    sources.iter().flat_map(|s| &s.datatypes).flat_map(|d| &d.units)
}

/// How many units of a request have a checkbox.
pub(super) fn optional(sources: &[Source]) -> usize {
    units(sources).filter(|unit| !unit.required).count()
}

impl Demande {
    fn count(&self) -> usize {
        units(&self.sources).count()
    }

    fn optional(&self) -> usize {
        optional(&self.sources)
    }

    fn error(&self, error: &FormError) -> bool {
        self.errors.contains(error)
    }
}

/// How a request ended, where the person does not go straight back to the asker's site.
#[derive(Clone, Debug)]
pub struct DemandeEnd {
    /// Who asked; `None` where the request cannot be found any more.
    pub asker: Option<String>,
    /// The way back to the asker's site.
    pub back: Option<String>,
    /// What happened.
    pub outcome: DemandeOutcome,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemandeOutcome {
    /// The person provides the paper, or refuses where the ground is consent.
    Declined {
        /// Whether the ground was consent.
        consent: bool,
    },
    /// It was answered already.
    Answered,
    /// Its time has passed, or it never was.
    Expired,
    /// The same, of what an officer asks in a person's place.
    AgentExpired,
    /// The identity is not the file's.
    Mismatch {
        /// How many tries remain for this file today.
        tries_left: u8,
    },
    /// The company that the officer runs is not that of the file.
    OtherCompany {
        /// How many tries remain for this file today.
        tries_left: u8,
    },
    /// No mandate lets the person answer for whom the file is about.
    NoMandate,
}

page!(Demande, "demande.html", Task);
page!(DemandeEnd, "demande_end.html", Task);
