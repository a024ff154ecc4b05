//! What the body of a re-permission may not hold (RP-7): anything that follows a person, comes from
//! elsewhere, or could enclose, cover or hide the question, its answers and the notice behind it.
//!
//! What is allowed is listed, not what is forbidden: a mail client knows more ways to hide than we do.

use super::{
    html::{Element, Node},
    protect::{Part, Protected},
};
use crate::domain::templates::TagKind;

/// Something that the question may not be sent with.
pub(super) struct Fault {
    /// Byte offset in the HTML.
    pub(super) offset: usize,
    pub(super) code: &'static str,
    pub(super) fr: String,
    pub(super) en: String,
}

/// The warnings of any campaign that are errors here, told here with their place.
pub(super) const CODES: [&str; 7] = [
    "own_pixel",
    "remote_picture",
    "external_resource",
    "field_in_link_not_encoded",
    "hidden_content",
    "not_plain",
    "element_left_open",
];

const ELEMENTS: [&str; 64] = [
    "html",
    "head",
    "body",
    "title",
    "meta",
    "p",
    "br",
    "hr",
    "wbr",
    "div",
    "span",
    "a",
    "strong",
    "em",
    "b",
    "i",
    "u",
    "s",
    "del",
    "ins",
    "small",
    "sub",
    "sup",
    "mark",
    "abbr",
    "q",
    "cite",
    "code",
    "pre",
    "kbd",
    "time",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "blockquote",
    "address",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "figure",
    "figcaption",
    "center",
    "img",
    "table",
    "caption",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "td",
    "th",
    "col",
    "colgroup",
];

const VOID: [&str; 6] = ["br", "hr", "wbr", "img", "col", "meta"];

const ATTRIBUTES: [&str; 28] = [
    "href",
    "title",
    "alt",
    "src",
    "lang",
    "dir",
    "class",
    "id",
    "style",
    "align",
    "valign",
    "width",
    "height",
    "colspan",
    "rowspan",
    "cellpadding",
    "cellspacing",
    "border",
    "start",
    "type",
    "rel",
    "target",
    "role",
    "charset",
    "name",
    "content",
    "scope",
    "xmlns",
];

/// Properties that say how words look, and nothing of where they stand or whether they are seen.
const PROPERTIES: [&str; 24] = [
    "color",
    "background",
    "background-color",
    "font",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "line-height",
    "text-align",
    "text-decoration",
    "vertical-align",
    "display",
    "width",
    "max-width",
    "margin",
    "margin-top",
    "margin-bottom",
    "padding",
    "padding-top",
    "padding-bottom",
    "border",
    "border-radius",
    "border-collapse",
];

const DISPLAYS: [&str; 6] = ["block", "inline", "inline-block", "table", "table-row", "table-cell"];

/// Nobody reads more.
const MAX_FAULTS: usize = 50;

/// What stands in the way of a body, in its order.
pub(super) fn faults(content: &str, nodes: &[Node], protected: &Protected) -> Vec<Fault> {
    let mut found = Faults { at: 0, all: Vec::new(), protected };
    for node in nodes {
        match node {
            Node::Start(element) => {
                found.at = element.offset;
                found.element(element);
            }
            Node::Text(text) => found.text(text),
            Node::Comment(text) => found.comment(text),
            Node::End(_) | Node::Raw(_) => {}
        }
    }
    let mut all = found.all;
    all.extend(left_open(content, nodes, protected));
    all.sort_by_key(|fault| fault.offset);
    all.truncate(MAX_FAULTS);
    all
}

struct Faults<'p> {
    /// Where the last element began.
    at: usize,
    all: Vec<Fault>,
    protected: &'p Protected,
}

