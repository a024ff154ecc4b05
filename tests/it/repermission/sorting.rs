//! Sorting: every line once, everything that is known counted, nothing changed.

use ouinon::{
    domain::{
        address::Address,
        contacts::{ContactKind, SourceKind},
        suppressions::{Origin, SuppressionReason},
    },
    pipeline::suppress::{self, Reach, Refusal, Whom},
    store::{self, consents, contacts, contacts::Contact, suppressions},
};

use super::{Reading, plan_of, told};
use crate::{
    store::{consent, contact, stored},
    world::{World, on_both},
};

const HEADER: &str = "email;kind;relationship;country;source_kind;collected_at;informed;unsubscribed_at;consent_crm;consent_crm_proof;consent_crm_at\n";

/// Each line and where it belongs.
const LINES: &[(&str, &str)] = &[
    ("pro@societe.example;b2b;prospect;FR;business_card;2024-06-01;;;;;", "askable"),
    ("info@societe.example;b2b;prospect;FR;public_source;2024-06-01;;;;;", "askable"),
    ("oui@example.net;b2c;prospect;FR;direct_form;2026-03-10;oui;;oui;full;2026-03-10", "already"),
    ("client@example.net;b2c;client;FR;purchase;2026-03-10;oui;;;;", "no-basis"),
    ("rien@example.net;b2c;prospect;FR;direct_form;2026-03-10;oui;;;;", "no-basis"),
    ("dit@example.net;b2c;prospect;FR;direct_form;2026-03-10;oui;;oui;none;2026-03-10", "no-basis"),
    ("stop@societe.example;b2b;prospect;FR;business_card;2024-06-01;;2025-01-01;;;", "refused"),
    ("non@societe.example;b2b;prospect;FR;business_card;2024-06-01;;;non;;", "refused"),
    ("vieux@societe.example;b2b;prospect;FR;business_card;2019-06-01;;;;;", "expired"),
    ("sansdate@societe.example;b2b;prospect;FR;business_card;;;;;;", "unknown"),
    ("sanssource@societe.example;b2b;prospect;FR;;2024-06-01;;;;;", "unknown"),
    ("pas une adresse;b2b;prospect;FR;business_card;2024-06-01;;;;;", "invalid"),
    ("mal@societe.example;b2b;prospect;FR;business_card;31/02/2025;;;;;", "invalid"),
    ("futur@societe.example;b2b;prospect;FR;business_card;2030-01-01;;;;;", "invalid"),
    ("court@societe.example;b2b", "invalid"),
    ("PRO@Societe.example;b2b;prospect;FR;business_card;2024-06-01;;;;;", "duplicate"),
    ("deux@societe.example;b2b;prospect;FR;business_card;2024-06-01;;;;;", "refused"),
    ("deux@societe.example;b2b;prospect;FR;business_card;2024-06-01;;oui;;;", "duplicate"),
    ("trois@societe.example;b2b;prospect;FR;business_card;2024-06-01;;;;;", "refused"),
    ("trois@societe.example;b2b;prospect;FR;business_card;31/02/2025;;oui;;;", "invalid"),
    ("ailleurs@societe.example;b2b;prospect;DE;business_card;2026-06-01;oui;;;;", "no-basis"),
];

fn list() -> String {
    let lines: Vec<&str> = LINES.iter().map(|(line, _)| *line).collect();
    format!("{HEADER}{}\n", lines.join("\n"))
}

async fn everything(world: &World) -> String {
    world
        .tx(async |tx| {
            let people = contacts::page(tx, 0, 10_000).await?;
            let ids: Vec<i64> = people.iter().map(|c| c.id).collect();
            let said = consents::of_contacts(tx, &ids).await?;
            let refusals = suppressions::page(tx, 0, 10_000).await?;
            Ok(format!("{people:#?}\n{said:#?}\n{refusals:#?}"))
        })
        .await
}

