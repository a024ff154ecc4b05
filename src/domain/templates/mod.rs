//! Templates of marketers: read with an allow-list at create, so that a send cannot fail on them.
//!
//! [`scan`] reads every `{{ … }}` and `{% … %}` and refuses what is not on the lists below, with
//! its place. What it accepts is written anew, token by token, before minijinja sees it: the
//! engine never meets text that was not understood here. minijinja runs it with an empty
//! environment, our own total filters, fuel and a cap on the output.

mod engine;
mod expression;
mod filters;
mod lexer;
mod lines;
mod scan;
mod sheet;
mod stencil;

pub(crate) use engine::escape_html;
pub use engine::{Encoded, Engine, Escape, RenderError};
pub use lines::Lines;
pub use scan::{Piece, Scan, Tag, TagError, TagKind, scan};
pub(crate) use sheet::push_encoded_html;
pub use sheet::{Filled, Print, Sheet};
pub use stencil::{Transfer, stencil};

use super::merge::MergeContact;

/// The longest template, in bytes: more than twice what Gmail shows.
pub const MAX_SOURCE_BYTES: usize = 256 * 1024;
/// The longest result of one template, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 2 * 1024 * 1024;
/// A merge field is cut after so many characters.
pub const MAX_VALUE_CHARS: usize = 500;

const MAX_TAGS: usize = 2_000;
const MAX_TOKENS_PER_TAG: usize = 400;
const MAX_NESTING: usize = 16;
const MAX_LOOP_ITEMS: usize = 100;
const MAX_LOOP_NESTING: usize = 2;
const MAX_STRING_BYTES: usize = 2_000;
const MAX_FILTERS_PER_TAG: usize = 8;
/// Tokens times repetitions of a whole template; fuel at send is well above it.
const MAX_WORK: u64 = 50_000;
const FUEL: u64 = 1_000_000;

/// The variables of a template: a root and its fields. Nothing else can be named.
const FIELDS: [(&str, &[&str]); 5] = [
    ("contact", MergeContact::FIELDS),
    ("product", &["name", "slug"]),
    ("sender", &["name", "email"]),
    ("campaign", &["slug", "subject"]),
    ("loop", &["index", "index0", "first", "last", "length"]),
];

/// Fields that every contact has: they need no fallback.
const ALWAYS_THERE: [&str; 1] = ["email"];

/// Filters with the least and the greatest number of arguments.
const FILTERS: [(&str, usize, usize); 14] = [
    ("default", 1, 1),
    ("d", 1, 1),
    ("upper", 0, 0),
    ("lower", 0, 0),
    ("title", 0, 0),
    ("capitalize", 0, 0),
    ("trim", 0, 0),
    ("length", 0, 0),
    ("first", 0, 0),
    ("last", 0, 0),
    ("truncate", 1, 1),
    ("escape", 0, 0),
    ("e", 0, 0),
    ("urlencode", 0, 0),
];

/// Tests (`is …`) with their number of arguments.
const TESTS: [(&str, usize); 7] = [
    ("defined", 0),
    ("undefined", 0),
    ("none", 0),
    ("empty", 0),
    ("startingwith", 1),
    ("endingwith", 1),
    ("containing", 1),
];

const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

const KEYWORDS: [&str; 14] =
    ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None", "self"];

#[cfg(test)]
mod tests;
