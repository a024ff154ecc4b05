//! `ouinon suppress …`

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;

use super::{Failure, contact, import, output, product};
use crate::{
    app::App,
    domain::{
        address::Address,
        import::dates::{DateOrder, Order},
        suppressions::{Origin, SuppressionReason},
    },
    pipeline::{
        contacts::Refused,
        suppress::{self, LiftError, Refusal, Written},
        suppression_import::{self, Defaults},
        suppression_list::{self, HashKind},
    },
};

/// What can be done with the suppression list.
#[derive(Debug, Subcommand)]
pub enum SuppressCommand {
    /// Add a standing refusal: an address, a domain, or a hash
    Add(AddArgs),
    /// Say what blocks an address
    Check {
        /// The address
        address: String,
    },
    /// Lift an entry by hand, with a reason; what a person did, only the person undoes
    Lift {
        /// Number of the entry, or an address
        target: String,
        /// Why it is lifted; kept with it
        #[arg(long, value_name = "TEXT")]
        because: String,
    },
    /// Add every refusal of a file: one address, domain or hash a line, or CSV with a header
    Import(ImportArgs),
    /// Write the standing entries as CSV
    Export {
        /// No plain address: hashes only
        #[arg(long)]
        hashed: bool,
        /// File to write, whole or not at all; stdout when left out
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// A refusal as it is typed.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["target", "domain", "hash"]))]
pub struct AddArgs {
    /// The address, or @domain
    target: Option<String>,
    /// A domain with its sub-domains
    #[arg(long)]
    domain: Option<String>,
    /// A hash of the address, in hexadecimal
    #[arg(long, value_name = "HEX")]
    hash: Option<String>,
    /// How it was hashed: hmac (ours), sha256 or md5
    #[arg(long, value_name = "KIND", requires = "hash")]
    hash_kind: Option<HashKind>,
    /// Slug of the product; everything when left out
    #[arg(long)]
    product: Option<String>,
    /// unsubscribe, objection, complaint, hard_bounce, soft_limit or manual
    #[arg(long, default_value = "manual")]
    reason: SuppressionReason,
    /// Since when: a date or an instant (RFC 3339); now when left out
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// A word for later
    #[arg(long, default_value = "")]
    note: String,
}

/// A file of refusals, and what holds where its lines do not say it.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Plain list, or CSV with columns address, domain or hash, and hash_kind, scope, product, reason, at, note; - is stdin
    file: PathBuf,
    /// unsubscribe, objection, complaint, hard_bounce, soft_limit or manual
    #[arg(long, default_value = "unsubscribe")]
    reason: SuppressionReason,
    /// Slug of the product; everything when left out
    #[arg(long)]
    product: Option<String>,
    /// Since when: a date or an instant (RFC 3339); now when left out
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// How hashes were made: hmac (ours), sha256 or md5
    #[arg(long, value_name = "KIND")]
    hash_kind: Option<HashKind>,
    /// Which comes first in dates like 04/05/2025: dmy or mdy
    #[arg(long, value_name = "ORDER")]
    date_order: Option<DateOrder>,
}

/// Runs a suppression command.
pub async fn run(app: &App, command: SuppressCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        SuppressCommand::Add(args) => add(app, args, json).await,
        SuppressCommand::Check { address } => check(app, &address, json).await,
        SuppressCommand::Lift { target, because } => lift(app, &target, &because, json).await,
        SuppressCommand::Import(args) => import(app, args, json).await,
        SuppressCommand::Export { hashed, output } => export(app, hashed, output, json).await,
    }
}

async fn add(app: &App, args: AddArgs, json: bool) -> anyhow::Result<ExitCode> {
    let whom = match (&args.target, &args.domain, &args.hash) {
        (Some(target), ..) => suppression_list::whom(target, false).map_err(|e| format!("{target:?}: {e}")),
        (_, Some(domain), _) => {
            suppression_list::whom_of_domain(domain).map_err(|e| format!("--domain {domain:?}: {e}"))
        }
        (.., Some(hash)) => suppression_list::whom_of_hash(hash, args.hash_kind).map_err(|e| format!("--hash: {e}")),
        _ => Err("whom? an address, @domain, --domain or --hash".to_owned()),
    };
    let now = app.now();
    let refusal = Refusal {
        whom: whom.map_err(Failure::Input)?,
        reach: suppression_list::reach(match &args.product {
            Some(slug) => Some(product::find(app, slug).await?.slug),
            None => None,
        }),
        reason: args.reason,
        origin: Origin::Staff,
        at: Some(since(app, args.at.as_deref(), now)?),
        campaign_id: None,
        note: args.note.trim().to_owned(),
    };
    let mut tx = app.db.write().await?;
    let written = suppress::refuse(&mut tx, &app.keys.suppression, &refusal, now).await?;
    tx.commit().await?;
    let (id, new) = match written {
        Written::New(id) => (id, true),
        Written::Stood(id) => (id, false),
    };
    if json {
        output::json(&serde_json::json!({ "id": id, "new": new }))?;
    } else {
        say!("{}", if new { format!("added as {id}") } else { format!("stood already, as {id}") });
    }
    Ok(ExitCode::SUCCESS)
}

