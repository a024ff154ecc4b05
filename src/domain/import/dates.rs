//! Dates as people write them. Where day and month could be exchanged, the order must be known:
//! it is an argument, or other values of the same file prove it ([`Evidence`]). Never a guess.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use super::vocabulary::fold;
use crate::domain::{dates::When, words::words};

words! {
    /// Which number comes first in dates like `04/05/2025`.
    DateOrder {
        /// Day, month, year.
        Dmy = "dmy",
        /// Month, day, year.
        Mdy = "mdy",
    }
}

/// Why a text is not a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DateFault {
    /// No form that is known, or a day that no calendar has.
    #[error(
        "not a date; write it as 2025-03-18 (also read: 18/03/2025, 18.03.2025, 18 mars 2025, March 18, 2025, \
         2025-03-18T14:05:00Z, a spreadsheet's serial number)"
    )]
    Unreadable,
    /// Day and month could be exchanged.
    #[error(
        "day and month could be exchanged, and nothing else in the file says which comes first; \
             pass --date-order dmy or --date-order mdy"
    )]
    Ambiguous,
    /// Other dates of the same file have it both ways.
    #[error(
        "day and month could be exchanged, and the file has dates of both orders; \
             pass --date-order dmy or --date-order mdy if one holds for the ambiguous ones, or write 2025-03-18"
    )]
    Contradicted,
    /// Only the other order could read it.
    #[error("does not fit --date-order {0}; write it as 2025-03-18, or correct the order")]
    OtherOrder(DateOrder),
    /// The century is missing.
    #[error("the year has two digits; write all four")]
    TwoDigitYear,
}

/// What is known of the order of day and month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Nothing.
    #[default]
    Unknown,
    /// Said by an argument.
    Said(DateOrder),
    /// Proven by other values of the file.
    Proven(DateOrder),
    /// The values of the file contradict each other.
    Contradicted,
}

/// What the dates of a file prove about their order, collected value by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    dmy: bool,
    mdy: bool,
}

impl Evidence {
    /// Takes one more value into account; anything that is no date proves nothing.
    pub fn add(&mut self, text: &str) {
        let text = text.trim();
        // Most values of most files are ISO dates: they have nothing to prove.
        if text.len() < 8 || !text.bytes().take(3).any(|b| matches!(b, b'/' | b'.' | b'-')) {
            return;
        }
        let date = split_time(text).0;
        let Some((first, second, year)) = three_numbers(date).filter(|(.., year)| year.len() == 4) else { return };
        let fits = |day, month| calendar(year, month, day).is_ok();
        self.dmy |= number(first) > 12 && fits(first, second);
        self.mdy |= number(second) > 12 && fits(second, first);
    }

    /// What two columns of a file prove together.
    pub fn and(self, other: Evidence) -> Evidence {
        Evidence { dmy: self.dmy || other.dmy, mdy: self.mdy || other.mdy }
    }

    /// The order, `said` by an argument or else proven.
    pub fn order(self, said: Option<DateOrder>) -> Order {
        match (said, self.dmy, self.mdy) {
            (Some(order), ..) => Order::Said(order),
            (None, true, true) => Order::Contradicted,
            (None, true, false) => Order::Proven(DateOrder::Dmy),
            (None, false, true) => Order::Proven(DateOrder::Mdy),
            (None, false, false) => Order::Unknown,
        }
    }
}

/// Reads a date or an instant. A time without offset is local time in `tz`.
pub fn read(text: &str, order: Order, tz: &TimeZone) -> Result<When, DateFault> {
    let text = text.trim();
    // The usual form first: it is most of a million lines.
    if text.len() == 10 && text.is_ascii() && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-' {
        return calendar(&text[..4], &text[5..7], &text[8..]).map(When::Date);
    }
    if let Some(when) = serial(text, tz) {
        return when;
    }
    let (date, time) = split_time(text);
    let date = day(date, order)?;
    match time {
        None => Ok(When::Date(date)),
        Some(time) => instant(date, time, tz).map(When::Instant),
    }
}

