//! Stops: a campaign that must not go on by itself is paused, and says why (rules 5.3; T04, T05).

use crate::{
    app::App,
    domain::{lang::Lang, replies::ReplyClass, stops::Gauge},
    store::{self, Tx, stops::Stopped},
};

/// Whether an answer of this class may stop a campaign.
pub fn is_grave(class: Option<ReplyClass>) -> bool {
    matches!(class, Some(ReplyClass::Hard | ReplyClass::Config | ReplyClass::Content))
}

/// Looks at the numbers of a campaign, and pauses it when one of them is too high. True: it was.
pub async fn judge(app: &App, campaign: i64) -> store::Result<bool> {
    let mut tx = app.db.read().await?;
    let fired = app.config.stops.fired(&store::stops::numbers(&mut tx, campaign).await?);
    drop(tx);
    let Some(gauge) = fired else { return Ok(false) };
    let why = Stopped { stop: gauge.stop, count: gauge.count, of: gauge.of };
    let mut tx = app.db.write().await?;
    let stopped = store::stops::stop(&mut tx, campaign, why, app.now().as_millisecond()).await?;
    tx.commit().await?;
    if stopped {
        let sentence = why.stop.sentence(why.count, why.of, Lang::En);
        tracing::error!(campaign, stop = %why.stop, "{sentence}");
    }
    Ok(stopped)
}

/// Every stop of a campaign, and how near it is.
pub async fn gauges(app: &App, tx: &mut Tx, campaign: i64) -> store::Result<Vec<Gauge>> {
    Ok(app.config.stops.gauges(&store::stops::numbers(tx, campaign).await?))
}
