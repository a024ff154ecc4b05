//! Workers that come and go as operators make them: SIGTERM, restarts one by one, a second one beside the first.

use std::{
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use ouinon::{
    domain::campaigns::DeliveryState::{Accepted, Cancelled, Deferred, Queued, Unknown},
    mail::catcher::{Action, Catcher, Event, What},
    pipeline::campaigns,
};

use super::{
    deaths::program,
    run::{PATIENCE, assert_once_each, launched, server, states, until},
};
use crate::world::{self, World, on_both};

/// A mail server that thinks about each message for a few milliseconds.
async fn unhurried() -> Catcher {
    server(Some(Arc::new(|event| match event.what {
        What::Message { .. } => Action::Slow(Duration::from_millis(5)),
        _ => Action::Usual,
    })))
    .await
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// SIGTERM, and a good end within `limit`.
async fn terminate(mut child: Child, limit: Duration) {
    signal(&child, "-TERM");
    let began = Instant::now();
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(ended) => break ended,
            None => assert!(began.elapsed() < limit, "it does not end"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(ended.success(), "SIGTERM ends it well: {ended}");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// How far enqueueing has come, and whether it has ended.
async fn enqueued(world: &World) -> (i64, bool) {
    let row = world.tx(async |tx| ouinon::store::campaigns::by_slug(tx, "autumn").await).await.expect("it is there");
    (row.enqueue_after, row.enqueued_at.is_some())
}

on_both! {
    /// SIGTERM while the mail server is silent, at the banner, in an envelope or after the dot: it ends all the
    /// same, and only those whose dot was sent are unknown.
    async fn a_silent_server_keeps_nobody_from_stopping(world: &mut World) {
        let campaign = launched(world, 400).await;
        let silent = server(Some(Arc::new(|event: &Event| match (event.connection % 4, event.what) {
            (0, What::Connect) => Action::Silent,
            (1, What::Command(line)) if line.starts_with("RCPT") => Action::Silent,
            (2, What::Command("DATA")) => Action::Silent,
            (3, What::Message { .. }) => Action::Silent,
            _ => Action::Usual,
        })))
        .await;
        let worker = program(world, &silent.url());
        assert!(silent.mailbag().wait_for(2, PATIENCE).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
        terminate(worker, Duration::from_secs(45)).await;
        let now = states(world, campaign).await;
        assert_eq!(now.values().sum::<i64>(), 400);
        assert!(now.keys().all(|state| [Queued, Deferred, Unknown].contains(state)), "{now:?}");
        assert_eq!(now[&Unknown], silent.mailbag().count() as i64);
        let kind = server(None).await;
        let worker = program(world, &kind.url());
        until(world, campaign, |s| s.keys().all(|state| [Accepted, Deferred, Unknown].contains(state))).await;
        terminate(worker, Duration::from_secs(45)).await;
        assert_eq!(states(world, campaign).await[&Unknown], now[&Unknown]);
        assert_once_each(world, campaign, &[&silent, &kind]).await;
    }

    /// Killed and told to stop in the middle of enqueueing: everybody is asked for, once.
    async fn stopped_while_it_enqueues_it_goes_on_where_it_was(world: &mut World) {
        const MANY: i64 = 30_000;
        let campaign = launched(world, MANY as usize).await;
        let catcher = unhurried().await;
        let asked = async || states(world, campaign).await.values().sum::<i64>();
        for name in ["-KILL", "-TERM", "-KILL", "-TERM"] {
            let before = enqueued(world).await.0;
            let worker = program(world, &catcher.url());
            world.until("more are asked for", async || enqueued(world).await.0 > before).await;
            match name {
                "-KILL" => kill(worker),
                _ => terminate(worker, Duration::from_secs(45)).await,
            }
            assert!(asked().await < MANY && !enqueued(world).await.1, "stopped too late to tell");
        }
        let worker = program(world, &catcher.url());
        world.until("all are asked for", async || enqueued(world).await.1).await;
        assert_eq!(asked().await, MANY);
        campaigns::cancel(&world.app, "autumn").await.unwrap();
        // What the killed ones had on the wire is theirs until they are seen to stand still.
        until(world, campaign, |s| s.keys().all(|state| [Accepted, Cancelled, Unknown].contains(state))).await;
        terminate(worker, Duration::from_secs(45)).await;
        let now = states(world, campaign).await;
        assert!(now.keys().all(|state| [Accepted, Cancelled, Unknown].contains(state)), "{now:?}");
        assert_eq!(now.values().sum::<i64>(), MANY);
        assert!(now.get(&Unknown).is_none_or(|n| *n <= 2 * 64), "{now:?}");
        assert_once_each(world, campaign, &[&catcher]).await;
    }
}

/// Of several processes on one SQLite file one sends; when it is killed, and when it is told to stop, the next
/// takes over within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_one_sends_and_the_next_takes_over() {
    world::on_sqlite(async |world| {
        let campaign = launched(world, 3000).await;
        let servers = [unhurried().await, unhurried().await, unhurried().await];
        let sent = || servers.each_ref().map(|server| server.mailbag().count());
        let first = program(world, &servers[0].url());
        assert!(servers[0].mailbag().wait_for(200, PATIENCE).await);
        let second = program(world, &servers[1].url());
        assert!(servers[0].mailbag().wait_for(800, PATIENCE).await);
        assert_eq!(sent()[1], 0, "one of them sends");
        kill(first);
        assert!(servers[1].mailbag().wait_for(1, Duration::from_secs(10)).await, "it takes over");
        let third = program(world, &servers[2].url());
        assert!(servers[1].mailbag().wait_for(800, PATIENCE).await);
        assert_eq!(sent()[2], 0, "one of them sends");
        terminate(second, Duration::from_secs(45)).await;
        let second_sent = sent()[1];
        until(world, campaign, |s| s.keys().all(|state| [Accepted, Unknown].contains(state))).await;
        assert!(sent()[2] > 0 && sent()[1] == second_sent, "{:?}", sent());
        terminate(third, Duration::from_secs(45)).await;
        let now = states(world, campaign).await;
        assert!(now.values().sum::<i64>() == 3000 && now.get(&Unknown).is_none_or(|n| *n <= 64), "{now:?}");
        assert_once_each(world, campaign, &servers.each_ref()).await;
    })
    .await;
}

/// Restarted one by one, as for a new version: nothing is lost, doubled or unknown, and somebody always sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_one_by_one_workers_lose_nothing() {
    world::on_postgres("one_by_one", async |world| {
        let campaign = launched(world, 6000).await;
        let servers = [unhurried().await, unhurried().await, unhurried().await, unhurried().await];
        let start = |n: usize| program(world, &servers[n].url());
        let mut working = std::collections::VecDeque::from([start(0), start(1)]);
        for next in [2, 3] {
            let oldest = &servers[next - 2];
            let before = oldest.mailbag().count();
            assert!(oldest.mailbag().wait_for(before + 300, PATIENCE).await);
            working.push_back(start(next));
            assert!(servers[next].mailbag().wait_for(1, PATIENCE).await, "the new one sends");
            terminate(working.pop_front().unwrap(), Duration::from_secs(45)).await;
            let now = states(world, campaign).await;
            assert_eq!(now.get(&Unknown), None, "{now:?}");
        }
        until(world, campaign, |s| s.get(&Accepted) == Some(&6000)).await;
        for worker in working {
            terminate(worker, Duration::from_secs(45)).await;
        }
        assert_once_each(world, campaign, &servers.each_ref()).await;
    })
    .await;
}
