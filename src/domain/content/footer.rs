//! The part of a message that no marketer writes and none can leave out, in HTML and in text.

use super::{Frozen, Injected, sentences};
use crate::domain::{campaigns::CampaignKind, contacts::SourceKind, lang::Lang, templates::escape_html};

/// A paragraph of the footer.
pub(super) struct Paragraph<'a> {
    spans: Vec<Span<'a>>,
    strong: bool,
}

enum Span<'a> {
    Text(String),
    Link { label: &'static str, url: &'a str },
}

/// Whether the footer says where the address comes from.
pub(super) fn names_the_source(frozen: &Frozen, kind: SourceKind) -> bool {
    kind.is_indirect() || frozen.art14_notice
}

/// What the footer says to a person of this country. Whatever else it depends on stands in [`Injected`]:
/// equal words are made once (see `footers`).
pub(super) fn paragraphs<'a>(
    frozen: &Frozen,
    country: Option<&str>,
    injected: &Injected<'a>,
    lang: Lang,
) -> Vec<Paragraph<'a>> {
    let mut out = Vec::new();
    let mut reason = sentences::reason(frozen, injected.basis, lang);
    if names_the_source(frozen, injected.source_kind) {
        reason = format!("{reason} {}", sentences::source(injected, lang));
    }
    let mut why = vec![Span::Text(reason)];
    if let Some(url) = injected.why_url {
        why.extend([Span::Text(" ".into()), Span::Link { label: lang.pick("En savoir plus", "Learn more"), url }]);
    }
    if let Some(url) = injected.view_url {
        let label = lang.pick("Lire ce message dans un navigateur", "Read this message in a browser");
        why.extend([Span::Text(" ".into()), Span::Link { label, url }]);
    }
    out.push(plain(why));
    out.push(unsubscribe(frozen, injected, lang));
    if frozen.kind != CampaignKind::Service {
        out.push(Paragraph { spans: vec![Span::Text(sentences::right_to_object(frozen, lang))], strong: true });
    }
    let mut identity = sentences::identity(frozen, lang);
    let postal = frozen.controller.postal_address.as_deref().map(sentences::one_line);
    if let Some(postal) = postal.filter(|p| !p.is_empty()) {
        let label = lang.pick("Adresse postale :", "Postal address:");
        identity = format!("{identity} {label} {postal}.");
    }
    out.push(plain(vec![Span::Text(identity)]));
    if frozen.art14_notice {
        let title = lang.pick("Vos données personnelles", "Your personal data");
        out.push(Paragraph { spans: vec![Span::Text(title.to_owned())], strong: true });
        for (name, text) in sentences::notice(frozen, injected.basis, country, lang) {
            let colon = lang.pick(" :", ":");
            out.push(plain(vec![Span::Text(format!("{name}{colon} {text}."))]));
        }
    }
    out
}

fn plain(spans: Vec<Span<'_>>) -> Paragraph<'_> {
    Paragraph { spans, strong: false }
}

/// The visible link to stop, besides the one of the header (FR-4, RFC 8058 section 8).
fn unsubscribe<'a>(frozen: &Frozen, injected: &Injected<'a>, lang: Lang) -> Paragraph<'a> {
    let (label, rest) = match frozen.kind {
        CampaignKind::Service => (
            lang.pick("Refuser nos messages publicitaires", "Refuse our advertising messages"),
            lang.pick(
                " : les messages de service comme celui-ci continuent.",
                ": service messages like this one go on.",
            ),
        ),
        CampaignKind::Marketing | CampaignKind::Repermission => (
            lang.pick("Se désinscrire", "Unsubscribe"),
            lang.pick(" : sans compte, sans motif, sans frais.", ": no account, no reason, no charge."),
        ),
    };
    let mut spans = vec![Span::Link { label, url: injected.unsubscribe_url }, Span::Text(rest.to_owned())];
    if let Some(url) = injected.preferences_url {
        let label = lang.pick("Choisir ce que je reçois", "Choose what I receive");
        spans.extend([Span::Text(" ".into()), Span::Link { label, url }]);
    }
    plain(spans)
}

/// Inline styles with `!important`: no style of the body hides the footer by accident. Colours
/// come from the document, whose background only it knows.
pub(super) fn html(paragraphs: &[Paragraph<'_>], lang: Lang) -> String {
    let mut out = format!(
        "<div lang=\"{lang}\" class=\"foot\" style=\"display: block !important; visibility: visible !important; max-width: 600px; \
         margin: 0 auto !important; padding: 16px 32px 28px; font-family: -apple-system, 'Segoe UI', Roboto, Helvetica, \
         Arial, sans-serif; font-size: 13px !important; line-height: 1.5; opacity: 1 !important;\">\n"
    );
    for paragraph in paragraphs {
        out.push_str("<p style=\"margin: 0 0 8px !important;\">");
        out.push_str(if paragraph.strong { "<strong>" } else { "" });
        for span in &paragraph.spans {
            match span {
                Span::Text(text) => push_escaped(&mut out, text),
                Span::Link { label, url } => {
                    out.push_str("<a style=\"text-decoration: underline !important;\" href=\"");
                    push_escaped(&mut out, url);
                    out.push_str("\">");
                    push_escaped(&mut out, label);
                    out.push_str("</a>");
                }
            }
        }
        out.push_str(if paragraph.strong { "</strong></p>\n" } else { "</p>\n" });
    }
    out.push_str("</div>\n");
    out
}

/// A dot that nobody sees; nothing without an address.
pub(super) fn pixel(url: Option<&str>) -> String {
    let Some(url) = url else { return String::new() };
    let mut out = String::from("<img src=\"");
    push_escaped(&mut out, url);
    out.push_str("\" width=\"1\" height=\"1\" alt=\"\" style=\"display: block; border: 0;\">");
    out
}

pub(super) fn text(paragraphs: &[Paragraph<'_>]) -> String {
    let mut out = String::from("----------\n\n");
    for paragraph in paragraphs {
        for (i, span) in paragraph.spans.iter().enumerate() {
            match span {
                Span::Text(text) => out.push_str(text),
                // On a line of its own, so that no client takes the punctuation behind it along.
                Span::Link { label, url } => {
                    if i > 0 && !out.ends_with('\n') {
                        out.truncate(out.trim_end().len());
                        out.push('\n');
                    }
                    out.push_str(&format!("{label} ({url})"));
                }
            }
        }
        out.push_str("\n\n");
    }
    out
}

pub(super) fn banner_html(test: bool, lang: Lang) -> String {
    if !test {
        return String::new();
    }
    format!(
        "<p lang=\"{lang}\" style=\"margin: 0; padding: 10px 16px; text-align: center; font: bold 14px sans-serif; \
         background: #fff3c4; color: #4a3b00;\">{}</p>",
        banner(lang)
    )
}

pub(super) fn banner_text(test: bool, lang: Lang) -> String {
    if test { format!("*** {} ***\n\n", banner(lang)) } else { String::new() }
}

fn banner(lang: Lang) -> &'static str {
    lang.pick(
        "TEST : ceci est un envoi d’essai, ses liens ne changent rien.",
        "TEST: this is a test send, its links change nothing.",
    )
}

pub(super) fn push_escaped(out: &mut String, text: &str) {
    escape_html(out, text).expect("writing to a String does not fail");
}
