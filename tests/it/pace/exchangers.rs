//! Groups found by mail exchangers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ouinon::domain::{
    campaigns::{CampaignState, DeliveryState::Accepted},
    limits::Limits,
};

use super::town::{Server, launch, people, ready, states_of};
use crate::{
    dns::Dns,
    faults::run::Worker,
    world::{World, on_both},
};

on_both! {
    /// T01: forty people on twenty domains behind one provider are one group, with one limit.
    async fn twenty_domains_behind_one_exchanger_have_one_limit(world: &mut World) {
        ready(world).await;
        let domains: Vec<String> = (0..20).map(|n| format!("entreprise{n}.fr")).collect();
        people(world, 2, domains.iter().map(String::as_str)).await;
        people(world, 2, ["gmail.com", "seule.fr", "absente.fr"]).await;
        let zone: String = domains.iter().map(|domain| format!("{domain} MX 5 mx1.mail.ovh.net\n")).collect();
        let dns = Dns::start(&format!("{zone}seule.fr MX 10 mail.seule.fr\n")).await;
        let mut config = (*world.app.config).clone();
        config.dns = Some(dns.at);
        config.limits.groups.insert("ovh".into(), Limits { hourly: Some(12), ..Limits::default() });
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::ZERO).await;
        let campaign = launch(world, "mx", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("the cap is reached", async || server.total() == 12 + 6).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(server.total(), 18);
        assert_eq!(states_of(world, campaign, "ovh").await.values().sum::<i64>(), 40);
        assert_eq!(states_of(world, campaign, "google").await[&Accepted], 2);
        assert_eq!(states_of(world, campaign, "other").await[&Accepted], 4);
        assert!(!dns.asked().iter().any(|asked| asked.contains("gmail.com")), "the table knows: {:?}", dns.asked());
        // What was learnt is kept: another campaign asks nobody.
        let asked = dns.asked().len();
        launch(world, "again", "").await;
        world.until("it is enqueued", async || world.report("again").await.status.asked == 46).await;
        assert_eq!(dns.asked().len(), asked);
        worker.drain().await;
    }

    /// A DNS server that was chosen knows names that the public one cannot have.
    async fn a_private_network_has_exchangers_too(world: &mut World) {
        ready(world).await;
        people(world, 3, ["siege.internal", "filiale.test", "ailleurs.test", "chez-soi.test"]).await;
        let dns = Dns::start(
            "siege.internal MX 10 mx1.mail.ovh.net\nfiliale.test MX 10 mx2.mail.ovh.net\nailleurs.test MX 10 mx.notovh.net\n\
             chez-soi.test MX 50 mx1.mail.ovh.net\nchez-soi.test MX 10 mx.chez-soi.test\n",
        )
        .await;
        let mut config = (*world.app.config).clone();
        config.dns = Some(dns.at);
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::ZERO).await;
        let campaign = launch(world, "private", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until_state("private", CampaignState::Finished).await;
        worker.drain().await;
        assert_eq!(states_of(world, campaign, "ovh").await[&Accepted], 6);
        // A look-alike, and one whose mail the provider only keeps while its own server is away.
        assert_eq!(states_of(world, campaign, "other").await[&Accepted], 6);
    }

    /// With DNS away or silent everybody is sent to all the same, and soon.
    async fn nothing_waits_for_dns(world: &mut World) {
        ready(world).await;
        let domains: Vec<String> = (0..30).map(|n| format!("silence{n}.fr")).collect();
        people(world, 1, domains.iter().map(String::as_str)).await;
        people(world, 1, ["orange.fr"]).await;
        let zone: String = domains.iter().map(|domain| format!("{domain} SILENT\n")).collect();
        let dns = Dns::start(&zone).await;
        let mut config = (*world.app.config).clone();
        config.dns = Some(dns.at);
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::ZERO).await;
        let campaign = launch(world, "silent", "").await;
        let (began, worker) = (Instant::now(), Worker::start(&world.app, &server.catcher.url()));
        world.until_state("silent", CampaignState::Finished).await;
        assert!(began.elapsed() < Duration::from_secs(60));
        assert_eq!(states_of(world, campaign, "other").await[&Accepted], 30);
        assert_eq!(states_of(world, campaign, "orange").await[&Accepted], 1);
        worker.drain().await;
    }
}
