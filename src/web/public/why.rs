//! `/w/TOKEN`: why did I get this? And what the person may ask of the sender (GD-3, GD-4).
//!
//! A mail may have been forwarded: the page shows the sentence that the message carried, the source, the
//! date and the sender, and nothing else of the person. What is asked for is recorded; nothing is shown
//! or sent for it.

use askama::Template;
use axum::{
    extract::{RawQuery, Request, State},
    http::HeaderMap,
    response::Response,
};
use jiff::{Timestamp, civil::Date};

use super::{
    Public, body,
    link::{Posted, Segment, to_its_end},
    page::{self, Shell},
    unsubscribe::Reader,
};
use crate::{
    domain::{
        campaigns::CampaignKind,
        contacts::SourceKind,
        content::{self, Frozen},
        dates::Dated,
        eligibility::Basis,
        lang::Lang,
        requests::{MAX_CHARS, RequestKind},
        tokens::{Purpose, Token},
    },
    pipeline::requests::{self, Asked},
    store::{self, campaigns, contacts, deliveries},
};

/// GET and HEAD: the answer to the question.
pub async fn show(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(token) = public.open(link, Purpose::Why) else {
        return page::not_found(&public, &headers);
    };
    answer(&public, &token, query.as_deref(), &headers, None).await
}

/// POST: records what the person asks for.
pub async fn ask(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Response> {
    let Posted { token, headers, fields } = Posted::read(&public, link, Purpose::Why, request).await?;
    let Some(Ok(kind)) = body::one(&fields, "request").map(str::parse::<RequestKind>) else {
        return Err(page::nothing_asked(&public, &headers));
    };
    let text = body::one(&fields, "text").unwrap_or_default().to_owned();
    if kind == RequestKind::Correction && text.trim().is_empty() {
        return Ok(answer(&public, &token, query.as_deref(), &headers, Some(Told::Empty)).await);
    }
    if token.test {
        return Ok(answer(&public, &token, query.as_deref(), &headers, None).await);
    }
    let text = if kind == RequestKind::Correction { text } else { String::new() };
    let app = public.app.clone();
    let recorded = to_its_end(async move {
        let mut tx = app.db.write().await?;
        let campaign = Some(i64::from(token.campaign)).filter(|id| *id != 0);
        let asked = requests::ask(&app, &mut tx, token.address, campaign, kind, &text).await?;
        tx.commit().await.map(|()| asked)
    });
    let told = match recorded.await {
        Ok(Asked::New(_) | Asked::Waits(_)) => Some(Told::Recorded(kind)),
        Ok(Asked::Nobody) => None,
        Err(error) => return Err(page::database_failed(&public, &headers, &error)),
    };
    Ok(answer(&public, &token, query.as_deref(), &headers, told).await)
}

async fn answer(
    public: &Public,
    token: &Token,
    query: Option<&str>,
    headers: &HeaderMap,
    told: Option<Told>,
) -> Response {
    match load(public, token).await {
        Ok((reader, mut known)) => {
            // Whoever got the mail passed on need not know what its owner asked for.
            if told.is_none() {
                known.waiting.clear();
            }
            let shell = reader.shell(public, query, headers);
            let said = known.said(token, &reader, shell.lang);
            page::render(&WhyPage {
                unsubscribe: public.sign(token, Purpose::Unsubscribe),
                preferences: public.sign(token, Purpose::Preferences),
                postal: public.app.config.controller.postal_address.clone(),
                shell,
                reader,
                known,
                said,
                told,
            })
        }
        Err(error) => page::database_failed(public, headers, &error),
    }
}

/// What is known of one message to one person.
struct Known {
    /// There is a contact.
    on_file: bool,
    frozen: Option<Frozen>,
    basis: Option<Basis>,
    /// When it was submitted.
    sent_on: Option<Date>,
    source: String,
    source_kind: SourceKind,
    collected_on: Option<Date>,
    /// What waits for an answer: kind and last day.
    waiting: Vec<(RequestKind, String)>,
}

impl Known {
    /// Why the message was sent, in one sentence.
    fn said(&self, token: &Token, reader: &Reader, lang: Lang) -> String {
        if let (Some(frozen), Some(basis)) = (&self.frozen, self.basis) {
            return content::reason(frozen, basis, lang);
        }
        let about = reader.product.as_ref().map(|p| p.name.as_str());
        match (token.test, about) {
            (true, _) => lang.pick(
                "Ce lien vient d’un message d’essai : aucun envoi ne vous concerne.".to_owned(),
                "This link comes from a test message: nothing was sent to you.".to_owned(),
            ),
            (false, Some(product)) => lang.pick(
                format!("Ce message était à propos de {product}. Nous n’avons plus le détail de cet envoi."),
                format!("This message was about {product}. We no longer hold the details of it."),
            ),
            (false, None) => lang.pick(
                "Nous n’avons plus le détail de cet envoi.".to_owned(),
                "We no longer hold the details of this message.".to_owned(),
            ),
        }
    }
}

async fn load(public: &Public, token: &Token) -> store::Result<(Reader, Known)> {
    let app = &public.app;
    let local = |millis: i64| Timestamp::from_millisecond(millis).map(|at| at.to_zoned(app.tz().clone()).date()).ok();
    let mut tx = app.db.read().await?;
    let reader = Reader::load(&mut tx, token).await?;
    let campaign = campaigns::by_id(&mut tx, i64::from(token.campaign)).await?;
    let delivery = deliveries::of_person(&mut tx, i64::from(token.campaign), token.address).await?;
    let contact = contacts::by_hash(&mut tx, token.address).await?;
    let waiting = requests::waiting(&mut tx, token.address).await?;
    let said = |date: &str| date.parse::<Date>().ok();
    let known = Known {
        on_file: contact.is_some(),
        frozen: campaign.and_then(|c| serde_json::from_str(&c.frozen).ok()),
        basis: delivery.as_ref().and_then(|d| d.code.parse().ok()),
        sent_on: delivery.and_then(|d| d.submitted_at).and_then(local),
        source_kind: contact.as_ref().map_or(SourceKind::Unknown, |c| c.source_kind),
        collected_on: contact
            .as_ref()
            .and_then(|c| Dated::read(&c.collected_at).known())
            .map(|when| when.local_date(app.tz())),
        source: contact.map(|c| c.source).unwrap_or_default(),
        waiting: waiting.into_iter().filter_map(|r| Some((r.kind, said(&r.due_on)?.to_string()))).collect(),
    };
    Ok((reader, known))
}

/// What the page says of what was just asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Recorded(RequestKind),
    /// A correction without a word.
    Empty,
}

