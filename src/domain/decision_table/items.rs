//! Cells that hold lists: `consents`, `suppressions`, `config`, `msg_elements`.
//!
//! Items are separated by `;`, their fields `key=value` by `,`. A key that is absent or has an empty
//! value is not stated: an instant then blocks (SUP-6), a proof is none, a scope is global (SUP-3),
//! a product holds for every refusal and no grant. State and reason must be stated.

use std::{collections::HashMap, str::FromStr};

use jiff::Timestamp;

use crate::domain::{
    address::{self, Address, AddressHash},
    campaigns::Elements,
    consents::{ConsentEvent, Proof},
    dates::{Dated, When},
    eligibility::Settings,
    suppressions::{Scope, Suppression, SuppressionReason},
};

type Result<T> = std::result::Result<T, String>;

/// The column `consents`.
pub(super) fn consents(cell: &str) -> Result<Vec<ConsentEvent>> {
    items(cell).map(consent).collect()
}

fn consent(item: &str) -> Result<ConsentEvent> {
    let fields = fields(item, &["product", "state", "at", "proof"])?;
    Ok(ConsentEvent {
        product: fields.get("product").map(|product| (*product).to_owned()),
        state: word(fields.get("state").ok_or_else(|| format!("{item:?} has no state"))?)?,
        at: fields.get("at").map(|at| instant(at)).transpose()?,
        proof: match fields.get("proof").copied() {
            None | Some("na") => Proof::None,
            Some(proof) => word(proof)?,
        },
        imported: false,
    })
}

/// The column `suppressions`.
pub(super) fn suppressions(cell: &str) -> Result<Vec<Suppression>> {
    items(cell).map(suppression).collect()
}

fn suppression(item: &str) -> Result<Suppression> {
    let fields = fields(item, &["scope", "value", "reason", "at"])?;
    let scope = fields.get("scope").map_or(Ok(Scope::Global), |scope| word(scope))?;
    let reason = word(fields.get("reason").ok_or_else(|| format!("{item:?} has no reason"))?)?;
    if reason == SuppressionReason::SoftLimit {
        return Err(format!("{item:?}: the reason is unsubscribe, objection, complaint, manual or hard_bounce"));
    }
    let value = fields.get("value").map(|value| (*value).to_owned());
    check_value(scope, value.as_deref()).map_err(|wanted| format!("{item:?}: {wanted}"))?;
    Ok(Suppression { scope, value, reason, at: fields.get("at").map(|at| instant(at)).transpose()? })
}

fn check_value(scope: Scope, value: Option<&str>) -> std::result::Result<(), &'static str> {
    let hex = |value: &str| AddressHash::from_hex(value).is_some_and(|hash| hash.to_hex() == value);
    let (fits, wanted) = match (scope, value) {
        (Scope::Global, value) => (value.is_none(), "a global entry takes no value"),
        (Scope::Product, value) => (value.is_some(), "a product entry needs the product as value"),
        (Scope::Domain, value) => {
            (value.and_then(address::normalise_labels).is_some(), "a domain entry needs a domain as value")
        }
        (Scope::Address, value) => (value.is_none_or(|v| Address::parse(v).is_ok()), "the value is not an address"),
        (Scope::Hash, value) => (value.is_some_and(hex), "a hash entry needs 64 lower-case hexadecimal digits"),
    };
    if fits { Ok(()) } else { Err(wanted) }
}

/// The column `config`: settings that differ from their defaults.
pub(super) fn config(cell: &str) -> Result<Settings> {
    let mut settings = Settings::default();
    let keys = ["retention_months", "end_of_term_recontact_days", "repermission_cooldown_months"];
    for (key, value) in fields_of(items(cell), &keys)? {
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let number: u32 =
            value.parse().ok().filter(|_| digits).ok_or_else(|| format!("{key}={value}: not a whole number"))?;
        match key {
            "retention_months" => settings.retention_months = Some(number),
            "end_of_term_recontact_days" => settings.end_of_term_recontact_days = number,
            _ => settings.repermission_cooldown_months = number,
        }
    }
    Ok(settings)
}

/// The column `msg_elements`.
pub(super) fn elements(cell: &str) -> Result<Elements> {
    let mut elements = Elements { identity: false, optout: false, postal: false };
    for name in cell.split('+').filter(|_| !cell.is_empty()) {
        let element = match name {
            "identity" => &mut elements.identity,
            "optout" => &mut elements.optout,
            "postal" => &mut elements.postal,
            _ => return Err(format!("{name:?} is not one of identity, optout, postal joined by +")),
        };
        if std::mem::replace(element, true) {
            return Err(format!("{name:?} stands there twice"));
        }
    }
    Ok(elements)
}

/// An instant of the table: RFC 3339 with `Z`.
pub(super) fn instant(text: &str) -> Result<Timestamp> {
    match contact_date(text) {
        Dated::At(When::Instant(instant)) => Ok(instant),
        _ => Err(format!("{text:?} is not an instant like 2026-11-18T09:00:00Z")),
    }
}

/// A date of a contact: a local date or an instant with `Z`. What is written and neither is a fact
/// about the contact, and decided (DATA_INVALID_DATE).
pub(super) fn contact_date(text: &str) -> Dated {
    match Dated::read(text) {
        Dated::At(When::Instant(_)) if !text.ends_with('Z') => Dated::Invalid,
        dated => dated,
    }
}

fn items(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(';').filter(move |_| !cell.is_empty())
}

fn word<T: FromStr<Err = crate::domain::words::UnknownWord>>(text: &str) -> Result<T> {
    text.parse().map_err(|unknown: crate::domain::words::UnknownWord| unknown.to_string())
}

/// The fields of an item that have a value.
fn fields<'a>(item: &'a str, keys: &[&str]) -> Result<HashMap<&'a str, &'a str>> {
    Ok(fields_of(item.split(','), keys)?.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

/// `key=value` pairs, each key known and there once.
fn fields_of<'a>(pairs: impl Iterator<Item = &'a str>, keys: &[&str]) -> Result<Vec<(&'a str, &'a str)>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not key=value"))?;
        if !keys.contains(&key) {
            return Err(format!("{key:?} is not one of {}", keys.join(", ")));
        }
        if found.iter().any(|(earlier, _)| *earlier == key) {
            return Err(format!("{key} stands there twice"));
        }
        found.push((key, value));
    }
    Ok(found)
}
