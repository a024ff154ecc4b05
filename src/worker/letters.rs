//! The letters that ask for a confirmation, sent beside the campaigns.

use std::time::Duration;

use tokio::sync::watch;

use crate::{app::App, pipeline::subscribe};

/// How often is looked for letters that are due.
const TICK: Duration = Duration::from_secs(1);

/// Sends what is due until `stop` says so; a letter that is begun is ended.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = subscribe::send_letters(&app).await {
            tracing::error!(%error, "letters wait for the database");
        }
    }
}
