//! How a request reaches a page: by the token of a link of that page's own purpose, and with the form
//! that it posts.

use std::{future::Future, sync::atomic::Ordering};

use axum::{
    extract::{Path, Request, rejection::PathRejection},
    http::HeaderMap,
    response::Response,
};

use super::{
    Public,
    body::{self, BodyError},
    page,
};
use crate::{
    domain::tokens::{Purpose, Token},
    store,
};

/// The segment of the path where a token or slug stands, as the router read it.
pub type Segment = Result<Path<String>, PathRejection>;

/// A form, and the token of the link that it was posted to.
pub struct Posted {
    /// Who posts, about what.
    pub token: Token,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The fields; none when the body was no form.
    pub fields: Vec<(String, String)>,
}

impl Public {
    /// Opens a link of this purpose. Whatever is wrong with it is counted, and nobody is told what it was.
    pub(super) fn open(&self, link: Segment, purpose: Purpose) -> Option<Token> {
        link.ok().and_then(|Path(text)| self.token(&text, purpose))
    }

    /// Reads the token of a link of this purpose.
    pub(super) fn token(&self, text: &str, purpose: Purpose) -> Option<Token> {
        let token = self.app.keys.tokens.verify(text).ok().filter(|token| token.purpose == purpose);
        if token.is_none() {
            self.counters.invalid_tokens.fetch_add(1, Ordering::Relaxed);
        }
        token
    }

    /// The link of another purpose of whoever holds this one: from page to page.
    pub(super) fn sign(&self, token: &Token, purpose: Purpose) -> String {
        self.app.keys.tokens.sign(&Token { purpose, ..*token })
    }
}

impl Posted {
    /// Reads a form and the link of this purpose that it was posted to. Fails with the page that says why.
    pub async fn read(public: &Public, link: Segment, purpose: Purpose, request: Request) -> Result<Posted, Response> {
        let (headers, fields) = form(public, request).await?;
        match public.open(link, purpose) {
            Some(token) => Ok(Posted { token, headers, fields }),
            None => Err(page::not_found(public, &headers)),
        }
    }

    /// The value of a field that stands once.
    pub fn one(&self, name: &str) -> Option<&str> {
        body::one(&self.fields, name)
    }
}

/// Reads a form, before anything else is looked at: its size or its fields say nothing about a token.
/// Fails with the page that says why.
pub async fn form(public: &Public, request: Request) -> Result<(HeaderMap, Vec<(String, String)>), Response> {
    let headers = request.headers().clone();
    match body::fields(request).await {
        Err(BodyError::TooLarge) => Err(page::too_large(public, &headers)),
        fields => Ok((headers, fields.unwrap_or_default())),
    }
}

/// Does the work in a task of its own: whoever posts and hangs up without waiting has asked all the same.
/// Work that panics has crashed.
pub async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = store::Result<T>> + Send + 'static,
) -> store::Result<T> {
    tokio::spawn(work).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
