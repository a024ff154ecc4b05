//! Opens and clicks: what fetched, and what that says (rules 2.5, 5.5 and table 8.3).
//!
//! A person, a provider's proxy, or a machine: judged by what arrived anyway, without fingerprints.
//! Only a person's click is a contact (RET-3); an open never is, whoever opened.

use std::{net::IpAddr, sync::LazyLock};

use serde::Deserialize;

use super::words::words;

words! {
    /// What fetched a pixel or followed a link.
    Class {
        /// A person, as far as can be told.
        Human = "human",
        /// A provider's proxy, perhaps for a person.
        Proxied = "proxied",
        /// A machine.
        Machine = "machine",
    }
}

/// What a request says of whoever made it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// HEAD instead of GET.
    pub head: bool,
    /// `User-Agent`.
    pub agent: Option<&'a str>,
    /// `Purpose`, `Sec-Purpose`, `X-Purpose` or `X-Moz`: said by whoever fetches in advance.
    pub purpose: Option<&'a str>,
}

/// An open this soon after the server took the message is a machine's: milliseconds.
const TOO_SOON: i64 = 2_000;

/// What made a request, by itself.
pub fn class(request: &Request) -> Class {
    let in_advance = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("prefetch") || text.contains("preview") || text.contains("prerender")
    };
    if request.head || request.purpose.is_some_and(in_advance) {
        return Class::Machine;
    }
    // Every browser says what it is.
    let Some(agent) = request.agent.map(str::trim).filter(|agent| !agent.is_empty()) else { return Class::Machine };
    let lower = agent.to_ascii_lowercase();
    let fits = |known: &&Agent| match &known.is {
        Some(whole) => whole == agent,
        None => known.holds.as_ref().is_some_and(|part| lower.contains(&part.to_ascii_lowercase())),
    };
    AGENTS.iter().find(fits).map_or(Class::Human, |known| known.class)
}

/// The class of an open, with the time since the mail server took the message: none, nobody knows.
pub fn class_of_open(by_itself: Class, since_accepted_millis: Option<i64>) -> Class {
    match since_accepted_millis {
        Some(millis) if (0..TOO_SOON).contains(&millis) => Class::Machine,
        _ => by_itself,
    }
}

/// What one recipient's links of one message were asked for, at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// When, in milliseconds.
    pub at: i64,
    /// Which link; none: the page to unsubscribe.
    pub link: Option<u16>,
    /// From which network.
    pub network: Network,
}

/// A network, as far as it is looked at: /24 of IPv4, /48 of IPv6. Never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Network([u8; 6]);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                // A prefix that no network of IPv6 in use has.
                Network([0, 0, 4, a, b, c])
            }
            IpAddr::V6(v6) => {
                let o = v6.octets();
                Network([o[0], o[1], o[2], o[3], o[4], o[5]])
            }
        }
    }
}

/// So many different links …
const BURST_LINKS: usize = 3;
/// … within so many milliseconds are no person's.
const BURST: i64 = 10_000;
/// A link and the page to unsubscribe within so many milliseconds are no person's.
const PAIR: i64 = 60_000;
/// So many networks …
const FARM_NETWORKS: usize = 3;
/// … within so many milliseconds are no person's.
const FARM: i64 = 120_000;
/// What is further apart than this says nothing about each other, in milliseconds.
pub const MEMORY: i64 = FARM;

/// Which of one recipient's visits are a machine's, by how they stand together: in the order given.
pub fn scans(visits: &[Visit]) -> Vec<bool> {
    let mut found = vec![false; visits.len()];
    for (i, first) in visits.iter().enumerate() {
        let within =
            |span: i64| visits.iter().enumerate().filter(move |(_, v)| (0..=span).contains(&(v.at - first.at)));
        let burst: Vec<usize> = within(BURST).filter(|(_, v)| v.link.is_some()).map(|(i, _)| i).collect();
        if distinct(burst.iter().map(|i| visits[*i].link)) >= BURST_LINKS {
            burst.iter().for_each(|i| found[*i] = true);
        }
        let pair: Vec<usize> =
            within(PAIR).filter(|(_, v)| v.link.is_some() != first.link.is_some()).map(|(i, _)| i).collect();
        if !pair.is_empty() {
            found[i] = true;
            pair.iter().for_each(|i| found[*i] = true);
        }
        let farm: Vec<usize> = within(FARM).map(|(i, _)| i).collect();
        if distinct(farm.iter().map(|i| visits[*i].network)) >= FARM_NETWORKS {
            farm.iter().for_each(|i| found[*i] = true);
        }
    }
    found
}

fn distinct<T: Ord>(of: impl Iterator<Item = T>) -> usize {
    of.collect::<std::collections::BTreeSet<T>>().len()
}

/// A line of `agents.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Agent {
    is: Option<String>,
    holds: Option<String>,
    class: Class,
    #[expect(dead_code, reason = "said to whoever reads the file")]
    why: String,
}

