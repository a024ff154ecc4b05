//! Where the tests find PostgreSQL, and a database of its own for each story.
//!
//! In this order: `OUINON_TEST_POSTGRES_URL`; a server on 127.0.0.1:5432 that lets `postgres` in; a
//! throw-away cluster, where `initdb` and `pg_ctl` are found. Only databases named `ouinon_test_…` are
//! ever made, used or dropped.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::needs;

/// A database of this test's own. `drop_database` drops it; what a killed run leaves, a later one drops.
pub struct Database {
    /// Its URL.
    pub url: String,
    name: String,
    server: &'static str,
    _turn: SemaphorePermit<'static>,
}

const LOCAL: &str = "postgres://postgres@127.0.0.1:5432/postgres";
const PREFIX: &str = "ouinon_test_";
const DAY_SECONDS: i64 = 86_400;

static SERVER: OnceCell<Result<String, String>> = OnceCell::const_new();
/// A server takes 100 connections by default: stories take turns on machines with many cores.
static TURNS: Semaphore = Semaphore::const_new(4);
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// Whether a throw-away cluster waits for the disk: a benchmark wants it, the stories need not.
pub static ON_DISK: AtomicBool = AtomicBool::new(false);

/// A new database for the story `name`; none where there is no PostgreSQL, which was said in one line.
pub async fn database(name: &str) -> Option<Database> {
    let server = match SERVER.get_or_init(find).await {
        Ok(url) => url,
        Err(why) => {
            needs::left_out("PostgreSQL half", why);
            return None;
        }
    };
    let turn = TURNS.acquire().await.expect("the semaphore is never closed");
    let mut admin = connect(server).await.expect("the server that was found still answers");
    let now: i64 = sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM now()) AS BIGINT)")
        .fetch_one(&mut admin)
        .await
        .expect("the server tells the time");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut full = format!("{PREFIX}{now}_{}_{number}_{name}", std::process::id());
    full.truncate(63);
    execute(&mut admin, &format!("CREATE DATABASE {full} TEMPLATE template0 ENCODING 'UTF8'")).await;
    Some(Database { url: with_database(server, &full), name: full, server, _turn: turn })
}

impl Database {
    /// Drops the database, whoever is still connected.
    pub async fn drop_database(self) {
        let mut admin = connect(self.server).await.expect("the server still answers");
        execute(&mut admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).await;
    }
}

async fn find() -> Result<String, String> {
    let found = match std::env::var("OUINON_TEST_POSTGRES_URL") {
        // Whoever names a server wants it used: that it fails is no reason to leave anything out.
        Ok(url) => match connect(&url).await {
            Ok(_) => url,
            Err(e) => panic!("OUINON_TEST_POSTGRES_URL: {e}"),
        },
        Err(_) if connect(LOCAL).await.is_ok() => LOCAL.to_owned(),
        Err(_) => {
            let on_disk = ON_DISK.load(Ordering::Relaxed);
            let options = if on_disk { "-c fsync=on -c synchronous_commit=on -c full_page_writes=on" } else { "" };
            let made = tokio::task::spawn_blocking(move || Cluster::make(options));
            let cluster = made.await.expect("the cluster's start does not panic")?;
            let url = cluster.url();
            // Its pipe stays open until the process ends.
            std::mem::forget(cluster);
            url
        }
    };
    drop_leftovers(&found).await;
    Ok(found)
}

async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    let options = url.parse::<PgConnectOptions>()?.disable_statement_logging();
    let attempt = options.connect();
    match tokio::time::timeout(Duration::from_secs(5), attempt).await {
        Ok(connection) => connection,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    if let Err(e) = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(connection).await {
        panic!("{sql}: {e}");
    }
}

/// Drops what killed runs left more than a day ago; younger ones may belong to a run beside this one.
async fn drop_leftovers(server: &str) {
    let Ok(mut admin) = connect(server).await else { return };
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database WHERE datname LIKE 'ouinon\\_test\\_%'
         AND CAST(COALESCE(substring(datname FROM '^ouinon_test_([0-9]{10})_'), '0') AS BIGINT)
             BETWEEN 1 AND EXTRACT(EPOCH FROM now()) - $1",
    )
    .bind(DAY_SECONDS)
    .fetch_all(&mut admin)
    .await
    .unwrap_or_default();
    for name in names {
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let _ = sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await;
    }
    let _ = admin.close().await;
}

/// The URL with another database name.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, String::new()), |(b, q)| (b, format!("?{q}")));
    let (scheme, rest) = base.split_once("://").expect("a URL has a scheme");
    let authority = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{authority}/{name}{query}")
}

