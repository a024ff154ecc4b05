//! `ouinon init`

use std::{fs::File, io::Write, process::ExitCode};

use anyhow::Context;
use serde::Serialize;

use super::{configuration, output};
use crate::{app::App, clock::Clock};

#[derive(Serialize)]
struct Made {
    config: &'static str,
    config_written: bool,
    keys: String,
}

/// Writes a commented `ouinon.toml`, opens the database and makes the keys. Overwrites nothing.
pub async fn init(json: bool) -> anyhow::Result<ExitCode> {
    const FILE: &str = "ouinon.toml";
    let written = match File::create_new(FILE) {
        Ok(mut file) => file.write_all(include_str!("ouinon.toml").as_bytes()).map(|()| true).context(FILE)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error).context(FILE),
    };
    let app = App::open(configuration()?, Clock::System).await?;
    let keys = App::keys_folder(&app.config).display().to_string();
    app.db.close().await;
    if json {
        output::json(&Made { config: FILE, config_written: written, keys })?;
    } else {
        say!("{FILE}: {}", if written { "written; every setting is explained in it" } else { "left as it is" });
        say!("{keys}: the keys. Back them up apart from the database: without them every link is lost.");
    }
    Ok(ExitCode::SUCCESS)
}
