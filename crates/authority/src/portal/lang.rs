use unefois_core::Micros;

use super::{names, paris};

/// The language of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lang {
    /// French, the first.
    #[default]
    Fr,
    /// English, which says the same.
    En,
}

impl Lang {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fr, Self::En];

    /// The value of the `lang` attribute (BCP 47).
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fr => "fr",
            Self::En => "en",
        }
    }

    /// The language whose code this is.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.code() == code)
    }

    /// Whether the page is in French.
    pub const fn fr(self) -> bool {
        matches!(self, Self::Fr)
    }

    /// The text in this language.
    pub const fn t<'a>(self, fr: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Fr => fr,
            Self::En => en,
        }
    }

    /// « la mairie de Clamart », for the middle of a sentence.
    pub fn the(self, name: &str) -> String {
        if self.fr() {
            names::the(name)
        } else {
            names::the_in_english(name)
        }
    }

    /// « La mairie de Clamart », for its start.
    pub fn the_first(self, name: &str) -> String {
        names::capitalised(&self.the(name))
    }

    /// « de la mairie de Clamart »; in English the bare name, since « of » stands in the sentence.
    pub fn of(self, name: &str) -> String {
        if self.fr() {
            names::of(name)
        } else {
            name.to_owned()
        }
    }

    /// « à la mairie de Clamart »; in English the bare name.
    pub fn to(self, name: &str) -> String {
        if self.fr() {
            names::to(name)
        } else {
            name.to_owned()
        }
    }

    /// « mardi 24 novembre 2026 ».
    pub fn day(self, at: &Micros) -> String {
        paris::day(*at, self)
    }

    /// « 24 novembre 2026 ».
    pub fn short_day(self, at: &Micros) -> String {
        paris::short_day(*at, self)
    }

    /// « mardi 24 novembre 2026 à 14 h 05 ».
    pub fn day_hour(self, at: &Micros) -> String {
        paris::day_hour(*at, self)
    }

    /// « mardi 24 novembre 2026 à 14:05:12 ».
    pub fn day_second(self, at: &Micros) -> String {
        paris::day_second(*at, self)
    }

    /// « 14 h 05 ».
    pub fn hour(self, at: &Micros) -> String {
        paris::hour(*at, self)
    }

    /// « novembre 2026 ».
    pub fn month(self, month: &unefois_core::Month) -> String {
        paris::month(*month, self)
    }

    /// The instant for a machine (`datetime` attribute).
    pub fn machine(self, at: &Micros) -> String {
        at.to_rfc3339()
    }
}
