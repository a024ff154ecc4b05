//! Commands: thin. They look up, act through the pipeline, and answer.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage or bad input; 3 refused by a rule.

// First: its macros are known to those behind it.
#[macro_use]
pub mod output;

pub mod audit;
pub mod campaign;
pub mod consent;
pub mod contact;
pub mod demo;
pub mod dkim;
pub mod doctor;
pub mod explain;
pub mod form;
pub mod import;
pub mod init;
pub mod limits;
pub mod product;
pub mod repermission;
pub mod request;
pub mod rules;
pub mod serve;
pub mod suppress;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    app::App,
    clock::Clock,
    config::{Config, ConfigError},
};

/// Email campaigns that reach those who may be written to, and nobody else.
#[derive(Debug, Parser)]
#[command(name = "ouinon", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Print the result as JSON on stdout and nothing else there
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The main job on a sample, in a scratch folder: import, decide, send to a catcher, unsubscribe, report
    Demo(demo::DemoArgs),
    /// Write a commented ouinon.toml and make the keys; asks nothing, overwrites nothing
    Init,
    /// Look at everything that a campaign depends on, and say what to mend; sends nothing
    ///
    /// Exit status: 0 when no check is an error, 1 when one is, 2 for wrong usage.
    Doctor(doctor::DoctorArgs),
    /// Run the web pages, the scheduler and the sender
    Serve(serve::ServeArgs),
    /// Write, check, launch and follow campaigns
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Read contacts and consents from a CSV file; never lifts a refusal
    Import(import::ImportArgs),
    /// The offers that consents and campaigns are about
    #[command(subcommand)]
    Product(product::ProductCommand),
    /// Show, export, correct or erase a person
    #[command(subcommand)]
    Contact(contact::ContactCommand),
    /// What people said yes and no to
    #[command(subcommand)]
    Consent(consent::ConsentCommand),
    /// The subscription form of a product
    #[command(subcommand)]
    Form(form::FormCommand),
    /// What people asked for by the pages: copies, corrections, erasures
    #[command(subcommand)]
    Request(request::RequestCommand),
    /// Standing refusals: add, check, lift, import, export
    #[command(subcommand)]
    Suppress(suppress::SuppressCommand),
    /// Say whether a person may be written to about a product, and why
    Explain(explain::ExplainArgs),
    /// The rules in force, their sources, and decision tables
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// How fast mail goes, and the providers that pushed back
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    /// An old list: sort it, ask those who may be asked, report, purge
    #[command(subcommand)]
    Repermission(repermission::RepermissionCommand),
    /// Erase the contacts whose data may no longer be kept; refusals stay as keyed hashes
    Retain(repermission::purge::RetainArgs),
    /// Check evidence, anywhere, without a secret
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Signing keys of a sender's domain
    #[command(subcommand)]
    Dkim(dkim::DkimCommand),
    /// Signing keys of the links in messages
    #[command(subcommand)]
    Key(dkim::KeyCommand),
}

/// An error that ends a command, with the exit code it ends with.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage or bad input: 2.
    #[error("{0}")]
    Input(String),
    /// Refused by a rule: 3.
    #[error("{0}")]
    Refused(String),
}

/// Runs the command line of this process.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    cli.log();
    match cli.run().await {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ouinon: {error:#}");
            ExitCode::from(match error.downcast_ref::<Failure>() {
                Some(Failure::Input(_)) => 2,
                Some(Failure::Refused(_)) => 3,
                None => 1,
            })
        }
    }
}

impl Cli {
    /// Logs go to stderr, as `OUINON_LOG` says. The demonstration reads no environment, and talks itself.
    fn log(&self) {
        let filter = match self.command {
            Command::Demo(_) => "warn".to_owned(),
            _ => std::env::var("OUINON_LOG").unwrap_or_else(|_| "ouinon=info,sqlx::query=error,warn".to_owned()),
        };
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init();
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        let json = self.json;
        match self.command {
            Command::Demo(args) => demo::run(args, json).await,
            Command::Init => init::init(json).await,
            Command::Doctor(args) => doctor::run(read_configuration(), args, json).await,
            Command::Serve(args) => serve::run(&open().await?, args).await,
            Command::Campaign(command) => campaign::run(&open().await?, command, json).await,
            Command::Import(args) => import::run(&open().await?, args, json).await,
            Command::Product(command) => product::run(&open().await?, command, json).await,
            Command::Contact(command) => contact::run(&open().await?, command, json).await,
            Command::Consent(command) => consent::run(&open().await?, command, json).await,
            Command::Form(command) => form::run(&open().await?, command, json).await,
            Command::Request(command) => request::run(&open().await?, command, json).await,
            Command::Suppress(command) => suppress::run(&open().await?, command, json).await,
            Command::Explain(args) => explain::run(&open().await?, args, json).await,
            Command::Rules(command) => rules::run(command, json, &mut io::stdout().lock(), &mut io::stderr().lock()),
            Command::Limits(command) => limits::run(&open().await?, command, json).await,
            Command::Repermission(command) => repermission::run(&open().await?, command, json).await,
            Command::Retain(args) => repermission::purge::retain(&open().await?, args, json).await,
            Command::Audit(command) => audit::run(command, json).await,
            Command::Dkim(command) => dkim::run(configuration()?, command, json).await,
            Command::Key(command) => dkim::run_key(&open().await?, command, json).await,
        }
    }
}

/// The configuration of the current folder and environment.
pub fn configuration() -> anyhow::Result<Config> {
    read_configuration().map_err(|error| Failure::Input(error.to_string()).into())
}

fn read_configuration() -> Result<Config, ConfigError> {
    let dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    // A variable that is no text cannot be one of ours.
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    Config::load(&dir, env)
}

async fn open() -> anyhow::Result<App> {
    let app = App::open(configuration()?, Clock::System).await?;
    // Before anything is decided: what was promised to people while the database was away.
    crate::pipeline::press::settle(&app).await?;
    Ok(app)
}

/// Whoever reads our output may stop reading.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
