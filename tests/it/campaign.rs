//! A marketer's commands around a campaign, through the real program.

use std::path::PathBuf;

use ouinon::mail::catcher::Settings;
use serde_json::Value;

use crate::{
    program::Program,
    sending::{Sending, campaign, header, one_click_uri},
    world::{World, on_both},
};

const CONTACTS: &str = "email,kind,first_name,country,source_kind,collected_at,informed\n\
                        zoe@business.example,b2b,Zoé,FR,direct_form,2026-03-10,yes\n\
                        max@business.example,b2b,,FR,direct_form,2026-03-10,yes\n";

/// The program beside an installation with a product and two professionals.
fn beside(world: &World) -> Program {
    let program = Program::beside(world);
    write(world, "contacts.csv", CONTACTS);
    program.json(&["product", "add", "crm", "--name", "CRM", "--for-business"]);
    program.json(&["import", "contacts.csv"]);
    program
}

fn write(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.folder().join(name);
    std::fs::write(&path, text).expect("the story's folder can be written");
    path
}

/// A command that ends with `code`, and what it says on stderr.
fn fails(program: &Program, args: &[&str], code: i32) -> String {
    let output = program.run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?} prints a result");
    said
}

fn sums(status: &Value) -> bool {
    let states =
        ["queued", "claimed", "submitting", "accepted", "deferred", "bounced", "blocked", "unknown", "cancelled"];
    states.iter().map(|state| status[state].as_i64().expect("a count")).sum::<i64>() == status["asked"]
}

