//! A domain's SPF record, and what its evaluation would cost a receiver (RFC 7208).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::mail::dns::{DnsError, Resolver};

/// Terms that cost a DNS lookup, at most (section 4.6.4).
pub const LOOKUPS: usize = 10;
/// Lookups without an answer, at most (section 4.6.4).
pub const VOIDS: usize = 2;
/// Where counting stops: it is too many by then.
const ENOUGH: usize = 40;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spf {
    /// The domain's own record.
    pub record: Option<String>,
    /// Lookups of a whole evaluation; counting stops far above the limit.
    pub lookups: usize,
    /// Lookups of these that find nothing.
    pub voids: usize,
    /// Domains whose record is included, in the order in which they were met.
    pub included: Vec<String>,
    /// How the record ends.
    pub end: End,
    /// What is wrong, the first found first.
    pub faults: Vec<Fault>,
}

/// What becomes of mail that no term of the record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// `-all`: it fails.
    Fail,
    /// `~all`: it fails softly.
    SoftFail,
    /// `?all`, or nothing said.
    #[default]
    Neutral,
    /// `+all`: it passes, whoever sends it.
    Pass,
}

/// Why receivers cannot evaluate the record, or what is wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Several records: an error to receivers (section 4.5).
    Several(usize),
    /// A term that cannot be read, with the domain whose record it stands in.
    Syntax(String, String),
    /// An `include` or `redirect` of a domain without a record (section 5.2).
    NoRecordAt(String),
    /// A record that includes itself.
    Loop(String),
}

enum Term {
    All(End),
    Include(String),
    Redirect(String),
    /// A lookup of a domain (`a`, `mx`); none when the name is only known when mail comes.
    Lookup(Option<(bool, String)>),
    /// Costs no lookup.
    Free,
}

/// Reads the record of `domain`, and those that it includes.
pub async fn look(dns: &Resolver, domain: &str) -> Result<Spf, DnsError> {
    let mut spf = Spf::default();
    let mut records = own(dns, domain).await?;
    if records.len() > 1 {
        spf.faults.push(Fault::Several(records.len()));
    }
    let Some(record) = records.pop() else { return Ok(spf) };
    spf.record = Some(record.clone());
    // What is still to be read: domain, record, and the domains on the way to it.
    let mut open = vec![(domain.to_ascii_lowercase(), record, vec![domain.to_ascii_lowercase()])];
    let mut first = true;
    while let Some((at, record, way)) = open.pop() {
        let terms = read(&at, &record, &mut spf.faults);
        let all = terms.iter().find_map(|term| if let Term::All(end) = term { Some(*end) } else { None });
        if first {
            spf.end = all.unwrap_or_default();
        }
        let mut further = Vec::new();
        for term in terms {
            if spf.lookups >= ENOUGH {
                return Ok(spf);
            }
            match term {
                Term::All(_) => break,
                Term::Free => {}
                Term::Lookup(name) => {
                    spf.lookups += 1;
                    if let Some((mx, name)) = name
                        && is_void(dns, mx, &name).await?
                    {
                        spf.voids += 1;
                    }
                }
                // After an `all` nothing more is asked (section 6.1).
                Term::Redirect(_) if all.is_some() => {}
                Term::Include(name) | Term::Redirect(name) if way.contains(&name) => {
                    spf.lookups += 1;
                    spf.faults.push(Fault::Loop(name));
                }
                Term::Include(name) | Term::Redirect(name) => {
                    spf.lookups += 1;
                    // A name that is made of the mail's own data is known to receivers only.
                    if name.contains('%') {
                        continue;
                    }
                    let mut found = own(dns, &name).await?;
                    spf.included.push(name.clone());
                    match (found.pop(), found.len()) {
                        (Some(record), 0) => further.push((name.clone(), record, [&way[..], &[name]].concat())),
                        (None, _) => spf.faults.push(Fault::NoRecordAt(name)),
                        (Some(_), more) => spf.faults.push(Fault::Several(more + 1)),
                    }
                }
            }
        }
        if first && spf.end == End::Neutral && all.is_none() {
            // The record that is gone on with says how it ends.
            spf.end = redirected(dns, &at, &record).await?;
        }
        first = false;
        open.extend(further.into_iter().rev());
    }
    Ok(spf)
}

