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
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::atomic::Ordering,
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
    cpu,
    domain::{
        address::Address,
        campaigns::{CampaignState, DeliveryState},
        contacts::{AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
        eligibility::Basis,
    },
    mail::{dkim::SigningKeys, smtp::Server},
    pipeline::{
        campaigns as acts,
        compile::Compiled,
        deliver::{permits, prepare},
        enqueue,
        exchangers::Exchangers,
    },
    store::{Db, campaigns, contacts, deliveries, products},
    worker,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};

const CONNECTIONS: usize = 32;
/// What a message costs beside its RSA signature, sink included, where everything else is ideal.
const BESIDE_RSA_US: f64 = 150.0;

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
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Print JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Delay what this port of the sink replies, and do nothing else (a child of the measurement)
    #[arg(long, hide = true)]
    relay: Option<u16>,
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

fn main() -> ExitCode {
    let args = Args::parse();
    if args.relay.is_none() {
        // As the program itself, first of all.
        cpu::interrupt_nobody();
    }
    tokio::runtime::Runtime::new().unwrap().block_on(run(args))
}

async fn run(args: Args) -> ExitCode {
    let delay = Duration::from_millis(args.delay_ms);
    if let Some(port) = args.relay {
        relay(port, delay).await;
        return ExitCode::SUCCESS;
    }
    match measure(&args).await {
        Ok(figures) if args.json => println!("{figures}"),
        Ok(figures) => println!("{figures:#}"),
        Err(missing) => {
            eprintln!("{missing}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn measure(args: &Args) -> Result<serde_json::Value, String> {
    let tools = Tools { sink: program("smtp-sink")?, source: program("smtp-source")? };
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    postgres::ON_DISK.store(true, Ordering::Relaxed);
    let database = match args.engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(postgres::database("throughput").await.ok_or("PostgreSQL is needed")?),
    };
    let url = database.as_ref().map_or(format!("sqlite:{}/ouinon.db", folder.path().display()), |d| d.url.clone());
    let (sink, port) = tools.sink();
    let (_relay, port) = if args.delay_ms > 0 { delayed(port, args.delay_ms) } else { (None, port) };
    let app = installation(folder.path(), &url, args).await;
    let file = campaign_file(&app, args).await;
    let bytes = message_size(&app, &file("size")).await;

    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        let each = |micros: f64| micros / args.messages as f64;
        let before = sink.cpu_micros();
        let source = tools.source(port, args.messages, bytes);
        let between = sink.cpu_micros();
        // Before and after: how fast a machine computes changes within seconds.
        let rsa = || if args.dkim == Dkim::Rsa { (bare_rsa(cpu::cores()), bare_rsa(1)) } else { (0.0, 0.0) };
        let early = rsa();
        let sent = campaign(&app, port, &file(&format!("round-{round}")), args.messages).await;
        let (sink_of_ours, late) = (sink.cpu_micros() - between, rsa());
        let round = Round {
            source,
            sink: each(sink_of_ours),
            sink_of_source: each(between - before),
            bare_rsa: (early.0 + late.0) / 2.0,
            bare_rsa_alone: (early.1 + late.1) / 2.0,
            ..sent
        };
        if !args.json {
            let Round { rate, cpu, enqueued, source, .. } = round;
            println!(
                "{rate:.0} messages/s, {cpu:.0} µs of CPU each; smtp-source {source:.0}/s; enqueued {enqueued:.0}/s"
            );
        }
        rounds.push(round);
    }
    app.db.close().await;
    if let Some(database) = database {
        database.drop_database().await;
    }
    Ok(figures(args, &rounds, bytes))
}

/// What one round measured.
#[derive(Clone, Copy, Default)]
struct Round {
    /// Messages a second.
    rate: f64,
    /// Of the sender, microseconds a message.
    cpu: f64,
    /// Recipients queued a second, before the round's clock started.
    enqueued: f64,
    /// Messages a second of smtp-source.
    source: f64,
    /// Microseconds of CPU that a message of ours costs smtp-sink.
    sink: f64,
    /// The same of a message of smtp-source.
    sink_of_source: f64,
    /// Messages that a commit of the gate let through.
    together: f64,
    /// Milliseconds of such a commit, with all that is asked in it.
    gate_ms: f64,
    /// Microseconds of a signature by itself, while all cores sign, as in the run.
    bare_rsa: f64,
    /// The same while only one does: a core by itself is often faster.
    bare_rsa_alone: f64,
}

fn figures(args: &Args, rounds: &[Round], bytes: usize) -> serde_json::Value {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let hundredths = |value: f64| (value * 100.0).round() / 100.0;
    let mut figures = serde_json::json!({
        "messages_per_second": of(|r| r.rate).round(),
        "ratio_to_smtp_source": hundredths(of(|r| r.rate / r.source)),
        "sender_cpu_us_per_message": of(|r| r.cpu).round(),
        "peak_rss_mb": peak_rss_mb(),
        "messages_per_commit": of(|r| r.together).round(),
        "gate_ms": hundredths(of(|r| r.gate_ms)),
        "smtp_source_per_second": of(|r| r.source).round(),
        "sink_cpu_us_per_message": of(|r| r.sink).round(),
        "sink_cpu_us_per_message_of_smtp_source": of(|r| r.sink_of_source).round(),
        "sink_share_of_a_core": hundredths(of(|r| r.sink * r.rate / 1e6)),
        "enqueued_per_second": of(|r| r.enqueued).round(),
        "bytes_per_message": bytes,
    });
    if args.dkim == Dkim::Rsa {
        let limit = |r: &Round| cpu::cores() as f64 * 1e6 / (r.bare_rsa + BESIDE_RSA_US);
        figures["bare_rsa_us"] = of(|r| r.bare_rsa).round().into();
        figures["bare_rsa_alone_us"] = of(|r| r.bare_rsa_alone).round().into();
        figures["sender_cpu_ratio_to_bare_rsa"] = hundredths(of(|r| r.cpu / r.bare_rsa)).into();
        figures["share_of_rsa_limit"] = hundredths(median(rounds.iter().map(|r| r.rate / limit(r)).collect())).into();
    }
    figures
}

/// An installation with its recipients.
async fn installation(folder: &Path, url: &str, args: &Args) -> App {
    let mut config = Config::of_folder(folder);
    config.database.url = SecretString::from(url.to_owned());
    config.controller.name = "Exemple".into();
    config.controller.postal_address = "1 rue X, 75001 Paris".into();
    config.public.url = Some("https://m.example.org".into());
    config.smtp.connections = CONNECTIONS;
    write_keys(&App::keys_folder(&config).join("dkim/news.example"), args.dkim);
    let app = App::open(config, Clock::System).await.unwrap();
    let mut tx = app.db.write().await.unwrap();
    products::add(&mut tx, "crm", "CRM", true, 1).await.unwrap();
    tx.commit().await.unwrap();
    // Page by page: what the campaign needs is to be measured, not what its recipients are made in.
    for first in (0..args.messages).step_by(2000) {
        let people: Vec<_> = (first..args.messages.min(first + 2000)).map(|i| recipient(&app, i)).collect();
        let mut tx = app.db.write().await.unwrap();
        contacts::save(&mut tx, &people).await.unwrap();
        tx.commit().await.unwrap();
    }
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
        // The frame that the law asks for is shortest in English: in French, no message has less than 4 kB.
        language: "en".into(),
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
    let write = |slug: &str, paragraphs: usize, more: usize| {
        let mut body = String::from("<html><body>\n<p>Hello {{ contact.first_name | default('Sir or Madam') }},</p>\n");
        for i in 0..paragraphs {
            body.push_str(&format!(
                "<p class=\"lead\">Paragraph {i}: what is new in the product this autumn, for {{{{ contact.company }}}} too. \
                 <a href=\"https://www.example.org/autumn/article-{i}?ref=mail\">Read more about it</a> whenever you like.</p>\n"
            )
            .replace(if i % 9 == 0 { "\u{0}" } else { "for {{ contact.company }} too" }, "for every team"));
        }
        body.push_str(&format!("<p>Until soon{}</p>\n</body></html>\n", ", and soon".repeat(more)));
        format!(
            "+++\nslug = \"{slug}\"\nproduct = \"crm\"\nkind = \"marketing\"\nprofession_related = true\n\
             subject = \"{{{{ contact.first_name | default('Bonjour') }}}}, what is new\"\n\
             from = \"Exemple <actu@news.example>\"\nrate = \"100000/s\"\nformat = \"html\"\n+++\n{body}"
        )
    };
    let (mut paragraphs, mut more) = (0, 0);
    while paragraphs < 200 && message_size(app, &write("size", paragraphs + 1, 0)).await <= target {
        paragraphs += 1;
    }
    while more < 100 && message_size(app, &write("size", paragraphs, more)).await < target {
        more += 1;
    }
    move |slug: &str| write(slug, paragraphs, more)
}

async fn message_size(app: &App, source: &str) -> usize {
    let file = ouinon::domain::campaign_file::CampaignFile::parse(source, None).unwrap();
    let mut tx = app.db.read().await.unwrap();
    let compiled = Compiled::of_file(app, &mut tx, file).await.unwrap();
    let (person, permit) = (recipient(app, 0), prepare::Permit::untracked(Basis::LegitimateInterestB2b));
    prepare::message(app, &compiled, &person, &permit, prepare::Copy::Real, app.now()).unwrap().bytes.len()
}

/// Sends a campaign whose recipients are queued; its clock starts with the first claim.
async fn campaign(app: &App, port: u16, source: &str, messages: usize) -> Round {
    let slug = acts::create(app, source, None).await.unwrap().file.slug;
    acts::launch(app, &slug, None).await.unwrap();
    let mut tx = app.db.write().await.unwrap();
    campaigns::start_due(&mut tx, app.now().as_millisecond()).await.unwrap();
    let row = campaigns::by_slug(&mut tx, &slug).await.unwrap().unwrap();
    assert_eq!(row.state, CampaignState::Running);
    let compiled = Compiled::of_row(app, &mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    let exchangers = Exchangers::new(None);
    let start = Instant::now();
    while enqueue::step(app, &compiled, &exchangers).await.unwrap() == enqueue::Step::More {}
    let enqueued = messages as f64 / start.elapsed().as_secs_f64();

    let server = Server::parse(&format!("smtp://127.0.0.1:{port}")).unwrap().greeted_as("client.example");
    let (stop, stopped) = watch::channel(false);
    let (cpu, gate) = (cpu_micros("self"), app.meters.read());
    let working = tokio::spawn(worker::run(app.clone(), server, stopped));
    // A worker looks every 200 ms what there is to do: that wait is not counted, the first claim is.
    let mut start = Instant::now();
    while !is_begun(app, row.id).await {
        start = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while !is_ended(app, row.id).await {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (took, cpu) = (start.elapsed(), cpu_micros("self") - cpu);
    stop.send(true).unwrap();
    working.await.unwrap().unwrap();
    let mut tx = app.db.read().await.unwrap();
    let tally = deliveries::tally(&mut tx, row.id).await.unwrap();
    assert!(tally.iter().all(|line| line.state == DeliveryState::Accepted), "{tally:?}");
    assert_eq!(tally.iter().map(|line| line.n).sum::<i64>(), messages as i64);
    let passed = app.meters.read();
    let commits = (passed.gate.iter().max().unwrap() - gate.gate.iter().max().unwrap()).max(1) as f64;
    Round {
        rate: messages as f64 / took.as_secs_f64(),
        cpu: cpu / messages as f64,
        enqueued,
        together: messages as f64 / commits,
        gate_ms: (passed.gate_time - gate.gate_time).as_secs_f64() * 1000.0 / commits,
        ..Round::default()
    }
}

/// Whether a claim has counted anything against the campaign's pace.
async fn is_begun(app: &App, campaign: i64) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM bucket WHERE scope = $1)";
    let scope = permits::of_campaign(campaign);
    match &app.db {
        Db::Lite { readers, .. } => sqlx::query_scalar(sql).bind(scope).fetch_one(readers).await.unwrap(),
        Db::Pg(pool) => sqlx::query_scalar(sql).bind(scope).fetch_one(pool).await.unwrap(),
    }
}

/// Whether everybody's message has ended. The database is asked only when nothing is under way: to ask costs as much as
/// some messages.
async fn is_ended(app: &App, campaign: i64) -> bool {
    let stands = app.meters.read();
    if stands.waiting > 0 || stands.on_wire > 0 {
        return false;
    }
    let mut tx = app.db.read().await.unwrap();
    !deliveries::is_open(&mut tx, campaign).await.unwrap()
}

/// Postfix's two measuring programs.
struct Tools {
    sink: PathBuf,
    source: PathBuf,
}

fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("{name} is not installed; it comes with Postfix (Debian: apt-get install postfix)"))
}

