//! What does not agree.

use unefois_core::{ExchangeId, ParticipantId};
use unefois_tlog::Origin;

use super::end::Trace;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The two logs contradict each other: one of them is wrong.
    Fault,
    /// An answer may have left, and the consumer's log does not say that it arrived.
    Unconfirmed,
    /// The two ends saw another end of the exchange, for a reason that an entry gives.
    Explained,
    /// The exchange may still be under way.
    UnderWay,
}

/// What does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The producer's log knows nothing of an exchange that the consumer says it answered or refused.
    NotAtProducer,
    /// The consumer's log knows nothing of an exchange that the producer ended.
    NotAtConsumer,
    /// A release without a `received`: « envoyé, réception non confirmée ».
    Unconfirmed,
    /// The consumer names an entry that the producer's log does not hold for this exchange.
    OtherEntry,
    /// The two ends say opposite things.
    Contradiction,
    /// These fields differ between the entry and the one that it names.
    Differs(Vec<&'static str>),
    /// It was received before it was released, by more than clocks may lie apart.
    Clock,
    /// The attempts of one end follow no order: one twice, a second sending without a first.
    Attempts,
    /// The consumer gave up before an answer came.
    Unanswered,
    /// The consumer did not believe the answer.
    NotBelieved,
    /// The consumer knew of the withdrawal when the answer came.
    Withdrawn,
    /// The refusal has no entry at the producer. Its hourly tally may count it; no tally is opened here.
    Tallied,
    /// A ticket waits for its end.
    Waiting,
    /// Both ends hold the same entries, the last of them in another order.
    Order,
    /// The last entries of the two ends differ, and no entry says why.
    Unexplained,
    /// One end wrote more of one exchange than is compared.
    TooMany,
}

impl Cause {
    /// The word for machines.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotAtProducer => "not_at_producer",
            Self::NotAtConsumer => "not_at_consumer",
            Self::Unconfirmed => "unconfirmed",
            Self::OtherEntry => "other_entry",
            Self::Contradiction => "contradiction",
            Self::Differs(_) => "differs",
            Self::Clock => "clock",
            Self::Attempts => "attempts",
            Self::Unanswered => "unanswered",
            Self::NotBelieved => "not_believed",
            Self::Withdrawn => "withdrawn",
            Self::Tallied => "tallied",
            Self::Waiting => "waiting",
            Self::Order => "order",
            Self::Unexplained => "unexplained",
            Self::TooMany => "too_many",
        }
    }

    /// The words for people, in French.
    pub const fn text_fr(&self) -> &'static str {
        match self {
            Self::NotAtProducer => "absent du registre du producteur",
            Self::NotAtConsumer => "absent du registre du demandeur",
            Self::Unconfirmed => "envoyé, réception non confirmée",
            Self::OtherEntry => "l'entrée que nomme le demandeur n'est pas au registre du producteur",
            Self::Contradiction => "les deux registres se contredisent",
            Self::Differs(_) => "les deux entrées diffèrent",
            Self::Clock => "reçu avant d'être envoyé",
            Self::Attempts => "l'ordre des tentatives ne tient pas",
            Self::Unanswered => "sans réponse chez le demandeur",
            Self::NotBelieved => "réponse que le demandeur n'a pas pu vérifier",
            Self::Withdrawn => "autorisation arrêtée avant la remise",
            Self::Tallied => "absent du registre du producteur ; décompte horaire non vérifié",
            Self::Waiting => "réponse différée, en attente de sa fin",
            Self::Order => "les mêmes entrées, dans un autre ordre",
            Self::Unexplained => "les deux fins diffèrent sans qu'une entrée dise pourquoi",
            Self::TooMany => "plus d'entrées pour un seul échange qu'il ne peut y en avoir",
        }
    }

    /// How much it weighs in an exchange that is not under way.
    pub(super) const fn weight(&self) -> Weight {
        match self {
            Self::NotAtProducer
            | Self::NotAtConsumer
            | Self::OtherEntry
            | Self::Contradiction
            | Self::Differs(_)
            | Self::Clock
            | Self::Attempts
            | Self::Waiting
            | Self::Unexplained
            | Self::TooMany => Weight::Fault,
            Self::Unconfirmed => Weight::Unconfirmed,
            Self::Unanswered | Self::NotBelieved | Self::Withdrawn | Self::Tallied | Self::Order => {
                Weight::Explained
            }
        }
    }

    /// Whether more entries may mend it.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::NotAtProducer
            | Self::NotAtConsumer
            | Self::Unconfirmed
            | Self::OtherEntry
            | Self::Contradiction
            | Self::Unanswered
            | Self::Tallied
            | Self::Waiting
            | Self::Order
            | Self::Unexplained => true,
            Self::Differs(_)
            | Self::Clock
            | Self::Attempts
            | Self::NotBelieved
            | Self::Withdrawn
            | Self::TooMany => false,
        }
    }
}

impl Weight {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Unconfirmed => "unconfirmed",
            Self::Explained => "explained",
            Self::UnderWay => "under_way",
        }
    }
}

/// One exchange that does not agree, and the entries that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who asked, as the entries say.
    pub requester: Option<ParticipantId>,
    /// Who answers.
    pub provider: Option<ParticipantId>,
    /// How much it weighs.
    pub weight: Weight,
    /// What does not agree.
    pub cause: Cause,
    /// The log of the producer's entry.
    pub producer_log: Option<Origin>,
    /// The producer's entry, if there is one.
    pub producer: Option<Trace>,
    /// The consumer's.
    pub consumer: Option<Trace>,
}
