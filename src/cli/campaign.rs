//! `ouinon campaign …`

mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Subcommand, ValueEnum};
use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::temporal::DateTimeParser,
    tz::{Disambiguation, TimeZone},
};
use serde::Serialize;

use self::watch::{answer_status, line, watch};
use super::{Failure, output};
use crate::{
    app::App,
    domain::{
        address::Address,
        campaign_file::BodyFormat,
        campaigns::{CampaignKind, CampaignState, DeliveryState},
        lang::Lang,
        suppressions::Why,
    },
    pipeline::{
        campaigns::{self, CampaignError},
        compile::Compiled,
        preflight::{self, Preflight},
        preview,
        report::{self, Report, Status},
    },
    store,
};

/// What can be done with campaigns.
#[derive(Debug, Subcommand)]
pub enum CampaignCommand {
    /// Check a campaign file and keep it as a draft
    Create {
        /// The file: keys between two lines `+++`, then the body
        file: PathBuf,
    },
    /// Replace what a draft says by a file
    Edit {
        /// The campaign
        slug: String,
        /// The new file
        file: PathBuf,
    },
    /// List the campaigns
    List,
    /// Show the message as a contact would get it
    Preview {
        /// The campaign
        slug: String,
        /// The contact's address
        #[arg(long = "as", value_name = "ADDRESS")]
        contact: String,
        /// Which part
        #[arg(long, value_enum, default_value_t = Part::All)]
        part: Part,
    },
    /// Send a marked copy whose links change nothing
    Test {
        /// The campaign
        slug: String,
        /// Where to; up to five
        #[arg(long, required = true, value_name = "ADDRESS")]
        to: Vec<String>,
        /// As this contact would get it
        #[arg(long = "as", value_name = "ADDRESS")]
        contact: Option<String>,
    },
    /// Count who would get it, who would not and why
    Preflight {
        /// The campaign
        slug: String,
    },
    /// Let it start; the serving process does the work
    Launch {
        /// The campaign
        slug: String,
        /// When: an instant with zone, or a local time of the controller (2026-11-23 09:00)
        #[arg(long, value_name = "INSTANT")]
        at: Option<String>,
    },
    /// Stop submitting until resumed
    Pause {
        /// The campaign
        slug: String,
    },
    /// Go on where it was paused
    Resume {
        /// The campaign
        slug: String,
    },
    /// Stop for good
    Cancel {
        /// The campaign
        slug: String,
    },
    /// Where everybody asked for stands
    Status {
        /// The campaign
        slug: String,
        /// Again every second until it ends
        #[arg(long)]
        watch: bool,
    },
    /// End a delivery whose fate is unknown, by your word; it is never sent again
    Resolve {
        /// The campaign
        slug: String,
        /// The recipient
        #[arg(long)]
        address: String,
        /// What became of it
        #[arg(long = "as", value_enum, value_name = "STATE")]
        state: Resolved,
    },
    /// What became of it, and what people did
    Report {
        /// The campaign
        slug: String,
    },
}

/// A part of a previewed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Headers and text
    All,
    /// The header fields
    Headers,
    /// The plain text
    Text,
    /// The HTML
    Html,
    /// The whole message as it would be submitted
    Eml,
}

/// What an unknown delivery turned out to be.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Resolved {
    /// The server has it
    Accepted,
    /// It was refused
    Bounced,
    /// It never left
    Cancelled,
}

