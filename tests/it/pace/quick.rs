//! What is done for the sake of speed, and what it must not lead to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ouinon::{
    domain::campaigns::DeliveryState::Accepted,
    mail::catcher::{Action, Event, Script, What},
    store::{LiteTx, Tx},
};

use super::town::{launch, people, ready};
use crate::{
    faults::run::{Worker, server, until},
    world::{World, on_both},
};

/// After how many pages of its log SQLite carries them into the file; none: PostgreSQL, which has no such log.
async fn pages(world: &World) -> Option<i64> {
    match &mut world.db().write().await.expect("a transaction begins") {
        Tx::Lite(LiteTx::Writes(tx)) => {
            let asked = sqlx::query_scalar("PRAGMA wal_autocheckpoint").fetch_one(&mut **tx).await;
            Some(asked.expect("SQLite says so"))
        }
        _ => None,
    }
}

/// A mail server that takes everything, and how many connections it has seen.
fn counting() -> (Script, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let script: Script = Arc::new(move |event: &Event| {
        if matches!(event.what, What::Connect) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Action::Usual
    });
    (script, seen)
}

on_both! {
    /// While a campaign runs, no commit holds up the wire with a long log; afterwards recipients' pages have it long again.
    async fn the_log_is_carried_often_while_a_campaign_runs(world: &mut World) {
        ready(world).await;
        people(world, 60, ["societe.example"]).await;
        let catcher = server(None).await;
        let often = world.db().is_sqlite().then_some(1000);
        let rarely = world.db().is_sqlite().then_some(8000);
        assert_eq!(pages(world).await, rarely);
        let campaign = launch(world, "quick", "rate = \"20/s\"").await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |states| states.get(&Accepted) >= Some(&5)).await;
        assert_eq!(pages(world).await, often);
        until(world, campaign, |states| states.get(&Accepted) == Some(&60)).await;
        world.until("the log may grow again", async || pages(world).await == rarely).await;
        launch(world, "again", "rate = \"20/s\"").await;
        world.until("it is carried often again", async || pages(world).await == often).await;
        worker.drain().await;
        assert_eq!(pages(world).await, rarely);
    }

    /// Connections are opened while the first messages are made, and no more of them than the pace needs.
    async fn a_slow_campaign_opens_few_connections(world: &mut World) {
        ready(world).await;
        people(world, 60, ["societe.example"]).await;
        let (script, connections) = counting();
        let catcher = server(Some(script)).await;
        let campaign = launch(world, "quick", "rate = \"20/s\"").await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |states| states.get(&Accepted) == Some(&60)).await;
        let opened = connections.load(Ordering::SeqCst);
        assert!((1..=4).contains(&opened), "{opened} connections for 20 messages a second");
        worker.drain().await;
    }
}
