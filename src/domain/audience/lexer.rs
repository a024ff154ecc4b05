//! From the text of an expression to its words and signs.

use super::AudienceError;

/// The longest expression, in bytes: a list of a thousand addresses fits.
pub(super) const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Sign(&'static str),
    End,
}

/// A token and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) offset: usize,
}

/// Two-character signs come first: the longest one wins.
const SIGNS: [&str; 13] = ["!=", "<=", ">=", "<>", "==", "=", "<", ">", "(", ")", "[", "]", ","];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, AudienceError> {
    if text.len() > MAX_BYTES {
        return Err(error(text, 0, format!("the expression is longer than {MAX_BYTES} bytes")));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = token_at(text, at, c)?;
        tokens.push(Placed { token, offset: at });
        at += length;
    }
    tokens.push(Placed { token: Token::End, offset: text.len() });
    Ok(tokens)
}

fn token_at(text: &str, at: usize, c: char) -> Result<(Token, usize), AudienceError> {
    let rest = &text[at..];
    if c == '\'' || c == '"' {
        return quoted(text, at, c);
    }
    if c.is_alphanumeric() || c == '_' {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_.-:".contains(c))).unwrap_or(rest.len());
        return Ok((Token::Name(rest[..end].to_owned()), end));
    }
    if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let hint = if "‘’“”«»".contains(c) { "; texts stand between ' and '" } else { "" };
    Err(error(text, at, format!("{c:?} means nothing here{hint}")))
}

/// A text between quotes; the quote itself is written twice inside.
fn quoted(text: &str, at: usize, quote: char) -> Result<(Token, usize), AudienceError> {
    let mut value = String::new();
    let mut chars = text[at + 1..].char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        if c != quote {
            value.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            value.push(quote);
        } else {
            return Ok((Token::Text(value), i + 2));
        }
    }
    Err(error(text, at, format!("this text has no closing {quote}")))
}

pub(super) fn error(text: &str, offset: usize, message: impl Into<String>) -> AudienceError {
    let column = text[..text.floor_char_boundary(offset)].chars().count() as u32 + 1;
    AudienceError { offset, column, message: message.into() }
}
