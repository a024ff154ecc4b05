//! Limits of a scope (a campaign, the mail server, a provider group): pace, caps, warm-up.
//!
//! The pace is a token bucket kept as one number, the instant at which the next message may leave
//! (GCRA). Whoever moves it forward by `n` intervals owns `n` instants that nobody else has, so any
//! number of processes keep one rate together.

use std::time::Duration;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::campaign_file::Rate;

/// Instants are given out so far ahead: enough for a process to work without asking for each message,
/// little enough to be lost when it dies, or to be made up for when it falls behind.
pub const AHEAD: Duration = Duration::from_millis(500);
/// A number further in the future than this cannot come from any process: a clock was set back.
const JUMP: Duration = Duration::from_secs(10);

/// What one scope permits. Nothing is limited unless it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages in time.
    pub rate: Option<Rate>,
    /// Messages in an hour of the clock.
    pub hourly: Option<u32>,
    /// Messages in a day of the controller's time zone.
    pub daily: Option<u32>,
    /// Messages in each of the first days.
    pub warm_up: Option<WarmUp>,
    /// Messages on the wire at a time.
    pub connections: Option<u32>,
    /// Messages after which a connection is closed.
    pub messages_per_connection: Option<u32>,
}

/// A warm-up plan: day → cap. Before its first day nothing may be sent; after its last day it no
/// longer limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmUp {
    /// The first day.
    pub start: Date,
    /// The cap of each day, the first at the front.
    pub days: Vec<u32>,
}

impl WarmUp {
    /// How many messages the plan permits on `today`; none: as many as one likes.
    pub fn cap(&self, today: Date) -> Option<u32> {
        let day = (today - self.start).get_days();
        match usize::try_from(day) {
            Ok(day) => self.days.get(day).copied(),
            Err(_) => Some(0),
        }
    }
}

/// A number of messages in a period, and when it is counted anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// Name of the period: an hour or a day.
    pub period: String,
    /// Messages in it.
    pub most: i64,
    /// Its end, in milliseconds.
    pub ends_at: i64,
    /// Seconds of those that follow; a day when the clocks change is an hour longer or shorter.
    pub seconds: i64,
}

impl Limits {
    /// Whether anything must be counted for this scope.
    pub fn is_counted(&self) -> bool {
        self.rate.is_some() || self.hourly.is_some() || self.daily.is_some() || self.warm_up.is_some()
    }

    /// The caps in force at `now`: of the hour, and of the day as the controller's clock shows it.
    pub fn caps(&self, now: Timestamp, tz: &TimeZone) -> Vec<Cap> {
        let mut caps = Vec::new();
        if let Some(most) = self.hourly {
            let hour = now.as_second().div_euclid(3600);
            let ends_at = (hour + 1) * 3_600_000;
            caps.push(Cap { period: format!("hour {hour}"), most: most.into(), ends_at, seconds: 3600 });
        }
        let today = now.to_zoned(tz.clone());
        let warm_up = self.warm_up.as_ref().and_then(|plan| plan.cap(today.date()));
        if let Some(most) = self.daily.into_iter().chain(warm_up).min() {
            let ends = today.tomorrow().and_then(|day| day.start_of_day()).map(|start| start.timestamp());
            let ends_at = ends.map_or(i64::MAX, |end| end.as_millisecond());
            caps.push(Cap { period: format!("day {}", today.date()), most: most.into(), ends_at, seconds: 24 * 3600 });
        }
        caps
    }
}

/// A token bucket at an instant. Instants are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When the next message may leave.
    pub next_at: i64,
    interval: i64,
}

impl Bucket {
    /// The bucket of a scope with this `rate`, whose stored instant is `stored`, at `now`. Time that
    /// nobody used is gone: there is no burst after a silence.
    pub fn at(stored: i64, rate: Rate, now: i64) -> Bucket {
        let interval = nanos(rate.interval());
        let latest = now + nanos(AHEAD) + nanos(JUMP) + 2 * interval;
        Bucket { next_at: if stored > latest { now } else { stored.max(now) }, interval }
    }

    /// How many instants can be had now.
    pub fn room(&self, now: i64) -> i64 {
        let horizon = now + nanos(AHEAD);
        if self.next_at > horizon { 0 } else { (horizon - self.next_at) / self.interval + 1 }
    }

    /// Takes the next instant.
    pub fn take(&mut self) -> i64 {
        let at = self.next_at;
        self.next_at += self.interval;
        at
    }

