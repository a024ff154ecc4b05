//! Reads the tags of a template and refuses what is not allowed, with its place.

use super::{
    ALWAYS_THERE, FIELDS, KEYWORDS, MAX_LOOP_ITEMS, MAX_LOOP_NESTING, MAX_NESTING, MAX_OUTPUT_BYTES, MAX_SOURCE_BYTES,
    MAX_TAGS, MAX_WORK, STATEMENTS,
    expression::{self, Scope, Used},
    lexer::{self, Placed, Token},
};
use crate::domain::located::did_you_mean;

/// A template, read and allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan<'s> {
    /// Text and tags in their order.
    pub pieces: Vec<Piece<'s>>,
    /// Fields that a contact may lack and that are printed without `default(…)` or a guarding
    /// `if`: their names and byte offsets.
    pub without_fallback: Vec<(String, usize)>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'s> {
    /// Text as written, and its byte offset.
    Text(&'s str, usize),
    /// A tag. Comments are left out.
    Tag(Tag),
}

/// One tag, written anew from its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it is.
    pub kind: TagKind,
    /// What minijinja reads.
    pub canonical: String,
    /// Byte offset of its start.
    pub offset: usize,
    /// The last filter of an output tag encodes for URLs.
    pub urlencoded: bool,
}

/// What a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    /// `{{ … }}`: prints a value.
    Output,
    /// `{% … %}`: prints nothing itself.
    Statement,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagError {
    /// Byte offset in the template.
    pub offset: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl TagError {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> TagError {
        TagError { offset, message: message.into() }
    }
}

/// Reads a template. `in_subject`: it is the subject, which cannot name itself.
pub fn scan(source: &str, in_subject: bool) -> Result<Scan<'_>, Vec<TagError>> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(vec![TagError::new(0, format!("a template is at most {MAX_SOURCE_BYTES} bytes"))]);
    }
    let mut scanner = Scanner { in_subject, ..Scanner::default() };
    let pieces = scanner.pieces(source);
    for open in std::mem::take(&mut scanner.open) {
        let (name, end) = if open.is_loop { ("for", "endfor") } else { ("if", "endif") };
        scanner.errors.push(TagError::new(open.offset, format!("this `{name}` has no `{{% {end} %}}`")));
    }
    if scanner.errors.is_empty() && (scanner.work > MAX_WORK || scanner.output > MAX_OUTPUT_BYTES as u64) {
        scanner.errors.push(TagError::new(0, "the loops of this template repeat too much"));
    }
    if scanner.errors.is_empty() {
        return Ok(Scan { pieces, without_fallback: scanner.without_fallback });
    }
    scanner.errors.sort_by_key(|e| e.offset);
    Err(scanner.errors)
}

#[derive(Default)]
struct Scanner {
    in_subject: bool,
    open: Vec<Open>,
    errors: Vec<TagError>,
    without_fallback: Vec<(String, usize)>,
    tags: usize,
    work: u64,
    output: u64,
}

/// A block that is not closed yet.
struct Open {
    offset: usize,
    is_loop: bool,
    has_else: bool,
    /// The loop's variable.
    variable: String,
    repeats: u64,
    /// Contact fields that the block's conditions name: inside it they are taken as guarded.
    guards: Vec<String>,
}

