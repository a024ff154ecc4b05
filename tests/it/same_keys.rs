//! Every process of an installation holds the same keys, or does not start and says which differ.

use std::{fs, path::Path, process::Output};

use ouinon::{
    app::App,
    config::Config,
    domain::{
        address::Address,
        tokens::{Purpose, Token},
    },
    store::suppressions,
};

use crate::{
    http::{self, Served},
    program::Program,
    sending::campaign,
    world::{World, on_both},
};

const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// Commands that sign, hash, or serve.
const COMMANDS: &[&[&str]] = &[
    &["serve", "--role", "all", "--port", "0"],
    &["serve", "--role", "web", "--port", "0"],
    &["serve", "--role", "worker"],
    &["campaign", "list"],
    &["suppress", "check", "marie@example.net"],
    &["contact", "show", "marie@example.net"],
    &["dkim", "new", "other.example"],
    &["key", "rotate"],
];

/// A second host of the world's installation: the same database, a data folder of its own.
fn second(world: &World) -> (std::path::PathBuf, Program) {
    let folder = world.folder().join("second");
    fs::create_dir_all(folder.join("keys")).expect("made");
    let program = Program::beside(world)
        .with("OUINON_DATA_DIR", folder.display().to_string())
        .with("OUINON_SMTP_URL", "smtp://127.0.0.1:9");
    (folder, program)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// It does not start, and says this.
fn assert_refused(output: &Output, said: &[&str], what: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: {err}");
    assert!(output.stdout.is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
    for words in said {
        assert!(err.contains(words), "{what}: {words:?} in {err}");
    }
}

fn link(app: &App) -> String {
    let address = app.keys.suppression.hash(&Address::parse("marie@example.net").expect("an address"));
    let token =
        Token { purpose: Purpose::Unsubscribe, address, product: 1, campaign: 1, product_scope: false, test: false };
    format!("/o/{}", app.keys.tokens.sign(&token))
}

/// The world's installation opened again, as a process that starts now would.
async fn opened(world: &World, folder: Option<&Path>) -> App {
    let mut config: Config = (*world.app.config).clone();
    if let Some(folder) = folder {
        folder.clone_into(&mut config.data_dir);
    }
    App::open(config, world.app.clock.clone()).await.expect("it opens")
}

async fn posted(served: &Served, link: &str) -> u16 {
    served.post(link, ONE_CLICK).await.status
}

async fn refusals(world: &World) -> i64 {
    world.tx(async |tx| suppressions::newest(tx).await).await
}

on_both! {
    /// A database restored on a machine with no keys, then with keys of its own.
    async fn a_restored_database_with_new_keys(world: &mut World) {
        let (folder, program) = second(world);
        for command in COMMANDS {
            assert_refused(&program.run(command), &["suppression.key is missing", "backup"], &command.join(" "));
        }
        assert!(!folder.join("keys/suppression.key").exists(), "no key is made in its place");
        let strangers = world.folder().join("strangers");
        let other = Program::beside(world)
            .with("OUINON_DATA_DIR", strangers.display().to_string())
            .with("OUINON_DATABASE_URL", format!("sqlite:{}", strangers.join("ouinon.db").display()));
        other.json(&["product", "list"]);
        copy(&strangers.join("keys"), &folder.join("keys"));
        for command in COMMANDS {
            let said = ["suppression (another one here)", "token 0 (another one here)", "Restore the keys"];
            assert_refused(&program.run(command), &said, &command.join(" "));
        }
        let noted = world.tx(async |tx| ouinon::store::keys::all(tx).await).await;
        assert_eq!(noted.len(), 3, "nothing was noted of the strangers' keys");
        copy(&App::keys_folder(&world.app.config), &folder.join("keys"));
        program.json(&["campaign", "list"]);
    }

    /// A second host that would send unsigned, or sign with an older key.
    async fn a_second_host_without_the_signing_key(world: &mut World) {
        let (folder, second) = second(world);
        let keys = App::keys_folder(&world.app.config);
        copy(&keys, &folder.join("keys"));
        let first = Program::beside(world);
        second.json(&["campaign", "list"]);
        first.json(&["dkim", "new", "news.example"]);
        for command in COMMANDS {
            let said = ["dkim news.example (missing here)", "keys/dkim", "ouinon dkim forget"];
            assert_refused(&second.run(command), &said, &command.join(" "));
        }
        copy(&keys, &folder.join("keys"));
        second.json(&["campaign", "list"]);
        first.json(&["dkim", "new", "news.example", "--selector", "s2"]);
        assert_refused(&second.run(&["serve"]), &["dkim news.example (another one here)"], "an older key");
        copy(&keys, &folder.join("keys"));
        second.json(&["campaign", "list"]);
        // To be signed no more: gone from both, and forgotten.
        for folder in [&keys, &folder.join("keys")] {
            fs::remove_dir_all(folder.join("dkim")).expect("removed");
        }
        assert_refused(&first.run(&["serve"]), &["dkim news.example (missing here)"], "gone");
        assert_eq!(second.json(&["dkim", "forget", "news.example"])["forgotten"], true);
        assert_eq!(second.json(&["dkim", "forget", "news.example"])["forgotten"], false);
        first.json(&["campaign", "list"]);
        second.json(&["campaign", "list"]);
    }

    /// Rotated on one host: there at once, elsewhere once the file is copied, and no refusal is lost between.
    async fn rotated_on_one_host(world: &mut World) {
        world.product("crm").await;
        world.create(&campaign("autumn", "")).await;
        let (folder, second) = second(world);
        let keys = App::keys_folder(&world.app.config);
        copy(&keys, &folder.join("keys"));
        let elsewhere = opened(world, Some(&folder)).await;
        let (here, there) = (http::serve(&world.app).await, http::serve(&elsewhere).await);
        assert_eq!(Program::beside(world).json(&["key", "rotate"])["keys"], 2);
        for command in COMMANDS {
            let said = ["token 1 (missing here)", "copy its keys/tokens.toml"];
            assert_refused(&second.run(command), &said, &command.join(" "));
        }
        let fresh = opened(world, None).await;
        let (old, new) = (link(&elsewhere), link(&fresh));
        assert_ne!(old, new);
        assert_eq!(there.get("/readyz").await.status, 503);
        assert_eq!((posted(&there, &new).await, there.get(&new).await.status), (503, 503), "the provider tries again");
        assert_eq!(refusals(world).await, 0);
        let forged = |letters: &str| format!("{}{letters}{}", &new[..4], &new[6..]);
        assert_eq!(posted(&there, &forged("fE")).await, 404, "a key that nobody knows is forged");
        assert_eq!(posted(&there, &old).await, 200, "old links go on working");
        assert_eq!((posted(&here, &new).await, here.get("/readyz").await.status), (200, 200), "without a restart");
        fs::copy(keys.join("tokens.toml"), folder.join("keys/tokens.toml")).expect("copied");
        // What the database notes is asked again after a second.
        world.until("the other host is ready", async || there.get("/readyz").await.status == 200).await;
        assert_eq!(posted(&there, &new).await, 200);
        second.json(&["campaign", "list"]);
        fresh.db.close().await;
        elsewhere.db.close().await;
    }

    /// A worker that lacks a key leaves the campaign to others, instead of sending it unsigned.
    async fn a_worker_without_the_key_sends_nothing(world: &mut World) {
        use ouinon::mail::catcher::Settings;
        let sending = crate::sending::Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        world.create(&campaign("autumn", "rate = \"60000/min\"")).await;
        fs::write(world.folder().join("list.csv"), "email,kind,relationship,country,source,source_kind,collected_at,informed,consent_crm,consent_crm_at,consent_crm_proof\n\
            marie@example.net,business,customer,FR,salon,event,2026-01-10,yes,granted,2026-01-10,full\n").expect("written");
        Program::beside(world).json(&["import", "list.csv"]);
        let (folder, _) = second(world);
        copy(&App::keys_folder(&world.app.config), &folder.join("keys"));
        let mut without = opened(world, Some(&folder)).await;
        std::mem::swap(&mut world.app, &mut without);
        let working = world.work();
        std::mem::swap(&mut world.app, &mut without);
        Program::beside(world).json(&["dkim", "new", "news.example"]);
        world.launch("autumn").await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert!(sending.caught().is_empty(), "nothing leaves unsigned");
        assert_eq!(world.report("autumn").await.status.state, ouinon::domain::campaigns::CampaignState::Running, "nor is it paused for the others");
        copy(&App::keys_folder(&world.app.config), &folder.join("keys"));
        world.until_state("autumn", ouinon::domain::campaigns::CampaignState::Finished).await;
        working.stop().await;
        let caught = sending.caught();
        let message = caught.values().next().expect("it was sent");
        assert!(String::from_utf8_lossy(&message.bytes).contains("DKIM-Signature"));
        without.db.close().await;
    }
}
