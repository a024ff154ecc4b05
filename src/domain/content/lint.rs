//! What is refused in a body, and what a marketer should know before launching it.

use serde::{Deserialize, Serialize};

use super::{
    html::{Element, Node},
    protect::{Part, Protected},
};
use crate::domain::{lang::Lang, templates::TagKind, words::words};

words! {
    /// How bad a finding is.
    Level {
        /// Refuses the launch.
        Error = "error",
        /// Does not.
        Warning = "warning",
    }
}

/// Something that a marketer should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether it refuses the launch.
    pub level: Level,
    /// A fixed word, for scripts.
    pub code: String,
    /// In French.
    pub fr: String,
    /// In English.
    pub en: String,
}

impl Finding {
    /// A finding that refuses the launch.
    pub fn error(code: &str, fr: impl Into<String>, en: impl Into<String>) -> Finding {
        Finding { level: Level::Error, code: code.to_owned(), fr: fr.into(), en: en.into() }
    }

    /// A finding that does not.
    pub fn warning(code: &str, fr: impl Into<String>, en: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, ..Finding::error(code, fr, en) }
    }

    /// The message in a language.
    pub fn message(&self, lang: Lang) -> &str {
        lang.pick(&self.fr, &self.en)
    }
}

/// What runs, asks, or loads something else: no mail client does it for good, many reject the mail.
const FORBIDDEN: [&str; 22] = [
    "script", "form", "input", "button", "select", "textarea", "option", "iframe", "frame", "frameset", "object",
    "embed", "applet", "base", "svg", "math", "audio", "video", "template", "noscript", "portal", "dialog",
];

const URL_ATTRIBUTES: [&str; 7] = ["href", "src", "background", "action", "formaction", "poster", "longdesc"];

/// What may not be in a body: byte offset in the protected text, and why.
pub(super) fn refused(nodes: &[Node], protected: &Protected) -> Vec<(usize, String)> {
    let mut refused = Vec::new();
    let mut style_at = None;
    for node in nodes {
        match node {
            Node::Start(element) => {
                style_at = (element.name == "style").then_some(element.offset);
                let reasons = refuse_element(element, protected);
                refused.extend(reasons.into_iter().map(|reason| (element.offset, reason)));
            }
            Node::Raw(text) => {
                let lower = squeezed(text);
                if let Some(offset) = style_at.filter(|_| protected.has_tag(text)) {
                    refused.push((offset, "no template tag may stand in <style>".to_owned()));
                } else if let Some(word) = dangerous_style(&lower) {
                    refused.push((style_at.unwrap_or(0), format!("`{word}` is not allowed in a style")));
                }
            }
            Node::End(_) | Node::Text(_) | Node::Comment(_) => {}
        }
    }
    refused
}

fn refuse_element(element: &Element, protected: &Protected) -> Vec<String> {
    let name = &element.name;
    if protected.has_tag(name) {
        return vec!["a template tag cannot name an element".to_owned()];
    }
    if FORBIDDEN.contains(&name.as_str()) {
        return vec![format!("<{name}> is not allowed in a mail")];
    }
    let mut reasons = Vec::new();
    if name == "meta" && element.get("http-equiv").is_some_and(|v| v.trim().eq_ignore_ascii_case("refresh")) {
        reasons.push("<meta http-equiv=\"refresh\"> is not allowed in a mail".to_owned());
    }
    for attribute in &element.attributes {
        let (key, value) = (&attribute.name, &attribute.value);
        if protected.has_tag(key) {
            reasons.push(format!("a template tag in <{name} …> must stand inside a quoted value"));
        } else if key.starts_with("on") || key == "srcdoc" {
            reasons.push(format!("the attribute {key} of <{name}> is not allowed in a mail"));
        } else if protected.has_tag(value) && !attribute.quoted {
            reasons.push(format!("the value of {key} of <{name}> holds a template tag: put it between quotes"));
        } else if URL_ATTRIBUTES.contains(&key.as_str()) {
            reasons.extend(refuse_url(name, key, value, protected));
        } else if key == "style"
            && let Some(word) = dangerous_style(&squeezed(value))
        {
            reasons.push(format!("`{word}` is not allowed in a style"));
        }
    }
    reasons
}

fn refuse_url(name: &str, key: &str, value: &str, protected: &Protected) -> Option<String> {
    if starts_with_a_tag(value, protected) {
        return Some(format!("{key} of <{name}> must start with its scheme, like https://, not with a template tag"));
    }
    match scheme(value, protected).as_deref() {
        None | Some("http" | "https" | "mailto" | "tel" | "sms" | "cid") => None,
        // An image in the message itself: some clients do not show it, none is harmed.
        Some("data") if name == "img" => None,
        Some(other) => Some(format!("a link with the scheme `{other}:` is not allowed in a mail")),
    }
}

/// Then a contact's field, or a branch that nobody looks at, could choose the scheme.
fn starts_with_a_tag(value: &str, protected: &Protected) -> bool {
    matches!(protected.parts(value.trim_start()).first(), Some(Part::Tag(_)))
}

/// The scheme as a browser reads it: blanks and control characters do not count.
fn scheme(value: &str, protected: &Protected) -> Option<String> {
    let literals = protected.parts(value).into_iter().filter_map(|part| match part {
        Part::Literal(text) => Some(text),
        Part::Tag(_) => None,
    });
    let text: String = literals.flat_map(str::chars).filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let end = text.find([':', '/', '?', '#'])?;
    text[end..].starts_with(':').then(|| text[..end].to_lowercase())
}

