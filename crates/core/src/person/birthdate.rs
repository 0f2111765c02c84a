use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::InvalidPivot;
use crate::Micros;

/// The age at which a parent's right to ask for a child ends (Code civil, 414).
const MAJORITY_YEARS: i32 = 18;

/// A birth date that may lack its day, or day and month: registers abroad are not always complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BirthDate {
    pub(super) year: u16,
    pub(super) month: Option<u8>,
    pub(super) day: Option<u8>,
}

impl BirthDate {
    /// The date, if it exists in the calendar; a day needs its month.
    pub fn new(year: u16, month: Option<u8>, day: Option<u8>) -> Result<Self, InvalidPivot> {
        let invalid = InvalidPivot("birthdate");
        let exists = match (month, day) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(m), None) => (1..=12).contains(&m),
            (Some(m), Some(d)) => time::Month::try_from(m)
                .is_ok_and(|m| time::Date::from_calendar_date(i32::from(year), m, d).is_ok()),
        };
        if !exists || !(1800..=2199).contains(&year) {
            return Err(invalid);
        }
        Ok(Self { year, month, day })
    }

    /// The year.
    pub const fn year(&self) -> u16 {
        self.year
    }

    /// The month, 1 to 12, if known.
    pub const fn month(&self) -> Option<u8> {
        self.month
    }

    /// The day, if known.
    pub const fn day(&self) -> Option<u8> {
        self.day
    }

    /// Whether both may be the same day: equal as far as both are known. A provider turns an unknown month or day
    /// into 1, so a first of January matches its bare year and no other month.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let agree = |a: Option<u8>, b: Option<u8>| a.zip(b).is_none_or(|(a, b)| a == b);
        self.year == other.year && agree(self.month, other.month) && agree(self.day, other.day)
    }

    /// Whether somebody born then is of age (18 years) at `now`, in France, or may be: an unknown month or day counts as
    /// the first, and the day begins when it does in the first of its time zones that may decide.
    pub fn may_be_of_age(&self, now: Micros) -> bool {
        // Paris is at most two hours ahead of UTC.
        let Some(today) = now.plus_ms(2 * 3_600_000).to_utc() else {
            return true;
        };
        let turns = (
            i32::from(self.year) + MAJORITY_YEARS,
            self.month.unwrap_or(1),
            self.day.unwrap_or(1),
        );
        (today.year(), u8::from(today.month()), today.day()) >= turns
    }

    /// Whether this day has come at `now`, as far as it is known.
    pub fn has_come(&self, now: Micros) -> bool {
        let born = (
            i32::from(self.year),
            self.month.unwrap_or(1),
            self.day.unwrap_or(1),
        );
        now.plus_ms(2 * 3_600_000)
            .to_utc()
            .is_some_and(|today| (today.year(), u8::from(today.month()), today.day()) >= born)
    }

    /// This date, then itself without its day, then without its month: the precisions at which a form may hold it.
    pub fn precisions(&self) -> impl Iterator<Item = Self> {
        let month = Self { day: None, ..*self };
        let year = Self { month: None, ..month };
        [Some(*self), self.day.map(|_| month), self.month.map(|_| year)]
            .into_iter()
            .flatten()
    }
}

impl fmt::Display for BirthDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02}",
            self.year,
            self.month.unwrap_or(0),
            self.day.unwrap_or(0)
        )
    }
}

impl FromStr for BirthDate {
    type Err = InvalidPivot;

    /// Reads `YYYY-MM-DD`, `YYYY-MM-00`, `YYYY-00-00`, `YYYY-MM` and `YYYY`.
    fn from_str(s: &str) -> Result<Self, InvalidPivot> {
        let invalid = InvalidPivot("birthdate");
        let mut parts = s.split('-');
        let mut number = |len: usize| match parts.next() {
            None => Ok(0),
            Some(p) if p.len() == len && p.bytes().all(|c| c.is_ascii_digit()) => {
                p.parse().map_err(|_| invalid)
            }
            Some(_) => Err(invalid),
        };
        let (year, month, day): (u16, u16, u16) = (number(4)?, number(2)?, number(2)?);
        let known = |n: u16| (n != 0).then(|| u8::try_from(n).unwrap_or(u8::MAX));
        if parts.next().is_some() {
            return Err(invalid);
        }
        Self::new(year, known(month), known(day))
    }
}

impl From<BirthDate> for String {
    fn from(date: BirthDate) -> Self {
        date.to_string()
    }
}

impl TryFrom<String> for BirthDate {
    type Error = InvalidPivot;

    fn try_from(s: String) -> Result<Self, InvalidPivot> {
        s.parse()
    }
}
