//! Brings jobs through the gate together, one commit for as many as wait, and hands each that passed
//! to a seat that was waiting for it.
//!
//! Seats ask, campaigns offer, and nothing passes without a seat that is connected and ready. How
//! many messages are between the gate and their record is bounded: a sudden death leaves so many
//! unknown and no more.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{FAREWELL, in_time, stopped};
use crate::{
    app::App,
    pipeline::deliver::{
        Job,
        gate::{self, Ended, Verdict},
    },
    pipeline::stops,
    store::deliveries::{self, Wire},
};

/// Messages between the gate and their record, at most, up to a thousand messages a second …
const WINDOW: usize = 64;
/// … and at any rate at most so many; in between, 64 milliseconds' worth.
const WIDEST: usize = 512;
/// Jobs that wait at the gate, at least, and at most half of what may be under way: what is prepared further
/// ahead waits in its campaign.
const QUEUE: usize = 128;
/// While messages go fast, a commit waits until half of those under way have ended, and no more than so many: it
/// costs nearly the same for one as for many, and the others keep the server busy meanwhile …
const GATHER: usize = 128;
/// … but no longer than this once a seat has nothing more at hand.
const HUNGER: Duration = Duration::from_millis(5);
/// How often it looks how many have ended.
const LOOK: Duration = Duration::from_millis(1);
/// Messages a second that are fast.
const FAST: f64 = 500.0;
/// How long to wait after the database failed.
const AGAIN: Duration = Duration::from_millis(250);
/// How long a worker that was told to stop goes on asking a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the gate; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    asks: mpsc::UnboundedSender<Ask>,
    jobs: mpsc::Sender<Box<Job>>,
}

/// The task behind the gate.
#[derive(Debug)]
pub struct Keeper(JoinHandle<()>);

#[derive(Debug)]
enum Ask {
    /// Tell me when there is work that nobody else is ready for.
    Call(oneshot::Sender<()>),
    /// I am connected: give me the next that may go. So many are asked for before it.
    Next(usize, oneshot::Sender<Box<Job>>),
    /// This is what became of one that went.
    Record(Box<Ended>),
    /// So many are offered within a few milliseconds.
    Expect(usize),
}

impl Gate {
    /// Opens a gate for a worker. It lets nothing pass once `stop` says so, and ends when every
    /// clone of it is gone and everything is recorded.
    pub fn open(app: App, worker: i64, stop: watch::Receiver<bool>) -> (Gate, Keeper) {
        // What seats ask is bounded by their number.
        let (asks, inbox) = mpsc::unbounded_channel();
        let (jobs, offers) = mpsc::channel(QUEUE);
        let post = Post {
            app,
            worker,
            stop,
            waiting: VecDeque::new(),
            seats: BTreeMap::new(),
            asked: 0,
            idle: VecDeque::new(),
            wire: Some(Wire::new(worker)),
            patience: PATIENCE,
        };
        // On a thread of its own: as a task it would stand behind the seats' each time the database answers,
        // many times a commit, and everybody waits for it.
        let runtime = Handle::current();
        let keeper = tokio::task::spawn_blocking(move || runtime.block_on(post.keep(inbox, offers)));
        (Gate { asks, jobs }, Keeper(keeper))
    }

    /// So many are offered within a few milliseconds: seats connect meanwhile.
    pub fn expect(&self, n: usize) {
        if n > 0 {
            let _ = self.asks.send(Ask::Expect(n));
        }
    }

    /// Where campaigns offer their jobs.
    pub fn jobs(&self) -> mpsc::Sender<Box<Job>> {
        self.jobs.clone()
    }

    /// Waits until there is work for one more seat. False: there will be none.
    pub async fn called(&self) -> bool {
        let (call, called) = oneshot::channel();
        self.asks.send(Ask::Call(call)).is_ok() && called.await.is_ok()
    }

