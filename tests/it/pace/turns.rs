//! Several campaigns at once: fair shares, priorities, and dates.

use std::{sync::Arc, time::Duration};

use ouinon::{
    domain::{campaign_file::Rate, campaigns::CampaignState, limits::Limits},
    pipeline::campaigns,
};

use super::town::{Server, file, launch, people, ready};
use crate::{
    faults::run::Worker,
    world::{World, on_both},
};

/// How much of each campaign was accepted.
async fn accepted(world: &World, slugs: [&str; 2]) -> (i64, i64) {
    (world.report(slugs[0]).await.status.accepted, world.report(slugs[1]).await.status.accepted)
}

async fn limited(world: &mut World, rate: &str) {
    ready(world).await;
    let mut config = (*world.app.config).clone();
    config.limits.server = Limits { rate: Some(Rate::parse(rate).unwrap()), ..Limits::default() };
    world.app.config = Arc::new(config);
}

on_both! {
    /// Two campaigns that want the same limited server get it alike, whichever began first.
    async fn equals_share_alike(world: &mut World) {
        limited(world, "100/s").await;
        people(world, 1500, ["societe.example"]).await;
        let server = Server::kind(Duration::ZERO).await;
        launch(world, "first", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("the first is under way", async || server.total() >= 100).await;
        launch(world, "second", "").await;
        world.until("the second is under way", async || world.report("second").await.status.accepted > 0).await;
        let before = accepted(world, ["first", "second"]).await;
        world.until("both went on", async || {
            let now = accepted(world, ["first", "second"]).await;
            now.0 + now.1 >= before.0 + before.1 + 500
        }).await;
        let now = accepted(world, ["first", "second"]).await;
        let (first, second) = (now.0 - before.0, now.1 - before.1);
        assert!((first - second).abs() <= 125, "{first} and {second}");
        worker.drain().await;
    }

    /// An urgent campaign goes before a huge one: on a limited server …
    async fn an_urgent_campaign_is_not_starved_by_a_limit(world: &mut World) {
        limited(world, "100/s").await;
        people(world, 1500, ["societe.example"]).await;
        people(world, 600, ["client.example"]).await;
        let server = Server::kind(Duration::ZERO).await;
        launch(world, "huge", "audience = \"domain = 'societe.example'\"").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("the huge one is under way", async || server.total() >= 100).await;
        let before = world.report("huge").await.status.accepted;
        launch(world, "urgent", "priority = \"high\"\naudience = \"domain = 'client.example'\"").await;
        world.until_state("urgent", CampaignState::Finished).await;
        let (urgent, huge) = accepted(world, ["urgent", "huge"]).await;
        assert!(urgent == 600 && (huge - before) < urgent * 3 / 4, "{urgent} urgent, {} huge meanwhile", huge - before);
        worker.drain().await;
    }

    /// … and where the wire itself is what is scarce.
    async fn an_urgent_campaign_is_not_starved_on_the_wire(world: &mut World) {
        ready(world).await;
        people(world, 1500, ["societe.example"]).await;
        people(world, 150, ["client.example"]).await;
        let server = Server::kind(Duration::from_millis(40)).await;
        launch(world, "huge", "audience = \"domain = 'societe.example'\"").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("the huge one is under way", async || server.total() >= 50).await;
        let before = world.report("huge").await.status.accepted;
        launch(world, "urgent", "priority = \"high\"\naudience = \"domain = 'client.example'\"").await;
        world.until_state("urgent", CampaignState::Finished).await;
        let (urgent, huge) = accepted(world, ["urgent", "huge"]).await;
        // What was at the gate and on the wire before it goes out first.
        assert!(urgent == 150 && huge - before < 600, "{urgent} urgent, {} huge meanwhile", huge - before);
        campaigns::cancel(&world.app, "huge").await.unwrap();
        worker.drain().await;
    }

    /// A campaign starts at its instant, not before, and in its order.
    async fn a_date_is_kept(world: &mut World) {
        ready(world).await;
        people(world, 5, ["societe.example"]).await;
        let server = Server::kind(Duration::ZERO).await;
        campaigns::create(&world.app, &file("later", ""), None).await.unwrap();
        let at = "2026-11-18T10:30:00+01:00[Europe/Paris]".parse::<jiff::Zoned>().unwrap().timestamp();
        campaigns::launch(&world.app, "later", Some(at)).await.unwrap();
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.advance(30 * 60 - 1);
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert_eq!((server.total(), world.report("later").await.status.state), (0, CampaignState::Scheduled));
        world.advance(1);
        world.until_state("later", CampaignState::Finished).await;
        assert_eq!(server.total(), 5);
        worker.drain().await;
    }
}
