//! One campaign over ten provider groups, of which two throttle and one refuses, on a clock that runs
//! ahead: each group ends at its own pace, and everybody in the right state. `docs/limits.md`.

#![allow(clippy::unwrap_used)]

#[path = "../src/needs.rs"]
#[allow(dead_code)]
mod needs;
#[path = "../tests/it/postgres.rs"]
#[allow(dead_code)]
mod postgres;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use ouinon::{
    app::App,
    clock::Clock,
    config::Config,
    domain::{
        address::Address,
        campaigns::{CampaignState, DeliveryState},
        contacts::{AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
    },
    mail::{
        catcher::{Action, Catcher, Event, Script, Settings, What},
        smtp::Server,
    },
    pipeline::campaigns as acts,
    store::{campaigns, contacts, deliveries, groups, products},
    worker,
};
use secrecy::SecretString;
use tokio::sync::watch;

/// Sends to ten provider groups on a clock that runs ahead.
#[derive(Parser)]
struct Args {
    /// Recipients, a tenth in each group
    #[arg(long, default_value_t = 10_000)]
    recipients: usize,
    /// Database
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    engine: Engine,
    /// Workers, on PostgreSQL
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

const TOWN: [(&str, &str); 10] = [
    ("google", "gmail.com"),
    ("outlook", "hotmail.com"),
    ("yahoo", "yahoo.fr"),
    ("apple", "icloud.com"),
    ("orange", "orange.fr"),
    ("free", "free.fr"),
    ("sfr", "sfr.fr"),
    ("laposte", "laposte.net"),
    ("gmx", "gmx.de"),
    ("other", "societe.example"),
];
/// What google and yahoo take in an hour of the story; then they push back until the hour is over.
const HOURLY: f64 = 0.25;
const HOUR: i64 = 3_600_000;
/// How much of the story's time passes with each look at it: five minutes a second.
const AHEAD: i64 = 15_000;
const LOOK: Duration = Duration::from_millis(50);
/// When nothing was sent for so long, the clock goes on to when something may be.
const QUIET: Duration = Duration::from_secs(1);
/// How often every delivery is counted, which takes its time.
const COUNT: Duration = Duration::from_secs(1);
/// A run that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let folder = tempfile::tempdir().unwrap();
    let database = match args.engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(postgres::database("ten_groups").await.expect("PostgreSQL")),
    };
    let url = database.as_ref().map_or_else(
        || format!("sqlite:{}", folder.path().join("ouinon.db").display()),
        |database| database.url.clone(),
    );
    let mut config = Config::of_folder(folder.path());
    config.database.url = SecretString::from(url);
    config.public.url = Some("https://mail.example.org".into());
    config.controller.name = "Exemple".into();
    config.smtp.connections = 16;
    let app = App::open(config, Clock::manual("2026-11-18T09:00:00Z".parse().unwrap())).await.unwrap();
    let each = args.recipients / TOWN.len();
    write(&app, each).await;

    let copies: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let catcher = catcher(&app, each, Arc::clone(&copies)).await;
    let (stop, stopped) = watch::channel(false);
    let server = Server::parse(&catcher.url()).unwrap().greeted_as("client.example");
    let workers: Vec<_> = (0..if database.is_some() { args.workers } else { 1 })
        .map(|_| tokio::spawn(worker::run(app.clone(), server.clone(), stopped.clone())))
        .collect();
    acts::launch(&app, "ten", None).await.unwrap();
    let id = row(&app).await.id;
    let (began, start) = (Instant::now(), app.now());
    let mut ended: BTreeMap<&str, String> = BTreeMap::new();
    let (mut counted, mut sent, mut moved) = (began, 0, began);
    while row(&app).await.state != CampaignState::Finished {
        tokio::time::sleep(LOOK).await;
        if counted.elapsed() >= COUNT {
            note_ends(&states(&app, id).await, &mut ended, app.now().as_millisecond() - start.as_millisecond());
            counted = Instant::now();
        }
        if catcher.mailbag().count() > sent {
            (sent, moved) = (catcher.mailbag().count(), Instant::now());
        }
        let leap = if moved.elapsed() > QUIET { until_something_may_be_sent(&app, id).await } else { None };
        app.clock.advance(leap.unwrap_or(AHEAD));
        if leap.is_some() {
            moved = Instant::now();
        }
        assert!(row(&app).await.state != CampaignState::Paused, "a stop fired");
        assert!(began.elapsed() < PATIENCE, "it does not end: {:?}", states(&app, id).await);
    }
    note_ends(&states(&app, id).await, &mut ended, app.now().as_millisecond() - start.as_millisecond());
    let spent = began.elapsed();
    stop.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }

    println!(
        "{} recipients in {:.1} s of machine time; on the story's clock each group ended after",
        args.recipients,
        spent.as_secs_f64()
    );
    let now = states(&app, id).await;
    for (group, _) in TOWN {
        println!("  {group:<10} {:>8}  {:?}", ended.get(group).cloned().unwrap_or_default(), now[group]);
        let expected = if group == "orange" { DeliveryState::Bounced } else { DeliveryState::Accepted };
        assert_eq!(now[group], BTreeMap::from([(expected, each as i64)]), "{group}");
    }
    let copies = copies.lock().unwrap().clone();
    assert!(copies.values().all(|n| *n == 1), "nobody gets two");
    assert_eq!(copies.len(), 9 * each, "everybody but those refused has one");
    println!("everybody in the right state, one copy each");
    let mut tx = app.db.read().await.unwrap();
    println!(
        "groups that still recover: {:?}",
        groups::all(&mut tx).await.unwrap().iter().map(|(g, _)| g.as_str()).collect::<Vec<_>>()
    );
    drop(tx);
    app.db.close().await;
    if let Some(database) = database {
        database.drop_database().await;
    }
}

