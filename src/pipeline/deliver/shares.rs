//! Fair shares: campaigns that want the same limited scope at the same time get it by turns, each as
//! its priority weighs. In memory: every worker runs every campaign, so what is fair in each is fair.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::permits::Scope;

/// Whoever has not asked for so long wants nothing any more.
const WANTS: Duration = Duration::from_secs(1);

/// What each campaign had of each limited scope. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shares(Arc<Mutex<HashMap<Scope, HashMap<i64, Share>>>>);

/// How much a campaign had, by its weight, and whether it wants more.
#[derive(Debug, Clone, Copy)]
struct Share {
    had: f64,
    weight: f64,
    asked_at: Instant,
    wants: bool,
}

impl Shares {
    /// Whether it is this campaign's turn in a scope, and if so which part of what there is it may take.
    /// Whoever had least, by its weight, is next.
    pub fn part(&self, scope: &str, campaign: i64, weight: u32, at: Instant) -> Option<f64> {
        let mut all = self.lock();
        let shares = all.entry(scope.to_owned()).or_default();
        shares.retain(|id, share| *id == campaign || at.duration_since(share.asked_at) < WANTS);
        let others: Vec<Share> =
            shares.iter().filter(|(id, share)| **id != campaign && share.wants).map(|(_, share)| *share).collect();
        let least = others.iter().map(|share| share.had).reduce(f64::min);
        let weight = f64::from(weight);
        let own = shares.entry(campaign).or_insert(Share { had: 0.0, weight, asked_at: at, wants: false });
        if !own.wants || at.duration_since(own.asked_at) >= WANTS {
            // Time in which it wanted nothing is not made good.
            own.had = own.had.max(least.unwrap_or(0.0));
        }
        (own.asked_at, own.weight, own.wants) = (at, weight, true);
        match least {
            Some(least) if own.had > least => None,
            Some(_) => Some(weight / (weight + others.iter().map(|share| share.weight).sum::<f64>())),
            None => Some(1.0),
        }
    }

    /// A campaign took `n` of a scope. `more`: it would have taken more.
    pub fn took(&self, scope: &str, campaign: i64, n: i64, more: bool) {
        if let Some(share) = self.lock().get_mut(scope).and_then(|shares| shares.get_mut(&campaign)) {
            share.had += n as f64 / share.weight;
            share.wants = more;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, HashMap<i64, Share>>> {
        // What panicked elsewhere left these numbers as they were.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What campaigns of these weights get of 100 a round, when each takes all that it may.
    fn rounds(weights: &[u32], rounds: usize) -> Vec<i64> {
        let (shares, at) = (Shares::default(), Instant::now());
        let mut got = vec![0; weights.len()];
        for round in 0..rounds {
            let mut left = 100;
            let now = at + Duration::from_millis(200 * round as u64);
            for _ in 0..4 * weights.len() {
                for (i, weight) in weights.iter().enumerate() {
                    if let Some(part) = shares.part("server", i as i64, *weight, now) {
                        let n = ((100.0 * part).ceil() as i64).min(left);
                        left -= n;
                        got[i] += n;
                        shares.took("server", i as i64, n, true);
                    }
                }
            }
        }
        got
    }

    #[test]
    fn equals_share_alike_and_weights_weigh() {
        let got = rounds(&[4, 4], 50);
        assert!((got[0] - got[1]).abs() <= 100, "{got:?}");
        let got = rounds(&[16, 4], 50);
        assert!(got[0] > 3 * got[1] && got[1] > 500, "{got:?}");
        assert_eq!(rounds(&[1], 10), [1000], "alone it gets everything");
    }

    #[test]
    fn whoever_wants_nothing_holds_up_nobody() {
        let (shares, at) = (Shares::default(), Instant::now());
        assert_eq!(shares.part("server", 1, 4, at), Some(1.0));
        shares.took("server", 1, 50, true);
        // The second is behind and satisfied with little: the first goes on.
        assert_eq!(shares.part("server", 2, 4, at), Some(0.5));
        shares.took("server", 2, 1, false);
        assert_eq!(shares.part("server", 1, 4, at), Some(1.0));
        shares.took("server", 1, 50, true);
        // It wants more than it gets: now it is its turn.
        assert_eq!(shares.part("server", 2, 4, at), Some(0.5));
        shares.took("server", 1, 50, true);
        assert_eq!(shares.part("server", 1, 4, at), None);
        // And when it is gone, the first has everything again.
        assert_eq!(shares.part("server", 1, 4, at + Duration::from_secs(2)), Some(1.0));
    }
}
