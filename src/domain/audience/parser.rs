//! From words and signs to an expression whose every field, operator and value fits.

use jiff::civil::Date;

use super::{
    AudienceError, Comparison, Expr, Field, Test,
    fields::Type,
    lexer::{self, Placed, Token},
};
use crate::domain::located::did_you_mean;

const MAX_DEPTH: usize = 32;
const MAX_LIST: usize = 1_000;

pub(super) fn parse(text: &str) -> Result<Expr, AudienceError> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { text, tokens, next: 0, depth: 0 };
    if *parser.peek() == Token::End {
        return Err(parser.error_here("the expression is empty; leave the key out to ask everybody"));
    }
    let root = parser.any()?;
    match parser.peek() {
        Token::End => Ok(root),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Placed>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expr, AudienceError> {
        let mut parts = Vec::new();
        loop {
            match self.all()? {
                Expr::Any(inner) => parts.extend(inner),
                other => parts.push(other),
            }
            if !self.eat_word("or") {
                return Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Any(parts) });
            }
        }
    }

    fn all(&mut self) -> Result<Expr, AudienceError> {
        let mut parts = Vec::new();
        loop {
            match self.one()? {
                Expr::All(inner) => parts.extend(inner),
                other => parts.push(other),
            }
            if !self.eat_word("and") {
                return Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts) });
            }
        }
    }

    fn one(&mut self) -> Result<Expr, AudienceError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error_here(format!("more than {MAX_DEPTH} levels of parentheses and `not`")));
        }
        let expr = if self.eat_word("not") {
            Expr::Not(Box::new(self.one()?))
        } else if self.eat_sign("(") {
            let inner = self.any()?;
            if !self.eat_sign(")") {
                return Err(self.expected("`)`"));
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn test(&mut self) -> Result<Expr, AudienceError> {
        let field = self.field()?;
        let test = match field.kind() {
            Type::Flag => self.flag_test()?,
            Type::Date => self.date_test(field)?,
            Type::Text => self.text_test(field, &[])?,
            Type::Words(known) => self.text_test(field, known)?,
        };
        Ok(Expr::Test(field, test))
    }

    fn field(&mut self) -> Result<Field, AudienceError> {
        let Token::Name(name) = self.peek().clone() else {
            return Err(self.expected("the name of a field"));
        };
        let known: Vec<&str> = Field::ALL.iter().map(|f| f.name()).collect();
        // `contact.country` is how a template writes it: the same name is meant.
        let bare = name.strip_prefix("contact.").unwrap_or(&name).to_ascii_lowercase();
        let field = bare.parse::<Field>().map_err(|_| {
            let near = did_you_mean(&bare, &known);
            self.error_here(format!("{name:?} is no field{near}; the fields are {}", known.join(", ")))
        })?;
        self.next += 1;
        Ok(field)
    }

    /// A flag alone means yes; otherwise `= true`, `= no` and the like.
    fn flag_test(&mut self) -> Result<Test, AudienceError> {
        let negated = if self.eat_sign("=") || self.eat_sign("==") {
            false
        } else if self.eat_sign("!=") || self.eat_sign("<>") {
            true
        } else {
            return Ok(Test::Flag(true));
        };
        let value = match self.peek() {
            Token::Name(word) | Token::Text(word) => match word.to_ascii_lowercase().as_str() {
                "true" | "yes" | "oui" => Some(true),
                "false" | "no" | "non" => Some(false),
                _ => None,
            },
            Token::Sign(_) | Token::End => None,
        };
        let value = value.ok_or_else(|| self.expected("true or false"))?;
        self.next += 1;
        Ok(Test::Flag(value != negated))
    }

    fn date_test(&mut self, field: Field) -> Result<Test, AudienceError> {
        if self.eat_word("is") {
            return self.emptiness();
        }
        let comparison = match self.peek() {
            Token::Sign("=" | "==") => Comparison::Equal,
            Token::Sign("!=" | "<>") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::AtMost,
            Token::Sign(">") => Comparison::Greater,
            Token::Sign(">=") => Comparison::AtLeast,
            _ => return Err(self.expected(&format!("{field}, a date, takes =, !=, <, <=, >, >= or `is empty`: one"))),
        };
        self.next += 1;
        let date = match self.peek() {
            Token::Text(text) | Token::Name(text) => text.parse::<Date>().ok().filter(|_| text.len() == 10),
            Token::Sign(_) | Token::End => None,
        };
        let date = date.ok_or_else(|| self.expected("a date like '2025-03-18'"))?;
        self.next += 1;
        Ok(Test::Compares(comparison, date))
    }

    fn text_test(&mut self, field: Field, known: &[&str]) -> Result<Test, AudienceError> {
        if self.eat_word("is") {
            return self.emptiness();
        }
        if self.eat_word("in") {
            return Ok(Test::OneOf(self.list(field, known)?));
        }
        if self.eat_word("not") {
            if !self.eat_word("in") {
                return Err(self.expected("`in` after `not`"));
            }
            return Ok(Test::NoneOf(self.list(field, known)?));
        }
        if self.eat_sign("=") || self.eat_sign("==") {
            return Ok(Test::OneOf(vec![self.value(field, known)?]));
        }
        if self.eat_sign("!=") || self.eat_sign("<>") {
            return Ok(Test::NoneOf(vec![self.value(field, known)?]));
        }
        if known.is_empty() {
            if self.eat_word("contains") {
                return Ok(Test::Contains(self.part(field)?));
            }
            if self.eat_word("starts") && self.eat_word("with") {
                return Ok(Test::StartsWith(self.part(field)?));
            }
            if self.eat_word("ends") && self.eat_word("with") {
                return Ok(Test::EndsWith(self.part(field)?));
            }
            return Err(self.expected("=, !=, in, not in, contains, starts with, ends with, is empty: one"));
        }
        Err(self.expected("=, !=, in, not in, is empty: one"))
    }

    fn emptiness(&mut self) -> Result<Test, AudienceError> {
        let wanted = !self.eat_word("not");
        if self.eat_word("empty") { Ok(Test::Empty(wanted)) } else { Err(self.expected("`empty`")) }
    }

    fn list(&mut self, field: Field, known: &[&str]) -> Result<Vec<String>, AudienceError> {
        let close = if self.eat_sign("[") {
            "]"
        } else if self.eat_sign("(") {
            ")"
        } else {
            return Err(self.expected("a list like ['a', 'b']"));
        };
        let mut words = Vec::new();
        loop {
            let word = self.value(field, known)?;
            if words.len() == MAX_LIST {
                return Err(self.error_here(format!("a list holds at most {MAX_LIST} values")));
            }
            if !words.contains(&word) {
                words.push(word);
            }
            let comma = self.eat_sign(",");
            if self.eat_sign(close) {
                return Ok(words);
            }
            if !comma {
                return Err(self.expected(&format!("`,` or `{close}`")));
            }
        }
    }

    /// A value in lower case; of a closed vocabulary only its words.
    fn value(&mut self, field: Field, known: &[&str]) -> Result<String, AudienceError> {
        let Token::Text(text) = self.peek() else {
            return Err(self.expected("a text between quotes"));
        };
        let word = text.trim().to_lowercase();
        if word.is_empty() {
            return Err(self.error_here(format!("an empty text equals nothing; write `{field} is empty`")));
        }
        let word = match (field, word.as_str()) {
            (Field::Kind, "b2b") => "business".to_owned(),
            (Field::Kind, "b2c") => "consumer".to_owned(),
            _ => word,
        };
        if !known.is_empty() && !known.contains(&word.as_str()) {
            let near = did_you_mean(&word, known);
            let message = format!("{field} is never {text:?}{near}; it is one of {}", known.join(", "));
            return Err(self.error_here(message));
        }
        self.next += 1;
        Ok(word)
    }

    fn part(&mut self, field: Field) -> Result<String, AudienceError> {
        let Token::Text(text) = self.peek() else {
            return Err(self.expected("a text between quotes"));
        };
        let part = text.to_lowercase();
        if part.trim().is_empty() {
            return Err(self.error_here(format!("an empty text is part of everything; write `{field} is not empty`")));
        }
        self.next += 1;
        Ok(part)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(name) if name.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn eat_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(s) if *s == sign);
        self.next += usize::from(found);
        found
    }

    fn expected(&self, what: &str) -> AudienceError {
        let found = match self.peek() {
            Token::Name(name) => format!("{name:?}"),
            Token::Text(text) => format!("the text {text:?}"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".to_owned(),
        };
        self.error_here(format!("expected {what}, found {found}"))
    }

    fn error_here(&self, message: impl Into<String>) -> AudienceError {
        lexer::error(self.text, self.tokens[self.next].offset, message)
    }
}
