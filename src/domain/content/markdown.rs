//! Markdown to HTML.

use std::{cell::RefCell, fmt};

use pulldown_cmark::{Options, Parser, html};

/// Where in the HTML which byte of the Markdown begins to be written.
pub(super) struct Places(Vec<(usize, usize)>);

impl Places {
    /// The byte of the Markdown that stands at `offset` of the HTML.
    pub(super) fn source_offset(&self, offset: usize) -> usize {
        let piece = self.0.partition_point(|(at, _)| *at <= offset);
        piece.checked_sub(1).map_or(0, |i| self.0[i].1)
    }
}

/// The writer takes one event after the other: what is written when it takes one is known here.
struct Sink<'a>(&'a RefCell<String>);

impl fmt::Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.borrow_mut().push_str(text);
        Ok(())
    }
}

/// HTML of CommonMark with tables and strike-through, and where its pieces come from. HTML in it stays: it is
/// checked like an HTML body.
pub(super) fn to_html(markdown: &str) -> (String, Places) {
    let out = RefCell::new(String::with_capacity(markdown.len() * 3 / 2));
    let mut places = Vec::new();
    let parser = Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let events = parser.into_offset_iter().map(|(event, range)| {
        places.push((out.borrow().len(), range.start));
        event
    });
    html::write_html_fmt(Sink(&out), events).expect("writing to a String does not fail");
    (out.into_inner(), Places(places))
}
