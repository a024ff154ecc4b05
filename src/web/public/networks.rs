//! How many forms a network may send: against whoever fills mailboxes of others with our letters.
//!
//! Kept in memory only, by network and hour; an unsubscribe never passes here.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

/// Forms of one network within an hour, at most.
const AN_HOUR: u32 = 30;
const HOUR_MS: i64 = 60 * 60 * 1000;
/// Networks that are remembered, at most; with more of them all are forgotten.
const REMEMBERED: usize = 20_000;

/// Who sent how many forms.
#[derive(Debug, Default)]
pub struct Networks(Mutex<HashMap<IpAddr, (i64, u32)>>);

impl Networks {
    /// Counts a form from `client` at `now` (milliseconds); false when the network has sent enough of them.
    pub fn admit(&self, client: IpAddr, now: i64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.retain(|_, (since, _)| now - *since < HOUR_MS);
            if seen.len() >= REMEMBERED {
                seen.clear();
            }
        }
        let entry = seen.entry(network(client)).or_insert((now, 0));
        if now - entry.0 >= HOUR_MS {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
        entry.1 <= AN_HOUR
    }
}

/// The /24 or /48 that an address is in.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !((1 << 80) - 1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_its_hour_and_others_go_on() {
        let networks = Networks::default();
        for n in 0..AN_HOUR {
            assert!(networks.admit(ip(&format!("192.0.2.{}", n % 250)), 1_000));
        }
        assert!(!networks.admit(ip("192.0.2.9"), 2_000));
        assert!(!networks.admit(ip("::ffff:192.0.2.9"), 2_000));
        assert!(networks.admit(ip("192.0.3.9"), 2_000));
        assert!(networks.admit(ip("192.0.2.9"), 1_000 + HOUR_MS));
        assert_eq!(network(ip("2001:db8:1:2:3::4")), ip("2001:db8:1::"));
    }

    #[test]
    fn it_remembers_no_more_than_it_may() {
        let networks = Networks::default();
        for n in 0..(REMEMBERED as u32 * 2) {
            networks.admit(IpAddr::V4(Ipv4Addr::from_bits(n << 8)), 1_000);
        }
        assert!(networks.0.lock().unwrap().len() <= REMEMBERED);
    }
}
