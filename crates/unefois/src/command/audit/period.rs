//! The period that a command looks at.

use std::ops::Range;

use clap::Args;
use unefois_core::Micros;

/// From when until when.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Period {
    /// From this day or instant: 2026-11-01 (UTC) or RFC 3339.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    pub from: Option<Micros>,
    /// Until this day or instant, which is not in it.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    pub to: Option<Micros>,
}

impl Period {
    /// The instants that lie in it.
    pub fn window(&self) -> Range<Micros> {
        self.from.unwrap_or(Micros::new(i64::MIN))..self.to.unwrap_or(Micros::new(i64::MAX))
    }

    /// In words, in French.
    pub fn words(&self) -> String {
        match (self.from, self.to) {
            (None, None) => "toute la période du registre".to_owned(),
            (Some(from), None) => format!("depuis le {from}"),
            (None, Some(to)) => format!("jusqu'au {to} exclu"),
            (Some(from), Some(to)) => format!("du {from} au {to} exclu"),
        }
    }
}

/// A day, taken at its beginning in UTC, or an instant.
fn instant(text: &str) -> Result<Micros, String> {
    let day = format!("{text}T00:00:00Z");
    let read = text.parse().or_else(|_| day.parse());
    read.map_err(|_| "a day such as 2026-11-01, or an instant such as 2026-11-01T08:30:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_days_or_instants_and_nothing_else() {
        for wrong in ["", "2026", "2026-13-01", "2026-11-01T", "hier"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
        let day = instant("2026-11-01").unwrap();
        assert_eq!(instant("2026-11-01T01:00:00+01:00"), Ok(day));
        let period = Period {
            from: Some(day),
            to: None,
        };
        assert!(period.window().contains(&day) && !period.window().contains(&Micros::new(day.get() - 1)));
    }
}
