//! The keys of the front matter: each read with its type, every mistake collected with its place.

use std::str::FromStr;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{BodyFormat, CampaignFile, Mailbox, Parts, Rate};
use crate::domain::{
    audience::Audience,
    campaigns::{CampaignKind, Priority, Sector, TrackingRequest},
    located::{Problem, Problems, did_you_mean, position},
    windows::{Days, Hours, Windows},
    words::UnknownWord,
};

const KEYS: [&str; 20] = [
    "slug",
    "product",
    "kind",
    "profession_related",
    "subject",
    "from",
    "reply_to",
    "audience",
    "rate",
    "window",
    "days",
    "quiet_hours",
    "priority",
    "language",
    "sector",
    "has_promo",
    "art14_notice",
    "tracking",
    "count_opens",
    "format",
];

/// So many problems are reported at once.
const MAX_PROBLEMS: usize = 50;

pub(super) fn read(text: &str, parts: &Parts, by_name: Option<BodyFormat>) -> Result<CampaignFile, Problems> {
    let (table, errors) = DeTable::parse_recoverable(&text[parts.front.clone()]);
    let mut reader = Reader { text, offset: parts.front.start, table: table.get_ref(), problems: Vec::new() };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.report(at, None, error.message().trim().to_owned());
    }
    if !reader.problems.is_empty() {
        // What could be read of a broken table would only bring errors that follow from the first.
        return Err(reader.into_problems());
    }
    let file = reader.file(parts, by_name);
    match file {
        Some(file) if reader.problems.is_empty() => Ok(file),
        _ => Err(reader.into_problems()),
    }
}

