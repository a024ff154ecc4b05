//! The serving process's work: it starts due campaigns, enqueues, sends, and finishes.
//!
//! Loop and step are two functions: the steps are the pipeline's.

mod campaign;
mod gatekeeper;
mod lock;
mod seats;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    app::App,
    domain::campaigns::CampaignState,
    mail::smtp::Server,
    pipeline::compile::{Compiled, Unusable},
    store::{self, campaigns, deliveries, workers},
};
use gatekeeper::Gate;

/// How often the database is asked what there is to do; a pause takes effect within it.
const TICK: Duration = Duration::from_millis(200);
/// How often a worker shows that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// A worker that shows no sign for so long is dead to the others.
const DEAD_AFTER: Duration = Duration::from_secs(6);

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The database fails for good.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
    /// The lock of a SQLite file cannot be had.
    #[error("{0}")]
    Lock(std::io::Error),
}

/// Works until `stop` says so, then lets what is on the wire end and gives back what is not.
pub async fn run(app: App, server: Server, mut stop: watch::Receiver<bool>) -> Result<(), WorkerError> {
    let Some(_lock) = lock::only_sender(&app.db, &mut stop).await.map_err(WorkerError::Lock)? else { return Ok(()) };
    let mut tx = app.db.write().await?;
    let id = workers::add(&mut tx, app.now().as_millisecond()).await?;
    tx.commit().await?;
    tracing::info!(worker = id, "worker started");
    let mut worker = Worker::new(app, id, server, stop.clone());
    if worker.app.db.is_sqlite() {
        // The lock says that nobody else sends: whoever else is on the list is dead.
        worker.bury(|_| true).await?;
    }
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped(&mut stop) => break,
        }
        if let Err(error) = worker.step().await {
            tracing::error!(%error, "the database fails; trying again");
        }
    }
    worker.drain().await
}

/// Until the worker is told to stop, or nobody is left to tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Worker {
    app: App,
    id: i64,
    gate: Gate,
    seats: seats::Seats,
    /// The campaigns that this worker sends.
    running: HashMap<i64, JoinHandle<()>>,
    stop: watch::Receiver<bool>,
    /// The others' heartbeats, and since when they stand still.
    others: HashMap<i64, (i64, tokio::time::Instant)>,
    last_beat: Option<tokio::time::Instant>,
}

impl Worker {
    fn new(app: App, id: i64, server: Server, stop: watch::Receiver<bool>) -> Worker {
        let gate = Gate::open(app.clone(), id);
        let seats = seats::Seats::open(&app, server, gate.clone(), &stop);
        Worker { app, id, gate, seats, running: HashMap::new(), stop, others: HashMap::new(), last_beat: None }
    }

    /// One look at what there is to do.
    async fn step(&mut self) -> store::Result<()> {
        self.beat().await?;
        let now = self.app.now().as_millisecond();
        let mut tx = self.app.db.read().await?;
        let due = campaigns::in_state(&mut tx, CampaignState::Scheduled).await?;
        drop(tx);
        if due.iter().any(|campaign| campaign.scheduled_at.is_some_and(|at| at <= now)) {
            let mut tx = self.app.db.write().await?;
            campaigns::start_due(&mut tx, now).await?;
            tx.commit().await?;
        }
        self.running.retain(|_, task| !task.is_finished());
        let mut tx = self.app.db.read().await?;
        let rows = campaigns::in_state(&mut tx, CampaignState::Running).await?;
        drop(tx);
        for row in rows {
            if !self.running.contains_key(&row.id) {
                self.start(row).await?;
            }
        }
        Ok(())
    }

    /// Starts to enqueue and send a running campaign; one that cannot be sent is paused, not lost.
    async fn start(&mut self, row: campaigns::Campaign) -> store::Result<()> {
        let mut tx = self.app.db.read().await?;
        let compiled = Compiled::of_row(&self.app, &mut tx, &row).await;
        drop(tx);
        match compiled {
            Ok(compiled) => {
                let task = campaign::Task {
                    app: self.app.clone(),
                    worker: self.id,
                    campaign: Arc::new(compiled),
                    jobs: self.seats.jobs(),
                    server_limit: self.seats.limit(),
                    stop: self.stop.clone(),
                };
                self.running.insert(row.id, tokio::spawn(task.run()));
                Ok(())
            }
            Err(Unusable::Store(error)) => Err(error),
            Err(error) => {
                tracing::error!(campaign = row.slug, %error, "the campaign cannot be sent and is paused");
                let now = self.app.now().as_millisecond();
                let mut tx = self.app.db.write().await?;
                campaigns::move_state(&mut tx, row.id, CampaignState::Running, CampaignState::Paused, now).await?;
                tx.commit().await
            }
        }
    }

    /// Shows that this worker lives, and buries those that show no sign.
    async fn beat(&mut self) -> store::Result<()> {
        let now = tokio::time::Instant::now();
        if self.last_beat.is_some_and(|at| now - at < BEAT) {
            return Ok(());
        }
        self.last_beat = Some(now);
        let mut tx = self.app.db.write().await?;
        if !workers::beat(&mut tx, self.id).await? {
            // The others took us for dead and have what we held. The rows we try to submit are no
            // longer ours, so nothing can go twice; from here on we are a new worker.
            tracing::warn!(worker = self.id, "taken for dead by another worker; starting anew");
            workers::revive(&mut tx, self.id, self.app.now().as_millisecond()).await?;
        }
        let all = workers::all(&mut tx).await?;
        tx.commit().await?;
        let alive: HashMap<i64, i64> = all.iter().copied().collect();
        self.others.retain(|id, _| alive.contains_key(id));
        for (id, beat) in all.into_iter().filter(|(id, _)| *id != self.id) {
            let seen = self.others.entry(id).or_insert((beat, now));
            if seen.0 != beat {
                *seen = (beat, now);
            }
        }
        let dead: Vec<i64> =
            self.others.iter().filter(|(_, (_, since))| now - *since > DEAD_AFTER).map(|(id, _)| *id).collect();
        if !dead.is_empty() {
            self.bury(|id| dead.contains(&id)).await?;
        }
        Ok(())
    }

    /// Takes over what dead workers held: claimed goes back to the queue, submitting becomes unknown.
    async fn bury(&mut self, is_dead: impl Fn(i64) -> bool) -> store::Result<()> {
        let now = self.app.now().as_millisecond();
        let mut tx = self.app.db.write().await?;
        for (id, _) in workers::all(&mut tx).await? {
            if id == self.id || !is_dead(id) {
                continue;
            }
            let (requeued, unknown) = deliveries::abandon(&mut tx, id, now).await?;
            workers::remove(&mut tx, id).await?;
            tracing::warn!(worker = id, requeued, unknown, "a worker died; its claims are taken over");
        }
        tx.commit().await
    }

    /// Lets the campaigns' tasks and the wire end, then leaves the list.
    async fn drain(mut self) -> Result<(), WorkerError> {
        for (_, task) in self.running.drain() {
            let _ = task.await;
        }
        self.seats.close().await;
        self.gate.close().await;
        let mut tx = self.app.db.write().await?;
        deliveries::abandon(&mut tx, self.id, self.app.now().as_millisecond()).await?;
        workers::remove(&mut tx, self.id).await?;
        tx.commit().await?;
        tracing::info!(worker = self.id, "worker stopped, nothing left in hand");
        Ok(())
    }
}
