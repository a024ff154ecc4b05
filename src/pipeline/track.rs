//! What is recorded of opens and clicks: what the person allows at the moment of the hit (TRK-4), and
//! what the message was sent with. Nothing is recorded of anybody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{Span, Timestamp, tz::TimeZone};

use crate::{
    app::App,
    domain::{
        address::AddressHash,
        contacts::{ActivityKind, TrackingConsent},
        dates::{Dated, When},
        eligibility::Tracking,
        regimes::{self, Since},
        tracking::{self, Class, MEMORY},
    },
    store::{
        self,
        contacts::{self, Contact},
        events::{self, Event, EventKind},
        facts,
        opens::{self, Leave, Sent},
    },
};

/// A pixel that was fetched or a link that was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The message.
    pub sent: Sent,
    /// Open or click.
    pub kind: EventKind,
    /// What made it, by itself.
    pub class: Class,
    /// When, in milliseconds.
    pub at: i64,
}

/// What one turn of the recorder brings.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Hits of people's own pixels and links.
    pub hits: Vec<Hit>,
    /// Fetches of the pixels that are the same for everybody: campaign, class, how many.
    pub anonymous: Vec<(i64, Class, i64)>,
    /// Clicks recorded before that turn out to be a machine's: message, from when, until when.
    pub scans: Vec<(Sent, i64, i64)>,
}

impl Turn {
    /// Nothing happened.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.anonymous.is_empty() && self.scans.is_empty()
    }
}

/// Records a turn, in one transaction. A hit of somebody who does not allow it (any more), or whose
/// message was sent without it, is served and forgotten.
pub async fn record(app: &App, turn: &Turn) -> store::Result<()> {
    let mut tx = app.db.write().await?;
    let sent: Vec<Sent> = turn.hits.iter().map(|hit| hit.sent).collect::<BTreeSet<_>>().into_iter().collect();
    let (mut happened, mut opened) = (Vec::new(), BTreeMap::new());
    if !sent.is_empty() {
        let leaves = opens::leaves(&mut tx, &sent).await?;
        let people: Vec<AddressHash> =
            sent.iter().map(|s| s.address_hash).collect::<BTreeSet<_>>().into_iter().collect();
        let consents = facts::tracking_of(&mut tx, &people).await?;
        for hit in &turn.hits {
            let leave = leaves.get(&hit.sent);
            let consent = consents.get(&hit.sent.address_hash).copied();
            let allowed = allowed(leave.map(|leave| leave.tracking), consent);
            let class = match hit.kind {
                EventKind::Open => {
                    tracking::class_of_open(hit.class, leave.map(|leave: &Leave| hit.at - leave.accepted_at))
                }
                _ => hit.class,
            };
            if allowed == Tracking::Individual {
                happened.push(Event {
                    campaign_id: hit.sent.campaign_id,
                    kind: hit.kind,
                    class: class.as_str(),
                    address_hash: hit.sent.address_hash,
                    at: hit.at,
                });
            }
            if allowed != Tracking::None && hit.kind == EventKind::Open && class != Class::Machine {
                let day = local_day(app, hit.at);
                opened.entry(day).or_insert_with(BTreeSet::new).insert(hit.sent.address_hash);
            }
        }
    }
    events::add(&mut tx, &happened).await?;
    for (day, people) in opened {
        if let Some(day) = day {
            opens::opened(&mut tx, &people.into_iter().collect::<Vec<_>>(), day).await?;
        }
    }
    opens::count_anonymous(&mut tx, &turn.anonymous).await?;
    for (sent, from, to) in &turn.scans {
        events::mark_machine(&mut tx, sent.campaign_id, sent.address_hash, *from, *to).await?;
    }
    tx.commit().await
}

/// What may be recorded of a hit now: what the message was sent with, as far as the person still
/// allows it. `consent` is none when nothing is known of the person (any more).
fn allowed(sent_with: Option<Tracking>, consent: Option<TrackingConsent>) -> Tracking {
    match (sent_with, consent) {
        (Some(Tracking::Individual), Some(TrackingConsent::Granted)) => Tracking::Individual,
        // Without a consent the message was exempt when it left (TRK-2); a withdrawal ends that too.
        (Some(Tracking::LastOpenDay), Some(TrackingConsent::Granted | TrackingConsent::None)) => Tracking::LastOpenDay,
        _ => Tracking::None,
    }
}

