//! The gate: the last decision before a message leaves, and the record of what became of those before.
//!
//! One transaction serves many connections at once. What passes is durable as `submitting` before
//! the first byte goes out; what may no longer be sent ends here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;

use super::{Job, permits, traffic::Group};
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        bounces,
        campaigns::{CampaignKind, CampaignState, DeliveryState},
        eligibility::{self, Outcome},
        pushback::{Pushback, Seen, Standing},
        replies::{Reply, ReplyClass},
        suppressions::{Origin, SuppressionReason},
    },
    pipeline::{
        compile::Compiled,
        press,
        suppress::{self, Reach, Refusal, Whom},
    },
    store::{
        self, Tx, campaigns, contacts,
        deliveries::{self, Changed, Wire},
        facts::{self, Mark},
        groups,
        outcomes::{self, Counts},
        suppressions, workers,
    },
};

/// What became of a submission, to be recorded.
pub struct Ended {
    /// Its campaign.
    pub campaign: Arc<Compiled>,
    /// Keyed hash of the address.
    pub address_hash: AddressHash,
    /// Its provider group.
    pub group: Arc<Group>,
    /// Class of the answer, when the server refused it, for now or for good.
    pub class: Option<ReplyClass>,
    /// What the answer asks of everybody who sends to the group.
    pub pushed: Option<Pushed>,
    /// What the delivery becomes.
    pub outcome: deliveries::Outcome,
    /// When it was claimed: the caps of that hour and day count it.
    pub claimed_at: Timestamp,
}

/// Debug output shows no person: it may reach a log.
impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ended(campaign {}, contact {})", self.campaign.id, self.outcome.contact_id)
    }
}

/// A provider that pushed back.
#[derive(Debug)]
pub struct Pushed {
    /// What it asks for.
    pub push: Pushback,
    /// What was seen of it then.
    pub seen: Seen,
    /// Its answer.
    pub reply: Reply,
}

impl Ended {
    /// What became of `job`; `class` when the server refused it.
    pub fn of(job: &Job, class: Option<ReplyClass>, outcome: deliveries::Outcome) -> Ended {
        Ended {
            campaign: Arc::clone(&job.campaign),
            address_hash: job.address_hash,
            group: Arc::clone(job.turn.place.group()),
            class,
            pushed: None,
            outcome,
            claimed_at: job.turn.claimed_at,
        }
    }
}

/// What the gate says to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Submit it now.
    Go,
    /// Do not: it was decided otherwise, the campaign stands, or the worker lost it.
    Stop,
}

/// Records what ended, then decides a last time about each job. The verdicts are in the jobs' order. `wire` is what
/// the worker has on the wire; None: that is to be read, for nobody knows whether the last commit came through.
/// `again`: a call with these very arguments failed before, and its commit may have come through.
///
/// None: a refusal was promised in the meantime that this decision may not have known. As after an
/// error, all must be handed in again.
///
/// # Errors
/// When the database fails nothing may be submitted, and all must be handed in again.
pub async fn pass(
    app: &App,
    worker: i64,
    wire: &mut Option<Wire>,
    jobs: &mut [Box<Job>],
    ended: &[Ended],
    again: bool,
) -> store::Result<Option<Vec<Verdict>>> {
    // What was promised while the database was away comes first.
    let promised = if jobs.is_empty() { None } else { Some(press::settle(app).await?) };
    let mut tx = app.db.write().await?;
    let campaigns: BTreeSet<i64> =
        jobs.iter().map(|job| job.campaign.id).chain(ended.iter().map(|end| end.campaign.id)).collect();
    let (alive, states) = held(&mut tx, worker, campaigns).await?;
    let mut then = match wire.take() {
        Some(wire) => wire,
        None => Wire::read(&mut tx, worker).await?,
    };
    if !alive {
        then.lose();
    }
    record(app, &mut tx, worker, &mut then, ended, &states, again).await?;
    let mut by_campaign: BTreeMap<i64, Vec<&mut Job>> = BTreeMap::new();
    for job in jobs.iter_mut().filter(|_| alive) {
        by_campaign.entry(job.campaign.id).or_default().push(&mut **job);
    }
    for (campaign, mut jobs) in by_campaign {
        let running = states[&campaign] == Some(CampaignState::Running);
        judge(app, &mut tx, worker, &mut then, &mut jobs, running, again).await?;
    }
    let mut going = then.write(&mut tx).await?;
    tx.commit().await?;
    *wire = Some(then);
    going.sort_unstable();
    let verdict = |job: &Job| match going.binary_search(&(job.campaign.id, job.contact_id)) {
        Ok(_) => Verdict::Go,
        Err(_) => Verdict::Stop,
    };
    let verdicts = jobs.iter().map(|job| verdict(job)).collect();
    // Whoever was told 200 from the journal since we looked was told before this moment: judge again.
    let stands = promised.is_none_or(|mark| app.journal.mark().is_ok_and(|now| now == mark));
    Ok(stands.then_some(verdicts))
}

