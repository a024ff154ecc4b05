//! `/caught`: the mail that was caught, as its readers would see it.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};

use super::{Demo, lang_of, page};
use crate::{
    domain::{address::Address, campaigns::CampaignKind, lang::Lang},
    mail::{
        catcher::Caught,
        reading::{self, Reading},
    },
    pipeline::explain::{self, Explanation},
    store::{self, campaigns, products},
};

/// Messages on a page.
const PAGE: usize = 40;

/// A message is a document of its own: it runs nothing, loads nothing, sends nothing, and its links open
/// beside it.
const BODY_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
                           style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

#[derive(Template)]
#[template(path = "demo/list.html")]
struct ListPage {
    lang: Lang,
    messages: Vec<Line>,
    found: usize,
    all: usize,
    query: String,
    page: usize,
    pages: usize,
}

struct Line {
    number: usize,
    to: String,
    subject: String,
}

#[derive(Template)]
#[template(path = "demo/message.html")]
struct MessagePage {
    lang: Lang,
    number: usize,
    all: usize,
    reading: Reading,
    source: String,
    /// Path of the one-click link, when it leads to us.
    one_click: Option<String>,
    now: Option<Explanation>,
}

impl ListPage {
    /// The address of another page of the same search.
    fn href(&self, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.query.is_empty() {
            query.append_pair("q", &self.query);
        }
        format!(
            "/caught?{}",
            query.append_pair("page", &page.to_string()).append_pair("lang", self.lang.as_str()).finish()
        )
    }
}

/// GET `/caught?q=TEXT&page=N`: newest last, as they came.
pub async fn list(State(demo): State<Demo>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let lang = lang_of(&demo, query.as_deref(), &headers);
    let asked = |name: &str| {
        let pairs = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
        pairs.into_owned().find(|(n, _)| n == name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let wanted = asked("q").to_lowercase();
    let all = demo.mailbag.messages();
    let found: Vec<&Arc<Caught>> =
        all.iter().filter(|caught| caught.to.iter().any(|to| to.to_lowercase().contains(&wanted))).collect();
    let pages = found.len().div_ceil(PAGE).max(1);
    let page_number = asked("page").parse::<usize>().unwrap_or(1).clamp(1, pages);
    let messages = found.iter().skip((page_number - 1) * PAGE).take(PAGE).map(|caught| line(caught)).collect();
    page(&ListPage {
        lang,
        messages,
        found: found.len(),
        all: demo.mailbag.count(),
        query: asked("q"),
        page: page_number,
        pages,
    })
}

fn line(caught: &Caught) -> Line {
    let reading = reading::read(&caught.bytes).unwrap_or_default();
    Line { number: caught.number, to: caught.to.join(", "), subject: reading.subject }
}

/// GET `/caught/N`: one message, its one-click button, and what is decided about its reader now.
pub async fn show(
    State(demo): State<Demo>,
    number: Result<Path<usize>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let lang = lang_of(&demo, query.as_deref(), &headers);
    let Some((caught, reading)) = number.ok().and_then(|Path(number)| find(&demo, number)) else {
        return (StatusCode::NOT_FOUND, page(&MissingPage { lang })).into_response();
    };
    let base = demo.app.config.public.url.as_deref().unwrap_or_default();
    let one_click = reading.one_click.as_deref().and_then(|url| url.strip_prefix(base)).map(str::to_owned);
    let now = match explanation(&demo, &caught).await {
        Ok(now) => now,
        Err(error) => {
            tracing::error!(%error, "the database fails");
            None
        }
    };
    page(&MessagePage {
        lang,
        number: caught.number,
        all: demo.mailbag.count(),
        source: String::from_utf8_lossy(&caught.bytes).into_owned(),
        reading,
        one_click,
        now,
    })
}

/// GET `/caught/N/body`: the HTML alone, for the frame.
pub async fn body(
    State(demo): State<Demo>,
    number: Result<Path<usize>, axum::extract::rejection::PathRejection>,
) -> Response {
    let Some((_, reading)) = number.ok().and_then(|Path(number)| find(&demo, number)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut html = reading.html;
    // A link must not open inside the frame, where no page of ours may stand.
    let at = html.find("<head>").map_or(0, |at| at + "<head>".len());
    html.insert_str(at, "<base target=\"_blank\">");
    ([(header::CONTENT_SECURITY_POLICY, BODY_POLICY)], Html(html)).into_response()
}

#[derive(Template)]
#[template(path = "demo/missing.html")]
struct MissingPage {
    lang: Lang,
}

fn find(demo: &Demo, number: usize) -> Option<(Arc<Caught>, Reading)> {
    let caught = demo.mailbag.message(number)?;
    let reading = reading::read(&caught.bytes)?;
    Some((caught, reading))
}

/// What is decided now about the person that the message went to.
async fn explanation(demo: &Demo, caught: &Caught) -> store::Result<Option<Explanation>> {
    let Some(address) = caught.to.first().and_then(|to| Address::parse(to).ok()) else { return Ok(None) };
    let mut tx = demo.app.db.read().await?;
    let Some(campaign) = campaigns::all(&mut tx).await?.pop() else { return Ok(None) };
    let Some(product) = products::by_slug(&mut tx, &campaign.product).await? else { return Ok(None) };
    drop(tx);
    let now = demo.app.now();
    explain::explain(&demo.app, &address, &product, CampaignKind::Marketing, now).await.map(Some)
}
