//! The relaxed canonical forms of DKIM (RFC 6376 sections 3.4.2 and 3.4.4).

use sha2::{Digest, Sha256};

/// A header field as it stands in a message, with its folds and without its last line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

impl Field<'_> {
    /// The name is `name`, in whatever case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The header fields and the body of a message with CRLF line ends.
pub(super) fn split_message(message: &[u8]) -> (Vec<Field<'_>>, &[u8]) {
    let mut fields = Vec::with_capacity(24);
    let mut rest = message;
    loop {
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            return (fields, body);
        }
        let end = field_end(rest);
        let field = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        let colon = field.iter().position(|b| *b == b':').unwrap_or(field.len());
        let value = field.get(colon + 1..).unwrap_or_default();
        fields.push(Field { name: field[..colon].trim_ascii_end(), value });
        if rest.is_empty() {
            return (fields, rest);
        }
    }
}

/// Where the field's last line ends: at a CRLF that no white space follows.
fn field_end(bytes: &[u8]) -> usize {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\r', &bytes[from..]).map(|at| from + at) {
        if bytes.get(at + 1) == Some(&b'\n') && !matches!(bytes.get(at + 2), Some(b' ' | b'\t')) {
            return at;
        }
        from = at + 1;
    }
    bytes.len()
}

/// Lower-case name, unfolded value, runs of white space as one space, CRLF.
pub(super) fn relaxed_header(field: &Field, out: &mut Vec<u8>) {
    out.extend(field.name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let start = out.len();
    let mut rest = field.value;
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        push_relaxed_words(&rest[..end], start, out);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    if out.len() > start && out.last() == Some(&b' ') {
        out.pop();
    }
    out.extend_from_slice(b"\r\n");
}

/// A line of a value that begins at `start`, put to what stands there.
fn push_relaxed_words(line: &[u8], start: usize, out: &mut Vec<u8>) {
    let line = match line {
        [b' ', rest @ ..] if out.len() == start => rest,
        line => line,
    };
    let joins = out.len() > start && out.last() == Some(&b' ');
    let begins_with_space = line.first().is_some_and(|b| is_space(*b));
    let odd = |a, b| (a == b'\t') | ((a == b' ') & (b == b' '));
    if !any_pair(line, odd) && line.last() != Some(&b'\t') && !(begins_with_space && (joins || out.len() == start)) {
        out.extend_from_slice(line);
        return;
    }
    for &byte in line {
        match byte {
            b' ' | b'\t' if out.len() == start || out.last() == Some(&b' ') => {}
            b' ' | b'\t' => out.push(b' '),
            byte => out.push(byte),
        }
    }
}

/// Whether this holds for two bytes that follow each other. Without a branch for each: many are looked at at once.
fn any_pair(bytes: &[u8], holds: impl Fn(u8, u8) -> bool) -> bool {
    let next = bytes.get(1..).unwrap_or_default();
    bytes.iter().zip(next).fold(false, |any, (a, b)| any | holds(*a, *b))
}

/// SHA-256 of the relaxed body: no white space at line ends, single spaces within, no empty lines at the end.
pub(super) fn body_hash(body: &[u8]) -> [u8; 32] {
    let Some(last) = body.iter().rposition(|b| !b" \t\r\n".contains(b)) else {
        return hash_by_line(body);
    };
    if body[0] == b'\n' || !has_whole_line_ends(&body[last + 1..], None) {
        return hash_by_line(body);
    }
    let body = &body[..=last];
    let mut hash = Sha256::new();
    let mut done = 0;
    while let Some(at) = next_odd(body, done) {
        let behind = at + body[at..].iter().take_while(|b| is_space(**b)).count();
        if behind == at || body[behind] == b'\n' {
            return hash_by_line(body);
        }
        hash.update(&body[done..at]);
        if body[behind] != b'\r' {
            hash.update(b" ");
        }
        done = behind;
    }
    hash.update(&body[done..]);
    hash.update(b"\r\n");
    hash.finalize().into()
}

/// Where something begins, from `from` on, that the relaxed form does not keep as it is: a tab, white space before
/// more of it or at a line's end, or half a line end.
fn next_odd(body: &[u8], from: usize) -> Option<usize> {
    let odd = |a: u8, b: u8| {
        (a == b'\t') | ((a == b' ') & ((b == b' ') | (b == b'\t') | (b == b'\r'))) | ((a == b'\r') != (b == b'\n'))
    };
    // The farther nothing is found, the more is looked at together.
    let (mut at, mut ahead) = (from, 64);
    while at + 1 < body.len() {
        // The last of these is the first of the next.
        let some = &body[at..body.len().min(at + ahead + 1)];
        if any_pair(some, odd) {
            return some.windows(2).position(|pair| odd(pair[0], pair[1])).map(|found| at + found);
        }
        at += ahead;
        ahead = (2 * ahead).min(2048);
    }
    None
}

/// Every CR has its LF and every LF its CR, and no line but the first begins with `but`.
pub(super) fn has_whole_line_ends(bytes: &[u8], but: Option<u8>) -> bool {
    let (refuses, but) = (but.is_some(), but.unwrap_or_default());
    let broken = |a: u8, b: u8| ((a == b'\r') != (b == b'\n')) | (refuses & (a == b'\n') & (b == but));
    bytes.first() != Some(&b'\n') && bytes.last() != Some(&b'\r') && !any_pair(bytes, broken)
}

/// The same line by line, for bodies whose line ends are of several kinds.
fn hash_by_line(body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut relaxed = Vec::with_capacity(4096);
    // Empty lines wait: they count only if another line follows.
    let mut empty_lines = 0usize;
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        let start = relaxed.len();
        push_relaxed_line(line, &mut relaxed);
        if relaxed.len() == start {
            empty_lines += 1;
            continue;
        }
        if empty_lines > 0 {
            let line = relaxed.split_off(start);
            (0..empty_lines).for_each(|_| relaxed.extend_from_slice(b"\r\n"));
            relaxed.extend_from_slice(&line);
            empty_lines = 0;
        }
        relaxed.extend_from_slice(b"\r\n");
        if relaxed.len() > 3072 {
            hash.update(&relaxed);
            relaxed.clear();
        }
    }
    hash.update(&relaxed);
    hash.finalize().into()
}

