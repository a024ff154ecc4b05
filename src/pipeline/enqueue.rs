//! Enqueue: a delivery for everybody who is asked, queued or blocked with its reason.
//!
//! One page a transaction, with the cursor beside it: interrupted anywhere, it goes on where it
//! was, and the first mail leaves before the last is queued.

use super::{audience, compile::Compiled, press};
use crate::{
    app::App,
    domain::{
        campaigns::DeliveryState,
        eligibility::{Decision, Outcome},
        providers,
    },
    store::{self, campaigns, contacts::Contact, deliveries, deliveries::Decided},
};

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A page was written; there may be more.
    More,
    /// Everybody has been asked.
    Ended,
    /// The campaign does not run, or another worker enqueues it.
    Stopped,
}

/// Enqueues the next page of a campaign.
pub async fn step(app: &App, campaign: &Compiled) -> store::Result<Step> {
    press::settle(app).await?;
    let now = app.now();
    let mut tx = app.db.read().await?;
    let Some(row) = campaigns::by_id(&mut tx, campaign.id).await? else { return Ok(Step::Stopped) };
    if row.enqueued_at.is_some() {
        return Ok(Step::Ended);
    }
    let page = audience::page(&mut tx, &app.rules, campaign, row.enqueue_after, now).await?;
    drop(tx);

    let rows: Vec<Decided> = page.asked.iter().map(|(contact, decision)| decided(contact, decision)).collect();
    let now = now.as_millisecond();
    let (to, ended_at) = page.last.map_or((row.enqueue_after, Some(now)), |last| (last, None));
    let mut tx = app.db.write().await?;
    if !campaigns::enqueued(&mut tx, campaign.id, row.enqueue_after, to, ended_at).await? {
        return Ok(Step::Stopped);
    }
    deliveries::enqueue(&mut tx, campaign.id, &rows, now).await?;
    tx.commit().await?;
    Ok(if ended_at.is_some() { Step::Ended } else { Step::More })
}

fn decided(contact: &Contact, decision: &Decision) -> Decided {
    let domain = contact.address.rsplit('@').next().unwrap_or_default();
    Decided {
        contact_id: contact.id,
        address_hash: contact.address_hash,
        state: match decision.outcome {
            Outcome::Send(_) => DeliveryState::Queued,
            Outcome::Block(_) => DeliveryState::Blocked,
        },
        code: decision.outcome.code(),
        tracking: decision.tracking.as_str(),
        rules_version: decision.rules_version,
        relationship: contact.relationship,
        provider_group: providers::group_of_domain(domain).to_owned(),
        zone: String::new(),
    }
}
