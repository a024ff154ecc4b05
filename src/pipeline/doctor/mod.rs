//! Doctor: looks at everything that a campaign depends on, before one is sent. Changes nothing, and
//! sends nothing to anybody.
//!
//! Each check says what was found and, where something is wrong, the way out. What one answer makes
//! pointless is skipped, and says for which reason.

mod domains;
mod http;
mod installation;
mod keys;
mod one_click;
mod policies;
mod relay;
mod service;

use serde::Serialize;

use crate::{
    app::App,
    clock::Clock,
    config::{Config, ConfigError},
    domain::{campaign_file::CampaignFile, lang::Lang},
    keys::dkim,
    mail::dns::{DnsError, Resolver},
    store::{self, Db, campaigns},
};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, and should be looked at.
    Warning,
    /// Does not work, or mail will be refused for it.
    Error,
    /// Not looked at; the finding says why.
    Skipped,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable name of the check.
    pub id: &'static str,
    /// The domain, host or file it is about; none when there is only one.
    pub about: Option<String>,
    /// How it ended.
    pub status: Status,
    /// What was found, in one sentence; why, when it was skipped.
    pub finding: String,
    /// What to do; none when nothing is to be done.
    pub way_out: Option<String>,
    /// The DNS record to publish, where that is what to do.
    pub record: Option<Record>,
}

/// A DNS record to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Full name, without final dot.
    pub name: String,
    /// TXT or MX.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its value, as one string.
    pub value: String,
}

/// What everything together looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// No check ended as an error.
    pub ok: bool,
    /// Checks that ended as an error.
    pub errors: usize,
    /// Checks that ended as a warning.
    pub warnings: usize,
    /// Every check, in the order in which they were made.
    pub checks: Vec<Check>,
}

/// Looks at everything; at the given domains, or where none is given at those that campaigns are sent
/// from and those whose mail is signed.
pub async fn examine(config: Result<Config, ConfigError>, domains: &[String], clock: Clock, lang: Lang) -> Findings {
    let mut notes = Notes { lang, checks: Vec::new() };
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            notes.unreadable_configuration(&error);
            return notes.end();
        }
    };
    notes.configuration(&config);
    let db = notes.database(&config).await;
    let keys = notes.keys(&config, db.as_ref()).await;
    notes.clock(&clock, db.as_ref()).await;
    notes.relay(&config).await;
    let app = db.as_ref().zip(keys).map(|(db, keys)| App::of(config.clone(), db.clone(), keys, clock));
    notes.service(&config, app.as_ref()).await;
    let domains = match domains {
        [] => senders(&config, db.as_ref()).await,
        given => given.to_vec(),
    };
    notes.domains(&config, app.as_ref(), &domains).await;
    if let Some(db) = db {
        db.close().await;
    }
    notes.end()
}

/// The domains that campaigns are sent from, and those whose mail is signed.
async fn senders(config: &Config, db: Option<&Db>) -> Vec<String> {
    let mut domains: Vec<String> = match db {
        Some(db) => all_campaigns(db).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let signed = dkim::all(&App::keys_folder(config)).unwrap_or_default();
    domains.extend(signed.into_iter().map(|files| files.domain));
    domains.sort();
    domains.dedup();
    domains
}

async fn all_campaigns(db: &Db) -> store::Result<Vec<String>> {
    let mut tx = db.read().await?;
    let rows = campaigns::all(&mut tx).await?;
    let files = rows.iter().filter_map(|row| CampaignFile::parse(&row.source, Some(row.format)).ok());
    Ok(files.map(|file| file.from.address.domain().to_owned()).collect())
}

/// The resolver, or why nothing can be asked.
fn resolver(config: &Config) -> Result<Resolver, String> {
    Resolver::new(config.dns).map_err(|error| error.to_string())
}

/// What was found so far.
struct Notes {
    lang: Lang,
    checks: Vec<Check>,
}

/// A text in French and in English.
type Both = (String, String);

/// The same words in both languages, as numbers and names are.
fn both(fr: impl Into<String>, en: impl Into<String>) -> Both {
    (fr.into(), en.into())
}

impl Notes {
    fn note(
        &mut self,
        id: &'static str,
        about: &str,
        status: Status,
        finding: Both,
        way_out: Option<Both>,
    ) -> &mut Check {
        let say = |(fr, en): Both| printable(&self.lang.pick(fr, en));
        let check = Check {
            id,
            about: Some(about.to_owned()).filter(|about| !about.is_empty()),
            status,
            finding: say(finding),
            way_out: way_out.map(say),
            record: None,
        };
        self.checks.push(check);
        self.checks.last_mut().expect("one was pushed")
    }

    fn ok(&mut self, id: &'static str, about: &str, finding: Both) {
        self.note(id, about, Status::Ok, finding, None);
    }

    fn warning(&mut self, id: &'static str, about: &str, finding: Both, way_out: Both) -> &mut Check {
        self.note(id, about, Status::Warning, finding, Some(way_out))
    }

    fn error(&mut self, id: &'static str, about: &str, finding: Both, way_out: Both) -> &mut Check {
        self.note(id, about, Status::Error, finding, Some(way_out))
    }

    fn skipped(&mut self, id: &'static str, about: &str, why: Both) {
        self.note(id, about, Status::Skipped, why, None);
    }

    fn end(self) -> Findings {
        let count = |status: Status| self.checks.iter().filter(|check| check.status == status).count();
        let (errors, warnings) = (count(Status::Error), count(Status::Warning));
        Findings { ok: errors == 0, errors, warnings, checks: self.checks }
    }
}

impl Check {
    fn publish(&mut self, name: impl Into<String>, kind: &'static str, value: impl Into<String>) {
        self.record = Some(Record { name: name.into(), kind, value: value.into() });
    }
}

/// No such name holds nothing.
fn nothing<T>(answer: Result<Vec<T>, DnsError>) -> Result<Vec<T>, DnsError> {
    match answer {
        Err(DnsError::NoSuchName | DnsError::Name(_)) => Ok(Vec::new()),
        answer => answer,
    }
}

/// What strangers wrote, without what would move the terminal.
fn printable(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).take(1200).collect();
    if text.chars().nth(1200).is_some() {
        short.push('…');
    }
    short
}
