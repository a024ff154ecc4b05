//! Workers that die, or are taken for dead.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ouinon::{
    domain::campaigns::DeliveryState::{Accepted, Queued, Submitting, Unknown},
    mail::catcher::{Action, What},
    store::{deliveries, workers},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::run::{PATIENCE, Worker, assert_once_each, launched, server, states, until};
use crate::world::{World, on_both};

/// The real program as a worker of the story's installation.
pub fn program(world: &World, smtp: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ouinon"))
        .args(["serve", "--role", "worker"])
        .current_dir(world.folder())
        .env("OUINON_DATABASE_URL", secrecy::ExposeSecret::expose_secret(&world.app.config.database.url))
        .env("OUINON_SMTP_URL", smtp)
        .env("OUINON_SMTP_CONNECTIONS", "8")
        .env("OUINON_PUBLIC_URL", "https://mail.example.org")
        .env("OUINON_CONTROLLER_NAME", "Société Exemple")
        .env("OUINON_CONTROLLER_POSTAL_ADDRESS", "1 rue de l'Exemple, 75001 Paris, France")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// Where a conversation stands when the sender dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// Deliveries are claimed, and nothing has passed the gate.
    Connect,
    /// Marked as submitting, its first byte here.
    Mail,
    /// Its recipient named.
    Rcpt,
    /// DATA, with the message before it recorded or not.
    Data,
    /// Some of the message here.
    Within,
    /// All of it here, and no answer given.
    FinalDot,
}

impl Step {
    fn is(self, what: What<'_>) -> bool {
        match self {
            Step::Connect => matches!(what, What::Connect),
            Step::Mail => matches!(what, What::Command(line) if line.starts_with("MAIL")),
            Step::Rcpt => matches!(what, What::Command(line) if line.starts_with("RCPT")),
            Step::Data => matches!(what, What::Command("DATA")),
            Step::Within => matches!(what, What::Data(_)),
            Step::FinalDot => matches!(what, What::Message { .. }),
        }
    }
}

/// Who is to be killed, at which step, after how many of that kind.
type Sentence = Arc<Mutex<Option<(Step, usize, u32)>>>;

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

