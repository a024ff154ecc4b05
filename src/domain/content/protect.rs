//! Template tags on their way through Markdown and HTML: each becomes one opaque word, and
//! comes back at the end. Text that looks like a tag then is not one, and is written so.

use super::html::Node;
use crate::domain::templates::{Piece, Tag, TagKind};

/// A body whose tags are words.
pub(super) struct Protected {
    /// The body with a word in the place of each tag.
    pub(super) text: String,
    /// The tags, by their number in the word.
    pub(super) tags: Vec<Tag>,
    prefix: String,
    /// Where in `text` which byte of the source stands: the start of each piece.
    places: Vec<(usize, usize)>,
}

/// A part of processed text.
pub(super) enum Part<'t> {
    Literal(&'t str),
    Tag(usize),
}

impl Protected {
    /// `alone_as_comment`: a statement that stands alone on its line becomes an HTML comment,
    /// so that Markdown leaves it between paragraphs instead of making one of it.
    pub(super) fn new(source: &str, pieces: Vec<Piece<'_>>, alone_as_comment: bool) -> Protected {
        let prefix = unused_prefix(source);
        let mut this =
            Protected { text: String::with_capacity(source.len()), tags: Vec::new(), prefix, places: Vec::new() };
        let mut pieces = pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Text(text, offset) => {
                    this.places.push((this.text.len(), offset));
                    this.text.push_str(text);
                }
                Piece::Tag(tag) => {
                    this.places.push((this.text.len(), tag.offset));
                    let starts_line = this.text.rsplit('\n').next().is_some_and(|line| line.trim().is_empty());
                    let ends_line = match pieces.peek() {
                        Some(Piece::Text(text, _)) => text.split('\n').next().is_some_and(|l| l.trim().is_empty()),
                        Some(Piece::Tag(_)) => false,
                        None => true,
                    };
                    let alone = alone_as_comment && starts_line && ends_line && tag.kind == TagKind::Statement;
                    let word = this.word(this.tags.len());
                    if alone {
                        this.text.push_str(&format!("<!--{word}-->"));
                    } else {
                        this.text.push_str(&word);
                    }
                    this.tags.push(tag);
                }
            }
        }
        this
    }

    /// Adds a tag of our own and gives the word that stands for it.
    pub(super) fn slot(&mut self, canonical: &str) -> String {
        let offset = 0;
        let tag = Tag { kind: TagKind::Output, canonical: canonical.to_owned(), offset, urlencoded: false };
        self.tags.push(tag);
        self.word(self.tags.len() - 1)
    }

    /// Text and tags of processed text, in order.
    pub(super) fn parts<'t>(&self, processed: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let mut literal = 0;
        let mut at = 0;
        while let Some(found) = processed[at..].find(&self.prefix) {
            let start = at + found;
            let digits_at = start + self.prefix.len();
            let digits = processed[digits_at..].bytes().take_while(u8::is_ascii_digit).count();
            let number = processed[digits_at..digits_at + digits].parse::<usize>();
            at = digits_at + digits;
            if let Some(number) = number.ok().filter(|n| *n < self.tags.len() && processed[at..].starts_with('z')) {
                if literal < start {
                    parts.push(Part::Literal(&processed[literal..start]));
                }
                parts.push(Part::Tag(number));
                at += 1;
                literal = at;
            }
        }
        if literal < processed.len() {
            parts.push(Part::Literal(&processed[literal..]));
        }
        parts
    }

    /// Whether a tag stands in this text.
    pub(super) fn has_tag(&self, text: &str) -> bool {
        self.parts(text).iter().any(|part| matches!(part, Part::Tag(_)))
    }

    /// Puts the tags back. Whatever else looks like a tag now came from an escape or a character
    /// reference: nobody has checked it, so it is written as text.
    pub(super) fn restore(&self, processed: &str) -> String {
        let mut out = String::with_capacity(processed.len() + 256);
        let mut parts = self.parts(processed);
        self.uncomment(&mut parts);
        for (i, part) in parts.iter().enumerate() {
            match part {
                Part::Tag(number) => out.push_str(&self.tags[*number].canonical),
                Part::Literal(text) => push_literal(&mut out, text, i + 1 < parts.len()),
            }
        }
        out
    }

    /// Takes the comment off a statement that travelled in one.
    fn uncomment(&self, parts: &mut [Part<'_>]) {
        for i in 1..parts.len().saturating_sub(1) {
            let is_statement = matches!(parts[i], Part::Tag(number) if self.tags[number].kind == TagKind::Statement);
            let (Part::Literal(before), Part::Literal(after)) = (&parts[i - 1], &parts[i + 1]) else { continue };
            for (open, close) in [("<!--", "-->"), ("&lt;!--", "--&gt;")] {
                if let (true, Some(before), Some(after)) =
                    (is_statement, before.strip_suffix(open), after.strip_prefix(close))
                {
                    parts[i - 1] = Part::Literal(before);
                    parts[i + 1] = Part::Literal(after);
                    break;
                }
            }
        }
    }

    /// Puts the tags back into the text as it was protected.
    pub(super) fn restore_whole(&self) -> String {
        self.restore(&self.text)
    }

    /// What a reader sees, tags left out.
    pub(super) fn visible_text(&self, nodes: &[Node]) -> String {
        let mut out = String::new();
        for node in nodes {
            match node {
                Node::Text(text) => {
                    out.extend(self.parts(text).iter().map(|part| match part {
                        Part::Literal(text) => text,
                        Part::Tag(_) => "",
                    }));
                    out.push(' ');
                }
                Node::Start(element) => out.push_str(element.get("alt").unwrap_or_default()),
                Node::End(_) | Node::Raw(_) | Node::Comment(_) => {}
            }
        }
        out
    }

    /// Whether this word stands between an opening statement and its end.
    pub(super) fn is_inside_a_block(&self, processed: &str, word: &str) -> bool {
        let before = processed.find(word).map_or("", |at| &processed[..at]);
        let mut depth = 0i64;
        for part in self.parts(before) {
            if let Part::Tag(number) = part {
                let inside = self.tags[number].canonical.trim_start_matches(['{', '%', '-', ' ']);
                depth += match (self.tags[number].kind, inside.split(' ').next()) {
                    (TagKind::Statement, Some("if" | "for")) => 1,
                    (TagKind::Statement, Some("endif" | "endfor")) => -1,
                    _ => 0,
                };
            }
        }
        depth != 0
    }

    /// The byte of the source that stands at `offset` of `text`.
    pub(super) fn source_offset(&self, offset: usize) -> usize {
        let piece = self.places.partition_point(|(at, _)| *at <= offset);
        match piece.checked_sub(1).map(|i| self.places[i]) {
            Some((at, source)) => source + (offset - at),
            None => 0,
        }
    }

    /// The word that stands for a tag.
    pub(super) fn word(&self, number: usize) -> String {
        format!("{}{number}z", self.prefix)
    }
}

/// Letters that occur nowhere in the source, whatever its case.
fn unused_prefix(source: &str) -> String {
    let lower = source.to_lowercase();
    let mut prefix = "ozq".to_owned();
    while lower.contains(&prefix) {
        prefix.push('q');
    }
    prefix
}

fn push_literal(out: &mut String, text: &str, tag_follows: bool) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let opens =
            c == '{' && (matches!(chars.peek(), Some('{' | '%' | '#')) || (chars.peek().is_none() && tag_follows));
        if opens {
            out.push_str("{{ \"{\" }}");
        } else {
            out.push(c);
        }
    }
}
