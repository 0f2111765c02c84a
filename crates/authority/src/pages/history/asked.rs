use unefois_core::Micros;

use crate::Error;
use crate::form::Form;
use crate::portal::{ResultKind, paris};

/// What the query asks for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) administration: String,
    pub(super) information: String,
    pub(super) result: Option<ResultKind>,
    pub(super) grant: Option<String>,
    pub(super) before: Option<Micros>,
}

impl Asked {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Error> {
        let mut form = Form::query(query)?;
        let mut take = |name| form.take(name).filter(|text| text.len() <= 128);
        Ok(Self {
            from: take("du").unwrap_or_default(),
            to: take("au").unwrap_or_default(),
            administration: take("administration").unwrap_or_default(),
            information: take("information").unwrap_or_default(),
            result: take("resultat").and_then(|code| ResultKind::from_code(&code)),
            grant: take("autorisation"),
            before: take("avant").and_then(|text| text.parse().ok()).map(Micros::new),
        })
    }

    /// The same question, with more.
    pub(super) fn query(&self, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("du", self.from.as_str()),
            ("au", &self.to),
            ("administration", &self.administration),
            ("information", &self.information),
            ("resultat", self.result.map_or("", ResultKind::code)),
            ("autorisation", self.grant.as_deref().unwrap_or_default()),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.extend_pairs(more).finish()
    }

    /// First and last instant asked for; `None` where they are no dates or the wrong way round.
    pub(super) fn period(&self) -> Option<(Option<Micros>, Option<Micros>)> {
        let from = day(&self.from)?;
        let to = day(&self.to)?.map(|start| start.plus_ms(24 * 3_600_000));
        match (from, to) {
            (Some(from), Some(to)) if to <= from => None,
            period => Some(period),
        }
    }
}

/// The start of a day in Paris; `Some(None)` for an empty text, `None` for what is no date.
fn day(text: &str) -> Option<Option<Micros>> {
    if text.is_empty() {
        return Some(None);
    }
    paris::day_begins(text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_that_is_none_is_said_so() {
        for (from, to) in [
            ("2026-13-01", ""),
            ("x", ""),
            ("2026-11-24", "2026-11-23"),
            ("2026-11", ""),
        ] {
            let asked = Asked {
                from: from.to_owned(),
                to: to.to_owned(),
                ..Asked::default()
            };
            assert!(asked.period().is_none(), "{from} {to}");
        }
        let asked = Asked {
            from: "2026-11-24".to_owned(),
            to: "2026-11-24".to_owned(),
            ..Asked::default()
        };
        let (from, to) = asked.period().unwrap();
        assert_eq!(to.unwrap().ms_since(from.unwrap()), 24 * 3_600_000);
    }

    #[test]
    fn the_same_question_goes_on_without_what_is_empty() {
        let asked = Asked::parse(Some("du=2026-11-24&resultat=transmis&administration=&avant=5")).unwrap();
        assert_eq!(
            asked.query(&[("avant", "4")]),
            "du=2026-11-24&resultat=transmis&avant=4"
        );
        assert_eq!(asked.before, Some(Micros::new(5)));
    }
}
