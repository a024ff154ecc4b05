//! What can be seen of it: metrics, status, limits.

use std::{sync::Arc, time::Duration};

use ouinon::{
    config::LimitSettings,
    domain::{campaigns::CampaignState, lang::Lang, limits::Limits, providers},
    pipeline::report,
    store::{self, lanes},
};
use serde_json::Value;

use super::town::{Answer, Server, launch, people, ready};
use crate::{
    faults::run::Worker,
    http,
    program::Program,
    world::{self, World, on_both},
};

/// The value of a sample whose line begins so.
fn sample(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
}

on_both! {
    /// States, groups, stops and the gate for Prometheus and for people; no address anywhere.
    async fn metrics_and_status_show_how_it_goes(world: &mut World) {
        ready(world).await;
        people(world, 20, ["yahoo.fr", "gmail.com", "societe.example"]).await;
        let mut config = (*world.app.config).clone();
        config.limits.groups.insert("google".into(), Limits { daily: Some(5), ..Limits::default() });
        config.limits.groups.insert("default".into(), Limits { connections: Some(4), ..Limits::default() });
        world.app.config = Arc::new(config);
        let answer: Answer = Arc::new(|address, domain, taken| match domain {
            "yahoo.fr" if taken >= 3 => Some("421 4.7.0 [TSS04] unexpected volume from <you@there>".into()),
            "societe.example" if address.starts_with("p1@") => Some("550 5.1.1 <p1@societe.example> unknown".into()),
            _ => None,
        });
        let server = Server::start(Duration::ZERO, answer).await;
        let pages = http::serve(&world.app).await;
        launch(world, "seen", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("each has come as far as it may", async || {
            server.taken("gmail.com") == 5 && server.taken("societe.example") == 19
        }).await;
        world.until("it is recorded", async || {
            let report = world.report("seen").await;
            report.status.bounced == 1 && report.by_provider_group["other"].accepted == 19
        }).await;
        let text = pages.get("/metrics").await;
        assert_eq!((text.status, text.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
        let text = text.body;
        assert_eq!(sample(&text, "ouinon_campaigns{state=\"running\"}"), Some(1.0));
        assert_eq!(sample(&text, "ouinon_submissions_total{group=\"other\",outcome=\"bounced\"}"), Some(1.0));
        assert_eq!(sample(&text, "ouinon_submissions_total{group=\"google\",outcome=\"accepted\"}"), Some(5.0));
        assert_eq!(sample(&text, "ouinon_group_suspended{group=\"yahoo\"}"), Some(1.0));
        assert_eq!(sample(&text, "ouinon_stop_count{campaign=\"seen\",stop=\"hard_bounces\"}"), Some(1.0));
        assert_eq!(sample(&text, "ouinon_stop_left{campaign=\"seen\",stop=\"hard_bounces\"}"), Some(2.0));
        assert!(sample(&text, "ouinon_gate_seconds_count").is_some_and(|n| n > 0.0), "{text}");
        let next = sample(&text, "ouinon_next_retry_timestamp_seconds{campaign=\"seen\"}");
        let until = sample(&text, "ouinon_group_suspended_until_timestamp_seconds{group=\"yahoo\"}");
        assert!(until.is_some() && next >= until, "who stands still tries nothing: {text}");
        assert!(!text.contains('@') && !text.contains("p1"), "{text}");
        for line in text.lines() {
            assert!(line.starts_with("# ") || line.rsplit_once(' ').is_some_and(|(_, n)| n.parse::<f64>().is_ok()), "{line}");
        }
        // What came through a proxy is told nothing.
        assert_eq!(pages.ask("GET /metrics HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1", b"").await.status, 404);

        let program = Program::beside(world)
            .with("OUINON_LIMITS_GROUPS_GOOGLE_DAILY", "5")
            .with("OUINON_LIMITS_GROUPS_DEFAULT_CONNECTIONS", "4");
        // The story's clock stands in the past: what is suspended there is over here, and known all the same.
        let status = program.json(&["campaign", "status", "seen"]);
        for key in ["campaign", "state", "asked", "queued", "by_reason", "rate_per_minute", "eta", "stops", "groups"] {
            assert!(status.get(key).is_some(), "{key}: {status}");
        }
        assert_eq!(status["groups"]["other"]["accepted"], 19);
        assert_eq!(status["groups"]["yahoo"]["connections"], 1);
        let stop = &status["stops"][0];
        assert_eq!((&stop["stop"], &stop["count"], &stop["left"]), (&Value::from("hard_bounces"), &1.into(), &2.into()));
        // The same in words: when the next retry is due, and every stop before it fires.
        let words = String::from_utf8(program.run(&["campaign", "status", "seen"]).stdout).unwrap();
        let next = status["groups"]["yahoo"]["next_retry"].as_str().expect("a retry is due");
        assert!(words.contains(next), "{words}");
        for stop in ["hard_bounces: 1 / ", "complaints: 0 / ", "authentication: 0", "content: 0"] {
            assert!(words.contains(stop), "{stop}: {words}");
        }
        let report = program.json(&["campaign", "report", "seen"]);
        for (group, part) in report["by_provider_group"].as_object().unwrap() {
            let sum: i64 = ["accepted", "bounced", "blocked", "queued", "deferred", "unknown", "cancelled"]
                .iter()
                .map(|key| part[key].as_i64().unwrap())
                .sum();
            assert_eq!(part["asked"], sum, "{group}: {part}");
        }
        let limits = program.json(&["limits", "show"]);
        assert_eq!(limits["groups"]["yahoo"]["reply"], "421 4.7.0 [TSS04] unexpected volume from");
        // Every group that the table of the others limits, and of each what holds over all campaigns.
        for name in providers::names() {
            let group = &limits["groups"][name];
            assert!(group["state"].is_string() && group.get("accepted").is_none(), "{name}: {limits}");
        }
        assert_eq!(limits["groups"]["orange"]["connections"], 4);
        assert_eq!(limits["groups"]["google"]["caps"][0]["most"], 5);
        let warm = Program::beside(world).with("OUINON_LIMITS_WARM_UP", "5").with("OUINON_LIMITS_WARM_UP_START", "2020-01-01");
        assert!(warm.json(&["limits", "show"])["server"].is_null(), "a warm-up that is over limits nothing");
        // A worker at work would try yahoo at once, and be pushed back again.
        worker.drain().await;
        let lifted = program.json(&["limits", "lift", "yahoo"]);
        assert_eq!((&lifted["groups"]["yahoo"]["state"], lifted["groups"]["yahoo"].get("reply")), (&"open".into(), None));
        for (args, code) in [(["limits", "lift", "yahoo"], 3), (["limits", "lift", "nobody"], 2)] {
            assert_eq!(program.run(&args).status.code(), Some(code), "{args:?}");
        }
        assert_eq!(world.report("seen").await.status.state, CampaignState::Running);
    }

    /// Two hosts whose configurations differ: each keeps to its own limits, and everybody who looks is told.
    async fn hosts_with_different_limits_are_told(world: &mut World) {
        ready(world).await;
        people(world, 3, ["societe.example"]).await;
        let server = Server::kind(Duration::ZERO).await;
        let pages = http::serve(&world.app).await;
        launch(world, "two-hosts", "rate = \"6/min\"").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("the first is out", async || world.report("two-hosts").await.status.accepted > 0).await;
        let settings = async || sample(&pages.get("/metrics").await.body, "ouinon_limit_settings");
        let told = || Program::beside(world).json(&["campaign", "status", "two-hosts"])["limits_differ"].clone();
        let beside = async |limits: LimitSettings| {
            world.tx(async |tx| {
                let other = store::workers::add(tx, 0).await?;
                store::workers::keeps(tx, other, &limits.mark()).await
            }).await;
        };
        assert_eq!(settings().await, Some(1.0), "the worker says which it keeps");
        worker.drain().await;
        beside(world.app.config.limits.clone()).await;
        beside(world.app.config.limits.clone()).await;
        assert_eq!((settings().await, told()), (Some(1.0), Value::Null));
        let mut limits = world.app.config.limits.clone();
        limits.server.daily = Some(5000);
        beside(limits).await;
        assert_eq!((settings().await, told()), (Some(2.0), Value::Bool(true)));
        let words = String::from_utf8(Program::beside(world).run(&["campaign", "status", "two-hosts"]).stdout).unwrap();
        assert!(words.contains("give every host the same [limits]"), "{words}");
    }

    /// What a cap over all campaigns holds back is said, and no end is promised before the next day; what nobody knows
    /// the end of stays in the metrics when its campaign has ended.
    async fn a_cap_over_all_and_the_unknown_of_an_ended_campaign_are_seen(world: &mut World) {
        ready(world).await;
        people(world, 9, ["societe.example"]).await;
        let mut config = (*world.app.config).clone();
        config.limits.server = Limits { daily: Some(4), ..Limits::default() };
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::ZERO).await;
        let pages = http::serve(&world.app).await;
        let campaign = launch(world, "capped", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("the day's are gone", async || world.report("capped").await.status.accepted == 4).await;
        worker.drain().await;
        let app = world.app.clone();
        let live = world.tx(async |tx| {
            let row = store::campaigns::by_slug(tx, "capped").await?.unwrap();
            report::live(&app, tx, &row, Lang::En).await
        }).await;
        let words = live.pace.lines(Lang::En).join("\n");
        assert!(words.contains("all campaigns together: 0 of 4 left until "), "{words}");
        // Five are left: four go tomorrow, and one the day after.
        let cap = &live.pace.server.as_ref().unwrap().caps[0];
        let day_ends: jiff::Timestamp = cap.ends.parse().unwrap();
        let expected = day_ends.as_second() - world.now() / 1000 + 86_400;
        assert!(live.status.eta.is_some_and(|eta| (eta - expected).abs() < 5), "{:?}, not {expected}", live.status.eta);

        let dead = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        let lane = lanes::Bound { provider_group: "other", zone: "", past: 0 };
        let one = world.tx(async |tx| lanes::claim(tx, campaign, dead, &lane, 1).await).await[0].contact_id;
        world.tx(async |tx| world::submit(tx, campaign, dead, &[one], 1).await).await;
        world.tx(async |tx| store::deliveries::abandon(tx, dead, 2).await).await;
        assert!(Program::beside(world).run(&["campaign", "cancel", "capped"]).status.success());
        let text = pages.get("/metrics").await.body;
        assert_eq!(sample(&text, "ouinon_deliveries{campaign=\"capped\",state=\"unknown\"}"), Some(1.0), "{text}");
        assert_eq!(sample(&text, "ouinon_deliveries{campaign=\"capped\",state=\"cancelled\"}"), None, "{text}");
        let words = String::from_utf8(Program::beside(world).run(&["campaign", "report", "capped"]).stdout).unwrap();
        let heads = words.lines().find(|line| line.contains("relationship")).unwrap();
        assert!(heads.contains("unknown") && heads.contains("cancelled"), "{words}");
    }
}
