//! Two workers on one queue, one of them killed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ouinon::{
    domain::campaigns::DeliveryState::{Accepted, Unknown},
    mail::catcher::{Action, Script, What},
    store::workers,
};

use crate::{
    faults::{
        deaths::program,
        run::{PATIENCE, assert_once_each, launched, server, states, until},
    },
    invariants::number,
    world::{self, World},
};

/// How many workers are on the list, and how many deliveries are in the hands of one that is not.
async fn in_others_hands(world: &World) -> (usize, i64) {
    let all = world.tx(async |tx| workers::all(tx).await).await;
    let listed = all.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT COUNT(*) FROM delivery WHERE worker_id IS NOT NULL AND worker_id NOT IN ({listed})");
    (all.len(), number(world.db(), &sql).await)
}

/// One of two workers is killed twice without warning: nobody gets two, nobody is lost, and what it held
/// goes on with the other within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_workers_is_killed_twice() {
    world::on_postgres("killed_twice", async |world| {
        const MANY: i64 = 6000;
        let campaign = launched(world, MANY as usize).await;
        let slow: Script = Arc::new(|event| match event.what {
            What::Message { .. } => Action::Slow(Duration::from_millis(20)),
            _ => Action::Usual,
        });
        // A mail server for each, to see who sends.
        let of_the_one = server(Some(Arc::clone(&slow))).await;
        let of_the_other = server(Some(slow)).await;
        let mut stays = program(world, &of_the_one.url());
        for _ in 0..2 {
            let before = of_the_other.mailbag().count();
            let mut dies = program(world, &of_the_other.url());
            assert!(of_the_other.mailbag().wait_for(before + 200, PATIENCE).await, "both send");
            dies.kill().unwrap();
            dies.wait().unwrap();
            // Six seconds without a sign, and a look each second.
            let death = Instant::now();
            world.until("the dead one is taken over", async || in_others_hands(world).await == (1, 0)).await;
            assert!(death.elapsed() < Duration::from_secs(20), "that took {:?}", death.elapsed());
        }
        until(world, campaign, |s| {
            s.values().sum::<i64>() == MANY && s.keys().all(|k| [Accepted, Unknown].contains(k))
        })
        .await;
        stays.kill().unwrap();
        stays.wait().unwrap();
        let unknown = states(world, campaign).await.get(&Unknown).copied().unwrap_or(0);
        assert!(unknown <= 2 * 64, "{unknown} unknown");
        assert_once_each(world, campaign, &[&of_the_one, &of_the_other]).await;
    })
    .await;
}

/// One of two stands still in the middle of whatever it does, as a process does whose host is gone: what it holds is
/// taken over within seconds, and when it comes back it can submit none of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_workers_stands_still_and_comes_back_too_late() {
    world::on_postgres("stands_still", async |world| {
        const MANY: i64 = 8000;
        let campaign = launched(world, MANY as usize).await;
        let slow: Script = Arc::new(|event| match event.what {
            What::Message { .. } => Action::Slow(Duration::from_millis(20)),
            _ => Action::Usual,
        });
        let (of_the_one, of_the_other) = (server(Some(Arc::clone(&slow))).await, server(Some(slow)).await);
        let mut goes_on = program(world, &of_the_one.url());
        let mut stands_still = program(world, &of_the_other.url());
        let signal = |name: &str| {
            let id = stands_still.id().to_string();
            assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
        };
        for _ in 0..2 {
            let before = of_the_other.mailbag().count();
            assert!(of_the_other.mailbag().wait_for(before + 300, PATIENCE).await, "both send");
            signal("-STOP");
            let death = Instant::now();
            world.until("it is taken over", async || in_others_hands(world).await == (1, 0)).await;
            assert!(death.elapsed() < Duration::from_secs(25), "that took {:?}", death.elapsed());
            let sent = of_the_one.mailbag().count();
            assert!(of_the_one.mailbag().wait_for(sent + 300, Duration::from_secs(25)).await, "the other goes on");
            signal("-CONT");
        }
        until(world, campaign, |s| {
            s.values().sum::<i64>() == MANY && s.keys().all(|k| [Accepted, Unknown].contains(k))
        })
        .await;
        for worker in [&mut goes_on, &mut stands_still] {
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
        let unknown = states(world, campaign).await.get(&Unknown).copied().unwrap_or(0);
        assert!(unknown <= 2 * 64, "{unknown} unknown");
        assert_once_each(world, campaign, &[&of_the_one, &of_the_other]).await;
    })
    .await;
}
