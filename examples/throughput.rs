//! How fast a whole campaign goes: claim, decide, render, compose, sign, gate, submit and record, all
//! durable, into Postfix's `smtp-sink`; beside it, in turns, `smtp-source` with messages of one size.
//!
//! `docs/benchmarks.md` says how to read it.

#![allow(clippy::unwrap_used)]

#[path = "../src/needs.rs"]
#[allow(dead_code)]
mod needs;
#[path = "../tests/it/postgres.rs"]
#[allow(dead_code)]
mod postgres;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::RSA_PKCS1_SHA256,
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
        eligibility::Basis,
    },
    mail::{dkim::SigningKeys, smtp::Server},
    pipeline::{campaigns as acts, compile::Compiled, deliver::prepare, enqueue},
    store::{campaigns, contacts, deliveries, products},
    worker,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};

const CONNECTIONS: usize = 32;

/// Measures a campaign against smtp-source.
#[derive(Parser)]
struct Args {
    /// Recipients of each round
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// Database
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    engine: Engine,
    /// Signature
    #[arg(long, value_enum, default_value_t = Dkim::None)]
    dkim: Dkim,
    /// Size on the wire: large is 20 kB, small 3.6 kB
    #[arg(long, value_enum, default_value_t = Size::Large)]
    size: Size,
    /// Milliseconds added to each reply of the sink
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Rounds; figures are medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Print JSON and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Dkim {
    None,
    Ed25519,
    Rsa,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Size {
    Large,
    Small,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let folder = tempfile::tempdir().unwrap();
    let database = match args.engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(postgres::database("throughput").await.expect("PostgreSQL is needed")),
    };
    let url = database.as_ref().map_or(format!("sqlite:{}/ouinon.db", folder.path().display()), |d| d.url.clone());
    let (sink, port) = sink();
    let port = if args.delay_ms > 0 { delayed(port, Duration::from_millis(args.delay_ms)).await } else { port };
    let app = installation(folder.path(), &url, &args).await;
    let file = campaign_file(&app, &args).await;
    let bytes = message_size(&app, &file("size")).await;

    let (mut ours, mut theirs, mut ratios, mut cpu) = (vec![], vec![], vec![], vec![]);
    for round in 0..args.rounds {
        let source = smtp_source(port, args.messages, bytes);
        let (rate, micros) = campaign(&app, port, &file(&format!("round-{round}")), args.messages).await;
        if !args.json {
            println!("round {round}: {rate:.0} messages/s, {micros:.0} µs of CPU each; smtp-source {source:.0}/s");
        }
        ours.push(rate);
        theirs.push(source);
        ratios.push(rate / source);
        cpu.push(micros);
    }
    let bare = bare_rsa();
    let figures = serde_json::json!({
        "messages_per_second": median(&mut ours).round(),
        "ratio_to_smtp_source": (median(&mut ratios) * 100.0).round() / 100.0,
        "sender_cpu_us_per_message": median(&mut cpu).round(),
        "peak_rss_mb": peak_rss_mb(),
        "smtp_source_per_second": median(&mut theirs).round(),
        "bytes_per_message": bytes,
        "bare_rsa_sign_us": bare.round(),
    });
    println!("{}", if args.json { figures.to_string() } else { format!("{figures:#}") });
    drop(sink);
    app.db.close().await;
    if let Some(database) = database {
        database.drop_database().await;
    }
}

/// An installation with its recipients.
async fn installation(folder: &Path, url: &str, args: &Args) -> App {
    let mut config = Config::of_folder(folder);
    config.database.url = SecretString::from(url.to_owned());
    config.controller.name = "Société Exemple".into();
    config.controller.postal_address = "1 rue de l'Exemple, 75001 Paris, France".into();
    config.public.url = Some("https://mail.example.org".into());
    config.smtp.connections = CONNECTIONS;
    write_keys(&App::keys_folder(&config).join("dkim/news.example"), args.dkim);
    let app = App::open(config, Clock::System).await.unwrap();
    let mut tx = app.db.write().await.unwrap();
    products::add(&mut tx, "crm", "CRM", true, 1).await.unwrap();
    let people: Vec<contacts::Contact> = (0..args.messages).map(|i| recipient(&app, i)).collect();
    for page in people.chunks(5000) {
        contacts::save(&mut tx, page).await.unwrap();
    }
    tx.commit().await.unwrap();
    app
}

fn write_keys(folder: &Path, dkim: Dkim) {
    let keys = SigningKeys::generate().unwrap();
    let selector = folder.join("s1");
    std::fs::create_dir_all(&selector).unwrap();
    match dkim {
        Dkim::None => return,
        Dkim::Ed25519 => std::fs::write(selector.join("ed25519.pem"), keys.ed25519_pem.expose_secret()).unwrap(),
        Dkim::Rsa => std::fs::write(selector.join("rsa.pem"), keys.rsa_pem.expose_secret()).unwrap(),
    }
    std::fs::write(folder.join("selector"), "s1").unwrap();
}

fn recipient(app: &App, i: usize) -> contacts::Contact {
    let address = format!("camille.martin{i}@societe{}.example", i % 100);
    let now = app.now().as_millisecond();
    contacts::Contact {
        id: 0,
        address_hash: app.keys.suppression.hash(&Address::parse(&address).unwrap()),
        address,
        kind: ContactKind::Business,
        address_kind: AddressKind::Personal,
        legal_form: LegalForm::Corporate,
        relationship: Relationship::Prospect,
        first_name: format!("Camille{i}"),
        last_name: "Martin".into(),
        company: format!("Société {}", i % 100),
        job_title: "Directrice".into(),
        country: "FR".into(),
        regime: "FR".into(),
        language: "fr".into(),
        time_zone: String::new(),
        source: "salon".into(),
        source_kind: SourceKind::DirectForm,
        collected_at: app.now().to_string()[..10].to_owned(),
        informed: true,
        similar_offer: false,
        same_entity: true,
        refusal_offered: false,
        relationship_end: String::new(),
        last_activity: String::new(),
        last_activity_at: String::new(),
        paused_until: String::new(),
        created_at: now,
        changed_at: now,
    }
}

/// The campaign file of a slug, its body as long as makes messages of the size that is asked for.
async fn campaign_file(app: &App, args: &Args) -> impl Fn(&str) -> String {
    let target = if args.size == Size::Large { 20_000 } else { 3_600 };
    let write = |slug: &str, paragraphs: usize| {
        let mut body = String::from(
            "<html><head><style>p { margin: 0 0 12px; } a { color: #0b5; }</style></head><body>\n\
             <p>Bonjour {{ contact.first_name | default('Madame, Monsieur') }},</p>\n",
        );
        for i in 0..paragraphs {
            body.push_str(&format!(
                "<p class=\"lead\">Paragraph {i}: what is new in the product this autumn, for {{{{ contact.company }}}} too. \
                 <a href=\"https://www.example.org/autumn/article-{i}?ref=mail\">Read more about it</a> whenever you like.</p>\n"
            )
            .replace(if i % 9 == 0 { "\u{0}" } else { "for {{ contact.company }} too" }, "for every team"));
        }
        body.push_str("</body></html>\n");
        format!(
            "+++\nslug = \"{slug}\"\nproduct = \"crm\"\nkind = \"marketing\"\nprofession_related = true\n\
             subject = \"{{{{ contact.first_name | default('Bonjour') }}}}, what is new\"\n\
             from = \"Exemple <actu@news.example>\"\nrate = \"100000/s\"\nformat = \"html\"\n+++\n{body}"
        )
    };
    let mut paragraphs = 0;
    while paragraphs < 200 && message_size(app, &write("size", paragraphs)).await < target {
        paragraphs += 1;
    }
    move |slug: &str| write(slug, paragraphs)
}

async fn message_size(app: &App, source: &str) -> usize {
    let file = ouinon::domain::campaign_file::CampaignFile::parse(source, None).unwrap();
    let mut tx = app.db.read().await.unwrap();
    let compiled = Compiled::of_file(app, &mut tx, file).await.unwrap();
    let person = recipient(app, 0);
    prepare::message(app, &compiled, &person, Basis::LegitimateInterestB2b, prepare::Copy::Real, app.now())
        .unwrap()
        .bytes
        .len()
}

/// Sends a campaign that is enqueued already; messages a second and microseconds of CPU a message.
async fn campaign(app: &App, port: u16, source: &str, messages: usize) -> (f64, f64) {
    let compiled = acts::create(app, source, None).await.unwrap();
    let slug = compiled.file.slug;
    acts::launch(app, &slug, None).await.unwrap();
    let mut tx = app.db.write().await.unwrap();
    campaigns::start_due(&mut tx, app.now().as_millisecond()).await.unwrap();
    let row = campaigns::by_slug(&mut tx, &slug).await.unwrap().unwrap();
    assert_eq!(row.state, CampaignState::Running);
    let compiled = Compiled::of_row(app, &mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    while enqueue::step(app, &compiled).await.unwrap() == enqueue::Step::More {}

    let server = Server::parse(&format!("smtp://127.0.0.1:{port}")).unwrap().greeted_as("client.example");
    let (stop, stopped) = watch::channel(false);
    let (start, cpu) = (Instant::now(), cpu_micros());
    let working = tokio::spawn(worker::run(app.clone(), server, stopped));
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut tx = app.db.read().await.unwrap();
        if !deliveries::is_open(&mut tx, row.id).await.unwrap() {
            break;
        }
    }
    let (took, cpu) = (start.elapsed(), cpu_micros() - cpu);
    stop.send(true).unwrap();
    working.await.unwrap().unwrap();
    let mut tx = app.db.read().await.unwrap();
    let tally = deliveries::tally(&mut tx, row.id).await.unwrap();
    assert!(tally.iter().all(|line| line.state == DeliveryState::Accepted), "{tally:?}");
    assert_eq!(tally.iter().map(|line| line.n).sum::<i64>(), messages as i64);
    (messages as f64 / took.as_secs_f64(), cpu / messages as f64)
}

/// A child that ends with this process.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sink() -> (Running, u16) {
    let program = needs::program("smtp-sink", "the benchmark").expect("smtp-sink (Postfix) is needed");
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let child = Command::new(program)
        .args(["-u", "nobody", &format!("127.0.0.1:{port}"), "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Running(child);
    for _ in 0..100 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return (child, port);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("smtp-sink does not answer");
}

fn smtp_source(port: u16, messages: usize, bytes: usize) -> f64 {
    let program = needs::program("smtp-source", "the benchmark").expect("smtp-source (Postfix) is needed");
    let start = Instant::now();
    let ended = Command::new(program)
        .args(["-d", "-s", &CONNECTIONS.to_string(), "-m", &messages.to_string(), "-l", &bytes.to_string()])
        .arg(format!("127.0.0.1:{port}"))
        .status()
        .unwrap();
    assert!(ended.success());
    messages as f64 / start.elapsed().as_secs_f64()
}

/// A port behind which every reply of the sink comes so much later.
async fn delayed(port: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let (later, mut due) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
            tokio::spawn(async move {
                while let Some((at, bytes)) = due.recv().await {
                    tokio::time::sleep_until(at).await;
                    if to_client.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                    let _ = later.send((tokio::time::Instant::now() + delay, buffer[..n].to_vec()));
                }
            });
        }
    });
    address.port()
}

/// Microseconds of one RSA-2048 signature and nothing else.
fn bare_rsa() -> f64 {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let (mut signature, start) = (vec![0; pair.public_modulus_len()], cpu_micros());
    for i in 0..2000u32 {
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &i.to_be_bytes(), &mut signature).unwrap();
    }
    (cpu_micros() - start) / 2000.0
}

/// Microseconds of CPU that this process has used.
fn cpu_micros() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
