//! How a campaign goes: its groups, what holds them back and until when, and how near the stops are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::compile::windows_of;
use crate::{
    app::App,
    domain::{
        campaign_file::CampaignFile,
        campaigns::{DeliveryState, Priority},
        lang::Lang,
        limits::Limits,
        providers,
        pushback::Standing,
        stops::{Gauge, Stop},
        windows::Windows,
    },
    pipeline::deliver::permits,
    store::{
        self, Tx, buckets,
        campaigns::Campaign,
        deliveries::{self, Tally},
        groups, lanes, stops, workers,
    },
};

/// What holds a group back, if anything does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Nothing.
    Open,
    /// The provider pushed back: nothing is sent to it.
    Suspended,
    /// It comes back slowly.
    Recovering,
    /// Its cap of the hour or the day is reached.
    Capped,
    /// It is the wrong hour for its recipients.
    Closed,
}

/// What a provider group is permitted over all campaigns, and what holds it back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupLimits {
    /// What holds it back.
    pub state: Flow,
    /// Until when, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What the provider said when it pushed back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Messages a minute that are permitted, over all campaigns; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_minute: Option<f64>,
    /// Messages on the wire at a time that are permitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// What is left of the hour's and the day's cap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<CapLeft>,
}

/// A provider group of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupPace {
    /// What it is permitted.
    #[serde(flatten)]
    pub limits: GroupLimits,
    /// Waiting, or in a worker's hands.
    pub queued: i64,
    /// To be tried again.
    pub deferred: i64,
    /// Taken by the server.
    pub accepted: i64,
    /// Refused for good.
    pub bounced: i64,
    /// Interrupted.
    pub unknown: i64,
    /// When the next deferred one is due, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry: Option<String>,
}

/// A cap, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapLeft {
    /// Messages in the period.
    pub most: i64,
    /// Messages left.
    pub left: i64,
    /// When it is counted anew, RFC 3339.
    pub ends: String,
    /// Seconds of a whole period.
    #[serde(skip)]
    pub period: i64,
}

/// Why a campaign was stopped automatically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopNote {
    /// Which stop.
    pub stop: Stop,
    /// How many …
    pub count: i64,
    /// … of how many.
    pub of: i64,
    /// In words.
    pub message: String,
}

/// How a campaign goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pace {
    /// How it stands beside others.
    pub priority: Priority,
    /// Messages that were accepted in the last minute.
    pub accepted_last_minute: i64,
    /// Why it was stopped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopNote>,
    /// What keeps workers from the mail server: nothing leaves by them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_connection: Vec<String>,
    /// Workers keep different limits: none is then what anybody set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub limits_differ: bool,
    /// Every automatic stop, and how near it is.
    pub stops: Vec<Gauge>,
    /// By provider group.
    pub groups: BTreeMap<String, GroupPace>,
    /// What the mail server is permitted over all campaigns; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerPace>,
}

/// The limits of the mail server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerPace {
    /// Messages a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_minute: Option<f64>,
    /// What is left of the hour's and the day's cap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<CapLeft>,
}

