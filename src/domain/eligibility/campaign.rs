//! Steps 2 and 4: what the message must hold, and service messages.

use super::{Basis, Case, Reason, Ruling};
use crate::domain::{campaigns::Sector, contacts::Relationship};

/// Step 2. Everything but the identity is asked of prospecting only (FR-4, FR-7, US-2, CA-5);
/// a service message must promote nothing (SVC-2).
pub(super) fn is_complete(case: &Case) -> Option<Ruling> {
    let elements = case.terms.elements;
    let prospecting = !case.is_service();
    let missing = if !elements.identity {
        Reason::CampaignMissingIdentity
    } else if prospecting && !elements.optout {
        Reason::CampaignMissingOptout
    } else if prospecting && case.regime.postal_address_required && !elements.postal {
        Reason::CampaignMissingPostal
    } else if prospecting && sector_is_banned(case) {
        Reason::CampaignSectorBanned
    } else if case.is_service() && case.terms.has_promo {
        Reason::CampaignNotService
    } else {
        return None;
    };
    Some(case.block(missing))
}

/// A banned sector is banned for everyone but those whom the regime's ban spares; consent and
/// custom do not lift it (FR-7).
fn sector_is_banned(case: &Case) -> bool {
    let spared = |kinds: &Vec<_>| kinds.contains(&case.person.kind);
    case.terms.sector != Sector::None && case.regime.sector_ban_spares.as_ref().is_some_and(|kinds| !spared(kinds))
}

/// Step 4. Service messages end here: sent to people with a relation (SVC-1, SVC-3).
pub(super) fn service_message(case: &Case) -> Option<Ruling> {
    use Relationship::{AccountOnly, Customer, FormerCustomer};
    if !case.is_service() {
        return None;
    }
    Some(match case.person.relationship {
        Customer | FormerCustomer | AccountOnly => case.send(Basis::Service),
        Relationship::Prospect | Relationship::Negotiation | Relationship::Partner => {
            case.block(Reason::ServiceNoRelation)
        }
    })
}