impl Faults<'_> {
    fn add(&mut self, code: &'static str, fr: String, en: String) {
        self.all.push(Fault { offset: self.at, code, fr, en });
    }

    fn element(&mut self, element: &Element) {
        let name = element.name.as_str();
        match name {
            "style" | "link" => self.add(
                "external_resource",
                format!("<{name}> pourrait cacher la question ou charger quelque chose d'ailleurs ; retirez-le."),
                format!("<{name}> could hide the question or load something from elsewhere; take it out."),
            ),
            _ if !ELEMENTS.contains(&name) => self.add(
                "not_plain",
                format!("<{name}> n'a pas sa place dans une repermission ; écrivez du texte simple."),
                format!("<{name}> has no place in a re-permission; write plain text."),
            ),
            "img" => self.picture(element),
            _ => {}
        }
        for attribute in &element.attributes {
            let (key, value) = (attribute.name.as_str(), attribute.value.as_str());
            match key {
                "style" => self.style(name, value),
                "href" if self.protected.has_tag(value) => self.field_in_link(value),
                "hidden" | "aria-hidden" => self.hidden(name, key),
                "background" | "srcset" => self.elsewhere(key, value),
                "http-equiv" if name == "meta" => {}
                _ if !ATTRIBUTES.contains(&key) => self.add(
                    "not_plain",
                    format!("l'attribut {key} de <{name}> n'a pas sa place dans une repermission ; retirez-le."),
                    format!("the attribute {key} of <{name}> has no place in a re-permission; take it out."),
                ),
                _ => {}
            }
        }
    }

    fn picture(&mut self, element: &Element) {
        let src = element.get("src").unwrap_or_default().trim();
        if src.to_ascii_lowercase().starts_with("data:image/") && !self.protected.has_tag(src) {
            return;
        }
        let shown = self.protected.restore(src);
        let tiny = |key: &str| element.get(key).is_some_and(|v| matches!(v.trim().trim_end_matches("px"), "0" | "1"));
        if tiny("width") || tiny("height") {
            self.add(
                "own_pixel",
                format!("l'image {shown} est un pixel de suivi : une repermission n'en a jamais (RP-7) ; retirez-la."),
                format!("the image {shown} is a tracking pixel: a re-permission never has one (RP-7); take it out."),
            );
        } else {
            self.add(
                "remote_picture",
                format!("l'image {shown} serait chargée d'ailleurs et dirait qui a ouvert (RP-7) ; retirez-la."),
                format!("the image {shown} would be loaded from elsewhere and tell who opened (RP-7); take it out."),
            );
        }
    }

    fn elsewhere(&mut self, key: &str, value: &str) {
        let shown = self.protected.restore(value);
        self.add(
            "remote_picture",
            format!("{key} {shown} serait chargé d'ailleurs et dirait qui a ouvert (RP-7) ; retirez-le."),
            format!("{key} {shown} would be loaded from elsewhere and tell who opened (RP-7); take it out."),
        );
    }

    fn field_in_link(&mut self, target: &str) {
        let shown = self.protected.restore(target.trim());
        self.add(
            "field_in_link_not_encoded",
            format!("le lien {shown} dirait qui l'a suivi ; écrivez-le sans champ, le même pour tous (RP-7)."),
            format!("the link {shown} would tell who followed it; write it without a field, the same for all (RP-7)."),
        );
    }

    fn hidden(&mut self, name: &str, what: &str) {
        self.add(
            "hidden_content",
            format!("<{name}> est caché ou déplacé ({what}) ; dans une repermission tout se voit : retirez-le."),
            format!("<{name}> is hidden or moved ({what}); in a re-permission everything is seen: take it out."),
        );
    }

    fn style(&mut self, name: &str, style: &str) {
        let lower = style.to_lowercase();
        let loads: String = lower.chars().filter(|c| !c.is_whitespace()).collect();
        if ["url(", "image(", "image-set(", "@import"].iter().any(|word| loads.contains(word)) {
            return self.elsewhere("style", style);
        }
        if self.protected.has_tag(style) || lower.contains('\\') || lower.contains("/*") {
            return self.hidden(name, "style");
        }
        for declaration in lower.split(';').map(str::trim).filter(|d| !d.is_empty()) {
            let fits = declaration.split_once(':').is_some_and(|(property, value)| fits(property.trim(), value));
            if !fits {
                self.hidden(name, declaration);
            }
        }
    }

    /// A mail client makes a link of an address that stands in the text.
    fn text(&mut self, text: &str) {
        const FIELD: char = '\u{1}';
        let mut words = String::new();
        for part in self.protected.parts(text) {
            match part {
                Part::Literal(literal) => words.push_str(literal),
                Part::Tag(number) if self.protected.tags[number].kind == TagKind::Output => words.push(FIELD),
                Part::Tag(_) => {}
            }
        }
        let is_link = |word: &&str| {
            let path = word.find(['/', '?']).filter(|at| word[..*at].contains('.'));
            word.contains("://") || word.contains("www.") || path.is_some_and(|at| word[at..].contains(FIELD))
        };
        let linked: Vec<String> = words
            .split_whitespace()
            .filter(is_link)
            .filter(|word| word.contains(FIELD))
            .map(|word| word.replace(FIELD, "{{ … }}"))
            .collect();
        for word in linked {
            self.field_in_link(&word);
        }
    }

    /// Some clients read words in comments as commands. A statement alone on its line travels as one.
    fn comment(&mut self, text: &str) {
        let only_a_tag = self.protected.parts(text).iter().all(|part| matches!(part, Part::Tag(_)));
        if !only_a_tag {
            self.add(
                "hidden_content",
                "un commentaire HTML ne se voit pas, et Outlook lui obéit parfois ; retirez-le.".to_owned(),
                "an HTML comment is not seen, and Outlook obeys some; take it out.".to_owned(),
            );
        }
    }
}

