//! What Prometheus reads: rates, states, groups, stops and the gate. It names campaigns and providers,
//! never people.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::{Display, Write},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{
    app::App,
    domain::{
        campaigns::{CampaignState, DeliveryState},
        pushback::Standing,
    },
    meters::{BOUNDS, Reading},
    pipeline::report,
    store::{self, Tx, campaigns, deliveries, groups, outcomes, workers},
};

const DELIVERIES: &str = "Deliveries of running and paused campaigns by state, and of ended ones those unknown";

/// What was counted of campaigns' deliveries, for whoever asks next.
#[derive(Debug, Default)]
pub struct Counted(Mutex<HashMap<i64, Count>>);

/// How many deliveries of a campaign were in each state.
#[derive(Debug)]
struct Count {
    began: Instant,
    took: Duration,
    /// In the order of [`DeliveryState::ALL`].
    states: Vec<i64>,
}

/// What is counted within so long is counted each time.
const QUICK: Duration = Duration::from_millis(50);

impl Count {
    async fn of(tx: &mut Tx, campaign: i64) -> store::Result<Count> {
        let began = Instant::now();
        let tally = deliveries::tally(tx, campaign).await?;
        let of = |state: &DeliveryState| tally.iter().filter(|line| line.state == *state).map(|line| line.n).sum();
        Ok(Count { began, states: DeliveryState::ALL.iter().map(of).collect(), took: began.elapsed() })
    }

    fn serves_at(&self, at: Instant) -> bool {
        self.took > QUICK && at.saturating_duration_since(self.began) < self.took + report::rest(self.took)
    }
}

/// The whole text (Prometheus exposition format 0.0.4).
pub async fn text(app: &App, counted: &Counted) -> store::Result<String> {
    let now = app.now().as_millisecond();
    let mut page = Page::default();
    // Whoever asks meanwhile waits, and finds it counted.
    let mut counted = counted.0.lock().await;
    let mut tx = app.db.read().await?;
    let all = campaigns::all(&mut tx).await?;
    for state in CampaignState::ALL {
        let n = all.iter().filter(|campaign| campaign.state == *state).count();
        page.gauge("ouinon_campaigns", "Campaigns by state", &[("state", state.as_str())], n);
    }
    let live = |state: CampaignState| matches!(state, CampaignState::Running | CampaignState::Paused);
    counted.retain(|_, count| count.serves_at(Instant::now()));
    for campaign in all.iter().filter(|campaign| live(campaign.state)) {
        let slug = ("campaign", campaign.slug.as_str());
        let count = match counted.entry(campaign.id) {
            Entry::Occupied(count) => count.into_mut(),
            Entry::Vacant(place) => place.insert(Count::of(&mut tx, campaign.id).await?),
        };
        for (state, n) in DeliveryState::ALL.iter().zip(&count.states) {
            let labels = [slug, ("state", state.as_str())];
            page.gauge("ouinon_deliveries", DELIVERIES, &labels, n);
        }
        let running = u8::from(campaign.state == CampaignState::Running);
        page.gauge("ouinon_campaign_running", "1 while the campaign runs, 0 while it is paused", &[slug], running);
        if let Some(next) = deliveries::next_attempt(&mut tx, campaign.id).await? {
            let help = "When the next deferred delivery is tried, seconds since 1970";
            page.gauge("ouinon_next_retry_timestamp_seconds", help, &[slug], next / 1000);
        }
        let stopped = store::stops::stopped(&mut tx, campaign.id).await?;
        for gauge in super::stops::gauges(app, &mut tx, campaign.id).await? {
            let labels = [slug, ("stop", gauge.stop.as_str())];
            page.gauge("ouinon_stop_count", "What counts towards an automatic stop", &labels, gauge.count);
            if let Some(left) = gauge.left {
                page.gauge("ouinon_stop_left", "How many more would stop the campaign", &labels, left);
            }
            let fired = u8::from(stopped.is_some_and(|stopped| stopped.stop == gauge.stop));
            page.gauge("ouinon_stop_fired", "1 when this stop has paused the campaign", &labels, fired);
        }
    }
    // An end does not clear them up: they wait for a person.
    for (id, n) in deliveries::unknowns(&mut tx).await? {
        if let Some(campaign) = all.iter().find(|campaign| campaign.id == id && !live(campaign.state)) {
            let labels = [("campaign", campaign.slug.as_str()), ("state", DeliveryState::Unknown.as_str())];
            page.gauge("ouinon_deliveries", DELIVERIES, &labels, n);
        }
    }
    for counts in outcomes::by_group(&mut tx).await? {
        for (outcome, n) in [("accepted", counts.accepted), ("deferred", counts.deferred), ("bounced", counts.bounced)]
        {
            let labels = [("group", counts.provider_group.as_str()), ("outcome", outcome)];
            page.counter("ouinon_submissions_total", "Submissions by provider group and outcome", &labels, n);
        }
    }
    for (name, standing) in groups::all(&mut tx).await? {
        page.standing(&name, &standing, now);
    }
    page.gauge("ouinon_workers", "Workers on the list", &[], workers::all(&mut tx).await?.len());
    let help = "Workers without a connection to the mail server, though they have something to send";
    page.gauge("ouinon_workers_without_connection", help, &[], workers::troubles(&mut tx).await?.len());
    let help = "Settings of [limits] that workers keep: more than one, and hosts are configured differently";
    page.gauge("ouinon_limit_settings", help, &[], workers::limits(&mut tx).await?);
    drop(tx);
    page.gate(&app.meters.read());
    Ok(page.text())
}

