//! `ouinon demo`: the same numbers each time, whatever surrounds it, and nothing left behind.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::source;

/// The sample, line by line, without its header.
fn sample() -> Vec<String> {
    let text = std::fs::read_to_string(source::top().join("src/cli/demo/contacts.csv")).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

/// The program in a hostile place: nothing there is meant for it.
fn demo(folder: &Path) -> Command {
    std::fs::write(folder.join("ouinon.toml"), "[smtp]\nurl = 12\nthis is = = no TOML").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ouinon"));
    command
        .arg("demo")
        .current_dir(folder)
        .env_clear()
        .env("TMPDIR", folder)
        .env("OUINON_DATABASE_URL", "garbage")
        .env("OUINON_SMTP_URL", "smtp://192.0.2.1:25")
        .env("OUINON_PUBLIC_URL", "https://wrong.example")
        .env("OUINON_NONSENSE", "1")
        .env("OUINON_LOG", "trace")
        .env("HTTP_PROXY", "http://192.0.2.1:3128")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What stands in the folder besides the file that we put there.
fn left_behind(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "ouinon.toml").collect()
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_sample_has_1072_people_of_nowhere() {
    let lines = sample();
    assert_eq!(lines.len(), 1072);
    let domains = domains(&lines);
    for domain in &domains {
        let reserved = ["example.com", "example.org", "example.net"];
        assert!(reserved.contains(&domain.as_str()) || domain.ends_with(".example"), "{domain}");
    }
    assert!(domains.len() > 100, "companies have domains of their own");
}

/// Every domain that stands behind an `@` anywhere in the sample.
fn domains(lines: &[String]) -> BTreeSet<String> {
    let domain_of = |rest: &str| {
        rest.chars().take_while(|c| c.is_alphanumeric() || *c == '.' || *c == '-').collect::<String>().to_lowercase()
    };
    let behind = lines.iter().flat_map(|line| line.split('@').skip(1).map(domain_of).collect::<Vec<_>>());
    behind.filter(|domain| !domain.is_empty()).collect()
}

#[test]
fn it_says_the_same_each_time_and_every_sum_holds() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).args(["--exit", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let results: Value = serde_json::from_slice(&output.stdout).expect("stdout holds the JSON and nothing else");
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());

    let import = &results["import"];
    assert_eq!(
        (&import["lines"], &import["new"], &import["changed"], &import["unchanged"], &import["refused"]),
        (&json!(1072), &json!(1040), &json!(0), &json!(4), &json!(28))
    );
    assert_eq!(import["refusals"].as_array().unwrap().len(), 28);

    let [first, second] = results["campaigns"].as_array().unwrap().as_slice() else { panic!("two campaigns") };
    assert_eq!(
        first["preflight"]["send"],
        json!({"total": 674, "by_basis": {
            "CONSENT": 139, "CORPORATE_SUBSCRIBER": 17, "GENERIC_ADDRESS": 57, "IMPLIED_CONSENT": 9,
            "LEGITIMATE_INTEREST_B2B": 364, "OPT_OUT_US": 14, "SOFT_OPT_IN": 74,
        }})
    );
    let blocked = json!({
        "ART14_NOTICE_MISSING": 27, "CONSENT_PARTNER_UNNAMED": 12, "CONSENT_PENDING": 14, "CONSENT_UNPROVEN": 24,
        "CONSENT_WITHDRAWN": 16, "NOT_INFORMED": 31, "NO_CONSENT": 97, "REGIME_UNKNOWN": 9,
        "RETENTION_EXPIRED": 59, "RETENTION_UNKNOWN": 9, "SOFT_OPTIN_NOT_SIMILAR": 11, "SOFT_OPTIN_NO_NOTICE": 9,
        "SOFT_OPTIN_OTHER_ENTITY": 7, "SOURCE_UNKNOWN": 19, "SUPPRESSED_GLOBAL": 22,
    });
    assert_eq!(first["preflight"]["block"], json!({"total": 366, "by_reason": blocked}));
    assert_eq!(first["report"]["by_reason"], blocked);
    assert_eq!((&first["report"]["accepted"], &first["caught"]), (&json!(674), &json!(674)));
    assert_eq!(first["report"]["unsubscribes"], json!(8));

    // Six clicked, one chose this product only, and one clicked while the second was under way.
    let reasons = |of: &Value| (of["SUPPRESSED_GLOBAL"].clone(), of["SUPPRESSED_PRODUCT"].clone());
    assert_eq!(reasons(&second["preflight"]["block"]["by_reason"]), (json!(28), json!(1)));
    assert_eq!(reasons(&second["report"]["by_reason"]), (json!(29), json!(1)));
    assert_eq!((&second["preflight"]["send"]["total"], &second["report"]["accepted"]), (&json!(667), &json!(666)));
    assert_eq!((&second["report"]["blocked"], &second["caught"]), (&json!(374), &json!(666)));
    for report in [&first["report"], &second["report"]] {
        let states =
            ["queued", "claimed", "submitting", "accepted", "deferred", "bounced", "blocked", "unknown", "cancelled"];
        let sum: i64 = states.iter().map(|state| report[state].as_i64().unwrap()).sum();
        assert_eq!((sum, &report["asked"], &report["state"]), (1040, &json!(1040), &json!("finished")));
    }

    let left: Vec<(&str, i64)> = results["unsubscribes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| (left["how"].as_str().unwrap(), left["status"].as_i64().unwrap()))
        .collect();
    let (one, two) = (("one_click", 200), ("one_click_multipart", 200));
    assert_eq!(left, [one, two, one, ("page_product", 200), two, one, two, ("one_click_while_queued", 200)]);
    assert_eq!(results["ok"], json!(true));
    let checks = results["checks"].as_array().unwrap();
    assert!(checks.len() >= 25 && checks.iter().all(|check| check["holds"] == json!(true)), "{checks:?}");
}

#[test]
fn it_tells_its_story_serves_its_pages_and_goes_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path()).args(["--port", "0"]).env("LANG", "fr_FR.UTF-8").spawn().unwrap();
    let lines: Vec<String> = {
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
            lines.push(line.unwrap());
            if lines.last().is_some_and(|line| line.contains("Ctrl-C")) {
                break;
            }
        }
        lines
    };
    let story = lines.join("\n");
    assert!(story.contains("1\u{202F}072 lignes = 1\u{202F}040 nouvelles personnes"), "{story}");
    assert!(story.contains("1\u{202F}040 demandés = 666 acceptés + 374 bloqués"), "{story}");
    assert!(story.contains("La personne a refusé toute prospection."), "{story}");
    let at = story.split("http://").last().unwrap().split_whitespace().next().unwrap();

    let (head, page) = get(at, "/?lang=en");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("default-src 'none'"), "{head}");
    for words in ["1,072", "carnet-automne", "carnet-visite", "LEGITIMATE_INTEREST_B2B", ">674<", ">666<"] {
        assert!(page.contains(words), "{words} is missing");
    }
    let (_, list) = get(at, "/caught?q=FELIX%40&lang=fr");
    assert!(list.contains("felix@boulangerie-de-la-halle.example") && !list.contains("bruno@"), "{list}");
    let (_, message) = get(at, "/caught/3?lang=en");
    let link = message.split("action=\"").find_map(|rest| rest.strip_prefix("/o/")).unwrap().split('"').next().unwrap();
    assert!(message.contains("May be written to."), "{message}");
    let (head, body) = get(at, "/caught/3/body");
    assert!(head.contains("sandbox allow-popups") && body.contains("<base target=\"_blank\">"), "{head}");
    for (path, status) in [("/caught/0", 404), ("/caught/99999", 404), ("/caught/x", 404), ("/caught/3/nothing", 404)] {
        assert!(get(at, path).0.starts_with(&format!("HTTP/1.1 {status}")), "{path}");
    }

    // The button of the page is the real one.
    let form = "List-Unsubscribe=One-Click";
    let post = format!(
        "POST /o/{link} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    assert!(ask(at, &post).0.starts_with("HTTP/1.1 200"));
    let (_, message) = get(at, "/caught/3?lang=en");
    assert!(message.contains("SUPPRESSED_GLOBAL"), "the refusal holds at once");

    interrupt(child.id());
    let status = wait(&mut child);
    assert!(status.success(), "{status}");
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
}

#[test]
fn interrupted_in_the_middle_it_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path()).arg("--exit").spawn().unwrap();
    let stdout = child.stdout.as_mut().unwrap();
    let begun = BufReader::new(stdout).lines().any(|line| line.unwrap().contains("carnet-automne"));
    assert!(begun, "sending begins");
    interrupt(child.id());
    assert_eq!(wait(&mut child).code(), Some(130));
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
}

#[test]
fn a_taken_port_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = demo(folder.path()).args(["--exit", "--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("--port 0"), "{}", said(&output));
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
}

fn get(at: &str, path: &str) -> (String, String) {
    ask(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"))
}

/// Sends a request; head and body of what comes back.
fn ask(at: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn interrupt(id: u32) {
    let done = Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap();
    assert!(done.success());
}

fn wait(child: &mut std::process::Child) -> std::process::ExitStatus {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    panic!("it does not end");
}
