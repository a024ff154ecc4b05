//! `/o/TOKEN`: one-click by the mailbox provider (RFC 8058), and the page for the person (rules 8.1).

use std::sync::atomic::Ordering;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::{
    Public,
    body::{self, Asked, BodyError, Choice},
    language,
    page::{self, Shell},
};
use crate::{
    domain::{
        address::Address,
        suppressions::{Origin, SuppressionReason},
        tokens::{Purpose, Token},
    },
    pipeline::suppress::{self, Reach, Refusal, Whom},
    store::{self, Tx, campaigns, contacts, products, products::Product},
};

/// GET and HEAD: says what can be stopped, and stops nothing (OC-7).
pub async fn show(
    State(public): State<Public>,
    token: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(token) = token.ok().and_then(|Path(text)| public.token(&text, Purpose::Unsubscribe)) else {
        return page::not_found(&public, &headers);
    };
    match look_up(&public, &token).await {
        Ok(reader) => page::render(&AskPage { shell: reader.shell(&public, query.as_deref(), &headers), reader }),
        Err(error) => page::database_failed(&public, &headers, &error),
    }
}

/// POST: does it, and answers once it is on disk.
pub async fn press(
    State(public): State<Public>,
    token: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    // The body first, so that a size or a field says nothing about the token.
    let asked = body::read(request).await;
    if asked == Err(BodyError::TooLarge) {
        return page::too_large(&public, &headers);
    }
    let Some(token) = token.ok().and_then(|Path(text)| public.token(&text, Purpose::Unsubscribe)) else {
        return page::not_found(&public, &headers);
    };
    let Ok(asked) = asked else {
        return page::nothing_asked(&public, &headers);
    };
    // In a task of its own: whoever posts and hangs up without waiting has refused all the same.
    let work = tokio::spawn({
        let public = public.clone();
        async move { stop(&public, &token, asked).await }
    });
    let (reader, done) = match work.await {
        Ok(Ok(stopped)) => stopped,
        Ok(Err(error)) => return page::database_failed(&public, &headers, &error),
        Err(_) => return page::failed(&public, &headers),
    };
    public.counters.unsubscribes.fetch_add(1, Ordering::Relaxed);
    match asked {
        Asked::OneClick => one_click_answer(token.test),
        Asked::Form(_) => {
            page::render(&DonePage { shell: reader.shell(&public, query.as_deref(), &headers), reader, done })
        }
    }
}

/// The refusal of a press, committed. A link of a test send changes nothing.
async fn stop(public: &Public, token: &Token, asked: Asked) -> store::Result<(Reader, Done)> {
    if token.test {
        let reader = look_up(public, token).await?;
        let done = Done::of(asked, token, &reader);
        return Ok((reader, done));
    }
    let now = public.app.now();
    let mut tx = public.app.db.write().await?;
    let reader = Reader::load(&mut tx, token).await?;
    let done = Done::of(asked, token, &reader);
    let refusal = Refusal {
        whom: Whom::Person(token.address),
        reach: match (&done, &reader.product) {
            (Done::Product, Some(product)) => Reach::Product(product.slug.clone()),
            _ => Reach::Everything,
        },
        reason: SuppressionReason::Unsubscribe,
        origin: if asked == Asked::OneClick { Origin::OneClick } else { Origin::Page },
        at: Some(now),
        campaign_id: Some(i64::from(token.campaign)).filter(|id| *id != 0),
        note: String::new(),
    };
    suppress::refuse(&mut tx, &public.app.keys.suppression, &refusal, now).await?;
    tx.commit().await?;
    Ok((reader, done))
}

/// What the provider reads: short, no redirect (OC-5), no cookie.
fn one_click_answer(test: bool) -> Response {
    let text = if test { "Test message: nothing was changed.\n" } else { "Unsubscribed.\n" };
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

async fn look_up(public: &Public, token: &Token) -> store::Result<Reader> {
    let mut tx = public.app.db.read().await?;
    Reader::load(&mut tx, token).await
}

/// What is left of whom and what a token is about.
struct Reader {
    /// The address, masked, while the contact exists.
    masked: Option<String>,
    language: String,
    product: Option<Product>,
    test: bool,
}

impl Reader {
    async fn load(tx: &mut Tx, token: &Token) -> store::Result<Reader> {
        let contact = contacts::by_hash(tx, token.address).await?;
        let masked = contact.as_ref().and_then(|c| Address::parse(&c.address).ok()).map(|a| a.masked());
        let language = contact.map(|c| c.language).unwrap_or_default();
        Ok(Reader { masked, language, product: product(tx, token).await?, test: token.test })
    }

    fn shell(&self, public: &Public, query: Option<&str>, headers: &HeaderMap) -> Shell {
        let default = public.app.config.controller.language;
        Shell::new(public, language::choose(query, Some(&self.language), headers, default))
    }
}

/// The product of a token: by its id, else that of its campaign, else none, and then a refusal is of everything.
async fn product(tx: &mut Tx, token: &Token) -> store::Result<Option<Product>> {
    if let Some(product) = products::by_id(tx, i64::from(token.product)).await? {
        return Ok(Some(product));
    }
    match campaigns::by_id(tx, i64::from(token.campaign)).await? {
        Some(campaign) => products::by_slug(tx, &campaign.product).await,
        None => Ok(None),
    }
}

/// What was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Product,
    Everything,
}

impl Done {
    fn of(asked: Asked, token: &Token, reader: &Reader) -> Done {
        let product_only = match asked {
            Asked::OneClick => token.product_scope,
            Asked::Form(choice) => choice == Choice::Product,
        };
        if product_only && reader.product.is_some() { Done::Product } else { Done::Everything }
    }
}

#[derive(Template)]
#[template(path = "public/unsubscribe.html")]
struct AskPage {
    shell: Shell,
    reader: Reader,
}

#[derive(Template)]
#[template(path = "public/unsubscribed.html")]
struct DonePage {
    shell: Shell,
    reader: Reader,
    done: Done,
}

impl DonePage {
    /// The other language's word for what was pressed, so that the page can be asked for again in it.
    fn choice(&self) -> &'static str {
        match self.done {
            Done::Product => Choice::Product.as_str(),
            Done::Everything => Choice::Everything.as_str(),
        }
    }

    fn stopped_product(&self) -> Option<&str> {
        self.reader.product.as_ref().filter(|_| self.done == Done::Product).map(|p| p.name.as_str())
    }
}
