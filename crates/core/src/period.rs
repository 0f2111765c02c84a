use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::InvalidId;

/// The period that a value is about: `2026-05`, `2025`, or the school year `2025-2026`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Period {
    /// A calendar month.
    Month {
        /// Gregorian year, 1900 to 2199.
        year: u16,
        /// 1 to 12.
        month: u8,
    },
    /// A calendar year.
    Year(u16),
    /// The school year that begins in this year.
    SchoolYear(u16),
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Month { year, month } => write!(f, "{year:04}-{month:02}"),
            Self::Year(year) => write!(f, "{year:04}"),
            Self::SchoolYear(year) => write!(f, "{year:04}-{:04}", year + 1),
        }
    }
}

impl FromStr for Period {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        const FORM: InvalidId = InvalidId::new("a period is YYYY-MM, YYYY or YYYY-YYYY for a school year");
        let number = |s: &str| {
            s.bytes()
                .all(|c| c.is_ascii_digit())
                .then(|| s.parse::<u16>().ok())
                .flatten()
        };
        let year = |s: &str| number(s).filter(|y| s.len() == 4 && (1900..2200).contains(y));
        let period = match s.split_once('-') {
            None => year(s).map(Self::Year),
            Some((y, m)) if m.len() == 2 => year(y).and_then(|year| {
                let month = number(m).filter(|m| (1..=12).contains(m))?;
                Some(Self::Month {
                    year,
                    month: u8::try_from(month).ok()?,
                })
            }),
            Some((y, next)) => year(y)
                .filter(|y| year(next) == Some(y + 1))
                .map(Self::SchoolYear),
        };
        period.ok_or(FORM)
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl TryFrom<String> for Period {
    type Error = InvalidId;

    fn try_from(s: String) -> Result<Self, InvalidId> {
        s.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_months_and_years_that_do_not_exist() {
        for text in [
            "",
            "2026-13",
            "2026-00",
            "2026-5",
            "26-05",
            "2025-2027",
            "2026-05-01",
            "+026",
            "1899",
            "2026-",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        for text in ["2026-05", "2025", "2025-2026"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
    }
}
