//! The audience of a campaign: an expression over contacts, read once and evaluated in memory.
//!
//! `relationship in ['customer','prospect'] and country = 'FR'`. It narrows whom we ask about;
//! who may be written to is for [`super::eligibility::decide`] alone.
//!
//! Texts compare without regard to case. A missing value equals nothing, lies before and after
//! nothing, and `is empty`. Dates are local dates in the controller's time zone (RET-6).

mod fields;
mod lexer;
mod parser;

pub use fields::Field;

use std::{fmt, str::FromStr};

use jiff::{civil::Date, tz::TimeZone};

use super::contact_view::ContactView;

/// A parsed audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    root: Expr,
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {column} of the expression: {message}")]
pub struct AudienceError {
    /// Byte offset in the expression.
    pub offset: usize,
    /// Character of the expression, from 1.
    pub column: u32,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Audience {
    /// Whether this contact belongs to the audience. `tz` is the controller's time zone.
    pub fn matches(&self, contact: &ContactView<'_>, tz: &TimeZone) -> bool {
        self.root.matches(contact, tz)
    }
}

/// Reads an expression; everything it names is checked here, so that `matches` cannot fail.
impl FromStr for Audience {
    type Err = AudienceError;
    fn from_str(text: &str) -> Result<Audience, AudienceError> {
        parser::parse(text).map(|root| Audience { root })
    }
}

/// Writes an expression that reads back as the same audience.
impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expr {
    /// Two or more, none of them an `All`.
    All(Vec<Expr>),
    /// Two or more, none of them an `Any`.
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Test(Field, Test),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// One of these words, in lower case.
    OneOf(Vec<String>),
    /// None of them.
    NoneOf(Vec<String>),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    Compares(Comparison, Date),
    Flag(bool),
    Empty(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Expr {
    fn matches(&self, contact: &ContactView<'_>, tz: &TimeZone) -> bool {
        match self {
            Expr::All(all) => all.iter().all(|e| e.matches(contact, tz)),
            Expr::Any(any) => any.iter().any(|e| e.matches(contact, tz)),
            Expr::Not(inner) => !inner.matches(contact, tz),
            Expr::Test(field, test) => test.holds(*field, contact, tz),
        }
    }
}

impl Test {
    fn holds(&self, field: Field, contact: &ContactView<'_>, tz: &TimeZone) -> bool {
        match self {
            Test::OneOf(words) => field.text(contact).is_some_and(|text| is_one_of(text, words)),
            Test::NoneOf(words) => !field.text(contact).is_some_and(|text| is_one_of(text, words)),
            Test::Contains(part) => field.text(contact).is_some_and(|text| text.to_lowercase().contains(part)),
            Test::StartsWith(part) => field.text(contact).is_some_and(|text| text.to_lowercase().starts_with(part)),
            Test::EndsWith(part) => field.text(contact).is_some_and(|text| text.to_lowercase().ends_with(part)),
            Test::Compares(comparison, date) => comparison.holds(field.date(contact, tz), *date),
            Test::Flag(wanted) => field.flag(contact) == *wanted,
            Test::Empty(wanted) => field.is_empty(contact, tz) == *wanted,
        }
    }
}

fn is_one_of(text: &str, lower_words: &[String]) -> bool {
    if text.is_ascii() {
        lower_words.iter().any(|w| w.eq_ignore_ascii_case(text))
    } else {
        let lower = text.to_lowercase();
        lower_words.contains(&lower)
    }
}

impl Comparison {
    fn holds(self, left: Option<Date>, right: Date) -> bool {
        match (self, left) {
            (Comparison::NotEqual, left) => left != Some(right),
            (_, None) => false,
            (Comparison::Equal, Some(left)) => left == right,
            (Comparison::Less, Some(left)) => left < right,
            (Comparison::AtMost, Some(left)) => left <= right,
            (Comparison::Greater, Some(left)) => left > right,
            (Comparison::AtLeast, Some(left)) => left >= right,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Greater => ">",
            Comparison::AtLeast => ">=",
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All(parts) => join(f, parts, " and "),
            Expr::Any(parts) => join(f, parts, " or "),
            Expr::Not(inner) => {
                f.write_str("not ")?;
                write_operand(f, inner)
            }
            Expr::Test(field, test) => test.write(f, field.name()),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(word)?;
        }
        write_operand(f, part)?;
    }
    Ok(())
}

fn write_operand(f: &mut fmt::Formatter<'_>, part: &Expr) -> fmt::Result {
    match part {
        Expr::All(_) | Expr::Any(_) => write!(f, "({part})"),
        Expr::Not(_) | Expr::Test(..) => write!(f, "{part}"),
    }
}

impl Test {
    fn write(&self, f: &mut fmt::Formatter<'_>, field: &str) -> fmt::Result {
        match self {
            Test::OneOf(words) => write_words(f, field, "=", "in", words),
            Test::NoneOf(words) => write_words(f, field, "!=", "not in", words),
            Test::Contains(part) => write!(f, "{field} contains {}", Quoted(part)),
            Test::StartsWith(part) => write!(f, "{field} starts with {}", Quoted(part)),
            Test::EndsWith(part) => write!(f, "{field} ends with {}", Quoted(part)),
            Test::Compares(comparison, date) => write!(f, "{field} {} '{date}'", comparison.sign()),
            Test::Flag(wanted) => write!(f, "{field} = {wanted}"),
            Test::Empty(true) => write!(f, "{field} is empty"),
            Test::Empty(false) => write!(f, "{field} is not empty"),
        }
    }
}

fn write_words(f: &mut fmt::Formatter<'_>, field: &str, one: &str, many: &str, words: &[String]) -> fmt::Result {
    if let [word] = words {
        return write!(f, "{field} {one} {}", Quoted(word));
    }
    let list: Vec<String> = words.iter().map(|w| Quoted(w).to_string()).collect();
    write!(f, "{field} {many} [{}]", list.join(", "))
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests;
