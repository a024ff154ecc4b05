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