/// A throw-away cluster on a Unix socket. It ends with this process, however that ends: a shell waits
/// for the end of a pipe that only this process holds open.
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    options: String,
    _watcher: Child,
}

/// A cluster that a story may stop; none where there is no `initdb`, which was said in one line.
pub async fn cluster_of_its_own(what: &str) -> Option<Cluster> {
    // What is committed stays, whatever becomes of the server.
    let made = tokio::task::spawn_blocking(|| Cluster::make("-c synchronous_commit=on"));
    match made.await.expect("the cluster's start does not panic") {
        Ok(cluster) => Some(cluster),
        Err(why) => {
            needs::left_out(what, &why);
            None
        }
    }
}

impl Cluster {
    fn make(options: &str) -> Result<Cluster, String> {
        let bin =
            programs().ok_or("no server lets postgres in on 127.0.0.1:5432, and no initdb and pg_ctl are found")?;
        let user = other_user()?;
        let folder = tempfile::Builder::new()
            .prefix("ouinon-pg-")
            .tempdir_in("/tmp")
            .map_err(|e| format!("no folder for a cluster: {e}"))?
            .keep();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid))
                .map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let watcher = watch(&bin, &folder, user).map_err(|e| format!("no shell to stop the cluster: {e}"))?;
        run(
            Command::new(bin.join("initdb"))
                .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
                .arg(folder.join("data")),
            user,
        )?;
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories={} -c fsync=off -c synchronous_commit=off \
             -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB {options}",
            folder.display()
        );
        let cluster = Cluster { bin, folder, user, options, _watcher: watcher };
        cluster.start()?;
        Ok(cluster)
    }

    /// Starts the server, and returns when it takes connections.
    pub fn start(&self) -> Result<(), String> {
        let mut command = Command::new(self.bin.join("pg_ctl"));
        command.args(["start", "-w", "-t", "60", "-o", &self.options, "-D"]).arg(self.folder.join("data"));
        run(command.arg("-l").arg(self.folder.join("log")), self.user)
    }

    /// Stops the server at once, as a power cut of its machine would look from here.
    pub fn stop(&self) -> Result<(), String> {
        let mut command = Command::new(self.bin.join("pg_ctl"));
        run(command.args(["stop", "-w", "-m", "immediate", "-D"]).arg(self.folder.join("data")), self.user)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.display())
    }
}

/// The folder that holds both programs.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|f| f.join("initdb").exists() && f.join("pg_ctl").exists())
}

/// PostgreSQL refuses to run as root: then the user `postgres` or `nobody` runs it.
fn other_user() -> Result<Option<(u32, u32)>, String> {
    use std::os::unix::fs::MetadataExt;
    let us = std::fs::metadata("/proc/self").map_err(|e| format!("/proc/self: {e}"))?.uid();
    if us != 0 {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    let ids = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres")
        .or_else(|| ids("nobody"))
        .map(Some)
        .ok_or_else(|| "root cannot run PostgreSQL, and there is no user postgres or nobody".into())
}

fn run(command: &mut Command, user: Option<(u32, u32)>) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    // The server inherits what its starter has: a pipe would stay open as long as it lives.
    let log = tempfile::tempfile().map_err(|e| e.to_string())?;
    let (out, err) = (log.try_clone().map_err(|e| e.to_string())?, log.try_clone().map_err(|e| e.to_string())?);
    let status = command.current_dir("/").stdin(Stdio::null()).stdout(out).stderr(err).status();
    let name = command.get_program().to_string_lossy().into_owned();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            use std::io::{Read, Seek};
            let (mut log, mut text) = (log, String::new());
            let _ = log.rewind().and_then(|()| log.read_to_string(&mut text));
            Err(format!("{name} failed: {}", text.trim().replace('\n', " | ")))
        }
        Err(e) => Err(format!("{name}: {e}")),
    }
}

fn watch(bin: &Path, folder: &Path, user: Option<(u32, u32)>) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "cat; \"$1/pg_ctl\" stop -D \"$2/data\" -m immediate; rm -rf \"$2\"", "watch"])
        .args([bin, folder])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.spawn()
}

#[test]
fn a_url_gets_another_database_and_keeps_the_rest() {
    let cases = [
        ("postgres://postgres@127.0.0.1:5432/postgres", "postgres://postgres@127.0.0.1:5432/x"),
        ("postgres://me:pw@db.example", "postgres://me:pw@db.example/x"),
        ("postgres://postgres@localhost/postgres?host=/tmp/a", "postgres://postgres@localhost/x?host=/tmp/a"),
    ];
    for (given, expected) in cases {
        assert_eq!(with_database(given, "x"), expected);
    }
}
