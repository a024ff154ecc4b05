//! Mail servers that fail.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ouinon::{
    domain::campaigns::DeliveryState::{Accepted, Bounced, Cancelled, Deferred, Unknown},
    mail::catcher::{Action, Event, Script, What},
    pipeline::campaigns,
};

use super::run::{PATIENCE, Worker, assert_once_each, assert_states, launched, server, states, until};
use crate::{
    program::Program,
    world::{World, on_both},
};

const MANY: i64 = 300;

/// Does `action` at every `nth` event that `at` picks.
fn every(nth: usize, at: fn(What<'_>) -> bool, action: Action) -> Option<Script> {
    let seen = AtomicUsize::new(0);
    Some(Arc::new(move |event: &Event| {
        let hit = at(event.what) && (seen.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(nth);
        if hit { action.clone() } else { Action::Usual }
    }))
}

fn is_command(what: What<'_>, name: &str) -> bool {
    matches!(what, What::Command(line) if line.starts_with(name))
}

on_both! {
    /// The connection is cut before DATA: the server has nothing, and all is sent later.
    async fn a_cut_before_data_defers(world: &mut World) {
        let campaign = launched(world, MANY as usize).await;
        let catcher = server(every(40, |what| is_command(what, "RCPT"), Action::Close)).await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| s.values().sum::<i64>() == MANY && s.keys().all(|k| [Accepted, Deferred].contains(k))).await;
        assert!(states(world, campaign).await[&Deferred] > 0);
        world.advance(2 * 3600);
        until(world, campaign, |s| s.get(&Accepted).is_some_and(|n| *n > MANY - 5)).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// The connection is cut in the middle of the message: the server does not have it. Whoever has written all of
    /// it already cannot know; nobody gets two, and all others get it later.
    async fn a_cut_within_data_doubles_nothing(world: &mut World) {
        let campaign = launched(world, MANY as usize).await;
        let (cuts, healed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let script: Script = {
            let (cuts, healed, seen) = (Arc::clone(&cuts), Arc::clone(&healed), AtomicUsize::new(0));
            Arc::new(move |event: &Event| {
                let within = matches!(event.what, What::Data(_)) && seen.fetch_add(1, Ordering::SeqCst) % 40 == 39;
                if !within || healed.load(Ordering::SeqCst) {
                    return Action::Usual;
                }
                cuts.fetch_add(1, Ordering::SeqCst);
                Action::Close
            })
        };
        let catcher = server(Some(script)).await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| s.values().sum::<i64>() == MANY && s.keys().all(|k| [Accepted, Deferred, Unknown].contains(k))).await;
        healed.store(true, Ordering::SeqCst);
        world.advance(2 * 3600);
        until(world, campaign, |s| s.keys().all(|k| [Accepted, Unknown].contains(k))).await;
        worker.drain().await;
        let unknown = states(world, campaign).await.get(&Unknown).copied().unwrap_or(0);
        let cuts = cuts.load(Ordering::SeqCst) as i64;
        assert!(cuts > 0 && unknown <= cuts, "{cuts} cuts, {unknown} unknown");
        assert_eq!(catcher.mailbag().count() as i64, MANY - unknown, "what was cut in the middle never arrived");
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// The connection is cut between the final dot and its answer: nobody knows, and nobody retries.
    async fn a_cut_before_the_last_answer_is_unknown(world: &mut World) {
        let campaign = launched(world, MANY as usize).await;
        let catcher = server(every(50, |what| matches!(what, What::Message { .. }), Action::Close)).await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| s.values().sum::<i64>() == MANY && s.keys().all(|k| [Accepted, Deferred, Unknown].contains(k))).await;
        let lost = states(world, campaign).await[&Unknown];
        assert!((1..=12).contains(&lost), "{lost} unknown");
        world.advance(200 * 3600);
        until(world, campaign, |s| s.keys().all(|k| [Accepted, Unknown].contains(k))).await;
        assert!(states(world, campaign).await[&Unknown] >= lost);
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// The unknown are listed, the first hundred by name and the others by number; a person ends each, once.
    async fn a_person_ends_what_nobody_knows(world: &mut World) {
        let campaign = launched(world, 130).await;
        let catcher = server(every(1, |what| matches!(what, What::Message { .. }), Action::Close)).await;
        let worker = Worker::start(&world.app, &catcher.url());
        // What stood behind such a one on its connection never left, and is tried again.
        let ended = |s: &BTreeMap<_, i64>| s.get(&Unknown).copied().unwrap_or(0);
        loop {
            until(world, campaign, |s| s.values().sum::<i64>() == 130 && s.keys().all(|k| [Deferred, Unknown].contains(k))).await;
            let before = ended(&states(world, campaign).await);
            if before == 130 {
                break;
            }
            world.advance(6 * 3600);
            until(world, campaign, |s| ended(s) > before).await;
        }
        worker.drain().await;
        let program = Program::beside(world);
        for command in ["status", "report"] {
            let told = program.json(&["campaign", command, "autumn"]);
            assert_eq!((&told["unknown"], told["unknowns"].as_array().unwrap().len()), (&130.into(), 100));
            let text = program.run(&["campaign", command, "autumn"]).stdout;
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("ouinon campaign resolve") && text.contains("30 more"), "{text}");
            assert_eq!(text.matches("@societe").count(), 100, "{text}");
        }
        let resolve = |i: usize, fate| {
            let address = format!("p{i}@societe{}.example", i % 7);
            program.run(&["campaign", "resolve", "autumn", "--address", &address, "--as", fate]).status.code()
        };
        for (i, fate) in [(0, "accepted"), (1, "bounced"), (2, "cancelled")] {
            assert_eq!(resolve(i, fate), Some(0));
            assert_eq!(resolve(i, "accepted"), Some(2), "it is known now");
        }
        assert_eq!(resolve(130, "accepted"), Some(2), "nobody of that name was written to");
        assert_states(world, campaign, &[(Accepted, 1), (Bounced, 1), (Cancelled, 1), (Unknown, 127)]).await;
        // By no word of a person is any of it sent again.
        let sent = catcher.mailbag().count();
        let worker = Worker::start(&world.app, &catcher.url());
        tokio::time::sleep(Duration::from_millis(700)).await;
        worker.drain().await;
        assert_eq!((sent, catcher.mailbag().count()), (130, 130));
    }

    /// 421 in the middle, 5xx to a recipient and 4xx to DATA each concern the message they answer.
    async fn a_refusal_concerns_its_own_message(world: &mut World) {
        let campaign = launched(world, MANY as usize).await;
        let script: Script = Arc::new(|event: &Event| match event.what {
            What::Command(line) if line.starts_with("RCPT TO:<p1@") => Action::ReplyAndClose("421 4.7.0 too fast\r\n".into()),
            What::Command(line) if line.starts_with("RCPT TO:<p2@") => Action::Reply("550 5.1.1 no such user\r\n".into()),
            What::Message { to, .. } if to[0].starts_with("p3@") => Action::Reply("451 4.3.0 later\r\n".into()),
            What::Message { to, .. } if to[0].starts_with("p4@") => Action::Reply("554 5.2.0 no\r\n".into()),
            _ => Action::Usual,
        });
        let catcher = server(Some(script)).await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| s.values().sum::<i64>() == MANY && s.keys().all(|k| [Accepted, Deferred, Bounced].contains(k))).await;
        worker.drain().await;
        let now = states(world, campaign).await;
        assert_eq!(now[&Bounced], 2, "{now:?}");
        assert!(now[&Deferred] >= 2, "{now:?}");
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// A server that never answers the dot holds up nothing else, and the worker stops when told.
    async fn a_silent_server_does_not_hold_up_the_others(world: &mut World) {
        let campaign = launched(world, MANY as usize).await;
        let script: Script = Arc::new(|event: &Event| match event.what {
            What::Message { to, .. } if to[0].starts_with("p7@") => Action::Silent,
            What::Message { .. } => Action::Slow(Duration::from_millis(5)),
            _ => Action::Usual,
        });
        let catcher = server(Some(script)).await;
        let worker = Worker::start(&world.app, &catcher.url());
        // The silent one, and what waits behind it on its connection.
        until(world, campaign, |s| s.get(&Accepted).is_some_and(|n| *n >= MANY - 3)).await;
        worker.drain().await;
        let now = states(world, campaign).await;
        assert_eq!(now[&Unknown], 1, "{now:?}");
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// With the mail server away messages wait unsubmitted; the worker stops when told, and goes on later.
    async fn a_server_that_is_away_loses_nothing(world: &mut World) {
        let campaign = launched(world, MANY as usize).await;
        let closed = server(None).await.url();
        let worker = Worker::start(&world.app, &closed);
        until(world, campaign, |s| s.values().sum::<i64>() == MANY).await;
        // Whoever asks why nothing leaves is told.
        let program = Program::beside(world);
        let told = || program.json(&["campaign", "status", "autumn"])["no_connection"][0].as_str().map(str::to_owned);
        world.until("the trouble is seen", async || told().is_some_and(|why| why.starts_with("cannot connect to 127"))).await;
        let status = String::from_utf8(program.run(&["campaign", "status", "autumn"]).stdout).unwrap();
        assert!(status.contains("no connection to the mail server (cannot connect to 127"), "{status}");
        let began = std::time::Instant::now();
        worker.drain().await;
        assert!(began.elapsed() < Duration::from_secs(5));
        let catcher = server(None).await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| s.get(&Accepted) == Some(&MANY)).await;
        assert_eq!(told(), None);
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// A server that takes two connections and no more is no trouble: something leaves.
    async fn a_server_that_takes_few_connections_is_reached(world: &mut World) {
        let campaign = launched(world, MANY as usize).await;
        let met = AtomicUsize::new(0);
        let script: Script = Arc::new(move |event: &Event| match event.what {
            What::Connect if met.fetch_add(1, Ordering::SeqCst) >= 2 => Action::ReplyAndClose("421 4.7.0 too many connections\r\n".into()),
            What::Message { .. } => Action::Slow(Duration::from_millis(50)),
            _ => Action::Usual,
        });
        let catcher = server(Some(script)).await;
        let worker = Worker::start(&world.app, &catcher.url());
        assert!(catcher.mailbag().wait_for(80, PATIENCE).await);
        let status = Program::beside(world).json(&["campaign", "status", "autumn"]);
        assert_eq!((&status["state"], &status["no_connection"]), (&"running".into(), &serde_json::Value::Null), "{status}");
        until(world, campaign, |s| s.get(&Accepted) == Some(&MANY)).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    }

    /// Paused, nothing leaves after a second; resumed, it goes on within one; nothing is lost.
    async fn a_pause_takes_effect_within_a_second(world: &mut World) {
        let campaign = launched(world, 3000).await;
        let catcher = server(every(1, |what| matches!(what, What::Message { .. }), Action::Slow(Duration::from_millis(20)))).await;
        let worker = Worker::start(&world.app, &catcher.url());
        assert!(catcher.mailbag().wait_for(50, PATIENCE).await);
        campaigns::pause(&world.app, "autumn").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sent = catcher.mailbag().count();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(catcher.mailbag().count(), sent, "something left after the pause");
        campaigns::resume(&world.app, "autumn").await.unwrap();
        assert!(catcher.mailbag().wait_for(sent + 1, Duration::from_secs(1)).await, "it goes on within a second");
        campaigns::cancel(&world.app, "autumn").await.unwrap();
        until(world, campaign, |s| s.keys().all(|k| [Accepted, Cancelled].contains(k))).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
        let accepted = catcher.mailbag().count() as i64;
        let now = states(world, campaign).await;
        assert_eq!(now[&Accepted], accepted);
    }

    /// What is refused for now after its campaign was cancelled is not tried again.
    async fn cancelled_on_the_wire_stays_cancelled(world: &mut World) {
        let campaign = launched(world, 20).await;
        let catcher = server(every(1, |what| matches!(what, What::Message { .. }), Action::Pieces(vec!["451 4.3.0 later\r\n".into()], Duration::from_millis(900)))).await;
        let worker = Worker::start(&world.app, &catcher.url());
        until(world, campaign, |s| s.contains_key(&ouinon::domain::campaigns::DeliveryState::Submitting)).await;
        campaigns::cancel(&world.app, "autumn").await.unwrap();
        until(world, campaign, |s| s.get(&Cancelled) == Some(&20)).await;
        worker.drain().await;
        assert_states(world, campaign, &[(Cancelled, 20)]).await;
    }

    /// The clock jumps back and forth: everybody gets one copy, and in the end everybody has it.
    async fn a_clock_that_jumps_doubles_nothing(world: &mut World) {
        let campaign = launched(world, 1000).await;
        let moody = Arc::new(AtomicBool::new(true));
        let catcher = {
            let (moody, seen) = (Arc::clone(&moody), AtomicUsize::new(0));
            server(Some(Arc::new(move |event: &Event| {
                let ninth = is_command(event.what, "RCPT") && seen.fetch_add(1, Ordering::SeqCst) % 9 == 8;
                if ninth && moody.load(Ordering::SeqCst) { Action::Reply("451 4.3.0 later\r\n".into()) } else { Action::Usual }
            }))).await
        };
        let worker = Worker::start(&world.app, &catcher.url());
        for hours in [-5, 9, -40, 40, -1, 24, -30] {
            world.advance(hours * 3600);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        moody.store(false, Ordering::SeqCst);
        // Those that wait wait for an hour that the clock had shown already; it comes again, well before they are given up.
        world.advance(36 * 3600);
        until(world, campaign, |s| s.get(&Accepted) == Some(&1000)).await;
        worker.drain().await;
        assert_once_each(world, campaign, &[&catcher]).await;
    }
}
