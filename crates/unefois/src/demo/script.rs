//! What is personal in the demonstration.

use super::backend;
use super::persona::{PERSONAS, Persona};

/// Who the story is about, what the fund holds of them, and what the commune calls their files.
#[derive(Clone, Debug)]
pub struct Script {
    /// The people whom the identity provider knows, the story's own first.
    pub people: Vec<Persona>,
    /// The answer of the fund's API, where « valeur » is a number that the answer holds once.
    pub quotient_familial: String,
    /// The files: one for which the person grants, one for which they grant and stop, one that needs a surer identity.
    pub dossiers: [String; 3],
    /// Their reference tax income, as the tax authority's case has it.
    pub revenu: String,
    /// The back-office's own session of the person.
    pub session: String,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            people: PERSONAS.to_vec(),
            quotient_familial: backend::DUBOIS.to_owned(),
            dossiers: ["2026-0412", "2026-0413", "2026-0415"].map(str::to_owned),
            revenu: "21450".to_owned(),
            session: "demonstration-session-0001".to_owned(),
        }
    }
}

impl Script {
    /// The person of the story.
    ///
    /// # Panics
    /// Nobody is in it.
    pub fn person(&self) -> &Persona {
        &self.people[0]
    }

    /// Their « quotient familial », as the API writes it; empty where it writes none.
    pub fn valeur(&self) -> String {
        let answer: serde_json::Value = serde_json::from_str(&self.quotient_familial).unwrap_or_default();
        answer
            .pointer("/data/quotient_familial/valeur")
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}