on_both! {
    /// Killed at each step of a conversation, at the first message and in the middle of many: whatever
    /// had not passed the gate is sent by the next, whatever had is accepted or unknown.
    async fn killed_at_each_step_it_doubles_and_loses_nothing(world: &mut World) {
        let campaign = launched(world, 1500).await;
        let sentence = Sentence::default();
        let waiting = Arc::clone(&sentence);
        let catcher = server(Some(Arc::new(move |event| {
            let mut waiting = waiting.lock().unwrap();
            if let Some((_, left, pid)) = waiting.as_mut().filter(|(step, ..)| step.is(event.what)) {
                match left.checked_sub(1) {
                    Some(fewer) => *left = fewer,
                    None => {
                        kill(*pid);
                        *waiting = None;
                    }
                }
            }
            Action::Usual
        }))).await;
        let mut deaths = 0;
        for (step, after) in [
            (Step::Connect, 0), (Step::Mail, 0), (Step::Rcpt, 5), (Step::Data, 0), (Step::Data, 30),
            (Step::Within, 20), (Step::FinalDot, 0), (Step::FinalDot, 40),
        ] {
            let mut child = program(world, &catcher.url());
            *sentence.lock().unwrap() = Some((step, after, child.id()));
            let start = Instant::now();
            while child.try_wait().unwrap().is_none() {
                assert!(start.elapsed() < PATIENCE, "{step:?} was not reached");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            deaths += 1;
            let left = states(world, campaign).await.get(&Submitting).copied().unwrap_or(0);
            assert!(left <= 64 * deaths, "{left} left behind at {step:?}");
            if step == Step::Connect {
                assert_eq!(left, 0, "nothing passes the gate before there is a connection");
            }
        }
        let mut child = program(world, &catcher.url());
        until(world, campaign, |s| s.values().sum::<i64>() == 1500 && s.keys().all(|k| [Accepted, Unknown].contains(k))).await;
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "SIGTERM ends it well");
        let unknown = states(world, campaign).await.get(&Unknown).copied().unwrap_or(0);
        assert!((1..=deaths * 64).contains(&unknown), "{unknown} unknown");
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// Killed again and again at some nine hundred a second: few are unknown, nobody gets two, nobody is lost.
    async fn a_killed_worker_leaves_few_unknown(world: &mut World) {
        let campaign = launched(world, 4000).await;
        let catcher = server(Some(std::sync::Arc::new(|event| match event.what {
            ouinon::mail::catcher::What::Message { .. } => Action::Slow(Duration::from_millis(9)),
            _ => Action::Usual,
        }))).await;
        let mut random = SmallRng::seed_from_u64(7);
        let mut known = 0;
        for _ in 0..3 {
            let before = catcher.mailbag().count();
            let mut child = program(world, &catcher.url());
            assert!(catcher.mailbag().wait_for(before + 100, PATIENCE).await, "it goes on after a death");
            tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
            child.kill().unwrap();
            child.wait().unwrap();
            // Whoever comes next finds what it held. What the dead before it held may not have been found yet.
            let held = states(world, campaign).await;
            let open = [ouinon::domain::campaigns::DeliveryState::Submitting, Unknown];
            let left = open.iter().filter_map(|state| held.get(state)).sum::<i64>() - known;
            assert!(left <= 64, "{left} left behind");
            known += left;
        }
        let mut child = program(world, &catcher.url());
        until(world, campaign, |s| s.values().sum::<i64>() == 4000 && s.keys().all(|k| [Accepted, Unknown].contains(k))).await;
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "SIGTERM ends it well");
        let unknown = states(world, campaign).await.get(&Unknown).copied().unwrap_or(0);
        assert!(unknown <= 3 * 64, "{unknown} unknown");
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// SIGTERM in the middle: what is on the wire ends, the rest waits for the next start.
    async fn a_worker_that_is_told_to_stop_loses_nothing(world: &mut World) {
        let campaign = launched(world, 2000).await;
        let catcher = server(None).await;
        for _ in 0..3 {
            let before = catcher.mailbag().count();
            let worker = Worker::start(&world.app, &catcher.url());
            assert!(catcher.mailbag().wait_for((before + 100).min(2000), PATIENCE).await);
            worker.drain().await;
            let now = states(world, campaign).await;
            assert!(now.keys().all(|k| [Accepted, Queued].contains(k)), "{now:?}");
        }
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| s.get(&Accepted) == Some(&2000)).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// Others take a living worker for dead: it can submit nothing of what they took, and goes on
    /// under another name.
    async fn whoever_was_taken_for_dead_comes_back_anew(world: &mut World) {
        let campaign = launched(world, 2000).await;
        let catcher = server(Some(std::sync::Arc::new(|event| match event.what {
            ouinon::mail::catcher::What::Message { .. } => Action::Slow(Duration::from_millis(5)),
            _ => Action::Usual,
        }))).await;
        let worker = Worker::start(&world.app, &catcher.url());
        for round in 1..4 {
            assert!(catcher.mailbag().wait_for(200 * round, PATIENCE).await);
            world.tx(async |tx| {
                for (id, _) in workers::all(tx).await? {
                    workers::remove(tx, id).await?;
                    deliveries::abandon(tx, id, 1).await?;
                }
                Ok(())
            }).await;
        }
        until(world, campaign, |s| s.values().sum::<i64>() == 2000 && s.keys().all(|k| [Accepted, Unknown].contains(k))).await;
        worker.drain().await;
        assert_eq!(states(world, campaign).await.get(&Unknown), None, "the server's word came late and counted");
        assert_once_each(world, campaign, &[&catcher]).await;
    }
}
