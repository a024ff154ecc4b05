//! The cells of one row, by column. Values are those of rules section 6; an empty one is read as
//! the default given there; any other is an error of the table.

use std::collections::HashMap;

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use super::{BLOCK, Row, SEND, TableError, Verdict, items, outcome_of, records::Record};
use crate::domain::{
    address::{Address, SuppressionKey},
    campaigns::{CampaignKind, Elements, Sector, Terms, TrackingRequest},
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
    eligibility::{Outcome, Person, Reason, Rules, Tracking},
};

/// The key with which tables hash addresses.
const KEY: &str = "test-suppression-key-v1";

/// `unknown` and `na` are read as no.
const YES_NO_UNKNOWN: &[(&str, bool)] = &[("yes", true), ("no", false), ("unknown", false), ("na", false), ("", false)];
const YES_NO: &[(&str, bool)] = &[("yes", true), ("no", false), ("", false)];
const YES_UNLESS_NO: &[(&str, bool)] = &[("yes", true), ("no", false), ("", true)];
const CAMPAIGN_KINDS: &[(&str, CampaignKind)] = &[
    ("marketing", CampaignKind::Marketing),
    ("service", CampaignKind::Service),
    ("repermission", CampaignKind::Repermission),
    ("", CampaignKind::Marketing),
];
/// Empty is not `none`: it is read as a banned sector, whichever (all are decided alike).
const SECTORS: &[(&str, Sector)] = &[
    ("none", Sector::None),
    ("energy_renovation", Sector::EnergyRenovation),
    ("energy_production", Sector::EnergyProduction),
    ("home_adaptation", Sector::HomeAdaptation),
    ("", Sector::EnergyRenovation),
];
const TRACKING_REQUESTS: &[(&str, TrackingRequest)] = &[
    ("none", TrackingRequest::None),
    ("deliverability", TrackingRequest::Deliverability),
    ("individual", TrackingRequest::Individual),
    ("", TrackingRequest::None),
];
const CONTACT_KINDS: &[(&str, ContactKind)] = &[
    ("b2c", ContactKind::Consumer),
    ("b2b", ContactKind::Business),
    ("unknown", ContactKind::Consumer),
    ("", ContactKind::Consumer),
];
const ADDRESS_KINDS: &[(&str, AddressKind)] =
    &[("personal", AddressKind::Personal), ("generic", AddressKind::Generic), ("", AddressKind::Personal)];
const LEGAL_FORMS: &[(&str, LegalForm)] = &[
    ("corporate", LegalForm::Corporate),
    ("sole_trader", LegalForm::SoleTrader),
    ("consumer", LegalForm::Consumer),
    ("unknown", LegalForm::Unknown),
    ("", LegalForm::Unknown),
];
const RELATIONSHIPS: &[(&str, Relationship)] = &[
    ("prospect", Relationship::Prospect),
    ("negotiation", Relationship::Negotiation),
    ("account_only", Relationship::AccountOnly),
    ("customer", Relationship::Customer),
    ("former_customer", Relationship::FormerCustomer),
    ("", Relationship::Prospect),
];
const SOURCES: &[(&str, SourceKind)] = &[
    ("direct_form", SourceKind::DirectForm),
    ("purchase", SourceKind::Purchase),
    ("business_card", SourceKind::BusinessCard),
    ("partner", SourceKind::Partner),
    ("purchased_list", SourceKind::PurchasedList),
    ("public_source", SourceKind::PublicSource),
    ("unknown", SourceKind::Unknown),
    ("", SourceKind::Unknown),
];
const TRACKING_CONSENTS: &[(&str, TrackingConsent)] = &[
    ("none", TrackingConsent::None),
    ("granted", TrackingConsent::Granted),
    ("withdrawn", TrackingConsent::Withdrawn),
    ("", TrackingConsent::None),
];
const DECISIONS: &[(&str, &str)] = &[(SEND, SEND), (BLOCK, BLOCK)];
const TRACKINGS: &[(&str, Tracking)] =
    &[("none", Tracking::None), ("last_open_day", Tracking::LastOpenDay), ("individual", Tracking::Individual)];

