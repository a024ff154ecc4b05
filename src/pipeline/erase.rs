//! Erasure of a person (GD-4): what is kept is that the person refused, as a keyed hash.

use jiff::Timestamp;

use super::suppress::{self, Reach, Refusal, Whom};
use crate::{
    domain::{
        address::{AddressHash, SuppressionKey},
        consents::{ConsentState, Proof},
        suppressions::{Origin, SuppressionReason},
    },
    store::{
        self, Tx,
        consents::{self, Consent, ConsentPurpose},
        contacts, deliveries, events, opens, repermission, requests, subscriptions, suppressions,
    },
};

/// What an erasure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Deliveries that were waiting and will not leave.
    pub cancelled: u64,
}

/// Erases the contact of this address hash, if there is one: cancels what waits for it, forgets the
/// plain address wherever it stands, deletes the contact and its consents. Refusals go on as hashes,
/// those that were recorded among the consents too.
///
/// With `refuse` the erasure is an objection too, so that no later import brings the person back.
pub async fn erase(
    tx: &mut Tx,
    key: &SuppressionKey,
    hash: AddressHash,
    refuse: bool,
    now: Timestamp,
) -> store::Result<Option<Erased>> {
    suppressions::lock(tx, &[suppress::hash_slot(hash)].into()).await?;
    repermission::forget_person(tx, hash).await?;
    let Some(contact) = contacts::by_hash(tx, hash).await? else {
        return Ok(None);
    };
    if refuse {
        suppress::refuse(tx, key, &objection(hash, Reach::Everything, Some(now)), now).await?;
    }
    let said = refused_consents(tx, hash, contact.id).await?;
    suppress::refuse_all(tx, key, &said, now).await?;
    let cancelled = deliveries::cancel_contact(tx, contact.id, now.as_millisecond()).await?;
    deliveries::forget_contact(tx, contact.id).await?;
    events::forget_tracks(tx, hash).await?;
    opens::forget(tx, hash).await?;
    suppressions::forget_address(tx, hash).await?;
    requests::forget(tx, hash).await?;
    subscriptions::forget(tx, hash).await?;
    contacts::delete(tx, contact.id).await?;
    Ok(Some(Erased { cancelled }))
}

/// The noes among the person's consents: they go with the contact, and must not be forgotten with it.
/// A later double opt-in has lifted one for its product (SUP-7).
async fn refused_consents(tx: &mut Tx, hash: AddressHash, contact: i64) -> store::Result<Vec<Refusal>> {
    let events: Vec<Consent> = consents::of_contacts(tx, &[contact]).await?;
    let about_mail = || events.iter().filter(|e| e.purpose == ConsentPurpose::Mail);
    let lifted = |no: &Consent| {
        about_mail().any(|yes| {
            yes.state == ConsentState::Granted
                && yes.proof == Proof::Doi
                && yes.product == no.product
                && no.at.is_some_and(|no_at| yes.at.is_some_and(|at| at > no_at))
        })
    };
    let standing = about_mail().filter(|e| e.state.is_refusal() && !lifted(e));
    Ok(standing
        .map(|no| {
            let reach = if no.product.is_empty() { Reach::Everything } else { Reach::Product(no.product.clone()) };
            objection(hash, reach, no.at.and_then(|at| Timestamp::from_millisecond(at).ok()))
        })
        .collect())
}

fn objection(hash: AddressHash, reach: Reach, at: Option<Timestamp>) -> Refusal {
    Refusal {
        whom: Whom::Hash(hash),
        reach,
        reason: SuppressionReason::Objection,
        origin: Origin::Erasure,
        at,
        campaign_id: None,
        note: String::new(),
    }
}