impl Scanner {
    fn pieces<'s>(&mut self, source: &'s str) -> Vec<Piece<'s>> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(start) = next_tag(source, at) {
            self.text(&mut pieces, source, at, start);
            match self.tag(source, start) {
                Ok((tag, end)) => {
                    pieces.extend(tag.map(Piece::Tag));
                    at = end;
                }
                Err(error) => {
                    self.errors.push(error);
                    // Go on behind the broken tag, to report what else is wrong.
                    at = source[start..].find(['}', '\n']).map_or(source.len(), |i| start + i + 1);
                    at = at.max(start + 2);
                }
            }
            if self.tags > MAX_TAGS {
                self.errors.push(TagError::new(start, format!("a template has at most {MAX_TAGS} tags")));
                return pieces;
            }
        }
        self.text(&mut pieces, source, at, source.len());
        pieces
    }

    fn text<'s>(&mut self, pieces: &mut Vec<Piece<'s>>, source: &'s str, from: usize, to: usize) {
        if from < to {
            self.output = self.output.saturating_add(self.repeats() * (to - from) as u64);
            pieces.push(Piece::Text(&source[from..to], from));
        }
    }

    fn tag(&mut self, source: &str, start: usize) -> Result<(Option<Tag>, usize), TagError> {
        self.tags += 1;
        if source[start..].starts_with("{#") {
            let end = source[start..].find("#}");
            let end = end.ok_or_else(|| TagError::new(start, "this comment is not closed by `#}`"))?;
            return Ok((None, start + end + 2));
        }
        let is_output = source[start..].starts_with("{{");
        let trims_before = source[start + 2..].starts_with('-');
        let close = if is_output { "}}" } else { "%}" };
        if !is_output {
            known_statement(source, start + 2 + usize::from(trims_before))?;
        }
        let inside = lexer::inside(source, start + 2 + usize::from(trims_before), close)?;
        self.work = self.work.saturating_add(self.repeats() * inside.tokens.len() as u64);
        let tag = if is_output {
            self.output_tag(start, &inside.tokens)?
        } else {
            self.statement(start, &inside.tokens)?;
            Tag { kind: TagKind::Statement, canonical: String::new(), offset: start, urlencoded: false }
        };
        let (before, after) = (if trims_before { "-" } else { "" }, if inside.trims_after { "-" } else { "" });
        let open = if is_output { "{{" } else { "{%" };
        let canonical = format!("{open}{before} {} {after}{close}", lexer::write(&inside.tokens));
        Ok((Some(Tag { canonical, ..tag }), inside.end))
    }

    fn output_tag(&mut self, start: usize, tokens: &[Placed]) -> Result<Tag, TagError> {
        if tokens.is_empty() {
            return Err(TagError::new(start, "this tag is empty"));
        }
        let used = self.expression(tokens)?;
        let urlencoded = matches!(tokens.last(), Some(Placed { token: Token::Name(name), .. }) if name == "urlencode");
        // In a link an empty parameter greets nobody.
        let has_fallback = used.has_default
            || urlencoded
            || tokens.iter().any(|p| matches!(&p.token, Token::Name(name) if name == "or" || name == "if"));
        if !has_fallback {
            for (field, offset) in used.fields {
                let guarded = self.open.iter().any(|open| open.guards.contains(&field));
                if !guarded && !ALWAYS_THERE.contains(&field.as_str()) {
                    self.without_fallback.push((field, offset));
                }
            }
        }
        Ok(Tag { kind: TagKind::Output, canonical: String::new(), offset: start, urlencoded })
    }

    fn statement(&mut self, start: usize, tokens: &[Placed]) -> Result<(), TagError> {
        let Some((Placed { token: Token::Name(name), offset }, rest)) = tokens.split_first() else {
            return Err(TagError::new(start, format!("expected one of {}", STATEMENTS.join(", "))));
        };
        if !matches!(name.as_str(), "if" | "elif" | "for") && STATEMENTS.contains(&name.as_str()) && !rest.is_empty() {
            return Err(TagError::new(rest[0].offset, format!("nothing follows `{name}`")));
        }
        match name.as_str() {
            "if" => self.open_if(start, rest),
            "elif" => self.elif(start, rest),
            "else" => match self.open.last_mut() {
                Some(open) if !open.is_loop && !open.has_else => {
                    open.has_else = true;
                    Ok(())
                }
                _ => Err(TagError::new(start, "this `else` belongs to no `if`")),
            },
            "endif" => self.close(start, false),
            "for" => self.open_for(start, rest),
            "endfor" => self.close(start, true),
            other => Err(not_allowed(other, *offset)),
        }
    }

    fn open_if(&mut self, start: usize, condition: &[Placed]) -> Result<(), TagError> {
        let guards = self.condition(start, condition)?;
        self.open(Open { offset: start, is_loop: false, has_else: false, variable: String::new(), repeats: 1, guards })
    }

    fn elif(&mut self, start: usize, condition: &[Placed]) -> Result<(), TagError> {
        let guards = self.condition(start, condition)?;
        match self.open.last_mut() {
            Some(open) if !open.is_loop && !open.has_else => {
                open.guards.extend(guards);
                Ok(())
            }
            _ => Err(TagError::new(start, "this `elif` belongs to no `if`")),
        }
    }

    fn condition(&mut self, start: usize, tokens: &[Placed]) -> Result<Vec<String>, TagError> {
        if tokens.is_empty() {
            return Err(TagError::new(start, "the condition is missing"));
        }
        Ok(self.expression(tokens)?.fields.into_iter().map(|(field, _)| field).collect())
    }

    /// `for NAME in ['a', 'b']`: a loop runs over texts that stand in the template, nothing else.
    fn open_for(&mut self, start: usize, tokens: &[Placed]) -> Result<(), TagError> {
        const SHAPE: &str = "a loop is `for name in ['a', 'b']`, over texts and numbers written out";
        let [variable, word, open, items @ .., close] = tokens else {
            return Err(TagError::new(start, SHAPE));
        };
        let (Token::Name(name), Token::Name(word)) = (&variable.token, &word.token) else {
            return Err(TagError::new(start, SHAPE));
        };
        let is_taken = KEYWORDS.contains(&name.as_str()) || FIELDS.iter().any(|(root, _)| root == name);
        if word != "in" || open.token != Token::Sign("[") || close.token != Token::Sign("]") || is_taken {
            return Err(TagError::new(start, SHAPE));
        }
        for (i, item) in items.iter().enumerate() {
            let fits = match item.token {
                Token::Text(_) | Token::Number(_) => i % 2 == 0,
                Token::Sign(",") => i % 2 == 1,
                _ => false,
            };
            if !fits {
                return Err(TagError::new(item.offset, SHAPE));
            }
        }
        let repeats = items.len().div_ceil(2);
        if repeats == 0 || repeats > MAX_LOOP_ITEMS {
            return Err(TagError::new(start, format!("a loop runs over 1 to {MAX_LOOP_ITEMS} items")));
        }
        if self.open.iter().filter(|open| open.is_loop).count() == MAX_LOOP_NESTING {
            return Err(TagError::new(start, format!("at most {MAX_LOOP_NESTING} loops stand one in another")));
        }
        let (variable, repeats) = (name.clone(), repeats as u64);
        self.open(Open { offset: start, is_loop: true, has_else: false, variable, repeats, guards: Vec::new() })
    }

    fn open(&mut self, open: Open) -> Result<(), TagError> {
        if self.open.len() == MAX_NESTING {
            return Err(TagError::new(open.offset, format!("at most {MAX_NESTING} blocks stand one in another")));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, start: usize, is_loop: bool) -> Result<(), TagError> {
        match self.open.last() {
            Some(open) if open.is_loop == is_loop => {
                self.open.pop();
                Ok(())
            }
            _ => {
                Err(TagError::new(start, format!("this `{}` closes nothing", if is_loop { "endfor" } else { "endif" })))
            }
        }
    }

    fn repeats(&self) -> u64 {
        self.open.iter().map(|open| open.repeats).product()
    }

    fn expression(&self, tokens: &[Placed]) -> Result<Used, TagError> {
        let loops = self.open.iter().filter(|open| open.is_loop);
        let loop_variables = loops.map(|open| open.variable.as_str()).collect();
        expression::check(tokens, &Scope { loop_variables, in_subject: self.in_subject })
    }
}

/// Names the statement that is not allowed, before what follows it is read.
fn known_statement(source: &str, start: usize) -> Result<(), TagError> {
    let rest = source[start..].trim_start();
    let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
    if STATEMENTS.contains(&name) { Ok(()) } else { Err(not_allowed(name, source.len() - rest.len())) }
}

fn not_allowed(name: &str, offset: usize) -> TagError {
    let near = did_you_mean(name, &STATEMENTS);
    TagError::new(offset, format!("`{name}` is not allowed{near}; only {} are", STATEMENTS.join(", ")))
}

pub(super) fn next_tag(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    (from..bytes.len().saturating_sub(1)).find(|i| bytes[*i] == b'{' && matches!(bytes[i + 1], b'{' | b'%' | b'#'))
}
