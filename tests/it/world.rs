//! The world of a story: an installation on a fresh database, whose methods are a user's acts.
//!
//! [`on_both!`] runs a story on SQLite and on PostgreSQL, and checks the invariants at its end.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    task::Poll,
};

use ouinon::{
    app::App,
    clock::Clock,
    config::Config,
    domain::campaigns::DeliveryState,
    store::{
        self, Db, Tx,
        deliveries::{Outcome, Wire},
    },
};
use secrecy::SecretString;

use crate::{invariants, postgres};

/// Runs a story on both engines: a module of its name with the tests `sqlite` and `postgres`.
macro_rules! on_both {
    ($($(#[doc = $doc:literal])* async fn $name:ident($world:ident: &mut World) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[doc = $doc])*
            async fn story($world: &mut World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::world::on_sqlite(async |world| story(world).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::world::on_postgres(stringify!($name), async |world| story(world).await).await;
            }
        }
    )+};
}
pub(crate) use on_both;

/// Marks deliveries as being submitted by a worker, and returns those that are.
pub async fn submit(tx: &mut Tx, campaign: i64, worker: i64, contacts: &[i64], now: i64) -> store::Result<Vec<i64>> {
    let mut wire = Wire::read(tx, worker).await?;
    wire.submitting(tx, campaign, contacts, now).await?;
    Ok(wire.write(tx).await?.into_iter().map(|(_, contact)| contact).collect())
}

/// Records what became of what a worker submitted, and returns of how many it was the worker's to say.
pub async fn record(tx: &mut Tx, campaign: i64, worker: i64, outcomes: &[&Outcome]) -> store::Result<u64> {
    let mut wire = Wire::read(tx, worker).await?;
    let recorded = wire.record(tx, campaign, outcomes).await?;
    wire.write(tx).await?;
    Ok(recorded)
}

/// Where every story starts.
pub const START: &str = "2026-11-18T09:00:00Z";

/// An installation on a fresh database, and the acts of those who use it.
pub struct World {
    /// The installation, with a clock that stands still until told.
    pub app: App,
    folder: tempfile::TempDir,
}

/// Runs a story on SQLite.
pub async fn on_sqlite(story: impl AsyncFnOnce(&mut World)) {
    let folder = tempfile::tempdir().expect("a folder for the story");
    let url = format!("sqlite:{}", folder.path().join("ouinon.db").display());
    if let Err(panic) = caught(tell(folder, &url, story)).await {
        resume_unwind(panic);
    }
}

/// Runs a story on the database at `url`, which is the story's own.
pub async fn on(url: &str, story: impl AsyncFnOnce(&mut World)) {
    let folder = tempfile::tempdir().expect("a folder for the story");
    tell(folder, url, story).await;
}

/// Runs a story on PostgreSQL, in a database of its own that goes also when the story fails.
pub async fn on_postgres(name: &str, story: impl AsyncFnOnce(&mut World)) {
    let Some(database) = postgres::database(name).await else { return };
    let folder = tempfile::tempdir().expect("a folder for the story");
    let end = caught(tell(folder, &database.url, story)).await;
    database.drop_database().await;
    if let Err(panic) = end {
        resume_unwind(panic);
    }
}

async fn tell(folder: tempfile::TempDir, url: &str, story: impl AsyncFnOnce(&mut World)) {
    let mut world = World::open(folder, url).await;
    story(&mut world).await;
    invariants::check(&world.app.db).await;
    world.app.db.close().await;
}

/// The end of `future`, be it a panic.
pub async fn caught<F: Future>(future: F) -> std::thread::Result<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

impl World {
    async fn open(folder: tempfile::TempDir, url: &str) -> World {
        let mut config = Config::of_folder(folder.path());
        config.database.url = SecretString::from(url.to_owned());
        config.controller.name = "Société Exemple".into();
        config.controller.postal_address = "1 rue de l'Exemple, 75001 Paris, France".into();
        let start = START.parse().expect("an instant");
        let app = App::open(config, Clock::manual(start)).await.expect("a fresh installation opens");
        invariants::watch(&app.db).await;
        World { app, folder }
    }

    /// The story's own folder, which goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The present instant in milliseconds.
    pub fn now(&self) -> i64 {
        self.app.now().as_millisecond()
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: i64) {
        self.app.clock.advance(seconds * 1000);
    }

    /// Does something in a transaction, and commits it.
    pub async fn tx<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> store::Result<T>) -> T {
        let mut tx = self.db().write().await.expect("a transaction begins");
        let result = work(&mut tx).await.expect("the statement runs");
        tx.commit().await.expect("the transaction commits");
        result
    }

    /// Where the first delivery to a contact stands; none: there is none.
    pub async fn state_of(&self, contact: i64) -> Option<DeliveryState> {
        let mut tx = self.db().read().await.expect("a transaction begins");
        let deliveries = store::deliveries::of_contact(&mut tx, contact).await.expect("the statement runs");
        deliveries.first().map(|delivery| delivery.state)
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.app.db
    }
}