/// Whether a declaration leaves words where they are, and to be read.
fn fits(property: &str, value: &str) -> bool {
    let value = value.trim().trim_end_matches("!important").trim();
    if !PROPERTIES.contains(&property) {
        return false;
    }
    match property {
        "display" => return DISPLAYS.contains(&value),
        "color" | "background" | "background-color" => return is_colour(value),
        "font-family" | "font-weight" | "text-align" | "text-decoration" | "font-style" => {
            return !value.contains('(');
        }
        _ => {}
    }
    let is_width = property.ends_with("width");
    let is_type = property.starts_with("font") || property == "line-height";
    value.split([' ', ',', '/', '\t', '\n']).filter(|word| !word.is_empty()).all(|word| {
        let number = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit() || "+-.".contains(c)).len();
        if number == 0 {
            return !word.contains('(');
        }
        let (number, unit) = word.split_at(number);
        let Ok(number) = number.parse::<f64>() else { return false };
        // Too small to be read, or so large that what follows is out of sight.
        let (least, most) = match unit {
            "px" | "pt" => (8.0, 100.0),
            "em" | "rem" => (0.6, 6.0),
            "" => (0.6, if property == "font" { 900.0 } else { 6.0 }),
            "%" => (60.0, 300.0),
            _ => return false,
        };
        let least = if is_type { least } else { 0.0 };
        number >= least && (is_width || number <= most)
    })
}

fn is_colour(value: &str) -> bool {
    match value.strip_prefix('#') {
        Some(digits) => matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => {
            let inner = value.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
            let name = value != "transparent" && value.bytes().all(|b| b.is_ascii_alphabetic());
            name || inner.is_some_and(|i| {
                i.bytes().all(|b| b.is_ascii_digit() || b", ".contains(&b)) && i.matches(',').count() <= 2
            })
        }
    }
}

/// What has been opened and not closed.
enum Open<'n> {
    Element(&'n str, usize),
    /// An `if` or a `for`.
    Block,
}

