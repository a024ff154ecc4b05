//! The container files, read and parsed: no engine runs them here.

use std::{collections::BTreeMap, path::Path};

use ouinon::config::Config;

use crate::{needs, source};

fn read(name: &str) -> String {
    std::fs::read_to_string(source::top().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The instructions of the Dockerfile with their arguments, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile").replace("\\\n", " ");
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("no argument: {line}")))
        .map(|(word, rest)| (word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

#[test]
fn the_image_runs_the_program_as_nobody_in_particular() {
    let known = [
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "ENV",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    let instructions = instructions();
    for (word, _) in &instructions {
        assert!(known.contains(&word.as_str()), "{word} is no instruction");
    }
    let last = |name: &str| {
        let found = instructions.iter().rev().find(|(word, _)| word == name);
        found.map(|(_, rest)| rest.as_str()).unwrap_or_else(|| panic!("no {name}"))
    };
    assert_ne!(last("USER"), "root");
    assert!(last("COPY").starts_with("--from=build /src/target/release/ouinon "));
    assert!(instructions.iter().any(|(word, rest)| word == "FROM" && rest.ends_with(" AS build")));
    let cargo = read("Cargo.toml");
    let version = cargo.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert_eq!(instructions[0].1, format!("rust:{version}-bookworm AS build"), "the toolchain of Cargo.toml");
    let command: Vec<String> = serde_json::from_str(last("CMD")).expect("CMD is a list");
    assert_eq!(command[..3], ["serve", "--bind", "0.0.0.0"]);
    let understood = std::process::Command::new(env!("CARGO_BIN_EXE_ouinon"))
        .args(&command)
        .arg("--help")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&understood.stderr);
    assert!(understood.status.success(), "the program does not understand the image's command: {said}");
    let port = command.last().unwrap();
    assert_eq!(last("EXPOSE"), port);
    assert!(last("HEALTHCHECK").contains(&format!("127.0.0.1/{port}")), "the health of that very port");
}

/// What the program includes at build time is sent to the build.
#[test]
fn the_build_gets_every_file_it_includes() {
    let sent: Vec<String> =
        read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    for needed in ["Cargo.toml", "Cargo.lock", "src", "migrations"] {
        assert!(sent.iter().any(|name| name == needed), "{needed} is not sent to the build");
    }
    for file in source::program() {
        let text = file.of_program();
        for including in ["include_str!(\"", "include_bytes!(\""] {
            for (at, _) in text.match_indices(including) {
                let name = text[at + including.len()..].split('"').next().unwrap();
                let path = Path::new(&file.path).parent().unwrap().join(name);
                let mut top: Vec<&str> = Vec::new();
                for part in path.iter().map(|part| part.to_str().unwrap()) {
                    if part == ".." {
                        top.pop();
                    } else {
                        top.push(part);
                    }
                }
                assert!(sent.iter().any(|name| name == top[0]), "{} includes {name}, which is not sent", file.path);
            }
        }
    }
}

/// The settings that the compose file gives are settings, and the installation they make is valid.
#[test]
fn the_compose_file_configures_the_program() {
    let test = "the test of docker-compose.yml";
    let Some(python) = needs::python(&["yaml"], test) else { return };
    let print = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
    let output = std::process::Command::new(python)
        .args(["-c", print])
        .arg(source::top().join("docker-compose.yml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let compose: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        assert!(service["build"].is_string() || service["image"].is_string(), "{name} has an image or is built");
        for other in service["depends_on"].as_object().into_iter().flatten() {
            assert!(services.contains_key(other.0), "{name} depends on {}", other.0);
        }
        let volumes = service["volumes"].as_array().into_iter().flatten();
        for volume in volumes.map(|v| v.as_str().unwrap().split(':').next().unwrap()) {
            assert!(compose["volumes"].as_object().unwrap().contains_key(volume), "{name} mounts {volume}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} is reached from this machine only");
        }
    }
    let environment: BTreeMap<String, String> =
        serde_json::from_value(services["ouinon"]["environment"].clone()).expect("settings are texts");
    let folder = tempfile::tempdir().unwrap();
    let config = Config::load(folder.path(), environment.into_iter()).unwrap();
    assert!(config.smtp.url.is_some() && config.public.url.is_some());
    assert!(!config.controller.postal_address.is_empty());
}