/// Spreadsheets count days since 1899-12-30; only five digits are taken for such a number (1927 to
/// 2173), for a year or a telephone extension is none. Eight digits are ISO 8601's basic form.
fn serial(text: &str, tz: &TimeZone) -> Option<Result<When, DateFault>> {
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',')) {
        return None;
    }
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if !whole.bytes().all(|b| b.is_ascii_digit()) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if whole.len() == 8 && fraction.is_empty() && whole.len() == text.len() {
        return Some(calendar(&text[..4], &text[4..6], &text[6..]).map(When::Date));
    }
    if whole.len() != 5 || whole.starts_with('0') || fraction.len() > 15 {
        return Some(Err(DateFault::Unreadable));
    }
    let days: i32 = whole.parse().ok()?;
    let date = Date::constant(1899, 12, 30).saturating_add(days.days());
    let part: f64 = format!("0.{fraction}0").parse().ok()?;
    let seconds = (part * 86_400.0).round() as i64;
    if seconds == 0 {
        return Some(Ok(When::Date(date)));
    }
    let local = date.to_datetime(Time::midnight()).saturating_add(seconds.seconds());
    Some(local_instant(local, tz).map(When::Instant))
}

/// Splits at the time of day: `T14:05`, ` 14:05:30`, ` 14h05`, ` à 14:05`, ` at 2:05 PM`.
fn split_time(text: &str) -> (&str, Option<&str>) {
    if let Some((date, time)) = text.split_once(['T', 't'])
        && date.ends_with(|c: char| c.is_ascii_digit())
        && time.starts_with(|c: char| c.is_ascii_digit())
    {
        return (date, Some(time));
    }
    let mut start = 0;
    for word in text.split(' ') {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
        if digits.len() < word.len() && word.len() - digits.len() <= 2 && digits.starts_with([':', 'h', 'H']) {
            let date = text[..start].trim_end();
            let date = ["à", "at", "a"].iter().find_map(|w| date.strip_suffix(w).and_then(|d| d.strip_suffix(' ')));
            return (date.unwrap_or(text[..start].trim_end()).trim_end_matches([',', ' ']), Some(&text[start..]));
        }
        start += word.len() + 1;
    }
    (text, None)
}

/// Reads the date part.
fn day(text: &str, order: Order) -> Result<Date, DateFault> {
    match three_numbers(text) {
        Some((year, month, day)) if year.len() == 4 => calendar(year, month, day),
        Some((first, second, year)) => exchangeable(first, second, year, order),
        None => with_month_name(text),
    }
}

/// `18/03/2025` and its like: two numbers of which one is the day.
fn exchangeable(first: &str, second: &str, year: &str, order: Order) -> Result<Date, DateFault> {
    let dmy = calendar(year, second, first);
    let mdy = calendar(year, first, second);
    let both_short = |fault: DateFault| if year.len() == 2 { DateFault::TwoDigitYear } else { fault };
    match (order, dmy, mdy) {
        (_, Ok(one), Ok(other)) if one == other => Ok(one),
        (Order::Said(DateOrder::Dmy) | Order::Proven(DateOrder::Dmy), Ok(date), _) => Ok(date),
        (Order::Said(DateOrder::Mdy) | Order::Proven(DateOrder::Mdy), _, Ok(date)) => Ok(date),
        (Order::Said(said), Ok(_), _) | (Order::Said(said), _, Ok(_)) => Err(DateFault::OtherOrder(said)),
        (Order::Contradicted, Ok(_), Ok(_)) => Err(DateFault::Contradicted),
        (_, Ok(_), Ok(_)) => Err(DateFault::Ambiguous),
        (_, Ok(date), Err(_)) | (_, Err(_), Ok(date)) => Ok(date),
        (_, Err(fault), Err(_)) => Err(both_short(fault)),
    }
}

