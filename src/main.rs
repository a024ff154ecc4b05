//! The `ouinon` program.

use std::{io::IsTerminal, process::ExitCode};

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("no other provider was installed before");
    let filter = std::env::var("OUINON_LOG").unwrap_or_else(|_| "ouinon=info,warn".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(ouinon::cli::main()),
        Err(error) => {
            eprintln!("ouinon: {error}");
            ExitCode::FAILURE
        }
    }
}