fn local_day(app: &App, millis: i64) -> Option<jiff::civil::Date> {
    Some(Timestamp::from_millisecond(millis).ok()?.to_zoned(app.tz().clone()).date())
}

/// A click is known to be a person's once nothing that follows can say otherwise.
pub const SETTLED_AFTER: i64 = MEMORY;

/// Makes people's clicks since `from` their last contact (RET-3), as far as they are settled; returns
/// until when they are. Opens are none, and neither are clicks of machines.
pub async fn count_contacts(app: &App, from: i64) -> store::Result<i64> {
    let now = app.now().as_millisecond();
    let until = now - SETTLED_AFTER;
    let mut tx = app.db.read().await?;
    let clicks: HashMap<AddressHash, i64> = events::clicks_of_people(&mut tx, from, until).await?.into_iter().collect();
    drop(tx);
    if clicks.is_empty() {
        return Ok(until.max(from));
    }
    let mut tx = app.db.write().await?;
    let people: Vec<AddressHash> = clicks.keys().copied().collect();
    for contact in contacts::by_hashes(&mut tx, &people).await? {
        let Ok(at) = Timestamp::from_millisecond(clicks[&contact.address_hash]) else { continue };
        if becomes_last(&contact, at, app.tz()) {
            contacts::touch(&mut tx, &contact, ActivityKind::Click, &at.to_string(), now).await?;
        }
    }
    tx.commit().await?;
    Ok(until)
}

/// Months after which opens and clicks are forgotten, unless another retention is configured (RET-1).
const MONTHS: u32 = 36;

/// Forgets opens and clicks that are older than the retention; returns how many.
pub async fn forget_old(app: &App) -> store::Result<u64> {
    let months = app.rules.settings.retention_months.unwrap_or(MONTHS).min(1200);
    let today = app.now().to_zoned(app.tz().clone()).date();
    let day = today.saturating_sub(Span::new().months(i64::from(months)));
    let at = When::Date(day).starts_at(app.tz()).as_millisecond();
    let mut tx = app.db.write().await?;
    let forgotten = events::forget_tracks_before(&mut tx, at).await? + opens::forget_before(&mut tx, day).await?;
    tx.commit().await?;
    Ok(forgotten)
}

/// Whether a click says more than what is known of the contact's last activity: what does not count is
/// replaced, an earlier day too; not so an act from which the law of the country counts a time (CA-2).
fn becomes_last(contact: &Contact, at: Timestamp, tz: &TimeZone) -> bool {
    let counting = contact.last_activity.parse::<ActivityKind>().ok().filter(|kind| kind.qualifies());
    let known = match Dated::read(&contact.last_activity_at) {
        Dated::Invalid => return false,
        dated => dated.known(),
    };
    let (Some(kind), Some(known)) = (counting, known) else { return true };
    !law_counts_from(contact, kind) && known.local_date(tz) < at.to_zoned(tz.clone()).date()
}

/// Whether the law of the contact's country counts a time from an activity of this kind (CA-2).
pub(super) fn law_counts_from(contact: &Contact, kind: ActivityKind) -> bool {
    let counts_time = |since: Since| since.as_str() == kind.as_str();
    regimes::find(&contact.regime)
        .is_some_and(|regime| regime.permissions.iter().any(|p| p.since.iter().any(|since| counts_time(*since))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_recorded_that_the_person_does_not_allow_now() {
        use TrackingConsent::{Granted, None as Silent, Withdrawn};
        let individual = Some(Tracking::Individual);
        assert_eq!(allowed(individual, Some(Granted)), Tracking::Individual);
        for consent in [Some(Silent), Some(Withdrawn), None] {
            assert_eq!(allowed(individual, consent), Tracking::None, "{consent:?}");
        }
        let day = Some(Tracking::LastOpenDay);
        assert_eq!(allowed(day, Some(Granted)), Tracking::LastOpenDay);
        assert_eq!(allowed(day, Some(Silent)), Tracking::LastOpenDay);
        assert_eq!(allowed(day, Some(Withdrawn)), Tracking::None);
        assert_eq!(allowed(day, None), Tracking::None, "erased since");
        for consent in [Some(Silent), Some(Withdrawn), Some(Granted), None] {
            assert_eq!(allowed(Some(Tracking::None), consent), Tracking::None);
            assert_eq!(allowed(None, consent), Tracking::None, "a message that never left");
        }
    }
}
