//! How many unsubscribes and pixels a second the recipients' pages bear: `wrk` with 64 connections on
//! the same machine, a token of its own for every request. Beside it, in turns, the same requests to the
//! same pages whose desk writes one request a transaction. `docs/benchmarks.md` says how to read it.

#![allow(clippy::unwrap_used)]

#[path = "../src/needs.rs"]
#[allow(dead_code)]
mod needs;
#[path = "../tests/it/postgres.rs"]
#[allow(dead_code)]
mod postgres;

use std::{
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::{Parser, ValueEnum};
use ouinon::{
    app::App,
    clock::Clock,
    config::Config,
    domain::{
        address::Address,
        campaigns::DeliveryState,
        consents::{ConsentState, Proof},
        contacts::{AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
        suppressions::Origin,
        tokens::{Purpose, Token},
    },
    pipeline::press::TOGETHER,
    store::{
        consents::{self, Consent, ConsentPurpose},
        contacts,
        deliveries::{self, Decided, Outcome, Wire},
        lanes, products, suppressions,
    },
    web::{self, Public, public::Desk},
};
use secrecy::SecretString;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

const CONNECTIONS: usize = 64;
const THREADS: usize = 2;
const CAMPAIGN: i64 = 1;

/// Measures the recipients' endpoints.
#[derive(Parser)]
struct Args {
    /// Database
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    engine: Engine,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; figures are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Recipients; each unsubscribes once
    #[arg(long, default_value_t = 300_000)]
    people: usize,
    /// Print JSON and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let Some(wrk) = needs::program("wrk", "the benchmark") else {
        eprintln!("wrk is needed: apt-get install wrk (Debian, Ubuntu), or build it from https://github.com/wg/wrk");
        std::process::exit(1);
    };
    let folder = tempfile::tempdir().unwrap();
    let database = match args.engine {
        Engine::Sqlite => None,
        Engine::Postgres => {
            postgres::ON_DISK.store(true, std::sync::atomic::Ordering::Relaxed);
            Some(postgres::database("clicks").await.expect("PostgreSQL is needed"))
        }
    };
    let url = database.as_ref().map_or(format!("sqlite:{}/ouinon.db", folder.path().display()), |d| d.url.clone());
    let app = installation(folder.path(), &url, args.people).await;
    let mut bench =
        Bench { app: &app, wrk, folder: folder.path(), seconds: args.seconds, next: 0, people: args.people };

    let (mut together, mut alone, mut p99s, mut pixels, mut ratios) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut unsubscribe_cpu, mut pixel_cpu) = (vec![], vec![]);
    for round in 0..args.rounds {
        let one_each = bench.run(Kind::CommitEach, round).await;
        let grouped = bench.run(Kind::Unsubscribe, round).await;
        let pixel = bench.run(Kind::Pixel, round).await;
        if !args.json {
            println!(
                "round {round}: {:.0} unsubscribes/s (p99 {:.1} ms, {:.0} µs of a core), with a commit each {:.0}/s \
                 ({:.0} µs), {:.0} pixels/s ({:.0} µs)",
                grouped.per_second,
                grouped.p99_ms,
                grouped.cpu_us,
                one_each.per_second,
                one_each.cpu_us,
                pixel.per_second,
                pixel.cpu_us
            );
        }
        together.push(grouped.per_second);
        alone.push(one_each.per_second);
        ratios.push(grouped.per_second / one_each.per_second);
        p99s.push(grouped.p99_ms);
        pixels.push(pixel.per_second);
        unsubscribe_cpu.push(grouped.cpu_us);
        pixel_cpu.push(pixel.cpu_us);
    }
    let figures = serde_json::json!({
        "unsubscribes_per_second": median(&mut together).round(),
        "ratio_to_commit_per_request": (median(&mut ratios) * 10.0).round() / 10.0,
        "p99_ms": (median(&mut p99s) * 10.0).round() / 10.0,
        "pixels_per_second": median(&mut pixels).round(),
        "commit_per_request_per_second": median(&mut alone).round(),
        "cpu_us_per_unsubscribe": median(&mut unsubscribe_cpu).round(),
        "cpu_us_per_pixel": median(&mut pixel_cpu).round(),
    });
    println!("{}", if args.json { figures.to_string() } else { format!("{figures:#}") });
    app.db.close().await;
    if let Some(database) = database {
        database.drop_database().await;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    CommitEach,
    Unsubscribe,
    Pixel,
}

/// What wrk says, and what the system says of this process, which serves.
struct Figures {
    per_second: f64,
    p99_ms: f64,
    /// Microseconds of a core that a request costs here, wrk left out.
    cpu_us: f64,
}

struct Bench<'a> {
    app: &'a App,
    wrk: PathBuf,
    folder: &'a Path,
    seconds: u64,
    /// The first person whose token no request had yet.
    next: usize,
    people: usize,
}

