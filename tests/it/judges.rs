//! Ten thousand messages through a mail server that we did not write, judged by a DKIM verifier and a
//! one-click client that we did not write. The program is the real one, from the CSV to the report.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ouinon::domain::campaigns::DeliveryState;
use serde_json::Value;

use crate::{
    needs,
    program::Program,
    sending::campaign,
    source,
    world::{World, on_both},
};

const PEOPLE: usize = 10_000;
const MODULES: &[&str] = &["dkim", "nacl", "listunsub"];
const TEST: &str = "10,000 messages through smtp-sink";
/// Minutes alone on two cores would do; a busy machine gets more.
const PATIENCE: Duration = Duration::from_secs(900);

/// A mail server from Debian's postfix that writes each message to a file.
struct Sink {
    child: Child,
    port: u16,
    dump: tempfile::TempDir,
}

impl Sink {
    fn start(program: &Path) -> Sink {
        let dump = tempfile::Builder::new().prefix("ouinon-sink-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dump.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let port = free_port();
        let mut command = Command::new(program);
        if is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg("-d").arg(dump.path().join("m/")).arg(format!("127.0.0.1:{port}")).arg("1000");
        let child = command.current_dir(dump.path()).stdin(Stdio::null()).spawn().expect("smtp-sink starts");
        let sink = Sink { child, port, dump };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return sink;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("smtp-sink does not listen");
    }

    /// The files of the messages, once the sink has ended.
    fn messages(&mut self) -> Vec<PathBuf> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let files = std::fs::read_dir(self.dump.path().join("m")).into_iter().flatten().flatten();
        // A connection without a message leaves no file, or an empty one.
        files.map(|file| file.path()).filter(|path| path.metadata().is_ok_and(|m| m.len() > 0)).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free").port()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0)
}

/// The list, and who of it may be written to: professionals, and consumers who said yes with a proof,
/// unless they refused since.
fn list() -> (String, BTreeSet<String>) {
    let day = |ago: i64| {
        let at = ouinon::clock::Clock::System.now().as_second() - ago * 86_400;
        jiff::Timestamp::from_second(at).unwrap().strftime("%Y-%m-%d").to_string()
    };
    let mut csv = String::from(
        "email,kind,relationship,first_name,last_name,country,language,source,source_kind,collected_at,informed,\
         unsubscribed_at,consent_crm,consent_crm_at,consent_crm_proof\n",
    );
    let mut may = BTreeSet::new();
    for i in 0..PEOPLE {
        let address = format!("person{i}@domain{}.example.org", i % 97);
        let consumer = i % 7 == 3;
        let yes = consumer && i % 2 == 0;
        let refused = i % 11 == 5;
        writeln!(
            csv,
            "{address},{},prospect,Zoé {i},\"O'Neil, É\",FR,{},formulaire du site,direct_form,{},yes,{},{}",
            if consumer { "consumer" } else { "business" },
            if i % 3 == 0 { "en" } else { "fr" },
            day(40),
            if refused { day(10) } else { String::new() },
            if yes { format!("granted,{},full", day(39)) } else { ",,".into() },
        )
        .unwrap();
        if !refused && (!consumer || yes) {
            may.insert(address);
        }
    }
    (csv, may)
}

/// The only envelope recipient of a message that the sink kept.
fn recipient(file: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("X-Rcpt-Args: ")).collect();
    assert_eq!(lines.len(), 1, "one recipient a message: {}", file.display());
    lines[0].split('>').next().unwrap().trim_start_matches('<').to_owned()
}

/// Runs a judge over its arguments; it must be content.
fn judged(python: &Path, tool: &str, args: &[&std::ffi::OsStr]) -> String {
    let tool = source::top().join("tests/tools").join(tool);
    let output = Command::new(python).arg("-B").arg(&tool).args(args).stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}", tool.display());
    said
}

