//! What is done in the demonstration, through the same functions as everywhere else.

use std::{
    collections::HashMap,
    io::{Seek, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    Sent,
    mailbox::{self, How, Left},
    scene::Scene,
    tell::Teller,
};
use crate::{
    app::App,
    domain::campaigns::CampaignState,
    mail::catcher::Caught,
    pipeline::{
        campaigns, import,
        preflight::{self, Preflight},
        report::{self, Report, Status},
    },
    store::products,
    web::demo::Imported,
};

/// The sample: 1,072 invented people.
pub const SAMPLE: &str = include_str!("contacts.csv");
/// The campaign that is sent first.
pub const FIRST: &str = include_str!("autumn.md");
/// The campaign that is sent second, to those who are left.
pub const SECOND: &str = include_str!("open-day.md");

/// A campaign that does not end within that time is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the status is read while sending.
const LOOK: Duration = Duration::from_millis(100);

/// Adds what the sender offers: a software for professionals, and classes for everybody.
pub async fn products(app: &App) -> anyhow::Result<()> {
    let now = app.now().as_millisecond();
    let mut tx = app.db.write().await?;
    products::add(&mut tx, "crm", "Carnet", true, now).await?;
    products::add(&mut tx, "ateliers", "Les ateliers", false, now).await?;
    Ok(tx.commit().await?)
}

/// Imports the sample as `ouinon import` would.
pub async fn import(scene: &Scene) -> anyhow::Result<Imported> {
    let app = &scene.app;
    let mut file = tempfile::tempfile_in(&app.config.data_dir)?;
    file.write_all(SAMPLE.as_bytes())?;
    file.rewind()?;
    let place = import::Place { db: &app.db, key: &app.keys.suppression, tz: app.tz(), now: app.now() };
    let mut report = import::apply(place, file, &import::Options::default(), &mut |_, _| {}).await?;
    let imported = Imported {
        lines: report.lines,
        new: report.new,
        changed: report.changed,
        unchanged: report.unchanged,
        refused: report.refused,
        refusals: report.refusals.iter()?.collect::<Result<_, _>>()?,
    };
    let _ = scene.demo.imported.set(imported.clone());
    Ok(imported)
}

/// Keeps a campaign as a draft, and says who would get it.
pub async fn create(scene: &Scene, file: &str) -> anyhow::Result<Preflight> {
    let app = &scene.app;
    let campaign = campaigns::create(app, file, None).await?;
    let forecast = preflight::preflight(app, &campaign, app.config.controller.language, |_| {}).await?;
    let refused = forecast.findings.iter().any(|finding| finding.level == "error");
    ensure!(!refused, "the campaign {} cannot be launched: {:?}", forecast.campaign, forecast.findings);
    Ok(forecast)
}

/// Launches a campaign and waits for its end; `meanwhile` happens once everybody is queued.
pub async fn send(
    scene: &Scene,
    forecast: Preflight,
    teller: &mut Teller,
    meanwhile: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Sent> {
    let app = &scene.app;
    let before = scene.catcher.mailbag().count();
    let started = Instant::now();
    campaigns::launch(app, &forecast.campaign, None).await?;
    let mut meanwhile = Some(meanwhile);
    loop {
        let status = status_of(app, &forecast.campaign).await?;
        teller.sending(&status, forecast.send.total);
        if status.asked == forecast.asked
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile().await?;
        }
        if status.state == CampaignState::Finished {
            break;
        }
        if started.elapsed() > PATIENCE {
            bail!("the campaign {} does not end", forecast.campaign);
        }
        tokio::time::sleep(LOOK).await;
    }
    teller.sending_ended();
    let report = report_of(app, &forecast.campaign).await?;
    let caught = scene.catcher.mailbag().count() - before;
    Ok(Sent { preflight: forecast, report, caught, seconds: started.elapsed().as_secs_f64() })
}

/// The messages of the first campaign, in the order in which their readers stand in the sample.
pub fn readers(scene: &Scene) -> Vec<Arc<Caught>> {
    // Somebody who stands in it twice counts where they stand first.
    let mut place: HashMap<String, usize> = HashMap::new();
    for (i, line) in SAMPLE.lines().enumerate() {
        place.entry(sample_address(line)).or_insert(i);
    }
    let mut readers = scene.catcher.mailbag().messages();
    readers.sort_by_key(|caught| place.get(mailbox::recipient(caught)).copied());
    readers
}

fn sample_address(line: &str) -> String {
    line.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// Seven readers refuse, each in their way, after a scanner has opened their links in vain.
pub async fn unsubscribe(scene: &Scene, campaign: &str, readers: &[Arc<Caught>]) -> anyhow::Result<Vec<Left>> {
    use How::{OneClick, OneClickMultipart, PageProduct};
    const WAYS: [How; 7] =
        [OneClick, OneClickMultipart, OneClick, PageProduct, OneClickMultipart, OneClick, OneClickMultipart];
    ensure!(readers.len() > 2 * WAYS.len(), "only {} messages were caught", readers.len());
    let client = mailbox::client()?;
    // Evenly spread over the list, and never its last one, who has another part to play.
    let place = |i: usize| (2 * i + 1) * (readers.len() - 1) / (2 * WAYS.len());
    let chosen = (0..WAYS.len()).map(|i| &readers[place(i)]);
    for caught in chosen.clone() {
        mailbox::scan(&client, caught).await?;
    }
    let scanned = report_of(&scene.app, campaign).await?.unsubscribes;
    ensure!(scanned == 0, "opening a link unsubscribed {scanned} people");
    let mut left = Vec::new();
    for (caught, how) in chosen.zip(WAYS) {
        left.push(mailbox::press(&client, caught, how).await?);
    }
    Ok(left)
}

/// The last of the queue presses the button in the first message while the second waits for its turn.
pub async fn unsubscribe_while_queued(readers: &[Arc<Caught>]) -> anyhow::Result<Left> {
    let last = readers.last().context("nobody received the first campaign")?;
    mailbox::press(&mailbox::client()?, last, How::OneClickWhileQueued).await
}

/// The numbers of a campaign as they are by now.
pub async fn report_again(scene: &Scene, sent: Sent) -> anyhow::Result<Sent> {
    let report = report_of(&scene.app, &sent.preflight.campaign).await?;
    Ok(Sent { report, ..sent })
}

async fn status_of(app: &App, slug: &str) -> anyhow::Result<Status> {
    let mut tx = app.db.read().await?;
    let row = campaigns::find(&mut tx, slug).await?;
    Ok(report::status(&mut tx, &row).await?)
}

async fn report_of(app: &App, slug: &str) -> anyhow::Result<Report> {
    let mut tx = app.db.read().await?;
    let row = campaigns::find(&mut tx, slug).await?;
    Ok(report::report(&mut tx, &row).await?)
}
