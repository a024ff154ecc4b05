//! A browser that is told what a person does (WebDriver, over chromedriver).

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::{needs, source};

/// One browser at a time: each takes the memory of a small house.
static ONE: Mutex<()> = Mutex::const_new(());
/// Longer than a busy machine needs for a step.
const PATIENCE: Duration = Duration::from_secs(120);

/// Keys of the keyboard, as WebDriver writes them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const SPACE: &str = " ";

/// A browser with an empty profile. Dropping it ends it.
pub struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
    _profile: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// Where axe-core is, if it is there.
pub fn axe(test: &str) -> Option<String> {
    let named = std::env::var_os("OUINON_TEST_AXE").map(PathBuf::from);
    let path = named.unwrap_or_else(|| source::top().join("target/ci-tools/node_modules/axe-core/axe.min.js"));
    let found = fs::read_to_string(&path).ok();
    if found.is_none() {
        needs::left_out(test, "axe-core is not there (`npm install --prefix target/ci-tools axe-core`)");
    }
    found
}

impl Browser {
    /// Opens a browser on a phone, with or without script. None: it is not installed, which was said.
    pub async fn open(test: &str, script: bool) -> Option<Browser> {
        let chromium = needs::program("chromium", test)?;
        let chromedriver = needs::program("chromedriver", test)?;
        let turn = ONE.lock().await;
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free").port();
        let driver = Command::new(chromedriver)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Of its own group, so that the browser ends with it.
            .process_group(0)
            .spawn()
            .expect("chromedriver starts");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Browser { driver, client, session: base, _profile: profile, _turn: turn };
        browser.until_ready().await;
        let folder = browser._profile.path().display().to_string();
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--force-color-profile=srgb",
            "--lang=fr",
            &format!("--user-data-dir={folder}"),
        ]
        .map(str::to_owned);
        let prefs =
            if script { json!({}) } else { json!({ "profile.managed_default_content_settings.javascript": 2 }) };
        let options = json!({ "binary": chromium, "args": args, "prefs": prefs });
        let asked =
            json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options } } });
        let session = browser.ask("POST", "/session", asked).await;
        browser.session = format!("{}/session/{}", browser.session, session["sessionId"].as_str().expect("a session"));
        browser.size(375, 812, true).await;
        Some(browser)
    }

    async fn until_ready(&self) {
        let start = Instant::now();
        while self.client.get(format!("{}/status", self.session)).send().await.is_err() {
            assert!(start.elapsed() < PATIENCE, "chromedriver does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, value) = self.try_ask(method, path, body).await;
        assert!(status, "{method} {path}: {value}");
        value
    }

    async fn try_ask(&self, method: &str, path: &str, body: Value) -> (bool, Value) {
        let url = format!("{}{path}", self.session);
        let request = match method {
            "GET" => self.client.get(url),
            "DELETE" => self.client.delete(url),
            _ => self.client.post(url).header("content-type", "application/json").body(body.to_string()),
        };
        let answer = request.timeout(PATIENCE).send().await.expect("chromedriver answers");
        let status = answer.status().is_success();
        let text = answer.text().await.expect("text");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        (status, value["value"].clone())
    }

    async fn tell(&self, command: &str, params: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    /// The size of the window: a phone's, or a desk's.
    pub async fn size(&self, width: u32, height: u32, phone: bool) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.tell("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// Whether the reader's machine is set to dark.
    pub async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let params = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.tell("Emulation.setEmulatedMedia", params).await;
    }

    /// Opens an address.
    pub async fn go(&self, url: &str) {
        self.ask("POST", "/url", json!({ "url": url })).await;
    }

    /// The source of the page.
    pub async fn source(&self) -> String {
        self.ask("GET", "/source", Value::Null).await.as_str().expect("HTML").to_owned()
    }

    /// What a reader sees of an element.
    pub async fn text(&self, css: &str) -> String {
        let element = self.element(css).await;
        self.ask("GET", &format!("/element/{element}/text"), Value::Null).await.as_str().expect("text").to_owned()
    }

    async fn element(&self, css: &str) -> String {
        let found = self.ask("POST", "/element", json!({ "using": "css selector", "value": css })).await;
        id(&found)
    }

    /// Whether a box is ticked.
    pub async fn ticked(&self, css: &str) -> bool {
        let element = self.element(css).await;
        self.ask("GET", &format!("/element/{element}/selected"), Value::Null).await == Value::Bool(true)
    }

    /// Presses keys, one after the other.
    pub async fn keys(&self, keys: &[&str]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.ask("POST", "/actions", actions).await;
    }

    /// Writes into the field that has the focus.
    pub async fn write(&self, text: &str) {
        let letters: Vec<String> = text.chars().map(String::from).collect();
        self.keys(&letters.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// Goes on with the tabulator until an element has the focus: no other way is needed.
    pub async fn tab_to(&self, css: &str) {
        let wanted = self.element(css).await;
        for _ in 0..60 {
            self.keys(&[TAB]).await;
            let (there, active) = self.try_ask("GET", "/element/active", Value::Null).await;
            if there && id(&active) == wanted {
                return;
            }
        }
        panic!("the keyboard does not reach {css}: {}", self.source().await);
    }

    /// Goes to a button or link with the tabulator, presses it, and waits for the next page.
    pub async fn press(&self, css: &str) {
        self.tab_to(css).await;
        let before = self.element("html").await;
        self.keys(&[ENTER]).await;
        let start = Instant::now();
        loop {
            let (there, found) =
                self.try_ask("POST", "/element", json!({ "using": "css selector", "value": "html" })).await;
            if there && id(&found) != before {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{css} leads nowhere");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Runs a script and returns what it returns.
    pub async fn script(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Keeps a picture of the whole page under `target/ci-logs/screenshots`.
    pub async fn picture(&self, name: &str) {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.tell("Page.captureScreenshot", params).await;
        let bytes = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        let folder = source::top().join("target/ci-logs/screenshots");
        fs::create_dir_all(&folder).expect("a folder for pictures");
        fs::write(folder.join(format!("{name}.png")), bytes).expect("the picture is kept");
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.try_ask("DELETE", "", Value::Null).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("/bin/sh").args(["-c", "kill -KILL \"$1\"", "kill", &group]).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The number that WebDriver gives an element.
fn id(element: &Value) -> String {
    element["element-6066-11e4-a52e-4f735466cecf"].as_str().unwrap_or_default().to_owned()
}
