//! Templates that only print: their own words with places between them, filled without the engine.
//!
//! Most campaigns are of this kind. What it prints, and how, is what the engine prints: a property compares them.

use std::{
    borrow::Cow,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    Escape, MAX_OUTPUT_BYTES, RenderError, Transfer,
    engine::{escape_html, stands_for_itself},
    lexer::Token,
    stencil::{Piece, pieces},
};

/// No more room is made ahead than for so many bytes.
const MOST_ROOM: usize = 16_384;

/// A template without statements, read once; `F` are its fields.
#[derive(Debug)]
pub struct Sheet<F> {
    pub(super) parts: Vec<Part<F>>,
    escape: Escape,
    transfer: Option<Transfer>,
    room: Room,
}

/// How many bytes were merged at most so far: room for as many is made at once.
#[derive(Debug, Default)]
pub(super) struct Room(AtomicUsize);

#[derive(Debug)]
pub(super) enum Part<F> {
    /// Encoded, where the sheet is.
    Words(String),
    Place {
        field: F,
        fallback: Option<String>,
    },
}

/// What is printed in a place.
#[derive(Clone)]
pub enum Print<'v> {
    /// Text, to be escaped where the template is HTML.
    Text(Cow<'v, str>),
    /// HTML that we wrote.
    Safe(Cow<'v, str>),
    /// Encoded already, written by this as it stands.
    Encoded(&'v dyn Fn(&mut String)),
}

/// A filled sheet: the words that all share, and what was merged for one person.
#[derive(Debug, Clone, Default)]
pub struct Filled<'s> {
    pieces: Vec<Filling<'s>>,
    merged: String,
}

#[derive(Debug, Clone)]
enum Filling<'s> {
    Words(&'s str),
    Merged(Range<usize>),
}

impl<F> Sheet<F> {
    /// Reads what a scan has written, or our own slots. `transfer` encodes its own words once, and each value as
    /// it is printed; `field` finds a field by its root and name. None when it does more than print fields that
    /// are found, and texts: then the engine must.
    pub fn read(
        template: &str,
        escape: Escape,
        transfer: Option<Transfer>,
        field: impl Fn(&str, &str) -> Option<F>,
    ) -> Option<Sheet<F>> {
        let mut sheet = Sheet { parts: Vec::new(), escape, transfer, room: Room::default() };
        for piece in pieces(template)? {
            let part = match piece {
                Piece::Text(text) => sheet.words(|out| out.push_str(text)),
                Piece::Tag { is_output: false, .. } => return None,
                Piece::Tag { tokens, .. } => {
                    let tokens: Vec<&Token> = tokens.iter().map(|placed| &placed.token).collect();
                    sheet.printed(&tokens, &field)?
                }
            };
            sheet.parts.push(part);
        }
        Some(sheet)
    }

    /// Of words and fields in their order, for text.
    pub fn of_parts(parts: impl Iterator<Item = Result<String, F>>) -> Sheet<F> {
        let part = |part| match part {
            Ok(words) => Part::Words(words),
            Err(field) => Part::Place { field, fallback: None },
        };
        Sheet::plain(parts.map(part).collect())
    }

    /// Of parts that are not encoded, for text.
    pub(super) fn plain(parts: Vec<Part<F>>) -> Sheet<F> {
        Sheet { parts, escape: Escape::None, transfer: None, room: Room::default() }
    }

    /// The field that it prints and nothing else.
    pub(super) fn alone(&self) -> Option<&F> {
        let mut said = self.parts.iter().filter(|part| part.words().is_none_or(|words| !words.trim().is_empty()));
        match (said.next(), said.next()) {
            (Some(Part::Place { field, .. }), None) => Some(field),
            _ => None,
        }
    }

    /// What an output tag prints, as far as it is a text, or a field with or without `default('…')`.
    fn printed(&self, tokens: &[&Token], find: impl Fn(&str, &str) -> Option<F>) -> Option<Part<F>> {
        use Token::{Name, Sign, Text};
        let place = |root, field, fallback| Some(Part::Place { field: find(root, field)?, fallback });
        match tokens {
            [Text(text)] => Some(self.words(|out| escaped(out, text, self.escape))),
            [Name(root), Sign("."), Name(field)] => place(root, field, None),
            [Name(root), Sign("."), Name(field), Sign("|"), Name(filter), Sign("("), Text(fallback), Sign(")")]
                if filter == "default" || filter == "d" =>
            {
                place(root, field, Some(fallback.clone()))
            }
            _ => None,
        }
    }

    fn words(&self, write: impl FnOnce(&mut String)) -> Part<F> {
        let mut words = String::new();
        write(&mut words);
        Part::Words(encoded(words, self.transfer))
    }

    /// Fills the places; `value` says what stands for a field.
    pub fn fill<'v>(&self, value: impl Fn(&F) -> Print<'v>) -> Result<Filled<'_>, RenderError> {
        let mut filled = self.room.of_pieces(self.parts.len());
        let mut scratch = String::new();
        for part in &self.parts {
            match part {
                Part::Words(words) => filled.push_words(words),
                Part::Place { field, fallback } => {
                    filled.push_merged(|out| self.push_value(out, value(field), fallback.as_deref(), &mut scratch));
                }
            }
        }
        self.room.note(&filled);
        filled.within_limit()
    }

    /// Its text, filled, into `out`, which is empty.
    pub fn write<'v>(&self, out: &mut String, value: impl Fn(&F) -> Print<'v>) -> Result<(), RenderError> {
        let mut scratch = String::new();
        for part in &self.parts {
            match part {
                Part::Words(words) => out.push_str(words),
                Part::Place { field, fallback } => {
                    self.push_value(out, value(field), fallback.as_deref(), &mut scratch);
                }
            }
        }
        if out.len() > MAX_OUTPUT_BYTES { Err(RenderError::TooLong) } else { Ok(()) }
    }

    fn push_value(&self, out: &mut String, value: Print<'_>, fallback: Option<&str>, scratch: &mut String) {
        match (value, fallback) {
            (Print::Encoded(write), _) => write(out),
            (Print::Safe(text), _) => match self.transfer {
                Some(transfer) => transfer(out, &text),
                None => out.push_str(&text),
            },
            (Print::Text(text), Some(fallback)) if text.trim().is_empty() => self.push_text(out, fallback, scratch),
            (Print::Text(text), _) => self.push_text(out, &text, scratch),
        }
    }

    fn push_text(&self, out: &mut String, text: &str, scratch: &mut String) {
        match (self.escape, self.transfer) {
            (Escape::None, Some(transfer)) => transfer(out, text),
            (Escape::Html, Some(transfer)) => push_encoded_html(out, text, transfer, scratch),
            (escape, None) => escaped(out, text, escape),
        }
    }
}

