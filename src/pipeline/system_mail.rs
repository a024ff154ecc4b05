//! Mail that the program writes itself: confirmations of a subscription, copies of what is known.
//!
//! No pixel, no list headers, answered by no robot (RFC 3834). It goes to one address and is signed
//! like every other message.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{compile, preview};
use crate::{
    app::App,
    domain::{address::Address, campaign_file::CampaignFile, lang::Lang},
    mail::{
        compose::{Mailbox, Parts, Purpose, Text, compose},
        smtp::{Connection, Envelope, SubmitOutcome, Timeouts},
    },
    store::{self, Tx, campaigns},
};

/// A letter to one person.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Where it goes.
    pub to: Address,
    /// Subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The HTML, if there is one.
    pub html: Option<String>,
    /// The language of both.
    pub lang: Lang,
    /// What makes its Message-ID its own: the same letter sent again has the same.
    pub seed: String,
}

/// On whose behalf the program writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// What people read.
    pub name: String,
    /// The From.
    pub address: Address,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The server has it.
    Accepted,
    /// Refused for good.
    Refused,
    /// Not now: it may be tried again.
    Later,
    /// It may have left: it is not tried again.
    Unknown,
}

/// Why a letter cannot be written or sent.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// Nothing says from whom the program writes.
    #[error("nothing says from whom to write: set smtp.from in ouinon.toml (\"Name <address>\")")]
    NoAuthor,
    /// No mail server, or its URL is wrong.
    #[error("{0}")]
    Server(#[from] preview::PreviewError),
    /// The message would break a standard, or the signing key cannot be used.
    #[error("the message cannot be made: {0}")]
    Message(String),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

/// From whom the program writes: as configured, else as the newest campaign does, else the address
/// where people exercise their rights.
pub async fn author(app: &App, tx: &mut Tx) -> store::Result<Option<Author>> {
    let controller = &app.config.controller;
    if let Some(from) = &app.config.smtp.from {
        return Ok(Some(Author { name: from.name.clone(), address: from.address.clone() }));
    }
    for row in campaigns::all(tx).await?.iter().rev() {
        if let Ok(file) = CampaignFile::parse(&row.source, Some(row.format)) {
            return Ok(Some(Author { name: file.from.name, address: file.from.address }));
        }
    }
    let contact = Address::parse(&controller.contact).ok();
    Ok(contact.map(|address| Author { name: controller.name.clone(), address }))
}

/// The Message-ID of a letter, without brackets.
pub fn message_id(letter: &Letter, author: &Author) -> String {
    let digest = Sha256::digest(letter.seed.as_bytes());
    let unique: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!("{unique}@{}", author.address.domain())
}

/// The bytes of a letter, signed where there is a key.
pub fn written(app: &App, letter: &Letter, author: &Author, now: Timestamp) -> Result<Vec<u8>, LetterError> {
    let name = Some(author.name.as_str()).filter(|n| !n.is_empty());
    let mut bytes = compose(&Parts {
        purpose: Purpose::System,
        from: Mailbox { name, address: &author.address },
        to: Mailbox { name: None, address: &letter.to },
        reply_to: None,
        subject: &letter.subject,
        text: Text::Plain(&letter.text),
        html: letter.html.as_deref().map(Text::Plain),
        lang: letter.lang,
        date: now,
        message_id: &message_id(letter, author),
        feedback_id: None,
        test: false,
    })
    .map_err(|e| LetterError::Message(e.to_string()))?;
    let signer = compile::signer(app, author.address.domain()).map_err(|e| LetterError::Message(e.to_string()))?;
    if let Some(signer) = signer {
        let mut signed = signer.sign(&bytes, now);
        signed.append(&mut bytes);
        bytes = signed;
    }
    Ok(bytes)
}

/// Sends a letter over a connection of its own.
pub async fn send(app: &App, letter: &Letter, author: &Author) -> Result<Sent, LetterError> {
    let bytes = written(app, letter, author, app.now())?;
    let server = preview::server(app)?;
    let Ok(mut connection) = Connection::open(&server, Timeouts::default()).await else { return Ok(Sent::Later) };
    let envelope = Envelope { from: Some(author.address.clone()), to: letter.to.clone() };
    let sent = match connection.submit(&envelope, &bytes).await {
        SubmitOutcome::Accepted(_) => Sent::Accepted,
        SubmitOutcome::Refused { reply, .. } if reply.code >= 500 => Sent::Refused,
        SubmitOutcome::Refused { .. } | SubmitOutcome::NotSent(_) => Sent::Later,
        SubmitOutcome::Unknown(_) => Sent::Unknown,
    };
    connection.quit().await;
    Ok(sent)
}
