//! Plain HTTP is answered by a redirect to https, and never changes anything (U19).
//!
//! TLS ends in a reverse proxy. What the proxy says of the scheme is believed from loopback and from
//! the configured proxies, from nobody else; if it says nothing it counts as https, for a proxy set up
//! in haste must not lose an unsubscribe.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::{FromRequestParts, Request},
    http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::public::{Public, page};

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Who asks, as [`client`] tells.
#[derive(Debug, Clone, Copy)]
pub struct Client(pub Option<IpAddr>);

impl FromRequestParts<Public> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, public: &Public) -> Result<Client, Infallible> {
        Ok(Client(who(public, &parts.extensions, &parts.headers)))
    }
}

/// What the machine itself and its keepers ask, over whatever is there.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Lets a request pass that came by https, or that may come in the clear; answers any other.
pub fn demand_https(public: &Public, request: &Request) -> Option<Response> {
    let config = &public.app.config.public;
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let trusted = peer.is_some_and(|ip| ip.is_loopback() || config.proxies.contains(&ip));
    let secure = trusted && said_scheme(request.headers()) != Some(Scheme::Http);
    if secure || PROBES.contains(&request.uri().path()) {
        return None;
    }
    if [Method::GET, Method::HEAD].contains(request.method())
        && let Some(location) = https_location(config.url.as_deref(), request.uri(), request.headers())
    {
        return Some((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response());
    }
    Some(page::plain_http_refused(public, request.headers()))
}

/// Everybody who may be asking, as far as can be told: the other end of the connection, or whom a believed proxy
/// names. It writes one of two headers, and may let the other through as whoever asks made it up: a limit that is
/// counted for both is escaped by neither.
pub fn clients(public: &Public, request: &Request) -> Vec<IpAddr> {
    everybody(public, request.extensions(), request.headers())
}

fn who(public: &Public, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    everybody(public, extensions, headers).into_iter().next()
}

fn everybody(public: &Public, extensions: &Extensions, headers: &HeaderMap) -> Vec<IpAddr> {
    let Some(peer) = extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical()) else { return Vec::new() };
    let trusted = |ip: &IpAddr| ip.is_loopback() || public.app.config.public.proxies.contains(ip);
    if !trusted(&peer) {
        return vec![peer];
    }
    // The nearest that no believed proxy stands for: what is further away may be made up.
    let nearest = said_clients(headers).into_iter().filter_map(|said| said.into_iter().find(|ip| !trusted(ip)));
    let mut clients: Vec<IpAddr> = nearest.collect();
    clients.dedup();
    if clients.is_empty() { vec![peer] } else { clients }
}

/// The clients that proxies name, the nearest first: by `Forwarded` (RFC 7239), and by `X-Forwarded-For`.
fn said_clients(headers: &HeaderMap) -> [Vec<IpAddr>; 2] {
    let said = |name: &str, read: fn(&str) -> Option<IpAddr>| -> Vec<IpAddr> {
        // A proxy adds at the end. What stands before may be long, or no text: it is not let in the way.
        let lines: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        lines.iter().rev().flat_map(|line| line.rsplit(',')).take(64).filter_map(read).collect()
    };
    let forwarded = |element: &str| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("for") { address(value) } else { None }
        })
    };
    [said("forwarded", forwarded), said("x-forwarded-for", address)]
}

/// `192.0.2.1`, `192.0.2.1:443`, `"[2001:db8::1]:443"`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| bare.parse::<SocketAddr>().ok().map(|at| at.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// What a proxy says of the way a request came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// The scheme that the outermost proxy saw: `Forwarded` (RFC 7239), else `X-Forwarded-Proto`.
fn said_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let elements = |name: &str| -> Vec<String> {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).map(str::to_owned).collect()
    };
    let forwarded = elements("forwarded").into_iter().find_map(|element| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("proto") { scheme(value) } else { None }
        })
    });
    forwarded.or_else(|| elements("x-forwarded-proto").into_iter().find_map(|proto| scheme(&proto)))
}

fn scheme(word: &str) -> Option<Scheme> {
    let word = word.trim().trim_matches('"');
    if word.eq_ignore_ascii_case("https") {
        Some(Scheme::Https)
    } else if word.eq_ignore_ascii_case("http") {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// The same page by https: at our public URL, else at the host that was asked.
fn https_location(public_url: Option<&str>, uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let base = match public_url.filter(|url| url.starts_with("https://")) {
        Some(url) => url.to_owned(),
        None => format!("https://{}", headers.get(header::HOST)?.to_str().ok()?),
    };
    format!("{base}{path}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[(&'static str, &str)]) -> Option<Scheme> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        said_scheme(&headers)
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics_and_only_addresses_are_named(
            text in "[a-zA-Z0-9:;=,.\\[\\]\" %_-]{0,80}", v4 in proptest::prelude::any::<[u8; 4]>(),
        ) {
            let ip = IpAddr::from(v4);
            for name in ["forwarded", "x-forwarded-for"] {
                let mut headers = HeaderMap::new();
                headers.append(name, text.parse().unwrap());
                let _ = (said_clients(&headers), said_scheme(&headers));
                headers.append(name, format!("for={ip}:80").parse().unwrap());
                headers.append("x-forwarded-for", format!("{ip}").parse().unwrap());
                proptest::prop_assert!(said_clients(&headers).concat().contains(&ip));
            }
        }
    }

    #[test]
    fn whom_proxies_name() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.9, [2001:db8::7]:5, nonsense".parse().unwrap());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let plain = vec![ip("2001:db8::7"), ip("203.0.113.9")];
        assert_eq!(said_clients(&headers), [vec![], plain.clone()]);
        headers.append(
            "forwarded",
            "proto=https;for=\"[2001:db8::1]:9\", for=_hidden, For=192.0.2.60:80".parse().unwrap(),
        );
        assert_eq!(said_clients(&headers), [vec![ip("192.0.2.60"), ip("2001:db8::1")], plain]);
    }

    #[test]
    fn what_a_client_made_up_does_not_hide_what_the_proxy_added() {
        let made_up: Vec<u8> =
            (0..100).flat_map(|n| format!("198.51.100.{n}, ").into_bytes()).chain(*b"\xff, ").collect();
        let value = [made_up, b"203.0.113.9".to_vec()].concat();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_bytes(&value).unwrap());
        assert_eq!(said_clients(&headers)[1][0], IpAddr::from([203, 0, 113, 9]));
    }

    #[test]
    fn the_outermost_proxy_says_what_it_saw() {
        use Scheme::{Http, Https};
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[("x-forwarded-proto", "https")]), Some(Https));
        assert_eq!(said(&[("x-forwarded-proto", "HTTP")]), Some(Http));
        assert_eq!(said(&[("x-forwarded-proto", "https, http")]), Some(Https));
        assert_eq!(said(&[("forwarded", "for=192.0.2.60;proto=http;by=203.0.113.43")]), Some(Http));
        assert_eq!(said(&[("forwarded", "For=\"[2001:db8::1]\"; Proto=\"https\", proto=http")]), Some(Https));
        assert_eq!(said(&[("forwarded", "for=192.0.2.60"), ("x-forwarded-proto", "http")]), Some(Http));
        assert_eq!(said(&[("x-forwarded-proto", "gopher")]), None);
    }
    proptest::proptest! {
        #[test]
        fn no_header_panics(value in "[ -~]{0,80}", name in proptest::sample::select(vec!["forwarded", "x-forwarded-for"])) {
            let headers = HeaderMap::from_iter([(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap())]);
            let _ = (said_clients(&headers), said_scheme(&headers));
        }
    }
}
