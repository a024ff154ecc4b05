//! Checks the DKIM signatures of a message, as a receiver would (RFC 6376 section 6): for `doctor`, before anything is sent.

use std::collections::HashMap;

use aws_lc_rs::signature::{
    ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::canonical::{Field, body_hash, relaxed_header, split_message};

/// What became of one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// `a=`.
    pub algorithm: String,
    /// The names in `h=`, lower case, in their order.
    pub signed: Vec<String>,
    /// Passed, or why not.
    pub result: Result<(), Fault>,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A tag is missing or cannot be read.
    #[error("the signature cannot be read")]
    Malformed,
    /// Not relaxed/relaxed with rsa-sha256 or ed25519-sha256, or with a body length (`l=`).
    #[error("the signature is of a kind that is not checked here")]
    Unsupported,
    /// `From` is not signed.
    #[error("the signature does not cover From")]
    FromUnsigned,
    /// The body was changed.
    #[error("the body is not the one that was signed")]
    Body,
    /// No TXT record under the selector, or none with a key of the kind.
    #[error("no usable key is published for the selector")]
    NoKey,
    /// A signed header was changed or added, or the key is another.
    #[error("the headers are not the ones that were signed, or the key is another")]
    Signature,
}

/// Checks every signature of `message`, in the order in which they stand; `txt` gives the TXT record of a name.
pub fn verify(message: &[u8], txt: impl Fn(&str) -> Option<String>) -> Vec<Verdict> {
    let (fields, body) = split_message(message);
    let signatures = fields.iter().filter(|field| field.is("dkim-signature"));
    signatures.map(|signature| verdict(signature, &fields, body, &txt)).collect()
}

fn verdict(signature: &Field, fields: &[Field], body: &[u8], txt: &impl Fn(&str) -> Option<String>) -> Verdict {
    let tags = tags(&String::from_utf8_lossy(signature.value));
    let tag = |name: &str| tags.get(name).cloned().unwrap_or_default();
    let signed: Vec<String> = tag("h").split(':').map(|name| name.to_ascii_lowercase()).collect();
    let result = check(signature, &tags, &signed, fields, body, txt);
    Verdict { domain: tag("d"), selector: tag("s"), algorithm: tag("a"), signed, result }
}

fn check(
    signature: &Field,
    tags: &HashMap<String, String>,
    signed: &[String],
    fields: &[Field],
    body: &[u8],
    txt: &impl Fn(&str) -> Option<String>,
) -> Result<(), Fault> {
    let tag = |name: &str| tags.get(name).map(String::as_str);
    let decoded = |name: &str| {
        tag(name).and_then(|text| BASE64_STANDARD.decode(text).ok()).filter(|b| !b.is_empty()).ok_or(Fault::Malformed)
    };
    if tag("v") != Some("1") {
        return Err(Fault::Malformed);
    }
    let (kind, algorithm): (_, &dyn VerificationAlgorithm) = match tag("a") {
        Some("rsa-sha256") => ("rsa", &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        Some("ed25519-sha256") => ("ed25519", &ED25519),
        _ => return Err(Fault::Unsupported),
    };
    if tag("c") != Some("relaxed/relaxed") || tag("l").is_some() {
        return Err(Fault::Unsupported);
    }
    if !signed.iter().any(|name| name == "from") {
        return Err(Fault::FromUnsigned);
    }
    if decoded("bh")? != body_hash(body) {
        return Err(Fault::Body);
    }
    let (domain, selector) = (tag("d").ok_or(Fault::Malformed)?, tag("s").ok_or(Fault::Malformed)?);
    let record = txt(&format!("{selector}._domainkey.{domain}")).ok_or(Fault::NoKey)?;
    let key = public_key(&record, kind).ok_or(Fault::NoKey)?;
    let data = signed_data(signature, signed, fields);
    let digest = Sha256::digest(&data);
    let data: &[u8] = if kind == "ed25519" { &digest } else { &data };
    UnparsedPublicKey::new(algorithm, key).verify(data, &decoded("b")?).map_err(|_| Fault::Signature)
}

/// The canonical headers in the order of `h=`, each name taken from the last field upwards, then the signature itself.
fn signed_data(signature: &Field, signed: &[String], fields: &[Field]) -> Vec<u8> {
    let mut data = Vec::with_capacity(2048);
    let mut taken: HashMap<&str, usize> = HashMap::new();
    for name in signed {
        let nth = taken.entry(name).or_default();
        if let Some(field) = fields.iter().rev().filter(|field| field.is(name)).nth(*nth) {
            relaxed_header(field, &mut data);
        }
        *nth += 1;
    }
    let value = without_signature(signature.value);
    relaxed_header(&Field { name: signature.name, value: &value }, &mut data);
    data.truncate(data.len() - 2);
    data
}

/// The signature's field with an empty `b=`.
fn without_signature(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (i, tag) in value.split(|b| *b == b';').enumerate() {
        if i > 0 {
            out.push(b';');
        }
        let equals = tag.iter().position(|b| *b == b'=').unwrap_or(tag.len());
        if tag[..equals].trim_ascii() == b"b" {
            out.extend_from_slice(&tag[..=equals.min(tag.len() - 1)]);
        } else {
            out.extend_from_slice(tag);
        }
    }
    out
}

/// The tags of a signature or key record, all white space removed from their values.
fn tags(text: &str) -> HashMap<String, String> {
    let pairs = text.split(';').filter_map(|tag| tag.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.split_ascii_whitespace().collect())).collect()
}

