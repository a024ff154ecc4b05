//! Table 8.4 of the rules (H01, H04, H06–H08, H10, H11), read back with parsers that are not ours.

use std::{process::Command, sync::LazyLock};

use lettre::message::{
    Body, MultiPart, SinglePart,
    header::{ContentTransferEncoding, ContentType},
};
use mail_parser::{Message, MessageParser};
use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        campaign_file::CampaignFile,
        contacts::SourceKind,
        content::{self, Controller, Injected, Tracks, freeze},
        eligibility::Basis,
        merge::MergeContact,
    },
    mail::dkim::Signer,
    needs,
};

const HTML: &str = "<p>Bonjour Zoé,</p>\n<p>.un point au début</p>\n";
const TEXT: &str = "Bonjour Zoé,\n.un point au début\n-- \nfin\n";
const LIST: List = List {
    name: "Nouvelles du CRM",
    slug: "crm",
    unsubscribe_url: "https://u.example/o/TOKEN-123",
    unsubscribe_mailto: None,
};

static FROM: LazyLock<Address> = LazyLock::new(|| address("actu@news.example"));
static TO: LazyLock<Address> = LazyLock::new(|| address("zoe@x.example"));

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn parts<'a>(from: &'a Address, to: &'a Address) -> Parts<'a> {
    Parts {
        purpose: Purpose::Marketing(LIST),
        from: Mailbox { name: Some("Société Exemple"), address: from },
        to: Mailbox { name: None, address: to },
        reply_to: None,
        subject: "Été : l'offre",
        text: Text::Plain(TEXT),
        html: Some(Text::Plain(HTML)),
        lang: Lang::Fr,
        date: "2026-11-21T12:00:00Z".parse().unwrap(),
        message_id: "d1.c1@news.example",
        feedback_id: None,
        test: false,
    }
}

/// The message of a change to the usual parts.
fn composed<'a>(change: impl FnOnce(&mut Parts<'a>)) -> Result<String, ComposeError> {
    let mut parts: Parts<'a> = parts(&FROM, &TO);
    change(&mut parts);
    compose(&parts).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn header_block(message: &str) -> &str {
    message.split("\r\n\r\n").next().unwrap()
}

fn count(message: &str, name: &str) -> usize {
    header_block(message).split("\r\n").filter(|l| l.to_lowercase().starts_with(&format!("{name}:"))).count()
}

fn parse(message: &str) -> Message<'_> {
    MessageParser::default().parse(message.as_bytes()).unwrap()
}

#[test]
fn a_campaign_message_has_the_header_block_of_the_rules() {
    let message = composed(|_| {}).unwrap();
    assert_eq!(
        header_block(&message),
        "From: =?utf-8?B?U29jacOpdMOpIEV4ZW1wbGU=?= <actu@news.example>\r\n\
         To: zoe@x.example\r\n\
         Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <d1.c1@news.example>\r\n\
         Subject: =?utf-8?B?w4l0w6kgOiBsJ29mZnJl?=\r\n\
         List-Id: Nouvelles du CRM <crm.news.example>\r\n\
         List-Unsubscribe: <https://u.example/o/TOKEN-123>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
         Precedence: bulk\r\n\
         Content-Language: fr\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/alternative; boundary=\"=_114a02eb150b8be47fefac1a\""
    );
    // H01
    for name in ["from", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post", "to", "subject"] {
        assert_eq!(count(&message, name), 1, "{name}");
    }
    assert_eq!(message, composed(|_| {}).unwrap(), "the same parts make the same bytes");
}

