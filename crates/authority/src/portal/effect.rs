use unefois_core::Micros;

use super::{Lang, paris, typography};

/// Where a withdrawal stands, for the page that follows it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What it is.
    pub act: Act,
    /// When it was recorded.
    pub recorded_at: Micros,
    /// Where it stands.
    pub stage: Stage,
    /// After how long at most, in milliseconds, a producer that was not told ceases by itself.
    pub bound_ms: i64,
    /// Where a script asks for [`Words`].
    pub follow: String,
    /// The same page, asked for again.
    pub refresh: String,
    /// Where the proof will be, on a page that leads there by nothing else.
    pub proof: Option<String>,
}

/// What withdrew something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A grant was stopped.
    Stop,
    /// The asker gave it back.
    GiveBack,
    /// The person took something out of it.
    Limit,
}

/// How far a withdrawal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Recorded and announced; it is not proved yet that it holds everywhere.
    UnderWay,
    /// The same, for longer than the bound.
    Late,
    /// It is proved to hold everywhere.
    Effective {
        /// Since when.
        at: Micros,
    },
}

/// A stage in words: « Retrait effectif à », « 14:05:13 », nothing, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Before the hour.
    pub before: String,
    /// The hour in Paris, to the second.
    pub time: String,
    /// After it.
    pub after: String,
    /// What that means.
    pub means: String,
}

impl Stage {
    /// Its name for machines.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnderWay => "under_way",
            Self::Late => "late",
            Self::Effective { .. } => "effective",
        }
    }

    /// Since when it is proved to hold everywhere.
    pub const fn effective_at(self) -> Option<Micros> {
        match self {
            Self::Effective { at } => Some(at),
            Self::UnderWay | Self::Late => None,
        }
    }
}

impl Progress {
    /// Whether it is not proved yet.
    pub const fn is_under_way(&self) -> bool {
        self.stage.effective_at().is_none()
    }

    /// The instant that the words tell.
    pub fn told_at(&self) -> Micros {
        self.stage.effective_at().unwrap_or(self.recorded_at)
    }

    /// The words, spaced as the language asks for.
    pub fn words(&self, lang: Lang) -> Words {
        let words = match self.stage {
            Stage::UnderWay => Words {
                after: lang.t(", en cours", ", under way").to_owned(),
                means: self.under_way(lang),
                ..self.recorded(lang)
            },
            Stage::Late => Words {
                after: lang.t(", toujours en cours", ", still under way").to_owned(),
                means: late(self.act, lang).to_owned(),
                ..self.recorded(lang)
            },
            Stage::Effective { at } => Words {
                before: effective(self.act, lang, self.recorded_at, at),
                time: paris::second(at),
                after: String::new(),
                means: proved(self.act, lang).to_owned(),
            },
        };
        let spaced = |text: String| typography::finish(&text, lang);
        Words {
            before: spaced(words.before),
            time: words.time,
            after: spaced(words.after),
            means: spaced(words.means),
        }
    }

    fn recorded(&self, lang: Lang) -> Words {
        Words {
            before: match self.act {
                Act::Stop => lang.t("Retrait enregistré à", "Withdrawal recorded at"),
                Act::GiveBack => lang.t("Autorisation rendue à", "Authorisation given back at"),
                Act::Limit => lang.t("Limitation enregistrée à", "Limitation recorded at"),
            }
            .to_owned(),
            time: paris::second(self.recorded_at),
            after: String::new(),
            means: String::new(),
        }
    }

    fn under_way(&self, lang: Lang) -> String {
        let (bound, what) = (bound(self.bound_ms, lang), self.act.noun(lang));
        match lang {
            Lang::Fr => format!(
                "Les administrations sont prévenues en ce moment. Au plus tard {bound} après, une administration qui n’a pas \
                 reçu {what} cesse d’elle-même de transmettre."
            ),
            Lang::En => format!(
                "The administrations are being told now. At the latest {bound} later, an administration that has not received \
                 {what} ceases to send of its own accord."
            ),
        }
    }
}

impl Act {
    /// « le retrait », « la limitation ».
    const fn noun(self, lang: Lang) -> &'static str {
        match self {
            Self::Stop | Self::GiveBack => lang.t("le retrait", "the withdrawal"),
            Self::Limit => lang.t("la limitation", "the limitation"),
        }
    }
}

/// What it means that nothing is proved yet after the bound.
const fn late(act: Act, lang: Lang) -> &'static str {
    match act {
        Act::Stop | Act::GiveBack => lang.t(
            "C’est plus long que prévu. Le retrait est enregistré et ne sera pas perdu, mais rien ne prouve encore que \
             toutes les administrations l’appliquent.",
            "This is taking longer than expected. The withdrawal is recorded and will not be lost, but nothing proves yet \
             that every administration applies it.",
        ),
        Act::Limit => lang.t(
            "C’est plus long que prévu. La limitation est enregistrée et ne sera pas perdue, mais rien ne prouve encore que \
             toutes les administrations l’appliquent.",
            "This is taking longer than expected. The limitation is recorded and will not be lost, but nothing proves yet \
             that every administration applies it.",
        ),
    }
}

