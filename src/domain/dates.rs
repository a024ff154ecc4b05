//! Dates that law speaks of: local dates in the controller's time zone (RET-5, RET-6).

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Time},
    tz::TimeZone,
};

/// When something happened: as a local date, or as an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// A date of the controller's calendar, without a time.
    Date(Date),
    /// An exact instant.
    Instant(Timestamp),
}

impl When {
    /// The local date in the controller's time zone.
    pub fn local_date(self, tz: &TimeZone) -> Date {
        match self {
            When::Date(date) => date,
            When::Instant(instant) => tz.to_datetime(instant).date(),
        }
    }

    /// The instant itself, or the first one of the date in the controller's time zone.
    pub fn starts_at(self, tz: &TimeZone) -> Timestamp {
        match self {
            When::Instant(instant) => instant,
            When::Date(date) => tz.to_timestamp(date.to_datetime(Time::midnight())).unwrap_or(Timestamp::MAX),
        }
    }

    /// Whether this lies after `now`: a date is compared with the local date of today (DATA-1).
    pub fn is_after(self, now: Timestamp, tz: &TimeZone) -> bool {
        match self {
            When::Date(date) => date > tz.to_datetime(now).date(),
            When::Instant(instant) => instant > now,
        }
    }
}

/// Reads `2026-03-10` or an RFC 3339 instant, and nothing looser: a date without dashes or a time
/// without zone would have to be guessed.
impl FromStr for When {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<When, jiff::Error> {
        match text.len() {
            10 if follows(text, "0000-00-00") => Ok(When::Date(text.parse()?)),
            20.. if is_rfc_3339(text) => Ok(When::Instant(text.parse()?)),
            _ => Err(jiff::Error::from_args(format_args!("neither a date YYYY-MM-DD nor an RFC 3339 instant"))),
        }
    }
}

/// RFC 3339 section 5.6: date, `T`, time with seconds, perhaps a fraction, then `Z` or an offset.
fn is_rfc_3339(text: &str) -> bool {
    let Some((seconds, rest)) = text.split_at_checked(19) else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let fraction_ok = rest.len() - zone.len() != 1;
    let zone_ok = zone == "Z" || follows(zone, "+00:00") || follows(zone, "-00:00");
    follows(seconds, "0000-00-00T00:00:00") && fraction_ok && zone_ok
}

/// Whether the text has a digit wherever the pattern has `0`, and the pattern's character elsewhere.
fn follows(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(t, p)| if p == b'0' { t.is_ascii_digit() } else { t == p })
}

/// Writes what `FromStr` reads.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Date(date) => date.fmt(f),
            When::Instant(instant) => instant.fmt(f),
        }
    }
}

/// What is known of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dated {
    /// Nobody knows.
    #[default]
    Unknown,
    /// Something is written that is no date (DATA_INVALID_DATE).
    Invalid,
    /// Known.
    At(When),
}

impl Dated {
    /// Reads a stored or tabular value: empty is unknown, an unreadable one is invalid.
    pub fn read(text: &str) -> Dated {
        match text {
            "" => Dated::Unknown,
            text => text.parse().map_or(Dated::Invalid, Dated::At),
        }
    }

    /// The date or instant, if known.
    pub fn known(self) -> Option<When> {
        match self {
            Dated::At(when) => Some(when),
            Dated::Unknown | Dated::Invalid => None,
        }
    }
}

/// `months` later, counted as Regulation 1182/71 article 3 does: same day of the month, or the last
/// one of a shorter month; the resulting date belongs to the period (RET-5).
pub fn add_months(date: Date, months: u32) -> Date {
    // A span has a limit, and panics beyond it; the calendar ends before.
    let months = months.min(MONTHS_OF_THE_CALENDAR) as i32;
    date.saturating_add(months.months())
}

/// `days` later, at most the calendar's last day.
pub fn add_days(date: Date, days: u32) -> Date {
    let days = days.min(MONTHS_OF_THE_CALENDAR * 30) as i32;
    date.saturating_add(days.days())
}