/// Three numbers with the same separator between them.
fn three_numbers(text: &str) -> Option<(&str, &str, &str)> {
    let separator = text.chars().find(|c| !c.is_ascii_digit()).filter(|c| matches!(c, '/' | '.' | '-'))?;
    let mut parts = text.split(separator);
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |s: &str| !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
    (parts.next().is_none() && digits(a) && digits(b) && digits(c)).then_some((a, b, c))
}

/// A day of the calendar between 1900 and 2100; other years are slips of the pen.
fn calendar(year: &str, month: &str, day: &str) -> Result<Date, DateFault> {
    match (year.len(), month.len(), day.len()) {
        (4, 1..=2, 1..=2) => {}
        (2, 1..=2, 1..=2) => return Err(DateFault::TwoDigitYear),
        _ => return Err(DateFault::Unreadable),
    }
    let (year, month, day) = (number(year), number(month), number(day));
    if !(1900..=2100).contains(&year) {
        return Err(DateFault::Unreadable);
    }
    let narrow = |n: i16| i8::try_from(n).map_err(|_| DateFault::Unreadable);
    Date::new(year, narrow(month)?, narrow(day)?).map_err(|_| DateFault::Unreadable)
}

/// A number of at most four digits; anything else is out of every range.
fn number(digits: &str) -> i16 {
    let plain = digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().unwrap_or(i16::MAX) } else { i16::MAX }
}

/// `18 mars 2025`, `1er avril 2025`, `March 18, 2025`, `18-Mar-2025`, `mardi 18 mars 2025`.
fn with_month_name(text: &str) -> Result<Date, DateFault> {
    let folded = fold(text);
    let mut words: Vec<&str> = folded.split(['_', ',', '/', '.']).filter(|w| !w.is_empty()).collect();
    while words.first().is_some_and(|w| WEEKDAYS.contains(w)) {
        words.remove(0);
    }
    let &[a, b, c] = words.as_slice() else { return Err(DateFault::Unreadable) };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let month_name = |word: &str| MONTHS.iter().position(|names| names.contains(&word));
    let (day, month, year) = match (month_name(a), month_name(b)) {
        (Some(month), None) => (b, month, c),
        (None, Some(month)) if a.len() == 4 && digits(a) => (c, month, a),
        (None, Some(month)) => (a, month, c),
        _ => return Err(DateFault::Unreadable),
    };
    let bare = ["er", "st", "nd", "rd", "th"].iter().find_map(|ordinal| day.strip_suffix(ordinal)).unwrap_or(day);
    if !digits(bare) || !digits(year) {
        return Err(DateFault::Unreadable);
    }
    calendar(year, &(month + 1).to_string(), bare)
}

const MONTHS: [&[&str]; 12] = [
    &["janvier", "janv", "jan", "january"],
    &["fevrier", "fevr", "fev", "february", "feb"],
    &["mars", "mar", "march"],
    &["avril", "avr", "april", "apr"],
    &["mai", "may"],
    &["juin", "june", "jun"],
    &["juillet", "juil", "july", "jul"],
    &["aout", "august", "aug"],
    &["septembre", "sept", "sep", "september"],
    &["octobre", "oct", "october"],
    &["novembre", "nov", "november"],
    &["decembre", "dec", "december"],
];

const WEEKDAYS: [&str; 28] = [
    "lundi",
    "mardi",
    "mercredi",
    "jeudi",
    "vendredi",
    "samedi",
    "dimanche",
    "lun",
    "mer",
    "jeu",
    "ven",
    "sam",
    "dim",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
    "sun",
    "le",
];