    /// Asks for the next job that may go. Whoever receives it must submit it and record what became
    /// of it. The receiver fails when no more will come. `before`: how many the seat has asked for and not
    /// begun; whoever has fewer comes first.
    pub fn next(&self, before: usize) -> oneshot::Receiver<Box<Job>> {
        let (give, given) = oneshot::channel();
        let _ = self.asks.send(Ask::Next(before, give));
        given
    }

    /// Records what became of a job. Returns before it is on disk: until then it counts as submitting.
    pub fn record(&self, ended: Ended) {
        let _ = self.asks.send(Ask::Record(Box::new(ended)));
    }
}

impl Keeper {
    /// Waits until everything is recorded.
    pub async fn finished(self) {
        let _ = self.0.await;
    }
}

/// What stands at the gate.
struct Post {
    app: App,
    worker: i64,
    stop: watch::Receiver<bool>,
    /// Jobs that wait for a seat.
    waiting: VecDeque<Box<Job>>,
    /// What seats ask for, by how many they asked for before, then in the order of asking.
    seats: BTreeMap<(usize, u64), oneshot::Sender<Box<Job>>>,
    asked: u64,
    /// Seats that are to be called when there is work.
    idle: VecDeque<oneshot::Sender<()>>,
    /// What is on the wire; none: to be read, for nobody knows whether the last commit came through.
    wire: Option<Wire>,
    /// How long the database is still asked once the worker is told to stop.
    patience: Duration,
}

impl Post {
    async fn keep(mut self, mut inbox: mpsc::UnboundedReceiver<Ask>, mut offers: mpsc::Receiver<Box<Job>>) {
        let (mut asks, mut out, mut pace, mut offered) = (Vec::new(), 0usize, Pace::default(), true);
        // Once it is known here and those who wait are told: the word may come while the database is asked.
        let mut stopping = false;
        // Those that were picked did not go, and others may: nothing more need be asked or offered.
        let mut at_once = false;
        loop {
            let room = pace.queue().saturating_sub(self.waiting.len());
            let mut fresh = Vec::new();
            let mut stop = self.stop.clone();
            if !at_once {
                tokio::select! {
                    n = inbox.recv_many(&mut asks, 4 * WIDEST) => if n == 0 { break },
                    n = offers.recv_many(&mut fresh, room), if room > 0 && offered && !stopping => offered = n > 0,
                    () = stopped(&mut stop), if !stopping => {}
                }
            }
            self.waiting.extend(fresh);
            if !stopping {
                self.gather(&mut inbox, &mut offers, &mut asks, &pace, out);
            }
            hear(&mut inbox, &mut asks);
            let ended = self.sort(asks.drain(..));
            if *self.stop.borrow() {
                // No more goes out: the seats end what they have.
                self.seats.clear();
                self.idle.clear();
                if !stopping {
                    stopping = true;
                    self.give_all_back(&mut offers).await;
                }
            }
            let window = pace.window();
            // What ends now leaves its place to those that pass in the same commit.
            let places = window.saturating_sub(out - ended.len().min(out));
            let ready = self.ready(places.min(self.waiting.len()));
            let jobs = self.pick(ready).await;
            at_once = false;
            if !jobs.is_empty() || !ended.is_empty() {
                out = out.saturating_sub(ended.len());
                pace.count(ended.len());
                let picked = jobs.len();
                let went = self.pass(jobs, ended).await;
                at_once = went < picked && !stopping;
                out += went;
            }
            self.app.meters.stands(self.waiting.len(), out);
            self.call(self.waiting.len());
        }
    }

    /// Takes what is offered and waits for more asks, as long as that holds up nobody.
    fn gather(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Ask>,
        offers: &mut mpsc::Receiver<Box<Job>>,
        asks: &mut Vec<Ask>,
        pace: &Pace,
        out: usize,
    ) {
        hear(inbox, asks);
        self.take(offers, pace.queue());
        let began = Instant::now();
        let (enough, longest) = pace.gather(asks.len(), out);
        let waits_already = self.seats.range(..(1, 0)).next().is_some();
        let is_hungry = |ask: &Ask| matches!(ask, Ask::Next(0, _));
        while asks.len() < enough && began.elapsed() < longest {
            if began.elapsed() >= HUNGER && (waits_already || asks.iter().any(is_hungry)) {
                break;
            }
            // The thread is its own: a timer of the runtime would wake another thread first, to be woken by it.
            std::thread::sleep(LOOK);
            hear(inbox, asks);
            // Each time: campaigns can offer no more at once than fits on the way here.
            self.take(offers, pace.queue());
        }
    }

