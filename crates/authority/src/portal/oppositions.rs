use unefois_core::Micros;

use super::page;

/// Oppositions: what a person does not want to be fetched without their asking.
///
/// The form posts `csrf` and [`SCOPE`]; the buttons of each opposition post `csrf` alone.
#[derive(Clone, Debug, Default)]
pub struct Oppositions {
    /// What the person objects to, the newest first.
    pub standing: Vec<Standing>,
    /// To what else they may object: everything first; empty where nothing is left.
    pub choices: Vec<Scope>,
    /// For how many months an opposition is kept.
    pub months: i32,
    /// How many minutes after it no access serves any more that was given just before, under a name near to the person's.
    pub lapse_minutes: i64,
    /// Until when one is kept that is made now.
    pub until: Option<Micros>,
    /// What was just done.
    pub done: Option<Done>,
    /// Whether the form was sent without a choice.
    pub missing: bool,
}

/// The field of the choice.
pub const SCOPE: &str = "portee";

/// One opposition.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Whose fetches; everybody's where absent.
    pub asker: Option<String>,
    /// For which démarche; for all where absent.
    pub demarche: Option<String>,
    /// Since when.
    pub since: Micros,
    /// Until when.
    pub ends_at: Micros,
    /// Where « Prolonger » posts, once its end is near.
    pub renew: Option<String>,
    /// Where « Lever » posts.
    pub lift: String,
}

/// To what somebody may object.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The field's value.
    pub value: String,
    /// Whose fetches; everybody's where absent.
    pub asker: Option<String>,
    /// For which démarche; for all where absent.
    pub demarche: Option<String>,
}

/// What was just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// An opposition was recorded.
    Opposed,
    /// One was prolonged.
    Renewed,
    /// One was lifted.
    Lifted,
}

impl Done {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Opposed, Self::Renewed, Self::Lifted];

    /// The word in the address.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Opposed => "enregistree",
            Self::Renewed => "prolongee",
            Self::Lifted => "levee",
        }
    }
}

page!(Oppositions, "oppositions.html", Oppositions);
