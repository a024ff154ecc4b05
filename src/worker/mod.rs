//! The serving process's work: it starts due campaigns, enqueues, sends, and finishes.
//!
//! Loop and step are two functions: the steps are the pipeline's.

mod campaign;
mod gatekeeper;
mod letters;
mod lock;
mod seats;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    app::App,
    cpu,
    domain::{campaigns::CampaignState, pushback::Progress},
    mail::smtp::Server,
    pipeline::{
        compile::{Compiled, Unusable},
        deliver::{
            shares::Shares,
            traffic::{Part, Traffic},
        },
        exchangers::Exchangers,
        stops,
    },
    store::{self, Carry, buckets, campaigns, deliveries, domains, groups, outcomes, workers},
};
use gatekeeper::{Gate, Keeper};

/// How often the database is asked what there is to do; a pause takes effect within it.
const TICK: Duration = Duration::from_millis(200);
/// How often a worker shows that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// A worker that shows no sign for so long, while the others look, is dead to them.
const DEAD_AFTER: Duration = Duration::from_secs(6);
/// How long the database is waited for, wherever it is asked, once the worker is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often what was counted of times past is forgotten.
const SWEEP: Duration = Duration::from_secs(600);

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
    let writing = tokio::spawn(letters::run(app.clone(), stop.clone()));
    let ended = live_on(app, server, &mut stop).await;
    match &ended {
        Ok(()) => drop(writing.await),
        Err(_) => writing.abort(),
    }
    ended
}

/// One life after another, until told to stop.
async fn live_on(app: App, server: Server, stop: &mut watch::Receiver<bool>) -> Result<(), WorkerError> {
    loop {
        let Some(id) = register(&app, stop).await else { return Ok(()) };
        match live(app.clone(), server.clone(), id, stop).await? {
            End::Stopped => return Ok(()),
            // What the others took, this worker can neither submit nor claim: it has another name now.
            End::TakenForDead => tracing::warn!(worker = id, "taken for dead by another worker; starting anew"),
            // All that stood in its name is in the queue again.
            End::InDoubt => tracing::warn!(worker = id, "the database failed in the middle of a claim; starting anew"),
        }
    }
}

/// How a worker's life ended.
enum End {
    Stopped,
    TakenForDead,
    InDoubt,
}

/// Puts a worker on the list, as soon as the database answers. None: told to stop before.
async fn register(app: &App, stop: &mut watch::Receiver<bool>) -> Option<i64> {
    loop {
        let added: store::Result<i64> = async {
            let mut tx = app.db.write().await?;
            let id = workers::add(&mut tx, app.now().as_millisecond()).await?;
            workers::keeps(&mut tx, id, &app.config.limits.mark()).await?;
            let settings = workers::limits(&mut tx).await?;
            tx.commit().await?;
            if settings > 1 {
                tracing::warn!(settings, "workers keep different limits: give every host the same [limits]");
            }
            Ok(id)
        }
        .await;
        match added {
            Ok(id) => return Some(id),
            Err(error) => tracing::error!(%error, "the worker waits for the database"),
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = stopped(stop) => return None,
        }
    }
}

/// One life of a worker, from its place on the list to its last record.
async fn live(app: App, server: Server, id: i64, stop: &mut watch::Receiver<bool>) -> Result<End, WorkerError> {
    tracing::info!(worker = id, "worker started");
    let (halt, halted) = watch::channel(false);
    let mut worker = Worker::new(app, id, server, halted);
    let mut buried = !worker.app.db.is_sqlite();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped(stop) => break End::Stopped,
        }
        if !buried {
            // The lock says that nobody else sends: whoever else is on the list is dead.
            buried = worker.bury(|_| true).await.inspect_err(complain).is_ok();
            continue;
        }
        let life = tokio::select! {
            life = worker.step() => life,
            () = stopped_and_waited(stop) => break End::Stopped,
        };
        match life {
            Ok(Life::Goes) => {}
            Ok(Life::Over) => break End::TakenForDead,
            Ok(Life::InDoubt) => break End::InDoubt,
            Err(error) => complain(&error),
        }
    };
    let _ = halt.send(true);
    worker.drain().await;
    Ok(end)
}

fn complain(error: &sqlx::Error) {
    tracing::error!(%error, "the database fails; trying again");
}

/// Until the worker is told to stop, or nobody is left to tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Until the worker was told to stop and the database had time to answer.
async fn stopped_and_waited(stop: &mut watch::Receiver<bool>) {
    stopped(stop).await;
    tokio::time::sleep(FAREWELL).await;
}

