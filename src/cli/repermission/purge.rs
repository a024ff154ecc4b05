//! `ouinon repermission purge [PLAN]` and `ouinon retain`: the same function.

use std::process::ExitCode;

use clap::Args;

use super::send::failure;
use crate::{
    app::App,
    cli::output,
    domain::lang::Lang,
    pipeline::repermission::{
        purge::{self, Purged},
        send,
    },
};

/// Whose data, and whether to erase them.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Only the contacts that stand in the list of this plan; without it, everybody
    plan: Option<String>,
    /// Say what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Whether to erase.
#[derive(Debug, Args)]
pub struct RetainArgs {
    /// Say what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Erases the contacts that must go, and says how many and why.
pub async fn run(app: &App, args: PurgeArgs, json: bool) -> anyhow::Result<ExitCode> {
    let plan = match &args.plan {
        Some(name) => Some(send::find(app, name).await.map_err(failure)?),
        None => None,
    };
    tell(&purge::purge(app, plan.as_ref(), args.dry_run).await?, json)
}

/// Everybody's, as `repermission purge` does.
pub async fn retain(app: &App, args: RetainArgs, json: bool) -> anyhow::Result<ExitCode> {
    tell(&purge::purge(app, None, args.dry_run).await?, json)
}

fn tell(purged: &Purged, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(purged)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lang = output::lang();
    if purged.dry_run {
        say!("{}", lang.pick("Essai : rien n'a été effacé.", "Dry run: nothing was erased."));
    }
    let (looked_at, erased) = (lang.number(purged.looked_at), lang.number(purged.erased));
    match lang {
        Lang::Fr => {
            say!("{looked_at} fiches regardées, {erased} à effacer ; les refus restent, sous forme d'empreintes.")
        }
        Lang::En => say!("{looked_at} contacts looked at, {erased} must go; refusals stay, as keyed hashes."),
    }
    if purged.erased > 0 {
        let counts = purged.by_reason.iter().map(|(code, n)| (*code, i64::try_from(*n).unwrap_or(i64::MAX)));
        say!("{}", output::reasons(counts, lang));
    }
    if purged.plans_forgotten > 0 {
        let n = purged.plans_forgotten;
        say!(
            "{}",
            lang.pick(
                format!("{n} plan(s) jamais envoyé(s) depuis un mois : données des personnes oubliées."),
                format!("{n} plan(s) not sent within a month: what they kept of people is forgotten."),
            )
        );
    }
    Ok(ExitCode::SUCCESS)
}