fn push_relaxed_line(line: &[u8], out: &mut Vec<u8>) {
    let line = &line[..line.iter().rposition(|b| !is_space(*b)).map_or(0, |last| last + 1)];
    let has_runs = line.iter().zip(line.iter().skip(1)).any(|(a, b)| is_space(*a) && is_space(*b));
    if !has_runs && !line.contains(&b'\t') {
        out.extend_from_slice(line);
        return;
    }
    let mut in_space = false;
    for &byte in line {
        if is_space(byte) {
            if !in_space {
                out.push(b' ');
            }
        } else {
            out.push(byte);
        }
        in_space = is_space(byte);
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_quick_way_and_the_plain_one_agree(
            body in "([a ]|\t|\r\n){0,40}|([ab .]|\t|\r|\n|\r\n){0,40}|([a-z]{1,9}( |  |\t| \t)?(\r\n)?){0,20}",
        ) {
            prop_assert_eq!(body_hash(body.as_bytes()), hash_by_line(body.as_bytes()), "{:?}", body);
            let long = body.repeat(20);
            prop_assert_eq!(body_hash(long.as_bytes()), hash_by_line(long.as_bytes()), "{:?} twenty times", body);
        }

        #[test]
        fn line_ends_are_whole_or_not(text in "([ab.]|\r|\n|\r\n){0,40}", but in prop::option::of(Just(b'.'))) {
            let pairs = text.replace("\r\n", "");
            let begins = |line: &str| but.is_some_and(|but| line.as_bytes().first() == Some(&but));
            let whole = !pairs.contains(['\r', '\n']) && !text.split("\r\n").skip(1).any(begins);
            prop_assert_eq!(has_whole_line_ends(text.as_bytes(), but), whole, "{:?}", text);
        }

        /// Against the words of RFC 6376 section 3.4.2, byte by byte.
        #[test]
        fn a_value_is_relaxed_as_the_rfc_says(value in "([ a]|\t|\r\n|\r|\n){0,40}|([a-z:;=]{1,9}( |  |\t|\r\n | \r\n\t)?){0,20}") {
            let mut out = Vec::new();
            relaxed_header(&Field { name: b"X-Name", value: value.as_bytes() }, &mut out);
            let unfolded = value.replace(['\r', '\n'], "");
            let words: Vec<&str> = unfolded.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("x-name:{}\r\n", words.join(" ")), "{:?}", value);
        }
    }
}
