//! One look at a campaign's queue: which lanes may go, and what they yield.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::tz::TimeZone;
use tokio::time::Instant;

use super::{IDLE, Task};
use crate::{
    domain::campaigns::CampaignState,
    pipeline::deliver::{
        Claim,
        claim::{self, Lane, Unjudged},
        permits,
    },
    store::{self, campaigns, deliveries, lanes},
};

/// So long before its turn a message is expected at the gate: it takes as long to connect.
const CONNECTING: Duration = Duration::from_millis(5);

/// What a task remembers of its queue between two looks.
#[derive(Default)]
pub struct Look {
    /// Of each lane, the contact behind which to look.
    past: HashMap<lanes::Lane, i64>,
    /// Scopes that had nothing left, and until when they are left alone.
    resting: HashMap<permits::Scope, Instant>,
    /// Where the next claim begins among the lanes: each is first in its turn.
    first: usize,
    /// Taken from the queue and not yet judged: the database failed in between.
    pub taken: Vec<Unjudged>,
}

/// What a look leads to.
pub enum Turn {
    /// Something to send; another look is worth it after the pause.
    Claims(Vec<Box<Claim>>, Duration),
    /// Nothing for now.
    Nothing(Duration),
    /// The campaign is finished, paused or cancelled.
    Over,
}

impl Look {
    /// One look, and itself back.
    pub async fn turn(mut self, task: Arc<Task>, limit: i64) -> (Look, Turn) {
        let turn = match self.look(&task, limit).await {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(campaign = task.campaign.file.slug, %error, "sending waits for the database");
                Turn::Nothing(IDLE)
            }
        };
        (self, turn)
    }

    /// Claims what may go; when there is nothing, finishes the campaign if nothing is left at all.
    /// Writes only when there is something to write.
    async fn look(&mut self, task: &Arc<Task>, limit: i64) -> store::Result<Turn> {
        if !self.taken.is_empty() {
            return Ok(Turn::Claims(self.judge(task).await?, Duration::ZERO));
        }
        let id = task.campaign.id;
        let now = task.app.now();
        let mut tx = task.app.db.read().await?;
        let Some((CampaignState::Running, enqueued_at)) = campaigns::standing(&mut tx, id).await? else {
            return Ok(Turn::Over);
        };
        let own = permits::of_campaign(id);
        if let Some(rest) = self.rest(&own).max(self.rest(permits::SERVER)) {
            return Ok(Turn::Nothing(rest.min(IDLE)));
        }
        let all = lanes::of_campaign(&mut tx, id).await?;
        let waiting = lanes::waiting(&mut tx, id, &self.bounds(&all)).await?;
        let due =
            |lane: &lanes::Waiting| lane.queued || lane.next_attempt_at.is_some_and(|at| at <= now.as_millisecond());
        let (busy, quiet): (Vec<_>, Vec<_>) = waiting.into_iter().partition(due);
        for lane in quiet {
            // Released deliveries may lie behind the bound.
            self.past.remove(&lanes::Lane { provider_group: lane.provider_group, zone: lane.zone });
        }
        if busy.is_empty() {
            let open = enqueued_at.is_none() || deliveries::is_open(&mut tx, id).await?;
            drop(tx);
            return if open { Ok(Turn::Nothing(IDLE)) } else { finish(task).await };
        }
        drop(tx);
        let mut parts = HashMap::new();
        let lanes = self.open(task, busy, &mut parts);
        if lanes.is_empty() || !is_turn(task, permits::SERVER, &mut parts) {
            return Ok(Turn::Nothing(IDLE));
        }
        let claimed = claim::claim(&task.app, &task.campaign, task.worker, &lanes, &parts, limit).await;
        let claimed = claimed.inspect_err(|error| {
            task.in_doubt.fetch_or(store::may_have_committed(error), Ordering::Relaxed);
        })?;
        self.taken = claimed.taken;
        let soon = std::time::Instant::now() + CONNECTING;
        task.gate.expect(self.taken.iter().filter(|taken| taken.turn.at <= soon).count());
        for (lane, last) in lanes.iter().zip(&claimed.last) {
            if let Some(last) = last {
                self.past.insert(key(lane), *last);
            }
        }
        let at = Instant::now();
        self.resting.retain(|_, until| *until > at);
        for taken in claimed.scopes {
            task.shares.took(&taken.scope, id, taken.n, taken.more);
            if !taken.rest.is_zero() {
                self.resting.insert(taken.scope, at + taken.rest);
            }
        }
        // Nothing of this campaign goes out before these two have something again; a group stands for itself.
        let rest = self.rest(&own).max(self.rest(permits::SERVER)).unwrap_or_default().min(IDLE);
        Ok(match self.taken.is_empty() {
            true => Turn::Nothing(if rest.is_zero() { IDLE } else { rest }),
            false => Turn::Claims(self.judge(task).await?, rest),
        })
    }

    async fn judge(&mut self, task: &Task) -> store::Result<Vec<Box<Claim>>> {
        claim::judge(&task.app, &task.campaign, task.worker, &mut self.taken).await
    }

    /// How long a scope is still left alone.
    fn rest(&self, scope: &str) -> Option<Duration> {
        let until = self.resting.get(scope)?;
        Some(until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    fn bounds<'a>(&self, lanes: &'a [lanes::Lane]) -> Vec<lanes::Bound<'a>> {
        let bound = |lane: &'a lanes::Lane| lanes::Bound {
            provider_group: &lane.provider_group,
            zone: &lane.zone,
            past: self.past.get(lane).copied().unwrap_or(0),
        };
        lanes.iter().map(bound).collect()
    }

    /// Those of the lanes that may go now, each first in its turn.
    fn open(&mut self, task: &Task, busy: Vec<lanes::Waiting>, parts: &mut HashMap<permits::Scope, f64>) -> Vec<Lane> {
        let (now, at) = (task.app.now(), Instant::now());
        let windows = task.campaign.windows(&task.app);
        let awake = |zone: &str| {
            let tz = if zone.is_empty() { None } else { TimeZone::get(zone).ok() };
            windows.iter().all(|window| window.open(now, tz.as_ref().unwrap_or(task.app.tz())))
        };
        let mut open: Vec<Lane> = busy
            .into_iter()
            .filter(|lane| {
                let scope = permits::of_group(&lane.provider_group);
                self.resting.get(&scope).is_none_or(|until| *until <= at) && awake(&lane.zone)
            })
            .map(|lane| {
                let key = lanes::Lane { provider_group: lane.provider_group, zone: lane.zone };
                let past = self.past.get(&key).copied().unwrap_or(0);
                let has_due = lane.next_attempt_at.is_some_and(|at| at <= now.as_millisecond());
                Lane { group: task.traffic.group(&key.provider_group), zone: key.zone, past, has_due }
            })
            .filter(|lane| lane.group.room(now.as_millisecond()) > 0)
            .filter(|lane| is_turn(task, &permits::of_group(lane.group.name()), parts))
            .collect();
        if !open.is_empty() {
            self.first = (self.first + 1) % open.len();
            open.rotate_left(self.first);
        }
        open
    }
}

