//! Imports go downwards only, each thing has one place, and no log says who.

use super::{Findings, code_lines, texts, words};
use crate::source::{self, Source};

/// A floor, what of this crate it may name, and what of the outside it must not.
struct Floor {
    place: &'static str,
    below: &'static [&'static str],
    never: &'static [&'static str],
}

/// From the ground up. `main → cli → {web, worker} → pipeline → {store, mail} → domain`.
const FLOORS: &[Floor] = &[
    Floor {
        place: "src/domain/",
        below: &["domain"],
        never: &[
            "async fn",
            "sqlx::",
            "tokio::",
            "axum::",
            "reqwest::",
            "clap::",
            "tower::",
            "tower_http::",
            "std::fs",
            "std::env",
            "std::net::Tcp",
            "std::net::Udp",
            "std::process",
            "std::time::SystemTime",
            "std::time::Instant",
            "::now()",
            "rand::rng",
            "tracing::",
        ],
    },
    Floor {
        place: "src/store/",
        below: &["domain", "store"],
        never: &["axum::", "clap::", "askama::", "lettre::", "reqwest::", "indicatif::", "tokio::net"],
    },
    Floor {
        place: "src/mail/",
        below: &["domain", "mail"],
        never: &["sqlx::", "axum::", "clap::", "askama::", "indicatif::"],
    },
    Floor {
        place: "src/pipeline/",
        below: &["domain", "store", "mail", "pipeline", "app", "config", "clock", "journal", "keys", "meters"],
        never: &["axum::", "clap::", "askama::", "lettre::", "indicatif::"],
    },
    Floor {
        place: "src/web/",
        below: &["domain", "store", "mail", "pipeline", "web", "app", "config", "clock", "journal", "keys"],
        never: &["clap::", "lettre::", "indicatif::"],
    },
    Floor {
        place: "src/worker/",
        below: &["domain", "store", "mail", "pipeline", "worker", "app", "config", "clock", "cpu", "journal", "keys"],
        never: &["clap::", "axum::", "askama::", "lettre::", "indicatif::"],
    },
    Floor {
        place: "src/cli/",
        below: &[
            "domain", "store", "mail", "pipeline", "web", "worker", "cli", "app", "config", "clock", "journal", "keys",
        ],
        never: &["axum::", "lettre::"],
    },
];

/// What stands beside the floors, and sees the ground and its own kind only.
const BESIDE: &[(&str, &[&str])] = &[
    ("src/clock.rs", &[]),
    ("src/config.rs", &["domain"]),
    ("src/config/", &["domain", "config"]),
    ("src/cpu.rs", &[]),
    ("src/journal.rs", &[]),
    ("src/meters.rs", &[]),
    ("src/keys.rs", &["domain"]),
    ("src/keys/", &["domain", "keys"]),
    ("src/needs.rs", &[]),
    ("src/app.rs", &["clock", "config", "domain", "journal", "keys", "meters", "store"]),
];

#[test]
fn imports_go_downwards_only() {
    let mut findings = Findings::default();
    for file in source::program() {
        let floor = FLOORS.iter().find(|floor| file.path.starts_with(floor.place));
        let beside = BESIDE.iter().find(|(place, _)| file.path.starts_with(place));
        let allowed = match (floor, beside) {
            (Some(floor), _) => floor.below,
            (None, Some((_, allowed))) => allowed,
            (None, None) if ["src/main.rs", "src/lib.rs"].contains(&file.path.as_str()) => continue,
            (None, None) => {
                findings.add(&file.path, 1, "stands on no floor that tests/it/tidy/floors.rs knows");
                continue;
            }
        };
        for (line, module) in modules_named(&file) {
            // What tests need is nobody's floor: `needs` is compiled for tests only.
            if !allowed.contains(&module.as_str()) && module != "needs" {
                findings.add(&file.path, line, format!("names crate::{module}, which is not below"));
            }
        }
        for (line, code) in code_lines(file.of_program()) {
            for never in floor.map_or(&[][..], |floor| floor.never) {
                if code.contains(never) {
                    findings.add(&file.path, line, format!("{never} has no place on this floor"));
                }
            }
        }
    }
    findings.none();
}

/// The modules of this crate that a file names as `crate::…`, tests and groups included.
fn modules_named(file: &Source) -> Vec<(usize, String)> {
    let code = source::code(&file.text);
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c == '$' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut fresh) = (0, true);
            for (i, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    c if fresh && c.is_alphabetic() => {
                        named.extend(words(&group[i..]).next().map(|word| (line, word.to_owned())));
                        fresh = false;
                    }
                    _ => {}
                }
            }
        } else {
            named.extend(words(rest).next().map(|word| (line, word.to_owned())));
        }
    }
    named
}

