//! `ouinon doctor`: each fault is named with the way out, and looking changes nothing.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use ouinon::{app::App, clock::Clock, config::Config, keys::Keys, mail::catcher};
use serde_json::Value;

use crate::{
    dns::Dns,
    http,
    program::Program,
    sending::{Sending, campaign},
    world::{World, on_both},
};

/// An installation that is as it should be: pages, mail server, a campaign, keys, and what DNS says.
struct Sound {
    sending: Sending,
    dns: Dns,
    /// The records that `dkim new` printed: name and value.
    keys: Vec<(String, String)>,
}

const SPF: &str = "news.example TXT v=spf1 mx -all\n";
const DMARC: &str = "_dmarc.news.example TXT v=DMARC1; p=none; rua=mailto:dmarc@news.example\n";
const MX: &str = "news.example MX 10 mx.news.example\nmx.news.example A 192.0.2.25\n";

impl Sound {
    async fn of(world: &mut World) -> Sound {
        Sound::with(world, catcher::Settings::default()).await
    }

    async fn with(world: &mut World, settings: catcher::Settings) -> Sound {
        let sending = Sending::open(world, settings).await;
        Arc::make_mut(&mut world.app.config).controller.contact = "vieprivee@news.example".into();
        world.product("crm").await;
        world.create(&campaign("autumn", "")).await;
        let made = Program::beside(world).json(&["dkim", "new", "news.example"]);
        let text = |record: &Value, key: &str| record[key].as_str().expect("a text").to_owned();
        let records = made["records"].as_array().expect("records").iter();
        let keys: Vec<_> = records.map(|record| (text(record, "name"), text(record, "value"))).collect();
        assert_eq!(keys.len(), 2);
        let dns = Dns::start("").await;
        let sound = Sound { sending, dns, keys };
        sound.dns.publish(&sound.zone());
        sound
    }

    /// The zone as it should be.
    fn zone(&self) -> String {
        let keys: String = self.keys.iter().map(|(name, value)| format!("{name} TXT {value}\n")).collect();
        format!("{keys}{SPF}{DMARC}{MX}")
    }

    fn program(&self, world: &World) -> Program {
        Program::beside(world)
            .with("OUINON_DNS", self.dns.at.to_string())
            .with("OUINON_CONTROLLER_CONTACT", "vieprivee@news.example")
    }

    /// Exit code and findings.
    fn examine(&self, world: &World) -> (i32, Value) {
        examine(&self.program(world), &[])
    }

    /// Publishes another zone, and returns the check of this id about this name.
    fn saying(&self, world: &World, zone: &str, id: &str, about: &str) -> Value {
        self.dns.publish(zone);
        check(&self.examine(world).1, id, about)
    }
}

