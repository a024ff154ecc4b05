//! Signed tokens of the links in a message (rules section 5.1, OC-6).
//!
//! A token stands for (purpose, address, product, campaign) and holds no address, only its keyed
//! hash: it works after the contact, the campaign and the product are gone. It never expires.
//!
//! 60 bytes, 80 characters of base64url without padding:
//! version 1 · key id 1 · purpose 1 · flags 1 · product 4 · campaign 4 · address hash 32 · signature 16.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{address::AddressHash, words::words};

const VERSION: u8 = 1;
const PAYLOAD: usize = 44;
const SIGNATURE: usize = 16;
/// Characters of a token.
pub const LENGTH: usize = 80;
const FLAG_TEST: u8 = 1;
const FLAG_PRODUCT_SCOPE: u8 = 2;

words! {
    /// What a token's link is for. A token of one purpose opens nothing else.
    Purpose {
        /// Stop the mail.
        Unsubscribe = "unsubscribe",
        /// Choose what to receive.
        Preferences = "preferences",
        /// Why did I get this?
        Why = "why",
        /// View the message in a browser.
        View = "view",
        /// Confirm a double opt-in.
        Confirm = "confirm",
        /// Answer the question of a re-permission campaign.
        Answer = "answer",
        /// A tracked link.
        Click = "click",
        /// A pixel.
        Open = "open",
        /// What a press wrote, so that it alone can be taken back. In no mail, only on the page after the press.
        Receipt = "receipt",
    }
}

/// What a token says once its signature was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What the link is for.
    pub purpose: Purpose,
    /// Whose link it is.
    pub address: AddressHash,
    /// Id of the product that the message was about.
    pub product: u32,
    /// Id of the campaign.
    pub campaign: u32,
    /// The one-click refusal covers the product only; without it, everything (SUP-3).
    pub product_scope: bool,
    /// From a test send: the link works and changes nothing.
    pub test: bool,
}

/// Why a text is not a token of ours. Never says more to the outside than "not valid".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct InvalidToken;

/// The keys that sign tokens: one signs, all verify (OC-9: old keys are kept).
#[derive(Clone)]
pub struct TokenKeys {
    signing: u8,
    /// Each with its hash begun: a message has several links.
    keys: Vec<(u8, Hmac<Sha256>)>,
}

impl TokenKeys {
    /// `signing` is the id of the key that signs; it must be among `keys`.
    pub fn new(signing: u8, keys: Vec<(u8, Vec<u8>)>) -> Option<TokenKeys> {
        let begun = |key: Vec<u8>| Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        let keys: Vec<_> = keys.into_iter().map(|(id, key)| (id, begun(key))).collect();
        keys.iter().any(|(id, _)| *id == signing).then_some(TokenKeys { signing, keys })
    }

    /// The id of the key that a text names, when it has the form of a token; it may be forged.
    pub fn key_id(&self, text: &str) -> Option<u8> {
        decode(text).map(|bytes| bytes[1])
    }

    /// Whether the key of this id is among the keys.
    pub fn holds(&self, id: u8) -> bool {
        self.key(id).is_some()
    }

    /// Writes and signs a token.
    pub fn sign(&self, token: &Token) -> String {
        let mut text = String::with_capacity(LENGTH);
        self.push(&mut text, token);
        text
    }

    /// Writes and signs a token, behind what a text says already.
    pub fn push(&self, text: &mut String, token: &Token) {
        let mut bytes = [0u8; PAYLOAD + SIGNATURE];
        bytes[0] = VERSION;
        bytes[1] = self.signing;
        bytes[2] = token.purpose as u8;
        bytes[3] = u8::from(token.test) * FLAG_TEST + u8::from(token.product_scope) * FLAG_PRODUCT_SCOPE;
        bytes[4..8].copy_from_slice(&token.product.to_be_bytes());
        bytes[8..12].copy_from_slice(&token.campaign.to_be_bytes());
        bytes[12..PAYLOAD].copy_from_slice(&token.address.0);
        let key = self.key(self.signing).expect("the signing key is among the keys");
        let signature = mac(key, &bytes[..PAYLOAD]).finalize().into_bytes();
        bytes[PAYLOAD..].copy_from_slice(&signature[..SIGNATURE]);
        let mut letters = [0; LENGTH];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut letters).expect("60 bytes become 80 letters");
        text.push_str(std::str::from_utf8(&letters).expect("letters are ASCII"));
    }

    /// Reads a token; the signature is compared in constant time (U08).
    pub fn verify(&self, text: &str) -> Result<Token, InvalidToken> {
        let bytes = decode(text).ok_or(InvalidToken)?;
        let key = self.key(bytes[1]).ok_or(InvalidToken)?;
        mac(key, &bytes[..PAYLOAD]).verify_truncated_left(&bytes[PAYLOAD..]).map_err(|_| InvalidToken)?;
        let purpose = *Purpose::ALL.get(usize::from(bytes[2])).ok_or(InvalidToken)?;
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut address = [0u8; 32];
        address.copy_from_slice(&bytes[12..PAYLOAD]);
        Ok(Token {
            purpose,
            address: AddressHash(address),
            product: number(4),
            campaign: number(8),
            product_scope: bytes[3] & FLAG_PRODUCT_SCOPE != 0,
            test: bytes[3] & FLAG_TEST != 0,
        })
    }

    fn key(&self, id: u8) -> Option<&Hmac<Sha256>> {
        self.keys.iter().find(|(k, _)| *k == id).map(|(_, key)| key)
    }
}

