//! Step 6: the time after which nobody may be prospected any more (RET-1 … RET-9).

use jiff::{Timestamp, civil::Date};

use super::{Case, Person, Reason, Rules, Ruling};
use crate::domain::{
    contacts::Relationship,
    dates::{When, add_days, add_months},
};

/// Blocks after the last day of the retention, and when no date is known to count it from. The
/// running relationship of a customer has no end to count from. Generic addresses too (RET-9).
pub(super) fn has_ended(case: &Case) -> Option<Ruling> {
    let months = case.rules.settings.retention_months.or(case.regime.retention_months)?;
    if is_current_customer(case) {
        return None;
    }
    let Some(last_contact) = last_contact(case) else { return Some(case.block(Reason::RetentionUnknown)) };
    let limit = add_months(last_contact, months);
    // RET-4: the question may be put a little later, when the controller chose so.
    let last_day =
        if case.is_repermission() { add_days(limit, case.rules.settings.end_of_term_recontact_days) } else { limit };
    (case.today > last_day).then(|| case.block(Reason::RetentionExpired))
}

fn is_current_customer(case: &Case) -> bool {
    let not_yet_reached = |end: When| end.is_after(case.now, &case.rules.tz);
    case.person.relationship == Relationship::Customer
        && case.person.relationship_end.known().is_none_or(not_yet_reached)
}

fn last_contact(case: &Case) -> Option<Date> {
    last_contact_of(case.rules, case.person, case.now)
}

/// The latest local date of collection, end of the relationship and act of the person.
pub(super) fn last_contact_of(rules: &Rules, person: &Person, now: Timestamp) -> Option<Date> {
    [person.collected_at.known(), person.relationship_end.known(), last_act(rules, person, now)]
        .into_iter()
        .flatten()
        .map(|when| when.local_date(&rules.tz))
        .max()
}

/// The last activity, if it is a contact coming from the person and not dated in the future. An
/// open is none (RET-3).
fn last_act(rules: &Rules, person: &Person, now: Timestamp) -> Option<When> {
    let at = person.last_activity_at.known().filter(|_| person.last_activity.is_some_and(|kind| kind.qualifies()))?;
    (!at.is_after(now, &rules.tz)).then_some(at)
}
