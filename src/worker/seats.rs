//! Seats: connections to the mail server, each with one message on the wire and a few at hand.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    runtime::{Builder, Handle},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};

use super::{gatekeeper::Gate, stopped};
use crate::{
    app::App,
    cpu,
    domain::{
        campaigns::DeliveryState,
        replies::{self, Reply, ReplyClass},
        retry,
    },
    mail::smtp::{Begun, Connection, Server, SmtpError, SubmitOutcome, Timeouts},
    pipeline::deliver::{
        Job,
        gate::{Ended, Pushed},
    },
    store::deliveries,
};

/// A connection that had nothing to do for so long is closed politely.
const IDLE: Duration = Duration::from_secs(20);
/// A message waits for the next one, to be sent with it in one round trip: as long as that round trip takes, and so long
/// at least …
const TOGETHER: Duration = Duration::from_millis(2);
/// … and at most, or while it is not known.
const TOGETHER_AT_MOST: Duration = Duration::from_millis(10);
/// So much is asked for ahead as goes within this time …
const AHEAD: Duration = Duration::from_millis(40);
/// … and no more than so many messages.
const MOST_AHEAD: u128 = 16;
/// Messages a connection carries at most before it is closed politely, and half as many at least: connections that
/// were opened together do not end together.
const MESSAGES_PER_CONNECTION: usize = 500;
/// Seats that share a thread at least, where there are so many. Each thread waits for the mail server by itself: where one
/// has to wait for the processor, the others' connections go on (decision 0012).
const SEATS_A_THREAD: usize = 8;
/// Before such a thread waits for answers of a mail server on the same machine it rests so long, if one more comes meanwhile:
/// they are dealt with together, and the server is spared the waking, which costs it more than the answer (decision 0014).
const REST: Duration = Duration::from_micros(400);
/// Where a message takes less, everything waits for the processor, and a rest is one wait more.
const QUICK: Duration = Duration::from_millis(2);
/// Longest wait between two attempts to connect.
const RECONNECT: Duration = Duration::from_secs(30);
/// A connection that is not open by then is said to be missing.
const SLOW_TO_OPEN: Duration = Duration::from_secs(5);
/// How long the server's answer is waited for once the worker is told to stop. What has none by then
/// is unknown.
const DRAIN: Duration = Duration::from_secs(20);

/// A message that the server never got is given up with the time and after so many attempts.
const ATTEMPTS: i64 = 5;

/// The seats of a worker.
pub struct Seats {
    /// Those that share a thread.
    rows: Vec<JoinHandle<()>>,
    way: Arc<Way>,
}

/// The way to the mail server, as its seats find it.
#[derive(Default)]
struct Way {
    /// Connections that are open: with one of them something leaves, though the server takes no more.
    open: AtomicUsize,
    /// Why the last seat that wanted a connection has none; empty: it has.
    trouble: Mutex<String>,
}

impl Seats {
    /// Makes the seats; a connection is opened when there is something to send.
    pub fn open(app: &App, server: Server, gate: &Gate, stop: &watch::Receiver<bool>) -> Seats {
        let connections = app.config.smtp.connections;
        let is_beside = server.is_loopback();
        let (server, way) = (Arc::new(server), Arc::<Way>::default());
        let seat = |n: usize, row: &Arc<Row>| Seat {
            app: app.clone(),
            server: Arc::clone(&server),
            way: Arc::clone(&way),
            gate: gate.clone(),
            stop: stop.clone(),
            told: Told::new(stop.clone()),
            jitter: SmallRng::seed_from_u64(app.now().as_millisecond() as u64 ^ (n as u64) << 48),
            next: VecDeque::new(),
            each: None,
            row: Arc::clone(row),
            leaving: false,
            most: MESSAGES_PER_CONNECTION,
            carried: 0,
            carried_of: HashMap::new(),
        };
        let threads = cpu::cores().min(connections.div_ceil(SEATS_A_THREAD));
        let rows = (0..threads)
            .map(|first| {
                let places = (first..connections).step_by(threads);
                let beside = if is_beside { places.len() as u32 } else { 0 };
                let row = Arc::new(Row { beside, ..Row::default() });
                let seats: Vec<Seat> = places.map(|n| seat(n, &row)).collect();
                tokio::task::spawn_blocking(move || sit(seats, row))
            })
            .collect();
        Seats { rows, way }
    }

