//! What a person chooses in the preference centre: products, tracking, language, a pause.
//!
//! Only what the person changed is written: what is not shown does not change, and neither does what
//! is shown and left as it is. A product that is switched on is a yes with double opt-in proof (the
//! link came by mail, the form is a POST), which lifts an earlier refusal of that product only (SUP-7).

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};

use super::{
    suppress::{self, Reach, Refusal, Whom},
    track, wordings,
};
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::{CampaignKind, Elements, Sector, Terms, TrackingRequest},
        consents::{ConsentState, Proof},
        contacts::{ActivityKind, TrackingConsent},
        eligibility::{self, Person},
        lang::Lang,
        suppressions::{Origin, SuppressionReason},
        wordings as texts,
    },
    store::{
        self, Tx,
        consents::{self, Consent, ConsentPurpose},
        contacts::{self, Contact},
        facts,
        products::{self, Product},
        suppressions,
    },
};

/// What a person receives and how, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// What there is to choose from.
    pub products: Vec<Choice>,
    /// Individual tracking is agreed to.
    pub tracking: bool,
    /// Language tag; empty when nothing is known.
    pub language: String,
    /// Until when (included) nothing is sent.
    pub paused_until: Option<Date>,
    /// The person refused all marketing: a product that is on has come back since.
    pub everything_refused: bool,
}

/// A product, and whether the person may be written to about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Slug.
    pub slug: String,
    /// Name.
    pub name: String,
    /// Marketing about it would be sent, a pause apart.
    pub on: bool,
}

/// What the person changed on the page; the rest is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Products by slug: on or off.
    pub products: BTreeMap<String, bool>,
    /// Individual tracking.
    pub tracking: Option<bool>,
    /// Language.
    pub language: Option<Lang>,
    /// Pause until a date (included), or no pause.
    pub pause: Option<Option<Date>>,
}

/// The longest pause, in days.
pub const MAX_PAUSE_DAYS: u32 = 366;

/// What a person receives, as [`choices`] says. None: there is no such contact.
pub async fn of_person(app: &App, tx: &mut Tx, person: AddressHash, about: u32) -> store::Result<Option<Choices>> {
    match contacts::by_hash(tx, person).await? {
        Some(contact) => choices(app, tx, &contact, about).await.map(Some),
        None => Ok(None),
    }
}

/// What the contact receives. `about` is the product that the link is about: shown even when it is not public.
pub async fn choices(app: &App, tx: &mut Tx, contact: &Contact, about: u32) -> store::Result<Choices> {
    let now = app.now();
    let mut choices = Choices {
        products: Vec::new(),
        tracking: false,
        language: contact.language.clone(),
        paused_until: contact.paused_until.parse().ok().filter(|until| *until >= today(app)),
        everything_refused: suppressions::standing(tx, &[contact.address_hash], &[], &[])
            .await?
            .iter()
            .any(|e| e.product.is_empty() && e.reason.is_the_persons_act()),
    };
    for product in products::all(tx).await?.into_iter().filter(|p| p.public || p.id == i64::from(about)) {
        let person = facts::of(tx, std::slice::from_ref(contact), &product.slug).await?.remove(0);
        choices.tracking = person.tracking == TrackingConsent::Granted;
        let on = would_be_sent(app, &product, person, now);
        choices.products.push(Choice { slug: product.slug, name: product.name, on });
    }
    if choices.products.is_empty() {
        let person = facts::of(tx, std::slice::from_ref(contact), "").await?.remove(0);
        choices.tracking = person.tracking == TrackingConsent::Granted;
    }
    Ok(choices)
}

