//! The text part by its lines: those that say the same to everybody are tidied and encoded once.

use super::{
    MAX_OUTPUT_BYTES, RenderError, Transfer,
    sheet::{Filled, Part, Print, Room, Sheet},
};

/// A text template by its lines; `F` are its fields.
#[derive(Debug)]
pub struct Lines<F> {
    lines: Vec<Line<F>>,
    transfer: Transfer,
    /// A blank line, encoded.
    blank: String,
    room: Room,
}

#[derive(Debug)]
enum Line<F> {
    Blank,
    /// One line or several, tidy and encoded, their ends included.
    Words(String),
    /// With something merged into it, which may bring lines of its own.
    Merged(Sheet<F>),
}

impl<F> Lines<F> {
    /// Cuts a sheet that is not encoded into its lines, for [`Lines::fill`].
    pub fn of(sheet: Sheet<F>, transfer: Transfer) -> Lines<F> {
        let mut lines = Lines { lines: Vec::new(), transfer, blank: String::new(), room: Room::default() };
        lines.blank = lines.encoded("");
        let mut parts = Vec::new();
        for part in sheet.parts {
            let Part::Words(words) = part else {
                parts.push(part);
                continue;
            };
            for (i, words) in words.split('\n').enumerate() {
                if i > 0 {
                    lines.end(std::mem::take(&mut parts));
                }
                parts.push(Part::Words(words.to_owned()));
            }
        }
        lines.end(parts);
        lines
    }

    fn end(&mut self, parts: Vec<Part<F>>) {
        let words: Option<String> = parts.iter().map(Part::words).collect();
        match words {
            None => self.lines.push(Line::Merged(Sheet::plain(parts))),
            Some(words) if words.trim_end().is_empty() => match self.lines.last() {
                Some(Line::Blank) => {}
                _ => self.lines.push(Line::Blank),
            },
            Some(words) => self.say(&words),
        }
    }

    /// A line of words, put to those before it where nothing comes between.
    fn say(&mut self, words: &str) {
        let words = self.encoded(words);
        match self.lines.as_mut_slice() {
            [.., Line::Words(before)] => before.push_str(&words),
            [.., Line::Words(before), Line::Blank] => {
                before.push_str(&self.blank);
                before.push_str(&words);
                self.lines.pop();
            }
            _ => self.lines.push(Line::Words(words)),
        }
    }

    fn encoded(&self, line: &str) -> String {
        let mut out = String::new();
        (self.transfer)(&mut out, &[line.trim_end(), "\n"].concat());
        out
    }

    /// Its text, filled, tidied and encoded: no white space at the ends of lines, never two blank lines, none at
    /// the ends. `ready` writes what stands for a field that has a line to itself, where that is tidy and encoded
    /// already; `value` is what stands for all others.
    pub fn fill<'v>(
        &self,
        value: impl Fn(&F) -> Print<'v>,
        ready: impl Fn(&F) -> Option<&'v dyn Fn(&mut String)>,
    ) -> Result<Filled<'_>, RenderError> {
        let mut filled = self.room.of_pieces(2 * self.lines.len());
        let longest = self.write(&mut filled, value, ready);
        self.room.note(&filled);
        if longest > MAX_OUTPUT_BYTES { Err(RenderError::TooLong) } else { filled.within_limit() }
    }

    /// The same, behind what `out` says already, and however long.
    pub fn push<'v>(&self, out: &mut String, value: impl Fn(&F) -> Print<'v>) {
        let start = out.len();
        self.write(&mut Behind { out, start }, value, |_| None);
    }

    /// Gives the length of the longest line that was merged, before it was tidied.
    fn write<'s, 'v>(
        &'s self,
        out: &mut impl Sink<'s>,
        value: impl Fn(&F) -> Print<'v>,
        ready: impl Fn(&F) -> Option<&'v dyn Fn(&mut String)>,
    ) -> usize {
        let mut out = Tidy { out, blank: false };
        let (mut merged, mut longest) = (String::with_capacity(256), 0);
        for line in &self.lines {
            match line {
                Line::Blank => out.blank = true,
                Line::Words(words) => out.begin(&self.blank).words(words),
                Line::Merged(sheet) => match sheet.alone().and_then(&ready) {
                    Some(write) => out.begin(&self.blank).merged(write),
                    None => {
                        merged.clear();
                        sheet.push(&mut merged, &value);
                        longest = longest.max(merged.len());
                        merged.push('\n');
                        merged.split_inclusive('\n').for_each(|line| self.say_line(&mut out, line));
                    }
                },
            }
        }
        if out.out.is_empty() {
            out.out.words(&self.blank);
        }
        longest
    }

    /// `line` has its end.
    fn say_line<'s, S: Sink<'s>>(&'s self, out: &mut Tidy<'_, S>, line: &str) {
        let tidy = line.trim_end();
        if tidy.is_empty() {
            out.blank = true;
        } else if tidy.len() + 1 == line.len() {
            out.begin(&self.blank).merged(|out| (self.transfer)(out, line));
        } else {
            out.begin(&self.blank).merged(|out| (self.transfer)(out, &[tidy, "\n"].concat()));
        }
    }
}

/// What lines are written to.
trait Sink<'s> {
    fn words(&mut self, words: &'s str);
    fn merged(&mut self, write: impl FnOnce(&mut String));
    fn is_empty(&self) -> bool;
}

impl<'s> Sink<'s> for Filled<'s> {
    fn words(&mut self, words: &'s str) {
        self.push_words(words);
    }

    fn merged(&mut self, write: impl FnOnce(&mut String)) {
        self.push_merged(write);
    }

    fn is_empty(&self) -> bool {
        Filled::is_empty(self)
    }
}

/// Behind what a text says already.
struct Behind<'o> {
    out: &'o mut String,
    start: usize,
}

impl<'s> Sink<'s> for Behind<'_> {
    fn words(&mut self, words: &'s str) {
        self.out.push_str(words);
    }

    fn merged(&mut self, write: impl FnOnce(&mut String)) {
        write(self.out);
    }

    fn is_empty(&self) -> bool {
        self.out.len() == self.start
    }
}

struct Tidy<'o, S> {
    out: &'o mut S,
    /// Blank lines stand before what comes next.
    blank: bool,
}

impl<'s, S: Sink<'s>> Tidy<'_, S> {
    /// Where the next line is written.
    fn begin(&mut self, blank: &'s str) -> &mut S {
        if std::mem::take(&mut self.blank) && !self.out.is_empty() {
            self.out.words(blank);
        }
        self.out
    }
}
