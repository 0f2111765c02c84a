use std::fmt;
use std::str::FromStr;

/// Where the fault of a refusal lies, which says who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The consumer that asked.
    Consumer,
    /// Whatever lies between the two nodes.
    Network,
    /// The node that answers.
    Producer,
    /// The information system behind the producer's node.
    Source,
    /// The authority.
    Authority,
}

impl Side {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Network => "network",
            Self::Producer => "producer",
            Self::Source => "source",
            Self::Authority => "authority",
        }
    }

    /// The word for people, in French.
    pub const fn text_fr(self) -> &'static str {
        match self {
            Self::Consumer => "le demandeur",
            Self::Network => "le réseau",
            Self::Producer => "le producteur",
            Self::Source => "la source du producteur",
            Self::Authority => "l'autorité",
        }
    }
}

/// The text is not the name of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason code")]
pub struct UnknownReason;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $side:ident, $retryable:literal, $fr:literal;)*) => {
        /// Why a call was refused: the one list that the wire, the ledger, the metrics and the command line share.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $variant = $code,)*
        }

        impl Reason {
            /// Every reason, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire (`ErrorInfo.reason`), in metrics and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Who can mend it.
            pub const fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)* }
            }

            /// Whether the same request may succeed later.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }

            /// What to tell the person in front of the screen, in French.
            pub const fn text_fr(self) -> &'static str {
                match self { $(Self::$variant => $fr,)* }
            }
        }
    };
}

