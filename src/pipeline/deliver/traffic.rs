//! The traffic of a worker with each provider group: what it has in hand, what it heard lately, and
//! what it may do. In memory; what must outlive the worker or hold for all of them is in the database.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    config::LimitSettings,
    domain::{
        pushback::{self, Pushback, Seen, Standing},
        replies::{Reply, ReplyClass},
    },
};

/// Every group that a worker has met. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Mutex<Met>>);

#[derive(Debug, Default)]
struct Met {
    groups: HashMap<String, Arc<Group>>,
    /// What was learned last: a group that is met later has its limits from its first message on.
    configured: Option<(LimitSettings, Part)>,
}

/// One provider group, as one worker sees it.
pub struct Group {
    name: String,
    /// Claimed and not ended: campaign and contact.
    in_hand: Mutex<HashSet<(i64, i64)>>,
    /// Through the gate and not recorded.
    on_wire: AtomicUsize,
    state: Mutex<State>,
}

/// A delivery's place among what a worker has in hand of its group; given back when dropped. While it lasts, there is
/// no second one of the same delivery.
#[derive(Debug)]
pub struct Place {
    group: Arc<Group>,
    delivery: (i64, i64),
}

#[derive(Default)]
struct State {
    standing: Option<Standing>,
    /// Messages on the wire at a time; none: as many as there are connections.
    connections: Option<usize>,
    recent: Recent,
    /// How many workers share it; 0: not known yet.
    workers: usize,
    /// When this worker heard what suspended it: it may not be on disk yet.
    heard: Option<Instant>,
}

/// A worker's part in what all of them may do together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its place among them, from 0.
    pub rank: usize,
    /// How many they are, itself included.
    pub of: usize,
}

impl Traffic {
    /// The group of this name.
    pub fn group(&self, name: &str) -> Arc<Group> {
        let mut met = lock(&self.0);
        if let Some(group) = met.groups.get(name) {
            return Arc::clone(group);
        }
        let group = Arc::new(Group::new(name));
        if let Some((limits, part)) = &met.configured {
            group.learn(None, limits, *part);
        }
        met.groups.insert(name.to_owned(), Arc::clone(&group));
        group
    }

    /// Takes over what the database says of the groups, and how many share the limits.
    pub fn learn(&self, standings: Vec<(String, Standing)>, limits: &LimitSettings, part: Part) {
        let mut standings: HashMap<String, Standing> = standings.into_iter().collect();
        let groups: Vec<Arc<Group>> = {
            let mut met = lock(&self.0);
            met.configured = Some((limits.clone(), part));
            met.groups.values().cloned().collect()
        };
        for group in groups {
            let standing = standings.remove(&group.name);
            group.learn(standing, limits, part);
        }
        for (name, standing) in standings {
            self.group(&name).learn(Some(standing), limits, part);
        }
    }
}

impl Part {
    /// This worker's share of `whole` connections: the shares of all sum to the whole.
    fn share(self, whole: usize) -> usize {
        let of = self.of.max(1);
        whole / of + usize::from(self.rank < whole % of)
    }
}

