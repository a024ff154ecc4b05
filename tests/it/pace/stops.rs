//! Automatic stops: a campaign that must not go on by itself is paused, and says why.

use std::{sync::Arc, time::Duration};

use ouinon::{
    domain::{
        campaigns::{
            CampaignState,
            DeliveryState::{Accepted, Queued},
        },
        stops::Stop,
    },
    pipeline::campaigns,
    store::{
        events::{self, Event, EventKind},
        stops,
    },
};

use super::town::{Answer, Server, launch, people, ready};
use crate::{
    faults::run::{Worker, assert_once_each, states},
    world::{World, on_both},
};

async fn stopped(world: &World, campaign: i64) -> Option<stops::Stopped> {
    world.tx(async |tx| stops::stopped(tx, campaign).await).await
}

on_both! {
    /// Too many addresses that do not exist: paused with the numbers; whoever resumes is judged anew.
    async fn dead_addresses_stop_a_campaign(world: &mut World) {
        ready(world).await;
        people(world, 600, ["societe.example"]).await;
        let answer: Answer = Arc::new(|address, _, _| {
            let number: usize = address[1..].split('@').next().unwrap().parse().unwrap();
            (number < 300 && number.is_multiple_of(25)).then(|| "550 5.1.1 no such user".to_owned())
        });
        let server = Server::start(Duration::from_millis(2), answer).await;
        let campaign = launch(world, "dead", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until_state("dead", CampaignState::Paused).await;
        let why = stopped(world, campaign).await.expect("it says why");
        assert_eq!(why.stop, Stop::HardBounces);
        assert!(why.of >= 100 && why.count * 50 > why.of, "{why:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = server.total();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(server.total(), before);
        assert!(states(world, campaign).await[&Queued] > 0);
        campaigns::resume(&world.app, "dead").await.unwrap();
        assert_eq!(stopped(world, campaign).await, None);
        // The same share stops it again where there is more of it, and not where the rest is good.
        world.until("it ends or stops again", async || {
            let state = world.report("dead").await.status.state;
            if state == CampaignState::Paused {
                campaigns::resume(&world.app, "dead").await.unwrap();
            }
            state == CampaignState::Finished
        }).await;
        worker.drain().await;
        assert_eq!(states(world, campaign).await[&Accepted], 588);
        assert_once_each(world, campaign, &[&server.catcher]).await;
    }

    /// One refusal for want of authentication is enough.
    async fn a_refusal_of_the_sender_stops_at_once(world: &mut World) {
        ready(world).await;
        people(world, 400, ["gmail.com"]).await;
        let answer: Answer = Arc::new(|_, _, taken| {
            (taken >= 20).then(|| "550 5.7.26 This mail is unauthenticated, SPF did not pass".to_owned())
        });
        let server = Server::start(Duration::from_millis(2), answer).await;
        let campaign = launch(world, "auth", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until_state("auth", CampaignState::Paused).await;
        assert_eq!(stopped(world, campaign).await.map(|why| why.stop), Some(Stop::Authentication));
        worker.drain().await;
        assert!(states(world, campaign).await[&Queued] > 200);
    }

    /// Complaints that come in while it runs stop it within a beat or two.
    async fn complaints_stop_a_campaign(world: &mut World) {
        ready(world).await;
        people(world, 2000, ["societe.example"]).await;
        let server = Server::kind(Duration::from_millis(10)).await;
        let campaign = launch(world, "angry", "rate = \"200/s\"").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("some are taken", async || server.total() >= 200).await;
        let angry = world.app.keys.suppression.hash(&ouinon::domain::address::Address::parse("p1@societe.example").unwrap());
        let complaint = Event { campaign_id: campaign, kind: EventKind::Complaint, class: "", address_hash: angry, at: 1 };
        world.tx(async |tx| events::add(tx, std::slice::from_ref(&complaint)).await).await;
        world.until_state("angry", CampaignState::Paused).await;
        assert_eq!(stopped(world, campaign).await.map(|why| (why.stop, why.count)), Some((Stop::Complaints, 1)));
        worker.drain().await;
    }
}
