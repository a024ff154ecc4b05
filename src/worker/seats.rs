//! Seats: connections to the mail server, each with one message in hand at most.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{gatekeeper::Gate, stopped};
use crate::{
    app::App,
    domain::{campaigns::DeliveryState, replies, retry},
    mail::smtp::{Begun, Connection, Server, SmtpError, SubmitOutcome, Timeouts},
    pipeline::deliver::{Job, gate::Ended},
    store::deliveries,
};

/// The limit of a mail server over all campaigns.
pub type ServerLimit = DefaultDirectRateLimiter;

/// A connection that had nothing to do for so long is closed politely.
const IDLE: Duration = Duration::from_secs(20);
/// How long a message waits for the next one, to be sent with it in one round trip.
const TOGETHER: Duration = Duration::from_millis(10);
/// Messages a connection carries before it is closed politely.
const MESSAGES_PER_CONNECTION: usize = 200;
/// Longest wait between two attempts to connect.
const RECONNECT: Duration = Duration::from_secs(30);
/// How long the server's answer is waited for once the worker is told to stop. What has none by then
/// is unknown.
const DRAIN: Duration = Duration::from_secs(20);

/// The seats of a worker.
pub struct Seats {
    limit: Option<Arc<ServerLimit>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Seats {
    /// Makes the seats; a connection is opened when there is something to send.
    pub fn open(app: &App, server: Server, gate: &Gate, stop: &watch::Receiver<bool>) -> Seats {
        let smtp = &app.config.smtp;
        let server = Arc::new(server);
        let tasks = (0..smtp.connections)
            .map(|n| {
                let seat = Seat {
                    app: app.clone(),
                    server: Arc::clone(&server),
                    gate: gate.clone(),
                    stop: stop.clone(),
                    jitter: SmallRng::seed_from_u64(app.now().as_millisecond() as u64 ^ (n as u64) << 48),
                    next: None,
                    carried: 0,
                };
                tokio::spawn(seat.run())
            })
            .collect();
        Seats { limit: smtp.rate_per_minute.and_then(NonZeroU32::new).map(limiter).map(Arc::new), tasks }
    }

    /// The limit over all campaigns.
    pub fn limit(&self) -> Option<Arc<ServerLimit>> {
        self.limit.clone()
    }

    /// Waits until every seat has ended what it had in hand. They end once the worker is told to stop.
    pub async fn finished(self) {
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

struct Seat {
    app: App,
    server: Arc<Server>,
    gate: Gate,
    stop: watch::Receiver<bool>,
    jitter: SmallRng,
    /// The next job that may go, asked for ahead.
    next: Option<oneshot::Receiver<Job>>,
    carried: usize,
}

/// Why a seat waits for nothing more.
struct NoMore;

impl Seat {
    /// Connects when there is work, asks the gate then, and submits at once: nothing waits between the
    /// last decision and the wire.
    async fn run(mut self) {
        while self.gate.called().await {
            let Some(mut connection) = self.connect().await else { break };
            self.carried = 0;
            while connection.is_usable() && self.carried < MESSAGES_PER_CONNECTION {
                match self.wait(IDLE).await {
                    Ok(Some(job)) => self.carry(&mut connection, job).await,
                    Ok(None) => break,
                    Err(NoMore) => return connection.quit().await,
                }
            }
            // One may have been let through in this moment: it goes before the connection does.
            if let Some(mut next) = self.next.take() {
                next.close();
                match next.try_recv() {
                    Ok(job) if connection.is_usable() => self.carry(&mut connection, job).await,
                    Ok(job) => self.ended(&job, SubmitOutcome::NotSent(SmtpError::Unusable)),
                    Err(_) => {}
                }
            }
            connection.quit().await;
        }
    }

    /// Submits `job`, and as long as there is a next one at hand, each with the envelope of the next.
    async fn carry(&mut self, connection: &mut Connection, mut job: Job) {
        if let Some(refusal) = connection.too_large(&job.message) {
            return self.ended(&job, refusal);
        }
        let mut begun = self.bounded(connection.begin(&job.envelope)).await;
        loop {
            self.carried += 1;
            match begun.take() {
                Some(Begun::Ready) => {}
                Some(Begun::Refused { reply, stage }) => {
                    return self.ended(&job, SubmitOutcome::Refused { reply, stage });
                }
                Some(Begun::NotSent(error)) => return self.ended(&job, SubmitOutcome::NotSent(error)),
                None => return self.ended(&job, SubmitOutcome::NotSent(SmtpError::Timeout("the envelope"))),
            }
            let next = match self.carried < MESSAGES_PER_CONNECTION {
                true => self.wait(TOGETHER).await.unwrap_or(None),
                false => None,
            };
            let too_large = next.as_ref().and_then(|next| connection.too_large(&next.message));
            let Some(next) = self.unless_refused(next, too_large) else {
                let outcome = self.bounded(connection.finish(&job.message)).await;
                return self
                    .ended(&job, outcome.unwrap_or(SubmitOutcome::Unknown(SmtpError::Timeout("the final dot"))));
            };
            if self.carried + 1 < MESSAGES_PER_CONNECTION {
                self.next = Some(self.gate.next());
            }
            let both = self.bounded(connection.finish_and_begin(&job.message, &next.envelope)).await;
            let Some((outcome, next_begun)) = both else {
                // Nothing of the next was more than an envelope.
                self.ended(&job, SubmitOutcome::Unknown(SmtpError::Timeout("the final dot")));
                return self.ended(&next, SubmitOutcome::NotSent(SmtpError::Timeout("the envelope")));
            };
            self.ended(&job, outcome);
            (job, begun) = (next, Some(next_begun));
        }
    }

    fn unless_refused(&mut self, job: Option<Job>, refusal: Option<SubmitOutcome>) -> Option<Job> {
        let (Some(job), Some(refusal)) = (&job, refusal) else { return job };
        self.ended(job, refusal);
        None
    }

    /// The next job that may go, asked for now unless it was before; None: none so far.
    async fn wait(&mut self, limit: Duration) -> Result<Option<Job>, NoMore> {
        let next = self.next.get_or_insert_with(|| self.gate.next());
        let Ok(given) = timeout(limit, next).await else { return Ok(None) };
        self.next = None;
        given.map(Some).map_err(|_| NoMore)
    }

    /// What the server's conversation comes to; None when the worker must stop and it takes too long.
    async fn bounded<T>(&self, talk: impl Future<Output = T>) -> Option<T> {
        let mut stop = self.stop.clone();
        let end = async {
            stopped(&mut stop).await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            said = talk => Some(said),
            () = end => None,
        }
    }

    /// Until there is a connection: with the server away, messages wait unsubmitted. None: told to stop.
    async fn connect(&mut self) -> Option<Connection> {
        let mut wait = Duration::from_millis(500);
        let mut stop = self.stop.clone();
        loop {
            let opened = tokio::select! {
                opened = Connection::open(&self.server, Timeouts::default()) => opened,
                () = stopped(&mut stop) => return None,
            };
            match opened {
                Ok(connection) => return Some(connection),
                Err(error) => {
                    tracing::warn!(%error, "no connection to the mail server; trying again");
                    let pause = tokio::time::sleep(wait.mul_f64(self.jitter.random_range(0.75..1.25)));
                    tokio::select! {
                        () = pause => {}
                        () = stopped(&mut stop) => return None,
                    }
                    wait = (wait * 2).min(RECONNECT);
                }
            }
        }
    }

    /// What an outcome makes of the delivery.
    fn ended(&mut self, job: &Job, outcome: SubmitOutcome) {
        let now = self.app.now().as_millisecond();
        let attempts = job.attempts + 1;
        let mut class = None;
        let (state, reply) = match outcome {
            SubmitOutcome::Accepted(reply) => (DeliveryState::Accepted, reply.to_string()),
            SubmitOutcome::Refused { reply, stage } => {
                let judged = replies::classify(&reply, stage);
                class = Some(judged);
                (
                    if self.is_final(&reply, attempts) { DeliveryState::Bounced } else { DeliveryState::Deferred },
                    reply.to_string(),
                )
            }
            SubmitOutcome::NotSent(error) => (DeliveryState::Deferred, error.to_string()),
            SubmitOutcome::Unknown(error) => (DeliveryState::Unknown, error.to_string()),
        };
        let wait = retry::delay(attempts, self.jitter.random());
        let deferred = state == DeliveryState::Deferred;
        let bounced = class.filter(|_| state == DeliveryState::Bounced);
        let outcome = deliveries::Outcome {
            contact_id: job.contact_id,
            state,
            next_attempt_at: deferred.then(|| now + wait.as_millis() as i64),
            ended_at: (!deferred).then_some(now),
            bounce_class: bounced.map_or("", |c| c.as_str()).to_owned(),
            reply,
        };
        self.gate.record(Ended::of(job, bounced, outcome));
    }

    fn is_final(&self, reply: &replies::Reply, attempts: i64) -> bool {
        let give_up = Duration::from_secs(u64::from(self.app.config.smtp.give_up_hours) * 3600);
        !reply.is_transient() || retry::is_given_up(attempts, give_up)
    }
}

fn limiter(per_minute: NonZeroU32) -> ServerLimit {
    let burst = NonZeroU32::new(per_minute.get() / 1200).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct(Quota::per_minute(per_minute).allow_burst(burst))
}
