//! Who is asked: contacts of an audience, page by page, each with its decision.

use jiff::Timestamp;

use super::compile::Compiled;
use crate::{
    domain::{
        contact_view::ContactView,
        contacts::ActivityKind,
        dates::Dated,
        eligibility::{self, Decision, Person, Rules},
    },
    store::{self, Tx, contacts::Contact, facts},
};

/// Contacts judged at a time: enough to make a transaction worth its while, few enough for memory.
pub const PAGE: i64 = 1000;

/// One page of an audience.
pub struct Page {
    /// The contacts that belong to the audience, each with its decision.
    pub asked: Vec<(Contact, Decision)>,
    /// Id of the last contact looked at; None when there was none left.
    pub last: Option<i64>,
}

/// Reads and judges the next page of a campaign's audience after contact `after`.
pub async fn page(tx: &mut Tx, rules: &Rules, campaign: &Compiled, after: i64, now: Timestamp) -> store::Result<Page> {
    let contacts = store::contacts::page(tx, after, PAGE).await?;
    let last = contacts.last().map(|c| c.id);
    let people = facts::of(tx, &contacts, &campaign.file.product).await?;
    let asked = contacts
        .into_iter()
        .zip(people)
        .filter(|(contact, person)| belongs(campaign, contact, person, rules))
        .map(|(contact, person)| {
            let decision = eligibility::decide(rules, &campaign.terms, &person, now);
            (contact, decision)
        })
        .collect();
    Ok(Page { asked, last })
}

fn belongs(campaign: &Compiled, contact: &Contact, person: &Person, rules: &Rules) -> bool {
    campaign.file.audience.as_ref().is_none_or(|audience| audience.matches(&view(contact, person), &rules.tz))
}

fn view<'a>(contact: &'a Contact, person: &Person) -> ContactView<'a> {
    fn some(text: &str) -> Option<&str> {
        (!text.is_empty()).then_some(text)
    }
    ContactView {
        email: &contact.address,
        kind: contact.kind,
        address_kind: contact.address_kind,
        legal_form: contact.legal_form,
        relationship: contact.relationship,
        first_name: some(&contact.first_name),
        last_name: some(&contact.last_name),
        company: some(&contact.company),
        job_title: some(&contact.job_title),
        country: some(&contact.country),
        language: some(&contact.language),
        source: some(&contact.source),
        source_kind: contact.source_kind,
        informed: contact.informed,
        similar: contact.similar_offer,
        same_entity: contact.same_entity,
        refusal_offered: contact.refusal_offered,
        tracking: person.tracking,
        collected_at: Dated::read(&contact.collected_at),
        relationship_end: Dated::read(&contact.relationship_end),
        last_activity: contact.last_activity.parse::<ActivityKind>().ok(),
        last_activity_at: Dated::read(&contact.last_activity_at),
    }
}
