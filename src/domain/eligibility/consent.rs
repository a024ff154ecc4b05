//! Step 5, and what step 9 asks: where the consent for the campaign's product stands.

use jiff::Timestamp;

use super::{Case, Reason, Ruling};
use crate::domain::consents::{ConsentEvent, ConsentState, Proof};

/// Step 5. A no to the product stands in every regime and at every kind of address (SUP-7).
pub(super) fn is_refused(case: &Case) -> Option<Ruling> {
    (standing(case) == Standing::Refused).then(|| case.block(Reason::ConsentWithdrawn))
}

/// Where the consent stands, derived from the events (GD-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A no that no later double opt-in lifted.
    Refused,
    /// A yes, one of whose proofs the regime accepts.
    Proven,
    /// A yes without an accepted proof; this is the proof of the latest one.
    Unproven(Proof),
    /// Nothing but a double opt-in that waits.
    Pending,
    /// Nothing at all.
    Silent,
}

/// Derives the standing. Future events are ignored; at equal instants the refusal wins; after a
/// refusal only a double opt-in counts; a pending one never replaces anything.
pub(super) fn standing(case: &Case) -> Standing {
    let is_known =
        |event: &&ConsentEvent| concerns(event, &case.terms.product) && event.at.is_none_or(|at| at <= case.now);
    let known = || case.person.consents.iter().filter(is_known);
    // A refusal without an instant is after everything: nothing lifts it.
    let refused_at =
        known().filter(|event| event.state.is_refusal()).map(|event| event.at.unwrap_or(Timestamp::MAX)).max();
    // A grant without an instant is before everything, and proves nothing.
    let counts = |event: &&ConsentEvent| {
        event.state == ConsentState::Granted
            && refused_at.is_none_or(|refused| event.lifts() && event.at.is_some_and(|at| at > refused))
    };
    let grants = || known().filter(counts);
    let proves = |event: &ConsentEvent| event.at.is_some() && case.regime.accepted_proofs.contains(&event.proof);
    match grants().max_by_key(|event| event.at) {
        Some(_) if grants().any(proves) => Standing::Proven,
        Some(latest) => Standing::Unproven(latest.proof),
        None if refused_at.is_some() => Standing::Refused,
        None if known().any(|event| event.state == ConsentState::Pending) => Standing::Pending,
        None => Standing::Silent,
    }
}

/// Events of the product. One that names no product is a refusal of all, or it says nothing.
fn concerns(event: &ConsentEvent, product: &str) -> bool {
    match &event.product {
        Some(named) => named == product,
        None => event.state.is_refusal(),
    }
}
