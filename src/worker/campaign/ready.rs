//! What a campaign has in hand: claimed, being made, and ready, each in the order of its turn.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::Making;
use crate::pipeline::deliver::{Claim, Job, claim::Unjudged, traffic::Group};

/// Messages are made so long before their turn.
const LEAD: Duration = Duration::from_millis(50);
/// Messages made and not handed in, at most.
const READY: usize = 256;

/// Claims and jobs of one campaign.
#[derive(Default)]
pub struct Hand {
    /// Claimed, by when they may leave; the number keeps the order of equals.
    claimed: BTreeMap<(Instant, u64), Box<Claim>>,
    /// Being made, in order.
    pub making: VecDeque<Making>,
    /// Made, by when they may leave.
    ready: BinaryHeap<Reverse<Due>>,
    /// Everybody in hand, to be given back.
    held: HashMap<i64, (Arc<Group>, Timestamp)>,
    count: u64,
}

struct Due {
    at: Instant,
    number: u64,
    job: Box<Job>,
}

impl Hand {
    /// How many are in hand.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes claims.
    pub fn take(&mut self, claims: Vec<Box<Claim>>) {
        for claim in claims {
            let group = Arc::clone(claim.turn.place.group());
            self.held.insert(claim.contact.id, (group, claim.turn.claimed_at));
            self.count += 1;
            self.claimed.insert((claim.turn.at.into(), self.count), claim);
        }
    }

    /// Notes what was taken and never judged, to be given back with the rest.
    pub fn hold<'a>(&mut self, taken: impl Iterator<Item = &'a Unjudged>) {
        let held = taken.map(|t| (t.contact_id, (Arc::clone(t.turn.place.group()), t.turn.claimed_at)));
        self.held.extend(held);
    }

    /// Claims whose turn is near enough to make their messages, up to `most`; none: nothing is to be made.
    pub fn due_to_be_made(&mut self, most: usize) -> Option<Vec<Box<Claim>>> {
        let soon = Instant::now() + LEAD;
        let mut some = Vec::new();
        while some.len() < most
            && self.ready.len() < READY
            && let Some(first) = self.claimed.first_entry().filter(|first| first.key().0 <= soon)
        {
            some.push(first.remove());
        }
        (!some.is_empty()).then_some(some)
    }

    /// A message is made.
    pub fn made(&mut self, job: Box<Job>) {
        self.count += 1;
        self.ready.push(Reverse(Due { at: job.turn.at.into(), number: self.count, job }));
    }

    /// When the turn of the first one that is ready comes.
    pub fn turn_at(&self) -> Option<Instant> {
        self.ready.peek().map(|Reverse(first)| first.at)
    }

    /// How many are ready whose turn has come at `now`, up to `most`.
    pub fn turns(&self, now: Instant, most: usize) -> usize {
        self.ready.iter().filter(|Reverse(due)| due.at <= now).take(most).count()
    }

    /// When the next message is to be made.
    pub fn make_at(&self) -> Option<Instant> {
        let next = self.claimed.first_key_value().filter(|_| self.ready.len() < READY)?;
        Some(next.0.0.checked_sub(LEAD).unwrap_or(next.0.0))
    }

    /// The job whose turn it is.
    pub fn next(&mut self) -> Option<Box<Job>> {
        self.ready.pop().map(|Reverse(due)| due.job)
    }

    /// One is no longer in hand.
    pub fn forget(&mut self, contact: i64) {
        self.held.remove(&contact);
    }

    /// Everybody in hand: the group, and when they were claimed.
    pub fn held(&self) -> &HashMap<i64, (Arc<Group>, Timestamp)> {
        &self.held
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