impl Group {
    fn new(name: &str) -> Group {
        Group {
            name: name.to_owned(),
            in_hand: Mutex::default(),
            on_wire: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a place in it for a delivery; none: it is in hand already.
    pub fn place(self: &Arc<Group>, campaign: i64, contact: i64) -> Option<Place> {
        let delivery = (campaign, contact);
        lock(&self.in_hand).insert(delivery).then(|| Place { group: Arc::clone(self), delivery })
    }

    fn learn(&self, standing: Option<Standing>, limits: &LimitSettings, part: Part) {
        let configured = limits.group(&self.name).and_then(|limits| limits.connections);
        let recovering = standing.as_ref().map(|standing| standing.connections());
        let connections = configured.into_iter().chain(recovering).min().map(|n| part.share(n as usize));
        let mut state = lock(&self.state);
        state.workers = part.of;
        let until = |standing: &Option<Standing>| standing.as_ref().map(|standing| standing.suspended_until);
        if until(&standing) < until(&state.standing) && state.heard.is_some_and(|at| at.elapsed() < SETTLES) {
            return;
        }
        (state.standing, state.connections) = (standing, connections);
    }

    /// How it stands; none: it is well.
    pub fn standing(&self) -> Option<Standing> {
        lock(&self.state).standing.clone()
    }

    /// Whether nothing may be sent to it.
    pub fn is_suspended(&self, now: i64) -> bool {
        lock(&self.state).standing.as_ref().is_some_and(|standing| standing.is_suspended(now))
    }

    /// How many more may be claimed of it. What waits behind few connections stays in the queue, where
    /// it stands in nobody's way.
    pub fn room(&self, now: i64) -> i64 {
        let state = lock(&self.state);
        if state.standing.as_ref().is_some_and(|standing| standing.is_suspended(now)) {
            return 0;
        }
        match state.connections {
            None => i64::MAX,
            Some(n) => (2 * n).saturating_sub(lock(&self.in_hand).len()) as i64,
        }
    }

    /// Whether one more may go on the wire.
    pub fn has_connection(&self) -> bool {
        let connections = lock(&self.state).connections;
        connections.is_none_or(|n| self.on_wire.load(Ordering::Relaxed) < n)
    }

    /// One goes on the wire.
    pub fn goes(&self) {
        self.on_wire.fetch_add(1, Ordering::Relaxed);
    }

    /// One is off the wire.
    pub fn came(&self) {
        self.on_wire.fetch_sub(1, Ordering::Relaxed);
    }

    /// Hears a server's answer, and says whether it suspends the group: what was seen of it then. What
    /// this worker heard holds for it at once.
    pub fn hear(&self, reply: &Reply, class: Option<ReplyClass>, now: i64, at: Instant) -> Option<(Pushback, Seen)> {
        let push = class.and_then(|class| pushback::pushback(reply, class));
        let mut state = lock(&self.state);
        let seen = state.recent.hear(reply.is_positive(), push.is_some(), at);
        let (push, class) = (push?, class?);
        if !pushback::suspends(&self.name, seen.answers, seen.pushbacks) {
            return None;
        }
        // What it took from all of them: each has its part of what there is.
        let per_hour = seen.per_hour.saturating_mul(state.workers.max(1) as i64);
        let seen = Seen { per_hour, accepted: 0, now };
        let standing = Standing::after(state.standing.as_ref(), push, reply, class, seen);
        state.connections = Some(state.connections.map_or(1, |n| n.min(1)));
        (state.standing, state.heard) = (Some(standing), Some(at));
        Some((push, seen))
    }
}

impl Place {
    /// The group that it is in.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.group.in_hand).remove(&self.delivery);
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({})", self.name)
    }
}

/// What was heard in the last minute, ten seconds a part.
#[derive(Default)]
struct Recent(VecDeque<(Instant, Heard)>);

#[derive(Default, Clone, Copy)]
struct Heard {
    accepted: usize,
    answers: usize,
    pushbacks: usize,
    per_hour: i64,
}

/// What a worker heard is on disk after this.
const SETTLES: Duration = Duration::from_secs(2);
const RECENT: Duration = Duration::from_secs(60);
const PART: Duration = Duration::from_secs(10);

impl Recent {
    /// Counts an answer, and sums up the last minute.
    fn hear(&mut self, accepted: bool, pushback: bool, at: Instant) -> Heard {
        while self.0.front().is_some_and(|(begin, _)| at.duration_since(*begin) > RECENT) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|(begin, _)| at.duration_since(*begin) >= PART) {
            self.0.push_back((at, Heard::default()));
        }
        if let Some((_, part)) = self.0.back_mut() {
            part.accepted += usize::from(accepted);
            part.answers += 1;
            part.pushbacks += usize::from(pushback);
        }
        if !pushback {
            return Heard::default();
        }
        let mut sum = Heard::default();
        for (_, part) in &self.0 {
            sum.accepted += part.accepted;
            sum.answers += part.answers;
            sum.pushbacks += part.pushbacks;
        }
        let since = self.0.front().map_or(PART, |(begin, _)| at.duration_since(*begin)).max(Duration::from_secs(1));
        sum.per_hour = (sum.accepted as f64 * 3600.0 / since.as_secs_f64()) as i64;
        sum
    }
}

