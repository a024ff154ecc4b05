//! Looks at a database as it is: makes none, migrates none, writes nothing.

use super::{Db, OpenError, Result, Sql, Tx, engine, keys, on};

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Name and version.
    pub version: String,
    /// Its own clock in milliseconds; none where it has none of its own.
    pub clock: Option<i64>,
    /// Settings that let an answered refusal be lost in a power cut.
    pub lax: Vec<&'static str>,
}

/// Where a database stands between the migrations of this program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Migrations {
    /// How many it has.
    pub applied: usize,
    /// Those it has not.
    pub pending: Vec<i64>,
    /// Those that this program does not know.
    pub unknown: Vec<i64>,
}

const VERSION: Sql = Sql::twin(
    "SELECT 'SQLite ' || sqlite_version(), CAST(0 AS INTEGER), 'on', 'on'",
    "SELECT 'PostgreSQL ' || current_setting('server_version'),
     CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT),
     current_setting('fsync'), current_setting('synchronous_commit')",
);
const APPLIED: Sql = Sql::same("SELECT version FROM _sqlx_migrations ORDER BY version");
const HAS_MIGRATIONS: Sql = Sql::twin(
    "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations')",
    "SELECT to_regclass('_sqlx_migrations') IS NOT NULL",
);
const NEWEST: Sql = Sql::same(
    "SELECT COALESCE(MAX(at), 0) FROM (
     SELECT MAX(recorded_at) AS at FROM suppression UNION ALL SELECT MAX(changed_at) AS at FROM campaign) AS newest",
);

/// Opens the database at `url` as it is.
pub async fn connect(url: &str) -> std::result::Result<Db, OpenError> {
    Db::connect(url).await
}

/// What the engine says of itself.
pub async fn engine(db: &Db) -> Result<Engine> {
    let mut tx = db.read().await?;
    let sql = VERSION.on(&tx);
    let (version, clock, fsync, commit): (String, i64, String, String) =
        on!(&mut tx, |c| sqlx::query_as(sql).fetch_one(c).await)?;
    let lax = [("fsync", fsync), ("synchronous_commit", commit)];
    Ok(Engine {
        version,
        clock: Some(clock).filter(|_| !db.is_sqlite()),
        lax: lax.into_iter().filter(|(_, value)| value == "off").map(|(name, _)| name).collect(),
    })
}

/// Writes something and takes it back.
pub async fn try_writing(db: &Db) -> Result<()> {
    let mut tx = db.write().await?;
    if has_migrations(&mut tx).await? {
        keys::note(&mut tx, "doctor", "").await?;
    }
    // Dropped without a commit.
    Ok(())
}

/// Whether the file is none of SQLite's, or is damaged (`SQLITE_CORRUPT`, `SQLITE_NOTADB`).
pub fn is_no_database(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| [11, 26].contains(&(code & 0xff)))
}

/// Compares the database's migrations with those of this program.
pub async fn migrations(db: &Db) -> Result<Migrations> {
    let mut tx = db.read().await?;
    let applied: Vec<i64> = if has_migrations(&mut tx).await? {
        let sql = APPLIED.on(&tx);
        on!(&mut tx, |c| sqlx::query_scalar(sql).fetch_all(c).await)?
    } else {
        Vec::new()
    };
    let known = engine::migrations(db);
    Ok(Migrations {
        applied: applied.len(),
        pending: known.iter().copied().filter(|version| !applied.contains(version)).collect(),
        unknown: applied.iter().copied().filter(|version| !known.contains(version)).collect(),
    })
}

/// The latest instant at which a refusal was recorded or a campaign changed, in milliseconds.
pub async fn newest_instant(db: &Db) -> Result<i64> {
    let mut tx = db.read().await?;
    let sql = NEWEST.on(&tx);
    on!(&mut tx, |c| sqlx::query_scalar(sql).fetch_one(c).await)
}

async fn has_migrations(tx: &mut Tx) -> Result<bool> {
    let sql = HAS_MIGRATIONS.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).fetch_one(c).await)
}
