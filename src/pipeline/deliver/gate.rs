//! The gate: the last decision before a message leaves, and the record of what became of those before.
//!
//! One transaction serves many connections at once. What passes is durable as `submitting` before
//! the first byte goes out; what may no longer be sent ends here.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Job;
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::{CampaignKind, CampaignState, DeliveryState},
        eligibility::{self, Outcome},
        replies::ReplyClass,
        suppressions::{Origin, SuppressionReason},
    },
    pipeline::suppress::{self, Reach, Refusal, Whom},
    store::{
        self, Tx, campaigns, contacts,
        deliveries::{self, Changed},
        facts,
    },
};

/// What became of a submission, to be recorded.
#[derive(Debug)]
pub struct Ended {
    /// Key of the campaign.
    pub campaign_id: i64,
    /// What it is.
    pub kind: CampaignKind,
    /// Slug of its product.
    pub product: String,
    /// Keyed hash of the address.
    pub address_hash: AddressHash,
    /// Class of the answer, when the delivery bounced.
    pub class: Option<ReplyClass>,
    /// What the delivery becomes.
    pub outcome: deliveries::Outcome,
}

/// What the gate says to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Submit it now.
    Go,
    /// Do not: it was decided otherwise, the campaign stands, or the worker lost it.
    Stop,
}

/// Records what ended, then decides a last time about each job. The verdicts are in the jobs' order.
///
/// # Errors
/// When the database fails nothing may be submitted, and `ended` must be handed in again.
pub async fn pass(app: &App, worker: i64, jobs: &[Job], ended: &[Ended]) -> store::Result<Vec<Verdict>> {
    let mut tx = app.db.write().await?;
    record(app, &mut tx, worker, ended).await?;
    let mut going: HashSet<(i64, i64)> = HashSet::new();
    let mut by_campaign: BTreeMap<i64, Vec<&Job>> = BTreeMap::new();
    for job in jobs {
        by_campaign.entry(job.campaign.id).or_default().push(job);
    }
    for (campaign, jobs) in by_campaign {
        let passed = judge(app, &mut tx, worker, &jobs).await?;
        going.extend(passed.into_iter().map(|contact| (campaign, contact)));
    }
    tx.commit().await?;
    let verdict = |job: &Job| {
        if going.contains(&(job.campaign.id, job.contact_id)) { Verdict::Go } else { Verdict::Stop }
    };
    Ok(jobs.iter().map(verdict).collect())
}

/// Judges the jobs of one campaign and marks those that may go as submitting.
async fn judge(app: &App, tx: &mut Tx, worker: i64, jobs: &[&Job]) -> store::Result<Vec<i64>> {
    let campaign = &jobs[0].campaign;
    if campaigns::hold_state(tx, campaign.id).await? != Some(CampaignState::Running) {
        let ids: Vec<i64> = jobs.iter().map(|job| job.contact_id).collect();
        deliveries::release(tx, campaign.id, worker, &ids).await?;
        return Ok(Vec::new());
    }
    let now = app.now();
    let ids: Vec<i64> = jobs.iter().map(|job| job.contact_id).collect();
    let people = contacts::by_ids(tx, &ids).await?;
    let known = facts::of(tx, &people, &campaign.file.product).await?;
    let decided: HashMap<i64, eligibility::Decision> = people
        .iter()
        .zip(&known)
        .filter(|(contact, _)| {
            jobs.iter().any(|j| j.contact_id == contact.id && j.address_hash == contact.address_hash)
        })
        .map(|(contact, person)| (contact.id, eligibility::decide(&app.rules, &campaign.terms, person, now)))
        .collect();
    let (mut go, mut again, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for job in jobs {
        let contact_id = job.contact_id;
        match decided.get(&contact_id).map(|d| (d.outcome, d.tracking)) {
            Some((Outcome::Send(basis), tracking)) if basis == job.basis && tracking == job.tracking => {
                go.push(contact_id);
            }
            // The message states another basis: it must be made anew.
            Some((Outcome::Send(_), _)) => again.push(contact_id),
            Some((Outcome::Block(reason), _)) => {
                changes.push(Changed { contact_id, state: DeliveryState::Blocked, code: reason.as_str() });
            }
            None => changes.push(Changed { contact_id, state: DeliveryState::Cancelled, code: "" }),
        }
    }
    let millis = now.as_millisecond();
    deliveries::release(tx, campaign.id, worker, &again).await?;
    deliveries::change(tx, campaign.id, worker, &changes, millis).await?;
    deliveries::submitting(tx, campaign.id, worker, &go, millis).await
}

async fn record(app: &App, tx: &mut Tx, worker: i64, ended: &[Ended]) -> store::Result<()> {
    let mut by_campaign: BTreeMap<i64, Vec<&deliveries::Outcome>> = BTreeMap::new();
    for end in ended {
        by_campaign.entry(end.campaign_id).or_default().push(&end.outcome);
    }
    for (campaign, outcomes) in by_campaign {
        deliveries::record(tx, campaign, worker, &outcomes).await?;
    }
    let now = app.now();
    for end in ended {
        if end.class == Some(ReplyClass::Hard) {
            suppress::refuse(tx, &app.keys.suppression, &hard_bounce(end, now), now).await?;
        }
        if end.outcome.state == DeliveryState::Accepted && end.kind == CampaignKind::Repermission {
            facts::note_asked(tx, end.address_hash, &end.product, now.as_millisecond()).await?;
        }
    }
    Ok(())
}

/// The server said that the mailbox does not exist: it blocks service mail too (SUP-10).
fn hard_bounce(end: &Ended, now: jiff::Timestamp) -> Refusal {
    Refusal {
        whom: Whom::Person(end.address_hash),
        reach: Reach::Address,
        reason: SuppressionReason::HardBounce,
        origin: Origin::Report,
        at: Some(now),
        campaign_id: Some(end.campaign_id),
        note: String::new(),
    }
}
