//! The connection that writes to a SQLite file, one user at a time.
//!
//! Not a pool of one: a pool asks its connection how it is before the next one gets it, in a task that stands behind
//! all others of the runtime, and whoever has something to write waits for that as long as for the writing itself.

use std::{
    ops::{Deref, DerefMut},
    sync::{self, Arc, PoisonError},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Executor, SqlSafeStr, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteTransactionManager},
};
use sqlx_core::transaction::TransactionManager;
use tokio::{
    sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard},
    time::{Instant, sleep, timeout},
};

/// How long the connection and the write lock are waited for.
const BUSY: Duration = Duration::from_secs(30);
/// How often the write lock of SQLite is looked for.
const LOOK: Duration = Duration::from_millis(2);
/// SQLite's own patience would look for the lock ever less often, every tenth of a second at last, and hardly ever find
/// it free beside a busy sender.
const PATIENCE: &str = "PRAGMA busy_timeout = 2";
/// With the write lock: a plain BEGIN that reads and then writes fails under load.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Carries the log into the file, as far as nobody is in the way.
const CARRY: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// How often SQLite's log is carried into the file, by the commit after which it is so long. Nobody else commits meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// What many change is carried once for all of them, in 20 to 40 milliseconds.
    Rarely,
    /// As little at a time as what waits for a commit does not notice, such as messages that are on the wire.
    Often,
}

impl Carry {
    fn pragma(self) -> &'static str {
        match self {
            Carry::Rarely => "PRAGMA wal_autocheckpoint = 8000",
            Carry::Often => "PRAGMA wal_autocheckpoint = 1000",
        }
    }
}

/// The connection that writes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    options: Arc<SqliteConnectOptions>,
    /// What the connection was told, and the next one is if it is lost.
    carry: Arc<sync::Mutex<Carry>>,
    /// None: closed.
    connection: Arc<Mutex<Option<SqliteConnection>>>,
}

/// The connection, for one user.
pub type Held = OwnedMappedMutexGuard<Option<SqliteConnection>, SqliteConnection>;

/// A transaction that writes; dropped without `commit` it changes nothing.
#[derive(Debug)]
pub struct Writing {
    connection: Held,
    is_open: bool,
}

impl Writer {
    /// Opens it.
    pub(super) async fn open(options: SqliteConnectOptions) -> sqlx::Result<Writer> {
        let carry = Carry::Rarely;
        let connection = Arc::new(Mutex::new(Some(connect(&options, carry).await?)));
        Ok(Writer { options: Arc::new(options), carry: Arc::new(sync::Mutex::new(carry)), connection })
    }

    /// Waits until nobody else has it.
    ///
    /// # Errors
    /// It is closed, or somebody else has had it for half a minute.
    pub async fn hold(&self) -> sqlx::Result<Held> {
        let held = timeout(BUSY, Arc::clone(&self.connection).lock_owned()).await;
        let held = held.map_err(|_| sqlx::Error::PoolTimedOut)?;
        OwnedMutexGuard::try_map(held, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Carries the log into the file so often from now on; does nothing if it did before.
    pub(super) async fn carry(&self, carry: Carry) -> sqlx::Result<()> {
        if *self.told() == carry {
            return Ok(());
        }
        let mut connection = self.hold().await?;
        connection.execute(carry.pragma()).await?;
        if carry == Carry::Often {
            // What the log holds already: later it would be in the way.
            connection.execute(CARRY).await?;
        }
        *self.told() = carry;
        Ok(())
    }

    fn told(&self) -> sync::MutexGuard<'_, Carry> {
        self.carry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a transaction with the write lock, which another process may hold.
    pub(super) async fn begin(&self) -> sqlx::Result<Writing> {
        let until = Instant::now() + BUSY;
        loop {
            let mut connection = self.hold().await?;
            match SqliteTransactionManager::begin(&mut connection, Some(BEGIN.into_sql_str())).await {
                Ok(()) => return Ok(Writing { connection, is_open: true }),
                Err(error) if is_busy(&error) && Instant::now() < until => {
                    drop(connection);
                    sleep(LOOK).await;
                }
                // Its thread is gone, or does not know any more where it is: SQLite itself has taken a transaction back
                // that failed, such as on a full disk.
                Err(sqlx::Error::WorkerCrashed | sqlx::Error::InvalidSavePointStatement) if Instant::now() < until => {
                    let carry = *self.told();
                    *connection = connect(&self.options, carry).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes it, once nobody has it.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            let _ = connection.close().await;
        }
    }
}

impl Writing {
    /// Makes the transaction's changes durable.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        SqliteTransactionManager::commit(&mut self.connection).await?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.is_open {
            // As soon as its thread comes to it: before whatever is asked of it next.
            SqliteTransactionManager::start_rollback(&mut self.connection);
        }
    }
}

impl Deref for Writing {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

async fn connect(options: &SqliteConnectOptions, carry: Carry) -> sqlx::Result<SqliteConnection> {
    let mut connection = options.connect().await?;
    connection.execute(PATIENCE).await?;
    connection.execute(carry.pragma()).await?;
    Ok(connection)
}

fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "5")
}
