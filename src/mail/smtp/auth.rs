//! AUTH PLAIN (RFC 4616) and AUTH LOGIN.

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret;

use super::server::Credentials;

/// The lines to send, each but the first after a 334. A server that ignores the initial response gets it again.
pub(super) fn plain(credentials: &Credentials) -> Vec<String> {
    let response = encode(&format!("\0{}\0{}", credentials.user, credentials.password.expose_secret()));
    vec![format!("AUTH PLAIN {response}\r\n"), format!("{response}\r\n")]
}

/// The lines to send, each but the first after a 334.
pub(super) fn login(credentials: &Credentials) -> Vec<String> {
    let user = encode(&credentials.user);
    let password = encode(credentials.password.expose_secret());
    vec!["AUTH LOGIN\r\n".to_owned(), format!("{user}\r\n"), format!("{password}\r\n")]
}

fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}