    /// Takes what is offered, as far as there is room for it.
    fn take(&mut self, offers: &mut mpsc::Receiver<Box<Job>>, queue: usize) {
        while self.waiting.len() < queue
            && let Ok(job) = offers.try_recv()
        {
            self.waiting.push_back(job);
        }
    }

    /// Puts each ask in its place, and returns what is to be recorded.
    fn sort(&mut self, asks: impl Iterator<Item = Ask>) -> Vec<Ended> {
        let mut ended = Vec::new();
        for ask in asks {
            match ask {
                Ask::Call(call) => self.idle.push_back(call),
                Ask::Expect(n) => self.call(n),
                Ask::Next(before, seat) => {
                    self.asked += 1;
                    self.seats.insert((before, self.asked), seat);
                }
                Ask::Record(end) => {
                    end.group.came();
                    ended.push(*end);
                }
            }
        }
        ended
    }

    /// How many seats are ready, as far as `most` of them. Of the others it is only asked once nobody waits for them:
    /// there are hundreds, each somewhere else in memory.
    fn ready(&mut self, most: usize) -> usize {
        if most == 0 {
            self.seats.retain(|_, seat| !seat.is_closed());
            return 0;
        }
        let (mut ready, mut gone) = (0, Vec::new());
        for (turn, seat) in &self.seats {
            if seat.is_closed() {
                gone.push(*turn);
            } else {
                ready += 1;
            }
            if ready == most {
                break;
            }
        }
        gone.iter().for_each(|turn| drop(self.seats.remove(turn)));
        ready
    }

    /// The next jobs that may go, at most `most`. Those of a provider that has no connection free wait,
    /// and hold up nobody behind them; those that must not go now are given back.
    async fn pick(&mut self, most: usize) -> Vec<Box<Job>> {
        let (now, at) = (self.app.now().as_millisecond(), std::time::Instant::now());
        let (mut picked, mut back, mut kept) = (Vec::new(), Vec::new(), VecDeque::new());
        for job in self.waiting.drain(..) {
            let group = job.turn.place.group();
            // While no seat asks, the mail server may be away: then they wait.
            if group.is_suspended(now) || (most > 0 && at > job.turn.until) {
                back.push(job);
            } else if picked.len() < most && group.has_connection() {
                group.goes();
                picked.push(job);
            } else {
                kept.push_back(job);
            }
        }
        self.waiting = kept;
        if !back.is_empty()
            && let Err(error) = gate::give_back(&self.app, self.worker, &back).await
        {
            tracing::error!(%error, "jobs that must not go wait for the database");
            self.waiting.extend(back);
        }
        picked
    }

    /// Told to stop: whatever is offered or waits goes back to the queue, and to what the caps leave. With the database
    /// away it stays claimed, for whoever comes next.
    async fn give_all_back(&mut self, offers: &mut mpsc::Receiver<Box<Job>>) {
        offers.close();
        while let Ok(Some(job)) = timeout(FAREWELL, offers.recv()).await {
            self.waiting.push_back(job);
        }
        let jobs: Vec<_> = self.waiting.drain(..).collect();
        if jobs.is_empty() {
            return;
        }
        if let Err(error) = in_time(gate::give_back(&self.app, self.worker, &jobs)).await {
            tracing::error!(%error, "jobs stay in the worker's name");
        }
    }

