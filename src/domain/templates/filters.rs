//! Our filters and tests: total functions of text, so that no contact's data can make one fail.

use std::borrow::Cow;

use minijinja::{Environment, Value, value::Rest};

pub(super) fn install(env: &mut Environment<'_>) {
    env.add_filter("default", default);
    env.add_filter("d", default);
    env.add_filter("upper", |v: &Value| text(v).to_uppercase());
    env.add_filter("lower", |v: &Value| text(v).to_lowercase());
    env.add_filter("title", |v: &Value| title(&text(v)));
    env.add_filter("capitalize", |v: &Value| capitalize(&text(v)));
    env.add_filter("trim", |v: &Value| text(v).trim().to_owned());
    env.add_filter("length", |v: &Value| text(v).chars().count());
    env.add_filter("first", |v: &Value| text(v).chars().next().map(String::from).unwrap_or_default());
    env.add_filter("last", |v: &Value| text(v).chars().next_back().map(String::from).unwrap_or_default());
    env.add_filter("truncate", |v: &Value, length: &Value| truncate(&text(v), length));
    // HTML is escaped by the engine, and a text part must not be.
    env.add_filter("escape", |v: &Value| text(v).into_owned());
    env.add_filter("e", |v: &Value| text(v).into_owned());
    env.add_filter("urlencode", |v: &Value| urlencode(&text(v)));

    env.add_test("defined", |v: &Value| !is_missing(v));
    env.add_test("undefined", is_missing);
    env.add_test("none", is_missing);
    env.add_test("empty", is_missing);
    env.add_test("startingwith", |v: &Value, part: &Value| text(v).starts_with(text(part).as_ref()));
    env.add_test("endingwith", |v: &Value, part: &Value| text(v).ends_with(text(part).as_ref()));
    env.add_test("containing", |v: &Value, part: &Value| text(v).contains(text(part).as_ref()));
}

/// Blank is missing: a contact with an empty first name must get the default.
fn default(value: &Value, fallback: Rest<Value>) -> Value {
    if is_missing(value) { fallback.first().cloned().unwrap_or_default() } else { value.clone() }
}

fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.is_none() || value.as_str().is_some_and(|s| s.trim().is_empty())
}

fn text(value: &Value) -> Cow<'_, str> {
    match value.as_str() {
        Some(text) => Cow::Borrowed(text),
        None if value.is_undefined() || value.is_none() => Cow::Borrowed(""),
        None => Cow::Owned(value.to_string()),
    }
}

/// A capital at the start of each word; the rest in lower case: `JEAN-PIERRE` is `Jean-Pierre`.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        starts = !c.is_alphanumeric();
    }
    out
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

fn truncate(text: &str, length: &Value) -> String {
    let length = length.as_usize().unwrap_or(usize::MAX);
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let kept: String = text.chars().take(length.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn urlencode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