/// Runs a campaign command.
pub async fn run(app: &App, command: CampaignCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        CampaignCommand::Create { file } => {
            let (source, format) = read(&file)?;
            let campaign = campaigns::create(app, &source, format).await.map_err(|e| failure_in(&file, e))?;
            created(&campaign, json)
        }
        CampaignCommand::Edit { slug, file } => {
            let (source, format) = read(&file)?;
            let campaign = campaigns::edit(app, &slug, &source, format).await.map_err(|e| failure_in(&file, e))?;
            created(&campaign, json)
        }
        CampaignCommand::List => list(app, json).await,
        CampaignCommand::Preview { slug, contact, part } => show_preview(app, &slug, &contact, part, json).await,
        CampaignCommand::Test { slug, to, contact } => test(app, &slug, &to, contact.as_deref(), json).await,
        CampaignCommand::Preflight { slug } => {
            let forecast = forecast(app, &slug, json).await?;
            if json {
                output::json(&forecast)?
            } else {
                print_preflight(&forecast, output::lang())
            }
            Ok(ExitCode::SUCCESS)
        }
        CampaignCommand::Launch { slug, at } => launch(app, &slug, at.as_deref(), json).await,
        CampaignCommand::Pause { slug } => {
            campaigns::pause(app, &slug).await.map_err(failure)?;
            answer_status(app, &slug, json).await
        }
        CampaignCommand::Resume { slug } => {
            campaigns::resume(app, &slug).await.map_err(failure)?;
            answer_status(app, &slug, json).await
        }
        CampaignCommand::Cancel { slug } => {
            campaigns::cancel(app, &slug).await.map_err(failure)?;
            answer_status(app, &slug, json).await
        }
        CampaignCommand::Status { slug, watch: false } => answer_status(app, &slug, json).await,
        CampaignCommand::Status { slug, watch: true } => watch(app, &slug, json).await,
        CampaignCommand::Resolve { slug, address, state } => {
            let state = match state {
                Resolved::Accepted => DeliveryState::Accepted,
                Resolved::Bounced => DeliveryState::Bounced,
                Resolved::Cancelled => DeliveryState::Cancelled,
            };
            campaigns::resolve(app, &slug, &address_of(&address)?, state).await.map_err(failure)?;
            answer_status(app, &slug, json).await
        }
        CampaignCommand::Report { slug } => {
            let report = report_of(app, &slug).await?;
            if json {
                output::json(&report)?
            } else {
                print_report(&report, output::lang())
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Maps an error of a campaign to the exit code that it ends with.
fn failure(error: CampaignError) -> anyhow::Error {
    match error {
        CampaignError::Store(e) => e.into(),
        CampaignError::State { .. } => Failure::Refused(error.to_string()).into(),
        _ => Failure::Input(error.to_string()).into(),
    }
}

fn failure_in(file: &Path, error: CampaignError) -> anyhow::Error {
    use crate::pipeline::compile::Unusable;
    match error {
        CampaignError::File(problems) | CampaignError::Unusable(Unusable::Written(problems)) => {
            let lines: Vec<String> = problems.0.iter().map(|p| format!("{}: {p}", file.display())).collect();
            Failure::Input(lines.join("\n")).into()
        }
        error => failure(error),
    }
}

fn read(file: &Path) -> anyhow::Result<(String, Option<BodyFormat>)> {
    let bytes = fs::read(file).map_err(|e| Failure::Input(format!("{}: {e}", file.display())))?;
    let source = String::from_utf8(bytes).map_err(|e| {
        Failure::Input(format!("{}: not UTF-8 at byte {}", file.display(), e.utf8_error().valid_up_to()))
    })?;
    let format = match file.extension().and_then(|e| e.to_str()) {
        Some("html" | "htm") => Some(BodyFormat::Html),
        Some("md" | "markdown") => None,
        _ => None,
    };
    Ok((source, format))
}

fn address_of(text: &str) -> anyhow::Result<Address> {
    Address::parse(text).map_err(|e| Failure::Input(format!("{text:?}: {e}")).into())
}

#[derive(Serialize)]
struct Created<'a> {
    campaign: &'a str,
    state: CampaignState,
    findings: Vec<preflight::Finding>,
}

fn created(campaign: &Compiled, json: bool) -> anyhow::Result<ExitCode> {
    let findings = preflight::lint(campaign, output::lang());
    if json {
        output::json(&Created { campaign: &campaign.file.slug, state: CampaignState::Draft, findings })?;
    } else {
        for finding in &findings {
            say!("{}: {}", finding.level, finding.message);
        }
        say!("draft {0}: look at it with `ouinon campaign preflight {0}`", campaign.file.slug);
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Listed {
    campaign: String,
    product: String,
    kind: CampaignKind,
    state: CampaignState,
    scheduled_at: Option<String>,
}

async fn list(app: &App, json: bool) -> anyhow::Result<ExitCode> {
    let mut tx = app.db.read().await?;
    let at = |millis: i64| Timestamp::from_millisecond(millis).map(|t| t.to_string()).ok();
    let rows: Vec<Listed> = store::campaigns::all(&mut tx)
        .await?
        .into_iter()
        .map(|c| Listed {
            campaign: c.slug,
            product: c.product,
            kind: c.kind,
            state: c.state,
            scheduled_at: c.scheduled_at.and_then(at),
        })
        .collect();
    if json {
        output::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["campaign", "product", "kind", "state", "starts"]);
    for row in rows {
        table.add_row(vec![
            row.campaign,
            row.product,
            row.kind.to_string(),
            row.state.to_string(),
            row.scheduled_at.unwrap_or_default(),
        ]);
    }
    say!("{table}");
    Ok(ExitCode::SUCCESS)
}

async fn load(app: &App, slug: &str) -> anyhow::Result<(store::campaigns::Campaign, Compiled)> {
    let mut tx = app.db.read().await?;
    let row = campaigns::find(&mut tx, slug).await.map_err(failure)?;
    let compiled = Compiled::of_row(app, &mut tx, &row).await.map_err(|e| failure(e.into()))?;
    Ok((row, compiled))
}

async fn show_preview(app: &App, slug: &str, contact: &str, part: Part, json: bool) -> anyhow::Result<ExitCode> {
    let (_, campaign) = load(app, slug).await?;
    let preview = preview::as_contact(app, &campaign, &address_of(contact)?).await.map_err(preview_failure)?;
    if json {
        output::json(&preview)?;
        return Ok(ExitCode::SUCCESS);
    }
    match part {
        Part::All => say!(
            "{}: {}\n{}\n\n{}\n\n{}",
            preview.decision,
            preview.code,
            preview.sentence,
            preview.headers,
            preview.text
        ),
        Part::Headers => say!("{}", preview.headers),
        Part::Text => say!("{}", preview.text),
        Part::Html => say!("{}", preview.html),
        Part::Eml => say_bare!("{}", preview.eml),
    }
    Ok(ExitCode::SUCCESS)
}

fn preview_failure(error: preview::PreviewError) -> anyhow::Error {
    match error {
        preview::PreviewError::Store(e) => e.into(),
        preview::PreviewError::Suppressed { .. } => Failure::Refused(error.to_string()).into(),
        preview::PreviewError::Smtp(_) | preview::PreviewError::NotSent(_) => anyhow::anyhow!(error.to_string()),
        _ => Failure::Input(error.to_string()).into(),
    }
}

async fn test(app: &App, slug: &str, to: &[String], contact: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    if to.len() > preview::TEST_LIMIT {
        return Err(Failure::Input(format!("--to: at most {} addresses a test", preview::TEST_LIMIT)).into());
    }
    let (_, campaign) = load(app, slug).await?;
    let to = to.iter().map(|t| address_of(t)).collect::<anyhow::Result<Vec<_>>>()?;
    let contact = contact.map(address_of).transpose()?;
    let sent = preview::test(app, &campaign, &to, contact.as_ref()).await.map_err(preview_failure)?;
    if json {
        output::json(&sent)?;
    } else {
        for one in &sent {
            say!("{}: {}", one.to, one.reply);
        }
    }
    Ok(ExitCode::from(u8::from(sent.iter().any(|one| !one.accepted))))
}

async fn forecast(app: &App, slug: &str, json: bool) -> anyhow::Result<Preflight> {
    let (_, campaign) = load(app, slug).await?;
    let mut tx = app.db.read().await?;
    let people = store::contacts::count(&mut tx).await?;
    drop(tx);
    let bar = output::progress((!json).then_some(people.unsigned_abs()), "judging");
    let forecast =
        preflight::preflight(app, &campaign, output::lang(), |done| bar.set_position(done.unsigned_abs())).await?;
    bar.finish_and_clear();
    Ok(forecast)
}

async fn launch(app: &App, slug: &str, at: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let at = at.map(|text| instant(text, app)).transpose()?;
    let (_, campaign) = load(app, slug).await?;
    let errors: Vec<String> = preflight::findings(app, &campaign, output::lang())
        .into_iter()
        .filter(|finding| finding.level == "error")
        .map(|finding| format!("{}: {}", finding.code, finding.message))
        .collect();
    if !errors.is_empty() {
        return Err(Failure::Refused(format!("{slug} cannot be launched\n{}", errors.join("\n"))).into());
    }
    campaigns::launch(app, slug, at).await.map_err(failure)?;
    answer_status(app, slug, json).await
}

/// An instant with its zone, or a local time of the controller, not in the past.
fn instant(text: &str, app: &App) -> anyhow::Result<Timestamp> {
    let at = instant_as_written(text, app.tz())?;
    if at < app.now() - jiff::SignedDuration::from_mins(5) {
        return Err(Failure::Input(format!("--at {text:?} is in the past; leave --at out to launch now")).into());
    }
    Ok(at)
}

fn instant_as_written(text: &str, tz: &TimeZone) -> anyhow::Result<Timestamp> {
    let refused = |why: String| Failure::Input(format!("--at {text:?}: {why}"));
    // A zone that is written counts, or nothing does: neither a misspelt one nor one that the offset contradicts.
    if text.contains('[') {
        let zoned = ZONED.parse_zoned(text).map_err(|error| refused(error.to_string()))?;
        return Ok(zoned.timestamp());
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let local: DateTime = text.parse().map_err(|_| {
        refused("expected 2026-11-23T09:00:00+01:00, 2026-11-23T09:00[Europe/Paris] or 2026-11-23 09:00".to_owned())
    })?;
    let instant = tz.to_ambiguous_timestamp(local);
    let why = match instant.is_ambiguous() {
        true => "the clocks change then; give an offset",
        false => "too far away",
    };
    Ok(instant.unambiguous().map_err(|_| refused(why.to_owned()))?)
}

/// An hour that the change of the clocks skips or repeats names no instant.
const ZONED: DateTimeParser = DateTimeParser::new().disambiguation(Disambiguation::Reject);

async fn report_of(app: &App, slug: &str) -> anyhow::Result<Report> {
    let mut tx = app.db.read().await?;
    let row = campaigns::find(&mut tx, slug).await.map_err(failure)?;
    Ok(report::report(&mut tx, &row).await?)
}

/// Writes a forecast for people: who, who not, why.
pub fn print_preflight(p: &Preflight, lang: Lang) {
    say!("{} {}", lang.pick("Éligibilité de", "Eligibility of"), p.campaign);
    say!("  {} {}", output::bar(p.send.total, p.asked, 50), lang.pick("recevront", "will get it"));
    say!("{:>8} {}", p.asked, lang.pick("personnes demandées", "people asked for"));
    say!("{:>8} {}", p.send.total, lang.pick("le recevront", "will get it"));
    say!("{}", output::reasons(p.send.by_basis.iter().map(|(c, n)| (*c, *n)), lang));
    say!("{:>8} {}", p.block.total, lang.pick("ne le recevront pas", "will not get it"));
    say!("{}", output::reasons(p.block.by_reason.iter().map(|(c, n)| (*c, *n)), lang));
    for finding in &p.findings {
        say!("{}: {} ({})", finding.level, finding.message, finding.code);
    }
}

/// Writes a status for people: the states, and that they sum.
pub fn print_status(s: &Status, lang: Lang) {
    say!("{}", line(s));
    if !s.by_reason.is_empty() {
        say!("{}", output::reasons(s.by_reason.iter().map(|(c, n)| (c.as_str(), *n)), lang));
    }
    if let Some(eta) = s.eta {
        say!("{} {eta} s", lang.pick("encore environ", "about"));
    }
    if s.unknown > 0 {
        say!(
            "{}",
            lang.pick(
                "Sort inconnu : interrompus après l'envoi, jamais renvoyés ; tranchez avec `ouinon campaign resolve`.",
                "Fate unknown: interrupted after submission, never sent again; settle with `ouinon campaign resolve`."
            )
        );
        for unknown in &s.unknowns {
            match unknown.address.as_str() {
                "" => say!(
                    "  {}",
                    lang.pick("(effacé ; `resolve` veut son adresse)", "(erased; `resolve` wants the address)")
                ),
                address => say!("  {address}"),
            }
        }
        let more = s.unknown - s.unknowns.len() as i64;
        if more > 0 {
            say!("  {}", lang.pick(format!("… et {more} de plus"), format!("… and {more} more")));
        }
    }
}

/// Writes a report for people.
pub fn print_report(r: &Report, lang: Lang) {
    print_status(&r.status, lang);
    say!("{}", output::reasons(r.by_basis.iter().map(|(c, n)| (c.as_str(), *n)), lang));
    say!("{:>8} {}", r.unsubscribes, lang.pick("désinscriptions", "unsubscribes"));
    if r.undone > 0 {
        say!("{:>8} {}", r.undone, lang.pick("annulées par la personne", "taken back by the person"));
    }
    for (why, n) in &r.reasons {
        let sentence = why.parse().map_or(why.as_str(), |why: Why| why.sentence(lang));
        say!("{n:>12} {}", lang.pick(format!("« {sentence} »"), format!("“{sentence}”")));
    }
    say!("{:>8} {}", r.complaints, lang.pick("plaintes", "complaints"));
    if r.tracked > 0 {
        say!(
            "{:>8} {}",
            r.opens.human + r.opens.proxied,
            lang.pick(
                format!("ouvertures sur {} destinataires suivis", r.tracked),
                format!("opens of {} tracked recipients", r.tracked)
            )
        );
    }
    let mut table = output::table(&[
        lang.pick("relation", "relationship"),
        lang.pick("demandés", "asked"),
        lang.pick("acceptés", "accepted"),
        lang.pick("bloqués", "blocked"),
        lang.pick("rejetés", "bounced"),
        lang.pick("en cours", "open"),
        lang.pick("sort inconnu", "unknown"),
        lang.pick("annulés", "cancelled"),
        lang.pick("désinscrits", "unsubscribed"),
    ]);
    for (relationship, part) in &r.by_relationship {
        table.add_row(vec![
            relationship.clone(),
            part.asked.to_string(),
            part.accepted.to_string(),
            part.blocked.to_string(),
            part.bounced.to_string(),
            (part.queued + part.deferred).to_string(),
            part.unknown.to_string(),
            part.cancelled.to_string(),
            part.unsubscribes.to_string(),
        ]);
    }
    say!("{table}");
}
