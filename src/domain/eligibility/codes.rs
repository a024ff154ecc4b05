//! Every code that a decision can carry.

use crate::domain::words::words;

words! {
    /// Why a message may be sent (GD-1).
    Basis {
        /// The person said yes to this product, with an accepted proof (FR-1).
        Consent = "CONSENT",
        /// A customer, similar products of the same entity, refusal offered (FR-3).
        SoftOptIn = "SOFT_OPT_IN",
        /// A professional, about the profession, informed (FR-5).
        LegitimateInterestB2b = "LEGITIMATE_INTEREST_B2B",
        /// A company's role address (FR-6).
        GenericAddress = "GENERIC_ADDRESS",
        /// A British company (GB-2).
        CorporateSubscriber = "CORPORATE_SUBSCRIBER",
        /// Implied consent of CASL (CA-2, CA-3).
        ImpliedConsent = "IMPLIED_CONSENT",
        /// CAN-SPAM: allowed until refused (US-1).
        OptOutUs = "OPT_OUT_US",
        /// A service message to somebody with a relation (SVC-1, SVC-3).
        Service = "SERVICE",
    }
}

words! {
    /// Why a message must not be sent.
    Reason {
        /// What is written is no address (DATA-1).
        DataInvalidAddress = "DATA_INVALID_ADDRESS",
        /// A date does not parse, or collection lies in the future (DATA-1).
        DataInvalidDate = "DATA_INVALID_DATE",
        /// The country's rules are not known (REG-1).
        RegimeUnknown = "REGIME_UNKNOWN",
        /// The message does not say who sends (FR-4).
        CampaignMissingIdentity = "CAMPAIGN_MISSING_IDENTITY",
        /// The message offers no way to stop (FR-4).
        CampaignMissingOptout = "CAMPAIGN_MISSING_OPTOUT",
        /// The message lacks a postal address (US-2, CA-5).
        CampaignMissingPostal = "CAMPAIGN_MISSING_POSTAL",
        /// The sector may not prospect by mail (FR-7).
        CampaignSectorBanned = "CAMPAIGN_SECTOR_BANNED",
        /// A service message must not promote (SVC-2).
        CampaignNotService = "CAMPAIGN_NOT_SERVICE",
        /// The person is on the hashed suppression list (SUP-5).
        SuppressedHash = "SUPPRESSED_HASH",
        /// The person refused all marketing (SUP-1).
        SuppressedGlobal = "SUPPRESSED_GLOBAL",
        /// The person complained of spam (SUP-9).
        SuppressedComplaint = "SUPPRESSED_COMPLAINT",
        /// The person's domain refused (SUP-4).
        SuppressedDomain = "SUPPRESSED_DOMAIN",
        /// The person refused this product (SUP-3).
        SuppressedProduct = "SUPPRESSED_PRODUCT",
        /// The mailbox does not exist (SUP-10).
        SuppressedHardBounce = "SUPPRESSED_HARD_BOUNCE",
        /// A service message to somebody without a relation (SVC-3).
        ServiceNoRelation = "SERVICE_NO_RELATION",
        /// The person said no to this product (SUP-7).
        ConsentWithdrawn = "CONSENT_WITHDRAWN",
        /// Too long without a contact from the person (RET-1).
        RetentionExpired = "RETENTION_EXPIRED",
        /// No date is known, so the time limit cannot be shown to hold (RET-7).
        RetentionUnknown = "RETENTION_UNKNOWN",
        /// Nobody knows where the address comes from (GD-3).
        SourceUnknown = "SOURCE_UNKNOWN",
        /// Collected indirectly, and the message lacks the notice (GD-3).
        Art14NoticeMissing = "ART14_NOTICE_MISSING",
        /// Collected indirectly more than a month ago without information (GD-3).
        InfoOverdue = "INFO_OVERDUE",
        /// The person was not informed at collection (GD-3).
        NotInformed = "NOT_INFORMED",
        /// Asked for permission too recently (RP-6).
        RepermissionCooldown = "REPERMISSION_COOLDOWN",
        /// The person asked for silence until a date.
        PausedByPerson = "PAUSED_BY_PERSON",
        /// The sender's own inactivity rule.
        Sunset = "SUNSET",
        /// The subject is not tied to the profession (FR-5).
        NotProfessionRelated = "NOT_PROFESSION_RELATED",
        /// A yes whose proof is not accepted (GD-2).
        ConsentUnproven = "CONSENT_UNPROVEN",
        /// The double opt-in was not confirmed (GD-2).
        ConsentPending = "CONSENT_PENDING",
        /// A partner's consent that did not name the sender (PAR-1).
        ConsentPartnerUnnamed = "CONSENT_PARTNER_UNNAMED",
        /// The customer of another entity (FR-3).
        SoftOptinOtherEntity = "SOFT_OPTIN_OTHER_ENTITY",
        /// The product is not similar to what was bought (FR-3).
        SoftOptinNotSimilar = "SOFT_OPTIN_NOT_SIMILAR",
        /// No refusal was offered at collection (FR-3).
        SoftOptinNoNotice = "SOFT_OPTIN_NO_NOTICE",
        /// No consent, and no rule that does without (FR-1).
        NoConsent = "NO_CONSENT",
    }
}

words! {
    /// How a message may be tracked (rules section 6, step 10).
    Tracking {
        /// Not at all.
        None = "none",
        /// The day of the last open, overwritten.
        LastOpenDay = "last_open_day",
        /// Individual opens and clicks.
        Individual = "individual",
    }
}
