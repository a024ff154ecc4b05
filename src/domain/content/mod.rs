//! The content of a campaign: frozen once at create and launch, rendered per recipient.
//!
//! [`freeze`] turns the body into an HTML and a text template, checks it, and injects what the
//! law wants to see and no marketer may leave out: who sends, why, how to stop, how to object
//! (FR-4, GD-3). [`Message::render`] fills both parts for one person.

mod entities;
mod footer;
mod footers;
mod freeze;
mod html;
mod lint;
mod markdown;
mod plain;
mod plainness;
mod protect;
mod question;
mod sentences;
mod wording;

pub use freeze::freeze;
pub use lint::{Finding, Level};

use std::borrow::Cow;

use jiff::civil::Date;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use footers::{Footer, Footers};

use super::{
    campaigns::CampaignKind,
    contacts::SourceKind,
    eligibility::Basis,
    lang::Lang,
    merge::MergeContact,
    templates::{self, Encoded, Engine, Escape, Filled, Lines, MAX_VALUE_CHARS, Print, RenderError, Sheet, Transfer},
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
    /// Where the links lead that can be followed by their number, from 1 on.
    #[serde(default)]
    pub links: Vec<String>,
    /// What the lint found.
    pub findings: Vec<Finding>,
}

impl Frozen {
    /// The language of the injected parts for this contact: the campaign's, else the contact's.
    /// A language that is neither French nor English gets English; nothing known, French.
    pub fn lang(&self, contact: &MergeContact<impl AsRef<str>>) -> Lang {
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
    /// Opens the message in a browser, if there is such a page.
    pub view_url: Option<&'a str>,
    /// Opens the page where the question of a re-permission is answered; none for other messages.
    pub answer_url: Option<&'a str>,
    /// Where the address comes from, in the words of the import.
    pub source: Option<&'a str>,
    /// Kind of that source.
    pub source_kind: SourceKind,
    /// When the address was collected, in the controller's time zone; read only where the source is told.
    pub collected_at: Option<Date>,
    /// A test send: marked, and its links change nothing.
    pub test: bool,
    /// How the message is tracked.
    pub tracks: Tracks<'a>,
}

/// What makes a message tracked; nothing by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tracks<'a> {
    /// What the number of a link is added to. None: plain links.
    pub click_url: Option<&'a str>,
    /// Where the pixel is. None: no pixel.
    pub pixel_url: Option<&'a str>,
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

/// A message on its way to MIME: what [`Rendered`] says, its parts encoded already where they can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed<'m> {
    /// As in [`Rendered`].
    pub subject: String,
    /// The HTML part.
    pub html: Part<'m>,
    /// The text part, encoded like the HTML part or not.
    pub text: Part<'m>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'m> {
    /// As it is read.
    Plain(String),
    /// As it goes over the wire, in the encoding that [`Message::encoded_by`] was given.
    Encoded(Filled<'m>),
}

/// Why a person got the message, in the sentence that it carried (GD-1).
pub fn reason(frozen: &Frozen, basis: Basis, lang: Lang) -> String {
    sentences::reason(frozen, basis, lang)
}

/// Where an address comes from: in the words of the import, else by its kind (GD-3).
pub fn source(words: &str, kind: SourceKind, lang: Lang) -> String {
    sentences::source_in_words(Some(words), kind, lang)
}

/// A frozen campaign, compiled: made once, shared by the senders.
#[derive(Debug)]
pub struct Message {
    frozen: Frozen,
    engine: Engine,
    /// What is the same for everybody.
    common: Value,
    /// Prints the HTML part in its encoding.
    stencils: Option<Stencils>,
}

/// What prints the HTML part in its encoding.
#[derive(Debug)]
struct Stencils {
    engine: Engine,
    footers: Footers,
    transfer: Transfer,
    /// All of the message, where it only prints fields.
    sheets: Option<Sheets>,
}

#[derive(Debug)]
struct Sheets {
    subject: Sheet<Field>,
    text: Lines<Field>,
    html: Sheet<Field>,
}

/// What a sheet can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// By its name.
    Contact(&'static str),
    ProductName,
    ProductSlug,
    SenderName,
    SenderEmail,
    CampaignSlug,
    Subject,
    Banner,
    Footer,
    Pixel,
}

impl Field {
    fn find(root: &str, name: &str) -> Option<Field> {
        Some(match (root, name) {
            ("contact", name) => Field::Contact(MergeContact::FIELDS.iter().find(|field| **field == name)?),
            ("product", "name") => Field::ProductName,
            ("product", "slug") => Field::ProductSlug,
            ("sender", "name") => Field::SenderName,
            ("sender", "email") => Field::SenderEmail,
            ("campaign", "slug") => Field::CampaignSlug,
            ("campaign", "subject") => Field::Subject,
            ("ouinon", "banner") => Field::Banner,
            ("ouinon", "footer") => Field::Footer,
            ("ouinon", "pixel") => Field::Pixel,
            _ => return None,
        })
    }
}

impl Message {
    /// Compiles. What [`freeze`] gave compiles.
    pub fn new(frozen: Frozen) -> Result<Message, RenderError> {
        let mut engine = Engine::new();
        engine.add("subject", Escape::None, &frozen.subject).map_err(RenderError::Engine)?;
        engine.add("body", Escape::None, &frozen.text).map_err(RenderError::Engine)?;
        engine.add("body", Escape::Html, &frozen.html).map_err(RenderError::Engine)?;
        let common = context! {
            product => context! { name => frozen.product_name.as_str(), slug => frozen.product.as_str() },
            sender => context! { name => frozen.sender_name.as_str(), email => frozen.sender_email.as_str() },
        };
        Ok(Message { frozen, engine, common, stencils: None })
    }

    /// Encodes the words of the HTML part once, by `transfer`, so that [`Message::print`] encodes only
    /// what differs between people. Where that cannot be, nothing changes.
    ///
    /// Whatever a stage adds to the HTML part for each person (a tracked link, a pixel) is a slot of the
    /// template, `{{ ouinon.… }}`, put there by [`freeze`]; its value is given in `with_slots` and goes
    /// both ways.
    pub fn encoded_by(mut self, transfer: Transfer) -> Message {
        self.stencils = templates::stencil(&self.frozen.html, transfer).and_then(|stencil| {
            let mut engine = Engine::of_stencils(transfer);
            engine.add("body", Escape::Html, &stencil).ok()?;
            let (footers, sheets) = (Footers::new(transfer), Sheets::read(&self.frozen, transfer));
            Some(Stencils { engine, footers, transfer, sheets })
        });
        self
    }

    /// What was compiled.
    pub fn frozen(&self) -> &Frozen {
        &self.frozen
    }

    /// Whether it says to whom comes from a source of this kind what that source is, and since when.
    pub fn tells_the_source(&self, kind: SourceKind) -> bool {
        footer::names_the_source(&self.frozen, kind)
    }

    /// The message for one person, to be looked at.
    ///
    /// A field that the contact lacks is empty and never an error. Errors: a line break or NUL
    /// that a field brings into the subject (H07), or a contact whose fields make the message
    /// longer than any mail may be.
    pub fn render(
        &self,
        contact: &MergeContact<impl AsRef<str>>,
        injected: &Injected<'_>,
    ) -> Result<Rendered, RenderError> {
        let lang = self.frozen.lang(contact);
        let words = self.words(contact, injected)?;
        let footer = footer::paragraphs(&self.frozen, contact.get("country"), injected, lang);
        let html_footer = question::html(&self.frozen, injected, lang) + &footer::html(&footer, lang);
        let text_footer = question::text(&self.frozen, injected, lang) + &footer::text(&footer);
        let html = words.html(&self.engine, Value::from_safe_string(html_footer))?;
        let text = words.text(&self.engine, Value::from(text_footer))?;
        Ok(Rendered { subject: words.subject, html, text })
    }

    /// The message for one person, to be sent: the same words, with the work done that need not wait
    /// for a person. Errors: as [`Message::render`].
    pub fn print(
        &self,
        contact: &MergeContact<impl AsRef<str>>,
        injected: &Injected<'_>,
    ) -> Result<Printed<'_>, RenderError> {
        let plain =
            |Rendered { subject, html, text }| Printed { subject, html: Part::Plain(html), text: Part::Plain(text) };
        // A question is put to few, and not as fast: its words are not prepared.
        let Some(stencils) = self.stencils.as_ref().filter(|_| injected.answer_url.is_none()) else {
            return self.render(contact, injected).map(plain);
        };
        let lang = self.frozen.lang(contact);
        let footer = stencils.footers.of(&self.frozen, contact.get("country"), injected, lang);
        let printed = match &stencils.sheets {
            Some(sheets) => self.fill(sheets, contact, injected, &footer, lang),
            None => self.run(stencils, contact, injected, &footer),
        };
        match printed {
            // Encoded it is longer: only its own length counts.
            Err(RenderError::TooLong) => self.render(contact, injected).map(plain),
            printed => printed,
        }
    }

    fn run(
        &self,
        stencils: &Stencils,
        contact: &MergeContact<impl AsRef<str>>,
        injected: &Injected<'_>,
        footer: &Footer<'_>,
    ) -> Result<Printed<'_>, RenderError> {
        let words = self.words(contact, injected)?;
        let mut html_footer = String::new();
        footer.push_html(&mut html_footer);
        let html = words.html(&stencils.engine, Value::from_object(Encoded(html_footer)))?;
        let text = words.text(&self.engine, Value::from(footer.text()))?;
        let mut encoded = String::new();
        (stencils.transfer)(&mut encoded, &text);
        let (html, text) = (Part::Encoded(html.into()), Part::Encoded(encoded.into()));
        Ok(Printed { subject: words.subject, html, text })
    }

