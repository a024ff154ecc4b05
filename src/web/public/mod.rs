//! Pages and endpoints of recipients: no login, cookie or script, and nothing changes by GET or HEAD.

pub mod answer;
pub mod body;
mod desk;
pub(super) mod language;
mod link;
mod networks;
pub(super) mod page;
mod preferences;
mod receipt;
mod recorder;
mod subscribe;
mod track;
mod unsubscribe;
mod view;
mod why;

use std::{
    ops::Deref,
    sync::{Arc, atomic::AtomicU64},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

pub use desk::{Answer, Desk};
pub use networks::Networks;
pub use recorder::Recorder;
pub use subscribe::snippet;

use super::watch::{Looks, looks};
use crate::{
    app::App,
    pipeline::{press::TOGETHER, repermission::bundle},
    store::suppressions,
};

/// What the public pages work with. Cheap to clone: every layer around a request holds one.
#[derive(Debug, Clone)]
pub struct Public(Arc<Inner>);

impl Deref for Public {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What stands behind the public pages.
#[derive(Debug)]
pub struct Inner {
    /// The installation.
    pub app: App,
    /// What happened since the start.
    pub counters: Counters,
    /// Where presses are handed in.
    pub desk: Desk,
    /// Which networks sent how many forms.
    pub networks: Networks,
    /// Where opens and clicks are noted.
    pub recorder: Recorder,
    /// Where tracked links lead.
    links: track::Links,
    /// How often each network has looked at pages lately.
    pub(super) looks: Looks,
}

/// What the public pages count, for the operator's eyes.
#[derive(Debug, Default)]
pub struct Counters {
    /// Links whose token was not ours, was changed, or was of another purpose (U08).
    pub invalid_tokens: AtomicU64,
    /// Refusals received: one-click and by page, repeated ones too.
    pub unsubscribes: AtomicU64,
}

impl Public {
    /// Over an installation, with counters at zero. Needs a running Tokio.
    pub fn new(app: App) -> Public {
        Public::with_desk(app.clone(), Desk::open(app, TOGETHER))
    }

    /// The same with another desk.
    pub fn with_desk(app: App, desk: Desk) -> Public {
        Public(Arc::new(Inner {
            desk,
            recorder: Recorder::open(app.clone()),
            links: track::Links::default(),
            looks: looks(),
            networks: Networks::default(),
            counters: Counters::default(),
            app,
        }))
    }

    /// Ends what was begun: every press and every hit that was taken is on disk.
    pub async fn close(&self) {
        self.desk.close().await;
        self.recorder.close().await;
    }
}

const STYLE: &str = include_str!("../../../templates/public/style.css");

const OPENAPI: &str = include_str!("../../../templates/public/openapi.json");

/// The routes, with pages for what is not there and what is not allowed.
pub fn routes(public: Public) -> Router {
    links().route("/", get(page::home)).with_state(public)
}

/// The same without a page at `/`, for a server that has one of its own.
pub(super) fn routes_below(public: Public) -> Router {
    links().with_state(public)
}

fn links() -> Router<Public> {
    Router::new()
        .route("/o/{token}", get(unsubscribe::show).post(unsubscribe::press).fallback(form_not_allowed))
        .route("/u/{token}", get(receipt::show).post(receipt::press).fallback(form_not_allowed))
        .route("/p/{token}", get(preferences::show).post(preferences::save).fallback(form_not_allowed))
        .route("/w/{token}", get(why::show).post(why::ask).fallback(form_not_allowed))
        .route("/v/{token}", get(view::show))
        .route("/s/{slug}", get(subscribe::show).post(subscribe::ask).fallback(form_not_allowed))
        .route("/c/{token}", get(subscribe::look).post(subscribe::confirm).fallback(form_not_allowed))
        .route("/i/{token}", get(track::pixel))
        .route("/l/{token}/{number}", get(track::follow))
        .route("/api/openapi.json", get(openapi))
        .route("/a/{token}", get(answer::show).post(answer::press).fallback(form_not_allowed))
        .route("/.well-known/ouinon-audit-key", get(audit_key))
        .route("/public.css", get(style))
        .route("/robots.txt", get(|| async { "User-agent: *\nDisallow: /\n" }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
}

/// The document of these routes (OpenAPI 3.1).
async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// The public half of the key that signs evidence, for whoever is to check some.
async fn audit_key(State(public): State<Public>) -> String {
    format!("{}\n", bundle::published(&public.app.keys.audit))
}

async fn style() -> Response {
    let kind = (header::CONTENT_TYPE, "text/css; charset=utf-8");
    ([kind, (header::CACHE_CONTROL, "public, max-age=3600")], STYLE).into_response()
}

/// Whether requests can be served: the database answers.
async fn ready(State(public): State<Public>) -> Response {
    let answers = async {
        let mut tx = public.app.db.read().await?;
        suppressions::newest(&mut tx).await
    };
    match tokio::time::timeout(std::time::Duration::from_secs(5), answers).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer in time\n").into_response(),
    }
}

async fn not_found(State(public): State<Public>, headers: HeaderMap) -> Response {
    page::not_found(&public, &headers)
}

/// The answer to other methods where there is a form (U13).
async fn form_not_allowed(State(public): State<Public>, headers: HeaderMap) -> Response {
    ([(header::ALLOW, "GET, HEAD, POST")], page::not_allowed(&public, &headers)).into_response()
}

async fn not_allowed(State(public): State<Public>, headers: HeaderMap) -> Response {
    page::not_allowed(&public, &headers)
}
