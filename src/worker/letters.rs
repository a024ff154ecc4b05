//! The letters that ask for a confirmation, sent beside the campaigns.

use std::time::Duration;

use tokio::sync::watch;

use crate::{app::App, pipeline::subscribe};

/// How often is looked for letters that are due.
const TICK: Duration = Duration::from_secs(1);

/// How long a letter that is begun may take once the worker is told to stop. One that is broken off is not
/// sent again: it may have left.
const LAST_LETTER: Duration = Duration::from_secs(20);

/// Sends what is due until `stop` says so; a letter that is begun is given time to end.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let patience = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(LAST_LETTER).await;
        };
        tokio::select! {
            sent = subscribe::send_letters(&app) => {
                if let Err(error) = sent {
                    tracing::error!(%error, "letters wait for the database");
                }
            }
            () = patience => return,
        }
    }
}