/// How a campaign goes, whose deliveries stand as `tally` says.
pub async fn of(app: &App, tx: &mut Tx, campaign: &Campaign, tally: &[Tally], lang: Lang) -> store::Result<Pace> {
    let now = app.now();
    let file = CampaignFile::parse(&campaign.source, Some(campaign.format)).ok();
    let windows = file.as_ref().map_or(Vec::new(), |file| windows_of(app, file));
    let standings: BTreeMap<String, Standing> = groups::all(tx).await?.into_iter().collect();
    let all = lanes::of_campaign(tx, campaign.id).await?;
    let bound = |lane: &lanes::Lane| (lane.provider_group.clone(), lane.zone.clone());
    let names: Vec<(String, String)> = all.iter().map(bound).collect();
    let bounds: Vec<lanes::Bound<'_>> =
        names.iter().map(|(group, zone)| lanes::Bound { provider_group: group, zone, past: 0 }).collect();
    let waiting = lanes::waiting(tx, campaign.id, &bounds).await?;
    let mut groups = BTreeMap::new();
    for line in tally {
        let group = match groups.get_mut(&line.provider_group) {
            Some(group) => group,
            None => {
                let standing = standings.get(&line.provider_group);
                let limits = group_limits(app, tx, &line.provider_group, standing, now).await?;
                groups.entry(line.provider_group.clone()).or_insert(GroupPace::new(limits))
            }
        };
        match line.state {
            DeliveryState::Queued | DeliveryState::Claimed | DeliveryState::Submitting => group.queued += line.n,
            DeliveryState::Deferred => group.deferred += line.n,
            DeliveryState::Accepted => group.accepted += line.n,
            DeliveryState::Bounced => group.bounced += line.n,
            DeliveryState::Unknown => group.unknown += line.n,
            DeliveryState::Blocked | DeliveryState::Cancelled => {}
        }
    }
    for (name, group) in &mut groups {
        let lanes: Vec<&lanes::Waiting> = waiting.iter().filter(|lane| lane.provider_group == *name).collect();
        let next = lanes.iter().filter_map(|lane| lane.next_attempt_at).min();
        // While it stands still nothing is tried, due or not.
        let stands_until = standings.get(name).map_or(0, |standing| standing.suspended_until);
        group.next_retry = next.map(|next| next.max(stands_until)).and_then(at);
        let busy = lanes.iter().filter(|lane| lane.queued || lane.next_attempt_at.is_some());
        let opens: Vec<Option<Timestamp>> = busy.map(|lane| opens(&windows, now, &lane.zone, app.tz())).collect();
        let limits = &mut group.limits;
        if limits.state == Flow::Open && !opens.is_empty() && opens.iter().all(|opens| *opens != Some(now)) {
            limits.state = Flow::Closed;
            limits.until = opens.into_iter().flatten().min().map(|at| at.to_string());
        }
    }
    let no_connection = if goes_on(&groups) { workers::troubles(tx).await? } else { Vec::new() };
    let stopped = stops::stopped(tx, campaign.id).await?.map(|why| StopNote {
        stop: why.stop,
        count: why.count,
        of: why.of,
        message: why.stop.sentence(why.count, why.of, lang),
    });
    Ok(Pace {
        priority: file.as_ref().map_or(Priority::Normal, CampaignFile::priority),
        accepted_last_minute: deliveries::accepted_since(tx, campaign.id, now.as_millisecond() - 60_000).await?,
        stopped,
        no_connection,
        limits_differ: workers::limits(tx).await? > 1,
        stops: super::stops::gauges(app, tx, campaign.id).await?,
        groups,
        server: server(app, tx).await?,
    })
}

/// What the mail server is permitted over all campaigns; none: no limit, or a warm-up that is over.
pub async fn server(app: &App, tx: &mut Tx) -> store::Result<Option<ServerPace>> {
    let limits = &app.config.limits.server;
    let rate_per_minute = limits.rate.map(|rate| rate.per_minute());
    let caps = caps(app, tx, permits::SERVER, limits, app.now()).await?;
    let is_limited = rate_per_minute.is_some() || !caps.is_empty();
    Ok(is_limited.then_some(ServerPace { rate_per_minute, caps }))
}

/// Every provider group that is limited, by its own table or that of the others, or pushed back, over all campaigns.
pub async fn groups(app: &App, tx: &mut Tx) -> store::Result<BTreeMap<String, GroupLimits>> {
    let standings: BTreeMap<String, Standing> = groups::all(tx).await?.into_iter().collect();
    let limited = providers::names().iter().copied().filter(|name| app.config.limits.group(name).is_some());
    let names: BTreeSet<&str> = standings.keys().map(String::as_str).chain(limited).collect();
    let mut groups = BTreeMap::new();
    for name in names {
        groups.insert(name.to_owned(), group_limits(app, tx, name, standings.get(name), app.now()).await?);
    }
    Ok(groups)
}

async fn group_limits(
    app: &App,
    tx: &mut Tx,
    name: &str,
    standing: Option<&Standing>,
    now: Timestamp,
) -> store::Result<GroupLimits> {
    let limits = app.config.limits.group(name).cloned().unwrap_or_default();
    let caps = caps(app, tx, &permits::of_group(name), &limits, now).await?;
    let used_up = caps.iter().find(|cap| cap.left == 0).map(|cap| cap.ends.clone());
    let millis = now.as_millisecond();
    let (state, until) = match (standing, used_up) {
        (Some(standing), _) if standing.is_suspended(millis) => (Flow::Suspended, at(standing.suspended_until)),
        (_, Some(ends)) => (Flow::Capped, Some(ends)),
        (Some(_), None) => (Flow::Recovering, None),
        (None, None) => (Flow::Open, None),
    };
    let recovering = standing.filter(|_| state == Flow::Recovering);
    let rates = limits.rate.into_iter().chain(recovering.map(Standing::rate));
    Ok(GroupLimits {
        state,
        until,
        reply: standing.map(|standing| standing.reply.clone()),
        rate_per_minute: rates.min_by_key(|rate| rate.per_hour()).map(|rate| rate.per_minute()),
        connections: limits.connections.into_iter().chain(recovering.map(Standing::connections)).min(),
        caps,
    })
}

