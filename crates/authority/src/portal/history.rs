mod other;

pub use other::{Named, OtherKind, OtherRow};

use unefois_core::{Capacity, Micros, Month, Reason};

use super::{Lang, LegalGround, page, paris, typography};

/// Historique: every exchange about the person, assembled from both ends.
#[derive(Clone, Debug)]
pub struct History {
    /// The first instant shown.
    pub from: Micros,
    /// The instant at which the administrations were asked.
    pub until: Micros,
    /// How many administrations were asked.
    pub asked: usize,
    /// The names of those that did not answer: what they hold is missing below.
    pub silent: Vec<String>,
    /// The names of those that hold later entries than could be read: what follows is missing below.
    pub incomplete: Vec<String>,
    /// The names of those of which what may be a namesake's is missing below, or some of it.
    pub near_incomplete: Vec<String>,
    /// Whether namesakes may share an identity of the person's.
    pub shared: bool,
    /// How many of the person's identities could not be read.
    pub unread: usize,
    /// How many entries can no longer be attributed to anybody.
    pub erased: usize,
    /// Newest first.
    pub rows: Vec<HistoryRow>,
    /// What is, or may be, somebody else's, the newest day first.
    pub others: Vec<OtherRow>,
    /// Whether there are more of those than shown.
    pub more_others: bool,
    /// Counts by month over the whole period, newest first.
    pub months: Vec<MonthCount>,
    /// The filters as they stand.
    pub filters: Filters,
    /// The same rows as CSV.
    pub csv: String,
    /// The same rows as JSON.
    pub json: String,
    /// Older rows.
    pub older: Option<String>,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// A page-wide unique id, of ASCII letters, digits, `-` and `_`.
    pub id: String,
    /// When.
    pub at: Micros,
    /// The asker's name.
    pub asker: String,
    /// The source's name.
    pub source: String,
    /// The body whose data it is, where the source answered for another.
    pub holder: Option<String>,
    /// The units, in words.
    pub what: Vec<String>,
    /// The démarche, in words.
    pub demarche: String,
    /// The file's reference; `None` where it is somebody else's.
    pub dossier: Option<String>,
    /// On what ground.
    pub ground: LegalGround,
    /// For whom and by whom.
    pub on_behalf: OnBehalf,
    /// How it ended.
    pub result: ExchangeResult,
    /// The proof of the ledger (`.tlog-proof`).
    pub proof: Option<String>,
    /// The receipt as JSON.
    pub receipt: Option<String>,
    /// What to do about an exchange that the person does not recognise.
    pub report: String,
    /// Where the datum is corrected at its source.
    pub correct: Option<String>,
}

/// In what capacity the person stands behind an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnBehalf {
    /// « par vous ».
    Yourself,
    /// « pour votre enfant Emma ».
    Child {
        /// The first given name, where it is known.
        given_name: Option<String>,
    },
    /// « par Camille EXEMPLE pour l’entreprise … ».
    Entity {
        /// Its name.
        name: String,
        /// Who runs it, and answered.
        by: String,
    },
    /// « par votre aidant ».
    Helper,
    /// « par un agent (motif : …) ».
    Agent {
        /// The motive that the officer gave.
        motive: String,
    },
    /// « automatiquement ».
    Automatic,
    /// « pour l’entreprise …, par un mandat de … ».
    ByMandate {
        /// For whom.
        principal: String,
        /// Who gave the mandate.
        by: String,
        /// Who acted.
        to: String,
    },
    /// About the person, under a grant that is not of this account, in this capacity.
    AboutYou(Capacity),
}

/// How an exchange ended, as the ledgers of both ends tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeResult {
    /// Sent and received: a document or a certified absence, the authority does not know which.
    Answered,
    /// Sent; the asker has not said that it arrived.
    Unconfirmed,
    /// Nothing yet: a ticket was given, or the reason passes with time.
    Later(Option<Reason>),
    /// Refused for good.
    Refused(Reason),
    /// Stopped after the decision and before a byte left.
    Withheld,
    /// The time to fetch passed.
    Expired,
    /// The two ends do not tell the same.
    ToCheck,
}

/// The results that can be filtered on, each with its sign and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultKind {
    /// Réponse transmise.
    Answered,
    /// Réception non confirmée.
    Unconfirmed,
    /// Pas encore de réponse.
    Later,
    /// Refusé; nothing was sent.
    Refused,
    /// À vérifier.
    ToCheck,
}

