//! `/o/TOKEN`: one-click by the mailbox provider (RFC 8058), and the page for the person (rules 8.1).

use std::{sync::atomic::Ordering, time::Duration};

use askama::Template;
use axum::{
    extract::{RawQuery, Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::{
    Answer, Public,
    body::{self, Asked, Choice},
    language,
    link::{Posted, Segment},
    page::{self, Shell},
    receipt, track,
};
use crate::{
    domain::{
        address::Address,
        suppressions::{Origin, SuppressionReason},
        tokens::{Purpose, Token},
    },
    pipeline::press::{self, Press, Wish},
    store::{self, Tx, contacts, products::Product},
    web::transport::Client,
};

/// How long a page waits for the database before it says less.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// GET and HEAD: says what can be stopped, and stops nothing (OC-7).
pub async fn show(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let Some(token) = public.open(link, Purpose::Unsubscribe) else {
        return page::not_found(&public, &headers);
    };
    // Whoever looks at this page and follows links in the same minute is a machine (rules 5.5).
    public.recorder.see(track::looked(&public, &token, client.0));
    let reader = look_up(&public, &token).await;
    page::render(&AskPage {
        shell: reader.shell(&public, query.as_deref(), &headers),
        preferences: reader.masked.is_some().then(|| public.sign(&token, Purpose::Preferences)),
        reader,
    })
}

/// POST: does it, and answers once it is on disk. A link of a test send changes nothing.
pub async fn press(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Response> {
    let Posted { token, headers, fields } = Posted::read(&public, link, Purpose::Unsubscribe, request).await?;
    let Ok(asked) = body::asked(&fields) else {
        return Err(page::nothing_asked(&public, &headers));
    };
    let answer = if token.test { Answer::Noted } else { public.desk.press(vec![wanted(&public, &token, asked)]).await };
    if matches!(answer, Answer::Failed) {
        return Err(page::unavailable(&public, &headers));
    }
    public.counters.unsubscribes.fetch_add(1, Ordering::Relaxed);
    if asked == Asked::OneClick {
        return Ok(one_click_answer(token.test));
    }
    // Pages are for people: what makes them is kept apart, or each provider's request would carry room for it.
    if token.test {
        let reader = Box::pin(look_up(&public, &token)).await;
        let choice = if wants_product(&token, asked) { Choice::Product } else { Choice::Everything };
        let shell = reader.shell(&public, query.as_deref(), &headers);
        return Ok(page::render(&TestPage { shell, choice: choice.as_str() }));
    }
    let pressed = if let Answer::Written(pressed) = answer { pressed.into_iter().next() } else { None };
    let receipt = receipt::of(&token, pressed.as_ref(), wants_product(&token, asked));
    Ok(Box::pin(receipt::answer(&public, &receipt, query.as_deref(), &headers)).await)
}

fn wants_product(token: &Token, asked: Asked) -> bool {
    match asked {
        Asked::OneClick => token.product_scope,
        Asked::Form(choice) => choice == Choice::Product,
    }
}

/// What is to be written down.
fn wanted(public: &Public, token: &Token, asked: Asked) -> Press {
    Press {
        person: token.address,
        product: token.product,
        campaign: token.campaign,
        wish: if wants_product(token, asked) { Wish::ItsProduct } else { Wish::Everything },
        reason: SuppressionReason::Unsubscribe,
        origin: if asked == Asked::OneClick { Origin::OneClick } else { Origin::Page },
        at: public.app.now().as_millisecond(),
    }
}

/// What the provider reads: short, no redirect (OC-5), no cookie.
fn one_click_answer(test: bool) -> Response {
    let text = if test { "Test message: nothing was changed.\n" } else { "Unsubscribed.\n" };
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// What is known of whom a token is about. While the database is away that is little, and one can
/// refuse all the same.
pub(super) async fn look_up(public: &Public, token: &Token) -> Reader {
    let reader = async {
        let mut tx = public.app.db.read().await?;
        Reader::load(&mut tx, token).await
    };
    match tokio::time::timeout(PATIENCE, reader).await {
        Ok(Ok(reader)) => reader,
        failed => {
            let error = failed.ok().and_then(store::Result::err);
            tracing::warn!(?error, "the database does not answer; a page says less");
            Reader::unknown(token)
        }
    }
}

/// What is left of whom and what a token is about.
pub(super) struct Reader {
    /// The address, masked, while the contact exists.
    pub masked: Option<String>,
    /// Language tag; empty when nothing is known.
    pub language: String,
    /// What the link is about, while it exists.
    pub product: Option<Product>,
    /// From a test send.
    pub test: bool,
}

impl Reader {
    pub async fn load(tx: &mut Tx, token: &Token) -> store::Result<Reader> {
        let contact = contacts::by_hash(tx, token.address).await?;
        let masked = contact.as_ref().and_then(|c| Address::parse(&c.address).ok()).map(|a| a.masked());
        let language = contact.map(|c| c.language).unwrap_or_default();
        let product = press::product(tx, token.product, token.campaign).await?;
        Ok(Reader { masked, language, product, test: token.test })
    }

    /// All that can be said while the database is away.
    pub fn unknown(token: &Token) -> Reader {
        Reader { masked: None, language: String::new(), product: None, test: token.test }
    }

    pub fn shell(&self, public: &Public, query: Option<&str>, headers: &HeaderMap) -> Shell {
        let default = public.app.config.controller.language;
        Shell::new(public, language::choose(query, Some(&self.language), headers, default))
    }
}

#[derive(Template)]
#[template(path = "public/unsubscribe.html")]
struct AskPage {
    shell: Shell,
    reader: Reader,
    preferences: Option<String>,
}

/// After a press on a link of a test send.
#[derive(Template)]
#[template(path = "public/test.html")]
struct TestPage {
    shell: Shell,
    choice: &'static str,
}
