//! Opens and clicks, row by row of table 8.3 of the rules, and what must never be tracked.

use std::collections::{BTreeMap, BTreeSet};

use ouinon::{
    domain::{
        address::AddressHash,
        campaigns::CampaignState,
        consents::{ConsentState, Proof},
        contacts::{ContactKind, SourceKind},
        suppressions::Origin,
        tokens::{Purpose, Token},
    },
    mail::{catcher::Settings, incoming, reading},
    pipeline::{erase, track},
    store::{
        self,
        consents::{Consent, ConsentPurpose},
        contacts::Contact,
        events::{self, EventKind},
        opens,
    },
};

use crate::{
    http::{self, Served},
    sending::{Sending, header},
    source,
    store::contact,
    world::{World, on_both},
};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
const DAY: i64 = 86_400;

fn agent(name: &str) -> &'static str {
    match name {
        "firefox" => FIREFOX,
        "apple" => "Mozilla/5.0",
        "google_proxy" => "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "gmail_prefetch" => {
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
        }
        "yahoo_proxy" => "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
        "curl" => "curl/8.5.0",
        other => panic!("{other} is no agent of the table"),
    }
}

/// A campaign with five links and this tracking.
fn campaign(slug: &str, keys: &str) -> String {
    let links: String = (1..=5).map(|n| format!("[{n}](https://www.example.org/{n}?a=1&b={slug})\n\n")).collect();
    format!(
        "+++\nslug = \"{slug}\"\nproduct = \"crm\"\nsubject = \"CRM\"\nfrom = \"Exemple <actu@news.example>\"\n\
         rate = \"60000/min\"\n{keys}\n+++\nBonjour,\n\n{links}[vous](https://www.example.org/{{{{ contact.email }}}})\n\n\
         [écrire](mailto:a@b.example)\n"
    )
}

/// People who said yes to the mail, each about product `crm`.
async fn readers(world: &World, names: &[&str]) -> BTreeMap<String, Contact> {
    let everybody: Vec<Contact> = names
        .iter()
        .map(|name| Contact {
            kind: ContactKind::Consumer,
            source_kind: SourceKind::DirectForm,
            collected_at: "2026-03-10".into(),
            ..contact(world, &format!("{}@reader.example", name.to_lowercase()))
        })
        .collect();
    world.tx(async |tx| store::contacts::save(tx, &everybody).await).await;
    let stored = world.tx(async |tx| store::contacts::page(tx, 0, 1000).await).await;
    for person in &stored {
        say(world, person, ConsentPurpose::Mail, ConsentState::Granted).await;
    }
    let of = |name: &&str| stored.iter().find(|c| c.address == format!("{}@reader.example", name.to_lowercase()));
    names.iter().map(|name| ((*name).to_owned(), of(name).expect("stored").clone())).collect()
}

async fn say(world: &World, person: &Contact, purpose: ConsentPurpose, state: ConsentState) {
    let event = Consent {
        contact_id: person.id,
        purpose,
        product: if purpose == ConsentPurpose::Mail { "crm".into() } else { String::new() },
        state,
        at: Some(world.now()),
        proof: Proof::Full,
        evidence: String::new(),
        origin: Origin::Page,
        recorded_at: world.now(),
    };
    world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&event)).await).await;
}

/// What was recorded of a person by a campaign, in its order.
async fn recorded(world: &World, person: &Contact, slug: &str) -> Vec<String> {
    let found = world.tx(async |tx| events::of_person(tx, person.address_hash).await).await;
    let of = found.into_iter().filter(|e| e.campaign.as_deref() == Some(slug));
    of.map(|e| format!("{}:{}", e.kind, e.class)).collect()
}

async fn last_open(world: &World, person: &Contact) -> Option<String> {
    let hash = person.address_hash;
    world.tx(async |tx| opens::days(tx, &[hash]).await).await.get(&hash).map(ToString::to_string)
}

async fn link(world: &World, hash: AddressHash, slug: &str, purpose: Purpose) -> String {
    let campaign = world.tx(async |tx| store::campaigns::by_slug(tx, slug).await).await.expect("the campaign").id;
    let token =
        Token { purpose, address: hash, product: 1, campaign: campaign as u32, product_scope: false, test: false };
    world.app.keys.tokens.sign(&token)
}

async fn ask(served: &Served, method: &str, path: &str, name: &str, network: &str, more: &str) -> http::Answer {
    let head = format!("{method} {path} HTTP/1.1\r\nUser-Agent: {}\r\nX-Forwarded-For: {network}{more}", agent(name));
    served.ask(&head, b"").await
}

