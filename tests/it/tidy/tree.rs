//! The files of the repository: nothing left undone, no file too long, nothing of one machine.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use super::{Findings, code_lines, words};
use crate::source;

/// A file with more code has two subjects. Comments, blank lines and the unit tests at its end do not count.
const LINES: usize = 480;

/// The files under version control; without git, every file but what a build makes.
fn tracked() -> Vec<PathBuf> {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(source::top()).output();
    if let Ok(list) = git
        && list.status.success()
        && !list.stdout.is_empty()
    {
        let names = String::from_utf8_lossy(&list.stdout).into_owned();
        return names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    }
    let (mut found, mut folders) = (Vec::new(), vec![source::top().to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                folders.extend((name != "target" && name != ".git" && name != "ouinon-data").then_some(path));
            } else {
                found.push(path.strip_prefix(source::top()).unwrap().to_path_buf());
            }
        }
    }
    found
}

/// The tracked text files: path and text.
fn tracked_texts() -> Vec<(String, String)> {
    let files: Vec<(String, String)> = tracked()
        .into_iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(source::top().join(&path)).ok()?;
            Some((path.to_string_lossy().into_owned(), text))
        })
        .collect();
    assert!(files.len() > 50, "the tracked files are found");
    files
}

#[test]
fn nothing_is_left_undone() {
    // Written so that this file does not find itself.
    let undone = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let ignored = format!("#[{}", "ignore");
    let marks = ["FIX", "XX", "HA"].iter().zip(["ME", "X", "CK"]).map(|(a, b)| format!("{a}{b}"));
    let marks: Vec<String> = marks.chain([format!("TO{}", "DO")]).collect();
    let mut findings = Findings::default();
    for file in source::files("src", "rs").into_iter().chain(source::files("tests", "rs")) {
        for (line, code) in code_lines(&file.text) {
            for what in undone.iter().chain([&ignored]) {
                if code.contains(what.as_str()) {
                    findings.add(&file.path, line, format!("{what} has no place in finished code"));
                }
            }
        }
        for (i, text) in file.text.lines().enumerate() {
            if words(text).any(|word| marks.iter().any(|mark| mark == word)) {
                findings.add(&file.path, i + 1, "a mark of unfinished work");
            }
        }
    }
    findings.none();
}

#[test]
fn no_file_has_two_subjects() {
    let mut findings = Findings::default();
    for file in source::files("src", "rs").into_iter().chain(source::files("tests", "rs")) {
        let text = if file.path.starts_with("tests/") { file.text.as_str() } else { file.of_program() };
        let lines = source::code(text).lines().filter(|l| !l.trim().is_empty()).count();
        if lines > LINES {
            findings.add(
                &file.path,
                lines,
                format!("more than {LINES} lines of code: cut it where its subject changes"),
            );
        }
        let vague = ["utils", "util", "common", "helpers", "helper", "misc", "types", "prelude", "shared"];
        let stem = |part: &str| part.strip_suffix(".rs").unwrap_or(part).to_owned();
        if let Some(part) = file.path.split('/').map(stem).find(|part| vague.contains(&part.as_str())) {
            findings.add(&file.path, 1, format!("a module called {part} is about nothing"));
        }
    }
    findings.none();
}

#[test]
fn an_expectation_says_why_it_holds() {
    let mut findings = Findings::default();
    for file in source::program() {
        let text = file.of_program();
        for (at, _) in text.match_indices(".expect(\"") {
            let why = text[at + 9..].split('"').next().unwrap_or_default();
            if words(why).count() < 2 {
                findings.add(&file.path, text[..at].matches('\n').count() + 1, "expect(\"…\") says why it cannot fail");
            }
        }
    }
    findings.none();
}

/// The repository speaks of the project alone: no path of one machine, no mirror of a registry.
#[test]
fn nothing_belongs_to_one_machine() {
    let machine = ["root", "work", "home/[a-z]"].map(|name| format!("/{}/", name.trim_end_matches("/[a-z]")));
    let mut findings = Findings::default();
    for (path, text) in tracked_texts() {
        if path == "Cargo.lock" {
            let index = "registry+https://github.com/rust-lang/crates.io-index";
            for (i, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("source = ")) {
                if !line.contains(index) {
                    findings.add(&path, i + 1, "a crate from elsewhere than crates.io");
                }
            }
            continue;
        }
        for (i, line) in text.lines().enumerate() {
            let private =
                |start: usize| !line[..start].ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '}');
            for name in &machine {
                if line.match_indices(name.as_str()).any(|(start, _)| private(start)) {
                    findings.add(&path, i + 1, format!("a path of one machine: {name}"));
                }
            }
            let mirror = ["index-url", "extra-index-url", "replace-with"];
            if path != "tests/it/tidy/tree.rs" && mirror.iter().any(|setting| line.contains(setting)) {
                findings.add(&path, i + 1, "the address of one registry mirror");
            }
        }
        // Cargo's settings belong to a machine, but for how SQLite is compiled (decision 0008).
        let is_ours =
            |line: &str| line.is_empty() || ["#", "[env]", "LIBSQLITE3_FLAGS = "].iter().any(|of| line.starts_with(of));
        if path.starts_with(".cargo/") && !(path == ".cargo/config.toml" && text.lines().all(is_ours)) {
            findings.add(&path, 1, "settings of one machine");
        }
    }
    findings.none();
}

/// Nothing but the link names the allocator: left out, everything would go on, only slower.
#[test]
fn memory_comes_from_the_allocator_that_was_chosen() {
    let said =
        Command::new(env!("CARGO_BIN_EXE_ouinon")).arg("--version").env("MIMALLOC_VERBOSE", "1").output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("mimalloc"), "it is not linked");
}

#[test]
fn the_top_level_is_complete() {
    let files: BTreeSet<PathBuf> = tracked().into_iter().collect();
    let expected = [
        ".cargo/config.toml",
        ".ci/run",
        ".dockerignore",
        ".gitignore",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "Dockerfile",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "docker-compose.yml",
        "docs/reasons.md",
    ];
    let missing: Vec<&str> = expected.into_iter().filter(|name| !files.contains(&PathBuf::from(name))).collect();
    assert!(missing.is_empty(), "missing: {}", missing.join(", "));
}

/// Whoever looks for a decision finds it by its number.
#[test]
fn decisions_are_numbered_and_say_the_same_things() {
    let decisions = source::files("docs/decisions", "md");
    let mut findings = Findings::default();
    for (i, file) in decisions.iter().enumerate() {
        let name = file.path.rsplit('/').next().unwrap();
        if !name.starts_with(&format!("{i:04}-")) {
            findings.add(&file.path, 1, format!("its number should be {i:04}"));
        }
        for heading in ["## Why", "## Consequences"] {
            if !file.text.contains(heading) {
                findings.add(&file.path, 1, format!("no section {heading:?}"));
            }
        }
    }
    assert!(decisions.len() > 4, "the decisions are found");
    findings.none();
}
