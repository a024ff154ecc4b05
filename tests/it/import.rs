//! Stories of an import: files as people have them, twice, interrupted, and never against a refusal.

use std::{
    io::Write,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
};

use ouinon::{
    domain::{
        address::Address,
        campaigns::CampaignKind,
        consents::{ConsentState, Proof},
        import::columns::Mapping,
        suppressions::{Origin, Scope, SuppressionReason},
    },
    pipeline::{
        explain::explain,
        import::{self, ImportError, Options, Place, Report},
    },
    store::{
        consents::{self, Consent, ConsentPurpose},
        contacts,
        contacts::Contact,
        products, suppressions,
    },
};

use rand::{RngExt, SeedableRng};

use crate::world::{World, on_both};

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn place(world: &World) -> Place<'_> {
    Place { db: world.db(), key: &world.app.keys.suppression, tz: world.app.tz(), now: world.app.now() }
}

async fn try_import(world: &World, bytes: &[u8], options: &Options) -> Result<Report, ImportError> {
    import::apply(place(world), file(bytes), options, &mut |_, _| {}).await
}

/// `new changed unchanged refused`, then `line column code` of each refusal; the totals must add up.
fn told(report: &mut Report) -> String {
    assert_eq!(report.new + report.changed + report.unchanged + report.refused, report.lines);
    let mut text = format!("{} {} {} {}", report.new, report.changed, report.unchanged, report.refused);
    for refusal in report.refusals.iter().unwrap() {
        let refusal = refusal.unwrap();
        text.push_str(&format!(" | {} {} {}", refusal.line, refusal.column_name, refusal.code));
    }
    text
}

/// Imports for real, after a dry run has said the same and changed nothing.
async fn import_with(world: &World, bytes: &[u8], options: &Options) -> String {
    let before = everything(world).await;
    let mut dry = import::dry_run(place(world), file(bytes), options, &mut |_, _| {}).await.unwrap();
    assert_eq!(everything(world).await, before, "a dry run changes nothing");
    let told_dry = told(&mut dry);
    let told_real = told(&mut try_import(world, bytes, options).await.unwrap());
    assert_eq!(told_dry, told_real, "a dry run says what the import does");
    told_real
}

async fn import_text(world: &World, text: &str) -> String {
    import_with(world, text.as_bytes(), &Options::default()).await
}

/// Contacts, consents and suppressions as they are stored.
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

async fn contact(world: &World, address: &str) -> Option<Contact> {
    let hash = world.app.keys.suppression.hash(&Address::parse(address).unwrap());
    world.tx(async |tx| contacts::by_hash(tx, hash).await).await
}

/// Scope, product and instant of the standing refusals of an address.
async fn refusals(world: &World, address: &str) -> Vec<(Scope, String, Option<i64>)> {
    let hash = world.app.keys.suppression.hash(&Address::parse(address).unwrap());
    let entries = world.tx(async |tx| suppressions::standing(tx, &[hash], &[], &[]).await).await;
    for entry in &entries {
        assert_eq!((entry.reason, entry.origin), (SuppressionReason::Unsubscribe, Origin::Import));
    }
    entries.into_iter().map(|e| (e.scope, e.product, e.at)).collect()
}

async fn said(world: &World, address: &str) -> Vec<String> {
    let id = contact(world, address).await.unwrap().id;
    let events = world.tx(async |tx| consents::of_contacts(tx, &[id]).await).await;
    events.into_iter().map(|e| format!("{} {} {} {:?} {}", e.purpose, e.product, e.state, e.at, e.proof)).collect()
}

/// The code of the decision about a person at example.net and the product crm.
async fn decision(world: &World, who: &str) -> &'static str {
    let address = Address::parse(&format!("{who}@example.net")).unwrap();
    let product = world.tx(async |tx| products::by_slug(tx, "crm").await).await.unwrap();
    explain(&world.app, &address, &product, CampaignKind::Marketing, world.app.now()).await.unwrap().code
}

async fn add_product(world: &World, slug: &str) {
    assert!(world.tx(async |tx| products::add(tx, slug, slug, false, 0).await).await);
}