/// Does one act of the table.
async fn act(world: &World, served: &Served, person: &Contact, slug: &str, what: &str, name: &str, network: &str) {
    let token = async |purpose| link(world, person.address_hash, slug, purpose).await;
    match what {
        "pixel" | "prefetched" => {
            let more = if what == "pixel" { "" } else { "\r\nSec-Purpose: prefetch" };
            let path = format!("/i/{}", token(Purpose::Open).await);
            let answer = ask(served, "GET", &path, name, network, more).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")), "{what}");
        }
        "withdraw" => say(world, person, ConsentPurpose::Tracking, ConsentState::Withdrawn).await,
        "unsubscribe" => {
            let path = format!("/o/{}", token(Purpose::Unsubscribe).await);
            assert_eq!(ask(served, "GET", &path, name, network, "").await.status, 200);
        }
        "post_unsubscribe" => {
            let path = format!("/o/{}", token(Purpose::Unsubscribe).await);
            assert_eq!(served.post(&path, "choice=everything").await.status, 200);
        }
        link => {
            let (method, number) = match link.split_at(4) {
                ("link", number) => ("GET", number),
                ("head", number) => ("HEAD", number),
                _ => panic!("{link} is no act of the table"),
            };
            let path = format!("/l/{}/{number}", token(Purpose::Click).await);
            let answer = ask(served, method, &path, name, network, "").await;
            let target = format!("https://www.example.org/{number}?a=1&b={slug}");
            assert_eq!((answer.status, answer.header("location")), (302, Some(target.as_str())));
        }
    }
}

#[derive(serde::Deserialize)]
struct Row {
    id: String,
    title: String,
    tracking: String,
    acts: String,
    recorded: String,
    /// Days after the mail; empty: none.
    last_open: String,
    contact: String,
}

