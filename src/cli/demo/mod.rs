//! `ouinon demo`: the main job on a shipped sample, in a scratch folder of its own.
//!
//! It reads no configuration and no environment but the terminal's language, its mail server is a
//! catcher inside the program, and its clock starts at a fixed instant: the same numbers for ever,
//! and no mail to anybody.

mod act;
mod checks;
mod mailbox;
mod scene;
mod tell;

use std::{io, net::IpAddr, pin::pin, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::{Failure, output};
use crate::{
    pipeline::{preflight::Preflight, report::Report},
    web::demo::Imported,
};
use checks::Check;
use mailbox::Left;
use scene::Scene;
use tell::Teller;

/// How the demonstration ends, and where it listens.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after the reports; the exit code is not 0 if any sum is off
    #[arg(long)]
    exit: bool,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port to listen on, 0 for any free one; without it 8080, or any when that is taken
    #[arg(long)]
    port: Option<u16>,
}

/// What the demonstration did.
#[derive(Debug, Serialize)]
struct Results {
    /// Where the pages are.
    url: String,
    /// What the import did.
    import: Imported,
    /// The two campaigns.
    campaigns: Vec<Sent>,
    /// Who unsubscribed between and during them.
    unsubscribes: Vec<Left>,
    /// Every sum that was checked.
    checks: Vec<Check>,
    /// Every check holds.
    ok: bool,
}

/// One campaign: what was foreseen, and what became of it.
#[derive(Debug, Serialize)]
struct Sent {
    preflight: Preflight,
    report: Report,
    /// Messages of it that the catcher has.
    caught: usize,
    /// How long sending took.
    seconds: f64,
}

/// Exit code of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Runs the demonstration.
pub async fn run(args: DemoArgs, json: bool) -> anyhow::Result<ExitCode> {
    let lang = output::lang();
    let mut interrupted = pin!(super::serve::signalled()?);
    // The signal first: once it is listened to, nothing ends without tidying up.
    let scene = tokio::select! {
        biased;
        signal = &mut interrupted => return signal.map(|()| ExitCode::from(INTERRUPTED)).map_err(Into::into),
        scene = Scene::set(args.bind, port(&args), lang) => scene?,
    };
    let played = play(&scene, Teller::new(lang, json), json, !args.exit, interrupted).await;
    let struck = scene.strike().await;
    let code = played?;
    struck?;
    Ok(code)
}

/// The acts, what comes of them, and the pages until somebody has seen enough.
async fn play(
    scene: &Scene,
    mut teller: Teller,
    json: bool,
    stay: bool,
    mut interrupted: impl Future<Output = io::Result<()>> + Unpin,
) -> anyhow::Result<ExitCode> {
    let results = tokio::select! {
        biased;
        signal = &mut interrupted => return signal.map(|()| ExitCode::from(INTERRUPTED)).map_err(Into::into),
        results = acts(scene, &mut teller) => results?,
    };
    if json {
        output::json(&results)?;
    }
    teller.end(&results)?;
    if !results.ok {
        return Ok(ExitCode::FAILURE);
    }
    if stay {
        teller.stay(&results.url)?;
        interrupted.await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The ports to try, in this order.
fn port(args: &DemoArgs) -> &[u16] {
    match &args.port {
        Some(port) => std::slice::from_ref(port),
        None if args.exit => &[0],
        None => &[8080, 0],
    }
}

/// The demonstration, act by act.
async fn acts(scene: &Scene, teller: &mut Teller) -> anyhow::Result<Results> {
    teller.open(scene)?;
    act::products(&scene.app).await?;
    let import = act::import(scene).await?;
    teller.imported(&import)?;

    let first = act::create(scene, act::FIRST).await?;
    teller.foreseen(&first)?;
    let first = act::send(scene, first, teller, async || Ok(())).await?;
    teller.sent(&first)?;

    let readers = act::readers(scene);
    let mut unsubscribes = act::unsubscribe(scene, &first.preflight.campaign, &readers).await?;
    teller.left(&unsubscribes)?;

    let before = unsubscribes.len();
    let second = act::create(scene, act::SECOND).await?;
    teller.foreseen_next(&second, &first.preflight)?;
    let second = act::send(scene, second, teller, async || {
        unsubscribes.push(act::unsubscribe_while_queued(&readers).await?);
        Ok(())
    })
    .await?;
    teller.left_while_queued(&unsubscribes[before..])?;
    teller.sent(&second)?;
    let first = act::report_again(scene, first).await?;

    let campaigns = vec![first, second];
    teller.reports(&campaigns)?;
    let checks = checks::all(scene, &import, &campaigns, &unsubscribes);
    let ok = checks.iter().all(|check| check.holds);
    Ok(Results { url: scene.url.clone(), import, campaigns, unsubscribes, checks, ok })
}
