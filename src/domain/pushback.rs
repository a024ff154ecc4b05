//! When a provider pushes back: its group is suspended, then comes back slowly (rules 5.3; T02, T03).

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    campaign_file::Rate,
    providers,
    replies::{Reply, ReplyClass},
};

/// What a refusal asks of everybody who sends to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushback {
    /// How long nothing is sent to it, the first time.
    pub pause: SignedDuration,
    /// Afterwards it goes on at half the rate it had, instead of a trickle.
    pub halve: bool,
    /// The provider refuses this sender: somebody should look.
    pub alert: bool,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Repeated suspensions grow to this, unless the first was longer.
const LONGEST: i64 = 4 * HOUR;
/// Nothing is suspended for longer than this; what says so was written by a clock that was wrong.
const NEVER_LONGER: i64 = 25 * HOUR;
/// Rate at which a group that was suspended begins again, at most.
const TRICKLE_PER_HOUR: i64 = 60 * 60;
/// What a group is taken to bear of which nothing was seen.
const LEAST_PER_HOUR: i64 = 60 * 60;
/// After so many clean windows a group is well, whatever its rate was.
const LAST_STEP: i64 = 10;

/// What the answer to one message means for its whole group; none: it concerns the message alone.
pub fn pushback(reply: &Reply, class: ReplyClass) -> Option<Pushback> {
    let text = reply.text.to_lowercase();
    let minutes = |minutes: i64| Pushback { pause: SignedDuration::from_mins(minutes), halve: false, alert: false };
    let about = reply.enhanced.map(|(_, subject, detail)| (subject, detail));
    match class {
        ReplyClass::Throttle if text.contains("[tss") => Some(minutes(120)),
        ReplyClass::Throttle if about == Some((7, 650)) || text.contains("s775") => Some(minutes(60)),
        ReplyClass::Throttle if about == Some((7, 28)) || text.contains("unusual rate of") => {
            Some(Pushback { halve: true, ..minutes(30) })
        }
        ReplyClass::Throttle => Some(minutes(10)),
        ReplyClass::Block if reply.is_transient() => Some(minutes(30)),
        ReplyClass::Block => {
            let listed = ["s3140", "s3150", "block list", "blocklist", "blacklist"].iter().any(|t| text.contains(t));
            Some(Pushback { alert: true, ..minutes(if listed { 24 * 60 } else { 60 }) })
        }
        // Greylisting asks each message to come again; everything else of these asks the sender to wait.
        ReplyClass::Soft if is_greylisting(&text) => None,
        ReplyClass::Soft if reply.code == 421 && asks_to_wait(about, &text) => Some(minutes(2)),
        ReplyClass::Soft if reply.is_transient() && about.is_some_and(|(subject, _)| subject == 7) => Some(minutes(2)),
        _ => None,
    }
}

fn is_greylisting(text: &str) -> bool {
    ["greylist", "graylist", "grey-list", "gray-list", "grey list"].iter().any(|word| text.contains(word))
}

/// Whether a `421` asks everybody to wait, rather than speaks of one mailbox, of a connection that was idle for
/// too long (`4.4.2`), or of a server that is back in a moment.
fn asks_to_wait(about: Option<(u16, u16)>, text: &str) -> bool {
    !matches!(about, Some((1 | 2, _) | (4, 2))) && !text.contains("shutting down")
}

/// Whether what was heard of a group lately suspends it. One word of a provider is enough; `other` is
/// many servers that know nothing of each other, and only many of them together speak for it.
pub fn suspends(group: &str, answers: usize, pushbacks: usize) -> bool {
    group != providers::OTHER || (pushbacks >= 10 && pushbacks * 2 >= answers)
}

