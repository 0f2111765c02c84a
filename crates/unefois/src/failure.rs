//! How a command ends: data on standard output, or a failure that says what, why and what to do, under a code that
//! `unefois explain` knows.

use std::fmt;
use std::process::ExitCode;

use serde_json::json;
use unefois_core::Reason;

/// The kinds of failure, numbered by their exit status (BSD sysexits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The honest answer is no.
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The data given is wrong.
    Data = 65,
    /// A file given does not exist or cannot be read.
    NoInput = 66,
    /// A peer cannot be reached.
    Unreachable = 69,
    /// A fault of this program.
    Bug = 70,
    /// Something is there already and is not overwritten.
    Exists = 73,
    /// Something cannot be written.
    CannotWrite = 74,
    /// Try again later.
    TryAgain = 75,
    /// A peer broke the protocol, or a proof does not hold.
    Protocol = 76,
    /// A peer refused.
    Refused = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::No,
        Self::Usage,
        Self::Data,
        Self::NoInput,
        Self::Unreachable,
        Self::Bug,
        Self::Exists,
        Self::CannotWrite,
        Self::TryAgain,
        Self::Protocol,
        Self::Refused,
        Self::Configuration,
    ];

    /// What it means, in French and in English.
    pub const fn meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::No => ("La réponse est non.", "The answer is no."),
            Self::Usage => (
                "La ligne de commande est mal formée.",
                "The command line is malformed.",
            ),
            Self::Data => (
                "Les données fournies sont invalides.",
                "The data given is invalid.",
            ),
            Self::NoInput => (
                "Un fichier fourni est absent ou illisible.",
                "A file given is missing or unreadable.",
            ),
            Self::Unreachable => ("Un service est injoignable.", "A service cannot be reached."),
            Self::Bug => (
                "Une erreur interne s'est produite.",
                "An internal error occurred.",
            ),
            Self::Exists => (
                "Un fichier existe déjà ; il n'est pas écrasé.",
                "A file exists; it is not overwritten.",
            ),
            Self::CannotWrite => ("Un fichier ne peut pas être écrit.", "A file cannot be written."),
            Self::TryAgain => (
                "L'opération peut réussir plus tard.",
                "The operation may succeed later.",
            ),
            Self::Protocol => (
                "Un service n'a pas respecté le protocole.",
                "A service broke the protocol.",
            ),
            Self::Refused => ("L'opération est refusée.", "The operation is refused."),
            Self::Configuration => ("La configuration est invalide.", "The configuration is invalid."),
        }
    }
}

/// The stable name of a failure: `UF-0078` for a kind (its exit status), `UF-1012` for a reason (its code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A kind of failure.
    Kind(Kind),
    /// A reason of a refusal.
    Reason(Reason),
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "UF-{:04}", *kind as u8),
            Self::Reason(reason) => write!(f, "UF-1{:03}", reason.code()),
        }
    }
}

impl Code {
    /// The code of this text, with or without `UF-`.
    pub fn parse(text: &str) -> Option<Self> {
        let number: u16 = text.strip_prefix("UF-").unwrap_or(text).parse().ok()?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| u16::from(*kind as u8) == number);
        let reason = || {
            number
                .checked_sub(1_000)
                .and_then(|code| Reason::from_code(u8::try_from(code).ok()?))
        };
        kind.map(Self::Kind).or_else(|| reason().map(Self::Reason))
    }
}

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// What kind, which is the exit status.
    pub kind: Kind,
    /// The reason, where a peer or a check of the exchange gave one.
    pub reason: Option<Reason>,
    /// What could not be done.
    pub what: String,
    /// Why.
    pub cause: Option<String>,
    /// What to type or look at next.
    pub next: Option<String>,
}

impl Failure {
    /// A failure of `kind`: `what` could not be done.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            reason: None,
            what: what.into(),
            cause: None,
            next: None,
        }
    }

    /// The same, because of `cause`.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The same, with what to do next.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The same, with the reason that a peer gave.
    pub fn reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Its stable name.
    pub fn code(&self) -> Code {
        self.reason.map_or(Code::Kind(self.kind), Code::Reason)
    }

    /// The exit status.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }

    /// One object, for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        json!({ "error": {
            "code": self.code().to_string(),
            "reason": self.reason.map(Reason::as_str),
            "what": self.what,
            "cause": self.cause,
            "next": self.next,
            "exit": self.kind as u8,
        } })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} : {}", self.code(), self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  cause : {cause}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  à faire : {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_known_to_explain() {
        for kind in Kind::ALL {
            assert_eq!(Code::parse(&Code::Kind(kind).to_string()), Some(Code::Kind(kind)));
        }
        for reason in Reason::ALL {
            assert_eq!(
                Code::parse(&Code::Reason(*reason).to_string()),
                Some(Code::Reason(*reason))
            );
        }
        assert_eq!(Code::parse("UF-0002"), None);
        assert_eq!(Code::parse("UF-1999"), None);
        assert_eq!(Code::parse("xx"), None);
    }

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let failure = Failure::new(Kind::Exists, "la clé n'est pas écrite")
            .because("existe déjà")
            .next("supprimez-la");
        assert_eq!(
            failure.to_string(),
            "UF-0073 : la clé n'est pas écrite\n  cause : existe déjà\n  à faire : supprimez-la"
        );
        assert_eq!(failure.to_json()["error"]["exit"], 73);
    }
}
