//! Claim: take deliveries whose turn it is, lane by lane, and judge each by what is known now.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Claim, Turn,
    permits::{self, Clocks, Permits, Scope},
    traffic::Group,
};
use crate::{
    app::App,
    domain::{
        campaign_file::Rate,
        campaigns::{CampaignState, DeliveryState, TrackingRequest},
        eligibility::{self, Basis, Outcome, Tracking},
        limits::Limits,
    },
    pipeline::{compile::Compiled, press},
    store::{
        self, Tx,
        deliveries::{self, Changed},
        facts,
        lanes::{self, Bound},
        opens, workers,
    },
};

/// A lane that may be claimed from: a provider group and a time zone.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Its group.
    pub group: Arc<Group>,
    /// The recipients' time zone; empty is the controller's.
    pub zone: String,
    /// The contact behind which to look.
    pub past: i64,
    /// Whether anything deferred is due.
    pub has_due: bool,
}

/// A delivery taken from the queue, not yet judged.
#[derive(Debug)]
pub struct Unjudged {
    /// Key of the contact.
    pub contact_id: i64,
    /// Submissions so far.
    pub attempts: i64,
    /// When it may leave, and among whom.
    pub turn: Turn,
}

/// What a claim brought.
#[derive(Debug, Default)]
pub struct Claimed {
    /// What was taken from the queue, to be judged.
    pub taken: Vec<Unjudged>,
    /// Of each lane, the last contact taken from its queue; none: nothing was.
    pub last: Vec<Option<i64>>,
    /// What was taken of each limited scope.
    pub scopes: Vec<permits::Taken>,
}

/// Takes up to `limit` deliveries of a running campaign out of `lanes`, as the limits permit and its
/// `parts` of them are: of each lane first those deferred and due, then queued ones. Judging them comes
/// after, for others wait for this transaction.
pub async fn claim(
    app: &App,
    campaign: &Compiled,
    worker: i64,
    lanes: &[Lane],
    parts: &HashMap<Scope, f64>,
    limit: i64,
) -> store::Result<Claimed> {
    let now = app.now();
    let millis = now.as_millisecond();
    let mut tx = app.db.write().await?;
    // Whoever was taken for dead must not take anything: nobody would take it over again.
    let states = workers::hold_with(&mut tx, worker, &[campaign.id]).await?;
    if states.is_none_or(|states| states.get(&campaign.id) != Some(&CampaignState::Running)) {
        return Ok(Claimed::default());
    }
    let clocks = Clocks { nanos: app.clock.machine_nanos(), now, tz: app.tz().clone() };
    let limits = limits(app, campaign, lanes, millis);
    let mut permits = Permits::hold(&mut tx, &limits, parts, &clocks).await?;
    let own = permits::of_campaign(campaign.id);
    let most = limit.min(permits.room(&own)).min(permits.room(permits::SERVER));
    let (mut rows, last) = take(&mut tx, campaign, worker, lanes, most, &permits, millis).await?;
    // Not lane by lane: each lane's messages go out among the others'.
    rows.sort_by_key(|(_, row)| row.contact_id);
    let began = Instant::now();
    let rate = |scope: &str| limits.get(scope).and_then(|limits| limits.rate);
    let shared = [rate(&own), rate(permits::SERVER)];
    let of_lane = |lane: &Lane| {
        let scope = permits::of_group(lane.group.name());
        let rates = shared.into_iter().chain([rate(&scope)]).flatten();
        (rates.map(lasts).min().unwrap_or(LONG), scope)
    };
    let of_lanes: Vec<(Duration, Scope)> = lanes.iter().map(of_lane).collect();
    let (mut taken, mut twice) = (Vec::with_capacity(rows.len()), Vec::new());
    for (lane, row) in rows {
        let Some(place) = lanes[lane].group.place(campaign.id, row.contact_id) else {
            twice.push(row.contact_id);
            continue;
        };
        let (lasts, scope) = &of_lanes[lane];
        let at = began + permits.take(&[&own, permits::SERVER, scope]);
        let first_submitted_at = row.first_submitted_at;
        let turn = Turn { place, at, until: at + *lasts, claimed_at: now, first_submitted_at };
        taken.push(Unjudged { contact_id: row.contact_id, attempts: row.attempts, turn });
    }
    deliveries::release(&mut tx, campaign.id, worker, &twice).await?;
    let scopes = permits.write(&mut tx).await?;
    tx.commit().await?;
    Ok(Claimed { taken, last, scopes })
}

