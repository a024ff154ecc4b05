//! When a deferred delivery is tried again, and when it is given up (rules 5.3, RFC 5321 section 4.5.4.1).

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(30 * 60);
const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);

/// How long to wait after `attempts` refused attempts (at least one): half an hour, doubling to
/// four hours, and up to a quarter more by `jitter` (0 to 1), so that retries do not march in step.
pub fn delay(attempts: i64, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    let base = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    base.mul_f64(1.0 + 0.25 * jitter.clamp(0.0, 1.0))
}

/// Whether a delivery first tried `since` ago is given up instead of waiting once more for `wait`.
pub fn is_given_up(since: Duration, wait: Duration, give_up: Duration) -> bool {
    since + wait > give_up
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn waits_grow_to_four_hours_and_end_within_three_days() {
        let hours: Vec<f64> = (1..=6).map(|n| delay(n, 0.0).as_secs_f64() / 3600.0).collect();
        assert_eq!(hours, [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]);
        assert!(delay(4, 1.0) <= 5 * HOUR);
        assert!(!is_given_up(68 * HOUR, 4 * HOUR, 72 * HOUR));
        assert!(is_given_up(69 * HOUR, 4 * HOUR, 72 * HOUR));
        assert!(is_given_up(Duration::ZERO, HOUR / 2, Duration::from_secs(60)));
    }
}
