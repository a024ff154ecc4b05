//! Purge and retain: the data that must go, go; that somebody refused stays, as a keyed hash (RP-5, RP-9).
//!
//! One function for both commands: over everybody, or over the people of one list.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{apply, terms};
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::Terms,
        eligibility::{self, Reason},
    },
    pipeline::erase,
    store::{
        self, Tx, contacts,
        contacts::Contact,
        facts, products,
        repermission::{self, Plan},
    },
};

/// What a purge did, or would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Purged {
    /// Nothing was written.
    pub dry_run: bool,
    /// Contacts that were looked at.
    pub looked_at: u64,
    /// Contacts that were erased, or would be.
    pub erased: u64,
    /// Of these, why.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// Deliveries that were waiting for them.
    pub cancelled: u64,
    /// Unsent plans of which the people's data were forgotten, for they were a month old.
    pub plans_forgotten: u64,
}

/// Contacts looked at, and erased, in a transaction.
const PAGE: i64 = 500;
/// What a plan keeps of people who were never asked is kept no longer.
const PLAN_KEPT_MS: i64 = 31 * 24 * 3600 * 1000;

/// Erases the contacts that must go: everybody's, or those of a list, whose refusals are recorded first.
pub async fn purge(app: &App, list: Option<&Plan>, dry_run: bool) -> store::Result<Purged> {
    let mut purged = Purged { dry_run, ..Purged::default() };
    let terms = all_terms(app).await?;
    if let (Some(plan), false) = (list, dry_run) {
        apply::refusals(app, plan).await?;
    }
    let mut after = 0;
    loop {
        let mut tx = app.db.read().await?;
        let (contacts, last) = match list {
            None => {
                let page = contacts::page(&mut tx, after, PAGE).await?;
                let last = page.last().map(|contact| contact.id);
                (page, last)
            }
            Some(plan) => of_list(&mut tx, plan, after).await?,
        };
        let Some(last) = last else { break };
        after = last;
        purged.looked_at += contacts.len() as u64;
        let must = must_go(app, &mut tx, &terms, &contacts, app.now()).await?;
        drop(tx);
        if dry_run {
            must.iter().for_each(|(_, reason)| purged.count(*reason));
        } else if !must.is_empty() {
            erase_all(app, &terms, must.into_iter().map(|(hash, _)| hash).collect(), &mut purged).await?;
        }
    }
    forget_plans(app, dry_run, &mut purged).await?;
    Ok(purged)
}

/// The terms of a question about each product.
async fn all_terms(app: &App) -> store::Result<Vec<Terms>> {
    let mut tx = app.db.read().await?;
    let products = products::all(&mut tx).await?;
    let postal_known = !app.config.controller.postal_address.is_empty();
    Ok(products.iter().map(|product| terms(product, postal_known)).collect())
}

/// The next contacts among the people of a list.
async fn of_list(tx: &mut Tx, plan: &Plan, after: i64) -> store::Result<(Vec<Contact>, Option<i64>)> {
    let lines = repermission::lines(tx, plan.id, after, PAGE).await?;
    let last = lines.last().map(|line| line.position);
    let mut hashes: Vec<AddressHash> =
        lines.into_iter().filter_map(|line| line.address_hash.and_then(|hash| hash.try_into().ok())).collect();
    hashes.sort_unstable();
    hashes.dedup();
    Ok((contacts::by_hashes(tx, &hashes).await?, last))
}

async fn must_go(
    app: &App,
    tx: &mut Tx,
    terms: &[Terms],
    contacts: &[Contact],
    now: Timestamp,
) -> store::Result<Vec<(AddressHash, Reason)>> {
    let persons = facts::of(tx, contacts, "").await?;
    let judged = contacts.iter().zip(&persons);
    Ok(judged
        .filter_map(|(c, person)| Some((c.address_hash, eligibility::must_go(&app.rules, terms, person, now)?)))
        .collect())
}

/// Erases these people, judged again in the transaction that does it.
async fn erase_all(app: &App, terms: &[Terms], hashes: Vec<AddressHash>, purged: &mut Purged) -> store::Result<()> {
    let now = app.now();
    let mut tx = app.db.write().await?;
    let contacts = contacts::by_hashes(&mut tx, &hashes).await?;
    let mut counted = Purged::default();
    for (hash, reason) in must_go(app, &mut tx, terms, &contacts, now).await? {
        if let Some(erased) = erase::erase(&mut tx, &app.keys.suppression, hash, false, now).await? {
            counted.count(reason);
            counted.cancelled += erased.cancelled;
        }
    }
    tx.commit().await?;
    purged.erased += counted.erased;
    purged.cancelled += counted.cancelled;
    for (reason, n) in counted.by_reason {
        *purged.by_reason.entry(reason).or_default() += n;
    }
    Ok(())
}

/// What unsent plans keep of people is forgotten after a month.
async fn forget_plans(app: &App, dry_run: bool, purged: &mut Purged) -> store::Result<()> {
    let now = app.now().as_millisecond();
    let mut tx = app.db.write().await?;
    for plan in repermission::old(&mut tx, now - PLAN_KEPT_MS).await? {
        purged.plans_forgotten += 1;
        if !dry_run {
            repermission::forget(&mut tx, plan, now).await?;
        }
    }
    if dry_run { Ok(()) } else { tx.commit().await }
}

impl Purged {
    fn count(&mut self, reason: Reason) {
        self.erased += 1;
        *self.by_reason.entry(reason.as_str()).or_default() += 1;
    }
}
