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
    clock::Clock,
    config::Config,
    domain::address::normalise_domain,
    keys::{self, Keys},
    mail::dkim::{Signer, SigningKeys},
    store::{self, Db},
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
    /// Let the database forget which key signs for a domain: the one this host holds counts then, or none
    Forget {
        /// The domain of senders' addresses
        domain: String,
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
pub async fn run(config: Config, command: DkimCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        DkimCommand::New { domain, selector } => new(config, &normal(&domain)?, &selector, json).await,
        DkimCommand::Forget { domain } => forget(&config, &normal(&domain)?, json).await,
    }
}

fn normal(domain: &str) -> Result<String, Failure> {
    normalise_domain(domain).ok_or_else(|| Failure::Input(format!("{domain:?} is not a domain")))
}

async fn new(config: Config, domain: &str, selector: &str, json: bool) -> anyhow::Result<ExitCode> {
    let selector_ok = !selector.is_empty()
        && selector.len() <= 60
        && selector.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !selector.starts_with('-')
        && !selector.ends_with('-');
    if !selector_ok {
        return Err(Failure::Input("--selector: expected a-z, 0-9 and dashes, not at the ends".to_owned()).into());
    }
    let app = App::open(config, Clock::System).await?;
    let signer = make(&app.config, domain, selector)?;
    // From now on every other host needs this key as well, or does not start.
    let name = keys::dkim::name(domain);
    let held = Keys::read(&App::keys_folder(&app.config))?.fingerprints;
    if let Some((_, fingerprint)) = held.iter().find(|(held, _)| *held == name) {
        let mut tx = app.db.write().await?;
        store::keys::replace(&mut tx, &name, fingerprint).await?;
        tx.commit().await?;
    }
    app.db.close().await;
    let records: Vec<Record> =
        signer.dns_records().into_iter().map(|r| Record { name: r.name, value: r.value }).collect();
    if json {
        output::json(&Records { domain: domain.to_owned(), records })?;
        return Ok(ExitCode::SUCCESS);
    }
    say!("Mail from {domain} is signed from now on. Publish these TXT records:");
    for record in records {
        say!("\n{}\n  {}", record.name, record.value);
    }
    say!("\nOther hosts of this installation start again with the same key: copy keys/dkim/{domain} to them.");
    Ok(ExitCode::SUCCESS)
}

/// Works with whatever keys this host holds: it is the way out when they differ.
async fn forget(config: &Config, domain: &str, json: bool) -> anyhow::Result<ExitCode> {
    let db = Db::open(config.database.url.expose_secret()).await?;
    let mut tx = db.write().await?;
    let known = store::keys::forget(&mut tx, &keys::dkim::name(domain)).await?;
    tx.commit().await?;
    db.close().await;
    if json {
        output::json(&serde_json::json!({ "domain": domain, "forgotten": known }))?;
    } else if known {
        say!("{domain}: forgotten. The key of the host that starts next counts, or none if it has none.");
    } else {
        say!("{domain}: no key was known.");
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
    // One at a time, and only beside the keys that the database knows: of two hosts that rotate together,
    // the second is told that it lacks the key of the first.
    let mut tx = app.db.write().await?;
    store::keys::take_turns(&mut tx).await?;
    let noted = store::keys::all(&mut tx).await?;
    Keys::load(&folder, &noted)?;
    Keys::rotate(&folder)?;
    let keys = Keys::read(&folder)?;
    for (name, fingerprint) in &keys.fingerprints {
        store::keys::note(&mut tx, name, fingerprint).await?;
    }
    tx.commit().await?;
    let tokens = keys.fingerprints.iter().filter(|(name, _)| name.starts_with("token ")).count();
    if json {
        output::json(&serde_json::json!({ "keys": tokens }))?;
    } else {
        say!(
            "Links are signed with a new key from the next start of `ouinon serve` on; those already sent go on working."
        );
        say!(
            "On every other host: copy keys/tokens.toml there at once; until then it tells mailbox providers to try later."
        );
    }
    Ok(ExitCode::SUCCESS)
}