/// Judges what was taken by what is known now, and returns those that may be sent, in the order in which
/// they may leave. A delivery that may no longer be sent ends here, with its reason. After an error all of
/// it is still to be judged.
pub async fn judge(
    app: &App,
    campaign: &Compiled,
    worker: i64,
    taken: &mut Vec<Unjudged>,
) -> store::Result<Vec<Box<Claim>>> {
    press::settle(app).await?;
    let now = app.now();
    let ids: Vec<i64> = taken.iter().map(|taken| taken.contact_id).collect();
    // Facts are read outside of any transaction that others wait for: what changes meanwhile is seen at the gate.
    let mut tx = app.db.read().await?;
    let people = facts::read(&mut tx, &ids, &campaign.file.product).await?;
    drop(tx);
    let mut changes = Vec::new();
    // Of each of them, in the order of their ids; none: blocked.
    let mut decided: Vec<Option<(Basis, Tracking)>> = Vec::with_capacity(people.len());
    for read in &people {
        let decision = eligibility::decide(&app.rules, &campaign.terms, &read.person, now);
        decided.push(match decision.outcome {
            Outcome::Send(basis) => Some((basis, decision.tracking)),
            Outcome::Block(reason) => {
                let (contact_id, code) = (read.contact.id, reason.as_str());
                changes.push(Changed { contact_id, state: DeliveryState::Blocked, code });
                None
            }
        });
    }
    let place = |id: &i64| people.binary_search_by_key(id, |read| read.contact.id).ok();
    let may_go = |id: &i64| place(id).is_some_and(|at| decided[at].is_some());
    let gone = ids.iter().filter(|id| place(id).is_none());
    changes.extend(gone.map(|id| Changed { contact_id: *id, state: DeliveryState::Cancelled, code: "" }));
    let is_tracked = campaign.terms.tracking != TrackingRequest::None;
    if is_tracked || !changes.is_empty() {
        let mut tx = app.db.write().await?;
        deliveries::change(&mut tx, campaign.id, worker, &changes, now.as_millisecond()).await?;
        if is_tracked {
            let going = people.iter().zip(&decided);
            let going: Vec<(i64, Tracking)> =
                going.filter_map(|(read, decided)| Some((read.contact.id, (*decided)?.1))).collect();
            opens::decided(&mut tx, campaign.id, &going).await?;
        }
        // Counted as leaving, and does not.
        let unused: Vec<_> = taken.iter().filter(|taken| !may_go(&taken.contact_id)).collect();
        let unused: Vec<_> =
            unused.iter().map(|taken| (taken.turn.place.group().name(), taken.turn.claimed_at)).collect();
        permits::refund(&mut tx, app, &unused).await?;
        tx.commit().await?;
    }
    // Both in the order of the ids: what is large is moved once.
    taken.sort_by_key(|taken| taken.contact_id);
    let mut taken = taken.drain(..).peekable();
    let claims = people.into_iter().zip(decided).filter_map(|(facts::Read { contact, person, mark }, decided)| {
        let (basis, tracking) = decided?;
        while taken.next_if(|taken| taken.contact_id < contact.id).is_some() {}
        let Unjudged { attempts, turn, .. } = taken.next_if(|taken| taken.contact_id == contact.id)?;
        Some(Box::new(Claim { contact, person, mark, attempts, turn, basis, tracking }))
    });
    let mut claims: Vec<Box<Claim>> = claims.collect();
    claims.sort_by_key(|claim| claim.turn.at);
    Ok(claims)
}

/// How long a turn lasts. What waits for a connection would otherwise leave at once when there is one: some hundreds,
/// which is more than a second's worth only where less than so many go in a second.
fn lasts(rate: Rate) -> Duration {
    if rate.per_hour() >= 500 * 3600 { LONG } else { SHORT.max(2 * rate.interval()) }
}

/// A turn that hurries nobody …
const LONG: Duration = Duration::from_secs(20);
/// … and where few go in a second, at least: a disk that is slow for a moment costs nobody the turn.
const SHORT: Duration = Duration::from_secs(1);

/// The limits that a claim must keep: of the campaign, of the mail server, of each lane's group. A
/// group on probation has limits of its own.
fn limits(app: &App, campaign: &Compiled, lanes: &[Lane], now: i64) -> BTreeMap<Scope, Limits> {
    let config = &app.config.limits;
    let own = Limits { rate: Some(campaign.file.rate()), ..Limits::default() };
    let mut limits = BTreeMap::from([(permits::of_campaign(campaign.id), own)]);
    if config.server.is_counted() {
        limits.insert(permits::SERVER.to_owned(), config.server.clone());
    }
    for lane in lanes {
        let mut of_group = config.group(lane.group.name()).cloned().unwrap_or_default();
        if let Some(standing) = lane.group.standing().filter(|standing| !standing.is_suspended(now)) {
            let rates = of_group.rate.into_iter().chain([standing.rate()]);
            of_group.rate = rates.min_by_key(|rate| rate.per_hour());
        }
        if of_group.is_counted() {
            limits.insert(permits::of_group(lane.group.name()), of_group);
        }
    }
    limits
}

/// Takes up to `most` deliveries: from each lane its part of what is left, so that a small one is not
/// behind a large one, and what it does not use goes to those after it.
async fn take(
    tx: &mut Tx,
    campaign: &Compiled,
    worker: i64,
    lanes: &[Lane],
    most: i64,
    permits: &Permits,
    now: i64,
) -> store::Result<(Vec<(usize, deliveries::Claimed)>, Vec<Option<i64>>)> {
    let mut rows: Vec<(usize, deliveries::Claimed)> = Vec::new();
    let mut last = vec![None; lanes.len()];
    let mut of_group: HashMap<&str, i64> = HashMap::new();
    for (i, lane) in lanes.iter().enumerate() {
        let left = most - rows.len() as i64;
        let others = (lanes.len() - i) as i64;
        let part = (left + others - 1) / others;
        let name = lane.group.name();
        let taken = of_group.entry(name).or_default();
        let room = permits.room(&permits::of_group(name)).min(lane.group.room(now)) - *taken;
        let n = part.min(room);
        if n <= 0 {
            continue;
        }
        let bound = Bound { provider_group: name, zone: &lane.zone, past: lane.past };
        let due = match lane.has_due {
            true => lanes::claim_due(tx, campaign.id, worker, &bound, now, n).await?,
            false => Vec::new(),
        };
        let queued = match n - due.len() as i64 {
            0 => Vec::new(),
            n => lanes::claim(tx, campaign.id, worker, &bound, n).await?,
        };
        *taken += (due.len() + queued.len()) as i64;
        last[i] = queued.iter().map(|row| row.contact_id).max();
        rows.extend(due.into_iter().chain(queued).map(|row| (i, row)));
    }
    Ok((rows, last))
}
