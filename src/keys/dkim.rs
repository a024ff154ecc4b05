//! The DKIM keys of senders' domains, as files: `dkim/DOMAIN/selector` names the selector that signs,
//! `dkim/DOMAIN/SELECTOR/rsa.pem` and `ed25519.pem` hold its keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

use super::{KeyError, fingerprint};

/// The selector of a domain, and where its keys lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimFiles {
    /// Mail from this domain is signed.
    pub domain: String,
    /// The name of the RSA key in DNS; the Ed25519 key has it with `-ed`.
    pub selector: String,
    /// The RSA key.
    pub rsa: PathBuf,
    /// The Ed25519 key.
    pub ed25519: PathBuf,
}

/// The files of a domain's signing keys; none when mail from it is not signed.
pub fn of_domain(folder: &Path, domain: &str) -> Result<Option<DkimFiles>, KeyError> {
    let place = folder.join("dkim").join(domain);
    let path = place.join("selector");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let selector = text.trim().to_owned();
            let keys = place.join(&selector);
            let (rsa, ed25519) = (keys.join("rsa.pem"), keys.join("ed25519.pem"));
            Ok(Some(DkimFiles { domain: domain.to_owned(), selector, rsa, ed25519 }))
        }
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(KeyError::Io { path, source }),
    }
}

/// The files of every domain whose mail is signed, by domain.
pub fn all(folder: &Path) -> Result<Vec<DkimFiles>, KeyError> {
    let path = folder.join("dkim");
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(KeyError::Io { path, source }),
    };
    let mut domains: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    domains.sort();
    domains.iter().filter_map(|domain| of_domain(folder, domain).transpose()).collect()
}

/// The name under which a database notes the key of a domain.
pub fn name(domain: &str) -> String {
    format!("dkim {domain}")
}

/// What a database notes of the keys that sign mail: `dkim DOMAIN`, and a fingerprint of its selector and
/// its keys. Only what signs now is noted; older selectors may go or stay.
pub(super) fn fingerprints(folder: &Path) -> Result<Vec<(String, String)>, KeyError> {
    all(folder)?
        .into_iter()
        .map(|files| {
            let mut secret = files.selector.clone().into_bytes();
            secret.push(0);
            secret.extend(key(&files.rsa)?);
            secret.push(0);
            secret.extend(key(&files.ed25519)?);
            Ok((name(&files.domain), fingerprint(&secret)))
        })
        .collect()
}

/// The bytes of a key; of a file that holds none, its own: whether it can sign is not asked here.
fn key(path: &Path) -> Result<Vec<u8>, KeyError> {
    match fs::read(path) {
        Ok(pem) => Ok(PrivateKeyDer::from_pem_slice(&pem).map(|der| der.secret_der().to_vec()).unwrap_or(pem)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(KeyError::Io { path: path.to_owned(), source }),
    }
}
