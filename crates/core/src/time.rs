use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, UtcOffset};

/// An instant: microseconds since 1970-01-01T00:00:00Z, the one form that databases, hashes and signatures hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(i64);

/// The text is not an RFC 3339 instant between the years 0001 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 instant")]
pub struct InvalidInstant;

impl Micros {
    /// The instant that lies `micros` microseconds after the epoch.
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant that lies `secs` seconds after the epoch (JWT NumericDate), saturating.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down (JWT NumericDate).
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant moved by `ms` milliseconds, saturating.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// Milliseconds from `earlier` to this instant, rounded towards zero.
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }

    /// RFC 3339 in UTC with six decimals, so that text sorts as instants do.
    pub fn to_rfc3339(self) -> String {
        match self.to_utc() {
            Some(t) => format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second(),
                t.microsecond()
            ),
            None => format!("{}us", self.0),
        }
    }

    /// The calendar month, UTC, that this instant falls in.
    pub fn month(self) -> Month {
        match self.to_utc() {
            Some(t) => Month {
                year: t.year(),
                month: u8::from(t.month()),
            },
            None => Month { year: 0, month: 1 },
        }
    }

    /// This instant as a date and time in UTC, to show it; `None` beyond the year 9999.
    pub fn to_utc(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000).ok()
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl FromStr for Micros {
    type Err = InvalidInstant;

    fn from_str(s: &str) -> Result<Self, InvalidInstant> {
        let t = OffsetDateTime::parse(s, &Rfc3339)
            .map_err(|_| InvalidInstant)?
            .to_offset(UtcOffset::UTC);
        i64::try_from(t.unix_timestamp_nanos() / 1_000)
            .map(Self)
            .map_err(|_| InvalidInstant)
    }
}

/// A calendar month in UTC: the life span of one commitment secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Gregorian year.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
}

impl Month {
    /// One number that grows with the month: year × 12 + month − 1.
    pub fn ordinal(self) -> i32 {
        self.year * 12 + i32::from(self.month) - 1
    }

    /// The month of this [`ordinal`](Self::ordinal), within the years 1 to 9999.
    pub fn of_ordinal(ordinal: i32) -> Option<Self> {
        let within = (12..12 * 10_000).contains(&ordinal);
        within.then(|| Self { year: 0, month: 1 }.plus(ordinal))
    }

    /// The month that lies `months` later, or before it if negative.
    #[must_use]
    pub fn plus(self, months: i32) -> Self {
        let ordinal = self.ordinal().saturating_add(months);
        Self {
            year: ordinal.div_euclid(12),
            month: u8::try_from(ordinal.rem_euclid(12) + 1).expect("a remainder of twelve is below twelve"),
        }
    }

    /// Its first instant; that of the epoch for a month outside the years 1 to 9999.
    pub fn start(self) -> Micros {
        let month = time::Month::try_from(self.month);
        let day = month.and_then(|month| Date::from_calendar_date(self.year, month, 1));
        Micros::from_secs(day.map_or(0, |day| day.midnight().assume_utc().unix_timestamp()))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Microseconds of CLOCK_BOOTTIME: the clock of leases, which goes on while the machine is suspended and which
/// nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(i64);

impl Boot {
    /// `micros` microseconds after the machine's start.
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the machine's start.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// This moment moved by `ms` milliseconds, saturating.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// Microseconds from `earlier` to this moment; negative if it lies before.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where the time comes from.
///
/// Both readings are total (an implementation that cannot read its clock stops the process), and `boottime` never
/// goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock, UTC. It may be set, so nothing that must not be fooled by that may rest on it.
    fn now(&self) -> Micros;

    /// CLOCK_BOOTTIME.
    fn boottime(&self) -> Boot;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_instant() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T10:00:00",
            "2026-13-24T10:00:00Z",
            "10:00",
        ] {
            assert_eq!(text.parse::<Micros>(), Err(InvalidInstant), "{text}");
        }
    }

    #[test]
    fn text_round_trips_and_sorts_as_the_instants() {
        let earlier = Micros::new(1_795_512_305_000_000);
        let later = Micros::new(1_795_512_305_500_000);
        assert_eq!(earlier.to_rfc3339().parse(), Ok(earlier));
        assert!(earlier.to_rfc3339() < later.to_rfc3339());
        assert_eq!(
            "2026-11-24T11:05:05+01:00"
                .parse::<Micros>()
                .unwrap()
                .to_rfc3339(),
            "2026-11-24T10:05:05.000000Z"
        );
    }

    #[test]
    fn seconds_round_down_before_the_epoch() {
        assert_eq!(Micros::new(-1).secs(), -1);
        assert_eq!(Micros::new(1_999_999).secs(), 1);
    }

    #[test]
    fn month_is_the_calendar_month_in_utc() {
        let m = "2026-12-31T23:30:00-01:00".parse::<Micros>().unwrap().month();
        assert_eq!(m.to_string(), "2027-01");
        assert_eq!(m.ordinal(), 2027 * 12);
    }

    #[test]
    fn months_are_counted_over_the_turn_of_the_year() {
        let m = "2026-11-29T10:00:00Z".parse::<Micros>().unwrap().month();
        for (months, text) in [
            (-37, "2023-10"),
            (-11, "2025-12"),
            (0, "2026-11"),
            (2, "2027-01"),
            (37, "2029-12"),
        ] {
            assert_eq!(m.plus(months).to_string(), text);
        }
        assert_eq!(m.start().to_rfc3339(), "2026-11-01T00:00:00.000000Z");
        assert_eq!(m.plus(1).start().plus_ms(-1).month(), m);
    }
}
