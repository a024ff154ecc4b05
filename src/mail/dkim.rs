//! Signs messages (DKIM, RFC 6376, 8301, 8463), relaxed/relaxed, with RSA and Ed25519 side by side.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::canonical::{Field, body_hash, relaxed_header, split_message};

/// The headers that are signed where they stand in the message, each once more than it stands
/// there: one added on the way breaks the signature (rules H-3, H03; RFC 8058 section 4).
const SIGNED: &[&str] = &[
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
];

/// The field's own name.
const FIELD: &str = "DKIM-Signature";

/// Signs for one domain. Cheap to clone; meant to be shared by threads.
#[derive(Clone)]
pub struct Signer {
    inner: Arc<Inner>,
}

struct Inner {
    domain: String,
    /// In the order in which they sign.
    keys: Vec<Key>,
    /// Of the last signatures, all of them.
    length: AtomicUsize,
}

struct Key {
    selector: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Box<Ed25519KeyPair>),
    Rsa(Box<RsaKeyPair>),
}

/// Why a key cannot sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No private key in PKCS#8 or PKCS#1 PEM.
    #[error("the DKIM key is no PEM text with a private key (PKCS#8 or PKCS#1)")]
    Pem,
    /// Readable, but damaged or of another kind.
    #[error("the DKIM key is not a usable {0} key")]
    Unusable(&'static str),
    /// RSA under 1024 bits (RFC 8301 section 3.2; H05).
    #[error("the DKIM key has {0} bits; less than 1024 are refused everywhere: make one with `ouinon dkim new`")]
    Refused(usize),
    /// RSA of 1024 to 2047 bits: valid, weak, and not signed with here (H05).
    #[error("the DKIM key has {0} bits; less than 2048 are weak and not signed with: make one with `ouinon dkim new`")]
    Weak(usize),
    /// Domain or selector is no domain name.
    #[error("{0:?} is no domain name for a DKIM record")]
    Name(String),
    /// The machine cannot make keys or read the file.
    #[error("the DKIM key cannot be made or read: {0}")]
    Machine(String),
}

/// A pair of private keys as PEM (PKCS#8), for one selector.
pub struct SigningKeys {
    /// RSA-2048, selector `S`.
    pub rsa_pem: SecretString,
    /// Ed25519, selector `S-ed`.
    pub ed25519_pem: SecretString,
}

/// A TXT record to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// Full name without final dot: `s1._domainkey.example.org`.
    pub name: String,
    /// The value as one string: `v=DKIM1; k=rsa; p=…`.
    pub value: String,
}

impl Signer {
    /// A signer with the keys that are given: Ed25519 under `SELECTOR-ed`, then RSA under `SELECTOR`.
    pub fn from_pem(
        domain: &str,
        selector: &str,
        rsa_pem: Option<&[u8]>,
        ed25519_pem: Option<&[u8]>,
    ) -> Result<Signer, KeyError> {
        let domain = check_name(domain)?;
        let selector = check_name(selector)?;
        let mut keys = Vec::new();
        if let Some(pem) = ed25519_pem {
            keys.push(Key { selector: format!("{selector}-ed"), pair: ed25519_from_pem(pem)? });
        }
        if let Some(pem) = rsa_pem {
            keys.push(Key { selector, pair: rsa_from_pem(pem)? });
        }
        if keys.is_empty() {
            return Err(KeyError::Pem);
        }
        Ok(Signer { inner: Arc::new(Inner { domain, keys, length: AtomicUsize::new(0) }) })
    }

