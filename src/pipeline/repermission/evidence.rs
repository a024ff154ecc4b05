//! Evidence: everything that proves what was sorted, decided, asked and answered, in a signed file.
//!
//! Personal data are kept out of it: a decision names a file and a line. Whoever holds the list, whose
//! SHA-256 stands there, can look the line up; nobody else learns who it was.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Write},
    path::Path,
};

use jiff::Timestamp;

use super::{
    bundle::{self, Member},
    plan_name, report,
};
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        contacts::SourceKind,
        content::{Injected, Tracks},
        eligibility::Basis,
        lang::Lang,
        merge::MergeContact,
        regimes::RULES_VERSION,
        rulebook,
    },
    pipeline::compile::{Compiled, Unusable},
    store::{
        campaigns,
        repermission::{self, Plan, Word},
    },
};

const README: &str = include_str!("../../../templates/repermission/evidence.txt");
const PAGE: i64 = 5000;

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The file cannot be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The campaign cannot be read.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

/// Writes the evidence of a plan, as far as it has come, to a file; whole or not at all.
pub async fn write(app: &App, plan: &Plan, path: &Path) -> Result<(), EvidenceError> {
    let mut members = vec![Member::new("README.txt", README)];
    let document: serde_json::Value = serde_json::from_str(&plan.document).unwrap_or_default();
    members.push(Member::new("plan.json", pretty(&document)));
    let (decisions, rules) = decisions(app, plan).await?;
    members.push(Member::new("decisions.csv", decisions));
    members.push(Member::new("rules.json", pretty(&rules_cited(&rules))));
    if let Some(campaign) = plan.campaign_id {
        wording(app, campaign, &mut members).await?;
        members.push(Member::new("results.json", pretty(&report::report(app, plan).await?)));
        members.push(Member::new("results.csv", results(app, plan, campaign).await?));
    }
    let now = app.now().to_string();
    let too_large = || io::Error::other("more than 4 GiB of evidence");
    let bytes = bundle::seal(&plan_name(plan.id), &now, members, &app.keys.audit).ok_or_else(too_large)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain values can be written as JSON");
    text.push(b'\n');
    text
}

/// Every decision, by file and line, and the ids of the rules behind them.
async fn decisions(app: &App, plan: &Plan) -> Result<(Vec<u8>, BTreeSet<String>), EvidenceError> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["file", "line", "group", "reason", "rules", "decided_again"]).map_err(io::Error::other)?;
    let (mut after, mut rules) = (0, BTreeSet::new());
    loop {
        let mut tx = app.db.read().await?;
        let lines = repermission::lines(&mut tx, plan.id, after, PAGE).await?;
        drop(tx);
        let Some(last) = lines.last() else { break };
        after = last.position;
        for line in &lines {
            let numbers = [line.file.to_string(), line.line.to_string()];
            let row = [&numbers[0], &numbers[1], line.sorted_into.as_str(), &line.code, &line.rules, &line.asked];
            out.write_record(row).map_err(io::Error::other)?;
            for rule in line.rules.split(' ').filter(|rule| !rule.is_empty()) {
                if !rules.contains(rule) {
                    rules.insert(rule.to_owned());
                }
            }
        }
    }
    Ok((out.into_inner().map_err(|error| io::Error::other(error.to_string()))?, rules))
}

/// The rules behind the decisions, as they were written in that version.
fn rules_cited(ids: &BTreeSet<String>) -> serde_json::Value {
    let rules: Vec<_> = rulebook::all().iter().filter(|rule| ids.contains(rule.id)).collect();
    serde_json::json!({ "rules_version": RULES_VERSION, "rules": rules })
}

/// What was sent: the campaign as it was written, as it was frozen, and as a person reads it.
async fn wording(app: &App, campaign: i64, members: &mut Vec<Member>) -> Result<(), EvidenceError> {
    let mut tx = app.db.read().await?;
    let Some(row) = campaigns::by_id(&mut tx, campaign).await? else { return Ok(()) };
    let compiled = Compiled::of_row(app, &mut tx, &row).await?;
    drop(tx);
    members.push(Member::new("wording/campaign.md", row.source.clone()));
    let frozen: serde_json::Value = serde_json::from_str(&row.frozen).unwrap_or_default();
    members.push(Member::new("wording/frozen.json", pretty(&frozen)));
    for lang in Lang::ALL {
        let base = app.config.public.url.as_deref().unwrap_or("https://…");
        let (unsubscribe_url, answer_url) = (format!("{base}/o/TOKEN"), format!("{base}/a/TOKEN"));
        let injected = Injected {
            basis: Basis::LegitimateInterestB2b,
            unsubscribe_url: &unsubscribe_url,
            preferences_url: None,
            why_url: None,
            view_url: None,
            answer_url: Some(&answer_url),
            source: None,
            source_kind: SourceKind::BusinessCard,
            collected_at: None,
            test: false,
            tracks: Tracks::default(),
        };
        let person = MergeContact {
            email: "personne@exemple.example".to_owned(),
            language: Some(lang.to_string()),
            country: Some("FR".to_owned()),
            ..MergeContact::default()
        };
        if let Ok(message) = compiled.message.render(&person, &injected) {
            members.push(Member::new(
                &format!("wording/example-{lang}.txt"),
                format!("{}\n\n{}", message.subject, message.text),
            ));
            members.push(Member::new(&format!("wording/example-{lang}.html"), message.html));
        }
    }
    Ok(())
}

/// What became of each question, by file and line.
async fn results(app: &App, plan: &Plan, campaign: i64) -> Result<Vec<u8>, EvidenceError> {
    let mut tx = app.db.read().await?;
    let words = repermission::words(&mut tx, campaign).await?;
    drop(tx);
    let mut said: HashMap<AddressHash, &Word> = HashMap::new();
    for word in &words {
        said.insert(word.address_hash, word);
    }
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["file", "line", "state", "at", "answer", "answered_at"]).map_err(io::Error::other)?;
    let mut after = 0;
    loop {
        let mut tx = app.db.read().await?;
        let lines = repermission::lines(&mut tx, plan.id, after, PAGE).await?;
        let states = repermission::answered(&mut tx, plan.id, campaign, after, PAGE).await?;
        drop(tx);
        let Some(last) = lines.last() else { break };
        after = last.position;
        let state_of: HashMap<i64, (&str, Option<i64>)> =
            states.iter().map(|(position, state, at)| (*position, (state.as_str(), *at))).collect();
        for line in &lines {
            let Some((state, at)) = state_of.get(&line.position) else { continue };
            let hash = line.address_hash.clone().and_then(|hash| AddressHash::try_from(hash).ok());
            let word = hash.and_then(|hash| said.get(&hash));
            let answer = word.map_or("", |word| if word.class == "objection" { "no" } else { word.kind.as_str() });
            let answered_at = word.map(|word| instant(word.at)).unwrap_or_default();
            let row = [
                &line.file.to_string(),
                &line.line.to_string(),
                *state,
                &at.map(instant).unwrap_or_default(),
                answer,
                &answered_at,
            ];
            out.write_record(row).map_err(io::Error::other)?;
        }
    }
    Ok(out.into_inner().map_err(|error| io::Error::other(error.to_string()))?)
}

fn instant(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string())
}
