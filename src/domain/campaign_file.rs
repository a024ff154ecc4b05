//! A campaign as a file: TOML front matter between two `+++` lines, then the body.

mod keys;

use std::{fmt, time::Duration};

use super::{
    address::Address,
    audience::Audience,
    campaigns::{CampaignKind, Elements, Priority, Sector, Terms, TrackingRequest},
    located::{Problem, Problems},
    windows::Windows,
    words::words,
};

words! {
    /// How a body is written.
    BodyFormat {
        /// Markdown (CommonMark, with tables).
        Markdown = "markdown",
        /// HTML: a whole document, or a fragment that is put into our layout.
        Html = "html",
    }
}

/// A campaign as its file says it, checked. Nothing in it depends on the database.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignFile {
    /// Its name in commands and links: 1 to 64 of `a-z`, `0-9` and `-`.
    pub slug: String,
    /// Slug of the product it is about.
    pub product: String,
    /// What it is. Default: marketing.
    pub kind: CampaignKind,
    /// Its subject is related to the recipients' profession (FR-5). None: as the product says.
    pub profession_related: Option<bool>,
    /// Template of the subject.
    pub subject: String,
    /// Line and column of the file where the subject's text starts, for messages.
    pub subject_place: (u32, u32),
    /// Who sends.
    pub from: Mailbox,
    /// Where replies go, if not to `from`.
    pub reply_to: Option<Mailbox>,
    /// Whom we ask about. None: everybody.
    pub audience: Option<Audience>,
    /// How fast. None: 600 a minute.
    pub rate: Option<Rate>,
    /// When its messages may leave, by each recipient's clock.
    pub windows: Windows,
    /// How it stands beside others. None: service mail first, everything else alike.
    pub priority: Option<Priority>,
    /// Language of the text and of the injected parts. None: each contact's own for the latter.
    pub language: Option<String>,
    /// Its sector (FR-7). A file without the key is of no banned sector; a decision table's
    /// empty cell is not `none`, because there nobody has said anything.
    pub sector: Sector,
    /// It holds something promotional. Default: yes, for service mail too, which is then
    /// refused (SVC-2): only the marketer can say that there is none.
    pub has_promo: bool,
    /// The message carries the full article 13/14 notice (GD-3). Default: no.
    pub art14_notice: bool,
    /// The tracking asked for. Default: none.
    pub tracking: TrackingRequest,
    /// Opens are counted by a pixel that is the same for everybody (TRK-8). Default: no.
    pub count_opens: bool,
    /// How the body is written.
    pub format: BodyFormat,
    /// The body: a template.
    pub body: String,
    /// The line of the file on which the body starts, for messages.
    pub body_line: u32,
}

impl CampaignFile {
    /// Messages a minute of a campaign that states no rate.
    pub const DEFAULT_RATE: Rate = Rate { per_hour: 600 * 60 };

    /// Reads a file. `by_name` is the format that the file's name tells (`.html`), which holds
    /// unless the key `format` says otherwise; without either, a body that starts like an HTML
    /// document is one. Everything wrong with the front matter is reported together.
    pub fn parse(text: &str, by_name: Option<BodyFormat>) -> Result<CampaignFile, Problems> {
        let parts = split(text).map_err(|problem| Problems(vec![problem]))?;
        keys::read(text, &parts, by_name)
    }

    /// What `decide` reads of the campaign. `postal_known`: the configuration has the
    /// controller's postal address; `product_for_business`: the product's default for
    /// `profession_related`. The opt-out is the link that every message gets injected.
    pub fn terms(&self, postal_known: bool, product_for_business: bool) -> Terms {
        Terms {
            kind: self.kind,
            product: self.product.clone(),
            profession_related: self.profession_related.unwrap_or(product_for_business),
            sector: self.sector,
            has_promo: self.has_promo,
            art14_notice: self.art14_notice,
            elements: Elements { identity: !self.from.name.is_empty(), optout: true, postal: postal_known },
            tracking: self.tracking,
        }
    }

    /// How it stands beside others.
    pub fn priority(&self) -> Priority {
        self.priority.unwrap_or(match self.kind {
            CampaignKind::Service => Priority::High,
            CampaignKind::Marketing | CampaignKind::Repermission => Priority::Normal,
        })
    }

    /// The rate in force.
    pub fn rate(&self) -> Rate {
        self.rate.unwrap_or(CampaignFile::DEFAULT_RATE)
    }
}

/// The two parts of a file, as byte ranges of it.
struct Parts {
    front: std::ops::Range<usize>,
    body: std::ops::Range<usize>,
}

/// A file is larger than this only by mistake; mail of that size is clipped or refused.
const MAX_BYTES: usize = 1024 * 1024;

