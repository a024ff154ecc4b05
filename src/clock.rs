//! The only place that reads the clock. Everything else takes `now` as an argument.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;

/// Where `now` comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Stands still until told; shared by its clones.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn manual(start: Timestamp) -> Clock {
        Clock::Manual(Arc::new(AtomicI64::new(start.as_millisecond())))
    }

    /// The present instant, in whole milliseconds.
    #[allow(clippy::disallowed_methods)]
    pub fn now(&self) -> Timestamp {
        let millis = match self {
            Clock::System => Timestamp::now().as_millisecond(),
            Clock::Manual(millis) => millis.load(Ordering::SeqCst),
        };
        Timestamp::from_millisecond(millis).expect("milliseconds of a timestamp are in range")
    }

    /// Moves a manual clock by `millis`, forth or back; the system's clock is not ours to move.
    pub fn advance(&self, millis: i64) {
        if let Clock::Manual(at) = self {
            at.fetch_add(millis, Ordering::SeqCst);
        }
    }
}
