//! Configuration: `ouinon.toml`, overridden by the environment, validated once.
//!
//! Every setting `section.key` can be given as `OUINON_SECTION_KEY`. Secrets are never printed.

mod limits;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde::Deserialize;

pub use limits::LimitSettings;

use crate::domain::{address::Address, campaign_file::Mailbox, lang::Lang, stops::Thresholds, windows::Windows};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the database file and the keys.
    pub data_dir: PathBuf,
    /// Where contacts, campaigns and refusals are kept.
    pub database: Database,
    /// Where mail is submitted.
    pub smtp: Smtp,
    /// Where recipients' links lead.
    pub public: Public,
    /// On whose behalf mail is sent.
    pub controller: Controller,
    /// How refusals are read.
    pub unsubscribe: Unsubscribe,
    /// Settings of the rules.
    pub rules: RuleSettings,
    /// The DNS server to ask; none: those of the machine.
    pub dns: Option<SocketAddr>,
    /// `[limits]`: how fast.
    pub limits: LimitSettings,
    /// `[schedule]`: when messages may leave, by each recipient's clock.
    pub schedule: Windows,
    /// `[stops]`: when a campaign must not go on by itself.
    pub stops: Thresholds,
}

/// `[database]`
#[derive(Debug, Clone)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`; may hold a password.
    pub url: SecretString,
}

/// `[smtp]`
#[derive(Debug, Clone)]
pub struct Smtp {
    /// `smtps://` or `smtp://[user:password@]host:port`; none until configured.
    pub url: Option<SecretString>,
    /// Connections at most.
    pub connections: usize,
    /// Messages a minute at most over all campaigns; none: no limit. `limits.server` holds what counts.
    pub rate_per_minute: Option<u32>,
    /// PEM file of a further certificate authority.
    pub ca_file: Option<PathBuf>,
    /// Name said in EHLO; none: the machine's.
    pub hello: Option<String>,
    /// SenderId of the Feedback-ID header, 5 to 15 characters (H-5); none: no such header.
    pub feedback_sender_id: Option<String>,
    /// Hours after which a deferred message is given up.
    pub give_up_hours: u32,
    /// From whom the program itself writes: confirmations, copies. None: as the newest campaign does.
    pub from: Option<Mailbox>,
}

/// `[public]`
#[derive(Debug, Clone)]
pub struct Public {
    /// Base of the links in messages, without a final slash: https, or http on loopback.
    pub url: Option<String>,
    /// Addresses of reverse proxies whose `Forwarded` headers are believed, besides loopback.
    pub proxies: Vec<std::net::IpAddr>,
}

/// `[controller]`
#[derive(Debug, Clone)]
pub struct Controller {
    /// Name of the controller.
    pub name: String,
    /// Postal address, on one line (US-2, CA-5).
    pub postal_address: String,
    /// Where people write to exercise their rights; empty: the campaign's sender.
    pub contact: String,
    /// Time zone in which dates that law speaks of are computed (RET-6).
    pub time_zone: TimeZone,
    /// Language of pages and messages whose reader's is unknown.
    pub language: Lang,
}

/// `[unsubscribe]`
#[derive(Debug, Clone)]
pub struct Unsubscribe {
    /// A one-click refusal covers the product only, instead of everything (SUP-3).
    pub one_click_product_only: bool,
    /// Where mail that asks to unsubscribe is read. None: no `mailto:` is offered (RFC 2369).
    pub intake_address: Option<Address>,
}

/// `[rules]`, what rules section 6 calls `config`.
#[derive(Debug, Clone, Default)]
pub struct RuleSettings {
    /// Months of retention; none: the regime's.
    pub retention_months: Option<u32>,
    /// Days after the term in which a re-permission may still ask (RET-4).
    pub end_of_term_recontact_days: u32,
    /// Months of silence after a re-permission (RP-6).
    pub repermission_cooldown_months: Option<u32>,
    /// Months without any sign of a person after which nothing is sent any more (SUNSET-1); none: off.
    pub sunset_months: Option<u32>,
}

/// Why a configuration is refused. Names the file or variable, never the value of a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file does not say what it should.
    #[error("{path}: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, column and what is wrong.
        message: String,
    },
    /// A setting has a value it cannot have.
    #[error("{setting}: {message}")]
    Value {
        /// `section.key`.
        setting: &'static str,
        /// What is wrong and the way out.
        message: String,
    },
    /// The same, of a setting whose name depends on the configuration.
    #[error("{setting}: {message}")]
    Setting {
        /// `section.key`.
        setting: String,
        /// What is wrong and the way out.
        message: String,
    },
    /// A variable that starts like ours and is none.
    #[error("environment: {0} is no setting of Ouinon (settings are OUINON_SECTION_KEY, as in `ouinon.toml`)")]
    UnknownVariable(String),
    /// A variable has a value that its setting cannot have.
    #[error("{error} ({name})")]
    Variable {
        /// Which variable.
        name: String,
        /// The setting, what is wrong and the way out.
        error: Box<ConfigError>,
    },
}

