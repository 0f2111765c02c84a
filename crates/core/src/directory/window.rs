//! Closed windows are said in Paris wall time, the time of those who run the sources. France's rule for summer time
//! (directive 2000/84/EC) is the few lines at the end; when it changes, so do they.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Date, Duration, Month, OffsetDateTime, Weekday};

use crate::Micros;

/// A window, every day or on one day of the week, in which a source is closed. One that ends before it starts runs
/// past midnight; one that ends when it starts lasts a whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedWindow {
    /// The day on which it starts.
    pub day: Day,
    /// When it starts, Paris time.
    pub from: WallTime,
    /// When it ends, Paris time.
    pub to: WallTime,
}

/// Every day, or one day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Every day.
    Daily,
    /// Each Monday.
    Monday,
    /// Each Tuesday.
    Tuesday,
    /// Each Wednesday.
    Wednesday,
    /// Each Thursday.
    Thursday,
    /// Each Friday.
    Friday,
    /// Each Saturday.
    Saturday,
    /// Each Sunday.
    Sunday,
}

/// A time of the day, `HH:MM`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WallTime {
    minutes: u16,
}

/// The text is not a time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time of the day is HH:MM, from 00:00 to 23:59")]
pub struct InvalidWindow;

impl ClosedWindow {
    /// When it ends, if it holds at `now`.
    pub fn closed_until(&self, now: Micros) -> Option<Micros> {
        let local = now.to_utc()? + paris_offset(now)?;
        // Today's window, or yesterday's that runs past midnight.
        [local.date(), local.date().previous_day()?]
            .into_iter()
            .find_map(|date| {
                let start = date.midnight() + self.from.since_midnight();
                let night = if self.to <= self.from {
                    Duration::DAY
                } else {
                    Duration::ZERO
                };
                let end = date.midnight() + self.to.since_midnight() + night;
                let here = time::PrimitiveDateTime::new(local.date(), local.time());
                (self.day.is(date) && start <= here && here < end)
                    .then(|| paris_instant(end))
                    .flatten()
            })
    }
}

impl Day {
    fn is(self, date: Date) -> bool {
        let day = match self {
            Self::Daily => return true,
            Self::Monday => Weekday::Monday,
            Self::Tuesday => Weekday::Tuesday,
            Self::Wednesday => Weekday::Wednesday,
            Self::Thursday => Weekday::Thursday,
            Self::Friday => Weekday::Friday,
            Self::Saturday => Weekday::Saturday,
            Self::Sunday => Weekday::Sunday,
        };
        date.weekday() == day
    }
}

impl WallTime {
    fn since_midnight(self) -> Duration {
        Duration::minutes(i64::from(self.minutes))
    }
}

impl FromStr for WallTime {
    type Err = InvalidWindow;

