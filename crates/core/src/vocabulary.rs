//! The closed lists that entries, tokens and pages share. Each has a word (wire, tokens, command line) and a code
//! (ledger entries); neither is ever reused for another meaning.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not a word of the list asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {list}")]
pub struct UnknownWord {
    list: &'static str,
}

macro_rules! words {
    ($(#[$meta:meta])* $type:ident, $list:literal { $($(#[$doc:meta])* $variant:ident = $code:literal, $word:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        #[repr(u8)]
        pub enum $type { $($(#[$doc])* $variant = $code,)* }

        impl $type {
            /// The whole list, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The number in ledger entries.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The member with this number.
            pub fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|w| w.code() == code)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(s: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|w| w.as_str() == s).ok_or(UnknownWord { list: $list })
            }
        }

        impl From<$type> for String {
            fn from(word: $type) -> Self {
                word.as_str().to_owned()
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownWord;

            fn try_from(s: String) -> Result<Self, UnknownWord> {
                s.parse()
            }
        }
    };
}

words! {
    /// What a ledger entry records.
    Event, "event" {
        /// Producer: the attestation may leave.
        Released = 1, "released";
        /// Producer: the same answer may leave again.
        ReleasedAgain = 2, "released_again";
        /// Producer: not one byte of this attempt left.
        Withheld = 3, "withheld";
        /// Producer: a ticket was given.
        Deferred = 4, "deferred";
        /// Any: the call was refused.
        Refused = 5, "refused";
        /// Consumer: the attestation arrived and verified.
        Received = 6, "received";
        /// Consumer: the call ended without an answer.
        Unanswered = 7, "unanswered";
        /// Authority: the person granted.
        Granted = 8, "granted";
        /// Authority: the person declined.
        Declined = 9, "declined";
        /// Authority: a mandate was issued.
        Mandated = 10, "mandated";
        /// Authority: the person objected.
        Opposed = 11, "opposed";
        /// Authority: the grant was narrowed.
        Narrowed = 12, "narrowed";
        /// Authority: an access token was minted.
        Minted = 13, "minted";
        /// Authority: the grant was withdrawn.
        Withdrawn = 14, "withdrawn";
        /// Authority: the withdrawal has taken effect everywhere.
        Effective = 15, "effective";
        /// Any: the withdrawal lease lapsed.
        Lapsed = 16, "lapsed";
        /// Any: the withdrawal lease is fresh again.
        Resumed = 17, "resumed";
        /// Any: configuration, key, habilitation or suspension changed.
        Admin = 18, "admin";
        /// Any: somebody searched, exported or disclosed.
        Queried = 19, "queried";
        /// Any: a person reported an exchange.
        Reported = 20, "reported";
        /// Any: secrets and index rows were destroyed.
        Erased = 21, "erased";
        /// Any: hourly commitments to counts.
        Tally = 22, "tally";
        /// Any: the log ends here.
        Closed = 23, "closed";
    }
}

words! {
    /// How an exchange ended. `Answered` is a document or a certified absence: which one stays under the commitment.
    Outcome, "outcome" {
        /// A document, or a certified absence.
        Answered = 1, "answered";
        /// Nothing yet; the same request may succeed later.
        Later = 2, "later";
        /// Refused for good.
        Refused = 3, "refused";
    }
}

words! {
    /// In what capacity the person stands behind an exchange.
    Capacity, "capacity" {
        /// For themselves.
        SelfPerson = 1, "self";
        /// For their child.
        Child = 2, "child";
        /// For a company or association that they represent.
        Entity = 3, "entity";
        /// As a helper with a mandate.
        Helper = 4, "helper";
        /// An officer, with a motive.
        Agent = 5, "agent";
        /// Nobody present.
        Automatic = 6, "automatic";
    }
}

words! {
    /// Who an attestation is about.
    SubjectKind, "subject kind" {
        /// The person who is logged in.
        SelfPerson = 1, "self";
        /// A child of that person.
        Child = 2, "child";
        /// The household of that person.
        Household = 3, "household";
        /// A company or association.
        Entity = 4, "entity";
    }
}

words! {
    /// The four ways to ask for a grant.
    Way, "way" {
        /// The person's browser, now.
        Present = 1, "present";
        /// A link or QR code, followed later.
        Link = 2, "link";
        /// An officer at the counter.
        Agent = 3, "agent";
        /// Nobody present.
        Automatic = 4, "automatic";
    }
}

words! {
    /// An assurance level of the person's identity (eIDAS, article 8), ordered.
    Acr, "assurance level" {
        /// Low.
        Eidas1 = 1, "eidas1";
        /// Substantial.
        Eidas2 = 2, "eidas2";
        /// High.
        Eidas3 = 3, "eidas3";
    }
}

words! {
    /// How well an officer is known to the identity provider of professionals, ordered. It says nothing of a person's
    /// own identity, so it is no [`Acr`].
    OfficerAssurance, "officer assurance" {
        /// Known as one of their body's.
        Identified = 1, "identified";
        /// Certified as an officer who may act for the body.
        Certified = 2, "certified";
    }
}

words! {
    /// Who ended a handle.
    WithdrawnBy, "way to end a handle" {
        /// The person.
        Person = 1, "person";
        /// The consumer, who gave it back.
        Consumer = 2, "consumer";
        /// The authority, because its code came a second time.
        CodeReuse = 3, "code_reuse";
        /// The person, who narrowed it: another handle follows.
        Narrowed = 4, "narrowed";
        /// The authority, because it could not record that it was given.
        Unrecorded = 5, "unrecorded";
        /// The person, who objected to all such fetches.
        Opposition = 6, "opposition";
        /// Either side of the mandate that it rested on.
        Mandate = 7, "mandate";
        /// Whoever answers for whom the mandate was given, this grant alone.
        Mandator = 8, "mandator";
    }
}

/// The legal ground of an exchange: a fixed code, or `TEXTE:<id>` for a specific text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum LegalBasis {
    /// `CRPA-L114-8-I`: needed to treat a request; the person is told.
    Request,
    /// `CRPA-L114-8-II`: proactive information, nobody present.
    Proactive,
    /// `RGPD-6-1-a`: consent.
    Consent,
    /// `TEXTE:<id>`: a specific text, its id 1 to 48 characters of `A-Z a-z 0-9 . _ -`.
    Text(String),
}

impl LegalBasis {
    /// How many months after its own an exchange can still be opened: R.114-9-7 CRPA, and for proactive information
    /// the year that L.114-8 II allows. In the month after that its secrets and index rows are destroyed.
    pub const fn kept_months(&self) -> i32 {
        match self {
            Self::Proactive => 12,
            Self::Request | Self::Consent | Self::Text(_) => 36,
        }
    }
}

impl fmt::Display for LegalBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("CRPA-L114-8-I"),
            Self::Proactive => f.write_str("CRPA-L114-8-II"),
            Self::Consent => f.write_str("RGPD-6-1-a"),
            Self::Text(id) => write!(f, "TEXTE:{id}"),
        }
    }
}

