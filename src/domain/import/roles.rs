//! Whose mailbox an address is, seen from its name (rules FR-6). Decided at import, once.

use std::{collections::HashSet, sync::LazyLock};

use crate::domain::{address::Address, contacts::AddressKind};

static ROLES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("role_addresses.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_ascii_whitespace).collect()
});

/// Generic for `info@`, `service-client@`, `sales+fr@` and the like; anything else is a person's.
pub fn address_kind(address: &Address) -> AddressKind {
    let local = address.local_part();
    let local = local.split_once('+').map_or(local, |(before, _)| before);
    let generic = if local.contains(['.', '-', '_']) {
        ROLES.contains(local.replace(['.', '-', '_'], "").as_str())
    } else {
        ROLES.contains(local)
    };
    if generic { AddressKind::Generic } else { AddressKind::Personal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_the_whole_name_of_the_mailbox() {
        let kind = |text: &str| address_kind(&Address::parse(text).unwrap());
        for generic in ["info", "Contact", "service-client", "ne.pas.repondre", "sales+fr", "no-reply", "postmaster"] {
            assert_eq!(kind(&format!("{generic}@example.net")), AddressKind::Generic, "{generic}");
        }
        for personal in ["marie.durand", "infos", "contact.marie", "j.sales", "salesman", "+info"] {
            assert_eq!(kind(&format!("{personal}@example.net")), AddressKind::Personal, "{personal}");
        }
    }
}
