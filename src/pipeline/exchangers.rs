//! Whose mailboxes a domain has: its mail exchangers are asked for, only to group recipients (rules 5.3).
//!
//! All mail goes to the configured relay. What is not known in time belongs to `other`: nothing waits
//! for DNS, and nothing fails with it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use crate::{
    app::App,
    domain::providers,
    mail::dns::{DnsError, Resolver},
    store::{self, domains},
};

/// How long a page of recipients waits for DNS, at most; what comes later serves the next page.
const PATIENCE: Duration = Duration::from_millis(700);
/// Questions at a time.
const AT_ONCE: usize = 64;
/// After a page without any answer nobody is asked for so long.
const AWAY: Duration = Duration::from_secs(60);
/// What was learnt is asked for again after so many days.
const FRESH_DAYS: i64 = 14;

/// Asks for mail exchangers, and remembers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exchangers {
    resolver: Option<Resolver>,
    asking: Arc<Semaphore>,
    away_until: Arc<Mutex<Option<Instant>>>,
}

impl Exchangers {
    /// Asks `resolver`; none: nobody, and only tables tell.
    pub fn new(resolver: Option<Resolver>) -> Exchangers {
        Exchangers { resolver, asking: Arc::new(Semaphore::new(AT_ONCE)), away_until: Arc::default() }
    }

    /// Asks the configured DNS servers.
    pub fn of(app: &App) -> Exchangers {
        let resolver = Resolver::new(app.config.dns);
        Exchangers::new(resolver.inspect_err(|error| tracing::warn!(%error, "no DNS: tables alone tell groups")).ok())
    }

    /// The groups of these domains, as far as they are known or can be learnt in time; the tables name
    /// the others.
    pub async fn groups(&self, app: &App, recipients: &[&str]) -> store::Result<HashMap<String, &'static str>> {
        let unnamed = |domain: &&str| providers::known_group_of_domain(domain).is_none();
        let distinct: BTreeSet<&str> = recipients.iter().copied().filter(unnamed).collect();
        // Names that the public DNS cannot have are asked of a server that somebody chose: it may know a private network.
        let may_be_known = |domain: &&str| app.config.dns.is_some() || providers::is_public_domain(domain);
        let wanted: Vec<&str> = distinct.into_iter().filter(may_be_known).collect();
        if wanted.is_empty() || self.resolver.is_none() {
            return Ok(HashMap::new());
        }
        let stale = app.now().as_millisecond() - FRESH_DAYS * 86_400_000;
        let mut tx = app.db.read().await?;
        let known = domains::groups(&mut tx, &wanted, stale).await?;
        drop(tx);
        let named = |name: &str| providers::names().iter().copied().find(|group| *group == name);
        let mut groups: HashMap<String, &'static str> =
            known.into_iter().filter_map(|(domain, group)| Some((domain, named(&group)?))).collect();
        let unknown: Vec<String> =
            wanted.iter().filter(|domain| !groups.contains_key(**domain)).map(|domain| (*domain).to_owned()).collect();
        if !unknown.is_empty() && !self.is_away() {
            groups.extend(self.learn(app, unknown).await);
        }
        Ok(groups)
    }

    /// Asks for all of these at once, waits a little, and keeps what was learnt. What is answered later
    /// is kept too.
    async fn learn(&self, app: &App, unknown: Vec<String>) -> Vec<(String, &'static str)> {
        let Some(resolver) = self.resolver.clone() else { return Vec::new() };
        let mut asking = JoinSet::new();
        for domain in unknown {
            let (resolver, turn) = (resolver.clone(), Arc::clone(&self.asking));
            asking.spawn(async move {
                let _turn = turn.acquire_owned().await;
                let answer = resolver.mx(&domain).await;
                (domain, answer)
            });
        }
        let mut learnt = Vec::new();
        let (mut answered, mut failed) = (0, 0);
        let collecting = async {
            while let Some(next) = asking.join_next().await {
                let Ok((domain, answer)) = next else { continue };
                match group(answer) {
                    Some(group) => {
                        learnt.push((domain, group));
                        answered += 1;
                    }
                    None => failed += 1,
                }
            }
        };
        let in_time = timeout(PATIENCE, collecting).await.is_ok();
        if answered == 0 && (failed > 0 || !in_time) {
            tracing::warn!("DNS does not answer; for a while tables alone tell provider groups");
            *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY);
        } else if !in_time {
            let app = app.clone();
            tokio::spawn(async move {
                let mut late = Vec::new();
                while let Some(next) = asking.join_next().await {
                    let Ok((domain, answer)) = next else { continue };
                    late.extend(group(answer).map(|group| (domain, group)));
                }
                keep(&app, &late).await;
            });
        }
        keep(app, &learnt).await;
        learnt
    }

    fn is_away(&self) -> bool {
        let away = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|until| until > Instant::now())
    }
}

/// The group that an answer tells; none: nothing was answered.
fn group(answer: Result<Vec<crate::mail::dns::Mx>, DnsError>) -> Option<&'static str> {
    match answer {
        Ok(exchangers) => {
            // Those that are tried first have the mailboxes; who stands in for them when they are away has not.
            let first = exchangers.iter().take_while(|mx| mx.preference == exchangers[0].preference);
            let named = first.map(|mx| providers::group_of_mx(&mx.host)).find(|group| *group != providers::OTHER);
            Some(named.unwrap_or(providers::OTHER))
        }
        Err(DnsError::NoSuchName | DnsError::Name(_)) => Some(providers::OTHER),
        Err(DnsError::Failed(_)) => None,
    }
}

async fn keep(app: &App, learnt: &[(String, &'static str)]) {
    let kept = async {
        let mut tx = app.db.write().await?;
        domains::learn(&mut tx, learnt, app.now().as_millisecond()).await?;
        tx.commit().await
    };
    if let Err(error) = kept.await {
        tracing::warn!(%error, "what DNS told is not kept");
    }
}
