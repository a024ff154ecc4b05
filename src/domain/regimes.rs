//! The law of each country, as data (rules section 3): `regimes.toml`, read once.
//!
//! The engine looks a regime up by its own name and never maps a country; only an import does,
//! through [`regime_of_country`] (REG-1).

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{
    consents::Proof,
    contacts::{AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
    eligibility::{Basis, Reason},
    words::words,
};

/// Version of the rules as a whole: code, `regimes.toml` and `rules.toml`. Every decision carries it.
pub const RULES_VERSION: &str = "2026-11-21";

static REGIMES: LazyLock<Vec<Regime>> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("regimes.toml")).expect("regimes.toml is checked by a test");
    file.regime
});

/// Every regime, in the order of rules section 3.
pub fn all() -> &'static [Regime] {
    &REGIMES
}

/// The regime of this name. None: no rules are known, and nothing may be sent (REG-1).
pub fn find(id: &str) -> Option<&'static Regime> {
    all().iter().find(|regime| regime.id == id)
}

/// The name of the regime that an import gives to contacts of a country (ISO 3166 code of two
/// letters, either case). None: undeclared or unknown, so without rules (REG-1).
pub fn regime_of_country(country: &str) -> Option<&'static str> {
    let holds = |regime: &&Regime| regime.countries.iter().any(|code| code.eq_ignore_ascii_case(country));
    all().iter().find(holds).map(|regime| regime.id)
}

/// One column of the table of rules section 3.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Regime {
    /// Its name in data and tables: `FR`, `EU_DEFAULT` …
    pub id: &'static str,
    /// Its name for readers of French.
    pub name_fr: &'static str,
    /// Its name for readers of English.
    pub name_en: &'static str,
    /// The legal texts, in short.
    pub text: &'static str,
    /// Where they are found.
    pub source: &'static str,
    /// Since when the version applied here is in force.
    pub in_force: Date,
    /// When this entry was last revised.
    pub version: Date,
    /// How well the text was verified: P, S or K (rules section 0).
    pub evidence: &'static str,
    /// Countries that an import maps to it (ISO 3166 codes).
    pub countries: Vec<&'static str>,
    /// What a consumer must have said.
    pub consumer: Choice,
    /// What a professional must have said, at an address of their own.
    pub business_named: Choice,
    /// What a company must have said, at a role address.
    pub business_generic: Choice,
    /// Proofs of consent that count.
    pub accepted_proofs: Vec<Proof>,
    /// Months after the last contact in which prospecting is allowed. None: no limit.
    pub retention_months: Option<u32>,
    /// The message must hold a postal address (US-2, CA-5).
    pub postal_address_required: bool,
    /// Kinds of contacts whom the sector ban does not protect. None: no sector is banned (FR-7).
    pub sector_ban_spares: Option<Vec<ContactKind>>,
    /// Kinds whom a re-permission with the full notice informs in time (RP-3).
    #[serde(default)]
    pub notice_cures: Vec<ContactKind>,
    /// Bases on which the day of the last open may be kept without a consent to tracking (TRK-2).
    #[serde(default)]
    pub last_open_day_without_consent: Vec<Basis>,
    /// Asking for consent by mail is itself marketing (RP-1).
    pub consent_request_is_marketing: bool,
    /// Business days within which the law wants an opt-out honoured; the product does it at once.
    pub opt_out_business_days: Option<u32>,
    /// Days after sending for which the opt-out must work; the product's never expires.
    pub opt_out_mechanism_days: Option<u32>,
    /// Grounds that do without a proven consent, in order (step 9).
    #[serde(rename(deserialize = "permission"), default)]
    pub permissions: Vec<Permission>,
    /// Ids of the rules behind a code, where the regime has its own.
    pub cites: BTreeMap<&'static str, Vec<&'static str>>,
}

/// A ground on which a message may be sent without a proven consent. Empty lists do not restrict.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub struct Permission {
    /// The basis it gives.
    pub basis: Basis,
    /// Ids of the rules it comes from.
    pub rules: Vec<&'static str>,
    /// Kinds of contacts.
    #[serde(default)]
    pub kinds: Vec<ContactKind>,
    /// Kinds of mailboxes.
    #[serde(default)]
    pub address_kinds: Vec<AddressKind>,
    /// Legal forms (GB-2).
    #[serde(default)]
    pub legal_forms: Vec<LegalForm>,
    /// Relationships; the column itself, never guessed from a purchase.
    #[serde(default)]
    pub relationships: Vec<Relationship>,
    /// Sources of the address.
    #[serde(default)]
    pub sources: Vec<SourceKind>,
    /// The subject must be related to the profession (FR-5, CA-3).
    #[serde(default)]
    pub profession_related: bool,
    /// The conditions of FR-3: same entity, similar, refusal offered, not collected indirectly.
    #[serde(default)]
    pub soft_opt_in: bool,
    /// Months that the ground lasts (CA-2).
    pub within_months: Option<u32>,
    /// What they are counted from: the latest of these.
    #[serde(default)]
    pub since: Vec<Since>,
    /// The reason told when it is meant for the contact (`kinds`, `address_kinds`) and nothing holds.
    pub otherwise: Option<Reason>,
}

