//! What the shared limits permit one claim: taken and written in the claim's own transaction, so that
//! any number of processes keep one pace and one set of caps together.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    app::App,
    domain::limits::{Bucket, Cap, Limits},
    store::{
        self, Tx,
        buckets::{self, Spent},
    },
};

/// A scope's name among the others of a claim.
pub type Scope = String;

/// The scope of everything that goes to the mail server.
pub const SERVER: &str = "server";
/// How long a scope whose cap is reached is left alone.
const CAPPED: Duration = Duration::from_secs(1);

/// The scope of a campaign.
pub fn of_campaign(id: i64) -> Scope {
    format!("campaign {id}")
}

/// The scope of a provider group.
pub fn of_group(name: &str) -> Scope {
    format!("group {name}")
}

/// What may be let go now, scope by scope. A scope that is not here is not limited.
#[derive(Debug)]
pub struct Permits {
    now: i64,
    scopes: BTreeMap<Scope, Held>,
}

#[derive(Debug)]
struct Held {
    bucket: Option<Bucket>,
    caps: Vec<(Cap, i64)>,
    /// As much as the campaign's part of it is.
    most: i64,
    taken: i64,
}

/// What a claim took of a scope.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Which scope.
    pub scope: Scope,
    /// How many messages.
    pub n: i64,
    /// It could not have taken more.
    pub more: bool,
    /// How long it is not worth asking again.
    pub rest: Duration,
}

/// The two clocks of a claim: the machine's own for the pace, and the installation's for the calendar.
#[derive(Debug, Clone)]
pub struct Clocks {
    /// Nanoseconds of the machine's clock.
    pub nanos: i64,
    /// The present instant.
    pub now: Timestamp,
    /// The controller's time zone.
    pub tz: TimeZone,
}

impl Permits {
    /// Reads what is left in each of these scopes, and keeps others from it until the transaction ends.
    /// `parts` are the campaign's shares of scopes that others want too.
    pub async fn hold(
        tx: &mut Tx,
        limits: &BTreeMap<Scope, Limits>,
        parts: &HashMap<Scope, f64>,
        clocks: &Clocks,
    ) -> store::Result<Permits> {
        let names: Vec<&str> = limits.iter().filter(|(_, l)| l.is_counted()).map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            return Ok(Permits { now: clocks.nanos, scopes: BTreeMap::new() });
        }
        let instants = buckets::hold(tx, &names).await?;
        let capped = |l: &Limits| l.hourly.is_some() || l.daily.is_some() || l.warm_up.is_some();
        let spent = match limits.values().any(capped) {
            true => buckets::spent(tx, &names, clocks.now.as_millisecond()).await?,
            false => Default::default(),
        };
        let held = names.into_iter().map(|name| {
            let limits = &limits[name];
            let stored = instants.get(name).copied().unwrap_or(0);
            let caps = limits.caps(clocks.now, &clocks.tz).into_iter().map(|cap| {
                let gone = spent.get(&(name.to_owned(), cap.period.clone())).copied().unwrap_or(0);
                let left = (cap.most - gone).max(0);
                (cap, left)
            });
            let bucket = limits.rate.map(|rate| Bucket::at(stored, rate, clocks.nanos));
            let mut held = Held { bucket, caps: caps.collect(), most: i64::MAX, taken: 0 };
            if let Some(part) = parts.get(name).filter(|part| **part < 1.0) {
                held.most = (held.room(clocks.nanos) as f64 * part).ceil() as i64;
            }
            (name.to_owned(), held)
        });
        Ok(Permits { now: clocks.nanos, scopes: held.collect() })
    }

    /// How many messages this scope lets go now.
    pub fn room(&self, scope: &str) -> i64 {
        self.scopes.get(scope).map_or(i64::MAX, |held| held.room(self.now))
    }

    /// Lets one message go that belongs to all of these scopes, and says how long it must wait for its
    /// turn. There must be room in each.
    pub fn take(&mut self, scopes: &[&str]) -> Duration {
        let mut at = self.now;
        for scope in scopes {
            if let Some(held) = self.scopes.get_mut(*scope) {
                held.taken += 1;
                at = at.max(held.bucket.as_mut().map_or(at, Bucket::take));
            }
        }
        Duration::from_nanos(u64::try_from(at - self.now).unwrap_or(0))
    }

    /// Writes what was taken, and says of each scope what was, and how long it is not worth asking again.
    pub async fn write(self, tx: &mut Tx) -> store::Result<Vec<Taken>> {
        let mut spent = Vec::new();
        for (scope, held) in self.scopes.iter().filter(|(_, held)| held.taken > 0) {
            if let Some(bucket) = held.bucket {
                buckets::set(tx, scope, bucket.next_at).await?;
            }
            spent.extend(held.caps.iter().map(|(cap, _)| Spent {
                scope: scope.clone(),
                period: cap.period.clone(),
                n: held.taken,
                ends_at: cap.ends_at,
            }));
        }
        buckets::spend(tx, &spent).await?;
        let now = self.now;
        let taken = self.scopes.into_iter().map(|(scope, held)| {
            let more = held.room(now) == 0;
            Taken { n: held.taken, more, rest: held.rest(now), scope }
        });
        Ok(taken.collect())
    }
}

/// Gives back what was counted for messages that were claimed and did not leave: the group of each, and
/// when it was claimed.
pub async fn refund(tx: &mut Tx, app: &App, unused: &[(&str, Timestamp)]) -> store::Result<()> {
    let limits = &app.config.limits;
    let mut back: BTreeMap<(Scope, String), Spent> = BTreeMap::new();
    for (group, at) in unused {
        let own = limits.group(group).map(|limits| (of_group(group), limits));
        for (scope, limits) in own.into_iter().chain([(SERVER.to_owned(), &limits.server)]) {
            for cap in limits.caps(*at, app.tz()) {
                let row = Spent { scope: scope.clone(), period: cap.period.clone(), n: 0, ends_at: cap.ends_at };
                back.entry((scope.clone(), cap.period)).or_insert(row).n -= 1;
            }
        }
    }
    buckets::spend(tx, &back.into_values().collect::<Vec<_>>()).await
}

impl Held {
    fn capped(&self) -> i64 {
        self.caps.iter().map(|(_, left)| left - self.taken).min().unwrap_or(i64::MAX)
    }

    fn room(&self, now: i64) -> i64 {
        let part = self.most - self.taken;
        self.bucket.map_or(i64::MAX, |bucket| bucket.room(now)).min(self.capped()).min(part).max(0)
    }

    fn rest(&self, now: i64) -> Duration {
        match self.capped() {
            0 => CAPPED,
            _ => self.bucket.map_or(Duration::ZERO, |bucket| bucket.rest(now)),
        }
    }
}
