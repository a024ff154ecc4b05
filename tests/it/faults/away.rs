//! A database that goes away while messages are on the wire.

use std::time::Duration;

use ouinon::{
    domain::campaigns::DeliveryState::{Accepted, Unknown},
    mail::catcher::{Action, Catcher, What},
    store::{Db, outcomes, workers},
};
use secrecy::ExposeSecret;
use sqlx::AssertSqlSafe;

use super::{
    lossy::Wire,
    run::{PATIENCE, Worker, assert_once_each, launched, server, states, until},
};
use crate::{postgres::cluster_of_its_own, world};

/// The disk is full for a while: nothing is sent that could not be recorded, and it goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_and_goes_on() {
    world::on_sqlite(async |world| {
        let campaign = launched(world, 3000).await;
        let catcher = server(Some(std::sync::Arc::new(|event| match event.what {
            What::Message { .. } => Action::Slow(Duration::from_millis(5)),
            _ => Action::Usual,
        })))
        .await;
        let worker = Worker::start(&world.app, &catcher.url());
        assert!(catcher.mailbag().wait_for(200, PATIENCE).await);
        let ouinon::store::Db::Lite { writer, .. } = world.db() else { unreachable!("this is SQLite") };
        let limit = async |pages: &str| {
            sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
                .execute(&mut *writer.hold().await.unwrap())
                .await
                .unwrap();
        };
        // As many as there are: every page more is refused as if the disk were full.
        limit("1").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        limit("1073741823").await;
        until(world, campaign, |s| {
            s.values().sum::<i64>() == 3000 && s.keys().all(|k| [Accepted, Unknown].contains(k))
        })
        .await;
        worker.drain().await;
        assert_eq!(states(world, campaign).await.get(&Unknown), None);
        assert_once_each(world, campaign, &[&catcher]).await;
    })
    .await;
}

/// The database can be read and not written for a while: nothing is sent that could not be recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_only_reads_stops_and_goes_on() {
    world::on_sqlite(async |world| {
        let campaign = launched(world, 3000).await;
        let catcher = slow_server().await;
        let worker = Worker::start(&world.app, &catcher.url());
        assert!(catcher.mailbag().wait_for(200, PATIENCE).await);
        let ouinon::store::Db::Lite { writer, .. } = world.db() else { unreachable!("this is SQLite") };
        sqlx::query("PRAGMA query_only = ON").execute(&mut *writer.hold().await.unwrap()).await.unwrap();
        // What had passed the gate ends; then there is silence.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let when_it_stood = catcher.mailbag().count();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(catcher.mailbag().count(), when_it_stood, "something left without a record");
        sqlx::query("PRAGMA query_only = OFF").execute(&mut *writer.hold().await.unwrap()).await.unwrap();
        until(world, campaign, |s| s.get(&Accepted) == Some(&3000)).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    })
    .await;
}

/// PostgreSQL stops at once and starts again, twice, while messages are on the wire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_restarted_doubles_and_loses_nothing() {
    let Some(cluster) = cluster_of_its_own("a campaign while PostgreSQL restarts").await else { return };
    world::on(&cluster.url(), async |world| {
        let campaign = launched(world, 3000).await;
        let catcher = slow_server().await;
        let worker = Worker::start(&world.app, &catcher.url());
        for round in 1..=2 {
            assert!(catcher.mailbag().wait_for(400 * round, PATIENCE).await);
            tokio::task::block_in_place(|| cluster.stop()).expect("the server stops");
            tokio::time::sleep(Duration::from_secs(1)).await;
            tokio::task::block_in_place(|| cluster.start()).expect("the server starts");
        }
        until(world, campaign, |s| s.get(&Accepted) == Some(&3000)).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    })
    .await;
}

/// Told to stop while PostgreSQL is away, a worker ends before whoever told it loses patience; the next one finds what
/// it held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgresql_a_worker_stops_all_the_same() {
    let Some(cluster) = cluster_of_its_own("a worker told to stop without PostgreSQL").await else { return };
    world::on(&cluster.url(), async |world| {
        let campaign = launched(world, 3000).await;
        let catcher = slow_server().await;
        let worker = Worker::start(&world.app, &catcher.url());
        assert!(catcher.mailbag().wait_for(400, PATIENCE).await);
        tokio::task::block_in_place(|| cluster.stop()).expect("the server stops");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = std::time::Instant::now();
        worker.drain().await;
        assert!(began.elapsed() < Duration::from_secs(45), "it took {:?}", began.elapsed());
        tokio::task::block_in_place(|| cluster.start()).expect("the server starts");
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| {
            s.values().sum::<i64>() == 3000 && s.keys().all(|k| [Accepted, Unknown].contains(k))
        })
        .await;
        worker.drain().await;
        let unknown = states(world, campaign).await.get(&Unknown).copied().unwrap_or(0);
        assert!(unknown <= 64, "{unknown} are unknown");
        assert_once_each(world, campaign, &[&catcher]).await;
    })
    .await;
}