    /// What keeps them from the mail server; empty: nothing.
    pub fn trouble(&self) -> String {
        match self.way.open.load(Ordering::Relaxed) {
            0 => self.way.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            _ => String::new(),
        }
    }

    /// Waits until every seat has ended what it had in hand. They end once the worker is told to stop.
    pub async fn finished(self) {
        for row in self.rows {
            let _ = row.await;
        }
    }
}

/// What the seats of a thread have in common.
#[derive(Default)]
struct Row {
    /// How many there are with a server on the same machine; 0: it is elsewhere.
    beside: u32,
    /// How long a message took one of them lately, in microseconds; 0: not known yet.
    each: AtomicU64,
}

impl Row {
    fn took(&self, each: Duration) {
        self.each.store(each.as_micros() as u64, Ordering::Relaxed);
    }

    /// How long the thread rests before it waits.
    fn rest(&self) -> Option<Duration> {
        let each = Duration::from_micros(self.each.load(Ordering::Relaxed));
        (QUICK..=REST * self.beside).contains(&each).then_some(REST)
    }
}

/// Serves `seats` on this thread until all have ended.
fn sit(seats: Vec<Seat>, row: Arc<Row>) {
    let all = async {
        let mut tasks: JoinSet<()> = seats.into_iter().map(Seat::run).collect();
        while tasks.join_next().await.is_some() {}
    };
    let rest = move || row.rest().into_iter().for_each(std::thread::sleep);
    match Builder::new_current_thread().enable_all().on_thread_park(rest).build() {
        Ok(own) => own.block_on(all),
        Err(error) => {
            tracing::warn!(%error, "no event loop for the connections alone; they share the program's");
            Handle::current().block_on(all);
        }
    }
}

struct Seat {
    app: App,
    server: Arc<Server>,
    way: Arc<Way>,
    gate: Gate,
    stop: watch::Receiver<bool>,
    told: Told,
    jitter: SmallRng,
    /// The next jobs that may go, asked for ahead.
    next: VecDeque<oneshot::Receiver<Box<Job>>>,
    /// How long a message takes here, lately; none: not known yet.
    each: Option<Duration>,
    row: Arc<Row>,
    /// The connection ends: nothing more is asked for.
    leaving: bool,
    /// Messages that the connection carries at most.
    most: usize,
    carried: usize,
    /// Of these, by provider group, where a group limits them.
    carried_of: HashMap<String, u32>,
}

