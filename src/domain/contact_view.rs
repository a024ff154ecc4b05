//! What an audience may ask about a contact.

use super::{
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
    dates::Dated,
};

/// One contact as [`super::audience::Audience::matches`] reads it, borrowed from wherever it lies.
///
/// Refusals and consents are not here: they are for `decide`, and no audience may go around it.
#[derive(Debug, Clone, Copy)]
pub struct ContactView<'a> {
    /// The normalised address.
    pub email: &'a str,
    /// Consumer or professional.
    pub kind: ContactKind,
    /// Personal or generic mailbox.
    pub address_kind: AddressKind,
    /// Legal form.
    pub legal_form: LegalForm,
    /// Relationship with the sender.
    pub relationship: Relationship,
    /// First name.
    pub first_name: Option<&'a str>,
    /// Last name.
    pub last_name: Option<&'a str>,
    /// Company.
    pub company: Option<&'a str>,
    /// Job title.
    pub job_title: Option<&'a str>,
    /// ISO code of the country.
    pub country: Option<&'a str>,
    /// Language tag.
    pub language: Option<&'a str>,
    /// Source in words.
    pub source: Option<&'a str>,
    /// Kind of source.
    pub source_kind: SourceKind,
    /// Informed, and that is recorded.
    pub informed: bool,
    /// What was sold is similar to what is offered.
    pub similar: bool,
    /// Sold by the very entity that sends.
    pub same_entity: bool,
    /// A refusal was offered at collection.
    pub refusal_offered: bool,
    /// Consent to individual tracking.
    pub tracking: TrackingConsent,
    /// When the address was collected.
    pub collected_at: Dated,
    /// When the relationship ended or will end.
    pub relationship_end: Dated,
    /// The last thing the person did.
    pub last_activity: Option<ActivityKind>,
    /// When that was.
    pub last_activity_at: Dated,
}
