//! `ouinon repermission report PLAN`

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::send::failure;
use crate::{
    app::App,
    cli::{Failure, output},
    domain::{campaigns::CampaignState, lang::Lang},
    pipeline::repermission::{
        evidence,
        report::{self, Part, Report, Series},
        send, sort,
    },
};

/// Which plan, and where its evidence goes.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The plan, as `plan` printed it
    plan: String,
    /// Write everything that proves it into a signed file, which `ouinon audit verify` checks anywhere
    #[arg(long, value_name = "FILE.zip")]
    evidence: Option<PathBuf>,
}

/// Prints what became of the question.
pub async fn run(app: &App, args: ReportArgs, json: bool) -> anyhow::Result<ExitCode> {
    let lang = output::lang();
    let plan = send::find(app, &args.plan).await.map_err(failure)?;
    let report = report::report(app, &plan).await?;
    if let Some(path) = &args.evidence {
        evidence::write(app, &plan, path).await.map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
    }
    if json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = io::stdout().lock();
    print(&report, lang, &mut out)?;
    if let Some(path) = &args.evidence {
        let path = path.display();
        writeln!(
            out,
            "{}",
            lang.pick(
                format!("Preuves : {path} (ouinon audit verify {path})"),
                format!("Evidence: {path} (ouinon audit verify {path})")
            )
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let state = report.state.map_or(lang.pick("pas encore envoyé", "not sent yet"), |state| state.as_str());
    writeln!(out, "{} · {} · {state}", report.plan, report.product)?;
    if let Some(stop) = &report.stopped_by {
        writeln!(out, "{} --{stop}", lang.pick("Arrêté par le seuil", "Stopped by the threshold"))?;
    }
    if let Some(stop) = &report.was_stopped_by {
        let since = match report.state {
            Some(CampaignState::Cancelled) => lang.pick("annulé depuis", "cancelled since"),
            _ => lang.pick("repris depuis", "resumed since"),
        };
        writeln!(
            out,
            "{} --{stop}, {since}",
            lang.pick("Avait été arrêté par le seuil", "Had been stopped by the threshold")
        )?;
    }
    if report.waves > 1 {
        writeln!(out, "{} {}/{}", lang.pick("Vague", "Wave"), report.wave, report.waves)?;
    }
    writeln!(out)?;
    for (n, fr, en) in [
        (report.base, "à interroger selon le plan", "might be asked, by the plan"),
        (report.waiting, "en attente", "waiting"),
        (report.blocked, "bloqués depuis le plan", "blocked since the plan"),
        (report.cancelled, "annulés", "cancelled"),
        (report.sent, "messages partis", "messages left"),
        (report.accepted, "acceptés par un serveur", "accepted by a server"),
        (report.bounced, "refusés pour de bon", "refused for good"),
        (report.deferred, "à retenter", "to be tried again"),
        (report.unknown, "d'issue inconnue", "of unknown end"),
        (report.yes, "ont dit oui", "said yes"),
        (report.no, "ont dit non", "said no"),
        (report.unsubscribes, "se sont désabonnés", "unsubscribed"),
        (report.complaints, "se sont plaints", "complained"),
        (report.silent, "n'ont rien dit", "said nothing"),
    ] {
        writeln!(out, "{:>10}  {}", lang.number(n), lang.pick(fr, en))?;
    }
    for (code, n) in &report.by_reason {
        writeln!(out, "{:>10}  {code}  {}", lang.number(n), sort::sentence(code, lang))?;
    }
    relationships(report, lang, out)?;
    chart(&report.series, lang, out)?;
    silence(report, lang, out)
}

fn relationships(report: &Report, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    if report.by_relationship.is_empty() {
        return Ok(());
    }
    let mut table = output::table(&lang.pick(
        ["relation", "acceptés", "oui", "non", "désabonnés", "plaintes", "silence"],
        ["relationship", "accepted", "yes", "no", "unsubscribed", "complaints", "silent"],
    ));
    for (name, Part { accepted, yes, no, unsubscribes, complaints, silent }) in &report.by_relationship {
        let numbers = [accepted, yes, no, unsubscribes, complaints, silent].map(|n| lang.number(n));
        table.add_row(std::iter::once(name.clone()).chain(numbers));
    }
    writeln!(out, "\n{table}")
}

/// Lines of a chart, at most; minutes are put together when there are more.
const LINES: usize = 30;
const WIDTH: usize = 40;

/// Unsubscribes, noes and yeses since the sending began.
fn chart(series: &Series, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let minutes = series.unsubscribes.len();
    if minutes == 0 {
        return Ok(());
    }
    let step = minutes.div_ceil(LINES);
    let sum = |counts: &[i64], from: usize| counts[from..(from + step).min(minutes)].iter().sum::<i64>();
    let rows: Vec<(usize, i64, i64, i64)> = (0..minutes)
        .step_by(step)
        .map(|from| (from, sum(&series.unsubscribes, from), sum(&series.no, from), sum(&series.yes, from)))
        .collect();
    let most = rows.iter().map(|(_, u, n, y)| u + n + y).max().unwrap_or(1).max(1);
    writeln!(
        out,
        "\n{}",
        lang.pick(
            "minutes depuis l'envoi : ▓ désabonnés, ▒ non, █ oui",
            "minutes since sending: ▓ unsubscribed, ▒ no, █ yes"
        )
    )?;
    for (from, unsubscribed, no, yes) in rows {
        let cells = |n: i64| ((n as f64 / most as f64) * WIDTH as f64).ceil() as usize;
        let bar = format!("{}{}{}", "▓".repeat(cells(unsubscribed)), "▒".repeat(cells(no)), "█".repeat(cells(yes)));
        writeln!(out, "{from:>6}  {unsubscribed:>4} {no:>4} {yes:>4}  {bar}")?;
    }
    Ok(())
}

fn silence(report: &Report, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    if report.silent == 0 {
        return Ok(());
    }
    let (business, consumer) = (lang.number(report.silence.business), lang.number(report.silence.consumer));
    writeln!(out)?;
    match lang {
        Lang::Fr => {
            writeln!(
                out,
                "Sans réponse : {business} professionnels restent dans la base jusqu'à ce qu'ils refusent, la date de leur dernier contact ne change pas ;"
            )?;
            writeln!(out, "{consumer} particuliers n'ont pas consenti.")?;
        }
        Lang::En => {
            writeln!(
                out,
                "Without an answer: {business} professionals stay until they refuse, the date of their last contact is what it was;"
            )?;
            writeln!(out, "{consumer} consumers have not consented.")?;
        }
    }
    if let Some(until) = &report.silence.not_asked_again_until {
        match lang {
            Lang::Fr => {
                writeln!(out, "Personne d'entre eux ne sera interrogé de nouveau avant le {until} inclus (RP-6).")?
            }
            Lang::En => writeln!(out, "None of them is asked again up to and including {until} (RP-6).")?,
        }
    }
    Ok(())
}