/// Text as HTML that is encoded; `scratch` is where it is escaped, if it must be.
pub(crate) fn push_encoded_html(out: &mut String, text: &str, transfer: Transfer, scratch: &mut String) {
    if stands_for_itself(text) {
        return transfer(out, text);
    }
    scratch.clear();
    escaped(scratch, text, Escape::Html);
    transfer(out, scratch);
}

impl Room {
    /// Nothing filled yet, with room.
    pub(super) fn of_pieces<'s>(&self, pieces: usize) -> Filled<'s> {
        Filled { pieces: Vec::with_capacity(pieces), merged: String::with_capacity(self.0.load(Ordering::Relaxed)) }
    }

    pub(super) fn note(&self, filled: &Filled) {
        let room = filled.merged.len().min(MOST_ROOM);
        // Looked at first: all threads share it, and it hardly ever changes.
        if room > self.0.load(Ordering::Relaxed) {
            self.0.store(room, Ordering::Relaxed);
        }
    }
}

fn escaped(out: &mut String, text: &str, escape: Escape) {
    match escape {
        Escape::None => out.push_str(text),
        Escape::Html => escape_html(out, text).expect("writing to a String does not fail"),
    }
}

fn encoded(text: String, transfer: Option<Transfer>) -> String {
    let Some(transfer) = transfer else { return text };
    let mut out = String::new();
    transfer(&mut out, &text);
    out
}

impl<F> Part<F> {
    /// Its words, unless it is a place.
    pub(super) fn words(&self) -> Option<&str> {
        match self {
            Part::Words(words) => Some(words),
            Part::Place { .. } => None,
        }
    }
}

impl<'s> Filled<'s> {
    pub(super) fn push_words(&mut self, words: &'s str) {
        self.pieces.push(Filling::Words(words));
    }

    pub(super) fn push_merged(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.merged.len();
        write(&mut self.merged);
        self.pieces.push(Filling::Merged(start..self.merged.len()));
    }

    pub(super) fn within_limit(self) -> Result<Filled<'s>, RenderError> {
        if self.len() > MAX_OUTPUT_BYTES { Err(RenderError::TooLong) } else { Ok(self) }
    }

    /// Its text, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(|piece| match piece {
            Filling::Words(words) => *words,
            Filling::Merged(range) => &self.merged[range.clone()],
        })
    }

    /// Bytes of its text.
    pub fn len(&self) -> usize {
        self.pieces().map(str::len).sum()
    }

    /// Its text is empty.
    pub fn is_empty(&self) -> bool {
        self.pieces().all(str::is_empty)
    }

    /// Its text as a whole.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.len());
        self.pieces().for_each(|piece| text.push_str(piece));
        text
    }
}

/// A text that was made as a whole.
impl From<String> for Filled<'_> {
    fn from(merged: String) -> Self {
        Filled { pieces: vec![Filling::Merged(0..merged.len())], merged }
    }
}

/// Equal texts are equal, however they were made.
impl PartialEq for Filled<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Filled<'_> {}
