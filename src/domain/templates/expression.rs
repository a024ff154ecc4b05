//! What an expression may name and use: every token is held against the lists.

use super::{
    FIELDS, FILTERS, MAX_FILTERS_PER_TAG, MAX_NESTING, TESTS, TagError,
    engine::syntax_error,
    lexer::{self, Placed, Token},
};
use crate::domain::located::did_you_mean;

/// Where the expression stands.
pub(super) struct Scope<'s> {
    /// Variables of the loops around it.
    pub(super) loop_variables: Vec<&'s str>,
    /// It belongs to the subject.
    pub(super) in_subject: bool,
}

/// Checks an expression and says what it names.
pub(super) fn check(tokens: &[Placed], scope: &Scope<'_>) -> Result<Used, TagError> {
    let mut walk = Walk { scope, tokens, at: 0, used: Used::default(), filters: 0 };
    walk.all()?;
    let has = |word: &str| tokens.iter().any(|p| matches!(&p.token, Token::Name(name) if name == word));
    if has("in") && has("length") {
        return Err(TagError::new(tokens[0].offset, "`in` and `length` do not go together in one tag"));
    }
    match syntax_error(&lexer::write(tokens)) {
        None => Ok(walk.used),
        Some(message) => Err(TagError::new(tokens[0].offset, format!("this cannot be read: {message}"))),
    }
}

/// What an expression names.
#[derive(Default)]
pub(super) struct Used {
    /// Contact fields and where they stand.
    pub(super) fields: Vec<(String, usize)>,
    pub(super) has_default: bool,
}

