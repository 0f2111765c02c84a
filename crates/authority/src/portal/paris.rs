//! Dates and hours as people in France read them: Paris time, by the summer-time rule of the European Union
//! (directive 2000/84/EC: from the last Sunday of March to the last Sunday of October, at 01:00 UTC).

use time::{Date, Month as MonthName, OffsetDateTime, UtcOffset, Weekday};
use unefois_core::{BirthDate, Micros, Month};

use super::Lang;

const NBSP: char = '\u{a0}';

/// « mardi 24 novembre 2026 »; “Tuesday 24 November 2026”.
pub fn day(at: Micros, lang: Lang) -> String {
    local(at).map_or_else(
        || at.to_string(),
        |t| format!("{} {}", weekday(t.weekday(), lang), date(t.date(), lang)),
    )
}

/// « 24 novembre 2026 ».
pub fn short_day(at: Micros, lang: Lang) -> String {
    local(at).map_or_else(|| at.to_string(), |t| date(t.date(), lang))
}

/// « 14 h 05 »; “14:05”.
pub fn hour(at: Micros, lang: Lang) -> String {
    local(at).map_or_else(
        || at.to_string(),
        |t| match lang {
            Lang::Fr => format!("{}{NBSP}h{NBSP}{:02}", t.hour(), t.minute()),
            Lang::En => format!("{:02}:{:02}", t.hour(), t.minute()),
        },
    )
}

/// « mardi 24 novembre 2026 à 14 h 05 »; “Tuesday 24 November 2026 at 14:05”.
pub fn day_hour(at: Micros, lang: Lang) -> String {
    format!("{} {} {}", day(at, lang), lang.t("à", "at"), hour(at, lang))
}

/// « mardi 24 novembre 2026 à 14:05:12 »; “Tuesday 24 November 2026 at 14:05:12”.
pub fn day_second(at: Micros, lang: Lang) -> String {
    format!("{} {} {}", day(at, lang), lang.t("à", "at"), second(at))
}

