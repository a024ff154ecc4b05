//! A campaign's life: created, edited, launched, paused, resumed, cancelled, resolved.

use jiff::Timestamp;

use super::compile::{Compiled, Unusable};
use crate::{
    app::App,
    domain::{
        address::Address,
        campaign_file::{BodyFormat, CampaignFile},
        campaigns::{CampaignKind, CampaignState, DeliveryState},
        located::Problems,
    },
    store::{self, campaigns, campaigns::Campaign, contacts, deliveries, facts},
};

/// Why a campaign's act did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// What is written is wrong; every problem with its place.
    #[error("{0}")]
    File(Problems),
    /// No campaign of this name.
    #[error("there is no campaign {0:?}; `ouinon campaign list` shows those there are")]
    Unknown(String),
    /// The name is taken.
    #[error("there is a campaign {0:?} already; `ouinon campaign edit` changes a draft")]
    Taken(String),
    /// The state does not allow it.
    #[error("campaign {slug:?} is {state}: {way_out}")]
    State {
        /// Which campaign.
        slug: String,
        /// Where it stands.
        state: CampaignState,
        /// What can be done.
        way_out: &'static str,
    },
    /// No contact of this address, or no unknown delivery to it.
    #[error("no delivery of this campaign to that address is unknown")]
    NotUnknown,
    /// The stored campaign cannot be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

/// Reads and checks a campaign file and keeps it as a draft. All or nothing.
pub async fn create(app: &App, source: &str, by_name: Option<BodyFormat>) -> Result<Compiled, CampaignError> {
    let file = CampaignFile::parse(source, by_name).map_err(CampaignError::File)?;
    let mut tx = app.db.write().await?;
    let compiled = Compiled::of_file(app, &mut tx, file).await?;
    if !campaigns::add(&mut tx, &compiled.file, source, app.now().as_millisecond()).await? {
        return Err(CampaignError::Taken(compiled.file.slug));
    }
    tx.commit().await?;
    Ok(compiled)
}

/// Replaces what the draft `slug` says. The file must keep the name.
pub async fn edit(app: &App, slug: &str, source: &str, by_name: Option<BodyFormat>) -> Result<Compiled, CampaignError> {
    let file = CampaignFile::parse(source, by_name).map_err(CampaignError::File)?;
    let mut tx = app.db.write().await?;
    let row = find(&mut tx, slug).await?;
    if file.slug != slug {
        return Err(CampaignError::Unknown(file.slug));
    }
    let compiled = Compiled::of_file(app, &mut tx, file).await?;
    if !campaigns::edit(&mut tx, &compiled.file, source, app.now().as_millisecond()).await? {
        return Err(wrong_state(row, "only a draft can be edited"));
    }
    tx.commit().await?;
    Ok(compiled)
}

/// Freezes a draft and makes it start at `at`, or now. The serving process does the work.
pub async fn launch(app: &App, slug: &str, at: Option<Timestamp>) -> Result<(), CampaignError> {
    let now = app.now();
    let mut tx = app.db.write().await?;
    let row = find(&mut tx, slug).await?;
    let compiled = Compiled::of_row(app, &mut tx, &row).await?;
    let frozen = serde_json::to_string(compiled.message.frozen()).expect("texts can be written as JSON");
    let at = at.unwrap_or(now).as_millisecond();
    if !campaigns::schedule(&mut tx, row.id, &frozen, at, now.as_millisecond()).await? {
        return Err(wrong_state(row, "only a draft can be launched; copy it under another slug to send it again"));
    }
    tx.commit().await?;
    Ok(())
}

/// Stops submitting until resumed; what is on the wire ends first.
pub async fn pause(app: &App, slug: &str) -> Result<(), CampaignError> {
    let row = transition(app, slug, &[CampaignState::Running], CampaignState::Paused).await?;
    match row {
        Ok(_) => Ok(()),
        Err(row) if row.state == CampaignState::Paused => Ok(()),
        Err(row) => Err(wrong_state(row, "only a running campaign can be paused")),
    }
}

/// Goes on where it was paused.
pub async fn resume(app: &App, slug: &str) -> Result<(), CampaignError> {
    let row = transition(app, slug, &[CampaignState::Paused], CampaignState::Running).await?;
    match row {
        Ok(_) => Ok(()),
        Err(row) if row.state == CampaignState::Running => Ok(()),
        Err(row) => Err(wrong_state(row, "only a paused campaign can be resumed")),
    }
}

/// Stops for good: what was not submitted is counted as cancelled.
pub async fn cancel(app: &App, slug: &str) -> Result<(), CampaignError> {
    use CampaignState::{Cancelled, Draft, Paused, Running, Scheduled};
    let now = app.now().as_millisecond();
    let mut tx = app.db.write().await?;
    let row = find(&mut tx, slug).await?;
    match row.state {
        Cancelled => return Ok(()),
        Draft | Scheduled | Running | Paused => {}
        CampaignState::Finished => return Err(wrong_state(row, "nothing is left to cancel")),
    }
    if !campaigns::move_state(&mut tx, row.id, row.state, Cancelled, now).await? {
        return Err(wrong_state(row, "it moved in this moment; look again"));
    }
    deliveries::cancel(&mut tx, row.id, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends an unknown delivery by a person's word.
pub async fn resolve(app: &App, slug: &str, address: &Address, to: DeliveryState) -> Result<(), CampaignError> {
    let mut tx = app.db.write().await?;
    let row = find(&mut tx, slug).await?;
    let person = app.keys.suppression.hash(address);
    let now = app.now().as_millisecond();
    if !deliveries::resolve(&mut tx, row.id, person, to, now).await? {
        return Err(CampaignError::NotUnknown);
    }
    if to == DeliveryState::Accepted && row.kind == CampaignKind::Repermission {
        // What the gate notes when the server says so (RP-6, RP-3).
        facts::note_asked(&mut tx, person, &row.product, now).await?;
        if CampaignFile::parse(&row.source, Some(row.format)).is_ok_and(|file| file.art14_notice) {
            contacts::inform(&mut tx, person, now).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// The campaign of this slug.
pub async fn find(tx: &mut store::Tx, slug: &str) -> Result<Campaign, CampaignError> {
    campaigns::by_slug(tx, slug).await?.ok_or_else(|| CampaignError::Unknown(slug.to_owned()))
}

/// Moves a campaign, or gives it back as it stands when it is in none of the states `from`.
async fn transition(
    app: &App,
    slug: &str,
    from: &[CampaignState],
    to: CampaignState,
) -> Result<Result<Campaign, Campaign>, CampaignError> {
    let mut tx = app.db.write().await?;
    let row = find(&mut tx, slug).await?;
    if !from.contains(&row.state)
        || !campaigns::move_state(&mut tx, row.id, row.state, to, app.now().as_millisecond()).await?
    {
        return Ok(Err(row));
    }
    if to == CampaignState::Running {
        // Whoever resumes has seen why it was stopped.
        store::stops::begin_anew(&mut tx, row.id).await?;
    }
    tx.commit().await?;
    Ok(Ok(row))
}

fn wrong_state(row: Campaign, way_out: &'static str) -> CampaignError {
    CampaignError::State { slug: row.slug, state: row.state, way_out }
}
