//! What a decision reads besides the campaign: the person, and the settings of the controller.

use jiff::{civil::Date, tz::TimeZone};

use crate::domain::{
    address::{Address, SuppressionKey},
    consents::ConsentEvent,
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
    dates::Dated,
    suppressions::Suppression,
};

/// Everything that is known about a person and may count, as it stands at one moment.
#[derive(Debug, Clone)]
pub struct Person {
    /// The address; none when what is written is not an address.
    pub address: Option<Address>,
    /// Code of the regime of the person's country.
    pub regime: String,
    /// Consumer or professional.
    pub kind: ContactKind,
    /// Personal or generic mailbox.
    pub address_kind: AddressKind,
    /// Legal form (GB only).
    pub legal_form: LegalForm,
    /// Relationship with the sender.
    pub relationship: Relationship,
    /// What was sold is similar to what is offered (FR-3).
    pub similar: bool,
    /// Sold by the very entity that sends (FR-3).
    pub same_entity: bool,
    /// A refusal was offered at collection (FR-3).
    pub refusal_offered: bool,
    /// Where the address comes from.
    pub source: SourceKind,
    /// The information of article 13 or 14 was given before, and that is recorded.
    pub informed: bool,
    /// When the address was collected.
    pub collected_at: Dated,
    /// When the relationship ended or will end.
    pub relationship_end: Dated,
    /// The last thing the person did.
    pub last_activity: Option<ActivityKind>,
    /// When that was.
    pub last_activity_at: Dated,
    /// Every event of consent, in any order.
    pub consents: Vec<ConsentEvent>,
    /// Every standing suppression that may concern the person; `decide` matches them itself.
    pub suppressions: Vec<Suppression>,
    /// Consent to individual tracking.
    pub tracking: TrackingConsent,
    /// When the person was last asked for permission about this product.
    pub repermission_last_at: Dated,
    /// Until when (included) the person chose to receive nothing.
    pub paused_until: Option<Date>,
    /// The day of the last open that is known. No contact (RET-3): it only says that the person is not
    /// inactive.
    pub last_open: Option<Date>,
}

/// What the decision depends on besides the campaign and the person.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The controller's time zone: local dates are taken in it (RET-6).
    pub tz: TimeZone,
    /// Key of the hashed suppressions.
    pub suppression_key: SuppressionKey,
    /// Settings of the controller.
    pub settings: Settings,
}

/// The settings that rules section 6 calls `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Retention in months; None: the regime's own (36, or no limit in US and CA).
    pub retention_months: Option<u32>,
    /// Days after the term in which a re-permission may still ask (RET-4). Default 0.
    pub end_of_term_recontact_days: u32,
    /// Months of silence after a re-permission (RP-6). Default 6.
    pub repermission_cooldown_months: u32,
    /// Months without any sign of a person after which the sender no longer writes (SUNSET-1). None: off.
    pub sunset_months: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retention_months: None,
            end_of_term_recontact_days: 0,
            repermission_cooldown_months: 6,
            sunset_months: None,
        }
    }
}
