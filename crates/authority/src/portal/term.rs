use unefois_core::Micros;

use super::Lang;

/// How long one or several data may be fetched, and how long the asker keeps them.
#[derive(Clone, Debug)]
pub struct Term {
    /// Which datum, where they differ; `None` where the term holds for all.
    pub what: Option<String>,
    /// Once, or until when.
    pub duration: Duration,
    /// What the asker does with it.
    pub keeping: Keeping,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    /// One fetch.
    Once,
    /// Fetches until a day.
    Until {
        /// The last instant.
        end: Micros,
        /// At most how often.
        pace: Pace,
    },
}

/// The limits of a standing grant; `None` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The least time between two fetches, in seconds.
    pub min_interval_s: Option<u32>,
    /// How many fetches in all.
    pub max_count: Option<u32>,
}

/// What the asker does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It looks and keeps nothing.
    View,
    /// It keeps it for this number of days.
    Days(u16),
}

impl Term {
    /// « Une seule fois. » or « Jusqu’au 31 août 2027, au plus une fois par mois. »
    pub fn duration_words(&self, lang: Lang) -> String {
        self.duration.words(lang)
    }

    /// « La mairie de Clamart la conserve 12 mois. »
    pub fn keeping_words(&self, lang: Lang, asker: &str) -> String {
        let asker = lang.the_first(asker);
        match (self.keeping, lang) {
            (Keeping::View, Lang::Fr) => format!("{asker} consulte la réponse sans la conserver."),
            (Keeping::View, Lang::En) => format!("{asker} looks at the answer and does not keep it."),
            (Keeping::Days(n), Lang::Fr) => format!("{asker} conserve la réponse {}.", days(n, lang)),
            (Keeping::Days(n), Lang::En) => format!("{asker} keeps the answer for {}.", days(n, lang)),
        }
    }
}

impl Duration {
    /// The duration as a sentence.
    pub fn words(self, lang: Lang) -> String {
        match self {
            Self::Once => lang.t("Une seule fois.", "Once only.").to_owned(),
            Self::Until { end, pace } => {
                let until = lang.t("Jusqu’au", "Until");
                let limits = pace
                    .words(lang)
                    .into_iter()
                    .map(|w| format!(", {w}"))
                    .collect::<String>();
                format!("{until} {}{limits}.", lang.short_day(&end))
            }
        }
    }
}

impl Pace {
    fn words(self, lang: Lang) -> Vec<String> {
        let rhythm = self.min_interval_s.filter(|s| *s > 0).map(|s| rhythm(s, lang));
        let count = self.max_count.map(|n| match (n, lang) {
            (1, Lang::Fr) => "une fois en tout".to_owned(),
            (1, Lang::En) => "once in all".to_owned(),
            (n, Lang::Fr) => format!("{n} fois au plus en tout"),
            (n, Lang::En) => format!("{n} times at most in all"),
        });
        rhythm.into_iter().chain(count).collect()
    }
}

/// Rounded down, so that the page never promises fewer fetches than the grant allows.
fn rhythm(interval_s: u32, lang: Lang) -> String {
    let (minutes, hours, days) = (interval_s / 60, interval_s / 3_600, interval_s / 86_400);
    match (days, hours, lang) {
        (0, 0, Lang::Fr) => format!("au plus une fois toutes les {minutes} minutes"),
        (0, 0, Lang::En) => format!("at most once every {minutes} minutes"),
        (0, 1, Lang::Fr) => "au plus une fois par heure".to_owned(),
        (0, 1, Lang::En) => "at most once an hour".to_owned(),
        (0, n, Lang::Fr) => format!("au plus une fois toutes les {n} heures"),
        (0, n, Lang::En) => format!("at most once every {n} hours"),
        (1, _, Lang::Fr) => "au plus une fois par jour".to_owned(),
        (1, _, Lang::En) => "at most once a day".to_owned(),
        (7, _, Lang::Fr) => "au plus une fois par semaine".to_owned(),
        (7, _, Lang::En) => "at most once a week".to_owned(),
        (30 | 31, _, Lang::Fr) => "au plus une fois par mois".to_owned(),
        (30 | 31, _, Lang::En) => "at most once a month".to_owned(),
        (n, _, Lang::Fr) => format!("au plus une fois tous les {n} jours"),
        (n, _, Lang::En) => format!("at most once every {n} days"),
    }
}

/// « 12 mois », « 45 jours ».
fn days(n: u16, lang: Lang) -> String {
    match (n, lang) {
        (0 | 1, Lang::Fr) => format!("{n} jour"),
        (1, Lang::En) => "1 day".to_owned(),
        (365 | 366, Lang::Fr) => "12 mois".to_owned(),
        (365 | 366, Lang::En) => "12 months".to_owned(),
        (n, Lang::Fr) if n >= 60 && n.is_multiple_of(30) => format!("{} mois", n / 30),
        (n, Lang::En) if n >= 60 && n.is_multiple_of(30) => format!("{} months", n / 30),
        (n, Lang::Fr) => format!("{n} jours"),
        (n, Lang::En) => format!("{n} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_and_keeping_in_words() {
        let end = "2027-08-31T21:59:59Z".parse().unwrap();
        let term = |min, max| Duration::Until {
            end,
            pace: Pace {
                min_interval_s: min,
                max_count: max,
            },
        };
        assert_eq!(
            term(Some(2_592_000), None).words(Lang::Fr),
            "Jusqu’au 31\u{a0}août\u{a0}2027, au plus une fois par mois."
        );
        assert_eq!(
            term(Some(864_000), Some(3)).words(Lang::Fr),
            "Jusqu’au 31\u{a0}août\u{a0}2027, au plus une fois tous les 10 jours, 3 fois au plus en tout."
        );
        assert!(
            term(Some(3_599), None)
                .words(Lang::Fr)
                .ends_with("toutes les 59 minutes.")
        );
        assert!(
            term(Some(90_000), None)
                .words(Lang::Fr)
                .ends_with("une fois par jour.")
        );
        assert_eq!(
            term(Some(0), None).words(Lang::En),
            "Until 31\u{a0}August\u{a0}2027."
        );
        let once = Term {
            what: None,
            duration: Duration::Once,
            keeping: Keeping::Days(365),
        };
        assert_eq!(
            once.keeping_words(Lang::Fr, "Mairie de Clamart"),
            "La mairie de Clamart conserve la réponse 12 mois."
        );
        assert_eq!(
            (days(90, Lang::Fr), days(45, Lang::En)),
            ("3 mois".to_owned(), "45 days".to_owned())
        );
    }
}
