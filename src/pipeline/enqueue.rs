//! Enqueue: a delivery for everybody who is asked, queued or blocked with its reason.
//!
//! One page a transaction, with the cursor beside it: interrupted anywhere, it goes on where it
//! was, and the first mail leaves before the last is queued.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::{audience, compile::Compiled, exchangers::Exchangers, press, repermission};
use crate::{
    app::App,
    domain::{
        campaigns::{CampaignKind, DeliveryState},
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
pub async fn step(app: &App, campaign: &Compiled, exchangers: &Exchangers) -> store::Result<Step> {
    press::settle(app).await?;
    let now = app.now();
    let mut tx = app.db.read().await?;
    let Some(row) = campaigns::by_id(&mut tx, campaign.id).await? else { return Ok(Step::Stopped) };
    if row.enqueued_at.is_some() {
        return Ok(Step::Ended);
    }
    if campaign.file.kind == CampaignKind::Repermission
        && let Some(plan) = store::repermission::of_campaign(&mut tx, campaign.id).await?
    {
        drop(tx);
        return repermission::ask::step(app, campaign, exchangers, &row, &plan).await;
    }
    let page = audience::page(&mut tx, &app.rules, campaign, row.enqueue_after, now).await?;
    drop(tx);

    let sendable = page.asked.iter().filter(|(_, decision)| decision.outcome.is_send());
    let domains: Vec<&str> = sendable.map(|(contact, _)| domain(&contact.address)).collect();
    let places = Places::of(app, campaign, exchangers, &domains).await?;
    let rows: Vec<Decided> = page.asked.iter().map(|(contact, decision)| places.decided(contact, decision)).collect();
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

/// What tells a contact's place in the queue: its provider group, and the time zone whose hours it keeps.
pub(super) struct Places<'a> {
    app: &'a App,
    by_zone: bool,
    groups: HashMap<String, &'static str>,
}

impl<'a> Places<'a> {
    /// Those of people with addresses at `domains`.
    pub(super) async fn of(
        app: &'a App,
        campaign: &Compiled,
        exchangers: &Exchangers,
        domains: &[&str],
    ) -> store::Result<Places<'a>> {
        let groups = exchangers.groups(app, domains).await?;
        Ok(Places { app, by_zone: !campaign.windows(app).is_empty(), groups })
    }

    /// A contact and its decision as a delivery.
    pub(super) fn decided(&self, contact: &Contact, decision: &Decision) -> Decided {
        let domain = domain(&contact.address);
        let group = self.groups.get(domain).copied().unwrap_or_else(|| providers::group_of_domain(domain));
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
            provider_group: group.to_owned(),
            zone: if self.by_zone { self.zone(contact) } else { String::new() },
        }
    }

    /// The time zone whose hours a contact keeps: its own, if it is known and not the controller's.
    fn zone(&self, contact: &Contact) -> String {
        let known = TimeZone::get(&contact.time_zone).ok().filter(|_| !contact.time_zone.is_empty());
        let other = known.filter(|zone| zone.iana_name() != self.app.tz().iana_name());
        other.and_then(|zone| zone.iana_name().map(str::to_owned)).unwrap_or_default()
    }
}

/// What stands after the @ of an address.
pub(super) fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}
