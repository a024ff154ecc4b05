//! One rate, however many workers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ouinon::domain::campaign_file::Rate;

use super::town::{Server, launch, people, ready};
use crate::{
    faults::run::Worker,
    world::{self, World},
};

/// Messages a second that `workers` send together over some seconds, and the rate that was permitted.
async fn pace_of(world: &mut World, workers: usize, server_rate: Option<&str>, keys: &str) -> f64 {
    ready(world).await;
    people(world, 4000, ["societe.example"]).await;
    if let Some(rate) = server_rate {
        let mut config = (*world.app.config).clone();
        config.limits.server.rate = Some(Rate::parse(rate).unwrap());
        world.app.config = Arc::new(config);
    }
    let server = Server::kind(Duration::ZERO).await;
    launch(world, "pace", keys).await;
    let workers: Vec<Worker> = (0..workers).map(|_| Worker::start(&world.app, &server.catcher.url())).collect();
    // What starting costs is over.
    world.until("it is under way", async || server.total() >= 250).await;
    let (began, before) = (Instant::now(), server.total());
    tokio::time::sleep(Duration::from_secs(8)).await;
    let pace = (server.total() - before) as f64 / began.elapsed().as_secs_f64();
    for worker in workers {
        worker.drain().await;
    }
    pace
}

fn assert_pace(pace: f64, permitted: f64, workers: usize) {
    assert!((pace / permitted - 1.0).abs() <= 0.05, "{workers} workers: {pace:.1} a second instead of {permitted}");
}

/// The campaign's rate with 1, 2 and 4 workers on one queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rate_for_one_two_and_four_workers() {
    for workers in [1, 2, 4] {
        world::on_postgres("one_rate", async |world| {
            let pace = pace_of(world, workers, None, "rate = \"80/s\"").await;
            assert_pace(pace, 80.0, workers);
        })
        .await;
    }
}

/// The server's rate over all campaigns, with several workers and on SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rate_of_the_server() {
    world::on_postgres("server_rate", async |world| {
        assert_pace(pace_of(world, 3, Some("4800/min"), "").await, 80.0, 3);
    })
    .await;
    world::on_sqlite(async |world| assert_pace(pace_of(world, 1, Some("4800/min"), "").await, 80.0, 1)).await;
}
