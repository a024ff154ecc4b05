//! Send windows and quiet hours, by each recipient's clock.

use std::{sync::Arc, time::Duration};

use ouinon::{
    domain::{
        campaigns::{CampaignState, DeliveryState::Accepted},
        lang::Lang,
        windows::{Days, Hours, Windows},
    },
    pipeline::{campaigns, pace::Flow, report},
    store::contacts,
};

use super::town::{Server, launch, person, ready};
use crate::{
    faults::run::{Worker, assert_once_each, states},
    world::{World, on_both},
};

/// Ten people in each of these zones: `paris0@…`. The controller is in Paris.
async fn around_the_world(world: &World) {
    for (name, zone) in
        [("paris", ""), ("york", "America/New_York"), ("tokyo", "Asia/Tokyo"), ("odd", "Nowhere/At_All")]
    {
        let people: Vec<_> = (0..10)
            .map(|i| contacts::Contact {
                time_zone: zone.into(),
                ..person(world, &format!("{name}{i}@{name}.societe.example"))
            })
            .collect();
        world.tx(async |tx| contacts::save(tx, &people).await).await;
    }
}

async fn group(world: &World, slug: &str) -> (Flow, Option<String>) {
    let mut tx = world.db().read().await.unwrap();
    let row = campaigns::find(&mut tx, slug).await.unwrap();
    let live = report::live(&world.app, &mut tx, &row, Lang::En).await.unwrap();
    let limits = live.pace.groups["other"].limits.clone();
    (limits.state, limits.until)
}

on_both! {
    /// Messages wait for the recipient's morning: neither lost nor sent at night, and no other waits with them.
    async fn everybody_gets_it_in_their_own_hours(world: &mut World) {
        ready(world).await;
        around_the_world(world).await;
        let mut config = (*world.app.config).clone();
        config.schedule = Windows {
            window: Some(Hours::parse("09:00-18:00").unwrap()),
            days: Some(Days::parse("mon-fri").unwrap()),
            quiet_hours: None,
        };
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::ZERO).await;
        let campaign = launch(world, "hours", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        let taken = |zone: &str| server.taken(&format!("{zone}.societe.example"));
        // Wednesday, ten in Paris, four in New York, six in the evening in Tokyo.
        world.until("Paris has it", async || taken("paris") == 10 && taken("odd") == 10).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!((taken("york"), taken("tokyo")), (0, 0));
        let (state, until) = group(world, "hours").await;
        assert_eq!((state, until.as_deref()), (Flow::Closed, Some("2026-11-18T14:00:00Z")));
        world.advance(5 * 3600);
        world.until("New York has it", async || taken("york") == 10).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(taken("tokyo"), 0);
        // Midnight in London is nine in the morning in Tokyo.
        world.advance(10 * 3600 - 60);
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(taken("tokyo"), 0);
        world.advance(60);
        world.until_state("hours", CampaignState::Finished).await;
        worker.drain().await;
        assert_eq!(states(world, campaign).await[&Accepted], 40);
        assert_once_each(world, campaign, &[&server.catcher]).await;
    }

    /// A campaign's own hours add to the installation's; service mail waits for its own only.
    async fn a_campaign_has_hours_of_its_own(world: &mut World) {
        ready(world).await;
        around_the_world(world).await;
        let mut config = (*world.app.config).clone();
        config.schedule.quiet_hours = Some(Hours::parse("08:00-12:00").unwrap());
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::ZERO).await;
        launch(world, "own", "window = \"10:00-14:00\"").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Ten in Paris is in its window, and quiet; in New York and Tokyo it is in no window.
        assert_eq!(server.total(), 0);
        world.advance(2 * 3600);
        world.until("noon in Paris", async || server.total() == 20).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(server.total(), 20);
        campaigns::pause(&world.app, "own").await.unwrap();
        campaigns::cancel(&world.app, "own").await.unwrap();
        worker.drain().await;
    }
}
