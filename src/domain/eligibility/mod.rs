//! The decision: may this person receive this campaign, now? (rules section 6)
//!
//! [`decide`] is the only place where that question is answered. Preview, queue, the last
//! check before submission, commands and pages all call it. It knows the law only as data
//! ([`crate::domain::regimes`]) and everything unknown fails closed.

mod basis;
mod campaign;
mod codes;
mod consent;
mod data;
mod facts;
mod information;
mod keeping;
mod remedies;
mod retention;
mod sentences;
mod silence;
mod suppression;
mod tracking;

#[cfg(test)]
mod properties;

pub use codes::{Basis, Reason, Tracking};
pub use facts::{Person, Rules, Settings};
pub use keeping::must_go;
pub use silence::{is_inactive, last_sign};

use jiff::{Timestamp, civil::Date};

use super::{
    address::Address,
    campaigns::{CampaignKind, Terms},
    lang::Lang,
    regimes::{RULES_VERSION, Regime},
    rulebook,
};

/// Decides whether `person` may receive the campaign of these `terms` at `now`.
///
/// The steps of rules section 6, in order. The first that blocks gives the reason; a service
/// message is decided at step 4. A re-permission takes every step of marketing (RP-1).
pub fn decide(rules: &Rules, terms: &Terms, person: &Person, now: Timestamp) -> Decision {
    let case = match data::open(rules, terms, person, now) {
        Ok(case) => case,
        Err(reason) => return block_without_regime(reason),
    };
    let ruling = None
        .or_else(|| campaign::is_complete(&case))
        .or_else(|| suppression::stands(&case))
        .or_else(|| campaign::service_message(&case))
        .or_else(|| consent::is_refused(&case))
        .or_else(|| silence::chosen_by_the_person(&case))
        .or_else(|| retention::has_ended(&case))
        .or_else(|| information::is_missing(&case))
        .or_else(|| silence::after_a_repermission(&case))
        .or_else(|| silence::of_the_inactive(&case))
        .unwrap_or_else(|| basis::of(&case));
    Decision {
        outcome: ruling.outcome,
        tracking: tracking::allowed(&case, ruling.outcome),
        rule_ids: ruling.rules,
        rules_version: RULES_VERSION,
    }
}

/// What was decided, for one person, campaign and instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Send or not, and why.
    pub outcome: Outcome,
    /// How the message may be tracked.
    pub tracking: Tracking,
    /// Ids of the rules that decided, the deciding one first. Each is in [`rulebook`].
    pub rule_ids: &'static [&'static str],
    /// Version of the rules that were applied.
    pub rules_version: &'static str,
}

impl Decision {
    /// The basis or reason in one plain sentence, for marketers and recipients alike.
    pub fn sentence(&self, lang: Lang) -> String {
        match self.outcome {
            Outcome::Send(basis) => basis.sentence(lang).to_owned(),
            Outcome::Block(reason) => reason.sentence(lang).to_owned(),
        }
    }
}

/// Send with a basis, or block with a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// May be sent, on this basis (GD-1).
    Send(Basis),
    /// Must not be sent, for this reason.
    Block(Reason),
}

impl Outcome {
    /// The code of the basis or reason.
    pub fn code(self) -> &'static str {
        match self {
            Outcome::Send(basis) => basis.as_str(),
            Outcome::Block(reason) => reason.as_str(),
        }
    }

    /// Whether it is a Send.
    pub fn is_send(self) -> bool {
        matches!(self, Outcome::Send(_))
    }
}

/// One decision under way: what every step may look at.
struct Case<'a> {
    rules: &'a Rules,
    terms: &'a Terms,
    person: &'a Person,
    address: &'a Address,
    regime: &'static Regime,
    now: Timestamp,
    /// The date of `now` in the controller's time zone (RET-6).
    today: Date,
}

impl Case<'_> {
    fn is_service(&self) -> bool {
        self.terms.kind == CampaignKind::Service
    }

    fn is_repermission(&self) -> bool {
        self.terms.kind == CampaignKind::Repermission
    }

    fn send(&self, basis: Basis) -> Ruling {
        self.rule(Outcome::Send(basis))
    }

    fn block(&self, reason: Reason) -> Ruling {
        self.rule(Outcome::Block(reason))
    }

    /// The outcome with the rules that the regime cites for it, or else those of the code itself.
    fn rule(&self, outcome: Outcome) -> Ruling {
        let cites = &self.regime.cites;
        let code = outcome.code();
        let of_kind = self.is_repermission().then(|| cites.get(format!("{code}@repermission").as_str())).flatten();
        let rules = of_kind.or_else(|| cites.get(code)).map_or_else(|| rulebook::rules_of(code), Vec::as_slice);
        Ruling { outcome, rules }
    }
}

/// What ends a decision: an outcome and the rules that lead to it.
struct Ruling {
    outcome: Outcome,
    rules: &'static [&'static str],
}

/// A block of step 1: there is no regime yet whose rules could be cited.
fn block_without_regime(reason: Reason) -> Decision {
    Decision {
        outcome: Outcome::Block(reason),
        tracking: Tracking::None,
        rule_ids: rulebook::rules_of(reason.as_str()),
        rules_version: RULES_VERSION,
    }
}