    /// The same from files; a missing Ed25519 file leaves that signature out.
    pub fn from_files(domain: &str, selector: &str, rsa: &Path, ed25519: &Path) -> Result<Signer, KeyError> {
        let read = |path: &Path| match std::fs::read(path) {
            Ok(pem) => Ok(Some(pem)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(KeyError::Machine(format!("{}: {e}", path.display()))),
        };
        let (rsa, ed25519) = (read(rsa)?, read(ed25519)?);
        Signer::from_pem(domain, selector, rsa.as_deref(), ed25519.as_deref())
    }

    /// The domain in `d=`.
    pub fn domain(&self) -> &str {
        &self.inner.domain
    }

    /// The `DKIM-Signature` header fields to put before `message` (CRLF line ends), Ed25519 first.
    ///
    /// Takes a quarter of a millisecond with RSA: not a thing for I/O tasks in large numbers.
    pub fn sign(&self, message: &[u8], now: Timestamp) -> Vec<u8> {
        let (fields, body) = split_message(message);
        let mut hash = [0; 44];
        BASE64_STANDARD.encode_slice(body_hash(body), &mut hash).expect("32 bytes become 44");
        let mut names = Names { text: Vec::with_capacity(512), line: 0 };
        let mut signed = Vec::with_capacity(2048);
        for name in SIGNED {
            // Several fields of a name are signed from the last to the first (RFC 6376 section 5.4.2).
            for field in fields.iter().rev().filter(|field| field.is(name)) {
                relaxed_header(field, &mut signed);
                names.push(name);
            }
            names.push(name);
        }
        let mut out = Vec::with_capacity(2048);
        for key in &self.inner.keys {
            let begin = out.len();
            self.push_unsigned(&mut out, key, &names.text, &hash, now);
            let start = signed.len();
            let value = &out[begin + FIELD.len() + 1..];
            relaxed_header(&Field { name: FIELD.as_bytes(), value }, &mut signed);
            // The signature's own field is hashed without its line end (RFC 6376 section 3.7).
            let signature = key.sign(&signed[..signed.len() - 2]);
            signed.truncate(start);
            for chunk in BASE64_STANDARD.encode(signature).as_bytes().chunks(72) {
                out.extend_from_slice(b"\r\n ");
                out.extend_from_slice(chunk);
            }
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// Puts the signatures into the room that was left for them before the message, and keeps in mind how much
    /// they need: with as much, nothing has to be moved.
    pub fn sign_behind(&self, room: usize, message: &mut Vec<u8>, now: Timestamp) {
        let signatures = self.sign(&message[room..], now);
        if signatures.len() == room {
            message[..room].copy_from_slice(&signatures);
        } else {
            self.inner.length.store(signatures.len(), Ordering::Relaxed);
            message.splice(..room, signatures);
        }
    }

    /// How long the signatures were the last time: they mostly stay so.
    pub fn usual_length(&self) -> usize {
        self.inner.length.load(Ordering::Relaxed)
    }

    /// The TXT records of these keys.
    pub fn dns_records(&self) -> Vec<DnsRecord> {
        self.inner.keys.iter().map(|key| key.dns_record(&self.inner.domain)).collect()
    }

    /// The field without its signature and without its line end.
    fn push_unsigned(&self, out: &mut Vec<u8>, key: &Key, names: &[u8], body_hash: &[u8], now: Timestamp) {
        let algorithm: &[u8] = match key.pair {
            Pair::Ed25519(_) => b"ed25519-sha256",
            Pair::Rsa(_) => b"rsa-sha256",
        };
        let time = now.as_second().to_string();
        let pieces = [
            FIELD.as_bytes(),
            b": v=1; a=",
            algorithm,
            b"; c=relaxed/relaxed;\r\n d=",
            self.inner.domain.as_bytes(),
            b";\r\n s=",
            key.selector.as_bytes(),
            b"; t=",
            time.as_bytes(),
            b";\r\n h=",
            names,
            b";\r\n bh=",
            body_hash,
            b";\r\n b=",
        ];
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    }
}

/// Debug output shows no key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selectors: Vec<&str> = self.inner.keys.iter().map(|key| key.selector.as_str()).collect();
        write!(f, "Signer({}, {})", self.inner.domain, selectors.join(", "))
    }
}

impl SigningKeys {
    /// Makes an RSA-2048 and an Ed25519 key with the crypto library's own random numbers.
    pub fn generate() -> Result<SigningKeys, KeyError> {
        let failed = |_| KeyError::Machine("no key could be made".to_owned());
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let rsa: Pkcs8V1Der = rsa.as_der().map_err(failed)?;
        // Version 1 of PKCS#8: the older tools of other programs read no other.
        let ed25519 = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(failed)?;
        Ok(SigningKeys { rsa_pem: pem(rsa.as_ref()), ed25519_pem: pem(ed25519.as_ref()) })
    }