static AGENTS: LazyLock<Vec<Agent>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        agent: Vec<Agent>,
    }
    toml::from_str::<File>(include_str!("agents.toml")).expect("the file is ours, and a test reads it").agent
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";

    fn of(agent: &str) -> Class {
        class(&Request { agent: Some(agent), ..Request::default() })
    }

    #[test]
    fn what_says_what_it_is_is_believed() {
        for (agent, expected) in [
            ("Mozilla/5.0", Class::Machine),
            (FIREFOX, Class::Human),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                Class::Proxied,
            ),
            ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", Class::Proxied),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 \
              Safari/537.36 Edge/12.246 Mozilla/5.0",
                Class::Machine,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/126.0.0.0 Safari/537.36",
                Class::Machine,
            ),
            ("curl/8.5.0", Class::Machine),
            ("python-requests/2.32", Class::Machine),
            ("Go-http-client/1.1", Class::Machine),
            ("  ", Class::Machine),
            // A person's browser whose words hold those of a machine.
            (
                "Mozilla/5.0 (Linux; Android 14; CUBOT P80) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
                Class::Human,
            ),
        ] {
            assert_eq!(of(agent), expected, "{agent}");
        }
        let browser = Request { agent: Some(FIREFOX), ..Request::default() };
        assert_eq!(class(&Request { head: true, ..browser }), Class::Machine);
        assert_eq!(class(&Request { purpose: Some("prefetch;prerender"), ..browser }), Class::Machine);
        assert_eq!(class(&Request { agent: None, ..browser }), Class::Machine);
    }

    #[test]
    fn an_open_in_the_moment_of_acceptance_is_a_machines() {
        assert_eq!(class_of_open(Class::Human, Some(400)), Class::Machine);
        assert_eq!(class_of_open(Class::Proxied, Some(1_999)), Class::Machine);
        assert_eq!(class_of_open(Class::Human, Some(60_000)), Class::Human);
        assert_eq!(class_of_open(Class::Human, Some(-5)), Class::Human, "clocks of two hosts");
        assert_eq!(class_of_open(Class::Human, None), Class::Human);
    }

    fn visit(seconds: i64, link: impl Into<Option<u16>>, network: u8) -> Visit {
        let network = Network::from(IpAddr::from([192, 0, network, 7]));
        Visit { at: seconds * 1000, link: link.into(), network }
    }

    #[test]
    fn what_no_person_does_is_a_scan() {
        // E08: five links in four seconds.
        let burst: Vec<Visit> = (0..5).map(|i| visit(i64::from(i), i, 1)).collect();
        assert_eq!(scans(&burst), [true; 5]);
        // Two links, or one of them often, are a person's.
        assert_eq!(scans(&[visit(0, 1, 1), visit(1, 2, 1), visit(2, 1, 1), visit(3, 2, 1)]), [false; 4]);
        assert_eq!(scans(&[visit(0, 1, 1), visit(6, 2, 1), visit(12, 3, 1)]), [false; 3]);
        // E09: a link and the page to unsubscribe, twenty seconds apart, in either order.
        assert_eq!(scans(&[visit(0, 1, 1), visit(20, None, 1)]), [true; 2]);
        assert_eq!(scans(&[visit(0, None, 1), visit(20, 1, 1)]), [true; 2]);
        assert_eq!(scans(&[visit(0, 1, 1), visit(61, None, 1)]), [false; 2]);
        assert_eq!(scans(&[visit(0, None, 1), visit(5, None, 1)]), [false; 2]);
        // E10: three networks in ninety seconds.
        assert_eq!(scans(&[visit(0, 1, 1), visit(45, 1, 2), visit(90, 1, 3)]), [true; 3]);
        assert_eq!(scans(&[visit(0, 1, 1), visit(45, 1, 2), visit(121, 1, 3)]), [false; 3]);
        // E11: one.
        assert_eq!(scans(&[visit(2400, 1, 1)]), [false]);
        assert_eq!(scans(&[]), Vec::<bool>::new());
    }

    #[test]
    fn networks_are_as_wide_as_the_rule_says() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("192.0.2.1"), network("192.0.2.200"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:ffff::9"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    }

    proptest! {
        #[test]
        fn no_agent_panics(agent in "\\PC{0,200}", purpose in proptest::option::of("\\PC{0,40}"), head in any::<bool>()) {
            let said = class(&Request { head, agent: Some(&agent), purpose: purpose.as_deref() });
            prop_assert!(!head || said == Class::Machine);
        }

        /// One visit alone is never a scan, and more visits never make fewer of them scans.
        #[test]
        fn suspicion_only_grows(visits in proptest::collection::vec((0i64..200, proptest::option::of(0u16..4), 0u8..4), 1..12)) {
            let visits: Vec<Visit> = visits.into_iter().map(|(at, link, network)| visit(at, link, network)).collect();
            prop_assert!(!scans(&visits[..1])[0]);
            let (fewer, more) = (scans(&visits[..visits.len() - 1]), scans(&visits));
            prop_assert!(fewer.iter().zip(&more).all(|(before, after)| !before || *after));
        }
    }
}
