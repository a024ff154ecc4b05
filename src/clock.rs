//! The only place that reads the clock. Everything else takes `now` as an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;

/// Where `now` comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Stands still until told; shared by its clones.
    Manual(Arc<AtomicI64>),
    /// Goes as the machine's clock does, from another start.
    Shifted {
        /// What it showed.
        start: Timestamp,
        /// When it showed it.
        since: Instant,
    },
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn manual(start: Timestamp) -> Clock {
        Clock::Manual(Arc::new(AtomicI64::new(start.as_millisecond())))
    }

    /// A clock that shows `start` now and goes on from there.
    pub fn shifted(start: Timestamp) -> Clock {
        Clock::Shifted { start, since: Instant::now() }
    }

    /// The present instant, in whole milliseconds.
    #[allow(clippy::disallowed_methods)]
    pub fn now(&self) -> Timestamp {
        let millis = match self {
            Clock::System => Timestamp::now().as_millisecond(),
            Clock::Manual(millis) => millis.load(Ordering::SeqCst),
            Clock::Shifted { start, since } => start.as_millisecond() + since.elapsed().as_millis() as i64,
        };
        Timestamp::from_millisecond(millis).expect("milliseconds of a timestamp are in range")
    }

    /// Nanoseconds of the machine's clock since 1970, whatever `now` shows: for the pace at which
    /// messages leave, which is a matter of real time.
    #[allow(clippy::disallowed_methods)]
    pub fn machine_nanos(&self) -> i64 {
        i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX / 2)
    }

    /// Moves a manual clock by `millis`, forth or back; the others are not ours to move.
    pub fn advance(&self, millis: i64) {
        if let Clock::Manual(at) = self {
            at.fetch_add(millis, Ordering::SeqCst);
        }
    }
}
