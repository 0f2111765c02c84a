use super::page;

/// Données personnelles.
#[derive(Clone, Debug)]
pub struct Privacy {
    /// The body that runs this portal.
    pub controller: String,
    /// How to reach its data protection officer.
    pub dpo: String,
}

/// Accessibilité.
#[derive(Clone, Debug)]
pub struct Accessibility {
    /// The body that runs this portal.
    pub controller: String,
    /// Where to write about a difficulty.
    pub contact: String,
}

/// Aide.
#[derive(Clone, Debug)]
pub struct Help {
    /// Where to write or call.
    pub contact: String,
}

page!(Privacy, "privacy.html", Other);
page!(Accessibility, "accessibility.html", Other);
page!(Help, "help.html", Help);
