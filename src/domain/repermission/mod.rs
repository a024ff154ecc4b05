//! Re-permission on an old list (rules section 4): the groups that its lines are sorted into, what
//! several lines say of one person, what a missing fact would change, and the waves of the sending.

pub mod missing;
pub mod union;
pub mod waves;

use super::{
    eligibility::{Basis, Outcome, Reason},
    words::words,
};

words! {
    /// Where a line of an old list belongs. Every line belongs to exactly one.
    Group {
        /// May be asked: `decide` says Send for the question (RP-1).
        Askable = "askable",
        /// Has said yes to this product, with proof: no need to ask.
        Already = "already",
        /// Refused, objected, withdrew, or the mailbox is dead (RP-2).
        Refused = "refused",
        /// No ground for the question itself: must not even be asked (RP-5).
        NoBasis = "no-basis",
        /// Past retention: to be purged, not asked (RET-1).
        Expired = "expired",
        /// A date or the source is missing; it says what would settle it.
        Unknown = "unknown",
        /// The address, a date or the row cannot be used (DATA-1).
        Invalid = "invalid",
        /// The same person stands on an earlier line.
        Duplicate = "duplicate",
    }
}

impl Group {
    /// The group of a person of whom this was decided for a re-permission message.
    pub fn of(outcome: Outcome) -> Group {
        match outcome {
            Outcome::Send(Basis::Consent) => Group::Already,
            Outcome::Send(_) => Group::Askable,
            Outcome::Block(reason) => Group::of_reason(reason),
        }
    }

    fn of_reason(reason: Reason) -> Group {
        match reason {
            Reason::DataInvalidAddress | Reason::DataInvalidDate => Group::Invalid,
            Reason::SuppressedHash
            | Reason::SuppressedGlobal
            | Reason::SuppressedComplaint
            | Reason::SuppressedDomain
            | Reason::SuppressedProduct
            | Reason::SuppressedHardBounce
            | Reason::ConsentWithdrawn => Group::Refused,
            Reason::RetentionExpired => Group::Expired,
            Reason::RetentionUnknown | Reason::SourceUnknown => Group::Unknown,
            // All else: whatever the reason, the question must not be put.
            _ => Group::NoBasis,
        }
    }
}

/// Reason of a line that repeats a person: a code of the plan's own, beside those of `decide`.
pub const DUPLICATE: &str = "DUPLICATE_LINE";
/// Reason of a row that cannot be used, neither its address nor a date being at fault.
pub const UNUSABLE_ROW: &str = "DATA_INVALID_ROW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_group_and_only_send_leads_to_the_question() {
        let mut count = std::collections::BTreeMap::new();
        for reason in Reason::ALL {
            *count.entry(Group::of(Outcome::Block(*reason))).or_insert(0) += 1;
        }
        assert_eq!(count.get(&Group::Askable), None);
        assert_eq!(count.get(&Group::Already), None);
        assert_eq!(
            (count[&Group::Invalid], count[&Group::Refused], count[&Group::Expired], count[&Group::Unknown]),
            (2, 7, 1, 2)
        );
        for basis in Basis::ALL {
            let expected = if *basis == Basis::Consent { Group::Already } else { Group::Askable };
            assert_eq!(Group::of(Outcome::Send(*basis)), expected);
        }
    }
}
