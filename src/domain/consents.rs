//! Consent as dated events with proof (GD-2). Append-only; the state is derived.

use jiff::Timestamp;

use super::words::words;

words! {
    /// What an event of consent says.
    ConsentState {
        /// The person said yes.
        Granted = "granted",
        /// The person said no when asked.
        Refused = "refused",
        /// The person took back an earlier yes.
        Withdrawn = "withdrawn",
        /// A double opt-in waits for its confirmation: no consent yet.
        Pending = "pending",
    }
}

impl ConsentState {
    /// A no: refused or withdrawn.
    pub fn is_refusal(self) -> bool {
        matches!(self, ConsentState::Refused | ConsentState::Withdrawn)
    }
}

words! {
    /// What proves a consent. Which ones a regime accepts is data (rules section 3).
    Proof {
        /// Text, time and source were kept.
        Full = "full",
        /// Double opt-in.
        Doi = "doi",
        /// Collected by a partner, the sender being named (PAR-1).
        PartnerNamed = "partner_named",
        /// Collected by a partner without naming the sender: never accepted.
        PartnerUnnamed = "partner_unnamed",
        /// Nothing was kept.
        None = "none",
    }
}

/// One event of consent of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentEvent {
    /// The product's slug. None: a refusal holds for every product, a grant for none.
    pub product: Option<String>,
    /// What was said.
    pub state: ConsentState,
    /// When. None: a refusal that nothing later can lift, a grant that proves nothing.
    pub at: Option<Timestamp>,
    /// What proves it.
    pub proof: Proof,
    /// It was read from a file: a statement about the person, not an act of theirs here.
    pub imported: bool,
}

impl ConsentEvent {
    /// Whether it lifts a refusal before it: the person's own double opt-in; an import never does (SUP-7).
    pub fn lifts(&self) -> bool {
        self.state == ConsentState::Granted && self.proof == Proof::Doi && !self.imported
    }
}