/// What is asked of the database at the end, if it answers in time.
async fn in_time<T>(asked: impl Future<Output = store::Result<T>>) -> store::Result<T> {
    tokio::time::timeout(FAREWELL, asked).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

struct Worker {
    app: App,
    id: i64,
    gate: Gate,
    keeper: Keeper,
    seats: seats::Seats,
    /// The campaigns that this worker sends.
    running: HashMap<i64, JoinHandle<()>>,
    /// The campaigns that this worker lacks a key for, and has said so.
    keyless: HashSet<i64>,
    stop: watch::Receiver<bool>,
    /// What it has to do with each provider group.
    traffic: Traffic,
    /// Who had how much of what is limited.
    shares: Shares,
    /// Who tells provider groups.
    exchangers: Exchangers,
    /// Its part in the shared limits.
    part: Part,
    /// When it last forgot what was counted of times past.
    swept: Option<tokio::time::Instant>,
    /// The others' heartbeats, and for how long they were seen to stand still.
    others: HashMap<i64, (i64, Duration)>,
    last_beat: Option<tokio::time::Instant>,
    /// Something may be claimed in its name that it does not know of.
    in_doubt: Arc<AtomicBool>,
}

impl Worker {
    fn new(app: App, id: i64, server: Server, stop: watch::Receiver<bool>) -> Worker {
        let (gate, keeper) = Gate::open(app.clone(), id, stop.clone());
        let seats = seats::Seats::open(&app, server, &gate, &stop);
        let exchangers = Exchangers::of(&app);
        Worker {
            app,
            id,
            gate,
            keeper,
            seats,
            running: HashMap::new(),
            keyless: HashSet::new(),
            stop,
            traffic: Traffic::default(),
            shares: Shares::default(),
            exchangers,
            part: Part { rank: 0, of: 1 },
            swept: None,
            others: HashMap::new(),
            last_beat: None,
            in_doubt: Arc::default(),
        }
    }

    /// One look at what there is to do.
    async fn step(&mut self) -> store::Result<Life> {
        let life = self.beat().await?;
        if life != Life::Goes {
            return Ok(life);
        }
        let now = self.app.now().as_millisecond();
        let mut tx = self.app.db.read().await?;
        self.traffic.learn(groups::all(&mut tx).await?, &self.app.config.limits, self.part);
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
        // While messages leave, no commit may take longer than they keep the wire busy.
        let carry = if rows.is_empty() { Carry::Rarely } else { Carry::Often };
        if let Err(error) = self.app.db.carry_log(carry).await {
            // It is a matter of speed: the next look tries again.
            complain(&error);
        }
        for row in rows {
            if !self.running.contains_key(&row.id) {
                self.start(row).await?;
            }
        }
        Ok(Life::Goes)
    }

    /// Starts to enqueue and send a running campaign; one that cannot be sent is paused, not lost.
    async fn start(&mut self, row: campaigns::Campaign) -> store::Result<()> {
        let mut tx = self.app.db.read().await?;
        let compiled = Compiled::of_row(&self.app, &mut tx, &row).await;
        drop(tx);
        match compiled.and_then(Compiled::sendable) {
            Ok(compiled) => {
                let task = campaign::Task {
                    app: self.app.clone(),
                    worker: self.id,
                    campaign: Arc::new(compiled),
                    gate: self.gate.clone(),
                    traffic: self.traffic.clone(),
                    shares: self.shares.clone(),
                    exchangers: self.exchangers.clone(),
                    stop: self.stop.clone(),
                    in_doubt: Arc::clone(&self.in_doubt),
                    cores: cpu::cores(),
                };
                self.keyless.remove(&row.id);
                self.running.insert(row.id, tokio::spawn(task.run()));
                Ok(())
            }
            Err(Unusable::Store(error)) => Err(error),
            // Others may hold the key that is missing here: theirs to send, until it is copied.
            Err(Unusable::Keys(error)) => {
                if self.keyless.insert(row.id) {
                    tracing::error!(campaign = row.slug, %error, "the campaign is left to others");
                }
                Ok(())
            }
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
    async fn beat(&mut self) -> store::Result<Life> {
        let now = tokio::time::Instant::now();
        if self.last_beat.is_some_and(|at| now - at < BEAT) {
            return Ok(Life::Goes);
        }
        let mut tx = self.app.db.write().await?;
        if !workers::beat(&mut tx, self.id, &self.seats.trouble()).await? {
            return Ok(Life::Over);
        }
        let all = workers::all(&mut tx).await?;
        tx.commit().await?;
        // Whoever could not look, for the database was away or the machine stood still, has seen nobody stand still.
        let looked = self.last_beat.map_or(Duration::ZERO, |at| (now - at).min(2 * BEAT));
        self.last_beat = Some(now);
        // Now that the database writes again.
        if self.in_doubt.load(Ordering::Relaxed) {
            return Ok(Life::InDoubt);
        }
        let rank = all.iter().position(|(id, _)| *id == self.id).unwrap_or(0);
        self.part = Part { rank, of: all.len() };
        let alive: HashMap<i64, i64> = all.iter().copied().collect();
        self.others.retain(|id, _| alive.contains_key(id));
        for (id, beat) in all.into_iter().filter(|(id, _)| *id != self.id) {
            let stood = match self.others.get(&id) {
                Some((seen, stood)) if *seen == beat => *stood + looked,
                _ => Duration::ZERO,
            };
            self.others.insert(id, (beat, stood));
        }
        let dead: Vec<i64> =
            self.others.iter().filter(|(_, (_, stood))| *stood > DEAD_AFTER).map(|(id, _)| *id).collect();
        if !dead.is_empty() {
            self.bury(|id| dead.contains(&id)).await?;
        }
        self.look_after().await?;
        Ok(Life::Goes)
    }

    /// With each beat: groups that stayed quiet get more, campaigns that must not go on are stopped,
    /// and what was counted of past hours and days is forgotten.
    async fn look_after(&mut self) -> store::Result<()> {
        let now = self.app.now().as_millisecond();
        let mut tx = self.app.db.read().await?;
        let standings = groups::all(&mut tx).await?;
        let running = campaigns::in_state(&mut tx, CampaignState::Running).await?;
        let window = self.app.config.limits.recovery;
        let mut better = Vec::new();
        for (name, standing) in standings {
            let accepted = outcomes::accepted_by(&mut tx, &name).await?;
            match standing.progress(accepted, window, now) {
                Progress::Stays => {}
                progress => better.push((name, standing.stepped_at, progress)),
            }
        }
        drop(tx);
        for (name, stepped_at, progress) in better {
            let mut tx = self.app.db.write().await?;
            // Another worker may have seen the same in this moment, or the provider pushed back again.
            if groups::hold(&mut tx, &name).await?.is_none_or(|standing| standing.stepped_at != stepped_at) {
                continue;
            }
            match progress {
                Progress::Steps(standing) => groups::put(&mut tx, &name, &standing).await?,
                _ => {
                    groups::remove(&mut tx, &name, stepped_at).await?;
                    tracing::info!(group = name, "a provider group is well again");
                }
            }
            tx.commit().await?;
        }
        for campaign in running {
            stops::judge(&self.app, campaign.id).await?;
        }
        if self.part.rank == 0 && self.swept.is_none_or(|at| at.elapsed() > SWEEP) {
            self.swept = Some(tokio::time::Instant::now());
            let mut tx = self.app.db.write().await?;
            buckets::forget(&mut tx, now - 86_400_000).await?;
            domains::forget(&mut tx, now - 30 * 86_400_000).await?;
            tx.commit().await?;
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
            // Off the list first: that waits for what it has under way, and lets nothing new begin.
            workers::remove(&mut tx, id).await?;
            let (requeued, unknown) = deliveries::abandon(&mut tx, id, now).await?;
            tracing::warn!(worker = id, requeued, unknown, "a worker died; its claims are taken over");
        }
        for id in deliveries::orphans(&mut tx).await? {
            let (_, unknown) = deliveries::abandon(&mut tx, id, now).await?;
            tracing::warn!(worker = id, unknown, "a worker left something on the wire");
        }
        tx.commit().await
    }

    /// Lets the campaigns' tasks and the wire end, then leaves the list. With the database away the
    /// others, or the next start, find what is left here.
    async fn drain(mut self) {
        for (_, task) in self.running.drain() {
            let _ = task.await;
        }
        self.seats.finished().await;
        drop(self.gate);
        self.keeper.finished().await;
        let left = async {
            let mut tx = self.app.db.write().await?;
            workers::remove(&mut tx, self.id).await?;
            deliveries::abandon(&mut tx, self.id, self.app.now().as_millisecond()).await?;
            tx.commit().await?;
            self.app.db.carry_log(Carry::Rarely).await
        };
        match in_time(left).await {
            Ok(()) => tracing::info!(worker = self.id, "worker stopped, nothing left in hand"),
            Err(error) => {
                tracing::error!(worker = self.id, %error, "worker stopped; what it held is still in its name")
            }
        }
    }
}

/// Whether a worker may go on under its name.
#[derive(PartialEq)]
enum Life {
    Goes,
    /// Others took it off the list.
    Over,
    /// Something may stand in its name that it does not know of, and nobody takes over from the living.
    InDoubt,
}
