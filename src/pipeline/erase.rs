//! Erasure of a person (GD-4): what is kept is that the person refused, as a keyed hash.

use jiff::Timestamp;

use super::suppress::{self, Reach, Refusal, Whom};
use crate::{
    domain::{
        address::{AddressHash, SuppressionKey},
        suppressions::{Origin, SuppressionReason},
    },
    store::{self, Tx, contacts, deliveries, suppressions},
};

/// What an erasure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Deliveries that were waiting and will not leave.
    pub cancelled: u64,
}

/// Erases the contact of this address hash, if there is one: cancels what waits for it, forgets the
/// plain address wherever it stands, deletes the contact and its consents. Refusals go on as hashes.
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
    let Some(contact) = contacts::by_hash(tx, hash).await? else {
        return Ok(None);
    };
    if refuse {
        let objection = Refusal {
            whom: Whom::Hash(hash),
            reach: Reach::Everything,
            reason: SuppressionReason::Objection,
            origin: Origin::Erasure,
            at: Some(now),
            campaign_id: None,
            note: String::new(),
        };
        suppress::refuse(tx, key, &objection, now).await?;
    }
    let cancelled = deliveries::cancel_contact(tx, contact.id, now.as_millisecond()).await?;
    deliveries::forget_contact(tx, contact.id).await?;
    suppressions::forget_address(tx, hash).await?;
    contacts::delete(tx, contact.id).await?;
    Ok(Some(Erased { cancelled }))
}
