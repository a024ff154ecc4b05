//! A campaign over many providers, and a mail server that answers for each of them in its own way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ouinon::{
    domain::{
        campaigns::DeliveryState,
        contacts::{ContactKind, LegalForm, Relationship},
    },
    mail::catcher::{Action, Catcher, Event, Script, Settings, What},
    pipeline::campaigns,
    store::{contacts, deliveries, products},
};

use crate::{store::contact, world::World};

/// A domain of each of ten provider groups.
pub const TOWN: [(&str, &str); 10] = [
    ("google", "gmail.com"),
    ("outlook", "hotmail.com"),
    ("yahoo", "yahoo.fr"),
    ("apple", "icloud.com"),
    ("orange", "orange.fr"),
    ("free", "free.fr"),
    ("sfr", "sfr.fr"),
    ("laposte", "laposte.net"),
    ("gmx", "gmx.de"),
    ("other", "societe.example"),
];

/// A campaign file, as fast as it goes unless `keys` say otherwise.
pub fn file(slug: &str, keys: &str) -> String {
    let rate = if keys.contains("rate =") { "" } else { "rate = \"100000/s\"\n" };
    format!(
        "+++\nslug = \"{slug}\"\nproduct = \"crm\"\nprofession_related = true\nsubject = \"Votre CRM\"\n\
         from = \"Exemple <actu@news.example>\"\n{rate}{keys}\n+++\nBonjour {{{{ contact.email }}}} !\n"
    )
}

/// Makes the installation ready to send, with its product.
pub async fn ready(world: &mut World) {
    let mut config = (*world.app.config).clone();
    config.public.url = Some("https://mail.example.org".into());
    config.smtp.connections = 8;
    world.app.config = Arc::new(config);
    world.tx(async |tx| products::add(tx, "crm", "CRM", true, 1).await).await;
}

/// `n` people in each of these domains: `p0@domain`, `p1@domain` …
pub async fn people(world: &World, n: usize, domains: impl IntoIterator<Item = &str>) {
    for domain in domains {
        let some: Vec<_> = (0..n).map(|i| person(world, &format!("p{i}@{domain}"))).collect();
        world.tx(async |tx| contacts::save(tx, &some).await).await;
    }
}

/// Somebody at a company who may be written to.
pub fn person(world: &World, address: &str) -> contacts::Contact {
    contacts::Contact {
        kind: ContactKind::Business,
        legal_form: LegalForm::Corporate,
        relationship: Relationship::Prospect,
        collected_at: "2026-03-10".into(),
        ..contact(world, address)
    }
}

/// Writes and launches a campaign; returns its id.
pub async fn launch(world: &World, slug: &str, keys: &str) -> i64 {
    campaigns::create(&world.app, &file(slug, keys), None).await.expect("the campaign is written");
    campaigns::launch(&world.app, slug, None).await.expect("it is launched");
    world.tx(async |tx| ouinon::store::campaigns::by_slug(tx, slug).await).await.expect("it is there").id
}

/// A mail server that asks `answer` what to say to RCPT, and counts what it took, by domain.
pub struct Server {
    pub catcher: Catcher,
    pub taken: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Recipients that it did not take, by domain.
    pub refused: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Messages with the server at this moment, by domain, and the most there ever were.
    pub at_once: Arc<Mutex<BTreeMap<String, (usize, usize)>>>,
}

/// What a server says to a recipient, given its domain and how many it has taken of it; none: it takes it.
pub type Answer = Arc<dyn Fn(&str, &str, usize) -> Option<String> + Send + Sync>;

impl Server {
    /// Listens; `slow` is how long it thinks about a message.
    pub async fn start(slow: Duration, answer: Answer) -> Server {
        let taken: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let at_once: Arc<Mutex<BTreeMap<String, (usize, usize)>>> = Arc::default();
        let refused: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let (counts, refusals, now) = (Arc::clone(&taken), Arc::clone(&refused), Arc::clone(&at_once));
        let script: Script = Arc::new(move |event: &Event| match event.what {
            What::Command(line) if line.to_uppercase().starts_with("RCPT TO:<") => {
                let address = line[9..].split('>').next().unwrap_or_default();
                let domain = address.rsplit('@').next().unwrap_or_default();
                let mut counts = counts.lock().unwrap();
                let taken = counts.entry(domain.to_owned()).or_default();
                let said = answer(address, domain, *taken);
                if said.is_some() {
                    *refusals.lock().unwrap().entry(domain.to_owned()).or_default() += 1;
                }
                match said {
                    Some(reply) if reply.starts_with("421") => Action::ReplyAndClose(format!("{reply}\r\n")),
                    Some(reply) => Action::Reply(format!("{reply}\r\n")),
                    None => {
                        *taken += 1;
                        let mut now = now.lock().unwrap();
                        let (open, most) = now.entry(domain.to_owned()).or_default();
                        *open += 1;
                        *most = (*most).max(*open);
                        Action::Usual
                    }
                }
            }
            What::Message { to, .. } => {
                let domain = to[0].rsplit('@').next().unwrap_or_default();
                if let Some((open, _)) = now.lock().unwrap().get_mut(domain) {
                    *open = open.saturating_sub(1);
                }
                if slow.is_zero() { Action::Usual } else { Action::Slow(slow) }
            }
            _ => Action::Usual,
        });
        let settings =
            Settings { script: Some(script), keep_bytes: 1 << 30, keep_messages: 1 << 20, ..Settings::default() };
        let catcher = Catcher::start(([127, 0, 0, 1], 0).into(), settings).await.expect("a port is free");
        Server { catcher, taken, refused, at_once }
    }

    /// One that takes everything.
    pub async fn kind(slow: Duration) -> Server {
        Server::start(slow, Arc::new(|_, _, _| None)).await
    }

    /// How many it has taken of a domain.
    pub fn taken(&self, domain: &str) -> usize {
        self.taken.lock().unwrap().get(domain).copied().unwrap_or(0)
    }

    /// How many it has not taken of a domain.
    pub fn refused(&self, domain: &str) -> usize {
        self.refused.lock().unwrap().get(domain).copied().unwrap_or(0)
    }

    /// How many it has taken of all.
    pub fn total(&self) -> usize {
        self.taken.lock().unwrap().values().sum()
    }
}

/// How many deliveries of a group stand where.
pub async fn states_of(world: &World, campaign: i64, group: &str) -> BTreeMap<DeliveryState, i64> {
    let tally = world.tx(async |tx| deliveries::tally(tx, campaign).await).await;
    let mut states = BTreeMap::new();
    for line in tally.iter().filter(|line| line.provider_group == group) {
        *states.entry(line.state).or_default() += line.n;
    }
    states
}
