//! Preflight: who would get a campaign now, who would not and why, and what stands in its way.
//!
//! Judges everybody with the same function as the queue, and writes nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{audience, compile::Compiled, preview};
use crate::{
    app::App,
    config::is_loopback,
    domain::{
        content::{self, Level},
        eligibility::{Basis, Outcome, Reason},
        lang::Lang,
        regimes::RULES_VERSION,
        windows::Windows,
    },
    store,
};

/// The forecast of a campaign; `asked` is `send.total` plus `block.total`.
#[derive(Debug, Clone, Serialize)]
pub struct Preflight {
    /// Slug.
    pub campaign: String,
    /// People of the audience.
    pub asked: i64,
    /// Who would get it.
    pub send: Sending,
    /// Who would not.
    pub block: Blocking,
    /// What stands in the way or should be looked at.
    pub findings: Vec<Finding>,
    /// Version of the rules.
    pub rules_version: &'static str,
}

/// Who would get it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sending {
    /// How many.
    pub total: i64,
    /// By basis; zeros left out.
    pub by_basis: BTreeMap<&'static str, i64>,
}

/// Who would not.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Blocking {
    /// How many.
    pub total: i64,
    /// By reason; zeros left out.
    pub by_reason: BTreeMap<&'static str, i64>,
}

/// Something to be mended or known before launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `error` refuses the launch, `warning` does not.
    pub level: &'static str,
    /// Stable code.
    pub code: String,
    /// What it is and the way out.
    pub message: String,
}

/// Judges the whole audience, page by page; `progress` hears how many were judged so far.
pub async fn preflight(
    app: &App,
    campaign: &Compiled,
    lang: Lang,
    mut progress: impl FnMut(i64),
) -> store::Result<Preflight> {
    let now = app.now();
    let mut forecast = Preflight {
        campaign: campaign.file.slug.clone(),
        asked: 0,
        send: Sending::default(),
        block: Blocking::default(),
        findings: findings(app, campaign, lang),
        rules_version: RULES_VERSION,
    };
    let mut after = 0;
    loop {
        // A transaction a page: a long one would hold back the cleaning of the database.
        let mut tx = app.db.read().await?;
        let page = audience::page(&mut tx, &app.rules, campaign, after, now).await?;
        drop(tx);
        for (_, decision) in &page.asked {
            forecast.count(decision.outcome);
        }
        let Some(last) = page.last else { break };
        after = last;
        progress(forecast.asked);
    }
    forecast.look_at_numbers(lang);
    Ok(forecast)
}

impl Preflight {
    fn count(&mut self, outcome: Outcome) {
        self.asked += 1;
        match outcome {
            Outcome::Send(basis) => {
                self.send.total += 1;
                *self.send.by_basis.entry(Basis::as_str(basis)).or_insert(0) += 1;
            }
            Outcome::Block(reason) => {
                self.block.total += 1;
                *self.block.by_reason.entry(Reason::as_str(reason)).or_insert(0) += 1;
            }
        }
    }

    fn look_at_numbers(&mut self, lang: Lang) {
        if self.asked == 0 {
            let (fr, en) = (
                "personne dans l'audience : importez des contacts, ou élargissez `audience`",
                "nobody belongs to the audience: import contacts, or widen `audience`",
            );
            self.warn("audience_empty", lang.pick(fr, en));
        } else if self.send.total == 0 {
            let (fr, en) = (
                "toutes les personnes demandées sont bloquées : `ouinon explain` dit ce qui le changerait",
                "everybody asked for is blocked: `ouinon explain` says what would change it",
            );
            self.warn("nobody_to_send", lang.pick(fr, en));
        }
    }

    fn warn(&mut self, code: &str, message: &str) {
        self.findings.push(Finding { level: "warning", code: code.to_owned(), message: message.to_owned() });
    }
}

