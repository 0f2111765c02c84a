use serde::{Deserialize, Serialize};

use crate::directory::Bilingual;
use crate::payload::Pointer;
use crate::{HolderId, ParticipantId};

/// A body whose data the catalogue offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// Its short name.
    pub id: HolderId,
    /// The participant that it is; absent for a holder for whom another body's node answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<ParticipantId>,
    /// Its name for people.
    pub label: Bilingual,
    /// How to reach it.
    pub contact: Contact,
    /// How its source answers; needed from those who have a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,
}

/// Where to turn to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// What for, in words.
    pub label: Bilingual,
    /// A web address.
    pub url: String,
}

/// How a source's answers are laid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Where the payload is in a success.
    pub payload: Pointer,
    /// Where the codes are in an error.
    pub codes: Pointer,
}