    /// The signer with both keys.
    pub fn signer(&self, domain: &str, selector: &str) -> Result<Signer, KeyError> {
        Signer::from_pem(
            domain,
            selector,
            Some(self.rsa_pem.expose_secret().as_bytes()),
            Some(self.ed25519_pem.expose_secret().as_bytes()),
        )
    }
}

impl DnsRecord {
    /// The record as a line of a zone file, cut in strings of at most 255 octets.
    pub fn zone_line(&self) -> String {
        let strings: Vec<String> =
            self.value.as_bytes().chunks(255).map(|s| format!("\"{}\"", String::from_utf8_lossy(s))).collect();
        format!("{}. IN TXT {}", self.name, strings.join(" "))
    }
}

impl Key {
    fn sign(&self, data: &[u8]) -> Vec<u8> {
        match &self.pair {
            // RFC 8463 section 3: the Ed25519 signature is over the SHA-256 of the data.
            Pair::Ed25519(pair) => pair.sign(&Sha256::digest(data)).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .expect("a key that was read can sign");
                signature
            }
        }
    }

    fn dns_record(&self, domain: &str) -> DnsRecord {
        let (kind, public) = match &self.pair {
            Pair::Ed25519(pair) => ("ed25519", pair.public_key().as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let der: PublicKeyX509Der =
                    pair.public_key().as_der().expect("the public half of a key that was read can be written");
                ("rsa", der.as_ref().to_vec())
            }
        };
        DnsRecord {
            name: format!("{}._domainkey.{domain}", self.selector),
            value: format!("v=DKIM1; k={kind}; p={}", BASE64_STANDARD.encode(public)),
        }
    }
}

fn ed25519_from_pem(pem: &[u8]) -> Result<Pair, KeyError> {
    let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::Pem)? else {
        return Err(KeyError::Unusable("Ed25519"));
    };
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
    Ok(Pair::Ed25519(Box::new(pair.map_err(|_| KeyError::Unusable("Ed25519"))?)))
}

fn rsa_from_pem(pem: &[u8]) -> Result<Pair, KeyError> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::Pem)?;
    let (pair, bits) = match &der {
        PrivateKeyDer::Pkcs8(der) => (RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()), rsa_bits(der.secret_pkcs8_der())),
        PrivateKeyDer::Pkcs1(der) => (RsaKeyPair::from_der(der.secret_pkcs1_der()), rsa_bits(der.secret_pkcs1_der())),
        _ => return Err(KeyError::Unusable("RSA")),
    };
    match (pair, bits) {
        (Ok(pair), _) => Ok(Pair::Rsa(Box::new(pair))),
        (Err(_), Some(bits)) if bits < 1024 => Err(KeyError::Refused(bits)),
        (Err(_), Some(bits)) if bits < 2048 => Err(KeyError::Weak(bits)),
        (Err(_), _) => Err(KeyError::Unusable("RSA")),
    }
}

/// The length of the modulus: the first long INTEGER in the key's DER, whichever wrapping it has.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let mut rest = der;
    loop {
        let (tag, content, after) = der_element(rest)?;
        rest = match tag {
            // SEQUENCE and OCTET STRING hold what we look for; BIT STRING does behind one octet.
            0x30 if content.first() != Some(&0x06) => content,
            0x04 => content,
            0x03 => content.get(1..)?,
            0x02 if content.len() > 8 => {
                let digits = content.iter().skip_while(|b| **b == 0).count();
                let top = content.iter().find(|b| **b != 0)?;
                return Some(digits * 8 - top.leading_zeros() as usize);
            }
            _ => after,
        };
    }
}

/// Tag, content and what follows.
fn der_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (octets.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

fn check_name(name: &str) -> Result<String, KeyError> {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 200 && name.split('.').all(label_ok) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(KeyError::Name(name.to_owned()))
    }
}

