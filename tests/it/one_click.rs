//! The unsubscribe endpoint, row by row of table 8.1 of the rules.

use std::sync::Arc;

use axum::http::Request;
use ouinon::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::{CampaignKind, Elements, Sector, Terms, TrackingRequest},
        eligibility::decide,
        suppressions::{Origin, Scope, SuppressionReason},
        tokens::{Purpose, Token},
    },
    keys::Keys,
    pipeline::{erase, press},
    store::{campaigns, contacts, events, facts, products, suppressions, suppressions::Entry},
    web,
};
use sqlx::AssertSqlSafe;
use tokio::io::AsyncReadExt;
use tower::ServiceExt;

use crate::{
    http::{self, Answer, Served},
    store::{AUTUMN, autumn, contact, hash},
    world::{World, on_both},
};

const PERSON: &str = "marie@example.net";
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";
/// A campaign that was never written, or was deleted since.
const CAMPAIGN: u32 = 41;

/// A contact and a product, and the public pages served.
async fn mailed(world: &World) -> Served {
    world
        .tx(async |tx| {
            products::add(tx, "crm", "CRM", true, 1).await?;
            contacts::save(tx, &[contact(world, PERSON)]).await
        })
        .await;
    http::serve(&world.app).await
}

async fn token(world: &World) -> Token {
    let product = world.tx(async |tx| products::by_slug(tx, "crm").await).await.expect("the product");
    Token {
        purpose: Purpose::Unsubscribe,
        address: hash(world, PERSON),
        product: product.id as u32,
        campaign: CAMPAIGN,
        product_scope: false,
        test: false,
    }
}

async fn link(world: &World) -> String {
    path(world, &token(world).await)
}

fn path(world: &World, token: &Token) -> String {
    format!("/o/{}", world.app.keys.tokens.sign(token))
}

/// Every suppression there is.
async fn list(world: &World) -> Vec<Entry> {
    world.tx(async |tx| suppressions::page(tx, 0, 100).await).await
}

async fn only(world: &World) -> Entry {
    let mut entries = list(world).await;
    assert_eq!(entries.len(), 1, "exactly one suppression: {entries:?}");
    entries.remove(0)
}

async fn assert_unchanged(world: &World) {
    assert_eq!(list(world).await, []);
}

fn assert_one_click_answer(answer: &Answer) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("location"), None);
    assert_eq!(answer.header("set-cookie"), None);
    assert!(answer.body.len() < 100, "short: {}", answer.body);
}

