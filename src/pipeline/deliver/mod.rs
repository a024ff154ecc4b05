//! Deliver: claim → decide → render and compose → decide again → submit → record.
//!
//! Submitting itself happens between [`gate::pass`] and its next call, with no transaction open.
//! What passed the gate is on disk as `submitting`: interrupted there, it ends as unknown.

pub mod claim;
pub mod gate;
mod marks;
pub mod permits;
pub mod prepare;
pub mod shares;
pub mod traffic;

use std::{fmt, sync::Arc, time::Instant};

use jiff::Timestamp;

use super::compile::Compiled;
use crate::{
    domain::{
        address::AddressHash,
        eligibility::{Basis, Person, Tracking},
    },
    mail::smtp::Envelope,
    store::{contacts::Contact, facts::Mark},
};

/// A claimed delivery that may be sent as far as is known, not yet rendered.
#[derive(Debug)]
pub struct Claim {
    /// The recipient.
    pub contact: Contact,
    /// What was known of the person then.
    pub person: Person,
    /// What it was read at.
    pub mark: Mark,
    /// Submissions before this one.
    pub attempts: i64,
    /// When it may leave, and among whom.
    pub turn: Turn,
    /// Basis of the decision at the claim; the message states it.
    pub basis: Basis,
    /// Tracking that was decided.
    pub tracking: Tracking,
}

/// A delivery's turn.
#[derive(Debug)]
pub struct Turn {
    /// Its place in its provider group.
    pub place: traffic::Place,
    /// When it may leave, as the limits gave it out.
    pub at: Instant,
    /// When that is over: whoever has not left by then asks the limits again.
    pub until: Instant,
    /// When it was claimed, as the installation's clock shows it: the caps of that hour and day count it.
    pub claimed_at: Timestamp,
    /// When it was first submitted, in milliseconds.
    pub first_submitted_at: Option<i64>,
}

/// A message ready to go, its last decision still to come.
pub struct Job {
    /// Its campaign.
    pub campaign: Arc<Compiled>,
    /// Key of the contact.
    pub contact_id: i64,
    /// Keyed hash of the address.
    pub address_hash: AddressHash,
    /// What was known of the person at the claim.
    pub person: Person,
    /// What it was read at.
    pub mark: Mark,
    /// Submissions before this one.
    pub attempts: i64,
    /// When it may leave, and among whom.
    pub turn: Turn,
    /// Basis that the message states.
    pub basis: Basis,
    /// Tracking that the message holds.
    pub tracking: Tracking,
    /// From whom and to whom.
    pub envelope: Envelope,
    /// The signed bytes.
    pub message: Vec<u8>,
}

/// Its buffer serves the next.
impl Drop for Job {
    fn drop(&mut self) {
        self.campaign.buffers.give_back(std::mem::take(&mut self.message));
    }
}

/// Debug output shows no person: it may reach a log.
impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job(campaign {}, contact {})", self.campaign.id, self.contact_id)
    }
}
