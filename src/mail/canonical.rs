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
    for &byte in field.value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' if out.len() == start || out.last() == Some(&b' ') => {}
            b' ' | b'\t' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    if out.len() > start && out.last() == Some(&b' ') {
        out.pop();
    }
    out.extend_from_slice(b"\r\n");
}

/// SHA-256 of the relaxed body: no white space at line ends, single spaces within, no empty lines at the end.
pub(super) fn body_hash(body: &[u8]) -> [u8; 32] {
    let Some(last) = body.iter().rposition(|b| !b" \t\r\n".contains(b)) else {
        return hash_by_line(body);
    };
    if !has_whole_line_ends(body, None) {
        return hash_by_line(body);
    }
    let body = &body[..=last];
    let mut hash = Sha256::new();
    let mut odd = OddSpace::new();
    let mut done = 0;
    while let Some(at) = odd.find(body, done) {
        hash.update(&body[done..at]);
        done = at + body[at..].iter().take_while(|b| is_space(**b)).count();
        if body[done] != b'\r' {
            hash.update(b" ");
        }
    }
    hash.update(&body[done..]);
    hash.update(b"\r\n");
    hash.finalize().into()
}

/// Every CR has its LF and every LF its CR, and no line but the first begins with `but`.
pub(super) fn has_whole_line_ends(bytes: &[u8], but: Option<u8>) -> bool {
    let mut lines = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        if at == 0 || bytes[at - 1] != b'\r' || (but.is_some() && bytes.get(at + 1).copied() == but) {
            return false;
        }
        lines += 1;
    }
    // Each LF has its CR: when there are as many, each CR has its LF.
    memchr::memchr_iter(b'\r', bytes).count() == lines
}

/// Finds white space that the relaxed form does not keep as it is: a tab, two in a row, or one at a
/// line's end. Where each kind comes next is looked for once.
struct OddSpace {
    tab: Option<usize>,
    double: Option<usize>,
    trailing: Option<usize>,
}

impl OddSpace {
    fn new() -> OddSpace {
        OddSpace { tab: Some(0), double: Some(0), trailing: Some(0) }
    }

    /// The first odd white space from `from` on, which must not stand within a run of white space.
    fn find(&mut self, body: &[u8], from: usize) -> Option<usize> {
        let rest = &body[from..];
        let again = |known: Option<usize>, find: &dyn Fn() -> Option<usize>| match known {
            Some(at) if at < from || from == 0 => find().map(|at| from + at),
            known => known,
        };
        self.tab = again(self.tab, &|| memchr::memchr(b'\t', rest));
        self.double = again(self.double, &|| memchr::memmem::find(rest, b"  "));
        self.trailing = again(self.trailing, &|| memchr::memmem::find(rest, b" \r"));
        let at = [self.tab, self.double, self.trailing].into_iter().flatten().min()?;
        // A tab may end a run that began with a space.
        let before = body[from..at].iter().rev().take_while(|b| is_space(**b)).count();
        Some(at - before)
    }
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
        }
    }
}
