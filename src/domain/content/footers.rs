//! Footers made once for all whom they say the same to; only their links differ.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::civil::Date;

use super::{Frozen, Injected, footer};
use crate::domain::{
    contacts::SourceKind,
    eligibility::Basis,
    lang::Lang,
    templates::{Filled, Lines, Print, RenderError, Sheet, Transfer, push_encoded_html},
};

/// So many different footers are kept; with more of them all are made anew.
const KEPT: usize = 1_000;
/// Stands where a link's address goes, with its number behind it.
const PLACE: char = '\u{1}';

/// The footers of a campaign, the HTML encoded.
#[derive(Debug)]
pub(super) struct Footers {
    transfer: Transfer,
    made: Mutex<HashMap<Key, Arc<Parts>>>,
}

/// A footer for one person: shared words, and that person's links.
pub(super) struct Footer<'l> {
    parts: Arc<Parts>,
    links: [Option<&'l str>; LINKS],
    transfer: Transfer,
}

/// Everything that the words of a footer depend on.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    lang: Lang,
    basis: Basis,
    source: Option<(Option<String>, Option<Date>)>,
    source_kind: SourceKind,
    country: Option<String>,
    links: [bool; LINKS],
}

/// Words with addresses between them.
#[derive(Debug)]
struct Parts {
    /// Encoded.
    html: Vec<Part>,
    text: Vec<Part>,
    /// The text, to be encoded.
    lines: Lines<usize>,
}

#[derive(Debug)]
enum Part {
    Words(String),
    Link(usize),
}

const LINKS: usize = 4;

/// The links of a message, each None or different for each person. What else there is in `injected`
/// depends on few things that people share: it belongs into [`Key`], or here.
fn links<'a>(injected: &Injected<'a>) -> [Option<&'a str>; LINKS] {
    let Injected {
        basis: _,
        // A message with a question is rendered as a whole.
        answer_url: _,
        unsubscribe_url,
        preferences_url,
        why_url,
        view_url,
        source: _,
        source_kind: _,
        collected_at: _,
        test: _,
        tracks: _,
    } = *injected;
    [Some(unsubscribe_url), preferences_url, why_url, view_url]
}

impl Footers {
    pub(super) fn new(transfer: Transfer) -> Footers {
        Footers { transfer, made: Mutex::default() }
    }

    pub(super) fn of<'l>(
        &self,
        frozen: &Frozen,
        country: Option<&str>,
        injected: &Injected<'l>,
        lang: Lang,
    ) -> Footer<'l> {
        let links = links(injected);
        let footer = |parts| Footer { parts, links, transfer: self.transfer };
        if injected.source.is_some_and(|source| source.contains(PLACE)) {
            let paragraphs = footer::paragraphs(frozen, country, injected, lang);
            let whole = |text| vec![Part::Words(text)];
            return footer(self.parts(whole(footer::html(&paragraphs, lang)), whole(footer::text(&paragraphs))));
        }
        let key = Key {
            lang,
            basis: injected.basis,
            // Words that nobody reads make no difference.
            source: footer::names_the_source(frozen, injected.source_kind)
                .then(|| (injected.source.map(str::to_owned), injected.collected_at)),
            source_kind: injected.source_kind,
            country: country.filter(|_| frozen.art14_notice).map(str::to_owned),
            links: links.map(|link| link.is_some()),
        };
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        footer(made.unwrap_or_else(|| {
            let parts = self.make(frozen, country, injected, lang);
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.len() >= KEPT {
                made.clear();
            }
            made.insert(key, Arc::clone(&parts));
            parts
        }))
    }

    fn make(&self, frozen: &Frozen, country: Option<&str>, injected: &Injected<'_>, lang: Lang) -> Arc<Parts> {
        let places: Vec<String> = (0..LINKS).map(|n| format!("{PLACE}{n}")).collect();
        let place = |n: usize, link: Option<&str>| link.map(|_| places[n].as_str());
        let [unsubscribe, preferences, why, view] = links(injected);
        let injected = Injected {
            unsubscribe_url: place(0, unsubscribe).unwrap_or_default(),
            preferences_url: place(1, preferences),
            why_url: place(2, why),
            view_url: place(3, view),
            ..*injected
        };
        let paragraphs = footer::paragraphs(frozen, country, &injected, lang);
        self.parts(split(&footer::html(&paragraphs, lang)), split(&footer::text(&paragraphs)))
    }

    fn parts(&self, mut html: Vec<Part>, text: Vec<Part>) -> Arc<Parts> {
        for part in &mut html {
            if let Part::Words(words) = part {
                let mut encoded = String::new();
                (self.transfer)(&mut encoded, words);
                *words = encoded;
            }
        }
        let sheet = text.iter().map(|part| match part {
            Part::Words(words) => Ok(words.clone()),
            Part::Link(n) => Err(*n),
        });
        let lines = Lines::of(Sheet::of_parts(sheet), self.transfer);
        Arc::new(Parts { html, text, lines })
    }
}

impl Footer<'_> {
    /// In HTML, encoded.
    pub(super) fn push_html(&self, out: &mut String) {
        let mut scratch = String::new();
        for part in &self.parts.html {
            match part {
                Part::Words(words) => out.push_str(words),
                Part::Link(n) => push_encoded_html(out, self.link(*n), self.transfer, &mut scratch),
            }
        }
    }

    /// As text.
    pub(super) fn text(&self) -> String {
        let text = self.parts.text.iter().map(|part| match part {
            Part::Words(words) => words,
            Part::Link(n) => self.link(*n),
        });
        text.collect()
    }

    /// As text, tidy and encoded.
    pub(super) fn encoded_text(&self) -> Result<Filled<'_>, RenderError> {
        self.parts.lines.fill(|n| Print::Text(self.link(*n).into()), |_| None)
    }

    fn link(&self, n: usize) -> &str {
        self.links[n].unwrap_or_default()
    }
}

fn split(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for (i, piece) in text.split(PLACE).enumerate() {
        // Behind each place stands the number of its link.
        let words = match piece.chars().next().and_then(|c| c.to_digit(10)).map(|n| n as usize) {
            Some(n) if i > 0 && n < LINKS => {
                parts.push(Part::Link(n));
                &piece[1..]
            }
            _ => piece,
        };
        parts.push(Part::Words(words.to_owned()));
    }
    parts
}
