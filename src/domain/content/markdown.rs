//! Markdown to HTML.

use pulldown_cmark::{Options, Parser, html};

/// CommonMark with tables and strike-through. HTML in it stays: it is checked like an HTML body.
pub(super) fn to_html(markdown: &str) -> String {
    let parser = Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut out = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut out, parser);
    out
}
