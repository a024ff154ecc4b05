//! The desk: presses that come together share one transaction, and none is refused.
//!
//! A press is answered once it is on disk: in the database, or in the journal while the database is
//! away or does not answer in time. Whoever hangs up before the answer has pressed all the same.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    app::App,
    pipeline::press::{self, Press, Pressed},
    store,
};

/// Presses that wait, at most; whoever comes then waits to be let in.
const QUEUE: usize = 4096;
/// How long a press waits for the database before it goes into the journal.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a transaction goes on taking whoever comes, at most: others want to write, too.
const TURN: Duration = Duration::from_millis(10);
/// How often a database that is away is looked for.
const AGAIN: Duration = Duration::from_millis(200);

/// The way to the desk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    end: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
}

/// What became of the presses of one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// In the database.
    Written(Vec<Pressed>),
    /// In the journal: promised, and applied before anything else is decided.
    Noted,
    /// Nowhere: neither the database nor the journal can be written.
    Failed,
}

#[derive(Debug)]
enum Ask {
    Press(Vec<Press>, oneshot::Sender<Answer>),
    Close,
}

impl Desk {
    /// Opens a desk that writes the presses of so many requests in one transaction, at most. It ends when
    /// every clone of it is gone, or when it is closed.
    pub fn open(app: App, together: usize) -> Desk {
        let (asks, inbox) = mpsc::channel(QUEUE);
        let (closed, end) = oneshot::channel();
        let clerk = Clerk { app, together, waited: Duration::ZERO, returning: None };
        let runtime = Handle::current();
        let work = move || {
            runtime.block_on(clerk.work(inbox));
            let _ = closed.send(());
        };
        // A thread of its own: as a task it would wait at every answer of the database for its turn among
        // the requests that wait for it.
        thread::Builder::new().name("desk".into()).spawn(work).expect("a thread can be started");
        Desk { asks, end: Arc::new(Mutex::new(Some(end))) }
    }

    /// Hands in the presses of one request, which are written together, and waits until they are on disk.
    pub async fn press(&self, presses: Vec<Press>) -> Answer {
        let (answer, answered) = oneshot::channel();
        if let Err(error) = self.asks.try_send(Ask::Press(presses, answer)) {
            let mpsc::error::TrySendError::Full(ask) = error else { return Answer::Failed };
            let asks = self.asks.clone();
            // In a task of its own: whoever hangs up while waiting to be let in has pressed.
            tokio::spawn(async move { asks.send(ask).await });
        }
        answered.await.unwrap_or(Answer::Failed)
    }

    /// Ends what was handed in, then closes.
    pub async fn close(&self) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(end) = end {
            let _ = self.asks.send(Ask::Close).await;
            let _ = end.await;
        }
    }
}

/// Requests that are answered together.
#[derive(Default)]
struct Batch {
    presses: Vec<Press>,
    /// How many of the presses are each one's, in their order.
    waiting: Vec<(usize, oneshot::Sender<Answer>)>,
    closing: bool,
}

impl Batch {
    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Press(some, answer) => {
                self.waiting.push((some.len(), answer));
                self.presses.extend(some);
            }
            Ask::Close => self.closing = true,
        }
    }

    /// Takes whoever waits, up to so many.
    fn fill(&mut self, inbox: &mut mpsc::Receiver<Ask>, together: usize) {
        while !self.closing
            && self.waiting.len() < together
            && let Ok(ask) = inbox.try_recv()
        {
            self.take(ask);
        }
    }
}

struct Clerk {
    app: App,
    /// Requests of one transaction, at most.
    together: usize,
    /// How long the last batch waited to begin, and for the disk.
    waited: Duration,
    /// While the database is away: whoever waits for its return, and applies the journal then.
    returning: Option<JoinHandle<()>>,
}