/// Metrics in the order in which they were first named, each with its samples together.
#[derive(Default)]
struct Page(Vec<Family>);

struct Family {
    name: &'static str,
    head: String,
    samples: String,
}

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        self.sample(name, "gauge", help, name, labels, value);
    }

    fn counter(&mut self, name: &'static str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        self.sample(name, "counter", help, name, labels, value);
    }

    fn sample(
        &mut self,
        name: &'static str,
        kind: &str,
        help: &str,
        series: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        let at = self.0.iter().position(|family| family.name == name).unwrap_or_else(|| {
            let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            self.0.push(Family { name, head, samples: String::new() });
            self.0.len() - 1
        });
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0[at].samples, "{series}{labels} {value}");
    }

    fn standing(&mut self, name: &str, standing: &Standing, now: i64) {
        let labels = [("group", name)];
        let suspended = standing.is_suspended(now);
        self.gauge(
            "ouinon_group_suspended",
            "1 while nothing is sent to the provider group",
            &labels,
            u8::from(suspended),
        );
        let until = standing.suspended_until / 1000;
        let help = "When the suspension ends or ended, seconds since 1970";
        self.gauge("ouinon_group_suspended_until_timestamp_seconds", help, &labels, until);
        let rate = standing.rate().per_minute();
        self.gauge("ouinon_group_recovery_per_minute", "Messages a minute while the group recovers", &labels, rate);
        self.gauge("ouinon_group_strikes", "Suspensions since the group was well", &labels, standing.strikes);
    }

    fn gate(&mut self, read: &Reading) {
        const NAME: &str = "ouinon_gate_seconds";
        const HELP: &str = "What a commit of the gate took in this process";
        for (i, n) in read.gate.iter().enumerate() {
            let bound = BOUNDS.get(i).map_or("+Inf".to_owned(), |millis| format!("{}", *millis as f64 / 1000.0));
            self.sample(NAME, "histogram", HELP, "ouinon_gate_seconds_bucket", &[("le", &bound)], n);
        }
        self.sample(NAME, "histogram", HELP, "ouinon_gate_seconds_sum", &[], read.gate_time.as_secs_f64());
        let count = read.gate.last().copied().unwrap_or(0);
        self.sample(NAME, "histogram", HELP, "ouinon_gate_seconds_count", &[], count);
        self.counter("ouinon_gate_messages_total", "Messages through the gate of this process", &[], read.passed);
        self.gauge("ouinon_gate_waiting", "Messages that wait at the gate of this process", &[], read.waiting);
        self.gauge("ouinon_on_wire", "Messages between the gate of this process and their record", &[], read.on_wire);
    }

    fn text(self) -> String {
        self.0.into_iter().map(|family| family.head + &family.samples).collect()
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_serves_as_long_as_keeps_counting_rare() {
        let serves = |took, age| {
            let began = Instant::now();
            let count = Count { began, took: Duration::from_millis(took), states: Vec::new() };
            count.serves_at(began + Duration::from_millis(age))
        };
        assert_eq!([serves(2000, 2000), serves(2000, 19_999), serves(2000, 20_000)], [true, true, false]);
        assert_eq!([serves(50, 50), serves(0, 0)], [false, false]);
    }

    #[test]
    fn samples_of_a_metric_stand_together_under_their_help() {
        let mut page = Page::default();
        page.gauge("a", "An A", &[("x", "1\"2\\3\n")], 1);
        page.counter("b", "A B", &[], 2);
        page.gauge("a", "An A", &[("x", "4")], 3.5);
        assert_eq!(
            page.text(),
            "# HELP a An A\n# TYPE a gauge\na{x=\"1\\\"2\\\\3\\n\"} 1\na{x=\"4\"} 3.5\n# HELP b A B\n# TYPE b counter\nb 2\n"
        );
    }
}