fn examine(program: &Program, args: &[&str]) -> (i32, Value) {
    let output = program.run(&[&["doctor", "--json"], args].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let found = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
    (output.status.code().expect("a code"), found)
}

fn check(found: &Value, id: &str, about: &str) -> Value {
    let checks = found["checks"].as_array().expect("checks");
    let fits = |check: &&Value| check["id"] == id && (about.is_empty() || check["about"] == about);
    checks.iter().find(fits).unwrap_or_else(|| panic!("no {id} {about} in {found:#}")).clone()
}

fn status(found: &Value, id: &str) -> String {
    check(found, id, "")["status"].as_str().expect("a status").to_owned()
}

/// Every check says what was found; an error or warning says what to do; only a skip says why not.
fn assert_complete(found: &Value) {
    let count = |status: &str| {
        let checks = found["checks"].as_array().expect("checks").iter();
        checks.filter(|check| check["status"] == status).count()
    };
    assert_eq!(found["errors"], count("error"));
    assert_eq!(found["warnings"], count("warning"));
    assert_eq!(found["ok"], count("error") == 0);
    for check in found["checks"].as_array().expect("checks") {
        assert!(check["finding"].as_str().is_some_and(|text| !text.is_empty()), "{check}");
        let fault = ["error", "warning"].contains(&check["status"].as_str().expect("a status"));
        assert_eq!(check["way_out"].is_string(), fault, "{check}");
    }
}

on_both! {
    /// Nothing is wrong but that links lead to this machine; nothing is sent, nobody is refused.
    async fn a_sound_installation_is_found_sound(world: &mut World) {
        let sound = Sound::of(world).await;
        let (code, found) = sound.examine(world);
        assert_eq!((code, &found["ok"], &found["errors"]), (0, &Value::Bool(true), &0.into()), "{found:#}");
        assert_complete(&found);
        for id in ["config", "config.controller", "database", "database.migrations", "keys", "keys.modes", "clock",
            "smtp.connect", "smtp.tls", "public.ready", "dkim.key", "dkim.record", "spf", "dmarc", "mx", "one_click"] {
            assert_eq!(status(&found, id), "ok", "{id}: {found:#}");
        }
        assert_eq!(status(&found, "public.url"), "warning");
        assert_eq!(status(&found, "smtp.auth"), "skipped");
        for (name, _) in &sound.keys {
            assert_eq!(check(&found, "dkim.record", name)["status"], "ok");
        }
        assert_eq!(check(&found, "spf", "")["about"], "news.example", "the domain that a campaign is sent from");
        assert!(sound.sending.catcher.mailbag().messages().is_empty(), "nothing is sent");
        let refused = world.tx(async |tx| ouinon::store::suppressions::newest(tx).await).await;
        assert_eq!(refused, 0, "the one-click that was tried refuses nobody");
        // What is said to a person, in both languages.
        for (lang, words) in [("fr_FR.UTF-8", "avertissement"), ("en_GB.UTF-8", "warning(s)")] {
            let output = sound.program(world).with("LC_ALL", lang).run(&["doctor"]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains(words) && text.contains("dkim.record"), "{text}");
        }
    }

    /// Each thing that DNS may say wrongly, with the record to publish.
    async fn what_dns_says_wrongly_is_named(world: &mut World) {
        let sound = Sound::of(world).await;
        let (rsa, value) = sound.keys.iter().find(|(name, _)| !name.contains("-ed.")).expect("an RSA key").clone();
        let ed = sound.keys.iter().find(|(name, _)| name.contains("-ed.")).expect("an Ed25519 key").0.clone();
        let whole = sound.zone();
        let without = |name: &str| whole.lines().filter(|l| !l.starts_with(&format!("{name} "))).map(|l| format!("{l}\n")).collect::<String>();
        let rsa_says = |text: &str| format!("{}{rsa} TXT {text}\n", without(&rsa));

        let missing = sound.saying(world, &without(&rsa), "dkim.record", &rsa);
        assert_eq!(missing["status"], "error");
        assert_eq!(missing["record"], serde_json::json!({"name": rsa, "type": "TXT", "value": value}));
        assert_eq!(sound.examine(world).0, 1, "an error is exit 1");
        for text in ["v=DKIM1; k=rsa; p=", "v=DKIM1; k=rsa; p=MIIBIjAN", "v=DKIM1; k=rsa; h=sha1; p=x", "hello"] {
            assert_eq!(sound.saying(world, &rsa_says(text), "dkim.record", &rsa)["status"], "error", "{text}");
        }
        let twice = format!("{whole}{rsa} TXT v=DKIM1; p=abcd\n");
        assert!(sound.saying(world, &twice, "dkim.record", &rsa)["finding"].as_str().unwrap().contains('2'));
        let testing = rsa_says(&value.replace("k=rsa", "k=rsa; t=y"));
        assert_eq!(sound.saying(world, &testing, "dkim.record", &rsa)["status"], "warning");
        assert_eq!(sound.saying(world, &without(&ed), "dkim.record", &ed)["status"], "warning", "RSA is the one that must hold");

        let spf = |text: &str| format!("{}news.example TXT {text}\n", whole.replace(SPF, ""));
        let eleven: String = (0..11).map(|i| format!("i{i}.example TXT v=spf1 ip4:192.0.2.{i} -all\n")).collect();
        let includes = (0..11).map(|i| format!("include:i{i}.example ")).collect::<String>();
        let nested = format!("{eleven}deep.example TXT v=spf1 {includes}-all\n");
        for (zone, expected) in [
            (whole.replace(SPF, ""), "warning"),
            (spf("v=spf1 include:deep.example -all") + &nested, "error"),
            (spf(&format!("v=spf1 {} -all", includes.replacen("include:i0.example ", "", 1))) + &eleven, "ok"),
            (spf(&format!("v=spf1 {includes} -all")) + &eleven, "error"),
            (format!("{whole}news.example TXT v=spf1 -all\n"), "error"),
            (spf("v=spf1 +all"), "error"),
            (spf("v=spf1 mx ?all"), "warning"),
            (spf("v=spf1 mx"), "warning"),
            (spf("v=spf1 mx redirect=other.example") + "other.example TXT v=spf1 ~all\n", "ok"),
            (spf("v=spf1 include:nowhere.example -all"), "error"),
            (spf("v=spf1 include:news.example -all"), "error"),
            (spf("v=spf1 ip4:192.0.2 -all"), "error"),
            (spf("v=spf1 a:x1.example a:x2.example a:x3.example -all"), "warning"),
            (spf("v=spf1 ip4:192.0.2.0/24 ~all"), "ok"),
        ] {
            assert_eq!(sound.saying(world, &zone, "spf", "news.example")["status"], expected, "{zone}");
        }

        let dmarc = |text: &str| whole.replace(DMARC, &format!("_dmarc.news.example TXT {text}\n"));
        for (zone, expected) in [
            (whole.replace(DMARC, ""), "error"),
            (dmarc("v=DMARC1; p=reject; rua=mailto:a@news.example"), "ok"),
            (dmarc("v=DMARC1; p=none"), "warning"),
            (dmarc("v=DMARC1; p=nothing; rua=mailto:a@news.example"), "error"),
            (dmarc("v=DMARC1; rua=mailto:a@news.example"), "error"),
            (dmarc("V=dmarc1; p=none"), "error"),
            (format!("{whole}_dmarc.news.example TXT v=DMARC1; p=reject\n"), "error"),
            (dmarc("v=DMARC1; p=none; rua=mailto:a@reports.example"), "warning"),
            (dmarc("v=DMARC1; p=none; rua=mailto:a@reports.example") + "news.example._report._dmarc.reports.example TXT v=DMARC1\n", "ok"),
            (whole.replace(DMARC, "_dmarc.example TXT v=DMARC1; p=none; rua=mailto:a@example\n"), "ok"),
        ] {
            assert_eq!(sound.saying(world, &zone, "dmarc", "news.example")["status"], expected, "{zone}");
        }

        let mx = |text: &str| whole.replace(MX, text);
        for (zone, expected) in [
            (mx("news.example MX 0 .\n"), "error"),
            (mx(""), "error"),
            (mx("news.example MX 10 gone.news.example\n"), "error"),
            (mx("news.example A 192.0.2.25\n"), "warning"),
        ] {
            assert_eq!(sound.saying(world, &zone, "mx", "news.example")["status"], expected, "{zone}");
        }

        // A domain that a sender's subdomain hides behind: signed by the parent, which strict alignment refuses.
        let strict = format!("{whole}_dmarc.a.news.example TXT v=DMARC1; p=none; adkim=s; rua=mailto:a@news.example\n");
        sound.dns.publish(&strict);
        let (_, found) = examine(&sound.program(world), &["a.news.example"]);
        assert_eq!(check(&found, "dmarc", "a.news.example")["status"], "error", "{found:#}");
        assert_eq!(check(&found, "dkim.record", &rsa)["status"], "ok");

        // Nothing is known when nobody answers.
        sound.dns.publish(&format!("{rsa} FAIL\n{ed} FAIL\n"));
        let (code, found) = sound.examine(world);
        assert_eq!((code, status(&found, "dns").as_str()), (1, "error"));
        assert_complete(&found);
    }

    /// The service: not there, not ours, or with other keys.
    async fn a_service_that_is_not_ours_is_found_out(world: &mut World) {
        let sound = Sound::of(world).await;
        let strangers = tempfile::tempdir().expect("a folder");
        let other = App::open(Config::of_folder(strangers.path()), Clock::System).await.expect("it opens");
        let served = http::serve(&other).await;
        let program = sound.program(world).with("OUINON_PUBLIC_URL", format!("http://{}", served.at));
        let (code, found) = examine(&program, &[]);
        assert_eq!((code, status(&found, "public.ready").as_str()), (1, "ok"));
        assert_eq!(status(&found, "one_click"), "error", "the keys are not those of the service");
        drop(served);
        let (code, found) = examine(&program, &[]);
        assert_eq!((code, status(&found, "public.ready").as_str()), (1, "error"));
        assert_eq!(status(&found, "one_click"), "skipped");
        assert_complete(&found);
        let (code, found) = examine(&program.with("OUINON_PUBLIC_URL", ""), &[]);
        assert_eq!((code, status(&found, "public.url").as_str()), (1, "error"));
        other.db.close().await;
    }

    /// Keys that others can read, that are weak, that are not the database's, or that are gone.
    async fn keys_are_looked_at_without_being_touched(world: &mut World) {
        let sound = Sound::of(world).await;
        let folder = App::keys_folder(&world.app.config);
        let set = |path: &str, mode: u32| fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode)).expect("ours");
        set("suppression.key", 0o644);
        let modes = check(&sound.examine(world).1, "keys.modes", "");
        assert_eq!(modes["status"], "error");
        assert!(modes["finding"].as_str().unwrap().contains("suppression.key"), "{modes}");
        set("suppression.key", 0o600);

        let rsa = folder.join("dkim/news.example/ouinon/rsa.pem");
        let good = fs::read(&rsa).expect("a key");
        fs::write(&rsa, include_bytes!("../data/dkim/rsa-1024.pem")).expect("written");
        let (_, found) = sound.examine(world);
        assert_eq!(status(&found, "dkim.key"), "warning", "H05: {found:#}");
        assert_eq!(status(&found, "keys"), "error", "and it is not the key that the database knows");
        assert!(check(&found, "dkim.key", "")["finding"].as_str().unwrap().contains("1024"));
        fs::write(&rsa, good).expect("written");

        let other = tempfile::tempdir().expect("a folder");
        let theirs = Keys::load(other.path(), &[]).expect("keys");
        assert!(!theirs.fingerprints.is_empty());
        let ours = fs::read(folder.join("suppression.key")).expect("a key");
        fs::copy(other.path().join("suppression.key"), folder.join("suppression.key")).expect("copied");
        let (code, found) = sound.examine(world);
        let keys = check(&found, "keys", "");
        assert_eq!((code, &keys["status"]), (1, &"error".into()));
        assert!(keys["finding"].as_str().unwrap().contains("suppression"), "{keys}");
        assert_eq!(status(&found, "one_click"), "skipped");
        fs::remove_file(folder.join("suppression.key")).expect("removed");
        assert_eq!(status(&sound.examine(world).1, "keys"), "error");
        assert!(!folder.join("suppression.key").exists(), "doctor makes nothing");
        fs::write(folder.join("suppression.key"), ours).expect("written");
        set("suppression.key", 0o600);
        assert_eq!(sound.examine(world).0, 0);
    }

    /// The mail server: away, or not letting us in.
    async fn a_mail_server_that_does_not_let_us_in_is_named(world: &mut World) {
        let auth = catcher::Auth { user: "ouinon".into(), password: "right".into(), mechanisms: "PLAIN LOGIN" };
        let sound = Sound::with(world, catcher::Settings { auth: Some(auth), ..catcher::Settings::default() }).await;
        let at = sound.sending.catcher.url().trim_start_matches("smtp://").to_owned();
        for (userinfo, expected) in [("ouinon:right@", "ok"), ("ouinon:wrong@", "error"), ("", "skipped")] {
            let program = sound.program(world).with("OUINON_SMTP_URL", format!("smtp://{userinfo}{at}"));
            let output = program.run(&["doctor", "--json"]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let found: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(status(&found, "smtp.auth"), expected, "{userinfo}");
            assert!(!text.contains("wrong@") && !text.contains(":right"), "no password is shown");
        }
        let Sound { sending, dns, .. } = sound;
        drop(sending.catcher);
        let program = Program::beside(world).with("OUINON_DNS", dns.at.to_string());
        let (_, found) = examine(&program.with("OUINON_SMTP_URL", format!("smtp://{at}")), &[]);
        assert_eq!((status(&found, "smtp.connect").as_str(), status(&found, "smtp.auth").as_str()), ("error", "skipped"));
        assert_complete(&found);
    }
}

