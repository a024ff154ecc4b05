//! Send: the question of a plan becomes a campaign, to its askable people alone, in waves.
//!
//! The serving process does the work. Everybody is decided again when their wave is queued, when they
//! are claimed, and at the gate: a plan permits nothing by itself.

use serde::Serialize;

use super::{apply, plan_name};
use crate::{
    app::App,
    domain::{
        campaign_file::{BodyFormat, CampaignFile, Mailbox, Rate},
        lang::Lang,
        located::Problems,
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
    /// Markdown of the body, instead of ours. Links, notice and right to object are put in all the same.
    pub body: Option<String>,
    /// One language for all, instead of each person's own.
    pub language: Option<Lang>,
    /// Messages per time.
    pub rate: Option<Rate>,
    /// Waves and stops.
    pub waves: Waves,
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

/// Records the refusals of the list, then starts to ask. Returns at once; the serving process sends.
pub async fn send(app: &App, name: &str, asking: &Asking, lang: Lang) -> Result<Sent, SendError> {
    let plan = find(app, name).await?;
    let name = plan_name(plan.id);
    let slug = format!("repermission-{name}");
    if plan.campaign_id.is_some() {
        return Err(SendError::AlreadySent { plan: name, campaign: slug });
    }
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
    let file = CampaignFile::parse(&source, Some(BodyFormat::Markdown)).map_err(written)?;
    let mut tx = app.db.read().await?;
    let compiled = Compiled::of_file(app, &mut tx, file.clone()).await?;
    drop(tx);
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        preflight::findings(app, &compiled, lang).into_iter().partition(|finding| finding.level == "error");
    if !errors.is_empty() {
        return Err(SendError::Findings(errors));
    }
    apply::refusals(app, &plan).await?;

    let waves = asking.waves;
    let frozen = serde_json::to_string(compiled.message.frozen()).expect("texts can be written as JSON");
    let settings = serde_json::to_string(&waves).expect("numbers can be written as JSON");
    let now = app.now().as_millisecond();
    // The campaign and what it belongs to become visible together: it never looks like an ordinary one.
    let mut tx = app.db.write().await?;
    let already = || SendError::AlreadySent { plan: name.clone(), campaign: slug.clone() };
    if !campaigns::add(&mut tx, &file, &source, now).await? {
        return Err(already());
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
    let body = asking.body.as_deref().unwrap_or(BODY);
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

fn written(problems: Problems) -> SendError {
    SendError::Written(problems.to_string())
}

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
