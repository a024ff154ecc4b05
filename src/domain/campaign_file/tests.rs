use proptest::prelude::*;

use super::*;

const AUTUMN: &str = r#"+++
slug = "autumn-crm"
product = "crm"
kind = "marketing"                     # marketing | repermission | service
profession_related = true
subject = "Votre CRM, {{ contact.first_name | default('bonjour') }}"
from = "Société Exemple <actu@news.example>"
audience = "relationship in ['customer','prospect'] and country = 'FR'"
rate = "600/min"
+++
Bonjour {{ contact.first_name }}, …
"#;

fn problems(text: &str) -> Vec<String> {
    CampaignFile::parse(text, None).unwrap_err().0.iter().map(Problem::to_string).collect()
}

#[test]
fn the_campaign_of_the_manual_is_read() {
    let file = CampaignFile::parse(AUTUMN, None).unwrap();
    assert_eq!(file.slug, "autumn-crm");
    assert_eq!(file.from.name, "Société Exemple");
    assert_eq!(file.from.address.as_str(), "actu@news.example");
    assert_eq!(file.rate().per_minute(), 600.0);
    assert_eq!(file.rate().interval(), Duration::from_millis(100));
    assert_eq!(file.body, "Bonjour {{ contact.first_name }}, …\n");
    assert_eq!(file.body_line, 11);
    assert_eq!(file.subject_place, (6, 12));
    assert_eq!(file.format, BodyFormat::Markdown);
    let terms = file.terms(true, false);
    assert!(terms.profession_related && terms.has_promo && !terms.art14_notice);
    assert_eq!(terms.sector, Sector::None);
    assert_eq!(terms.elements, Elements { identity: true, optout: true, postal: true });
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let windows = format!("\u{feff}{}", AUTUMN.replace('\n', "\r\n"));
    let file = CampaignFile::parse(&windows, None).unwrap();
    assert_eq!(file.slug, "autumn-crm");
    assert_eq!(file.body, "Bonjour {{ contact.first_name }}, …\r\n");
    assert_eq!(file.body_line, 11);
}

fn with(lines: &str) -> String {
    format!(
        "+++\nslug = \"s\"\nproduct = \"p\"\nsubject = \"Bonjour\"\nfrom = \"A <a@b.example>\"\n{lines}\n+++\nTexte"
    )
}

#[test]
fn what_a_file_leaves_out_is_the_cautious_reading() {
    let file = CampaignFile::parse(&with("kind = \"service\""), None).unwrap();
    assert!(file.has_promo, "a service campaign that does not deny promotion is not one (SVC-2)");
    assert!(!file.terms(false, true).elements.postal);
    assert!(file.terms(false, true).profession_related, "as the product says");
    assert!(file.audience.is_none());
    assert_eq!(file.rate(), CampaignFile::DEFAULT_RATE);
    let file = CampaignFile::parse(&with("kind = \"service\"\nhas_promo = \"no\""), None).unwrap();
    assert!(!file.has_promo);
}

#[test]
fn a_sender_without_a_name_has_no_identity() {
    let file = CampaignFile::parse(&with("").replace("A <a@b.example>", "a@b.example"), None).unwrap();
    assert!(!file.terms(true, true).elements.identity);
}

#[test]
fn every_mistake_is_named_with_its_place_at_once() {
    let text = "+++\nslug = \"Autumn CRM\"\nkund = \"marketing\"\nkind = \"marketng\"\nrate = true\nsubject = 5\n\
                audience = \"relationship = 'custmer'\"\nprofession_related = \"maybe\"\nfrom = \"A <a@@b>\"\n+++\nx";
    let problems = problems(text);
    let expected = [
        "line 2, column 8: slug: a slug is 1 to 64",
        "line 3, column 1: kund: no such key (did you mean \"kind\"?); the keys are slug, product",
        "line 4, column 8: kind: \"marketng\" is not one of marketing, repermission, service (did you mean",
        "line 5, column 8: rate: expected a rate like",
        "line 6, column 11: subject: expected a text between quotes, found integer",
        "line 7, column 28: audience: relationship is never \"custmer\" (did you mean \"customer\"?)",
        "line 8, column 22: profession_related: expected true or false",
        "line 9, column 8: from: ",
        "line 10, column 1: product: the key is missing",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\nshould start with\n{expected}");
    }
}