/// What stands in a campaign's way, whoever its audience is.
pub fn findings(app: &App, campaign: &Compiled, lang: Lang) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |level: &'static str, code: &str, fr: String, en: String| {
        findings.push(Finding { level, code: code.to_owned(), message: lang.pick(fr, en) });
    };
    if let Err(error) = preview::server(app) {
        find(
            "error",
            "no_smtp",
            format!("{error} (smtp.url dans ouinon.toml, ou OUINON_SMTP_URL)"),
            format!("{error} (smtp.url in ouinon.toml, or OUINON_SMTP_URL)"),
        );
    }
    match app.config.public.url.as_deref() {
        None => find(
            "error",
            "no_public_url",
            "les liens des destinataires ne mènent nulle part : réglez public.url dans ouinon.toml ou OUINON_PUBLIC_URL (OC-1)".into(),
            "recipients' links have nowhere to lead: set public.url in ouinon.toml or OUINON_PUBLIC_URL (OC-1)".into(),
        ),
        Some(url) if url_host(url).is_some_and(|host| is_loopback(&host)) => find(
            "warning",
            "public_url_loopback",
            "les liens ne mènent qu'à cette machine (public.url) : ailleurs, personne ne pourra se désinscrire".into(),
            "recipients' links lead to this machine only (public.url): no recipient elsewhere can unsubscribe".into(),
        ),
        Some(_) => {}
    }
    if campaign.file.from.name.is_empty() {
        find(
            "error",
            "no_identity",
            "`from` n'a pas de nom : un message doit dire qui l'envoie ; écrivez from = \"Nom <adresse>\" (FR-4)"
                .into(),
            "`from` has no name: a message must say who sends it; write from = \"Name <address>\" (FR-4)".into(),
        );
    }
    if let Some(fault) = &campaign.key_fault {
        let level = if campaign.unsendable().is_some() { "error" } else { "warning" };
        let domain = campaign.file.from.address.domain();
        find(
            level,
            "dkim_key",
            format!(
                "{fault} ; `ouinon dkim new {domain} --selector NOUVEAU` en fait une autre ; jusque-là rien n'est signé (H-3)"
            ),
            format!(
                "{fault}; `ouinon dkim new {domain} --selector NEW` makes another; until then nothing is signed (H-3)"
            ),
        );
    } else if campaign.signer.is_none() {
        let domain = campaign.file.from.address.domain();
        find(
            "warning",
            "no_dkim",
            format!(
                "pas de clé DKIM pour {domain} : `ouinon dkim new {domain}` en fait une, à moins que le relais signe (OC-2)"
            ),
            format!("no DKIM key for {domain}: `ouinon dkim new {domain}` makes one, unless the relay signs (OC-2)"),
        );
    }
    if app.config.controller.postal_address.is_empty() {
        find(
            "warning",
            "no_postal_address",
            "controller.postal_address n'est pas réglée : les contacts US et CA seront bloqués (US-2, CA-5)".into(),
            "controller.postal_address is not configured: contacts in US and CA will be blocked (US-2, CA-5)".into(),
        );
    }
    let windows = campaign.windows(app);
    if Windows::opens(&windows, app.now(), app.tz()).is_none() {
        find(
            "error",
            "no_hours",
            "les heures d'envoi de la campagne et celles de l'installation ([schedule]) ne se rencontrent jamais"
                .into(),
            "the campaign's sending hours and the installation's ([schedule]) never meet".into(),
        );
    }
    if app.config.controller.name.is_empty() {
        find(
            "warning",
            "no_controller",
            "controller.name n'est pas réglé : le pied de page ne nomme que l'expéditeur".into(),
            "controller.name is not configured: the footer names the sender only".into(),
        );
    }
    if let Some(tag) = campaign.file.language.as_deref().filter(|tag| Lang::from_tag(tag).is_none()) {
        find(
            "warning",
            "language_unknown",
            format!(
                "language = {tag:?} : le pied de page et les pages n'existent qu'en français et en anglais ; ils seront en anglais"
            ),
            format!("language = {tag:?}: footer and pages exist in French and English only; they will be in English"),
        );
    }
    findings.extend(lint(campaign, lang));
    findings
}

/// What was found in the content.
pub fn lint(campaign: &Compiled, lang: Lang) -> Vec<Finding> {
    let finding = |lint: &content::Finding| Finding {
        level: if lint.level == Level::Error { "error" } else { "warning" },
        code: lint.code.to_string(),
        message: lint.message(lang).to_owned(),
    };
    campaign.message.frozen().findings.iter().map(finding).collect()
}

fn url_host(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let end = if host.starts_with('[') {
        host.find(']').map_or(host.len(), |i| i + 1)
    } else {
        host.find(':').unwrap_or(host.len())
    };
    Some(host[..end].to_owned())
}
