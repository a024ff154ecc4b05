//! Send: the question of a plan becomes a campaign, to its askable people alone, in waves.
//!
//! The serving process does the work. Everybody is decided again when their wave is queued, when they
//! are claimed, and at the gate: a plan permits nothing by itself.

use std::collections::HashSet;

use serde::Serialize;

use super::{apply, plan_name};
use crate::{
    app::App,
    domain::{
        campaign_file::{BodyFormat, CampaignFile, Mailbox, Rate},
        content::Level,
        lang::Lang,
        located::{Problem, Problems},
        repermission::waves::Waves,
    },
    pipeline::{
        compile::{Compiled, Unusable},
        preflight::{self, Finding},
    },
    store::{
        campaigns,
        repermission::{self, Plan},
    },
};

/// The question as it is sent unless the operator writes another.
const SUBJECT: &str = include_str!("../../../templates/repermission/subject.txt");
const BODY: &str = include_str!("../../../templates/repermission/question.md");

/// How the question is put.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Who asks. None: the controller, if it has a name and an address.
    pub from: Option<String>,
    /// Where replies go, if not there.
    pub reply_to: Option<String>,
    /// Template of the subject, instead of ours.
    pub subject: Option<String>,
    /// The operator's words above the question, instead of ours. Question, answers, notice and right to
    /// object are put in all the same.
    pub body: Option<Words>,
    /// One language for all, instead of each person's own.
    pub language: Option<Lang>,
    /// Messages per time.
    pub rate: Option<Rate>,
    /// Waves and stops.
    pub waves: Waves,
}

/// Markdown that the operator wrote.
#[derive(Debug, Clone)]
pub struct Words {
    /// What its file is called, as problems name it.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// What was begun.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    /// The plan.
    pub plan: String,
    /// Slug of the campaign that asks.
    pub campaign: String,
    /// How many may be asked.
    pub askable: i64,
    /// In how many waves.
    pub waves: u64,
    /// Seconds between two waves.
    pub pause_seconds: u64,
    /// What should be known, and stands in nobody's way.
    pub warnings: Vec<Finding>,
}

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No such plan.
    #[error("there is no plan {0:?}; `ouinon repermission plan` makes one and prints its name")]
    Unknown(String),
    /// The question of this plan has been put.
    #[error(
        "the question of {plan} was put by campaign {campaign}; nobody is asked twice, and there is no reminder (RP-6)"
    )]
    AlreadySent {
        /// The plan.
        plan: String,
        /// Its campaign.
        campaign: String,
    },
    /// Another campaign has the name that the question's would have.
    #[error(
        "campaign {campaign} is not the question of {plan} but another campaign of that name, made by hand: nobody of {plan} was asked; make the plan again from the file, and send the new one, whose campaign gets another name"
    )]
    NameTaken {
        /// The plan.
        plan: String,
        /// The campaign.
        campaign: String,
    },
    /// Nobody of the list may be asked.
    #[error("nobody of {0} may be asked: the question itself is marketing (RP-1), and there is no way around that")]
    Nobody(String),
    /// What was kept of its people is gone.
    #[error("what {0} kept of its people was forgotten; make the plan again from the file")]
    Forgotten(String),
    /// Nobody is named who asks.
    #[error("who asks? pass --from \"Name <address>\", or set controller.name and controller.contact")]
    NoSender,
    /// The notice must name the controller (GDPR 13(1)(a)).
    #[error("controller.name is not configured: the notice must say who is responsible (GD-3)")]
    NoController,
    /// What was written does not make a message.
    #[error("{0}")]
    Written(String),
    /// Something refuses the launch.
    #[error("{}", .0.iter().map(|f| f.message.as_str()).collect::<Vec<_>>().join("; "))]
    Findings(Vec<Finding>),
    /// The campaign cannot be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

impl SendError {
    /// A rule refuses it; else the input is wrong, or something failed.
    pub fn is_refused(&self) -> bool {
        matches!(
            self,
            SendError::AlreadySent { .. } | SendError::Nobody(_) | SendError::Findings(_) | SendError::NoController
        )
    }

    /// What was given is wrong.
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            SendError::Unknown(_)
                | SendError::NameTaken { .. }
                | SendError::Forgotten(_)
                | SendError::NoSender
                | SendError::Written(_)
                | SendError::Unusable(Unusable::Written(_) | Unusable::NoProduct(_))
        )
    }
}

