//! Lists of refusals as files: read line by line, only ever added to, and written back.

use std::io::{Seek, Write};

use ouinon::{
    domain::{
        address::{Address, foreign_hashes},
        import::dates::{DateOrder, Order},
        suppressions::{Origin, Scope, SuppressionReason},
    },
    pipeline::{
        import::Report,
        suppress,
        suppression_import::{self, Defaults, ListError},
        suppression_list::{self, HashKind},
    },
    store::{
        products,
        suppressions::{self, Entry},
    },
};

use crate::{
    store::hash,
    world::{World, on_both},
};

fn defaults() -> Defaults {
    Defaults { reason: SuppressionReason::Unsubscribe, product: None, at: None, hash_kind: None, order: Order::Unknown }
}

async fn import(world: &World, text: &str, defaults: &Defaults) -> Result<Report, ListError> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file.rewind().expect("rewound");
    let app = &world.app;
    let (key, print) = (&app.keys.suppression, app.keys.suppression_print());
    suppression_import::import(&app.db, key, print, app.tz(), app.now(), file, defaults).await
}

/// Lines, new, unchanged, refused.
fn counts(report: &Report) -> (u64, u64, u64, u64) {
    (report.lines, report.new, report.unchanged, report.refused)
}

/// Line, column and code of each refused line.
fn refused(report: &mut Report) -> Vec<(i64, String, String)> {
    let lines = report.refusals.iter().expect("kept").map(|r| r.expect("readable"));
    lines.map(|r| (r.line, r.column_name, r.code)).collect()
}

async fn list(world: &World) -> Vec<Entry> {
    world.tx(async |tx| suppressions::page(tx, 0, 5000).await).await
}

async fn blocked(world: &World, address: &str) -> bool {
    let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
    let address = Address::parse(address).expect("an address");
    let found = world.tx(async |tx| suppress::check(tx, &key, &address, now).await).await;
    found.iter().any(suppress::Finding::blocks)
}

