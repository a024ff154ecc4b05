//! Steps 5b, 8 and 8b: the person asked for silence, was asked too recently, or is inactive.

use super::{Case, Reason, Ruling};
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

/// Right after step 8: the sender's stated inactivity rule. Never a refusal.
pub(super) fn of_the_inactive(case: &Case) -> Option<Ruling> {
    case.person.sunset.then(|| case.block(Reason::Sunset))
}
