//! `/metrics`, for the house's own eyes: what came through a proxy is told that there is nothing.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    app::App,
    pipeline::metrics::{self, Counted},
};

/// The route; it has no fallback of its own.
pub fn routes(app: App) -> Router {
    Router::new().route("/metrics", get(show)).with_state((app, Arc::default()))
}

async fn show(State((app, counted)): State<(App, Arc<Counted>)>, headers: HeaderMap) -> Response {
    let forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via"];
    if forwarded.iter().any(|name| headers.contains_key(*name)) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match metrics::text(&app, &counted).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "no metrics");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}
