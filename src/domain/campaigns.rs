//! Campaigns: their kinds, states, and the terms that `decide` judges.

use super::words::words;

words! {
    /// What a campaign is. Checked against its content: a service message without promotion only (SVC-2).
    CampaignKind {
        /// Direct prospecting.
        Marketing = "marketing",
        /// The question whether we may go on writing; marketing by law (RP-1).
        Repermission = "repermission",
        /// A message that belongs to a running relation.
        Service = "service",
    }
}

words! {
    /// How a campaign stands beside others that want to send at the same time.
    Priority {
        /// Before the others.
        High = "high",
        /// As the others.
        Normal = "normal",
        /// With what the others leave.
        Low = "low",
    }
}

impl Priority {
    /// Its share beside others: none gets nothing.
    pub fn weight(self) -> u32 {
        match self {
            Priority::High => 16,
            Priority::Normal => 4,
            Priority::Low => 1,
        }
    }
}

words! {
    /// Where a campaign stands.
    CampaignState {
        /// Being written.
        Draft = "draft",
        /// Will start by itself.
        Scheduled = "scheduled",
        /// Enqueueing or sending.
        Running = "running",
        /// Stopped for a while; nothing is submitted.
        Paused = "paused",
        /// Nothing is left to send.
        Finished = "finished",
        /// Stopped for good.
        Cancelled = "cancelled",
    }
}

words! {
    /// Sectors whose prospecting by mail is forbidden (FR-7); all but `None` are.
    Sector {
        /// Any other.
        None = "none",
        /// Energy renovation.
        EnergyRenovation = "energy_renovation",
        /// Energy production.
        EnergyProduction = "energy_production",
        /// Works that adapt a home.
        HomeAdaptation = "home_adaptation",
    }
}

words! {
    /// The tracking that a campaign asks for; what a person gets is decided (TRK-1 … TRK-8).
    TrackingRequest {
        /// No pixel, plain links.
        None = "none",
        /// The day of the last open only.
        Deliverability = "deliverability",
        /// Individual opens and clicks.
        Individual = "individual",
    }
}

words! {
    /// Where a delivery stands. Asked is always the sum of all of them.
    DeliveryState {
        /// Decided Send, waits for its turn.
        Queued = "queued",
        /// A worker prepares it.
        Claimed = "claimed",
        /// On disk before the first byte goes out: interrupted here means unknown.
        Submitting = "submitting",
        /// The server said 250.
        Accepted = "accepted",
        /// Refused for now; retried later.
        Deferred = "deferred",
        /// Refused for good.
        Bounced = "bounced",
        /// Decided Block, with its reason.
        Blocked = "blocked",
        /// Interrupted between `submitting` and the answer: a person resolves it, nothing retries it.
        Unknown = "unknown",
        /// The campaign was cancelled before it left.
        Cancelled = "cancelled",
    }
}

/// What `decide` may read of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What it is.
    pub kind: CampaignKind,
    /// Slug of the product it is about.
    pub product: String,
    /// Its subject is related to the recipients' profession (FR-5).
    pub profession_related: bool,
    /// Its sector.
    pub sector: Sector,
    /// It holds something promotional (SVC-2).
    pub has_promo: bool,
    /// The message carries the full article 14 notice, with the source (GD-3).
    pub art14_notice: bool,
    /// What the message carries.
    pub elements: Elements,
    /// The tracking asked for.
    pub tracking: TrackingRequest,
}

/// What the law wants to see in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements {
    /// Who sends (FR-4).
    pub identity: bool,
    /// A way to stop (FR-4).
    pub optout: bool,
    /// A postal address (US-2, CA-5).
    pub postal: bool,
}