/// Where there is nothing, doctor says so and makes nothing; bad usage is told from bad findings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_folder_stays_empty() {
    crate::world::on_sqlite(async |world| {
        let empty = world.folder().join("empty");
        fs::create_dir(&empty).expect("made");
        let data = empty.join("data");
        let url = format!("sqlite:{}", data.join("ouinon.db").display());
        let program =
            Program::beside(world).with("OUINON_DATA_DIR", data.display().to_string()).with("OUINON_DATABASE_URL", url);
        let (code, found) = examine(&program, &[]);
        assert_eq!(code, 1);
        for id in ["database", "keys", "smtp.connect", "public.url"] {
            assert_eq!(status(&found, id), "error", "{id}");
        }
        assert_complete(&found);
        assert!(!data.exists(), "nothing was made");
        for args in [&["doctor", "no domain"][..], &["doctor", "--fix"], &["doctor", "a..b"], &["doctor", "127.0.0.1"]]
        {
            assert_eq!(program.run(args).status.code(), Some(2), "{args:?}");
        }
        let (code, found) = examine(&program.with("OUINON_SMTP_CONNECTIONS", "many"), &[]);
        assert_eq!((code, status(&found, "config").as_str()), (1, "error"));
        let finding = check(&found, "config", "")["finding"].as_str().unwrap().to_owned();
        assert!(finding.contains("OUINON_SMTP_CONNECTIONS") && finding.contains("a number"), "{finding}");
        assert_complete(&found);
    })
    .await;
}