#[test]
fn sql_stands_in_the_store_only() {
    let mut findings = Findings::default();
    for file in source::program().iter().filter(|file| !file.path.starts_with("src/store/")) {
        for (line, code) in code_lines(file.of_program()) {
            if code.replace("sqlx::Error", "").contains("sqlx::") {
                findings.add(&file.path, line, "only the store speaks to the database; the error may be named");
            }
        }
        for (line, text) in texts(file.of_program()) {
            let said: Vec<&str> = words(&text).collect();
            let pair = |a: &str, b: &str| said.windows(2).any(|w| w[0] == a && w[1] == b);
            let select = said.contains(&"SELECT") && said.contains(&"FROM");
            let update = said.contains(&"UPDATE") && said.contains(&"SET");
            if select || update || pair("INSERT", "INTO") || pair("DELETE", "FROM") {
                findings.add(&file.path, line, "SQL outside the store");
            }
        }
    }
    findings.none();
}

/// A statement that is not a `Sql` const would not be prepared on both engines by the tests.
#[test]
fn every_statement_of_the_store_is_a_const() {
    let mut findings = Findings::default();
    for file in source::files("src/store", "rs").iter().filter(|file| file.path != "src/store/engine.rs") {
        let code = source::code(file.of_program());
        for call in ["query(", "query_as(", "query_scalar(", "raw_sql(", "QueryBuilder", "AssertSqlSafe"] {
            for (at, _) in code.match_indices(call) {
                let argument = words(&code[at + call.len()..]).next().unwrap_or_default();
                if !call.ends_with('(') || argument != "sql" {
                    let line = code[..at].matches('\n').count() + 1;
                    findings.add(&file.path, line, format!("{call} takes `sql`, the text of a `Sql` const"));
                }
            }
        }
    }
    findings.none();
}

/// Invariant 5: one module writes suppressions, and none is ever deleted.
#[test]
fn suppressions_are_written_in_one_place_and_never_deleted() {
    let mut findings = Findings::default();
    for file in source::program() {
        for (line, text) in texts(&file.text) {
            let said: Vec<String> = words(&text).map(str::to_lowercase).collect();
            let gone =
                |w: &[String]| (w[0] == "from" || w[0] == "table" || w[0] == "truncate") && w[1] == "suppression";
            let deletes = said.iter().any(|w| ["delete", "drop", "truncate", "replace"].contains(&w.as_str()));
            if deletes && said.windows(2).any(gone) {
                findings.add(&file.path, line, "a statement that deletes suppressions");
            }
        }
        if file.path.starts_with("src/pipeline/suppress") || file.path.starts_with("src/store/") {
            continue;
        }
        for (line, code) in code_lines(file.of_program()) {
            for write in ["suppressions::add(", "suppressions::add_all(", "suppressions::lift("] {
                if code.contains(write) {
                    findings.add(&file.path, line, format!("{write} belongs to pipeline::suppress"));
                }
            }
        }
    }
    findings.none();
}

/// Invariant 1: SQL may narrow the candidates, and never decides.
#[test]
fn the_store_knows_nothing_of_eligibility() {
    let mut findings = Findings::default();
    for file in source::files("src/store", "rs") {
        for (line, code) in code_lines(&file.text) {
            if words(&code).any(|word| ["decide", "Basis", "Reason", "Decision", "Ruling"].contains(&word)) {
                findings.add(&file.path, line, "a decision in the store");
            }
        }
    }
    findings.none();
}

/// Invariant 7: no address, name or token reaches a log.
#[test]
fn no_log_says_who() {
    let who =
        ["address", "addresses", "email", "first_name", "last_name", "recipient", "rcpt", "token", "contact", "person"];
    let mut findings = Findings::default();
    for file in source::program() {
        let text: String = source::pieces(file.of_program())
            .into_iter()
            .map(|(_, piece)| match piece {
                source::Piece::Code(code) => code,
                source::Piece::Text(text) => format!("\"{text}\""),
                source::Piece::Comment(text) => "\n".repeat(text.matches('\n').count()),
            })
            .collect();
        for level in ["trace!(", "debug!(", "info!(", "warn!(", "error!(", "info_span!(", "debug_span!("] {
            for (at, _) in text.match_indices(level) {
                if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let call = &text[at..text[at..].find(");").map_or(text.len(), |end| at + end)];
                let values: String = call
                    .split(['{', '}', ',', '(', '=', '%', '?', '&', '.', ' '])
                    .filter(|part| who.contains(part))
                    .collect::<Vec<_>>()
                    .join(", ");
                if !values.is_empty() && !call.contains("\" ") {
                    findings.add(
                        &file.path,
                        text[..at].matches('\n').count() + 1,
                        format!("a log line names {values}"),
                    );
                }
            }
        }
    }
    findings.none();
}
