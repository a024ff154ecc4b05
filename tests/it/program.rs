//! The real program, run as a user runs it: in a folder of its own, with the settings of the story alone.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use secrecy::ExposeSecret;
use serde_json::Value;

use crate::world::World;

/// Where the program is run, and with which settings.
pub struct Program {
    folder: PathBuf,
    env: Vec<(&'static str, String)>,
}

/// A running `ouinon serve`. Dropping it kills it.
pub struct Serving {
    /// Where it listens.
    pub at: SocketAddr,
    child: Child,
}

impl Program {
    /// The program beside the world's installation: the same database, keys, mail server and controller.
    pub fn beside(world: &World) -> Program {
        let config = &world.app.config;
        let mut env = vec![
            ("OUINON_DATA_DIR", config.data_dir.display().to_string()),
            ("OUINON_DATABASE_URL", config.database.url.expose_secret().to_owned()),
            ("OUINON_CONTROLLER_NAME", config.controller.name.clone()),
            ("OUINON_CONTROLLER_POSTAL_ADDRESS", config.controller.postal_address.clone()),
        ];
        env.extend(config.smtp.url.as_ref().map(|url| ("OUINON_SMTP_URL", url.expose_secret().to_owned())));
        env.extend(config.public.url.as_ref().map(|url| ("OUINON_PUBLIC_URL", url.clone())));
        Program { folder: world.folder().to_owned(), env }
    }

    /// The program in a folder of its own, with no setting at all.
    pub fn in_folder(folder: &std::path::Path) -> Program {
        Program { folder: folder.to_owned(), env: Vec::new() }
    }

    /// The same with one more setting, or another value of one.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Program {
        self.env.retain(|(n, _)| *n != name);
        self.env.push((name, value.into()));
        self
    }

    /// A command that is yet to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ouinon"));
        command.args(args).current_dir(&self.folder).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// Runs a command that ends well, with `--json`, and returns what it prints.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}: {}\n{out}\n{err}", output.status);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e} in {out:?}"))
    }

    /// Starts `ouinon serve` on `port` (0: a free one), and waits until it says where it listens.
    pub fn serve(&self, port: u16) -> Serving {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("serve.log"))
            .expect("a log in the story's folder");
        let mut child = self
            .command(&["serve", "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let log = std::fs::read_to_string(self.folder.join("serve.log")).unwrap_or_default();
        let at = line.trim_end().strip_prefix("listening on http://").and_then(|at| at.parse().ok());
        Serving { child, at: at.unwrap_or_else(|| panic!("serve said {line:?}\n{log}")) }
    }
}

impl Serving {
    /// kill -9: no warning, nothing drained.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM: it drains, and ends well.
    pub fn terminate(mut self) {
        let id = self.child.id().to_string();
        let sent = Command::new("/bin/sh").args(["-c", "kill -TERM \"$1\"", "kill", &id]).status();
        assert!(sent.expect("a shell").success());
        let start = Instant::now();
        loop {
            match self.child.try_wait().expect("its end can be asked for") {
                Some(status) => return assert!(status.success(), "serve ended with {status}"),
                None => assert!(start.elapsed() < Duration::from_secs(60), "serve does not end"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