/// Takes its time with each message.
async fn slow_server() -> Catcher {
    server(Some(std::sync::Arc::new(|event| match event.what {
        What::Message { .. } => Action::Slow(Duration::from_millis(5)),
        _ => Action::Usual,
    })))
    .await
}

/// Every connection to PostgreSQL is cut, again and again: commits whose answers are lost included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_to_postgres_double_and_lose_nothing() {
    world::on_postgres("cut_connections", async |world| {
        let campaign = launched(world, 3000).await;
        let catcher = server(Some(std::sync::Arc::new(|event| match event.what {
            What::Message { .. } => Action::Slow(Duration::from_millis(5)),
            _ => Action::Usual,
        })))
        .await;
        let worker = Worker::start(&world.app, &catcher.url());
        let ouinon::store::Db::Pg(pool) = world.db() else { unreachable!("this is PostgreSQL") };
        for round in 1..=8 {
            assert!(catcher.mailbag().wait_for(250 * round, PATIENCE).await);
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let _ = sqlx::query(cut).execute(pool).await;
        }
        until(world, campaign, |s| {
            s.values().sum::<i64>() == 3000 && s.keys().all(|k| [Accepted, Unknown].contains(k))
        })
        .await;
        worker.drain().await;
        assert_eq!(states(world, campaign).await.get(&Unknown), None);
        assert_once_each(world, campaign, &[&catcher]).await;
    })
    .await;
}

/// What is committed while its answer gets lost is done, and the worker does not know: what it claimed so is
/// not forgotten, what it let go is not sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_to_commits_double_and_lose_nothing() {
    world::on_postgres("lost_answers", async |world| {
        let campaign = launched(world, 3000).await;
        let catcher = slow_server().await;
        let wire = Wire::to(world.app.config.database.url.expose_secret()).await;
        let mut app = world.app.clone();
        app.db = Db::open(&wire.url).await.expect("the database is there");
        let worker = Worker::start(&app, &catcher.url());
        assert!(catcher.mailbag().wait_for(100, PATIENCE).await);
        wire.lose_every(9);
        assert!(catcher.mailbag().wait_for(1500, PATIENCE).await);
        wire.lose_every(0);
        assert!(wire.lost() >= 10, "{} answers were lost", wire.lost());
        until(world, campaign, |s| s.get(&Accepted) == Some(&3000)).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
        let counted = world.tx(async |tx| outcomes::by_group(tx).await).await;
        assert_eq!(counted.iter().map(|group| group.accepted).sum::<i64>(), 3000, "what is recorded once counts once");
        app.db.close().await;
    })
    .await;
}

/// PostgreSQL is away for longer than a worker may stand still: none takes the others for dead, for nobody
/// could show that it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_away_nobody_dies() {
    let Some(cluster) = cluster_of_its_own("two workers while PostgreSQL is away").await else { return };
    world::on(&cluster.url(), async |world| {
        let campaign = launched(world, 3000).await;
        let catcher = slow_server().await;
        let both = [(); 2].map(|()| Worker::start(&world.app, &catcher.url()));
        assert!(catcher.mailbag().wait_for(400, PATIENCE).await);
        let ids = async || -> Vec<i64> {
            world.tx(async |tx| workers::all(tx).await).await.into_iter().map(|(id, _)| id).collect()
        };
        let before = ids().await;
        assert_eq!(before.len(), 2);
        tokio::task::block_in_place(|| cluster.stop()).expect("the server stops");
        tokio::time::sleep(Duration::from_secs(8)).await;
        tokio::task::block_in_place(|| cluster.start()).expect("the server starts");
        let sent = catcher.mailbag().count();
        assert!(catcher.mailbag().wait_for(sent + 400, PATIENCE).await, "it goes on by itself");
        until(world, campaign, |s| s.get(&Accepted) == Some(&3000)).await;
        assert_eq!(ids().await, before);
        for worker in both {
            worker.drain().await;
        }
        assert_once_each(world, campaign, &[&catcher]).await;
    })
    .await;
}
