//! Provider groups: each at its own pace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ouinon::{
    domain::{
        campaign_file::Rate,
        campaigns::{
            CampaignState,
            DeliveryState::{Accepted, Bounced, Deferred, Queued},
        },
        limits::{Limits, WarmUp},
    },
    store::groups,
};

use super::town::{Answer, Server, TOWN, launch, people, ready, states_of};
use crate::{
    faults::run::{Worker, assert_once_each, states, until},
    world::{World, on_both},
};

/// Two providers throttle after some messages, until the story says that it is over; one refuses all.
fn town_answers(over: Arc<std::sync::atomic::AtomicBool>) -> Answer {
    Arc::new(move |_, domain, taken| {
        let calm = over.load(std::sync::atomic::Ordering::SeqCst);
        match domain {
            "gmail.com" if taken >= 30 && !calm => {
                Some("421 4.7.28 Our system has detected an unusual rate of unsolicited mail".into())
            }
            "yahoo.fr" if taken >= 10 && !calm => {
                Some("421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume".into())
            }
            "orange.fr" => Some("550 5.2.0 Mail rejected".into()),
            _ => None,
        }
    })
}

on_both! {
    /// Ten groups, two of them throttling and one refusing: each ends at its own pace, and everybody in
    /// the right state.
    async fn ten_groups_end_each_at_its_own_pace(world: &mut World) {
        const EACH: usize = 60;
        ready(world).await;
        people(world, EACH, TOWN.map(|(_, domain)| domain)).await;
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let server = Server::start(Duration::ZERO, town_answers(Arc::clone(&over))).await;
        let campaign = launch(world, "ten", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        let all = EACH as i64;
        // Seven take everything while two stand still; the refusals are final.
        until(world, campaign, |s| s.get(&Accepted).is_some_and(|n| *n >= 7 * all + 40) && s.get(&Bounced) == Some(&all)).await;
        for (group, domain) in TOWN {
            let now = states_of(world, campaign, group).await;
            match group {
                "google" | "yahoo" => {
                    let standing = world.tx(async |tx| groups::hold(tx, group).await).await.expect("it is suspended");
                    assert!(standing.is_suspended(world.now()), "{group}: {standing:?}");
                    assert!(now[&Queued] > 0, "what waits is not tried: {now:?}");
                    // Those too that had passed the gate and were held back when it pushed back.
                    assert!(now[&Deferred] > 0, "{group}: {now:?}");
                    let pushed = server.refused(domain);
                    assert!((1..=20).contains(&pushed), "{group} had to push back {pushed} times");
                }
                "orange" => assert_eq!(now, BTreeMap::from([(Bounced, all)])),
                _ => assert_eq!(now, BTreeMap::from([(Accepted, all)]), "{group}"),
            }
        }
        let taken = (server.taken("gmail.com"), server.taken("yahoo.fr"));
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((server.taken("gmail.com"), server.taken("yahoo.fr")), taken, "nothing goes to who is suspended");
        // Gmail's half hour is over, Yahoo's two hours are not.
        world.advance(31 * 60);
        world.until("google goes on", async || server.taken("gmail.com") > taken.0).await;
        assert_eq!(server.taken("yahoo.fr"), taken.1);
        let (mut rounds, patience) = (0, std::time::Instant::now());
        while states(world, campaign).await.keys().any(|state| ![Accepted, Bounced].contains(state)) {
            world.advance(15 * 60);
            rounds += 1;
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert!(patience.elapsed() < Duration::from_secs(200), "it does not end: {:?}", states(world, campaign).await);
        }
        assert!(rounds > 3, "they come back slowly");
        world.until_state("ten", CampaignState::Finished).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&server.catcher]).await;
    }

    /// A group that recovers has one connection, and no more.
    async fn a_group_comes_back_with_one_connection(world: &mut World) {
        ready(world).await;
        people(world, 60, ["yahoo.fr"]).await;
        let calm = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let answer: Answer = {
            let calm = Arc::clone(&calm);
            Arc::new(move |_, _, _| {
                let throttled = !calm.load(std::sync::atomic::Ordering::SeqCst);
                throttled.then(|| "421 4.7.0 [TSS04] unexpected volume".to_owned())
            })
        };
        let server = Server::start(Duration::from_millis(30), answer).await;
        let campaign = launch(world, "back", "").await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        world.until("yahoo is suspended", async || {
            world.tx(async |tx| groups::hold(tx, "yahoo").await).await.is_some()
        }).await;
        calm.store(true, std::sync::atomic::Ordering::SeqCst);
        // A restart keeps the suspension.
        worker.drain().await;
        let worker = Worker::start(&world.app, &server.catcher.url());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(server.total(), 0);
        world.advance(2 * 3600 + 60);
        world.until("some are taken", async || server.total() >= 4).await;
        assert_eq!(server.at_once.lock().unwrap()["yahoo.fr"].1, 1, "one at a time");
        worker.drain().await;
        let now = states(world, campaign).await;
        assert!(now[&Accepted] >= 4, "{now:?}");
        assert_once_each(world, campaign, &[&server.catcher]).await;
    }

    /// A slow group's limit slows nobody else, and its connections are its own.
    async fn a_limited_group_slows_no_other(world: &mut World) {
        ready(world).await;
        people(world, 300, ["gmail.com", "societe.example"]).await;
        let mut config = (*world.app.config).clone();
        config.limits.groups.insert("google".into(), Limits {
            rate: Some(Rate::parse("20/s").unwrap()),
            connections: Some(2),
            ..Limits::default()
        });
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::from_millis(2)).await;
        let campaign = launch(world, "slow", "").await;
        let began = std::time::Instant::now();
        let worker = Worker::start(&world.app, &server.catcher.url());
        until(world, campaign, |s| s.get(&Accepted).is_some_and(|n| *n >= 300)).await;
        world.until("the others have theirs", async || server.taken("societe.example") == 300).await;
        let most = (began.elapsed().as_secs_f64() * 20.0) as usize + 22;
        assert!(server.taken("gmail.com") <= most && server.taken("gmail.com") < 300, "{}", server.taken("gmail.com"));
        assert!(server.at_once.lock().unwrap()["gmail.com"].1 <= 2);
        worker.drain().await;
        assert_once_each(world, campaign, &[&server.catcher]).await;
    }

    /// Hourly and daily caps and the warm-up plan hold across restarts, and open with the calendar.
    async fn caps_hold_across_restarts_and_days(world: &mut World) {
        ready(world).await;
        people(world, 40, ["gmail.com"]).await;
        let mut config = (*world.app.config).clone();
        config.limits.groups.insert("google".into(), Limits {
            hourly: Some(8),
            warm_up: Some(WarmUp { start: "2026-11-18".parse().unwrap(), days: vec![10, 15] }),
            ..Limits::default()
        });
        world.app.config = Arc::new(config);
        let server = Server::kind(Duration::ZERO).await;
        let campaign = launch(world, "caps", "").await;
        // It is ten in the morning of the first day in Paris.
        let sent = async |expected: usize| {
            for _ in 0..2 {
                let worker = Worker::start(&world.app, &server.catcher.url());
                world.until("the cap is reached", async || server.total() >= expected).await;
                tokio::time::sleep(Duration::from_millis(700)).await;
                worker.drain().await;
                assert_eq!(server.total(), expected);
            }
        };
        sent(8).await;
        world.advance(3600);
        sent(10).await;
        world.advance(12 * 3600);
        assert!(world.app.now().to_string().starts_with("2026-11-18T22:"), "still the first day in Paris");
        sent(10).await;
        // Midnight in Paris, not in London.
        world.advance(3600);
        sent(18).await;
        world.advance(3600);
        sent(25).await;
        world.advance(24 * 3600);
        sent(33).await;
        world.advance(3600);
        sent(40).await;
        assert_once_each(world, campaign, &[&server.catcher]).await;
    }
}