/// The plan of this name.
pub async fn find(app: &App, name: &str) -> Result<Plan, SendError> {
    let id = super::plan_id(name).ok_or_else(|| SendError::Unknown(name.to_owned()))?;
    let mut tx = app.db.read().await?;
    repermission::by_id(&mut tx, id).await?.ok_or_else(|| SendError::Unknown(name.to_owned()))
}

/// Records the refusals of the list, whatever comes of the rest, then starts to ask. Returns at once; the
/// serving process sends.
pub async fn send(app: &App, name: &str, asking: &Asking, lang: Lang) -> Result<Sent, SendError> {
    let plan = find(app, name).await?;
    let name = plan_name(plan.id);
    let slug = format!("repermission-{name}");
    if plan.campaign_id.is_some() {
        return Err(SendError::AlreadySent { plan: name, campaign: slug });
    }
    apply::refusals(app, &plan).await?;
    if plan.askable == 0 {
        return Err(SendError::Nobody(name));
    }
    if plan.forgotten_at.is_some() {
        return Err(SendError::Forgotten(name));
    }
    if app.config.controller.name.trim().is_empty() {
        return Err(SendError::NoController);
    }
    let source = source(app, &plan, &slug, asking)?;
    let places = Places::of(asking, &source);
    let mut file = CampaignFile::parse(&source, Some(BodyFormat::Markdown)).map_err(|p| places.parsed(p))?;
    places.own(&mut file);
    let mut tx = app.db.read().await?;
    if campaigns::by_slug(&mut tx, &slug).await?.is_some() {
        return Err(begun_or_taken(app, &plan, name, slug).await?);
    }
    let compiled = Compiled::of_file(app, &mut tx, file.clone()).await.map_err(|error| match error {
        Unusable::Written(problems) => places.written(problems),
        other => other.into(),
    })?;
    drop(tx);
    let frozen = compiled.message.frozen();
    let of_body: HashSet<&str> =
        frozen.findings.iter().filter(|f| f.level == Level::Error).map(|f| f.code.as_str()).collect();
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        preflight::findings(app, &compiled, lang).into_iter().partition(|finding| finding.level == "error");
    if !errors.is_empty() {
        let named = errors.into_iter().map(|mut finding| {
            if let Some(body) = asking.body.as_ref().filter(|_| of_body.contains(finding.code.as_str())) {
                finding.message = format!("{}: {}", body.name, finding.message);
            }
            finding
        });
        return Err(SendError::Findings(named.collect()));
    }

    let waves = asking.waves;
    let frozen = serde_json::to_string(compiled.message.frozen()).expect("texts can be written as JSON");
    let settings = serde_json::to_string(&waves).expect("numbers can be written as JSON");
    let now = app.now().as_millisecond();
    // The campaign and what it belongs to become visible together: it never looks like an ordinary one.
    let mut tx = app.db.write().await?;
    let already = || SendError::AlreadySent { plan: name.clone(), campaign: slug.clone() };
    if !campaigns::add(&mut tx, &file, &source, now).await? {
        drop(tx);
        return Err(begun_or_taken(app, &plan, name, slug).await?);
    }
    let row = campaigns::by_slug(&mut tx, &slug).await?.ok_or_else(already)?;
    if !repermission::start(&mut tx, plan.id, row.id, &settings).await?
        || !campaigns::schedule(&mut tx, row.id, &frozen, now, now).await?
    {
        return Err(already());
    }
    tx.commit().await?;
    Ok(Sent {
        plan: name,
        campaign: slug,
        askable: plan.askable,
        waves: waves.count(u64::try_from(plan.askable).unwrap_or_default()),
        pause_seconds: waves.pause_s,
        warnings,
    })
}

/// Why the campaign of a plan cannot be added: it is there, or one that is not of the plan has its name.
async fn begun_or_taken(app: &App, plan: &Plan, name: String, slug: String) -> Result<SendError, SendError> {
    let mut tx = app.db.read().await?;
    let plan = repermission::by_id(&mut tx, plan.id).await?;
    Ok(match plan.and_then(|plan| plan.campaign_id) {
        Some(_) => SendError::AlreadySent { plan: name, campaign: slug },
        None => SendError::NameTaken { plan: name, campaign: slug },
    })
}

/// Where what the operator wrote stands: problems name their file and its line, not those of the
/// campaign file that is made of it.
struct Places<'a> {
    asking: &'a Asking,
    /// Lines that we put before the body.
    lines_before: u32,
}

