//! `ouinon audit verify|key`: evidence that anybody can check, without a secret and without a database.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::{Failure, output};
use crate::{domain::lang::Lang, pipeline::repermission::bundle};

/// Check evidence, or show the key that signs it.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check an evidence file: every byte, every member, the signature. Needs nothing but the file
    Verify {
        /// The file
        file: PathBuf,
        /// The public key that it must be signed with, as its sender published it
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Print the public key that this installation signs evidence with
    Key,
}

/// Runs the command. `verify` reads no configuration and opens no database.
pub async fn run(command: AuditCommand, json: bool) -> anyhow::Result<ExitCode> {
    let lang = output::lang();
    match command {
        AuditCommand::Key => {
            let key = bundle::published(&super::open().await?.keys.audit);
            if json {
                output::json(&serde_json::json!({ "public_key": key }))?;
            } else {
                say!("{key}");
            }
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Verify { file, key } => {
            let bytes = fs::read(&file).map_err(|e| Failure::Input(format!("{}: {e}", file.display())))?;
            let verified = bundle::verify(&bytes, key.as_deref());
            if json {
                output::json(&verified)?;
            } else {
                print(&verified, key.is_some(), lang);
            }
            Ok(if verified.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn print(verified: &bundle::Verified, key_given: bool, lang: Lang) {
    if !verified.valid {
        say!("{}", lang.pick("NE VÉRIFIE PAS :", "DOES NOT VERIFY:"));
        verified.problems.iter().for_each(|problem| say!("  {problem}"));
        return;
    }
    say!(
        "{}",
        lang.pick("Intact : chaque octet est celui qui a été signé.", "Intact: every byte is the one that was signed.")
    );
    say!("  {} {}", lang.pick("plan", "plan"), verified.plan);
    say!("  {} {}", lang.pick("signé le", "signed at"), verified.signed_at);
    say!("  {} {}", lang.pick("clé", "key"), verified.public_key);
    if !key_given {
        say!("{}", lang.pick(
            "Comparez cette clé avec celle que l'expéditeur publie (/.well-known/ouinon-audit-key), ou donnez-la avec --key.",
            "Compare this key with the one that the sender publishes (/.well-known/ouinon-audit-key), or pass it with --key.",
        ));
    }
}
