//! `ouinon doctor`

use std::{net::IpAddr, process::ExitCode};

use clap::Args;

use super::{Failure, output};
use crate::{
    clock::Clock,
    config::{Config, ConfigError},
    domain::address::normalise_domain,
    pipeline::doctor::{self, Check, Findings, Status},
};

/// What to look at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Senders' domains; those of the campaigns and of the DKIM keys when left out
    domains: Vec<String>,
}

/// Looks at everything and says what was found: exit 0 when nothing is an error, 1 when something is.
pub async fn run(config: Result<Config, ConfigError>, args: DoctorArgs, json: bool) -> anyhow::Result<ExitCode> {
    let named = |text: &String| {
        let domain = normalise_domain(text).filter(|name| name.parse::<IpAddr>().is_err());
        domain.ok_or_else(|| Failure::Input(format!("{text:?} is not a domain; name those that mail is sent from")))
    };
    let domains = args.domains.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let found = doctor::examine(config, &domains, Clock::System, output::lang()).await;
    if json {
        output::json(&found)?;
    } else {
        print(&found)?;
    }
    Ok(if found.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(found: &Findings) -> std::io::Result<()> {
    use std::io::Write;
    let lang = output::lang();
    let mut out = std::io::stdout().lock();
    for check in &found.checks {
        writeln!(out, "{} {}", mark(check.status), title(check))?;
        writeln!(out, "      {}", check.finding)?;
        if let Some(way_out) = &check.way_out {
            writeln!(out, "    → {way_out}")?;
        }
        if let Some(record) = &check.record {
            writeln!(out, "        {} {} {}", record.name, record.kind, record.value)?;
        }
    }
    let (errors, warnings) = (found.errors, found.warnings);
    let (fr, en) = (
        format!("{errors} erreur(s), {warnings} avertissement(s)"),
        format!("{errors} error(s), {warnings} warning(s)"),
    );
    writeln!(out, "\n{}", lang.pick(fr, en))
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok   ",
        Status::Warning => "warn ",
        Status::Error => "ERROR",
        Status::Skipped => "-    ",
    }
}

fn title(check: &Check) -> String {
    match &check.about {
        Some(about) => format!("{} {about}", check.id),
        None => check.id.to_owned(),
    }
}
