//! `[limits]`, `[schedule]` and `[stops]`: how fast, when, and when no longer.

use std::{collections::BTreeMap, time::Duration};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::ConfigError;
use crate::domain::{
    campaign_file::Rate,
    limits::{Limits, WarmUp},
    located::did_you_mean,
    providers,
    stops::Thresholds,
    windows::{Days, Hours, Windows},
};

/// `[limits]`
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// What the mail server takes over all campaigns.
    pub server: Limits,
    /// What each provider group takes; a group that is not named here is not limited.
    pub groups: BTreeMap<String, Limits>,
    /// How long a group that was suspended must stay quiet before it gets twice as much.
    pub recovery: Duration,
}

impl LimitSettings {
    /// A mark of these settings: equal settings, equal marks.
    pub fn mark(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(format!("{self:?}"))[..12])
    }

    /// The limits of a provider group: its own, else those of `default`, else none.
    pub fn group(&self, name: &str) -> Option<&Limits> {
        self.groups.get(name).or_else(|| self.groups.get(DEFAULT))
    }
}

/// The table of limits for every group that has none of its own.
const DEFAULT: &str = "default";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsText {
    rate: Option<RateText>,
    hourly: Option<u32>,
    daily: Option<u32>,
    warm_up: Option<Vec<u32>>,
    warm_up_start: Option<String>,
    recovery_minutes: Option<u32>,
    groups: BTreeMap<String, GroupText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GroupText {
    rate: Option<RateText>,
    hourly: Option<u32>,
    daily: Option<u32>,
    warm_up: Option<Vec<u32>>,
    warm_up_start: Option<String>,
    connections: Option<u32>,
    messages_per_connection: Option<u32>,
}

/// `"600/min"`, or a number of messages a minute.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a rate like \"600/min\", or a whole number of messages a minute")]
enum RateText {
    Number(u32),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ScheduleText {
    window: Option<String>,
    days: Option<String>,
    quiet_hours: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StopsText {
    hard_bounces_percent: Option<f64>,
    hard_bounces_after: Option<u32>,
    complaints_percent: Option<f64>,
    complaints_after: Option<u32>,
    authentication: Option<u32>,
    content: Option<u32>,
}

impl LimitsText {
    /// Takes a variable whose name went on with `setting` after `OUINON_LIMITS_`; false: it is none.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> Result<bool, ConfigError> {
        if let Some(rest) = setting.strip_prefix("GROUPS_") {
            let keys =
                ["RATE", "HOURLY", "DAILY", "WARM_UP", "WARM_UP_START", "CONNECTIONS", "MESSAGES_PER_CONNECTION"];
            let Some((name, key)) =
                keys.iter().find_map(|key| Some((rest.strip_suffix(key)?.strip_suffix('_')?, *key)))
            else {
                return Ok(false);
            };
            let group = self.groups.entry(name.to_ascii_lowercase()).or_default();
            return group.set(key, value);
        }
        match setting {
            "RATE" => self.rate = rate_text(value),
            "HOURLY" => self.hourly = number("limits.hourly", value)?,
            "DAILY" => self.daily = number("limits.daily", value)?,
            "WARM_UP" => self.warm_up = numbers("limits.warm_up", value)?,
            "WARM_UP_START" => self.warm_up_start = text(value),
            "RECOVERY_MINUTES" => self.recovery_minutes = number("limits.recovery_minutes", value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks everything; `server_rate` is what `smtp.rate_per_minute` says.
    pub(super) fn check(self, server_rate: Option<u32>) -> Result<LimitSettings, ConfigError> {
        let server = GroupText {
            rate: self.rate,
            hourly: self.hourly,
            daily: self.daily,
            warm_up: self.warm_up,
            warm_up_start: self.warm_up_start,
            connections: None,
            messages_per_connection: None,
        };
        let mut server = server.check("")?;
        let stated = server_rate.map(Rate::of_per_minute);
        server.rate = server.rate.into_iter().chain(stated).min_by_key(|rate| rate.per_hour());
        let mut groups = BTreeMap::new();
        for (name, group) in self.groups {
            if name != DEFAULT && !providers::names().contains(&name.as_str()) {
                let known: Vec<&str> = providers::names().iter().copied().chain([DEFAULT]).collect();
                let message =
                    format!("no such group{}; the groups are {}", did_you_mean(&name, &known), known.join(", "));
                return Err(refused(&format!("limits.groups.{name}"), message));
            }
            let limits = group.check(&format!("groups.{name}."))?;
            groups.insert(name, limits);
        }
        let minutes = self.recovery_minutes.unwrap_or(10);
        if !(1..=24 * 60).contains(&minutes) {
            return Err(refused("limits.recovery_minutes", "expected 1 to 1440 minutes"));
        }
        Ok(LimitSettings { server, groups, recovery: Duration::from_secs(u64::from(minutes) * 60) })
    }
}

impl GroupText {
    fn set(&mut self, key: &str, value: &str) -> Result<bool, ConfigError> {
        match key {
            "RATE" => self.rate = rate_text(value),
            "HOURLY" => self.hourly = number("limits.groups", value)?,
            "DAILY" => self.daily = number("limits.groups", value)?,
            "WARM_UP" => self.warm_up = numbers("limits.groups", value)?,
            "WARM_UP_START" => self.warm_up_start = text(value),
            "CONNECTIONS" => self.connections = number("limits.groups", value)?,
            "MESSAGES_PER_CONNECTION" => self.messages_per_connection = number("limits.groups", value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check(self, place: &str) -> Result<Limits, ConfigError> {
        let at = |key: &str| format!("limits.{place}{key}");
        let numbers = [
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("connections", self.connections),
            ("messages_per_connection", self.messages_per_connection),
        ];
        for (key, number) in numbers {
            if number == Some(0) {
                return Err(refused(&at(key), "at least 1; to send nothing, pause the campaign"));
            }
        }
        let rate = self.rate.map(|rate| match rate {
            RateText::Number(per_minute) => Rate::parse(&per_minute.to_string()),
            RateText::Text(text) => Rate::parse(&text),
        });
        let warm_up = match (self.warm_up, self.warm_up_start) {
            (None, None) => None,
            (Some(days), Some(start)) => {
                let start = start.trim().parse();
                let start = start.map_err(|_| refused(&at("warm_up_start"), "expected a date like \"2026-12-01\""))?;
                if days.is_empty() || days.len() > 366 || days.contains(&0) {
                    let why = "expected the messages of each day, the first at the front, like [50, 100, 500]";
                    return Err(refused(&at("warm_up"), why));
                }
                Some(WarmUp { start, days })
            }
            (Some(_), None) => {
                return Err(refused(&at("warm_up_start"), "missing: on which day does the plan begin? \"2026-12-01\""));
            }
            (None, Some(_)) => {
                return Err(refused(&at("warm_up"), "missing: how many messages on each day? [50, 100, 500]"));
            }
        };
        Ok(Limits {
            rate: rate.transpose().map_err(|why| refused(&at("rate"), why))?,
            hourly: self.hourly,
            daily: self.daily,
            warm_up,
            connections: self.connections,
            messages_per_connection: self.messages_per_connection,
        })
    }
}

impl ScheduleText {
    /// Takes a variable whose name went on with `setting` after `OUINON_SCHEDULE_`; false: it is none.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> bool {
        match setting {
            "WINDOW" => self.window = text(value),
            "DAYS" => self.days = text(value),
            "QUIET_HOURS" => self.quiet_hours = text(value),
            _ => return false,
        }
        true
    }

    pub(super) fn check(self) -> Result<Windows, ConfigError> {
        let hours = |setting: &str, text: Option<String>| {
            text.map(|text| Hours::parse(&text)).transpose().map_err(|why| refused(setting, why))
        };
        let windows = Windows {
            window: hours("schedule.window", self.window)?,
            days: self.days.map(|text| Days::parse(&text)).transpose().map_err(|why| refused("schedule.days", why))?,
            quiet_hours: hours("schedule.quiet_hours", self.quiet_hours)?,
        };
        if !windows.ever_opens() {
            return Err(refused("schedule", "quiet_hours cover the whole window: nothing would ever be sent"));
        }
        Ok(windows)
    }
}

impl StopsText {
    /// Takes a variable whose name went on with `setting` after `OUINON_STOPS_`; false: it is none.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> Result<bool, ConfigError> {
        match setting {
            "HARD_BOUNCES_PERCENT" => self.hard_bounces_percent = number("stops.hard_bounces_percent", value)?,
            "HARD_BOUNCES_AFTER" => self.hard_bounces_after = number("stops.hard_bounces_after", value)?,
            "COMPLAINTS_PERCENT" => self.complaints_percent = number("stops.complaints_percent", value)?,
            "COMPLAINTS_AFTER" => self.complaints_after = number("stops.complaints_after", value)?,
            "AUTHENTICATION" => self.authentication = number("stops.authentication", value)?,
            "CONTENT" => self.content = number("stops.content", value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn check(self) -> Result<Thresholds, ConfigError> {
        let default = Thresholds::default();
        let share = |setting: &str, percent: Option<f64>, default: i64| match percent {
            None => Ok(default),
            Some(percent) if (0.0001..=100.0).contains(&percent) => Ok((percent * 10_000.0).round() as i64),
            Some(_) => Err(refused(setting, "expected a percentage like 2 or 0.1; 100 never stops")),
        };
        let count = |given: Option<u32>, default: i64| given.map_or(default, i64::from);
        Ok(Thresholds {
            hard_bounces_ppm: share("stops.hard_bounces_percent", self.hard_bounces_percent, default.hard_bounces_ppm)?,
            hard_bounces_after: count(self.hard_bounces_after, default.hard_bounces_after),
            complaints_ppm: share("stops.complaints_percent", self.complaints_percent, default.complaints_ppm)?,
            complaints_after: count(self.complaints_after, default.complaints_after),
            authentication: count(self.authentication, default.authentication),
            content: count(self.content, default.content),
        })
    }
}

fn refused(setting: &str, message: impl Into<String>) -> ConfigError {
    ConfigError::Setting { setting: setting.to_owned(), message: message.into() }
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn rate_text(value: &str) -> Option<RateText> {
    text(value).map(RateText::Text)
}

/// A number; an empty variable takes the file's value away.
fn number<T: std::str::FromStr>(setting: &str, value: &str) -> Result<Option<T>, ConfigError> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| refused(setting, "expected a number"))
}

fn numbers(setting: &str, value: &str) -> Result<Option<Vec<u32>>, ConfigError> {
    if value.is_empty() {
        return Ok(None);
    }
    let all: Result<Vec<u32>, _> = value.split(',').map(|number| number.trim().parse()).collect();
    all.map(Some).map_err(|_| refused(setting, "expected numbers between commas, like 50,100,500"))
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, super::ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ouinon.toml"), file).unwrap();
        Config::load(folder.path(), env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn nothing_is_limited_unless_it_is_said() {
        let config = load("", &[]).unwrap();
        assert!(!config.limits.server.is_counted() && config.limits.groups.is_empty() && !config.schedule.is_any());
        assert_eq!(config.stops, crate::domain::stops::Thresholds::default());
    }

    #[test]
    fn limits_are_read_from_the_file_and_from_the_environment() {
        let file = "[limits]\nrate = '3000/min'\ndaily = 50000\nwarm_up = [50, 100]\nwarm_up_start = '2026-12-01'\n\
                    [limits.groups.google]\nrate = 120\nconnections = 5\nmessages_per_connection = 50\n\
                    [limits.groups.default]\nhourly = 400\n\
                    [schedule]\nquiet_hours = '21:00-07:00'\ndays = 'mon-fri'\n[stops]\nhard_bounces_percent = 1.5\n";
        let env = [
            ("OUINON_SMTP_RATE_PER_MINUTE", "1000"),
            ("OUINON_LIMITS_GROUPS_YAHOO_CONNECTIONS", "2"),
            ("OUINON_LIMITS_GROUPS_GOOGLE_WARM_UP", "10, 20"),
            ("OUINON_LIMITS_GROUPS_GOOGLE_WARM_UP_START", "2026-12-02"),
            ("OUINON_SCHEDULE_DAYS", ""),
            ("OUINON_STOPS_COMPLAINTS_PERCENT", "0.3"),
        ];
        let config = load(file, &env).unwrap();
        let limits = &config.limits;
        assert_eq!(limits.server.rate.unwrap().per_minute(), 1000.0, "the smaller of both");
        let google = limits.group("google").unwrap();
        assert_eq!((google.rate.unwrap().per_minute(), google.connections), (120.0, Some(5)));
        assert_eq!(google.warm_up.as_ref().unwrap().days, [10, 20]);
        assert_eq!(
            (limits.group("yahoo").unwrap().connections, limits.group("yahoo").unwrap().hourly),
            (Some(2), None)
        );
        assert_eq!(limits.group("orange").unwrap().hourly, Some(400), "as the others");
        assert!(config.schedule.days.is_none() && config.schedule.quiet_hours.is_some());
        assert_eq!((config.stops.hard_bounces_ppm, config.stops.complaints_ppm), (15_000, 3_000));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place_and_the_way_out() {
        for (file, place, way_out) in [
            ("[limits]\nrate = 'fast'", "limits.rate", "600/min"),
            ("[limits]\nhourly = 0", "limits.hourly", "at least 1"),
            ("[limits]\nwarm_up = [5]", "limits.warm_up_start", "missing"),
            ("[limits]\nwarm_up_start = '2026-12-01'", "limits.warm_up", "missing"),
            ("[limits]\nwarm_up = [5]\nwarm_up_start = 'soon'", "limits.warm_up_start", "2026-12-01"),
            ("[limits]\nwarm_up = []\nwarm_up_start = '2026-12-01'", "limits.warm_up", "[50, 100, 500]"),
            ("[limits]\nrecovery_minutes = 0", "limits.recovery_minutes", "1 to 1440"),
            ("[limits.groups.gogle]\nrate = 5", "limits.groups.gogle", "google"),
            ("[limits.groups.google]\nrate = 0", "limits.groups.google.rate", "pause"),
            ("[schedule]\nwindow = '8-20'", "schedule.window", "08:00-20:00"),
            ("[schedule]\ndays = 'lundi'", "schedule.days", "mon-fri"),
            ("[schedule]\nwindow = '09:00-12:00'\nquiet_hours = '08:00-13:00'", "schedule", "nothing would ever"),
            ("[stops]\nhard_bounces_percent = 0.0", "stops.hard_bounces_percent", "percentage"),
            ("[stops]\ncomplaints_percent = 101.0", "stops.complaints_percent", "percentage"),
        ] {
            let error = load(file, &[]).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{place}: ")) && error.contains(way_out), "{file}: {error}");
        }
        for rate in ["0.5", "-1", "true", "[5]"] {
            let error =
                load(&format!("[limits.groups.google]\nrate = {rate}"), &[]).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("line 2, column 8: expected a rate like \"600/min\""), "{rate}: {error}");
        }
        for (name, value) in [("OUINON_LIMITS_HOURLY", "many"), ("OUINON_LIMITS_WARM_UP", "1;2")] {
            assert!(load("", &[(name, value)]).unwrap_err().to_string().starts_with("limits."));
        }
        let name = "OUINON_LIMITS_GROUPS_GOOGLE_CONNECTIONS";
        let error = load("", &[(name, "-1")]).unwrap_err().to_string();
        assert!(error.starts_with("limits.groups: expected a number") && error.contains(name), "{error}");
        for name in ["OUINON_LIMITS_SPEED", "OUINON_LIMITS_GROUPS_RATE", "OUINON_SCHEDULE_HOUR", "OUINON_STOPS_ALL"] {
            assert!(load("", &[(name, "1")]).unwrap_err().to_string().contains("no setting"), "{name}");
        }
    }
}
