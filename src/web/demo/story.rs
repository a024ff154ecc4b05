//! `/`: what happened, in numbers that sum.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};

use super::{Demo, Imported, lang_of, page};
use crate::{
    domain::{
        eligibility::{Basis, Reason},
        lang::Lang,
    },
    pipeline::report::{self, Report},
    store::{self, campaigns},
};

/// The page.
#[derive(Template)]
#[template(path = "demo/story.html")]
struct StoryPage {
    lang: Lang,
    imported: Option<Imported>,
    refused: Vec<Row>,
    campaigns: Vec<Told>,
    caught: usize,
}

/// A campaign as the page tells it.
struct Told {
    report: Report,
    /// Send first, then block; each the greatest first.
    send: Vec<Row>,
    block: Vec<Row>,
    left: i64,
    /// Reasons that count more people than in the campaign before.
    newly: Vec<Row>,
}

/// A code, how many, its sentence, and its piece of the bar.
struct Row {
    code: String,
    n: i64,
    sentence: String,
    /// Start and width in thousandths of the bar.
    x: f64,
    width: f64,
    shade: usize,
}

/// Shades of a side of the bar; more codes than that share the last.
const SHADES: usize = 6;

/// GET: reads everything anew, so that the page is true while campaigns run.
pub async fn show(State(demo): State<Demo>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let lang = lang_of(&demo, query.as_deref(), &headers);
    let reports = match reports(&demo).await {
        Ok(reports) => reports,
        Err(error) => {
            tracing::error!(%error, "the database fails");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let imported = demo.imported.get().cloned();
    let mut campaigns: Vec<Told> = Vec::new();
    for report in reports {
        let before = campaigns.last().map(|told| &told.report.status.by_reason);
        let newly = before.map_or_else(Vec::new, |before| newly(before, &report.status.by_reason, lang));
        campaigns.push(told(report, newly, lang));
    }
    let refused = imported.as_ref().map_or_else(Vec::new, |imported| refused(imported, lang));
    page(&StoryPage { lang, imported, refused, campaigns, caught: demo.mailbag.count() })
}

async fn reports(demo: &Demo) -> store::Result<Vec<Report>> {
    let mut tx = demo.app.db.read().await?;
    let mut rows = campaigns::all(&mut tx).await?;
    rows.retain(|row| row.launched_at.is_some());
    rows.sort_by_key(|row| row.id);
    let mut reports = Vec::new();
    for row in &rows {
        reports.push(report::report(&mut tx, row).await?);
    }
    Ok(reports)
}

fn told(report: Report, newly: Vec<Row>, lang: Lang) -> Told {
    let status = &report.status;
    let asked = status.asked;
    let mut send = rows(&report.by_basis, lang);
    let mut block = rows(&status.by_reason, lang);
    let after_send = place(&mut send, 0.0, asked);
    let left = status.queued + status.claimed + status.submitting + status.deferred;
    let left_width = if asked > 0 { 1000.0 * left as f64 / asked as f64 } else { 0.0 };
    place(&mut block, after_send + left_width, asked);
    Told { send, block, left, newly, report }
}

/// Codes with their sentences, the greatest first.
fn rows(counts: &BTreeMap<String, i64>, lang: Lang) -> Vec<Row> {
    let mut rows: Vec<Row> = counts
        .iter()
        .map(|(code, n)| Row {
            sentence: sentence(code, lang),
            code: code.clone(),
            n: *n,
            x: 0.0,
            width: 0.0,
            shade: 0,
        })
        .collect();
    rows.sort_by(|a, b| b.n.cmp(&a.n).then_with(|| a.code.cmp(&b.code)));
    rows
}

/// Gives each row its piece of the bar from `x` on, and says where the last one ends.
fn place(rows: &mut [Row], mut x: f64, asked: i64) -> f64 {
    for (i, row) in rows.iter_mut().enumerate() {
        row.x = x;
        row.width = 1000.0 * row.n as f64 / asked.max(1) as f64;
        row.shade = i.min(SHADES - 1);
        x += row.width;
    }
    x
}

/// What more people are blocked for than in the campaign before.
fn newly(before: &BTreeMap<String, i64>, now: &BTreeMap<String, i64>, lang: Lang) -> Vec<Row> {
    let more = now.iter().map(|(code, n)| (code.clone(), n - before.get(code).copied().unwrap_or(0)));
    rows(&more.filter(|(_, n)| *n > 0).collect(), lang)
}

fn refused(imported: &Imported, lang: Lang) -> Vec<Row> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for refusal in &imported.refusals {
        *counts.entry(refusal.code.clone()).or_default() += 1;
    }
    rows(&counts, lang)
}

fn sentence(code: &str, lang: Lang) -> String {
    let of_reason = code.parse::<Reason>().map(|reason| reason.sentence(lang));
    of_reason.or_else(|_| code.parse::<Basis>().map(|basis| basis.sentence(lang))).unwrap_or_default().to_owned()
}
