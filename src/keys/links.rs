//! The keys of links in a process that runs for long: a key that `ouinon key rotate` adds meanwhile is
//! taken up as soon as a link of it is met.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use super::{KeyError, read_tokens, secret};
use crate::domain::tokens::{InvalidToken, Token, TokenKeys};

/// Signs and verifies tokens with the keys of a file. Cheap to clone; clones share the keys.
#[derive(Clone)]
pub struct LinkKeys {
    path: PathBuf,
    held: Arc<RwLock<Held>>,
}

struct Held {
    keys: TokenKeys,
    /// Of the file as it was read: when it was changed.
    changed: Option<SystemTime>,
}

impl LinkKeys {
    /// Reads the keys of a file.
    pub(super) fn open(path: PathBuf) -> Result<LinkKeys, KeyError> {
        let held = read(&path)?;
        Ok(LinkKeys { path, held: Arc::new(RwLock::new(held)) })
    }

    /// Writes and signs a token.
    pub fn sign(&self, token: &Token) -> String {
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.sign(token)
    }

    /// Writes and signs a token, behind what a text says already.
    pub fn push(&self, text: &mut String, token: &Token) {
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.push(text, token);
    }

    /// Reads and verifies a token; where its key is not known, the file is looked at again first.
    pub fn verify(&self, text: &str) -> Result<Token, InvalidToken> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if held.keys.key_id(text).is_none_or(|id| held.keys.holds(id)) {
            return held.keys.verify(text);
        }
        let changed = held.changed;
        drop(held);
        // Forged tokens name unknown keys as well: an unchanged file is not read again for them.
        if changed_at(&self.path) != changed
            && let Ok(fresh) = read(&self.path)
        {
            *self.held.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.verify(text)
    }

    /// The key that a token names and this process does not hold, even after another look at the file.
    /// A text that is no token names none.
    pub fn unknown_key(&self, text: &str) -> Option<u8> {
        let unknown = || {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            held.keys.key_id(text).filter(|id| !held.keys.holds(*id))
        };
        unknown()?;
        let _ = self.verify(text);
        unknown()
    }
}

/// Debug output shows no key.
impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKeys({:?})", self.held.read().unwrap_or_else(PoisonError::into_inner).keys)
    }
}

fn read(path: &std::path::Path) -> Result<Held, KeyError> {
    // The instant first: a file that changes while it is read is read again later.
    let changed = changed_at(path);
    let file = read_tokens(path)?;
    let keys = file.keys.iter().map(|key| Ok((key.id, secret(path, key)?))).collect::<Result<_, KeyError>>()?;
    let message = "the signing key is not among the keys".to_owned();
    let keys = TokenKeys::new(file.signing, keys);
    Ok(Held { keys: keys.ok_or(KeyError::Content { path: path.to_owned(), message })?, changed })
}

fn changed_at(path: &std::path::Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}
