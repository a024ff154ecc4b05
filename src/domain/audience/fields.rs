//! The fields of an audience, each with its type: known before any contact is read.

use jiff::{civil::Date, tz::TimeZone};

use crate::domain::{
    contact_view::ContactView,
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
    words::words,
};

words! {
    /// A field that an audience may name.
    Field {
        /// The whole address.
        Email = "email",
        /// The domain of the address.
        Domain = "domain",
        /// consumer or business.
        Kind = "kind",
        /// personal or generic.
        AddressKind = "address_kind",
        /// Legal form.
        LegalForm = "legal_form",
        /// Relationship with the sender.
        Relationship = "relationship",
        /// First name.
        FirstName = "first_name",
        /// Last name.
        LastName = "last_name",
        /// Company.
        Company = "company",
        /// Job title.
        JobTitle = "job_title",
        /// ISO code of the country.
        Country = "country",
        /// Language tag.
        Language = "language",
        /// Source in words.
        Source = "source",
        /// Kind of source.
        SourceKind = "source_kind",
        /// Informed, and that is recorded.
        Informed = "informed",
        /// What was sold is similar.
        Similar = "similar",
        /// Sold by the entity that sends.
        SameEntity = "same_entity",
        /// A refusal was offered at collection.
        RefusalOffered = "refusal_offered",
        /// Consent to individual tracking.
        Tracking = "tracking",
        /// Date of collection.
        CollectedAt = "collected_at",
        /// End of the relationship.
        RelationshipEnd = "relationship_end",
        /// The last thing the person did.
        LastActivity = "last_activity",
        /// Date of it.
        LastActivityAt = "last_activity_at",
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A date.
    Date,
    /// Yes or no.
    Flag,
}

impl Field {
    /// The name in an expression.
    pub fn name(self) -> &'static str {
        self.as_str()
    }

    pub(super) fn kind(self) -> Type {
        match self {
            Field::Kind => Type::Words(&CONTACT_KINDS),
            Field::AddressKind => Type::Words(&ADDRESS_KINDS),
            Field::LegalForm => Type::Words(&LEGAL_FORMS),
            Field::Relationship => Type::Words(&RELATIONSHIPS),
            Field::SourceKind => Type::Words(&SOURCE_KINDS),
            Field::Tracking => Type::Words(&TRACKING),
            Field::LastActivity => Type::Words(&ACTIVITIES),
            Field::CollectedAt | Field::RelationshipEnd | Field::LastActivityAt => Type::Date,
            Field::Informed | Field::Similar | Field::SameEntity | Field::RefusalOffered => Type::Flag,
            Field::Email | Field::Domain | Field::FirstName | Field::LastName | Field::Company => Type::Text,
            Field::JobTitle | Field::Country | Field::Language | Field::Source => Type::Text,
        }
    }

    /// The value of a text or vocabulary field, if there is one.
    pub(super) fn text<'a>(self, contact: &ContactView<'a>) -> Option<&'a str> {
        let value = match self {
            Field::Email => Some(contact.email),
            Field::Domain => contact.email.rsplit_once('@').map(|(_, domain)| domain),
            Field::Kind => Some(contact.kind.as_str()),
            Field::AddressKind => Some(contact.address_kind.as_str()),
            Field::LegalForm => Some(contact.legal_form.as_str()),
            Field::Relationship => Some(contact.relationship.as_str()),
            Field::FirstName => contact.first_name,
            Field::LastName => contact.last_name,
            Field::Company => contact.company,
            Field::JobTitle => contact.job_title,
            Field::Country => contact.country,
            Field::Language => contact.language,
            Field::Source => contact.source,
            Field::SourceKind => Some(contact.source_kind.as_str()),
            Field::Tracking => Some(contact.tracking.as_str()),
            Field::LastActivity => contact.last_activity.map(ActivityKind::as_str),
            Field::Informed | Field::Similar | Field::SameEntity | Field::RefusalOffered => None,
            Field::CollectedAt | Field::RelationshipEnd | Field::LastActivityAt => None,
        };
        value.map(str::trim).filter(|v| !v.is_empty())
    }

    pub(super) fn date(self, contact: &ContactView<'_>, tz: &TimeZone) -> Option<Date> {
        let dated = match self {
            Field::CollectedAt => contact.collected_at,
            Field::RelationshipEnd => contact.relationship_end,
            Field::LastActivityAt => contact.last_activity_at,
            _ => return None,
        };
        dated.known().map(|when| when.local_date(tz))
    }

    pub(super) fn flag(self, contact: &ContactView<'_>) -> bool {
        match self {
            Field::Informed => contact.informed,
            Field::Similar => contact.similar,
            Field::SameEntity => contact.same_entity,
            Field::RefusalOffered => contact.refusal_offered,
            _ => false,
        }
    }

    pub(super) fn is_empty(self, contact: &ContactView<'_>, tz: &TimeZone) -> bool {
        match self.kind() {
            Type::Date => self.date(contact, tz).is_none(),
            Type::Flag => false,
            Type::Text | Type::Words(_) => self.text(contact).is_none(),
        }
    }
}

/// The words of a closed vocabulary, as a constant.
macro_rules! words_of {
    ($($name:ident: $type:ident),+ $(,)?) => { $(
        static $name: [&str; $type::ALL.len()] = {
            let mut words = [""; $type::ALL.len()];
            let mut i = 0;
            while i < words.len() {
                words[i] = $type::ALL[i].as_str();
                i += 1;
            }
            words
        };
    )+ };
}

words_of! {
    CONTACT_KINDS: ContactKind,
    ADDRESS_KINDS: AddressKind,
    LEGAL_FORMS: LegalForm,
    RELATIONSHIPS: Relationship,
    SOURCE_KINDS: SourceKind,
    TRACKING: TrackingConsent,
    ACTIVITIES: ActivityKind,
}