/// « 14:05:12 », for what is told to the second.
pub fn second(at: Micros) -> String {
    local(at).map_or_else(
        || at.to_string(),
        |t| format!("{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second()),
    )
}

/// « 24 août 1962 », or as much of a birth date as is known.
pub fn birth_day(birth: BirthDate, lang: Lang) -> String {
    let year = birth.year();
    let Some(month) = birth.month().and_then(|month| MonthName::try_from(month).ok()) else {
        return year.to_string();
    };
    let known = |day| Date::from_calendar_date(i32::from(year), month, day).ok();
    match birth.day().and_then(known) {
        Some(day) => date(day, lang),
        None => format!("{}{NBSP}{year}", month_name(month, lang)),
    }
}

/// « novembre 2026 ».
pub fn month(month: Month, lang: Lang) -> String {
    MonthName::try_from(month.month).map_or_else(
        |_| month.to_string(),
        |m| format!("{}{NBSP}{}", month_name(m, lang), month.year),
    )
}

/// The calendar month in Paris that this instant falls in.
pub fn month_of(at: Micros) -> Month {
    local(at).map_or_else(
        || at.month(),
        |t| Month {
            year: t.year(),
            month: u8::from(t.month()),
        },
    )
}

/// « 2026-11-24 », as the field of a day holds it.
pub fn iso_day(at: Micros) -> String {
    local(at).map_or_else(
        || at.to_string(),
        |t| format!("{:04}-{:02}-{:02}", t.year(), u8::from(t.month()), t.day()),
    )
}

/// The instant at which a day begins in Paris, as the field of a day holds it, or as people write it where their browser
/// has no such field: « 2026-11-24 », « 24/11/2026 ».
pub fn day_begins(text: &str) -> Option<Micros> {
    let three =
        |mark: char| -> Option<[&str; 3]> { text.trim().splitn(3, mark).collect::<Vec<_>>().try_into().ok() };
    let [year, month, day] = match text.contains('/') {
        true => three('/').map(|[day, month, year]| [year, month, day])?,
        false => three('-')?,
    };
    midnight(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// The last second of the day in Paris that this instant falls in.
pub fn day_ends(at: Micros) -> Option<Micros> {
    let next = local(at)?.date().next_day()?;
    let begins = midnight(next.year(), next.month().into(), next.day())?;
    Some(begins.plus_ms(-1_000))
}

/// The last second of the same day so many months later in Paris, or of that month's last day where it has no such one.
pub fn after_months(at: Micros, months: i32) -> Option<Micros> {
    let day = local(at)?.date();
    let then = Month {
        year: day.year(),
        month: u8::from(day.month()),
    }
    .plus(months);
    let name = MonthName::try_from(then.month).ok()?;
    let date = Date::from_calendar_date(then.year, name, day.day().min(name.length(then.year))).ok()?;
    let next = date.next_day()?;
    let begins = midnight(next.year(), next.month().into(), next.day())?;
    Some(begins.plus_ms(-1_000))
}

/// The instant at which this day begins in Paris.
pub fn midnight(year: i32, month: u8, day: u8) -> Option<Micros> {
    let date = Date::from_calendar_date(year, MonthName::try_from(month).ok()?, day).ok()?;
    let utc = date.midnight().assume_utc();
    // The switch is at 02:00 or 03:00 local time, so the offset one hour before midnight UTC holds at local midnight.
    let start = utc.checked_sub(time::Duration::seconds(i64::from(offset_seconds(
        utc - time::Duration::hours(1),
    ))))?;
    Some(Micros::from_secs(start.unix_timestamp()))
}

/// The instant on the clocks of Paris; `None` beyond the year 9999.
fn local(at: Micros) -> Option<OffsetDateTime> {
    let utc = at.to_utc()?;
    utc.checked_to_offset(UtcOffset::from_whole_seconds(offset_seconds(utc)).ok()?)
}

fn offset_seconds(utc: OffsetDateTime) -> i32 {
    let year = utc.year();
    let summer = match (
        last_sunday(year, MonthName::March),
        last_sunday(year, MonthName::October),
    ) {
        (Some(start), Some(end)) => start <= utc && utc < end,
        (None, _) | (_, None) => false,
    };
    if summer { 7_200 } else { 3_600 }
}

/// The last Sunday of a month of 31 days, at 01:00 UTC.
fn last_sunday(year: i32, month: MonthName) -> Option<OffsetDateTime> {
    let last = Date::from_calendar_date(year, month, 31).ok()?;
    let back = i64::from(last.weekday().number_days_from_sunday());
    Some(
        last.checked_sub(time::Duration::days(back))?
            .with_hms(1, 0, 0)
            .ok()?
            .assume_utc(),
    )
}

fn date(date: Date, lang: Lang) -> String {
    let (number, month) = (date.day(), month_name(date.month(), lang));
    let first = if number == 1 && lang.fr() { "er" } else { "" };
    format!("{number}{first}{NBSP}{month}{NBSP}{}", date.year())
}

const fn weekday(day: Weekday, lang: Lang) -> &'static str {
    match day {
        Weekday::Monday => lang.t("lundi", "Monday"),
        Weekday::Tuesday => lang.t("mardi", "Tuesday"),
        Weekday::Wednesday => lang.t("mercredi", "Wednesday"),
        Weekday::Thursday => lang.t("jeudi", "Thursday"),
        Weekday::Friday => lang.t("vendredi", "Friday"),
        Weekday::Saturday => lang.t("samedi", "Saturday"),
        Weekday::Sunday => lang.t("dimanche", "Sunday"),
    }
}

const fn month_name(month: MonthName, lang: Lang) -> &'static str {
    match month {
        MonthName::January => lang.t("janvier", "January"),
        MonthName::February => lang.t("février", "February"),
        MonthName::March => lang.t("mars", "March"),
        MonthName::April => lang.t("avril", "April"),
        MonthName::May => lang.t("mai", "May"),
        MonthName::June => lang.t("juin", "June"),
        MonthName::July => lang.t("juillet", "July"),
        MonthName::August => lang.t("août", "August"),
        MonthName::September => lang.t("septembre", "September"),
        MonthName::October => lang.t("octobre", "October"),
        MonthName::November => lang.t("novembre", "November"),
        MonthName::December => lang.t("décembre", "December"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        text.parse().unwrap()
    }

    #[test]
    fn months_later_is_the_end_of_the_same_day_or_of_the_month() {
        for (from, months, end) in [
            ("2026-11-30T12:00:00Z", 24, "2028-11-30T22:59:59Z"),
            ("2026-11-30T23:30:00Z", 24, "2028-12-01T22:59:59Z"),
            ("2024-02-29T12:00:00Z", 12, "2025-02-28T22:59:59Z"),
            ("2026-01-31T12:00:00Z", 6, "2026-07-31T21:59:59Z"),
        ] {
            let from: Micros = from.parse().unwrap();
            assert_eq!(after_months(from, months), end.parse().ok(), "{from}");
        }
    }

    #[test]
    fn the_hour_changes_at_one_utc_on_the_last_sundays() {
        for (utc, paris) in [
            ("2026-03-29T00:59:59Z", "01:59:59"),
            ("2026-03-29T01:00:00Z", "03:00:00"),
            ("2026-10-25T00:59:59Z", "02:59:59"),
            ("2026-10-25T01:00:00Z", "02:00:00"),
            ("2027-03-28T01:00:00Z", "03:00:00"),
            ("2024-03-31T00:59:59Z", "01:59:59"),
            ("2024-10-27T01:00:00Z", "02:00:00"),
            ("2026-12-31T23:30:00Z", "00:30:00"),
        ] {
            assert_eq!(second(at(utc)), paris, "{utc}");
        }
    }

    #[test]
    fn words_in_both_languages() {
        let t = at("2026-11-24T13:05:12Z");
        assert_eq!(
            day_hour(t, Lang::Fr),
            "mardi 24\u{a0}novembre\u{a0}2026 à 14\u{a0}h\u{a0}05"
        );
        assert_eq!(
            day_hour(t, Lang::En),
            "Tuesday 24\u{a0}November\u{a0}2026 at 14:05"
        );
        assert_eq!(
            short_day(at("2026-07-31T22:00:00Z"), Lang::Fr),
            "1er\u{a0}août\u{a0}2026"
        );
        assert_eq!(month_of(at("2026-07-31T22:00:00Z")).to_string(), "2026-08");
    }

    #[test]
    fn instants_beyond_the_calendar_are_shown_as_they_are() {
        for extreme in [i64::MAX, i64::MIN] {
            assert!(day_hour(Micros::new(extreme), Lang::Fr).contains(&extreme.to_string()));
        }
    }

    #[test]
    fn a_day_begins_at_local_midnight_even_when_the_hour_changes() {
        for ((y, m, d), utc) in [
            ((2026, 11, 24), "2026-11-23T23:00:00Z"),
            ((2026, 7, 1), "2026-06-30T22:00:00Z"),
            ((2026, 3, 29), "2026-03-28T23:00:00Z"),
            ((2026, 3, 30), "2026-03-29T22:00:00Z"),
            ((2026, 10, 25), "2026-10-24T22:00:00Z"),
            ((2026, 10, 26), "2026-10-25T23:00:00Z"),
        ] {
            assert_eq!(midnight(y, m, d), Some(at(utc)), "{y}-{m}-{d}");
        }
        for text in ["2026-10-25", "25/10/2026", " 25/10/2026 "] {
            let begins = day_begins(text).unwrap();
            assert_eq!(begins, at("2026-10-24T22:00:00Z"), "{text}");
            assert_eq!(day_ends(begins), Some(at("2026-10-25T22:59:59Z")));
            assert_eq!(iso_day(day_ends(begins).unwrap()), "2026-10-25");
        }
        for text in [
            "",
            "2026",
            "2026-10",
            "25-10-2026",
            "2026/10/25",
            "2026-02-30",
            "2026-10-25T00",
            "x-y-z",
        ] {
            assert_eq!(day_begins(text), None, "{text}");
        }
        assert_eq!(midnight(2026, 2, 30), None);
        assert_eq!(midnight(2026, 13, 1), None);
    }
}