#[test]
fn a_date_is_written_as_others_write_it() {
    for (second, written) in [
        (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 +0000"),
    ] {
        assert_eq!(date(Timestamp::from_second(second).unwrap()), written);
    }
}

#[test]
fn what_a_reader_gets_is_what_was_written() {
    let message = composed(|_| {}).unwrap();
    assert!(message.is_ascii());
    let parsed = parse(&message);
    assert_eq!(parsed.subject(), Some("Été : l'offre"));
    assert_eq!(parsed.from().unwrap().first().unwrap().name(), Some("Société Exemple"));
    assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n"), TEXT);
    assert_eq!(parsed.body_html(0).unwrap().replace("\r\n", "\n"), HTML);
    assert_eq!(parsed.text_body_count() + parsed.html_body_count(), 2, "one of each, as alternatives");
}

#[test]
fn without_html_it_is_plain_text() {
    let message = composed(|parts| parts.html = None).unwrap();
    assert!(message.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    assert_eq!(parse(&message).body_text(0).unwrap().replace("\r\n", "\n"), TEXT);
}

#[test]
fn no_line_is_long_and_no_body_is_bare() {
    // H06, and what quoted-printable must not leave at a line's end.
    let long = format!("<p>{}</p> \n\ttab\t\r\nfrom here\rFrom here\n", "x".repeat(1200));
    let greek = "Καλημέρα κόσμε ".repeat(100);
    for (text, encoding) in [(long.as_str(), "quoted-printable"), (&greek, "base64")] {
        let message = composed(|parts| parts.html = Some(Text::Plain(text))).unwrap();
        assert!(message.is_ascii() && message.split("\r\n").all(|line| line.len() <= 78));
        assert!(!message.replace("\r\n", "").contains(['\r', '\n']));
        assert!(message.split("\r\n").all(|line| !line.ends_with([' ', '\t'])));
        let html = &message[message.find("text/html").unwrap()..];
        assert!(html.contains(&format!("Content-Transfer-Encoding: {encoding}\r\n")), "{html}");
        let normal = text.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(parse(&message).body_html(0).unwrap().replace("\r\n", "\n"), normal);
    }
}

#[test]
fn a_line_break_in_any_header_is_refused() {
    // H07
    for bad in ["a\r\nBcc: c@y.example", "a\nb", "a\rb", "a\0b"] {
        assert!(matches!(composed(|parts| parts.subject = bad), Err(ComposeError::Header(_))));
        assert!(matches!(composed(|parts| parts.from.name = Some(bad)), Err(ComposeError::Header(_))));
        assert!(matches!(composed(|parts| parts.to.name = Some(bad)), Err(ComposeError::Header(_))));
        let list = List { name: bad, ..LIST };
        assert!(matches!(composed(|parts| parts.purpose = Purpose::Marketing(list)), Err(ComposeError::Header(_))));
        let list = List { slug: bad, ..LIST };
        assert_eq!(composed(|parts| parts.purpose = Purpose::Marketing(list)), Err(ComposeError::Slug));
        let url = format!("https://u.example/{bad}");
        let list = List { unsubscribe_url: &url, ..LIST };
        assert_eq!(composed(|parts| parts.purpose = Purpose::Marketing(list)), Err(ComposeError::UnsubscribeUrl));
        assert_eq!(composed(|parts| parts.message_id = bad), Err(ComposeError::MessageId));
        assert_eq!(FeedbackId::new(&[bad], "sender"), Err(ComposeError::FeedbackId));
    }
}

#[test]
fn encoded_words_are_short() {
    // H08
    let subject = "Décidément, l'été arrive à grands pas ; ".repeat(8);
    let message = composed(|parts| parts.subject = &subject).unwrap();
    let words: Vec<&str> = header_block(&message).split_ascii_whitespace().filter(|w| w.starts_with("=?")).collect();
    assert!(words.len() > 5 && words.iter().all(|word| word.len() <= 75), "{words:?}");
    assert_eq!(parse(&message).subject(), Some(subject.trim()));
}

#[test]
fn the_way_out_is_https() {
    // H04
    let unsubscribe = |url| composed(|parts| parts.purpose = Purpose::Marketing(List { unsubscribe_url: url, ..LIST }));
    for url in ["https://u.example/o/T", "http://127.0.0.1:8080/o/T", "http://localhost/o/T", "http://[::1]:80/o/T"] {
        assert!(unsubscribe(url).is_ok(), "{url}");
    }
    let long = format!("https://u.example/{}", "x".repeat(900));
    for url in [
        "http://u.example/o/T",
        "mailto:u@b.example",
        "/o/T",
        "https://",
        "https:///o",
        "http://127.0.0.1.example/o",
        "http://localhost.example/o",
        "https://u.example/o T",
        "https://u.example/<o>",
        "https://u.example/é",
        &long,
    ] {
        assert_eq!(unsubscribe(url), Err(ComposeError::UnsubscribeUrl), "{url}");
    }
}

#[test]
fn feedback_ids_are_checked() {
    // H10
    assert_eq!(FeedbackId::new(&["c1"], "four"), Err(ComposeError::FeedbackId));
    assert_eq!(FeedbackId::new(&["c1"], "sixteen-letters-"), Err(ComposeError::FeedbackId));
    assert_eq!(FeedbackId::new(&["a", "b", "c", "d"], "sender"), Err(ComposeError::FeedbackId));
    assert_eq!(FeedbackId::new(&["a:b"], "sender"), Err(ComposeError::FeedbackId));
    for (ids, text) in [
        (&["c1", "crm", "acme"][..], "c1:crm:acme:sender"),
        (&["c1", "crm"], "c1:crm::sender"),
        (&["c1"], "c1:::sender"),
        (&[], ":::sender"),
    ] {
        let id = FeedbackId::new(ids, "sender").unwrap();
        let message = composed(|parts| parts.feedback_id = Some(&id)).unwrap();
        assert!(message.contains(&format!("\r\nFeedback-ID: {text}\r\n")), "{message}");
    }
}

#[test]
fn service_and_system_messages_carry_no_list() {
    // H11
    for purpose in [Purpose::Service, Purpose::System] {
        let message = composed(|parts| parts.purpose = purpose).unwrap();
        for name in ["list-unsubscribe-post", "list-unsubscribe", "precedence", "list-id"] {
            assert_eq!(count(&message, name), 0, "{name}");
        }
        let automatic = matches!(purpose, Purpose::System);
        assert_eq!(count(&message, "auto-submitted"), usize::from(automatic));
    }
}

#[test]
fn a_test_sending_is_marked() {
    assert_eq!(count(&composed(|_| {}).unwrap(), "x-ouinon-test"), 0);
    assert_eq!(count(&composed(|parts| parts.test = true).unwrap(), "x-ouinon-test"), 1);
}

#[test]
fn unusual_addresses_stand_as_they_must() {
    for (text, header) in [
        ("zoe@bücher.example", "To: zoe@xn--bcher-kva.example\r\n"),
        ("\"a, b\"@x.example", "To: <\"a, b\"@x.example>\r\n"),
        ("zoé@x.example", "To: zoé@x.example\r\n"),
        ("o'brien+tag@x.example", "To: o'brien+tag@x.example\r\n"),
    ] {
        let (from, to) = (address("actu@news.example"), address(text));
        let message = String::from_utf8(compose(&parts(&from, &to)).unwrap()).unwrap();
        assert!(message.contains(header), "{message}");
        let parsed = parse(&message);
        let parsed_to = parsed.to().unwrap().first().unwrap().address().unwrap();
        assert_eq!(parsed_to.replace('"', ""), to.as_str().replace('"', ""));
    }
    let (from, answers) = (address("actu@news.example"), address("team@news.example"));
    let mut parts = parts(&from, &from);
    parts.reply_to = Some(Mailbox { name: Some("L'équipe"), address: &answers });
    let message = String::from_utf8(compose(&parts).unwrap()).unwrap();
    assert_eq!(parse(&message).reply_to().unwrap().first().unwrap().address(), Some("team@news.example"));
}

/// An independent verifier, Python's dkimpy, reads our signatures as ours does.
#[test]
fn dkimpy_verifies_what_we_sign() {
    let Some(python) = needs::python(&["dkim", "nacl"], "dkimpy on our signatures") else { return };
    let signer = Signer::from_pem(
        "news.example",
        "s1",
        Some(include_bytes!("../../../tests/data/dkim/rsa-2048.pem")),
        Some(include_bytes!("../../../tests/data/dkim/ed25519.pem")),
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let zone = folder.path().join("zone");
    let records: String = signer.dns_records().iter().map(|r| format!("{} {}\n", r.name, r.value)).collect();
    std::fs::write(&zone, records).unwrap();
    let feedback = FeedbackId::new(&["c1", "crm"], "sender").unwrap();
    for html in [Some(Text::Plain(HTML)), None] {
        let message = composed(|parts| {
            parts.html = html;
            parts.feedback_id = Some(&feedback);
            parts.subject = "Un sujet plutôt long, qui sera plié sur plusieurs lignes, et même davantage, oui";
        });
        let message = message.unwrap();
        let mut signed = signer.sign(message.as_bytes(), "2026-11-21T12:00:00Z".parse().unwrap());
        signed.extend_from_slice(message.as_bytes());
        let file = folder.path().join("message.eml");
        std::fs::write(&file, signed).unwrap();
        let verifier = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/verify_dkim.py");
        let output = Command::new(&python).arg("-B").arg(verifier).arg(&file).arg(&zone).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.matches("PASS").count() == 2, "{said}");
    }
}

proptest! {
    /// Any text in any place is refused or arrives, and never makes a header of its own.
    #[test]
    fn any_text_is_refused_or_arrives(
        subject in "\\PC{0,80}|.{0,20}", name in "\\PC{0,40}|.{0,20}", body in "(\\PC|\r|\n|\t){0,200}",
    ) {
        let message = composed(|parts| {
            parts.subject = &subject;
            parts.from.name = Some(&name);
            parts.text = Text::Plain(&body);
            parts.html = None;
        });
        let Ok(message) = message else {
            let breaks = ['\r', '\n', '\0'];
            prop_assert!(subject.contains(breaks) || name.contains(breaks));
            return Ok(());
        };
        prop_assert!(message.is_ascii() && message.split("\r\n").all(|line| line.len() <= 998));
        let parsed = parse(&message);
        prop_assert_eq!(parsed.headers().len(), 13, "{}", message);
        // A last line without an end gets one.
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let (sent, read) = (lines(&body), lines(&parsed.body_text(0).unwrap_or_default()));
        prop_assert!(read == sent || read == sent.clone() + "\n", "{:?} became {:?}", sent, read);
    }
}

/// The parts as lettre writes them, in the encoding that it finds in ours.
fn by_lettre(text: &str, html: &str, ours: &str) -> String {
    let part = |content: &str, kind: ContentType, subtype: &str| {
        let head = &ours[ours.find(&format!("Content-Type: text/{subtype}")).unwrap()..];
        let base64 = head.lines().nth(1).unwrap().ends_with("base64");
        let encoding = if base64 { ContentTransferEncoding::Base64 } else { ContentTransferEncoding::QuotedPrintable };
        let lines = content.replace("\r\n", "\n").replace('\r', "\n");
        let body = Body::new_with_encoding(lines, encoding).unwrap();
        SinglePart::builder().header(kind).header(encoding).body(body)
    };
    let parts = MultiPart::alternative().singlepart(part(text, ContentType::TEXT_PLAIN, "plain")).singlepart(part(
        html,
        ContentType::TEXT_HTML,
        "html",
    ));
    format!("MIME-Version: 1.0\r\n{}", String::from_utf8(parts.formatted()).unwrap())
}

fn bodies(message: &str) -> (String, String) {
    let parsed = parse(message);
    let lines = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap_or_default().replace("\r\n", "\n");
    (lines(parsed.body_text(0)), lines(parsed.body_html(0)))
}

fn campaign(body: &str, tracking: &str) -> Option<content::Message> {
    let source = format!(
        "+++\nslug = \"s\"\nproduct = \"crm\"\nfrom = \"Exemple <a@b.example>\"\n\
         subject = \"{{{{ contact.company }}}}\"\nformat = \"html\"\ntracking = \"{tracking}\"\n+++\n{body}"
    );
    let file = CampaignFile::parse(&source, None).ok()?;
    let controller = Controller { name: "Exemple SAS".into(), ..Controller::default() };
    let frozen = freeze(&file, "CRM", &controller).ok()?;
    Some(content::Message::new(frozen).unwrap().encoded_by(quoted::push))
}

fn hostile_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,30}",
        "[.= \t<>&\"'\u{1}]{0,40}",
        "(a|=|\\.|\r\n|\n|\r| |\t|é|From ){0,30}",
        "[a-z]{70,160}",
        "[é漢 ]{60,120}",
        Just(String::new()),
        Just(".".to_owned()),
        Just("x".repeat(600)),
    ]
}