/// Writes what the person changed, and returns what holds then. None: there is no such contact any more.
pub async fn change(
    app: &App,
    tx: &mut Tx,
    person: AddressHash,
    (about, campaign): (u32, u32),
    changes: &Changes,
    lang: Lang,
) -> store::Result<Option<Choices>> {
    let now = app.now();
    // Two forms sent at once are dealt with one after the other.
    suppress::lock_person(tx, person).await?;
    let Some(contact) = contacts::by_hash(tx, person).await? else { return Ok(None) };
    let before = choices(app, tx, &contact, about).await?;
    let mut page = Page { app, person, contact: &contact, campaign: i64::from(campaign), lang, now, heard: false };
    for choice in &before.products {
        match changes.products.get(&choice.slug) {
            Some(true) if !choice.on => page.agree(tx, ConsentPurpose::Mail, &choice.slug).await?,
            // Whatever else stands in the way by now may not last; the no does.
            Some(false) => page.refuse(tx, &choice.slug).await?,
            _ => {}
        }
    }
    match changes.tracking {
        Some(true) if !before.tracking => page.agree(tx, ConsentPurpose::Tracking, "").await?,
        Some(false) if before.tracking => page.withdraw_tracking(tx).await?,
        _ => {}
    }
    if let Some(language) = changes.language.filter(|l| Lang::from_tag(&before.language) != Some(*l)) {
        contacts::speak(tx, contact.id, language.as_str(), now.as_millisecond()).await?;
        page.heard = true;
    }
    if let Some(until) = changes.pause.filter(|until| *until != before.paused_until) {
        let text = until.map(|date| date.to_string()).unwrap_or_default();
        contacts::pause(tx, contact.id, &text, now.as_millisecond()).await?;
        page.heard = true;
    }
    // A purchase from which a permission lasts says more than a form does.
    let outlasts = |kind| kind == ActivityKind::Purchase && track::law_counts_from(&contact, kind);
    if page.heard && !contact.last_activity.parse().is_ok_and(outlasts) {
        // A form is a contact coming from the person (RET-3); a refusal alone is none (E16).
        contacts::heard(tx, contact.id, &now.to_string(), now.as_millisecond()).await?;
    }
    of_person(app, tx, person, about).await
}

/// The form of one person, being written.
struct Page<'a> {
    app: &'a App,
    person: AddressHash,
    contact: &'a Contact,
    campaign: i64,
    lang: Lang,
    now: Timestamp,
    heard: bool,
}

impl Page<'_> {
    async fn agree(&mut self, tx: &mut Tx, purpose: ConsentPurpose, product: &str) -> store::Result<()> {
        let sender = sender(self.app, self.lang);
        let own = match purpose {
            ConsentPurpose::Mail => texts::of_preferences(&sender, self.lang),
            ConsentPurpose::Tracking => texts::of_tracking(&sender, self.lang),
        };
        let kept = wordings::keep(tx, &own, self.now).await?;
        let evidence = wordings::evidence("preferences", &kept, &[("campaign", self.campaign.to_string())]);
        self.heard = true;
        self.say(tx, purpose, product, ConsentState::Granted, Proof::Doi, evidence).await
    }

    async fn withdraw_tracking(&mut self, tx: &mut Tx) -> store::Result<()> {
        self.say(tx, ConsentPurpose::Tracking, "", ConsentState::Withdrawn, Proof::None, "page=preferences".into())
            .await
    }

    async fn say(
        &self,
        tx: &mut Tx,
        purpose: ConsentPurpose,
        product: &str,
        state: ConsentState,
        proof: Proof,
        evidence: String,
    ) -> store::Result<()> {
        let now = self.now.as_millisecond();
        let event = Consent {
            contact_id: self.contact.id,
            purpose,
            product: product.to_owned(),
            state,
            at: Some(now),
            proof,
            evidence,
            origin: Origin::Page,
            recorded_at: now,
        };
        consents::add(tx, &[event]).await.map(|_| ())
    }

    async fn refuse(&self, tx: &mut Tx, product: &str) -> store::Result<()> {
        let refusal = Refusal {
            whom: Whom::Person(self.person),
            reach: Reach::Product(product.to_owned()),
            reason: SuppressionReason::Unsubscribe,
            origin: Origin::Page,
            at: Some(self.now),
            campaign_id: Some(self.campaign).filter(|id| *id != 0),
            note: String::new(),
        };
        suppress::refuse(tx, &self.app.keys.suppression, &refusal, self.now).await.map(|_| ())
    }
}

/// Who writes, as the texts name them.
pub fn sender(app: &App, lang: Lang) -> String {
    match app.config.controller.name.as_str() {
        "" => lang.pick("cet expéditeur", "this sender").to_owned(),
        name => name.to_owned(),
    }
}

/// The date in the controller's time zone.
pub fn today(app: &App) -> Date {
    app.now().to_zoned(app.tz().clone()).date()
}

/// Whether marketing about a product would be sent, if the person had not asked for a pause. Decided as
/// every message is.
fn would_be_sent(app: &App, product: &Product, person: Person, now: Timestamp) -> bool {
    let terms = Terms {
        kind: CampaignKind::Marketing,
        product: product.slug.clone(),
        profession_related: product.for_business,
        sector: Sector::None,
        has_promo: true,
        art14_notice: true,
        elements: Elements { identity: true, optout: true, postal: true },
        tracking: TrackingRequest::None,
    };
    // Whoever reads this page is not inactive.
    let today = now.to_zoned(app.tz().clone()).date();
    let person = Person { paused_until: None, last_open: Some(today), ..person };
    eligibility::decide(&app.rules, &terms, &person, now).outcome.is_send()
}
