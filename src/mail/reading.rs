//! Reads a message as a mailbox does: what it shows, and the one-click link it offers.

use mail_parser::{Addr, MessageParser, MessagePart, PartType};

/// A message as its reader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Who writes: name and address.
    pub from: String,
    /// To whom.
    pub to: String,
    /// Subject, decoded.
    pub subject: String,
    /// The date as the header writes it.
    pub date: String,
    /// Every header, in order, unfolded and otherwise as it stands.
    pub headers: Vec<(String, String)>,
    /// The plain text.
    pub text: String,
    /// The HTML; empty when there is none.
    pub html: String,
    /// What a mailbox posts to when its user presses "unsubscribe" (RFC 8058 section 3.2); none when
    /// the message offers no one-click.
    pub one_click: Option<String>,
}

/// Reads a message; None when it is none.
pub fn read(message: &[u8]) -> Option<Reading> {
    let parsed = MessageParser::default().parse(message)?;
    let headers: Vec<(String, String)> =
        parsed.headers_raw().map(|(name, value)| (name.to_owned(), unfolded(value))).collect();
    let first = |name: &str| {
        headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone()).unwrap_or_default()
    };
    Some(Reading {
        from: parsed.from().and_then(|a| a.first()).map(shown).unwrap_or_default(),
        to: parsed.to().and_then(|a| a.first()).map(shown).unwrap_or_default(),
        subject: parsed.subject().unwrap_or_default().to_owned(),
        date: first("Date"),
        text: parsed.body_text(0).map(|text| text.into_owned()).unwrap_or_default(),
        html: parsed.html_bodies().find_map(html).unwrap_or_default(),
        one_click: one_click(&headers),
        headers,
    })
}

/// The HTML of a part that is HTML; the parser offers a plain one too, made up as HTML.
fn html(part: &MessagePart) -> Option<String> {
    match &part.body {
        PartType::Html(html) => Some(html.to_string()),
        _ => None,
    }
}

fn shown(address: &Addr) -> String {
    let mailbox = address.address.as_deref().unwrap_or_default();
    match address.name.as_deref() {
        Some(name) if !name.is_empty() => format!("{name} <{mailbox}>"),
        _ => mailbox.to_owned(),
    }
}

/// One line of what was folded over several.
fn unfolded(value: &str) -> String {
    value.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Both headers once, the one with the exact value, the other with a web address (RFC 8058 section 3.1).
fn one_click(headers: &[(String, String)]) -> Option<String> {
    let only = |name: &str| {
        let mut all = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        all.next().filter(|_| all.next().is_none())
    };
    only("List-Unsubscribe-Post").filter(|value| *value == "List-Unsubscribe=One-Click")?;
    let links = only("List-Unsubscribe")?.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
    let mut links = links.map(|(link, _)| link.split_whitespace().collect::<String>());
    links.find(|link| link.starts_with("https://") || link.starts_with("http://"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LETTER: &str = "From: =?utf-8?q?Zo=C3=A9?= <zoe@carnet.example>\r\nTo: marie@example.net\r\n\
        Subject: =?utf-8?q?D=C3=A9j=C3=A0?=\r\n vu\r\nDate: Wed, 18 Nov 2026 09:00:00 +0000\r\n\
        List-Unsubscribe: <mailto:stop@carnet.example>,\r\n <https://carnet.example/o/\r\n abc>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nBient=C3=B4t\r\n";

    #[test]
    fn a_letter_is_shown_decoded() {
        let reading = read(LETTER.as_bytes()).unwrap();
        assert_eq!(reading.from, "Zoé <zoe@carnet.example>");
        assert_eq!((reading.to.as_str(), reading.subject.as_str()), ("marie@example.net", "Déjà vu"));
        assert_eq!(reading.date, "Wed, 18 Nov 2026 09:00:00 +0000");
        assert_eq!(reading.text.trim_end(), "Bientôt");
        assert_eq!(reading.html, "");
        assert_eq!(reading.headers.len(), 9);
    }

    #[test]
    fn one_click_needs_both_headers_once_and_a_web_address() {
        let link = |letter: &str| read(letter.as_bytes()).and_then(|reading| reading.one_click);
        assert_eq!(link(LETTER).as_deref(), Some("https://carnet.example/o/abc"));
        assert_eq!(link(&LETTER.replace("=One-Click", "=one-click")), None);
        assert_eq!(link(&LETTER.replace("-Post: List-Unsubscribe=One-Click", "-Past: x")), None);
        assert_eq!(link(&LETTER.replace("<https:", "<ftp:")), None);
        let twice = LETTER.replace("MIME-Version", "List-Unsubscribe: <https://evil.example/>\r\nMIME-Version");
        assert_eq!(link(&twice), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0..LETTER.len()) {
            let _ = read(&bytes);
            let _ = read(&LETTER.as_bytes()[..cut]);
        }
    }
}
