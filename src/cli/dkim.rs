//! `ouinon dkim …` and `ouinon key …`

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::Subcommand;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{Failure, output};
use crate::{
    app::App,
    config::Config,
    domain::address::normalise_domain,
    keys::Keys,
    mail::dkim::{Signer, SigningKeys},
    store,
};

/// What can be done with DKIM keys.
#[derive(Debug, Subcommand)]
pub enum DkimCommand {
    /// Make an RSA-2048 and an Ed25519 key and print the DNS records to publish
    New {
        /// The domain of senders' addresses
        domain: String,
        /// Name of the RSA key in DNS; the Ed25519 key gets it with `-ed`
        #[arg(long, default_value = "ouinon")]
        selector: String,
    },
}

/// What can be done with the keys of links.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Sign links with a new key; the old ones go on verifying
    Rotate,
}

#[derive(Serialize)]
struct Records {
    domain: String,
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: String,
    value: String,
}

/// Runs a DKIM command.
pub fn run(config: &Config, command: DkimCommand, json: bool) -> anyhow::Result<ExitCode> {
    let DkimCommand::New { domain, selector } = command;
    let domain = normalise_domain(&domain).ok_or_else(|| Failure::Input(format!("{domain:?} is not a domain")))?;
    let selector_ok = !selector.is_empty()
        && selector.len() <= 60
        && selector.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !selector.starts_with('-')
        && !selector.ends_with('-');
    if !selector_ok {
        return Err(Failure::Input("--selector: expected a-z, 0-9 and dashes, not at the ends".to_owned()).into());
    }
    let signer = make(config, &domain, &selector)?;
    let records: Vec<Record> =
        signer.dns_records().into_iter().map(|r| Record { name: r.name, value: r.value }).collect();
    if json {
        output::json(&Records { domain, records })?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("Mail from {domain} is signed from now on. Publish these TXT records:");
    for record in records {
        println!("\n{}\n  {}", record.name, record.value);
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the keys of a domain; mail from it is signed from then on.
pub fn make(config: &Config, domain: &str, selector: &str) -> anyhow::Result<Signer> {
    let folder = App::keys_folder(config).join("dkim").join(domain);
    let keys = SigningKeys::generate()?;
    let signer = keys.signer(domain, selector)?;
    write(&folder, selector, &keys)?;
    Ok(signer)
}

/// The keys first, the name of the selector last: it is what makes them count.
fn write(folder: &Path, selector: &str, keys: &SigningKeys) -> anyhow::Result<()> {
    let place = folder.join(selector);
    if place.exists() {
        return Err(Failure::Input(format!(
            "{} exists: its public half may be in DNS; choose another --selector",
            place.display()
        ))
        .into());
    }
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    for (name, pem) in [("rsa.pem", &keys.rsa_pem), ("ed25519.pem", &keys.ed25519_pem)] {
        let path = place.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written =
            file.and_then(|mut file| file.write_all(pem.expose_secret().as_bytes()).and_then(|()| file.sync_all()));
        written.with_context(|| path.display().to_string())?;
    }
    let current = folder.join("selector");
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(|| folder.display().to_string())?;
    writeln!(file, "{selector}")?;
    file.as_file().sync_all()?;
    file.persist(&current).with_context(|| current.display().to_string())?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Runs a command of the links' keys.
pub async fn run_key(app: &App, command: KeyCommand, json: bool) -> anyhow::Result<ExitCode> {
    let KeyCommand::Rotate = command;
    let folder = App::keys_folder(&app.config);
    Keys::rotate(&folder)?;
    let mut tx = app.db.write().await?;
    let noted = store::keys::all(&mut tx).await?;
    let keys = Keys::load(&folder, &noted)?;
    for (name, fingerprint) in &keys.fingerprints {
        store::keys::note(&mut tx, name, fingerprint).await?;
    }
    tx.commit().await?;
    if json {
        output::json(&serde_json::json!({ "keys": keys.fingerprints.len() - 1 }))?;
    } else {
        println!("Links are signed with a new key; those already sent go on working. Restart `ouinon serve`.");
    }
    Ok(ExitCode::SUCCESS)
}
