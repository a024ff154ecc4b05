//! Automatic stops: when a campaign must not go on by itself (rules 5.3, 5.4; T04, T05).

use serde::Serialize;

use super::{lang::Lang, words::words};

words! {
    /// Why a campaign was stopped.
    Stop {
        /// Too many addresses do not exist.
        HardBounces = "hard_bounces",
        /// Too many people complained.
        Complaints = "complaints",
        /// A provider says that the sender is not who he says (SPF, DKIM, DMARC, sender address).
        Authentication = "authentication",
        /// A provider refuses the message itself.
        Content = "content",
    }
}

/// When a campaign is stopped. Shares are parts of a million, so that 0.1 % is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// More hard bounces than this share of what was answered …
    pub hard_bounces_ppm: i64,
    /// … once so many messages were answered for good.
    pub hard_bounces_after: i64,
    /// As many complaints as this share of what was accepted, or more …
    pub complaints_ppm: i64,
    /// … once so many messages were accepted.
    pub complaints_after: i64,
    /// So many refusals for want of authentication; 0: never.
    pub authentication: i64,
    /// So many refusals of the message itself; 0: never.
    pub content: i64,
}

impl Default for Thresholds {
    /// What rules 5.3 ask for.
    fn default() -> Thresholds {
        Thresholds {
            hard_bounces_ppm: 20_000,
            hard_bounces_after: 100,
            complaints_ppm: 1_000,
            complaints_after: 0,
            authentication: 1,
            content: 1,
        }
    }
}

/// What a campaign has come to, since its launch or since it was resumed after a stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Messages that servers took.
    pub accepted: i64,
    /// Messages refused for good.
    pub bounced: i64,
    /// Of these, because the address does not exist.
    pub hard: i64,
    /// Refused for want of authentication, for now or for good.
    pub config: i64,
    /// Refused for what the message is.
    pub content: i64,
    /// People who complained.
    pub complaints: i64,
}

/// How near a stop is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gauge {
    /// Which stop.
    pub stop: Stop,
    /// How many there are.
    pub count: i64,
    /// Of how many; 0 where only the count matters.
    pub of: i64,
    /// Their share, percent.
    pub percent: f64,
    /// The share at which it stops, percent; 0 where only the count matters.
    pub limit_percent: f64,
    /// How many more would stop the campaign if nothing else changed; none: it never stops for this.
    pub left: Option<i64>,
    /// It stops now.
    pub fires: bool,
}

impl Thresholds {
    /// Every stop, and how near it is.
    pub fn gauges(&self, n: &Numbers) -> Vec<Gauge> {
        let answered = n.accepted + n.bounced;
        // More than the share, once enough were answered: T05.
        let most = self.hard_bounces_ppm * answered.max(self.hard_bounces_after) / 1_000_000;
        let hard = Gauge {
            left: (self.hard_bounces_ppm < 1_000_000).then(|| (most + 1 - n.hard).max(0)),
            fires: answered >= self.hard_bounces_after && n.hard * 1_000_000 > self.hard_bounces_ppm * answered,
            ..share(Stop::HardBounces, n.hard, answered, self.hard_bounces_ppm)
        };
        // The share itself is too much: T04.
        let enough = n.accepted >= self.complaints_after;
        let least = ceil(self.complaints_ppm * n.accepted.max(self.complaints_after), 1_000_000).max(1);
        let complaints = Gauge {
            left: (self.complaints_ppm < 1_000_000).then(|| (least - n.complaints).max(0)),
            fires: enough
                && self.complaints_ppm < 1_000_000
                && n.complaints > 0
                && n.complaints * 1_000_000 >= self.complaints_ppm * n.accepted,
            ..share(Stop::Complaints, n.complaints, n.accepted, self.complaints_ppm)
        };
        let counted = |stop, count: i64, limit: i64| Gauge {
            left: (limit > 0).then(|| (limit - count).max(0)),
            fires: limit > 0 && count >= limit,
            ..share(stop, count, 0, 0)
        };
        vec![
            hard,
            complaints,
            counted(Stop::Authentication, n.config, self.authentication),
            counted(Stop::Content, n.content, self.content),
        ]
    }

    /// The stop that fires, if one does.
    pub fn fired(&self, n: &Numbers) -> Option<Gauge> {
        self.gauges(n).into_iter().find(|gauge| gauge.fires)
    }
}

fn share(stop: Stop, count: i64, of: i64, limit_ppm: i64) -> Gauge {
    let percent = if of > 0 { count as f64 * 100.0 / of as f64 } else { 0.0 };
    Gauge { stop, count, of, percent, limit_percent: limit_ppm as f64 / 10_000.0, left: None, fires: false }
}

fn ceil(a: i64, b: i64) -> i64 {
    (a + b - 1).div_euclid(b)
}