impl ResultKind {
    /// Every kind, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Answered,
        Self::Unconfirmed,
        Self::Later,
        Self::Refused,
        Self::ToCheck,
    ];

    /// The value in the query, which is also the style's name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Answered => "transmis",
            Self::Unconfirmed => "non-confirme",
            Self::Later => "attente",
            Self::Refused => "refuse",
            Self::ToCheck => "a-verifier",
        }
    }

    /// The kind with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }

    /// In words.
    pub const fn words(self, lang: Lang) -> &'static str {
        match self {
            Self::Answered => lang.t("réponse transmise", "answer sent"),
            Self::Unconfirmed => lang.t("réception non confirmée", "receipt not confirmed"),
            Self::Later => lang.t("pas encore de réponse", "no answer yet"),
            Self::Refused => lang.t("refusé, rien n’a été transmis", "refused, nothing was sent"),
            Self::ToCheck => lang.t("à vérifier", "to be checked"),
        }
    }

    const fn column(self, lang: Lang) -> &'static str {
        match self {
            Self::Answered => lang.t("Transmises", "Sent"),
            Self::Unconfirmed => lang.t("Non confirmées", "Not confirmed"),
            Self::Later => lang.t("En attente", "Waiting"),
            Self::Refused => lang.t("Refusées", "Refused"),
            Self::ToCheck => lang.t("À vérifier", "To check"),
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Answered => "✓",
            Self::Unconfirmed => "○",
            Self::Later => "…",
            Self::Refused => "✕",
            Self::ToCheck => "≠",
        }
    }
}

impl ExchangeResult {
    /// Under which filter and count it falls.
    pub const fn kind(self) -> ResultKind {
        match self {
            Self::Answered => ResultKind::Answered,
            Self::Unconfirmed => ResultKind::Unconfirmed,
            Self::Later(_) => ResultKind::Later,
            Self::Refused(_) | Self::Withheld | Self::Expired => ResultKind::Refused,
            Self::ToCheck => ResultKind::ToCheck,
        }
    }

    /// In words.
    pub const fn words(self, lang: Lang) -> &'static str {
        match self {
            Self::Withheld => lang.t("arrêté avant l’envoi", "stopped before it was sent"),
            Self::Expired => lang.t(
                "délai passé, rien n’a été transmis",
                "time over, nothing was sent",
            ),
            Self::Answered | Self::Unconfirmed | Self::Later(_) | Self::Refused(_) | Self::ToCheck => {
                self.kind().words(lang)
            }
        }
    }

    /// Why, in one sentence.
    fn why(self, lang: Lang) -> Option<String> {
        match self {
            Self::Answered | Self::Later(None) => None,
            Self::Unconfirmed => Some(
                lang.t(
                    "Une réponse est partie, mais l’administration qui la demandait n’a pas confirmé l’avoir reçue.",
                    "An answer left, but the administration that asked has not confirmed that it arrived.",
                )
                .to_owned(),
            ),
            Self::Later(Some(reason)) | Self::Refused(reason) => Some(reason_words(reason, lang)),
            Self::Withheld => Some(
                lang.t("La réponse était prête ; rien n’est parti.", "The answer was ready; nothing left.").to_owned(),
            ),
            Self::Expired => Some(
                lang.t(
                    "L’administration n’est pas venue chercher la réponse à temps.",
                    "The administration did not come for the answer in time.",
                )
                .to_owned(),
            ),
            Self::ToCheck => Some(
                lang.t(
                    "Les registres des deux administrations ne disent pas la même chose. Les auditeurs peuvent comparer les preuves.",
                    "The ledgers of the two administrations do not say the same. Auditors can compare the proofs.",
                )
                .to_owned(),
            ),
        }
    }
}

fn reason_words(reason: Reason, lang: Lang) -> String {
    match lang {
        Lang::Fr => reason.text_fr().to_owned(),
        Lang::En => reason_en(reason).to_owned(),
    }
}