    fn fill<'m>(
        &self,
        sheets: &'m Sheets,
        contact: &MergeContact<impl AsRef<str>>,
        injected: &Injected<'_>,
        footer: &Footer<'_>,
        lang: Lang,
    ) -> Result<Printed<'m>, RenderError> {
        let frozen = &self.frozen;
        let value = |field: &Field, subject| {
            Print::Text(Cow::Borrowed(match *field {
                Field::Contact(field) => cut(contact.get(field).unwrap_or_default()),
                Field::ProductName => &frozen.product_name,
                Field::ProductSlug => &frozen.product,
                Field::SenderName => &frozen.sender_name,
                Field::SenderEmail => &frozen.sender_email,
                Field::CampaignSlug => &frozen.campaign,
                Field::Subject => subject,
                Field::Banner | Field::Footer | Field::Pixel => "",
            }))
        };
        let mut subject = String::with_capacity(128);
        sheets.subject.write(&mut subject, |field| value(field, ""))?;
        let subject = clean_subject(subject, injected.test)?;
        let footer_lines = footer.encoded_text()?;
        let html_footer = |out: &mut String| footer.push_html(out);
        let text_footer = |out: &mut String| footer_lines.pieces().for_each(|piece| out.push_str(piece));
        let html = sheets.html.fill(|field| match field {
            Field::Banner => Print::Safe(footer::banner_html(injected.test, lang).into()),
            Field::Footer => Print::Encoded(&html_footer),
            Field::Pixel => Print::Safe(footer::pixel(injected.tracks.pixel_url).into()),
            field => value(field, &subject),
        })?;
        let of_text = |field: &Field| match field {
            Field::Banner => Print::Text(footer::banner_text(injected.test, lang).into()),
            Field::Footer => Print::Text(footer.text().into()),
            field => value(field, &subject),
        };
        let ready = |field: &Field| (*field == Field::Footer).then_some(&text_footer as &dyn Fn(&mut String));
        let text = sheets.text.fill(of_text, ready)?;
        Ok(Printed { subject, html: Part::Encoded(html), text: Part::Encoded(text) })
    }

    fn words(&self, contact: &MergeContact<impl AsRef<str>>, injected: &Injected<'_>) -> Result<Words, RenderError> {
        let frozen = &self.frozen;
        let contact_values = contact_values(contact);
        let values = |subject| {
            let campaign = campaign(frozen, subject);
            context! { contact => contact_values.clone(), campaign => campaign, ..self.common.clone() }
        };
        let subject = self.engine.render("subject", Escape::None, &values(""))?;
        let subject = clean_subject(subject, injected.test)?;
        let values = values(&subject);
        let tracks = context! {
            click => injected.tracks.click_url.unwrap_or_default(),
            pixel => Value::from_safe_string(footer::pixel(injected.tracks.pixel_url)),
        };
        Ok(Words { subject, values, tracks, test: injected.test, lang: frozen.lang(contact) })
    }
}