    /// How long until it is worth asking again: half of what is given out ahead is free then.
    pub fn rest(&self, now: i64) -> Duration {
        let free_at = self.next_at - nanos(AHEAD) / 2;
        Duration::from_nanos(u64::try_from(free_at - now).unwrap_or(0))
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    #[test]
    fn a_bucket_gives_half_a_second_ahead_and_no_more() {
        let mut bucket = Bucket::at(0, rate("10/s"), 100 * SECOND);
        assert_eq!(bucket.room(100 * SECOND), 6);
        let taken: Vec<i64> = (0..6).map(|_| bucket.take()).collect();
        assert_eq!((taken[0], taken[5]), (100 * SECOND, 100 * SECOND + SECOND / 2));
        assert_eq!(bucket.room(100 * SECOND), 0);
        assert_eq!(bucket.room(100 * SECOND + SECOND / 2), 5);
        assert_eq!(bucket.rest(100 * SECOND), Duration::from_millis(350));
    }

    #[test]
    fn a_silence_is_not_made_good_and_a_clock_set_back_does_not_stop_for_long() {
        let bucket = Bucket::at(5 * SECOND, rate("10/s"), 100 * SECOND);
        assert_eq!(bucket.next_at, 100 * SECOND);
        let bucket = Bucket::at(3700 * SECOND, rate("10/s"), 100 * SECOND);
        assert_eq!(bucket.next_at, 100 * SECOND);
        // An hour between two messages is no jump of the clock.
        let bucket = Bucket::at(3700 * SECOND, rate("1/h"), 100 * SECOND);
        assert_eq!((bucket.next_at, bucket.room(100 * SECOND)), (3700 * SECOND, 0));
    }

    #[test]
    fn a_plan_counts_days_of_the_controllers_calendar() {
        let plan = WarmUp { start: "2026-12-01".parse().unwrap(), days: vec![50, 100, 500] };
        let cap = |day: &str| plan.cap(day.parse().unwrap());
        assert_eq!(cap("2026-11-30"), Some(0));
        assert_eq!((cap("2026-12-01"), cap("2026-12-03"), cap("2026-12-04")), (Some(50), Some(500), None));
        let limits = Limits { daily: Some(80), hourly: Some(20), warm_up: Some(plan), ..Limits::default() };
        let tz = TimeZone::get("Europe/Paris").unwrap();
        let at = |instant: &str| limits.caps(instant.parse().unwrap(), &tz);
        // Half past eleven in the evening in London is the next day in Paris.
        let caps = at("2026-12-01T23:30:00Z");
        assert_eq!((caps[0].most, caps[1].period.as_str(), caps[1].most), (20, "day 2026-12-02", 80));
        assert_eq!(caps[1].ends_at, "2026-12-02T23:00:00Z".parse::<Timestamp>().unwrap().as_millisecond());
        assert_eq!(at("2026-12-01T22:30:00Z")[1].most, 50);
        assert!(Limits::default().caps("2026-12-01T22:30:00Z".parse().unwrap(), &tz).is_empty());
    }

    /// The day on which the clocks change has 23 hours.
    #[test]
    fn a_day_ends_when_the_controllers_clock_says_so() {
        let limits = Limits { daily: Some(1), ..Limits::default() };
        let tz = TimeZone::get("Europe/Paris").unwrap();
        let caps = limits.caps("2026-03-29T10:00:00Z".parse().unwrap(), &tz);
        assert_eq!(caps[0].ends_at, "2026-03-29T22:00:00Z".parse::<Timestamp>().unwrap().as_millisecond());
    }

    proptest! {
        /// Whoever asks, however often: never more instants than the rate gives, and each only once.
        #[test]
        fn no_instant_is_given_twice_and_the_rate_holds(
            per_hour in 1u32..400_000, asks in prop::collection::vec((0i64..3 * SECOND, 0i64..600), 1..60),
        ) {
            let rate = Rate::of_per_hour(per_hour);
            let (mut stored, mut now, mut last, mut given) = (0, 1000 * SECOND, i64::MIN, 0i64);
            let start = now;
            for (pause, want) in asks {
                now += pause;
                let mut bucket = Bucket::at(stored, rate, now);
                for _ in 0..want.min(bucket.room(now)) {
                    let at = bucket.take();
                    prop_assert!(at > last && at <= now + SECOND && at >= now);
                    (last, given) = (at, given + 1);
                }
                stored = bucket.next_at;
            }
            let seconds = (now + SECOND - start) as f64 / SECOND as f64;
            prop_assert!(given as f64 <= seconds * f64::from(per_hour) / 3600.0 + 1.001);
        }
    }
}