/// `Reason::text_fr` in English.
const fn reason_en(reason: Reason) -> &'static str {
    match reason {
        Reason::TokenInvalid => "The authorisation presented is not valid.",
        Reason::TokenBinding => "The authorisation presented belongs to another service.",
        Reason::TokenConsumed => "This authorisation has already been used.",
        Reason::AlreadyDelivered => "This information has already been sent.",
        Reason::RetryMismatch => "The information has changed since it was first asked for.",
        Reason::InProgress => "The request is already being handled.",
        Reason::GrantRevoked => {
            "This authorisation had been stopped or limited, or the access that used it had been cut off."
        }
        Reason::UnitNotGranted => "The authorisation does not cover one of the items asked for.",
        Reason::NotEntitled => "This administration is not entitled to ask for this information.",
        Reason::Suspended => "The administration that holds the information has suspended this exchange.",
        Reason::AcrTooLow => "The assurance level of your login is not high enough.",
        Reason::SubjectNotResolved => "Your file could not be found with certainty.",
        Reason::SubjectMismatch => "The identity is not that of the file.",
        Reason::InvalidRequest => "The request is malformed.",
        Reason::LegalBlock => "A text forbids this exchange.",
        Reason::QuotaConsumer => "Too many requests were sent; try again later.",
        Reason::QuotaProducer => "The administration asked receives too many requests; try again later.",
        Reason::Overloaded => "The service is overloaded; try again in a moment.",
        Reason::SourceTimeout => "The administration asked did not answer in time.",
        Reason::SourceError => "The administration asked met an error.",
        Reason::SourceSchema => "The answer of the administration asked cannot be used.",
        Reason::SourceChanged => "The document changed while it was being sent.",
        Reason::Maintenance => "The service is under maintenance; try again later.",
        Reason::LedgerUnavailable => "The ledger of exchanges is unavailable: nothing was sent.",
        Reason::RevocationStateStale => {
            "The state of authorisations is not known at this moment: nothing was sent."
        }
        Reason::DirectoryStale => "The directory of administrations has expired: nothing was sent.",
        Reason::KeyUnavailable => "A key of the service is unavailable.",
        Reason::UnsupportedRevision => "This version of the information is no longer served.",
        Reason::NotImplemented => "This function is not offered.",
        Reason::Deadline => "The request was not completed in time.",
        Reason::Opposition => "You had objected to this information being fetched without your asking.",
        Reason::CatalogueChanged => {
            "The description of this information or procedure has changed since the exchange was agreed on: nothing was sent."
        }
    }
}

impl OnBehalf {
    /// « Demandé par un agent (motif : …) ».
    pub(crate) fn sentence(&self, lang: Lang) -> String {
        let words = self.words(lang);
        match self {
            Self::AboutYou(_) => typography::capitalised(&words),
            Self::Yourself
            | Self::Child { .. }
            | Self::Entity { .. }
            | Self::Helper
            | Self::Agent { .. }
            | Self::Automatic
            | Self::ByMandate { .. } => format!("{} {words}", lang.t("Demandé", "Requested")),
        }
    }

    /// Whether somebody else asked, in the person's place or about them.
    pub(crate) const fn is_by_others(&self) -> bool {
        match self {
            Self::Yourself | Self::Child { .. } | Self::Entity { .. } => false,
            Self::Helper
            | Self::Agent { .. }
            | Self::Automatic
            | Self::ByMandate { .. }
            | Self::AboutYou(_) => true,
        }
    }

    pub(crate) fn words(&self, lang: Lang) -> String {
        match (self, lang) {
            (Self::Yourself, _) => lang.t("par vous", "by you").to_owned(),
            (
                Self::Child {
                    given_name: Some(name),
                },
                Lang::Fr,
            ) => format!("pour votre enfant {name}"),
            (
                Self::Child {
                    given_name: Some(name),
                },
                Lang::En,
            ) => format!("for your child {name}"),
            (Self::Child { given_name: None }, _) => lang.t("pour votre enfant", "for your child").to_owned(),
            (Self::Entity { name, by }, Lang::Fr) => format!("par {by} pour {name}"),
            (Self::Entity { name, by }, Lang::En) => format!("by {by} for {name}"),
            (Self::Helper, _) => lang
                .t("par la personne qui vous aide", "by the person who helps you")
                .to_owned(),
            (Self::Agent { motive }, Lang::Fr) => format!("par un agent (motif : {motive})"),
            (Self::Agent { motive }, Lang::En) => format!("by an officer (reason: {motive})"),
            (Self::Automatic, _) => lang.t("automatiquement", "automatically").to_owned(),
            (Self::ByMandate { principal, by, to }, Lang::Fr) if principal == by => {
                format!("par {to} pour {principal}, par son mandat")
            }
            (Self::ByMandate { principal, by, to }, Lang::En) if principal == by => {
                format!("by {to} for {principal}, by their mandate")
            }
            (Self::ByMandate { principal, by, to }, Lang::Fr) => {
                format!("par {to} pour {principal}, mandat de {by}")
            }
            (Self::ByMandate { principal, by, to }, Lang::En) => {
                format!("by {to} for {principal}, by a mandate of {by}")
            }
            (Self::AboutYou(capacity), _) => about_you(*capacity, lang).to_owned(),
        }
    }
}

