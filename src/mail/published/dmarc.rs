//! The DMARC record that holds for a domain: its own, or one further up (RFC 9989, before it RFC 7489).

use super::{tag, tags};
use crate::mail::dns::{DnsError, Resolver};

/// Names asked for on the way up, at most (RFC 9989 section 4.10: a long name is cut to seven labels).
const LABELS: usize = 7;

/// What receivers find for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, here and above.
    Nothing,
    /// Several records under one name: receivers take none.
    Several(String, usize),
    /// A text under `_dmarc` that is no record.
    Unreadable(String),
    /// A record.
    Record(Record),
}

/// A record that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The domain under whose `_dmarc` it stands: the one asked for, or a parent.
    pub at: String,
    /// The record as it stands.
    pub text: String,
    /// What is asked for mail that fails; none where the record says nothing readable.
    pub policy: Option<Policy>,
    /// DKIM must be signed by the very domain of `From` (`adkim=s`).
    pub strict_dkim: bool,
    /// The envelope's sender must be of the very domain of `From` (`aspf=s`).
    pub strict_spf: bool,
    /// Where reports go, as they stand.
    pub reports: Vec<String>,
}

/// What the domain asks of receivers for mail that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing, only reports.
    None,
    /// To treat it with suspicion.
    Quarantine,
    /// To refuse it.
    Reject,
}

impl Policy {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    fn read(text: &str) -> Option<Policy> {
        [Policy::None, Policy::Quarantine, Policy::Reject].into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text))
    }
}

/// Finds the record that holds for mail from `domain`.
pub async fn look(dns: &Resolver, domain: &str) -> Result<Found, DnsError> {
    let mut above = None;
    for at in names(domain) {
        let own = at == domain;
        let texts = match dns.txt(&format!("_dmarc.{at}")).await {
            Ok(texts) => texts,
            Err(DnsError::NoSuchName) => continue,
            Err(error) => return Err(error),
        };
        let mut records: Vec<&String> = texts.iter().filter(|text| is_dmarc(text)).collect();
        if own && records.len() > 1 {
            return Ok(Found::Several(at.to_owned(), records.len()));
        }
        if own && records.is_empty() && texts.iter().any(|text| text.to_ascii_lowercase().contains("dmarc")) {
            return Ok(Found::Unreadable(at.to_owned()));
        }
        let (Some(text), true) = (records.pop(), records.is_empty()) else { continue };
        let record = read(at, text, own);
        if own {
            return Ok(Found::Record(record));
        }
        let public_suffix = tags(text).is_some_and(|tags| tag(&tags, "psd") == Some("y"));
        // The organisation's own record is the highest below a public suffix.
        if public_suffix && above.is_some() {
            break;
        }
        let stop = tags(text).is_some_and(|tags| tag(&tags, "psd") == Some("n"));
        above = Some(record);
        if stop || public_suffix {
            break;
        }
    }
    Ok(above.map_or(Found::Nothing, Found::Record))
}

/// The domain and its parents, the longest first.
fn names(domain: &str) -> Vec<&str> {
    let mut names: Vec<&str> = std::iter::successors(Some(domain), |d| d.split_once('.').map(|(_, up)| up)).collect();
    let drop = names.len().saturating_sub(LABELS + 1);
    if drop > 0 {
        names.drain(1..=drop);
    }
    names
}

fn is_dmarc(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(name, value)| name.trim() == "v" && value.trim() == "DMARC1")
}

fn read(at: &str, text: &str, own: bool) -> Record {
    let tags = tags(text).unwrap_or_default();
    let policy = tag(&tags, "p").and_then(Policy::read);
    // To a subdomain without a record of its own, `sp` speaks before `p`.
    let below = tag(&tags, "sp").and_then(Policy::read).or(policy);
    let strict = |name: &str| tag(&tags, name).is_some_and(|mode| mode.eq_ignore_ascii_case("s"));
    Record {
        at: at.to_owned(),
        text: text.to_owned(),
        policy: if own { policy } else { below },
        strict_dkim: strict("adkim"),
        strict_spf: strict("aspf"),
        reports: tag(&tags, "rua")
            .map(|list| list.split(',').map(|uri| uri.trim().to_owned()).filter(|uri| !uri.is_empty()).collect())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_way_up_is_short() {
        assert_eq!(names("a.b.example"), ["a.b.example", "b.example", "example"]);
        assert_eq!(names("1.2.3.4.5.6.7.8.9.example").len(), LABELS + 1);
        assert_eq!(names("1.2.3.4.5.6.7.8.9.example")[1], "4.5.6.7.8.9.example");
    }

    #[test]
    fn a_record_says_what_it_says() {
        for text in ["v=DMARC1", "v=DMARC1; p=none", "v = DMARC1 ;p=none"] {
            assert!(is_dmarc(text), "{text}");
        }
        for text in ["v=dmarc1; p=none", "p=none; v=DMARC1", "v=DMARC2", "", "v=spf1 -all"] {
            assert!(!is_dmarc(text), "{text}");
        }
        let text = "v=DMARC1; p=Quarantine; sp=reject; adkim=s; rua=mailto:a@example.org, mailto:b@example.org";
        let record = read("example.org", text, true);
        assert_eq!((record.policy, record.strict_dkim, record.strict_spf), (Some(Policy::Quarantine), true, false));
        assert_eq!(record.reports, ["mailto:a@example.org", "mailto:b@example.org"]);
        assert_eq!(read("example.org", text, false).policy, Some(Policy::Reject));
        assert_eq!(read("example.org", "v=DMARC1; p=nothing", true).policy, None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "v=DMARC1[; =a-z,é]{0,60}", domain in "[a-z.]{0,40}") {
            let _ = (is_dmarc(&text), read("example.org", &text, true), names(&domain));
        }
    }
}
