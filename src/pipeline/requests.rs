//! What people ask of the operator by the pages: recorded, due within a month, and dealt with (GD-4).
//!
//! A mail may have been forwarded, and its link with it: a request shows and sends nothing by itself.
//! A copy goes to the address on file only.

use jiff::{Timestamp, civil::Date};
use serde::Serialize;

use super::{
    contacts as people, preferences, suppress,
    system_mail::{self, Letter, LetterError, Sent},
};
use crate::{
    app::App,
    domain::{
        address::{Address, AddressHash},
        lang::{Lang, french_that},
        requests::{self as rules, RequestKind},
    },
    store::{
        self, Tx, contacts,
        requests::{self, Request},
    },
};

/// What became of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Recorded.
    New(Request),
    /// The same was asked for before and waits for its answer.
    Waits(Request),
    /// Nothing is known of this person any more.
    Nobody,
}

/// Records what a person asks for. What waits already is not recorded twice.
pub async fn ask(
    app: &App,
    tx: &mut Tx,
    person: AddressHash,
    campaign: Option<i64>,
    kind: RequestKind,
    text: &str,
) -> store::Result<Asked> {
    suppress::lock_person(tx, person).await?;
    if contacts::by_hash(tx, person).await?.is_none() {
        return Ok(Asked::Nobody);
    }
    let text = rules::tidy(text);
    let waiting = waiting(tx, person).await?;
    let same: Vec<&Request> = waiting.iter().filter(|r| r.kind == kind).collect();
    let full = kind != RequestKind::Correction || same.len() >= rules::MAX_OPEN_CORRECTIONS;
    if let Some(same) = same.into_iter().find(|r| full || r.text == text) {
        return Ok(Asked::Waits(same.clone()));
    }
    let due_on = rules::due_on(preferences::today(app)).to_string();
    let id = requests::add(tx, kind, person, campaign, &text, (app.now().as_millisecond(), &due_on)).await?;
    let new = requests::by_id(tx, id).await?;
    new.map(Asked::New).ok_or(sqlx::Error::RowNotFound)
}

/// What a person asked for that is not dealt with yet, oldest first.
pub async fn waiting(tx: &mut Tx, person: AddressHash) -> store::Result<Vec<Request>> {
    let all = requests::of_person(tx, person).await?;
    Ok(all.into_iter().filter(|r| r.done_at.is_none()).collect())
}

/// A request as the operator sees it.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Number, by which it is named.
    pub id: i64,
    /// What is asked for.
    pub kind: RequestKind,
    /// The address on file; none once the person is erased.
    pub address: Option<String>,
    /// What the person wrote.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When, RFC 3339.
    pub received_at: String,
    /// The last day for an answer.
    pub due_on: String,
    /// Days left until then; negative when it is over. None once it was dealt with.
    pub days_left: Option<i64>,
    /// When it was dealt with, RFC 3339.
    pub done_at: Option<String>,
    /// What the operator wrote.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The requests that wait, the first due first; with `all` those that were dealt with too.
pub async fn list(app: &App, all: bool) -> store::Result<Vec<Listed>> {
    let mut tx = app.db.read().await?;
    let today = preferences::today(app);
    let found = requests::all(&mut tx).await?;
    Ok(found.into_iter().filter(|r| all || r.done_at.is_none()).map(|r| listed(r, today)).collect())
}

fn listed(r: Request, today: Date) -> Listed {
    let due: Option<Date> = r.due_on.parse().ok().filter(|_| r.done_at.is_none());
    Listed {
        id: r.id,
        kind: r.kind,
        address: r.address,
        text: r.text,
        received_at: instant(r.received_at),
        due_on: r.due_on,
        days_left: due.and_then(|due| today.until(due).ok()).map(|span| i64::from(span.get_days())),
        done_at: r.done_at.map(instant),
        note: r.note,
    }
}

