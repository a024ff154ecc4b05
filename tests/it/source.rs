//! The tree as text: files, code without its comments, and string literals.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// A file of the repository.
pub struct Source {
    /// Its path from the top, with slashes.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The part that is in the program: what stands before the unit tests, and nothing of a module of tests.
    pub fn of_program(&self) -> &str {
        if is_tests(&self.path) { "" } else { self.text.split("\n#[cfg(test)]").next().unwrap_or_default() }
    }
}

/// The modules of tests that have a file of their own: `#[cfg(test)] mod NAME;`.
static TEST_MODULES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut modules = Vec::new();
    for file in files("src", "rs") {
        let folder = match file.path.strip_suffix("/mod.rs").or(file.path.strip_suffix("/lib.rs")) {
            Some(folder) => folder,
            None => file.path.trim_end_matches(".rs"),
        };
        for after in file.text.split("#[cfg(test)]").skip(1) {
            let item = after.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            if let Some((name, _)) = item.strip_prefix("mod ").and_then(|rest| rest.split('\n').next()?.split_once(';'))
            {
                modules.push(format!("{folder}/{name}"));
            }
        }
    }
    modules
});

fn is_tests(path: &str) -> bool {
    TEST_MODULES
        .iter()
        .any(|module| path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

/// The top of the repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `folder` with this extension, by path.
pub fn files(folder: &str, extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let path = path.strip_prefix(top()).expect("it is under the top").to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The Rust sources of the program.
pub fn program() -> Vec<Source> {
    let sources = files("src", "rs");
    assert!(sources.len() > 20, "the program's sources are found");
    sources
}

/// A piece of Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Anything but comments and strings.
    Code(String),
    /// A comment, with its slashes.
    Comment(String),
    /// What a string literal stands for.
    Text(String),
}

/// Cuts Rust into code, comments and string literals, in order, each with the line it starts on.
pub fn pieces(rust: &str) -> Vec<(usize, Piece)> {
    let chars: Vec<char> = rust.chars().collect();
    let (mut pieces, mut code, mut code_line) = (Vec::new(), String::new(), 1);
    let (mut i, mut line) = (0, 1);
    let starts = |i: usize, what: &str| what.chars().enumerate().all(|(k, c)| chars.get(i + k) == Some(&c));
    while i < chars.len() {
        let from = i;
        let piece = if starts(i, "//") {
            i += chars[i..].iter().position(|c| *c == '\n').unwrap_or(chars.len() - i);
            Piece::Comment(chars[from..i].iter().collect())
        } else if starts(i, "/*") {
            i += 2;
            while i < chars.len() && !starts(i, "*/") {
                i += 1;
            }
            i = (i + 2).min(chars.len());
            Piece::Comment(chars[from..i].iter().collect())
        } else if let Some(hashes) = raw_string(&chars, i) {
            let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let start = i + 2 + hashes + usize::from(chars[i] == 'b');
            i = start;
            while i < chars.len() && !starts(i, &end) {
                i += 1;
            }
            let text = chars[start..i].iter().collect();
            i += end.len();
            Piece::Text(text)
        } else if chars[i] == '"' {
            let (text, end) = string(&chars, i);
            i = end;
            Piece::Text(text)
        } else {
            // A character literal may hold a quote; a lifetime is none.
            let literal = match chars[i] {
                '\'' if starts(i + 1, "\\") => chars[i + 3..].iter().position(|c| *c == '\'').map(|n| n + 4),
                '\'' if chars.get(i + 2) == Some(&'\'') => Some(3),
                _ => None,
            };
            let end = i + literal.unwrap_or(1);
            if code.is_empty() {
                code_line = line;
            }
            code.extend(&chars[i..end]);
            line += chars[i..end].iter().filter(|c| **c == '\n').count();
            i = end;
            continue;
        };
        if !code.is_empty() {
            pieces.push((code_line, Piece::Code(std::mem::take(&mut code))));
        }
        pieces.push((line, piece));
        line += chars[from..i].iter().filter(|c| **c == '\n').count();
    }
    if !code.is_empty() {
        pieces.push((code_line, Piece::Code(code)));
    }
    pieces
}

/// The code of a file without its comments, strings empty, and without its `#[cfg(test)]` modules.
pub fn code(rust: &str) -> String {
    let mut code = String::new();
    for (_, piece) in pieces(rust) {
        match piece {
            Piece::Code(text) => code.push_str(&text),
            Piece::Comment(text) => code.extend(std::iter::repeat_n('\n', text.matches('\n').count())),
            Piece::Text(text) => {
                code.push('"');
                code.extend(std::iter::repeat_n('\n', text.matches('\n').count()));
                code.push('"');
            }
        }
    }
    code
}

/// Where a raw string starts at `i`: the number of its hashes.
fn raw_string(chars: &[char], i: usize) -> Option<usize> {
    let after_word = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
    let r = if chars[i] == 'b' { i + 1 } else { i };
    if after_word || chars.get(r) != Some(&'r') {
        return None;
    }
    let hashes = chars[r + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(r + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// What the literal that starts at `i` stands for, and where it ends.
fn string(chars: &[char], mut i: usize) -> (String, usize) {
    let mut text = String::new();
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        if chars[i] != '\\' {
            text.push(chars[i]);
            i += 1;
            continue;
        }
        i += 1;
        match chars[i] {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '0' => text.push('\0'),
            'u' => {
                let digits: String = chars[i + 2..].iter().take_while(|c| **c != '}').collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                text.push(code.and_then(char::from_u32).expect("an escape of a character"));
                i += digits.len() + 2;
            }
            'x' => {
                let digits: String = chars[i + 1..i + 3].iter().collect();
                text.push(u8::from_str_radix(&digits, 16).map(char::from).expect("an escape of a byte"));
                i += 2;
            }
            '\n' => {
                while chars.get(i + 1).is_some_and(|c| c.is_whitespace()) {
                    i += 1;
                }
            }
            other => text.push(other),
        }
        i += 1;
    }
    (text, i + 1)
}

#[test]
fn rust_is_cut_into_code_comments_and_strings() {
    let rust = "let a = \"x\\\"\\u{e9}\\\n   y\"; // it's \"no\" string\nlet b = '\"'; /* c */ r#\"raw \" one\"#; <'a>";
    let texts: Vec<String> = pieces(rust)
        .into_iter()
        .filter_map(|(_, piece)| match piece {
            Piece::Text(text) => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["x\"éy", "raw \" one"]);
    assert_eq!(code(rust), "let a = \"\"; \nlet b = '\"';  \"\"; <'a>");
    let lines: Vec<usize> = pieces("a\n\"b\nc\"\nd \"e\"").into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [1, 2, 3, 4]);
}
