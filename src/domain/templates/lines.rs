//! The text part by its lines: those that say the same to everybody are tidied and encoded once.

use super::{
    RenderError, Transfer,
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
        let mut out = Tidy { filled: self.room.of_pieces(2 * self.lines.len()), blank: false };
        let mut merged = String::with_capacity(256);
        for line in &self.lines {
            match line {
                Line::Blank => out.blank = true,
                Line::Words(words) => out.begin(&self.blank).push_words(words),
                Line::Merged(sheet) => match sheet.alone().and_then(&ready) {
                    Some(write) => out.begin(&self.blank).push_merged(write),
                    None => {
                        merged.clear();
                        sheet.write(&mut merged, &value)?;
                        merged.push('\n');
                        merged.split_inclusive('\n').for_each(|line| self.say_line(&mut out, line));
                    }
                },
            }
        }
        if out.filled.is_empty() {
            out.filled.push_words(&self.blank);
        }
        self.room.note(&out.filled);
        out.filled.within_limit()
    }

    /// `line` has its end.
    fn say_line<'s>(&'s self, out: &mut Tidy<'s>, line: &str) {
        let tidy = line.trim_end();
        if tidy.is_empty() {
            out.blank = true;
        } else if tidy.len() + 1 == line.len() {
            out.begin(&self.blank).push_merged(|out| (self.transfer)(out, line));
        } else {
            out.begin(&self.blank).push_merged(|out| (self.transfer)(out, &[tidy, "\n"].concat()));
        }
    }
}

struct Tidy<'s> {
    filled: Filled<'s>,
    /// Blank lines stand before what comes next.
    blank: bool,
}

impl<'s> Tidy<'s> {
    /// Where the next line is written.
    fn begin(&mut self, blank: &'s str) -> &mut Filled<'s> {
        if std::mem::take(&mut self.blank) && !self.filled.is_empty() {
            self.filled.push_words(blank);
        }
        &mut self.filled
    }
}
