//! What this process counts while it runs, for `/metrics`. It counts and names nobody.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the histogram's buckets, in milliseconds.
pub const BOUNDS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/// The gate's numbers.
#[derive(Debug, Default)]
pub struct Meters {
    /// Commits of the gate, by how long they took; the last is all that took longer.
    gate: [AtomicU64; BOUNDS.len() + 1],
    gate_micros: AtomicU64,
    /// Messages that went through the gate.
    passed: AtomicU64,
    /// Messages that wait at the gate now.
    waiting: AtomicU64,
    /// Messages between the gate and their record now.
    on_wire: AtomicU64,
}

/// The gate's numbers at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Commits of the gate within each bound of [`BOUNDS`], and all of them at the end.
    pub gate: Vec<u64>,
    /// What all commits took together.
    pub gate_time: Duration,
    /// Messages that went through the gate.
    pub passed: u64,
    /// Messages that wait at the gate.
    pub waiting: u64,
    /// Messages between the gate and their record.
    pub on_wire: u64,
}

impl Meters {
    /// A commit of the gate took `time` and let `passed` messages through.
    pub fn gate(&self, time: Duration, passed: usize) {
        let millis = time.as_millis() as u64;
        let bucket = BOUNDS.iter().position(|bound| millis <= *bound).unwrap_or(BOUNDS.len());
        self.gate[bucket].fetch_add(1, Ordering::Relaxed);
        self.gate_micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        self.passed.fetch_add(passed as u64, Ordering::Relaxed);
    }

    /// So many messages wait at the gate, and so many are on the wire.
    pub fn stands(&self, waiting: usize, on_wire: usize) {
        self.waiting.store(waiting as u64, Ordering::Relaxed);
        self.on_wire.store(on_wire as u64, Ordering::Relaxed);
    }

    /// The numbers now.
    pub fn read(&self) -> Reading {
        let mut sum = 0;
        let gate = self.gate.iter().map(|bucket| {
            sum += bucket.load(Ordering::Relaxed);
            sum
        });
        Reading {
            gate: gate.collect(),
            gate_time: Duration::from_micros(self.gate_micros.load(Ordering::Relaxed)),
            passed: self.passed.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            on_wire: self.on_wire.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_add_up() {
        let meters = Meters::default();
        for millis in [0, 1, 3, 30, 9000] {
            meters.gate(Duration::from_millis(millis), 2);
        }
        let read = meters.read();
        assert_eq!((read.gate[0], read.gate[2], read.gate[BOUNDS.len() - 1], read.gate[BOUNDS.len()]), (2, 3, 4, 5));
        assert_eq!((read.passed, read.gate_time), (10, Duration::from_millis(9034)));
    }
}
