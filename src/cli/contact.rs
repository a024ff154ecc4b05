//! `ouinon contact …`

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;

use super::{Failure, output};
use crate::{
    app::App,
    domain::{
        address::Address,
        dates::When,
        import::dates::{self, Order},
    },
    pipeline::{
        contacts::{self, Dossier, EditError, Refused, Said},
        erase, inactive,
    },
};

/// What can be done with one person.
#[derive(Debug, Subcommand)]
pub enum ContactCommand {
    /// What is known of a person
    Show {
        /// The person's address
        address: String,
    },
    /// Everything about a person as JSON: profile, consents, deliveries, events, suppressions
    Export {
        /// The person's address
        address: String,
    },
    /// Correct what is known of a person
    Edit {
        /// The person's address
        address: String,
        /// A field by its import name, and its value; an empty value forgets it
        #[arg(long = "set", value_name = "FIELD=VALUE", required = true, value_parser = change)]
        set: Vec<(String, String)>,
    },
    /// People to review: nothing was heard of them for long, neither a contact nor an open that may be known
    Inactive {
        /// Months of silence; the sunset rule's when left out, else 12
        #[arg(long)]
        months: Option<u32>,
    },
    /// Erase a person; that they refused is kept, as a keyed hash
    Erase {
        /// The person's address
        address: String,
        /// Not an objection: a later import may bring the person back
        #[arg(long)]
        without_refusal: bool,
    },
}

/// Runs a contact command.
pub async fn run(app: &App, command: ContactCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        ContactCommand::Show { address } => show(app, &address, json).await,
        ContactCommand::Export { address } => export(app, &address).await,
        ContactCommand::Edit { address, set } => edit(app, &address, &set, json).await,
        ContactCommand::Inactive { months } => inactive(app, months, json).await,
        ContactCommand::Erase { address, without_refusal } => erase(app, &address, !without_refusal, json).await,
    }
}

async fn show(app: &App, text: &str, json: bool) -> anyhow::Result<ExitCode> {
    let found = known(app, &address(text)?).await?;
    if json {
        output::json(&found)?;
    } else {
        print(&found);
    }
    Ok(ExitCode::SUCCESS)
}

/// For the person: always JSON, a machine-readable format (GD-4, article 20).
async fn export(app: &App, text: &str) -> anyhow::Result<ExitCode> {
    output::json(&known(app, &address(text)?).await?)?;
    Ok(ExitCode::SUCCESS)
}

