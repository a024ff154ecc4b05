//! What is done around every request: a log line without a path, a time limit, headers, panics caught.
//! In one pass: a layer for each of them would cost an unsubscribe as much as its own work.

use std::{
    future::poll_fn,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::HashMapStateStore};

use super::{
    public::{Public, page},
    transport,
};
use crate::domain::tracking::Network;

/// Longer than a refusal ever waits for the database while another process imports.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Nothing but our own style sheet and our own forms (no script, no image, no frame).
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// What surrounds a request.
pub async fn around(State(public): State<Public>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    // The route's pattern, for the path itself holds a token.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match too_fast(&public, &request) {
        Some(refusal) => refusal,
        None => within_limits(&public, request, next).await,
    };
    secure(&mut response);
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let millis = start.elapsed().as_millis() as u64;
    tracing::info!(%method, route, status = response.status().as_u16(), millis, "request");
    response
}

/// Gives up on what takes too long, and says so; what was not committed by then is not done. A panic is
/// an answer 500, not the end of the process.
async fn within_limits(public: &Public, request: Request, next: Next) -> Response {
    let spoken = request.headers().get(header::ACCEPT_LANGUAGE).cloned();
    let headers = || HeaderMap::from_iter(spoken.clone().map(|value| (header::ACCEPT_LANGUAGE, value)));
    let mut answer = pin!(next.run(request));
    let answer = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
        Ok(answer) => answer.map(Some),
        Err(_) => Poll::Ready(None),
    });
    match tokio::time::timeout(TIME_LIMIT, answer).await {
        Ok(Some(response)) => response,
        Ok(None) => {
            tracing::error!("a request panicked");
            page::failed(public, &headers())
        }
        Err(_) => page::unavailable(public, &headers()),
    }
}

/// Pages a second that one network may look at for long, and at once.
const PAGES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not nothing");
const PAGES_AT_ONCE: NonZeroU32 = NonZeroU32::new(300).expect("not nothing");
/// Networks that are kept in mind, at most.
const NETWORKS: usize = 50_000;
/// What is never limited, beside every POST: where a no can be said, pixels and links, and what costs nothing.
const FREE: [&str; 9] = ["/o/", "/p/", "/a/", "/i/", "/l/", "/public.css", "/robots.txt", "/healthz", "/readyz"];

/// How often each network has looked lately.
pub type Looks = RateLimiter<Network, HashMapStateStore<Network>, DefaultClock>;

/// As many looks as a network has.
pub fn looks() -> Looks {
    RateLimiter::hashmap(Quota::per_second(PAGES_PER_SECOND).allow_burst(PAGES_AT_ONCE))
}

/// Lets nobody keep the database busy with looking at pages. An unsubscribe is never hindered, and neither
/// is whoever comes from this machine: that is a proxy that does not say whom it serves.
fn too_fast(public: &Public, request: &Request) -> Option<Response> {
    let is_look = [Method::GET, Method::HEAD].contains(request.method());
    let path = request.uri().path();
    if !is_look || FREE.iter().any(|free| path.starts_with(free)) {
        return None;
    }
    if public.looks.len() > NETWORKS {
        public.looks.retain_recent();
    }
    let networks = transport::clients(public, request).into_iter().filter(|ip| !ip.is_loopback()).map(Network::from);
    let refused = networks.filter(|network| public.looks.check_key(network).is_err()).count();
    (refused > 0).then(|| page::too_fast(public, request.headers()))
}

/// The headers of every answer.
fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    let mut set_default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set_default(header::CONTENT_SECURITY_POLICY, POLICY);
    set_default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set_default(header::REFERRER_POLICY, "no-referrer");
    set_default(header::CACHE_CONTROL, "no-store");
    set_default(HeaderName::from_static("x-robots-tag"), "noindex, nofollow");
}