/// States of campaigns; None for one that is gone.
type States = HashMap<i64, Option<CampaignState>>;

/// Whether the worker is on the list, and where the campaigns stand, until the transaction ends. Whoever
/// was taken for dead holds nothing any more; what it learns, it may still tell.
async fn held(tx: &mut Tx, worker: i64, campaigns: BTreeSet<i64>) -> store::Result<(bool, States)> {
    let campaigns = Vec::from_iter(campaigns);
    if let Some(states) = workers::hold_with(tx, worker, &campaigns).await? {
        return Ok((true, campaigns.into_iter().map(|id| (id, states.get(&id).copied())).collect()));
    }
    let alive = workers::hold(tx, worker).await?;
    let mut states = HashMap::new();
    for campaign in campaigns {
        states.insert(campaign, campaigns::hold_state(tx, campaign).await?);
    }
    Ok((alive, states))
}

/// Judges the jobs of one campaign and marks those that may go as submitting.
async fn judge(
    app: &App,
    tx: &mut Tx,
    worker: i64,
    wire: &mut Wire,
    jobs: &mut [&mut Job],
    running: bool,
    again: bool,
) -> store::Result<()> {
    let campaign = Arc::clone(&jobs[0].campaign);
    let slots = jobs.iter().map(|job| suppress::hash_slot(job.address_hash)).collect();
    suppressions::hold(tx, &slots).await?;
    let now = app.now();
    let ids: Vec<i64> = jobs.iter().map(|job| job.contact_id).collect();
    // A commit whose answer was lost has marked them; none was told to go, so none was sent.
    let marked = if again { deliveries::still_submitting(tx, campaign.id, worker, &ids).await? } else { Vec::new() };
    if !running {
        deliveries::release(tx, campaign.id, worker, &ids).await?;
        permits::refund(tx, app, &jobs.iter().map(|job| unused(job)).collect::<Vec<_>>()).await?;
        return put_back(tx, &campaign, wire, &marked, now).await;
    }
    let present = read_again(tx, &campaign, jobs).await?;
    let (mut go, mut remake, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for (job, is_present) in jobs.iter().zip(present) {
        let contact_id = job.contact_id;
        if !is_present {
            changes.push(Changed { contact_id, state: DeliveryState::Cancelled, code: "" });
            continue;
        }
        let decision = eligibility::decide(&app.rules, &campaign.terms, &job.person, now);
        match decision.outcome {
            Outcome::Send(basis) if basis == job.basis && decision.tracking == job.tracking => go.push(contact_id),
            // The message states another basis: it must be made anew.
            Outcome::Send(_) => remake.push(contact_id),
            Outcome::Block(reason) => {
                changes.push(Changed { contact_id, state: DeliveryState::Blocked, code: reason.as_str() });
            }
        }
    }
    if go.len() < jobs.len() {
        // Counted as leaving, and does not.
        let stays = jobs.iter().filter(|job| !go.contains(&job.contact_id));
        permits::refund(tx, app, &stays.map(|job| unused(job)).collect::<Vec<_>>()).await?;
    }
    let millis = now.as_millisecond();
    deliveries::release(tx, campaign.id, worker, &remake).await?;
    deliveries::change(tx, campaign.id, worker, &changes, millis).await?;
    let (kept, dropped): (Vec<i64>, Vec<i64>) = marked.into_iter().partition(|id| go.contains(id));
    put_back(tx, &campaign, wire, &dropped, now).await?;
    wire.still_may_go(campaign.id, &kept);
    wire.submitting(tx, campaign.id, &go, millis).await
}

/// Brings what the jobs know of their people up to this moment, and returns of each whether the person is still
/// there. Only those whose own rows changed since the claim are read whole.
async fn read_again(tx: &mut Tx, campaign: &Compiled, jobs: &mut [&mut Job]) -> store::Result<Vec<bool>> {
    let product = &campaign.file.product;
    let mut people: Vec<facts::Known> = jobs
        .iter_mut()
        .map(|job| facts::Known { contact_id: job.contact_id, address_hash: job.address_hash, person: &mut job.person })
        .collect();
    let marks = facts::refresh(tx, &mut people, product).await?;
    let has_changed = |job: &Job, mark: &Option<Mark>| mark.is_some_and(|mark| mark != job.mark);
    let changed: Vec<usize> = (0..jobs.len()).filter(|at| has_changed(jobs[*at], &marks[*at])).collect();
    let mut present: Vec<bool> = marks.iter().map(Option::is_some).collect();
    if changed.is_empty() {
        return Ok(present);
    }
    tracing::debug!(campaign = campaign.id, people = changed.len(), "facts changed since the claim");
    let ids: Vec<i64> = changed.iter().map(|at| jobs[*at].contact_id).collect();
    let contacts = contacts::by_ids(tx, &ids).await?;
    let people = facts::of(tx, &contacts, product).await?;
    let mut fresh: HashMap<i64, _> =
        contacts.into_iter().zip(people).map(|(contact, person)| (contact.id, (contact, person))).collect();
    for at in changed {
        let job = &mut *jobs[at];
        match fresh.remove(&job.contact_id) {
            Some((contact, person)) if contact.address_hash == job.address_hash => job.person = person,
            _ => present[at] = false,
        }
    }
    Ok(present)
}

/// Gives jobs back to the queue that are not let through now.
pub async fn give_back(app: &App, worker: i64, jobs: &[Box<Job>]) -> store::Result<()> {
    let mut by_campaign: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for job in jobs {
        by_campaign.entry(job.campaign.id).or_default().push(job.contact_id);
    }
    let mut tx = app.db.write().await?;
    for (campaign, contacts) in by_campaign {
        deliveries::release(&mut tx, campaign, worker, &contacts).await?;
    }
    permits::refund(&mut tx, app, &jobs.iter().map(|job| unused(job)).collect::<Vec<_>>()).await?;
    tx.commit().await
}

/// The group of a job that does not leave, and when it was claimed.
fn unused(job: &Job) -> (&str, Timestamp) {
    (job.turn.place.group().name(), job.turn.claimed_at)
}

/// What was marked and never went waits for another turn at once.
async fn put_back(tx: &mut Tx, campaign: &Compiled, wire: &mut Wire, ids: &[i64], now: Timestamp) -> store::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let millis = now.as_millisecond();
    let outcomes: Vec<deliveries::Outcome> = ids.iter().map(|id| deliveries::Outcome::postponed(*id, millis)).collect();
    wire.record(tx, campaign.id, &outcomes.iter().collect::<Vec<_>>()).await?;
    if campaigns::hold_state(tx, campaign.id).await? == Some(CampaignState::Cancelled) {
        deliveries::cancel_deferred(tx, campaign.id, millis).await?;
    }
    Ok(())
}