/// The first element that is not closed where it should be: it would take in what we add behind it.
/// Every element has its end tag, even where HTML lets it be left out, and on the same side of every
/// `if` and `for`: then no reader can disagree.
fn left_open(content: &str, nodes: &[Node], protected: &Protected) -> Option<Fault> {
    let mut starts = nodes.iter().filter_map(|node| match node {
        Node::Start(element) => Some(element),
        _ => None,
    });
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut at = 0;
    while let Some(found) = content[at..].find('<') {
        let start = at + found;
        if !blocks(&content[at..start], protected, &mut open) {
            return Some(crossing(start));
        }
        let rest = &content[start..];
        let is_name = |at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_alphabetic);
        at = if rest.starts_with("<!--") {
            let end = rest.find("-->").map_or(content.len(), |end| start + end + 3);
            if !blocks(&content[start..end], protected, &mut open) {
                return Some(crossing(start));
            }
            end
        } else if rest.starts_with("</") && is_name(2) {
            let name = name(&rest[2..]);
            match open.pop() {
                Some(Open::Element(opened, _)) if opened == name => {}
                Some(Open::Element(opened, offset)) => return Some(unclosed(opened, offset)),
                Some(Open::Block) => return Some(crossing(start)),
                None => {
                    return Some(Fault {
                        offset: start,
                        code: "element_left_open",
                        fr: format!("</{name}> ne ferme rien ; retirez-le."),
                        en: format!("</{name}> closes nothing; take it out."),
                    });
                }
            }
            rest.find('>').map_or(content.len(), |end| start + end + 1)
        } else if is_name(1) {
            // Both readings of the text must agree on what an element is.
            let element = starts.next().filter(|element| element.offset == start && element.name == name(&rest[1..]));
            let Some(element) = element else { return Some(crossing(start)) };
            let end = start + end_of_tag(rest);
            if !blocks(&content[start..end], protected, &mut open) {
                return Some(crossing(start));
            }
            if !VOID.contains(&element.name.as_str()) {
                open.push(Open::Element(&element.name, start));
            }
            end
        } else if rest.starts_with("<!") || rest.starts_with("<?") || rest.starts_with("</") {
            rest.find('>').map_or(content.len(), |end| start + end + 1)
        } else {
            start + 1
        };
    }
    if !blocks(&content[at..], protected, &mut open) {
        return Some(crossing(at));
    }
    if starts.next().is_some() {
        return Some(crossing(at));
    }
    open.into_iter().rev().find_map(|open| match open {
        Open::Element(name, offset) => Some(unclosed(name, offset)),
        Open::Block => None,
    })
}

fn name(text: &str) -> String {
    text.split(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// Bytes of the start tag at the start of `text`.
fn end_of_tag(text: &str) -> usize {
    let mut quote = None;
    let mut value_begins = false;
    for (at, c) in text.bytes().enumerate() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if value_begins => quote = Some(c),
            (None, b'>') => return at + 1,
            (None, _) => {}
        }
        value_begins = quote.is_none() && (c == b'=' || value_begins && c.is_ascii_whitespace());
    }
    text.len()
}

/// Follows the statements of a piece; false when an `if` or a `for` ends with an element left open in it.
fn blocks(piece: &str, protected: &Protected, open: &mut Vec<Open<'_>>) -> bool {
    for part in protected.parts(piece) {
        let Part::Tag(number) = part else { continue };
        let tag = &protected.tags[number];
        if tag.kind != TagKind::Statement {
            continue;
        }
        let inside = tag.canonical.trim_start_matches(['{', '%', '-', ' ']);
        match inside.split([' ', '%']).next() {
            Some("if" | "for") => open.push(Open::Block),
            Some("else" | "elif") if !matches!(open.last(), Some(Open::Block)) => return false,
            Some("endif" | "endfor") if !matches!(open.pop(), Some(Open::Block)) => return false,
            _ => {}
        }
    }
    true
}

fn unclosed(name: &str, offset: usize) -> Fault {
    Fault {
        offset,
        code: "element_left_open",
        fr: format!("<{name}> n'est pas fermé et prendrait la question et ses réponses ; écrivez </{name}>."),
        en: format!("<{name}> is not closed and would take in the question and its answers; write </{name}>."),
    }
}

fn crossing(offset: usize) -> Fault {
    Fault {
        offset,
        code: "element_left_open",
        fr: "les éléments et les `if` ou `for` se croisent ici ; fermez chacun là où il s'ouvre.".to_owned(),
        en: "elements and `if` or `for` cross here; close each where it opens.".to_owned(),
    }
}
