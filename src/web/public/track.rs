//! `/i/TOKEN` and `/l/TOKEN/NUMBER`: pixels and tracked links (rules 2.5, table 8.3).
//!
//! Both answer first; what is recorded, and whether anything is, is decided behind (`recorder`). A
//! pixel is served whatever the token. A link leads where the campaign's own text says, by its number
//! there: nothing of the target stands in the address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError},
};

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Public, page, recorder::Seen};
use crate::{
    domain::{
        content::Frozen,
        tokens::{Purpose, Token},
        tracking::{Class, Network, Request, class},
    },
    store::{campaigns, events::EventKind, opens::Sent},
    web::transport::Client,
};

/// One transparent dot.
const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\
    \x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";
/// Campaigns whose links are kept at hand, at most.
const CAMPAIGNS: usize = 256;

/// The links of campaigns, by the campaign's number; read once, for a launched campaign does not change.
pub type Links = Arc<std::sync::RwLock<HashMap<u32, Arc<Vec<String>>>>>;

/// GET and HEAD of a pixel.
pub async fn pixel(
    State(public): State<Public>,
    method: Method,
    token: Result<Path<String>, PathRejection>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let token = token.ok().and_then(|Path(text)| {
        let text = text.strip_suffix(".gif").unwrap_or(&text);
        public.token(text, Purpose::Open)
    });
    if let Some(token) = token.filter(|token| !token.test) {
        public.recorder.see(seen(&public, &token, EventKind::Open, None, client.0, &method, &headers));
    }
    ([(header::CONTENT_TYPE, "image/gif")], PIXEL).into_response()
}

/// GET and HEAD of a tracked link.
pub async fn follow(
    State(public): State<Public>,
    method: Method,
    path: Result<Path<(String, String)>, PathRejection>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let Ok(Path((text, number))) = path else { return page::not_found(&public, &headers) };
    let Some(token) = public.token(&text, Purpose::Click) else { return page::not_found(&public, &headers) };
    let links = match links(&public, token.campaign).await {
        Ok(links) => links,
        Err(error) => {
            tracing::error!(%error, "the database fails; a link cannot be followed");
            return page::unavailable(&public, &headers);
        }
    };
    let Some((number, target)) = link_number(&number).and_then(|n| Some((n, links.get(usize::from(n) - 1)?))) else {
        return page::not_found(&public, &headers);
    };
    let Ok(location) = header::HeaderValue::from_str(target) else { return page::not_found(&public, &headers) };
    if !token.test {
        public.recorder.see(seen(&public, &token, EventKind::Click, Some(number), client.0, &method, &headers));
    }
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

/// A number as we write it: from 1 on, without a sign or leading zeros.
fn link_number(text: &str) -> Option<u16> {
    text.parse::<u16>().ok().filter(|number| *number > 0 && number.to_string() == text)
}

fn seen(
    public: &Public,
    token: &Token,
    kind: EventKind,
    link: Option<u16>,
    client: Option<IpAddr>,
    method: &Method,
    headers: &HeaderMap,
) -> Seen {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request = Request {
        head: method == Method::HEAD,
        agent: text("user-agent"),
        purpose: ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().find_map(text),
    };
    Seen {
        sent: Sent { campaign_id: i64::from(token.campaign), address_hash: token.address },
        kind,
        link,
        class: class(&request),
        network: client.map(Network::from).unwrap_or_default(),
        at: public.app.now().as_millisecond(),
    }
}

/// The page to unsubscribe was looked at: kept in mind for a minute, and never recorded.
pub(super) fn looked(public: &Public, token: &Token, client: Option<IpAddr>) -> Seen {
    let sent = Sent { campaign_id: i64::from(token.campaign), address_hash: token.address };
    let network = client.map(Network::from).unwrap_or_default();
    let at = public.app.now().as_millisecond();
    Seen { sent, kind: EventKind::Unsubscribe, link: None, class: Class::Human, network, at }
}

/// The targets of a campaign's tracked links, in their order.
async fn links(public: &Public, campaign: u32) -> Result<Arc<Vec<String>>, sqlx::Error> {
    if let Some(links) = public.links.read().unwrap_or_else(PoisonError::into_inner).get(&campaign) {
        return Ok(links.clone());
    }
    let mut tx = public.app.db.read().await?;
    let row = campaigns::by_id(&mut tx, i64::from(campaign)).await?;
    drop(tx);
    let frozen = row.as_ref().and_then(|row| serde_json::from_str::<Frozen>(&row.frozen).ok());
    let links = Arc::new(frozen.map(|frozen| frozen.links).unwrap_or_default());
    // A draft may still change.
    if row.is_some_and(|row| row.launched_at.is_some()) {
        let mut known = public.links.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAMPAIGNS {
            known.clear();
        }
        known.insert(campaign, links.clone());
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_link_number_is_written_one_way(text in "\\PC{0,8}|[0-9+ -]{0,6}", number in 1u16..) {
            prop_assert_eq!(link_number(&number.to_string()), Some(number));
            if let Some(read) = link_number(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
            prop_assert_eq!(link_number(&format!("+{number}")), None);
            prop_assert_eq!(link_number(&format!("0{number}")), None);
        }
    }
}
