//! Where a campaign stands and how it goes: once, or again and again.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{failure, print_status};
use crate::{
    app::App,
    cli::output,
    domain::{campaigns::CampaignState, lang::Lang},
    pipeline::{
        campaigns,
        report::{self, Live, Status},
    },
};

/// Answers where a campaign stands.
pub(super) async fn answer_status(app: &App, slug: &str, json: bool) -> anyhow::Result<ExitCode> {
    let live = status_of(app, slug).await?;
    if json {
        output::json(&live)?
    } else {
        print_live(&live, output::lang())
    }
    Ok(ExitCode::SUCCESS)
}

/// How often it looks again, unless counting takes long.
const EACH: Duration = Duration::from_secs(1);

/// Again until nothing moves any more.
pub(super) async fn watch(app: &App, slug: &str, json: bool) -> anyhow::Result<ExitCode> {
    let bar = output::progress(Some(0), slug);
    loop {
        let began = Instant::now();
        let live = status_of(app, slug).await?;
        let took = began.elapsed();
        let status = &live.status;
        let ended = matches!(status.state, CampaignState::Finished | CampaignState::Cancelled);
        if json {
            say!("{}", serde_json::to_string(&live)?);
        } else if bar.is_hidden() {
            say!("{}", [vec![line(status)], live.pace.lines(output::lang())].concat().join("; "));
        } else {
            bar.set_length(status.asked.unsigned_abs());
            let open = status.queued + status.claimed + status.submitting + status.deferred;
            bar.set_position((status.asked - open).unsigned_abs());
            bar.set_message(format!("{slug} {}: {}", status.state, live.pace.lines(output::lang()).join("; ")));
        }
        if ended {
            bar.finish_and_clear();
            if !json {
                print_live(&live, output::lang());
            }
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(EACH.max(report::rest(took))).await;
    }
}

/// The states on one line.
pub(super) fn line(s: &Status) -> String {
    format!(
        "{} {}: asked {} = queued {} + claimed {} + submitting {} + accepted {} + deferred {} + bounced {} + blocked {} \
         + unknown {} + cancelled {}",
        s.campaign,
        s.state,
        s.asked,
        s.queued,
        s.claimed,
        s.submitting,
        s.accepted,
        s.deferred,
        s.bounced,
        s.blocked,
        s.unknown,
        s.cancelled
    )
}

/// Writes a status for people, and how the campaign goes.
fn print_live(live: &Live, lang: Lang) {
    print_status(&live.status, lang);
    for line in live.pace.lines(lang) {
        say!("{line}");
    }
}

async fn status_of(app: &App, slug: &str) -> anyhow::Result<Live> {
    let mut tx = app.db.read().await?;
    let row = campaigns::find(&mut tx, slug).await.map_err(failure)?;
    Ok(report::live(app, &mut tx, &row, output::lang()).await?)
}