impl Spf {
    /// Receivers end in an error (permerror): the record counts for nothing.
    pub fn is_broken(&self) -> bool {
        !self.faults.is_empty() || self.lookups > LOOKUPS
    }
}

/// The end of a chain of `redirect=`.
async fn redirected(dns: &Resolver, domain: &str, record: &str) -> Result<End, DnsError> {
    let (mut at, mut record) = (domain.to_owned(), record.to_owned());
    for _ in 0..LOOKUPS {
        let mut next = None;
        for term in read(&at, &record, &mut Vec::new()) {
            match term {
                Term::All(end) => return Ok(end),
                Term::Redirect(name) if !name.contains('%') => next = Some(name),
                _ => {}
            }
        }
        let Some(name) = next else { break };
        let Some(found) = own(dns, &name).await?.pop() else { break };
        (at, record) = (name, found);
    }
    Ok(End::Neutral)
}

/// The SPF records of a domain: none is the rule, more than one an error.
async fn own(dns: &Resolver, domain: &str) -> Result<Vec<String>, DnsError> {
    let texts = match dns.txt(domain).await {
        Ok(texts) => texts,
        Err(DnsError::NoSuchName | DnsError::Name(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(texts.into_iter().filter(|text| is_spf(text)).collect())
}

fn is_spf(text: &str) -> bool {
    let (version, rest) = text.split_at_checked(6).unwrap_or((text, ""));
    version.eq_ignore_ascii_case("v=spf1") && (rest.is_empty() || rest.starts_with(' '))
}

async fn is_void(dns: &Resolver, mx: bool, name: &str) -> Result<bool, DnsError> {
    let found =
        if mx { dns.mx(name).await.map(|found| found.len()) } else { dns.a(name).await.map(|found| found.len()) };
    match found {
        Ok(n) => Ok(n == 0),
        Err(DnsError::NoSuchName | DnsError::Name(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The terms of a record that stands at `domain`.
fn read(domain: &str, record: &str, faults: &mut Vec<Fault>) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut redirects = 0;
    for word in record.split(' ').skip(1).filter(|word| !word.is_empty()) {
        match term(domain, word) {
            Some(Term::Redirect(_)) if redirects > 0 => faults.push(Fault::Syntax(word.to_owned(), domain.to_owned())),
            Some(term) => {
                redirects += usize::from(matches!(term, Term::Redirect(_)));
                terms.push(term);
            }
            None => faults.push(Fault::Syntax(word.to_owned(), domain.to_owned())),
        }
    }
    terms
}

fn term(domain: &str, word: &str) -> Option<Term> {
    let sign = word.find(['=', ':', '/']);
    if let Some(at) = sign.filter(|at| word[*at..].starts_with('=')) {
        let (name, value) = (word[..at].to_ascii_lowercase(), word[at + 1..].to_ascii_lowercase());
        let name_ok = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        return match name.as_str() {
            "redirect" => is_target(&value).then_some(Term::Redirect(value)),
            _ => name_ok.then_some(Term::Free),
        };
    }
    let (end, rest) = match word.as_bytes().first()? {
        b'+' => (End::Pass, &word[1..]),
        b'-' => (End::Fail, &word[1..]),
        b'~' => (End::SoftFail, &word[1..]),
        b'?' => (End::Neutral, &word[1..]),
        _ => (End::Pass, word),
    };
    let at = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, value) = (rest[..at].to_ascii_lowercase(), rest[at..].to_ascii_lowercase());
    let target = value.strip_prefix(':');
    match name.as_str() {
        "all" => value.is_empty().then_some(Term::All(end)),
        "include" => target.filter(|t| is_target(t)).map(|t| Term::Include(t.to_owned())),
        "exists" => target.filter(|t| is_target(t)).map(|_| Term::Lookup(None)),
        "ptr" => (value.is_empty() || target.is_some_and(is_target)).then_some(Term::Lookup(None)),
        "ip4" => target.filter(|net| is_network::<Ipv4Addr>(net, 32)).map(|_| Term::Free),
        "ip6" => target.filter(|net| is_network::<Ipv6Addr>(net, 128)).map(|_| Term::Free),
        "a" | "mx" => {
            let (named, lengths) = value.split_once('/').map_or((value.as_str(), None), |(d, n)| (d, Some(n)));
            let lengths_ok = lengths.is_none_or(|lengths| {
                let (four, six) = match lengths.strip_prefix('/') {
                    Some(six) => (None, Some(six)),
                    None => lengths.split_once("//").map_or((Some(lengths), None), |(a, b)| (Some(a), Some(b))),
                };
                four.is_none_or(|n| is_length(n, 32)) && six.is_none_or(|n| is_length(n, 128))
            });
            let asked = named.strip_prefix(':').unwrap_or(domain);
            if !lengths_ok || !(named.is_empty() || is_target(asked)) {
                return None;
            }
            Some(Term::Lookup((!asked.contains('%')).then(|| (name == "mx", asked.to_owned()))))
        }
        _ => None,
    }
}

/// A domain, or one with macros that are filled in when mail comes (section 7).
fn is_target(text: &str) -> bool {
    let graphic = text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    let macros = text.contains('%');
    graphic && !text.is_empty() && text.len() <= 253 && (macros || text.trim_end_matches('.').contains('.'))
}

fn is_network<A: std::str::FromStr>(text: &str, most: u8) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, n)| (a, Some(n)));
    address.parse::<A>().is_ok() && length.is_none_or(|n| is_length(n, most))
}

fn is_length(text: &str, most: u8) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u8>().is_ok_and(|n| n <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_told_from_other_texts() {
        for text in ["v=spf1", "v=spf1 -all", "V=SPF1 a"] {
            assert!(is_spf(text), "{text}");
        }
        for text in ["v=spf10 -all", "v=spf2.0/pra", "v=spf1;-all", " v=spf1", "", "é=spf1"] {
            assert!(!is_spf(text), "{text}");
        }
    }

    #[test]
    fn terms_are_read_as_the_standard_writes_them() {
        let good = "all -all ~all ?all +all a A mx a:mail.example mx:mail.example/24 a/24 a//64 a/24//64 a:%{d} \
                    include:_spf.example ptr ptr:example.org exists:%{i}._spf.example ip4:192.0.2.1 ip4:192.0.2.0/24 \
                    ip6:2001:db8::/32 ip6:::1 redirect=_spf.example exp=why.example unknown=x -mx +ip4:192.0.2.1";
        for word in good.split_whitespace() {
            assert!(term("news.example", word).is_some(), "{word}");
        }
        let bad = "al include include: include:local ip4 ip4:192.0.2 ip4:192.0.2.0/33 ip6:192.0.2.1 mx:/24 a/ a/x a/33 \
                   a//129 all:x foo foo:bar redirect= =x -all; \"-all\" +";
        for word in bad.split_whitespace() {
            assert!(term("news.example", word).is_none(), "{word}");
        }
    }

    proptest! {
        #[test]
        fn no_record_panics(record in "v=spf1( [+?~-]?(all|a|mx|ip4|ip6|include|redirect|é)?[:=/]{0,2}[a-z0-9.%{}/:é]{0,12}){0,5}") {
            let _ = read("news.example", &record, &mut Vec::new());
            let _ = is_spf(&record);
        }
    }
}