/// Why a request is not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// No request has this number.
    #[error("there is no request {0}; `ouinon request list --all` shows those there are")]
    Unknown(i64),
    /// It was dealt with before.
    #[error("the request {0} was dealt with before")]
    Already(i64),
    /// Only a request for a copy has a copy to send.
    #[error("the request {id} asks for {kind}: only a copy is sent")]
    NoCopy {
        /// Which.
        id: i64,
        /// What it asks for.
        kind: RequestKind,
    },
    /// The person is still there, and nothing says why.
    #[error(
        "the request {0} asks for an erasure and the person is still on file: erase them first (`ouinon contact \
         erase`), or say with --note why they are kept"
    )]
    StillThere(i64),
    /// There is no address on file any more.
    #[error("the request {0} is of somebody who is no longer on file: there is nothing to send, and nowhere")]
    Gone(i64),
    /// The letter did not leave.
    #[error("the copy was not sent: {0}")]
    NotSent(String),
    /// The letter cannot be written.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

/// Notes that a request was dealt with.
pub async fn done(app: &App, id: i64, note: &str) -> Result<Listed, EndError> {
    let mut tx = app.db.write().await?;
    let request = open(&mut tx, id).await?;
    if request.kind == RequestKind::Erasure && request.address.is_some() && note.trim().is_empty() {
        return Err(EndError::StillThere(id));
    }
    end(app, tx, id, note.trim()).await
}

/// Mails the copy of a person's data to the address on file, and nowhere else, then ends the request.
pub async fn send_copy(app: &App, id: i64) -> Result<Listed, EndError> {
    let mut tx = app.db.read().await?;
    let request = open(&mut tx, id).await?;
    if request.kind != RequestKind::Copy {
        return Err(EndError::NoCopy { id, kind: request.kind });
    }
    let contact = contacts::by_hash(&mut tx, request.address_hash).await?.ok_or(EndError::Gone(id))?;
    let author = system_mail::author(app, &mut tx).await?.ok_or(LetterError::NoAuthor)?;
    drop(tx);
    let to = Address::parse(&contact.address).map_err(|_| EndError::Gone(id))?;
    let dossier = people::dossier(app, &to).await?;
    let json = serde_json::to_string_pretty(&dossier).map_err(|e| LetterError::Message(e.to_string()))?;
    let lang = Lang::from_tag(&contact.language).unwrap_or(app.config.controller.language);
    let letter = copy_letter(app, to, &json, lang, id);
    match system_mail::send(app, &letter, &author).await? {
        Sent::Accepted => {}
        Sent::Refused => return Err(EndError::NotSent("the mail server refused it for good".into())),
        Sent::Later => return Err(EndError::NotSent("the mail server does not take it now; try again".into())),
        Sent::Unknown => {
            return Err(EndError::NotSent("the connection broke: ask the mail server whether it left".into()));
        }
    }
    let tx = app.db.write().await?;
    end(app, tx, id, "the copy was mailed to the address on file").await
}

fn copy_letter(app: &App, to: Address, json: &str, lang: Lang, id: i64) -> Letter {
    let sender = preferences::sender(app, lang);
    let that = french_that(&sender);
    let (subject, text) = lang.pick(
        (
            format!("Vos données chez {sender}"),
            format!(
                "Bonjour,\n\nvous avez demandé une copie des données {that} détient à votre sujet. La voici, \
                 dans un format que les programmes lisent aussi (JSON).\n\nVous pouvez à tout moment vous opposer à \
                 leur utilisation pour la prospection, les faire corriger ou effacer.\n\n{json}\n"
            ),
        ),
        (
            format!("Your data at {sender}"),
            format!(
                "Hello,\n\nyou asked for a copy of the data that {sender} holds about you. Here it is, in a format \
                 that programs read, too (JSON).\n\nYou can object at any time to its use for direct marketing, and \
                 have it corrected or erased.\n\n{json}\n"
            ),
        ),
    );
    Letter { to, subject, text, html: None, lang, seed: format!("copy {id} {}", app.now()) }
}

async fn open(tx: &mut Tx, id: i64) -> Result<Request, EndError> {
    let request = requests::by_id(tx, id).await?.ok_or(EndError::Unknown(id))?;
    if request.done_at.is_some() { Err(EndError::Already(id)) } else { Ok(request) }
}

async fn end(app: &App, mut tx: Tx, id: i64, note: &str) -> Result<Listed, EndError> {
    if !requests::done(&mut tx, id, note, app.now().as_millisecond()).await? {
        return Err(EndError::Already(id));
    }
    let request = requests::by_id(&mut tx, id).await?.ok_or(EndError::Unknown(id))?;
    tx.commit().await?;
    Ok(listed(request, preferences::today(app)))
}

fn instant(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string())
}
