//! What a domain publishes in DNS about its mail: DKIM keys, SPF, DMARC. All of it is strangers' text.

pub mod dkim;
pub mod dmarc;
pub mod spf;

/// The tags `name=value` of a DKIM or DMARC record in their order (RFC 6376 section 3.2): names in lower
/// case, values trimmed. None when something between two semicolons is no tag.
fn tags(record: &str) -> Option<Vec<(String, String)>> {
    let pieces = record.split(';').map(str::trim).filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (name, value) = piece.split_once('=')?;
            let name = name.trim();
            let name_ok = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            name_ok.then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect()
}

/// The value of the first tag of this name.
fn tag<'a>(tags: &'a [(String, String)], name: &str) -> Option<&'a str> {
    tags.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}