async fn inactive(app: &App, months: Option<u32>, json: bool) -> anyhow::Result<ExitCode> {
    let months = months.or(app.rules.settings.sunset_months).unwrap_or(12);
    let found = inactive::inactive(app, months).await?;
    if json {
        output::json(&serde_json::json!({ "months": months, "inactive": found.len(), "people": found }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let lang = output::lang();
    let (sign, open) = (lang.pick("dernier signe", "last sign"), lang.pick("dernière ouverture", "last open"));
    let mut table = output::table(&[lang.pick("adresse", "address"), sign, open]);
    let day = |day: Option<jiff::civil::Date>| day.map_or("-".to_owned(), |day| day.to_string());
    for person in &found {
        table.add_row(vec![person.address.clone(), day(person.last_sign), day(person.last_open)]);
    }
    say!("{table}");
    say!(
        "{}",
        lang.pick(
            format!(
                "{} personnes sans signe depuis plus de {months} mois ; aucune n’est bloquée pour autant.",
                found.len()
            ),
            format!("{} people without a sign for more than {months} months; none is blocked for that.", found.len()),
        )
    );
    Ok(ExitCode::SUCCESS)
}

fn change(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("expected FIELD=VALUE, for example company='Exemple SA'")?;
    Ok((field.trim().to_owned(), value.trim().to_owned()))
}

async fn edit(app: &App, text: &str, set: &[(String, String)], json: bool) -> anyhow::Result<ExitCode> {
    let address = address(text)?;
    let changed = contacts::edit(app, &address, set).await.map_err(|error| match error {
        EditError::Store(error) => anyhow::Error::from(error),
        EditError::Unknown => unknown(&address).into(),
        EditError::Value(message) => Failure::Input(message).into(),
    })?;
    if json {
        output::json(&serde_json::json!({ "address": address.as_str(), "changed": changed }))?;
    } else {
        say!("{}", if changed { "changed" } else { "nothing to change" });
    }
    Ok(ExitCode::SUCCESS)
}

async fn erase(app: &App, text: &str, refuse: bool, json: bool) -> anyhow::Result<ExitCode> {
    let address = address(text)?;
    let key = &app.keys.suppression;
    let mut tx = app.db.write().await?;
    let erased = erase::erase(&mut tx, key, key.hash(&address), refuse, app.now()).await?;
    let erased = erased.ok_or_else(|| unknown(&address))?;
    tx.commit().await?;
    if json {
        output::json(&serde_json::json!({ "erased": true, "cancelled": erased.cancelled, "refused": refuse }))?;
    } else {
        say!("erased; {} waiting deliveries cancelled", erased.cancelled);
    }
    Ok(ExitCode::SUCCESS)
}

/// An address that the operator wrote.
pub fn address(text: &str) -> anyhow::Result<Address> {
    Ok(Address::parse(text).map_err(|e| Failure::Input(format!("{text:?}: {e}")))?)
}

/// A date or instant that the operator wrote, not in the future.
pub fn past(app: &App, flag: &str, text: &str) -> anyhow::Result<When> {
    let when =
        dates::read(text, Order::Unknown, app.tz()).map_err(|e| Failure::Input(format!("{flag} {text:?}: {e}")))?;
    if when.is_after(app.now(), app.tz()) {
        return Err(Failure::Input(format!("{flag} {text:?} has not come yet")).into());
    }
    Ok(when)
}

/// Everything about a person who must be a contact.
pub async fn known(app: &App, address: &Address) -> anyhow::Result<Dossier> {
    let found = contacts::dossier(app, address).await?;
    if found.contact.is_none() { Err(unknown(address).into()) } else { Ok(found) }
}

/// Nobody has this address.
pub fn unknown(address: &Address) -> Failure {
    Failure::Input(format!("no contact has the address {address}; `ouinon suppress check` says what blocks it"))
}

fn print(found: &Dossier) {
    let Some(contact) = &found.contact else { return };
    say!("{}", found.address);
    // The profile as it is stored: what is empty is not known.
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(contact) {
        let mut table = output::table(&[]);
        for (name, value) in fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let shown = !["id", "address", "address_hash", "created_at", "changed_at"].contains(&name.as_str());
            if shown && !text.is_empty() {
                table.add_row([name, text]);
            }
        }
        say!("{table}");
    }
    if !found.consents.is_empty() {
        say!("\n{}", consent_table(&found.consents));
    }
    if !found.suppressions.is_empty() {
        say!("\n{}", suppression_table(&found.suppressions));
    }
    if !found.deliveries.is_empty() {
        let mut table = output::table(&["campaign", "state", "code", "submitted"]);
        for d in &found.deliveries {
            table.add_row([&d.campaign, d.state, &d.code, d.submitted_at.as_deref().unwrap_or("-")]);
        }
        say!("\n{table}");
    }
}

/// Events of consent.
pub fn consent_table(consents: &[Said]) -> Table {
    let mut table = output::table(&["consent", "product", "state", "at", "proof", "evidence", "origin"]);
    for c in consents {
        table.add_row([
            c.purpose.as_str(),
            if c.product.is_empty() { "(all)" } else { &c.product },
            c.state.as_str(),
            c.at.as_deref().unwrap_or("(not known)"),
            c.proof.as_str(),
            &c.evidence,
            c.origin.as_str(),
        ]);
    }
    table
}

/// Suppressions.
pub fn suppression_table(suppressions: &[Refused]) -> Table {
    let mut table = output::table(&["id", "covers", "reason", "since", "origin", "blocks", "note"]);
    for s in suppressions {
        let covers = format!("{} {}{}", s.scope, s.product, s.domain);
        let blocks = match (s.blocks, s.lifted_for.is_empty()) {
            (true, true) => "yes".to_owned(),
            (true, false) => format!("all but {}", s.lifted_for.join(", ")),
            (false, true) => "not yet".to_owned(),
            (false, false) => "no (lifted by the person)".to_owned(),
        };
        table.add_row([
            s.id.to_string(),
            covers.trim().to_owned(),
            s.reason.to_owned(),
            s.at.clone().unwrap_or_else(|| "(not known)".to_owned()),
            s.origin.to_owned(),
            blocks,
            s.note.clone(),
        ]);
    }
    table
}