/// Debug output never shows a key.
impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeys(signing with {}, {} in all)", self.signing, self.keys.len())
    }
}

/// The bytes of a text that has the form of a token.
fn decode(text: &str) -> Option<[u8; PAYLOAD + SIGNATURE]> {
    let mut bytes = [0; PAYLOAD + SIGNATURE];
    let whole = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(bytes.len());
    (whole && bytes[0] == VERSION).then_some(bytes)
}

fn mac(key: &Hmac<Sha256>, payload: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(payload);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    fn keys(signing: u8, ids: &[u8]) -> TokenKeys {
        TokenKeys::new(signing, ids.iter().map(|id| (*id, vec![*id; 32])).collect()).unwrap()
    }

    fn token() -> Token {
        Token {
            purpose: Purpose::Unsubscribe,
            address: AddressHash([7; 32]),
            product: 3,
            campaign: 70_000,
            product_scope: true,
            test: false,
        }
    }

    /// Links of mail sent years ago must open for ever: neither layout nor purposes may move.
    #[test]
    fn a_token_written_once_is_read_for_ever() {
        let text = keys(1, &[1]).sign(&token());
        assert_eq!(text, GOLDEN);
        assert_eq!(keys(2, &[2, 1]).verify(GOLDEN), Ok(token()));
        let numbers: Vec<u8> = Purpose::ALL.iter().map(|purpose| *purpose as u8).collect();
        let words: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            words,
            ["unsubscribe", "preferences", "why", "view", "confirm", "answer", "click", "open", "receipt"]
        );
    }

    const GOLDEN: &str = "AQEAAgAAAAMAARFwBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwdqsvXcNDXtaTY1zEjAm1hX";

    #[test]
    fn a_retired_key_verifies_and_an_unknown_one_does_not() {
        let old = keys(1, &[1]).sign(&token());
        assert_eq!(keys(2, &[1, 2]).verify(&old), Ok(token()));
        assert_ne!(keys(2, &[1, 2]).sign(&token()), old);
        assert_eq!(keys(2, &[2]).verify(&old), Err(InvalidToken));
        let other_key_same_id = TokenKeys::new(1, vec![(1, vec![9; 32])]).unwrap();
        assert_eq!(other_key_same_id.verify(&old), Err(InvalidToken));
    }

    #[test]
    fn the_signing_key_must_be_there() {
        assert!(TokenKeys::new(1, vec![(2, vec![2; 32])]).is_none());
        assert!(TokenKeys::new(1, vec![]).is_none());
    }

    #[test]
    fn a_token_holds_no_address_and_its_keys_reach_no_log() {
        let text = keys(1, &[1]).sign(&token());
        assert_eq!(text.len(), 80);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(format!("{:?}", keys(1, &[1, 2])), "TokenKeys(signing with 1, 2 in all)");
    }

    #[test]
    fn padding_spaces_and_other_alphabets_are_refused() {
        let text = keys(1, &[1]).sign(&token());
        for altered in
            [format!("{text}="), format!(" {text}"), format!("{text}\n"), format!("{text}A"), text[..79].to_owned()]
        {
            assert_eq!(keys(1, &[1]).verify(&altered), Err(InvalidToken), "{altered:?}");
        }
    }

    prop_compose! {
        fn any_token()(
            purpose in select(Purpose::ALL.to_vec()),
            address in any::<[u8; 32]>(),
            (product, campaign, product_scope, test) in any::<(u32, u32, bool, bool)>(),
        ) -> Token {
            Token { purpose, address: AddressHash(address), product, campaign, product_scope, test }
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_is_read(token in any_token(), signing in any::<u8>()) {
            let keys = keys(signing, &[signing]);
            prop_assert_eq!(keys.verify(&keys.sign(&token)), Ok(token));
        }

        #[test]
        fn every_change_of_one_bit_is_refused(token in any_token()) {
            let keys = keys(1, &[0, 1, 2, 3]);
            let text = keys.sign(&token).into_bytes();
            for at in 0..text.len() * 8 {
                let mut altered = text.clone();
                altered[at / 8] ^= 1 << (at % 8);
                // What is no UTF-8 any more cannot even be asked.
                if let Ok(altered) = String::from_utf8(altered) {
                    prop_assert_eq!(keys.verify(&altered), Err(InvalidToken));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic_or_verifies(text in "\\PC{0,100}", letters in "[A-Za-z0-9_-]{80}") {
            prop_assert_eq!(keys(1, &[1]).verify(&text), Err(InvalidToken));
            prop_assert_eq!(keys(1, &[1]).verify(&letters), Err(InvalidToken));
        }
    }
}