/// From the first to the last year that jiff knows.
const MONTHS_OF_THE_CALENDAR: u32 = 2 * 9_999 * 12;

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn paris() -> TimeZone {
        TimeZone::get("Europe/Paris").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn months_end_on_the_same_day_or_on_the_last_of_a_shorter_month() {
        assert_eq!(add_months(date(2023, 11, 18), 36), date(2026, 11, 18));
        assert_eq!(add_months(date(2020, 2, 29), 36), date(2023, 2, 28));
        assert_eq!(add_months(date(2020, 2, 29), 48), date(2024, 2, 29));
        assert_eq!(add_months(date(2025, 1, 31), 1), date(2025, 2, 28));
        assert_eq!(add_months(date(2024, 1, 31), 1), date(2024, 2, 29));
        assert_eq!(add_months(date(2025, 8, 31), 6), date(2026, 2, 28));
        assert_eq!(add_months(date(2025, 12, 15), 1), date(2026, 1, 15));
        assert_eq!(add_months(date(2025, 12, 15), 0), date(2025, 12, 15));
    }

    #[test]
    fn beyond_the_calendar_is_its_last_day() {
        assert_eq!(add_months(date(2025, 1, 1), u32::MAX), Date::MAX);
        assert_eq!(add_days(date(2025, 1, 1), u32::MAX), Date::MAX);
        assert_eq!(add_months(Date::MIN, 9_999 * 12), date(0, 1, 1));
    }

    #[test]
    fn the_local_date_is_that_of_the_controller() {
        let late = When::Instant(at("2023-11-17T23:30:00Z"));
        assert_eq!(late.local_date(&paris()), date(2023, 11, 18));
        assert_eq!(late.local_date(&TimeZone::UTC), date(2023, 11, 17));
        assert_eq!(When::Date(date(2023, 11, 17)).local_date(&paris()), date(2023, 11, 17));
    }

    #[test]
    fn a_date_is_in_the_future_from_tomorrow_on_and_an_instant_at_once() {
        let now = at("2026-11-17T23:30:00Z");
        let after = |text: &str, tz| Dated::read(text).known().unwrap().is_after(now, &tz);
        assert!(!after("2026-11-18", paris()));
        assert!(after("2026-11-18", TimeZone::UTC));
        assert!(after("2026-11-19", paris()));
        assert!(!after("2026-11-17T23:30:00Z", paris()));
        assert!(after("2026-11-17T23:30:00.001Z", paris()));
    }

    #[test]
    fn empty_is_unknown_and_anything_loose_is_invalid() {
        assert_eq!(Dated::read(""), Dated::Unknown);
        assert_eq!(Dated::read("2026-03-10"), Dated::At(When::Date(date(2026, 3, 10))));
        let instant = Dated::At(When::Instant(at("2026-03-10T08:00:00Z")));
        assert_eq!(Dated::read("2026-03-10T08:00:00Z"), instant);
        assert_eq!(Dated::read("2026-03-10T09:00:00+01:00"), instant);
        assert_eq!(Dated::read("2026-03-10T08:00:00.000Z"), instant);
        for text in [
            " ",
            "2026",
            "2026-03",
            "20260310",
            "2026-3-10",
            "10/03/2026",
            "2026-02-30",
            "2026-13-01",
            "2026-00-10",
            "2026-03-10 ",
            "2026-03-10T08:00:00",
            "2026-03-10T08:00Z",
            "2026-03-10 08:00:00Z",
            "2026-03-10T25:00:00Z",
            "2026-03-10T08:00:00.Z",
            "2026-03-10T08:00:00z",
            "2026-03-10T08:00:00+0100",
            "2026-03-10T08:00:00+01:00[Europe/Paris]",
            "+002026-03-10",
            "2026-W10-2",
            "yesterday",
            "46091",
            "2026-03-10T08:00:00\u{e9}Z",
        ] {
            assert_eq!(Dated::read(text), Dated::Invalid, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(second in -62_135_596_800i64..253_402_207_200, nanos in 0i32..1_000_000_000, days in 0i32..3_650_000) {
            let instant = When::Instant(Timestamp::new(second, nanos).unwrap());
            prop_assert_eq!(instant.to_string().parse::<When>().unwrap(), instant);
            let day = When::Date(date(1, 1, 1).saturating_add(days.days()));
            prop_assert_eq!(day.to_string().parse::<When>().unwrap(), day);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,30}", digits in "[0-9TZ:.+-]{0,30}") {
            let _ = (Dated::read(&text), Dated::read(&digits));
        }

        #[test]
        fn months_never_go_back_and_never_leave_the_month_they_lead_to(days in -3_000_000i32..2_900_000, months in 0u32..2_000) {
            let start = date(0, 1, 1).saturating_add(days.days());
            let end = add_months(start, months);
            prop_assert!(end >= start && end <= add_months(start, months + 1));
            if end < Date::MAX {
                let count = |d: Date| i32::from(d.year()) * 12 + i32::from(d.month());
                prop_assert_eq!(count(end) - count(start), months as i32);
                prop_assert!(end.day() == start.day() || (end.day() < start.day() && end == end.last_of_month()));
            }
        }
    }
}