on_both! {
    /// What is wrong in a file is said with its place, at create, and nothing is kept.
    async fn a_wrong_file_is_an_error_at_create(world: &mut World) {
        let program = beside(world);
        let wrong = campaign("autumn", "audiance = \"x\"\nrate = \"0/min\"").replace("first_name", "first_nam");
        write(world, "wrong.md", &wrong);
        let said = fails(&program, &["campaign", "create", "wrong.md"], 2);
        assert!(said.contains("wrong.md: line 8, column 1: audiance"), "{said}");
        assert!(said.contains("line 9, column"), "{said}");
        write(world, "field.md", &campaign("autumn", "").replace("first_name", "first_nam"));
        let said = fails(&program, &["campaign", "create", "field.md"], 2);
        assert!(said.contains("first_nam") && said.contains("first_name"), "{said}");
        write(world, "unknown.md", &campaign("autumn", "").replace("\"crm\"", "\"boat\""));
        assert!(fails(&program, &["campaign", "create", "unknown.md"], 2).contains("ouinon product add boat"));
        assert_eq!(program.json(&["campaign", "list"]), Value::Array(Vec::new()));
        fails(&program, &["campaign", "status", "autumn"], 2);
    }

    /// Without a server or a public address a campaign waits for whoever configures them.
    async fn nothing_is_launched_that_cannot_be_sent(world: &mut World) {
        let program = beside(world);
        write(world, "autumn.md", &campaign("autumn", ""));
        program.json(&["campaign", "create", "autumn.md"]);
        let forecast = program.json(&["campaign", "preflight", "autumn"]);
        assert_eq!((&forecast["asked"], &forecast["send"]["total"], &forecast["block"]["total"]),
            (&2.into(), &2.into(), &0.into()));
        assert_eq!(forecast["send"]["by_basis"], serde_json::json!({"LEGITIMATE_INTEREST_B2B": 2}));
        let errors: Vec<&str> = forecast["findings"].as_array().expect("findings").iter()
            .filter(|finding| finding["level"] == "error").filter_map(|finding| finding["code"].as_str()).collect();
        assert_eq!(errors, ["no_smtp", "no_public_url"]);
        let said = fails(&program, &["campaign", "launch", "autumn"], 3);
        assert!(said.contains("no_smtp") && said.contains("no_public_url"), "{said}");
        assert_eq!(program.json(&["campaign", "status", "autumn"])["state"], "draft");
    }

    /// A preview is what would be sent; a test is marked. The links of neither change anything.
    async fn previews_and_tests_change_nothing(world: &mut World) {
        let sending = Sending::open(world, Settings::default()).await;
        let program = beside(world);
        write(world, "autumn.md", &campaign("autumn", ""));
        program.json(&["campaign", "create", "autumn.md"]);

        let preview = program.json(&["campaign", "preview", "autumn", "--as", "Zoe@business.example"]);
        assert_eq!((&preview["decision"], &preview["code"]), (&"SEND".into(), &"LEGITIMATE_INTEREST_B2B".into()));
        assert_eq!(preview["subject"], "Votre CRM, Zoé");
        assert!(preview["text"].as_str().expect("a text").contains("Bonjour Zoé"), "{preview}");
        assert!(!preview["html"].as_str().expect("an HTML part").contains("TEST"));
        assert!(!preview["headers"].as_str().expect("headers").contains("X-Ouinon-Test"));

        let sent = program.json(&["campaign", "test", "autumn", "--to", "me@sender.example", "--as", "max@business.example"]);
        assert_eq!(sent[0]["accepted"], true);
        let caught = sending.caught();
        let message = &caught["me@sender.example"];
        assert_eq!(header(&message.bytes, "X-Ouinon-Test").as_deref(), Some("yes"));
        let link = one_click_uri(&message.bytes);
        assert_eq!(sending.one_click(message).await.status, 200);
        let eml = program.run(&["campaign", "preview", "autumn", "--as", "zoe@business.example", "--part", "eml"]);
        let previewed = one_click_uri(&eml.stdout);
        let path = previewed.strip_prefix(&format!("http://{}", sending.pages.at)).expect("the link leads to our pages");
        assert_eq!(sending.pages.post(path, "List-Unsubscribe=One-Click").await.status, 200);
        assert_ne!(link, previewed);
        assert_eq!(program.json(&["campaign", "preflight", "autumn"])["send"]["total"], 2);

        program.json(&["suppress", "add", "me@sender.example", "--reason", "objection"]);
        let said = fails(&program, &["campaign", "test", "autumn", "--to", "me@sender.example"], 3);
        assert!(said.contains("suppression list"), "{said}");
        assert_eq!(sending.caught().len(), 1);
    }

    /// A launch for later waits as scheduled; what cannot be done in a state is refused, and says why.
    async fn a_campaign_moves_only_as_it_may(world: &mut World) {
        let _sending = Sending::open(world, Settings::default()).await;
        let program = beside(world);
        write(world, "autumn.md", &campaign("autumn", ""));
        program.json(&["campaign", "create", "autumn.md"]);
        fails(&program, &["campaign", "create", "autumn.md"], 2);
        write(world, "autumn.md", &campaign("autumn", "rate = \"120/min\""));
        program.json(&["campaign", "edit", "autumn", "autumn.md"]);
        fails(&program, &["campaign", "pause", "autumn"], 3);
        for (at, why) in [
            ("next Tuesday", "expected"),
            ("2020-01-01 09:00", "past"),
            // The clocks jump over this hour, and show that one twice.
            ("2099-03-29 02:30", "clocks change"),
            ("9999-12-31 23:59", "too far away"),
            ("2099-03-29T02:30[Europe/Paris]", "gap"),
            ("2099-10-25T02:30[Europe/Paris]", "fold"),
            // A zone that does not exist is not the controller's, and one that the offset contradicts is neither.
            ("2099-07-01T09:00[America/New_Yorc]", "New_Yorc"),
            ("2099-07-01T09:00+02:00[America/New_York]", "offset"),
        ] {
            let said = fails(&program, &["campaign", "launch", "autumn", "--at", at], 2);
            assert!(said.contains(why), "{at}: {said}");
        }

        let status = program.json(&["campaign", "launch", "autumn", "--at", "2099-07-01 09:00"]);
        assert_eq!((&status["state"], &status["asked"], &status["rate_per_minute"]),
            (&"scheduled".into(), &0.into(), &120.0.into()));
        assert!(sums(&status));
        // Nine o'clock of the controller, who is in Paris.
        assert_eq!(program.json(&["campaign", "list"])[0]["scheduled_at"], "2099-07-01T07:00:00Z");
        fails(&program, &["campaign", "launch", "autumn"], 3);
        fails(&program, &["campaign", "edit", "autumn", "autumn.md"], 3);
        assert_eq!(program.json(&["campaign", "cancel", "autumn"])["state"], "cancelled");
        assert_eq!(program.json(&["campaign", "cancel", "autumn"])["state"], "cancelled");
        fails(&program, &["campaign", "resume", "autumn"], 3);
        for (slug, at, starts) in [
            ("york", "2099-07-01T09:00[America/New_York]", "2099-07-01T13:00:00Z"),
            ("twice", "2099-10-25T02:30+01:00[Europe/Paris]", "2099-10-25T01:30:00Z"),
        ] {
            write(world, "later.md", &campaign(slug, ""));
            program.json(&["campaign", "create", "later.md"]);
            let status = program.json(&["campaign", "launch", slug, "--at", at]);
            assert_eq!(status["scheduled_at"], starts, "{at}");
        }
    }
}
