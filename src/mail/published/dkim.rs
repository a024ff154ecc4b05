//! A published DKIM key beside the one that signs (RFC 6376 section 3.6.1).

use super::{tag, tags};

/// What stands under a selector, seen from whoever signs with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The key that signs.
    Right {
        /// `t=y`: receivers are asked to take no notice of a signature that fails.
        testing: bool,
    },
    /// Nothing.
    Missing,
    /// More than one key: receivers may take any, or none.
    Several(usize),
    /// An empty `p=`: the key is taken back.
    Revoked,
    /// A key, but another one.
    Other,
    /// The right key, but a tag that forbids what we do with it.
    Forbids(&'static str),
    /// A text that is no key record.
    Unreadable,
}

/// Looks for `expected` (the value that is to be published) among the texts under its name.
pub fn look(texts: &[String], expected: &str) -> Published {
    let records: Vec<Option<Vec<(String, String)>>> = texts.iter().map(|text| tags(text)).collect();
    let keys: Vec<&Vec<(String, String)>> =
        records.iter().flatten().filter(|tags| tag(tags, "p").is_some() || tag(tags, "v") == Some("DKIM1")).collect();
    let key = match keys[..] {
        [] if texts.is_empty() => return Published::Missing,
        [] => return Published::Unreadable,
        [key] => key,
        _ => return Published::Several(keys.len()),
    };
    let version_ok = tag(key, "v").is_none_or(|v| v == "DKIM1" && key[0].0 == "v");
    let Some(public) = tag(key, "p").filter(|_| version_ok) else { return Published::Unreadable };
    let bare = |text: &str| text.split_ascii_whitespace().collect::<String>();
    if bare(public).is_empty() {
        return Published::Revoked;
    }
    let expected = tags(expected).unwrap_or_default();
    let kind = |tags: &[(String, String)]| tag(tags, "k").unwrap_or("rsa").to_owned();
    if Some(bare(public)) != tag(&expected, "p").map(bare) || kind(key) != kind(&expected) {
        return Published::Other;
    }
    let lists = |name: &str, wanted: &[&str]| {
        tag(key, name).is_none_or(|list| list.split(':').any(|word| wanted.contains(&word.trim())))
    };
    if !lists("h", &["sha256"]) {
        return Published::Forbids("h=");
    }
    if !lists("s", &["*", "email"]) {
        return Published::Forbids("s=");
    }
    let testing = tag(key, "t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "y"));
    Published::Right { testing }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "v=DKIM1; k=rsa; p=MIIBabc+/=";

    fn found(texts: &[&str]) -> Published {
        look(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), OURS)
    }

    #[test]
    fn a_key_is_compared_with_the_one_that_signs() {
        let right = Published::Right { testing: false };
        for same in
            [OURS, "p=MIIBabc+/=", "v=DKIM1;k=rsa;h=sha1:sha256;s=email;p=MII Babc\t+/= ;", "k = rsa ; p = MIIBabc+/="]
        {
            assert_eq!(found(&[same]), right, "{same}");
        }
        assert_eq!(found(&["google-site-verification=x1", OURS]), right, "a text of others is none of our business");
        assert_eq!(found(&["v=DKIM1; t=s:y; p=MIIBabc+/="]), Published::Right { testing: true });
        assert_eq!(found(&[]), Published::Missing);
        assert_eq!(found(&[OURS, "v=DKIM1; p=other"]), Published::Several(2));
        assert_eq!(found(&[OURS, OURS]), Published::Several(2));
        assert_eq!(found(&["v=DKIM1; k=rsa; p="]), Published::Revoked);
        assert_eq!(found(&["v=DKIM1; k=rsa; p= "]), Published::Revoked);
        assert_eq!(found(&["v=DKIM1; k=rsa; p=MIIBabd+/="]), Published::Other);
        assert_eq!(found(&["v=DKIM1; k=ed25519; p=MIIBabc+/="]), Published::Other);
        assert_eq!(found(&["v=DKIM1; h=sha1; p=MIIBabc+/="]), Published::Forbids("h="));
        assert_eq!(found(&["v=DKIM1; s=other; p=MIIBabc+/="]), Published::Forbids("s="));
        for broken in
            ["v=DKIM1; k=rsa", "p=MIIBabc+/=; v=DKIM1", "v=DKIM2; p=MIIBabc+/=", "hello", "v=DKIM1\\; p=x", ""]
        {
            assert_eq!(found(&[broken]), Published::Unreadable, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[vkpths]?=?[ -~;=é]{0,60}", other in ".{0,40}") {
            let _ = look(&[text, other], OURS);
        }
    }
}
