//! The published case: 1,072 professionals, 18 unsubscribes within an hour and a half, prospects all of
//! them; and the evidence of it, which verifies anywhere and no byte of which can be changed.

use std::collections::BTreeSet;

use ouinon::{
    mail::catcher::Settings,
    pipeline::repermission::{bundle, evidence, send},
};

use super::{
    Reading,
    asking::{asking, report, send as send_question},
    plan_of, told,
};
use crate::{
    program::Program,
    sending::Sending,
    source,
    world::{World, on_both},
};

/// Minutes after the sending began at which somebody unsubscribed.
const MINUTES: [i64; 18] = [1, 2, 3, 4, 6, 7, 9, 11, 14, 18, 23, 29, 36, 44, 53, 64, 76, 89];

on_both! {
    async fn the_published_case(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let list = std::fs::read(source::top().join("samples/repermission/old-list.csv")).unwrap();
        let plan = plan_of(world, &[("old-list.csv", &list)], &Reading::default()).await;
        assert_eq!((plan.lines, told(&plan).as_str()), (1072, "askable 1072"), "{:?}", plan.by_reason);
        assert!(plan.files[0].left_out.is_empty(), "{:?}", plan.files[0]);
        let sent = send_question(world, &plan.id, &asking()).await;
        world.send(&sent.campaign).await;
        let first = report(world, &plan.id).await;
        assert_eq!((first.base, first.sent, first.accepted, first.silent), (1072, 1072, 1072, 1072));

        // What each person is stands in the list itself.
        let (text, ..) = encoding_rs::WINDOWS_1252.decode(&list);
        let prospects: BTreeSet<&str> = text
            .lines()
            .filter(|line| line.split(';').nth(7) == Some("prospect"))
            .map(|line| line.split(';').next().unwrap())
            .collect();
        let caught = post.caught();
        assert_eq!(caught.len(), 1072);
        let mut passed = 0;
        let mut leaving = caught.iter().filter(|(address, _)| prospects.contains(address.as_str()));
        for minute in MINUTES {
            world.advance((minute - passed) * 60);
            passed = minute;
            let (_, message) = leaving.next().unwrap();
            assert_eq!(post.one_click(message).await.status, 200);
        }
        world.advance(24 * 3600);
        let report = report(world, &plan.id).await;
        assert_eq!((report.base, report.sent, report.unsubscribes, report.yes, report.no), (1072, 1072, 18, 0, 0));
        assert_eq!((report.blocked, report.bounced, report.silent), (0, 0, 1054));
        for (relationship, part) in &report.by_relationship {
            assert_eq!(part.unsubscribes, if relationship == "prospect" { 18 } else { 0 }, "{relationship}");
        }
        let minutes: Vec<i64> = report.series.unsubscribes.iter().enumerate().flat_map(|(m, n)| vec![m as i64; *n as usize]).collect();
        assert_eq!(minutes, MINUTES, "none after an hour and a half");
        assert_eq!(report.series.unsubscribes.len(), 90);
        assert_eq!(report.silence.business, 1054);
        assert_eq!(report.silence.not_asked_again_until.as_deref(), Some("2027-05-18"));
        assert!(report.stopped_by.is_none(), "1.67 % stops nothing");

        let path = world.folder().join("evidence.zip");
        let found = send::find(&world.app, &plan.id).await.unwrap();
        evidence::write(&world.app, &found, &path).await.unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let key = bundle::published(&world.app.keys.audit);
        let verified = bundle::verify(&bytes, Some(&key));
        assert!(verified.valid, "{verified:?}");
        assert_eq!(post.pages.get("/.well-known/ouinon-audit-key").await.body.trim(), key);
        let whole = String::from_utf8_lossy(&bytes);
        for address in caught.keys() {
            assert!(!whole.contains(address.as_str()), "the evidence names nobody");
            let hash = world.app.keys.suppression.hash(&ouinon::domain::address::Address::parse(address).unwrap());
            assert!(!whole.contains(&hash.to_hex()), "not even by a hash");
        }
        assert_eq!(whole.matches(",askable,").count(), 1072);

        // On another machine: no database, no key, no configuration.
        let elsewhere = tempfile::tempdir().unwrap();
        let program = Program::in_folder(elsewhere.path());
        let file = path.display().to_string();
        let told = program.json(&["audit", "verify", &file, "--key", &key]);
        assert_eq!((told["valid"].as_bool(), told["plan"].as_str()), (Some(true), Some("rp-1")));
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is made there");
        for at in [10, bytes.len() / 3, bytes.len() / 2, bytes.len() - 5] {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            std::fs::write(elsewhere.path().join("changed.zip"), &changed).unwrap();
            let run = program.run(&["audit", "verify", "changed.zip", "--json"]);
            assert_eq!(run.status.code(), Some(1), "byte {at}");
            assert!(String::from_utf8_lossy(&run.stdout).contains("\"valid\": false"));
        }
    }
}
