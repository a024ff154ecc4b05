//! The tree is checked like the code: floors, the place of SQL, documented codes, nothing left undone.

mod codes;
mod documents;
mod floors;
mod tree;

use crate::source::{self, Piece};

/// What is wrong, where: all of it at once, so that one run is enough to mend it.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, place: &str, line: usize, what: impl std::fmt::Display) {
        self.0.push(format!("{place}:{line}: {what}"));
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{} to mend:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// The lines of a file's code, without comments and without what its strings say.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    source::code(text).lines().enumerate().map(|(i, line)| (i + 1, line.to_owned())).collect()
}

/// The string literals of a file, with their lines.
fn texts(text: &str) -> Vec<(usize, String)> {
    source::pieces(text)
        .into_iter()
        .filter_map(|(line, piece)| match piece {
            Piece::Text(text) => Some((line, text)),
            _ => None,
        })
        .collect()
}

/// The words of a text: runs of letters, digits and underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}
