//! The memory of messages that went, used again: to get as much anew for each costs more than to write it.

use std::sync::{Mutex, PoisonError};

/// Buffers kept, at most.
const KEPT: usize = 512;
/// A larger one is not kept.
const LARGEST: usize = 128 * 1024;

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives one back.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT && buffer.capacity() <= LARGEST {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_comes_again_and_is_empty() {
        let buffers = Buffers::default();
        buffers.give_back(vec![1; 1000]);
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() >= 1000);
        buffers.give_back(Vec::with_capacity(LARGEST + 1));
        assert_eq!(buffers.take().capacity(), 0);
    }
}