/// The instant of a date and a time of day, with its offset if it says one.
fn instant(date: Date, time: &str, tz: &TimeZone) -> Result<Timestamp, DateFault> {
    let (clock, rest) =
        time.split_at(time.find(|c: char| !c.is_ascii_digit() && !":.hH".contains(c)).unwrap_or(time.len()));
    let rest = rest.trim();
    let clock = clock.replace(['h', 'H'], ":");
    let clock = clock.strip_suffix(':').map_or(clock.clone(), |hour| format!("{hour}:00"));
    let (hours, minutes) = clock.split_once(':').ok_or(DateFault::Unreadable)?;
    let half = match rest.to_ascii_lowercase().as_str() {
        "am" | "a.m." => Some(0),
        "pm" | "p.m." => Some(12),
        _ => None,
    };
    let hour: i64 = Some(hours).filter(|h| h.len() <= 2).and_then(|h| h.parse().ok()).ok_or(DateFault::Unreadable)?;
    let hour = match half {
        Some(_) if !(1..=12).contains(&hour) => return Err(DateFault::Unreadable),
        Some(half) => hour % 12 + half,
        None => hour,
    };
    let time: Time = format!("{hour:02}:{minutes}").parse().map_err(|_| DateFault::Unreadable)?;
    let local = date.to_datetime(time);
    if rest.is_empty() || half.is_some() {
        return local_instant(local, tz);
    }
    // What follows the clock is an offset as RFC 3339 or 9557 write it, or the text is no date.
    format!("{local}{rest}").parse().map_err(|_| DateFault::Unreadable)
}