/// What is left of a scope's caps.
async fn caps(app: &App, tx: &mut Tx, scope: &str, limits: &Limits, now: Timestamp) -> store::Result<Vec<CapLeft>> {
    let caps = limits.caps(now, app.tz());
    if caps.is_empty() {
        return Ok(Vec::new());
    }
    let spent = buckets::spent(tx, &[scope], now.as_millisecond()).await?;
    let left = caps.into_iter().map(|cap| {
        let gone = spent.get(&(scope.to_owned(), cap.period)).copied().unwrap_or(0);
        let ends = at(cap.ends_at).unwrap_or_default();
        CapLeft { most: cap.most, left: (cap.most - gone).max(0), ends, period: cap.seconds }
    });
    Ok(left.collect())
}

fn opens(windows: &[&Windows], now: Timestamp, zone: &str, controller: &TimeZone) -> Option<Timestamp> {
    let own = Some(zone).filter(|zone| !zone.is_empty()).and_then(|zone| TimeZone::get(zone).ok());
    Windows::opens(windows, now, own.as_ref().unwrap_or(controller))
}

/// Whether anything is left to send.
fn goes_on(groups: &BTreeMap<String, GroupPace>) -> bool {
    groups.values().any(|group| group.queued + group.deferred > 0)
}

fn at(millis: i64) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|at| at.to_string())
}

impl Pace {
    /// Seconds until what is left has gone, as far as the limits tell: `left` messages at `per_minute`.
    pub fn eta(&self, left: i64, per_minute: f64, now: Timestamp) -> i64 {
        let server = self.server.as_ref().and_then(|server| server.rate_per_minute);
        let all = left as f64 * 60.0 / server.map_or(per_minute, |rate| rate.min(per_minute));
        let capped = |caps: &[CapLeft], left| caps.iter().map(|cap| cap.wait(left, now)).max().unwrap_or(0) as f64;
        let all = all.max(self.server.as_ref().map_or(0.0, |server| capped(&server.caps, left)));
        let of_group = |group: &GroupPace| {
            let limits = &group.limits;
            let until = limits.until.as_ref().and_then(|until| until.parse::<Timestamp>().ok());
            let wait = until.map_or(0, |until| until.as_second() - now.as_second()).max(0) as f64;
            let own = limits.rate_per_minute.map_or(0.0, |rate| group.queued as f64 * 60.0 / rate);
            if group.queued > 0 { (wait + own).max(capped(&limits.caps, group.queued)) } else { 0.0 }
        };
        self.groups.values().map(of_group).fold(all, f64::max).ceil() as i64
    }

    /// What a marketer should know, a line each: what stands still and why, and which stop is near.
    pub fn lines(&self, lang: Lang) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(stopped) = &self.stopped {
            lines.push(stopped.message.clone());
        }
        lines.extend(self.no_connection.iter().map(|trouble| {
            lang.pick(
                format!("un expéditeur n'a pas de connexion au serveur de messagerie ({trouble})"),
                format!("a worker has no connection to the mail server ({trouble})"),
            )
        }));
        if self.limits_differ {
            let says = lang.pick(
                "les expéditeurs n'ont pas les mêmes limites : donnez à tous les hôtes le même [limits]",
                "workers keep different limits: give every host the same [limits]",
            );
            lines.push(says.to_owned());
        }
        lines.push(lang.pick(
            format!("{} acceptés dans la dernière minute", self.accepted_last_minute),
            format!("{} accepted in the last minute", self.accepted_last_minute),
        ));
        for (name, group) in self.groups.iter().filter(|(_, group)| group.queued + group.deferred > 0) {
            let waits = lang.pick(
                format!("{} en attente, {} à réessayer", group.queued, group.deferred),
                format!("{} waiting, {} to be tried again", group.queued, group.deferred),
            );
            let next = group.next_retry.as_ref().map_or(String::new(), |at| {
                lang.pick(format!(", prochain essai à {at}"), format!(", next try at {at}"))
            });
            lines.push(format!("{name}: {}, {waits}{next}", group.limits.sentence(lang)));
        }
        let goes_on = goes_on(&self.groups);
        if let Some(server) = self.server.as_ref().filter(|server| goes_on && !server.caps.is_empty()) {
            let limits = server.sentence(lang);
            lines.push(lang.pick(
                format!("toutes les campagnes ensemble : {limits}"),
                format!("all campaigns together: {limits}"),
            ));
        }
        for gauge in self.stops.iter().filter(|gauge| goes_on || gauge.count > 0) {
            let left = gauge.left.map_or(String::new(), |left| {
                lang.pick(format!(", encore {left} avant l'arrêt"), format!(", {left} more would stop it"))
            });
            lines.push(match gauge.of {
                0 => format!("{}: {}{left}", gauge.stop, gauge.count),
                of => format!(
                    "{}: {} / {of} ({:.2} %, {} %){left}",
                    gauge.stop, gauge.count, gauge.percent, gauge.limit_percent
                ),
            });
        }
        lines
    }
}

