//! When messages may leave, by the recipient's clock: send windows and quiet hours.

use jiff::{
    Timestamp, ToSpan,
    civil::{Time, Weekday},
    tz::TimeZone,
};

/// Hours of the day, from the first inclusive to the second exclusive; they may span midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: Time,
    to: Time,
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days([bool; 7]);

/// What is permitted when. The default permits everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Windows {
    /// Messages leave in these hours only.
    pub window: Option<Hours>,
    /// Messages leave on these days only.
    pub days: Option<Days>,
    /// Messages do not leave in these hours.
    pub quiet_hours: Option<Hours>,
}

/// A search for the next opening ends after so many days; windows that never open are refused when read.
const SEARCH_DAYS: i64 = 15;

impl Windows {
    /// Whether anything is ever forbidden.
    pub fn is_any(&self) -> bool {
        *self != Windows::default()
    }

    /// Whether messages may leave at any time of any day.
    pub fn ever_opens(&self) -> bool {
        let edges =
            [self.window.map(|hours| hours.from), self.quiet_hours.map(|hours| hours.to), Some(Time::midnight())];
        edges.into_iter().flatten().any(|time| self.hold(time))
    }

    fn hold(&self, time: Time) -> bool {
        self.window.is_none_or(|hours| hours.hold(time)) && !self.quiet_hours.is_some_and(|hours| hours.hold(time))
    }

    /// Whether messages may leave at `now` where the clock is `tz`.
    pub fn open(&self, now: Timestamp, tz: &TimeZone) -> bool {
        let local = now.to_zoned(tz.clone());
        self.days.is_none_or(|days| days.holds(local.weekday())) && self.hold(local.time())
    }

    /// The first instant from `now` on at which all of `windows` are open; none: never.
    pub fn opens(windows: &[&Windows], now: Timestamp, tz: &TimeZone) -> Option<Timestamp> {
        let open = |at: Timestamp| windows.iter().all(|w| w.open(at, tz));
        if open(now) {
            return Some(now);
        }
        // Whatever is closed opens at a midnight, at the edge of some hours, or where the clock jumps.
        let today = now.to_zoned(tz.clone()).date();
        let edges = windows.iter().flat_map(|w| w.window.iter().chain(&w.quiet_hours)).flat_map(|h| [h.from, h.to]);
        let edges: Vec<Time> = edges.chain([Time::midnight()]).collect();
        let days = (0..SEARCH_DAYS).filter_map(|n| today.checked_add(n.days()).ok());
        let at = |day: jiff::civil::Date, time: Time| {
            let local = tz.to_ambiguous_timestamp(day.to_datetime(time));
            // An hour that the change of the clocks repeats comes twice.
            [local.earlier().ok(), local.later().ok()].into_iter().flatten()
        };
        let jumps = tz.following(now).map(|change| change.timestamp()).take(2);
        days.flat_map(|day| edges.iter().flat_map(move |time| at(day, *time)))
            .chain(jumps)
            .filter(|at| *at > now && open(*at))
            .min()
    }
}

impl Hours {
    /// Reads `08:00-20:00`; `21:00-07:30` spans midnight.
    pub fn parse(text: &str) -> Result<Hours, String> {
        const SHAPE: &str = "hours are two times of day, like \"08:00-20:00\" or, over midnight, \"21:00-07:30\"";
        let (from, to) = text.split_once('-').ok_or(SHAPE)?;
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let number = |t: &str| (t.len() <= 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse().ok())?;
            match (number(hour)?, number(minute)?) {
                (24, 0) => Some(Time::midnight()),
                (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
            }
        };
        let is_whole_day = time(from) == Some(Time::midnight()) && to.trim() == "24:00";
        let (from, to) = (time(from).ok_or(SHAPE)?, time(to).ok_or(SHAPE)?);
        if from == to && !is_whole_day {
            return Err("the hours begin and end at the same time".to_owned());
        }
        Ok(Hours { from, to })
    }

    fn hold(self, time: Time) -> bool {
        match self.from < self.to {
            true => self.from <= time && time < self.to,
            false => time >= self.from || time < self.to,
        }
    }
}