async fn record(
    app: &App,
    tx: &mut Tx,
    worker: i64,
    wire: &mut Wire,
    ended: &[Ended],
    states: &States,
    again: bool,
) -> store::Result<()> {
    let now = app.now();
    let mut counted: HashSet<(i64, i64)> = HashSet::new();
    let mut by_campaign: BTreeMap<i64, Vec<&deliveries::Outcome>> = BTreeMap::new();
    for end in ended {
        by_campaign.entry(end.campaign.id).or_default().push(&end.outcome);
    }
    for (campaign, outcomes) in by_campaign {
        // What a commit whose answer was lost has recorded, it has counted.
        if again {
            let ids: Vec<i64> = outcomes.iter().map(|outcome| outcome.contact_id).collect();
            let open = deliveries::still_submitting(tx, campaign, worker, &ids).await?;
            counted.extend(ids.into_iter().filter(|id| !open.contains(id)).map(|id| (campaign, id)));
        }
        let recorded = wire.record(tx, campaign, &outcomes).await?;
        if recorded < outcomes.len() as u64 {
            deliveries::record_late(tx, campaign, &outcomes).await?;
        }
        // Cancelled while it was on the wire: what was refused for now is not tried again.
        if states[&campaign] == Some(CampaignState::Cancelled) {
            deliveries::cancel_deferred(tx, campaign, now.as_millisecond()).await?;
        }
    }
    let fresh = ended.iter().filter(|end| !counted.contains(&(end.campaign.id, end.outcome.contact_id)));
    // What was let go and never left is counted again when it does.
    let unsent: Vec<_> =
        fresh.clone().filter(|end| end.outcome.unsent > 0).map(|end| (end.group.name(), end.claimed_at)).collect();
    permits::refund(tx, app, &unsent).await?;
    outcomes::add(tx, worker, &count(fresh)).await?;
    for end in ended {
        if let (Some(pushed), Some(class)) = (&end.pushed, end.class) {
            suspend(tx, end.group.name(), pushed, class).await?;
        }
        if end.class == Some(ReplyClass::Hard) && end.outcome.state == DeliveryState::Bounced {
            suppress::refuse(tx, &app.keys.suppression, &hard_bounce(end, now), now).await?;
        }
        if ["soft", "full", "unknown"].contains(&end.outcome.bounce_class.as_str())
            && bounces::reaches_soft_limit(&deliveries::past(tx, end.outcome.contact_id, end.address_hash).await?)
        {
            let refusal = Refusal { reason: SuppressionReason::SoftLimit, ..hard_bounce(end, now) };
            suppress::refuse(tx, &app.keys.suppression, &refusal, now).await?;
        }
        if end.outcome.state == DeliveryState::Accepted && end.campaign.file.kind == CampaignKind::Repermission {
            facts::note_asked(tx, end.address_hash, &end.campaign.file.product, now.as_millisecond()).await?;
            // The person has been informed now, if they were not before (RP-3).
            if end.campaign.file.art14_notice {
                contacts::inform(tx, end.address_hash, now.as_millisecond()).await?;
            }
        }
    }
    Ok(())
}

