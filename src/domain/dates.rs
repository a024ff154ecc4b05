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
            When::Instant(instant) => instant.to_zoned(tz.clone()).date(),
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
            When::Date(date) => date > now.to_zoned(tz.clone()).date(),
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
