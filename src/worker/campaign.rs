//! One running campaign: enqueueing and sending side by side, at its rate.

use std::{collections::VecDeque, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{seats::ServerLimit, stopped};
use crate::{
    app::App,
    domain::{campaign_file::Rate, campaigns::CampaignState},
    pipeline::{
        compile::Compiled,
        deliver::{Claim, Job, claim, prepare},
        enqueue,
    },
    store::{self, campaigns, deliveries},
};

/// Deliveries claimed at a time, at most.
const CLAIM: i64 = 500;
/// Seconds of the permitted rate that are claimed ahead, at most.
const AHEAD_SECONDS: f64 = 1.0;
/// How long to wait when there is nothing to claim, or the database fails.
const IDLE: Duration = Duration::from_millis(200);

/// Messages made in one go.
const TOGETHER: usize = 16;

/// A message, or for whom none can be made and why.
type Made = Result<Job, (i64, prepare::PrepareError)>;

/// What a campaign's task works with.
pub struct Task {
    pub app: App,
    pub worker: i64,
    pub campaign: Arc<Compiled>,
    pub jobs: mpsc::Sender<Job>,
    pub server_limit: Option<Arc<ServerLimit>>,
    pub stop: watch::Receiver<bool>,
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
            match enqueue::step(&self.app, &self.campaign).await {
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

    async fn send(self: &Arc<Task>) {
        let limit = limiter(self.campaign.file.rate());
        let batch = batch(self.campaign.file.rate());
        let mut after = 0;
        // The next claim is made while the last one goes out.
        let mut ahead = None;
        while !*self.stop.borrow() {
            let claim = match ahead.take() {
                Some(claim) => claim,
                None => self.claiming(after, batch),
            };
            match claim.await.unwrap_or(Ok(Turn::Over)) {
                Ok(Turn::Claims { claims, next }) => {
                    after = next;
                    if claims.len() as i64 * 2 > batch {
                        ahead = Some(self.claiming(after, batch));
                    }
                    self.feed(claims, &limit).await;
                }
                Ok(Turn::Nothing) => {
                    after = 0;
                    tokio::time::sleep(IDLE).await;
                }
                Ok(Turn::Over) => return,
                Err(error) => {
                    tracing::error!(campaign = self.campaign.file.slug, %error, "sending waits for the database");
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
        if let Some(Ok(Ok(Turn::Claims { claims, .. }))) = match ahead {
            Some(claim) => Some(claim.await),
            None => None,
        } {
            self.release(&claims.iter().map(|claim| claim.contact.id).collect::<Vec<_>>()).await;
        }
    }

    fn claiming(self: &Arc<Task>, after: i64, batch: i64) -> JoinHandle<store::Result<Turn>> {
        let task = Arc::clone(self);
        tokio::spawn(async move { task.claim(after, batch).await })
    }

    /// One claim; when there is nothing, finishes the campaign if nothing is left at all. Writes only
    /// when there is something to write.
    async fn claim(&self, after: i64, batch: i64) -> store::Result<Turn> {
        if after == 0 {
            let now = self.app.now().as_millisecond();
            let mut tx = self.app.db.read().await?;
            let due = deliveries::has_due(&mut tx, self.campaign.id, now).await?;
            let open = due || deliveries::is_open(&mut tx, self.campaign.id).await?;
            let row = campaigns::by_id(&mut tx, self.campaign.id).await?;
            drop(tx);
            match row.filter(|row| row.state == CampaignState::Running) {
                Some(row) if !due && (open || row.enqueued_at.is_none()) => return Ok(Turn::Nothing),
                Some(_) if due => {}
                Some(row) => return self.finish(row.id).await,
                None => return Ok(Turn::Over),
            }
        }
        let claimed = claim::claim(&self.app, &self.campaign, self.worker, after, batch).await?;
        if claimed.taken > 0 {
            return Ok(Turn::Claims { claims: claimed.claims, next: claimed.last.unwrap_or(after) });
        }
        // Released deliveries may lie behind the bound.
        Ok(if after > 0 { Turn::Claims { claims: Vec::new(), next: 0 } } else { Turn::Nothing })
    }

    async fn finish(&self, id: i64) -> store::Result<Turn> {
        let mut tx = self.app.db.write().await?;
        let finished = campaigns::finish(&mut tx, id, self.app.now().as_millisecond()).await?;
        tx.commit().await?;
        Ok(if finished { Turn::Over } else { Turn::Nothing })
    }

    /// Makes the messages, on as many cores as there are, and hands them to the gate at the permitted rate.
    async fn feed(&self, claims: Vec<Claim>, limit: &DefaultDirectRateLimiter) {
        let mut stop = self.stop.clone();
        let mut left: VecDeque<i64> = claims.iter().map(|claim| claim.contact.id).collect();
        let mut claims = claims.into_iter();
        let mut making = VecDeque::new();
        loop {
            while making.len() < self.cores {
                let some: Vec<Claim> = claims.by_ref().take(TOGETHER).collect();
                if some.is_empty() {
                    break;
                }
                making.push_back(self.make(some));
            }
            let Some(made) = making.pop_front() else { return };
            let Ok(made) = made.await else { return self.release(left.make_contiguous()).await };
            for job in made {
                let job = match job {
                    Ok(job) => job,
                    Err((contact_id, error)) => {
                        tracing::error!(campaign = self.campaign.file.slug, %error, "a message cannot be made");
                        self.give_up(contact_id, &error).await;
                        left.pop_front();
                        continue;
                    }
                };
                tokio::select! {
                    () = self.hand_in(job, limit) => {}
                    () = stopped(&mut stop) => return self.release(left.make_contiguous()).await,
                }
                left.pop_front();
            }
        }
    }

    /// Makes some messages where computing holds up nobody's input and output.
    fn make(&self, claims: Vec<Claim>) -> JoinHandle<Vec<Made>> {
        let (app, campaign, now) = (self.app.clone(), Arc::clone(&self.campaign), self.app.now());
        tokio::task::spawn_blocking(move || {
            let made = claims.into_iter().map(|claim| {
                let contact_id = claim.contact.id;
                prepare::prepare(&app, &campaign, claim, now).map_err(|error| (contact_id, error))
            });
            made.collect()
        })
    }

    async fn hand_in(&self, job: Job, limit: &DefaultDirectRateLimiter) {
        limit.until_ready().await;
        if let Some(server) = &self.server_limit {
            server.until_ready().await;
        }
        let _ = self.jobs.send(job).await;
    }

    async fn release(&self, contacts: &[i64]) {
        let released = async {
            let mut tx = self.app.db.write().await?;
            deliveries::release(&mut tx, self.campaign.id, self.worker, contacts).await?;
            tx.commit().await
        };
        if let Err(error) = released.await {
            tracing::error!(%error, "claims stay until the worker has left");
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
        }
    }
}

/// What a claim leads to.
enum Turn {
    /// Something to send; the next claim goes on after contact `next`.
    Claims { claims: Vec<Claim>, next: i64 },
    /// Nothing for now.
    Nothing,
    /// The campaign is finished, paused or cancelled.
    Over,
}

/// A small burst: a second of silence is not made good by a burst that a receiver would see.
fn limiter(rate: Rate) -> DefaultDirectRateLimiter {
    let per_second = (f64::from(rate.per_hour()) / 3600.0).max(1.0);
    let burst = NonZeroU32::new((per_second / 20.0) as u32).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(rate.interval()).expect("an interval is longer than nothing");
    RateLimiter::direct(quota.allow_burst(burst))
}

/// No more is claimed than goes out within a second or so: refusals must stay fresh.
fn batch(rate: Rate) -> i64 {
    ((f64::from(rate.per_hour()) / 3600.0 * AHEAD_SECONDS) as i64).clamp(1, CLAIM)
}