const FILE: &str = "ouinon.toml";
const DATA_DIR: &str = "ouinon-data";
/// Variables that are not settings: where to find things, and what the tests use.
const NOT_SETTINGS: [&str; 3] = ["OUINON_CONFIG", "OUINON_LOG", "OUINON_TEST_POSTGRES_URL"];

impl Config {
    /// Reads the configuration of folder `dir`: its `ouinon.toml` (or the file that `OUINON_CONFIG`
    /// names), then the variables `env`.
    pub fn load(dir: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let env: BTreeMap<String, String> =
            env.filter(|(name, _)| name.starts_with("OUINON_") && !name.starts_with("OUINON_TEST_")).collect();
        let mut settings = match env.get("OUINON_CONFIG") {
            Some(path) => read(&dir.join(path))?,
            None if dir.join(FILE).exists() => read(&dir.join(FILE))?,
            None => Settings::default(),
        };
        for (name, value) in env {
            if !NOT_SETTINGS.contains(&name.as_str()) {
                settings.set(&name, value).map_err(|error| match error {
                    ConfigError::UnknownVariable(_) => error,
                    error => ConfigError::Variable { name, error: Box::new(error) },
                })?;
            }
        }
        settings.check(dir)
    }

    /// The configuration of an empty folder, deaf to the environment.
    pub fn of_folder(dir: &Path) -> Config {
        Settings::default().check(dir).expect("the defaults are valid")
    }

    /// The settings of the rules, as the decision takes them.
    pub fn rule_settings(&self) -> crate::domain::eligibility::Settings {
        let default = crate::domain::eligibility::Settings::default();
        crate::domain::eligibility::Settings {
            retention_months: self.rules.retention_months,
            end_of_term_recontact_days: self.rules.end_of_term_recontact_days,
            repermission_cooldown_months: self
                .rules
                .repermission_cooldown_months
                .unwrap_or(default.repermission_cooldown_months),
            sunset_months: self.rules.sunset_months,
        }
    }
}

