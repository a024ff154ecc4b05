//! Groups of mailbox providers, as data: limits and reports are kept per group, never per domain.

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
    by_domain: HashMap<String, &'static str>,
    by_mx: Vec<(String, &'static str)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let groups: BTreeMap<String, Group> =
        toml::from_str(include_str!("providers.toml")).expect("providers.toml is part of the program");
    let mut table = Table { by_domain: HashMap::new(), by_mx: Vec::new() };
    for (name, group) in groups {
        let name: &'static str = name.leak();
        table.by_domain.extend(group.domains.into_iter().map(|d| (d, name)));
        table.by_mx.extend(group.mx.into_iter().map(|mx| (mx, name)));
    }
    table
});

/// The group of a recipient's domain, as far as its name tells.
pub fn group_of_domain(domain: &str) -> &'static str {
    TABLE.by_domain.get(domain).copied().unwrap_or(OTHER)
}

/// The group of a mail exchanger, by the longest suffix of its name on a label boundary.
pub fn group_of_mx(host: &str) -> &'static str {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    TABLE
        .by_mx
        .iter()
        .filter(|(suffix, _)| {
            host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
        .max_by_key(|(suffix, _)| suffix.len())
        .map_or(OTHER, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_belongs_to_whoever_runs_its_exchanger() {
        assert_eq!(group_of_domain("gmail.com"), "google");
        assert_eq!(group_of_domain("societe.example"), OTHER);
        assert_eq!(group_of_mx("ASPMX.L.GOOGLE.COM."), "google");
        assert_eq!(group_of_mx("mx.notgoogle.com"), OTHER);
    }
}
