//! Groups of mailbox providers, as data: limits and reports are kept per group, never per domain
//! (rules 5.3; T01).

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use serde::Deserialize;

/// The group of a domain that no table names.
pub const OTHER: &str = "other";

#[derive(Deserialize)]
struct Group {
    mx: Vec<String>,
    domains: Vec<String>,
}

struct Table {
    names: Vec<&'static str>,
    by_domain: HashMap<String, &'static str>,
    by_mx: HashMap<String, &'static str>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let groups: BTreeMap<String, Group> =
        toml::from_str(include_str!("providers.toml")).expect("providers.toml is part of the program");
    let mut table = Table { names: Vec::new(), by_domain: HashMap::new(), by_mx: HashMap::new() };
    for (name, group) in groups {
        let name: &'static str = name.leak();
        table.names.push(name);
        table.by_domain.extend(group.domains.into_iter().map(|d| (d, name)));
        table.by_mx.extend(group.mx.into_iter().map(|mx| (mx, name)));
    }
    table.names.push(OTHER);
    table
});

/// The names of all groups, `other` at the end.
pub fn names() -> &'static [&'static str] {
    &TABLE.names
}

/// The group of a recipient's domain, as far as its name tells.
pub fn group_of_domain(domain: &str) -> &'static str {
    known_group_of_domain(domain).unwrap_or(OTHER)
}

/// The group of a recipient's domain when the table names it: then nobody need be asked.
pub fn known_group_of_domain(domain: &str) -> Option<&'static str> {
    TABLE.by_domain.get(domain).copied()
}

/// The group of a mail exchanger, by the longest suffix of its name on a label boundary.
pub fn group_of_mx(host: &str) -> &'static str {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let mut rest = host.as_str();
    loop {
        if let Some(name) = TABLE.by_mx.get(rest) {
            return name;
        }
        match rest.split_once('.') {
            Some((_, parent)) => rest = parent,
            None => return OTHER,
        }
    }
}

/// Whether a domain can be in the public DNS at all: names kept for examples, tests and private networks
/// (RFC 2606, 6761, 6762, 8375) are not asked of it.
pub fn is_public_domain(domain: &str) -> bool {
    const NEVER: [&str; 11] = [
        "example",
        "example.com",
        "example.net",
        "example.org",
        "test",
        "invalid",
        "localhost",
        "local",
        "internal",
        "onion",
        "home.arpa",
    ];
    let domain = domain.to_ascii_lowercase();
    !NEVER.iter().any(|name| domain.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mailbox_belongs_to_whoever_runs_its_exchanger() {
        assert_eq!(group_of_domain("gmail.com"), "google");
        assert_eq!(group_of_domain("societe.example"), OTHER);
        for (mx, group) in [
            ("ASPMX.L.GOOGLE.COM.", "google"),
            ("mx.notgoogle.com", OTHER),
            ("societe-fr.mail.protection.outlook.com", "outlook"),
            ("mta5.am0.yahoodns.net", "yahoo"),
            ("mx01.mail.icloud.com", "apple"),
            ("smtp-in.orange.fr", "orange"),
            ("mx1.free.fr.", "free"),
            ("mx.sfr.fr", "sfr"),
            ("smtpz4.laposte.net", "laposte"),
            ("mx1.mail.ovh.net", "ovh"),
            ("com", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(group_of_mx(mx), group, "{mx}");
        }
    }

    /// T01: many domains behind one exchanger are one group.
    #[test]
    fn twenty_domains_behind_one_exchanger_are_one_group() {
        let groups: std::collections::BTreeSet<&str> =
            (0..20).map(|n| group_of_mx(&format!("mx{n}.mail.ovh.net"))).collect();
        assert_eq!(groups.len(), 1);
    }

    #[test]
    fn every_group_has_a_name_of_its_own_and_lower_case_data() {
        assert!(names().len() > 10 && names().ends_with(&[OTHER]));
        for name in TABLE.by_domain.keys().chain(TABLE.by_mx.keys()) {
            assert!(*name == name.to_ascii_lowercase() && !name.starts_with('.'), "{name}");
        }
    }

    #[test]
    fn names_for_examples_and_private_networks_are_not_asked_for() {
        for domain in ["societe.example", "example.com", "mail.example.org", "x.TEST", "host.local", "localhost"] {
            assert!(!is_public_domain(domain), "{domain}");
        }
        for domain in ["gmail.com", "myexample.com", "contest", "example.fr", "latest.fr"] {
            assert!(is_public_domain(domain), "{domain}");
        }
    }

    proptest! {
        #[test]
        fn whatever_dns_says_belongs_to_a_group(host in ".{0,60}") {
            prop_assert!(names().contains(&group_of_mx(&host)));
        }
    }
}
