//! Messages that cannot leave when their turn comes: the mail server is away or slow, or they may leave no more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ouinon::{
    domain::{
        campaigns::DeliveryState::{Accepted, Blocked},
        limits::Limits,
    },
    mail::catcher::{Action, Catcher, Event, Script, Settings, What},
    pipeline::deliver::permits,
    store::{buckets, contacts, suppressions},
};

use super::town::{launch, people, person, ready};
use crate::{
    faults::run::{Worker, server, states, until},
    store::refusal,
    world::{World, on_both},
};

/// What was counted against the server's cap.
async fn spent(world: &World) -> i64 {
    let now = world.now();
    let spent = world.tx(async |tx| buckets::spent(tx, &[permits::SERVER], now).await).await;
    spent.values().sum()
}

fn with_daily_cap(world: &mut World, most: i64, connections: usize) {
    let mut config = (*world.app.config).clone();
    config.smtp.connections = connections;
    config.limits.server = Limits { daily: Some(most as _), ..Limits::default() };
    world.app.config = Arc::new(config);
}

on_both! {
    /// While the mail server is away nothing piles up that leaves at once when it is back.
    async fn the_rate_holds_when_the_server_comes_back(world: &mut World) {
        ready(world).await;
        people(world, 300, ["societe.example"]).await;
        let away = server(None).await;
        let (address, url) = (away.address(), away.url());
        drop(away);
        launch(world, "late", "rate = \"20/s\"").await;
        let worker = Worker::start(&world.app, &url);
        tokio::time::sleep(Duration::from_secs(6)).await;
        let back = Catcher::start(address, Settings::default()).await.expect("its port is free again");
        assert!(back.mailbag().wait_for(1, Duration::from_secs(30)).await);
        let (began, before) = (Instant::now(), back.mailbag().count());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (sent, took) = (back.mailbag().count(), began.elapsed().as_secs_f64());
        assert!((sent as f64) < 20.0 * took + 45.0, "{sent} left within {took:.1} s of the first {before}");
        assert!(sent as f64 > 10.0 * took, "only {sent} left within {took:.1} s");
        worker.drain().await;
    }

    /// A cap counts what leaves: what was in hand when the worker stopped, and never left, is not used up.
    async fn a_stop_gives_the_caps_back(world: &mut World) {
        ready(world).await;
        with_daily_cap(world, 100, 8);
        people(world, 300, ["societe.example"]).await;
        let away = server(None).await.url();
        launch(world, "late", "rate = \"50/s\"").await;
        for _ in 0..2 {
            let worker = Worker::start(&world.app, &away);
            world.until("it has something in hand", async || spent(world).await > 20).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            worker.drain().await;
            assert_eq!(spent(world).await, 0);
        }
    }

    /// Those that are refused while they wait at the gate hold up nobody behind them, and use up no cap.
    async fn whoever_is_blocked_at_the_gate_holds_up_nobody(world: &mut World) {
        ready(world).await;
        with_daily_cap(world, 1000, 1);
        let all: Vec<_> = (0..60).map(|i| person(world, &format!("p{i}@societe.example"))).collect();
        world.tx(async |tx| contacts::save(tx, &all).await).await;
        let seen = AtomicUsize::new(0);
        let script: Script = Arc::new(move |event: &Event| match event.what {
            What::Message { .. } if seen.fetch_add(1, Ordering::SeqCst) < 2 => Action::Slow(Duration::from_secs(2)),
            _ => Action::Usual,
        });
        let catcher = server(Some(script)).await;
        let campaign = launch(world, "late", "").await;
        let worker = Worker::start(&world.app, &catcher.url());
        assert!(catcher.mailbag().wait_for(1, Duration::from_secs(30)).await);
        for one in &all[4..40] {
            let no = refusal(world, Some(one.address_hash));
            world.tx(async |tx| suppressions::add(tx, &no).await).await;
        }
        let began = Instant::now();
        until(world, campaign, |s| s.iter().filter(|(k, _)| [Accepted, Blocked].contains(k)).map(|(_, n)| n).sum::<i64>() == 60).await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(12), "it took {took:?}");
        let now = states(world, campaign).await;
        assert!(now[&Blocked] > 20, "{now:?}");
        worker.drain().await;
        assert_eq!(spent(world).await, now[&Accepted]);
    }
}