/// What ended, summed by campaign and group.
fn count<'a>(ended: impl Iterator<Item = &'a Ended>) -> Vec<Counts> {
    let mut sums: BTreeMap<(i64, &str), Counts> = BTreeMap::new();
    for end in ended {
        // Put back without having left: no server has said anything.
        if end.outcome.reply.is_empty() {
            continue;
        }
        let sum = sums.entry((end.campaign.id, end.group.name())).or_default();
        sum.accepted += i64::from(end.outcome.state == DeliveryState::Accepted);
        sum.deferred += i64::from(end.outcome.state == DeliveryState::Deferred);
        sum.bounced += i64::from(end.outcome.state == DeliveryState::Bounced);
        sum.hard += i64::from(end.class == Some(ReplyClass::Hard));
        sum.config += i64::from(end.class == Some(ReplyClass::Config));
        sum.content += i64::from(end.class == Some(ReplyClass::Content));
    }
    let counts = sums.into_iter();
    counts.map(|((campaign_id, group), sum)| Counts { campaign_id, provider_group: group.to_owned(), ..sum }).collect()
}

/// The group stands still for everybody who sends to it.
async fn suspend(tx: &mut Tx, group: &str, pushed: &Pushed, class: ReplyClass) -> store::Result<()> {
    let before = groups::hold(tx, group).await?;
    let seen = Seen { accepted: outcomes::accepted_by(tx, group).await?, ..pushed.seen };
    let standing = Standing::after(before.as_ref(), pushed.push, &pushed.reply, class, seen);
    let codes = pushed.reply.codes();
    if pushed.push.alert {
        tracing::error!(group, codes, %class, "a provider refuses this sender; its group is suspended");
    } else if before.is_none_or(|before| before.strikes < standing.strikes) {
        tracing::warn!(group, codes, %class, "a provider pushes back; its group is suspended");
    }
    groups::put(tx, group, &standing).await
}

/// The server said that the mailbox does not exist: it blocks service mail too (SUP-10).
fn hard_bounce(end: &Ended, now: jiff::Timestamp) -> Refusal {
    Refusal {
        whom: Whom::Person(end.address_hash),
        reach: Reach::Address,
        reason: SuppressionReason::HardBounce,
        origin: Origin::Report,
        at: Some(now),
        campaign_id: Some(end.campaign.id),
        note: String::new(),
    }
}
