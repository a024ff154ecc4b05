//! The secret keys: files in `keys/` of the data folder, never in the database.
//!
//! A backup without them loses every hashed refusal and every link, so they are never made anew
//! for a database that was written with others. The database notes a fingerprint of each: whoever
//! works with it holds the same keys, on whichever host, or does not start.

pub mod dkim;
mod links;

use std::{
    fmt,
    fs::{self, File},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::address::{SuppressionKey, hex};
pub use links::LinkKeys;

/// The keys that a process works with.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs and verifies the tokens of links.
    pub tokens: LinkKeys,
    /// Hashes the addresses of the suppression list (SUP-5).
    pub suppression: SuppressionKey,
    /// Signs evidence; its public half is published.
    pub audit: AuditKey,
    /// What a database notes of them: name and fingerprint.
    pub fingerprints: Vec<(String, String)>,
}

/// The Ed25519 key (RFC 8032) that signs evidence.
#[derive(Clone)]
pub struct AuditKey([u8; 32]);

impl AuditKey {
    /// The key of this seed.
    pub fn new(seed: [u8; 32]) -> AuditKey {
        AuditKey(seed)
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.0).expect("a seed is 32 bytes long")
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair().public_key().as_ref());
        bytes
    }

    /// Signs a text.
    pub fn sign(&self, text: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair().sign(text).as_ref());
        bytes
    }
}

/// Debug output never shows a key.
impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditKey")
    }
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file does not hold a key.
    #[error("{path}: {message}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The keys are not there, and the database was written with some.
    #[error(
        "{path} is missing, and the database was written with it: restore it from the backup, or copy it from a \
         host that works with this database (without it {})",
        lost_with(path)
    )]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// The keys are not those that the database was written with.
    #[error("{0}")]
    Differ(Differ),
}

/// The keys in which this host and the database differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differ {
    /// The folder of this host's keys.
    pub folder: PathBuf,
    /// Which keys.
    pub keys: Vec<Difference>,
}

/// A key that this host holds otherwise than the database notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `suppression`, `token ID` or `dkim DOMAIN`.
    pub name: String,
    /// This host holds none of that name; else it holds another.
    pub missing: bool,
}

/// The file of the token keys.
#[derive(Debug, Serialize, Deserialize)]
struct TokenFile {
    /// Id of the key that signs.
    signing: u8,
    /// Every key that verifies.
    keys: Vec<TokenKey>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TokenKey {
    id: u8,
    secret: String,
}

const SUPPRESSION: &str = "suppression.key";
const TOKENS: &str = "tokens.toml";
const AUDIT: &str = "audit.key";

impl Keys {
    /// Loads the keys of `folder`. Where there are none, makes them, unless `noted` (what the database
    /// notes of its keys) says that there were some.
    pub fn load(folder: &Path, noted: &[(String, String)]) -> Result<Keys, KeyError> {
        let _lock = lock(folder)?;
        for file in [SUPPRESSION, TOKENS, AUDIT] {
            let path = folder.join(file);
            if !path.exists() {
                if is_written_with(&path, noted) {
                    return Err(KeyError::Missing { path });
                }
                make(&path)?;
            }
        }
        let keys = Keys::read(folder)?;
        keys.compare(folder, noted)?;
        Ok(keys)
    }

    /// Reads the keys of `folder`, and makes none.
    pub fn read(folder: &Path) -> Result<Keys, KeyError> {
        let path = folder.join(SUPPRESSION);
        let text = fs::read_to_string(&path).map_err(|source| KeyError::Io { path: path.clone(), source })?;
        let suppression = unhex(text.trim())
            .ok_or_else(|| KeyError::Content { path, message: "expected at least 32 hexadecimal digits".into() })?;
        let mut fingerprints = vec![("suppression".to_owned(), fingerprint(&suppression))];
        let path = folder.join(AUDIT);
        let text = fs::read_to_string(&path).map_err(|source| KeyError::Io { path: path.clone(), source })?;
        let seed = unhex(text.trim()).and_then(|seed| <[u8; 32]>::try_from(seed).ok());
        let audit = seed.ok_or_else(|| KeyError::Content { path, message: "expected 64 hexadecimal digits".into() })?;
        fingerprints.push(("audit".to_owned(), fingerprint(&audit)));
        let path = folder.join(TOKENS);
        let file = read_tokens(&path)?;
        for key in &file.keys {
            fingerprints.push((format!("token {}", key.id), fingerprint(&secret(&path, key)?)));
        }
        let tokens = LinkKeys::open(path)?;
        fingerprints.extend(dkim::fingerprints(folder)?);
        Ok(Keys { tokens, suppression: SuppressionKey::new(suppression), audit: AuditKey(audit), fingerprints })
    }

    /// The fingerprint of the key that hashes addresses.
    pub fn suppression_print(&self) -> &str {
        self.fingerprints.iter().find(|(name, _)| name == "suppression").map_or("", |(_, print)| print)
    }