impl<'a> Places<'a> {
    fn of(asking: &'a Asking, source: &str) -> Places<'a> {
        let body = asking.body.as_ref().map_or(0, |body| body.text.len());
        let before = &source[..source.len().saturating_sub(body)];
        Places { asking, lines_before: u32::try_from(before.matches('\n').count()).unwrap_or_default() }
    }

    /// Lets the file tell the operator's places.
    fn own(&self, file: &mut CampaignFile) {
        if self.asking.body.is_some() {
            file.body_line = file.body_line.saturating_sub(self.lines_before).max(1);
        }
        if self.asking.subject.is_some() {
            file.subject_place = (1, 1);
        }
    }

    /// Problems found before the places were those of the operator.
    fn parsed(&self, problems: Problems) -> SendError {
        let own = |mut problem: Problem| {
            if problem.key.as_deref() == Some("body") && self.asking.body.is_some() {
                problem.line = problem.line.saturating_sub(self.lines_before).max(1);
            }
            problem
        };
        self.written(Problems(problems.0.into_iter().map(own).collect()))
    }

    fn written(&self, problems: Problems) -> SendError {
        let told = problems.0.into_iter().map(|problem| {
            let Problem { line, column, message, .. } = &problem;
            match (problem.key.as_deref(), &self.asking.body) {
                (Some("body"), Some(body)) => format!("{}: line {line}, column {column}: {message}", body.name),
                (Some("subject"), _) if self.asking.subject.is_some() => format!("--subject: {message}"),
                (Some("from"), _) => format!("--from: {message}"),
                (Some("reply_to"), _) => format!("--reply-to: {message}"),
                _ => problem.to_string(),
            }
        });
        SendError::Written(told.collect::<Vec<_>>().join("\n"))
    }
}

/// The campaign file of the question.
fn source(app: &App, plan: &Plan, slug: &str, asking: &Asking) -> Result<String, SendError> {
    let from = match &asking.from {
        Some(from) => from.clone(),
        None => {
            let controller = &app.config.controller;
            let mailbox = format!("\"{}\" <{}>", controller.name.replace(['"', '\\'], ""), controller.contact);
            if Mailbox::parse(&mailbox).is_err() {
                return Err(SendError::NoSender);
            }
            mailbox
        }
    };
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut front = format!(
        "slug = {}\nproduct = {}\nkind = \"repermission\"\nart14_notice = true\nformat = \"markdown\"\nsubject = {}\nfrom = {}\n",
        text(slug),
        text(&plan.product),
        text(asking.subject.as_deref().unwrap_or(SUBJECT.trim())),
        text(&from),
    );
    if let Some(reply_to) = &asking.reply_to {
        front.push_str(&format!("reply_to = {}\n", text(reply_to)));
    }
    if let Some(language) = asking.language {
        front.push_str(&format!("language = \"{language}\"\n"));
    }
    if let Some(rate) = asking.rate {
        front.push_str(&format!("rate = \"{rate}\"\n"));
    }
    let body = asking.body.as_ref().map_or(BODY, |body| body.text.as_str());
    // With one language for all, the template's own question about the person's is answered beforehand.
    let body = match asking.language {
        Some(language) if asking.body.is_none() => in_language(body, language),
        _ => body.to_owned(),
    };
    let front = match asking.language {
        Some(language) if asking.subject.is_none() => {
            front.replace(&text(SUBJECT.trim()), &text(&in_language(SUBJECT.trim(), language)))
        }
        _ => front,
    };
    Ok(format!("+++\n{front}+++\n{body}"))
}

/// The part of our template that is in one language.
fn in_language(template: &str, language: Lang) -> String {
    let (fr, en) = template
        .split_once(FRENCH)
        .and_then(|(_, rest)| rest.split_once("{% else %}"))
        .map(|(fr, en)| (fr, en.trim_end().trim_end_matches("{% endif %}")))
        .unwrap_or((template, template));
    language.pick(fr, en).trim().to_owned()
}

/// How our templates ask for French: as the parts that are put in do.
const FRENCH: &str =
    "{% if contact.language is empty or contact.language == 'fr' or contact.language is startingwith('fr-') %}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_of_our_templates_can_stand_alone() {
        for template in [SUBJECT, BODY] {
            let (fr, en) = (in_language(template, Lang::Fr), in_language(template, Lang::En));
            assert!(!fr.contains("{% if contact.language") && !en.contains("{% if contact.language"), "{fr} {en}");
            assert!(fr != en && !fr.is_empty() && !en.is_empty() && !en.contains("endif %}{% endif"), "{en}");
        }
        assert!(
            in_language(SUBJECT, Lang::Fr).contains("vous écrire") && in_language(SUBJECT, Lang::En).contains("May we")
        );
    }
}