#[derive(Template)]
#[template(path = "public/why.html")]
struct WhyPage {
    shell: Shell,
    reader: Reader,
    known: Known,
    said: String,
    told: Option<Told>,
    unsubscribe: String,
    preferences: String,
    postal: String,
}

impl WhyPage {
    const MAX: usize = MAX_CHARS;

    fn recorded(&self) -> Option<&'static str> {
        match self.told {
            Some(Told::Recorded(kind)) => Some(kind.name(self.shell.lang)),
            _ => None,
        }
    }

    fn empty(&self) -> bool {
        self.told == Some(Told::Empty)
    }

    /// What waits, as a sentence names it, and until when.
    fn waiting(&self) -> Vec<(&'static str, String)> {
        let lang = self.shell.lang;
        self.known.waiting.iter().map(|(kind, due)| (kind.name(lang), long(due, lang))).collect()
    }

    fn waits(&self, word: &str) -> bool {
        self.known.waiting.iter().any(|(kind, _)| kind.as_str() == word)
    }

    fn source(&self) -> String {
        content::source(&self.known.source, self.known.source_kind, self.shell.lang)
    }

    fn date(&self, date: &Option<Date>) -> String {
        date.map(|date| long(&date.to_string(), self.shell.lang)).unwrap_or_default()
    }

    /// Who sent it: the name and address that the message bore.
    fn from(&self) -> String {
        match &self.known.frozen {
            Some(frozen) if frozen.sender_name.is_empty() => frozen.sender_email.clone(),
            Some(frozen) => format!("{} ({})", frozen.sender_name, frozen.sender_email),
            None => String::new(),
        }
    }

    fn is_advertising(&self) -> bool {
        self.known.frozen.as_ref().is_none_or(|frozen| frozen.kind != CampaignKind::Service)
    }
}

/// A date as people read it.
fn long(date: &str, lang: Lang) -> String {
    let format = lang.pick("%d/%m/%Y", "%-d %B %Y");
    date.parse::<Date>().map_or_else(|_| date.to_owned(), |date| date.strftime(format).to_string())
}