impl Bench<'_> {
    /// One measurement; fails when anything is answered another way than expected, or when less is on
    /// disk than was answered 200.
    async fn run(&mut self, kind: Kind, round: usize) -> Figures {
        let before = refusals(self.app).await;
        let (at, stop, serving) = serve(self.app, kind).await;
        // Pixels may be asked for again; nobody unsubscribes twice.
        let first = if kind == Kind::Pixel { 0 } else { self.next };
        let script = self.script(kind, round, first);
        let mut command = Command::new(&self.wrk);
        command
            .args(["--connections", &CONNECTIONS.to_string(), "--threads", &THREADS.to_string()])
            .args(["--duration", &format!("{}s", self.seconds), "--script"])
            .arg(&script)
            .arg(format!("http://{at}/"))
            .stderr(Stdio::inherit());
        let cpu = cpu_seconds();
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let cpu = cpu_seconds() - cpu;
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let _ = stop.send(());
        serving.await.unwrap().unwrap();
        let said: serde_json::Value = output
            .lines()
            .find_map(|line| serde_json::from_str(line.strip_prefix("figures ")?).ok())
            .unwrap_or_else(|| panic!("wrk says no figures: {output}"));
        let number = |name: &str| said[name].as_f64().unwrap();
        assert_eq!(number("errors"), 0.0, "everything is answered: {said}");
        let answered = number("requests") as usize;
        if kind != Kind::Pixel {
            let stored = refusals(self.app).await - before;
            // A thread of wrk that has asked for all of its tokens begins anew: what it asks for then is on disk already.
            let asked = answered + answered / 4;
            assert!(asked < self.people - first, "the tokens ran out: more --people or fewer --seconds");
            assert!(stored >= answered, "{answered} were answered 200, {stored} are on disk");
            // The threads of wrk need not have asked equally often.
            self.next = first + stored + stored / 4 + 1000;
        }
        Figures {
            per_second: answered as f64 / number("seconds"),
            p99_ms: number("p99_ms"),
            cpu_us: cpu / answered as f64 * 1e6,
        }
    }

    /// A script for wrk, and beside it the paths that it asks for, a file a thread.
    fn script(&self, kind: Kind, round: usize, first: usize) -> PathBuf {
        let name = |thread: usize| self.folder.join(format!("paths-{round}-{}-{thread}", kind as usize));
        for thread in 0..THREADS {
            let mut file = BufWriter::new(File::create(name(thread)).unwrap());
            for n in (first..self.people).skip(thread).step_by(THREADS) {
                let purpose = if kind == Kind::Pixel { Purpose::Open } else { Purpose::Unsubscribe };
                let token = Token {
                    purpose,
                    address: hash(self.app, n),
                    product: 1,
                    campaign: CAMPAIGN as u32,
                    product_scope: false,
                    test: false,
                };
                let letter = if kind == Kind::Pixel { 'i' } else { 'o' };
                writeln!(file, "/{letter}/{}", self.app.keys.tokens.sign(&token)).unwrap();
            }
            file.flush().unwrap();
        }
        let (method, extra, body) = match kind {
            Kind::Pixel => ("GET", "", ""),
            Kind::CommitEach | Kind::Unsubscribe => (
                "POST",
                "Content-Type: application/x-www-form-urlencoded\\r\\nContent-Length: 26\\r\\n",
                "List-Unsubscribe=One-Click",
            ),
        };
        let path = self.folder.join(format!("script-{round}-{}.lua", kind as usize));
        let text = format!(
            "local threads = 0\n\
             function setup(thread)\n  thread:set('number', threads)\n  threads = threads + 1\nend\n\
             function init(args)\n  paths = {{}}\n  for line in io.lines('{0}' .. number) do paths[#paths + 1] = line end\n  at = 0\n\
             \x20 tail = ' HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:132.0) '\n\
             \x20   .. 'Gecko/20100101 Firefox/132.0\\r\\n{extra}\\r\\n{body}'\nend\n\
             function request()\n  at = at % #paths + 1\n  return '{method} ' .. paths[at] .. tail\nend\n\
             function done(summary, latency, requests)\n  local e = summary.errors\n\
             \x20 print(string.format('figures {{\"requests\":%d,\"seconds\":%f,\"p99_ms\":%f,\"errors\":%d}}', summary.requests,\n\
             \x20   summary.duration / 1e6, latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))\nend\n",
            name(0).display().to_string().trim_end_matches('0'),
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// The product's pages; where each request has a commit of its own, the desk takes one at a time.
async fn serve(app: &App, kind: Kind) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async {
        let _ = stopped.await;
    };
    let together = if kind == Kind::CommitEach { 1 } else { TOGETHER };
    let pages = Public::with_desk(app.clone(), Desk::open(app.clone(), together));
    (at, stop, tokio::spawn(web::serve_pages(pages, listener, until)))
}

/// How many refusals stand.
async fn refusals(app: &App) -> usize {
    let mut tx = app.db.read().await.unwrap();
    // Nothing is ever deleted, and ids have no gaps but those of failed inserts, of which there are none.
    suppressions::newest(&mut tx).await.unwrap() as usize
}

/// An installation whose every recipient allows tracking and was mailed an hour ago.
async fn installation(folder: &Path, url: &str, people: usize) -> App {
    let mut config = Config::of_folder(folder);
    config.database.url = SecretString::from(url.to_owned());
    config.public.url = Some("http://127.0.0.1:9".into());
    let app = App::open(config, Clock::System).await.unwrap();
    let mut tx = app.db.write().await.unwrap();
    products::add(&mut tx, "crm", "CRM", true, 1).await.unwrap();
    tx.commit().await.unwrap();
    let now = app.now().as_millisecond();
    for from in (0..people).step_by(5000) {
        let numbers: Vec<usize> = (from..people.min(from + 5000)).collect();
        let mut tx = app.db.write().await.unwrap();
        let some: Vec<contacts::Contact> = numbers.iter().map(|n| recipient(&app, *n)).collect();
        contacts::save(&mut tx, &some).await.unwrap();
        let yes: Vec<Consent> = numbers.iter().map(|n| consent(*n as i64 + 1, now)).collect();
        consents::add(&mut tx, &yes).await.unwrap();
        let decided: Vec<Decided> = numbers.iter().map(|n| delivery(&app, *n)).collect();
        deliveries::enqueue(&mut tx, CAMPAIGN, &decided, now).await.unwrap();
        // As the worker does: some hundreds at a time.
        for ids in numbers.chunks(500).map(|some| some.iter().map(|n| *n as i64 + 1).collect::<Vec<i64>>()) {
            let lane = lanes::Bound { provider_group: "other", zone: "", past: ids[0] - 1 };
            lanes::claim(&mut tx, CAMPAIGN, 1, &lane, ids.len() as i64).await.unwrap();
            let mut wire = Wire::new(1);
            wire.submitting(&mut tx, CAMPAIGN, &ids, now - 3_600_000).await.unwrap();
            let ended: Vec<Outcome> = ids.iter().map(|id| outcome(*id, now - 3_600_000)).collect();
            wire.record(&mut tx, CAMPAIGN, &ended.iter().collect::<Vec<_>>()).await.unwrap();
            wire.write(&mut tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    // As both engines do by themselves, some time after tables have grown.
    match &app.db {
        ouinon::store::Db::Lite { writer, .. } => {
            sqlx::query("ANALYZE").execute(&mut *writer.hold().await.unwrap()).await.map(|_| ())
        }
        ouinon::store::Db::Pg(pool) => sqlx::query("ANALYZE").execute(pool).await.map(|_| ()),
    }
    .unwrap();
    app
}

/// The processor time that this process has used, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name of the program, which may hold anything: the 12th and 13th, in hundredths.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn address(n: usize) -> String {
    format!("camille.martin{n}@societe{}.example", n % 100)
}

fn hash(app: &App, n: usize) -> ouinon::domain::address::AddressHash {
    app.keys.suppression.hash(&Address::parse(&address(n)).unwrap())
}

fn consent(contact_id: i64, now: i64) -> Consent {
    Consent {
        contact_id,
        purpose: ConsentPurpose::Tracking,
        product: String::new(),
        state: ConsentState::Granted,
        at: Some(now - 86_400_000),
        proof: Proof::Full,
        evidence: "form".into(),
        origin: Origin::Page,
        recorded_at: now,
    }
}

fn delivery(app: &App, n: usize) -> Decided {
    Decided {
        contact_id: n as i64 + 1,
        address_hash: hash(app, n),
        state: DeliveryState::Queued,
        code: "CONSENT",
        tracking: "individual",
        rules_version: "1",
        relationship: Relationship::Prospect,
        provider_group: "other".into(),
        zone: String::new(),
    }
}

fn outcome(contact_id: i64, at: i64) -> Outcome {
    Outcome {
        contact_id,
        state: DeliveryState::Accepted,
        next_attempt_at: None,
        ended_at: Some(at),
        bounce_class: String::new(),
        unsent: 0,
        reply: "250 ok".into(),
    }
}

fn recipient(app: &App, n: usize) -> contacts::Contact {
    contacts::Contact {
        id: 0,
        address: address(n),
        address_hash: hash(app, n),
        kind: ContactKind::Consumer,
        address_kind: AddressKind::Personal,
        legal_form: LegalForm::Unknown,
        relationship: Relationship::Prospect,
        first_name: "Camille".into(),
        last_name: "Martin".into(),
        company: String::new(),
        job_title: String::new(),
        country: "FR".into(),
        regime: "FR".into(),
        language: "fr".into(),
        time_zone: String::new(),
        source: "form".into(),
        source_kind: SourceKind::DirectForm,
        collected_at: "2026-03-10".into(),
        informed: true,
        similar_offer: false,
        same_entity: true,
        refusal_offered: false,
        relationship_end: String::new(),
        last_activity: String::new(),
        last_activity_at: String::new(),
        paused_until: String::new(),
        created_at: 1,
        changed_at: 1,
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