impl Clerk {
    async fn work(mut self, mut inbox: mpsc::Receiver<Ask>) {
        if !self.app.journal.mark().is_ok_and(|mark| mark.is_empty()) {
            self.wait_for_return();
        }
        let mut closing = false;
        while !closing {
            let Some(first) = inbox.recv().await else { break };
            let mut batch = Batch::default();
            batch.take(first);
            batch.fill(&mut inbox, self.together);
            if !batch.waiting.is_empty() {
                self.answer(&mut batch, &mut inbox).await;
            }
            closing = batch.closing;
        }
        if let Some(returning) = self.returning {
            returning.abort();
        }
    }

    async fn answer(&mut self, batch: &mut Batch, inbox: &mut mpsc::Receiver<Ask>) {
        let written = if self.is_away() { None } else { self.write(batch, inbox).await };
        let waiting = std::mem::take(&mut batch.waiting);
        match written {
            Some(pressed) => {
                let mut pressed = pressed.into_iter();
                for (n, answer) in waiting {
                    // Whoever hung up needs no answer.
                    let _ = answer.send(Answer::Written(pressed.by_ref().take(n).collect()));
                }
            }
            None => {
                let presses = std::mem::take(&mut batch.presses);
                let answer = if self.note(presses).await { Answer::Noted } else { Answer::Failed };
                for (_, waits) in waiting {
                    let _ = waits.send(answer.clone());
                }
            }
        }
    }

    /// Into the database; none when it fails or takes too long, and is away from then on. A commit
    /// whose answer is lost does no harm: what is written twice is written once.
    async fn write(&mut self, batch: &mut Batch, inbox: &mut mpsc::Receiver<Ask>) -> Option<Vec<Pressed>> {
        match timeout(PATIENCE, self.commit(batch, inbox)).await {
            Ok(Ok(pressed)) => return Some(pressed),
            Ok(Err(error)) => tracing::error!(%error, "the database fails; refusals go into the journal"),
            Err(_) => tracing::error!("the database does not answer in time; refusals go into the journal"),
        }
        self.wait_for_return();
        None
    }

    /// Writes a batch. As long as a batch is waited for longer than it is written, whoever comes in the meantime goes
    /// with it; beyond that they are better read and answered beside the next one.
    async fn commit(&mut self, batch: &mut Batch, inbox: &mut mpsc::Receiver<Ask>) -> store::Result<Vec<Pressed>> {
        let asked = Instant::now();
        let mut tx = self.app.db.write().await?;
        let begun = Instant::now();
        let mut pressed = Vec::new();
        batch.fill(inbox, self.together);
        while pressed.len() < batch.presses.len() {
            pressed.extend(press::write_in(&self.app, &mut tx, &batch.presses[pressed.len()..]).await?);
            // Where several write, each locks its people once and in order, or two could wait for each other.
            if self.app.db.is_sqlite() && begun.elapsed() < self.waited.min(TURN) {
                batch.fill(inbox, self.together);
            }
        }
        let written = Instant::now();
        tx.commit().await?;
        self.waited = (begun - asked) + written.elapsed();
        Ok(pressed)
    }

    /// Into the journal; false when that fails, too.
    async fn note(&self, presses: Vec<Press>) -> bool {
        let app = self.app.clone();
        match tokio::task::spawn_blocking(move || press::note(&app, &presses)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "the journal cannot be written; refusals are answered 503");
                false
            }
            Err(_) => false,
        }
    }

    fn is_away(&mut self) -> bool {
        if self.returning.as_ref().is_some_and(JoinHandle::is_finished) {
            self.returning = None;
        }
        self.returning.is_some()
    }

    fn wait_for_return(&mut self) {
        let app = self.app.clone();
        self.returning.get_or_insert_with(|| {
            tokio::spawn(async move {
                let mut tries = 0u32;
                while let Err(error) = press::settle(&app).await {
                    // Said at once, and then twice a minute: it may last.
                    if tries.is_multiple_of(150) {
                        tracing::warn!(%error, "the journal waits for the database");
                    }
                    tries += 1;
                    sleep(AGAIN).await;
                }
            })
        });
    }
}
