//! What answers over HTTP. Thin: look up, act through the pipeline, answer.

pub mod demo;
mod keys;
mod metrics;
pub mod public;
mod server;
mod transport;
mod watch;

use std::{future::Future, io};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use tokio::net::TcpListener;

pub use demo::Demo;
pub use public::{Counters, Public};
pub use server::{Limits, serve_router};
pub use transport::Peer;

use crate::app::App;

/// The pages and endpoints of recipients, with everything around them: transport (U19), security
/// headers, time limit, log. To be served by [`serve_router`], which says who asks.
pub fn public_router(app: App) -> Router {
    router(&Public::new(app))
}

fn router(public: &Public) -> Router {
    let door = keys::KeyWatch::new(public.clone());
    let pages = public::routes(public.clone()).layer(middleware::from_fn_with_state(door, admit));
    around(public, pages.merge(metrics::routes(public.app.clone())))
}

/// Whoever comes over plain HTTP, or with a link whose key is missing here, gets no further.
async fn admit(State(door): State<keys::KeyWatch>, request: Request, next: Next) -> Response {
    if let Some(elsewhere) = transport::demand_https(door.public(), &request) {
        return elsewhere;
    }
    if let Some(refusal) = door.demand_ours(request.uri().path(), request.headers()).await {
        return refusal;
    }
    next.run(request).await
}

/// The pages of the demonstration, and the recipients' with what surrounds them, in the clear: it is
/// looked at where it runs, and nobody in it exists.
pub fn demo_router(demo: Demo) -> Router {
    let public = Public::new(demo.app.clone());
    around(&public, public::routes_below(public.clone()).merge(demo::routes(demo)))
}

/// Serves the public pages until `shutdown`, then ends what was begun.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_pages(Public::new(app), listener, shutdown).await
}

/// The same for pages that are put together already.
pub async fn serve_pages(
    public: Public,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_router(router(&public), listener, Limits::default(), shutdown).await?;
    public.close().await;
    Ok(())
}

/// Serves `/metrics` and `/healthz` alone, for a process that has no pages.
pub async fn serve_metrics(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = metrics::routes(app).route("/healthz", get(|| async { "ok\n" }));
    serve_router(router, listener, Limits::default(), shutdown).await
}

/// What surrounds every route.
fn around(public: &Public, routes: Router) -> Router {
    routes.layer(middleware::from_fn_with_state(public.clone(), watch::around))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::*;
    use crate::{clock::Clock, config::Config};

    #[tokio::test]
    async fn a_request_that_panics_is_answered_and_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let app = App::open(Config::of_folder(folder.path()), Clock::System).await.unwrap();
        let broken = async || -> &'static str { panic!("on purpose") };
        let router =
            around(&Public::new(app), Router::new().route("/", get(broken)).route("/ok", get(|| async { "ok" })));
        for (path, status) in [("/", 500), ("/ok", 200)] {
            let peer = Peer(([127, 0, 0, 1], 50_000).into());
            let request = Request::get(path).extension(peer).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status);
            assert!(answer.headers().contains_key("content-security-policy"));
        }
    }
}