struct Reader<'t> {
    text: &'t str,
    /// Where the front matter starts in `text`.
    offset: usize,
    table: &'t DeTable<'t>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn file(&mut self, parts: &Parts, by_name: Option<BodyFormat>) -> Option<CampaignFile> {
        self.refuse_unknown_keys();
        let slug = self.required("slug", slug);
        let product = self.required("product", slug_of_product);
        let subject = self.required("subject", subject);
        let from = self.required("from", Mailbox::parse);
        let kind = self.optional("kind", word::<CampaignKind>);
        let profession_related = self.yes_or_no("profession_related");
        let reply_to = self.optional("reply_to", Mailbox::parse);
        let audience = self.audience();
        let rate = self.rate();
        let windows = self.windows();
        let priority = self.optional("priority", word::<Priority>);
        let language = self.optional("language", language);
        let sector = self.optional("sector", word::<Sector>);
        let has_promo = self.yes_or_no("has_promo");
        let art14_notice = self.yes_or_no("art14_notice");
        let tracking = self.optional("tracking", word::<TrackingRequest>);
        let count_opens = self.yes_or_no("count_opens");
        let format = self.optional("format", word::<BodyFormat>);
        let body = &self.text[parts.body.clone()];
        let skipped = body.len() - body.trim_start_matches(['\r', '\n']).len();
        Some(CampaignFile {
            slug: slug?,
            product: product?,
            kind: kind.unwrap_or(CampaignKind::Marketing),
            profession_related,
            subject: subject?,
            subject_place: self.place_of_text("subject"),
            from: from?,
            reply_to,
            audience,
            rate,
            windows,
            priority,
            language,
            sector: sector.unwrap_or(Sector::None),
            has_promo: has_promo.unwrap_or(true),
            art14_notice: art14_notice.unwrap_or(false),
            tracking: tracking.unwrap_or(TrackingRequest::None),
            count_opens: count_opens.unwrap_or(false),
            format: format.or(by_name).unwrap_or_else(|| guess_format(body)),
            body: body[skipped..].to_owned(),
            body_line: position(self.text, parts.body.start + skipped).0,
        })
    }

    fn refuse_unknown_keys(&mut self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !KEYS.contains(&name) {
                let message = format!("no such key{}; the keys are {}", did_you_mean(name, &KEYS), KEYS.join(", "));
                self.report(key.span().start, Some(name), message);
            }
        }
    }

    fn required<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.value(key).is_none() {
            let end = self.text[self.offset..].find("\n+++").map_or(0, |at| at + 1);
            self.report(end, Some(key), format!("the key is missing; add `{key} = \"…\"`"));
            return None;
        }
        self.optional(key, read)
    }

    /// The value of a key that holds text, as `read` understands it.
    fn optional<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.value(key)?;
        let at = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            let found = value.get_ref().type_str();
            self.report(at, Some(key), format!("expected a text between quotes, found {found}"));
            return None;
        };
        match read(text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.report(at, Some(key), message);
                None
            }
        }
    }

    /// `true`, `false`, `"yes"` or `"no"` (the words of a decision table).
    fn yes_or_no(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(yes) => return Some(*yes),
            DeValue::String(word) if word == "yes" => return Some(true),
            DeValue::String(word) if word == "no" => return Some(false),
            _ => {}
        }
        let at = value.span().start;
        self.report(at, Some(key), "expected true or false");
        None
    }

    fn rate(&mut self) -> Option<Rate> {
        let value = self.value("rate")?;
        let at = value.span().start;
        let read = match value.get_ref() {
            DeValue::String(text) => Rate::parse(text),
            DeValue::Integer(number) if number.radix() == 10 => Rate::parse(&number.as_str().replace('_', "")),
            other => Err(format!("expected a rate like \"600/min\", found {}", other.type_str())),
        };
        read.map_err(|message| self.report(at, Some("rate"), message)).ok()
    }

    fn windows(&mut self) -> Windows {
        let windows = Windows {
            window: self.optional("window", Hours::parse),
            days: self.optional("days", Days::parse),
            quiet_hours: self.optional("quiet_hours", Hours::parse),
        };
        if !windows.ever_opens() {
            let at = self.value("quiet_hours").map_or(0, |value| value.span().start);
            self.report(at, Some("quiet_hours"), "they cover the whole window: nothing would ever be sent");
        }
        windows
    }

    fn audience(&mut self) -> Option<Audience> {
        let value = self.value("audience")?;
        let start = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            let found = value.get_ref().type_str();
            self.report(start, Some("audience"), format!("expected a text between quotes, found {found}"));
            return None;
        };
        let error = match text.parse::<Audience>() {
            Ok(audience) => return Some(audience),
            Err(error) => error,
        };
        // Without escapes the value stands in the file letter for letter, and the place is exact.
        match self.text_start(value).filter(|start| self.text[self.offset + start..].starts_with(text)) {
            Some(inner) => self.report(inner + error.offset, Some("audience"), error.message),
            None => self.report(start, Some("audience"), error.to_string()),
        }
        None
    }

    fn value(&self, key: &str) -> Option<&Spanned<DeValue<'_>>> {
        self.table.get(key)
    }

    /// Where the text of a string value starts: after its opening quotes.
    fn text_start(&self, value: &Spanned<DeValue<'_>>) -> Option<usize> {
        let raw = self.text.get(self.offset..)?.get(value.span())?;
        let quotes = ["\"\"\"\r\n", "\"\"\"\n", "\"\"\"", "'''\r\n", "'''\n", "'''", "\"", "'"];
        quotes.into_iter().find(|q| raw.starts_with(q)).map(|q| value.span().start + q.len())
    }

    fn place_of_text(&self, key: &str) -> (u32, u32) {
        let start = self.value(key).and_then(|value| self.text_start(value)).unwrap_or(0);
        position(self.text, self.offset + start)
    }

    fn report(&mut self, at: usize, key: Option<&str>, message: impl Into<String>) {
        if self.problems.len() == MAX_PROBLEMS {
            return;
        }
        self.problems.push(Problem::at(self.text, self.offset + at, key, message));
    }

    fn into_problems(mut self) -> Problems {
        self.problems.sort_by_key(|p| (p.line, p.column));
        Problems(self.problems)
    }
}

fn slug(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    Err("a slug is 1 to 64 of a-z, 0-9 and -, and does not start with -".to_owned())
}

/// What names a product is the product's business; here it only has to be one word.
fn slug_of_product(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the product's slug is empty; `ouinon product list` shows them".to_owned()),
        word if word.contains(char::is_whitespace) => Err("expected the product's slug, one word".to_owned()),
        word => Ok(word.to_owned()),
    }
}

fn subject(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the subject is empty (FR-4: it must say what the message is about)".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("a subject is one line".to_owned());
    }
    Ok(text.trim().to_owned())
}

/// The shape of a BCP 47 tag: enough for a `lang` attribute.
fn language(text: &str) -> Result<String, String> {
    let mut parts = text.split('-');
    let primary = parts.next().unwrap_or_default();
    let primary_ok = (2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic());
    let part_ok = |p: &str| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric());
    if primary_ok && text.len() <= 35 && parts.all(part_ok) {
        return Ok(text.to_owned());
    }
    Err("expected a language tag like \"fr\" or \"en-GB\"".to_owned())
}

fn word<T: FromStr<Err = UnknownWord>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: UnknownWord| format!("{e}{}", did_you_mean(text, &e.known)))
}

fn guess_format(body: &str) -> BodyFormat {
    let start: String = body.trim_start().chars().take(16).collect::<String>().to_ascii_lowercase();
    let is_document = start.starts_with("<!doctype html") || start.starts_with("<html");
    if is_document { BodyFormat::Html } else { BodyFormat::Markdown }
}
