//! Keeps caught messages, within bounds.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// A message as it came over SMTP.
#[derive(Clone, PartialEq, Eq)]
pub struct Caught {
    /// Its number, from 1, in the order of arrival.
    pub number: usize,
    /// Envelope sender; empty for `<>`.
    pub from: String,
    /// Envelope recipients, as written.
    pub to: Vec<String>,
    /// The message, dots unstuffed.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caught(number {}, {} recipients, {} octets)", self.number, self.to.len(), self.bytes.len())
    }
}

/// The messages that were caught; clones see the same.
#[derive(Clone)]
pub struct Mailbag {
    inner: Arc<Inner>,
}

struct Inner {
    kept: Mutex<Kept>,
    arrived: Notify,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Kept {
    messages: VecDeque<Arc<Caught>>,
    bytes: usize,
    /// Ever caught.
    count: usize,
}

impl Mailbag {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Mailbag {
        let kept = Mutex::default();
        Mailbag { inner: Arc::new(Inner { kept, arrived: Notify::new(), max_messages, max_bytes }) }
    }

    pub(super) fn keep(&self, from: String, to: Vec<String>, bytes: Vec<u8>) -> Arc<Caught> {
        let mut kept = self.lock();
        kept.count += 1;
        kept.bytes += bytes.len();
        let caught = Arc::new(Caught { number: kept.count, from, to, bytes });
        kept.messages.push_back(caught.clone());
        while kept.messages.len() > self.inner.max_messages || kept.bytes > self.inner.max_bytes {
            let Some(oldest) = kept.messages.pop_front() else { break };
            kept.bytes -= oldest.bytes.len();
        }
        drop(kept);
        self.inner.arrived.notify_waiters();
        caught
    }

    /// How many were ever caught, kept or not.
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// Those that are kept, oldest first.
    pub fn messages(&self) -> Vec<Arc<Caught>> {
        self.lock().messages.iter().cloned().collect()
    }

    /// The kept message of that number.
    pub fn message(&self, number: usize) -> Option<Arc<Caught>> {
        self.lock().messages.iter().find(|caught| caught.number == number).cloned()
    }

    /// Waits until `count` messages were caught; false if `limit` is over before.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> bool {
        let waiting = async {
            loop {
                let arrived = self.inner.arrived.notified();
                if self.count() >= count {
                    return;
                }
                // One may arrive between the count and here; look again soon.
                let _ = timeout(Duration::from_millis(100), arrived).await;
            }
        };
        timeout(limit, waiting).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mailbag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbag({} caught)", self.count())
    }
}
