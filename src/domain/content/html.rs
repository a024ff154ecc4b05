//! HTML as a flat list of what stands in it, in the order of the document.
//!
//! No tree is built: a tree builder moves text out of tables, and with it the tags of a
//! condition away from what they guard.

use std::{cell::RefCell, rc::Rc};

use lol_html::{RewriteStrSettings, doc_comments, doc_text, element, end_tag, html_content::TextType, rewrite_str};

use super::entities::decode;

/// Something in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// The start of an element.
    Start(Element),
    /// Its end, if it has one.
    End(String),
    /// Text that a reader sees, references decoded.
    Text(String),
    /// The content of `style`, `script` or `title`.
    Raw(String),
    /// A comment.
    Comment(String),
}

/// The start of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// In lower case.
    pub(super) name: String,
    /// Byte offset.
    pub(super) offset: usize,
    pub(super) attributes: Vec<Attribute>,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// In lower case.
    pub(super) name: String,
    /// References decoded.
    pub(super) value: String,
    /// The value stands between quotes.
    pub(super) quoted: bool,
}

impl Element {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.name == name).map(|a| a.value.as_str())
    }
}

/// Reads a document or fragment.
pub(super) fn nodes(html: &str) -> Result<Vec<Node>, String> {
    let nodes = Rc::new(RefCell::new(Vec::new()));
    let text = RefCell::new(String::new());
    let (starts, texts, comments) = (nodes.clone(), nodes.clone(), nodes.clone());
    let settings = RewriteStrSettings::new()
        .append_element_content_handler(element!("*", move |el| {
            let name = el.tag_name();
            let attributes = el.attributes().iter().map(|a| Attribute {
                name: a.name(),
                value: decode(&a.value()),
                quoted: a.value_source_location().is_some_and(|at| is_quoted(html, at.bytes().start)),
            });
            let offset = el.source_location().bytes().start;
            starts.borrow_mut().push(Node::Start(Element {
                name: name.clone(),
                offset,
                attributes: attributes.collect(),
            }));
            if let Some(handlers) = el.end_tag_handlers() {
                let ends = starts.clone();
                handlers.push(end_tag!(move |_| {
                    ends.borrow_mut().push(Node::End(name.clone()));
                    Ok(())
                }));
            }
            Ok(())
        }))
        .append_document_content_handler(doc_text!(move |chunk| {
            let mut text = text.borrow_mut();
            text.push_str(chunk.as_str());
            if chunk.last_in_text_node() && !text.is_empty() {
                let text = std::mem::take(&mut *text);
                texts.borrow_mut().push(match chunk.text_type() {
                    TextType::Data => Node::Text(decode(&text)),
                    _ => Node::Raw(text),
                });
            }
            Ok(())
        }))
        .append_document_content_handler(doc_comments!(move |comment| {
            comments.borrow_mut().push(Node::Comment(comment.text()));
            Ok(())
        }));
    rewrite_str(html, settings).map_err(|e| e.to_string())?;
    Ok(nodes.take())
}

/// A link that a reader can follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Where its target stands, between quotes.
    pub(super) place: std::ops::Range<usize>,
    /// The target, references decoded.
    pub(super) target: String,
}

/// The links of a document, in its order; those whose target stands without quotes are left out.
pub(super) fn links(html: &str) -> Result<Vec<Link>, String> {
    let found = Rc::new(RefCell::new(Vec::new()));
    let inner = found.clone();
    let settings =
        RewriteStrSettings::new().append_element_content_handler(element!("a[href], area[href]", move |el| {
            let link = el.attributes().iter().find(|a| a.name() == "href").and_then(|a| {
                let place = a.value_source_location()?.bytes();
                is_quoted(html, place.start).then(|| Link { place, target: decode(&a.value()).trim().to_owned() })
            });
            inner.borrow_mut().extend(link);
            Ok(())
        }));
    rewrite_str(html, settings).map_err(|e| e.to_string())?;
    Ok(found.take())
}

/// The document with `top` at the start of its body and `bottom` at the end; None without a body.
pub(super) fn inject(html: &str, top: &str, bottom: &str) -> Result<Option<String>, String> {
    let seen = Rc::new(RefCell::new((false, false)));
    let (inner, top, bottom_owned) = (seen.clone(), top.to_owned(), bottom.to_owned());
    let settings = RewriteStrSettings::new().append_element_content_handler(element!("body", move |el| {
        if std::mem::replace(&mut inner.borrow_mut().0, true) {
            return Ok(());
        }
        el.prepend(&top, lol_html::html_content::ContentType::Html);
        if let Some(handlers) = el.end_tag_handlers() {
            let (inner, bottom) = (inner.clone(), bottom_owned.clone());
            handlers.push(end_tag!(move |end| {
                inner.borrow_mut().1 = true;
                end.before(&bottom, lol_html::html_content::ContentType::Html);
                Ok(())
            }));
        }
        Ok(())
    }));
    let mut out = rewrite_str(html, settings).map_err(|e| e.to_string())?;
    let (has_body, has_end) = *seen.borrow();
    if has_body && !has_end {
        out.push_str(bottom);
    }
    Ok(has_body.then_some(out))
}

fn is_quoted(html: &str, value_start: usize) -> bool {
    value_start > 0 && matches!(html.as_bytes()[value_start - 1], b'"' | b'\'')
}
