//! Two workers on one queue, one of them killed.

use std::{sync::Arc, time::Duration};

use ouinon::{
    domain::campaigns::DeliveryState::{Accepted, Unknown},
    mail::catcher::{Action, What},
};

use crate::{
    faults::{
        deaths::program,
        run::{PATIENCE, assert_once_each, launched, server, states, until},
    },
    world,
};

/// One of two workers is killed twice without warning: nobody gets two, nobody is lost, and what it held
/// goes on with the other within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_workers_is_killed_twice() {
    world::on_postgres("killed_twice", async |world| {
        const MANY: i64 = 5000;
        let campaign = launched(world, MANY as usize).await;
        let catcher = server(Some(Arc::new(|event| match event.what {
            What::Message { .. } => Action::Slow(Duration::from_millis(6)),
            _ => Action::Usual,
        })))
        .await;
        let mut stays = program(world, &catcher.url());
        for _ in 0..2 {
            let mut dies = program(world, &catcher.url());
            let before = catcher.mailbag().count();
            assert!(catcher.mailbag().wait_for((before + 800).min(MANY as usize), PATIENCE).await);
            dies.kill().unwrap();
            dies.wait().unwrap();
        }
        until(world, campaign, |s| {
            s.values().sum::<i64>() == MANY && s.keys().all(|k| [Accepted, Unknown].contains(k))
        })
        .await;
        stays.kill().unwrap();
        stays.wait().unwrap();
        let unknown = states(world, campaign).await.get(&Unknown).copied().unwrap_or(0);
        assert!(unknown <= 2 * 64, "{unknown} unknown");
        assert_once_each(world, campaign, &[&catcher]).await;
    })
    .await;
}