impl FromStr for LegalBasis {
    type Err = UnknownWord;

    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        let text = |id: &str| {
            (1..=48).contains(&id.len())
                && id
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        };
        match s {
            "CRPA-L114-8-I" => Ok(Self::Request),
            "CRPA-L114-8-II" => Ok(Self::Proactive),
            "RGPD-6-1-a" => Ok(Self::Consent),
            _ => match s.strip_prefix("TEXTE:") {
                Some(id) if text(id) => Ok(Self::Text(id.to_owned())),
                Some(_) | None => Err(UnknownWord { list: "legal basis" }),
            },
        }
    }
}

impl From<LegalBasis> for String {
    fn from(basis: LegalBasis) -> Self {
        basis.to_string()
    }
}

impl TryFrom<String> for LegalBasis {
    type Error = UnknownWord;

    fn try_from(s: String) -> Result<Self, UnknownWord> {
        s.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_and_codes_are_refused() {
        assert!("eidas4".parse::<Acr>().is_err());
        assert!("".parse::<Event>().is_err());
        assert_eq!(Outcome::from_code(0), None);
        for text in ["SDG-14", "TEXTE:", "TEXTE:a b", "crpa-l114-8-i"] {
            assert!(text.parse::<LegalBasis>().is_err(), "{text}");
        }
    }

    #[test]
    fn words_and_codes_lead_back() {
        for event in Event::ALL {
            assert_eq!(event.as_str().parse(), Ok(*event));
            assert_eq!(Event::from_code(event.code()), Some(*event));
        }
        for text in ["CRPA-L114-8-I", "CRPA-L114-8-II", "RGPD-6-1-a", "TEXTE:LPF-L103"] {
            assert_eq!(text.parse::<LegalBasis>().unwrap().to_string(), text);
        }
        assert!(Acr::Eidas1 < Acr::Eidas2);
    }
}
