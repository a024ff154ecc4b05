//! Bounces in a row: when a mailbox that is never quite dead is left alone (rules 5.4; B24 … B26).

/// What became of one message to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Its campaign.
    pub campaign: i64,
    /// When it ended, in milliseconds.
    pub at: i64,
    /// It bounced without a verdict on the address; else the server took it.
    pub soft: bool,
}

const IN_A_ROW: usize = 5;
const CAMPAIGNS: usize = 3;
const SPAN: i64 = 14 * 86_400_000;

/// Whether `history`, the newest first, asks for the address to be left alone: five soft bounces in a
/// row, of three campaigns, over two weeks. Anything that arrived in between begins the row anew.
pub fn reaches_soft_limit(history: &[Past]) -> bool {
    let row: Vec<&Past> = history.iter().take_while(|past| past.soft).collect();
    let campaigns: std::collections::BTreeSet<i64> = row.iter().map(|past| past.campaign).collect();
    let span = row.first().zip(row.last()).map_or(0, |(newest, oldest)| newest.at - oldest.at);
    row.len() >= IN_A_ROW && campaigns.len() >= CAMPAIGNS && span >= SPAN
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    /// Days and campaigns of soft bounces, the newest first; campaign 0 was taken.
    fn history(past: &[(i64, i64)]) -> Vec<Past> {
        past.iter().map(|(day, campaign)| Past { campaign: *campaign, at: day * DAY, soft: *campaign != 0 }).collect()
    }

    #[test]
    fn five_in_a_row_of_three_campaigns_over_two_weeks() {
        let b24 = [(20, 4), (15, 3), (10, 2), (1, 1)];
        assert!(!reaches_soft_limit(&history(&b24)));
        let b25 = [(20, 5), (15, 4), (10, 3), (8, 2), (6, 1)];
        assert!(reaches_soft_limit(&history(&b25)));
        assert!(!reaches_soft_limit(&history(&[(20, 5), (15, 4), (10, 3), (8, 2), (7, 1)])), "thirteen days");
        assert!(!reaches_soft_limit(&history(&[(20, 2), (15, 2), (10, 1), (8, 1), (6, 1)])), "two campaigns");
        let b26 = [(20, 5), (15, 0), (10, 3), (8, 2), (6, 1), (4, 6)];
        assert!(!reaches_soft_limit(&history(&b26)), "one arrived in between");
        assert!(!reaches_soft_limit(&[]));
    }
}