impl Sheets {
    fn read(frozen: &Frozen, transfer: Transfer) -> Option<Sheets> {
        Some(Sheets {
            subject: Sheet::read(&frozen.subject, Escape::None, None, Field::find)?,
            text: Lines::of(Sheet::read(&frozen.text, Escape::None, None, Field::find)?, transfer),
            html: Sheet::read(&frozen.html, Escape::Html, Some(transfer), Field::find)?,
        })
    }
}

/// What both parts of a message to one person say.
struct Words {
    subject: String,
    values: Value,
    /// What makes the HTML part tracked.
    tracks: Value,
    test: bool,
    lang: Lang,
}

impl Words {
    fn html(&self, engine: &Engine, footer: Value) -> Result<String, RenderError> {
        let banner = Value::from_safe_string(footer::banner_html(self.test, self.lang));
        engine.render("body", Escape::Html, &self.with_slots(banner, footer))
    }

    fn text(&self, engine: &Engine, footer: Value) -> Result<String, RenderError> {
        let banner = Value::from(footer::banner_text(self.test, self.lang));
        let text = engine.render("body", Escape::None, &self.with_slots(banner, footer))?;
        Ok(plain::tidy(&text))
    }

    /// What stands in the slots that [`freeze`] put into a part.
    fn with_slots(&self, banner: Value, footer: Value) -> Value {
        let slots = context! { banner => banner, footer => footer, ..self.tracks.clone() };
        context! { ouinon => slots, ..self.values.clone() }
    }
}

