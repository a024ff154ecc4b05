//! `ouinon consent …`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{Failure, contact, output, product};
use crate::{
    app::App,
    domain::{
        consents::{ConsentState, Proof},
        dates::When,
    },
    pipeline::{
        contacts::{self, Statement},
        suppress,
    },
    store::consents::ConsentPurpose,
};

/// What can be done with consents.
#[derive(Debug, Subcommand)]
pub enum ConsentCommand {
    /// Record that a person said yes to a product, or to tracking
    Grant {
        /// Who, about what, and when
        #[command(flatten)]
        what: About,
        /// What proves it: full, doi, partner_named, partner_unnamed or none
        #[arg(long, required_unless_present = "tracking")]
        proof: Option<Proof>,
        /// Where the proof is kept; required for a double opt-in
        #[arg(long, default_value = "")]
        evidence: String,
    },
    /// Record that a person said no: to a product, to tracking, or to every product
    Withdraw {
        /// Who, about what, and when
        #[command(flatten)]
        what: About,
        /// Where it is written that the person said so
        #[arg(long, default_value = "")]
        evidence: String,
    },
    /// Everything a person said, oldest first
    History {
        /// The person's address
        address: String,
    },
}

/// Who said it, about what, and when.
#[derive(Debug, Args)]
pub struct About {
    /// The person's address
    address: String,
    /// Slug of the product
    #[arg(long, conflicts_with = "tracking")]
    product: Option<String>,
    /// About individual tracking instead of mail
    #[arg(long)]
    tracking: bool,
    /// When: a date or an instant (RFC 3339); now when left out
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
}

/// Runs a consent command.
pub async fn run(app: &App, command: ConsentCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        ConsentCommand::Grant { what, proof, evidence } => grant(app, what, proof, evidence, json).await,
        ConsentCommand::Withdraw { what, evidence } => withdraw(app, what, evidence, json).await,
        ConsentCommand::History { address } => history(app, &address, json).await,
    }
}

async fn grant(app: &App, what: About, proof: Option<Proof>, evidence: String, json: bool) -> anyhow::Result<ExitCode> {
    if what.product.is_none() && !what.tracking {
        return Err(Failure::Input("say what the person said yes to: --product P, or --tracking".into()).into());
    }
    // A double opt-in lifts what the person refused: it is never taken on somebody's word (SUP-7).
    if proof == Some(Proof::Doi) && evidence.trim().is_empty() {
        return Err(
            Failure::Input("--proof doi needs --evidence: where the person's confirmation is kept".into()).into()
        );
    }
    let earliest = |when: When, _: Timestamp| when.starts_at(app.tz());
    record(app, what, ConsentState::Granted, proof.unwrap_or(Proof::None), evidence, earliest, json).await
}

async fn withdraw(app: &App, what: About, evidence: String, json: bool) -> anyhow::Result<ExitCode> {
    let latest = |when: When, now: Timestamp| suppress::latest_instant(when, app.tz(), now);
    record(app, what, ConsentState::Withdrawn, Proof::None, evidence, latest, json).await
}

async fn record(
    app: &App,
    what: About,
    state: ConsentState,
    proof: Proof,
    evidence: String,
    instant: impl Fn(When, Timestamp) -> Timestamp,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let address = contact::address(&what.address)?;
    let product = match &what.product {
        Some(slug) => product::find(app, slug).await?.slug,
        None => String::new(),
    };
    let now = app.now();
    let at = what.at.as_deref().map(|text| contact::past(app, "--at", text)).transpose()?;
    let statement = Statement {
        purpose: if what.tracking { ConsentPurpose::Tracking } else { ConsentPurpose::Mail },
        product,
        state,
        at: at.map_or(now, |when| instant(when, now)),
        proof,
        evidence: evidence.trim().to_owned(),
    };
    let new = contacts::record(app, &address, statement).await?.ok_or_else(|| contact::unknown(&address))?;
    if json {
        output::json(&serde_json::json!({ "address": address.as_str(), "state": state, "recorded": new }))?;
    } else {
        say!("{}", if new { "recorded" } else { "was recorded before" });
    }
    Ok(ExitCode::SUCCESS)
}

async fn history(app: &App, address: &str, json: bool) -> anyhow::Result<ExitCode> {
    let address = contact::address(address)?;
    let known = contact::known(app, &address).await?;
    if json {
        output::json(&known.consents)?;
        return Ok(ExitCode::SUCCESS);
    }
    if known.consents.is_empty() {
        say!("nothing was ever said");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", contact::consent_table(&known.consents));
    Ok(ExitCode::SUCCESS)
}