    /// One commit, and the jobs on their way. Returns how many went.
    async fn pass(&mut self, mut jobs: Vec<Box<Job>>, ended: Vec<Ended>) -> usize {
        let verdicts = self.ask(&mut jobs, &ended).await;
        self.judge(&ended).await;
        let Some(verdicts) = verdicts else {
            jobs.iter().for_each(|job| job.turn.place.group().came());
            return 0;
        };
        let (mut gone, mut late) = (0, Vec::new());
        for (job, verdict) in jobs.into_iter().zip(verdicts) {
            if verdict == Verdict::Stop {
                job.turn.place.group().came();
                continue;
            }
            gone += 1;
            late.extend(self.give(job));
        }
        if !late.is_empty() {
            // Their seats went away in this moment: they never left, and are due again.
            let now = self.app.now().as_millisecond();
            gone -= late.len();
            late.iter().for_each(|job| job.turn.place.group().came());
            let ended: Vec<Ended> = late
                .iter()
                .map(|job| Ended::of(job, None, deliveries::Outcome::postponed(job.contact_id, now)))
                .collect();
            self.ask(&mut [], &ended).await;
        }
        gone
    }

    /// Hands a job to the seat that has the least and waits longest, or gives it back when none does.
    fn give(&mut self, mut job: Box<Job>) -> Option<Box<Job>> {
        while let Some((_, seat)) = self.seats.pop_first() {
            match seat.send(job) {
                Ok(()) => return None,
                Err(back) => job = back,
            }
        }
        Some(job)
    }

    /// Stops the campaigns that must not go on, as soon as a refusal says so.
    async fn judge(&self, ended: &[Ended]) {
        let grave = ended.iter().filter(|end| stops::is_grave(end.class)).map(|end| end.campaign.id);
        for campaign in grave.collect::<std::collections::BTreeSet<i64>>() {
            if let Err(error) = stops::judge(&self.app, campaign).await {
                // The worker looks again with its next beat.
                tracing::error!(%error, "a campaign could not be judged");
            }
        }
    }

    /// Until the database answers: what ended must be recorded, and nothing may go before it is asked.
    /// None when the worker was told to stop and the database stays away: what is marked as
    /// submitting is then found by whoever comes next, as unknown.
    async fn ask(&mut self, jobs: &mut [Box<Job>], ended: &[Ended]) -> Option<Vec<Verdict>> {
        let (mut again, mut stop, patience) = (false, self.stop.clone(), self.patience);
        let mut given_up = pin!(async {
            stopped(&mut stop).await;
            tokio::time::sleep(patience).await;
        });
        loop {
            let began = Instant::now();
            let passed = tokio::select! {
                passed = gate::pass(&self.app, self.worker, &mut self.wire, jobs, ended, again) => passed,
                () = &mut given_up => {
                    tracing::error!(records = ended.len(), "the database stays away; what was on the wire is unknown");
                    // Whatever is still to be recorded is asked once more, and no longer.
                    self.patience = FAREWELL;
                    return None;
                }
            };
            match passed {
                Ok(Some(verdicts)) => {
                    let passed = verdicts.iter().filter(|verdict| **verdict == Verdict::Go).count();
                    self.app.meters.gate(began.elapsed(), passed);
                    return Some(verdicts);
                }
                Ok(None) => {
                    again = true;
                    continue;
                }
                Err(error) => tracing::error!(%error, "the gate waits for the database"),
            }
            again = true;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Of `jobs` some may find no seat ready that has nothing else at hand: calls an idle one for each.
    fn call(&mut self, jobs: usize) {
        let ready = self.seats.range(..(1, 0)).count();
        for _ in 0..jobs.saturating_sub(ready) {
            let Some(idle) = self.idle.pop_front() else { return };
            let _ = idle.send(());
        }
    }
}

/// Takes what was asked, as much as is dealt with at once.
fn hear(inbox: &mut mpsc::UnboundedReceiver<Ask>, asks: &mut Vec<Ask>) {
    while asks.len() < 4 * WIDEST
        && let Ok(ask) = inbox.try_recv()
    {
        asks.push(ask);
    }
}

/// How many messages a second have ended lately, and so how many may be under way. They end in batches: of two
/// spans the slower counts, or a burst would let more out than may be left unknown.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    counted: usize,
    last: f64,
    per_second: f64,
}

/// The pace is measured over so long …
const SPAN: Duration = Duration::from_millis(40);
/// … or, as long as more may be under way if it grows, over [`WINDOW`] messages, but over so long at least.
const GLANCE: Duration = Duration::from_millis(5);

impl Pace {
    fn count(&mut self, ended: usize) {
        self.counted += ended;
        let since = *self.since.get_or_insert_with(Instant::now);
        self.weigh(since.elapsed());
    }

