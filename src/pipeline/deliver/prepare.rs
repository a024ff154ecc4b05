//! Prepare: render, compose and sign one message. Pure work, no waiting.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Claim, Job, marks::Marks};
use crate::{
    app::App,
    domain::{
        address::{Address, AddressError, push_hex},
        campaigns::CampaignKind,
        contacts::TrackingConsent,
        content::{self, Injected, Rendered},
        dates::Dated,
        eligibility::{Basis, Tracking},
        merge::MergeContact,
        templates::RenderError,
        tokens::{self, Purpose as TokenPurpose, Token},
    },
    mail::{
        compose::{ComposeError, List, Mailbox, Parts, Purpose, Text, compose_into},
        dkim::Signer,
        smtp::Envelope,
    },
    pipeline::compile::Compiled,
    store::contacts::Contact,
};

/// Why a message cannot be made for a person. Names no person.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The stored address is none.
    #[error("the address is not valid: {0}")]
    Address(#[from] AddressError),
    /// The template fails.
    #[error("the message cannot be rendered: {0}")]
    Render(#[from] RenderError),
    /// The message would break a standard.
    #[error("the message cannot be composed: {0}")]
    Compose(#[from] ComposeError),
    /// Links have nowhere to lead.
    #[error("public.url is not configured: recipients' links need it")]
    NoPublicUrl,
}

/// A message, and what it says to be looked at.
pub struct Prepared {
    /// Subject and parts.
    pub rendered: Rendered,
    /// The signed bytes.
    pub bytes: Vec<u8>,
    /// The address it goes to.
    pub to: Address,
}

/// Makes the message of a claim.
pub fn prepare(app: &App, campaign: &Arc<Compiled>, claim: Claim, now: Timestamp) -> Result<Box<Job>, PrepareError> {
    // It was read when the facts were.
    let to = match &claim.person.address {
        Some(address) => address.clone(),
        None => Address::parse(&claim.contact.address)?,
    };
    let permit = Permit { basis: claim.basis, tracking: claim.tracking, consent: claim.person.tracking };
    let message = Draft::new(app, campaign, &claim.contact, permit, Copy::Real)?.sign(&to, now)?;
    Ok(Box::new(Job {
        campaign: Arc::clone(campaign),
        contact_id: claim.contact.id,
        address_hash: claim.contact.address_hash,
        person: claim.person,
        mark: claim.mark,
        attempts: claim.attempts,
        turn: claim.turn,
        basis: claim.basis,
        tracking: claim.tracking,
        envelope: Envelope { from: Some(campaign.file.from.address.clone()), to },
        message,
    }))
}

/// What a message is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// To be sent.
    Real,
    /// To be looked at: like the real one, but its links change nothing.
    Preview,
    /// To be sent as a test: marked, and its links change nothing.
    Test,
}

/// What was decided about a message, as far as it shows in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// Why it may be sent.
    pub basis: Basis,
    /// How it may be tracked.
    pub tracking: Tracking,
    /// What the person says about tracking.
    pub consent: TrackingConsent,
}

impl Permit {
    /// On this basis, untracked.
    pub fn untracked(basis: Basis) -> Permit {
        Permit { basis, tracking: Tracking::None, consent: TrackingConsent::None }
    }
}

/// Makes the message that a contact gets, or would get, and shows what it says.
pub fn message(
    app: &App,
    campaign: &Compiled,
    contact: &Contact,
    permit: &Permit,
    copy: Copy,
    now: Timestamp,
) -> Result<Prepared, PrepareError> {
    let to = Address::parse(&contact.address)?;
    let draft = Draft::new(app, campaign, contact, *permit, copy)?;
    let rendered = campaign.message.render(&draft.merge, &draft.injected())?;
    Ok(Prepared { rendered, bytes: draft.sign(&to, now)?, to })
}

/// What is said to one person, before it is written.
struct Draft<'a> {
    app: &'a App,
    campaign: &'a Compiled,
    contact: &'a Contact,
    permit: Permit,
    copy: Copy,
    merge: MergeContact<&'a str>,
    unsubscribe_url: String,
    preferences_url: String,
    why_url: String,
    view_url: String,
    unsubscribe_mailto: Option<String>,
    marks: Marks,
    /// Where the question of a re-permission is answered.
    answer_url: Option<String>,
}