/// How a group stands that has pushed back. A group without a standing is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Nothing is sent to it until then, in milliseconds.
    pub suspended_until: i64,
    /// Suspensions since it was well.
    pub strikes: i64,
    /// Clean windows since the last suspension.
    pub step: i64,
    /// When the running window began, in milliseconds.
    pub stepped_at: i64,
    /// Messages an hour that it took before.
    pub seen_per_hour: i64,
    /// Messages an hour with which it begins again.
    pub base_per_hour: i64,
    /// How many messages it had ever accepted when the window began.
    pub accepted: i64,
    /// Class of the answer that suspended it.
    pub class: ReplyClass,
    /// That answer, without addresses.
    pub reply: String,
}

/// What a look at a group's standing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    Stays,
    /// A clean window has passed: twice as much.
    Steps(Standing),
    /// It takes what it took before: nothing is held back any more.
    Well,
}

/// What was known of a group in the moment in which it pushed back.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Messages an hour that it took lately.
    pub per_hour: i64,
    /// How many messages it has ever accepted.
    pub accepted: i64,
    /// The present instant, in milliseconds.
    pub now: i64,
}

impl Standing {
    /// The standing of a group after it pushed back. What was on the wire when it was suspended says
    /// the same again: that counts once.
    pub fn after(
        previous: Option<&Standing>,
        push: Pushback,
        reply: &Reply,
        class: ReplyClass,
        seen: Seen,
    ) -> Standing {
        let pause = push.pause.as_millis() as i64;
        if let Some(standing) = previous.filter(|standing| standing.is_suspended(seen.now)) {
            let until = seen.now + pause;
            if until <= standing.suspended_until {
                return standing.clone();
            }
            // What asks for more is the reason from now on.
            let reply = without_addresses(reply);
            return Standing { suspended_until: until, stepped_at: until, class, reply, ..standing.clone() };
        }
        let strikes = previous.map_or(0, |standing| standing.strikes) + 1;
        let grown = pause.saturating_mul(1 << (strikes - 1).clamp(0, 8)).min(LONGEST.max(pause));
        let before = previous.map_or(0, |standing| standing.seen_per_hour);
        let took = seen.per_hour.max(before).max(LEAST_PER_HOUR);
        let base = if push.halve { seen.per_hour.max(LEAST_PER_HOUR) / 2 } else { (took / 4).min(TRICKLE_PER_HOUR) };
        Standing {
            suspended_until: seen.now + grown,
            strikes,
            step: 0,
            stepped_at: seen.now + grown,
            seen_per_hour: took,
            base_per_hour: base.max(LEAST_PER_HOUR / 2),
            accepted: seen.accepted,
            class,
            reply: without_addresses(reply),
        }
    }

    /// Whether nothing is sent to the group at `now`.
    pub fn is_suspended(&self, now: i64) -> bool {
        self.suspended_until > now && self.suspended_until - now <= NEVER_LONGER
    }

    /// Messages on the wire at a time, while it recovers: one, and twice as many after each clean window.
    pub fn connections(&self) -> u32 {
        1 << self.step.clamp(0, LAST_STEP)
    }

    /// The rate while it recovers.
    pub fn rate(&self) -> Rate {
        let per_hour = self.base_per_hour.saturating_mul(1 << self.step.clamp(0, LAST_STEP));
        Rate::of_per_hour(u32::try_from(per_hour).unwrap_or(u32::MAX))
    }

    /// What has changed at `now`, when it has ever accepted `accepted` messages and a window lasts
    /// `window`. A window in which nothing was sent proves nothing.
    pub fn progress(&self, accepted: i64, window: Duration, now: i64) -> Progress {
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        if self.is_suspended(now) || now - self.stepped_at < window || accepted <= self.accepted {
            return Progress::Stays;
        }
        let next = Standing { step: self.step + 1, stepped_at: now, accepted, ..self.clone() };
        if next.step >= LAST_STEP || i64::from(next.rate().per_hour()) > self.seen_per_hour {
            return Progress::Well;
        }
        Progress::Steps(next)
    }
}

