//! Templates whose own text is encoded for the wire once, so that per message only values are.

use super::{
    lexer::{self, Placed},
    scan::next_tag,
};

/// How text is encoded for the wire, piece by piece: appends a piece so that another may follow.
pub type Transfer = fn(&mut String, &str);

/// The same template with its own text encoded, for [`super::Engine::of_stencils`]. It renders to what
/// the encoding of the template's result decodes to the same text as.
///
/// `template` is what a scan has written, or our own slots. None when its text cannot be encoded apart
/// from what is merged into it: then the result must be encoded as a whole.
pub fn stencil(template: &str, transfer: Transfer) -> Option<String> {
    let mut out = String::with_capacity(template.len() + template.len() / 8);
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => transfer(&mut out, text),
            // What a tag trims was text, and is trimmed already: the encoding must stay whole.
            Piece::Tag { is_output, tokens } => {
                let (open, close) = if is_output { ("{{ ", " }}") } else { ("{% ", " %}") };
                [open, &lexer::write(&tokens), close].iter().for_each(|part| out.push_str(part));
            }
        }
    }
    out.push('\n');
    Some(out)
}

/// A part of a template as it is printed.
pub(super) enum Piece<'t> {
    /// Text, trimmed where a tag beside it says so.
    Text(&'t str),
    /// A tag; one that is not for output is a statement.
    Tag { is_output: bool, tokens: Vec<Placed> },
}

/// The parts of a template that a scan has written. None when its text cannot be told apart from what is merged
/// into it.
pub(super) fn pieces(template: &str) -> Option<Vec<Piece<'_>>> {
    // The engine drops the last line end of a template, and so must we before it is encoded.
    let template = template.strip_suffix('\n').unwrap_or(template);
    let template = template.strip_suffix('\r').unwrap_or(template);
    // A CR and an LF that a tag keeps apart might become one line end, or two.
    if template.replace("\r\n", "").contains('\r') {
        return None;
    }
    let mut pieces = Vec::new();
    let (mut at, mut trims) = (0, false);
    while let Some(start) = next_tag(template, at) {
        let (is_output, close) = match template.as_bytes()[start + 1] {
            b'{' => (true, "}}"),
            b'%' => (false, "%}"),
            _ => return None,
        };
        let trims_before = template[start + 2..].starts_with('-');
        let inside = lexer::inside(template, start + 2 + usize::from(trims_before), close).ok()?;
        pieces.push(Piece::Text(trimmed(&template[at..start], trims, trims_before)));
        pieces.push(Piece::Tag { is_output, tokens: inside.tokens });
        (at, trims) = (inside.end, inside.trims_after);
    }
    pieces.push(Piece::Text(trimmed(&template[at..], trims, false)));
    Some(pieces)
}

fn trimmed(text: &str, start: bool, end: bool) -> &str {
    let text = if start { text.trim_start() } else { text };
    if end { text.trim_end() } else { text }
}
