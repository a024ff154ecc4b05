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
        // ASCII is in its normal form already.
        let local = match local.is_ascii() {
            true => local.to_ascii_lowercase(),
            false => local.nfc().collect::<String>().to_lowercase().nfc().collect(),
        };
        check_local(&local)?;
        let domain = normalise_domain(domain).ok_or(AddressError::Domain)?;
        Ok(Address { at: local.len(), text: [&local, "@", &domain].concat() })
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

    /// A text without this address, in whatever case it stands there.
    pub fn hidden_in(&self, text: String) -> String {
        if !text.contains('@') {
            return text;
        }
        let address = self.as_str().to_ascii_lowercase();
        let lower = text.to_ascii_lowercase();
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        while let Some(at) = lower[from..].find(&address).map(|at| from + at) {
            out.push_str(&text[from..at]);
            out.push('…');
            from = at + address.len();
        }
        out.push_str(&text[from..]);
        out
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
    let lower = match domain.is_ascii() {
        true => domain.to_ascii_lowercase(),
        false => domain.nfc().collect::<String>().to_ascii_lowercase(),
    };
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
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&digit_pair(byte));
        }
        s.serialize_str(std::str::from_utf8(&digits).expect("digits are ASCII"))
    }
}

/// Reads hexadecimal of either case.
impl<'de> serde::Deserialize<'de> for AddressHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<AddressHash, D::Error> {
        struct Hexadecimal;

        impl serde::de::Visitor<'_> for Hexadecimal {
            type Value = AddressHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AddressHash, E> {
                AddressHash::from_hex(text).ok_or_else(|| E::custom("64 hexadecimal digits are expected"))
            }
        }

        d.deserialize_str(Hexadecimal)
    }
}

fn digit_pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Bytes as hexadecimal digits in lower case.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

/// The same, put to a text.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    for some in bytes.chunks(16) {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(some) {
            pair.copy_from_slice(&digit_pair(*byte));
        }
        text.push_str(std::str::from_utf8(&digits[..2 * some.len()]).expect("digits are ASCII"));
    }
}

impl AddressHash {
    /// Stands for nobody: what is the same for everybody.
    pub const NOBODY: AddressHash = AddressHash([0; 32]);

