//! `/a/TOKEN`: the answer to the question of a re-permission. GET and HEAD show the question and
//! both answers, alike; a POST gives one. A yes is a consent, a no a refusal of everything (RP-8).

use askama::Template;
use axum::{
    extract::{RawQuery, Request, State},
    http::HeaderMap,
    response::Response,
};

use super::{
    Answer as Handed, Public,
    body::Fields,
    language,
    link::{Posted, Segment, to_its_end},
    page::{self, Shell},
};
use crate::{
    domain::{
        address::Address,
        suppressions::{Origin, SuppressionReason},
        tokens::{Purpose, Token},
        words::words,
    },
    pipeline::{
        press::{self, Press, Wish},
        repermission::answers::{self, Yes},
    },
    store::{self, contacts},
};

words! {
    /// What the person pressed.
    Answer {
        /// Go on.
        Yes = "yes",
        /// Stop.
        No = "no",
    }
}

/// GET and HEAD: the question, whatever the link said. Nothing changes.
pub async fn show(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(token) = public.open(link, Purpose::Answer) else {
        return page::not_found(&public, &headers);
    };
    let asked = Asked::load(&public, &token).await.unwrap_or_else(|| Asked::unknown(&token));
    let shell = asked.shell(&public, query.as_deref(), &headers);
    page::render(&QuestionPage { shell, asked })
}

/// POST: records the answer, and says so once it is on disk. A link of a test changes nothing.
pub async fn press(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Response> {
    let Posted { token, headers, fields } = Posted::read(&public, link, Purpose::Answer, request).await?;
    let Some(answer) = one_answer(&fields) else {
        return Err(page::nothing_asked(&public, &headers));
    };
    let said = match answer {
        _ if token.test => Said::Test,
        Answer::No => {
            if matches!(public.desk.press(vec![refusal(&public, &token)]).await, Handed::Failed) {
                return Err(page::unavailable(&public, &headers));
            }
            Said::No
        }
        Answer::Yes => match yes(&public, &token).await {
            Ok(Yes::Recorded | Yes::Known) => Said::Yes,
            Ok(Yes::Gone | Yes::NoProduct) => Said::Nothing,
            Err(error) => return Err(page::database_failed(&public, &headers, &error)),
        },
    };
    let asked = Asked::load(&public, &token).await.unwrap_or_else(|| Asked::unknown(&token));
    let shell = asked.shell(&public, query.as_deref(), &headers);
    Ok(page::render(&AnsweredPage { shell, asked, said }))
}

/// The one answer that the form gives; two are none.
fn one_answer(fields: &Fields) -> Option<Answer> {
    let mut answers = fields.iter().filter(|(name, _)| name == "answer").map(|(_, value)| value.parse::<Answer>());
    match (answers.next(), answers.next()) {
        (Some(Ok(answer)), None) => Some(answer),
        _ => None,
    }
}

/// The no, as every refusal is handed in: it survives the database being away.
fn refusal(public: &Public, token: &Token) -> Press {
    Press {
        person: token.address,
        product: token.product,
        campaign: token.campaign,
        wish: Wish::Everything,
        reason: SuppressionReason::Objection,
        origin: Origin::Page,
        at: public.app.now().as_millisecond(),
    }
}

async fn yes(public: &Public, token: &Token) -> store::Result<Yes> {
    let (app, token) = (public.app.clone(), *token);
    to_its_end(async move { answers::yes(&app, token.address, token.product, token.campaign).await }).await
}

/// Who was asked, and about what.
struct Asked {
    masked: Option<String>,
    language: String,
    product: Option<String>,
    test: bool,
}

impl Asked {
    async fn load(public: &Public, token: &Token) -> Option<Asked> {
        let loading = async {
            let mut tx = public.app.db.read().await?;
            let contact = contacts::by_hash(&mut tx, token.address).await?;
            let product = press::product(&mut tx, token.product, token.campaign).await?;
            store::Result::Ok((contact, product))
        };
        let (contact, product) = tokio::time::timeout(std::time::Duration::from_secs(3), loading).await.ok()?.ok()?;
        let masked = contact.as_ref().and_then(|c| Address::parse(&c.address).ok()).map(|a| a.masked());
        Some(Asked {
            masked,
            language: contact.map(|c| c.language).unwrap_or_default(),
            product: product.map(|p| p.name),
            test: token.test,
        })
    }

    fn unknown(token: &Token) -> Asked {
        Asked { masked: None, language: String::new(), product: None, test: token.test }
    }

    fn shell(&self, public: &Public, query: Option<&str>, headers: &HeaderMap) -> Shell {
        let default = public.app.config.controller.language;
        Shell::new(public, language::choose(query, Some(&self.language), headers, default))
    }
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    No,
    Test,
    /// A yes that nothing could be recorded of.
    Nothing,
}

#[derive(Template)]
#[template(path = "public/question.html")]
struct QuestionPage {
    shell: Shell,
    asked: Asked,
}

#[derive(Template)]
#[template(path = "public/answered.html")]
struct AnsweredPage {
    shell: Shell,
    asked: Asked,
    said: Said,
}

impl AnsweredPage {
    /// The other language is asked for with the same answer: it was given already, and stays one.
    fn answer(&self) -> &'static str {
        if self.said == Said::No { Answer::No.as_str() } else { Answer::Yes.as_str() }
    }
}
