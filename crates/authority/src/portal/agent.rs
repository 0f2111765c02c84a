use super::demande::optional;
use super::{LegalGround, Organisation, Source, Term, page};

/// A person, as the asker's file names them.
#[derive(Clone, Debug)]
pub struct OnFile {
    /// The names.
    pub name: String,
    /// The date of birth, in words.
    pub birthdate: String,
}

/// The page on which an officer asks in the place of a person who does not log in.
///
/// The form posts `csrf`, [`field::CHOICE`](super::field::CHOICE) and one `1` under each optional unit ticked.
#[derive(Clone, Debug)]
pub struct AgentDemande {
    /// Where the form posts.
    pub action: String,
    /// Who asks, from the directory.
    pub asker: Organisation,
    /// The démarche, in words.
    pub demarche: String,
    /// The file's reference.
    pub dossier: String,
    /// Whom it is about; `None` in the words that are kept for the receipt.
    pub about: Option<OnFile>,
    /// Whether namesakes may share the identity: nobody's account leads to the request then.
    pub shared: bool,
    /// Why the officer asks.
    pub motive: String,
    /// What is asked, by where it comes from; never empty.
    pub sources: Vec<Source>,
    /// How long; one for all, or one a datum.
    pub terms: Vec<Term>,
    /// On what ground.
    pub ground: LegalGround,
}

impl AgentDemande {
    fn optional(&self) -> usize {
        optional(&self.sources)
    }
}

page!(AgentDemande, "agent.html", Task);