fn body_piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{{ contact.first_name }}".to_owned()),
        Just("{{- contact.company | default('vous') -}}".to_owned()),
        Just("<p>{{ contact.first_name | d('a = b') }}</p>\n<p>{{ product.name }}, {{ sender.email }}: {{ campaign.subject }}</p>".to_owned()),
        Just("{% if contact.company %}".to_owned() + " . oui\n{% else %}non .\n{% endif %}"),
        Just("{%- for x in ['a = b', '}} .'] -%} \n.{{ x }}={{ contact.first_name | upper }} {% endfor %}".to_owned()),
        Just("<a href=\"https://e.example/?q={{ contact.company | urlencode }}&a=1\">lien</a>".to_owned()),
        Just("<a href=\"https://e.example/a?b=1&amp;c=2\">lien</a>".to_owned()),
        Just("<p class=\"lead\">".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n.\n".to_owned()),
        Just("\nFrom ".to_owned()),
        Just("  \n\t ".to_owned()),
        "[a-z =.]{60,200}",
        "[é漢字ü]{1,90}",
        "(\\PC|[ .\t=\n]){0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// The way that is prepared once per campaign says what the plain way says, to a reader that is
    /// neither's, and as the encoder of lettre makes that reader say it.
    #[test]
    fn what_is_encoded_ahead_reads_as_what_is_rendered(
        pieces in prop::collection::vec(body_piece(), 0..12),
        first_name in hostile_value(), company in hostile_value(), source in hostile_value(),
        // Links that can be followed are statements of the template.
        tracking in prop::sample::select(vec!["none", "deliverability", "individual"]),
    ) {
        let Some(message) = campaign(&pieces.concat(), tracking) else { return Ok(()) };
        let contact = MergeContact {
            email: "a@b.example".into(),
            first_name: Some(first_name),
            company: Some(company),
            language: Some("fr".into()),
            ..MergeContact::default()
        };
        let injected = Injected {
            basis: Basis::Consent,
            unsubscribe_url: "https://u.example/o/0123456789=0123456789&0123456789-0123456789_0123456789",
            preferences_url: None,
            why_url: Some("https://u.example/w/1"),
            view_url: Some("https://u.example/v/1"),
            answer_url: None,
            source: Some(&source),
            source_kind: SourceKind::Partner,
            collected_at: None,
            test: false,
            tracks: Tracks { click_url: Some("https://u.example/l/TOKEN/"), pixel_url: Some("https://u.example/i/TOKEN") },
        };
        let (rendered, printed) = match (message.render(&contact, &injected), message.print(&contact, &injected)) {
            (Ok(rendered), Ok(printed)) => (rendered, printed),
            (rendered, printed) => {
                prop_assert_eq!(rendered.err(), printed.err());
                return Ok(());
            }
        };
        prop_assert_eq!(&printed.subject, &rendered.subject);
        // Made a second time: now from what was kept.
        prop_assert_eq!(&message.print(&contact, &injected).unwrap(), &printed);
        let composed = |text, html| {
            let parts = Parts { text, html: Some(html), ..parts(&FROM, &TO) };
            String::from_utf8(compose(&parts).unwrap()).unwrap()
        };
        let (content::Part::Encoded(text), content::Part::Encoded(html)) = (&printed.text, &printed.html) else {
            // A bare CR in the campaign itself: then nothing is encoded ahead.
            prop_assert!(pieces.concat().replace("\r\n", "").contains('\r'));
            return Ok(());
        };
        let mut whole = String::new();
        quoted::push(&mut whole, &rendered.text);
        prop_assert_eq!(text.text(), whole);
        let (text, html): (Vec<&str>, Vec<&str>) = (text.pieces().collect(), html.pieces().collect());
        let ahead = composed(Text::Quoted(&text), Text::Quoted(&html));
        prop_assert!(ahead.is_ascii() && !ahead.replace("\r\n", "").contains(['\r', '\n']));
        for line in ahead.split("\r\n") {
            prop_assert!(line.len() <= 78 && !line.ends_with([' ', '\t']) && !line.starts_with('.'), "{:?}", line);
        }
        let read = bodies(&ahead);
        prop_assert_eq!(&read, &bodies(&composed(Text::Plain(&rendered.text), Text::Plain(&rendered.html))));
        prop_assert_eq!(&read, &bodies(&by_lettre(&rendered.text, &rendered.html, &ahead)), "{}", ahead);
        prop_assert_eq!(read.1, rendered.html.replace("\r\n", "\n").replace('\r', "\n"));
    }
}
