//! Status and report: where every person asked for stands, and what people did.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    app::App,
    domain::{
        campaign_file::CampaignFile,
        campaigns::{CampaignState, DeliveryState},
        lang::Lang,
    },
    pipeline::pace::{self, Pace},
    store::{
        self, Tx,
        campaigns::Campaign,
        deliveries::{self, Tally, Unknown},
        events, opens,
    },
};

/// Where a campaign stands; the states sum to `asked`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Slug.
    pub campaign: String,
    /// State of the campaign.
    pub state: CampaignState,
    /// Everybody enqueueing has written so far.
    pub asked: i64,
    /// Waiting.
    pub queued: i64,
    /// In a worker's hands.
    pub claimed: i64,
    /// On the wire.
    pub submitting: i64,
    /// The server said 250.
    pub accepted: i64,
    /// To be tried again.
    pub deferred: i64,
    /// Refused for good.
    pub bounced: i64,
    /// Decided Block.
    pub blocked: i64,
    /// Interrupted; for a person to resolve.
    pub unknown: i64,
    /// Cancelled.
    pub cancelled: i64,
    /// Blocked, by reason; zeros left out.
    pub by_reason: BTreeMap<String, i64>,
    /// When it starts by itself, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<String>,
    /// Permitted rate.
    pub rate_per_minute: f64,
    /// Seconds until the last is sent at that rate; none when nothing is left to send or enqueueing goes on.
    pub eta: Option<i64>,
    /// When the next deferred one is tried, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry: Option<String>,
    /// The first deliveries nobody knows the end of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknowns: Vec<Unknown>,
}

/// The status, and how the campaign goes.
#[derive(Debug, Clone, Serialize)]
pub struct Live {
    /// Where everybody stands.
    #[serde(flatten)]
    pub status: Status,
    /// How it goes.
    #[serde(flatten)]
    pub pace: Pace,
}

/// The status and what people did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where everybody stands.
    #[serde(flatten)]
    pub status: Status,
    /// People who unsubscribed by this campaign's links.
    pub unsubscribes: i64,
    /// Of them, those who took it back.
    pub undone: i64,
    /// What they said of why, by its word; most say nothing. Zeros left out.
    pub reasons: BTreeMap<String, i64>,
    /// People who complained.
    pub complaints: i64,
    /// Accepted messages with individual tracking: the base of `opens` and `clicks`.
    pub tracked: i64,
    /// Opens by class.
    pub opens: Opens,
    /// People who clicked.
    pub clicks: i64,
    /// Fetches of the pixel that is the same for everybody, when the campaign counts them: nobody knows
    /// by how many people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_opens: Option<Opens>,
    /// Accepted, by basis.
    pub by_basis: BTreeMap<String, i64>,
    /// By relationship with the sender.
    pub by_relationship: BTreeMap<String, Part>,
    /// By group of mailbox providers.
    pub by_provider_group: BTreeMap<String, Part>,
    /// Per minute since launch.
    pub series: Series,
}

/// People whose message was opened, by what opened it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Opens {
    /// A person, as far as can be told.
    pub human: i64,
    /// A provider's proxy, perhaps for a person.
    pub proxied: i64,
    /// A machine.
    pub machine: i64,
}

/// A part of the asked: the sum of all that follow but the unsubscribed, who are among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Asked.
    pub asked: i64,
    /// Accepted.
    pub accepted: i64,
    /// Bounced.
    pub bounced: i64,
    /// Blocked.
    pub blocked: i64,
    /// Waiting, or in a worker's hands.
    pub queued: i64,
    /// To be tried again.
    pub deferred: i64,
    /// Interrupted.
    pub unknown: i64,
    /// Cancelled.
    pub cancelled: i64,
    /// Unsubscribed.
    pub unsubscribes: i64,
}

/// Counts per minute since launch; the minutes without any are zeros.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Series {
    /// Accepted messages.
    pub accepted: Vec<i64>,
    /// Opens.
    pub opens: Vec<i64>,
    /// Unsubscribes.
    pub unsubscribes: Vec<i64>,
}