on_both! {
    /// U01, U03: the provider posts; repeated, it changes nothing more.
    async fn u01_u03_one_click(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        assert_one_click_answer(&served.post(&link, ONE_CLICK).await);
        let entry = only(world).await;
        assert_eq!((entry.scope, entry.reason, entry.origin),
            (Scope::Global, SuppressionReason::Unsubscribe, Origin::OneClick));
        assert_eq!((entry.address.as_str(), entry.hash()), (PERSON, Some(hash(world, PERSON))));
        assert_eq!((entry.at, entry.campaign_id), (Some(world.now()), Some(i64::from(CAMPAIGN))));

        world.advance(3600);
        assert_one_click_answer(&served.post(&link, ONE_CLICK).await);
        assert_eq!(only(world).await, entry);
        let counted = world.tx(async |tx| events::count(tx, i64::from(CAMPAIGN)).await).await;
        assert_eq!(counted, [("unsubscribe".to_owned(), String::new(), 1)]);
        served.stop().await;
    }

    /// U02: the other encoding; and a provider that names no encoding at all.
    async fn u02_multipart(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        let body = "--xyz\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--xyz--\r\n";
        let head = format!("POST {link} HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=xyz");
        assert_one_click_answer(&served.ask(&head, body.as_bytes()).await);
        assert_eq!(only(world).await.origin, Origin::OneClick);
        assert_one_click_answer(&served.ask(&format!("POST {link} HTTP/1.1"), ONE_CLICK.as_bytes()).await);
    }

    /// U04, U05: looking changes nothing, and leaves no trace elsewhere.
    async fn u04_u05_get_and_head(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        let page = served.get(&link).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert!(page.header("x-robots-tag").is_some_and(|robots| robots.contains("noindex")));
        assert!(page.header("content-security-policy").is_some_and(|csp| csp.starts_with("default-src 'none'")));
        assert_eq!(page.header("set-cookie"), None);
        for part in ["<form method=\"post\"", "value=\"product\"", "value=\"everything\"", "CRM", "Société Exemple",
            "m•••@example.net"] {
            assert!(page.body.contains(part), "{part} is on the page: {}", page.body);
        }
        for never in ["<script", "style=", PERSON, "http://", "https://"] {
            assert!(!page.body.contains(never), "{never} is not on the page");
        }
        let head = served.ask(&format!("HEAD {link} HTTP/1.1"), b"").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_unchanged(world).await;
    }

    /// U06, U15: a scanner looks, then the person presses "everything".
    async fn u06_u15_the_form_everything(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        served.get(&link).await;
        let page = served.post(&link, "choice=everything").await;
        assert_eq!((page.status, page.header("location")), (200, None));
        assert!(page.body.contains("C’est fait") && page.body.contains("m•••@example.net"));
        let entry = only(world).await;
        assert_eq!((entry.scope, entry.origin), (Scope::Global, Origin::Page));
    }

    /// U14: the person presses "only this product", and later "everything" all the same.
    async fn u14_the_form_product(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        let page = served.post(&link, "choice=product").await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("<strong>CRM</strong>"), "{}", page.body);
        let entry = only(world).await;
        assert_eq!((entry.scope, entry.product.as_str(), entry.origin), (Scope::Product, "crm", Origin::Page));
        assert_eq!(served.post(&link, "choice=everything").await.status, 200);
        let scopes: Vec<Scope> = list(world).await.iter().map(|e| e.scope).collect();
        assert_eq!(scopes, [Scope::Product, Scope::Global]);
    }

    /// U07: what is not exactly asked for is not done.
    async fn u07_no_field(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        for body in ["", "List-Unsubscribe=one-click", "list-unsubscribe=One-Click", "List-Unsubscribe=",
            "List-Unsubscribe", "One-Click", "choice=", "choice=all", "choice=product&choice=everything", "{}"] {
            assert_eq!(served.post(&link, body).await.status, 400, "{body:?}");
        }
        for kind in ["application/json", "text/plain", "multipart/form-data", "multipart/mixed; boundary=x"] {
            let head = format!("POST {link} HTTP/1.1\r\nContent-Type: {kind}");
            assert_eq!(served.ask(&head, ONE_CLICK.as_bytes()).await.status, 400, "{kind}");
        }
        assert_unchanged(world).await;
    }

    /// U08: no bit of a token can be changed, and every wrong one is answered alike.
    async fn u08_forged_tokens(world: &mut World) {
        let served = mailed(world).await;
        let token = token(world).await;
        let genuine = world.app.keys.tokens.sign(&token);
        let nowhere = served.post("/o/nothing", ONE_CLICK).await;
        assert_eq!(nowhere.status, 404);
        for at in [0, 1, 2, 3, 10, 20, 60, 79] {
            let mut letters = genuine.clone().into_bytes();
            letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
            let forged = format!("/o/{}", String::from_utf8(letters).expect("letters"));
            let answer = served.post(&forged, ONE_CLICK).await;
            assert_eq!((answer.status, &answer.body), (404, &nowhere.body), "letter {at}");
        }
        for purpose in Purpose::ALL.iter().copied().filter(|p| *p != Purpose::Unsubscribe) {
            let other = path(world, &Token { purpose, ..token });
            assert_eq!(served.post(&other, ONE_CLICK).await.body, nowhere.body, "{purpose}");
            assert_eq!(served.get(&other).await.status, 404, "{purpose}");
        }
        // Bad bodies say nothing about a token either.
        assert_eq!(served.post("/o/nothing", "x=y").await.body, nowhere.body);
        assert_eq!(served.get("/o/%ff%00").await.status, 404);
        assert_unchanged(world).await;
    }

    /// U09, U10: a key that no longer signs still verifies, and five years are no reason.
    async fn u09_u10_old_keys_and_old_mail(world: &mut World) {
        let old_link = { drop(mailed(world).await); link(world).await };
        Keys::rotate(&App::keys_folder(&world.app.config)).expect("a new key");
        let config = (*world.app.config).clone();
        let reopened = App::open(config, world.app.clock.clone()).await.expect("it opens again");
        let served = http::serve(&reopened).await;
        let new_link = format!("/o/{}", reopened.keys.tokens.sign(&token(world).await));
        assert_ne!(new_link, old_link, "another key signs now");
        world.advance(5 * 366 * 86_400);
        assert_one_click_answer(&served.post(&old_link, ONE_CLICK).await);
        assert_eq!(only(world).await.scope, Scope::Global);
        reopened.db.close().await;
    }

    /// U11: cookies are nobody's business here.
    async fn u11_cookies(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        let head = format!("POST {link} HTTP/1.1\r\nCookie: session=operator\r\nAuthorization: Bearer x\r\n\
            Content-Type: application/x-www-form-urlencoded");
        assert_one_click_answer(&served.ask(&head, ONE_CLICK.as_bytes()).await);
        assert_eq!(only(world).await.origin, Origin::OneClick);
    }

    /// U12: too much, announced or not, gets its answer and changes nothing.
    async fn u12_too_large(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        for size in [9_990, 100_000, 900_000] {
            let body = format!("{ONE_CLICK}&x={}", "y".repeat(size));
            assert_eq!(served.post(&link, &body).await.status, 413, "{size}");
        }
        let chunk = format!("2800\r\n{}\r\n", "y".repeat(0x2800));
        let body = format!("1b\r\n{ONE_CLICK}&\r\n{chunk}0\r\n\r\n");
        let head = format!("POST {link} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
            Transfer-Encoding: chunked\r\n\r\n{body}");
        let mut stream = served.send(&head.replace("\r\n\r\n", "\r\nHost: x\r\nConnection: close\r\n\r\n"), b"").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        assert!(text.starts_with("HTTP/1.1 413"), "{text}");
        assert_unchanged(world).await;
        let padded = format!("{ONE_CLICK}&x={}", "y".repeat(9_000));
        assert_one_click_answer(&served.post(&link, &padded).await);
    }

    /// U13: other methods are refused, with those that are not.
    async fn u13_other_methods(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        for path in [link.as_str(), "/o/nothing"] {
            for method in ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
                let answer = served.ask(&format!("{method} {path} HTTP/1.1"), b"").await;
                assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")), "{method}");
            }
        }
        assert_eq!(served.post("/healthz", "").await.status, 405);
        assert_unchanged(world).await;
    }

    /// U16: the person was erased since. What is kept is the hash, once.
    async fn u16_erased(world: &mut World) {
        let served = mailed(world).await;
        let (link, product_link) = (link(world).await, path(world, &Token { product_scope: true, ..token(world).await }));
        let (key, person, now) = (world.app.keys.suppression.clone(), hash(world, PERSON), world.app.now());
        world.tx(async |tx| erase::erase(tx, &key, person, false, now).await).await.expect("there was a contact");
        assert_unchanged(world).await;
        assert!(!served.get(&link).await.body.contains("example.net"));
        assert_one_click_answer(&served.post(&link, ONE_CLICK).await);
        let entry = only(world).await;
        assert_eq!((entry.scope, entry.address.as_str(), entry.hash()), (Scope::Hash, "", Some(person)));
        assert_one_click_answer(&served.post(&link, ONE_CLICK).await);
        assert_eq!(only(world).await, entry);
        assert_one_click_answer(&served.post(&product_link, ONE_CLICK).await);
        let entries = list(world).await;
        assert_eq!((entries[1].scope, entries[1].product.as_str(), entries[1].address.as_str()), (Scope::Product, "crm", ""));
        // Imported again, the person is still refused.
        world.tx(async |tx| contacts::save(tx, &[contact(world, PERSON)]).await).await;
        assert_eq!(code(world).await, "SUPPRESSED_HASH");
    }

    /// U19: in the clear nothing is changed; what a stranger says of the scheme is not believed.
    async fn u19_plain_http(world: &mut World) {
        drop(mailed(world).await);
        let link = link(world).await;
        let config = Arc::make_mut(&mut world.app.config);
        config.public.url = Some("https://mail.example.org".into());
        config.public.proxies = vec!["192.0.2.1".parse().expect("an address")];
        let said = |scheme: &'static str| vec![("x-forwarded-proto", scheme)];
        let forwarded = |text: &'static str| vec![("forwarded", text)];
        for (peer, headers) in [
            ("198.51.100.7", vec![]),
            ("198.51.100.7", said("https")),
            ("198.51.100.7", forwarded("proto=https")),
            ("192.0.2.1", said("http")),
            ("127.0.0.1", said("http")),
            ("::ffff:127.0.0.1", forwarded("for=198.51.100.7;proto=http")),
        ] {
            let get = ask_from(world, peer, "GET", &link, &headers).await;
            assert_eq!(get, (308, Some(format!("https://mail.example.org{link}"))), "{peer} {headers:?}");
            assert_eq!(ask_from(world, peer, "HEAD", &link, &headers).await.0, 308);
            let (status, location) = ask_from(world, peer, "POST", &link, &headers).await;
            assert_eq!((status, location), (403, None), "{peer} {headers:?}");
            assert_eq!(ask_from(world, peer, "GET", "/healthz", &headers).await.0, 200);
        }
        assert_unchanged(world).await;
        for (peer, headers) in [
            ("127.0.0.1", vec![]),
            ("::1", vec![]),
            ("192.0.2.1", vec![]),
            ("::ffff:192.0.2.1", said("https")),
            ("127.0.0.1", forwarded("for=198.51.100.7; proto=HTTPS")),
        ] {
            assert_eq!(ask_from(world, peer, "POST", &link, &headers).await.0, 200, "{peer} {headers:?}");
        }
        only(world).await;
        Arc::make_mut(&mut world.app.config).public.url = Some("http://127.0.0.1:8025".into());
        assert_eq!(ask_from(world, "127.0.0.1", "POST", &link, &[]).await.0, 200);
        assert_eq!(ask_from(world, "127.0.0.1", "POST", &link, &said("http")).await.0, 403, "a believed proxy says http");
        assert_eq!(ask_from(world, "198.51.100.7", "POST", &link, &[]).await.0, 403);
    }

    /// U20, as far as the decision goes: what is asked again before submission says no.
    async fn u20_decided_again(world: &mut World) {
        let served = mailed(world).await;
        let before = code(world).await;
        assert!(!before.starts_with("SUPPRESSED"), "{before}");
        served.post(&link(world).await, ONE_CLICK).await;
        assert_eq!(code(world).await, "SUPPRESSED_GLOBAL");
    }

    /// A link of a test send answers like any other and changes nothing.
    async fn a_test_link_changes_nothing(world: &mut World) {
        let served = mailed(world).await;
        let link = path(world, &Token { test: true, ..token(world).await });
        assert_one_click_answer(&served.post(&link, ONE_CLICK).await);
        assert_eq!(served.get(&link).await.status, 200);
        assert_eq!(served.post(&link, "choice=product").await.status, 200);
        assert_unchanged(world).await;
    }

    /// The campaign, the contact and the product may all be gone: then a refusal is of everything.
    async fn nothing_is_left_but_the_link(world: &mut World) {
        let served = http::serve(&world.app).await;
        let token = Token { purpose: Purpose::Unsubscribe, address: hash(world, PERSON), product: 999, campaign: 0,
            product_scope: true, test: false };
        let page = served.get(&path(world, &token)).await;
        assert!(page.body.contains("value=\"everything\"") && !page.body.contains("value=\"product\""));
        assert_one_click_answer(&served.post(&path(world, &token), ONE_CLICK).await);
        let entry = only(world).await;
        assert_eq!((entry.scope, entry.hash(), entry.campaign_id), (Scope::Hash, Some(token.address), None));
    }

    /// A token whose product is not known any more is about the product of its campaign.
    async fn the_campaign_knows_the_product(world: &mut World) {
        let served = mailed(world).await;
        let campaign = world
            .tx(async |tx| {
                campaigns::add(tx, &autumn(), AUTUMN, 1).await?;
                campaigns::by_slug(tx, &autumn().slug).await
            })
            .await
            .expect("the campaign");
        let token = Token { product: 999, campaign: campaign.id as u32, product_scope: true, ..token(world).await };
        assert_one_click_answer(&served.post(&path(world, &token), ONE_CLICK).await);
        let entry = only(world).await;
        assert_eq!((entry.scope, entry.product.as_str(), entry.campaign_id), (Scope::Product, "crm", Some(campaign.id)));
    }

    /// 200 means on disk: whatever the database fails at, the journal has it, and gives it back.
    async fn a_failing_database_loses_nothing(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        // The insert is refused, then the commit.
        for faults in [
            ("CREATE TRIGGER fault BEFORE INSERT ON suppression BEGIN SELECT RAISE(ABORT, 'disk full'); END",
             "CREATE TRIGGER fault BEFORE INSERT ON suppression FOR EACH ROW EXECUTE FUNCTION witness('disk full')"),
            ("CREATE TABLE nowhere (id INTEGER PRIMARY KEY REFERENCES product (id) DEFERRABLE INITIALLY DEFERRED);
              CREATE TRIGGER fault AFTER INSERT ON suppression BEGIN INSERT INTO nowhere VALUES (999); END",
             "CREATE CONSTRAINT TRIGGER fault AFTER INSERT ON suppression DEFERRABLE INITIALLY DEFERRED
              FOR EACH ROW EXECUTE FUNCTION witness('the commit fails')"),
        ] {
            let before = list(world).await;
            run(world, faults).await;
            // Every time somebody else: who has refused already gives the fault nothing to do.
            let someone = Token { address: AddressHash([before.len() as u8; 32]), ..token(world).await };
            let pressed = served.post(&path(world, &someone), "choice=everything").await;
            assert!(pressed.status == 200 && pressed.body.contains("C’est fait"), "{}", pressed.body);
            assert_one_click_answer(&served.post(&path(world, &someone), ONE_CLICK).await);
            assert_eq!(list(world).await, before, "the database has it not");
            assert!(!world.app.journal.mark().unwrap().is_empty());
            run(world, ("DROP TRIGGER fault", "DROP TRIGGER fault ON suppression")).await;
            world.until("the journal is applied", async || world.app.journal.mark().unwrap().is_empty()).await;
            // The press, which may be taken back for an hour, and the one-click, which goes on standing then.
            assert_eq!(list(world).await.len(), before.len() + 2);
            assert_one_click_answer(&served.post(&path(world, &someone), ONE_CLICK).await);
            assert_eq!(list(world).await.len(), before.len() + 2, "twice pressed is once refused");
        }

        let away = App::open((*world.app.config).clone(), world.app.clock.clone()).await.expect("it opens");
        let served = http::serve(&away).await;
        assert_eq!(served.get("/readyz").await.status, 200);
        away.db.close().await;
        assert_one_click_answer(&served.post(&link, ONE_CLICK).await);
        let page = served.get(&link).await;
        assert!(page.status == 200 && page.body.contains("value=\"everything\""), "one can refuse all the same");
        assert_eq!(served.get("/readyz").await.status, 503);
        assert_eq!(served.get("/healthz").await.status, 200);
        press::settle(&world.app).await.expect("the world's database is there");
        assert_eq!(code(world).await, "SUPPRESSED_GLOBAL");
    }

    /// With neither database nor journal nothing is promised.
    async fn with_nowhere_to_write_it_says_so(world: &mut World) {
        drop(mailed(world).await);
        let link = link(world).await;
        // A device that is always full.
        std::os::unix::fs::symlink("/dev/full", world.app.journal.path()).expect("a link");
        let away = App::open((*world.app.config).clone(), world.app.clock.clone()).await.expect("it opens");
        let served = http::serve(&away).await;
        away.db.close().await;
        for body in [ONE_CLICK, "choice=everything"] {
            let answer = served.post(&link, body).await;
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")), "{body}");
        }
        std::fs::remove_file(world.app.journal.path()).expect("the link goes");
        assert_one_click_answer(&served.post(&link, ONE_CLICK).await);
        press::settle(&world.app).await.expect("the world's database is there");
        only(world).await;
    }

    /// Whoever posts and hangs up has refused all the same.
    async fn hanging_up_is_no_excuse(world: &mut World) {
        let served = mailed(world).await;
        let head = format!("POST {} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", link(world).await);
        let busy = world.db().write().await.expect("a transaction that holds the database");
        drop(served.send(&head, ONE_CLICK.as_bytes()).await);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        drop(busy);
        for _ in 0..600 {
            if !list(world).await.is_empty() { break; }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(only(world).await.origin, Origin::OneClick);
    }

    /// Twenty posts at once leave one refusal.
    async fn a_crowd_of_posts_is_one_refusal(world: &mut World) {
        let served = Arc::new(mailed(world).await);
        let link = link(world).await;
        let crowd: Vec<_> = (0..20).map(|_| {
            let (served, link) = (served.clone(), link.clone());
            tokio::spawn(async move { served.post(&link, ONE_CLICK).await.status })
        }).collect();
        for one in crowd {
            assert_eq!(one.await.expect("it answers"), 200);
        }
        only(world).await;
    }

    /// French and English, by the person, the browser, or the switch.
    async fn pages_speak_the_readers_language(world: &mut World) {
        let served = mailed(world).await;
        let link = link(world).await;
        let english = "Accept-Language: en-GB,en;q=0.8";
        let page = served.ask(&format!("GET {link} HTTP/1.1\r\n{english}"), b"").await;
        assert!(page.body.contains("<html lang=\"fr\">"), "the person's own language comes first");
        let page = served.get(&format!("{link}?lang=en")).await;
        assert!(page.body.contains("<html lang=\"en\">") && page.body.contains("What would you like to stop?"));
        let done = served.post(&format!("{link}?lang=en"), "choice=everything").await;
        assert!(done.body.contains("will receive no more"), "{}", done.body);
        let lost = served.ask(&format!("GET /o/lost HTTP/1.1\r\n{english}"), b"").await;
        assert!(lost.status == 404 && lost.body.contains("This link leads nowhere"));
        assert!(served.get("/").await.body.contains("<html lang=\"fr\">"));
        assert_eq!(served.get("/robots.txt").await.body, "User-agent: *\nDisallow: /\n");
        assert_eq!(served.get("/public.css").await.header("content-type"), Some("text/css; charset=utf-8"));
    }
}

/// The code that a B2B campaign about the product would meet now.
async fn code(world: &World) -> &'static str {
    let terms = Terms {
        kind: CampaignKind::Marketing,
        product: "crm".into(),
        profession_related: true,
        sector: Sector::None,
        has_promo: true,
        art14_notice: false,
        elements: Elements { identity: true, optout: true, postal: true },
        tracking: TrackingRequest::None,
    };
    let hash = hash(world, PERSON);
    let person = world
        .tx(async |tx| {
            let contact = contacts::by_hash(tx, hash).await?.expect("the contact");
            facts::of(tx, &[contact], "crm").await
        })
        .await
        .remove(0);
    decide(&world.app.rules, &terms, &person, world.app.now()).outcome.code()
}

/// A request as if it came from `peer`: status and Location.
async fn ask_from(
    world: &World,
    peer: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, Option<String>) {
    let peer = std::net::SocketAddr::new(peer.parse().expect("an address"), 50_000);
    let mut request = Request::builder().method(method).uri(path).header("host", "any.example");
    request = request.header("content-type", "application/x-www-form-urlencoded").extension(web::Peer(peer));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(axum::body::Body::from(ONE_CLICK)).expect("a request");
    let answer = web::public_router(world.app.clone()).oneshot(request).await.expect("an answer");
    let location = answer.headers().get("location").map(|l| l.to_str().expect("text").to_owned());
    (answer.status().as_u16(), location)
}

/// Runs a fault on whichever engine it is.
async fn run(world: &World, (lite, pg): (&str, &str)) {
    let done = match world.db() {
        ouinon::store::Db::Lite { writer, .. } => {
            sqlx::raw_sql(AssertSqlSafe(lite.to_owned())).execute(&mut *writer.hold().await.unwrap()).await.map(|_| ())
        }
        ouinon::store::Db::Pg(pool) => sqlx::raw_sql(AssertSqlSafe(pg.to_owned())).execute(pool).await.map(|_| ()),
    };
    done.expect("the fault is set");
}
