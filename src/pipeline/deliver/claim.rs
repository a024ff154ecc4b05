//! Claim: take queued deliveries, and judge each by what is known now.

use std::collections::{HashMap, HashSet};

use super::Claim;
use crate::{
    app::App,
    domain::{
        campaigns::{CampaignState, DeliveryState},
        eligibility::{self, Outcome},
    },
    pipeline::{compile::Compiled, press},
    store::{
        self, campaigns, contacts,
        deliveries::{self, Changed},
        facts, workers,
    },
};

/// What a claim brought.
#[derive(Debug)]
pub struct Claimed {
    /// Those that may be sent as far as is known.
    pub claims: Vec<Claim>,
    /// How many were taken from the queue, sendable or not; fewer than asked for: its end was reached.
    pub taken: usize,
    /// The last contact taken from the queue: where the next claim goes on.
    pub last: Option<i64>,
}

/// Takes up to `limit` deliveries of a running campaign: first those deferred and due, then queued
/// ones after contact `after`. A delivery that may no longer be sent ends here, with its reason.
pub async fn claim(app: &App, campaign: &Compiled, worker: i64, after: i64, limit: i64) -> store::Result<Claimed> {
    press::settle(app).await?;
    let now = app.now();
    let millis = now.as_millisecond();
    let mut tx = app.db.write().await?;
    // Whoever was taken for dead must not take anything: nobody would take it over again.
    if !workers::hold(&mut tx, worker).await?
        || campaigns::hold_state(&mut tx, campaign.id).await? != Some(CampaignState::Running)
    {
        return Ok(Claimed { claims: Vec::new(), taken: 0, last: None });
    }
    let mut rows = deliveries::claim_due(&mut tx, campaign.id, worker, millis, limit).await?;
    let queued = deliveries::claim(&mut tx, campaign.id, worker, after, limit - rows.len() as i64).await?;
    let last = queued.iter().map(|row| row.contact_id).max();
    rows.extend(queued);

    let ids: Vec<i64> = rows.iter().map(|row| row.contact_id).collect();
    // Before the facts: what changes in between is then read again at the gate.
    let marks = facts::marks(&mut tx, &ids).await?;
    let people = contacts::by_ids(&mut tx, &ids).await?;
    let found: HashSet<i64> = people.iter().map(|contact| contact.id).filter(|id| marks.contains_key(id)).collect();
    let known = facts::of(&mut tx, &people, &campaign.file.product).await?;
    let attempts: HashMap<i64, i64> = rows.iter().map(|row| (row.contact_id, row.attempts)).collect();
    let mut claims = Vec::with_capacity(rows.len());
    let mut changes = Vec::new();
    for (contact, person) in people.into_iter().zip(known).filter(|(contact, _)| found.contains(&contact.id)) {
        let decision = eligibility::decide(&app.rules, &campaign.terms, &person, now);
        match decision.outcome {
            Outcome::Send(basis) => {
                let (attempts, mark) = (attempts[&contact.id], marks[&contact.id]);
                claims.push(Claim { contact, person, mark, attempts, basis, tracking: decision.tracking });
            }
            Outcome::Block(reason) => {
                changes.push(Changed { contact_id: contact.id, state: DeliveryState::Blocked, code: reason.as_str() })
            }
        }
    }
    let gone: Vec<Changed> = ids
        .iter()
        .filter(|id| !found.contains(id))
        .map(|id| Changed { contact_id: *id, state: DeliveryState::Cancelled, code: "" })
        .collect();
    changes.extend(gone);
    deliveries::change(&mut tx, campaign.id, worker, &changes, millis).await?;
    tx.commit().await?;
    Ok(Claimed { claims, taken: rows.len(), last })
}
