//! Step 9: the ground on which this person may be written to, or the most precise reason why none is.

use jiff::civil::Date;

use super::{
    Basis, Case, Outcome, Reason, Ruling,
    consent::{self, Standing},
};
use crate::domain::{
    consents::Proof,
    contacts::{ActivityKind, SourceKind},
    dates::{When, add_months},
    regimes::{Permission, Since},
};

/// A proven consent first, then the permissions of the regime in their order, else the reason.
pub(super) fn of(case: &Case) -> Ruling {
    let standing = consent::standing(case);
    if standing == Standing::Proven {
        return case.send(Basis::Consent);
    }
    if let Some(permission) = case.regime.permissions.iter().find(|permission| holds(case, permission)) {
        return granted_by(case, permission);
    }
    case.block(reason(case, standing))
}

/// The permission's own rules are the most precise, unless the regime cites others for a re-permission.
fn granted_by(case: &Case, permission: &'static Permission) -> Ruling {
    let ruling = case.send(permission.basis);
    match case.is_repermission() && case.regime.cites.contains_key(&*format!("{}@repermission", permission.basis)) {
        true => ruling,
        false => Ruling { outcome: Outcome::Send(permission.basis), rules: &permission.rules },
    }
}

fn holds(case: &Case, permission: &Permission) -> bool {
    let person = case.person;
    is_meant_for(case, permission)
        && among(&permission.legal_forms, person.legal_form)
        && among(&permission.relationships, person.relationship)
        && among(&permission.sources, person.source)
        && (!permission.profession_related || case.terms.profession_related)
        && (!permission.soft_opt_in || (missing_of_soft_opt_in(case).is_none() && !person.source.is_indirect()))
        && permission.within_months.is_none_or(|months| is_within(case, months, &permission.since))
}

fn is_meant_for(case: &Case, permission: &Permission) -> bool {
    among(&permission.kinds, case.person.kind) && among(&permission.address_kinds, case.person.address_kind)
}

fn among<T: PartialEq>(allowed: &[T], value: T) -> bool {
    allowed.is_empty() || allowed.contains(&value)
}

/// The first condition of FR-3 that is not met.
fn missing_of_soft_opt_in(case: &Case) -> Option<Reason> {
    let person = case.person;
    if !person.same_entity {
        Some(Reason::SoftOptinOtherEntity)
    } else if !person.similar {
        Some(Reason::SoftOptinNotSimilar)
    } else if !person.refusal_offered {
        Some(Reason::SoftOptinNoNotice)
    } else {
        None
    }
}

/// Whether the months since the latest of these dates are not over, the last day included (RET-5).
fn is_within(case: &Case, months: u32, since: &[Since]) -> bool {
    let latest = since.iter().filter_map(|since| date_of(case, *since)).max();
    latest.is_some_and(|date| case.today <= add_months(date, months))
}

fn date_of(case: &Case, since: Since) -> Option<Date> {
    let person = case.person;
    let activity = |kind: ActivityKind| {
        let at = person.last_activity_at.known().filter(|_| person.last_activity == Some(kind))?;
        (!at.is_after(case.now, &case.rules.tz)).then_some(at)
    };
    let when: Option<When> = match since {
        Since::Purchase => activity(ActivityKind::Purchase),
        Since::Form => activity(ActivityKind::Form),
        Since::Reply => activity(ActivityKind::Reply),
        Since::Collection => person.collected_at.known(),
        Since::PurchaseCollection => person.collected_at.known().filter(|_| person.source == SourceKind::Purchase),
        Since::RelationshipEnd => person.relationship_end.known(),
    };
    when.map(|when| when.local_date(&case.rules.tz))
}

/// Lines 10 to 14 of step 9: the first that says something about this person.
fn reason(case: &Case, standing: Standing) -> Reason {
    let permissions = &case.regime.permissions;
    let of_the_kind = || permissions.iter().filter(|p| is_meant_for(case, p)).find_map(|p| p.otherwise);
    let of_the_consent = || match standing {
        Standing::Unproven(Proof::PartnerUnnamed) => Some(Reason::ConsentPartnerUnnamed),
        Standing::Unproven(_) => Some(Reason::ConsentUnproven),
        Standing::Pending => Some(Reason::ConsentPending),
        Standing::Refused | Standing::Proven | Standing::Silent => None,
    };
    let of_the_customer = || {
        let soft_opt_in = |p: &&Permission| {
            p.soft_opt_in && is_meant_for(case, p) && among(&p.relationships, case.person.relationship)
        };
        permissions.iter().find(soft_opt_in).and_then(|_| missing_of_soft_opt_in(case))
    };
    of_the_kind().or_else(of_the_consent).or_else(of_the_customer).unwrap_or(Reason::NoConsent)
}