/// A child that ends with this process.
struct Running(Child);

impl Running {
    fn cpu_micros(&self) -> f64 {
        cpu_micros(&self.0.id().to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tools {
    fn sink(&self) -> (Running, u16) {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        // As root it must become somebody else; without root it cannot.
        let as_root = std::fs::metadata("/proc/self").is_ok_and(|of_us| of_us.uid() == 0);
        let user: &[&str] = if as_root { &["-u", "nobody"] } else { &[] };
        (started(Command::new(&self.sink).args(user).args([address.as_str(), "1000"]), port), port)
    }

    /// Messages a second.
    fn source(&self, port: u16, messages: usize, bytes: usize) -> f64 {
        let start = Instant::now();
        let mut command = Command::new(&self.source);
        command.args(["-d", "-s", &CONNECTIONS.to_string(), "-m", &messages.to_string(), "-l", &bytes.to_string()]);
        assert!(spawned(command.arg(format!("127.0.0.1:{port}"))).wait().unwrap().success());
        messages as f64 / start.elapsed().as_secs_f64()
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Starts a child that runs as it would anywhere: it inherits how the thread runs that starts it.
fn spawned(command: &mut Command) -> Child {
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            cpu::run_as_others_do();
            command.spawn().unwrap()
        });
        starting.join().unwrap()
    })
}

/// Starts a child and waits until it listens.
fn started(command: &mut Command, port: u16) -> Running {
    let child = Running(spawned(command.stdout(Stdio::null()).stderr(Stdio::null())));
    for _ in 0..200 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return child;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{} does not listen", command.get_program().display());
}

/// A child behind whose port every reply of the sink comes so much later.
fn delayed(sink: u16, delay_ms: u64) -> (Option<Running>, u16) {
    let port = free_port();
    let us = std::env::current_exe().unwrap();
    let mut command = Command::new(us);
    command.args(["--relay", &sink.to_string(), "--delay-ms", &delay_ms.to_string()]);
    let child = started(command.env("OUINON_RELAY_PORT", port.to_string()), port);
    (Some(child), port)
}

/// Passes everything on, the replies so much later.
async fn relay(sink: u16, delay: Duration) {
    let port = std::env::var("OUINON_RELAY_PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.unwrap();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, sink)).await.unwrap();
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
}

/// Microseconds of CPU of one RSA-2048 signature and nothing else, while so many threads sign.
fn bare_rsa(threads: usize) -> f64 {
    const EACH: u32 = 1000;
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let sign = || {
        let mut signature = vec![0; pair.public_modulus_len()];
        for i in 0..EACH {
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &i.to_be_bytes(), &mut signature).unwrap();
        }
    };
    let start = cpu_micros("self");
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(sign))));
    (cpu_micros("self") - start) / (f64::from(EACH) * threads as f64)
}

/// Microseconds of CPU that a process has used: its number, or `self`.
fn cpu_micros(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
