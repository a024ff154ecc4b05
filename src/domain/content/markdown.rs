//! Markdown to HTML.

use std::{cell::RefCell, fmt};

use pulldown_cmark::{Options, Parser, html};

/// HTML made of Markdown, and where each piece of it comes from.
pub(super) struct Made {
    pub(super) html: String,
    /// Where in the HTML which byte of the Markdown begins to be written.
    places: Vec<(usize, usize)>,
}

impl Made {
    /// The byte of the Markdown that stands at `offset` of the HTML.
    pub(super) fn source_offset(&self, offset: usize) -> usize {
        let piece = self.places.partition_point(|(at, _)| *at <= offset);
        piece.checked_sub(1).map_or(0, |i| self.places[i].1)
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

/// CommonMark with tables and strike-through. HTML in it stays: it is checked like an HTML body.
pub(super) fn to_html(markdown: &str) -> Made {
    let out = RefCell::new(String::with_capacity(markdown.len() * 3 / 2));
    let mut places = Vec::new();
    let parser = Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let events = parser.into_offset_iter().map(|(event, range)| {
        places.push((out.borrow().len(), range.start));
        event
    });
    html::write_html_fmt(Sink(&out), events).expect("writing to a String does not fail");
    Made { html: out.into_inner(), places }
}
