//! Nothing that was answered 200 is lost: the database goes away, the process dies, both at once.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ouinon::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::{CampaignState, DeliveryState},
        suppressions::{Origin, SuppressionReason},
        tokens::{Purpose, Token},
    },
    mail::catcher::Settings,
    pipeline::press::{self, Press, Wish},
    store::{self, suppressions},
};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    http, invariants,
    postgres::cluster_of_its_own,
    program::Program,
    race::professionals,
    sending::{Sending, campaign},
    store::{contact, hash},
    world::{self, World, on_both},
};

/// People who refuse: known by their keyed hash alone.
fn person(n: usize) -> AddressHash {
    AddressHash(Sha256::digest(n.to_be_bytes()).into())
}

fn link(app: &App, n: usize) -> String {
    let token = Token {
        purpose: Purpose::Unsubscribe,
        address: person(n),
        product: 1,
        campaign: 7,
        product_scope: false,
        test: false,
    };
    format!("/o/{}", app.keys.tokens.sign(&token))
}

/// The status of a one-click, over a connection of its own; none when there was no answer.
async fn one_click(at: SocketAddr, path: &str) -> Option<u16> {
    let ask = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        let body = "List-Unsubscribe=One-Click";
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    };
    timeout(Duration::from_secs(60), ask).await.ok().flatten()
}