impl Days {
    /// Reads `mon-fri`, `mon,wed,fri` or a mix; a range may span the week's end.
    pub fn parse(text: &str) -> Result<Days, String> {
        const SHAPE: &str = "days are like \"mon-fri\" or \"mon,wed,sat\"";
        let day = |text: &str| {
            let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            names.iter().position(|name| *name == text.trim().to_ascii_lowercase()).ok_or(SHAPE)
        };
        let mut days = [false; 7];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (mut at, last) = (day(first)?, day(last)?);
            days[at] = true;
            while at != last {
                at = (at + 1) % 7;
                days[at] = true;
            }
        }
        Ok(Days(days))
    }

    fn holds(self, day: Weekday) -> bool {
        self.0[day.to_monday_zero_offset() as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(window: &str, days: &str, quiet: &str) -> Windows {
        let hours = |text: &str| (!text.is_empty()).then(|| Hours::parse(text).unwrap());
        Windows {
            window: hours(window),
            days: (!days.is_empty()).then(|| Days::parse(days).unwrap()),
            quiet_hours: hours(quiet),
        }
    }

    fn opens(windows: &Windows, now: &str, zone: &str) -> String {
        let tz = TimeZone::get(zone).unwrap();
        Windows::opens(&[windows], now.parse().unwrap(), &tz).map_or("never".into(), |at| at.to_string())
    }

    #[test]
    fn the_recipients_clock_decides() {
        let office = windows("09:00-18:00", "mon-fri", "");
        for (now, zone, at) in [
            // Wednesday, ten in Paris.
            ("2026-11-18T09:00:00Z", "Europe/Paris", "2026-11-18T09:00:00Z"),
            // Four in the morning in New York.
            ("2026-11-18T09:00:00Z", "America/New_York", "2026-11-18T14:00:00Z"),
            // Six in the evening in Tokyo: tomorrow.
            ("2026-11-18T09:00:00Z", "Asia/Tokyo", "2026-11-19T00:00:00Z"),
            // Friday evening: Monday.
            ("2026-11-20T18:00:00Z", "Europe/Paris", "2026-11-23T08:00:00Z"),
        ] {
            assert_eq!(opens(&office, now, zone), at, "{now} {zone}");
        }
    }

    #[test]
    fn quiet_hours_span_midnight() {
        let quiet = windows("", "", "21:00-07:30");
        assert_eq!(opens(&quiet, "2026-11-18T19:59:00Z", "Europe/Paris"), "2026-11-18T19:59:00Z");
        assert_eq!(opens(&quiet, "2026-11-18T20:00:00Z", "Europe/Paris"), "2026-11-19T06:30:00Z");
        assert_eq!(opens(&quiet, "2026-11-18T23:30:00Z", "Europe/Paris"), "2026-11-19T06:30:00Z");
        let both = windows("08:00-20:00", "", "12:00-14:00");
        assert_eq!(opens(&both, "2026-11-18T11:30:00Z", "Europe/Paris"), "2026-11-18T13:00:00Z");
    }

    /// On the last Sunday of March the clock of Paris jumps from two to three, in October back.
    #[test]
    fn the_change_of_the_clocks_is_heeded() {
        let early = windows("02:30-05:00", "", "");
        assert_eq!(opens(&early, "2026-03-28T12:00:00Z", "Europe/Paris"), "2026-03-29T01:00:00Z");
        assert_eq!(opens(&early, "2026-10-24T12:00:00Z", "Europe/Paris"), "2026-10-25T00:30:00Z");
        let morning = windows("08:00-20:00", "", "");
        assert_eq!(opens(&morning, "2026-03-28T22:00:00Z", "Europe/Paris"), "2026-03-29T06:00:00Z");
        assert_eq!(opens(&morning, "2026-10-24T22:00:00Z", "Europe/Paris"), "2026-10-25T07:00:00Z");
    }

    #[test]
    fn what_never_opens_is_never() {
        assert_eq!(opens(&windows("09:00-12:00", "", "08:00-13:00"), "2026-11-18T09:00:00Z", "Europe/Paris"), "never");
        assert!(!windows("", "", "").is_any());
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "8-20", "08:00", "25:00-26:00", "08:00-08:00", "08:60-09:00", "-08:00-09:00", "08:00-20:00-22:00"]
        {
            assert!(Hours::parse(text).is_err(), "{text}");
        }
        for text in ["", "lun", "mon-", "mon;tue", "monday"] {
            assert!(Days::parse(text).is_err(), "{text}");
        }
        assert_eq!(Hours::parse("18:00-24:00"), Hours::parse("18:00-00:00"));
        assert!(windows("00:00-24:00", "", "").ever_opens() && !windows("", "", "00:00-24:00").ever_opens());
        assert_eq!(
            opens(&windows("0:00-24:00", "sun", ""), "2026-11-28T12:00:00Z", "Europe/Paris"),
            "2026-11-28T23:00:00Z"
        );
        assert_eq!(Days::parse("sat-mon"), Days::parse("Sun, mon,sat"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = Hours::parse(&text);
            let _ = Days::parse(&text);
        }

        /// The next opening is open, and nothing before it is.
        #[test]
        fn the_next_opening_is_the_first(
            minutes in (0i16..1440, 0i16..1440, 0i16..1440, 0i16..1440), start in 0i64..400 * 24 * 60,
            zone in prop::sample::select(vec!["Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
        ) {
            let hours = |from: i16, to: i16| {
                let text = |m: i16| format!("{:02}:{:02}", m / 60, m % 60);
                Hours::parse(&format!("{}-{}", text(from), text(to))).ok()
            };
            let windows =
                Windows { window: hours(minutes.0, minutes.1), days: None, quiet_hours: hours(minutes.2, minutes.3) };
            let tz = TimeZone::get(zone).unwrap();
            let now = Timestamp::from_second(1_767_225_600 + start * 60).unwrap();
            if let Some(at) = Windows::opens(&[&windows], now, &tz) {
                prop_assert!(windows.open(at, &tz));
                let mut before = now;
                while before < at {
                    prop_assert!(!windows.open(before, &tz), "{before} was open already, not only {at}");
                    before += 60.seconds();
                }
            }
        }
    }
}
