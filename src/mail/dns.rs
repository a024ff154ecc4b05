//! Asks DNS: TXT, MX, PTR and addresses, with short time-outs. Whoever answers is a stranger.
//!
//! Answers are kept for as long as their TTL says. Names are asked as they stand: no search list, no
//! hosts file.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData, RecordType},
};

/// For one server's answer to one question.
const TIMEOUT: Duration = Duration::from_secs(2);
/// For an answer after all tries, whatever the resolver is busy with.
const PATIENCE: Duration = Duration::from_secs(8);
const SYSTEM: &str = "/etc/resolv.conf";

/// Asks the configured DNS server, or those of the machine. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
    servers: Vec<SocketAddr>,
}

/// A mail exchanger of a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// The lower is tried first.
    pub preference: u16,
    /// Its name, lower case, without final dot; empty is a null MX (RFC 7505).
    pub host: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// What was asked for is no domain name.
    #[error("{0:?} is no domain name")]
    Name(String),
    /// There is no such name (NXDOMAIN).
    #[error("the name does not exist")]
    NoSuchName,
    /// Nobody answers in time, or with an error: nothing is known.
    #[error("DNS does not answer: {0}")]
    Failed(String),
}

impl Resolver {
    /// Asks `server`, or where none is given those that `/etc/resolv.conf` names.
    pub fn new(server: Option<SocketAddr>) -> Result<Resolver, DnsError> {
        let servers = match server {
            Some(server) => vec![server],
            None => servers(&std::fs::read_to_string(Path::new(SYSTEM)).unwrap_or_default()),
        };
        let mut config = ResolverConfig::default();
        for server in &servers {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            config.add_name_server(NameServerConfig::new(server.ip(), true, connections.into()));
        }
        let mut options = ResolverOpts::default();
        options.timeout = TIMEOUT;
        options.attempts = 2;
        options.use_hosts_file = ResolveHosts::Never;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let inner = builder.with_options(options).build().map_err(|e| DnsError::Failed(e.to_string()))?;
        Ok(Resolver { inner, servers })
    }

    /// The texts under a name, each with its strings put together (RFC 7208 section 3.3); none when the
    /// name exists without a text.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.ask(domain_name(name)?, RecordType::TXT, text).await
    }

    /// The mail exchangers of a domain, those tried first at the front; none when the domain exists
    /// without one (then its own address takes its mail, RFC 5321 section 5.1).
    pub async fn mx(&self, domain: &str) -> Result<Vec<Mx>, DnsError> {
        let mx = |data: &RData| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, host: host(&mx.exchange) }),
            _ => None,
        };
        let mut all = self.ask(domain_name(domain)?, RecordType::MX, mx).await?;
        all.sort();
        Ok(all)
    }

    /// The names of an address (reverse DNS).
    pub async fn ptr(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        let name = |data: &RData| match data {
            RData::PTR(ptr) => Some(host(&ptr.0)),
            _ => None,
        };
        self.ask(Name::from(address), RecordType::PTR, name).await
    }

    /// The addresses of a host, IPv4 first.
    pub async fn a(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let name = domain_name(host)?;
        let ip = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        };
        let mut addresses = self.ask(name.clone(), RecordType::A, ip).await?;
        addresses.extend(self.ask(name, RecordType::AAAA, ip).await?);
        Ok(addresses)
    }

    async fn ask<T>(
        &self,
        mut name: Name,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, DnsError> {
        name.set_fqdn(true);
        let asking = self.inner.lookup(name, kind);
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(found)) => Ok(found.answers().iter().filter_map(|record| read(&record.data)).collect()),
            Ok(Err(error)) if error.is_nx_domain() => Err(DnsError::NoSuchName),
            Ok(Err(error)) if error.is_no_records_found() => Ok(Vec::new()),
            Ok(Err(NetError::Timeout)) | Err(_) => Err(DnsError::Failed("no answer in time".to_owned())),
            Ok(Err(error)) => Err(DnsError::Failed(error.to_string())),
        }
    }
}

/// The servers that are asked.
impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        f.write_str(&servers.join(", "))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({self})")
    }
}

fn domain_name(name: &str) -> Result<Name, DnsError> {
    let refused = || DnsError::Name(name.to_owned());
    let bare = name.strip_suffix('.').unwrap_or(name);
    // An empty name would ask the root; the library takes a backslash for an escape.
    if bare.is_empty() || bare.len() > 253 || !bare.is_ascii() || bare.contains(['\\', '"']) {
        return Err(refused());
    }
    Name::from_ascii(bare).map_err(|_| refused())
}

fn host(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// The name servers of a `resolv.conf`; this machine where it names none (resolv.conf(5)).
fn servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
        })
        .map(|ip| SocketAddr::new(ip, 53))
        .collect();
    servers.truncate(3);
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    servers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_machines_servers_are_asked() {
        let at = |text: &str| servers(text).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(at(""), "127.0.0.1:53");
        assert_eq!(at("# nameserver 192.0.2.1\nsearch example\n"), "127.0.0.1:53");
        assert_eq!(at("nameserver 192.0.2.1\n\tnameserver\t2001:db8::1 # second\n"), "192.0.2.1:53 [2001:db8::1]:53");
        assert_eq!(at("nameserver fe80::1%eth0\nnameserver what\nnameserver 192.0.2.9"), "192.0.2.9:53");
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for name in ["", ".", "a..b", "é.example", "a\\.b", &"a.".repeat(200), &format!("{}.example", "a".repeat(64))]
        {
            assert!(domain_name(name).is_err(), "{name}");
        }
        for name in ["example.org", "s1._domainkey.example.org", "_dmarc.example.org.", "xn--socit-esab.example"] {
            assert!(domain_name(name).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_and_no_file_panics(name in ".{0,80}", file in "(nameserver |[0-9.:a-f%#\n ]){0,40}") {
            let _ = domain_name(&name);
            prop_assert!(!servers(&file).is_empty());
        }
    }
}
