//! What once went wrong around the commands, and must not again.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::{
    program::Program,
    sending::{Sending, campaign},
    world::{World, on_both},
};

const HEADER: &str = "email,kind,relationship,country,source,source_kind,collected_at,informed";

fn write(world: &World, name: &str, text: &str) -> String {
    let path = world.folder().join(name);
    fs::write(&path, text).expect("written");
    path.display().to_string()
}

on_both! {
    /// Whoever reads our output may stop reading: the command ends, well and without a word.
    async fn nobody_reads_to_the_end(world: &mut World) {
        world.product("crm").await;
        for i in 0..400 {
            world.create(&campaign(&format!("campaign-{i:03}"), "")).await;
        }
        let program = Program::beside(world);
        for args in [&["campaign", "list", "--json"][..], &["campaign", "list"], &["rules", "list"]] {
            let mut child = program.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
            let mut first = [0; 1];
            let mut stdout = child.stdout.take().expect("piped");
            stdout.read_exact(&mut first).expect("it says something");
            drop(stdout);
            let mut said = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut said).expect("read");
            let status = child.wait().expect("it ends");
            assert!(!said.contains("panicked"), "{args:?}: {status} {said}");
            assert!(status.success(), "{args:?}: {status} {said}");
        }
        let serving = program.serve(0);
        serving.terminate();
    }

    /// A hash that was made with another key would match nobody, and say nothing of it.
    async fn a_hashed_list_of_another_key_is_refused(world: &mut World) {
        let ours = Program::beside(world);
        ours.json(&["suppress", "add", "marie@example.net"]);
        let list = String::from_utf8(ours.run(&["suppress", "export", "--hashed"]).stdout).expect("text");
        assert!(!list.contains("marie"), "{list}");
        let file = write(world, "list.csv", &list);
        let again = ours.json(&["suppress", "import", &file]);
        assert_eq!((&again["refused"], &again["unchanged"]), (&0.into(), &1.into()), "{again}");
        let folder = world.folder().join("others");
        let theirs = Program::beside(world)
            .with("OUINON_DATA_DIR", folder.display().to_string())
            .with("OUINON_DATABASE_URL", format!("sqlite:{}", folder.join("o.db").display()));
        let output = theirs.run(&["suppress", "import", &file, "--json"]);
        assert_eq!(output.status.code(), Some(1), "nothing of it was imported");
        let refused: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(refused["refused"], 1, "{refused}");
        let refusal = &refused["refusals"][0];
        assert_eq!((&refusal["column"], &refusal["code"]), (&"key".into(), &"other_key".into()), "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains("suppression.key"), "{refusal}");
    }

    /// A line break in a name would be one in a header; a NUL stands in no mail.
    async fn what_no_header_may_hold_is_refused_where_it_stands(world: &mut World) {
        world.product("crm").await;
        let program = Program::beside(world);
        let lines = "marie@example.net,\"Marie\r\nBcc: x@example.net\"\nanne@example.net,Anne\n";
        let file = write(world, "names.csv", &format!("email,first_name\n{lines}"));
        let report = program.json(&["import", &file]);
        assert_eq!((&report["new"], &report["refused"]), (&1.into(), &1.into()), "{report}");
        let refusal = &report["refusals"][0];
        assert_eq!((&refusal["line"], &refusal["column"]), (&2.into(), &"first_name".into()), "{refusal}");
        assert_eq!(refusal["code"], "control_character");
        let file = write(world, "nul.md", &campaign("autumn", "").replace("Bonjour", "Bon\0jour"));
        let output = program.run(&["campaign", "create", &file]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("NUL") && said.contains("line 10, column 4"), "{said}");
    }

    /// `--ignore` of a column that is not there is a misspelling.
    async fn a_column_to_ignore_must_be_there(world: &mut World) {
        let program = Program::beside(world);
        let file = write(world, "list.csv", "email,remarks\nmarie@example.net,x\n");
        let output = program.run(&["import", &file, "--ignore", "remaks"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("\"remarks\""), "{said}");
        program.json(&["import", &file, "--ignore", "Remarks"]);
    }

    /// Instants are text everywhere.
    async fn explain_writes_instants(world: &mut World) {
        world.product("crm").await;
        let program = Program::beside(world);
        let line = "marie@example.net,business,customer,FR,salon,event,2026-01-10,yes,granted,2026-01-10,full";
        let file = write(world, "list.csv", &format!("{HEADER},consent_crm,consent_crm_at,consent_crm_proof\n{line}\n"));
        program.json(&["import", &file]);
        let explained = program.json(&["explain", "marie@example.net", "--product", "crm"]);
        for at in [&explained["consents"][0]["at"], &explained["consents"][0]["recorded_at"], &explained["evidence"]["created_at"]] {
            let text = at.as_str().unwrap_or_else(|| panic!("{at} in {explained}"));
            text.parse::<jiff::Timestamp>().expect("an instant");
        }
    }

    /// A key that cannot sign: said before launch, and nothing leaves unsigned unnoticed.
    async fn a_key_that_cannot_sign_is_a_finding(world: &mut World) {
        let _sending = Sending::open(world, ouinon::mail::catcher::Settings::default()).await;
        world.product("crm").await;
        let program = Program::beside(world);
        program.json(&["dkim", "new", "news.example"]);
        let key = world.app.config.data_dir.join("keys/dkim/news.example/ouinon/rsa.pem");
        world.create(&campaign("autumn", "language = \"de\"")).await;
        let levels = async |pem: &[u8]| {
            fs::write(&key, pem).expect("written");
            program.json(&["dkim", "forget", "news.example"]);
            let found = program.json(&["campaign", "preflight", "autumn"]);
            let findings = found["findings"].as_array().expect("findings").clone();
            assert!(findings.iter().any(|f| f["code"] == "language_unknown" && f["level"] == "warning"), "{found}");
            findings.iter().find(|f| f["code"] == "dkim_key").map(|f| f["level"].as_str().unwrap().to_owned())
        };
        let good = fs::read(&key).expect("a key");
        assert_eq!(levels(&good).await, None);
        assert_eq!(levels(include_bytes!("../data/dkim/rsa-1024.pem")).await.as_deref(), Some("warning"), "H05");
        assert_eq!(levels(include_bytes!("../data/dkim/rsa-512.pem")).await.as_deref(), Some("error"), "H05");
        assert_eq!(program.run(&["campaign", "launch", "autumn"]).status.code(), Some(3));
    }
}

/// Where nobody takes the line that says where it listens, the pages are served all the same.
#[test]
fn nothing_else_writes_on_stdout() {
    for file in crate::source::files("src/cli", "rs").iter().filter(|file| file.path != "src/cli/output.rs") {
        for (i, line) in BufReader::new(file.text.as_bytes()).lines().enumerate() {
            let line = line.expect("text");
            let code = line.trim_start();
            assert!(!code.starts_with("println!(") && !code.starts_with("print!("), "{}:{}: say!", file.path, i + 1);
        }
    }
}
