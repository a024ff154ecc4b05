//! Report: of everybody who might be asked, what became of the question and what they said (RP-9).

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use super::plan_name;
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::{CampaignState, DeliveryState},
        contacts::ContactKind,
        dates::add_months,
        eligibility::Basis,
        repermission::waves::Waves,
    },
    store::{
        self, campaigns, deliveries,
        repermission::{self, Plan, Word},
    },
};

/// Where a question stands. `base = waiting + blocked + sent + cancelled`, `accepted = yes + no +
/// unsubscribes + complaints + silent`, by the last word of each person.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The plan.
    pub plan: String,
    /// Its campaign; none before it is sent.
    pub campaign: Option<String>,
    /// State of the campaign.
    pub state: Option<CampaignState>,
    /// Slug of the product.
    pub product: String,
    /// When the sending began.
    pub sent_at: Option<String>,
    /// Lines of the list.
    pub lines: u64,
    /// People of the list who might be asked.
    pub base: i64,
    /// Not dealt with yet: later waves, or on their way.
    pub waiting: i64,
    /// Messages that left.
    pub sent: i64,
    /// Decided otherwise since the plan, before the message left.
    pub blocked: i64,
    /// Of these, why.
    pub by_reason: BTreeMap<String, i64>,
    /// A server has it.
    pub accepted: i64,
    /// A server refused it for good.
    pub bounced: i64,
    /// To be tried again.
    pub deferred: i64,
    /// Nobody knows the end.
    pub unknown: i64,
    /// Cancelled before it left, later waves among them.
    pub cancelled: i64,
    /// Said yes.
    pub yes: i64,
    /// Said no on the page of the question.
    pub no: i64,
    /// Unsubscribed by the link that every message has.
    pub unsubscribes: i64,
    /// Complained.
    pub complaints: i64,
    /// Got it and said nothing.
    pub silent: i64,
    /// What becomes of the silent.
    pub silence: Silence,
    /// By relationship with the sender.
    pub by_relationship: BTreeMap<String, Part>,
    /// Last words per minute since the sending began: a person stands in it once, as in the totals.
    pub series: Series,
    /// The wave under way, and how many there are.
    pub wave: u64,
    /// How many waves there are.
    pub waves: u64,
    /// The stop that holds it now.
    pub stopped_by: Option<String>,
    /// The stop that held it before: somebody has let it pass, or cancelled.
    pub was_stopped_by: Option<String>,
}

/// What becomes of those who said nothing (RP-8).
#[derive(Debug, Clone, Default, Serialize)]
pub struct Silence {
    /// Professionals: they stay contacts until they refuse; the date of their last contact is what it was.
    pub business: i64,
    /// Consumers: they have not consented.
    pub consumer: i64,
    /// Erased since.
    pub gone: i64,
    /// The last day on which nobody of them may be asked again (RP-6).
    pub not_asked_again_until: Option<String>,
}

/// The people of one relationship.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// A server has the message.
    pub accepted: i64,
    /// Said yes.
    pub yes: i64,
    /// Said no.
    pub no: i64,
    /// Unsubscribed.
    pub unsubscribes: i64,
    /// Complained.
    pub complaints: i64,
    /// Said nothing.
    pub silent: i64,
}

/// Counts per minute since the sending began; minutes without any are zeros.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Series {
    /// Said yes.
    pub yes: Vec<i64>,
    /// Said no.
    pub no: Vec<i64>,
    /// Unsubscribed.
    pub unsubscribes: Vec<i64>,
}

/// A week of minutes; what comes later is counted, but not drawn.
const SERIES_MINUTES: i64 = 7 * 24 * 60;