fn table() -> Vec<Row> {
    let path = source::top().join("tests/data/tracking.csv");
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

on_both! {
    /// The whole table, a person each.
    async fn the_table_of_events_holds(world: &mut World) {
        let rows = table();
        assert!(rows.len() > 20);
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let names: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let people = readers(world, &names).await;
        for row in rows.iter().filter(|row| row.tracking == "individual") {
            say(world, &people[&row.id], ConsentPurpose::Tracking, ConsentState::Granted).await;
        }
        for (slug, tracking) in [("seen", "individual"), ("day", "deliverability")] {
            world.create(&campaign(slug, &format!("tracking = \"{tracking}\""))).await;
            world.launch(slug).await;
            let working = world.work();
            world.until_state(slug, CampaignState::Finished).await;
            working.stop().await;
        }
        assert_eq!(post.catcher.mailbag().count(), 2 * rows.len());
        let sent_at = world.now();
        for row in &rows {
            let (person, slug) = (&people[&row.id], if row.tracking == "deliverability" { "day" } else { "seen" });
            let mut served = http::serve(&world.app).await;
            for one in row.acts.split(';') {
                let [seconds, what, name, network] = one.split(' ').collect::<Vec<_>>()[..] else { panic!("{one}") };
                world.app.clock.advance(sent_at + seconds.parse::<i64>().unwrap() * 1000 - world.now());
                if what == "withdraw" {
                    // What happened before is written before.
                    served.stop().await;
                    served = http::serve(&world.app).await;
                }
                act(world, &served, person, slug, what, name, network).await;
            }
            // Nothing that was taken is lost when the pages end well.
            served.stop().await;
            let expected: Vec<String> = row.recorded.split_whitespace().map(str::to_owned).collect();
            assert_eq!(recorded(world, person, slug).await, expected, "{} {}", row.id, row.title);
            let day = row.last_open.parse::<i64>().ok().map(|days| {
                let at = jiff::Timestamp::from_millisecond(sent_at + days * DAY * 1000).unwrap();
                at.to_zoned(world.app.tz().clone()).date().to_string()
            });
            assert_eq!(last_open(world, person).await, day, "{} {}", row.id, row.title);
        }
        // Two minutes after the last of them nothing can turn a person's click into a machine's.
        world.advance(121);
        track::count_contacts(&world.app, sent_at).await.unwrap();
        for row in &rows {
            let hash = people[&row.id].address_hash;
            let person = world.tx(async |tx| store::contacts::by_hash(tx, hash).await).await.unwrap();
            let contact = if person.last_activity.is_empty() { "no" } else { &person.last_activity };
            assert_eq!(contact, row.contact, "{} {}", row.id, row.title);
        }
        let seen = world.report("seen").await;
        let individual = rows.iter().filter(|row| row.tracking == "individual").count() as i64;
        assert_eq!(seen.tracked, individual, "the base is stated");
        let of = |what: &str| rows.iter().filter(|r| r.tracking == "individual" && r.recorded.split(' ').any(|w| w == what)).count() as i64;
        assert_eq!(
            (seen.opens.human, seen.opens.proxied, seen.opens.machine, seen.clicks),
            (of("open:human"), of("open:proxied"), of("open:machine"), of("click:human")),
        );
        assert!(seen.series.opens.iter().sum::<i64>() >= seen.opens.human + seen.opens.proxied);
        let day = world.report("day").await;
        assert_eq!((day.tracked, day.opens.human, day.clicks), (0, 0, 0), "a day is no event");
    }

    /// By default a message has no pixel and plain links; asked for, only whoever said yes gets them.
    async fn without_a_yes_nothing_is_tracked(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let people = readers(world, &["yes", "never", "no"]).await;
        say(world, &people["yes"], ConsentPurpose::Tracking, ConsentState::Granted).await;
        say(world, &people["no"], ConsentPurpose::Tracking, ConsentState::Withdrawn).await;
        for (slug, keys) in [("plain", ""), ("seen", "tracking = \"individual\""), ("day", "tracking = \"deliverability\""),
            ("counted", "count_opens = true")] {
            world.create(&campaign(slug, keys)).await;
            let before = post.catcher.mailbag().count();
            world.launch(slug).await;
            world.send(slug).await;
            let mut pixels = BTreeSet::new();
            for caught in post.catcher.mailbag().messages().into_iter().skip(before) {
                let address = caught.to[0].trim_matches(['<', '>']).to_owned();
                let mail = reading::read(&caught.bytes).unwrap();
                let name = address.split('@').next().unwrap();
                let pixel = mail.html.split("<img src=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
                let clicks = mail.html.matches("/l/").count();
                let expected = match (slug, name) {
                    ("seen", "yes") => (true, 5),
                    ("day", "yes" | "never") | ("counted", "yes" | "never") => (true, 0),
                    _ => (false, 0),
                };
                assert_eq!((pixel.is_some(), clicks), expected, "{slug} {name}");
                pixels.extend(pixel);
                // What cannot be followed stays as it is, and so does the text part.
                assert!(mail.html.contains(&format!("https://www.example.org/{address}")));
                assert!(mail.html.contains("mailto:a@b.example") && mail.text.contains("https://www.example.org/1?a=1"));
                assert_eq!(clicks == 5, !mail.html.contains("https://www.example.org/1?"));
                assert!(!header(&caught.bytes, "List-Unsubscribe").unwrap().contains("mailto:"), "nobody reads it");
            }
            if slug == "counted" {
                assert_eq!(pixels.len(), 1, "the same for everybody");
                let base = format!("http://{}", post.pages.at);
                let path = pixels.first().unwrap().strip_prefix(&base).unwrap().to_owned();
                world.advance(3600);
                for name in ["firefox", "firefox", "apple"] {
                    assert_eq!(ask(&post.pages, "GET", &path, name, "192.0.2.1", "").await.status, 200);
                }
                world.until("they are counted", async || {
                    world.report(slug).await.anonymous_opens.is_some_and(|o| (o.human, o.machine) == (2, 1))
                }).await;
                assert_eq!(invariants_of_people(world).await, 0, "nobody is in it");
            }
        }
    }

    /// A link leads where the campaign says and nowhere else, tracked or not, and for ever.
    async fn no_link_leads_elsewhere(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let people = readers(world, &["yes"]).await;
        say(world, &people["yes"], ConsentPurpose::Tracking, ConsentState::Granted).await;
        world.create(&campaign("seen", "tracking = \"individual\"")).await;
        world.launch("seen").await;
        world.send("seen").await;
        let token = link(world, people["yes"].address_hash, "seen", Purpose::Click).await;
        let target = "https://www.example.org/2?a=1&b=seen";
        for more in ["", "?u=https://evil.example", "?url=//evil.example"] {
            let answer = post.pages.get(&format!("/l/{token}/2{more}")).await;
            assert_eq!((answer.status, answer.header("location")), (302, Some(target)), "{more}");
            assert_eq!((answer.header("cache-control"), answer.header("set-cookie")), (Some("no-store"), None));
        }
        let other = link(world, people["yes"].address_hash, "seen", Purpose::Unsubscribe).await;
        for path in [
            format!("/l/{token}/0"), format!("/l/{token}/6"), format!("/l/{token}/99999"), format!("/l/{token}/+1"),
            format!("/l/{token}/01x"), format!("/l/{token}/https:%2F%2Fevil.example"), format!("/l/{token}/"), format!("/l/{other}/1"),
            "/l/nothing/1".into(), "/l/%ff/1".into(),
        ] {
            let answer = post.pages.get(&path).await;
            assert_eq!((answer.status, answer.header("location")), (404, None), "{path}");
        }
        for path in ["/i/nothing".to_owned(), format!("/i/{token}"), "/i/%00".into()] {
            let answer = post.pages.get(&path).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")), "{path}");
        }
        // Erased, the link still leads where it did, and nothing is known of whoever follows it.
        let (key, hash, now) = (world.app.keys.suppression.clone(), people["yes"].address_hash, world.app.now());
        world.until("the clicks are recorded", async || !recorded(world, &people["yes"], "seen").await.is_empty()).await;
        world.tx(async |tx| erase::erase(tx, &key, hash, false, now).await).await.expect("there was a contact");
        assert_eq!(recorded(world, &people["yes"], "seen").await, Vec::<String>::new());
        assert_eq!(post.pages.get(&format!("/l/{token}/2")).await.header("location"), Some(target));
        post.pages.stop().await;
        assert_eq!(recorded(world, &people["yes"], "seen").await, Vec::<String>::new());
    }

    /// Opens and clicks are kept no longer than people are.
    async fn tracks_are_forgotten_with_retention(world: &mut World) {
        let person = readers(world, &["yes"]).await.remove("yes").unwrap();
        let (hash, now) = (person.address_hash, world.now());
        let at = |days: i64| now - days * DAY * 1000;
        world.tx(async |tx| {
            for (kind, days) in [(EventKind::Open, 1100), (EventKind::Click, 1097), (EventKind::Open, 1090),
                (EventKind::Click, 3), (EventKind::Unsubscribe, 2000)] {
                let event = events::Event { campaign_id: 7, kind, class: "human", address_hash: hash, at: at(days) };
                events::add(tx, &[event]).await?;
            }
            opens::opened(tx, &[hash], "2023-11-01".parse().unwrap()).await
        }).await;
        assert_eq!(track::forget_old(&world.app).await.unwrap(), 3);
        let left = world.tx(async |tx| events::of_person(tx, hash).await).await;
        assert_eq!(left.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["unsubscribe", "open", "click"]);
        assert_eq!(last_open(world, &person).await, None);
        assert_eq!(track::forget_old(&world.app).await.unwrap(), 0);
    }

    /// Consent is asked for anew at the claim: what the report calls tracked is what was sent so.
    async fn what_was_decided_last_is_what_is_counted(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let people = readers(world, &["late", "early"]).await;
        say(world, &people["early"], ConsentPurpose::Tracking, ConsentState::Granted).await;
        world.create(&campaign("seen", "tracking = \"individual\"")).await;
        world.launch("seen").await;
        let row = world.tx(async |tx| {
            store::campaigns::start_due(tx, world.now()).await?;
            store::campaigns::by_slug(tx, "seen").await
        }).await.unwrap();
        let mut tx = world.db().read().await.unwrap();
        let compiled = ouinon::pipeline::compile::Compiled::of_row(&world.app, &mut tx, &row).await.unwrap();
        drop(tx);
        let exchangers = ouinon::pipeline::exchangers::Exchangers::new(None);
        while ouinon::pipeline::enqueue::step(&world.app, &compiled, &exchangers).await.unwrap() == ouinon::pipeline::enqueue::Step::More {}
        world.advance(60);
        say(world, &people["early"], ConsentPurpose::Tracking, ConsentState::Withdrawn).await;
        world.send("seen").await;
        assert!(post.caught().values().all(|m| !reading::read(&m.bytes).unwrap().html.contains("<img")));
        assert_eq!(world.report("seen").await.tracked, 0);
    }
}

/// E14, E15: messages that came in, by what they are.
#[test]
fn e14_e15_replies_of_people_are_contacts_and_those_of_machines_are_not() {
    let reply = b"From: Marie <marie@example.net>\r\nTo: actu@news.example\r\nSubject: Re: CRM\r\n\r\nOui, merci.\r\n";
    assert_eq!(incoming::kind(reply), incoming::Incoming::Reply);
    assert!(incoming::kind(reply).is_a_contact());
    let auto =
        b"From: Marie <marie@example.net>\r\nAuto-Submitted: auto-replied\r\nSubject: Absente\r\n\r\nEn conges.\r\n";
    assert_eq!(incoming::kind(auto), incoming::Incoming::AutoReply);
    assert!(!incoming::kind(auto).is_a_contact());
}

/// Opens and clicks that stand under somebody's hash.
async fn invariants_of_people(world: &World) -> i64 {
    crate::invariants::number(world.db(), "SELECT COUNT(*) FROM event WHERE kind IN ('open', 'click')").await
}
