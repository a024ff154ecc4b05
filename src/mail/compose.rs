//! One message as bytes (RFC 5322, 2045, 2369, 2919, 8058; rules 5.2 and table 8.4).

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{Timestamp, fmt::rfc2822};
use sha2::{Digest, Sha256};

use super::{
    headers::{HeaderError, of_atoms_and, push_mailbox, push_phrase, push_text, push_word, push_words},
    quoted,
};
use crate::domain::{
    address::{Address, push_hex},
    lang::Lang,
};

/// Everything a message is made of. Two equal `Parts` make equal bytes.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// What stream it belongs to; decides the list headers.
    pub purpose: Purpose<'a>,
    /// Author.
    pub from: Mailbox<'a>,
    /// The one recipient.
    pub to: Mailbox<'a>,
    /// Where answers go, if not to `from`.
    pub reply_to: Option<Mailbox<'a>>,
    /// Subject, any Unicode text without line break.
    pub subject: &'a str,
    /// The plain text.
    pub text: Text<'a>,
    /// The HTML; without it the message is plain text only.
    pub html: Option<Text<'a>>,
    /// The language of the text.
    pub lang: Lang,
    /// Date of the message.
    pub date: Timestamp,
    /// `unique@domain`, without angle brackets.
    pub message_id: &'a str,
    /// For Gmail's feedback loop, when configured.
    pub feedback_id: Option<&'a FeedbackId>,
    /// A test sending: marked with `X-Ouinon-Test: yes`.
    pub test: bool,
}

/// The text of a part.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// As it is read.
    Plain(&'a str),
    /// In quoted-printable already, as [`quoted::push`] writes it, in pieces.
    Quoted(&'a [&'a str]),
}

/// What stream a message belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Marketing and re-permission: list headers and one-click (OC-1).
    Marketing(List<'a>),
    /// Belongs to a running relation: no one-click, no Precedence (H11).
    Service,
    /// Written by the program, such as a confirmation: answered by no robot (RFC 3834).
    System,
}

/// The list that a marketing message belongs to: a product and its way out.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// The product's name.
    pub name: &'a str,
    /// The product's slug: List-Id is `slug.DOMAIN` with the domain of `from`.
    pub slug: &'a str,
    /// The recipient's one-click address: https, or http on loopback (H04).
    pub unsubscribe_url: &'a str,
    /// The `mailto:` of RFC 2369, where mail that asks to unsubscribe is read; none by default.
    pub unsubscribe_mailto: Option<&'a str>,
}

/// A name and an address.
#[derive(Debug, Clone, Copy)]
pub struct Mailbox<'a> {
    /// What people read.
    pub name: Option<&'a str>,
    /// Where it goes.
    pub address: &'a Address,
}

/// `Feedback-ID: campaign:stream:tenant:sender` (rules H-5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackId(String);

/// Why a message cannot be made. Names the field, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// A value cannot stand in a header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The one-click address is neither https nor http on loopback, or no plain URL (H04).
    #[error("the unsubscribe address must be https (http only on loopback), a plain URL of at most 900 characters")]
    UnsubscribeUrl,
    /// The slug is no part of a list identifier (RFC 2919).
    #[error("the product's slug cannot stand in List-Id: letters, digits and hyphens only")]
    Slug,
    /// No `left@right` of letters, digits and common signs.
    #[error("the message id must be left@right, without brackets or spaces")]
    MessageId,
    /// A sender id outside 5–15 characters, more than 3 other ids, or a sign not allowed (H-5, H10).
    #[error("the Feedback-ID needs a sender id of 5 to 15 letters, digits, - or _, and at most 3 ids before it")]
    FeedbackId,
}

/// Makes the message: CRLF line ends, ASCII but for a UTF-8 local part in an address, no line over 998 octets.
pub fn compose(parts: &Parts) -> Result<Vec<u8>, ComposeError> {
    compose_into(Vec::new(), parts)
}