fn contact_values(contact: &MergeContact<impl AsRef<str>>) -> Value {
    Value::from_pairs(MergeContact::FIELDS.iter().map(|field| (*field, merge_value(contact.get(field)))))
}

fn campaign(frozen: &Frozen, subject: &str) -> Value {
    context! { slug => frozen.campaign.as_str(), subject => subject }
}

/// A missing field is empty text.
fn merge_value(value: Option<&str>) -> Value {
    Value::from(cut(value.unwrap_or_default()))
}

/// A field longer than any name is cut.
fn cut(value: &str) -> &str {
    // Characters are no more than bytes.
    if value.len() <= MAX_VALUE_CHARS {
        return value;
    }
    value.char_indices().nth(MAX_VALUE_CHARS).map_or(value, |(cut, _)| &value[..cut])
}

/// One line without control characters; CR, LF and NUL are refused (H07).
fn clean_subject(subject: String, test: bool) -> Result<String, RenderError> {
    if !test && is_clean(&subject) {
        return Ok(subject);
    }
    let subject = subject.trim();
    if subject.contains(['\r', '\n', '\0']) {
        return Err(RenderError::HeaderInjection);
    }
    let words: Vec<&str> =
        subject.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    Ok(if test { format!("[TEST] {line}") } else { line })
}

/// Words with single spaces between them, and nothing else.
fn is_clean(subject: &str) -> bool {
    let mut before = ' ';
    let clean = |c: char| {
        let before = std::mem::replace(&mut before, c);
        if c == ' ' { before != ' ' } else { !c.is_whitespace() && !c.is_control() }
    };
    subject.chars().all(clean) && before != ' '
}

#[cfg(test)]
mod tests;
