//! People to review: nothing has been heard of them for long. Nobody is blocked by being on this list;
//! that is the sunset rule's (SUNSET-1), when there is one.

use jiff::civil::Date;
use serde::Serialize;

use crate::{
    app::App,
    domain::eligibility::{is_inactive, last_sign},
    store::{self, contacts, facts},
};

const PAGE: i64 = 1000;

/// Somebody of whom nothing was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quiet {
    /// The address.
    pub address: String,
    /// The last day of which anything is known.
    pub last_sign: Option<Date>,
    /// The day of the last open, where it may be known.
    pub last_open: Option<Date>,
}

/// Those of whom nothing was heard for more than `months`: no contact, and no open that may be known.
pub async fn inactive(app: &App, months: u32) -> store::Result<Vec<Quiet>> {
    let (mut found, mut after, now) = (Vec::new(), 0, app.now());
    loop {
        let mut tx = app.db.read().await?;
        let page = contacts::page(&mut tx, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        let people = facts::of(&mut tx, &page, "").await?;
        drop(tx);
        let quiet = page.into_iter().zip(people).filter(|(_, person)| is_inactive(&app.rules, person, months, now));
        found.extend(quiet.map(|(contact, person)| Quiet {
            address: contact.address,
            last_sign: last_sign(&app.rules, &person, now),
            last_open: person.last_open,
        }));
    }
}