fn since(app: &App, at: Option<&str>, now: Timestamp) -> anyhow::Result<Timestamp> {
    Ok(match at {
        Some(text) => suppress::latest_instant(contact::past(app, "--at", text)?, app.tz(), now),
        None => now,
    })
}

async fn check(app: &App, text: &str, json: bool) -> anyhow::Result<ExitCode> {
    let address = contact::address(text)?;
    let mut tx = app.db.read().await?;
    let found = suppress::check(&mut tx, &app.keys.suppression, &address, app.now()).await?;
    drop(tx);
    let entries: Vec<Refused> = found.into_iter().map(Refused::from).collect();
    let suppressed = entries.iter().any(|e| e.blocks);
    if json {
        output::json(
            &serde_json::json!({ "address": address.as_str(), "suppressed": suppressed, "entries": entries }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let lang = output::lang();
    match (suppressed, entries.is_empty()) {
        (true, _) => say!("{}", lang.pick("bloquée", "suppressed")),
        (false, true) => say!("{}", lang.pick("aucune entrée ne la concerne", "no entry concerns it")),
        (false, false) => say!("{}", lang.pick("rien ne la bloque plus", "nothing blocks it any more")),
    }
    if !entries.is_empty() {
        say!("{}", contact::suppression_table(&entries));
    }
    Ok(ExitCode::SUCCESS)
}

async fn lift(app: &App, target: &str, because: &str, json: bool) -> anyhow::Result<ExitCode> {
    let now = app.now();
    let mut tx = app.db.write().await?;
    let lifted = match target.parse::<i64>() {
        Ok(id) => suppress::lift(&mut tx, id, because, now).await.map(|entry| vec![entry]),
        Err(_) => {
            let address: Address = contact::address(target)?;
            suppress::lift_address(&mut tx, &app.keys.suppression, &address, because, now).await
        }
    };
    let lifted = lifted.map_err(|error| match error {
        LiftError::Store(error) => anyhow::Error::from(error),
        LiftError::PersonsAct { .. } => Failure::Refused(error.to_string()).into(),
        LiftError::Unknown | LiftError::Already(_) | LiftError::NoReason => {
            Failure::Input(format!("{target}: {error}")).into()
        }
    })?;
    tx.commit().await?;
    let ids: Vec<i64> = lifted.iter().map(|entry| entry.id).collect();
    if json {
        output::json(&serde_json::json!({ "lifted": ids }))?;
    } else {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        say!("lifted {}", ids.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

async fn import(app: &App, args: ImportArgs, json: bool) -> anyhow::Result<ExitCode> {
    let place = args.file.display();
    let file = import::open(&args.file).map_err(|e| Failure::Input(format!("{place}: {e}")))?;
    let now = app.now();
    let defaults = Defaults {
        reason: args.reason,
        product: match &args.product {
            Some(slug) => Some(product::find(app, slug).await?.slug),
            None => None,
        },
        at: args.at.as_deref().map(|at| since(app, Some(at), now)).transpose()?,
        hash_kind: args.hash_kind,
        order: args.date_order.map_or(Order::Unknown, Order::Said),
    };
    let result = {
        let (key, print) = (&app.keys.suppression, app.keys.suppression_print());
        suppression_import::import(&app.db, key, print, app.tz(), now, file, &defaults).await
    };
    let mut report = result.map_err(|error| {
        if error.is_bad_input() {
            anyhow::Error::from(Failure::Input(format!("{place}: {error}")))
        } else {
            error.into()
        }
    })?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if json {
        report.write_json(&mut out)?;
    } else {
        import::print(&mut report, false, output::lang(), &mut out)?;
    }
    out.flush()?;
    Ok(if report.refused > 0 && report.refused == report.lines { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn export(app: &App, hashed: bool, file: Option<PathBuf>, json: bool) -> anyhow::Result<ExitCode> {
    let Some(path) = file else {
        write_list(app, hashed, json, &mut std::io::stdout().lock()).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| std::path::Path::new("."));
    let name = path.display().to_string();
    let mut whole = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write {name}"))?;
    let mut buffered = std::io::BufWriter::new(whole.as_file_mut());
    let count = write_list(app, hashed, json, &mut buffered).await?;
    buffered.flush().with_context(|| format!("cannot write {name}"))?;
    drop(buffered);
    whole.as_file().sync_all().with_context(|| format!("cannot write {name}"))?;
    whole.persist(&path).with_context(|| format!("cannot write {name}"))?;
    eprintln!("{count} entries written to {name}");
    Ok(ExitCode::SUCCESS)
}

async fn write_list(app: &App, hashed: bool, json: bool, out: &mut impl Write) -> anyhow::Result<u64> {
    if json {
        suppression_list::export_json(&app.db, hashed, app.keys.suppression_print(), out).await
    } else {
        suppression_list::export_csv(&app.db, hashed, app.keys.suppression_print(), out).await
    }
}