fn local_instant(local: DateTime, tz: &TimeZone) -> Result<Timestamp, DateFault> {
    tz.to_timestamp(local).map_err(|_| DateFault::Unreadable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paris() -> TimeZone {
        TimeZone::get("Europe/Paris").unwrap()
    }

    fn show(text: &str, order: Order) -> String {
        read(text, order, &paris()).map_or_else(|fault| format!("{fault:?}"), |when| when.to_string())
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2025-03-18", "2025-03-18"),
            ("2025/03/18", "2025-03-18"),
            ("2025.3.8", "2025-03-08"),
            ("20250318", "2025-03-18"),
            ("18/03/2025", "2025-03-18"),
            ("18.03.2025", "2025-03-18"),
            ("18-03-2025", "2025-03-18"),
            ("03/18/2025", "2025-03-18"),
            ("05/05/2025", "2025-05-05"),
            ("18 mars 2025", "2025-03-18"),
            ("1er avril 2025", "2025-04-01"),
            ("18 févr. 2025", "2025-02-18"),
            ("18 AOÛT 2025", "2025-08-18"),
            ("mardi 18 mars 2025", "2025-03-18"),
            ("le 18 mars 2025", "2025-03-18"),
            ("March 18, 2025", "2025-03-18"),
            ("Tuesday, March 18, 2025", "2025-03-18"),
            ("18th of march 2025", "Unreadable"),
            ("18th March 2025", "2025-03-18"),
            ("18-Mar-2025", "2025-03-18"),
            ("2025-Mar-18", "2025-03-18"),
            ("45734", "2025-03-18"),
            ("45734.5", "2025-03-18T11:00:00Z"),
            ("45734,25", "2025-03-18T05:00:00Z"),
            ("45734.0", "2025-03-18"),
            ("2025-03-18T14:05:00Z", "2025-03-18T14:05:00Z"),
            ("2025-03-18T14:05:00+01:00", "2025-03-18T13:05:00Z"),
            ("2025-03-18t14:05:00.25z", "2025-03-18T14:05:00.25Z"),
            ("2025-03-18T14:05:00+01:00[Europe/Paris]", "2025-03-18T13:05:00Z"),
            ("2025-03-18 14:05:00 +0100", "2025-03-18T13:05:00Z"),
            ("2025-03-18 14:05", "2025-03-18T13:05:00Z"),
            ("2025-03-18 14:05:30", "2025-03-18T13:05:30Z"),
            ("2025-07-18 14:05", "2025-07-18T12:05:00Z"),
            ("18/03/2025 14:05", "2025-03-18T13:05:00Z"),
            ("18 mars 2025 à 14h05", "2025-03-18T13:05:00Z"),
            ("18 mars 2025 à 14h", "2025-03-18T13:00:00Z"),
            ("March 18, 2025 at 2:05 PM", "2025-03-18T13:05:00Z"),
            ("March 18, 2025, 12:05 am", "2025-03-17T23:05:00Z"),
        ] {
            assert_eq!(show(text, Order::Unknown), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "demain",
            "31/02/2025",
            "32/01/2025",
            "2025-13-01",
            "2025-02-29",
            "2025",
            "1234",
            "123456",
            "-45734",
            "45734.5.5",
            "0000-00-00",
            "18/03/0205",
            "18/03/2",
            "18//2025",
            "18/03.2025",
            "mars 2025",
            "2025-03",
            "18 mars",
            "18 mars 2025 25:00",
            "2025-03-18T14:05:00+99:00",
            "18/03/2025 demain",
            "13/13/2025",
            "1/2/3",
            "2025-03-18 2:05 XM",
            "13:05",
            "2025-0a-18",
            "é025-03-18",
            "2025-é3-1",
        ] {
            assert_eq!(show(text, Order::Unknown), "Unreadable", "{text}");
        }
        for text in ["18/03/25", "18 mars 25", "03-18-25"] {
            assert_eq!(show(text, Order::Unknown), "TwoDigitYear", "{text}");
        }
    }

    #[test]
    fn an_order_is_said_or_proven_but_never_guessed() {
        assert_eq!(show("04/05/2025", Order::Unknown), "Ambiguous");
        assert_eq!(show("04.05.2025", Order::Unknown), "Ambiguous");
        assert_eq!(show("04/05/2025 14:05", Order::Contradicted), "Contradicted");
        assert_eq!(show("04/05/2025", Order::Said(DateOrder::Dmy)), "2025-05-04");
        assert_eq!(show("04/05/2025", Order::Proven(DateOrder::Mdy)), "2025-04-05");
        assert_eq!(show("18/03/2025", Order::Contradicted), "2025-03-18");
        assert_eq!(show("18/03/2025", Order::Said(DateOrder::Mdy)), "OtherOrder(Mdy)");

        let order = |values: &[&str]| {
            let mut evidence = Evidence::default();
            values.iter().for_each(|v| evidence.add(v));
            evidence.order(None)
        };
        assert_eq!(
            order(&["04/05/2025", "2025-03-18", "31 mars 2025", "no", "31/02/2025", "18/03/25"]),
            Order::Unknown
        );
        assert_eq!(order(&["04/05/2025", "18.03.2025 14:05"]), Order::Proven(DateOrder::Dmy));
        assert_eq!(order(&["1/18/2025"]), Order::Proven(DateOrder::Mdy));
        assert_eq!(order(&["1/18/2025", "18/1/2025"]), Order::Contradicted);
        assert_eq!(Evidence { dmy: true, mdy: false }.order(Some(DateOrder::Mdy)), Order::Said(DateOrder::Mdy));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let mut evidence = Evidence::default();
            evidence.add(&text);
            let _ = read(&text, Order::Unknown, &paris());
        }

        #[test]
        fn near_dates_do_not_panic(text in "[0-9a-zé/.,:T +-]{0,24}") {
            let mut evidence = Evidence::default();
            evidence.add(&text);
            let _ = read(&text, Order::Said(DateOrder::Dmy), &paris());
        }

        #[test]
        fn numbers_that_could_be_exchanged_are_never_read_without_an_order(
            a in 1i8..=12, b in 1i8..=12, year in 1900i16..=2100, separator in "[/.-]",
        ) {
            let text = format!("{a:02}{separator}{b:02}{separator}{year}");
            let read = |order| read(&text, order, &paris());
            if a != b {
                prop_assert_eq!(read(Order::Unknown), Err(DateFault::Ambiguous));
            }
            let dmy = When::Date(Date::new(year, b, a).unwrap());
            prop_assert_eq!(read(Order::Proven(DateOrder::Dmy)), Ok(dmy));
        }

        #[test]
        fn what_is_written_is_read_back(days in 0i32..70_000) {
            let date = Date::constant(1900, 1, 1).saturating_add(days.days());
            prop_assert_eq!(read(&date.to_string(), Order::Unknown, &paris()), Ok(When::Date(date)));
        }
    }
}