on_both! {
    /// One thing a line: an address, a domain, a hash of whatever kind says which it is.
    async fn a_plain_list(world: &mut World) {
        let [sha, md5] = foreign_hashes(&Address::parse("hashed@example.org").expect("an address"));
        let own = hash(world, "ours@example.org").to_hex();
        let text = format!(
            "\u{FEFF}Marie@Example.NET\r\n\r\n@spam.example\nécole.example\n{sha}\n{}\nhmac:{own}\nnot an address\n{own}\nmarie@example.net\n",
            md5.trim_start_matches("md5:").to_uppercase(),
        );
        let mut report = import(world, &text, &defaults()).await.expect("read");
        assert_eq!(counts(&report), (9, 6, 1, 2));
        let code = |line, column: &str, code: &str| (line, column.to_owned(), code.to_owned());
        assert_eq!(refused(&mut report), [code(8, "domain", "domain_invalid"), code(9, "hash", "hash_invalid")]);
        for address in ["marie@example.net", "x@spam.example", "x@sub.spam.example", "y@xn--cole-9oa.example", "hashed@example.org", "ours@example.org"] {
            assert!(blocked(world, address).await, "{address}");
        }
        assert!(!blocked(world, "x@notspam.example").await);
        let first = &list(world).await[0];
        assert_eq!((first.scope, first.reason, first.origin, first.at),
            (Scope::Global, SuppressionReason::Unsubscribe, Origin::Import, Some(world.now())));
        // The same file later adds nothing.
        world.advance(3600);
        let again = import(world, &text, &Defaults { hash_kind: Some(HashKind::Hmac), ..defaults() }).await.expect("read");
        assert_eq!(counts(&again), (9, 0, 8, 1));
    }

    /// Columns say more, and must not contradict each other.
    async fn columns(world: &mut World) {
        world.tx(async |tx| products::add(tx, "crm", "CRM", true, 1).await).await;
        let text = "Email;Reason;Scope;Product;At;Note\n\
            a@example.net;complaint;;;2025-01-02;told us\n\
            b@example.net;;product;crm;2025-01-02T03:04:05Z;\n\
            c@example.net;;;crm;unknown;\n\
            d@example.net;Hard_Bounce;address;;;\n\
            e@example.net;;hash;;;\n\
            @f.example;;domain;;;\n\
            g@example.net;spam;;;;\n\
            h@example.net;;product;;;\n\
            i@example.net;;global;crm;;\n\
            j@example.net;;;erp;;\n\
            k@example.net;;domain;;;\n\
            l@example.net;;;;2027-01-01;\n\
            m@example.net;;;;03/04/2025;\n\
            ;;;;;\n\
            n@example.net;;\n\
            \"o@example.net;;;;;\n";
        let mut report = import(world, text, &defaults()).await.expect("read");
        assert_eq!(counts(&report), (16, 6, 0, 10));
        let codes: Vec<(i64, String)> = refused(&mut report).into_iter().map(|(line, _, code)| (line, code)).collect();
        let expected = ["value_unknown", "contradiction", "contradiction", "product_unknown", "contradiction",
            "date_future", "date_invalid", "whom_missing", "columns", "quote"];
        assert_eq!(codes, (8..).zip(expected.map(str::to_owned)).collect::<Vec<_>>());
        let found: Vec<(Scope, String, SuppressionReason, bool)> =
            list(world).await.into_iter().map(|e| (e.scope, e.product, e.reason, e.address.is_empty())).collect();
        let (none, crm) = (String::new, || "crm".to_owned());
        assert_eq!(found, [
            (Scope::Global, none(), SuppressionReason::Complaint, false),
            (Scope::Product, crm(), SuppressionReason::Unsubscribe, false),
            (Scope::Product, crm(), SuppressionReason::Unsubscribe, false),
            (Scope::Address, none(), SuppressionReason::HardBounce, false),
            (Scope::Hash, none(), SuppressionReason::Unsubscribe, true),
            (Scope::Domain, none(), SuppressionReason::Unsubscribe, true),
            // Refused lines whose reason or date is wrong: the no stands, without a date.
            (Scope::Global, none(), SuppressionReason::Unsubscribe, false),
            (Scope::Global, none(), SuppressionReason::Unsubscribe, false),
            (Scope::Global, none(), SuppressionReason::Unsubscribe, false),
        ]);
        let at: Vec<Option<i64>> = list(world).await.iter().map(|e| e.at).collect();
        // A bare date is read as its end, in Paris.
        let end_of_day = "2025-01-02T22:59:59.999Z".parse::<jiff::Timestamp>().expect("an instant").as_millisecond();
        assert_eq!((at[0], at[2], at[3]), (Some(end_of_day), None, Some(world.now())));
        assert_eq!(at[6..], [None, None, None]);
        let said = Defaults { order: Order::Said(DateOrder::Dmy), product: Some("crm".into()), ..defaults() };
        assert_eq!(counts(&import(world, "address,at\nm@example.net,03/04/2025\n", &said).await.expect("read")), (1, 1, 0, 0));
        assert_eq!(list(world).await[9].product, "crm");
    }

    /// A file that is no list is refused whole, with what it should be.
    async fn no_list(world: &mut World) {
        for (text, part) in [
            ("", "empty"),
            ("email,first_name\na@example.net,A\n", "\"first_name\" is not known"),
            ("a@example.net,unsubscribe\n", "first line must name the columns"),
            ("email,adresse\na@example.net,b@example.net\n", "two columns hold the address"),
            ("reason,at\nmanual,2025-01-01\n", "one must be address, domain or hash"),
        ] {
            let error = import(world, text, &defaults()).await.expect_err(text);
            assert!(error.is_bad_input() && error.to_string().contains(part), "{text:?}: {error}");
        }
        assert_eq!(counts(&import(world, "email\n", &defaults()).await.expect("an empty list")), (0, 0, 0, 0));
        assert_eq!(list(world).await, []);
    }

    /// What one installation exports, it reads back as it was, and nothing is new.
    async fn there_and_back(world: &mut World) {
        world.tx(async |tx| products::add(tx, "crm", "CRM", true, 1).await).await;
        let text = "address,domain,hash,scope,product,reason,at,note\n\
            +tag@example.org,,,,,objection,2025-01-02T03:04:05Z,'=1+1\n\
            a@example.net,,,product,crm,unsubscribe,unknown,\"one, \"\"two\"\"\"\n\
            ,d.example,,,,manual,2025-01-02T03:04:05Z,\n\
            ,,md5:0123456789abcdef0123456789abcdef,,,complaint,2025-01-02T03:04:05Z,\n\
            h@example.net,,,hash,,unsubscribe,2025-01-02T03:04:05Z,\n";
        assert_eq!(counts(&import(world, text, &defaults()).await.expect("read")), (5, 5, 0, 0));
        let before = list(world).await;
        assert_eq!(before[0].note, "=1+1");
        for hashed in [false, true] {
            let mut csv = Vec::new();
            suppression_list::export_csv(world.db(), hashed, world.app.keys.suppression_print(), &mut csv).await.expect("written");
            let csv = String::from_utf8(csv).expect("text");
            assert_eq!(csv.contains("tag@"), !hashed);
            let report = import(world, &csv, &defaults()).await.expect("read");
            assert_eq!(counts(&report), (5, 0, 5, 0), "{csv}");
        }
        assert_eq!(list(world).await, before);
    }

    /// Many lines in several transactions, some of them twice.
    async fn a_long_list(world: &mut World) {
        let text: String = (0..2500).map(|i| format!("p{}@example.net\n", i % 2400)).collect();
        assert_eq!(counts(&import(world, &text, &defaults()).await.expect("read")), (2500, 2400, 100, 0));
        assert_eq!(list(world).await.len(), 2400);
    }
}
