//! What every command, page and worker works with: configuration, database, keys, rules and clock.

use std::path::PathBuf;

use jiff::{Timestamp, tz::TimeZone};
use secrecy::ExposeSecret;

use crate::{
    clock::Clock,
    config::Config,
    domain::eligibility::Rules,
    keys::{KeyError, Keys},
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
        let mut tx = db.write().await?;
        let noted = store::keys::all(&mut tx).await?;
        let keys = Keys::load(&App::keys_folder(&config), &noted)?;
        for (name, fingerprint) in &keys.fingerprints {
            store::keys::note(&mut tx, name, fingerprint).await?;
        }
        tx.commit().await?;
        let rules = Rules {
            tz: config.controller.time_zone.clone(),
            suppression_key: keys.suppression.clone(),
            settings: config.rule_settings(),
        };
        Ok(App { config: std::sync::Arc::new(config), db, keys, rules, clock })
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
