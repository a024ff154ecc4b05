//! A campaign under way: recipients, a mail server that counts, and the worker that sends.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use ouinon::{
    app::App,
    domain::{
        campaigns::DeliveryState,
        contacts::{ContactKind, LegalForm, Relationship},
    },
    mail::{
        catcher::{Catcher, Script, Settings},
        smtp::Server,
    },
    pipeline::campaigns,
    store::{contacts, deliveries, products},
    worker,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{store::contact, world::World};

/// The campaign of these stories, as fast as it goes.
pub const FILE: &str = "+++
slug = \"autumn\"
product = \"crm\"
kind = \"marketing\"
profession_related = true
subject = \"Votre CRM\"
from = \"Exemple <actu@news.example>\"
rate = \"100000/s\"
+++
Bonjour {{ contact.email }} !
";
/// How long a story waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Writes `n` recipients and launches the campaign; returns its id.
pub async fn launched(world: &mut World, n: usize) -> i64 {
    let mut config = (*world.app.config).clone();
    config.public.url = Some("https://mail.example.org".into());
    config.smtp.connections = 8;
    world.app.config = Arc::new(config);
    let people: Vec<_> = (0..n).map(|i| recipient(world, i)).collect();
    world
        .tx(async |tx| {
            products::add(tx, "crm", "CRM", true, 1).await?;
            contacts::save(tx, &people).await
        })
        .await;
    campaigns::create(&world.app, FILE, None).await.expect("the campaign is written");
    campaigns::launch(&world.app, "autumn", None).await.expect("it is launched");
    world.tx(async |tx| ouinon::store::campaigns::by_slug(tx, "autumn").await).await.expect("it is there").id
}

fn recipient(world: &World, i: usize) -> contacts::Contact {
    contacts::Contact {
        kind: ContactKind::Business,
        legal_form: LegalForm::Corporate,
        relationship: Relationship::Prospect,
        collected_at: "2026-03-10".into(),
        ..contact(world, &format!("p{i}@societe{}.example", i % 7))
    }
}

/// A mail server on the loopback that behaves as `script` says.
pub async fn server(script: Option<Script>) -> Catcher {
    let settings = Settings { script, keep_bytes: 1 << 30, keep_messages: 1 << 20, ..Settings::default() };
    Catcher::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.expect("a port is free")
}

/// A worker of this process.
pub struct Worker {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), worker::WorkerError>>,
}

impl Worker {
    /// Starts to work with the mail server at `url`.
    pub fn start(app: &App, url: &str) -> Worker {
        let server = Server::parse(url).expect("a URL of a server").greeted_as("client.example");
        let (stop, stopped) = watch::channel(false);
        Worker { stop, task: tokio::spawn(worker::run(app.clone(), server, stopped)) }
    }

    /// Tells it to stop and waits until it has.
    pub async fn drain(self) {
        self.stop.send(true).expect("the worker listens");
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("a worker that is told to stop stops");
        ended.expect("it does not panic").expect("it ends well");
    }
}

/// How many deliveries stand where.
pub async fn states(world: &World, campaign: i64) -> BTreeMap<DeliveryState, i64> {
    let tally = world.tx(async |tx| deliveries::tally(tx, campaign).await).await;
    let mut states = BTreeMap::new();
    for line in tally {
        *states.entry(line.state).or_default() += line.n;
    }
    states
}

/// Waits until `enough` says so of the deliveries' states.
pub async fn until(world: &World, campaign: i64, enough: impl Fn(&BTreeMap<DeliveryState, i64>) -> bool) {
    let start = Instant::now();
    loop {
        let now = states(world, campaign).await;
        if enough(&now) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it comes to nothing: {now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everybody asked for is in one state, and these are all.
pub async fn assert_states(world: &World, campaign: i64, expected: &[(DeliveryState, i64)]) {
    assert_eq!(states(world, campaign).await, expected.iter().copied().collect());
}

/// How often each address got the message. `may_be_unknown`: a message may also have reached those of
/// whom nobody knows.
pub async fn assert_once_each(world: &World, campaign: i64, catchers: &[&Catcher]) {
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for message in catchers.iter().flat_map(|c| c.mailbag().messages()) {
        *copies.entry(message.to[0].clone()).or_default() += 1;
    }
    let twice: Vec<_> = copies.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "two copies of one message: {twice:?}");
    let now = states(world, campaign).await;
    let of = |state| now.get(&state).copied().unwrap_or(0) as usize;
    let (accepted, unknown) = (of(DeliveryState::Accepted), of(DeliveryState::Unknown));
    assert!(
        (accepted..=accepted + unknown).contains(&copies.len()),
        "{} got it, {accepted} are known to have it, of {unknown} nobody knows",
        copies.len()
    );
}
