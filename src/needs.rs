//! Tests that need something the machine may lack: one line says what was left out, and with
//! `CI=true` leaving anything out is a failure.

use std::{
    collections::BTreeSet,
    io::Write,
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

static SAID: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);

/// Says once on the true standard error that `what` is left out, and why. Fails with `CI=true`.
pub fn left_out(what: &str, why: &str) {
    let line = format!("{what} left out: {why}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{line} (with CI=true this is a failure)");
    if SAID.lock().expect("nobody panics while holding the list").insert(line.clone()) {
        // The test harness captures only what the print macros write.
        let _ = writeln!(std::io::stderr(), "\n{line}");
    }
}

/// Where the program `name` is; none when it is missing, which was said.
pub fn program(name: &str, test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        left_out(test, &format!("{name} is not installed"));
    }
    found
}

/// A Python that has `modules`: `OUINON_TEST_PYTHON`, else `python3`; none when there is none.
pub fn python(modules: &[&str], test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("OUINON_TEST_PYTHON").map(PathBuf::from);
    let python = match named {
        Some(python) => python,
        None => program("python3", test)?,
    };
    let import = format!("import {}", modules.join(", "));
    let quiet = std::process::Stdio::null;
    let has_them = std::process::Command::new(&python)
        .args(["-c", &import])
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet())
        .status()
        .is_ok_and(|status| status.success());
    if !has_them {
        left_out(test, &format!("{} lacks one of {}", python.display(), modules.join(", ")));
        return None;
    }
    Some(python)
}