    /// Refuses when a key that the database notes is missing here, or is another one.
    pub fn compare(&self, folder: &Path, noted: &[(String, String)]) -> Result<(), KeyError> {
        let differ = noted.iter().filter_map(|(name, print)| {
            let ours = self.fingerprints.iter().find(|(ours, _)| ours == name).map(|(_, print)| print);
            (ours != Some(print)).then(|| Difference { name: name.clone(), missing: ours.is_none() })
        });
        let mut keys: Vec<Difference> = differ.collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        if keys.is_empty() { Ok(()) } else { Err(KeyError::Differ(Differ { folder: folder.to_owned(), keys })) }
    }

    /// Makes a new signing key for tokens; the old ones go on verifying (OC-9).
    pub fn rotate(folder: &Path) -> Result<(), KeyError> {
        let _lock = lock(folder)?;
        let path = folder.join(TOKENS);
        let mut file = read_tokens(&path)?;
        let id = (0..=u8::MAX)
            .find(|id| file.keys.iter().all(|k| k.id != *id))
            .ok_or_else(|| KeyError::Content { path: path.clone(), message: "all 256 key ids are in use".into() })?;
        file.keys.push(TokenKey { id, secret: hex(&random()) });
        file.signing = id;
        write(&path, &tokens_text(&file))
    }
}

/// Whether a database that notes these keys was written with this file of keys.
pub fn is_written_with(path: &Path, noted: &[(String, String)]) -> bool {
    // The key of evidence came later: a database may have been written without one.
    if path.ends_with(AUDIT) { noted.iter().any(|(name, _)| name == "audit") } else { !noted.is_empty() }
}

/// What nobody can read or check any more without a file of keys.
fn lost_with(path: &Path) -> &'static str {
    if path.ends_with(TOKENS) {
        "every link in messages already sent is dead, those to unsubscribe with the others"
    } else if path.ends_with(AUDIT) {
        "evidence is signed by another key than before"
    } else {
        "every refusal of which only the keyed hash is kept is lost, and so is every link in messages already sent"
    }
}

/// Which keys, and the way out for each kind of them.
impl fmt::Display for Differ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keys in {} are not those that the database was written with: ", self.folder.display())?;
        for (i, key) in self.keys.iter().enumerate() {
            let what = if key.missing { "missing here" } else { "another one here" };
            write!(f, "{}{} ({what})", if i == 0 { "" } else { ", " }, key.name)?;
        }
        let any =
            |kind: &str, missing: bool| self.keys.iter().any(|k| k.name.starts_with(kind) && k.missing == missing);
        if any("suppression", false) || any("suppression", true) || any("token", false) || any("audit", false) {
            f.write_str(
                ". Restore the keys that belong to this database from their backup, or copy them from a host that \
                 works with it: with others, refusals are not found and links do not work",
            )?;
        }
        if any("token", true) {
            write!(f, ". `ouinon key rotate` ran on another host: copy its keys/{TOKENS} here")?;
        }
        if any("dkim", true) || any("dkim", false) {
            f.write_str(
                ". Copy keys/dkim from the host where `ouinon dkim new` ran, so that every host signs alike; if \
                 mail from the domain is to be signed no more, run `ouinon dkim forget DOMAIN`",
            )?;
        }
        Ok(())
    }
}

/// One process at a time makes or changes keys.
fn lock(folder: &Path) -> Result<File, KeyError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io(folder))?;
    let path = folder.join(".lock");
    let file = File::options().create(true).append(true).open(&path).map_err(io(&path))?;
    file.lock().map_err(io(&path))?;
    Ok(file)
}

fn make(path: &Path) -> Result<(), KeyError> {
    if path.ends_with(TOKENS) {
        let file = TokenFile { signing: 0, keys: vec![TokenKey { id: 0, secret: hex(&random()) }] };
        write(path, &tokens_text(&file))
    } else {
        write(path, &format!("{}\n", hex(&random())))
    }
}

/// The secret of a token key.
fn secret(path: &Path, key: &TokenKey) -> Result<Vec<u8>, KeyError> {
    let message = "a secret is no hexadecimal text".to_owned();
    unhex(&key.secret).ok_or(KeyError::Content { path: path.to_owned(), message })
}

fn read_tokens(path: &Path) -> Result<TokenFile, KeyError> {
    let text = fs::read_to_string(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    // The parser's message would quote the line, and with it the secret.
    toml::from_str(&text)
        .map_err(|_| KeyError::Content { path: path.to_owned(), message: "not a file of token keys".into() })
}

fn tokens_text(file: &TokenFile) -> String {
    toml::to_string(file).expect("numbers and texts can be written as TOML")
}

/// Writes a secret file so that it is there whole or not at all, and only for us.
fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(io)
}

/// 32 bytes from the system's random source.
fn random() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has a random source");
    bytes
}

