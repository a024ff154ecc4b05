//! Opens and clicks answer first and are written a moment later, many together. They may be dropped
//! when too many come; what was taken is written before the process ends well.
//!
//! What one recipient's links were asked for within two minutes is kept in memory and compared, so that
//! scanners are told from people; no network address is stored.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until, timeout},
};

use crate::{
    app::App,
    domain::{
        address::AddressHash,
        tracking::{self, Class, MEMORY, Network, Visit},
    },
    pipeline::track::{self, Hit, Turn},
    store::{events::EventKind, opens::Sent},
};

/// Hits that wait to be written, at most; further ones are dropped.
const QUEUE: usize = 20_000;
/// How long a hit waits for others.
const GATHER: Duration = Duration::from_millis(50);
/// A hit of the same thing by the same recipient within so many milliseconds is the same.
const SAME: i64 = 2_000;
/// Recipients whose visits are kept in mind, at most.
const REMEMBERED: usize = 100_000;
/// How often clicks are made last contacts.
const SETTLE: Duration = Duration::from_secs(5);
/// How often what is past its retention is forgotten.
const FORGET: Duration = Duration::from_secs(3600);
/// How long a database that does not answer is waited for; then the hits are dropped.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request for a pixel or a link, or for the page to unsubscribe.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The message.
    pub sent: Sent,
    /// Open or click; an unsubscribe says that its page was looked at, and is never recorded.
    pub kind: EventKind,
    /// Number of the link.
    pub link: Option<u16>,
    /// What asked, by itself.
    pub class: Class,
    /// From where.
    pub network: Network,
    /// When, in milliseconds.
    pub at: i64,
}

/// The way to the recorder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    seen: mpsc::Sender<Option<Seen>>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Recorder {
    /// Opens a recorder. It ends when every clone of it is gone, or when it is closed.
    pub fn open(app: App) -> Recorder {
        let (seen, inbox) = mpsc::channel(QUEUE);
        let task = tokio::spawn(Scribe::new(app).work(inbox));
        Recorder { seen, task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Notes a hit, or drops it when too many wait.
    pub fn see(&self, seen: Seen) {
        let _ = self.seen.try_send(Some(seen));
    }

    /// Writes what was seen, then closes.
    pub async fn close(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = self.seen.send(None).await;
            let _ = task.await;
        }
    }
}

struct Scribe {
    app: App,
    memory: Memory,
    /// Until when people's clicks are last contacts already.
    settled: i64,
}

impl Scribe {
    fn new(app: App) -> Scribe {
        // What the process before this one left undone lies within a day.
        let settled = app.now().as_millisecond() - 86_400_000;
        Scribe { app, memory: Memory::default(), settled }
    }

    async fn work(mut self, mut inbox: mpsc::Receiver<Option<Seen>>) {
        let mut settle = interval(SETTLE);
        settle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forget = interval_at(Instant::now() + FORGET, FORGET);
        let mut batch = Vec::new();
        let mut open = true;
        while open {
            tokio::select! {
                n = inbox.recv_many(&mut batch, QUEUE) => {
                    if n == 0 {
                        break;
                    }
                    sleep_until(Instant::now() + GATHER).await;
                    while batch.len() < QUEUE && let Ok(more) = inbox.try_recv() {
                        batch.push(more);
                    }
                    open = batch.iter().all(Option::is_some);
                    self.write(batch.drain(..).flatten().collect()).await;
                }
                _ = settle.tick() => self.settle().await,
                _ = forget.tick() => self.forget().await,
            }
        }
    }

    async fn write(&mut self, seen: Vec<Seen>) {
        let turn = self.memory.turn(&seen);
        if turn.is_empty() {
            return;
        }
        match timeout(PATIENCE, track::record(&self.app, &turn)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, hits = turn.hits.len(), "opens and clicks are lost: the database fails")
            }
            Err(_) => tracing::warn!(hits = turn.hits.len(), "opens and clicks are lost: the database does not answer"),
        }
    }

    async fn forget(&self) {
        match track::forget_old(&self.app).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "opens and clicks past their retention are forgotten"),
            Err(error) => tracing::warn!(%error, "opens and clicks past their retention wait for the database"),
        }
    }

    async fn settle(&mut self) {
        match timeout(PATIENCE, track::count_contacts(&self.app, self.settled)).await {
            Ok(Ok(until)) => self.settled = until,
            Ok(Err(error)) => tracing::debug!(%error, "clicks wait to become last contacts"),
            Err(_) => tracing::debug!("clicks wait to become last contacts"),
        }
    }
}

/// What recipients' links were asked for lately.
#[derive(Default)]
struct Memory {
    visits: HashMap<Sent, Vec<(Visit, bool)>>,
    opens: HashMap<Sent, i64>,
    swept_at: i64,
}

impl Memory {
    /// What is to be recorded of these, in their order.
    fn turn(&mut self, seen: &[Seen]) -> Turn {
        let mut turn = Turn::default();
        let mut anonymous: BTreeMap<(i64, Class), i64> = BTreeMap::new();
        for one in seen {
            self.sweep(one.at);
            match one.kind {
                EventKind::Open if one.sent.address_hash == AddressHash::NOBODY => {
                    *anonymous.entry((one.sent.campaign_id, one.class)).or_default() += 1;
                }
                EventKind::Open => {
                    let last = self.opens.insert(one.sent, one.at);
                    if last.is_none_or(|last| one.at - last >= SAME) {
                        turn.hits.push(hit(one, one.class));
                    }
                }
                _ => self.visit(one, &mut turn),
            }
        }
        turn.anonymous = anonymous.into_iter().map(|((campaign, class), n)| (campaign, class, n)).collect();
        turn
    }

    /// A link, or the page to unsubscribe.
    fn visit(&mut self, seen: &Seen, turn: &mut Turn) {
        let visits = self.visits.entry(seen.sent).or_default();
        visits.retain(|(visit, _)| seen.at - visit.at <= MEMORY);
        let again =
            visits.iter().any(|(v, _)| v.link == seen.link && v.network == seen.network && seen.at - v.at < SAME);
        visits.push((Visit { at: seen.at, link: seen.link, network: seen.network }, false));
        let scans = tracking::scans(&visits.iter().map(|(visit, _)| *visit).collect::<Vec<_>>());
        let is_scan = scans.last().copied().unwrap_or_default();
        // What was taken for a person's before is a machine's now.
        let turned = visits.iter_mut().zip(&scans).filter(|((_, told), scan)| **scan && !told);
        let (mut from, mut to) = (i64::MAX, i64::MIN);
        for ((visit, told), _) in turned {
            *told = true;
            if visit.link.is_some() {
                (from, to) = (from.min(visit.at), to.max(visit.at));
            }
        }
        if from <= to {
            turn.scans.push((seen.sent, from, to));
        }
        if seen.link.is_some() && !again {
            turn.hits.push(hit(seen, if is_scan { Class::Machine } else { seen.class }));
        }
    }

    /// Forgets what says nothing any more, now and then, and everything when it becomes too much.
    fn sweep(&mut self, now: i64) {
        if self.visits.len() + self.opens.len() > REMEMBERED {
            self.visits.clear();
            self.opens.clear();
        }
        if (now - self.swept_at).abs() < MEMORY {
            return;
        }
        self.swept_at = now;
        self.opens.retain(|_, at| (now - *at).abs() < SAME);
        self.visits.retain(|_, visits| visits.iter().any(|(visit, _)| (now - visit.at).abs() <= MEMORY));
    }
}

fn hit(seen: &Seen, class: Class) -> Hit {
    Hit { sent: seen.sent, kind: seen.kind, class, at: seen.at }
}