    /// Takes a span for measured once it says enough.
    fn weigh(&mut self, span: Duration) {
        let is_enough = self.window() < WIDEST && self.counted >= WINDOW && span >= GLANCE;
        if span >= SPAN || is_enough {
            let now = self.counted as f64 / span.as_secs_f64();
            self.per_second = now.min(self.last);
            (self.since, self.counted, self.last) = (Some(Instant::now()), 0, now);
        }
    }

    /// How many asks to wait for, and how long at most, when so many are there and so many messages under way. A
    /// message asks twice: for leave, and to be recorded.
    fn gather(&self, asks: usize, out: usize) -> (usize, Duration) {
        if self.per_second < FAST {
            return (0, Duration::ZERO);
        }
        let enough = (out / 2).min(GATHER);
        let lacking = enough.saturating_sub(asks / 2);
        (2 * enough, Duration::from_secs_f64(lacking as f64 / self.per_second))
    }

    /// How many jobs may wait at the gate.
    fn queue(&self) -> usize {
        QUEUE.max(self.window() / 2)
    }

    fn window(&self) -> usize {
        (self.per_second * WINDOW as f64 / 1000.0).clamp(WINDOW as f64, WIDEST as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_with_the_pace_only() {
        let window = |per_second| Pace { per_second, ..Pace::default() }.window();
        assert_eq!([0.0, 999.0, 1000.0].map(window), [64, 64, 64]);
        assert_eq!((window(4000.0), window(1e6)), (256, 512));
    }

    #[test]
    fn a_pace_is_known_once_two_windows_ended() {
        let mut pace = Pace::default();
        let mut ended = |n: usize, millis| {
            pace.counted += n;
            pace.weigh(Duration::from_millis(millis));
            pace.per_second
        };
        // One window, too soon; then long enough; then another.
        assert_eq!([ended(64, 1), ended(0, 8), ended(64, 10)], [0.0, 0.0, 6400.0]);
        // It may still grow; once it cannot, it is looked at less often.
        assert_eq!([ended(64, 4), ended(16, 5), ended(160, 16)], [6400.0, 6400.0, 10_000.0]);
        assert_eq!([ended(64, 39), ended(64, 40)], [10_000.0, 3200.0]);
        // Of a burst, the slower span counts.
        let mut burst = Pace { counted: 64, ..Pace::default() };
        burst.weigh(Duration::from_millis(5));
        burst.counted = 40;
        burst.weigh(Duration::from_millis(40));
        assert_eq!((burst.per_second, burst.window()), (1000.0, 64));
    }

    #[test]
    fn a_commit_waits_for_half_of_those_under_way_while_messages_go_fast() {
        let gather = |per_second, asks, out| Pace { per_second, ..Pace::default() }.gather(asks, out);
        assert_eq!(gather(100.0, 0, 64), (0, Duration::ZERO));
        assert_eq!(gather(1000.0, 0, 64), (64, Duration::from_millis(32)));
        assert_eq!(gather(1000.0, 40, 64), (64, Duration::from_millis(12)));
        assert_eq!(gather(1000.0, 80, 64), (64, Duration::ZERO));
        // No more than so many, however many are under way.
        assert_eq!(gather(10_000.0, 0, 512), (256, Duration::from_micros(12_800)));
    }
}
