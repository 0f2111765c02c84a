use askama::Template;

use super::{Frame, Lang, Page, Section, Site, page};

/// Accueil.
#[derive(Clone, Copy, Debug, Default)]
pub struct Home;

/// Connexion: the choice of an identity provider.
#[derive(Clone, Debug)]
pub struct Login {
    /// Those that may be used here; never empty.
    pub providers: Vec<Provider>,
    /// Whether an officer is to log in, to ask in a person's place.
    pub officer: bool,
    /// Whose request waits, where the person comes from an administration's site: this is then step 1 of 2.
    pub asker: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<LoginError>,
    /// Who is logged in already, where that is not enough.
    pub already: Option<Already>,
}

/// Who is logged in already, and why another login is needed.
#[derive(Clone, Debug)]
pub enum Already {
    /// A person whose identity is not sure enough for what is asked.
    LessSure {
        /// « FranceConnect ».
        provider: String,
    },
    /// An officer, where the person is to decide.
    Officer,
    /// A person, where an officer is to decide.
    Person,
}

/// One identity provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// « FranceConnect ».
    pub name: String,
    /// Where the login begins.
    pub href: String,
    /// Whom it logs in.
    pub audience: Audience,
}

/// Whom an identity provider logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody, with an account that they have.
    Everybody,
    /// People whose identity was verified.
    Verified,
    /// The officers of an administration or a company.
    Officers,
}

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// The person gave up at the provider.
    Cancelled,
    /// The provider cannot be reached or answers nonsense.
    Unavailable,
    /// The answer came too late, or in another browser.
    Lost,
    /// The assurance level is not enough for what is asked.
    LevelTooLow,
}

/// Accueil depends on nothing but its frame.
#[derive(Template)]
#[template(path = "home.html")]
struct HomeSheet<'a> {
    site: &'a Site,
    frame: &'a Frame,
    section: Section,
    l: Lang,
}

impl Page for Home {
    fn html(&self, site: &Site, frame: &Frame) -> Result<String, askama::Error> {
        HomeSheet {
            site,
            frame,
            section: Section::Home,
            l: frame.lang,
        }
        .render()
    }
}

/// The session here is over; the one at the provider ends next.
///
/// A form that were answered by a redirect to the provider would be blocked: browsers hold the whole chain to the
/// page's `form-action`. So the answer is this page, which leads on by itself (`Refresh`) and by its button.
#[derive(Clone, Debug)]
pub struct LoggedOut {
    /// « FranceConnect ».
    pub provider: String,
    /// Where the provider ends its session; it leads back to Accueil.
    pub end: String,
}

page!(Login, "login.html", Task);
page!(LoggedOut, "logged_out.html", Other);
