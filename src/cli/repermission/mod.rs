//! `ouinon repermission plan|purge|send|report`: the old list of which nobody remembers who agreed.

mod ask;
mod plan;
pub mod purge;
mod report;
mod send;
mod tell;

use std::process::ExitCode;

use clap::Subcommand;

use crate::app::App;

/// Sort an old list, ask those who may be asked, report, purge. There is no force flag.
#[derive(Debug, Subcommand)]
pub enum RepermissionCommand {
    /// Sort every line of old files: who may be asked, who refused, who must go; changes no contact
    Plan(plan::PlanArgs),
    /// Erase the contacts that must go, keeping refusals as keyed hashes
    Purge(purge::PurgeArgs),
    /// Ask the askable people of a plan, once, in waves; `serve` sends
    Send(send::SendArgs),
    /// What became of the question, and who said what
    Report(report::ReportArgs),
}

/// Runs the command.
pub async fn run(app: &App, command: RepermissionCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        RepermissionCommand::Plan(args) => plan::run(app, args, json).await,
        RepermissionCommand::Purge(args) => purge::run(app, args, json).await,
        RepermissionCommand::Send(args) => send::run(app, args, json).await,
        RepermissionCommand::Report(args) => report::run(app, args, json).await,
    }
}