words! {
    /// What a regime asks of a group of people by default.
    Choice {
        /// Nothing is sent before a yes.
        OptIn = "opt-in",
        /// Mail is sent until a no, on the conditions of the permissions.
        OptOut = "opt-out",
    }
}

words! {
    /// A date from which a permission counts its months.
    Since {
        /// The last purchase recorded as activity.
        Purchase = "purchase",
        /// The collection, when the address was collected at a purchase.
        PurchaseCollection = "purchase_collection",
        /// The end of the relationship.
        RelationshipEnd = "relationship_end",
        /// The collection, however it was.
        Collection = "collection",
        /// The last form sent.
        Form = "form",
        /// The last reply.
        Reply = "reply",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
struct File {
    regime: Vec<Regime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_regimes_are_there_and_each_country_has_one() {
        let ids: Vec<_> = all().iter().map(|regime| regime.id).collect();
        assert_eq!(ids, ["FR", "EU_DEFAULT", "GB", "DE", "US", "CA"]);
        let mut countries: Vec<_> = all().iter().flat_map(|regime| &regime.countries).collect();
        let with_repeats = countries.len();
        countries.sort();
        countries.dedup();
        assert_eq!(countries.len(), with_repeats, "a country stands in two regimes");
        assert!(countries.iter().all(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())));
    }

    #[test]
    fn an_import_maps_countries_and_never_guesses() {
        assert_eq!(regime_of_country("FR"), Some("FR"));
        assert_eq!(regime_of_country("de"), Some("DE"));
        assert_eq!(regime_of_country("BE"), Some("EU_DEFAULT"));
        assert_eq!(regime_of_country("NO"), Some("EU_DEFAULT"));
        assert_eq!(regime_of_country("GB"), Some("GB"));
        assert_eq!(regime_of_country("US"), Some("US"));
        assert_eq!(regime_of_country("CA"), Some("CA"));
        for unknown in ["CH", "JP", "", "F", "France", "EU_DEFAULT", " FR"] {
            assert_eq!(regime_of_country(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn every_member_of_the_eu_and_the_eea_has_rules() {
        let members = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO";
        for country in members.split(' ') {
            assert!(regime_of_country(country).is_some(), "{country}");
        }
    }

    #[test]
    fn a_regime_is_found_by_its_exact_name_only() {
        assert!(find("FR").is_some());
        for unknown in ["fr", "BE", "", "ZZ", "FR "] {
            assert!(find(unknown).is_none(), "{unknown:?}");
        }
    }

    #[test]
    fn what_the_table_of_section_3_says() {
        let proofs = |id| find(id).unwrap().accepted_proofs.clone();
        assert_eq!(proofs("DE"), [Proof::Doi]);
        for id in ["FR", "EU_DEFAULT", "GB", "US", "CA"] {
            assert_eq!(proofs(id), [Proof::Full, Proof::PartnerNamed, Proof::Doi], "{id}");
        }
        for regime in all() {
            let transatlantic = matches!(regime.id, "US" | "CA");
            assert_eq!(regime.retention_months, if transatlantic { None } else { Some(36) }, "{}", regime.id);
            assert_eq!(regime.postal_address_required, transatlantic, "{}", regime.id);
            assert_eq!(regime.sector_ban_spares.is_some(), regime.id == "FR", "{}", regime.id);
            assert!(!regime.accepted_proofs.contains(&Proof::PartnerUnnamed));
            assert!(!regime.accepted_proofs.contains(&Proof::None));
        }
    }

    /// Decisions record the version: data that decide otherwise must not bear the same one. When this
    /// fails, give RULES_VERSION a new date and note the new digest.
    #[test]
    fn the_version_changes_with_the_data() {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(serde_json::to_vec(all()).unwrap());
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((RULES_VERSION, digest.as_str()), ("2026-11-21", "efe52196525de63b"));
    }
}