/// What it means that the effect is proved.
const fn proved(act: Act, lang: Lang) -> &'static str {
    match act {
        Act::Stop | Act::GiveBack => lang.t(
            "Depuis cet instant, plus aucune administration ne transmet ces informations sur la base de cette \
             autorisation. C’est prouvé.",
            "Since that moment, no administration sends this information under this authorisation. That is proved.",
        ),
        Act::Limit => lang.t(
            "Depuis cet instant, aucune administration ne transmet plus d’informations que celles qui restent autorisées \
             ci-dessous. C’est prouvé.",
            "Since that moment, no administration sends more information than what is still authorised below. That is \
             proved.",
        ),
    }
}

/// « Retrait effectif à », with the day where it is another than that of the record.
fn effective(act: Act, lang: Lang, recorded_at: Micros, at: Micros) -> String {
    let what = match act {
        Act::Stop | Act::GiveBack => lang.t("Retrait effectif", "Withdrawal effective"),
        Act::Limit => lang.t("Limitation effective", "Limitation effective"),
    };
    let day = paris::day(at, lang);
    match (day == paris::day(recorded_at, lang), lang) {
        (true, Lang::Fr) => format!("{what} à"),
        (true, Lang::En) => format!("{what} at"),
        (false, Lang::Fr) => format!("{what} le {day} à"),
        (false, Lang::En) => format!("{what} on {day} at"),
    }
}

/// « une seconde », « 1,1 seconde »: never shorter than it is.
fn bound(ms: i64, lang: Lang) -> String {
    let tenths = (ms + 99) / 100;
    match (tenths / 10, tenths % 10, lang) {
        (1, 0, Lang::Fr) => "une seconde".to_owned(),
        (1, 0, Lang::En) => "one second".to_owned(),
        (n, 0, Lang::Fr) => format!("{n}\u{a0}secondes"),
        (n, 0, Lang::En) => format!("{n}\u{a0}seconds"),
        (n @ (0 | 1), t, Lang::Fr) => format!("{n},{t}\u{a0}seconde"),
        (n, t, Lang::Fr) => format!("{n},{t}\u{a0}secondes"),
        (n, t, Lang::En) => format!("{n}.{t}\u{a0}seconds"),
    }
}

/// What shows that a withdrawal has taken effect.
#[derive(Clone, Debug)]
pub struct EffectProof {
    /// What is proved.
    pub act: Act,
    /// What the logs of each source said; never empty.
    pub sources: Vec<SourceProof>,
    /// The proof itself, to take home; `None` until the authority's ledger holds its entry.
    pub download: Option<String>,
    /// The same page, asked for again.
    pub refresh: String,
}

/// The logs of one source, by where each stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceProof {
    /// The source's name.
    pub source: String,
    /// How many confirmed the withdrawal.
    pub acknowledged: usize,
    /// How many did not, until the time that they may go on without word from the authority was over.
    pub lapsed: usize,
    /// How many could serve only once they had it.
    pub opened: usize,
    /// How many are in the directory and kept by no process that the authority knows of.
    pub absent: usize,
}

impl SourceProof {
    /// One sentence for each way in which logs stood.
    pub fn words(&self, lang: Lang, act: Act) -> String {
        let what = act.noun(lang);
        let all = self.acknowledged + self.lapsed + self.opened + self.absent;
        let mut sentences = Vec::new();
        match (self.acknowledged, lang) {
            (0, _) => {}
            (1, Lang::Fr) => sentences.push(format!("1 registre sur {all} a confirmé {what}.")),
            (n, Lang::Fr) => sentences.push(format!("{n} registres sur {all} ont confirmé {what}.")),
            (1, Lang::En) => sentences.push(format!("1 ledger of {all} confirmed {what}.")),
            (n, Lang::En) => sentences.push(format!("{n} ledgers of {all} confirmed {what}.")),
        }
        match (self.lapsed, lang) {
            (0, _) => {}
            (1, Lang::Fr) => sentences.push(
                "Le délai d’un registre injoignable s’est écoulé : sans nouvelles, il ne transmet plus rien.".to_owned(),
            ),
            (n, Lang::Fr) => sentences.push(format!(
                "Le délai de {n} registres injoignables s’est écoulé : sans nouvelles, ils ne transmettent plus rien."
            )),
            (1, Lang::En) => sentences.push(
                "The time of a ledger that could not be reached has run out: without word, it sends nothing more.".to_owned(),
            ),
            (n, Lang::En) => sentences.push(format!(
                "The time of {n} ledgers that could not be reached has run out: without word, they send nothing more."
            )),
        }
        match (self.opened, lang) {
            (0, _) => {}
            (1, Lang::Fr) => {
                sentences.push(format!("Un registre n’a pu servir qu’après avoir reçu {what}."));
            }
            (n, Lang::Fr) => sentences.push(format!(
                "{n} registres n’ont pu servir qu’après avoir reçu {what}."
            )),
            (1, Lang::En) => {
                sentences.push(format!("A ledger could serve only once it had {what}."));
            }
            (n, Lang::En) => {
                sentences.push(format!("{n} ledgers could serve only once they had {what}."));
            }
        }
        match (self.absent, lang) {
            (0, _) => {}
            (1, Lang::Fr) => {
                sentences.push("Un registre de l’annuaire n’est tenu par aucun programme connu.".to_owned());
            }
            (n, Lang::Fr) => sentences.push(format!(
                "{n} registres de l’annuaire ne sont tenus par aucun programme connu."
            )),
            (1, Lang::En) => {
                sentences.push("A ledger of the directory is kept by no known programme.".to_owned())
            }
            (n, Lang::En) => {
                sentences.push(format!(
                    "{n} ledgers of the directory are kept by no known programme."
                ));
            }
        }
        if sentences.is_empty() {
            return lang
                .t(
                    "L’annuaire ne lui donne aucun registre.",
                    "The directory gives it no ledger.",
                )
                .to_owned();
        }
        sentences.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        text.parse().unwrap()
    }