fn dangerous_style(squeezed: &str) -> Option<&'static str> {
    ["@import", "expression(", "javascript:", "behavior:", "-moz-binding"].into_iter().find(|w| squeezed.contains(w))
}

/// In lower case, without blanks, comments of CSS or escapes.
fn squeezed(css: &str) -> String {
    css.chars().filter(|c| !c.is_whitespace() && *c != '\\').flat_map(char::to_lowercase).collect()
}

/// What is worth knowing about a body.
pub(super) fn findings(nodes: &[Node], protected: &Protected) -> Vec<Finding> {
    let mut found = Findings::default();
    let mut has_something = false;
    for node in nodes {
        match node {
            Node::Start(element) => {
                has_something |= element.name == "img";
                found.element(element, protected);
            }
            Node::Text(text) => has_something |= !text.trim().is_empty(),
            Node::End(_) | Node::Raw(_) | Node::Comment(_) => {}
        }
    }
    if !has_something {
        found.add(Finding::error("body_empty", "Le message est vide.", "The message is empty."));
    }
    found.0
}

/// Nobody reads more.
const MAX_FINDINGS: usize = 100;

/// Each finding once, however often it occurs.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, finding: Finding) {
        if self.0.len() < MAX_FINDINGS && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    fn element(&mut self, element: &Element, protected: &Protected) {
        match element.name.as_str() {
            "img" => self.image(element),
            "link" => self.add(Finding::warning(
                "external_resource",
                "<link> charge une ressource d'un tiers ; la plupart des messageries l'ignorent.",
                "<link> loads something from a third party; most mail clients ignore it.",
            )),
            _ => {}
        }
        for key in ["href", "src", "background"] {
            if let Some(url) = element.get(key) {
                self.url(&element.name, url, protected);
            }
        }
        if is_hidden(element) {
            self.add(Finding::warning(
                "hidden_content",
                format!("<{}> est caché : Gmail s'en méfie.", element.name),
                format!("<{}> is hidden: Gmail mistrusts that (H-10).", element.name),
            ));
        }
    }

    fn image(&mut self, element: &Element) {
        let src = element.get("src").unwrap_or_default();
        if element.get("alt").is_none() {
            self.add(Finding::warning(
                "image_without_alt",
                format!("L'image {src} n'a pas de texte de remplacement (alt)."),
                format!("The image {src} has no alternative text (alt)."),
            ));
        }
        let tiny = |key: &str| element.get(key).is_some_and(|v| matches!(v.trim_end_matches("px"), "0" | "1"));
        if tiny("width") && tiny("height") {
            self.add(Finding::warning(
                "own_pixel",
                format!("L'image {src} ressemble à un pixel de suivi, soumis au consentement."),
                format!("The image {src} looks like a tracking pixel, which needs consent (TRK-1)."),
            ));
        }
        if src.trim_start().to_ascii_lowercase().starts_with("data:") {
            self.add(Finding::warning(
                "data_image",
                "Une image est incluse dans le HTML (data:) : Gmail ne l'affiche pas.",
                "An image stands in the HTML itself (data:): Gmail does not show it.",
            ));
        }
    }

    fn url(&mut self, name: &str, url: &str, protected: &Protected) {
        let shown = protected.restore(url.trim());
        let lower = shown.to_lowercase();
        match scheme(url, protected).as_deref() {
            Some("http") if !is_loopback(&lower) => self.add(Finding::warning(
                "link_not_https",
                format!("Le lien {shown} n'est pas en HTTPS."),
                format!("The link {shown} is not HTTPS."),
            )),
            None if !lower.starts_with('#') => self.add(Finding::warning(
                "link_not_absolute",
                format!("Le lien {shown:?} n'est pas une adresse complète : il ne mène nulle part dans un e-mail."),
                format!("The link {shown:?} is not a full address: it leads nowhere in a mail."),
            )),
            _ => {}
        }
        if name == "a"
            && ["unsubscribe", "desinscri", "désinscri", "desabonn", "désabonn"].iter().any(|w| lower.contains(w))
        {
            self.add(Finding::warning(
                "own_unsubscribe_link",
                format!("Le lien {shown} fait double emploi : le lien de désinscription est ajouté à chaque message."),
                format!("The link {shown} is one too many: every message gets the unsubscribe link."),
            ));
        }
        let is_web = matches!(scheme(url, protected).as_deref(), Some("http" | "https"));
        let raw_field = is_web
            && protected.parts(url).into_iter().any(|part| match part {
                Part::Tag(number) => {
                    let tag = &protected.tags[number];
                    tag.kind == TagKind::Output && !tag.urlencoded
                }
                Part::Literal(_) => false,
            });
        if raw_field {
            self.add(Finding::warning(
                "field_in_link_not_encoded",
                format!("Dans le lien {shown}, terminez le champ par « | urlencode »."),
                format!("In the link {shown}, end the field with `| urlencode`."),
            ));
        }
    }
}

fn is_hidden(element: &Element) -> bool {
    let style = squeezed(element.get("style").unwrap_or_default()) + ";";
    let hides = [
        "display:none",
        "visibility:hidden",
        "font-size:0;",
        "font-size:0px",
        "opacity:0;",
        "max-height:0",
        "mso-hide:all",
    ];
    element.get("hidden").is_some() || hides.iter().any(|h| style.contains(h))
}

fn is_loopback(lower_url: &str) -> bool {
    let rest = lower_url.strip_prefix("http://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host == "::1" || host.starts_with("127.") && host.parse::<std::net::Ipv4Addr>().is_ok()
}
