//! The pages of `ouinon demo`: what happened, and the mail that was caught. Mounted nowhere else.

mod caught;
mod story;

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::public::language;
use crate::{app::App, domain::lang::Lang, mail::catcher::Mailbag, store::imports::Refusal};

/// What the pages of the demonstration work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Demo {
    /// The installation of the demonstration.
    pub app: App,
    /// What the catcher caught.
    pub mailbag: Mailbag,
    /// What the import did, once it is done.
    pub imported: Arc<OnceLock<Imported>>,
}

/// What an import did; `new + changed + unchanged + refused = lines`.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Imported {
    /// Lines of the file, without its header.
    pub lines: u64,
    /// Contacts that were not known.
    pub new: u64,
    /// Contacts of whom something new was learnt.
    pub changed: u64,
    /// Contacts of whom everything was known.
    pub unchanged: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Each refused line, with the reason.
    pub refusals: Vec<Refusal>,
}

const STYLE: &str = include_str!("../../../templates/demo/style.css");

/// Nothing but our own style sheet, forms that go back to us, and the frame that shows a caught message.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The routes of the demonstration.
pub(super) fn routes(demo: Demo) -> Router {
    Router::new()
        .route("/", get(story::show))
        .route("/caught", get(caught::list))
        .route("/caught/{number}", get(caught::show))
        .route("/caught/{number}/body", get(caught::body))
        .route("/demo.css", get(style))
        .with_state(demo)
}

async fn style() -> Response {
    let kind = (header::CONTENT_TYPE, "text/css; charset=utf-8");
    ([kind, (header::CACHE_CONTROL, "public, max-age=3600")], STYLE).into_response()
}

/// A page with the policy of these pages.
fn page(page: &impl askama::Template) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], super::public::page::render(page)).into_response()
}

/// The language of a page: its switch, else the browser's, else the terminal's.
fn lang_of(demo: &Demo, query: Option<&str>, headers: &HeaderMap) -> Lang {
    language::choose(query, None, headers, demo.app.config.controller.language)
}