#[test]
fn a_file_without_its_frame_says_what_the_frame_is() {
    assert!(problems("Bonjour")[0].contains("starts with a line `+++`"));
    assert!(problems("+++\nslug = \"a\"\n")[0].contains("the second line `+++` is missing"));
    assert!(problems("+++\nslug = \n+++\n")[0].starts_with("line 2, column"));
    assert!(problems("+++\nslug = \"a\"\nslug = \"b\"\n+++\n")[0].contains("duplicate"));
    assert!(problems(&with("sector = \"\""))[0].contains("is not one of none"));
    assert!(problems(&with("language = \"français\""))[0].contains("language tag"));
}

#[test]
fn the_format_is_said_by_the_key_or_the_name_or_the_body() {
    let html = with("").replace("Texte", "\n<!DOCTYPE html>\n<html></html>");
    let format = |text: &str, by_name| CampaignFile::parse(text, by_name).unwrap().format;
    assert_eq!(format(&html, None), BodyFormat::Html);
    assert_eq!(CampaignFile::parse(&html, None).unwrap().body_line, 9);
    assert_eq!(format(&with(""), Some(BodyFormat::Html)), BodyFormat::Html);
    assert_eq!(format(&with("format = \"markdown\""), Some(BodyFormat::Html)), BodyFormat::Markdown);
}

#[test]
fn rates_are_read_exactly() {
    for (text, per_hour, shown) in [
        ("600/min", 36_000, "600/min"),
        ("600", 36_000, "600/min"),
        ("10/s", 36_000, "600/min"),
        (" 3600 / h", 3_600, "60/min"),
        ("100/hour", 100, "100/h"),
        ("100000/s", 360_000_000, "6000000/min"),
    ] {
        let rate = Rate::parse(text).unwrap();
        assert_eq!((rate.per_hour(), rate.to_string().as_str()), (per_hour, shown));
        assert_eq!(Rate::parse(&rate.to_string()), Ok(rate));
    }
    for wrong in ["", "0/min", "-1", "10/day", "1.5/s", "/s", "+5", "100001/s", "99999999999999999999/s"] {
        assert!(Rate::parse(wrong).is_err(), "{wrong}");
    }
    assert!(CampaignFile::parse(&with("rate = 1_200"), None).unwrap().rate().per_minute() == 1200.0);
    assert!(problems(&with("rate = 0"))[0].contains("pause"));
}

#[test]
fn mailboxes_are_read_and_written() {
    for (text, name, address) in [
        ("Société Exemple <actu@news.example>", "Société Exemple", "actu@news.example"),
        ("\"Exemple, S.A. \\\"Nord\\\"\" <A@News.Example>", "Exemple, S.A. \"Nord\"", "a@news.example"),
        ("a@b.example", "", "a@b.example"),
        ("<a@b.example>", "", "a@b.example"),
        ("Été <a@été.example>", "Été", "a@xn--t-9fab.example"),
    ] {
        let mailbox = Mailbox::parse(text).unwrap();
        assert_eq!((mailbox.name.as_str(), mailbox.address.as_str()), (name, address));
        assert_eq!(Mailbox::parse(&mailbox.to_string()), Ok(mailbox));
    }
    for wrong in [
        "",
        "A",
        "A <a@b.example",
        "A\r\nBcc: <x@y.example>",
        "A <é@b.example>",
        "\"A <a@b.example>",
        "A \"B\" <a@b.example>",
    ] {
        assert!(Mailbox::parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "(\\PC|\n|\r){0,60}", front in "[a-z_]{1,8} = [\"'{\\[0-9a-z\\]}]{0,9}") {
        let _ = CampaignFile::parse(&text, None);
        let _ = CampaignFile::parse(&format!("+++\n{front}\n{text}\n+++\n{text}"), None);
    }

    #[test]
    fn a_mailbox_that_was_read_reads_back_the_same(text in "\\PC{0,20}( <[a-z]{1,5}@[a-z]{1,5}\\.example>)?") {
        if let Ok(mailbox) = Mailbox::parse(&text) {
            prop_assert_eq!(Mailbox::parse(&mailbox.to_string()), Ok(mailbox));
        }
    }
}
