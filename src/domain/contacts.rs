//! What a contact is: the closed vocabularies of its fields.

use super::words::words;

words! {
    /// Whom we write to. Unknown is treated as consumer, the strictest.
    ContactKind {
        /// A consumer.
        Consumer = "consumer",
        /// A professional, in that quality.
        Business = "business",
    }
}

words! {
    /// Whose mailbox the address is (FR-6). Decided at import.
    AddressKind {
        /// A person's.
        Personal = "personal",
        /// A company's role address: info@, contact@, sales@ …
        Generic = "generic",
    }
}

words! {
    /// Legal form, read in GB only (GB-2).
    LegalForm {
        /// Companies, LLPs, Scottish partnerships, government bodies.
        Corporate = "corporate",
        /// Sole traders and ordinary partnerships: individual subscribers.
        SoleTrader = "sole_trader",
        /// A consumer.
        Consumer = "consumer",
        /// Not known: individual subscriber.
        Unknown = "unknown",
    }
}

words! {
    /// Relationship with the sender. A partner is decided like a prospect.
    Relationship {
        /// No sale, no negotiation.
        Prospect = "prospect",
        /// A quote or an inquiry.
        Negotiation = "negotiation",
        /// A free account; never a customer by itself (FR-3b).
        AccountOnly = "account_only",
        /// A customer.
        Customer = "customer",
        /// A customer once.
        FormerCustomer = "former_customer",
        /// A partner.
        Partner = "partner",
    }
}

words! {
    /// Where the address comes from.
    SourceKind {
        /// A form that the person filled in.
        DirectForm = "direct_form",
        /// A purchase by the person.
        Purchase = "purchase",
        /// A business card that the person handed over.
        BusinessCard = "business_card",
        /// Met at an event. Direct, like a business card.
        Event = "event",
        /// A partner transmitted it (indirect, PAR-1).
        Partner = "partner",
        /// A list that was bought (indirect).
        PurchasedList = "purchased_list",
        /// Published somewhere (indirect).
        PublicSource = "public_source",
        /// Nobody knows.
        Unknown = "unknown",
    }
}

impl SourceKind {
    /// Not collected from the person: article 14 of the GDPR applies (GD-3).
    pub fn is_indirect(self) -> bool {
        matches!(self, SourceKind::Partner | SourceKind::PurchasedList | SourceKind::PublicSource)
    }
}

words! {
    /// What a person last did. An open is no activity (RET-3).
    ActivityKind {
        /// Clicked a link.
        Click = "click",
        /// Replied.
        Reply = "reply",
        /// Bought.
        Purchase = "purchase",
        /// Logged in.
        Login = "login",
        /// Sent a form.
        Form = "form",
        /// Opened a message: never counts.
        Open = "open",
        /// Something else, which does not count.
        Other = "other",
    }
}

impl ActivityKind {
    /// Whether it is a contact coming from the person (RET-3).
    pub fn qualifies(self) -> bool {
        !matches!(self, ActivityKind::Open | ActivityKind::Other)
    }
}

words! {
    /// The contact's consent to individual tracking, apart from any consent to mail (TRK-5).
    TrackingConsent {
        /// Never asked or never answered.
        None = "none",
        /// Given.
        Granted = "granted",
        /// Taken back: stops recording for mail already delivered too (TRK-4).
        Withdrawn = "withdrawn",
    }
}