    /// Lower-case hexadecimal, 64 digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Reads 64 hexadecimal digits of either case.
    pub fn from_hex(hex: &str) -> Option<AddressHash> {
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        let mut bytes = [0u8; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Some(AddressHash(bytes))
    }
}

/// An address as others hash it in the lists they hand over: SHA-256 and MD5 of the normal form,
/// written `sha256:HEX` and `md5:HEX`. No protection (SUP-5), only a way to read their refusals.
pub fn foreign_hashes(address: &Address) -> [String; 2] {
    use md5::{Digest, Md5};
    let text = address.as_str().as_bytes();
    [format!("sha256:{}", hex(&Sha256::digest(text))), format!("md5:{}", hex(&Md5::digest(text)))]
}

/// Every domain whose suppression covers this one: itself and its parents, down to two labels (SUP-4).
pub fn covering_domains(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |d| d.split_once('.').map(|(_, parent)| parent)).filter(|d| d.contains('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_hidden_in_a_text() {
        let address = Address::parse("Marie@example.net").unwrap();
        let hidden = |text: &str| address.hidden_in(text.to_owned());
        assert_eq!(hidden("550 5.1.1 <MARIE@Example.net>: no marie@example.net here"), "550 5.1.1 <…>: no … here");
        assert_eq!(hidden("550 5.1.1 no such user, dé"), "550 5.1.1 no such user, dé");
    }

    #[test]
    fn bytes_of_any_number_are_written_in_hexadecimal() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 15, 16, 17, 32, 256] {
            let digits: String = bytes[..length].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex(&bytes[..length]), digits);
        }
    }

    fn parsed(text: &str) -> Result<String, AddressError> {
        Address::parse(text).map(|address| address.to_string())
    }

    fn assert_parses(text: &str, normal: &str) {
        assert_eq!(parsed(text).as_deref(), Ok(normal), "{text:?}");
    }

    fn assert_refused(text: &str, why: AddressError) {
        assert_eq!(parsed(text), Err(why), "{text:?}");
    }

    #[test]
    fn one_mailbox_has_one_spelling() {
        assert_parses("  Paul.Martin@SOCIETE.example\t", "paul.martin@societe.example");
        assert_parses("paul+CRM@societe.example", "paul+crm@societe.example");
        assert_parses("p.a.u.l@societe.example", "p.a.u.l@societe.example");
        // e and a combining accent, composed by NFC.
        assert_parses("franc\u{327}ois@example.net", "fran\u{e7}ois@example.net");
        assert_parses("FRAN\u{c7}OIS@example.net", "fran\u{e7}ois@example.net");
        assert_parses("\"John Doe\"@example.net", "\"john doe\"@example.net");
    }

    #[test]
    fn a_domain_is_written_as_a_labels() {
        assert_parses("paul@soci\u{e9}t\u{e9}.example", "paul@xn--socit-esab.example");
        assert_parses("paul@SOCI\u{c9}T\u{c9}.EXAMPLE", "paul@xn--socit-esab.example");
        assert_parses("paul@socie\u{301}te\u{301}.example", "paul@xn--socit-esab.example");
        assert_parses("paul@XN--SOCIT-ESAB.example", "paul@xn--socit-esab.example");
        // Non-transitional: the sharp s and the final sigma stay themselves.
        assert_parses("paul@stra\u{df}e.example", "paul@xn--strae-oqa.example");
        assert_ne!(normalise_domain("\u{3b1}\u{3c2}.example"), normalise_domain("\u{3b1}\u{3c3}.example"));
        // Capital letters have no final form: IDNA maps the capital sigma to the ordinary one.
        assert_eq!(normalise_domain("\u{391}\u{3a3}.example"), normalise_domain("\u{3b1}\u{3c3}.example"));
        // Real names have "--" in third place.
        assert_parses("paul@r3---sn.example.com", "paul@r3---sn.example.com");
        assert_parses("paul@r3---sn.soci\u{e9}t\u{e9}.example", "paul@r3---sn.xn--socit-esab.example");
    }

    #[test]
    fn what_stands_before_the_at_is_a_dot_atom_or_a_quoted_string() {
        for local in [
            "a",
            "a.b",
            "!#$%&'*+-/=?^_`{|}~",
            "\"\"",
            "\"a b\"",
            "\"a@b\"",
            "\"a\\\"b\"",
            "\"a..b\"",
            "\u{7528}\u{6237}",
        ] {
            assert!(parsed(&format!("{local}@example.net")).is_ok(), "{local}");
        }
        for local in [
            ".a",
            "a.",
            "a..b",
            "a b",
            "a@b",
            "a(b)",
            "a,b",
            "a;b",
            "a:b",
            "<a",
            "[a]",
            "a\\b",
            "a\"b\"",
            "\"a",
            "a\"",
            "\"",
            "\"a\"b\"",
            "\"a\\\"",
            "\"a\".b",
            "a.\"b\"",
            "\"a\nb\"",
            "a\u{0}b",
            "a\u{a0}b",
            "a\u{85}b",
            "\"a\u{7f}\"",
        ] {
            assert_refused(&format!("{local}@example.net"), AddressError::LocalPart);
        }
    }

    #[test]
    fn lengths_are_counted_in_octets_after_normalisation() {
        let local = |n: usize| format!("{}@example.net", "a".repeat(n));
        assert!(parsed(&local(64)).is_ok());
        assert_refused(&local(65), AddressError::LocalPartTooLong);
        assert!(parsed(&format!("{}@example.net", "\u{e9}".repeat(32))).is_ok());
        assert_refused(&format!("{}@example.net", "\u{e9}".repeat(33)), AddressError::LocalPartTooLong);
        // Decomposed, these are 96 octets; composed, 64.
        assert!(parsed(&format!("{}@example.net", "e\u{301}".repeat(32))).is_ok());
        let label = "s".repeat(63);
        assert!(parsed(&format!("a@{label}.example")).is_ok());
        assert_refused(&format!("a@{label}s.example"), AddressError::Domain);
        assert!(parsed(&format!("a@{label}.{label}.{label}.{label}")).is_ok(), "255 octets");
        assert_refused(&format!("a@{label}.{label}.{label}.{}.aa", "s".repeat(61)), AddressError::Domain);
    }

    #[test]
    fn a_domain_is_two_or_more_ldh_labels() {
        for domain in ["example.net", "a.b", "1.2.3.4", "a-b.c--d.example", "xn--socit-esab.example"] {
            assert!(normalise_domain(domain).is_some(), "{domain}");
        }
        for domain in [
            "",
            "localhost",
            ".",
            "example.net.",
            ".example.net",
            "example..net",
            "-a.example",
            "a-.example",
            "a_b.example",
            "[192.0.2.1]",
            "exam ple.net",
            "a.example(comment)",
            "xn--zzzzzzz99999.example",
            "xn--.example",
            "a\u{0}.example",
            "\u{e9}\u{2e}\u{2e}example",
            "a%2e.example",
            "a/b.example",
        ] {
            assert_refused(&format!("a@{domain}"), AddressError::Domain);
        }
        assert_eq!(normalise_labels("EXAMPLE").as_deref(), Some("example"));
        assert_eq!(normalise_labels(""), None);
        assert_eq!(normalise_labels("example."), None);
    }

    #[test]
    fn what_is_no_addr_spec_is_refused() {
        assert_refused("", AddressError::Empty);
        assert_refused(" \t\n", AddressError::Empty);
        assert_refused("paul.martin", AddressError::Shape);
        assert_refused("@example.net", AddressError::Shape);
        assert_refused("Paul <paul@example.net>", AddressError::LocalPart);
        assert_refused("paul@example.net, anne@example.net", AddressError::LocalPart);
        assert_refused("paul@example.net>", AddressError::Domain);
        assert_refused("mailto:paul@example.net", AddressError::LocalPart);
    }

    #[test]
    fn the_hash_is_that_of_the_decision_tables() {
        let key = SuppressionKey::new("test-suppression-key-v1");
        let hash = |text: &str| key.hash(&Address::parse(text).unwrap()).to_hex();
        let paul = "38632011c71a0f1f717164df0caf530e698eef0155cdba534ba42b56e835acc4";
        assert_eq!(hash("Paul.Martin@SOCIETE.example"), paul);
        let idn = "9ae862ecead5230bbd21a19d6565273b298be1fa29fdff18d701f277e1f281fe";
        assert_eq!(hash("paul.martin@soci\u{e9}t\u{e9}.example"), idn);
        assert_eq!(AddressHash::from_hex(paul).unwrap().to_hex(), paul);
        assert_eq!(AddressHash::from_hex(&paul.to_uppercase()).unwrap().to_hex(), paul);
        for bad in ["", "38", &paul[1..], &format!("{}g", &paul[1..]), &format!("+{}", &paul[1..])] {
            assert!(AddressHash::from_hex(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn nothing_that_may_reach_a_log_shows_an_address() {
        let address = Address::parse("marie.durand@example.net").unwrap();
        assert_eq!(format!("{address:?}"), "Address(m•••@example.net)");
        assert_eq!(format!("{:?}", SuppressionKey::new("secret")), "SuppressionKey(..)");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_the_normal_form_is_stable(text in "\\PC{0,30}@?\\PC{0,30}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(address.as_str()), Ok(address.clone()));
                prop_assert!(address.local_part().len() <= 64 && address.domain().len() <= 255);
                prop_assert!(address.domain().is_ascii());
                prop_assert_eq!(format!("{}@{}", address.local_part(), address.domain()), address.as_str());
            }
        }

        #[test]
        fn the_normal_form_is_stable_for_addresses_of_any_letters(
            local in "[\\w!#$%&'*+/=?^`{|}~-]{1,8}(\\.[\\w-]{1,4})?",
            domain in "[\\w-]{1,10}\\.[\\w-]{1,10}",
        ) {
            if let Ok(address) = Address::parse(&format!("{local}@{domain}")) {
                prop_assert_eq!(Address::parse(address.as_str()), Ok(address.clone()));
                let shouted = Address::parse(&address.as_str().to_ascii_uppercase());
                prop_assert_eq!(shouted, Ok(address));
            }
        }

        #[test]
        fn every_plain_address_is_one(local in "[a-z0-9]{1,9}([._+-][a-z0-9]{1,9}){0,3}", domain in "[a-z0-9]{1,9}(-[a-z0-9]{1,9})?\\.[a-z]{2,9}") {
            let text = format!("{local}@{domain}");
            prop_assert_eq!(parsed(&text), Ok(text));
        }
    }
}
