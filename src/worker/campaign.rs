//! One running campaign: enqueueing and sending side by side, at its pace.

mod look;
mod ready;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::Instant};

use self::{
    look::{Look, Turn},
    ready::Hand,
};
use super::{gatekeeper::Gate, in_time, stopped, stopped_and_waited};
use crate::{
    app::App,
    domain::campaign_file::Rate,
    pipeline::{
        compile::Compiled,
        deliver::{Claim, Job, permits, prepare, shares::Shares, traffic::Traffic},
        enqueue,
        exchangers::Exchangers,
    },
    store::deliveries,
};

/// Deliveries claimed at a time, at most: others wait for the claim's transaction.
const CLAIM: i64 = 500;
/// Deliveries in hand, at most: more are claimed, judged and made while these go.
const IN_HAND: i64 = 1_500;
/// Seconds of the permitted rate that are claimed ahead, at most.
const AHEAD_SECONDS: f64 = 0.5;
/// How long to wait when there is nothing to claim, or the database fails.
const IDLE: Duration = Duration::from_millis(200);
/// Turns at the gate in a row: to wait for each by itself costs as much as a turn.
const TURNS: usize = 4;
/// Messages made in one go: on a thread that waits for such work …
const TOGETHER: usize = 32;
/// … or, where each takes less than [`QUICK`], between input and output: to wake a thread costs as much as they do.
const FEW: usize = 8;
const QUICK: Duration = Duration::from_micros(100);

/// A message, or for whom none can be made and why.
type Made = Result<Box<Job>, (i64, prepare::PrepareError)>;

/// Messages being made, and how long it took.
type Making = JoinHandle<(Vec<Made>, Duration)>;

/// What a campaign's task works with.
pub struct Task {
    pub app: App,
    pub worker: i64,
    pub campaign: Arc<Compiled>,
    pub gate: Gate,
    pub traffic: Traffic,
    pub shares: Shares,
    pub exchangers: Exchangers,
    pub stop: watch::Receiver<bool>,
    /// Something may be claimed in the worker's name that nobody here knows of any more.
    pub in_doubt: Arc<AtomicBool>,
    pub cores: usize,
}

impl Task {
    /// Works until the campaign no longer runs or the worker is told to stop.
    pub async fn run(self) {
        let task = Arc::new(self);
        let enqueueing = tokio::spawn(Arc::clone(&task).enqueue());
        task.send().await;
        enqueueing.abort();
        // Aborted between two statements, its transaction changes nothing.
        let _ = enqueueing.await;
    }

