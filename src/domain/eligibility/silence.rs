//! Steps 5b, 8 and 8b: the person asked for silence, was asked too recently, or is inactive.

use jiff::{Timestamp, civil::Date};

use super::{Case, Person, Reason, Rules, Ruling, retention};
use crate::domain::dates::add_months;

/// Right after step 5: the person chose to receive nothing until a date, which is included.
pub(super) fn chosen_by_the_person(case: &Case) -> Option<Ruling> {
    let paused = case.person.paused_until.is_some_and(|until| case.today <= until);
    paused.then(|| case.block(Reason::PausedByPerson))
}

/// Step 8, re-permission only: months of silence after the last one, the last day included (RP-6).
pub(super) fn after_a_repermission(case: &Case) -> Option<Ruling> {
    let last = case.person.repermission_last_at.known().filter(|_| case.is_repermission())?;
    let until = add_months(last.local_date(&case.rules.tz), case.rules.settings.repermission_cooldown_months);
    (case.today <= until).then(|| case.block(Reason::RepermissionCooldown))
}

/// Right after step 8: the sender's stated inactivity rule, the last day included. Never a refusal.
pub(super) fn of_the_inactive(case: &Case) -> Option<Ruling> {
    let months = case.rules.settings.sunset_months?;
    is_inactive(case.rules, case.person, months, case.now).then(|| case.block(Reason::Sunset))
}

/// Whether a person has given no sign for more than so many months. Where no date is known there is
/// nothing to count from.
pub fn is_inactive(rules: &Rules, person: &Person, months: u32, now: Timestamp) -> bool {
    let today = rules.tz.to_datetime(now).date();
    last_sign(rules, person, now).is_some_and(|last| today > add_months(last, months))
}

/// The last day of which something of the person is known: a contact, or an open. An open is no contact
/// (RET-3), but whoever opened is not inactive.
pub fn last_sign(rules: &Rules, person: &Person, now: Timestamp) -> Option<Date> {
    retention::last_contact_of(rules, person, now).max(person.last_open)
}
