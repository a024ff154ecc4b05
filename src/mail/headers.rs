//! Header fields: folded, encoded, and never able to begin another field (RFC 5322, 2047; rules H06–H08).

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::domain::address::Address;

/// Lines are folded to this many octets where they can be (RFC 5322 section 2.1.1).
const LINE: usize = 78;
/// No line may be longer (998), and a word cannot be folded: leave room for the name.
const WORD: usize = 900;
/// Longest encoded word (RFC 2047 section 2).
const ENCODED_WORD: usize = 75;

/// Why a value cannot stand in a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// CR, LF or NUL: somebody tries to add a header (rules H07).
    #[error("the header {0} would hold a line break or NUL")]
    LineBreak(&'static str),
    /// A word that must stay whole is longer than a line may be.
    #[error("the header {0} would hold a word of more than 900 characters")]
    TooLong(&'static str),
}

/// Free text, such as a subject: as it is where it is printable ASCII, in encoded words else.
pub(super) fn push_text(out: &mut Vec<u8>, name: &'static str, value: &str) -> Result<(), HeaderError> {
    let value = checked(name, value)?.trim();
    let mut line = Line::begin(out, name);
    // `=?` in plain text would be taken for an encoded word by who reads it.
    if is_printable(value) && !value.contains("=?") && words_fit(value) {
        line.push_words(value);
    } else {
        line.push_encoded(value);
    }
    line.end();
    Ok(())
}

/// A structured ASCII value whose words must stay as they are.
pub(super) fn push_words(out: &mut Vec<u8>, name: &'static str, value: &str) -> Result<(), HeaderError> {
    let value = checked(name, value)?;
    if !words_fit(value) {
        return Err(HeaderError::TooLong(name));
    }
    let mut line = Line::begin(out, name);
    line.push_words(value);
    line.end();
    Ok(())
}

/// A word of ASCII that must stay as it is, in pieces and without spaces.
pub(super) fn push_word(out: &mut Vec<u8>, name: &'static str, pieces: &[&str]) -> Result<(), HeaderError> {
    pieces.iter().try_for_each(|piece| checked(name, piece).map(drop))?;
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > WORD {
        return Err(HeaderError::TooLong(name));
    }
    let mut line = Line::begin(out, name);
    line.push_word(pieces);
    line.end();
    Ok(())
}

/// A display name and an address, or `prefix` of List-Id and the like: `phrase <what>`, `what` in pieces.
pub(super) fn push_phrase(
    out: &mut Vec<u8>,
    name: &'static str,
    phrase: Option<&str>,
    what: [&str; 3],
) -> Result<(), HeaderError> {
    what.iter().try_for_each(|piece| checked(name, piece).map(drop))?;
    let phrase = phrase.map(|p| checked(name, p)).transpose()?.map(str::trim).filter(|p| !p.is_empty());
    let mut line = Line::begin(out, name);
    let [first, second, third] = what;
    if let Some(phrase) = phrase {
        line.push_phrase(phrase);
        line.push_word(&["<", first, second, third, ">"]);
    } else {
        line.push_word(&what);
    }
    line.end();
    Ok(())
}

/// `From`, `To`, `Reply-To`. A UTF-8 local part stands as it is (RFC 6532): it is sent under SMTPUTF8 only.
pub(super) fn push_mailbox(
    out: &mut Vec<u8>,
    name: &'static str,
    display_name: Option<&str>,
    address: &Address,
) -> Result<(), HeaderError> {
    // A quoted local part without brackets around the address is taken for a name by some readers.
    if display_name.is_none_or(|display_name| display_name.trim().is_empty()) && address.as_str().starts_with('"') {
        return push_words(out, name, &format!("<{address}>"));
    }
    push_phrase(out, name, display_name, [address.as_str(), "", ""])
}

fn checked<'a>(name: &'static str, value: &'a str) -> Result<&'a str, HeaderError> {
    if memchr::memchr3(b'\r', b'\n', 0, value.as_bytes()).is_some() {
        Err(HeaderError::LineBreak(name))
    } else {
        Ok(value)
    }
}

fn is_printable(value: &str) -> bool {
    value.bytes().fold(true, |all, b| all & matches!(b, b' '..=b'~'))
}

/// Letters, digits and signs of an atom (RFC 5322 section 3.2.3), and this one.
pub(super) const fn of_atoms_and(sign: u8) -> [bool; 256] {
    let mut of_atoms = [false; 256];
    let signs = b"!#$%&'*+-/=?^_`{|}~";
    let mut at = 0;
    while at < signs.len() {
        of_atoms[signs[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        of_atoms[byte] |= (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    of_atoms[sign as usize] = true;
    of_atoms
}

/// What a phrase is made of that needs no quotes.
const OF_PHRASES: [bool; 256] = of_atoms_and(b' ');

fn words_fit(value: &str) -> bool {
    value.len() <= WORD || value.split(' ').all(|word| word.len() <= WORD)
}

/// A header field being written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    /// Octets on the present line.
    length: usize,
    /// Something other than the name and white space stands on the present line.
    begun: bool,
}

impl Line<'_> {
    fn begin<'a>(out: &'a mut Vec<u8>, name: &str) -> Line<'a> {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        Line { out, length: name.len() + 1, begun: false }
    }

    fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// One space and a word, given in pieces, on a new line if it does not fit here.
    fn push_word(&mut self, pieces: &[&str]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.begun && self.length + 1 + length > LINE {
            self.out.extend_from_slice(b"\r\n");
            self.length = 0;
        }
        self.out.push(b' ');
        pieces.iter().for_each(|piece| self.out.extend_from_slice(piece.as_bytes()));
        self.length += 1 + length;
        self.begun = true;
    }

    fn push_words(&mut self, value: &str) {
        // Runs of spaces shrink to one, which keeps every line from being blank.
        for word in value.split_ascii_whitespace() {
            self.push_word(&[word]);
        }
    }

    /// A phrase of RFC 5322: atoms, a quoted string, or encoded words.
    fn push_phrase(&mut self, phrase: &str) {
        if !is_printable(phrase) || phrase.contains("=?") || phrase.len() > LINE {
            self.push_encoded(phrase);
        } else if phrase.bytes().all(|b| OF_PHRASES[usize::from(b)]) {
            self.push_words(phrase);
        } else {
            self.push_word(&["\"", &phrase.replace('\\', "\\\\").replace('"', "\\\""), "\""]);
        }
    }

    /// Encoded words in UTF-8 and base64, each at most 75 octets and of whole characters (RFC 2047 section 5).
    fn push_encoded(&mut self, value: &str) {
        const AROUND: usize = "=?utf-8?B??=".len();
        let mut rest = value;
        while !rest.is_empty() {
            // The first word uses what is left of the name's line.
            let room = (LINE - 1).saturating_sub(self.length).min(ENCODED_WORD).saturating_sub(AROUND) / 4 * 3;
            let room = if self.begun || room < 4 { (ENCODED_WORD - AROUND) / 4 * 3 } else { room };
            let end = rest.floor_char_boundary(room);
            self.push_word(&["=?utf-8?B?", &BASE64_STANDARD.encode(&rest[..end]), "?="]);
            rest = &rest[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use mail_parser::{HeaderValue, MessageParser};
    use proptest::prelude::*;

    use super::*;

    fn text(value: &str) -> String {
        let mut out = Vec::new();
        push_text(&mut out, "Subject", value).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn from(name: &str, address: &str) -> String {
        let mut out = Vec::new();
        push_mailbox(&mut out, "From", Some(name), &Address::parse(address).unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_text_stays_plain_and_is_folded() {
        assert_eq!(text("Hello"), "Subject: Hello\r\n");
        let long = text(&"word ".repeat(40));
        assert!(long.lines().all(|l| l.len() <= 78), "{long}");
        assert_eq!(long.matches("word").count(), 40);
    }

    #[test]
    fn accents_become_encoded_words_of_75_at_most() {
        assert_eq!(text("Été"), "Subject: =?utf-8?B?w4l0w6k=?=\r\n");
        let long = text(&"Où êtes-vous ? ".repeat(20));
        assert!(long.split_ascii_whitespace().all(|w| w.len() <= 75), "{long}");
        assert!(long.split("\r\n").all(|l| l.len() <= 78), "{long}");
        // What looks like an encoded word is none.
        assert!(!text("=?utf-8?B?DQpCY2M6IGE=?=").contains("DQpCY2M6IGE"));
    }

    #[test]
    fn names_are_quoted_or_encoded() {
        assert_eq!(from("Societe Exemple", "a@news.example"), "From: Societe Exemple <a@news.example>\r\n");
        assert_eq!(from("Doe, \"J\" \\", "a@news.example"), "From: \"Doe, \\\"J\\\" \\\\\" <a@news.example>\r\n");
        assert_eq!(from("Société", "a@news.example"), "From: =?utf-8?B?U29jacOpdMOp?= <a@news.example>\r\n");
        assert_eq!(from("  ", "\"a b\"@news.example"), "From: <\"a b\"@news.example>\r\n");
        assert_eq!(from("", "é@bücher.example"), "From: é@xn--bcher-kva.example\r\n");
    }

    #[test]
    fn a_line_break_is_refused() {
        for bad in ["a\r\nBcc: b@x.example", "a\nb", "a\rb", "a\0b"] {
            let mut out = Vec::new();
            assert_eq!(push_text(&mut out, "Subject", bad), Err(HeaderError::LineBreak("Subject")));
            assert_eq!(push_phrase(&mut out, "From", Some(bad), ["x", "", ""]), Err(HeaderError::LineBreak("From")));
            assert_eq!(push_phrase(&mut out, "From", None, ["x", bad, ""]), Err(HeaderError::LineBreak("From")));
            assert_eq!(push_word(&mut out, "To", &["x", bad]), Err(HeaderError::LineBreak("To")));
            assert_eq!(push_words(&mut out, "List-Id", bad), Err(HeaderError::LineBreak("List-Id")));
            assert!(out.is_empty());
        }
    }

    proptest! {
        /// Any text is refused or comes back as it was, in one header.
        #[test]
        fn any_text_round_trips(value in "\\PC{0,120}|[ -~é€😀]{0,300}|.{0,40}") {
            let mut out = Vec::new();
            match push_text(&mut out, "Subject", &value) {
                Err(_) => prop_assert!(value.contains(['\r', '\n', '\0'])),
                Ok(()) => {
                    prop_assert!(out.is_ascii());
                    for line in out.split(|b| *b == b'\n') {
                        prop_assert!(line.len() <= 998);
                    }
                    out.extend_from_slice(b"\r\nbody");
                    let message = MessageParser::default().parse(&out).unwrap();
                    prop_assert_eq!(message.headers().len(), 1);
                    let normal = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                    prop_assert_eq!(normal(message.subject().unwrap_or("")), normal(value.trim()));
                }
            }
        }

        #[test]
        fn any_name_round_trips(name in "\\PC{0,60}|[ -~]{0,100}") {
            let mut out = Vec::new();
            push_mailbox(&mut out, "From", Some(&name), &Address::parse("a@news.example").unwrap()).unwrap();
            prop_assert!(out.is_ascii());
            out.extend_from_slice(b"\r\nbody");
            let message = MessageParser::default().parse(&out).unwrap();
            prop_assert_eq!(message.headers().len(), 1);
            let HeaderValue::Address(from) = message.headers()[0].value() else { panic!("no address") };
            prop_assert_eq!(from.iter().count(), 1);
            let first = from.first().unwrap();
            prop_assert_eq!(first.address(), Some("a@news.example"));
            let normal = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert_eq!(normal(first.name().unwrap_or("")), normal(&name));
        }
    }
}