/// What panicked elsewhere left these numbers as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limits::Limits;

    const NOW: i64 = 1_795_000_000_000;

    #[test]
    fn the_shares_of_all_workers_sum_to_the_whole() {
        for (whole, of) in [(5, 2), (1, 4), (10, 3), (4, 4), (0, 3)] {
            let shares: usize = (0..of).map(|rank| Part { rank, of }.share(whole)).sum();
            assert_eq!(shares, whole, "{whole} among {of}");
        }
    }

    /// The same limits for every group.
    fn of_all(each: Limits) -> LimitSettings {
        let groups = [("default".to_owned(), each)].into();
        LimitSettings { server: Limits::default(), groups, recovery: Duration::from_secs(60) }
    }

    #[test]
    fn a_place_is_given_back_and_few_connections_claim_little() {
        let traffic = Traffic::default();
        let group = traffic.group("google");
        assert_eq!(group.room(NOW), i64::MAX);
        group.learn(None, &of_all(Limits { connections: Some(3), ..Limits::default() }), Part { rank: 0, of: 1 });
        let places: Vec<Place> = (0..4).map(|contact| group.place(1, contact).unwrap()).collect();
        assert!(group.place(1, 2).is_none(), "nobody is in hand twice");
        assert_eq!(group.room(NOW), 2);
        (0..3).for_each(|_| group.goes());
        assert!(!group.has_connection());
        group.came();
        assert!(group.has_connection());
        drop(places);
        assert_eq!(traffic.group("google").room(NOW), 6);
    }

    #[test]
    fn a_group_that_nobody_was_sent_to_has_its_limit_already() {
        let two = Limits { connections: Some(2), ..Limits::default() };
        let traffic = Traffic::default();
        traffic.learn(vec![], &of_all(two), Part { rank: 0, of: 1 });
        let google = traffic.group("google");
        (0..2).for_each(|_| google.goes());
        assert!(!google.has_connection());
    }

    /// What the database said before it knew of it does not undo what a worker heard, and what it heard is its part.
    #[test]
    fn a_worker_speaks_for_all_and_is_not_talked_out_of_it() {
        let (traffic, at) = (Traffic::default(), Instant::now());
        let yahoo = traffic.group("yahoo");
        let (limits, part) = (of_all(Limits::default()), Part { rank: 1, of: 4 });
        traffic.learn(vec![], &limits, part);
        (0..60).for_each(|_| assert!(yahoo.hear(&Reply::new(250, "ok"), None, NOW, at).is_none()));
        let reply = Reply::new(421, "4.7.0 [TSS04] deferred due to unexpected volume");
        let (_, seen) = yahoo.hear(&reply, Some(ReplyClass::Throttle), NOW, at + Duration::from_secs(60)).unwrap();
        assert_eq!(seen.per_hour, 4 * 3600);
        let recovering = Standing { suspended_until: NOW - 1, ..yahoo.standing().unwrap() };
        traffic.learn(vec![("yahoo".to_owned(), recovering.clone())], &limits, part);
        assert!(yahoo.is_suspended(NOW));
        lock(&yahoo.state).heard = at.checked_sub(SETTLES);
        traffic.learn(vec![("yahoo".to_owned(), recovering)], &limits, part);
        assert!(!yahoo.is_suspended(NOW), "by then the database knows better");
    }

    #[test]
    fn what_is_heard_holds_at_once_and_one_server_of_many_suspends_nobody() {
        let traffic = Traffic::default();
        let (yahoo, other) = (traffic.group("yahoo"), traffic.group("other"));
        let reply = Reply::new(421, "4.7.0 [TSS04] deferred due to unexpected volume");
        let at = Instant::now();
        let ok = Reply::new(250, "ok");
        assert!(yahoo.hear(&ok, None, NOW, at).is_none());
        assert!(yahoo.hear(&reply, Some(ReplyClass::Throttle), NOW, at).is_some());
        assert!(yahoo.is_suspended(NOW) && yahoo.room(NOW) == 0 && !yahoo.is_suspended(NOW + 3 * 3_600_000));
        let hear =
            |n: usize| (0..n).filter(|_| other.hear(&reply, Some(ReplyClass::Throttle), NOW, at).is_some()).count();
        assert_eq!((hear(9), hear(1)), (0, 1));
        // A minute later the old ones are forgotten.
        let fresh = traffic.group("fresh-other");
        assert!(fresh.hear(&ok, None, NOW, at).is_none());
        let (_, seen) = fresh.hear(&reply, Some(ReplyClass::Throttle), NOW, at + Duration::from_secs(90)).unwrap();
        assert_eq!(seen.per_hour, 0);
    }
}
