//! Runs templates that [`super::scan`] has written.

use std::io;

use minijinja::{AutoEscape, Environment, ErrorKind, State, UndefinedBehavior, Value, value::Object};

use super::{FUEL, MAX_OUTPUT_BYTES, Transfer, filters};

/// Room for what a message says to one person, its footer included: without it the buffer grows half-way.
const FOR_VALUES: usize = 6 * 1024;

/// How printed values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As they are: text parts and subjects.
    None,
    /// With `& < > " '` as character references: HTML, between tags and in quoted attributes.
    Html,
}

/// Templates of one campaign, compiled once, rendered per recipient.
pub struct Engine {
    env: Environment<'static>,
}

/// Why a message could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A merged value brought CR, LF or NUL into the subject (rules H07, header injection).
    #[error("a field of this contact holds a line break or NUL, and the subject uses it")]
    HeaderInjection,
    /// The result is longer than the cap or took more steps than allowed.
    #[error("the message of this contact is too long")]
    TooLong,
    /// The engine refused; `create` should have found it.
    #[error("the template failed: {0}")]
    Engine(String),
}

/// Text that is encoded already: an engine of stencils prints it as it stands.
#[derive(Debug)]
pub struct Encoded(pub String);

impl Object for Encoded {}

impl Engine {
    /// An engine without templates.
    pub fn new() -> Engine {
        let mut env = Engine::environment();
        env.set_formatter(|out, state, value| Ok(print(out, state, value)?));
        Engine { env }
    }

    /// An engine for the stencils of the same `transfer`: it encodes what it prints.
    pub fn of_stencils(transfer: Transfer) -> Engine {
        let mut env = Engine::environment();
        env.set_formatter(move |out, state, value| {
            if let Some(Encoded(text)) = value.downcast_object_ref() {
                return Ok(out.write_str(text)?);
            }
            let (mut plain, mut encoded) = (String::new(), String::new());
            print(&mut plain, state, value)?;
            transfer(&mut encoded, &plain);
            Ok(out.write_str(&encoded)?)
        });
        Engine { env }
    }

    fn environment() -> Environment<'static> {
        let mut env = Environment::empty();
        // Every name was checked by the scan: nothing is undefined but a ternary without `else`.
        env.set_undefined_behavior(UndefinedBehavior::Lenient);
        env.set_fuel(Some(FUEL));
        env.set_auto_escape_callback(|name| if name.ends_with("html") { AutoEscape::Html } else { AutoEscape::None });
        filters::install(&mut env);
        env
    }

    /// Compiles a template that a scan has written, under a name of one's own.
    pub fn add(&mut self, name: &'static str, escape: Escape, template: &str) -> Result<(), String> {
        let name = match escape {
            Escape::None => name.to_owned(),
            Escape::Html => format!("{name}.html"),
        };
        self.env.add_template_owned(name, template.to_owned()).map_err(|e| e.to_string())
    }

    /// Renders the template of that name.
    pub fn render(&self, name: &str, escape: Escape, values: &Value) -> Result<String, RenderError> {
        let template = match escape {
            Escape::None => self.env.get_template(name),
            Escape::Html => self.env.get_template(&format!("{name}.html")),
        };
        let template = template.map_err(|e| RenderError::Engine(e.to_string()))?;
        let mut out = Limited { bytes: Vec::with_capacity(template.source().len() + FOR_VALUES), full: false };
        match template.render_captured_to(values.clone(), &mut out) {
            Ok(_) => String::from_utf8(out.bytes).map_err(|e| RenderError::Engine(e.to_string())),
            Err(_) if out.full => Err(RenderError::TooLong),
            Err(e) if e.kind() == ErrorKind::OutOfFuel => Err(RenderError::TooLong),
            Err(e) => Err(RenderError::Engine(e.to_string())),
        }
    }
}

/// Prints a value, escaped where the template asks for it.
fn print(out: &mut impl std::fmt::Write, state: &State<'_, '_>, value: &Value) -> std::fmt::Result {
    if value.is_undefined() || value.is_none() {
        return Ok(());
    }
    let escapes = *state.auto_escape() == AutoEscape::Html && !value.is_safe();
    match (value.as_str(), escapes) {
        (Some(text), true) => escape_html(out, text),
        (Some(text), false) => out.write_str(text),
        (None, true) => escape_html(out, &value.to_string()),
        (None, false) => out.write_str(&value.to_string()),
    }
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new()
    }
}

/// Never shows a template or a value.
impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine(..)")
    }
}

/// What minijinja has against an expression, if anything.
pub(super) fn syntax_error(expression: &str) -> Option<String> {
    let error = Environment::empty().compile_expression(expression).err()?;
    Some(error.detail().map_or_else(|| error.to_string(), str::to_owned))
}

/// Escapes for HTML text and quoted attributes; `/` stays, or links would look odd to scanners.
pub(crate) fn escape_html(out: &mut impl std::fmt::Write, text: &str) -> std::fmt::Result {
    if stands_for_itself(text) {
        return out.write_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.write_str(&rest[..at])?;
        out.write_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    out.write_str(rest)
}

/// Nothing in this text has to be escaped.
pub(super) fn stands_for_itself(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr3(b'&', b'<', b'>', bytes).is_none() && memchr::memchr2(b'"', b'\'', bytes).is_none()
}

struct Limited {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + buffer.len() > MAX_OUTPUT_BYTES {
            self.full = true;
            return Err(io::Error::other("the output is too long"));
        }
        self.bytes.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
