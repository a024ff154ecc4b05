//! Keys that another host has made meanwhile. A link that was signed with one is not answered "not
//! found" here: the provider would take that for the end of it, and the refusal would be lost.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use tokio::{sync::Mutex, time::Instant};

use super::public::{Public, page};
use crate::{
    app::App,
    keys::{KeyError, Keys},
    store,
};

/// How long an answer of the database about its keys is believed; forged links ask often.
const FRESH: Duration = Duration::from_secs(1);

/// What the database notes of its keys, as it was asked last.
#[derive(Clone)]
pub struct KeyWatch {
    public: Public,
    noted: Arc<Mutex<Option<(Instant, Noted)>>>,
}

type Noted = Vec<(String, String)>;

impl KeyWatch {
    /// Over an installation.
    pub fn new(public: Public) -> KeyWatch {
        KeyWatch { public, noted: Arc::default() }
    }

    /// The pages that it watches over.
    pub fn public(&self) -> &Public {
        &self.public
    }

    async fn noted(&self) -> store::Result<Noted> {
        let mut last = self.noted.lock().await;
        if let Some((at, noted)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(noted.clone());
        }
        let mut tx = self.public.app.db.read().await?;
        let noted = store::keys::all(&mut tx).await?;
        *last = Some((Instant::now(), noted.clone()));
        Ok(noted)
    }

    /// The keys of links and refusals that the database knows, and this process neither holds nor finds.
    async fn lacking(&self) -> store::Result<Option<KeyError>> {
        let app = &self.public.app;
        let folder = App::keys_folder(&app.config);
        let held = |name: &str, print: &str, prints: &Noted| prints.iter().any(|(n, p)| n == name && p == print);
        let mut noted = self.noted().await?;
        noted.retain(|(name, print)| !name.starts_with("dkim ") && !held(name, print, &app.keys.fingerprints));
        if noted.is_empty() {
            return Ok(None);
        }
        Ok(Keys::read(&folder).and_then(|keys| keys.compare(&folder, &noted)).err())
    }

    /// Answers 503 where a link's key is known to the database only, and to `/readyz` while one is lacking.
    pub async fn demand_ours(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        if path == "/readyz" {
            return match self.lacking().await {
                Ok(Some(error)) => {
                    tracing::error!(%error, "not ready");
                    Some((StatusCode::SERVICE_UNAVAILABLE, "the keys are not those of the database\n").into_response())
                }
                // Whether the database answers is its own question.
                Ok(None) | Err(_) => None,
            };
        }
        let id = path.split('/').find_map(|part| self.public.app.keys.tokens.unknown_key(part))?;
        let name = format!("token {id}");
        match self.noted().await {
            Ok(noted) if noted.iter().all(|(known, _)| *known != name) => return None,
            Ok(_) => {
                tracing::error!(key = name, "a link is signed with a key that is missing here: copy keys/tokens.toml");
            }
            Err(error) => tracing::error!(%error, "whether a link's key exists cannot be asked"),
        }
        Some(page::unavailable(&self.public, headers))
    }
}
