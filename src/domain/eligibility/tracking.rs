//! Step 10: how the message may be tracked (TRK-1 … TRK-8).

use super::{Case, Outcome, Tracking};
use crate::domain::{campaigns::TrackingRequest, contacts::TrackingConsent};

/// What the campaign asked for, as far as this person allows it. Never more, never in a
/// re-permission (RP-7), and individual tracking never falls back to the day of the last open.
pub(super) fn allowed(case: &Case, outcome: Outcome) -> Tracking {
    let consent = case.person.tracking;
    match (outcome, case.terms.tracking) {
        (Outcome::Block(_), _) | (_, TrackingRequest::None) => Tracking::None,
        _ if case.is_repermission() => Tracking::None,
        (_, TrackingRequest::Individual) if consent == TrackingConsent::Granted => Tracking::Individual,
        (_, TrackingRequest::Individual) => Tracking::None,
        (Outcome::Send(basis), TrackingRequest::Deliverability) => {
            let exempt = case.regime.last_open_day_without_consent.contains(&basis);
            match consent {
                TrackingConsent::Granted => Tracking::LastOpenDay,
                TrackingConsent::None if exempt => Tracking::LastOpenDay,
                TrackingConsent::None | TrackingConsent::Withdrawn => Tracking::None,
            }
        }
    }
}