async fn refuse(world: &World, whom: Whom, reach: Reach) {
    let refusal = Refusal {
        whom,
        reach,
        reason: SuppressionReason::Objection,
        origin: Origin::Staff,
        at: Some(world.app.now()),
        campaign_id: None,
        note: String::new(),
    };
    let key = world.app.keys.suppression.clone();
    world.tx(async |tx| suppress::refuse(tx, &key, &refusal, world.app.now()).await).await;
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

on_both! {
    /// Every line of one file lands in its group, with its reason and rule in the file of the group, and
    /// nothing but the plan is written.
    async fn every_line_lands_once(world: &mut World) {
        world.product("crm").await;
        let before = everything(world).await;
        let out = world.folder().join("sorted");
        let reading = Reading { out: Some(&out), ..Reading::default() };
        let plan = plan_of(world, &[("old.csv", list().as_bytes())], &reading).await;
        assert_eq!(everything(world).await, before, "a plan changes nothing");
        assert_eq!(plan.lines, LINES.len() as u64);
        for (number, (line, group)) in LINES.iter().enumerate() {
            let mut found = Vec::new();
            for candidate in plan.groups.keys() {
                let rows = std::fs::read_to_string(out.join(format!("{candidate}.csv"))).unwrap();
                let mut rows = csv::Reader::from_reader(rows.as_bytes());
                for row in rows.records().map(|row| row.unwrap()) {
                    if row[1] == (number + 2).to_string() {
                        assert_eq!(&row[0], "old.csv");
                        assert!(!row[3].is_empty() && !row[5].is_empty(), "{row:?}");
                        assert!(!row[4].is_empty() || *candidate == "duplicate", "{row:?}");
                        found.push(*candidate);
                    }
                }
            }
            assert_eq!(found, [*group], "line {}: {line}", number + 2);
        }
        assert_eq!(plan.by_reason["NO_CONSENT"], 2, "{:?}", plan.by_reason);
        assert_eq!((plan.by_reason["SUPPRESSED_GLOBAL"], plan.by_reason["CONSENT_WITHDRAWN"]), (3, 1));
        assert_eq!((plan.by_reason["LEGITIMATE_INTEREST_B2B"], plan.by_reason["GENERIC_ADDRESS"]), (1, 1));
        assert_eq!((plan.by_reason["DATA_INVALID_ADDRESS"], plan.by_reason["DATA_INVALID_DATE"], plan.by_reason["DATA_INVALID_ROW"]), (1, 3, 1));
        assert_eq!(plan.refusals, 4);
        assert_eq!(plan.id, "rp-1");
    }

    /// One person in several files is one person: a refusal in any of them holds, and what one does not
    /// know another may.
    async fn one_person_in_several_files(world: &mut World) {
        world.product("crm").await;
        let first = "email,kind,country,source_kind,collected_at\na@s.example,b2b,FR,business_card,2024-06-01\nb@s.example,b2b,FR,,\nc@s.example,b2b,FR,event,2024-06-01\n";
        let second = "email;source_kind;collected_at\nb@s.example;event;2025-02-03\nC@S.example;event;2025-01-01\n";
        let third = "email;unsubscribed_at\nA@s.example;13/03/2024\n";
        let all = [("a.csv", first.as_bytes()), ("b.csv", second.as_bytes()), ("c.csv", third.as_bytes())];
        let plan = plan_of(world, &all, &Reading::default()).await;
        assert_eq!((plan.lines, told(&plan).as_str()), (6, "askable 2, duplicate 3, refused 1"));
        let fourth = "email;kind\nb@s.example;particulier\n";
        let all = [all.as_slice(), &[("d.csv", fourth.as_bytes())]].concat();
        let plan = plan_of(world, &all, &Reading::default()).await;
        assert_eq!(told(&plan), "askable 1, duplicate 4, no-basis 1, refused 1", "the stricter of two statements holds");
        // The order of the files changes which line is the first, and no decision.
        let turned: Vec<_> = all.iter().rev().copied().collect();
        let plan = plan_of(world, &turned, &Reading::default()).await;
        assert_eq!((plan.groups["askable"], plan.groups["refused"], plan.groups["duplicate"]), (1, 1, 4));
    }

    /// What the database knows counts: contacts, consents, refusals of every scope, and the last question.
    async fn the_database_counts(world: &mut World) {
        world.product("crm").await;
        let known = |who: &str, kind| Contact { kind, source_kind: SourceKind::Unknown, ..contact(world, who) };
        stored(world, known("consumer@s.example", ContactKind::Consumer)).await;
        let yes = stored(world, Contact { source_kind: SourceKind::DirectForm, ..known("yes@s.example", ContactKind::Consumer) }).await;
        let event = consent(world, yes.id);
        world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&event)).await).await;
        refuse(world, Whom::Address(address("plain@s.example")), Reach::Everything).await;
        refuse(world, Whom::Address(address("product@s.example")), Reach::Product("crm".into())).await;
        refuse(world, Whom::Address(address("other@s.example")), Reach::Product("other".into())).await;
        refuse(world, Whom::Hash(world.app.keys.suppression.hash(&address("hash@s.example"))), Reach::Everything).await;
        refuse(world, Whom::Foreign(ouinon::domain::address::foreign_hashes(&address("foreign@s.example"))[1].clone()), Reach::Everything).await;
        refuse(world, Whom::Domain("closed.example".into()), Reach::Everything).await;
        let asked = world.app.keys.suppression.hash(&address("asked@s.example"));
        let now = world.now();
        world.tx(async |tx| store::facts::note_asked(tx, asked, "crm", now).await).await;
        let mut text = String::from("email,kind,country,source_kind,collected_at\n");
        for who in ["consumer@s", "yes@s", "plain@s", "product@s", "other@s", "hash@s", "foreign@s", "x@mail.closed", "asked@s", "new@s"] {
            text.push_str(&format!("{who}.example,b2b,FR,event,2025-06-01\n"));
        }
        let plan = plan_of(world, &[("old.csv", text.as_bytes())], &Reading::default()).await;
        assert_eq!(told(&plan), "already 1, askable 2, no-basis 2, refused 5", "{:?}", plan.by_reason);
        assert_eq!(plan.by_reason["REPERMISSION_COOLDOWN"], 1);
        assert_eq!(plan.by_reason["NO_CONSENT"], 1, "whom the database holds for a consumer stays one");
        assert_eq!((plan.by_reason["SUPPRESSED_HASH"], plan.by_reason["SUPPRESSED_DOMAIN"]), (2, 1));
    }

    /// For another day: retention is counted to it, and a refusal of today holds for yesterday too.
    async fn for_another_day(world: &mut World) {
        world.product("crm").await;
        refuse(world, Whom::Address(address("no@s.example")), Reach::Everything).await;
        let text = "email,kind,country,source_kind,collected_at\na@s.example,b2b,FR,event,2023-11-18\nno@s.example,b2b,FR,event,2023-11-18\n";
        let files = [("old.csv", text.as_bytes())];
        let on = |day: &str| Reading { as_of: Some(ouinon::pipeline::repermission::plan::AsOf::Day(day.parse().unwrap())), ..Reading::default() };
        for (day, expected) in [
            ("2026-11-17", "askable 1, refused 1"),
            ("2026-11-18", "askable 1, refused 1"),
            ("2026-11-19", "expired 1, refused 1"),
            ("2023-11-17", "invalid 2"),
        ] {
            assert_eq!(told(&plan_of(world, &files, &on(day)).await), expected, "{day}");
        }
    }

    /// What a missing fact would change is the decision with the fact supplied.
    async fn missing_facts_are_weighed(world: &mut World) {
        world.product("crm").await;
        let mut text = String::from("email,kind,country,source_kind,collected_at\n");
        for i in 0..4 {
            text.push_str(&format!("s{i}@s.example,b2b,FR,,2025-06-01\n"));
            text.push_str(&format!("c{i}@s.example,b2c,FR,,2025-06-01\n"));
        }
        text.push_str("d@s.example,b2b,FR,event,\nboth@s.example,b2b,FR,,\n");
        let plan = plan_of(world, &[("old.csv", text.as_bytes())], &Reading::default()).await;
        assert_eq!(told(&plan), "unknown 10");
        let estimate = |facts: &[&str]| {
            let found = plan.estimates.iter().find(|e| e.facts == facts).unwrap_or_else(|| panic!("{facts:?} in {:?}", plan.estimates));
            (found.lines, found.would.iter().map(|(g, n)| format!("{g} {n}")).collect::<Vec<_>>().join(", "))
        };
        assert_eq!(estimate(&["source"]), (8, "askable 4, no-basis 4".into()));
        assert_eq!(estimate(&["date"]), (2, "askable 1, unknown 1".into()));
        assert_eq!(estimate(&["date", "source"]), (1, "askable 1".into()));
        // Said for all lines, it is so.
        let reading = Reading { default: &[("source_kind", "formulaire")], ..Reading::default() };
        let plan = plan_of(world, &[("old.csv", text.as_bytes())], &reading).await;
        assert_eq!(told(&plan), "askable 4, no-basis 4, unknown 2");
    }
}
