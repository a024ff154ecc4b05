//! `/v/TOKEN`: the message in a browser, as it was sent to that person, from the frozen content.
//!
//! No pixel, and nothing of others: pictures from elsewhere are loaded only when the reader asks for
//! them. The links are those of the mail.

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};

use super::{Public, link::Segment, page, unsubscribe::Reader};
use crate::{
    domain::{
        eligibility::Basis,
        lang::Lang,
        tokens::{Purpose, Token},
    },
    pipeline::{
        compile::Compiled,
        deliver::prepare::{self, Copy, Permit},
    },
    store::{self, campaigns, contacts, deliveries},
};

/// The styles of the message, which stand in it; no script, no form, no frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// The same with pictures, for whoever asked for them.
const POLICY_WITH_PICTURES: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data: https:; \
                                    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// GET and HEAD.
pub async fn show(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(token) = public.open(link, Purpose::View) else {
        return page::not_found(&public, &headers);
    };
    match load(&public, &token).await {
        Ok((reader, message)) => {
            let shell = reader.shell(&public, query.as_deref(), &headers);
            let Some(html) = message else { return page::no_longer_there(shell) };
            let asked = query.as_deref().unwrap_or_default();
            let pictures =
                form_urlencoded::parse(asked.as_bytes()).any(|(name, value)| name == "images" && value == "1");
            let html = html.replacen("<html>", &format!("<html lang=\"{}\">", shell.lang), 1);
            let html = if pictures { html } else { with_offer(html, shell.lang) };
            let policy = HeaderValue::from_static(if pictures { POLICY_WITH_PICTURES } else { POLICY });
            ([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
        }
        Err(error) => page::database_failed(&public, &headers, &error),
    }
}

/// The message, if everything that it was made of is still there.
async fn load(public: &Public, token: &Token) -> store::Result<(Reader, Option<String>)> {
    let app = &public.app;
    let mut tx = app.db.read().await?;
    let reader = Reader::load(&mut tx, token).await?;
    let campaign = campaigns::by_id(&mut tx, i64::from(token.campaign)).await?;
    let contact = contacts::by_hash(&mut tx, token.address).await?;
    let delivery = deliveries::of_person(&mut tx, i64::from(token.campaign), token.address).await?;
    let basis = match delivery.and_then(|d| d.code.parse::<Basis>().ok()) {
        // A test or preview is of nobody's delivery.
        None if token.test => Some(Basis::Consent),
        basis => basis,
    };
    let (Some(campaign), Some(contact), Some(basis)) = (campaign, contact, basis) else { return Ok((reader, None)) };
    let copy = if token.test { Copy::Preview } else { Copy::Real };
    let made = match Compiled::of_row(app, &mut tx, &campaign).await {
        Ok(compiled) => prepare::message(app, &compiled, &contact, &Permit::untracked(basis), copy, app.now()).ok(),
        Err(_) => None,
    };
    Ok((reader, made.map(|made| made.rendered.html)))
}

/// The message with an offer to show its pictures, where it has any from elsewhere.
fn with_offer(html: String, lang: Lang) -> String {
    let small = html.to_ascii_lowercase();
    let from_elsewhere = small.contains("src=\"http") || small.contains("src='http") || small.contains("url(");
    let body = small.find("<body").and_then(|at| small[at..].find('>').map(|end| at + end + 1));
    let (true, Some(at)) = (from_elsewhere, body) else { return html };
    let offer = format!(
        "<p lang=\"{lang}\" style=\"margin: 0; padding: 10px 16px; text-align: center; font: 15px sans-serif; \
         background: #eef5f2; color: #23211e;\">{} <a href=\"?images=1\" style=\"color: #1f5f4f;\">{}</a></p>",
        lang.pick(
            "Les images, qui viennent d’ailleurs, ne sont pas affichées.",
            "Pictures come from elsewhere and are not shown."
        ),
        lang.pick("Les afficher", "Show them"),
    );
    format!("{}{offer}{}", &html[..at], &html[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_from_elsewhere_are_offered_where_the_message_begins() {
        let plain = "<html><BODY class=\"x\"><p>é</p></body></html>";
        assert_eq!(with_offer(plain.to_owned(), Lang::Fr), plain);
        let with = with_offer(plain.replace("é", "<img src=\"https://a.example/b.png\">"), Lang::En);
        assert!(with.starts_with("<html><BODY class=\"x\"><p lang=\"en\""), "{with}");
        assert!(with.contains("href=\"?images=1\""));
    }
}