/// Notes of each group that has come to its end how long that took, in the story's time.
fn note_ends(
    now: &BTreeMap<String, BTreeMap<DeliveryState, i64>>,
    ended: &mut BTreeMap<&'static str, String>,
    millis: i64,
) {
    for (group, _) in TOWN {
        let is_over = now.get(group).is_some_and(|states| states.keys().all(|state| is_end(*state)));
        if is_over {
            ended.entry(group).or_insert_with(|| format!("{:.1} h", millis as f64 / HOUR as f64));
        }
    }
}

/// How long it is until a group is no longer suspended or a deferred message is due, whichever comes first.
async fn until_something_may_be_sent(app: &App, id: i64) -> Option<i64> {
    let now = app.now().as_millisecond();
    let mut tx = app.db.read().await.unwrap();
    let standings = groups::all(&mut tx).await.unwrap();
    let due = deliveries::next_attempt(&mut tx, id).await.unwrap();
    let instants = standings.iter().map(|(_, standing)| standing.suspended_until).chain(due);
    instants.map(|at| at - now).filter(|wait| *wait > AHEAD).min()
}

async fn write(app: &App, each: usize) {
    let mut tx = app.db.write().await.unwrap();
    products::add(&mut tx, "crm", "CRM", true, 1).await.unwrap();
    tx.commit().await.unwrap();
    for (_, domain) in TOWN {
        for chunk in (0..each).collect::<Vec<_>>().chunks(5000) {
            let people: Vec<_> = chunk.iter().map(|i| person(app, &format!("p{i}@{domain}"))).collect();
            let mut tx = app.db.write().await.unwrap();
            contacts::save(&mut tx, &people).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
    let file = "+++\nslug = \"ten\"\nproduct = \"crm\"\nprofession_related = true\nsubject = \"Votre CRM\"\n\
                from = \"Exemple <actu@news.example>\"\nrate = \"100000/s\"\n+++\nBonjour {{ contact.email }} !\n";
    acts::create(app, file, None).await.unwrap();
}

fn person(app: &App, address: &str) -> contacts::Contact {
    let address = Address::parse(address).unwrap();
    contacts::Contact {
        id: 0,
        address: address.as_str().to_owned(),
        address_hash: app.keys.suppression.hash(&address),
        kind: ContactKind::Business,
        address_kind: AddressKind::Personal,
        legal_form: LegalForm::Corporate,
        relationship: Relationship::Prospect,
        first_name: String::new(),
        last_name: String::new(),
        company: String::new(),
        job_title: String::new(),
        country: "FR".into(),
        regime: "FR".into(),
        language: "fr".into(),
        time_zone: String::new(),
        source: "salon".into(),
        source_kind: SourceKind::DirectForm,
        collected_at: "2026-03-10".into(),
        informed: true,
        similar_offer: false,
        same_entity: true,
        refusal_offered: true,
        relationship_end: String::new(),
        last_activity: String::new(),
        last_activity_at: String::new(),
        paused_until: String::new(),
        created_at: 1,
        changed_at: 1,
    }
}

/// Two providers take a part of their mail each hour of the story and push back; one refuses all.
async fn catcher(app: &App, each: usize, copies: Arc<Mutex<BTreeMap<String, u32>>>) -> Catcher {
    let clock = app.clock.clone();
    let most = ((each as f64 * HOURLY) as usize).max(1);
    let taken: Mutex<BTreeMap<(String, i64), usize>> = Mutex::default();
    let script: Script = Arc::new(move |event: &Event| match event.what {
        What::Command(line) if line.starts_with("RCPT TO:<") => {
            let domain = line[9..].split('>').next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
            let hour = clock.now().as_millisecond() / HOUR;
            let mut taken = taken.lock().unwrap();
            let of_hour = taken.entry((domain.to_owned(), hour)).or_default();
            *of_hour += 1;
            match domain {
                "gmail.com" if *of_hour > most => {
                    Action::ReplyAndClose("421 4.7.28 unusual rate of unsolicited mail\r\n".into())
                }
                "yahoo.fr" if *of_hour > most => {
                    Action::ReplyAndClose("421 4.7.0 [TSS04] temporarily deferred due to unexpected volume\r\n".into())
                }
                "orange.fr" => Action::Reply("550 5.2.0 Mail rejected\r\n".into()),
                _ => Action::Usual,
            }
        }
        What::Message { to, .. } => {
            *copies.lock().unwrap().entry(to[0].clone()).or_default() += 1;
            Action::Usual
        }
        _ => Action::Usual,
    });
    let settings = Settings { script: Some(script), keep_messages: 1, ..Settings::default() };
    Catcher::start(([127, 0, 0, 1], 0).into(), settings).await.unwrap()
}

fn is_end(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Accepted | DeliveryState::Bounced)
}

async fn row(app: &App) -> campaigns::Campaign {
    let mut tx = app.db.read().await.unwrap();
    campaigns::by_slug(&mut tx, "ten").await.unwrap().unwrap()
}

async fn states(app: &App, id: i64) -> BTreeMap<String, BTreeMap<DeliveryState, i64>> {
    let mut tx = app.db.read().await.unwrap();
    let mut states: BTreeMap<String, BTreeMap<DeliveryState, i64>> = BTreeMap::new();
    for line in deliveries::tally(&mut tx, id).await.unwrap() {
        *states.entry(line.provider_group).or_default().entry(line.state).or_default() += line.n;
    }
    states
}
