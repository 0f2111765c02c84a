//! The pages that people read, as pure views: a struct of words and dates already chosen goes in, HTML comes out.
//!
//! Nothing here knows of the database, of HTTP or of sessions. A handler fills a page ([`Demande`], [`History`] …),
//! says who reads it and in which language ([`Frame`]), and [`Site::show`] answers the document:
//! `site.show(&frame, &page)`. Every page is complete without JavaScript; one file of it tells without a reload when a
//! withdrawal has taken effect. It, the one stylesheet and the logo are [`Site::assets`], so `default-src 'none';
//! style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action …` is enough of a content
//! security policy.
//!
//! What each document promises, whatever strings it was given: they are escaped, invisible direction and control
//! characters are made visible, and French text gets its non-breaking spaces ([`typography`]).

mod about;
mod agent;
mod assets;
mod demande;
mod effect;
mod failure;
mod grants;
mod history;
mod home;
mod lang;
mod law;
mod mandates;
mod names;
mod notice;
mod oppositions;
mod page;
pub mod paris;
pub mod path;
mod term;
mod typography;

pub use about::{Accessibility, Help, Privacy};
pub use agent::{AgentDemande, OnFile};
pub use assets::{Asset, Theme, ThemeError};
pub use demande::{
    Acting, ChildForm, Datatype, Demande, DemandeEnd, DemandeOutcome, FormError, Organisation, Publisher,
    Source, Unit, field,
};
pub use effect::{Act, EffectProof, Progress, SourceProof, Stage, Words};
pub use failure::{ErrorPage, Failure, SessionExpired};
pub use grants::{
    EndError, Ender, GrantCard, GrantDetail, GrantPart, GrantState, Grants, Missed, Narrow, NarrowEnd,
    NarrowPart, NarrowUnit, Withdraw, Withdrawn,
};
pub use history::{
    Choice, ExchangeResult, Filters, History, HistoryRow, MonthCount, Named, OnBehalf, OtherKind, OtherRow,
    ResultKind,
};
pub use home::{Already, Audience, Home, LoggedOut, Login, LoginError, Provider};
pub use lang::Lang;
pub use law::LegalGround;
pub use mandates::{
    MandateCard, MandateError, MandateForm, MandateGrants, MandateInvitation, MandateState, MandateTaker,
    Mandates,
};
pub use names::siren;
pub use oppositions::{Done, Oppositions, SCOPE, Scope, Standing};
pub use term::{Duration, Keeping, Pace, Term};

use page::page;

/// Who reads the page, and what each page carries around its contents.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The language of the page.
    pub lang: Lang,
    /// Whoever is logged in.
    pub person: Option<Person>,
    /// The hidden field's value in each form that changes something; empty where nobody is logged in.
    pub csrf: String,
    /// The address of the same page in the other language.
    pub other_lang: String,
    /// Whether the identities are simulated, which every page then says.
    pub demonstration: bool,
}

impl Frame {
    /// Whether somebody is logged in who has authorisations and a history: a person, or who runs a company.
    fn has_grants(&self) -> bool {
        let person = self.person.as_ref();
        person.is_some_and(|person| person.office.as_ref().is_none_or(|office| office.is_run))
    }

    /// Whether a person is logged in, who may object to what is fetched unasked.
    fn is_person(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.office.is_none())
    }
}

/// Whoever is logged in, as the identity provider named them.
#[derive(Clone, Debug)]
pub struct Person {
    /// Given name and birth name; of an officer, the name in use.
    pub name: String,
    /// The identity provider, in words: « FranceConnect ».
    pub provider: String,
    /// The office of an officer, who has no page of a person's.
    pub office: Option<Office>,
}

/// What an officer acts for.
#[derive(Clone, Debug)]
pub struct Office {
    /// The body's number.
    pub siret: String,
    /// The service within it, as the identity provider says.
    pub unit: Option<String>,
    /// Whether the officer is certified to run it, and so has its authorisations before them.
    pub is_run: bool,
}

/// The place of a page in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Accueil.
    Home,
    /// A page that asks for one decision; it shows no navigation.
    Task,
    /// Mes autorisations and what hangs under it.
    Grants,
    /// Historique.
    History,
    /// Oppositions.
    Oppositions,
    /// Mandats.
    Mandates,
    /// Aide.
    Help,
    /// Everything else.
    Other,
}

/// One page: plain data that [`Site::show`] turns into a document.
pub trait Page {
    /// The bare document, before typography.
    fn html(&self, site: &Site, frame: &Frame) -> Result<String, askama::Error>;
}

/// The site: its theme and its files, built once.
#[derive(Clone, Debug)]
pub struct Site {
    /// The name in the header and in titles.
    pub name: String,
    theme: Theme,
    assets: Vec<Asset>,
}

impl Site {
    /// A site of this name in this theme.
    pub fn new(name: impl Into<String>, theme: Theme) -> Self {
        let assets = assets::compile(&theme);
        Self {
            name: name.into(),
            theme,
            assets,
        }
    }

    /// The files that the pages refer to, to be served from memory under their paths; a path changes with its bytes.
    pub fn assets(&self) -> &[Asset] {
        &self.assets
    }

    /// The document for `page` as `frame`'s reader gets it.
    ///
    /// Errors: none that data can cause; what `askama` answers is a fault of a template.
    pub fn show(&self, frame: &Frame, page: &impl Page) -> Result<String, askama::Error> {
        page.html(self, frame)
            .map(|html| typography::finish(&html, frame.lang))
    }

    /// The words of `page` in this language, as anybody reads them: without the person's name and without the page's looks.
    ///
    /// Errors: as [`Site::show`].
    pub fn words(&self, lang: Lang, page: &impl Page) -> Result<String, askama::Error> {
        let frame = Frame {
            lang,
            person: None,
            csrf: String::new(),
            other_lang: String::new(),
            demonstration: false,
        };
        self.show(&frame, page).map(|html| notice::words(&html))
    }

    fn stylesheet(&self) -> &str {
        self.asset("text/css")
    }

    fn logo(&self) -> &str {
        self.asset("image/")
    }

    fn script(&self) -> &str {
        self.asset("text/javascript")
    }

    fn asset(&self, kind: &str) -> &str {
        let mut assets = self.assets.iter();
        assets
            .find(|a| a.content_type.starts_with(kind))
            .map_or("", |a| a.path.as_str())
    }

    fn footer(&self, lang: Lang) -> &str {
        lang.t(&self.theme.footer_fr, &self.theme.footer_en)
    }
}
