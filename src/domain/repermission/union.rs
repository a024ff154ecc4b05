//! What several lines, and the database, say of one person, taken together.
//!
//! One line may know what another does not; where two contradict each other, the stricter statement
//! holds. A date is no contradiction: a person can be met twice, and the later time counts.

use jiff::tz::TimeZone;

use crate::domain::{
    contacts::{ContactKind, LegalForm, Relationship, SourceKind},
    dates::When,
    import::lines::Facts,
};

/// Takes the facts of one more line into account.
pub fn join(known: &mut Facts, said: &Facts, tz: &TimeZone) {
    known.address_kind = known.address_kind.or(said.address_kind);
    known.kind = both(known.kind, said.kind, stricter_kind);
    known.legal_form = both(known.legal_form, said.legal_form, stricter_form);
    known.relationship = both(known.relationship, said.relationship, stricter_relationship);
    known.source_kind = both(known.source_kind, said.source_kind, stricter_source);
    known.informed = both(known.informed, said.informed, |a, b| a && b);
    known.similar = both(known.similar, said.similar, |a, b| a && b);
    known.same_entity = both(known.same_entity, said.same_entity, |a, b| a && b);
    known.refusal_offered = both(known.refusal_offered, said.refusal_offered, |a, b| a && b);
    known.collected_at = both(known.collected_at, said.collected_at, |a, b| later(a, b, tz));
    known.relationship_end = both(known.relationship_end, said.relationship_end, |a, b| later(a, b, tz));
    join_activity(known, said, tz);
    fill(&mut known.first_name, &said.first_name);
    fill(&mut known.last_name, &said.last_name);
    fill(&mut known.company, &said.company);
    fill(&mut known.job_title, &said.job_title);
    fill(&mut known.language, &said.language);
    fill(&mut known.time_zone, &said.time_zone);
    fill(&mut known.source, &said.source);
    // Two countries have two laws, and nobody knows which one is the person's: none is applied (REG-1).
    known.country = both(known.country, said.country, |a, b| if a == b { a } else { NOWHERE });
}

/// The country of a person of whom two are stated: an ISO 3166 code that stands for none, and has no rules.
pub const NOWHERE: &str = "ZZ";

fn both<T>(a: Option<T>, b: Option<T>, strict: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(strict(a, b)),
        (a, b) => a.or(b),
    }
}

/// A consumer is protected more than a professional, in every regime.
pub fn stricter_kind(a: ContactKind, b: ContactKind) -> ContactKind {
    if a == ContactKind::Consumer { a } else { b }
}

/// Only one form is less protected than the others (GB-2).
pub fn stricter_form(a: LegalForm, b: LegalForm) -> LegalForm {
    if a == LegalForm::Corporate { b } else { a }
}

/// The one that allows less: a customer is more than a prospect.
pub fn stricter_relationship(a: Relationship, b: Relationship) -> Relationship {
    let rank = |r: Relationship| match r {
        Relationship::Partner => 0,
        Relationship::Prospect => 1,
        Relationship::AccountOnly => 2,
        Relationship::Negotiation => 3,
        Relationship::FormerCustomer => 4,
        Relationship::Customer => 5,
    };
    if rank(a) <= rank(b) { a } else { b }
}

/// An indirect source is stricter than a direct one; what nobody knows says nothing.
pub fn stricter_source(a: SourceKind, b: SourceKind) -> SourceKind {
    let rank = |s: SourceKind| match s {
        SourceKind::PurchasedList => 0,
        SourceKind::Partner => 1,
        SourceKind::PublicSource => 2,
        SourceKind::Event => 3,
        SourceKind::BusinessCard => 4,
        SourceKind::DirectForm => 5,
        SourceKind::Purchase => 6,
        SourceKind::Unknown => 7,
    };
    if rank(a) <= rank(b) { a } else { b }
}

/// The later of two times, by their first instants.
pub fn later(a: When, b: When, tz: &TimeZone) -> When {
    if b.starts_at(tz) > a.starts_at(tz) { b } else { a }
}

/// The kind and the date of an activity are one statement: the later one is taken whole.
fn join_activity(known: &mut Facts, said: &Facts, tz: &TimeZone) {
    let newer = match (known.last_activity_at, said.last_activity_at) {
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new.starts_at(tz) > old.starts_at(tz),
        (None, None) => known.last_activity.is_none(),
        (Some(_), None) => false,
    };
    if newer {
        (known.last_activity, known.last_activity_at) = (said.last_activity, said.last_activity_at);
    }
}

fn fill(known: &mut Option<String>, said: &Option<String>) {
    if known.is_none() {
        known.clone_from(said);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    fn when(text: &str) -> Option<When> {
        text.parse().ok()
    }

    #[test]
    fn one_line_knows_what_another_does_not_and_the_stricter_of_two_holds() {
        let mut known = Facts {
            kind: Some(ContactKind::Business),
            relationship: Some(Relationship::Customer),
            informed: Some(true),
            country: Some("FR"),
            collected_at: when("2024-05-01"),
            ..Facts::default()
        };
        let said = Facts {
            kind: Some(ContactKind::Consumer),
            relationship: Some(Relationship::Prospect),
            informed: Some(false),
            source_kind: Some(SourceKind::DirectForm),
            country: Some("DE"),
            collected_at: when("2025-05-01"),
            company: Some("Exemple".into()),
            ..Facts::default()
        };
        join(&mut known, &said, &TimeZone::UTC);
        assert_eq!((known.kind, known.relationship), (Some(ContactKind::Consumer), Some(Relationship::Prospect)));
        assert_eq!((known.informed, known.country), (Some(false), Some(NOWHERE)));
        assert_eq!((known.source_kind, known.collected_at), (Some(SourceKind::DirectForm), when("2025-05-01")));
        assert_eq!(known.company.as_deref(), Some("Exemple"));
        assert!(crate::domain::regimes::regime_of_country(NOWHERE).is_none());
    }

    prop_compose! {
        fn any_facts()(
            kind in proptest::option::of(select(ContactKind::ALL.to_vec())),
            relationship in proptest::option::of(select(Relationship::ALL.to_vec())),
            source_kind in proptest::option::of(select(SourceKind::ALL.to_vec())),
            informed in proptest::option::of(any::<bool>()),
            country in proptest::option::of(select(vec!["FR", "DE", "US"])),
            day in proptest::option::of(1i8..28),
        ) -> Facts {
            let collected_at = day.map(|day| When::Date(jiff::civil::date(2025, 3, day)));
            Facts { kind, relationship, source_kind, informed, country, collected_at, ..Facts::default() }
        }
    }

    proptest! {
        /// The order of the lines changes nothing of what the decision reads, nor does saying it twice.
        #[test]
        fn the_order_of_lines_does_not_matter(a in any_facts(), b in any_facts()) {
            let (mut ab, mut ba, mut aa) = (a.clone(), b.clone(), a.clone());
            join(&mut ab, &b, &TimeZone::UTC);
            join(&mut ba, &a, &TimeZone::UTC);
            join(&mut aa, &a, &TimeZone::UTC);
            prop_assert_eq!(ab, ba);
            prop_assert_eq!(aa, a);
        }

        /// A consumer stays one, whatever another line says (RP-5).
        #[test]
        fn nobody_stops_being_a_consumer(mut a in any_facts(), b in any_facts()) {
            let consumer = [a.kind, b.kind].contains(&Some(ContactKind::Consumer));
            join(&mut a, &b, &TimeZone::UTC);
            prop_assert_eq!(a.kind == Some(ContactKind::Consumer), consumer);
        }
    }
}
