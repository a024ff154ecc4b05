//! Step 7: people were told who holds their address and where it comes from (GD-3).

use super::{Case, Reason, Ruling};
use crate::domain::{
    contacts::{AddressKind, SourceKind},
    dates::add_months,
};

/// Blocks when the duties of articles 13 and 14 of the GDPR are not met, in every regime: they
/// bind the sender. A generic address is not personal data (FR-6).
pub(super) fn is_missing(case: &Case) -> Option<Ruling> {
    let person = case.person;
    if person.address_kind == AddressKind::Generic {
        return None;
    }
    if person.source == SourceKind::Unknown {
        return Some(case.block(Reason::SourceUnknown));
    }
    if person.informed {
        return None;
    }
    if person.source.is_indirect() && !case.terms.art14_notice {
        return Some(case.block(Reason::Art14NoticeMissing));
    }
    if is_cured(case) {
        return None;
    }
    match person.source.is_indirect() {
        true => is_late(case).then(|| case.block(Reason::InfoOverdue)),
        false => Some(case.block(Reason::NotInformed)),
    }
}

/// A month from collection, the last day included; not to know the collection is to be late.
fn is_late(case: &Case) -> bool {
    let collected = case.person.collected_at.known().map(|when| when.local_date(&case.rules.tz));
    collected.is_none_or(|date| case.today > add_months(date, 1))
}

/// RP-3: a re-permission that carries the full notice gives the information that was missing.
fn is_cured(case: &Case) -> bool {
    case.is_repermission() && case.terms.art14_notice && case.regime.notice_cures.contains(&case.person.kind)
}