/// The names of the signed headers, folded.
struct Names {
    text: Vec<u8>,
    /// Octets of the last line.
    line: usize,
}

impl Names {
    fn push(&mut self, name: &str) {
        if !self.text.is_empty() {
            // Folded before 78; the names are short.
            self.text.push(b':');
            if self.line + name.len() > 60 {
                self.text.extend_from_slice(b"\r\n ");
                self.line = 1;
            } else {
                self.line += 1;
            }
        }
        self.text.extend_from_slice(name.as_bytes());
        self.line += name.len();
    }
}

fn pem(der: &[u8]) -> SecretString {
    let encoded = BASE64_STANDARD.encode(der);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for start in (0..encoded.len()).step_by(64) {
        text.push_str(&encoded[start..encoded.len().min(start + 64)]);
        text.push('\n');
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    SecretString::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_512: &[u8] = include_bytes!("../../tests/data/dkim/rsa-512.pem");
    const RSA_1024: &[u8] = include_bytes!("../../tests/data/dkim/rsa-1024.pem");
    const RSA_2048: &[u8] = include_bytes!("../../tests/data/dkim/rsa-2048.pem");
    const RSA_2048_PKCS1: &[u8] = include_bytes!("../../tests/data/dkim/rsa-2048-pkcs1.pem");
    const ED25519: &[u8] = include_bytes!("../../tests/data/dkim/ed25519.pem");

    #[test]
    fn weak_keys_are_named_and_not_signed_with() {
        let load = |pem: &[u8]| Signer::from_pem("news.example", "s1", Some(pem), None).map(drop);
        assert_eq!(load(RSA_512), Err(KeyError::Refused(512)));
        assert_eq!(load(RSA_1024), Err(KeyError::Weak(1024)));
        assert_eq!(load(RSA_2048), Ok(()));
        assert_eq!(load(ED25519), Err(KeyError::Unusable("RSA")));
        assert_eq!(
            load(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            Err(KeyError::Unusable("RSA"))
        );
        assert_eq!(load(b"no key"), Err(KeyError::Pem));
    }

    #[test]
    fn pkcs1_and_pkcs8_are_the_same_key() {
        let records = |pem: &[u8]| Signer::from_pem("news.example", "s1", Some(pem), None).unwrap().dns_records();
        assert_eq!(records(RSA_2048), records(RSA_2048_PKCS1));
        assert!(records(RSA_2048)[0].value.starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0B"));
        let zone = records(RSA_2048)[0].zone_line();
        assert!(zone.starts_with("s1._domainkey.news.example. IN TXT \"v=DKIM1; k=rsa; p="), "{zone}");
        assert!(zone.split('"').all(|string| string.len() <= 255));
    }

    #[test]
    fn however_much_room_was_left_the_message_is_the_same() {
        let signer = Signer::from_pem("news.example", "s1", Some(RSA_2048), Some(ED25519)).unwrap();
        let message = b"From: a@news.example\r\nTo: b@x.example\r\nSubject: a\r\n b\r\n\r\nbody\r\n";
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let whole = [&signer.sign(message, now)[..], message].concat();
        assert_eq!(signer.usual_length(), 0);
        for room in [0, 7, 4000, whole.len() - message.len()] {
            let mut bytes = [&vec![b'x'; room][..], message].concat();
            signer.sign_behind(room, &mut bytes, now);
            assert_eq!(bytes, whole, "{room}");
            assert_eq!(signer.usual_length(), whole.len() - message.len());
        }
    }

    #[test]
    fn names_are_checked() {
        for (domain, selector) in [("news example", "s1"), ("news.example", "s1;"), ("", "s1"), ("news..example", "s")]
        {
            let signer = Signer::from_pem(domain, selector, None, Some(ED25519));
            assert!(matches!(signer, Err(KeyError::Name(_))), "{domain} {selector}");
        }
    }

    #[test]
    fn no_key_is_shown() {
        let signer = Signer::from_pem("News.Example", "s1", Some(RSA_2048), Some(ED25519)).unwrap();
        assert_eq!(format!("{signer:?}"), "Signer(news.example, s1-ed, s1)");
    }
}