reasons! {
    /// The token is malformed, unsigned, out of time or meant for somebody else.
    TokenInvalid = 1, "TOKEN_INVALID", Consumer, false, "L'autorisation présentée n'est pas valable.";
    /// The token is bound to another certificate than the caller's.
    TokenBinding = 2, "TOKEN_BINDING", Consumer, false, "L'autorisation présentée appartient à un autre service.";
    /// The handle was used by another request.
    TokenConsumed = 3, "TOKEN_CONSUMED", Consumer, false, "Cette autorisation a déjà servi.";
    /// The same request was answered too long ago to be answered again.
    AlreadyDelivered = 4, "ALREADY_DELIVERED", Consumer, false, "Cette information a déjà été transmise.";
    /// The same request would now get another payload, or was sent with other contents.
    RetryMismatch = 5, "RETRY_MISMATCH", Consumer, false, "L'information a changé depuis la première demande.";
    /// The first attempt of this request, or of this handle, is under way.
    InProgress = 6, "IN_PROGRESS", Consumer, true, "La demande est déjà en cours de traitement.";
    /// The grant, or this part of it, was withdrawn by the person, the asker or the authority, or has ended; or the key,
    /// certificate or client that used it was.
    GrantRevoked = 7, "GRANT_REVOKED", Consumer, false, "Cette autorisation avait été arrêtée ou limitée, ou l'accès qui s'en servait avait été coupé.";
    /// A unit, period or dossier was asked for that the person did not grant.
    UnitNotGranted = 8, "UNIT_NOT_GRANTED", Consumer, false, "Une information demandée n'est pas couverte par l'autorisation.";
    /// No habilitation in force covers the call.
    NotEntitled = 9, "NOT_ENTITLED", Consumer, false, "Cette administration n'est pas habilitée à demander cette information.";
    /// The producer suspended the peer, the datatype or the habilitation.
    Suspended = 10, "SUSPENDED", Producer, false, "Cet échange est suspendu par l'administration qui détient l'information.";
    /// The person's identity was not assured at the level that the datatype needs.
    AcrTooLow = 11, "ACR_TOO_LOW", Consumer, false, "Le niveau de garantie de votre connexion est insuffisant.";
    /// No single person could be found: nobody, or more than one.
    SubjectNotResolved = 12, "SUBJECT_NOT_RESOLVED", Source, false, "Votre dossier n'a pas pu être retrouvé avec certitude.";
    /// The identity does not belong to the dossier.
    SubjectMismatch = 13, "SUBJECT_MISMATCH", Consumer, false, "L'identité ne correspond pas à celle du dossier.";
    /// The request is malformed; the field is named beside it.
    InvalidRequest = 14, "INVALID_REQUEST", Consumer, false, "La demande est mal formée.";
    /// A text of law forbids the exchange.
    LegalBlock = 15, "LEGAL_BLOCK", Consumer, false, "Un texte interdit cet échange.";
    /// The consumer used up its quota.
    QuotaConsumer = 16, "QUOTA_CONSUMER", Consumer, true, "Trop de demandes ont été envoyées ; réessayez plus tard.";
    /// The producer's source asks to be called less.
    QuotaProducer = 17, "QUOTA_PRODUCER", Source, true, "L'administration sollicitée reçoit trop de demandes ; réessayez plus tard.";
    /// The node has no room for one more call.
    Overloaded = 18, "OVERLOADED", Producer, true, "Le service est surchargé ; réessayez dans un instant.";
    /// The source did not answer in time.
    SourceTimeout = 19, "SOURCE_TIMEOUT", Source, true, "L'administration sollicitée n'a pas répondu à temps.";
    /// The source failed or answered nonsense.
    SourceError = 20, "SOURCE_ERROR", Source, true, "L'administration sollicitée a rencontré une erreur.";
    /// The source broke the schema of its datatype.
    SourceSchema = 21, "SOURCE_SCHEMA", Source, false, "La réponse de l'administration sollicitée est inexploitable.";
    /// A document changed between its first part and its resumption.
    SourceChanged = 22, "SOURCE_CHANGED", Source, false, "Le document a changé pendant sa transmission.";
    /// A closed window of the producer.
    Maintenance = 23, "MAINTENANCE", Producer, true, "Le service est en maintenance ; réessayez plus tard.";
    /// The ledger cannot be written.
    LedgerUnavailable = 24, "LEDGER_UNAVAILABLE", Producer, true, "Le registre des échanges est indisponible : rien n'a été transmis.";
    /// The producer does not know the present state of withdrawals.
    RevocationStateStale = 25, "REVOCATION_STATE_STALE", Authority, true, "L'état des autorisations n'est pas connu à cet instant : rien n'a été transmis.";
    /// The directory has expired.
    DirectoryStale = 26, "DIRECTORY_STALE", Authority, true, "L'annuaire des administrations est périmé : rien n'a été transmis.";
    /// A key needed to answer cannot be used.
    KeyUnavailable = 27, "KEY_UNAVAILABLE", Producer, true, "Une clé du service est indisponible.";
    /// The revision of the datatype is not served.
    UnsupportedRevision = 28, "UNSUPPORTED_REVISION", Consumer, false, "Cette version de l'information n'est plus servie.";
    /// The call is known but not served here.
    NotImplemented = 29, "NOT_IMPLEMENTED", Producer, false, "Cette fonction n'est pas offerte.";
    /// The caller's deadline passed.
    Deadline = 30, "DEADLINE", Network, true, "La demande n'a pas abouti à temps.";
    /// The person objected to fetches that nobody asks for.
    Opposition = 31, "OPPOSITION", Consumer, false, "Vous vous étiez opposé à ce que cette information soit récupérée sans demande de votre part.";
    /// The catalogue no longer says of the datatype or the démarche what the three signed who made the habilitation.
    CatalogueChanged = 32, "CATALOGUE_CHANGED", Authority, false, "La description de cette information ou de la démarche a changé depuis que l'échange a été convenu : rien n'a été transmis.";
}

impl Reason {
    /// The number in ledger entries.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(s: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .iter()
            .copied()
            .find(|r| r.as_str() == s)
            .ok_or(UnknownReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_and_are_dense() {
        assert_eq!(Reason::from_code(0), None);
        assert_eq!("NOPE".parse::<Reason>(), Err(UnknownReason));
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(usize::from(reason.code()), i + 1);
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
    }
}
