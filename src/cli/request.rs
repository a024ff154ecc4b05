//! `ouinon request …`

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, output};
use crate::{
    app::App,
    pipeline::requests::{self, EndError, Listed},
};

/// What can be done with the requests of people.
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// What people asked for by the pages, the first due first
    List {
        /// Those that were dealt with, too
        #[arg(long)]
        all: bool,
    },
    /// Mail the copy of a person's data to the address on file, and end the request
    Send {
        /// Number of the request
        id: i64,
    },
    /// Note that a request was dealt with
    Done {
        /// Number of the request
        id: i64,
        /// What was done, or why not
        #[arg(long, default_value = "")]
        note: String,
    },
}

/// Runs a request command.
pub async fn run(app: &App, command: RequestCommand, json: bool) -> anyhow::Result<ExitCode> {
    let ended = match command {
        RequestCommand::List { all } => return list(app, all, json).await,
        RequestCommand::Send { id } => requests::send_copy(app, id).await,
        RequestCommand::Done { id, note } => requests::done(app, id, &note).await,
    };
    let ended = ended.map_err(|error| match error {
        EndError::Unknown(_) => Failure::Input(error.to_string()).into(),
        EndError::Already(_) | EndError::NoCopy { .. } | EndError::StillThere(_) | EndError::Gone(_) => {
            Failure::Refused(error.to_string()).into()
        }
        EndError::NotSent(_) | EndError::Letter(_) | EndError::Store(_) => anyhow::Error::from(error),
    })?;
    if json {
        output::json(&ended)?;
    } else {
        say!("request {} is done", ended.id);
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(app: &App, all: bool, json: bool) -> anyhow::Result<ExitCode> {
    let found = requests::list(app, all).await?;
    if json {
        output::json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        say!("nothing waits for an answer");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["no.", "asks for", "who", "due on", "", "what they wrote"]);
    for request in found {
        let left = left(&request);
        let who = request.address.unwrap_or_else(|| "(erased)".into());
        table.add_row([request.id.to_string(), request.kind.to_string(), who, request.due_on, left, request.text]);
    }
    say!("{table}");
    Ok(ExitCode::SUCCESS)
}

fn left(request: &Listed) -> String {
    match request.days_left {
        None => "done".into(),
        Some(days) if days < 0 => format!("{} days late", -days),
        Some(0) => "today".into(),
        Some(days) => format!("in {days} days"),
    }
}
