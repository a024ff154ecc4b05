//! `/s/PRODUCT`: the subscription form; `/c/TOKEN`: the link of the letter that asks for a confirmation.
//!
//! Whoever sends the form learns nothing of the address: the same page for everybody. GET shows, POST does.

use std::net::IpAddr;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};

use super::{
    Public,
    body::{self, Fields},
    language,
    link::{self, Posted, Segment, to_its_end},
    page::{self, Shell},
    unsubscribe::{self, Reader},
};
use crate::{
    domain::{
        address::Address,
        lang::Lang,
        tokens::{Purpose, Token},
        wordings::{self, Shown},
    },
    pipeline::{
        preferences,
        subscribe::{self, LINK_DAYS, Link, Taken},
    },
    store::{self, products::Product},
    web::transport,
};

/// GET and HEAD: the form of a product.
pub async fn show(
    State(public): State<Public>,
    slug: Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let lang = lang(&public, query.as_deref(), &headers);
    match form(&public, slug, lang).await {
        Ok(Some((product, wording))) => page::render(&FormPage::new(&public, lang, product, wording)),
        Ok(None) => page::not_found(&public, &headers),
        Err(error) => page::database_failed(&public, &headers, &error),
    }
}

/// POST: takes the form; a letter asks for the confirmation.
pub async fn ask(
    State(public): State<Public>,
    slug: Segment,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Response> {
    let clients = transport::clients(&public, &request);
    let (headers, fields) = link::form(&public, request).await?;
    let lang = lang(&public, query.as_deref(), &headers);
    let (product, wording) = match form(&public, slug, lang).await {
        Ok(Some(form)) => form,
        Ok(None) => return Err(page::not_found(&public, &headers)),
        Err(error) => return Err(page::database_failed(&public, &headers, &error)),
    };
    if body::one(&fields, "email").is_none() {
        return Err(page::nothing_asked(&public, &headers));
    }
    // Only robots fill in what people do not see: they are told what everybody is told.
    if body::one(&fields, "website").is_some_and(|text| !text.is_empty()) {
        return Ok(page::render(&TakenPage { shell: Shell::new(&public, lang), product: product.name }));
    }
    if !admitted(&public, &clients) {
        return Err(page::too_many(&public, lang));
    }
    match take(&public, &product, &fields, lang).await {
        Ok(Ok(())) => Ok(page::render(&TakenPage { shell: Shell::new(&public, lang), product: product.name })),
        Ok(Err(wrong)) => {
            let form = FormPage {
                wrong: Some(wrong),
                email: email(&fields),
                ..FormPage::new(&public, lang, product, wording)
            };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page::render(&form)).into_response())
        }
        Err(error) => Err(page::database_failed(&public, &headers, &error)),
    }
}

fn admitted(public: &Public, clients: &[IpAddr]) -> bool {
    let now = public.app.now().as_millisecond();
    clients.iter().filter(|client| !public.networks.admit(**client, now)).count() == 0
}

/// What is wrong with a form; nothing that depends on whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Address,
    NotAgreed,
    /// The text has changed since the form was shown.
    OtherText,
}

async fn take(public: &Public, product: &Product, fields: &Fields, lang: Lang) -> store::Result<Result<(), Wrong>> {
    let Ok(address) = Address::parse(email(fields).trim()) else { return Ok(Err(Wrong::Address)) };
    if body::one(fields, "agree") != Some("yes") {
        return Ok(Err(Wrong::NotAgreed));
    }
    // Nothing else is a hash of ours, nor everything else a text to a database.
    let is_hash = |text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let wording = body::one(fields, "wording").filter(is_hash).unwrap_or_default().to_owned();
    let (app, product) = (public.app.clone(), product.clone());
    let taken = to_its_end(async move {
        let mut tx = app.db.write().await?;
        // A form that was copied into another page may speak another language than its reader's browser.
        for lang in [lang, lang.pick(Lang::En, Lang::Fr)] {
            let taken = subscribe::ask(&app, &mut tx, &product, &address, &wording, lang).await?;
            if taken == Taken::Recorded {
                return tx.commit().await.map(|()| Ok(()));
            }
        }
        Ok(Err(Wrong::OtherText))
    });
    taken.await
}

fn email(fields: &Fields) -> String {
    body::one(fields, "email").unwrap_or_default().chars().take(320).collect()
}

/// The product of a form and the text that is agreed to. None: there is no such form.
async fn form(public: &Public, slug: Segment, lang: Lang) -> store::Result<Option<(Product, Shown)>> {
    let Ok(Path(slug)) = slug else { return Ok(None) };
    let mut tx = public.app.db.read().await?;
    let Some(product) = subscribe::product(&mut tx, &slug).await? else { return Ok(None) };
    let wording = subscribe::wording(&public.app, &mut tx, &product, lang).await?;
    Ok(Some((product, wording)))
}

fn lang(public: &Public, query: Option<&str>, headers: &HeaderMap) -> Lang {
    language::choose(query, None, headers, public.app.config.controller.language)
}

/// GET and HEAD of a letter's link: what is about to be confirmed.
pub async fn look(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(token) = public.open(link, Purpose::Confirm) else {
        return page::not_found(&public, &headers);
    };
    let link = async {
        let mut tx = public.app.db.read().await?;
        subscribe::link(&public.app, &mut tx, &token).await
    };
    match link.await {
        Ok(link) => confirm_page(&public, &token, query.as_deref(), &headers, link, false).await,
        Err(error) => page::database_failed(&public, &headers, &error),
    }
}

