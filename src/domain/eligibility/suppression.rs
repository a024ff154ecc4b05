//! Step 3: standing refusals (SUP-1 … SUP-10).

use jiff::Timestamp;

use super::{Case, Reason, Ruling};
use crate::domain::{
    address::{self, Address, AddressHash},
    suppressions::{Scope, Suppression, SuppressionReason},
};

/// The codes of step 3 in its order: the first that an entry gives is the reason.
const ORDER: [Reason; 6] = [
    Reason::SuppressedHash,
    Reason::SuppressedGlobal,
    Reason::SuppressedComplaint,
    Reason::SuppressedDomain,
    Reason::SuppressedProduct,
    Reason::SuppressedHardBounce,
];

/// Blocks when an entry in force covers this person and this product, and was not lifted. A
/// service message is stopped by a hard bounce only (SVC-1, SUP-10).
pub(super) fn stands(case: &Case) -> Option<Ruling> {
    let standing: Vec<Reason> = case
        .person
        .suppressions
        .iter()
        .filter(|entry| entry.at.is_none_or(|at| at <= case.now))
        .filter(|entry| covers(case, entry) && !is_lifted(case, entry))
        .map(code)
        .filter(|code| !case.is_service() || *code == Reason::SuppressedHardBounce)
        .collect();
    ORDER.into_iter().find(|code| standing.contains(code)).map(|code| case.block(code))
}

/// The code of an entry that blocks. A `soft_limit` blocks like an operator's entry.
fn code(entry: &Suppression) -> Reason {
    match (entry.reason, entry.scope) {
        (SuppressionReason::HardBounce, _) => Reason::SuppressedHardBounce,
        (_, Scope::Hash) => Reason::SuppressedHash,
        (SuppressionReason::Complaint, _) => Reason::SuppressedComplaint,
        (_, Scope::Global | Scope::Address) => Reason::SuppressedGlobal,
        (_, Scope::Domain) => Reason::SuppressedDomain,
        (_, Scope::Product) => Reason::SuppressedProduct,
    }
}

/// Whether the entry is about this person and product. Without a value it is about the contact's
/// own address, domain or product; a value that cannot be read covers, it is never let pass.
fn covers(case: &Case, entry: &Suppression) -> bool {
    let Some(value) = entry.value.as_deref() else { return true };
    match entry.scope {
        Scope::Global => true,
        Scope::Product => about_the_person(entry.reason) || value == case.terms.product,
        Scope::Domain => domain_covers(value, case.address.domain()),
        Scope::Address => Address::parse(value).map_or(true, |address| address == *case.address),
        Scope::Hash => {
            AddressHash::from_hex(value).is_none_or(|hash| hash == case.rules.suppression_key.hash(case.address))
        }
    }
}

/// A complaint is an objection to everything, a hard bounce a fact of the mailbox: the product
/// that the entry names does not narrow them (SUP-9, SUP-10).
fn about_the_person(reason: SuppressionReason) -> bool {
    matches!(reason, SuppressionReason::Complaint | SuppressionReason::HardBounce)
}

/// The domain itself and its sub-domains, on a label boundary (SUP-4).
fn domain_covers(suppressed: &str, domain: &str) -> bool {
    let Some(suppressed) = address::normalise_labels(suppressed) else { return true };
    domain.strip_suffix(&suppressed).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What the person did, only the person undoes: for this product, later, by double opt-in. An
/// entry without an instant has no later (SUP-6, SUP-7).
fn is_lifted(case: &Case, entry: &Suppression) -> bool {
    let later = |refused_at: Timestamp| {
        case.person.consents.iter().any(|event| {
            event.lifts()
                && event.product.as_deref() == Some(case.terms.product.as_str())
                && event.at.is_some_and(|at| refused_at < at && at <= case.now)
        })
    };
    entry.reason.is_the_persons_act() && entry.at.is_some_and(later)
}
