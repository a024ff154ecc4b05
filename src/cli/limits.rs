//! `ouinon limits …`

use std::{collections::BTreeMap, process::ExitCode};

use clap::Subcommand;
use serde::Serialize;

use super::{Failure, output};
use crate::{
    app::App,
    domain::providers,
    pipeline::pace::{self, GroupLimits, ServerPace},
    store::groups,
};

/// What can be done about limits.
#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// The limits in force, what is left of them, and the provider groups that pushed back
    Show,
    /// Let a suspended provider group go on at once; what it pushed back for may come again
    Lift {
        /// The group: google, yahoo, other …
        group: String,
    },
}

#[derive(Serialize)]
struct Shown {
    server: Option<ServerPace>,
    groups: BTreeMap<String, GroupLimits>,
}

/// Runs a command about limits.
pub async fn run(app: &App, command: LimitsCommand, json: bool) -> anyhow::Result<ExitCode> {
    if let LimitsCommand::Lift { group } = &command {
        if !providers::names().contains(&group.as_str()) {
            let known = providers::names().join(", ");
            return Err(Failure::Input(format!("there is no provider group {group:?}; the groups are {known}")).into());
        }
        let mut tx = app.db.write().await?;
        let standing = groups::hold(&mut tx, group).await?;
        let standing =
            standing.ok_or_else(|| Failure::Refused(format!("{group} is not suspended and does not recover")))?;
        groups::remove(&mut tx, group, standing.stepped_at).await?;
        tx.commit().await?;
        tracing::warn!(group, "a suspension was lifted by hand");
    }
    let mut tx = app.db.read().await?;
    let shown = Shown { server: pace::server(app, &mut tx).await?, groups: pace::groups(app, &mut tx).await? };
    drop(tx);
    if json {
        output::json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lang = output::lang();
    match &shown.server {
        Some(server) => say!("{}: {}", lang.pick("serveur", "server"), server.sentence(lang)),
        None => say!("{}", lang.pick("serveur : sans limite", "server: no limit")),
    }
    for (name, group) in &shown.groups {
        say!("{name}: {}", group.sentence(lang));
    }
    if shown.groups.is_empty() {
        say!("{}", lang.pick("groupes : sans limite", "provider groups: no limit"));
    }
    Ok(ExitCode::SUCCESS)
}