/// [`compose`], into a buffer behind what it holds.
pub fn compose_into(mut out: Vec<u8>, parts: &Parts) -> Result<Vec<u8>, ComposeError> {
    let room = |text: Text| match text {
        Text::Plain(text) => text.len() * 4 / 3,
        Text::Quoted(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
    };
    // Room for the headers, and for the signatures that a signer puts before them.
    out.reserve(4096 + room(parts.text) + parts.html.map_or(0, room));
    push_mailbox(&mut out, "From", parts.from.name, parts.from.address)?;
    push_mailbox(&mut out, "To", parts.to.name, parts.to.address)?;
    if let Some(reply_to) = parts.reply_to {
        push_mailbox(&mut out, "Reply-To", reply_to.name, reply_to.address)?;
    }
    push_all(&mut out, &["Date: ", &date(parts.date), "\r\n"]);
    check_message_id(parts.message_id)?;
    push_all(&mut out, &["Message-ID: <", parts.message_id, ">\r\n"]);
    push_text(&mut out, "Subject", parts.subject)?;
    match parts.purpose {
        Purpose::Marketing(list) => push_list(&mut out, list, parts.from.address.domain())?,
        Purpose::Service => {}
        Purpose::System => push_all(&mut out, &["Auto-Submitted: auto-generated\r\n"]),
    }
    if let Some(FeedbackId(id)) = parts.feedback_id {
        push_words(&mut out, "Feedback-ID", id)?;
    }
    push_all(&mut out, &["Content-Language: ", parts.lang.as_str(), "\r\n"]);
    push_all(&mut out, &[if parts.test { "X-Ouinon-Test: yes\r\n" } else { "" }, "MIME-Version: 1.0\r\n"]);
    push_body(&mut out, parts);
    Ok(out)
}

fn push_list(out: &mut Vec<u8>, list: List, domain: &str) -> Result<(), ComposeError> {
    if !is_label(list.slug) {
        return Err(ComposeError::Slug);
    }
    if !unsubscribe_url_ok(list.unsubscribe_url) {
        return Err(ComposeError::UnsubscribeUrl);
    }
    push_phrase(out, "List-Id", Some(list.name), [list.slug, ".", domain])?;
    match list.unsubscribe_mailto {
        None => push_word(out, "List-Unsubscribe", &["<", list.unsubscribe_url, ">"])?,
        Some(uri) => push_words(out, "List-Unsubscribe", &format!("<{}>, <{uri}>", list.unsubscribe_url))?,
    }
    push_all(out, &["List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nPrecedence: bulk\r\n"]);
    Ok(())
}

/// The rest of the header and the body, in quoted-printable or base64 always (rules H-1).
fn push_body(out: &mut Vec<u8>, parts: &Parts) {
    let Some(html) = parts.html else {
        push_part(out, "plain", parts.text);
        if !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        return;
    };
    let boundary = boundary(parts.message_id);
    push_all(out, &["Content-Type: multipart/alternative; boundary=\"", &boundary, "\"\r\n\r\n"]);
    for (subtype, part) in [("plain", parts.text), ("html", html)] {
        push_all(out, &["--", &boundary, "\r\n"]);
        push_part(out, subtype, part);
        // The line end before a boundary belongs to the boundary.
        out.extend_from_slice(b"\r\n");
    }
    push_all(out, &["--", &boundary, "--\r\n"]);
}

fn push_part(out: &mut Vec<u8>, subtype: &str, part: Text) {
    push_all(out, &["Content-Type: text/", subtype, "; charset=utf-8\r\nContent-Transfer-Encoding: "]);
    match part {
        Text::Plain(text) if !quoted::suits(text) => {
            out.extend_from_slice(b"base64\r\n\r\n");
            push_base64(out, text);
        }
        Text::Plain(text) => {
            let mut encoded = String::new();
            quoted::push(&mut encoded, text);
            push_all(out, &["quoted-printable\r\n\r\n", &encoded]);
            quoted::finish(out);
        }
        Text::Quoted(pieces) => {
            push_all(out, &["quoted-printable\r\n\r\n"]);
            push_all(out, pieces);
            quoted::finish(out);
        }
    }
}

fn push_base64(out: &mut Vec<u8>, text: &str) {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
    for (i, line) in BASE64_STANDARD.encode(text).as_bytes().chunks(76).enumerate() {
        out.extend_from_slice(if i > 0 { b"\r\n" } else { b"" });
        out.extend_from_slice(line);
    }
}

fn push_all(out: &mut Vec<u8>, pieces: &[&str]) {
    pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
}

/// A boundary that no encoded body can hold (`=_`), the same for the same message.
fn boundary(message_id: &str) -> String {
    let digest = Sha256::digest(message_id.as_bytes());
    let mut boundary = String::with_capacity(2 + 24);
    boundary.push_str("=_");
    push_hex(&mut boundary, &digest[..12]);
    boundary
}

fn date(date: Timestamp) -> String {
    let printer = rfc2822::DateTimePrinter::new();
    let utc = date.to_zoned(jiff::tz::TimeZone::UTC);
    printer.zoned_to_string(&utc).expect("years of a message have four digits")
}

fn check_message_id(id: &str) -> Result<(), ComposeError> {
    let part_ok = |part: &str| !part.is_empty() && part.bytes().all(|b| OF_IDS[usize::from(b)]);
    match id.split_once('@') {
        Some((left, right)) if part_ok(left) && part_ok(right) && id.len() <= 250 => Ok(()),
        _ => Err(ComposeError::MessageId),
    }
}

/// What a message id is made of.
const OF_IDS: [bool; 256] = of_atoms_and(b'.');

fn is_label(slug: &str) -> bool {
    (1..=63).contains(&slug.len()) && slug.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn unsubscribe_url_ok(url: &str) -> bool {
    let sign_ok = |b| matches!(b, b'!'..=b'~') & (b != b'<') & (b != b'>') & (b != b'"') & (b != b',') & (b != b'\\');
    let plain = url.len() <= 900 && url.bytes().fold(true, |all, b| all & sign_ok(b));
    let host_ok = match url.split_once("://") {
        Some(("https", rest)) => !rest.is_empty() && !rest.starts_with('/'),
        Some(("http", rest)) => is_loopback(rest),
        _ => false,
    };
    plain && host_ok
}

/// The authority of `host[:port]/path` is this machine.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FeedbackId {
    /// Up to three ids (campaign, stream, tenant) and the sender id of 5 to 15 characters, stable
    /// over time. Never a value per recipient.
    pub fn new(ids: &[&str], sender: &str) -> Result<FeedbackId, ComposeError> {
        let sign_ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
        let id_ok = |id: &&str| id.len() <= 100 && id.bytes().all(sign_ok);
        let sender_ok = (5..=15).contains(&sender.len()) && sender.bytes().all(sign_ok);
        if ids.len() > 3 || !ids.iter().all(id_ok) || !sender_ok {
            return Err(ComposeError::FeedbackId);
        }
        let mut text = ids.join(":");
        text.extend(std::iter::repeat_n(':', 4 - ids.len().max(1)));
        text.push_str(sender);
        Ok(FeedbackId(text))
    }
}

#[cfg(test)]
mod tests;