/// An answer as an operator may read it: words that may quote an address are left out.
fn without_addresses(reply: &Reply) -> String {
    let words = reply.text.split_whitespace().filter(|word| !word.contains('@') && !word.contains(['<', '>']));
    let text: String = words.collect::<Vec<_>>().join(" ").chars().take(200).collect();
    if text.is_empty() { reply.codes() } else { format!("{} {text}", reply.codes()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::replies::{Stage, classify};

    fn heard(line: &str) -> (Reply, ReplyClass) {
        let (code, text) = line.split_at(3);
        let reply = Reply::new(code.parse().unwrap(), text.trim_start());
        let class = classify(&reply, Stage::Rcpt);
        (reply, class)
    }

    fn minutes(line: &str) -> Option<i64> {
        let (reply, class) = heard(line);
        pushback(&reply, class).map(|push| push.pause.as_mins())
    }

    #[test]
    fn what_providers_say_and_how_long_it_stops() {
        for (line, expected) in [
            ("421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume or user complaints", Some(120)),
            ("451 4.7.650 The mail server has been temporarily rate limited due to IP reputation (S775)", Some(60)),
            ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail", Some(30)),
            ("550 5.7.1 part of their network is on our block list (S3150)", Some(1440)),
            ("554 5.7.9 Message not accepted for policy reasons", Some(60)),
            ("550 This looks like spam", Some(60)),
            ("421 too many connections from your address", Some(10)),
            ("421 4.7.0 try again later", Some(2)),
            ("421 closing", Some(2)),
            ("421 4.3.2 Service not available, closing transmission channel", Some(2)),
            ("421 4.4.5 Server busy, try again later", Some(2)),
            ("421 4.3.2 Too many connections", Some(10)),
            ("421 Our system has detected an unusual rate of unsolicited mail", Some(30)),
            (
                "421 4.7.28 unusual rate of unsolicited mail originating from your SPF domain [news.example 35]",
                Some(30),
            ),
            ("451 4.7.1 Please try again later", Some(2)),
            // These concern the message alone.
            ("451 4.7.1 Greylisting in action, please come back later", None),
            ("421 4.3.2 shutting down", None),
            ("421 4.4.2 timeout exceeded", None),
            ("421 4.2.1 the mailbox is busy", None),
            ("452 4.2.2 over quota", None),
            ("450 4.2.1 is receiving mail too quickly", None),
            ("550 5.1.1 user unknown", None),
            ("550 no", None),
            ("451 4.3.0 later", None),
        ] {
            assert_eq!(minutes(line), expected, "{line}");
        }
    }

    const NOW: i64 = 1_795_000_000_000;
    const WINDOW: Duration = Duration::from_secs(600);

    fn after(previous: Option<&Standing>, line: &str, per_hour: i64, now: i64) -> Standing {
        let (reply, class) = heard(line);
        let push = pushback(&reply, class).unwrap();
        Standing::after(previous, push, &reply, class, Seen { per_hour, accepted: 100, now })
    }

    /// T03: one connection, and twice the rate only after a clean window.
    #[test]
    fn it_comes_back_with_one_connection_and_doubles_after_clean_windows() {
        let standing = after(None, "421 4.7.0 [TSS04] deferred due to unexpected volume", 36_000, NOW);
        let end = NOW + 120 * MINUTE;
        assert!(standing.is_suspended(NOW) && standing.is_suspended(end - 1) && !standing.is_suspended(end));
        assert_eq!((standing.connections(), standing.rate().per_minute()), (1, 60.0));
        let window = WINDOW.as_millis() as i64;
        assert_eq!(standing.progress(200, WINDOW, end + window - 1), Progress::Stays);
        assert_eq!(standing.progress(100, WINDOW, end + window), Progress::Stays, "nothing was sent");
        let Progress::Steps(second) = standing.progress(200, WINDOW, end + window) else { panic!("no step") };
        assert_eq!((second.connections(), second.rate().per_minute()), (2, 120.0));
        assert_eq!(second.progress(300, WINDOW, end + window + 1), Progress::Stays, "the next window has begun");
        let (mut now, mut standing, mut steps) = (end + window, second, 0);
        loop {
            now += window;
            match standing.progress(300 + now, WINDOW, now) {
                Progress::Steps(next) => (standing, steps) = (next, steps + 1),
                Progress::Well => break,
                Progress::Stays => panic!("it stays"),
            }
        }
        assert_eq!(steps, 2, "600 a minute were taken before");
    }

    #[test]
    fn gmails_throttle_halves() {
        let standing = after(None, "421 4.7.28 unusual rate of unsolicited mail", 36_000, NOW);
        assert_eq!((standing.rate().per_hour(), standing.suspended_until - NOW), (18_000, 30 * MINUTE));
    }

    #[test]
    fn backing_off_grows_faster_than_recovery_and_the_wire_counts_once() {
        let line = "421 too many connections";
        let first = after(None, line, 3600, NOW);
        assert_eq!(first.suspended_until, NOW + 10 * MINUTE);
        let echo = after(Some(&first), line, 3600, NOW + 5_000);
        assert_eq!((echo.strikes, echo.suspended_until), (1, NOW + 10 * MINUTE + 5_000));
        let worse = after(Some(&echo), "550 5.7.1 on our block list (S3150)", 3600, NOW + 6_000);
        assert_eq!((worse.strikes, worse.suspended_until), (1, NOW + 24 * HOUR + 6_000));
        assert_eq!((worse.class, worse.reply.contains("S3150")), (ReplyClass::Block, true));
        assert_eq!(after(Some(&worse), line, 3600, NOW + 7_000), worse, "what asks for less changes nothing");
        let mut standing = first;
        let pauses: Vec<i64> = (0..6)
            .map(|_| {
                let now = standing.suspended_until + MINUTE;
                standing = after(Some(&standing), line, 60, now);
                (standing.suspended_until - now) / MINUTE
            })
            .collect();
        assert_eq!(pauses, [20, 40, 80, 160, 240, 240]);
        assert_eq!(standing.seen_per_hour, 3600, "it remembers what it took when it was well");
    }

    #[test]
    fn a_clock_set_back_does_not_suspend_for_ever() {
        let standing = after(None, "550 5.7.1 on our block list (S3150)", 60, NOW);
        assert!(standing.is_suspended(NOW - HOUR) && !standing.is_suspended(NOW - 48 * HOUR));
    }

    #[test]
    fn one_server_does_not_speak_for_all_the_others() {
        assert!(suspends("google", 1000, 1) && suspends("yahoo", 1, 1));
        assert!(!suspends("other", 1, 1) && !suspends("other", 1000, 400) && suspends("other", 20, 10));
    }

    #[test]
    fn no_address_is_kept() {
        let reply = Reply::new(550, "5.7.1 <a@example.net>: blocked, see a@b.example please");
        assert_eq!(without_addresses(&reply), "550 5.7.1 blocked, see please");
    }

    proptest! {
        #[test]
        fn whatever_servers_say_a_suspension_has_an_end(
            code in 400u16..600, text in ".{0,60}", per_hour in 0i64..1 << 40, strikes in 0i64..100,
        ) {
            let reply = Reply::new(code, &text);
            let class = classify(&reply, Stage::Final);
            let Some(push) = pushback(&reply, class) else { return Ok(()) };
            let mut standing = None;
            let mut now = NOW;
            for _ in 0..=strikes {
                let next = Standing::after(standing.as_ref(), push, &reply, class, Seen { per_hour, accepted: 0, now });
                prop_assert!(next.suspended_until > now && next.suspended_until - now <= 24 * HOUR);
                prop_assert!(next.is_suspended(now) && next.rate().per_hour() > 0 && !next.reply.contains('@'));
                now = next.suspended_until;
                standing = Some(next);
            }
        }
    }
}