/// POST: confirms.
pub async fn confirm(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Response> {
    let posted = Posted::read(&public, link, Purpose::Confirm, request).await?;
    let Posted { token, headers, .. } = &posted;
    if posted.one("confirm") != Some("yes") {
        return Err(page::nothing_asked(&public, headers));
    }
    let (app, confirmed) = (public.app.clone(), *token);
    let done = to_its_end(async move {
        let mut tx = app.db.write().await?;
        let link = subscribe::confirm(&app, &mut tx, &confirmed).await?;
        tx.commit().await.map(|()| link)
    });
    match done.await {
        Ok((link, now)) => Ok(confirm_page(&public, token, query.as_deref(), headers, link, now).await),
        Err(error) => Err(page::database_failed(&public, headers, &error)),
    }
}

async fn confirm_page(
    public: &Public,
    token: &Token,
    query: Option<&str>,
    headers: &HeaderMap,
    link: Link,
    confirmed_now: bool,
) -> Response {
    let reader = unsubscribe::look_up(public, &Token { campaign: 0, ..*token }).await;
    // Somebody new has no language yet but that of the form.
    let language = match &link {
        Link::Open(s) | Link::Confirmed(s) if reader.language.is_empty() => s.language.clone(),
        _ => reader.language.clone(),
    };
    let masked = match &link {
        Link::Open(s) => Address::parse(&s.address).ok().map(|a| a.masked()),
        _ => reader.masked.clone(),
    };
    let reader = Reader { language, masked, ..reader };
    let name = reader.product.as_ref().map(|p| p.name.clone()).unwrap_or_default();
    let (state, form) = match &link {
        Link::Open(_) => (Stands::Open, None),
        Link::Confirmed(s) if confirmed_now && !is_sent(public, token, &s.product).await => (Stands::Noted, None),
        Link::Confirmed(_) if confirmed_now => (Stands::Now, None),
        Link::Confirmed(_) => (Stands::Before, None),
        Link::Expired { product } => (Stands::Expired, product.clone()),
    };
    let text = match &link {
        Link::Open(open) => agreed_text(public, &open.product, &open.language, &open.wording).await,
        _ => String::new(),
    };
    page::render(&ConfirmPage {
        shell: reader.shell(public, query, headers),
        preferences: public.sign(&Token { campaign: 0, ..*token }, Purpose::Preferences),
        masked: reader.masked,
        product: name,
        state,
        form,
        text,
    })
}

/// Whether the person would be written to about the product now. A complaint may have come after the letter; where
/// nobody can tell, the page promises nothing else than the letter did.
async fn is_sent(public: &Public, token: &Token, product: &str) -> bool {
    let choices = async {
        let mut tx = public.app.db.read().await?;
        preferences::of_person(&public.app, &mut tx, token.address, token.product).await
    };
    let choices = choices.await.ok().flatten();
    choices.is_none_or(|choices| choices.products.iter().all(|choice| choice.slug != product || choice.on))
}

/// The text that was agreed to, to be read again before it is confirmed.
async fn agreed_text(public: &Public, product: &str, language: &str, hash: &str) -> String {
    let name = wordings::form(product);
    let kept = async {
        let mut tx = public.app.db.read().await?;
        store::wordings::by_hash(&mut tx, &name, language, hash).await
    };
    kept.await.ok().flatten().map(|kept| kept.text).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "public/subscribe.html")]
struct FormPage {
    shell: Shell,
    product: Product,
    wording: Shown,
    postal: String,
    months: u32,
    wrong: Option<Wrong>,
    email: String,
}

impl FormPage {
    fn new(public: &Public, lang: Lang, product: Product, wording: Shown) -> FormPage {
        let config = &public.app.config;
        FormPage {
            shell: Shell::new(public, lang),
            product,
            wording,
            postal: config.controller.postal_address.clone(),
            months: config.rules.retention_months.unwrap_or(36),
            wrong: None,
            email: String::new(),
        }
    }

    fn wrong_address(&self) -> bool {
        self.wrong == Some(Wrong::Address)
    }

    fn not_agreed(&self) -> bool {
        self.wrong == Some(Wrong::NotAgreed)
    }

    fn other_text(&self) -> bool {
        self.wrong == Some(Wrong::OtherText)
    }
}

/// After the form, whoever it was.
#[derive(Template)]
#[template(path = "public/taken.html")]
struct TakenPage {
    shell: Shell,
    product: String,
}

impl TakenPage {
    const DAYS: i64 = LINK_DAYS;
}

/// Where a confirmation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Now,
    /// Confirmed now, and something else stands in the way.
    Noted,
    Before,
    Expired,
}

#[derive(Template)]
#[template(path = "public/confirm.html")]
struct ConfirmPage {
    shell: Shell,
    masked: Option<String>,
    product: String,
    state: Stands,
    /// Slug of the form to begin anew with.
    form: Option<String>,
    text: String,
    preferences: String,
}

impl ConfirmPage {
    fn open(&self) -> bool {
        self.state == Stands::Open
    }

    fn expired(&self) -> bool {
        self.state == Stands::Expired
    }

    fn before(&self) -> bool {
        self.state == Stands::Before
    }

    fn noted(&self) -> bool {
        self.state == Stands::Noted
    }
}

/// A form to be copied into another page: no script, nothing to load, and a text whose hash comes back.
pub fn snippet(base: &str, product: &Product, wording: &Shown) -> String {
    let lang = wording.lang;
    let snippet = Snippet { base, slug: &product.slug, hash: wording.hash(), text: &wording.text, lang };
    snippet.render().unwrap_or_default()
}

#[derive(Template)]
#[template(path = "public/snippet.html")]
struct Snippet<'a> {
    base: &'a str,
    slug: &'a str,
    hash: String,
    text: &'a str,
    lang: Lang,
}
