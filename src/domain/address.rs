//! Email addresses, normalised once (rules SUP-8 and DATA-1).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;

/// A valid address in its normal form: NFC, lower case, domain as A-label.
///
/// Two spellings of one mailbox are equal here; `+tag` and dots are kept (SUP-8).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: String,
    at: usize,
}

/// Why a text is not an address (DATA-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("the address is empty")]
    Empty,
    /// No `@`, or nothing before it.
    #[error("an address is local-part@domain")]
    Shape,
    /// The local part is no dot-atom and no quoted string (RFC 5322 section 3.4.1).
    #[error("the part before @ is not allowed by RFC 5322")]
    LocalPart,
    /// The local part has more than 64 octets (RFC 5321 section 4.5.3.1.1).
    #[error("the part before @ is longer than 64 octets")]
    LocalPartTooLong,
    /// The domain is not two or more LDH labels of at most 63 octets, 255 in all.
    #[error("the domain is not valid")]
    Domain,
}

impl Address {
    /// Reads and normalises `text`: an addr-spec, without display name, comment or literal.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(AddressError::Empty);
        }
        let (local, domain) = trimmed.rsplit_once('@').ok_or(AddressError::Shape)?;
        if local.is_empty() {
            return Err(AddressError::Shape);
        }
        let local: String = local.nfc().collect::<String>().to_lowercase().nfc().collect();
        check_local(&local)?;
        let domain = normalise_domain(domain).ok_or(AddressError::Domain)?;
        Ok(Address { at: local.len(), text: format!("{local}@{domain}") })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`.
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain as lower-case A-label.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The address as a page may show it: first letter and domain (`m•••@example.net`).
    pub fn masked(&self) -> String {
        let first = self.local_part().chars().next().unwrap_or('•');
        format!("{first}•••@{}", self.domain())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Debug output shows no address: it may reach a log.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.masked())
    }
}

/// The domain of an address, as lower-case A-label (SUP-8), if it is valid: two or more LDH labels,
/// 255 octets in all (DATA-1).
pub fn normalise_domain(domain: &str) -> Option<String> {
    normalise_labels(domain).filter(|ascii| ascii.contains('.'))
}

/// The domain of a suppression: as [`normalise_domain`], but one label is enough, for a refusal may
/// cover a whole top-level domain (SUP-4).
pub fn normalise_labels(domain: &str) -> Option<String> {
    // IDNA lowers the case of the rest, which Unicode's own lowering would not do alike (final sigma).
    let lower = domain.nfc().collect::<String>().to_ascii_lowercase();
    // ASCII names need no IDNA, but what claims to be an A-label must be one. IDNA's own limit on
    // the whole length is shorter than DATA-1's, and its ban of "--" in third place hits real names.
    let ascii = if lower.is_ascii() && !lower.split('.').any(|label| label.starts_with("xn--")) {
        lower
    } else {
        let uts46 = Uts46::new();
        let ascii = uts46.to_ascii(lower.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Ignore);
        ascii.ok()?.into_owned()
    };
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (ascii.len() <= 255 && ascii.split('.').all(label_ok)).then_some(ascii)
}

fn check_local(local: &str) -> Result<(), AddressError> {
    if local.len() > 64 {
        return Err(AddressError::LocalPartTooLong);
    }
    let ok = match local.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').is_some_and(quoted_content_ok),
        None => local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)),
    };
    if ok { Ok(()) } else { Err(AddressError::LocalPart) }
}

/// atext of RFC 5322, widened to UTF-8 by RFC 6531 section 3.3.
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_control() && !c.is_whitespace()
    }
}

fn quoted_content_ok(content: &str) -> bool {
    let mut chars = content.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(e) if e == ' ' || e == '\t' || e.is_ascii_graphic() => {}
                _ => return false,
            },
            '"' => return false,
            ' ' | '\t' => {}
            c if c.is_ascii() && !c.is_ascii_graphic() => return false,
            c if c.is_control() => return false,
            _ => {}
        }
    }
    true
}

/// The key of the suppression list's hashes (SUP-5). Never stored in the database.
#[derive(Clone)]
pub struct SuppressionKey(Vec<u8>);

impl SuppressionKey {
    /// A key from its bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> SuppressionKey {
        SuppressionKey(bytes.into())
    }

    /// HMAC-SHA-256 of the normalised address.
    pub fn hash(&self, address: &Address) -> AddressHash {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(address.as_str().as_bytes());
        AddressHash(mac.finalize().into_bytes().into())
    }
}

/// Debug output never shows a key.
impl fmt::Debug for SuppressionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SuppressionKey(..)")
    }
}

/// The keyed hash that stands for an address where the address itself must not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressHash(pub [u8; 32]);

/// Reads the 32 stored bytes.
impl TryFrom<Vec<u8>> for AddressHash {
    type Error = String;
    fn try_from(bytes: Vec<u8>) -> Result<AddressHash, String> {
        bytes.try_into().map(AddressHash).map_err(|b: Vec<u8>| format!("an address hash has 32 bytes, not {}", b.len()))
    }
}

/// Serialises as hexadecimal.
impl serde::Serialize for AddressHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_hex())
    }
}

impl AddressHash {
    /// Lower-case hexadecimal, 64 digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Reads 64 hexadecimal digits of either case.
    pub fn from_hex(hex: &str) -> Option<AddressHash> {
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0u8; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(AddressHash(bytes))
    }
}

/// An address as others hash it in the lists they hand over: SHA-256 and MD5 of the normal form,
/// written `sha256:HEX` and `md5:HEX`. No protection (SUP-5), only a way to read their refusals.
pub fn foreign_hashes(address: &Address) -> [String; 2] {
    use md5::{Digest, Md5};
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let text = address.as_str().as_bytes();
    [format!("sha256:{}", hex(&Sha256::digest(text))), format!("md5:{}", hex(&Md5::digest(text)))]
}

/// Every domain whose suppression covers this one: itself and its parents, down to two labels (SUP-4).
pub fn covering_domains(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |d| d.split_once('.').map(|(_, parent)| parent)).filter(|d| d.contains('.'))
}