fn public_key(record: &str, kind: &str) -> Option<Vec<u8>> {
    let tags = tags(record);
    let kind_ok = tags.get("k").map_or("rsa", String::as_str) == kind;
    let version_ok = tags.get("v").is_none_or(|v| v == "DKIM1");
    let key = BASE64_STANDARD.decode(tags.get("p")?).ok()?;
    (kind_ok && version_ok && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::dkim::{Signer, SigningKeys};

    /// RFC 8463 appendix A: two signatures, made by others.
    const VECTOR: &str = include_str!("../../tests/data/dkim/rfc8463.eml");
    const RSA: &[u8] = include_bytes!("../../tests/data/dkim/rsa-2048.pem");
    const ED25519: &[u8] = include_bytes!("../../tests/data/dkim/ed25519.pem");
    const MESSAGE: &str = "From: a@news.example\r\nTo: b@x.example\r\nSubject: hi\r\n there\r\n\
        List-Unsubscribe: <https://u.example/o/T>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n\
        Hello \t you\r\n\r\nbye  \r\n\r\n\r\n";

    fn published(name: &str) -> Option<String> {
        let value = match name {
            "brisbane._domainkey.football.example.com" => {
                "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
            }
            "test._domainkey.football.example.com" => {
                "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2j\
                 LQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3I\
                 p3G+2kryOTIKT+l/K4w3QIDAQAB"
            }
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn signer() -> Signer {
        Signer::from_pem("news.example", "s1", Some(RSA), Some(ED25519)).unwrap()
    }

    fn signed(message: &str) -> String {
        let header = signer().sign(message.as_bytes(), "2026-11-21T12:00:00Z".parse().unwrap());
        String::from_utf8(header).unwrap() + message
    }

    fn results(message: &str) -> Vec<Result<(), Fault>> {
        let records = signer().dns_records();
        let txt = |name: &str| records.iter().find(|r| r.name == name).map(|r| r.value.clone());
        verify(message.as_bytes(), txt).into_iter().map(|verdict| verdict.result).collect()
    }

    #[test]
    fn the_vectors_of_rfc_8463_verify() {
        let message = VECTOR.replace('\n', "\r\n");
        let verdicts = verify(message.as_bytes(), published);
        assert_eq!(verdicts.len(), 2);
        assert!(verdicts.iter().all(|verdict| verdict.result.is_ok()), "{verdicts:?}");
        let changed = message.replace("hungry", "angry");
        assert!(verify(changed.as_bytes(), published).iter().all(|v| v.result == Err(Fault::Body)));
        let changed = message.replace("dinner", "lunch");
        assert!(verify(changed.as_bytes(), published).iter().all(|v| v.result == Err(Fault::Signature)));
        assert!(verify(message.as_bytes(), |_| None).iter().all(|v| v.result == Err(Fault::NoKey)));
    }

    #[test]
    fn both_signatures_cover_the_way_out() {
        let records = signer().dns_records();
        let names: Vec<&str> = records.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["s1-ed._domainkey.news.example", "s1._domainkey.news.example"]);
        let txt = |name: &str| records.iter().find(|r| r.name == name).map(|r| r.value.clone());
        let verdicts = verify(signed(MESSAGE).as_bytes(), txt);
        let algorithms: Vec<&str> = verdicts.iter().map(|v| v.algorithm.as_str()).collect();
        assert_eq!(algorithms, ["ed25519-sha256", "rsa-sha256"]);
        for verdict in verdicts {
            assert_eq!((verdict.result, verdict.domain.as_str()), (Ok(()), "news.example"));
            for name in ["list-unsubscribe", "list-unsubscribe-post", "from"] {
                let times = verdict.signed.iter().filter(|signed| *signed == name).count();
                assert_eq!(times, 2, "{name} is signed, and one more may not be added (H02)");
            }
        }
        assert!(signed(MESSAGE).split("\r\n").all(|line| line.len() <= 78));
    }

    #[test]
    fn what_is_changed_or_added_on_the_way_is_noticed() {
        let message = signed(MESSAGE);
        assert_eq!(results(&message), [Ok(()), Ok(())]);
        // H03: added behind our back, before or behind what was signed.
        for added in
            ["From: c@y.example", "Subject: other", "List-Unsubscribe: <https://evil.example>", "Reply-To: c@y.example"]
        {
            let on_top = format!("{added}\r\n{message}");
            assert_eq!(results(&on_top), [Err(Fault::Signature); 2], "{added}");
            let below = message.replacen("\r\n\r\n", &format!("\r\n{added}\r\n\r\n"), 1);
            assert_eq!(results(&below), [Err(Fault::Signature); 2], "{added}");
        }
        assert_eq!(results(&message.replace("Subject: hi", "Subject: ho")), [Err(Fault::Signature); 2]);
        assert_eq!(results(&message.replace("bye", "by")), [Err(Fault::Body); 2]);
        // What relays may do: refold, respell the case of names, trim line ends, add their trace.
        let relayed = format!("Received: from x\r\n{message}").replace("hi\r\n there", "hi  there");
        let relayed = relayed.replace("Subject:", "SUBJECT: ").replace("bye  \r\n\r\n\r\n", "bye\r\n");
        assert_eq!(results(&relayed), [Ok(()), Ok(())]);
    }

    #[test]
    fn what_cannot_be_checked_is_no_pass() {
        let message = signed(MESSAGE);
        for (from, to, fault) in [
            ("relaxed/relaxed", "simple/simple", Fault::Unsupported),
            ("v=1;", "v=1; l=3;", Fault::Unsupported),
            ("v=1;", "v=2;", Fault::Malformed),
            ("a=ed25519-sha256", "a=rsa-sha1", Fault::Unsupported),
            ("h=from:from:", "h=", Fault::FromUnsigned),
            ("bh=", "bh=!", Fault::Malformed),
            ("d=news.example", "d=other.example", Fault::NoKey),
        ] {
            assert!(message.contains(from), "{from}");
            assert_eq!(results(&message.replacen(from, to, 1))[0], Err(fault), "{from} -> {to}");
        }
    }

    #[test]
    fn fresh_keys_sign_at_once() {
        let signer = SigningKeys::generate().unwrap().signer("news.example", "k2026").unwrap();
        let header = signer.sign(MESSAGE.as_bytes(), "2026-11-21T12:00:00Z".parse().unwrap());
        let message = String::from_utf8(header).unwrap() + MESSAGE;
        let records = signer.dns_records();
        let txt = |name: &str| records.iter().find(|r| r.name == name).map(|r| r.value.clone());
        let verdicts = verify(message.as_bytes(), txt);
        assert!(verdicts.len() == 2 && verdicts.iter().all(|v| v.result.is_ok()), "{verdicts:?}");
    }

    proptest! {
        #[test]
        fn any_message_is_signed_and_verifies(
            head in "(X-[a-z]{1,5}:[ -~]{0,40}(\r\n [a-z ]{1,9}[a-z])?\r\n){0,4}",
            body in "[a-z .\t\r\n]{0,60}",
        ) {
            prop_assert_eq!(results(&signed(&format!("From: a@x.example\r\n{head}\r\n{body}"))), [Ok(()), Ok(())]);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), tail in "[a-z=;: \r\n]{0,60}") {
            let _ = verify(&bytes, published);
            let _ = verify(format!("DKIM-Signature: {tail}").as_bytes(), published);
            let _ = signer().sign(&bytes, jiff::Timestamp::UNIX_EPOCH);
        }
    }
}