/// One-clicks of many people at once, and who was answered what.
struct Crowd {
    done: Arc<AtomicUsize>,
    answered: Arc<Mutex<BTreeSet<usize>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Crowd {
    /// Sixteen at a time, until all of `people` have asked. Who gets no 200 does not ask again.
    fn start(app: &App, at: SocketAddr, people: std::ops::Range<usize>) -> Crowd {
        let (done, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(BTreeSet::new())));
        let next = Arc::new(AtomicUsize::new(people.start));
        let one = |_| {
            let (app, next, done, answered) = (app.clone(), next.clone(), done.clone(), answered.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if n >= people.end {
                        return;
                    }
                    if one_click(at, &link(&app, n)).await == Some(200) {
                        answered.lock().unwrap().insert(n);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        Crowd { tasks: (0..16).map(one).collect(), done, answered }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    async fn end(self) -> BTreeSet<usize> {
        for task in self.tasks {
            task.await.expect("nobody panics");
        }
        Arc::into_inner(self.answered).expect("all have ended").into_inner().unwrap()
    }
}

/// Those of `people` of whom no refusal stands.
async fn forgotten(world: &World, people: &BTreeSet<usize>) -> Vec<usize> {
    let hashes: Vec<AddressHash> = people.iter().map(|n| person(*n)).collect();
    let standing = world.tx(async |tx| suppressions::standing(tx, &hashes, &[], &[]).await).await;
    let refused: BTreeSet<AddressHash> = standing.iter().filter_map(|entry| entry.hash()).collect();
    people.iter().copied().filter(|n| !refused.contains(&person(*n))).collect()
}

/// PostgreSQL is stopped in the middle of a thousand one-clicks: every one of them is answered 200, and
/// every one of them stands once it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_postgresql_loses_no_refusal() {
    let Some(cluster) = cluster_of_its_own("1,000 one-clicks while PostgreSQL is stopped").await else { return };
    world::on(&cluster.url(), async |world: &mut World| {
        let served = http::serve(&world.app).await;
        let crowd = Crowd::start(&world.app, served.at, 0..1000);
        world.until("some have asked", async || crowd.done() >= 250).await;
        tokio::task::block_in_place(|| cluster.stop()).expect("the server stops");
        let written_when_it_stopped = crowd.done();
        let answered = crowd.end().await;
        assert_eq!(answered.len(), 1000, "nobody is refused");
        assert!(written_when_it_stopped < 1000, "it was stopped in the middle");
        assert!(world.app.journal.pending_bytes() > 0, "the rest is in the journal");
        assert_eq!(served.get("/readyz").await.status, 503);
        tokio::task::block_in_place(|| cluster.start()).expect("the server starts");
        world.until("the journal is applied", async || world.app.journal.mark().unwrap().is_empty()).await;
        assert_eq!(forgotten(world, &answered).await, Vec::<usize>::new());
        assert_eq!(invariants::number(world.db(), "SELECT COUNT(*) FROM suppression").await, 1000, "each once");
        // From then on the database has them at once.
        let late = Crowd::start(&world.app, served.at, 1000..1010).end().await;
        assert_eq!(late.len(), 10);
        assert_eq!(forgotten(world, &late).await, Vec::<usize>::new());
        served.stop().await;
    })
    .await;
}

on_both! {
    /// The real program is killed while a crowd refuses: whoever was answered 200 stays refused.
    async fn killed_under_load_it_keeps_what_it_answered(world: &mut World) {
        world.app.config = {
            let mut config = (*world.app.config).clone();
            config.public.url = Some("http://127.0.0.1:9".into());
            Arc::new(config)
        };
        let program = Program::beside(world);
        let mut answered = BTreeSet::new();
        for round in 0..3 {
            let serving = program.serve(0);
            let crowd = Crowd::start(&world.app, serving.at, round * 3000..(round + 1) * 3000);
            world.until("some have asked", async || crowd.done() >= 150 + 200 * round).await;
            serving.kill();
            let more = crowd.end().await;
            assert!(more.len() >= 100, "only {} were answered", more.len());
            answered.extend(more);
        }
        // The next process applies what the journal holds, if anything fell into it, before all else.
        program.json(&["product", "list"]);
        assert_eq!(forgotten(world, &answered).await, Vec::<usize>::new());
    }

    /// What waits in the journal when a process starts is applied before it answers anything.
    async fn every_process_begins_with_the_journal(world: &mut World) {
        let address = "marie@example.net";
        let press = Press {
            person: hash(world, address),
            product: 1,
            campaign: 7,
            wish: Wish::Everything,
            reason: SuppressionReason::Unsubscribe,
            origin: Origin::OneClick,
            at: world.now(),
        };
        press::note(&world.app, &[press.clone(), press]).expect("the journal is written");
        let text = std::fs::read(world.app.journal.path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("example.net"), "no address stands in it");
        let said = Program::beside(world).run(&["suppress", "check", address, "--json"]);
        assert!(String::from_utf8_lossy(&said.stdout).contains("unsubscribe"), "{said:?}");
        assert!(world.app.journal.mark().unwrap().is_empty());
        assert_eq!(invariants::number(world.db(), "SELECT COUNT(*) FROM suppression").await, 1);
    }

    /// Switching off in the preference centre is a refusal too: it is promised like one.
    async fn preferences_refuse_while_the_database_is_away(world: &mut World) {
        let address = "marie@example.net";
        world.tx(async |tx| {
            store::products::add(tx, "crm", "CRM", true, 1).await?;
            store::contacts::save(tx, &[contact(world, address)]).await
        }).await;
        let away = App::open((*world.app.config).clone(), world.app.clock.clone()).await.expect("it opens");
        let served = http::serve(&away).await;
        away.db.close().await;
        let token = Token {
            purpose: Purpose::Preferences, address: hash(world, address), product: 1, campaign: 0, product_scope: false,
            test: false,
        };
        let path = format!("/p/{}", world.app.keys.tokens.sign(&token));
        let all = served.post(&path, "save=yes&shown=crm:on&tracking_shown=on").await;
        assert!(all.status == 200 && all.body.contains("C’est noté") && !all.body.contains("réessayez"), "{}", all.body);
        let some = served.post(&path, "save=yes&shown=crm:on&language_shown=fr&language=en").await;
        assert!(some.status == 200 && some.body.contains("réessayez"), "{}", some.body);
        // What grants something, or is no name of a product, waits for nobody.
        for nothing in ["save=yes&shown=crm:off&product=crm", "save=yes&shown=../x:on", "save=yes&shown=crm:on&product=crm"] {
            assert_eq!(served.post(&path, nothing).await.status, 503, "{nothing}");
        }
        press::settle(&world.app).await.expect("the world's database is there");
        let entries = world.tx(async |tx| suppressions::page(tx, 0, 10).await).await;
        assert_eq!(entries.iter().map(|e| e.product.as_str()).collect::<Vec<_>>(), ["crm"]);
        let person = hash(world, address);
        let said = world.tx(async |tx| store::facts::tracking_of(tx, &[person]).await).await;
        assert_eq!(said[&person], ouinon::domain::contacts::TrackingConsent::Withdrawn);
    }

    /// A worker decides nothing while the journal cannot be applied, and then knows what was promised.
    async fn nothing_is_sent_before_the_journal_is_applied(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let everybody = professionals(world, 20).await;
        world.create(&campaign("autumn", "rate = \"60000/min\"")).await;
        run(world, (
            "CREATE TRIGGER fault BEFORE INSERT ON suppression BEGIN SELECT RAISE(ABORT, 'disk full'); END",
            "CREATE TRIGGER fault BEFORE INSERT ON suppression FOR EACH ROW EXECUTE FUNCTION witness('disk full')",
        )).await;
        let presses: Vec<Press> = everybody[..5].iter().map(|contact| Press {
            person: contact.address_hash,
            product: 1,
            campaign: 1,
            wish: Wish::ItsProduct,
            reason: SuppressionReason::Unsubscribe,
            origin: Origin::Page,
            at: world.now(),
        }).collect();
        press::note(&world.app, &presses).expect("the journal is written");
        world.launch("autumn").await;
        let working = world.work();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(post.catcher.mailbag().count(), 0, "nobody is mailed while the journal waits");
        run(world, ("DROP TRIGGER fault", "DROP TRIGGER fault ON suppression")).await;
        world.until_state("autumn", CampaignState::Finished).await;
        working.stop().await;
        let caught = post.caught();
        assert_eq!(caught.len(), 15);
        assert!(everybody[..5].iter().all(|contact| !caught.contains_key(&contact.address)));
        let status = world.report("autumn").await.status;
        assert_eq!(status.by_reason.get("SUPPRESSED_PRODUCT"), Some(&5), "{status:?}");
    }

    /// A refusal that goes into the journal while a campaign is being sent is known to the next decision,
    /// though no database ever heard of it: 200 is never answered before the last decision without it.
    async fn a_press_in_the_journal_stops_what_has_not_left(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let everybody = professionals(world, 120).await;
        world.create(&campaign("autumn", "rate = \"3000/min\"")).await;
        world.launch("autumn").await;
        let working = world.work();
        let mut promised = Vec::new();
        for contact in everybody.iter().skip(60).step_by(7) {
            let press = Press {
                person: contact.address_hash,
                product: 1,
                campaign: 1,
                wish: Wish::Everything,
                reason: SuppressionReason::Unsubscribe,
                origin: Origin::OneClick,
                at: world.now(),
            };
            press::note(&world.app, &[press]).expect("the journal is written");
            // From here on it counts as promised. Who has not passed the gate by now never may.
            let state = world.state_of(contact.id).await;
            if matches!(state, Some(DeliveryState::Queued | DeliveryState::Claimed)) {
                promised.push(contact.address.clone());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        world.until_state("autumn", CampaignState::Finished).await;
        working.stop().await;
        let caught = post.caught();
        assert!(promised.len() > 3 && promised.iter().all(|address| !caught.contains_key(address)));
        assert!(world.app.journal.mark().unwrap().is_empty());
    }
}

async fn run(world: &World, (lite, pg): (&str, &str)) {
    let sql = |text: &str| sqlx::AssertSqlSafe(text.to_owned());
    let done = match world.db() {
        ouinon::store::Db::Lite { writer, .. } => {
            sqlx::raw_sql(sql(lite)).execute(&mut *writer.hold().await.unwrap()).await.map(|_| ())
        }
        ouinon::store::Db::Pg(pool) => sqlx::raw_sql(sql(pg)).execute(pool).await.map(|_| ()),
    };
    done.expect("the fault is set");
}
