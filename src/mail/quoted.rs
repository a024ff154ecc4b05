//! Quoted-printable (RFC 2045 section 6.7), in pieces that can be encoded apart and put together.
//!
//! A piece begins and ends at the start of a line, with a soft line break where the text itself has
//! none. So a campaign's own words are encoded once, and only what differs between people is encoded
//! per message: see [`crate::domain::content::Message::encoded_by`].

/// Octets of a line before its soft break; with the `=` that makes 76.
const LINE: usize = 75;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `text`, encoded, to what ends at the start of a line, and leaves it there.
///
/// Every CR, LF and CRLF becomes CRLF. No line begins with a dot (RFC 5321 section 4.5.2) or with
/// `From `, which some servers change and so break signatures; none ends in white space.
pub fn push(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + bytes.len() / 16 + 8);
    let (mut at, mut column) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let run = if column == 0 && must_not_begin(&bytes[at..]) { 0 } else { plain_run(&bytes[at..], LINE - column) };
        if run > 0 {
            out.push_str(&text[at..at + run]);
            (at, column) = (at + run, column + run);
        } else if byte == b'\r' || byte == b'\n' {
            out.push_str("\r\n");
            at += if bytes[at..].starts_with(b"\r\n") { 2 } else { 1 };
            column = 0;
        } else if column + 3 <= LINE {
            push_escaped(out, byte);
            (at, column) = (at + 1, column + 3);
        } else {
            out.push_str("=\r\n");
            column = 0;
        }
    }
    if column > 0 {
        out.push_str("=\r\n");
    }
}

/// Ends what was pushed: a body must not end with a soft line break, nor in white space.
pub fn finish(out: &mut Vec<u8>) {
    if out.ends_with(b"=\r\n") {
        out.truncate(out.len() - 3);
        if let Some(space @ (b' ' | b'\t')) = out.last().copied() {
            out.pop();
            out.extend_from_slice(if space == b' ' { b"=\r\n=20" } else { b"=\r\n=09" });
        }
    }
}

/// Whether this is the shorter way to write the text: base64 is, once a sixth of the octets would be
/// written as `=XX`.
pub fn suits(text: &str) -> bool {
    let escaped = text.bytes().filter(|b| !b.is_ascii() || *b == b'=').count();
    escaped * 6 <= text.len()
}

/// How many octets, `room` at most, stand for themselves here.
fn plain_run(bytes: &[u8], room: usize) -> usize {
    let line = &bytes[..room.min(bytes.len())];
    // Sixteen at a time: most are plain, which is seen faster than where they are not.
    let all = |some: &&[u8]| some.iter().fold(true, |all, b| all & (matches!(b, b' '..=b'~') & (*b != b'=')));
    let quick = line.chunks_exact(16).take_while(all).count() * 16;
    let run = quick + line[quick..].iter().take_while(|b| is_plain(**b)).count();
    // White space before a line end would be lost on the way.
    if run > 0 && ends_line(&bytes[run - 1..]) { run - 1 } else { run }
}

fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'=';
        byte += 1;
    }
    plain[b'\t' as usize] = true;
    plain
};

/// White space with a line end behind it.
fn ends_line(bytes: &[u8]) -> bool {
    matches!(bytes, [b' ' | b'\t', b'\r' | b'\n', ..])
}

fn must_not_begin(line: &[u8]) -> bool {
    line[0] == b'.' || line.starts_with(b"From ")
}

fn push_escaped(out: &mut String, byte: u8) {
    out.push('=');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use lettre::message::{Body, header::ContentTransferEncoding};
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    use super::*;

    fn encoded(pieces: &[&str]) -> String {
        let mut out = String::new();
        pieces.iter().for_each(|piece| push(&mut out, piece));
        let mut out = out.into_bytes();
        finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// What a reader that is not ours makes of it, with LF.
    fn decoded(body: &str) -> String {
        let head = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
        let message = format!("{head}{body}");
        let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
        parsed.body_text(0).unwrap_or_default().replace("\r\n", "\n")
    }

    #[test]
    fn text_is_written_as_the_rfc_says() {
        for (text, expected) in [
            ("", ""),
            ("a=b\n", "a=3Db\r\n"),
            ("été", "=C3=A9t=C3=A9"),
            ("a \nb\t\r\nc\r\rd", "a=20\r\nb=09\r\nc\r\n\r\nd"),
            (".a\n.b\n..\n", "=2Ea\r\n=2Eb\r\n=2E.\r\n"),
            ("From a\n>From a\nFromage\n", "=46rom a\r\n>From a\r\nFromage\r\n"),
            ("a ", "a=\r\n=20"),
            ("a\t", "a=\r\n=09"),
            ("\0\u{7f}", "=00=7F"),
        ] {
            assert_eq!(encoded(&[text]), expected, "{text:?}");
        }
        assert_eq!(encoded(&["Bonjour ", "Zoé", ",\n", "a", "\n"]), "Bonjour =\r\nZo=C3=A9=\r\n,\r\na=\r\n\r\n");
    }

    #[test]
    fn base64_is_for_other_alphabets() {
        assert!(suits("Été à la française : <a href=\"x\">y</a>, et plus encore"));
        assert!(!suits("Καλημέρα κόσμε"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever the pieces are: our lines keep to the rules, and a reader gets the text that was
        /// meant, the one that lettre's encoder makes it get.
        #[test]
        fn pieces_of_any_text_arrive_as_one(
            pieces in prop::collection::vec("[ \t.=\r\nFrom]{0,12}|\\PC{0,40}|[a-z =é]{60,170}|(\\PC|[ .\t\0\n=]){0,90}", 0..6),
        ) {
            // A CR that ends a piece and an LF that begins the next would be one line end when joined.
            let pieces: Vec<String> = pieces.iter().map(|p| p.replace('\r', "\r\n").replace("\n\n", "\n")).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let body = encoded(&pieces);
            prop_assert!(body.is_ascii() && !body.replace("\r\n", "").contains(['\r', '\n']));
            for line in body.split("\r\n") {
                prop_assert!(line.len() <= 76 && !line.ends_with([' ', '\t']), "{:?}", line);
                prop_assert!(!line.starts_with('.') && !line.starts_with("From "), "{:?}", line);
            }
            prop_assert!(!body.ends_with('='));
            let text = pieces.concat().replace("\r\n", "\n");
            let oracle = Body::new_with_encoding(text.clone(), ContentTransferEncoding::QuotedPrintable).unwrap();
            let oracle = decoded(std::str::from_utf8(oracle.as_ref()).unwrap());
            prop_assert_eq!(&decoded(&body), &oracle, "{:?}", body);
            prop_assert_eq!(oracle, text);
        }
    }
}
