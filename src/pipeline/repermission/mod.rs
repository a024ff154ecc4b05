//! Re-permission on an old list (rules section 4): sort every line, ask only those who may be asked,
//! record what they answer, purge what must go, and prove all of it.
//!
//! `read → spool → judge → plan`, then `send → answers → report → evidence`; `purge` beside them. A plan
//! changes no contact: what a list says takes effect when something is done with the plan.

pub mod answers;
pub mod apply;
pub mod ask;
pub mod bundle;
pub mod evidence;
pub mod judge;
pub mod person;
pub mod plan;
pub mod purge;
pub mod read;
pub mod report;
pub mod send;
pub mod sort;
pub mod spool;
pub mod survey;
pub mod workbook;

use crate::domain::{
    campaigns::{CampaignKind, Elements, Sector, Terms, TrackingRequest},
    repermission::Group,
};

/// The terms of the question about a product: marketing by law (RP-1), with the full notice, its link to
/// stop and its sender, and never a pixel (RP-7).
pub fn terms(product: &crate::store::products::Product, postal_known: bool) -> Terms {
    Terms {
        kind: CampaignKind::Repermission,
        product: product.slug.clone(),
        profession_related: product.for_business,
        sector: Sector::None,
        has_promo: true,
        art14_notice: true,
        elements: Elements { identity: true, optout: true, postal: postal_known },
        tracking: TrackingRequest::None,
    }
}

/// The name of a plan in commands: `rp-7`.
pub fn plan_name(id: i64) -> String {
    format!("rp-{id}")
}

/// The id of a plan, as a command names it: `rp-7` or `7`.
pub fn plan_id(name: &str) -> Option<i64> {
    let digits = name.trim().strip_prefix("rp-").unwrap_or(name.trim());
    Some(digits).filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok())
}

/// The groups in the order in which they are told: first who may be asked.
pub fn groups() -> &'static [Group] {
    Group::ALL
}
