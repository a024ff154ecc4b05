//! The body of a POST, read within bounds.
//!
//! Only the exact field of RFC 8058 is a one-click refusal, and only the exact words of our form are
//! a choice; everything else is nothing.

use std::{future::poll_fn, pin::Pin};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Multipart, Request},
    http::{HeaderMap, header},
};

use crate::domain::words::words;

words! {
    /// What the person pressed on our page.
    Choice {
        /// Only this product.
        Product = "product",
        /// Everything from the sender.
        Everything = "everything",
    }
}

/// What a POST asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// `List-Unsubscribe=One-Click` (RFC 8058 section 3.2).
    OneClick,
    /// A button of the page.
    Form(Choice),
}

/// Why a body asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// Over [`LIMIT`] (U12).
    TooLarge,
    /// Neither the one-click field nor one choice of the form (U07).
    Nothing,
}

/// 10 kB; what is asked for takes 26 bytes.
pub const LIMIT: usize = 10 * 1024;

/// Read and thrown away before a body is refused as too large: whoever is still sending would see a
/// broken connection instead of the answer.
const PATIENCE: usize = 1024 * 1024;

/// Reads what a POST asks for, in either encoding (OC-3).
pub async fn read(request: Request) -> Result<Asked, BodyError> {
    let (parts, body) = request.into_parts();
    let bytes = collect(&parts.headers, body).await?;
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?").to_owned());
    let essence = kind.as_deref().map(|k| k.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let fields = match essence.as_deref() {
        // RFC 8058 names the two encodings; a client that names none sends the simpler one.
        None | Some("" | "application/x-www-form-urlencoded") => {
            form_urlencoded::parse(&bytes).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
        }
        Some("multipart/form-data") => multipart(Request::from_parts(parts, Body::from(bytes))).await?,
        Some(_) => return Err(BodyError::Nothing),
    };
    asked(&fields)
}

fn asked(fields: &[(String, String)]) -> Result<Asked, BodyError> {
    if fields.iter().any(|(name, value)| name == "List-Unsubscribe" && value.trim() == "One-Click") {
        return Ok(Asked::OneClick);
    }
    let mut choices = fields.iter().filter(|(name, _)| name == "choice").map(|(_, value)| value.parse::<Choice>());
    match (choices.next(), choices.next()) {
        (Some(Ok(choice)), None) => Ok(Asked::Form(choice)),
        _ => Err(BodyError::Nothing),
    }
}

async fn multipart(request: Request) -> Result<Vec<(String, String)>, BodyError> {
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| BodyError::Nothing)?;
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|_| BodyError::Nothing)? {
        let name = field.name().unwrap_or_default().to_owned();
        fields.push((name, field.text().await.map_err(|_| BodyError::Nothing)?));
    }
    Ok(fields)
}

async fn collect(headers: &HeaderMap, mut body: Body) -> Result<Vec<u8>, BodyError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    if announced.is_some_and(|length: usize| length > PATIENCE) {
        return Err(BodyError::TooLarge);
    }
    let (mut bytes, mut seen) = (Vec::new(), 0);
    while let Some(data) = next_data(&mut body).await? {
        seen += data.len();
        if seen <= LIMIT {
            bytes.extend_from_slice(&data);
        } else if seen > PATIENCE {
            break;
        }
    }
    if seen <= LIMIT { Ok(bytes) } else { Err(BodyError::TooLarge) }
}

/// The next piece of the body; one that breaks off asks for nothing.
async fn next_data(body: &mut Body) -> Result<Option<Bytes>, BodyError> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Nothing),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