impl ServerPace {
    /// In words.
    pub fn sentence(&self, lang: Lang) -> String {
        let rate = self.rate_per_minute.map(|rate| format!("{rate}/min"));
        let caps = self.caps.iter().map(|cap| cap.sentence(lang));
        rate.into_iter().chain(caps).collect::<Vec<_>>().join(", ")
    }
}

impl CapLeft {
    /// Seconds until the last of `left` messages may leave, as far as this cap tells.
    fn wait(&self, left: i64, now: Timestamp) -> i64 {
        let Ok(ends) = self.ends.parse::<Timestamp>() else { return 0 };
        let beyond = left - self.left;
        if beyond <= 0 {
            return 0;
        }
        let whole = (beyond - 1) / self.most.max(1);
        (ends.as_second() - now.as_second()).max(0).saturating_add(whole.saturating_mul(self.period))
    }

    fn sentence(&self, lang: Lang) -> String {
        let (left, most, ends) = (self.left, self.most, &self.ends);
        lang.pick(format!("reste {left} sur {most} jusqu'à {ends}"), format!("{left} of {most} left until {ends}"))
    }
}

impl GroupPace {
    /// A group of which nothing is counted yet.
    fn new(limits: GroupLimits) -> GroupPace {
        GroupPace { limits, queued: 0, deferred: 0, accepted: 0, bounced: 0, unknown: 0, next_retry: None }
    }
}

impl GroupLimits {
    /// What holds it back, in words.
    pub fn sentence(&self, lang: Lang) -> String {
        let caps: Vec<String> = self.caps.iter().map(|cap| cap.sentence(lang)).collect();
        let limits = self.rate_per_minute.filter(|_| self.state != Flow::Recovering).map(|rate| format!("{rate}/min"));
        let parts = [self.flow(lang)].into_iter().chain(limits).chain(caps);
        parts.collect::<Vec<_>>().join(", ")
    }

    fn flow(&self, lang: Lang) -> String {
        let until = self.until.clone().unwrap_or_default();
        let reply = self.reply.as_ref().map_or(String::new(), |reply| format!(" ({reply})"));
        match self.state {
            Flow::Open => lang.pick("ouvert", "open").to_owned(),
            Flow::Suspended => {
                lang.pick(format!("suspendu jusqu'à {until}{reply}"), format!("suspended until {until}{reply}"))
            }
            Flow::Recovering => {
                let rate = self.rate_per_minute.unwrap_or_default();
                lang.pick(format!("reprend à {rate}/min"), format!("recovering at {rate}/min"))
            }
            Flow::Capped => lang.pick(format!("plafond atteint jusqu'à {until}"), format!("cap reached until {until}")),
            Flow::Closed => lang.pick(
                format!("hors des heures d'envoi jusqu'à {until}"),
                format!("outside sending hours until {until}"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_holds_back_what_is_beyond_it_a_period_at_a_time() {
        let now: Timestamp = "2026-11-29T12:30:00Z".parse().unwrap();
        let cap = CapLeft { most: 10, left: 4, ends: "2026-11-29T13:00:00Z".into(), period: 3600 };
        let waits = [4, 5, 14, 15, 34].map(|left| cap.wait(left, now));
        assert_eq!(waits, [0, 1800, 1800, 1800 + 3600, 1800 + 2 * 3600]);
    }
}