impl<'a> Draft<'a> {
    fn new(
        app: &'a App,
        campaign: &'a Compiled,
        contact: &'a Contact,
        permit: Permit,
        copy: Copy,
    ) -> Result<Draft<'a>, PrepareError> {
        let theirs = token(app, campaign, contact, copy != Copy::Real);
        let base = app.config.public.url.as_deref().ok_or(PrepareError::NoPublicUrl)?;
        // A token of one purpose opens nothing else.
        let link = |page, purpose| link(app, base, page, &Token { purpose, ..theirs });
        let unsubscribe_url = link("/o/", TokenPurpose::Unsubscribe);
        Ok(Draft {
            app,
            campaign,
            contact,
            permit,
            copy,
            merge: merge(contact),
            preferences_url: link("/p/", TokenPurpose::Preferences),
            why_url: link("/w/", TokenPurpose::Why),
            view_url: link("/v/", TokenPurpose::View),
            unsubscribe_mailto: unsubscribe_mailto(app, token_of(&unsubscribe_url)),
            marks: Marks::new(app, campaign, contact, &permit, base, copy != Copy::Real),
            answer_url: (campaign.file.kind == CampaignKind::Repermission).then(|| link("/a/", TokenPurpose::Answer)),
            unsubscribe_url,
        })
    }

    fn injected(&self) -> Injected<'_> {
        let told = self.campaign.message.tells_the_source(self.contact.source_kind);
        let collected = told.then(|| Dated::read(&self.contact.collected_at).known()).flatten();
        Injected {
            basis: self.permit.basis,
            unsubscribe_url: &self.unsubscribe_url,
            preferences_url: Some(&self.preferences_url),
            why_url: Some(&self.why_url),
            view_url: Some(&self.view_url),
            answer_url: self.answer_url.as_deref(),
            source: Some(self.contact.source.as_str()).filter(|s| !s.is_empty()),
            source_kind: self.contact.source_kind,
            collected_at: collected.map(|when| when.local_date(self.app.tz())),
            test: self.copy == Copy::Test,
            tracks: self.marks.links(),
        }
    }

    /// The signed bytes.
    fn sign(&self, to: &Address, now: Timestamp) -> Result<Vec<u8>, PrepareError> {
        let Draft { campaign, unsubscribe_url, .. } = self;
        let printed = campaign.message.print(&self.merge, &self.injected())?;
        let file = &campaign.file;
        let list = List {
            name: &campaign.product.name,
            slug: &campaign.product.slug,
            unsubscribe_url,
            unsubscribe_mailto: self.unsubscribe_mailto.as_deref(),
        };
        let purpose = match file.kind {
            CampaignKind::Service => Purpose::Service,
            CampaignKind::Marketing | CampaignKind::Repermission => Purpose::Marketing(list),
        };
        let (mut of_text, mut of_html) = (Vec::new(), Vec::new());
        let (text, html) = (part(&printed.text, &mut of_text), part(&printed.html, &mut of_html));
        let feedback_id = campaign.feedback_id.as_ref().map_err(Clone::clone)?.as_ref();
        let message_id = message_id(token_of(unsubscribe_url), file.from.address.domain());
        let parts = Parts {
            purpose,
            from: mailbox(&file.from.name, &file.from.address),
            to: mailbox("", to),
            reply_to: file.reply_to.as_ref().map(|r| mailbox(&r.name, &r.address)),
            subject: &printed.subject,
            text,
            html: Some(html),
            lang: campaign.message.frozen().lang(&self.merge),
            date: now,
            message_id: &message_id,
            feedback_id,
            test: self.copy == Copy::Test,
        };
        // The signatures stand before what they sign, which then need not move.
        let room = campaign.signer.as_ref().map_or(0, Signer::usual_length);
        let mut bytes = campaign.buffers.take();
        bytes.resize(room, 0);
        let mut bytes = compose_into(bytes, &parts)?;
        if let Some(signer) = &campaign.signer {
            signer.sign_behind(room, &mut bytes, now);
        }
        Ok(bytes)
    }
}

/// `pieces` is where its pieces are put together.
fn part<'a>(part: &'a content::Part<'a>, pieces: &'a mut Vec<&'a str>) -> Text<'a> {
    match part {
        content::Part::Plain(text) => Text::Plain(text),
        content::Part::Encoded(text) => {
            pieces.extend(text.pieces());
            Text::Quoted(pieces)
        }
    }
}

fn token(app: &App, campaign: &Compiled, contact: &Contact, test: bool) -> Token {
    Token {
        purpose: TokenPurpose::Unsubscribe,
        address: contact.address_hash,
        // Ids count up from 1; a database with four billion of either is not met.
        product: campaign.product.id as u32,
        campaign: campaign.id as u32,
        product_scope: app.config.unsubscribe.one_click_product_only,
        test,
    }
}

/// Only where an intake reads it: a promise nobody keeps is worse than none. The token stands in the
/// subject, for a local part has no room for it (RFC 5321 section 4.5.3).
fn unsubscribe_mailto(app: &App, token: &str) -> Option<String> {
    let intake = app.config.unsubscribe.intake_address.as_ref()?;
    Some(format!("mailto:{intake}?subject=unsubscribe%20{token}"))
}

/// One id for one delivery, whatever the attempt, and no address in it.
fn message_id(token: &str, domain: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    let mut id = String::with_capacity(32 + 1 + domain.len());
    push_hex(&mut id, &digest[..16]);
    id.push('@');
    id.push_str(domain);
    id
}

/// What a token opens: a page under the address where links lead.
pub(super) fn link(app: &App, base: &str, page: &str, token: &Token) -> String {
    // One more, for what may stand behind it.
    let mut url = String::with_capacity(base.len() + page.len() + tokens::LENGTH + 1);
    url.push_str(base);
    url.push_str(page);
    app.keys.tokens.push(&mut url, token);
    url
}

/// The token that a link ends with.
fn token_of(url: &str) -> &str {
    &url[url.len() - tokens::LENGTH..]
}

fn mailbox<'a>(name: &'a str, address: &'a Address) -> Mailbox<'a> {
    Mailbox { name: Some(name).filter(|n| !n.is_empty()), address }
}

fn merge(contact: &Contact) -> MergeContact<&str> {
    let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
    MergeContact {
        email: &contact.address,
        first_name: some(&contact.first_name),
        last_name: some(&contact.last_name),
        company: some(&contact.company),
        job_title: some(&contact.job_title),
        country: some(&contact.country),
        language: some(&contact.language),
    }
}
