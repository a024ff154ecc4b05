//! A SQLite file has one sender at a time. The system frees the lock when its process dies.

use std::{
    fs::{File, TryLockError},
    time::Duration,
};

use tokio::sync::watch;

use super::stopped;
use crate::store::Db;

/// Waits until this process alone sends from a SQLite file; holds while the result lives.
/// PostgreSQL needs no such lock. None: told to stop before.
pub async fn only_sender(db: &Db, stop: &mut watch::Receiver<bool>) -> std::io::Result<Option<Option<File>>> {
    let Db::Lite { path, .. } = db else { return Ok(Some(None)) };
    let file = File::options().create(true).append(true).open(path.with_extension("sender"))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Some(file))),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if !told => {
                tracing::info!("another process sends from this database; waiting to take over");
                told = true;
            }
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stopped(stop) => return Ok(None),
        }
    }
}
