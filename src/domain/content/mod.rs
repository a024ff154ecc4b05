//! The content of a campaign: frozen once at create and launch, rendered per recipient.
//!
//! [`freeze`] turns the body into an HTML and a text template, checks it, and injects what the
//! law wants to see and no marketer may leave out: who sends, why, how to stop, how to object
//! (FR-4, GD-3). [`Message::render`] fills both parts for one person.

mod entities;
mod footer;
mod freeze;
mod html;
mod lint;
mod markdown;
mod plain;
mod protect;
mod sentences;
mod wording;

pub use freeze::freeze;
pub use lint::{Finding, Level};

use jiff::civil::Date;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::{
    campaigns::CampaignKind,
    contacts::SourceKind,
    eligibility::Basis,
    lang::Lang,
    merge::MergeContact,
    templates::{Engine, Escape, MAX_VALUE_CHARS, RenderError},
};

/// On whose behalf we write, as configured (FR-4, GD-3, US-2, CA-5).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Controller {
    /// Legal name.
    pub name: String,
    /// Postal address, on one line or several.
    pub postal_address: Option<String>,
    /// Where rights are exercised: an address or a page. None: the sender's own address.
    pub contact: Option<String>,
    /// Retention in months after the last contact coming from the person, for the notice.
    pub retention_months: Option<u32>,
}

/// What a campaign sends, as it stood when it was frozen. Stored with it as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Template of the subject.
    pub subject: String,
    /// Template of the HTML part, footer slot included.
    pub html: String,
    /// Template of the text part, footer slot included.
    pub text: String,
    /// Slug of the campaign.
    pub campaign: String,
    /// What the campaign is.
    pub kind: CampaignKind,
    /// Language tag of the campaign, if it states one.
    pub language: Option<String>,
    /// Slug of the product.
    pub product: String,
    /// Name of the product.
    pub product_name: String,
    /// Name of the sender, as in `From`.
    pub sender_name: String,
    /// Address of the sender.
    pub sender_email: String,
    /// On whose behalf.
    pub controller: Controller,
    /// The footer carries the full article 13/14 notice.
    pub art14_notice: bool,
    /// What the lint found.
    pub findings: Vec<Finding>,
}

impl Frozen {
    /// The language of the injected parts for this contact: the campaign's, else the contact's.
    /// A language that is neither French nor English gets English; nothing known, French.
    pub fn lang(&self, contact: &MergeContact) -> Lang {
        let tag = self.language.as_deref().or_else(|| contact.get("language"));
        tag.map_or(Lang::Fr, |tag| Lang::from_tag(tag).unwrap_or(Lang::En))
    }
}

/// What is said to one person besides the content; all of it comes from the decision and the contact.
#[derive(Debug, Clone, Copy)]
pub struct Injected<'a> {
    /// Why the person may be written to.
    pub basis: Basis,
    /// Opens the page to unsubscribe.
    pub unsubscribe_url: &'a str,
    /// Opens the preferences, if there is such a page.
    pub preferences_url: Option<&'a str>,
    /// Opens "why did I get this?", if there is such a page.
    pub why_url: Option<&'a str>,
    /// Where the address comes from, in the words of the import.
    pub source: Option<&'a str>,
    /// Kind of that source.
    pub source_kind: SourceKind,
    /// When the address was collected, in the controller's time zone.
    pub collected_at: Option<Date>,
    /// A test send: marked, and its links change nothing.
    pub test: bool,
}

/// A message before it becomes MIME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Subject: one line, without control characters.
    pub subject: String,
    /// HTML part.
    pub html: String,
    /// Text part; lines end in LF.
    pub text: String,
}

/// A frozen campaign, compiled: made once, shared by the senders.
#[derive(Debug)]
pub struct Message {
    frozen: Frozen,
    engine: Engine,
}

impl Message {
    /// Compiles. What [`freeze`] gave compiles.
    pub fn new(frozen: Frozen) -> Result<Message, RenderError> {
        let mut engine = Engine::new();
        engine.add("subject", Escape::None, &frozen.subject).map_err(RenderError::Engine)?;
        engine.add("body", Escape::None, &frozen.text).map_err(RenderError::Engine)?;
        engine.add("body", Escape::Html, &frozen.html).map_err(RenderError::Engine)?;
        Ok(Message { frozen, engine })
    }

    /// What was compiled.
    pub fn frozen(&self) -> &Frozen {
        &self.frozen
    }

    /// The message for one person.
    ///
    /// A field that the contact lacks is empty and never an error. Errors: a line break or NUL
    /// that a field brings into the subject (H07), or a contact whose fields make the message
    /// longer than any mail may be.
    pub fn render(&self, contact: &MergeContact, injected: &Injected<'_>) -> Result<Rendered, RenderError> {
        let frozen = &self.frozen;
        let lang = frozen.lang(contact);
        let values = values(frozen, contact);
        let subject = self.engine.render("subject", Escape::None, &values)?;
        let subject = clean_subject(&subject, injected.test)?;
        let footer = footer::paragraphs(frozen, contact, injected, lang);
        let html_slots = context! {
            banner => Value::from_safe_string(footer::banner_html(injected.test, lang)),
            footer => Value::from_safe_string(footer::html(&footer, lang)),
        };
        let text_slots = context! {
            banner => footer::banner_text(injected.test, lang),
            footer => footer::text(&footer),
        };
        let with =
            |slots: Value| context! { campaign => campaign(frozen, &subject), ouinon => slots, ..values.clone() };
        let html = self.engine.render("body", Escape::Html, &with(html_slots))?;
        let text = self.engine.render("body", Escape::None, &with(text_slots))?;
        Ok(Rendered { subject, html, text: plain::tidy(&text) })
    }
}

fn values(frozen: &Frozen, contact: &MergeContact) -> Value {
    let fields = MergeContact::FIELDS.iter().map(|field| (*field, merge_value(contact.get(field))));
    context! {
        contact => Value::from_pairs(fields),
        product => context! { name => frozen.product_name.as_str(), slug => frozen.product.as_str() },
        sender => context! { name => frozen.sender_name.as_str(), email => frozen.sender_email.as_str() },
        campaign => campaign(frozen, ""),
    }
}

fn campaign(frozen: &Frozen, subject: &str) -> Value {
    context! { slug => frozen.campaign.as_str(), subject => subject }
}

/// A missing field is empty text; a field longer than any name is cut.
fn merge_value(value: Option<&str>) -> Value {
    let value = value.unwrap_or_default();
    match value.char_indices().nth(MAX_VALUE_CHARS) {
        Some((cut, _)) => Value::from(&value[..cut]),
        None => Value::from(value),
    }
}

/// One line without control characters; CR, LF and NUL are refused (H07).
fn clean_subject(subject: &str, test: bool) -> Result<String, RenderError> {
    let subject = subject.trim();
    if subject.contains(['\r', '\n', '\0']) {
        return Err(RenderError::HeaderInjection);
    }
    let words: Vec<&str> =
        subject.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    Ok(if test { format!("[TEST] {line}") } else { line })
}

#[cfg(test)]
mod tests;
