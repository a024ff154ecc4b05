//! Seats: connections to the mail server, each with one message in hand at most.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
};

use super::{gatekeeper::Gate, stopped};
use crate::{
    app::App,
    domain::{campaigns::DeliveryState, replies, retry},
    mail::smtp::{Connection, Server, SubmitOutcome, Timeouts},
    pipeline::deliver::{Job, gate::Ended},
    store::deliveries,
};

/// The limit of a mail server over all campaigns.
pub type ServerLimit = DefaultDirectRateLimiter;

/// A connection that had nothing to do for so long is closed politely.
const IDLE: Duration = Duration::from_secs(20);
/// Messages a connection carries before it is closed politely.
const MESSAGES_PER_CONNECTION: usize = 200;
/// Longest wait between two attempts to connect.
const RECONNECT: Duration = Duration::from_secs(30);

/// The seats of a worker.
pub struct Seats {
    jobs: mpsc::Sender<Job>,
    limit: Option<Arc<ServerLimit>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Seats {
    /// Makes the seats; a connection is opened when there is something to send.
    pub fn open(app: &App, server: Server, gate: Gate, stop: &watch::Receiver<bool>) -> Seats {
        let smtp = &app.config.smtp;
        // No buffer: what waits for a seat waits in the campaign, where a pause finds it.
        let (jobs, inbox) = mpsc::channel(1);
        let inbox = Arc::new(Mutex::new(inbox));
        let server = Arc::new(server);
        let tasks = (0..smtp.connections)
            .map(|n| {
                let seat = Seat {
                    app: app.clone(),
                    server: Arc::clone(&server),
                    gate: gate.clone(),
                    stop: stop.clone(),
                    jitter: SmallRng::seed_from_u64(app.now().as_millisecond() as u64 ^ (n as u64) << 48),
                    connection: None,
                    carried: 0,
                };
                tokio::spawn(seat.run(Arc::clone(&inbox)))
            })
            .collect();
        Seats { jobs, limit: smtp.rate_per_minute.and_then(NonZeroU32::new).map(limiter).map(Arc::new), tasks }
    }

    /// Where jobs are handed in.
    pub fn jobs(&self) -> mpsc::Sender<Job> {
        self.jobs.clone()
    }

    /// The limit over all campaigns.
    pub fn limit(&self) -> Option<Arc<ServerLimit>> {
        self.limit.clone()
    }

    /// Lets every seat end what it has in hand, and closes the connections.
    pub async fn close(self) {
        drop(self.jobs);
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
    connection: Option<Connection>,
    carried: usize,
}

impl Seat {
    async fn run(mut self, inbox: Arc<Mutex<mpsc::Receiver<Job>>>) {
        loop {
            let next = async { inbox.lock().await.recv().await };
            match tokio::time::timeout(IDLE, next).await {
                Ok(Some(job)) => self.deliver(job).await,
                Ok(None) => break,
                Err(_) => self.hang_up().await,
            }
        }
        self.hang_up().await;
    }

    /// Connects first, asks the gate then, and submits at once: nothing waits between the last
    /// decision and the wire.
    async fn deliver(&mut self, job: Job) {
        if !self.connect().await {
            // Told to stop: the job stays claimed, and goes back to the queue when the worker leaves.
            return;
        }
        let Some(job) = self.gate.pass(job).await else { return };
        let outcome = match self.connection.as_mut() {
            Some(connection) => connection.submit(&job.envelope, &job.message).await,
            None => return,
        };
        self.carried += 1;
        let ended = self.ended(&job, outcome);
        if self.connection.as_ref().is_some_and(|c| !c.is_usable()) {
            self.connection = None;
        }
        if self.carried >= MESSAGES_PER_CONNECTION {
            self.hang_up().await;
        }
        self.gate.record(ended).await;
    }

    /// Until there is a connection: with the server away, messages wait unsubmitted. False: told to stop.
    async fn connect(&mut self) -> bool {
        let mut wait = Duration::from_millis(500);
        while self.connection.is_none() {
            match Connection::open(&self.server, Timeouts::default()).await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.carried = 0;
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection to the mail server; trying again");
                    let pause = tokio::time::sleep(wait.mul_f64(self.jitter.random_range(0.75..1.25)));
                    tokio::select! {
                        () = pause => {}
                        () = stopped(&mut self.stop) => return false,
                    }
                    wait = (wait * 2).min(RECONNECT);
                }
            }
        }
        true
    }

    async fn hang_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.quit().await;
        }
    }

    /// What an outcome makes of the delivery.
    fn ended(&mut self, job: &Job, outcome: SubmitOutcome) -> Ended {
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
        Ended {
            campaign_id: job.campaign.id,
            kind: job.campaign.file.kind,
            product: job.campaign.file.product.clone(),
            address_hash: job.address_hash,
            outcome: deliveries::Outcome {
                contact_id: job.contact_id,
                state,
                next_attempt_at: deferred.then(|| now + wait.as_millis() as i64),
                ended_at: (!deferred).then_some(now),
                bounce_class: class.filter(|_| state == DeliveryState::Bounced).map_or("", |c| c.as_str()).to_owned(),
                reply,
            },
            class: class.filter(|_| state == DeliveryState::Bounced),
        }
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
