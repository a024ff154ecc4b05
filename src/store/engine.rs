//! Opening a database, and transactions on either engine.

use std::{
    fs::{DirBuilder, File},
    net::IpAddr,
    ops::{Deref, DerefMut},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Executor, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::timeout;

use super::writer::{Carry, Writer, Writing};

/// A database: SQLite in a file, or PostgreSQL.
#[derive(Debug, Clone)]
pub enum Db {
    /// One writer, several read-only readers, the same file.
    Lite {
        /// The connection that writes.
        writer: Writer,
        /// The connections that only read.
        readers: SqlitePool,
        /// The file.
        path: PathBuf,
    },
    /// A pool of connections.
    Pg(PgPool),
}

/// A transaction; dropped without `commit` it changes nothing.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite.
    Lite(LiteTx),
    /// On PostgreSQL.
    Pg(Transaction<'static, Postgres>),
}

/// A transaction on SQLite.
#[derive(Debug)]
pub enum LiteTx {
    /// On one of the connections that only read.
    Reads(Transaction<'static, Sqlite>),
    /// On the one that writes.
    Writes(Writing),
}

/// A statement's text on each engine.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    lite: &'static str,
    pg: &'static str,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is neither `sqlite:PATH` nor `postgres://…`.
    #[error("database URL: expected sqlite:PATH or postgres://user:password@host/name")]
    Url,
    /// The file or its folder cannot be used.
    #[error("database file {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server or file refuses.
    #[error("database: {0}")]
    Sqlx(#[from] sqlx::Error),
    /// A migration failed, or the database is newer than this program.
    #[error("database migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

const BUSY: Duration = Duration::from_secs(30);
/// For a look at the database as it is.
const GLANCE: Duration = Duration::from_secs(5);
const READERS: u32 = 4;
/// A transaction that asks for nothing for so long has nobody behind it.
const VANISHED: &str = "SET idle_in_transaction_session_timeout = '5s'";
/// Rows of SQLite's thread that wait to be taken: with room for a whole batch, it need not stop in between.
const ROWS: usize = 1024;

/// The migrations that this program knows for the engine of `db`, by their versions.
pub(super) fn migrations(db: &Db) -> Vec<i64> {
    let all = if db.is_sqlite() { sqlx::migrate!("migrations/sqlite") } else { sqlx::migrate!("migrations/postgres") };
    all.iter().map(|migration| migration.version).collect()
}

impl Db {
    /// Opens the database at `url` (`sqlite:PATH` or `postgres://…`), and migrates it under a lock.
    pub async fn open(url: &str) -> Result<Db, OpenError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Db::open_postgres(url).await;
        }
        let path = url.strip_prefix("sqlite:").ok_or(OpenError::Url)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.starts_with(':') {
            return Err(OpenError::Url);
        }
        Db::open_sqlite(PathBuf::from(path)).await
    }

    /// Opens the database at `url` as it is: makes none, migrates none, waits for it a few seconds only.
    pub(super) async fn connect(url: &str) -> Result<Db, OpenError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(GLANCE);
            return Ok(Db::Pg(connect_postgres(pool, url, "ouinon doctor").await?));
        }
        let path = url.strip_prefix("sqlite:").ok_or(OpenError::Url)?;
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        // Said by the system, a missing file has a plainer name.
        File::open(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(false).busy_timeout(GLANCE);
        let pool = |options| SqlitePoolOptions::new().max_connections(1).acquire_timeout(GLANCE).connect_with(options);
        let writer = Writer::open(options.clone()).await?;
        let readers = pool(options.read_only(true)).await?;
        Ok(Db::Lite { writer, readers, path })
    }

    async fn open_postgres(url: &str) -> Result<Db, OpenError> {
        // Whoever vanishes in the middle of a transaction, its host with it, must not keep others waiting for what it
        // holds: the server would learn of it after hours.
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(BUSY)
            .after_connect(|connection, _| Box::pin(async move { connection.execute(VANISHED).await.map(|_| ()) }));
        let pool = connect_postgres(pool, url, "ouinon").await?;
        sqlx::migrate!("migrations/postgres").run(&pool).await?;
        Ok(Db::Pg(pool))
    }

    async fn open_sqlite(path: PathBuf) -> Result<Db, OpenError> {
        let file_error = |source| OpenError::File { path: path.clone(), source };
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file_error)?;
        }
        // People's addresses are in it: nobody else on the machine reads them. SQLite gives its side
        // files the same mode.
        File::options().create(true).append(true).mode(0o600).open(&path).map_err(file_error)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .row_buffer_size(ROWS)
            .disable_statement_logging()
            .pragma("temp_store", "memory")
            .pragma("cache_size", "-8192")
            .pragma("journal_size_limit", "67108864");
        // Two processes that start together must not migrate together; SQLite itself has no such lock.
        let lock = path.with_extension("lock");
        let lock = File::options().create(true).append(true).open(lock).map_err(file_error)?;
        lock.lock().map_err(file_error)?;
        let migrating = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!("migrations/sqlite").run(&migrating).await?;
        migrating.close().await;
        drop(lock);
        let writer = Writer::open(options.clone()).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // A connection to a file is not lost while it waits, and to ask it is to wait for its thread.
            .test_before_acquire(false)
            .acquire_timeout(BUSY)
            .connect_with(options.read_only(true).pragma("cache_size", "-8192"))
            .await?;
        Ok(Db::Lite { writer, readers, path })
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once.
    pub async fn write(&self) -> Result<Tx, sqlx::Error> {
        match self {
            Db::Lite { writer, .. } => Ok(Tx::Lite(LiteTx::Writes(writer.begin().await?))),
            Db::Pg(pool) => Ok(Tx::Pg(pool.begin().await?)),
        }
    }

    /// Begins a transaction that only reads, and sees one state of the data throughout.
    pub async fn read(&self) -> Result<Tx, sqlx::Error> {
        match self {
            Db::Lite { readers, .. } => Ok(Tx::Lite(LiteTx::Reads(readers.begin().await?))),
            Db::Pg(pool) => {
                Ok(Tx::Pg(pool.begin_with("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?))
            }
        }
    }

    /// Whether this is SQLite: one file, one machine, one sender.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Db::Lite { .. })
    }

    /// How often SQLite's log is carried into the file from now on; PostgreSQL does that beside its commits.
    pub async fn carry_log(&self, carry: Carry) -> Result<(), sqlx::Error> {
        match self {
            Db::Lite { writer, .. } => writer.carry(carry).await,
            Db::Pg(_) => Ok(()),
        }
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        match self {
            Db::Lite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Pg(pool) => pool.close().await,
        }
    }
}

/// Connects in the clear where nothing leaves the machine and nobody asked for TLS, unless the server insists.
///
/// There, what is larger than one TLS record goes out in several writes, and the last of them would wait 40 ms
/// for the acknowledgement of the first: the driver leaves Nagle's algorithm on (sqlx 0.9.0, issue 4335).
async fn connect_postgres(pool: PgPoolOptions, url: &str, name: &str) -> Result<PgPool, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| OpenError::Url)?.application_name(name);
    let connected = if stays_here(&options) {
        let plain = options.clone().ssl_mode(PgSslMode::Disable);
        match pool.clone().connect_with(plain).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NOT_LET_IN) => {
                pool.connect_with(options.clone()).await
            }
            other => other,
        }
    } else {
        pool.connect_with(options.clone()).await
    };
    match connected {
        // A pool goes on trying and says only that it took too long: one attempt says why.
        Err(sqlx::Error::PoolTimedOut) => match timeout(GLANCE, options.connect()).await {
            Ok(Err(why)) => Err(why.into()),
            _ => Err(sqlx::Error::PoolTimedOut.into()),
        },
        other => Ok(other?),
    }
}

