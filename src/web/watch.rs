//! What is done around every request: a log line without a path, a time limit, headers, panics caught.

use std::{
    any::Any,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::HashMapStateStore};
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};

use super::{
    public::{Public, page},
    transport::Client,
};
use crate::domain::tracking::Network;

/// Longer than a refusal ever waits for the database while another process imports.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Nothing but our own style sheet and our own forms (no script, no image, no frame).
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// One line a request: the route's pattern, for the path itself holds a token.
pub async fn log(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "-".to_owned(), |m| m.as_str().to_owned());
    let response = next.run(request).await;
    let millis = start.elapsed().as_millis() as u64;
    tracing::info!(%method, route, status = response.status().as_u16(), millis, "request");
    response
}

/// Gives up on what takes too long, and says so; what was not committed by then is not done.
pub async fn limit_time(State(public): State<Public>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => page::unavailable(&public, &headers),
    }
}

/// Pages a second that one network may look at for long, and at once.
const PAGES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not nothing");
const PAGES_AT_ONCE: NonZeroU32 = NonZeroU32::new(300).expect("not nothing");
/// Networks that are kept in mind, at most.
const NETWORKS: usize = 50_000;
/// What is never limited, beside every POST: the way to unsubscribe, pixels and links, and what costs nothing.
const FREE: [&str; 7] = ["/o/", "/i/", "/l/", "/public.css", "/robots.txt", "/healthz", "/readyz"];

/// How often each network has looked lately.
pub type Looks = RateLimiter<Network, HashMapStateStore<Network>, DefaultClock>;

/// As many looks as a network has.
pub fn looks() -> Looks {
    RateLimiter::hashmap(Quota::per_second(PAGES_PER_SECOND).allow_burst(PAGES_AT_ONCE))
}

/// Lets nobody keep the database busy with looking at pages. An unsubscribe is never hindered, and neither
/// is whoever comes from this machine: that is a proxy that does not say whom it serves.
pub async fn limit_looks(State(public): State<Public>, client: Client, request: Request, next: Next) -> Response {
    let is_look = [Method::GET, Method::HEAD].contains(request.method());
    let path = request.uri().path();
    let from_outside = client.0.filter(|ip| !ip.is_loopback()).map(Network::from);
    if let (true, Some(network)) = (is_look && !FREE.iter().any(|free| path.starts_with(free)), from_outside) {
        if public.looks.len() > NETWORKS {
            public.looks.retain_recent();
        }
        if public.looks.check_key(&network).is_err() {
            return page::too_fast(&public, request.headers());
        }
    }
    next.run(request).await
}

/// The headers of every answer.
pub async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set_default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set_default(header::CONTENT_SECURITY_POLICY, POLICY);
    set_default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set_default(header::REFERRER_POLICY, "no-referrer");
    set_default(header::CACHE_CONTROL, "no-store");
    set_default(HeaderName::from_static("x-robots-tag"), "noindex, nofollow");
    response
}

/// A panic of one request is an answer 500, not the end of the process.
pub fn catch_panics(public: Public) -> CatchPanicLayer<OnPanic> {
    CatchPanicLayer::custom(OnPanic(public))
}

/// Answers for a request that panicked.
#[derive(Clone)]
pub struct OnPanic(Public);

impl ResponseForPanic for OnPanic {
    type ResponseBody = axum::body::Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send + 'static>) -> Response {
        tracing::error!("a request panicked");
        page::failed(&self.0, &HeaderMap::new())
    }
}