/// Whether it is the campaign's turn in a scope, and its part of it. What is not limited is nobody's to share.
fn is_turn(task: &Task, scope: &str, parts: &mut HashMap<permits::Scope, f64>) -> bool {
    let limits = &task.app.config.limits;
    let limited = match scope.strip_prefix("group ") {
        Some(name) => {
            limits.group(name).is_some_and(|l| l.is_counted()) || task.traffic.group(name).standing().is_some()
        }
        None => limits.server.is_counted(),
    };
    if !limited {
        return true;
    }
    if parts.contains_key(scope) {
        return true;
    }
    let weight = task.campaign.file.priority().weight();
    let part = task.shares.part(scope, task.campaign.id, weight, std::time::Instant::now());
    parts.extend(part.map(|part| (scope.to_owned(), part)));
    part.is_some()
}

fn key(lane: &Lane) -> lanes::Lane {
    lanes::Lane { provider_group: lane.group.name().to_owned(), zone: lane.zone.clone() }
}

async fn finish(task: &Task) -> store::Result<Turn> {
    let mut tx = task.app.db.write().await?;
    let finished = campaigns::finish(&mut tx, task.campaign.id, task.app.now().as_millisecond()).await?;
    tx.commit().await?;
    Ok(if finished { Turn::Over } else { Turn::Nothing(IDLE) })
}