    #[test]
    fn the_bound_is_never_said_shorter_than_it_is() {
        for (ms, fr, en) in [
            (1_000, "une seconde", "one second"),
            (1_050, "1,1\u{a0}seconde", "1.1\u{a0}seconds"),
            (1_001, "1,1\u{a0}seconde", "1.1\u{a0}seconds"),
            (1_950, "2\u{a0}secondes", "2\u{a0}seconds"),
            (500, "0,5\u{a0}seconde", "0.5\u{a0}seconds"),
            (2_500, "2,5\u{a0}secondes", "2.5\u{a0}seconds"),
        ] {
            assert_eq!(
                (bound(ms, Lang::Fr), bound(ms, Lang::En)),
                (fr.to_owned(), en.to_owned())
            );
        }
    }

    #[test]
    fn effective_is_said_once_it_is_with_its_day_where_that_is_another() {
        let progress = |act, stage| Progress {
            act,
            recorded_at: at("2026-11-24T22:59:58Z"),
            stage,
            bound_ms: 1_050,
            follow: String::new(),
            refresh: String::new(),
            proof: None,
        };
        let says = |act, stage| {
            let words = progress(act, stage).words(Lang::Fr);
            format!("{} {}{}", words.before, words.time, words.after)
        };
        let [same, next] =
            ["2026-11-24T22:59:59Z", "2026-11-24T23:00:00Z"].map(|text| Stage::Effective { at: at(text) });
        for (act, recorded, effective) in [
            (Act::Stop, "Retrait enregistré", "Retrait effectif"),
            (Act::GiveBack, "Autorisation rendue", "Retrait effectif"),
            (Act::Limit, "Limitation enregistrée", "Limitation effective"),
        ] {
            let expected = format!("{recorded} à 23:59:58, en cours");
            assert_eq!(says(act, Stage::UnderWay), expected);
            let expected = format!("{recorded} à 23:59:58, toujours en cours");
            assert_eq!(says(act, Stage::Late), expected);
            assert_eq!(says(act, same), format!("{effective} à 23:59:59"));
            let expected = format!("{effective} le mercredi 25\u{a0}novembre\u{a0}2026 à 00:00:00");
            assert_eq!(says(act, next), expected);
            for stage in [Stage::UnderWay, Stage::Late] {
                for lang in Lang::ALL {
                    let words = progress(act, stage).words(lang);
                    let all = format!("{}{}{}", words.before, words.after, words.means);
                    assert!(!all.contains("ffecti"), "{all}");
                }
            }
        }
    }

    #[test]
    fn each_way_in_which_logs_stood_has_its_sentence() {
        let proof = |counts: [usize; 4]| SourceProof {
            source: String::new(),
            acknowledged: counts[0],
            lapsed: counts[1],
            opened: counts[2],
            absent: counts[3],
        };
        let sentences = |counts, lang| proof(counts).words(lang, Act::Stop).matches('.').count();
        for lang in Lang::ALL {
            for n in [1, 2] {
                assert_eq!(sentences([n, 0, 0, 0], lang), 1);
                assert_eq!(sentences([n, n, n, n], lang), 4);
            }
            assert_eq!(sentences([0; 4], lang), 1, "nothing is left unsaid");
        }
        let two = proof([2, 1, 0, 0]).words(Lang::Fr, Act::Stop);
        assert!(
            two.starts_with("2 registres sur 3 ont confirmé le retrait. Le délai d’un registre injoignable")
        );
    }
}