fn millis(instant: &str) -> Option<i64> {
    Some(instant.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

on_both! {
    /// A French file as a spreadsheet writes it: Windows-1252, semicolons, dates of both kinds, CR LF.
    async fn a_file_from_a_spreadsheet(world: &mut World) {
        add_product(world, "crm").await;
        let text = "Email;Prénom;last_name;company;country;kind;collected_at;consent_crm;consent_crm_proof\r\n\
            Marie@Example.net;Marie;Müller;\"Café; \"\"Chez Zoé\"\"\";France;professionnel;18/03/2025;oui;double opt-in\r\n\
            jean@example.net;Jean;;\"Deux\r\nLignes\";be;b2c;4/5/2025;;\r\n\
            paul@example.net;Paul;;;;;45734;non;\r\n\
            nul;Nul;;;;;;;\r\n";
        let (bytes, ..) = encoding_rs::WINDOWS_1252.encode(text);
        let options = Options {
            mapping: Mapping { map: vec![("Prénom".into(), "first_name".into())], ..Mapping::default() },
            date_order: None,
        };
        let first = import_with(world, &bytes, &options).await;
        assert_eq!(first, "3 0 0 1 | 6 Email email_invalid");

        let marie = contact(world, "marie@example.net").await.unwrap();
        assert_eq!((marie.first_name.as_str(), marie.last_name.as_str()), ("Marie", "Müller"));
        assert_eq!((marie.company.as_str(), marie.regime.as_str()), ("Café; \"Chez Zoé\"", "FR"));
        assert_eq!(marie.collected_at, "2025-03-18");
        let jean = contact(world, "jean@example.net").await.unwrap();
        assert_eq!((jean.company.as_str(), jean.collected_at.as_str()), ("Deux Lignes", "2025-05-04"));
        assert_eq!(jean.regime, "EU_DEFAULT");
        let since = millis("2025-03-17T23:00:00Z");
        assert_eq!(said(world, "marie@example.net").await, [format!("mail crm granted {since:?} doi")]);
        assert_eq!(said(world, "paul@example.net").await, ["mail crm refused None none"]);

        let before = everything(world).await;
        world.advance(86_400);
        let second = import_with(world, &bytes, &options).await;
        assert_eq!(second, "0 0 3 1 | 6 Email email_invalid");
        assert_eq!(everything(world).await, before, "the same file again changes nothing");
    }

    /// An empty cell erases nothing; another value replaces.
    async fn a_second_file_adds_to_the_first(world: &mut World) {
        import_text(world, "email,company,country,last_activity,last_activity_at\na@example.net,Acme,FR,purchase,2025-03-18\n").await;
        let told = import_text(world, "email,company,country,last_activity,last_activity_at\nA@EXAMPLE.NET,,DE,click,2024-01-01\n").await;
        assert_eq!(told, "0 1 0 0");
        let contact = contact(world, "a@example.net").await.unwrap();
        assert_eq!((contact.company.as_str(), contact.regime.as_str()), ("Acme", "DE"));
        assert_eq!((contact.last_activity.as_str(), contact.last_activity_at.as_str()), ("purchase", "2025-03-18"));
    }

    /// Whatever is wrong with a line, the refusal in it is written; and none is ever lifted.
    async fn a_refusal_is_kept_from_any_line(world: &mut World) {
        add_product(world, "crm").await;
        let text = "email,country,unsubscribed_at,consent_crm\n\
            dated@example.net,FR,2025-03-18T10:00:00Z,\n\
            day@example.net,FR,2025-03-18,\n\
            word@example.net,FR,oui,\n\
            no@example.net,FR,non,\n\
            bad@example.net,Atlantide,2025-03-18,\n\
            unreadable@example.net,FR,perhaps,\n\
            refused@example.net,Atlantide,,non\n\
            withdrawn@example.net,FR,,withdrawn\n\
            short@example.net,FR,yes\n\
            quote@example.net,\"FR,yes,\n";
        let told = import_text(world, text).await;
        assert_eq!(
            told,
            "5 0 0 5 | 6 country country_unknown | 7 unsubscribed_at date_invalid | 8 country country_unknown \
             | 10  columns | 11  quote"
        );
        let everything_to = |at| vec![(Scope::Global, String::new(), at)];
        let day = millis("2025-03-18T22:59:59.999Z");
        for (address, expected) in [
            ("dated@example.net", everything_to(millis("2025-03-18T10:00:00Z"))),
            ("day@example.net", everything_to(day)),
            ("word@example.net", everything_to(None)),
            ("no@example.net", vec![]),
            ("bad@example.net", everything_to(day)),
            ("unreadable@example.net", everything_to(None)),
            ("refused@example.net", vec![(Scope::Product, "crm".to_owned(), None)]),
            ("withdrawn@example.net", vec![]),
            ("short@example.net", everything_to(None)),
            ("quote@example.net", everything_to(None)),
        ] {
            assert_eq!(refusals(world, address).await, expected, "{address}");
        }
        assert_eq!(said(world, "withdrawn@example.net").await, ["mail crm withdrawn None none"]);

        let before = everything(world).await;
        assert_eq!(import_text(world, text).await, told.replacen("5 0 0 5", "0 0 5 5", 1));
        assert_eq!(everything(world).await, before, "the same file again changes nothing");

        let again = "email,country,unsubscribed_at\nword@example.net,FR,no\ndated@example.net,BE,\n";
        assert_eq!(import_text(world, again).await, "0 1 1 0");
        assert_eq!(refusals(world, "word@example.net").await, everything_to(None), "no file lifts a refusal");
        assert_eq!(refusals(world, "dated@example.net").await.len(), 1);
    }

    /// One person, several lines: what agrees is unchanged, what differs is refused, refusals are all kept.
    async fn one_person_in_several_lines(world: &mut World) {
        let text = "email,company,country,unsubscribed_at\n\
            a@example.net,Acme,FR,\n\
            A@Example.net ,Acme,,\n\
            a@example.net,Other,FR,\n\
            a@example.net,Other,FR,2025-03-18\n\
            b@example.net,Acme,Atlantide,\n\
            b@example.net,Bcme,FR,\n\
            a@example.net,Acme,FR,oui\n";
        let told = import_text(world, text).await;
        assert_eq!(told, "2 1 1 3 | 4  duplicate | 5  duplicate | 6 country country_unknown");
        assert_eq!(contact(world, "a@example.net").await.unwrap().company, "Acme");
        assert_eq!(contact(world, "b@example.net").await.unwrap().company, "Bcme");
        assert_eq!(refusals(world, "a@example.net").await.len(), 2);
        let before = everything(world).await;
        assert_eq!(import_text(world, text).await, told.replacen("2 1 1 3", "0 0 4 3", 1));
        assert_eq!(everything(world).await, before, "the same file again changes nothing");

        // The same far apart, where no transaction holds both lines.
        let mut far = String::from("email,company\nc@example.net,Acme\n");
        (0..5000).for_each(|i| far.push_str(&format!("far{i}@example.net,Acme\n")));
        far.push_str("c@example.net,Other\nC@example.net,Acme\n");
        assert_eq!(import_text(world, &far).await, "5001 0 1 1 | 5003  duplicate");
    }

    /// A file whose encoding, quotes or cells are broken loses the broken lines, and only those.
    async fn a_broken_file_loses_only_its_broken_lines(world: &mut World) {
        let mut bytes = "email,company,source\na@example.net,Café,site\n".as_bytes().to_vec();
        bytes.extend_from_slice(b"b@example.net,Caf\xE9,site\n");
        bytes.extend_from_slice("c@example.net,Théâtre,\"a \"\"b\"\" c\"\n".as_bytes());
        bytes.extend_from_slice(b"d@example.net,\"Acme,site\ne@example.net,Acme,site\n");
        bytes.extend_from_slice(b"f@example.net,Acme, SA,site\n\ng@example.net,Ac\0me,site\n");
        bytes.extend_from_slice("h@example.net,Acme,\"rencontrée, enceinte\"\ni@example.net,Acme,site".as_bytes());
        let told = import_with(world, &bytes, &Options::default()).await;
        assert_eq!(
            told,
            "4 0 0 5 | 3 company encoding | 5  quote | 7  columns | 9 company control_character | 10 source sensitive"
        );
        assert_eq!(contact(world, "c@example.net").await.unwrap().source, "a \"b\" c");
    }

    /// What would be misread is refused before anything is written.
    async fn a_file_that_is_not_understood_changes_nothing(world: &mut World) {
        for (text, part) in [
            ("", "is empty"),
            ("email,prénom\na@example.net,A\n", "--map prénom=first_name"),
            ("email,consent_crm\na@example.net,yes\n", "ouinon product add crm"),
            ("email,email\na@example.net,b@example.net\n", "two columns"),
        ] {
            let error = try_import(world, text.as_bytes(), &Options::default()).await.unwrap_err();
            assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
        }
        let default = vec![("country".to_owned(), "Atlantide".to_owned())];
        let options = Options { mapping: Mapping { default, ..Mapping::default() }, date_order: None };
        let error = try_import(world, b"email\na@example.net\n", &options).await.unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("--default country"), "{error}");
        assert!(contact(world, "a@example.net").await.is_none());
    }

    /// Interrupted at any moment, the same command goes on where it was and tells the whole.
    async fn an_interrupted_import_goes_on(world: &mut World) {
        let mut text = String::from("email,company,country,unsubscribed_at\n");
        for i in 0..6000 {
            let country = if i % 10 == 0 { "Atlantide" } else { "FR" };
            let unsubscribed = if i % 100 == 7 { "2025-03-18" } else { "" };
            text.push_str(&format!("p{}@example.net,Acme,{country},{unsubscribed}\n", i % 5900));
        }
        for stop_at in [1, 2500, 4000] {
            let done = AtomicU64::new(0);
            let stopped = AssertUnwindSafe(async {
                import::apply(place(world), file(text.as_bytes()), &Options::default(), &mut |lines, total| {
                    assert_eq!(total, 6000);
                    done.store(lines, Ordering::SeqCst);
                    assert!(lines < stop_at, "stopped by the story");
                })
                .await
            });
            assert!(crate::world::caught(stopped.0).await.is_err());
            assert!(done.load(Ordering::SeqCst) >= stop_at);
        }
        let mut resumed_from = None;
        let mut report =
            import::apply(place(world), file(text.as_bytes()), &Options::default(), &mut |lines, _| {
                resumed_from.get_or_insert(lines);
            })
            .await
            .unwrap();
        assert!(resumed_from.unwrap() >= 4000, "it goes on, it does not begin again");
        let told_resumed = told(&mut report);
        assert!(told_resumed.starts_with("5310 0 90 600"), "{}", &told_resumed[..60]);
        assert_eq!(report.refusals.by_code().get("country_unknown"), Some(&600));
        assert_eq!(world.tx(async |tx| contacts::count(tx).await).await, 5310);
        let again = told(&mut try_import(world, text.as_bytes(), &Options::default()).await.unwrap());
        assert!(again.starts_with("0 0 5400 600"), "{}", &again[..60]);
    }

    /// A double opt-in that stands in a file lifts nothing, in whatever order the files come; the person's own does.
    async fn a_file_never_lifts_a_refusal(world: &mut World) {
        add_product(world, "crm").await;
        let refusal = |who: &str| format!("email,country,unsubscribed_at\n{who}@example.net,FR,2024-03-18\n");
        let refused = |who: &str| format!(
            "email,country,consent_crm,consent_crm_at\n{who}@example.net,FR,refused,2024-03-18\n"
        );
        let granted = |who: &str| format!(
            "email,country,source_kind,informed,collected_at,consent_crm,consent_crm_at,consent_crm_proof\n\
             {who}@example.net,FR,direct_form,yes,2024-01-01,granted,2025-03-18,doi\n"
        );
        for (who, files, code) in [
            ("never", vec![granted("never")], "CONSENT"),
            ("before", vec![refusal("before"), granted("before")], "SUPPRESSED_GLOBAL"),
            ("after", vec![granted("after"), refusal("after")], "SUPPRESSED_GLOBAL"),
            ("no", vec![refused("no"), granted("no")], "CONSENT_WITHDRAWN"),
            ("late", vec![granted("late"), refused("late")], "CONSENT_WITHDRAWN"),
        ] {
            for text in files {
                let told = import_text(world, &text).await;
                assert!(told.ends_with(" 0 0") && !told.contains('|'), "{told}");
            }
            assert_eq!(decision(world, who).await, code, "{who}");
        }
        let own = contact(world, "before@example.net").await.unwrap().id;
        let event = Consent {
            contact_id: own,
            purpose: ConsentPurpose::Mail,
            product: "crm".into(),
            state: ConsentState::Granted,
            at: Some(world.now()),
            proof: Proof::Doi,
            evidence: String::new(),
            origin: Origin::Page,
            recorded_at: world.now(),
        };
        world.tx(async |tx| consents::add(tx, &[event]).await).await;
        assert_eq!(decision(world, "before").await, "CONSENT");
    }

    /// Whatever bytes a file holds, nothing panics and every line is accounted for.
    async fn any_bytes_at_all(world: &mut World) {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(20_261_118);
        let pieces: &[&[u8]] = &[
            b"a@example.net", b"B@Example.NET", b",", b",", b",", b"\n", b"\n", b"\r\n", b"\"", b"\"\"", b";", b"\xE9",
            b"\0", "é".as_bytes(), b"2025-03-18", b"04/05/2025", b"oui", b"FR", b"45734", b" ", b"\xFF\xFE", b"x",
        ];
        for _ in 0..40 {
            let mut bytes = b"email,country,collected_at,unsubscribed_at\n".to_vec();
            for _ in 0..rng.random_range(1..200) {
                bytes.extend_from_slice(pieces[rng.random_range(0..pieces.len())]);
            }
            match try_import(world, &bytes, &Options::default()).await {
                Ok(_) => drop(import_with(world, &bytes, &Options::default()).await),
                Err(error) => assert!(error.is_bad_input(), "{error}"),
            }
        }
    }

    /// The report is one JSON object, whatever its length.
    async fn the_report_is_json(world: &mut World) {
        let mut report = try_import(world, b"email,kind\nx,b2b\na@example.net,b2b\n", &Options::default()).await.unwrap();
        let mut json = Vec::new();
        report.write_json(&mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"lines": 2, "new": 1, "changed": 0, "unchanged": 0, "refused": 1, "refusals": [
                {"line": 2, "column": "email", "code": "email_invalid", "message": "an address is local-part@domain"}
            ]})
        );
    }
}