/// A database that is none, one whose server is away, and one whose keys are lost: each is told from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_database_is_said() {
    crate::world::on_sqlite(async |world| {
        let program = || Program::beside(world);
        let told = |program: &Program, id: &str| {
            let found = examine(program, &[]).1;
            let check = check(&found, id, "");
            let text = |key: &str| check[key].as_str().expect("a text").to_owned();
            (text("finding"), text("way_out"))
        };
        let letter = world.folder().join("letter.db");
        fs::write(&letter, "Dear Sir or Madam,\n".repeat(1000)).expect("written");
        let url = format!("sqlite:{}", letter.display());
        let (finding, way_out) = told(&program().with("OUINON_DATABASE_URL", url), "database");
        assert!(finding.contains("no SQLite database") && way_out.contains("backup"), "{finding} {way_out}");

        let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
        let url = format!("postgres://ouinon@{closed}/ouinon");
        let (finding, way_out) = told(&program().with("OUINON_DATABASE_URL", url), "database");
        assert!(finding.contains("refused") && !way_out.contains("init"), "{finding} {way_out}");

        let keys = App::keys_folder(&world.app.config);
        fs::remove_file(keys.join("tokens.toml")).expect("removed");
        let (finding, way_out) = told(&program(), "keys");
        assert!(finding.contains("tokens.toml") && !way_out.contains("init"), "{finding} {way_out}");
        let output = program().run(&["product", "list"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("tokens.toml") && said.contains("link") && !said.contains("hash"), "{said}");
    })
    .await;
}