impl Stop {
    /// Why a campaign stands, for whoever sends it; the way on with it.
    pub fn sentence(self, count: i64, of: i64, lang: Lang) -> String {
        let percent = if of > 0 { count as f64 * 100.0 / of as f64 } else { 0.0 };
        match self {
            Stop::HardBounces => lang.pick(
                format!(
                    "arrêtée : {count} adresses inexistantes sur {of} réponses ({percent:.1} %). Le fichier est vieux ou \
                     mal recopié : nettoyez-le avant de reprendre."
                ),
                format!(
                    "stopped: {count} addresses of {of} answered do not exist ({percent:.1} %). The list is old or badly \
                     copied: clean it before you resume."
                ),
            ),
            Stop::Complaints => lang.pick(
                format!(
                    "arrêtée : {count} plaintes pour {of} messages acceptés ({percent:.2} %). Des destinataires n'attendaient \
                     pas ce message : revoyez l'audience avant de reprendre."
                ),
                format!(
                    "stopped: {count} complaints about {of} accepted messages ({percent:.2} %). People did not expect this \
                     message: look at the audience before you resume."
                ),
            ),
            Stop::Authentication => lang.pick(
                format!(
                    "arrêtée : {count} refus pour défaut d'authentification (SPF, DKIM, DMARC, expéditeur). Corrigez la \
                     configuration avant de reprendre."
                ),
                format!(
                    "stopped: {count} refusals for want of authentication (SPF, DKIM, DMARC, sender). Mend the \
                     configuration before you resume."
                ),
            ),
            Stop::Content => lang.pick(
                format!(
                    "arrêtée : {count} refus du message lui-même (taille, contenu). Relisez les réponses des serveurs avant \
                     de reprendre."
                ),
                format!(
                    "stopped: {count} refusals of the message itself (size, content). Read what the servers answered before \
                     you resume."
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fired(n: Numbers) -> Option<Stop> {
        Thresholds::default().fired(&n).map(|gauge| gauge.stop)
    }

    /// T05.
    #[test]
    fn hard_bounces_stop_above_two_percent_of_a_hundred() {
        let numbers =
            |hard: i64, answered: i64| Numbers { hard, bounced: hard, accepted: answered - hard, ..Numbers::default() };
        assert_eq!(fired(numbers(2, 50)), None);
        assert_eq!(fired(numbers(50, 99)), None);
        assert_eq!(fired(numbers(2, 100)), None);
        assert_eq!(fired(numbers(3, 100)), Some(Stop::HardBounces));
        assert_eq!(fired(numbers(200, 10_000)), None);
        assert_eq!(fired(numbers(201, 10_000)), Some(Stop::HardBounces));
    }

    /// T04.
    #[test]
    fn complaints_stop_at_a_tenth_of_a_percent() {
        let numbers = |complaints: i64, accepted: i64| Numbers { complaints, accepted, ..Numbers::default() };
        assert_eq!(fired(numbers(9, 10_000)), None);
        assert_eq!(fired(numbers(10, 10_000)), Some(Stop::Complaints));
        assert_eq!(fired(numbers(0, 10_000)), None);
        assert_eq!(fired(numbers(0, 0)), None);
    }

    #[test]
    fn any_refusal_for_want_of_authentication_stops() {
        assert_eq!(fired(Numbers { config: 1, ..Numbers::default() }), Some(Stop::Authentication));
        assert_eq!(fired(Numbers { content: 1, ..Numbers::default() }), Some(Stop::Content));
        let lax = Thresholds { authentication: 0, content: 3, ..Thresholds::default() };
        assert_eq!(lax.fired(&Numbers { config: 100, content: 2, ..Numbers::default() }), None);
    }

    #[test]
    fn a_hundred_percent_never_stops() {
        let never = Thresholds { complaints_ppm: 1_000_000, hard_bounces_ppm: 1_000_000, ..Thresholds::default() };
        assert_eq!(never.fired(&Numbers { accepted: 3, complaints: 3, ..Numbers::default() }), None);
        assert_eq!(
            never.fired(&Numbers { accepted: 3, complaints: 4, bounced: 200, hard: 200, ..Numbers::default() }),
            None
        );
    }

    proptest! {
        /// What is left is exact: so many more stop it, one less does not.
        #[test]
        fn how_near_a_stop_is_is_true(
            accepted in 0i64..30_000, hard in 0i64..900, complaints in 0i64..60, config in 0i64..3,
        ) {
            let thresholds = Thresholds { authentication: 3, content: 2, complaints_after: 200, ..Thresholds::default() };
            let numbers = Numbers { accepted, bounced: hard, hard, config, complaints, content: 0 };
            for gauge in thresholds.gauges(&numbers) {
                // Hard bounces count into what they are a share of: only without them the number is final.
                let Some(left) = gauge.left else { continue };
                let with = |more: i64| {
                    let mut n = numbers;
                    match gauge.stop {
                        // One more that does not exist is one less that was accepted.
                        Stop::HardBounces => (n.hard, n.bounced, n.accepted) = (n.hard + more, n.bounced + more, n.accepted - more),
                        Stop::Complaints => n.complaints += more,
                        Stop::Authentication => n.config += more,
                        Stop::Content => n.content += more,
                    }
                    thresholds.gauges(&n).into_iter().find(|g| g.stop == gauge.stop).is_some_and(|g| g.fires)
                };
                if gauge.fires {
                    prop_assert_eq!(left, 0, "{:?}", gauge);
                } else if left > 0 {
                    prop_assert!(!with(left - 1), "{:?}", gauge);
                    let answered = accepted + hard;
                    let base = if gauge.stop == Stop::HardBounces { answered >= 100 } else { accepted >= 200 };
                    prop_assert!(!base || with(left), "{:?}", gauge);
                }
            }
        }
    }
}
