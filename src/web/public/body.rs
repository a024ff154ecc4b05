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
pub const LIMIT: usize = 10_000;

/// Read and thrown away before a body is refused as too large: whoever is still sending would see a
/// broken connection instead of the answer.
const PATIENCE: usize = 1024 * 1024;

/// Fields of a form, in their order.
pub type Fields = [(String, String)];

/// The fields of a form, in either encoding (OC-3).
pub async fn fields(request: Request) -> Result<Vec<(String, String)>, BodyError> {
    let (parts, body) = request.into_parts();
    let bytes = collect(&parts.headers, body).await?;
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?").to_owned());
    let essence = kind.as_deref().map(|k| k.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match essence.as_deref() {
        // RFC 8058 names the two encodings; a client that names none sends the simpler one.
        None | Some("" | "application/x-www-form-urlencoded") => {
            Ok(form_urlencoded::parse(&bytes).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
        }
        // Kept apart: its state is several times that of all else, and every request would carry room for it.
        Some("multipart/form-data") => Box::pin(multipart(Request::from_parts(parts, Body::from(bytes)))).await,
        Some(_) => Err(BodyError::Nothing),
    }
}

/// The value of a field that stands once.
pub fn one<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    let mut values = fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
    values.next().filter(|_| values.next().is_none())
}

/// What the fields ask for.
pub fn asked(fields: &Fields) -> Result<Asked, BodyError> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_now(kind: Option<&str>, body: Vec<u8>) -> Result<Asked, BodyError> {
        let mut request = Request::builder().method("POST").uri("/o/x");
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Body::from(body)).unwrap();
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(fields(request))
            .and_then(|fields| asked(&fields))
    }

    /// Percent-decoding written another way than the product's, to judge it by.
    fn decoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let [first, tail @ ..] = rest {
            rest = tail;
            let hex = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
            match (first, tail) {
                (b'+', _) => out.push(b' '),
                (b'%', [a, b, after @ ..]) if hex(*a).is_some() && hex(*b).is_some() => {
                    out.push(hex(*a).unwrap() * 16 + hex(*b).unwrap());
                    rest = after;
                }
                _ => out.push(*first),
            }
        }
        out
    }

    fn holds_the_field(body: &[u8]) -> bool {
        body.split(|b| *b == b'&').any(|pair| {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let value = decoded(pair.get(at + 1..).unwrap_or_default());
            let value = String::from_utf8_lossy(&value).into_owned();
            decoded(&pair[..at]) == b"List-Unsubscribe" && value.trim() == "One-Click"
        })
    }

    #[test]
    fn the_exact_field_in_either_encoding_is_a_one_click() {
        let multipart = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b\r\n\
            Content-Disposition: form-data; name=\"List-Unsubscribe\"\r\nContent-Type: text/plain\r\n\r\nOne-Click\r\n--b--\r\n";
        for (kind, body) in [
            (Some("application/x-www-form-urlencoded"), "List-Unsubscribe=One-Click"),
            (Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8"), "a=b&List%2DUnsubscribe=One-Click\r\n"),
            (None, "List-Unsubscribe=One-Click"),
            (Some("multipart/form-data; boundary=b"), multipart),
            (Some("Multipart/Form-Data; boundary=\"b\""), multipart),
        ] {
            assert_eq!(read_now(kind, body.into()), Ok(Asked::OneClick), "{kind:?} {body}");
        }
    }

    #[test]
    fn a_broken_multipart_asks_for_nothing() {
        for body in ["", "--b", "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Cl"] {
            assert_eq!(read_now(Some("multipart/form-data; boundary=b"), body.into()), Err(BodyError::Nothing));
        }
    }

    proptest! {
        #[test]
        fn no_body_panics_and_only_the_exact_field_suppresses(
            kind in prop_oneof![
                Just(None), Just(Some("application/x-www-form-urlencoded")), Just(Some("multipart/form-data; boundary=b")),
                Just(Some("multipart/form-data")), Just(Some("text/plain")), Just(Some(""))],
            mut body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                Just(b"x=1&List-Unsubscribe=One-Click&y".to_vec()),
                Just(b"List%2dUnsubscribe=+One%2DClick".to_vec()),
                Just(b"--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n".to_vec())],
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            for (at, byte) in edits {
                if !body.is_empty() {
                    let at = at.index(body.len());
                    body[at] = byte;
                }
            }
            let asked = read_now(kind, body.clone());
            if kind.is_none_or(|k| k.is_empty() || k.ends_with("urlencoded")) {
                prop_assert_eq!(asked == Ok(Asked::OneClick), holds_the_field(&body));
            } else if asked == Ok(Asked::OneClick) {
                let text = String::from_utf8_lossy(&body).into_owned();
                prop_assert!(kind.is_some_and(|k| k.contains("boundary")));
                prop_assert!(text.contains("List-Unsubscribe") && text.contains("One-Click"));
            }
        }
    }
}
