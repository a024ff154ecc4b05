//! Ask: a wave of a plan's people becomes deliveries, each decided anew by what is known now.
//!
//! The step of the serving process for campaigns of a plan, in the place of the one that walks over all
//! contacts. Only people whom `decide` lets through become contacts; nobody else of the list does.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;

use super::person::{self, At, Kept};
use crate::{
    app::App,
    domain::{
        address::{Address, AddressHash},
        campaigns::{CampaignState, DeliveryState},
        eligibility::{self, Decision, Reason},
        repermission::waves::{Happened, Waves},
    },
    pipeline::{
        compile::Compiled,
        enqueue::{self, Places, Step},
        exchangers::Exchangers,
        suppress,
    },
    store::{
        self, Tx, campaigns, contacts,
        contacts::Contact,
        deliveries, facts,
        repermission::{self, Askable, Plan},
        suppressions,
    },
};

/// People decided in a transaction.
const PAGE: i64 = 500;
/// How long to wait before the next look, while nothing is to be queued.
const IDLE: Duration = Duration::from_secs(1);

/// One step of a plan's campaign: queues the next people of the wave, ends a wave, waits, or stops.
pub async fn step(
    app: &App,
    campaign: &Compiled,
    exchangers: &Exchangers,
    row: &campaigns::Campaign,
    plan: &Plan,
) -> store::Result<Step> {
    let waves: Waves = serde_json::from_str(&plan.waves).unwrap_or_default();
    let now = app.now();
    let askable = u64::try_from(plan.askable).unwrap_or_default();
    let asked = u64::try_from(plan.asked).unwrap_or_default();
    let wave = u64::try_from(plan.wave).unwrap_or_default();
    let end = waves.end_of(wave, askable);
    // Counting takes a while in a long list: now and then is enough while people are being queued.
    let look = asked >= end || (asked / PAGE as u64).is_multiple_of(10);
    if look && let Some(stop) = stopped_by(app, campaign.id, plan, &waves).await? {
        stop_here(app, campaign, plan, stop, now).await?;
        return Ok(Step::Stopped);
    }
    if asked < end {
        let room = i64::try_from(end - asked).unwrap_or(PAGE);
        return queue(app, campaign, exchangers, row, plan, room.min(PAGE)).await;
    }
    if asked >= askable && !is_leaving(app, campaign.id).await? {
        let mut tx = app.db.write().await?;
        let ended = Some(now.as_millisecond());
        if !campaigns::enqueued(&mut tx, campaign.id, row.enqueue_after, row.enqueue_after, ended).await? {
            return Ok(Step::Stopped);
        }
        tx.commit().await?;
        return Ok(Step::Ended);
    }
    if asked < askable && begins(app, campaign, plan, &waves, now).await? {
        let mut tx = app.db.write().await?;
        repermission::begin_wave(&mut tx, plan.id, plan.wave + 1).await?;
        tx.commit().await?;
        return Ok(Step::More);
    }
    tokio::time::sleep(IDLE).await;
    Ok(Step::Stopped)
}

/// Whether the next wave begins: the last one has gone out, and the pause after it is over.
async fn begins(app: &App, campaign: &Compiled, plan: &Plan, waves: &Waves, now: Timestamp) -> store::Result<bool> {
    if plan.wave == 0 {
        return Ok(true);
    }
    match plan.wave_ended_at {
        Some(ended) => Ok(now.as_millisecond() - ended >= i64::try_from(waves.pause_s * 1000).unwrap_or(i64::MAX)),
        None => {
            if !is_leaving(app, campaign.id).await? {
                let mut tx = app.db.write().await?;
                repermission::end_wave(&mut tx, plan.id, now.as_millisecond()).await?;
                tx.commit().await?;
            }
            Ok(false)
        }
    }
}

/// Whether something of the campaign waits for its first turn or is on its way: until then the stops are watched.
async fn is_leaving(app: &App, campaign: i64) -> store::Result<bool> {
    let mut tx = app.db.read().await?;
    repermission::is_leaving(&mut tx, campaign).await
}

/// The stop that has been reached and that nobody has let pass.
async fn stopped_by(app: &App, campaign: i64, plan: &Plan, waves: &Waves) -> store::Result<Option<&'static str>> {
    if plan.wave == 0 {
        return Ok(None);
    }
    let mut tx = app.db.read().await?;
    let happened = happened(&mut tx, campaign).await?;
    Ok(waves.stopped_by(&happened).filter(|stop| *stop != plan.stopped_by))
}

/// What has come of a campaign so far.
pub async fn happened(tx: &mut Tx, campaign: i64) -> store::Result<Happened> {
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    let ends = repermission::ends(tx, campaign).await?;
    let of = |state: &str| count(ends.iter().filter(|(s, _, _)| s == state).map(|(_, _, n)| n).sum());
    let hard = ends.iter().filter(|(state, class, _)| state == "bounced" && class == "hard").map(|(_, _, n)| n).sum();
    let (refusals, complaints) = repermission::refusals(tx, campaign).await?;
    Ok(Happened {
        accepted: of("accepted"),
        bounced: of("bounced"),
        hard_bounces: count(hard),
        refusals: count(refusals),
        complaints: count(complaints),
    })
}

