use std::cmp::Reverse;

use serde_json::{Value, json};
use unefois_core::Micros;

use crate::portal::{Lang, paris};

/// An exchange that is about somebody else, or may be: all that is told of it, on the page as in what is taken home.
///
/// Neither who asked, nor why, nor for whom, nor what became of it is the reader's to know; nor the hour, by which one
/// exchange could be told from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherRow {
    /// The day in Paris, `YYYY-MM-DD`; the newest first, and in an order that tells no hour.
    pub(super) day: Reverse<String>,
    pub(super) kind: OtherKind,
    pub(super) source: Named,
    pub(super) what: Option<Named>,
}

/// Somebody or something, as files and as people name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// As files do.
    pub id: String,
    /// In words.
    pub words: String,
}

/// What somebody else's exchange has to do with the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherKind {
    /// It names the person as a member of the household.
    Household,
    /// It is about a name near to the person's, or the same.
    Near,
}

impl OtherRow {
    /// What is told of an exchange last spoken of `at`, with the source that was asked for `what`: which justificatif that
    /// is, of the person's household alone.
    pub fn new(kind: OtherKind, at: Micros, source: Named, what: Option<Named>) -> Self {
        Self {
            day: Reverse(paris::iso_day(at)),
            kind,
            source,
            what: what.filter(|_| kind == OtherKind::Household),
        }
    }

    /// « mardi 24 novembre 2026 ».
    pub(super) fn day(&self, lang: Lang) -> String {
        let begins = paris::day_begins(&self.day.0);
        begins.map_or_else(|| self.day.0.clone(), |at| paris::day(at, lang))
    }

    /// The cells of a table: day, source, justificatif, and what it has to do with the person.
    pub(crate) fn cells(&self, lang: Lang) -> [&str; 4] {
        [
            &self.day.0,
            &self.source.words,
            self.what.as_ref().map_or("", |what| &what.words),
            self.kind.words(lang),
        ]
    }

    /// The same for a program.
    pub(crate) fn json(&self) -> Value {
        json!({
            "day": self.day.0,
            "provider": self.source.id,
            "datatype": self.what.as_ref().map(|what| &what.id),
            "found_by": match self.kind {
                OtherKind::Household => "household",
                OtherKind::Near => "near",
            },
        })
    }
}

impl OtherKind {
    pub(super) fn words(self, lang: Lang) -> &'static str {
        match self {
            Self::Household => lang.t(
                "une information de votre foyer, pas à votre demande",
                "a datum of your household, not at your request",
            ),
            Self::Near => lang.t(
                "une demande à un nom proche du vôtre",
                "a request under a name near to yours",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Named {
        Named {
            id: id.to_owned(),
            words: id.to_owned(),
        }
    }

    fn row(kind: OtherKind, at: &str) -> OtherRow {
        let at = at.parse().unwrap();
        OtherRow::new(kind, at, named("cnaf"), Some(named("quotient")))
    }

    #[test]
    fn neither_page_nor_file_tells_the_hour_or_of_a_near_name_the_justificatif() {
        for kind in [OtherKind::Household, OtherKind::Near] {
            // It is the 25th in Paris.
            let early = row(kind, "2026-11-24T23:00:00.000001Z");
            let late = row(kind, "2026-11-25T22:59:59.999999Z");
            assert_eq!(early, late, "two of a day are told alike");
            assert_eq!(early.cells(Lang::Fr), late.cells(Lang::Fr));
            assert_eq!(early.json(), late.json());
            assert_eq!(early.json()["day"], "2026-11-25");
            assert_eq!(
                early.day(Lang::Fr).replace('\u{a0}', " "),
                "mercredi 25 novembre 2026"
            );
            assert_eq!(early.what.is_some(), kind == OtherKind::Household);
        }
    }

    #[test]
    fn the_newest_day_comes_first() {
        let mut rows = [
            "2026-11-23T12:00:00Z",
            "2026-11-25T12:00:00Z",
            "2025-12-25T12:00:00Z",
        ]
        .map(|at| row(OtherKind::Near, at));
        rows.sort();
        assert_eq!(
            rows.map(|row| row.day.0),
            ["2026-11-25", "2026-11-23", "2025-12-25"]
        );
    }
}
