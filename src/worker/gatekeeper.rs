//! Brings the seats' jobs through the gate together: one commit for as many as wait.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    app::App,
    pipeline::deliver::{
        Job,
        gate::{self, Ended, Verdict},
    },
};

/// How many jobs and records go through in one transaction, at most. With it the number of
/// deliveries that a sudden death leaves unknown stays small.
const TOGETHER: usize = 64;
/// How long to wait after the database failed.
const AGAIN: Duration = Duration::from_millis(500);

/// The way to the gate; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    asks: mpsc::Sender<Ask>,
    task: std::sync::Arc<std::sync::Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
enum Ask {
    /// May this job go?
    Pass(Box<Job>, oneshot::Sender<(Box<Job>, Verdict)>),
    /// This is what became of one that went.
    Record(Box<Ended>),
    /// No more will come.
    Close,
}

impl Gate {
    /// Opens a gate for a worker.
    pub fn open(app: App, worker: i64) -> Gate {
        let (asks, inbox) = mpsc::channel(4 * TOGETHER);
        let task = tokio::spawn(keep(app, worker, inbox));
        Gate { asks, task: std::sync::Arc::new(std::sync::Mutex::new(Some(task))) }
    }

    /// Asks whether a job may go; gives it back with the verdict. `ended` is recorded before.
    pub async fn pass(&self, job: Job) -> Option<Job> {
        let (answer, verdict) = oneshot::channel();
        self.asks.send(Ask::Pass(Box::new(job), answer)).await.ok()?;
        match verdict.await {
            Ok((job, Verdict::Go)) => Some(*job),
            Ok((_, Verdict::Stop)) | Err(_) => None,
        }
    }

    /// Records what became of a job. Returns before it is on disk: until then it counts as submitting.
    pub async fn record(&self, ended: Ended) {
        let _ = self.asks.send(Ask::Record(Box::new(ended))).await;
    }

    /// Waits until everything is recorded.
    pub async fn close(&self) {
        let _ = self.asks.send(Ask::Close).await;
        let task = self.task.lock().expect("no holder panics").take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

async fn keep(app: App, worker: i64, mut inbox: mpsc::Receiver<Ask>) {
    let mut open = true;
    while open {
        let mut asks = Vec::with_capacity(TOGETHER);
        if inbox.recv_many(&mut asks, TOGETHER).await == 0 {
            return;
        }
        let (mut jobs, mut answers, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for ask in asks {
            match ask {
                Ask::Pass(job, answer) => {
                    jobs.push(*job);
                    answers.push(answer);
                }
                Ask::Record(end) => ended.push(*end),
                Ask::Close => open = false,
            }
        }
        let verdicts = pass(&app, worker, &jobs, &ended).await;
        for ((job, answer), verdict) in jobs.into_iter().zip(answers).zip(verdicts) {
            let _ = answer.send((Box::new(job), verdict));
        }
    }
}

/// Until the database answers: what ended must be recorded, and nothing may go before it is asked.
async fn pass(app: &App, worker: i64, jobs: &[Job], ended: &[Ended]) -> Vec<Verdict> {
    loop {
        match gate::pass(app, worker, jobs, ended).await {
            Ok(verdicts) => return verdicts,
            Err(error) => {
                tracing::error!(%error, "the gate waits for the database");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
