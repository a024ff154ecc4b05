//! Preview and test: the message as one contact would get it.

use secrecy::ExposeSecret;
use serde::Serialize;

use super::{
    compile::Compiled,
    deliver::prepare::{self, Copy, Permit, PrepareError},
    suppress,
};
use crate::{
    app::App,
    config::Config,
    domain::{
        address::Address,
        eligibility::{self, Basis, Decision, Outcome, Person},
        lang::Lang,
    },
    mail::smtp::{Connection, Envelope, Server, SubmitOutcome, Timeouts},
    store::{
        contacts::{self, Contact},
        facts,
    },
};

/// Addresses of a test, at most.
pub const TEST_LIMIT: usize = 5;

/// A message as a contact would get it, and whether it would.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// SEND or BLOCK.
    pub decision: &'static str,
    /// Basis or reason.
    pub code: &'static str,
    /// In one sentence, in the language of the message.
    pub sentence: String,
    /// Subject.
    pub subject: String,
    /// The header fields, unfolded lines as they stand.
    pub headers: String,
    /// The plain text.
    pub text: String,
    /// The HTML.
    pub html: String,
    /// The whole message.
    #[serde(skip)]
    pub eml: String,
}

/// A test that was sent.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// Where to.
    pub to: String,
    /// The server has it.
    pub accepted: bool,
    /// What it said.
    pub reply: String,
}

/// Why there is no preview, or no test.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// No contact of this address.
    #[error("no contact has this address; import it, or choose another one with --as")]
    NoContact,
    /// There is no contact at all to fill the merge fields from.
    #[error("there are no contacts to fill the merge fields from; import some, or choose one with --as")]
    NoContacts,
    /// The person refused; a test is mail too (SUP-1).
    #[error("{to} is on the suppression list: not even a test is sent there (SUP-1)")]
    Suppressed {
        /// Where to.
        to: Address,
    },
    /// No mail server is configured, or its URL is wrong.
    #[error("mail server: {0}")]
    Smtp(String),
    /// The message did not leave.
    #[error("the test was not sent: {0}")]
    NotSent(String),
    /// The message cannot be made.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

/// The message as this contact would get it now.
pub async fn as_contact(app: &App, campaign: &Compiled, address: &Address) -> Result<Preview, PreviewError> {
    let now = app.now();
    let mut tx = app.db.read().await?;
    let contact = contacts::by_hash(&mut tx, app.keys.suppression.hash(address)).await?;
    let contact = contact.ok_or(PreviewError::NoContact)?;
    let person = facts::of(&mut tx, std::slice::from_ref(&contact), &campaign.file.product).await?.remove(0);
    drop(tx);
    let decision = eligibility::decide(&app.rules, &campaign.terms, &person, now);
    let message = prepare::message(app, campaign, &contact, &permit(&decision, &person), Copy::Preview, now)?;
    let eml = String::from_utf8_lossy(&message.bytes).into_owned();
    let headers = eml.split_once("\r\n\r\n").map_or(eml.as_str(), |(headers, _)| headers).replace("\r\n", "\n");
    Ok(Preview {
        decision: if decision.outcome.is_send() { "SEND" } else { "BLOCK" },
        code: decision.outcome.code(),
        sentence: decision.sentence(Lang::from_tag(&contact.language).unwrap_or(app.config.controller.language)),
        subject: message.rendered.subject,
        headers,
        text: message.rendered.text,
        html: message.rendered.html,
        eml,
    })
}

/// Sends a marked copy to each address, as `contact` (or the first one there is) would get it.
/// Its links work and change nothing.
pub async fn test(
    app: &App,
    campaign: &Compiled,
    to: &[Address],
    contact: Option<&Address>,
) -> Result<Vec<Tested>, PreviewError> {
    let now = app.now();
    let mut tx = app.db.read().await?;
    let contact = match contact {
        Some(address) => {
            contacts::by_hash(&mut tx, app.keys.suppression.hash(address)).await?.ok_or(PreviewError::NoContact)?
        }
        None => contacts::page(&mut tx, 0, 1).await?.pop().ok_or(PreviewError::NoContacts)?,
    };
    for address in to {
        let found = suppress::check(&mut tx, &app.keys.suppression, address, now).await?;
        if found.iter().any(suppress::Finding::blocks) {
            return Err(PreviewError::Suppressed { to: address.clone() });
        }
    }
    let person = facts::of(&mut tx, std::slice::from_ref(&contact), &campaign.file.product).await?.remove(0);
    drop(tx);
    let decision = eligibility::decide(&app.rules, &campaign.terms, &person, now);
    let server = server(app)?;
    let mut connection =
        Connection::open(&server, Timeouts::default()).await.map_err(|e| PreviewError::Smtp(e.to_string()))?;
    let mut sent = Vec::new();
    for address in to {
        let contact = Contact { address: address.to_string(), ..contact.clone() };
        let message = prepare::message(app, campaign, &contact, &permit(&decision, &person), Copy::Test, now)?;
        let envelope = Envelope { from: Some(campaign.file.from.address.clone()), to: address.clone() };
        let (accepted, reply) = match connection.submit(&envelope, &message.bytes).await {
            SubmitOutcome::Accepted(reply) => (true, reply.to_string()),
            SubmitOutcome::Refused { reply, .. } => (false, reply.to_string()),
            SubmitOutcome::NotSent(error) | SubmitOutcome::Unknown(error) => {
                return Err(PreviewError::NotSent(error.to_string()));
            }
        };
        sent.push(Tested { to: address.to_string(), accepted, reply });
    }
    connection.quit().await;
    Ok(sent)
}

/// The mail server as configured.
pub fn server(app: &App) -> Result<Server, PreviewError> {
    server_of(&app.config)
}

/// The mail server that a configuration names.
pub fn server_of(config: &Config) -> Result<Server, PreviewError> {
    let smtp = &config.smtp;
    let url = smtp.url.as_ref().ok_or_else(|| {
        PreviewError::Smtp("none is configured: set smtp.url in ouinon.toml or OUINON_SMTP_URL".to_owned())
    })?;
    let mut server = Server::parse(url.expose_secret()).map_err(|e| PreviewError::Smtp(e.to_string()))?;
    if let Some(path) = &smtp.ca_file {
        let pem = std::fs::read(path).map_err(|e| PreviewError::Smtp(format!("{}: {e}", path.display())))?;
        server = server.trusting(&pem).map_err(|e| PreviewError::Smtp(format!("{}: {e}", path.display())))?;
    }
    if let Some(name) = &smtp.hello {
        server = server.greeted_as(name);
    }
    Ok(server)
}

/// The basis that the message states; to somebody who is blocked, what a consent would make it say.
fn permit(decision: &Decision, person: &Person) -> Permit {
    let basis = match decision.outcome {
        Outcome::Send(basis) => basis,
        Outcome::Block(_) => Basis::Consent,
    };
    Permit { basis, tracking: decision.tracking, consent: person.tracking }
}