fn split(text: &str) -> Result<Parts, Problem> {
    if text.len() > MAX_BYTES {
        return Err(Problem::at(text, 0, None, format!("a campaign file is at most {MAX_BYTES} bytes")));
    }
    if let Some(at) = text.find('\0') {
        return Err(Problem::at(text, at, None, "a NUL character: no mail can hold one; remove it"));
    }
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lines = text[start..].split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != "+++" {
        let message = "a campaign file starts with a line `+++`, its keys, and a second line `+++`";
        return Err(Problem::at(text, start, None, message));
    }
    let front_start = start + first.len();
    let mut at = front_start;
    for line in lines {
        if line.trim_end() == "+++" {
            return Ok(Parts { front: front_start..at, body: at + line.len()..text.len() });
        }
        at += line.len();
    }
    Err(Problem::at(text, start, None, "the keys are not closed: the second line `+++` is missing"))
}

/// A name and an address, as in a `From` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name; may be empty where the campaign does not need one.
    pub name: String,
    /// The address.
    pub address: Address,
}

impl Mailbox {
    /// Reads `Name <address>`, `"Name, Inc." <address>` or a bare address.
    pub fn parse(text: &str) -> Result<Mailbox, String> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err("it holds a line break or another control character".to_owned());
        }
        let (name, address) = match text.strip_suffix('>').and_then(|t| t.rsplit_once('<')) {
            Some((name, address)) => (unquote(name.trim())?, address.trim()),
            None => (String::new(), text),
        };
        let address = Address::parse(address).map_err(|e| format!("{e}; write it as `Name <name@domain>`"))?;
        if !address.as_str().is_ascii() {
            return Err("the part before @ must be ASCII: not every server takes another one (H-2)".to_owned());
        }
        if name.chars().count() > 100 {
            return Err("the name is longer than 100 characters".to_owned());
        }
        Ok(Mailbox { name, address })
    }
}

/// A display name without its quotes (RFC 5322 quoted-string).
fn unquote(name: &str) -> Result<String, String> {
    let Some(rest) = name.strip_prefix('"') else {
        return match name.find(['"', '<', '>']) {
            Some(_) => Err("the name holds a quote or an angle bracket; write it as `\"Name\" <address>`".to_owned()),
            None => Ok(name.to_owned()),
        };
    };
    let mut value = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            '"' if chars.as_str().is_empty() => return Ok(value.trim().to_owned()),
            '"' => return Err("something stands between the name's closing quote and `<`".to_owned()),
            c => value.push(c),
        }
    }
    Err("the name has no closing quote".to_owned())
}

/// Writes what `parse` reads; the name is quoted when it must be.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            return self.address.fmt(f);
        }
        if self.name.contains(|c: char| "\"\\()<>[]:;@,.".contains(c)) {
            return write!(f, "\"{}\" <{}>", self.name.replace('\\', "\\\\").replace('"', "\\\""), self.address);
        }
        write!(f, "{} <{}>", self.name, self.address)
    }
}

/// How many messages in how much time, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_hour: u32,
}

impl Rate {
    /// The fastest rate that may be asked for, in messages a second.
    pub const MAX_PER_SECOND: u32 = 100_000;

    /// So many messages a minute, at least one and at most the greatest rate.
    pub fn of_per_minute(messages: u32) -> Rate {
        Rate { per_hour: messages.clamp(1, Rate::MAX_PER_SECOND * 60) * 60 }
    }

    /// Reads `600/min`, `10/s`, `3600/h`, or a bare number: messages a minute.
    pub fn parse(text: &str) -> Result<Rate, String> {
        const SHAPE: &str = "a rate is a whole number and a unit, like \"600/min\", \"10/s\" or \"3600/h\"";
        let (number, unit) = text.split_once('/').unwrap_or((text, "min"));
        let per_hour_of_one: u64 = match unit.trim() {
            "s" | "sec" | "second" => 3600,
            "min" | "minute" => 60,
            "h" | "hour" => 1,
            _ => return Err(SHAPE.to_owned()),
        };
        let number = number.trim();
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SHAPE.to_owned());
        }
        let per_hour = number.parse::<u64>().ok().and_then(|n| n.checked_mul(per_hour_of_one));
        match per_hour {
            Some(0) => Err("a rate of 0 never ends; pause the campaign instead".to_owned()),
            Some(n) if n <= u64::from(Rate::MAX_PER_SECOND) * 3600 => Ok(Rate { per_hour: n as u32 }),
            _ => Err(format!("a rate is at most {}/s", Rate::MAX_PER_SECOND)),
        }
    }

    /// Messages an hour: the exact number, for storage.
    pub fn per_hour(self) -> u32 {
        self.per_hour
    }

    /// The rate of so many messages an hour, as stored.
    pub fn of_per_hour(messages: u32) -> Rate {
        Rate { per_hour: messages.clamp(1, Rate::MAX_PER_SECOND * 3600) }
    }

    /// Messages a minute.
    pub fn per_minute(self) -> f64 {
        f64::from(self.per_hour) / 60.0
    }

    /// Time between two messages.
    pub fn interval(self) -> Duration {
        Duration::from_nanos(3_600_000_000_000 / u64::from(self.per_hour))
    }
}

/// Writes what `parse` reads, in the largest unit that is exact.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per_hour {
            n if n % 60 == 0 => write!(f, "{}/min", n / 60),
            n => write!(f, "{n}/h"),
        }
    }
}

#[cfg(test)]
mod tests;