/// Goes over the tokens of an expression and checks each against the lists.
struct Walk<'w> {
    scope: &'w Scope<'w>,
    tokens: &'w [Placed],
    at: usize,
    used: Used,
    filters: usize,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), TagError> {
        // Whether a value stands before: then `(` would call it and `[` look into it.
        let mut after_value = false;
        let mut depth = 0usize;
        while let Some(Placed { token, offset }) = self.tokens.get(self.at) {
            self.at += 1;
            after_value = match token {
                Token::Text(_) | Token::Number(_) => true,
                Token::Sign("|") => self.filter(*offset)?,
                Token::Sign("(") if after_value => {
                    return Err(TagError::new(*offset, "nothing can be called in a message"));
                }
                Token::Sign("[") if after_value => {
                    return Err(TagError::new(*offset, "a field is named with a dot: contact.company"));
                }
                Token::Sign("(" | "[") => {
                    depth += 1;
                    if depth > MAX_NESTING {
                        return Err(TagError::new(*offset, format!("more than {MAX_NESTING} brackets")));
                    }
                    false
                }
                Token::Sign(")" | "]") => {
                    depth = depth.saturating_sub(1);
                    true
                }
                Token::Sign(".") => {
                    return Err(TagError::new(*offset, "only a field like contact.company has a dot"));
                }
                Token::Sign(_) => false,
                Token::Name(name) => self.name(name, *offset)?,
            };
        }
        Ok(())
    }

    /// A name that is no filter and no test. Says whether a value stands there.
    fn name(&mut self, name: &str, offset: usize) -> Result<bool, TagError> {
        match name {
            "is" => self.test(offset),
            "in" => self.container(offset),
            "and" | "or" | "not" | "if" | "else" => Ok(false),
            "true" | "false" | "none" | "True" | "False" | "None" => Ok(true),
            name if self.scope.loop_variables.contains(&name) => Ok(true),
            name => self.field(name, offset),
        }
    }

    fn field(&mut self, root: &str, offset: usize) -> Result<bool, TagError> {
        let in_loop = !self.scope.loop_variables.is_empty();
        let fields = FIELDS.iter().find(|(name, _)| *name == root && (*name != "loop" || in_loop));
        let Some((_, fields)) = fields else {
            return Err(TagError::new(offset, unknown_variable(root)));
        };
        let (Some(Token::Sign(".")), Some(Token::Name(field))) = (self.token(0), self.token(1)) else {
            let known = fields.iter().map(|f| format!("{root}.{f}")).collect::<Vec<_>>().join(", ");
            return Err(TagError::new(offset, format!("`{root}` alone says nothing; write {known}")));
        };
        let field = field.clone();
        if !fields.contains(&field.as_str()) {
            let near = did_you_mean(&field, fields);
            let known = fields.join(", ");
            let message = format!("there is no field {root}.{field}{near}; {root} has {known}");
            return Err(TagError::new(offset, message));
        }
        if root == "campaign" && field == "subject" && self.scope.in_subject {
            return Err(TagError::new(offset, "the subject cannot contain itself"));
        }
        self.at += 2;
        if root == "contact" {
            self.used.fields.push((field, offset));
        }
        Ok(true)
    }

    fn filter(&mut self, offset: usize) -> Result<bool, TagError> {
        let Some(Token::Name(name)) = self.token(0) else {
            return Err(TagError::new(offset, "the name of a filter follows `|`"));
        };
        let names = FILTERS.map(|(name, ..)| name);
        let Some((name, least, most)) = FILTERS.into_iter().find(|(known, ..)| known == name) else {
            let near = did_you_mean(name, &names);
            let message = format!("`{name}` is no filter of ours{near}; there are {}", names.join(", "));
            return Err(TagError::new(self.tokens[self.at].offset, message));
        };
        self.filters += 1;
        if self.filters > MAX_FILTERS_PER_TAG {
            return Err(TagError::new(offset, format!("a tag has at most {MAX_FILTERS_PER_TAG} filters")));
        }
        self.at += 1;
        self.used.has_default |= matches!(name, "default" | "d");
        self.arguments(name, least, most)
    }

    fn test(&mut self, offset: usize) -> Result<bool, TagError> {
        if matches!(self.token(0), Some(Token::Name(word)) if word == "not") {
            self.at += 1;
        }
        let Some(Token::Name(name)) = self.token(0) else {
            return Err(TagError::new(offset, "the name of a test follows `is`"));
        };
        let names = TESTS.map(|(name, _)| name);
        let Some((name, arguments)) = TESTS.into_iter().find(|(known, _)| known == name) else {
            let near = did_you_mean(name, &names);
            let message = format!("`{name}` is no test of ours{near}; there are {}", names.join(", "));
            return Err(TagError::new(self.tokens[self.at].offset, message));
        };
        self.at += 1;
        // The engine takes what stands behind a test for its argument, brackets or not.
        let is_argument = match self.token(0) {
            Some(Token::Text(_) | Token::Number(_)) => true,
            Some(Token::Sign(sign)) => ["+", "-", "[", "{"].contains(sign),
            Some(Token::Name(word)) => !["and", "or", "else", "is"].contains(&word.as_str()),
            None => false,
        };
        if is_argument {
            let message = format!("nothing but `and`, `or`, `else` or a sign can follow `{name}`");
            return Err(TagError::new(self.tokens[self.at].offset, message));
        }
        self.arguments(name, arguments, arguments)
    }

    /// Counts the arguments, so that a wrong number is found here and not when a mail goes out.
    fn arguments(&mut self, name: &str, least: usize, most: usize) -> Result<bool, TagError> {
        let offset = self.tokens[self.at - 1].offset;
        let count = match self.token(0) {
            Some(Token::Sign("(")) => count_arguments(&self.tokens[self.at + 1..]),
            _ => 0,
        };
        if (least..=most).contains(&count) {
            // An opening parenthesis here belongs to the filter and calls nothing.
            return Ok(!matches!(self.token(0), Some(Token::Sign("("))));
        }
        let message = match most {
            0 => format!("`{name}` takes no argument"),
            _ => format!("`{name}` takes one argument, like `{name}('…')`"),
        };
        Err(TagError::new(offset, message))
    }

    /// What follows `in` holds something for every contact: a list, a text or a field.
    fn container(&mut self, offset: usize) -> Result<bool, TagError> {
        let is_root = |name: &str| FIELDS.iter().any(|(root, _)| *root == name && name != "loop");
        match self.token(0) {
            Some(Token::Sign("[") | Token::Text(_)) => Ok(false),
            Some(Token::Name(name)) if is_root(name) => Ok(false),
            _ => Err(TagError::new(offset, "a list like ['FR', 'BE'], a text or a field follows `in`")),
        }
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|placed| &placed.token)
    }
}

fn count_arguments(behind_the_bracket: &[Placed]) -> usize {
    let (mut depth, mut commas, mut any) = (0usize, 0, false);
    for placed in behind_the_bracket {
        match placed.token {
            Token::Sign(")") if depth == 0 => break,
            Token::Sign("(" | "[") => depth += 1,
            Token::Sign(")" | "]") => depth = depth.saturating_sub(1),
            Token::Sign(",") if depth == 0 => commas += 1,
            _ => {}
        }
        any = true;
    }
    commas + usize::from(any)
}

fn unknown_variable(name: &str) -> String {
    let mut known: Vec<String> = Vec::new();
    for (root, fields) in FIELDS.iter().filter(|(root, _)| *root != "loop") {
        known.extend(fields.iter().map(|field| format!("{root}.{field}")));
    }
    if let Some(full) = known.iter().find(|full| full.ends_with(&format!(".{name}"))) {
        return format!("there is no variable {name:?}; write {full}");
    }
    let roots: Vec<&str> = FIELDS.iter().map(|(root, _)| *root).collect();
    format!("there is no variable {name:?}{}; there are {}", did_you_mean(name, &roots), known.join(", "))
}