const UNKNOWNS_SHOWN: i64 = 100;
/// A week of minutes: what happens later is counted, but not drawn.
const SERIES_MINUTES: i64 = 7 * 24 * 60;

/// How long whoever asks again and again leaves the deliveries alone after a count that took so long: to count a million
/// takes a second or two, and a tenth of the time may go into it. A count that only a slow database made long keeps
/// nobody waiting for more than a minute.
pub fn rest(took: Duration) -> Duration {
    (took * 9).min(Duration::from_secs(60))
}

/// Where the campaign stands, read in one go.
pub async fn status(tx: &mut Tx, campaign: &Campaign) -> store::Result<Status> {
    let tally = deliveries::tally(tx, campaign.id).await?;
    let next = deliveries::next_attempt(tx, campaign.id).await?;
    let unknowns = deliveries::unknown(tx, campaign.id, UNKNOWNS_SHOWN).await?;
    Ok(count(campaign, &tally, next, unknowns))
}

/// Where the campaign stands and how it goes, read in one go.
pub async fn live(app: &App, tx: &mut Tx, campaign: &Campaign, lang: Lang) -> store::Result<Live> {
    let tally = deliveries::tally(tx, campaign.id).await?;
    let next = deliveries::next_attempt(tx, campaign.id).await?;
    let unknowns = deliveries::unknown(tx, campaign.id, UNKNOWNS_SHOWN).await?;
    let pace = pace::of(app, tx, campaign, &tally, lang).await?;
    let mut status = count(campaign, &tally, next, unknowns);
    if status.eta.is_some() {
        let left = status.queued + status.claimed + status.submitting;
        status.eta = Some(pace.eta(left, status.rate_per_minute, app.now()));
    }
    Ok(Live { status, pace })
}

/// The whole report, read in one go.
pub async fn report(tx: &mut Tx, campaign: &Campaign) -> store::Result<Report> {
    let tally = deliveries::tally(tx, campaign.id).await?;
    let next = deliveries::next_attempt(tx, campaign.id).await?;
    let unknowns = deliveries::unknown(tx, campaign.id, UNKNOWNS_SHOWN).await?;
    let happened = events::count(tx, campaign.id).await?;
    let people = |kind: &str, class: Option<&str>| -> i64 {
        happened.iter().filter(|(k, c, _)| k == kind && class.is_none_or(|class| c == class)).map(|(_, _, n)| n).sum()
    };
    let mut by_relationship = parts(&tally, |t| &t.relationship);
    let mut by_provider_group = parts(&tally, |t| &t.provider_group);
    for (relationship, group, n) in events::unsubscribes_by(tx, campaign.id).await? {
        by_relationship.entry(relationship).or_default().unsubscribes += n;
        by_provider_group.entry(group).or_default().unsubscribes += n;
    }
    Ok(Report {
        unsubscribes: people("unsubscribe", None),
        undone: people("undo", None),
        reasons: happened.iter().filter(|(k, ..)| k == "reason").map(|(_, why, n)| (why.clone(), *n)).collect(),
        complaints: people("complaint", None),
        tracked: deliveries::tracked(tx, campaign.id).await?,
        opens: Opens {
            human: people("open", Some("human")),
            proxied: people("open", Some("proxied")),
            machine: people("open", Some("machine")),
        },
        clicks: people("click", Some("human")),
        anonymous_opens: anonymous(tx, campaign.id).await?,
        by_basis: sum_by(tally.iter().filter(|t| t.state == DeliveryState::Accepted), |t| &t.code),
        by_relationship,
        by_provider_group,
        series: series(tx, campaign).await?,
        status: count(campaign, &tally, next, unknowns),
    })
}

async fn anonymous(tx: &mut Tx, campaign: i64) -> store::Result<Option<Opens>> {
    let counted = opens::anonymous(tx, campaign).await?;
    let of = |class: &str| counted.iter().filter(|(c, _)| c == class).map(|(_, n)| n).sum();
    let opens = Opens { human: of("human"), proxied: of("proxied"), machine: of("machine") };
    Ok((!counted.is_empty()).then_some(opens))
}