/// The word to stop, which a seat listens for as long as it lasts: to begin to with each message costs more.
struct Told(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Told {
    fn new(mut stop: watch::Receiver<bool>) -> Told {
        Told(Some(Box::pin(async move { stopped(&mut stop).await })))
    }

    async fn wait(&mut self) {
        if let Some(word) = &mut self.0 {
            word.await;
            self.0 = None;
        }
    }
}

/// Why a seat waits for nothing more.
struct NoMore;

impl Seat {
    /// Connects when there is work, asks the gate then, and submits at once: nothing waits between the
    /// last decision and the wire.
    async fn run(mut self) {
        while self.gate.called().await {
            let Some(mut connection) = self.connect().await else { break };
            self.way.open.fetch_add(1, Ordering::Relaxed);
            (self.carried, self.leaving) = (0, false);
            self.most = self.jitter.random_range(MESSAGES_PER_CONNECTION / 2..=MESSAGES_PER_CONNECTION);
            self.carried_of.clear();
            while connection.is_usable() && self.carried < self.most {
                match self.wait(IDLE).await {
                    Ok(Some(job)) => self.carry(&mut connection, job).await,
                    Ok(None) => break,
                    Err(NoMore) => return connection.quit().await,
                }
            }
            // Some may have been let through in this moment: they go before the connection does.
            self.leaving = true;
            while let Some(mut next) = self.next.pop_front() {
                next.close();
                match next.try_recv() {
                    Ok(job) if connection.is_usable() && self.may_leave(&job) => self.carry(&mut connection, job).await,
                    Ok(job) => self.never_left(&job),
                    Err(_) => {}
                }
            }
            self.way.open.fetch_sub(1, Ordering::Relaxed);
            connection.quit().await;
        }
    }

    /// Submits `job`, and as long as there is a next one at hand, each with the envelope of the next.
    async fn carry(&mut self, connection: &mut Connection, mut job: Box<Job>) {
        if let Some(refusal) = connection.too_large(&job.message) {
            return self.ended(&job, refusal);
        }
        let mut begun = self.bounded(pin!(connection.begin(&job.envelope))).await;
        loop {
            self.carry_one(&job);
            match begun.take() {
                Some(Begun::Ready) => {}
                Some(Begun::Refused { reply, stage }) => {
                    return self.ended(&job, SubmitOutcome::Refused { reply, stage });
                }
                Some(Begun::NotSent(error)) => return self.ended(&job, SubmitOutcome::NotSent(error)),
                None => return self.ended(&job, SubmitOutcome::NotSent(SmtpError::Timeout("the envelope"))),
            }
            let next = match self.carried < self.most {
                true => self.wait(self.together()).await.unwrap_or(None),
                false => None,
            };
            let too_large = next.as_ref().and_then(|next| connection.too_large(&next.message));
            let Some(next) = self.unless_refused(next, too_large) else {
                let outcome = self.bounded(pin!(connection.finish(&job.message))).await;
                return self
                    .ended(&job, outcome.unwrap_or(SubmitOutcome::Unknown(SmtpError::Timeout("the final dot"))));
            };
            self.ask(1);
            let began = Instant::now();
            let both = self.bounded(pin!(connection.finish_and_begin(&job.message, &next.envelope))).await;
            let Some((outcome, next_begun)) = both else {
                // Nothing of the next was more than an envelope.
                self.ended(&job, SubmitOutcome::Unknown(SmtpError::Timeout("the final dot")));
                return self.ended(&next, SubmitOutcome::NotSent(SmtpError::Timeout("the envelope")));
            };
            self.ended(&job, outcome);
            let took = began.elapsed();
            let each = self.each.map_or(took, |each| (each * 3 + took) / 4);
            self.row.took(each);
            self.each = Some(each);
            (job, begun) = (next, Some(next_begun));
        }
    }

    /// Counts a message that the connection carries; one that has carried enough for a provider carries no more.
    fn carry_one(&mut self, job: &Job) {
        self.carried += 1;
        let group = job.turn.place.group().name();
        let limits = self.app.config.limits.group(group);
        if let Some(most) = limits.and_then(|limits| limits.messages_per_connection) {
            let carried = self.carried_of.entry(group.to_owned()).or_default();
            *carried += 1;
            if *carried >= most {
                self.carried = self.most;
            }
        }
    }

    /// How long the next one is waited for.
    fn together(&self) -> Duration {
        self.each.map_or(TOGETHER_AT_MOST, |each| each.clamp(TOGETHER, TOGETHER_AT_MOST))
    }

    fn unless_refused(&mut self, job: Option<Box<Job>>, refusal: Option<SubmitOutcome>) -> Option<Box<Job>> {
        let (Some(job), Some(refusal)) = (&job, refusal) else { return job };
        self.ended(job, refusal);
        None
    }

    /// Asks for as many jobs ahead as go within a few milliseconds, at least one: the gate lets many pass
    /// in one commit, and what has passed must not wait. `carrying`: those in hand that are not counted yet.
    fn ask(&mut self, carrying: usize) {
        let fit = self.each.map_or(1, |each| AHEAD.as_micros() / each.as_micros().max(1));
        let ahead = fit.clamp(1, MOST_AHEAD) as usize;
        let left = self.most.saturating_sub(self.carried + carrying);
        while !self.leaving && self.next.len() < ahead.min(left) {
            self.next.push_back(self.gate.next(self.next.len()));
        }
    }

    /// The next job that may go, asked for now unless it was before; None: none so far. What was asked for ahead
    /// and whose provider has pushed back since does not go.
    async fn wait(&mut self, limit: Duration) -> Result<Option<Box<Job>>, NoMore> {
        loop {
            self.ask(0);
            if self.next.is_empty() {
                return Ok(None);
            }
            let Ok(given) = timeout(limit, first(&mut self.next)).await else { return Ok(None) };
            let job = given?;
            if self.may_leave(&job) {
                return Ok(Some(job));
            }
            self.never_left(&job);
        }
    }

    /// Its provider has not pushed back since it passed the gate.
    fn may_leave(&self, job: &Job) -> bool {
        !job.turn.place.group().is_suspended(self.app.now().as_millisecond())
    }

    /// What the server's conversation comes to; None when the worker must stop and it takes too long. Pinned by the
    /// caller: a conversation is large, and would be copied on its way here.
    async fn bounded<T>(&mut self, mut talk: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        tokio::select! {
            biased;
            said = &mut talk => return Some(said),
            () = self.told.wait() => {}
        }
        timeout(DRAIN, talk).await.ok()
    }

    /// Until there is a connection: with the server away, messages wait unsubmitted. None: told to stop.
    async fn connect(&mut self) -> Option<Connection> {
        let mut wait = Duration::from_millis(500);
        let mut stop = self.stop.clone();
        loop {
            let mut opening = pin!(Connection::open(&self.server, Timeouts::default()));
            let opened = tokio::select! {
                opened = &mut opening => opened,
                () = stopped(&mut stop) => return None,
                () = tokio::time::sleep(SLOW_TO_OPEN) => {
                    self.note("it does not answer".to_owned());
                    tokio::select! {
                        opened = &mut opening => opened,
                        () = stopped(&mut stop) => return None,
                    }
                }
            };
            match opened {
                Ok(connection) => {
                    self.note(String::new());
                    return Some(connection);
                }
                Err(error) => {
                    self.note(error.to_string());
                    // Nothing leaves until somebody sees to it, such as to a password.
                    match error.is_permanent() {
                        true => tracing::error!(%error, "the mail server lets nobody in; trying again"),
                        false => tracing::warn!(%error, "no connection to the mail server; trying again"),
                    }
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

    /// Notes what keeps it from the mail server, for whoever asks why nothing leaves.
    fn note(&self, trouble: String) {
        *self.way.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// A job that passed the gate and does not go, for its connection broke or its provider pushed back: due again
    /// at once.
    fn never_left(&self, job: &Job) {
        let outcome = deliveries::Outcome::postponed(job.contact_id, self.app.now().as_millisecond());
        self.gate.record(Ended::of(job, None, outcome));
    }

    /// What an outcome makes of the delivery, and what the answer says of its provider.
    fn ended(&mut self, job: &Job, outcome: SubmitOutcome) {
        let now = self.app.now().as_millisecond();
        let attempts = job.attempts + 1;
        let wait = retry::delay(attempts, self.jitter.random());
        let group = job.turn.place.group();
        let (mut class, mut pushed) = (None, None);
        let (state, reply) = match outcome {
            SubmitOutcome::Accepted(reply) => {
                group.hear(&reply, None, now, std::time::Instant::now());
                (DeliveryState::Accepted, kept(&reply, job))
            }
            SubmitOutcome::Refused { reply, stage } => {
                let judged = replies::classify(&reply, stage);
                class = Some(judged);
                let heard = group.hear(&reply, class, now, std::time::Instant::now());
                let text = kept(&reply, job);
                let is_final = !reply.is_transient() || self.is_given_up(job, now, wait);
                pushed = heard.map(|(push, seen)| Pushed { push, seen, reply });
                (if is_final { DeliveryState::Bounced } else { DeliveryState::Deferred }, text)
            }
            SubmitOutcome::NotSent(error) if attempts >= ATTEMPTS && self.is_given_up(job, now, wait) => {
                (DeliveryState::Bounced, error.to_string())
            }
            SubmitOutcome::NotSent(error) => (DeliveryState::Deferred, error.to_string()),
            SubmitOutcome::Unknown(error) => (DeliveryState::Unknown, error.to_string()),
        };
        let deferred = state == DeliveryState::Deferred;
        let bounce_class = match (state, class, reply.starts_with('4')) {
            (DeliveryState::Bounced, Some(ReplyClass::Full), _) => "full",
            // What was refused for now until the time was up, or never arrived, says nothing for good.
            (DeliveryState::Bounced, None, _) | (DeliveryState::Bounced, _, true) => "soft",
            (DeliveryState::Bounced, Some(class), false) => class.as_str(),
            _ => "",
        };
        let outcome = deliveries::Outcome {
            contact_id: job.contact_id,
            state,
            next_attempt_at: deferred.then(|| now + wait.as_millis() as i64),
            ended_at: (!deferred).then_some(now),
            bounce_class: bounce_class.to_owned(),
            reply,
            unsent: 0,
        };
        self.gate.record(Ended { pushed, ..Ended::of(job, class, outcome) });
    }

    /// Whether a delivery waited long enough since it was first tried.
    fn is_given_up(&self, job: &Job, now: i64, wait: Duration) -> bool {
        let give_up = Duration::from_secs(u64::from(self.app.config.smtp.give_up_hours) * 3600);
        let since = now - job.turn.first_submitted_at.unwrap_or(now);
        retry::is_given_up(Duration::from_millis(u64::try_from(since).unwrap_or(0)), wait, give_up)
    }
}

/// The first that is given of what was asked for: the gate need not keep the order. `NoMore` only when nothing that
/// was given is left.
async fn first<T>(next: &mut VecDeque<oneshot::Receiver<T>>) -> Result<T, NoMore> {
    poll_fn(|context| {
        let (mut at, mut is_over) = (0, false);
        while let Some(asked) = next.get_mut(at) {
            match Pin::new(asked).poll(context) {
                Poll::Ready(given) => {
                    next.remove(at);
                    match given {
                        Ok(given) => return Poll::Ready(Ok(given)),
                        Err(_) => is_over = true,
                    }
                }
                Poll::Pending => at += 1,
            }
        }
        if is_over { Poll::Ready(Err(NoMore)) } else { Poll::Pending }
    })
    .await
}

/// The server's words, without the address that they may repeat: they are written after an erasure too.
fn kept(reply: &Reply, job: &Job) -> String {
    job.envelope.to.hidden_in(reply.line())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_rests_where_one_more_answer_comes_meanwhile() {
        let rests = |beside, millis: f64| {
            let row = Row { beside, ..Row::default() };
            assert_eq!(row.rest(), None, "nothing is known yet");
            row.took(Duration::from_secs_f64(millis / 1000.0));
            row.rest().is_some()
        };
        assert_eq!(
            [1.9, 2.0, 3.3, 6.4, 6.5, 60.0].map(|millis| rests(16, millis)),
            [false, true, true, true, false, false]
        );
        assert_eq!([2.0, 3.2, 3.3].map(|millis| rests(8, millis)), [true, true, false]);
        assert!(!rests(0, 3.3), "the server is elsewhere");
    }

    #[tokio::test]
    async fn what_was_given_is_taken_before_it_is_over() {
        let (mut gives, mut next): (Vec<_>, VecDeque<_>) = (0..4).map(|_| oneshot::channel::<u32>()).unzip();
        gives.pop().unwrap().send(7).unwrap();
        drop(gives.remove(0));
        assert_eq!(first(&mut next).await.ok(), Some(7));
        gives.pop().unwrap().send(8).unwrap();
        assert_eq!(first(&mut next).await.ok(), Some(8));
        assert!(timeout(Duration::ZERO, first(&mut next)).await.is_err());
        drop(gives);
        assert!(first(&mut next).await.is_err());
    }
}