    fn from_str(s: &str) -> Result<Self, InvalidWindow> {
        let number = |s: &str, max: u16| {
            let digits = s.len() == 2 && s.bytes().all(|c| c.is_ascii_digit());
            let number = digits.then(|| s.parse::<u16>().ok()).flatten();
            number.filter(|n| *n <= max).ok_or(InvalidWindow)
        };
        let (hours, minutes) = s.split_once(':').ok_or(InvalidWindow)?;
        Ok(Self {
            minutes: number(hours, 23)? * 60 + number(minutes, 59)?,
        })
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<WallTime> for String {
    fn from(time: WallTime) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for WallTime {
    type Error = InvalidWindow;

    fn try_from(s: String) -> Result<Self, InvalidWindow> {
        s.parse()
    }
}

/// How far Paris is ahead of UTC: two hours from the last Sunday of March, 01:00 UTC, to the last Sunday of October,
/// 01:00 UTC; one hour otherwise.
pub fn paris_offset(at: Micros) -> Option<Duration> {
    let utc = at.to_utc()?;
    let [summer, winter] = [Month::March, Month::October].map(|month| {
        let last = Date::from_calendar_date(utc.year(), month, 31).ok()?;
        let sunday = last - Duration::days(i64::from(last.weekday().number_days_from_sunday()));
        Some(sunday.midnight().assume_utc() + Duration::HOUR)
    });
    Some(if (summer?..winter?).contains(&utc) {
        Duration::hours(2)
    } else {
        Duration::HOUR
    })
}

/// The instant at which clocks in Paris show `local`; the first one where they show it twice.
fn paris_instant(local: time::PrimitiveDateTime) -> Option<Micros> {
    let micros = |t: OffsetDateTime| {
        i64::try_from(t.unix_timestamp_nanos() / 1_000)
            .ok()
            .map(Micros::new)
    };
    let summer = micros(local.assume_utc() - Duration::hours(2))?;
    match paris_offset(summer)? == Duration::hours(2) {
        true => Some(summer),
        false => micros(local.assume_utc() - Duration::HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        text.parse().unwrap()
    }

    fn window(day: Day, from: &str, to: &str) -> ClosedWindow {
        ClosedWindow {
            day,
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }
    }

    #[test]
    fn refuses_what_is_no_time_of_the_day() {
        for text in ["", "24:00", "12:60", "1:00", "01:0", "01-00", "+1:00", "01:00:00"] {
            assert_eq!(text.parse::<WallTime>(), Err(InvalidWindow), "{text}");
        }
    }

    #[test]
    fn summer_time_starts_and_ends_on_the_last_sunday_at_one_utc() {
        for (utc, hours) in [
            ("2026-03-29T00:59:59.999999Z", 1),
            ("2026-03-29T01:00:00Z", 2),
            ("2026-10-25T00:59:59.999999Z", 2),
            ("2026-10-25T01:00:00Z", 1),
            ("2027-03-28T01:00:00Z", 2),
            ("2027-10-31T00:00:00Z", 2),
            ("2026-11-24T12:00:00Z", 1),
        ] {
            assert_eq!(paris_offset(at(utc)), Some(Duration::hours(hours)), "{utc}");
        }
    }

    #[test]
    fn a_window_follows_paris_not_utc() {
        let sunday = window(Day::Sunday, "23:00", "23:45");
        assert_eq!(sunday.closed_until(at("2026-07-05T20:59:59Z")), None);
        assert_eq!(
            sunday.closed_until(at("2026-07-05T21:00:00Z")),
            Some(at("2026-07-05T21:45:00Z"))
        );
        assert_eq!(sunday.closed_until(at("2026-07-05T21:45:00Z")), None);
        assert_eq!(
            sunday.closed_until(at("2026-11-22T22:10:00Z")),
            Some(at("2026-11-22T22:45:00Z"))
        );
        assert_eq!(sunday.closed_until(at("2026-11-23T22:10:00Z")), None, "a Monday");
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_starts_on() {
        let saturday = window(Day::Saturday, "22:00", "01:30");
        assert_eq!(
            saturday.closed_until(at("2026-11-22T00:10:00Z")),
            Some(at("2026-11-22T00:30:00Z"))
        );
        assert_eq!(saturday.closed_until(at("2026-11-23T00:10:00Z")), None);
        let whole = window(Day::Monday, "00:00", "00:00");
        assert_eq!(
            whole.closed_until(at("2026-11-23T12:00:00Z")),
            Some(at("2026-11-23T23:00:00Z"))
        );
    }

    #[test]
    fn a_window_ends_right_on_the_night_that_clocks_change() {
        let night = window(Day::Daily, "01:10", "03:30");
        assert_eq!(
            night.closed_until(at("2026-03-29T00:30:00Z")),
            Some(at("2026-03-29T01:30:00Z"))
        );
        assert_eq!(
            night.closed_until(at("2026-10-25T00:30:00Z")),
            Some(at("2026-10-25T02:30:00Z"))
        );
    }
}
