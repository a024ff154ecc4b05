//! The answers to the question. A no is a suppression and goes the way of every refusal; this is the yes:
//! a consent with the proof of double opt-in, for the link came by mail and the press is a POST (RP-8).

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    app::App,
    domain::{
        address::AddressHash,
        consents::{ConsentState, Proof},
        contacts::ActivityKind,
        dates::When,
        import::lines::Facts,
    },
    pipeline::{import::merge::merge, press, suppress},
    store::{
        self, Tx, campaigns,
        consents::{self, Consent, ConsentPurpose},
        contacts,
        events::{self, Event, EventKind},
        suppressions,
    },
};

/// What became of a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yes {
    /// It is recorded.
    Recorded,
    /// It was recorded before, and nothing was said against it since.
    Known,
    /// Of this person nothing is known any more, so that nothing can be recorded.
    Gone,
    /// The product is gone, and with it what the yes was about.
    NoProduct,
}

/// Records the yes of a person to the product that they were asked about.
pub async fn yes(app: &App, person: AddressHash, product: u32, campaign: u32) -> store::Result<Yes> {
    let now = app.now();
    let mut tx = app.db.write().await?;
    suppressions::lock(&mut tx, &[suppress::hash_slot(person)].into()).await?;
    let Some(product) = press::product(&mut tx, product, campaign).await? else { return Ok(Yes::NoProduct) };
    let Some(mut contact) = contacts::by_hash(&mut tx, person).await? else { return Ok(Yes::Gone) };
    let row = campaigns::by_id(&mut tx, i64::from(campaign)).await?;
    let slug = row.map_or_else(String::new, |row| row.slug);
    let evidence = format!("repermission {slug}");
    if stands(&mut tx, person, contact.id, &product.slug, &evidence).await? {
        return Ok(Yes::Known);
    }
    let consent = Consent::confirmed(contact.id, product.slug, evidence, now.as_millisecond());
    consents::add(&mut tx, &[consent]).await?;
    if merge(&mut contact, &act(now), &TimeZone::UTC) {
        contact.changed_at = now.as_millisecond();
        contacts::save(&mut tx, &[contact]).await?;
    }
    let event = Event {
        campaign_id: i64::from(campaign),
        kind: EventKind::Yes,
        class: "",
        address_hash: person,
        at: now.as_millisecond(),
    };
    events::add(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(Yes::Recorded)
}

/// A form of ours that a person sends is a contact coming from them (rules 8.3, E13; RET-3).
fn act(now: Timestamp) -> Facts {
    Facts { last_activity: Some(ActivityKind::Form), last_activity_at: Some(When::Instant(now)), ..Facts::default() }
}

/// Whether this very yes stands: nothing was refused at or after it.
async fn stands(tx: &mut Tx, person: AddressHash, contact: i64, product: &str, evidence: &str) -> store::Result<bool> {
    let events = consents::of_contacts(tx, &[contact]).await?;
    let about = |event: &&Consent| {
        event.purpose == ConsentPurpose::Mail && (event.product == product || event.product.is_empty())
    };
    let said = events
        .iter()
        .filter(about)
        .filter(|e| e.state == ConsentState::Granted && e.proof == Proof::Doi && e.evidence == evidence)
        .filter_map(|e| e.at)
        .max();
    let Some(said) = said else { return Ok(false) };
    let withdrawn = events.iter().filter(about).any(|e| e.state.is_refusal() && e.at.is_none_or(|at| at >= said));
    let refused = suppressions::standing(tx, &[person], &[], &[]).await?;
    let refused = refused.iter().any(|entry| {
        entry.reason.is_the_persons_act()
            && (entry.product.is_empty() || entry.product == product)
            && entry.at.is_none_or(|at| at >= said)
    });
    Ok(!withdrawn && !refused)
}
