//! The `ouinon` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("no other provider was installed before");
    // First of all: threads inherit it.
    ouinon::cpu::interrupt_nobody();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(ouinon::cli::main()),
        Err(error) => {
            eprintln!("ouinon: {error}");
            ExitCode::FAILURE
        }
    }
}
