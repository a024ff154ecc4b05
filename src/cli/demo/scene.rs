//! Where the demonstration plays: a folder, a database, keys, a catcher, a worker and a web server,
//! all of them its own.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::Failure;
use crate::{
    app::App,
    clock::Clock,
    config::Config,
    domain::lang::Lang,
    mail::{
        catcher::{Catcher, Settings},
        dkim::DnsRecord,
    },
    pipeline::preview,
    web::{self, Demo},
    worker,
};

/// The domain that the sample's campaigns are sent from.
const SENDER: &str = "carnet.example";
/// When the demonstration begins, for ever: retention and the like give the same numbers each time.
const START: &str = "2026-11-18T09:00:00Z";
/// How long what was begun may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A running installation that disappears with the demonstration.
pub struct Scene {
    /// The installation.
    pub app: App,
    /// The mail server, which delivers nothing.
    pub catcher: Catcher,
    /// What the pages show of the demonstration.
    pub demo: Demo,
    /// Where the pages are.
    pub url: String,
    /// What would stand in DNS: the public halves of the signing keys.
    pub dns: Vec<DnsRecord>,
    stop: watch::Sender<bool>,
    working: JoinHandle<Result<(), worker::WorkerError>>,
    serving: JoinHandle<io::Result<()>>,
    folder: TempDir,
}

impl Scene {
    /// Sets everything up; the first of `ports` that is free serves the pages.
    pub async fn set(bind: IpAddr, ports: &[u16], lang: Lang) -> anyhow::Result<Scene> {
        let folder = scratch().context("no scratch folder can be made")?;
        // Whatever else needs a temporary file makes it there too. Set already: by an earlier scene.
        let _ = tempfile::env::override_temp_dir(folder.path());
        let listener = listen(bind, ports).await?;
        let at = listener.local_addr()?;
        let catcher = Catcher::start((Ipv4Addr::LOCALHOST, 0).into(), Settings::default()).await?;
        let url = format!("http://{}", SocketAddr::new(reachable(at.ip()), at.port()));
        let config = config(&folder, &catcher, &url, lang);
        let dns = super::super::dkim::make(&config, SENDER, "demo")?.dns_records();
        let start: Timestamp = START.parse().expect("the instant is part of the program");
        let app = App::open(config, Clock::shifted(start)).await?;
        let server = preview::server(&app)?;
        let demo = Demo { app: app.clone(), mailbag: catcher.mailbag().clone(), imported: Arc::new(OnceLock::new()) };
        let (stop, stopped) = watch::channel(false);
        let working = tokio::spawn(worker::run(app.clone(), server, stopped.clone()));
        let until = async move {
            let mut stopped = stopped;
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let router = web::demo_router(demo.clone());
        let serving = tokio::spawn(web::serve_router(router, listener, limits(), until));
        Ok(Scene { app, catcher, demo, url, dns, stop, working, serving, folder })
    }

    /// Ends what runs, and leaves nothing behind.
    pub async fn strike(self) -> anyhow::Result<()> {
        let _ = self.stop.send(true);
        let ended = tokio::time::timeout(FAREWELL, async {
            let worked = self.working.await;
            let served = self.serving.await;
            self.app.db.close().await;
            (worked, served)
        })
        .await;
        drop(self.catcher);
        self.folder.close().context("the scratch folder cannot be removed")?;
        if let Ok((worked, served)) = ended {
            worked??;
            served??;
        }
        Ok(())
    }
}

/// A folder of our own, also where the environment names a place that is none.
fn scratch() -> io::Result<TempDir> {
    let make = |dir: Option<&str>| {
        let mut builder = tempfile::Builder::new();
        builder.prefix("ouinon-demo-");
        dir.map_or_else(|| builder.tempdir(), |dir| builder.tempdir_in(dir))
    };
    make(None).or_else(|error| make(Some("/tmp")).or_else(|_| make(Some("/var/tmp"))).map_err(|_| error))
}

async fn listen(bind: IpAddr, ports: &[u16]) -> anyhow::Result<TcpListener> {
    let mut failed = None;
    for port in ports {
        match TcpListener::bind((bind, *port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = Some((port, error)),
        }
    }
    let (port, error) = failed.context("there is no port to listen on")?;
    Err(Failure::Input(format!("cannot listen on {bind}:{port}: {error}; --port 0 takes any free one")).into())
}

/// Where a browser on this machine finds what listens there.
fn reachable(bound: IpAddr) -> IpAddr {
    if bound.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { bound }
}

/// The configuration: written here, read from nowhere.
fn config(folder: &TempDir, catcher: &Catcher, url: &str, lang: Lang) -> Config {
    let mut config = Config::of_folder(folder.path());
    config.smtp.url = Some(SecretString::from(catcher.url()));
    config.smtp.hello = Some("demo.example".to_owned());
    config.public.url = Some(url.to_owned());
    config.controller.name = "Atelier Carnet".to_owned();
    config.controller.postal_address = "1 rue de l’Exemple, 75001 Paris, France".to_owned();
    config.controller.contact = "vos-droits@carnet.example".to_owned();
    config.controller.language = lang;
    config
}

fn limits() -> web::Limits {
    web::Limits { farewell: Duration::from_secs(2), ..web::Limits::default() }
}
