//! How a question goes out: in waves, and no further when too many object.

use serde::{Deserialize, Serialize};

/// A share of a whole, in hundredths of a percent: exact where people write `10%` or `0.1 %`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share(pub u32);

impl Share {
    /// Reads `10%`, `0.1 %`, `0,1%` or `5`: percents between 0 and 100, with two decimals at most.
    pub fn parse(text: &str) -> Result<Share, String> {
        const SHAPE: &str = "a share is a percentage such as 10% or 0.1%";
        let number = text.trim().trim_end_matches('%').trim_end().replace(',', ".");
        let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !digits(whole) || !digits(part) {
            return Err(SHAPE.to_owned());
        }
        let hundredths: u32 = format!("{part:0<2}").parse().map_err(|_| SHAPE.to_owned())?;
        let share = whole.parse::<u32>().map_err(|_| SHAPE.to_owned())? * 100 + hundredths;
        if share > 10_000 { Err(SHAPE.to_owned()) } else { Ok(Share(share)) }
    }

    /// So much of `whole`, rounded up.
    pub fn of(self, whole: u64) -> u64 {
        (whole * u64::from(self.0)).div_ceil(10_000)
    }

    /// Whether `part` of `whole` is at least this share.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        whole > 0 && part * 10_000 >= whole * u64::from(self.0)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

/// How the question is sent. The defaults of the stops are those of rules 5.3; the one for unsubscribes
/// is laxer than for other campaigns, for a question whether to go on invites a no (RP-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waves {
    /// Share of the askable in a wave.
    pub wave: Share,
    /// Seconds between the end of a wave and the start of the next.
    pub pause_s: u64,
    /// Stop when so many of those who got it unsubscribed or said no.
    pub stop_unsubscribes: Share,
    /// Stop when so many complained.
    pub stop_complaints: Share,
    /// Stop when so many of the attempts met a dead mailbox.
    pub stop_hard_bounces: Share,
}

impl Default for Waves {
    fn default() -> Waves {
        Waves {
            wave: Share(10_000),
            pause_s: 3600,
            stop_unsubscribes: Share(500),
            stop_complaints: Share(10),
            stop_hard_bounces: Share(200),
        }
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Happened {
    /// Accepted by a server.
    pub accepted: u64,
    /// Refused by a server for good.
    pub bounced: u64,
    /// Of these, because the mailbox does not exist.
    pub hard_bounces: u64,
    /// People who unsubscribed or said no.
    pub refusals: u64,
    /// People who complained.
    pub complaints: u64,
}

/// Shares of less than so many are chance.
const ENOUGH: u64 = 100;

impl Waves {
    /// The stop that has been reached, as the name of its setting.
    pub fn stopped_by(&self, so_far: &Happened) -> Option<&'static str> {
        let attempts = so_far.accepted + so_far.bounced;
        if attempts < ENOUGH {
            return None;
        }
        // Rules 5.3: more than 2 %, while the others stop at their share.
        if so_far.hard_bounces * 10_000 > attempts * u64::from(self.stop_hard_bounces.0) {
            return Some("stop-hard-bounces");
        }
        if self.stop_complaints.is_reached(so_far.complaints, so_far.accepted) && so_far.complaints > 0 {
            return Some("stop-complaints");
        }
        if self.stop_unsubscribes.is_reached(so_far.refusals, so_far.accepted) && so_far.refusals > 0 {
            return Some("stop-unsubscribes");
        }
        None
    }

    /// How many of `askable` may have been dealt with when wave `number` (from 1) is over.
    pub fn end_of(&self, number: u64, askable: u64) -> u64 {
        let size = self.wave.of(askable).max(1);
        size.saturating_mul(number).min(askable)
    }

    /// Number of waves for so many.
    pub fn count(&self, askable: u64) -> u64 {
        askable.div_ceil(self.wave.of(askable).max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, share) in
            [("10%", 1000), ("10 %", 1000), ("0.1%", 10), ("0,1", 10), ("5", 500), ("100%", 10_000), ("0.05%", 5)]
        {
            assert_eq!(Share::parse(text), Ok(Share(share)), "{text}");
        }
        for text in ["", "%", "-1%", "101%", "1e2", "1.234%", "100.01%", "dix"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_stops_are_those_of_the_rules() {
        let waves = Waves::default();
        let so_far = |accepted, bounced, hard_bounces, refusals, complaints| Happened {
            accepted,
            bounced,
            hard_bounces,
            refusals,
            complaints,
        };
        for (happened, expected) in [
            (so_far(48, 2, 2, 0, 0), None),                         // T05: under 100
            (so_far(98, 2, 2, 0, 0), None),                         // 2 %: not more than 2 %
            (so_far(97, 3, 3, 0, 0), Some("stop-hard-bounces")),    // T05: 3 in 100
            (so_far(97, 3, 0, 0, 0), None),                         // refused for another reason
            (so_far(10_000, 0, 0, 0, 9), None),                     // T04: 0.09 %
            (so_far(10_000, 0, 0, 0, 10), Some("stop-complaints")), // T04: 0.10 %
            (so_far(1072, 0, 0, 18, 0), None),                      // the published case
            (so_far(1000, 0, 0, 50, 0), Some("stop-unsubscribes")),
            (so_far(99, 0, 0, 99, 99), None),
        ] {
            assert_eq!(waves.stopped_by(&happened), expected, "{happened:?}");
        }
    }

    proptest! {
        #[test]
        fn waves_cover_everybody_once(share in 1u32..=10_000, askable in 1u64..1_000_000) {
            let waves = Waves { wave: Share(share), ..Waves::default() };
            let count = waves.count(askable);
            prop_assert_eq!(waves.end_of(count, askable), askable);
            prop_assert!(count == 1 || waves.end_of(count - 1, askable) < askable);
        }

        #[test]
        fn what_is_written_is_read(share in 0u32..=10_000) {
            prop_assert_eq!(Share::parse(&Share(share).to_string()), Ok(Share(share)));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = Share::parse(&text);
        }
    }
}