/// Pauses the campaign and says why. Whoever resumes it lets this one stop pass; the others still hold.
async fn stop_here(app: &App, campaign: &Compiled, plan: &Plan, stop: &str, now: Timestamp) -> store::Result<()> {
    tracing::warn!(campaign = campaign.file.slug, stop, "the question stops here; the campaign is paused");
    let mut tx = app.db.write().await?;
    let (running, paused) = (CampaignState::Running, CampaignState::Paused);
    if campaigns::move_state(&mut tx, campaign.id, running, paused, now.as_millisecond()).await? {
        repermission::stopped(&mut tx, plan.id, stop).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Decides the next people of a plan, and queues those whom `decide` lets through.
async fn queue(
    app: &App,
    campaign: &Compiled,
    exchangers: &Exchangers,
    row: &campaigns::Campaign,
    plan: &Plan,
    limit: i64,
) -> store::Result<Step> {
    let now = app.now();
    // Looked at before the transaction that queues: nothing waits for DNS while it holds a lock.
    let mut tx = app.db.read().await?;
    let page = repermission::askable(&mut tx, plan.id, row.enqueue_after, limit).await?;
    drop(tx);
    let addresses: Vec<String> =
        page.iter().filter_map(|line| Some(serde_json::from_str::<Kept>(&line.person).ok()?.address)).collect();
    let domains: Vec<&str> = addresses.iter().map(|address| enqueue::domain(address)).collect();
    let places = Places::of(app, campaign, exchangers, &domains).await?;

    let mut tx = app.db.write().await?;
    let page = repermission::askable(&mut tx, plan.id, row.enqueue_after, limit).await?;
    let last = page.last().map_or(row.enqueue_after, |line| line.position);
    if page.is_empty() || !campaigns::enqueued(&mut tx, campaign.id, row.enqueue_after, last, None).await? {
        // Fewer lines than the plan counted cannot be; should they, the campaign waits for a person.
        return Ok(Step::Stopped);
    }
    // One question at a time about one person, whatever other plan asks in this moment (RP-6).
    suppressions::lock(&mut tx, &page.iter().map(|line| suppress::hash_slot(line.address_hash)).collect()).await?;
    let (people, codes) = decide(app, &mut tx, campaign, &page, now).await?;
    let contacts: Vec<Contact> = people.iter().map(|(contact, _)| contact.clone()).collect();
    contacts::save(&mut tx, &contacts).await?;
    let hashes: Vec<AddressHash> = contacts.iter().map(|contact| contact.address_hash).collect();
    let stored = contacts::by_hashes(&mut tx, &hashes).await?;
    let decision_of = |hash: AddressHash| people.iter().find(|(c, _)| c.address_hash == hash).map(|(_, d)| d);
    let rows: Vec<_> =
        stored.iter().filter_map(|contact| Some(places.decided(contact, decision_of(contact.address_hash)?))).collect();
    debug_assert!(rows.iter().all(|row| row.state == DeliveryState::Queued));
    deliveries::enqueue(&mut tx, campaign.id, &rows, now.as_millisecond()).await?;
    repermission::asked(&mut tx, plan.id, &codes).await?;
    tx.commit().await?;
    Ok(Step::More)
}

/// The people who may be asked now, as they will be stored, and what was decided of each line.
async fn decide(
    app: &App,
    tx: &mut Tx,
    campaign: &Compiled,
    page: &[Askable],
    now: Timestamp,
) -> store::Result<(Vec<(Contact, Decision)>, Vec<(i64, &'static str)>)> {
    let at = At { tz: app.tz(), now };
    let product = &campaign.file.product;
    let hashes: Vec<AddressHash> = page.iter().map(|line| line.address_hash).collect();
    let known = contacts::by_hashes(tx, &hashes).await?;
    let elsewhere: HashSet<AddressHash> =
        repermission::asked_elsewhere(tx, product, campaign.id, &hashes).await?.into_iter().collect();
    let (mut contacts, mut lines, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for line in page {
        let kept = serde_json::from_str::<Kept>(&line.person).ok();
        let found = kept.and_then(|kept| Some((Address::parse(&kept.address).ok()?, kept)));
        // Erased since the plan was made: nothing is left that could be asked.
        let Some((address, kept)) = found else {
            codes.push((line.position, "ERASED"));
            continue;
        };
        let known = known.iter().find(|contact| contact.address_hash == line.address_hash).cloned();
        contacts.push(person::contact(known, &address, line.address_hash, &kept.facts(), &at));
        lines.push(line);
    }
    let persons = facts::of(tx, &contacts, product).await?;
    let mut people = Vec::new();
    for ((line, contact), person) in lines.into_iter().zip(contacts).zip(persons) {
        let decision = eligibility::decide(&app.rules, &campaign.terms, &person, now);
        if decision.outcome.is_send() && elsewhere.contains(&line.address_hash) {
            codes.push((line.position, Reason::RepermissionCooldown.as_str()));
            continue;
        }
        codes.push((line.position, decision.outcome.code()));
        if decision.outcome.is_send() {
            people.push((contact, decision));
        }
    }
    Ok((people, codes))
}
