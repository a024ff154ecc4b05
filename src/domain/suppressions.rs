//! Standing refusals (SUP-1 … SUP-11). They live outside contacts and outlast everything.

use jiff::Timestamp;

use super::{lang::Lang, words::words};

words! {
    /// What a suppression covers. A refusal without a stated scope is global (SUP-3).
    Scope {
        /// All marketing to the person.
        Global = "global",
        /// Marketing about one product.
        Product = "product",
        /// Every address of a domain and its sub-domains (SUP-4).
        Domain = "domain",
        /// One address; blocks like a global one.
        Address = "address",
        /// One address known by its keyed hash only (SUP-5).
        Hash = "hash",
    }
}

words! {
    /// Why it was written.
    SuppressionReason {
        /// The person unsubscribed.
        Unsubscribe = "unsubscribe",
        /// The person objected (GDPR 21).
        Objection = "objection",
        /// A spam complaint: a global objection (SUP-9).
        Complaint = "complaint",
        /// The mailbox does not exist: blocks service mail too (SUP-10).
        HardBounce = "hard_bounce",
        /// Too many soft bounces in a row.
        SoftLimit = "soft_limit",
        /// Entered by an operator.
        Manual = "manual",
    }
}

impl SuppressionReason {
    /// Done by the person: undone only by the person, by a later double opt-in (SUP-7).
    pub fn is_the_persons_act(self) -> bool {
        matches!(self, SuppressionReason::Unsubscribe | SuppressionReason::Objection)
    }
}

words! {
    /// Why somebody unsubscribes, as far as they care to say.
    Why {
        /// Too many messages.
        TooMany = "too_many",
        /// Not interested.
        NotInterested = "not_interested",
        /// Does not remember having asked for it.
        NeverAsked = "never_asked",
        /// Not the right person, or not any more.
        WrongPerson = "wrong_person",
        /// Anything else.
        Other = "other",
    }
}

impl Why {
    /// In the person's mouth.
    pub fn sentence(self, lang: Lang) -> &'static str {
        match self {
            Why::TooMany => lang.pick("Je reçois trop de messages", "I get too many messages"),
            Why::NotInterested => lang.pick("Le sujet ne m’intéresse pas", "The subject does not interest me"),
            Why::NeverAsked => lang.pick("Je n’ai pas demandé ces messages", "I did not ask for these messages"),
            Why::WrongPerson => lang.pick("Je ne suis pas la bonne personne", "I am not the right person"),
            Why::Other => lang.pick("Une autre raison", "Another reason"),
        }
    }
}

words! {
    /// Where it came from. Never weakens the reason.
    Origin {
        /// RFC 8058 one-click POST.
        OneClick = "one_click",
        /// The form of a public page.
        Page = "page",
        /// An imported file.
        Import = "import",
        /// The erasure of a contact.
        Erasure = "erasure",
        /// A bounce or complaint report, or a reply of a mail server.
        Report = "report",
        /// A reply by the person.
        Reply = "reply",
        /// An operator.
        Staff = "staff",
    }
}

/// A standing refusal, as `decide` sees it. Entries lifted by hand are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// What it covers.
    pub scope: Scope,
    /// Product slug, domain, address or hexadecimal hash, by scope. None: the contact's own address.
    pub value: Option<String>,
    /// Why.
    pub reason: SuppressionReason,
    /// Since when. None blocks and cannot be lifted (SUP-6).
    pub at: Option<Timestamp>,
}
