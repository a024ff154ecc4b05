//! What the documents tell people to type is what the program understands.

use std::{collections::BTreeMap, process::Command};

use ouinon::config::{Config, ConfigError};

use super::{Findings, words};
use crate::source::{self, Source};

/// Everything that people are told to read.
fn documents() -> Vec<Source> {
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docker-compose.yml",
        "Dockerfile",
        ".ci/run",
    ];
    let mut found = source::files("docs", "md");
    for path in top {
        let text = std::fs::read_to_string(source::top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        found.push(Source { path: path.to_owned(), text });
    }
    found
}

/// Commands as they are written: in code, or between backticks.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2).map(str::trim);
        for piece in std::iter::once(line.trim().trim_start_matches("$ ")).chain(quoted) {
            let piece = piece
                .strip_prefix("cargo run --release -- ")
                .map(|rest| format!("ouinon {rest}"))
                .unwrap_or(piece.to_owned());
            if let Some(rest) = piece.strip_prefix("ouinon ")
                && rest.starts_with(|c: char| c.is_ascii_lowercase())
            {
                found.push((i + 1, rest.split(['#', ';', '&', '>']).next().unwrap_or_default().trim().to_owned()));
            }
        }
    }
    found
}

/// `a|b c` as a table of commands writes it: every way to read it.
fn alternatives(command: &str) -> Vec<Vec<String>> {
    let first: Vec<&str> = command.split_whitespace().collect();
    let mut ways: Vec<Vec<String>> = vec![Vec::new()];
    for word in first {
        let options: Vec<&str> = word.split('|').map(|w| w.trim_end_matches('\\')).filter(|w| !w.is_empty()).collect();
        let subcommands =
            options.iter().all(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '-')) && !word.starts_with('-');
        if subcommands && ways[0].len() < 2 && options.len() > 1 {
            ways = ways
                .iter()
                .flat_map(|way| options.iter().map(|o| [way.clone(), vec![(*o).to_owned()]].concat()))
                .collect();
        } else {
            ways.iter_mut().for_each(|way| way.push(word.to_owned()));
        }
    }
    ways
}

struct Help(BTreeMap<Vec<String>, Option<String>>);

impl Help {
    /// What the program says of a command; none when there is no such command.
    fn of(&mut self, path: &[String]) -> Option<&str> {
        let said = self.0.entry(path.to_vec()).or_insert_with(|| {
            let run = Command::new(env!("CARGO_BIN_EXE_ouinon"))
                .args(path)
                .arg("--help")
                .output()
                .expect("the program starts");
            run.status.success().then(|| String::from_utf8_lossy(&run.stdout).into_owned())
        });
        said.as_deref()
    }
}

#[test]
fn every_command_in_the_documents_is_one() {
    let mut findings = Findings::default();
    let mut help = Help(BTreeMap::new());
    let mut checked = 0;
    for file in documents() {
        for (line, command) in commands(&file.text) {
            for way in alternatives(&command) {
                checked += 1;
                let plain = |w: &&String| w.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !w.starts_with('-');
                let path: Vec<String> = way.iter().take_while(plain).take(2).cloned().collect();
                let text = match help.of(&path) {
                    Some(text) => text.to_owned(),
                    // The second word may be an argument: then the first is a command that takes one.
                    None => match help.of(&path[..1]) {
                        Some(text) if !text.contains("<COMMAND>") => text.to_owned(),
                        _ => {
                            findings.add(&file.path, line, format!("`ouinon {}` is no command", path.join(" ")));
                            continue;
                        }
                    },
                };
                for flag in way.iter().filter_map(|w| w.trim_start_matches('[').strip_prefix("--")) {
                    let name: String = flag.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                    if !name.is_empty() && !text.contains(&format!("--{name}")) {
                        findings.add(&file.path, line, format!("`ouinon {}` has no --{name}", path.join(" ")));
                    }
                }
            }
        }
    }
    assert!(checked > 30, "the commands are found: {checked}");
    findings.none();
}

#[test]
fn every_variable_in_the_documents_is_one() {
    let not_settings = ["OUINON_CONFIG", "OUINON_LOG", "OUINON_SECTION_KEY", "OUINON_"];
    let folder = tempfile::tempdir().unwrap();
    let mut findings = Findings::default();
    for file in documents() {
        for (i, line) in file.text.lines().enumerate() {
            for name in words(line).filter(|w| w.starts_with("OUINON_") && !w.starts_with("OUINON_TEST_")) {
                let env = std::iter::once((name.to_owned(), String::new()));
                let known = !matches!(Config::load(folder.path(), env), Err(ConfigError::UnknownVariable(_)));
                if !known && !not_settings.contains(&name) {
                    findings.add(&file.path, i + 1, format!("{name} is no setting"));
                }
            }
        }
    }
    findings.none();
}

/// A link inside the repository leads somewhere.
#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut findings = Findings::default();
    for file in documents().iter().filter(|file| file.path.ends_with(".md")) {
        let folder = source::top().join(&file.path).parent().expect("a file is in a folder").to_path_buf();
        for (i, line) in file.text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap_or_default();
                if !path.is_empty()
                    && !path.contains("://")
                    && !path.starts_with("mailto:")
                    && !folder.join(path).exists()
                {
                    findings.add(&file.path, i + 1, format!("{target} leads nowhere"));
                }
            }
        }
    }
    findings.none();
}
