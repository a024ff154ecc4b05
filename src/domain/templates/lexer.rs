//! The tokens inside one tag.

use super::{MAX_STRING_BYTES, MAX_TOKENS_PER_TAG, TagError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) offset: usize,
}

/// Two-character signs come first: the longest one wins.
const SIGNS: [&str; 12] = ["==", "!=", "<=", ">=", "<", ">", "|", ".", ",", "(", ")", "["];

/// The inside of a tag and where it ends.
pub(super) struct Inside {
    pub(super) tokens: Vec<Placed>,
    /// A `-` before the closing sign: trims the text that follows.
    pub(super) trims_after: bool,
    /// Byte behind the closing sign.
    pub(super) end: usize,
}

/// Reads from byte `start` up to `close` (`}}` or `%}`).
pub(super) fn inside(source: &str, start: usize, close: &str) -> Result<Inside, TagError> {
    let mut tokens = Vec::new();
    let mut at = start;
    loop {
        let rest = &source[at..];
        let Some(c) = rest.chars().next() else {
            return Err(TagError::new(start - 2, format!("this tag is not closed by `{close}`")));
        };
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let trims_after = rest.starts_with('-') && rest[1..].starts_with(close);
        if trims_after || rest.starts_with(close) {
            return Ok(Inside { tokens, trims_after, end: at + close.len() + usize::from(trims_after) });
        }
        let (token, length) = token_at(source, at, c)?;
        if tokens.len() == MAX_TOKENS_PER_TAG {
            return Err(TagError::new(at, format!("a tag holds at most {MAX_TOKENS_PER_TAG} words and signs")));
        }
        tokens.push(Placed { token, offset: at });
        at += length;
    }
}

fn token_at(source: &str, at: usize, c: char) -> Result<(Token, usize), TagError> {
    let rest = &source[at..];
    if c.is_ascii_alphabetic() || c == '_' {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        return Ok((Token::Name(rest[..end].to_owned()), end));
    }
    if c.is_ascii_digit() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end > 9 {
            return Err(TagError::new(at, "a number has at most 9 digits"));
        }
        return Ok((Token::Number(rest[..end].to_owned()), end));
    }
    if c == '\'' || c == '"' {
        return text(source, at, c);
    }
    if c == ']' {
        return Ok((Token::Sign("]"), 1));
    }
    if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let hint = match c {
        '~' | '+' => "; put texts and fields one after the other instead",
        '‘' | '’' | '“' | '”' | '«' | '»' => "; texts stand between ' and '",
        '=' => "; compare with ==",
        '*' | '-' | '/' | '%' => "; a message does not calculate",
        _ => "",
    };
    Err(TagError::new(at, format!("`{c}` is not allowed in a tag{hint}")))
}

fn text(source: &str, at: usize, quote: char) -> Result<(Token, usize), TagError> {
    let mut value = String::new();
    let mut chars = source[at + 1..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, e @ ('\\' | '\'' | '"'))) => value.push(e),
                _ => return Err(TagError::new(at + 1 + i, "after a backslash only ', \" or another backslash")),
            },
            c if c == quote => return Ok((Token::Text(value), i + 2)),
            c if c.is_control() => value.push(' '),
            c => value.push(c),
        }
        if value.len() > MAX_STRING_BYTES {
            return Err(TagError::new(at, format!("a text in a tag is at most {MAX_STRING_BYTES} bytes")));
        }
    }
    Err(TagError::new(at, format!("this text has no closing {quote}")))
}

/// The tokens as minijinja reads them.
pub(super) fn write(tokens: &[Placed]) -> String {
    let mut out = String::new();
    for placed in tokens {
        if !out.is_empty() {
            out.push(' ');
        }
        match &placed.token {
            Token::Name(name) => out.push_str(name),
            Token::Number(number) => out.push_str(number),
            Token::Sign(sign) => out.push_str(sign),
            Token::Text(text) => {
                out.push('"');
                out.push_str(&text.replace('\\', "\\\\").replace('"', "\\\""));
                out.push('"');
            }
        }
    }
    out
}
