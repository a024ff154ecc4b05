//! Dates that law speaks of: local dates in the controller's time zone (RET-5, RET-6).

use std::{fmt, str::FromStr};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};

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

    /// Whether this lies after `now`: a date is compared with the local date of today (DATA-1).
    pub fn is_after(self, now: Timestamp, tz: &TimeZone) -> bool {
        match self {
            When::Date(date) => date > now.to_zoned(tz.clone()).date(),
            When::Instant(instant) => instant > now,
        }
    }
}

/// Reads `2026-03-10` or an RFC 3339 instant.
impl FromStr for When {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<When, jiff::Error> {
        if text.len() <= 10 { Ok(When::Date(text.parse()?)) } else { Ok(When::Instant(text.parse()?)) }
    }
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
pub fn add_months(date: Date, months: i32) -> Date {
    date.saturating_add(months.months())
}