/// SQLSTATE of a connection that the server does not allow so (`hostssl` in `pg_hba.conf`).
const NOT_LET_IN: &str = "28000";

/// Whether the server is reached over loopback, and its URL leaves TLS to us.
fn stays_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    here && matches!(options.get_ssl_mode(), PgSslMode::Prefer)
}

impl Tx {
    /// Makes the transaction's changes durable.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Tx::Lite(LiteTx::Reads(tx)) => tx.commit().await,
            Tx::Lite(LiteTx::Writes(tx)) => tx.commit().await,
            Tx::Pg(tx) => tx.commit().await,
        }
    }
}

impl Deref for LiteTx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            LiteTx::Reads(tx) => tx,
            LiteTx::Writes(tx) => tx,
        }
    }
}

impl DerefMut for LiteTx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            LiteTx::Reads(tx) => tx,
            LiteTx::Writes(tx) => tx,
        }
    }
}

impl Sql {
    /// One text that means the same on both engines.
    pub const fn same(text: &'static str) -> Sql {
        Sql { lite: text, pg: text }
    }

    /// Two texts, where one cannot serve: for SQLite and for PostgreSQL.
    pub const fn twin(lite: &'static str, pg: &'static str) -> Sql {
        Sql { lite, pg }
    }

    /// The text for the engine of `tx`.
    pub fn on(self, tx: &Tx) -> &'static str {
        match tx {
            Tx::Lite(_) => self.lite,
            Tx::Pg(_) => self.pg,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_this_machine_is_spoken_to_in_the_clear() {
        let here = |url| stays_here(&PgConnectOptions::from_str(url).unwrap());
        for url in ["postgres://a@localhost/b", "postgres://a@127.0.0.1:5433/b", "postgres://a@[::1]/b"] {
            assert!(here(url), "{url}");
        }
        for url in [
            "postgres://a@db.example/b",
            "postgres://a@192.0.2.1/b",
            "postgres://a@localhost.example/b",
            "postgres://a@localhost/b?sslmode=require",
            "postgres://a@127.0.0.1/b?sslmode=verify-full",
        ] {
            assert!(!here(url), "{url}");
        }
    }
}