/// Follows a campaign to its end by its status, whose states must sum to `asked` each time.
async fn finished(program: &Program, slug: &str) -> Value {
    let start = Instant::now();
    loop {
        let status = program.json(&["campaign", "status", slug]);
        let sum: i64 = DeliveryState::ALL.iter().map(|state| status[state.as_str()].as_i64().unwrap()).sum();
        assert_eq!(status["asked"], sum, "the states sum to asked at every instant: {status}");
        if status["state"] == "finished" {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "not finished: {status}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

on_both! {
    /// From a CSV of 10,000 to a real mail server: exactly the people whom the preflight counted, each once,
    /// each message with two signatures that verify, each link accepted by a mailbox provider's client.
    async fn ten_thousand_are_judged(world: &mut World) {
        let (Some(sink), Some(python)) = (needs::program("smtp-sink", TEST), needs::python(MODULES, TEST)) else { return };
        let mut sink = Sink::start(&sink);
        let port = free_port();
        let program = Program::beside(world)
            .with("OUINON_SMTP_URL", format!("smtp://127.0.0.1:{}", sink.port))
            // TLS ends in a proxy in front, which the client plays.
            .with("OUINON_PUBLIC_URL", "https://mail.news.example");
        let (csv, may) = list();
        std::fs::write(world.folder().join("list.csv"), csv).unwrap();
        program.json(&["product", "add", "crm", "--name", "CRM", "--for-business"]);
        let imported = program.json(&["import", "list.csv"]);
        assert_eq!((&imported["lines"], &imported["new"], &imported["refused"]), (&PEOPLE.into(), &PEOPLE.into(), &0.into()));
        let again = program.json(&["import", "list.csv"]);
        assert_eq!((&again["new"], &again["changed"], &again["unchanged"]), (&0.into(), &0.into(), &PEOPLE.into()));

        let records = program.json(&["dkim", "new", "news.example", "--selector", "s1"]);
        let zone = world.folder().join("zone");
        let line = |r: &Value| format!("{} {}\n", r["name"].as_str().unwrap(), r["value"].as_str().unwrap());
        std::fs::write(&zone, records["records"].as_array().unwrap().iter().map(line).collect::<String>()).unwrap();

        std::fs::write(world.folder().join("autumn.md"), campaign("autumn", "rate = \"600000/min\"")).unwrap();
        program.json(&["campaign", "create", "autumn.md"]);
        let forecast = program.json(&["campaign", "preflight", "autumn"]);
        assert_eq!((&forecast["asked"], &forecast["send"]["total"]), (&PEOPLE.into(), &may.len().into()));
        program.json(&["campaign", "launch", "autumn"]);
        let serving = program.serve(port);
        let status = finished(&program, "autumn").await;
        assert_eq!((&status["accepted"], &status["blocked"]), (&may.len().into(), &(PEOPLE - may.len()).into()));
        assert_eq!(status["by_reason"], forecast["block"]["by_reason"]);

        let files = sink.messages();
        let mailed: BTreeSet<String> = files.iter().map(|file| recipient(file)).collect();
        assert_eq!(files.len(), mailed.len(), "nobody is mailed twice");
        assert!(mailed == may, "exactly those who may be written to");
        let said = judged(&python, "verify_all.py", &[zone.as_os_str(), sink.dump.path().as_os_str(), "2".as_ref()]);
        assert!(said.contains(&format!("{0} of {0} messages verify", may.len())), "{said}");

        let connect = format!("127.0.0.1:{port}");
        for (file, form) in files.iter().step_by(files.len() / 6).zip(["multipart", "urlencoded"].iter().cycle()) {
            let args = [file.as_os_str(), "--connect".as_ref(), connect.as_ref(), "--form".as_ref(), form.as_ref(), "--zone".as_ref(), zone.as_os_str()];
            judged(&python, "one_click.py", &args);
            let explained = program.run(&["explain", &recipient(file), "--product", "crm", "--json"]);
            assert!(String::from_utf8_lossy(&explained.stdout).contains("SUPPRESSED_GLOBAL"));
        }
        serving.terminate();
        let refused = program.json(&["campaign", "report", "autumn"])["unsubscribes"].as_i64().unwrap();
        assert!(refused >= 6, "{refused} refusals are counted");
        std::fs::write(world.folder().join("winter.md"), campaign("winter", "rate = \"600000/min\"")).unwrap();
        program.json(&["campaign", "create", "winter.md"]);
        let next = program.json(&["campaign", "preflight", "winter"]);
        assert_eq!(next["send"]["total"].as_i64().unwrap(), may.len() as i64 - refused);
    }
}
