//! `ouinon serve`

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::{net::TcpListener, sync::watch};

use super::Failure;
use crate::{app::App, pipeline::preview, web, worker};

/// What to run, and where to listen.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Web pages, worker (scheduler and sender), or both
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Address of a further listener for /metrics and /healthz, for a process without pages too
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<SocketAddr>,
}

/// The part of the work that a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything
    All,
    /// Pages only
    Web,
    /// Scheduler and sender only
    Worker,
}

/// Serves until SIGTERM or Ctrl-C, then lets everything end that has begun.
pub async fn run(app: &App, args: ServeArgs) -> anyhow::Result<ExitCode> {
    // Before anybody can know that we serve: whoever asks us to stop at once is heard.
    let signalled = signalled()?;
    let (stop, stopped) = watch::channel(false);
    let server = match args.role {
        Role::Web => None,
        Role::All if app.config.smtp.url.is_none() => {
            tracing::warn!("no mail server is configured (smtp.url): campaigns wait");
            None
        }
        Role::All | Role::Worker => Some(preview::server(app).map_err(|e| Failure::Input(e.to_string()))?),
    };
    let working = server.map(|server| tokio::spawn(worker::run(app.clone(), server, stopped.clone())));
    let serving = match args.role {
        Role::Worker => None,
        Role::All | Role::Web => {
            let listener = TcpListener::bind((args.bind, args.port))
                .await
                .with_context(|| format!("cannot listen on {}:{}", args.bind, args.port))?;
            // Whether anybody reads it or not, the pages are served.
            let _ = writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?);
            let mut stopped = stopped.clone();
            let until = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            Some(tokio::spawn(web::serve(app.clone(), listener, until)))
        }
    };
    let measuring = match args.metrics {
        None => None,
        Some(at) => {
            let listener = TcpListener::bind(at).await.with_context(|| format!("cannot listen on {at}"))?;
            say!("metrics on http://{}/metrics", listener.local_addr()?);
            let mut stopped = stopped.clone();
            let until = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            Some(tokio::spawn(web::serve_metrics(app.clone(), listener, until)))
        }
    };
    signalled.await?;
    tracing::info!("stopping");
    let _ = stop.send(true);
    if let Some(working) = working {
        working.await??;
    }
    if let Some(serving) = serving {
        serving.await??;
    }
    if let Some(measuring) = measuring {
        measuring.await??;
    }
    // A database that does not answer is not waited for: all that could be said is said.
    let _ = tokio::time::timeout(GOODBYE, app.db.close()).await;
    Ok(ExitCode::SUCCESS)
}

/// How long the database may take to close.
const GOODBYE: Duration = Duration::from_secs(5);

/// Ends at SIGTERM or Ctrl-C; from this call on, and not only once it is awaited, neither kills the process.
pub(super) fn signalled() -> std::io::Result<impl Future<Output = std::io::Result<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}
