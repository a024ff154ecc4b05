//! The text part by its lines: those that say the same to everybody are tidied and encoded once.

use super::{
    RenderError, Transfer,
    sheet::{Filled, Part, Print, Sheet},
};

/// A text template by its lines; `F` are its fields.
#[derive(Debug)]
pub struct Lines<F> {
    lines: Vec<Line<F>>,
    transfer: Transfer,
}

#[derive(Debug)]
enum Line<F> {
    Blank,
    /// Tidy and encoded, its end included.
    Words(String),
    /// With something merged into it, which may bring lines of its own.
    Merged(Sheet<F>),
}

impl<F> Lines<F> {
    /// Cuts a sheet that is not encoded into its lines, for [`Lines::fill`].
    pub fn of(sheet: Sheet<F>, transfer: Transfer) -> Lines<F> {
        let mut lines = Lines { lines: Vec::new(), transfer };
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
        let line = match words {
            None => Line::Merged(Sheet::plain(parts)),
            Some(words) if words.trim_end().is_empty() => Line::Blank,
            Some(words) => Line::Words(self.encoded(&words)),
        };
        self.lines.push(line);
    }

    fn encoded(&self, line: &str) -> String {
        let mut out = String::new();
        (self.transfer)(&mut out, &[line.trim_end(), "\n"].concat());
        out
    }

    /// Its text, filled, tidied and encoded: no white space at the ends of lines, never two blank lines, none at
    /// the ends. `ready` is what stands for a field that has a line to itself, where that is tidy and encoded
    /// already; `value` is what stands for all others.
    pub fn fill<'v>(
        &self,
        value: impl Fn(&F) -> Print<'v>,
        ready: impl Fn(&F) -> Option<&'v str>,
    ) -> Result<Filled<'_>, RenderError> {
        let mut out = Tidy { filled: Filled::default(), blank: false };
        for line in &self.lines {
            match line {
                Line::Blank => out.blank = true,
                Line::Words(words) => {
                    out.begin(self.transfer);
                    out.filled.push_words(words);
                }
                Line::Merged(sheet) => match sheet.alone().and_then(&ready) {
                    Some(text) => {
                        out.begin(self.transfer);
                        out.filled.push_merged(|merged| merged.push_str(text));
                    }
                    None => {
                        for line in sheet.fill(&value)?.to_string().split('\n') {
                            if line.trim_end().is_empty() {
                                out.blank = true;
                                continue;
                            }
                            out.begin(self.transfer);
                            let encoded = self.encoded(line);
                            out.filled.push_merged(|merged| merged.push_str(&encoded));
                        }
                    }
                },
            }
        }
        if out.filled.is_empty() {
            let nothing = self.encoded("");
            out.filled.push_merged(|merged| merged.push_str(&nothing));
        }
        out.filled.within_limit()
    }
}

struct Tidy<'s> {
    filled: Filled<'s>,
    /// Blank lines stand before what comes next.
    blank: bool,
}

impl Tidy<'_> {
    fn begin(&mut self, transfer: Transfer) {
        if std::mem::take(&mut self.blank) && !self.filled.is_empty() {
            self.filled.push_merged(|merged| transfer(merged, "\n"));
        }
    }
}
