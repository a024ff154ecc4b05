//! The text part, made from the HTML in the order of the document.

use super::{
    html::{Element, Node},
    protect::{Part, Protected},
};
use crate::domain::templates::TagKind;

/// Writes the text part; the tags' words stay in it.
pub(super) fn from_nodes(nodes: &[Node], protected: &Protected) -> String {
    let mut writer = Writer::new(protected);
    for node in nodes {
        match node {
            Node::Start(element) => writer.start(element),
            Node::End(name) => writer.end(name),
            Node::Text(text) => writer.text(text),
            // A comment is no text, but a statement alone on its line travels as one.
            Node::Comment(text) => writer.statements_only(text),
            Node::Raw(_) => {}
        }
    }
    writer.out.trim().to_owned() + "\n"
}

/// After rendering: no trailing spaces, never two blank lines, LF.
pub(super) fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = 0;
    for line in text.lines().map(str::trim_end) {
        blank = if line.is_empty() { blank + 1 } else { 0 };
        if blank <= 1 && !(out.is_empty() && line.is_empty()) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Deeper quotes and lists look like this deep: a line stays a line.
const MAX_INDENT: usize = 6;

struct Writer<'p> {
    protected: &'p Protected,
    out: String,
    /// Line breaks that stand at the end of `out`, statements not counted.
    breaks: usize,
    /// Line breaks to write before the next text.
    wanted: usize,
    space: bool,
    quotes: usize,
    preformatted: usize,
    lists: Vec<Option<usize>>,
    links: Vec<(String, usize)>,
    cells: usize,
}

impl<'p> Writer<'p> {
    fn new(protected: &'p Protected) -> Writer<'p> {
        Writer {
            protected,
            out: String::new(),
            breaks: 2,
            wanted: 0,
            space: false,
            quotes: 0,
            preformatted: 0,
            lists: Vec::new(),
            links: Vec::new(),
            cells: 0,
        }
    }

    fn start(&mut self, element: &Element) {
        self.wanted = self.wanted.max(breaks_around(&element.name));
        match element.name.as_str() {
            "br" => self.line_break(),
            "hr" => {
                self.word("----------");
                self.wanted = 2;
            }
            "ul" | "menu" => self.lists.push(None),
            "ol" => self.lists.push(Some(element.get("start").and_then(|s| s.parse().ok()).unwrap_or(1))),
            "li" => self.item(),
            "blockquote" => self.quote(),
            "pre" => self.preformatted += 1,
            "tr" => self.cells = 0,
            "td" | "th" => {
                if self.cells > 0 && self.wanted == 0 {
                    self.space = true;
                }
                self.cells += 1;
            }
            "a" => {
                let href = element.get("href").unwrap_or_default().trim().to_owned();
                self.links.push((href, self.out.len()));
            }
            "img" => {
                let alt = element.get("alt").unwrap_or_default().to_owned();
                self.text(&alt);
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "ul" | "ol" | "menu" => {
                self.lists.pop();
            }
            "blockquote" => self.quotes = self.quotes.saturating_sub(1),
            "pre" => self.preformatted = self.preformatted.saturating_sub(1),
            "a" => self.link(),
            _ => {}
        }
        self.wanted = self.wanted.max(breaks_around(name));
    }

    /// `label (address)`, or the address alone when the label says the same.
    fn link(&mut self) {
        let Some((href, start)) = self.links.pop() else { return };
        let label = self.out[start..].trim().to_owned();
        let address = href.strip_prefix("mailto:").unwrap_or(&href);
        let bare =
            |s: &str| s.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/').to_owned();
        if address.is_empty() || address.starts_with('#') || bare(&label) == bare(address) {
            return;
        }
        self.space |= !label.is_empty();
        let address = if label.is_empty() { address.to_owned() } else { format!("({address})") };
        self.word(&address);
    }

    fn quote(&mut self) {
        while self.wanted > self.breaks {
            self.push_break();
        }
        self.wanted = 0;
        self.quotes += 1;
        if self.quotes <= MAX_INDENT {
            self.out.push_str("> ");
        }
    }

    fn item(&mut self) {
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}.", *number - 1)
            }
            Some(None) | None => "-".to_owned(),
        };
        let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(MAX_INDENT));
        self.word(&format!("{indent}{mark} "));
        self.space = false;
        // What opens inside the item goes on behind its mark.
        self.breaks = 2;
    }

    fn text(&mut self, text: &str) {
        if self.preformatted > 0 {
            return self.verbatim(text);
        }
        for part in self.protected.parts(text) {
            match part {
                Part::Tag(number) => self.tag(number),
                Part::Literal(literal) => self.words(literal),
            }
        }
    }

    fn words(&mut self, literal: &str) {
        let is_space = |c: char| c.is_ascii_whitespace();
        self.space |= literal.starts_with(is_space);
        for (i, word) in literal.split_ascii_whitespace().enumerate() {
            self.space |= i > 0;
            self.word(word);
        }
        self.space |= literal.ends_with(is_space);
    }

    fn tag(&mut self, number: usize) {
        match self.protected.tags[number].kind {
            TagKind::Output => {
                let word = self.protected.word(number);
                self.word(&word);
            }
            TagKind::Statement => self.statement(number),
        }
    }

    /// A statement has no width: what stands around it keeps its place.
    fn statement(&mut self, number: usize) {
        self.flush();
        self.out.push_str(&self.protected.word(number));
    }

    fn statements_only(&mut self, text: &str) {
        for part in self.protected.parts(text) {
            if let Part::Tag(number) = part
                && self.protected.tags[number].kind == TagKind::Statement
            {
                self.statement(number);
            }
        }
    }

    fn verbatim(&mut self, text: &str) {
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                self.line_break();
            }
            if !line.is_empty() {
                self.word(line);
            }
        }
    }

    fn line_break(&mut self) {
        self.space = false;
        if self.wanted == 0 {
            self.push_break();
        }
    }

    fn word(&mut self, word: &str) {
        self.flush();
        self.out.push_str(word);
        self.breaks = 0;
    }

    /// Writes the line breaks or the space that are due.
    fn flush(&mut self) {
        while self.wanted > self.breaks {
            self.push_break();
        }
        if self.space && self.breaks == 0 && self.wanted == 0 {
            self.out.push(' ');
        }
        self.wanted = 0;
        self.space = false;
    }

    fn push_break(&mut self) {
        self.out.push('\n');
        self.out.push_str(&"> ".repeat(self.quotes.min(MAX_INDENT)));
        self.breaks += 1;
    }
}

/// Line breaks before and after an element: 2 leave a blank line.
fn breaks_around(name: &str) -> usize {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "menu" | "blockquote" | "pre" | "table"
        | "hr" => 2,
        "address" | "article" | "aside" | "center" | "dd" | "div" | "dl" | "dt" | "fieldset" | "figure" => 1,
        "figcaption" | "footer" | "header" | "li" | "main" | "nav" | "section" | "tr" | "caption" | "body" => 1,
        _ => 0,
    }
}