/// The file as it is written: every key optional, unknown keys refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    data_dir: Option<String>,
    dns: Option<String>,
    database: DatabaseText,
    smtp: SmtpText,
    public: PublicText,
    controller: ControllerText,
    unsubscribe: UnsubscribeText,
    rules: RulesText,
    limits: limits::LimitsText,
    schedule: limits::ScheduleText,
    stops: limits::StopsText,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DatabaseText {
    url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SmtpText {
    url: Option<String>,
    connections: Option<usize>,
    rate_per_minute: Option<u32>,
    ca_file: Option<PathBuf>,
    hello: Option<String>,
    feedback_sender_id: Option<String>,
    give_up_hours: Option<u32>,
    from: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PublicText {
    url: Option<String>,
    proxies: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ControllerText {
    name: Option<String>,
    postal_address: Option<String>,
    contact: Option<String>,
    time_zone: Option<String>,
    language: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UnsubscribeText {
    one_click_scope: Option<String>,
    intake_address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RulesText {
    retention_months: Option<u32>,
    end_of_term_recontact_days: Option<u32>,
    repermission_cooldown_months: Option<u32>,
    sunset_months: Option<u32>,
}

fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|e| ConfigError::Syntax { path: path.to_owned(), message: located(&text, &e) })
}

/// A TOML error with its line and column, without the line's or a value's text, which may hold a password.
fn located(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text[..at].matches('\n').count() + 1;
    let column = text[..at].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = match (error.message().split_once("string \""), error.message().rsplit_once("\", ")) {
        (Some((before, _)), Some((_, after))) => format!("{before}string, {after}"),
        _ => error.message().to_owned(),
    };
    format!("line {line}, column {column}: {message}")
}

impl Settings {
    fn set(&mut self, name: &str, value: String) -> Result<(), ConfigError> {
        fn number<T: std::str::FromStr>(setting: &'static str, value: &str) -> Result<Option<T>, ConfigError> {
            let parsed = value.parse().map_err(|_| ConfigError::Value { setting, message: "expected a number".into() });
            parsed.map(Some)
        }
        let text = (!value.is_empty()).then(|| value.clone());
        match name {
            "OUINON_DATA_DIR" => self.data_dir = text,
            "OUINON_DNS" => self.dns = text,
            "OUINON_DATABASE_URL" => self.database.url = text,
            "OUINON_SMTP_URL" => self.smtp.url = text,
            "OUINON_SMTP_CONNECTIONS" => self.smtp.connections = number("smtp.connections", &value)?,
            "OUINON_SMTP_RATE_PER_MINUTE" => self.smtp.rate_per_minute = number("smtp.rate_per_minute", &value)?,
            "OUINON_SMTP_CA_FILE" => self.smtp.ca_file = text.map(PathBuf::from),
            "OUINON_SMTP_HELLO" => self.smtp.hello = text,
            "OUINON_SMTP_FEEDBACK_SENDER_ID" => self.smtp.feedback_sender_id = text,
            "OUINON_SMTP_GIVE_UP_HOURS" => self.smtp.give_up_hours = number("smtp.give_up_hours", &value)?,
            "OUINON_SMTP_FROM" => self.smtp.from = text,
            "OUINON_PUBLIC_URL" => self.public.url = text,
            "OUINON_PUBLIC_PROXIES" => {
                self.public.proxies = value.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect();
            }
            "OUINON_CONTROLLER_NAME" => self.controller.name = text,
            "OUINON_CONTROLLER_POSTAL_ADDRESS" => self.controller.postal_address = text,
            "OUINON_CONTROLLER_CONTACT" => self.controller.contact = text,
            "OUINON_CONTROLLER_TIME_ZONE" => self.controller.time_zone = text,
            "OUINON_CONTROLLER_LANGUAGE" => self.controller.language = text,
            "OUINON_UNSUBSCRIBE_ONE_CLICK_SCOPE" => self.unsubscribe.one_click_scope = text,
            "OUINON_RULES_RETENTION_MONTHS" => {
                self.rules.retention_months = number("rules.retention_months", &value)?;
            }
            "OUINON_RULES_END_OF_TERM_RECONTACT_DAYS" => {
                self.rules.end_of_term_recontact_days = number("rules.end_of_term_recontact_days", &value)?;
            }
            "OUINON_RULES_REPERMISSION_COOLDOWN_MONTHS" => {
                self.rules.repermission_cooldown_months = number("rules.repermission_cooldown_months", &value)?;
            }
            "OUINON_RULES_SUNSET_MONTHS" => self.rules.sunset_months = number("rules.sunset_months", &value)?,
            "OUINON_UNSUBSCRIBE_INTAKE_ADDRESS" => self.unsubscribe.intake_address = text,
            unknown if self.set_pace(unknown, &value)? => {}
            unknown => return Err(ConfigError::UnknownVariable(unknown.to_owned())),
        }
        Ok(())
    }

    /// The sections of the pace; false: the variable is none of theirs.
    fn set_pace(&mut self, name: &str, value: &str) -> Result<bool, ConfigError> {
        if let Some(setting) = name.strip_prefix("OUINON_LIMITS_") {
            self.limits.set(setting, value)
        } else if let Some(setting) = name.strip_prefix("OUINON_SCHEDULE_") {
            Ok(self.schedule.set(setting, value))
        } else if let Some(setting) = name.strip_prefix("OUINON_STOPS_") {
            self.stops.set(setting, value)
        } else {
            Ok(false)
        }
    }

    fn check(self, dir: &Path) -> Result<Config, ConfigError> {
        let data_dir = dir.join(self.data_dir.as_deref().unwrap_or(DATA_DIR));
        let default_url = || format!("sqlite:{}", data_dir.join("ouinon.db").display());
        let url = self.database.url.unwrap_or_else(default_url);
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(ConfigError::Value {
                setting: "database.url",
                message: "expected sqlite:PATH or postgres://user:password@host/name".into(),
            });
        }
        let smtp = check_smtp(self.smtp)?;
        let limits = self.limits.check(smtp.rate_per_minute)?;
        Ok(Config {
            limits,
            schedule: self.schedule.check()?,
            stops: self.stops.check()?,
            data_dir,
            dns: self.dns.as_deref().map(check_dns).transpose()?,
            database: Database { url: SecretString::from(url) },
            smtp,
            public: Public {
                url: self.public.url.as_deref().map(check_public_url).transpose()?,
                proxies: self.public.proxies.iter().map(|p| check_proxy(p)).collect::<Result<_, _>>()?,
            },
            controller: check_controller(self.controller)?,
            unsubscribe: Unsubscribe {
                one_click_product_only: check_scope(self.unsubscribe.one_click_scope)?,
                intake_address: self.unsubscribe.intake_address.as_deref().map(check_intake).transpose()?,
            },
            rules: RuleSettings {
                retention_months: self.rules.retention_months,
                end_of_term_recontact_days: self.rules.end_of_term_recontact_days.unwrap_or(0),
                repermission_cooldown_months: self.rules.repermission_cooldown_months,
                sunset_months: self.rules.sunset_months,
            },
        })
    }
}

/// More than a mail server takes from one host, and each costs memory whether it is open or not.
const MOST_CONNECTIONS: usize = 1000;

fn check_smtp(smtp: SmtpText) -> Result<Smtp, ConfigError> {
    if let Some(id) = &smtp.feedback_sender_id
        && !((5..=15).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    {
        return Err(ConfigError::Value {
            setting: "smtp.feedback_sender_id",
            message: "expected 5 to 15 letters, digits or dashes".into(),
        });
    }
    let connections = smtp.connections.unwrap_or(8);
    if connections == 0 || smtp.rate_per_minute == Some(0) || smtp.give_up_hours == Some(0) {
        return Err(ConfigError::Value {
            setting: "smtp",
            message: "connections, rate_per_minute and give_up_hours are at least 1".into(),
        });
    }
    if connections > MOST_CONNECTIONS {
        return Err(ConfigError::Value {
            setting: "smtp.connections",
            message: format!("expected 1 to {MOST_CONNECTIONS}, each of them to the mail server"),
        });
    }
    Ok(Smtp {
        url: smtp.url.map(SecretString::from),
        connections,
        rate_per_minute: smtp.rate_per_minute,
        ca_file: smtp.ca_file,
        hello: smtp.hello,
        feedback_sender_id: smtp.feedback_sender_id,
        give_up_hours: smtp.give_up_hours.unwrap_or(72),
        from: smtp.from.as_deref().map(check_from).transpose()?,
    })
}

fn check_from(text: &str) -> Result<Mailbox, ConfigError> {
    Mailbox::parse(text).map_err(|message| ConfigError::Value { setting: "smtp.from", message })
}

/// https anywhere, http on loopback only: a link in a mail must not travel in the clear (OC-1).
fn check_public_url(url: &str) -> Result<String, ConfigError> {
    let refuse = |message: &str| ConfigError::Value { setting: "public.url", message: message.into() };
    let uri: axum::http::Uri = url.parse().map_err(|_| refuse("not a URL; example: https://mail.example.org"))?;
    let host = uri.host().ok_or_else(|| refuse("not a URL; example: https://mail.example.org"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback(host) => {}
        Some("http") => return Err(refuse("http is allowed on loopback only; recipients' links need https (OC-1)")),
        _ => return Err(refuse("expected https://…")),
    }
    if uri.query().is_some() {
        return Err(refuse("a base URL has no query"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Whether a host name or address is this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn check_proxy(text: &str) -> Result<std::net::IpAddr, ConfigError> {
    text.parse()
        .map_err(|_| ConfigError::Value { setting: "public.proxies", message: format!("{text:?} is no IP address") })
}

/// `ADDRESS` or `ADDRESS:PORT`, port 53 when left out.
fn check_dns(text: &str) -> Result<SocketAddr, ConfigError> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    bare.or_else(|_| text.parse()).map_err(|_| ConfigError::Value {
        setting: "dns",
        message: format!("{text:?} is no address of a DNS server; example: 192.0.2.53 or 127.0.0.1:5353"),
    })
}

fn check_controller(c: ControllerText) -> Result<Controller, ConfigError> {
    let zone = c.time_zone.as_deref().unwrap_or("Europe/Paris");
    let time_zone = TimeZone::get(zone).map_err(|_| ConfigError::Value {
        setting: "controller.time_zone",
        message: format!("{zone:?} is no IANA time zone; example: Europe/Paris"),
    })?;
    let language = match c.language.as_deref() {
        None => Lang::Fr,
        Some(tag) => Lang::from_tag(tag).ok_or_else(|| ConfigError::Value {
            setting: "controller.language",
            message: "expected fr or en".into(),
        })?,
    };
    Ok(Controller {
        name: c.name.unwrap_or_default(),
        postal_address: c.postal_address.unwrap_or_default(),
        contact: c.contact.unwrap_or_default(),
        time_zone,
        language,
    })
}

/// An address that can stand in a `mailto:` as it is.
fn check_intake(text: &str) -> Result<Address, ConfigError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_@+".contains(&b);
    match Address::parse(text) {
        Ok(address) if address.as_str().bytes().all(plain) => Ok(address),
        _ => Err(ConfigError::Value {
            setting: "unsubscribe.intake_address",
            message: "expected an address of letters, digits, `.`, `-`, `_` and `+`".into(),
        }),
    }
}

fn check_scope(scope: Option<String>) -> Result<bool, ConfigError> {
    match scope.as_deref() {
        None | Some("global") => Ok(false),
        Some("product") => Ok(true),
        Some(_) => Err(ConfigError::Value {
            setting: "unsubscribe.one_click_scope",
            message: "expected global or product".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