/// The cells of a row, and where its errors go.
pub(super) struct Cells<'a> {
    columns: &'a HashMap<&'a str, usize>,
    record: &'a Record,
    errors: &'a mut Vec<TableError>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(
        columns: &'a HashMap<&'a str, usize>,
        record: &'a Record,
        errors: &'a mut Vec<TableError>,
    ) -> Cells<'a> {
        Cells { columns, record, errors }
    }

    /// The row. Where a cell is at fault, the error is noted and something stands in for it.
    pub(super) fn row(mut self) -> Row {
        Row {
            id: self.stated("id"),
            line: self.record.line,
            rules: Rules {
                tz: self.read("tz", time_zone).unwrap_or(TimeZone::UTC),
                suppression_key: SuppressionKey::new(KEY),
                settings: self.read("config", items::config).unwrap_or_default(),
            },
            terms: self.terms(),
            person: self.person(),
            now: self.read("now", items::instant).unwrap_or(Timestamp::UNIX_EPOCH),
            expected: Verdict {
                decision: self.one_of("expected_decision", DECISIONS).unwrap_or(BLOCK),
                code: self.read("expected_code", code).unwrap_or(Outcome::Block(Reason::NoConsent)).code(),
                tracking: self.one_of("expected_tracking", TRACKINGS).unwrap_or(Tracking::None),
            },
        }
    }

    fn terms(&mut self) -> Terms {
        let nothing = Elements { identity: false, optout: false, postal: false };
        Terms {
            kind: self.one_of("campaign_kind", CAMPAIGN_KINDS).unwrap_or(CampaignKind::Marketing),
            product: self.stated("product"),
            profession_related: self.one_of("profession_related", YES_NO_UNKNOWN).unwrap_or(false),
            sector: self.one_of("sector", SECTORS).unwrap_or(Sector::None),
            has_promo: self.one_of("has_promo", YES_UNLESS_NO).unwrap_or(true),
            art14_notice: self.one_of("art14_notice", YES_NO).unwrap_or(false),
            elements: self.read("msg_elements", items::elements).unwrap_or(nothing),
            tracking: self.one_of("tracking_request", TRACKING_REQUESTS).unwrap_or(TrackingRequest::None),
        }
    }

    fn person(&mut self) -> Person {
        Person {
            address: Address::parse(self.cell("email")).ok(),
            regime: self.cell("regime").to_owned(),
            kind: self.one_of("contact_kind", CONTACT_KINDS).unwrap_or(ContactKind::Consumer),
            address_kind: self.one_of("address_kind", ADDRESS_KINDS).unwrap_or(AddressKind::Personal),
            legal_form: self.one_of("legal_form", LEGAL_FORMS).unwrap_or(LegalForm::Unknown),
            relationship: self.one_of("relationship", RELATIONSHIPS).unwrap_or(Relationship::Prospect),
            similar: self.one_of("similar", YES_NO_UNKNOWN).unwrap_or(false),
            same_entity: self.one_of("same_entity", YES_NO_UNKNOWN).unwrap_or(false),
            refusal_offered: self.one_of("softoptin_notice", YES_NO_UNKNOWN).unwrap_or(false),
            source: self.one_of("source", SOURCES).unwrap_or(SourceKind::Unknown),
            informed: self.one_of("info_given", YES_NO).unwrap_or(false),
            collected_at: items::contact_date(self.cell("collected_at")),
            relationship_end: items::contact_date(self.cell("relationship_end")),
            last_activity: self.read("last_activity_kind", activity).unwrap_or(None),
            last_activity_at: items::contact_date(self.cell("last_activity_at")),
            consents: self.read("consents", items::consents).unwrap_or_default(),
            suppressions: self.read("suppressions", items::suppressions).unwrap_or_default(),
            tracking: self.one_of("tracking_consent", TRACKING_CONSENTS).unwrap_or(TrackingConsent::None),
            repermission_last_at: items::contact_date(self.cell("repermission_last_at")),
            paused_until: None,
            last_open: None,
        }
    }

    /// The cell; empty when the column is missing, which is an error of the header already.
    fn cell(&self, column: &str) -> &'a str {
        self.columns.get(column).map_or("", |at| &self.record.fields[*at])
    }

    /// A cell that must not be empty.
    fn stated(&mut self, column: &'static str) -> String {
        self.read(
            column,
            |cell| if cell.is_empty() { Err("must not be empty".to_owned()) } else { Ok(cell.to_owned()) },
        )
        .unwrap_or_default()
    }

    /// One of the listed values.
    fn one_of<T: Copy>(&mut self, column: &'static str, values: &[(&str, T)]) -> Option<T> {
        self.read(column, |cell| {
            values.iter().find(|(word, _)| *word == cell).map(|(_, value)| *value).ok_or_else(|| {
                let listed: Vec<&str> = values.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
                format!("{cell:?} is not one of {}", listed.join(", "))
            })
        })
    }

    fn read<T>(&mut self, column: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if !self.columns.contains_key(column) {
            return None;
        }
        match read(self.cell(column)) {
            Ok(value) => Some(value),
            Err(message) => {
                let column = Some(column.to_owned());
                self.errors.push(TableError { line: self.record.line, column, message });
                None
            }
        }
    }
}

/// Of an IANA name, from the database that ships with the program: the same on every machine.
fn time_zone(name: &str) -> Result<TimeZone, String> {
    let zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
    zone.ok_or_else(|| format!("{name:?} is not the IANA name of a time zone"))
}

fn code(text: &str) -> Result<Outcome, String> {
    outcome_of(text).ok_or_else(|| format!("{text:?} is not a code of rules section 6"))
}

/// An activity of a kind that does not qualify is no error: it is ignored (step 6).
fn activity(kind: &str) -> Result<Option<ActivityKind>, String> {
    if kind.is_empty() || kind == "none" {
        return Ok(None);
    }
    if !kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Err(format!("{kind:?} is not a kind of activity such as click, reply, purchase, login, form"));
    }
    Ok(Some(kind.parse().unwrap_or(ActivityKind::Other)))
}