/// How an exchange about the person came about that no grant of this account stands behind.
const fn about_you(capacity: Capacity, lang: Lang) -> &'static str {
    match capacity {
        Capacity::SelfPerson => lang.t(
            "vous concerne, demandé depuis un autre compte",
            "concerns you, asked for from another account",
        ),
        Capacity::Child => lang.t(
            "vous concerne, demandé par l’un de vos parents",
            "concerns you, asked for by a parent of yours",
        ),
        Capacity::Entity => lang.t("pour une entreprise", "for a company"),
        Capacity::Helper => lang.t("par la personne qui vous aide", "by the person who helps you"),
        Capacity::Agent => lang.t(
            "vous concerne, demandé par un agent",
            "concerns you, asked for by an officer",
        ),
        Capacity::Automatic => lang.t("vous concerne, automatiquement", "concerns you, automatically"),
    }
}

/// The counts of one month.
#[derive(Clone, Copy, Debug)]
pub struct MonthCount {
    /// The month in Paris ([`paris::month_of`]).
    pub month: Month,
    /// By kind, in the order of [`ResultKind::ALL`].
    pub counts: [u32; 5],
}

impl MonthCount {
    fn cells(&self) -> impl Iterator<Item = (ResultKind, u32)> {
        ResultKind::ALL.into_iter().zip(self.counts)
    }

    fn total(&self) -> u32 {
        self.counts.iter().sum()
    }
}

/// The filters' form; it asks [`super::path::HISTORY`] with `du`, `au`, `administration`, `information`, `resultat`.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// `YYYY-MM-DD`, or empty.
    pub from: String,
    /// `YYYY-MM-DD`, or empty.
    pub to: String,
    /// The administrations that occur.
    pub administrations: Vec<Choice>,
    /// The justificatifs that occur.
    pub information: Vec<Choice>,
    /// The kind chosen.
    pub result: Option<ResultKind>,
    /// The grant whose exchanges alone are shown; kept in a hidden field.
    pub grant: Option<String>,
    /// Whether `from` or `to` is not a date, or `to` lies before `from`: the filter on time is then left out.
    pub invalid_period: bool,
}

/// One entry of a list.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What the form sends.
    pub value: String,
    /// What the person reads.
    pub label: String,
    /// Whether it is chosen.
    pub selected: bool,
}

impl Filters {
    fn active(&self) -> bool {
        !self.from.is_empty()
            || !self.to.is_empty()
            || self.result.is_some()
            || self.grant.is_some()
            || self
                .administrations
                .iter()
                .chain(&self.information)
                .any(|c| c.selected)
    }
}

impl History {
    fn answered(&self) -> usize {
        self.asked
            .saturating_sub(self.silent.len() + self.incomplete.len())
    }

    /// Whether there is nothing to filter or to take home.
    fn blank(&self) -> bool {
        let filtered = self.filters.active() || self.filters.invalid_period;
        self.asked == 0 && self.rows.is_empty() && self.others.is_empty() && !filtered
    }

    /// Whether there is anything to say of what may be others'.
    fn around(&self) -> bool {
        self.shared || !self.others.is_empty() || !self.near_incomplete.is_empty()
    }

    /// The rows by month, in their order.
    fn by_month(&self) -> impl Iterator<Item = (Month, &[HistoryRow])> {
        self.rows
            .chunk_by(|a, b| paris::month_of(a.at) == paris::month_of(b.at))
            .filter_map(|rows| rows.first().map(|first| (paris::month_of(first.at), rows)))
    }
}

page!(History, "history.html", History);
