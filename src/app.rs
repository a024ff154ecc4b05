//! What every command, page and worker works with: configuration, database, keys, rules and clock.

use std::path::PathBuf;

use jiff::{Timestamp, tz::TimeZone};
use secrecy::ExposeSecret;

use crate::{
    clock::Clock,
    config::Config,
    domain::eligibility::Rules,
    journal::Journal,
    keys::{KeyError, Keys},
    meters::Meters,
    store::{self, Db, OpenError},
};

/// An opened installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The configuration.
    pub config: std::sync::Arc<Config>,
    /// The database.
    pub db: Db,
    /// The keys.
    pub keys: Keys,
    /// What every decision depends on.
    pub rules: Rules,
    /// Where `now` comes from.
    pub clock: Clock,
    /// What was promised while the database was away.
    pub journal: Journal,
    /// What this process counts.
    pub meters: std::sync::Arc<Meters>,
}

/// Why an installation cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database cannot be opened or migrated.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
    /// The keys are missing or are not those of the database.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl App {
    /// Opens the database, migrates it, and checks that the keys are those it was written with.
    pub async fn open(config: Config, clock: Clock) -> Result<App, AppError> {
        let db = Db::open(config.database.url.expose_secret()).await?;
        let keys = App::keys(&db, &config).await?;
        Ok(App::of(config, db, keys, clock))
    }

    /// Puts together what was opened already.
    pub fn of(config: Config, db: Db, keys: Keys, clock: Clock) -> App {
        let rules = Rules {
            tz: config.controller.time_zone.clone(),
            suppression_key: keys.suppression.clone(),
            settings: config.rule_settings(),
        };
        let journal = Journal::of_folder(&config.data_dir);
        App { config: std::sync::Arc::new(config), db, keys, rules, clock, journal, meters: Default::default() }
    }

    /// The keys, as the database knows them; those it does not know yet are noted.
    async fn keys(db: &Db, config: &Config) -> Result<Keys, AppError> {
        let folder = App::keys_folder(config);
        let mut tx = db.read().await?;
        let noted = store::keys::all(&mut tx).await?;
        drop(tx);
        if !noted.is_empty() {
            let keys = Keys::load(&folder, &noted)?;
            if keys.fingerprints.iter().all(|print| noted.contains(print)) {
                return Ok(keys);
            }
        }
        // Under the write lock: of two processes that start together, one makes the keys.
        let mut tx = db.write().await?;
        let keys = Keys::load(&folder, &store::keys::all(&mut tx).await?)?;
        for (name, fingerprint) in &keys.fingerprints {
            store::keys::note(&mut tx, name, fingerprint).await?;
        }
        // Another host may have noted its own in this moment: then these are not the ones.
        let keys = Keys::load(&folder, &store::keys::all(&mut tx).await?)?;
        tx.commit().await?;
        Ok(keys)
    }

    /// The folder of the key files.
    pub fn keys_folder(config: &Config) -> PathBuf {
        config.data_dir.join("keys")
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The controller's time zone.
    pub fn tz(&self) -> &TimeZone {
        &self.rules.tz
    }
}
