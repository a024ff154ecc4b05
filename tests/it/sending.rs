//! What a story of sending adds to the world: a mail server that catches, the recipients' pages, a worker.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ouinon::{
    domain::{campaigns::CampaignState, lang::Lang},
    mail::catcher::{Catcher, Caught, Settings},
    pipeline::{
        campaigns,
        compile::Compiled,
        preflight::{self, Preflight},
        preview,
        report::{self, Report},
    },
    store,
    worker::{self, WorkerError},
};
use secrecy::SecretString;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};

use crate::{
    http::{self, Answer, Served},
    world::World,
};

/// Longer than any step of a story takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The mail server and the pages of a story.
pub struct Sending {
    /// Where mail goes.
    pub catcher: Catcher,
    /// Where links lead.
    pub pages: Served,
}

impl Sending {
    /// Starts both, and tells the world's configuration of them.
    pub async fn open(world: &mut World, settings: Settings) -> Sending {
        let catcher = Catcher::start(([127, 0, 0, 1], 0).into(), settings).await.expect("a port is free");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let config = Arc::make_mut(&mut world.app.config);
        config.smtp.url = Some(SecretString::from(catcher.url()));
        config.public.url = Some(format!("http://{}", listener.local_addr().expect("it is bound")));
        let pages = http::serve_on(&world.app, listener).await;
        Sending { catcher, pages }
    }

    /// What was caught: recipient and message. Each recipient stands once.
    pub fn caught(&self) -> BTreeMap<String, Arc<Caught>> {
        let mut caught = BTreeMap::new();
        for message in self.catcher.mailbag().messages() {
            assert_eq!(message.to.len(), 1, "one recipient a message");
            let address = message.to[0].trim_matches(['<', '>']).to_owned();
            assert!(caught.insert(address.clone(), message).is_none(), "{address} was mailed twice");
        }
        caught
    }

    /// What a mailbox provider does when its user presses the button (RFC 8058).
    pub async fn one_click(&self, message: &Caught) -> Answer {
        let uri = one_click_uri(&message.bytes);
        let path = uri.strip_prefix(&format!("http://{}", self.pages.at)).expect("the link leads to these pages");
        self.pages.post(path, "List-Unsubscribe=One-Click").await
    }
}

/// The header of a message, unfolded.
pub fn header(message: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let head = text.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
    let start = format!("{}:", name.to_lowercase());
    head.lines().find(|line| line.to_lowercase().starts_with(&start)).map(|line| line[start.len()..].trim().to_owned())
}

/// The one-click link of a message, which must promise what RFC 8058 asks.
pub fn one_click_uri(message: &[u8]) -> String {
    assert_eq!(header(message, "List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    let list = header(message, "List-Unsubscribe").expect("a List-Unsubscribe header");
    let uri = list.split('<').skip(1).filter_map(|part| part.split('>').next()).find(|uri| uri.starts_with("http"));
    uri.expect("a URI to post to").to_owned()
}

/// A worker of a story.
pub struct Working {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Working {
    /// Tells the worker to stop, and waits until it has let go of everything.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.task.await.expect("the worker does not panic").expect("the worker ends well");
    }
}

/// A campaign file about the product `crm`, with these keys besides.
pub fn campaign(slug: &str, keys: &str) -> String {
    format!(
        "+++\nslug = \"{slug}\"\nproduct = \"crm\"\nkind = \"marketing\"\nprofession_related = true\n\
         subject = \"Votre CRM, {{{{ contact.first_name | default('bonjour') }}}}\"\n\
         from = \"Société Exemple <actu@news.example>\"\n{keys}\n+++\n\
         Bonjour {{{{ contact.first_name | default('') }}}},\n\nvotre CRM a du nouveau : [voyez](https://www.example.org/).\n"
    )
}

impl World {
    /// Adds a product whose offer concerns people's profession.
    pub async fn product(&self, slug: &str) {
        let now = self.now();
        assert!(self.tx(async |tx| store::products::add(tx, slug, &slug.to_uppercase(), true, now).await).await);
    }

    /// Creates a campaign from the text of its file.
    pub async fn create(&self, file: &str) {
        if let Err(error) = campaigns::create(&self.app, file, None).await {
            panic!("{error}");
        }
    }

    /// The forecast of a campaign.
    pub async fn preflight(&self, slug: &str) -> Preflight {
        let mut tx = self.db().read().await.expect("a transaction begins");
        let row = campaigns::find(&mut tx, slug).await.expect("the campaign is there");
        let compiled = Compiled::of_row(&self.app, &mut tx, &row).await.expect("the campaign can be used");
        drop(tx);
        preflight::preflight(&self.app, &compiled, Lang::En, |_| {}).await.expect("the forecast is made")
    }

    /// Lets a campaign start.
    pub async fn launch(&self, slug: &str) {
        campaigns::launch(&self.app, slug, None).await.expect("the campaign is launched");
    }

    /// What became of a campaign; its states sum to what was asked.
    pub async fn report(&self, slug: &str) -> Report {
        let mut tx = self.db().read().await.expect("a transaction begins");
        let row = campaigns::find(&mut tx, slug).await.expect("the campaign is there");
        let report = report::report(&mut tx, &row).await.expect("the report is made");
        let s = &report.status;
        let moving = s.queued + s.claimed + s.submitting + s.deferred;
        let ended = s.accepted + s.bounced + s.blocked + s.unknown + s.cancelled;
        assert_eq!(s.asked, moving + ended, "the states sum to what was asked: {s:?}");
        assert_eq!(s.by_reason.values().sum::<i64>(), s.blocked, "the reasons sum to the blocked: {s:?}");
        report
    }

    /// Starts a worker.
    pub fn work(&self) -> Working {
        let server = preview::server(&self.app).expect("a mail server is configured");
        let (stop, stopped) = watch::channel(false);
        Working { stop, task: tokio::spawn(worker::run(self.app.clone(), server, stopped)) }
    }

    /// Waits until `done` is true, asking again and again.
    pub async fn until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !done().await {
            assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a campaign is in this state.
    pub async fn until_state(&self, slug: &str, state: CampaignState) {
        self.until(&format!("{slug} is {state}"), async || self.report(slug).await.status.state == state).await;
    }

    /// Lets a worker do everything there is to do about a campaign.
    pub async fn send(&self, slug: &str) {
        let working = self.work();
        self.until_state(slug, CampaignState::Finished).await;
        working.stop().await;
    }
}