fn fingerprint(secret: &[u8]) -> String {
    hex(&Sha256::digest([b"ouinon key fingerprint\0".as_slice(), secret].concat())[..8])
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() < 32 || !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::{
        address::Address,
        tokens::{Purpose, Token},
    };

    fn token(keys: &Keys) -> Token {
        let address = keys.suppression.hash(&Address::parse("marie@example.net").unwrap());
        Token { purpose: Purpose::Unsubscribe, address, product: 1, campaign: 2, product_scope: false, test: false }
    }

    #[test]
    fn keys_are_made_once_and_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let first = Keys::load(&keys, &[]).unwrap();
        for file in [SUPPRESSION, TOKENS] {
            let mode = fs::metadata(keys.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let second = Keys::load(&keys, &first.fingerprints).unwrap();
        assert_eq!(first.fingerprints, second.fingerprints);
        assert!(second.tokens.verify(&first.tokens.sign(&token(&first))).is_ok());
        let other = Keys::load(&folder.path().join("others"), &[]).unwrap();
        assert_ne!(first.fingerprints, other.fingerprints, "keys are random");
    }

    #[test]
    fn a_written_database_gets_no_new_keys() {
        for file in [SUPPRESSION, TOKENS] {
            let folder = tempfile::tempdir().unwrap();
            let noted = Keys::load(folder.path(), &[]).unwrap().fingerprints;
            fs::remove_file(folder.path().join(file)).unwrap();
            let error = Keys::load(folder.path(), &noted).unwrap_err();
            assert!(matches!(&error, KeyError::Missing { path } if path.ends_with(file)), "{error}");
            assert!(error.to_string().contains("backup"), "{error}");
            assert!(!folder.path().join(file).exists(), "nothing was made in its place");
        }
    }

    #[test]
    fn other_keys_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let noted = Keys::load(&folder.path().join("ours"), &[]).unwrap().fingerprints;
        let error = Keys::load(&folder.path().join("theirs"), &[])
            .and_then(|_| Keys::load(&folder.path().join("theirs"), &noted));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("suppression") && error.contains("token 0"), "{error}");
        fs::copy(folder.path().join("ours").join(SUPPRESSION), folder.path().join("theirs").join(SUPPRESSION)).unwrap();
        let error = Keys::load(&folder.path().join("theirs"), &noted).unwrap_err().to_string();
        assert!(!error.contains("suppression") && error.contains("token 0"), "{error}");
    }

    #[test]
    fn a_rotated_key_signs_and_the_old_one_goes_on_verifying() {
        let folder = tempfile::tempdir().unwrap();
        let old = Keys::load(folder.path(), &[]).unwrap();
        let link = old.tokens.sign(&token(&old));
        Keys::rotate(folder.path()).unwrap();
        let new = Keys::load(folder.path(), &old.fingerprints).unwrap();
        assert_eq!(new.tokens.verify(&link).unwrap(), token(&old));
        let later = new.tokens.sign(&token(&new));
        assert_ne!(link, later);
        assert_eq!(old.tokens.verify(&later).unwrap(), token(&new), "a process at work reads the key made since");
        assert!(new.fingerprints.len() > old.fingerprints.len());
        // Taking the old file back would lose the links made since.
        let error = Keys::load(&folder.path().join("elsewhere"), &[]).and_then(|_| {
            fs::copy(folder.path().join(SUPPRESSION), folder.path().join("elsewhere").join(SUPPRESSION)).unwrap();
            Keys::load(&folder.path().join("elsewhere"), &new.fingerprints)
        });
        assert!(error.unwrap_err().to_string().contains("token 1"));
    }

    #[test]
    fn a_broken_file_is_named_and_its_secret_is_not_shown() {
        const SECRET: &str = "not hexadecimal but secret";
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load(folder.path(), &[]).unwrap();
        let cases = [
            (SUPPRESSION, SECRET.to_owned()),
            (SUPPRESSION, String::new()),
            (TOKENS, format!("signing = 0\n[[keys]]\nid = 0\nsecret = '{SECRET}'\n")),
            (TOKENS, format!("signing = '{SECRET}'")),
            (TOKENS, format!("signing = 9\n[[keys]]\nid = 0\nsecret = '{}'\n", "ab".repeat(32))),
        ];
        for (file, text) in cases {
            let path = folder.path().join(file);
            let good = fs::read_to_string(&path).unwrap();
            fs::write(&path, &text).unwrap();
            let error = Keys::load(folder.path(), &keys.fingerprints).unwrap_err();
            let message = format!("{error} {error:?}");
            assert!(message.contains(file) && !message.contains(SECRET), "{message}");
            fs::write(&path, good).unwrap();
        }
        Keys::load(folder.path(), &keys.fingerprints).unwrap();
    }

    #[test]
    fn debug_output_shows_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load(folder.path(), &[]).unwrap();
        let shown = format!("{keys:?} {keys:#?}");
        let suppression = fs::read_to_string(folder.path().join(SUPPRESSION)).unwrap();
        assert!(!shown.contains(suppression.trim()));
        let tokens = read_tokens(&folder.path().join(TOKENS)).unwrap();
        assert!(tokens.keys.iter().all(|key| !shown.contains(&key.secret)));
    }
}
