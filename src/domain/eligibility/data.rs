//! Step 1: the data can be read (DATA-1, REG-1).

use jiff::Timestamp;

use super::{Case, Person, Reason, Rules};
use crate::domain::{campaigns::Terms, dates::Dated, regimes};

/// Opens the case when the address is one, no date is unreadable, the collection does not lie in
/// the future and the regime is known; otherwise the first of these that fails.
pub(super) fn open<'a>(
    rules: &'a Rules,
    terms: &'a Terms,
    person: &'a Person,
    now: Timestamp,
) -> Result<Case<'a>, Reason> {
    let address = person.address.as_ref().ok_or(Reason::DataInvalidAddress)?;
    if has_unreadable_date(person) || person.collected_at.known().is_some_and(|at| at.is_after(now, &rules.tz)) {
        return Err(Reason::DataInvalidDate);
    }
    let regime = regimes::find(&person.regime).ok_or(Reason::RegimeUnknown)?;
    let today = rules.tz.to_datetime(now).date();
    Ok(Case { rules, terms, person, address, regime, now, today })
}

fn has_unreadable_date(person: &Person) -> bool {
    [person.collected_at, person.relationship_end, person.last_activity_at, person.repermission_last_at]
        .contains(&Dated::Invalid)
}