/// The report of a plan, read in one go.
pub async fn report(app: &App, plan: &Plan) -> store::Result<Report> {
    let waves: Waves = serde_json::from_str(&plan.waves).unwrap_or_default();
    let document: serde_json::Value = serde_json::from_str(&plan.document).unwrap_or_default();
    let mut report = Report {
        plan: plan_name(plan.id),
        product: plan.product.clone(),
        lines: document["lines"].as_u64().unwrap_or_default(),
        base: plan.askable,
        waiting: plan.askable,
        ..Report::default()
    };
    let Some(campaign) = plan.campaign_id else { return Ok(report) };
    let mut tx = app.db.read().await?;
    let row = campaigns::by_id(&mut tx, campaign).await?;
    report.campaign = row.as_ref().map(|row| row.slug.clone());
    report.state = row.as_ref().map(|row| row.state);
    let start = row.as_ref().and_then(|row| row.launched_at);
    report.sent_at = start.and_then(|at| Timestamp::from_millisecond(at).ok()).map(|at| at.to_string());
    report.wave = u64::try_from(plan.wave).unwrap_or_default();
    report.waves = waves.count(u64::try_from(plan.askable).unwrap_or_default());
    let stop = Some(plan.stopped_by.clone()).filter(|stop| !stop.is_empty());
    match report.state {
        Some(CampaignState::Paused) => report.stopped_by = stop,
        _ => report.was_stopped_by = stop,
    }
    for (code, n) in repermission::asked_count(&mut tx, plan.id).await? {
        if !code.is_empty() && code.parse::<Basis>().is_err() {
            report.blocked += n;
            *report.by_reason.entry(code).or_default() += n;
        }
    }
    for row in deliveries::tally(&mut tx, campaign).await? {
        match row.state {
            DeliveryState::Accepted => report.accepted += row.n,
            DeliveryState::Bounced => report.bounced += row.n,
            DeliveryState::Deferred => report.deferred += row.n,
            DeliveryState::Unknown => report.unknown += row.n,
            DeliveryState::Cancelled => report.cancelled += row.n,
            DeliveryState::Blocked => {
                report.blocked += row.n;
                *report.by_reason.entry(row.code).or_default() += row.n;
            }
            DeliveryState::Queued | DeliveryState::Claimed | DeliveryState::Submitting => {}
        }
    }
    if report.state == Some(CampaignState::Cancelled) {
        // Whoever's turn had not come has no delivery that could be cancelled.
        report.cancelled += plan.askable - plan.asked;
    }
    report.sent = report.accepted + report.bounced + report.deferred + report.unknown;
    report.waiting = report.base - report.sent - report.blocked - report.cancelled;
    let words = repermission::words(&mut tx, campaign).await?;
    let reached = repermission::reached(&mut tx, campaign).await?;
    drop(tx);
    let words = last_words(&words);
    report.count(&words, &reached);
    report.series = series(&words, start);
    let months = app.rules.settings.repermission_cooldown_months;
    let last = reached.iter().filter_map(|r| r.last).max().and_then(|at| Timestamp::from_millisecond(at).ok());
    report.silence.not_asked_again_until =
        last.map(|at| add_months(at.to_zoned(app.tz().clone()).date(), months).to_string());
    Ok(report)
}

/// What a person said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    No,
    Unsubscribed,
    Complained,
}

/// One word of each person: who answers again has changed their mind, and counts where they stand now.
fn last_words(words: &[Word]) -> Vec<&Word> {
    let mut last: HashMap<AddressHash, &Word> = HashMap::new();
    for word in words {
        last.insert(word.address_hash, word);
    }
    last.into_values().collect()
}

fn said(word: &Word) -> Said {
    match (word.kind.as_str(), word.class.as_str()) {
        ("yes", _) => Said::Yes,
        ("complaint", _) => Said::Complained,
        (_, "objection") => Said::No,
        _ => Said::Unsubscribed,
    }
}

impl Report {
    fn count(&mut self, words: &[&Word], reached: &[repermission::Reached]) {
        for group in reached {
            self.by_relationship.entry(group.relationship.clone()).or_default().accepted += group.n;
            self.by_relationship.entry(group.relationship.clone()).or_default().silent += group.n;
            *self.silence.of(&group.contact_kind) += group.n;
        }
        self.silent = reached.iter().map(|group| group.n).sum();
        for word in words {
            let accepted = word.state == DeliveryState::Accepted.as_str();
            let part = self.by_relationship.entry(word.relationship.clone()).or_default();
            let (total, of_part) = match said(word) {
                Said::Yes => (&mut self.yes, &mut part.yes),
                Said::No => (&mut self.no, &mut part.no),
                Said::Unsubscribed => (&mut self.unsubscribes, &mut part.unsubscribes),
                Said::Complained => (&mut self.complaints, &mut part.complaints),
            };
            *total += 1;
            *of_part += 1;
            if accepted {
                part.silent -= 1;
                self.silent -= 1;
                *self.silence.of(&word.contact_kind) -= 1;
            }
        }
    }
}

impl Silence {
    fn of(&mut self, kind: &str) -> &mut i64 {
        match kind.parse::<ContactKind>() {
            Ok(ContactKind::Business) => &mut self.business,
            Ok(ContactKind::Consumer) => &mut self.consumer,
            Err(_) => &mut self.gone,
        }
    }
}

fn series(words: &[&Word], start: Option<i64>) -> Series {
    let Some(start) = start else { return Series::default() };
    let minute = |word: &Word| Some((word.at - start).div_euclid(60_000)).filter(|m| (0..SERIES_MINUTES).contains(m));
    let length = words.iter().copied().filter_map(minute).max().map_or(0, |last| last as usize + 1);
    let mut series = Series { yes: vec![0; length], no: vec![0; length], unsubscribes: vec![0; length] };
    for word in words {
        let Some(at) = minute(word) else { continue };
        match said(word) {
            Said::Yes => series.yes[at as usize] += 1,
            Said::No => series.no[at as usize] += 1,
            Said::Unsubscribed => series.unsubscribes[at as usize] += 1,
            Said::Complained => {}
        }
    }
    series
}