fn count(campaign: &Campaign, tally: &[Tally], next: Option<i64>, unknowns: Vec<Unknown>) -> Status {
    let rate = CampaignFile::parse(&campaign.source, Some(campaign.format))
        .map_or(CampaignFile::DEFAULT_RATE, |file| file.rate())
        .per_minute();
    let of = |state: DeliveryState| tally.iter().filter(|t| t.state == state).map(|t| t.n).sum::<i64>();
    let left = of(DeliveryState::Queued) + of(DeliveryState::Claimed) + of(DeliveryState::Submitting);
    let running = campaign.state == CampaignState::Running && campaign.enqueued_at.is_some();
    Status {
        campaign: campaign.slug.clone(),
        state: campaign.state,
        asked: tally.iter().map(|t| t.n).sum(),
        queued: of(DeliveryState::Queued),
        claimed: of(DeliveryState::Claimed),
        submitting: of(DeliveryState::Submitting),
        accepted: of(DeliveryState::Accepted),
        deferred: of(DeliveryState::Deferred),
        bounced: of(DeliveryState::Bounced),
        blocked: of(DeliveryState::Blocked),
        unknown: of(DeliveryState::Unknown),
        cancelled: of(DeliveryState::Cancelled),
        by_reason: sum_by(tally.iter().filter(|t| t.state == DeliveryState::Blocked), |t| &t.code),
        scheduled_at: campaign
            .scheduled_at
            .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
            .map(|at| at.to_string()),
        rate_per_minute: rate,
        eta: (running && left > 0).then(|| (left as f64 * 60.0 / rate).ceil() as i64),
        next_retry: next.and_then(|at| jiff::Timestamp::from_millisecond(at).ok()).map(|at| at.to_string()),
        unknowns,
    }
}

fn sum_by<'a>(rows: impl Iterator<Item = &'a Tally>, key: impl Fn(&Tally) -> &String) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(key(row).clone()).or_insert(0) += row.n;
    }
    sums
}

fn parts(tally: &[Tally], key: impl Fn(&Tally) -> &String) -> BTreeMap<String, Part> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for row in tally {
        let part = parts.entry(key(row).clone()).or_default();
        part.asked += row.n;
        match row.state {
            DeliveryState::Accepted => part.accepted += row.n,
            DeliveryState::Bounced => part.bounced += row.n,
            DeliveryState::Blocked => part.blocked += row.n,
            DeliveryState::Deferred => part.deferred += row.n,
            DeliveryState::Unknown => part.unknown += row.n,
            DeliveryState::Cancelled => part.cancelled += row.n,
            DeliveryState::Queued | DeliveryState::Claimed | DeliveryState::Submitting => part.queued += row.n,
        }
    }
    parts
}

async fn series(tx: &mut Tx, campaign: &Campaign) -> store::Result<Series> {
    let Some(start) = campaign.launched_at else { return Ok(Series::default()) };
    let accepted = deliveries::accepted_series(tx, campaign.id, start).await?;
    let happened = events::series(tx, campaign.id, start).await?;
    let of_kind =
        |kind: &str| happened.iter().filter(|(_, k, _)| k == kind).map(|(minute, _, n)| (*minute, *n)).collect();
    let minutes = accepted
        .iter()
        .map(|(m, _)| *m)
        .chain(happened.iter().map(|(m, _, _)| *m))
        .filter(|m| *m < SERIES_MINUTES)
        .max();
    let length = minutes.map_or(0, |m| m as usize + 1);
    Ok(Series {
        accepted: dense(accepted, length),
        opens: dense(of_kind("open"), length),
        unsubscribes: dense(of_kind("unsubscribe"), length),
    })
}

fn dense(sparse: Vec<(i64, i64)>, length: usize) -> Vec<i64> {
    let mut counts = vec![0; length];
    for (minute, n) in sparse {
        if let Some(count) = usize::try_from(minute).ok().and_then(|m| counts.get_mut(m)) {
            *count += n;
        }
    }
    counts
}