    async fn enqueue(self: Arc<Task>) {
        while !*self.stop.borrow() {
            match enqueue::step(&self.app, &self.campaign, &self.exchangers).await {
                // Others write too: whoever waits for the write lock gets it between two pages.
                Ok(enqueue::Step::More) => tokio::task::yield_now().await,
                Ok(enqueue::Step::Ended) => return,
                // Another worker enqueues; should it die, this one goes on.
                Ok(enqueue::Step::Stopped) => tokio::time::sleep(IDLE).await,
                Err(error) => {
                    tracing::error!(campaign = self.campaign.file.slug, %error, "enqueueing waits for the database");
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
    }

    /// Claims while what is in hand goes out, makes messages shortly before they are due, and hands
    /// each to the gate when its turn has come.
    async fn send(self: &Arc<Task>) {
        let (jobs, limit) = (self.gate.jobs(), limiter(self.campaign.file.rate()));
        let most = in_hand(self.campaign.file.rate());
        let batch = most.min(CLAIM);
        let has_room = |hand: &Hand| hand.len() as i64 <= most - batch + batch / 2;
        let weight = self.campaign.file.priority().weight() as usize;
        let (mut look, mut hand, mut stop) = (Some(Look::default()), Hand::default(), self.stop.clone());
        let mut looking: Option<JoinHandle<(Look, Turn)>> = None;
        let mut next_look = Instant::now();
        // How long it takes to make a message, lately: long, until it is known.
        let mut each = Duration::MAX;
        loop {
            if looking.is_none()
                && has_room(&hand)
                && next_look <= Instant::now()
                && let Some(look) = look.take()
            {
                looking = Some(self.look(look, batch));
            }
            let is_quick = each < QUICK;
            while hand.making.len() < self.cores
                && let Some(some) = hand.due_to_be_made(if is_quick { FEW } else { TOGETHER })
            {
                hand.making.push_back(self.make(some, is_quick));
            }
            let turn_at = hand.turn_at();
            let make_at = hand.make_at().filter(|_| hand.making.len() < self.cores);
            let rests = looking.is_none().then_some(next_look).filter(|_| has_room(&hand));
            tokio::select! {
                () = stopped(&mut stop) => break,
                turn = async { looking.as_mut().expect("it is looking").await }, if looking.is_some() => {
                    looking = None;
                    let Ok((seen, turn)) = turn else { break };
                    look = Some(seen);
                    match turn {
                        Turn::Claims(claims, rest) => {
                            next_look = Instant::now() + rest;
                            hand.take(claims);
                        }
                        Turn::Nothing(rest) => next_look = Instant::now() + rest,
                        Turn::Over => break,
                    }
                }
                made = async { hand.making.front_mut().expect("something is made").await }, if !hand.making.is_empty() => {
                    hand.making.pop_front();
                    let Ok((made, took)) = made else { break };
                    // One that was interrupted says little.
                    each = (took / made.len().max(1) as u32).min(each.saturating_mul(2));
                    for made in made {
                        match made {
                            Ok(job) => hand.made(job),
                            Err((contact_id, error)) => {
                                tracing::error!(campaign = self.campaign.file.slug, %error, "a message cannot be made");
                                hand.forget(contact_id);
                                self.give_up(contact_id, &error).await;
                            }
                        }
                    }
                }
                () = until(turn_at) => {
                    // As many places at the gate as it weighs, a few times over: others wait for theirs in between.
                    let places = hand.turns(Instant::now(), weight * TURNS).max(1);
                    let reserved = tokio::select! {
                        reserved = jobs.reserve_many(places) => reserved,
                        () = stopped(&mut stop) => break,
                    };
                    let Ok(places) = reserved else { break };
                    for place in places {
                        let Some(job) = hand.next() else { break };
                        // Still in hand until it is handed in: told to stop, it is given back with the rest.
                        if limit.check().is_err() {
                            tokio::select! {
                                () = limit.until_ready() => {}
                                () = stopped(&mut stop) => break,
                            }
                        }
                        hand.forget(job.contact_id);
                        place.send(job);
                    }
                }
                () = until(make_at) => {}
                () = until(rests) => {}
            }
        }
        if let Some(looking) = looking
            && let Ok((seen, turn)) = looking.await
        {
            look = Some(seen);
            if let Turn::Claims(claims, _) = turn {
                hand.take(claims);
            }
        }
        hand.hold(look.iter().flat_map(|look| &look.taken));
        self.release(&hand).await;
    }

    /// Looks on a thread of its own: as a task it would stand behind others each time the database answers, and hold
    /// the write lock meanwhile.
    fn look(self: &Arc<Task>, look: Look, batch: i64) -> JoinHandle<(Look, Turn)> {
        let (runtime, task) = (Handle::current(), Arc::clone(self));
        let mut stop = self.stop.clone();
        tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    turn = look.turn(Arc::clone(&task), batch) => turn,
                    () = stopped_and_waited(&mut stop) => {
                        task.in_doubt.store(true, Ordering::Relaxed);
                        (Look::default(), Turn::Over)
                    }
                }
            })
        })
    }

    /// Makes some messages, and says how long it took: those that take long where computing holds up nobody's input
    /// and output.
    fn make(&self, claims: Vec<Box<Claim>>, is_quick: bool) -> Making {
        let (app, campaign, now) = (self.app.clone(), Arc::clone(&self.campaign), self.app.now());
        let make = move || {
            let began = Instant::now();
            let made = claims.into_iter().map(|claim| {
                let contact_id = claim.contact.id;
                prepare::prepare(&app, &campaign, *claim, now).map_err(|error| (contact_id, error))
            });
            (made.collect(), began.elapsed())
        };
        if is_quick { tokio::spawn(async move { make() }) } else { tokio::task::spawn_blocking(make) }
    }

    async fn release(&self, hand: &Hand) {
        let contacts: Vec<i64> = hand.held().keys().copied().collect();
        if contacts.is_empty() {
            return;
        }
        let released = async {
            let mut tx = self.app.db.write().await?;
            deliveries::release(&mut tx, self.campaign.id, self.worker, &contacts).await?;
            let unused: Vec<_> = hand.held().values().map(|(group, at)| (group.name(), *at)).collect();
            permits::refund(&mut tx, &self.app, &unused).await?;
            tx.commit().await
        };
        if let Err(error) = in_time(released).await {
            tracing::error!(%error, "claims stay in the worker's name");
            self.in_doubt.store(true, Ordering::Relaxed);
        }
    }

    /// A message that cannot be made for this person ends as bounced, with why.
    async fn give_up(&self, contact_id: i64, why: &prepare::PrepareError) {
        let ended = async {
            let mut tx = self.app.db.write().await?;
            let now = self.app.now().as_millisecond();
            deliveries::fail(&mut tx, self.campaign.id, self.worker, contact_id, &why.to_string(), now).await?;
            tx.commit().await
        };
        if let Err(error) = ended.await {
            tracing::error!(%error, "a failed delivery could not be recorded");
            self.in_doubt.store(true, Ordering::Relaxed);
        }
    }
}

/// Until an instant; for ever when there is none.
async fn until(at: Option<Instant>) {
    match at {
        // What has come needs no timer.
        Some(at) if at <= Instant::now() => {}
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Smooths what the shared pace lets go: a process that fell behind catches up at a quarter more, and
/// a receiver sees no burst.
fn limiter(rate: Rate) -> DefaultDirectRateLimiter {
    let per_second = (f64::from(rate.per_hour()) / 3600.0).max(1.0);
    let burst = std::num::NonZeroU32::new((per_second / 20.0) as u32).unwrap_or(std::num::NonZeroU32::MIN);
    let quota = Quota::with_period(rate.interval().mul_f64(0.8)).expect("an interval is longer than nothing");
    RateLimiter::direct(quota.allow_burst(burst))
}

/// No more is in hand than goes out within a second or so: refusals must stay fresh.
fn in_hand(rate: Rate) -> i64 {
    ((f64::from(rate.per_hour()) / 3600.0 * AHEAD_SECONDS) as i64).clamp(1, IN_HAND)
}
