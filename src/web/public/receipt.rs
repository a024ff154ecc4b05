//! `/u/TOKEN`: after a press. What was stopped, what may still arrive, why, and taking it back.
//!
//! The token is a receipt: it stands on the page after the press and in no mail, and names the one entry
//! that the press wrote. Whoever holds a forwarded mail can press, but not take back another's press.

use askama::Template;
use axum::{
    extract::{RawQuery, Request, State},
    http::HeaderMap,
    response::Response,
};
use tokio::time::timeout;

use super::{
    Public,
    link::{Posted, Segment},
    page::{self, Shell},
    unsubscribe::{PATIENCE, Reader},
};
use crate::{
    domain::{
        lang::Lang,
        suppressions::Why,
        tokens::{Purpose, Token},
    },
    pipeline::{
        press::Pressed,
        suppress::{self, Undone, Written},
    },
    store::{
        self, deliveries,
        events::{self, Event, EventKind},
        products, suppressions,
    },
};

/// What left so long ago has arrived.
const ON_ITS_WAY_MINUTES: i64 = 30;
/// A reason given later than this is not about the press any more.
const REASON_HOURS: i64 = 24;

/// In the place of the entry: the press waits in the journal, and nobody knows what it will write.
const NOTED: u32 = u32::MAX;

/// The receipt of a press. The entry stands in the place of the campaign; 0 when an older refusal stood.
pub(super) fn of(token: &Token, pressed: Option<&Pressed>, wants_product: bool) -> Token {
    let entry = match pressed.map(|p| p.written) {
        Some(Some(Written::New(id))) => u32::try_from(id).unwrap_or(0),
        Some(Some(Written::Stood(_)) | None) => 0,
        None => NOTED,
    };
    let product = pressed.and_then(|p| p.product.as_ref());
    Token {
        purpose: Purpose::Receipt,
        product: product.map_or(token.product, |p| p.id as u32),
        campaign: entry,
        product_scope: if pressed.is_some() { product.is_some() } else { wants_product },
        ..*token
    }
}

/// The page of a receipt. While the database is away it says less: what was pressed is on disk all the same.
pub(super) async fn answer(public: &Public, receipt: &Token, query: Option<&str>, headers: &HeaderMap) -> Response {
    told(public, receipt, query, headers, false).await
}

async fn told(public: &Public, receipt: &Token, query: Option<&str>, headers: &HeaderMap, too_late: bool) -> Response {
    let (reader, act) = match timeout(PATIENCE, load(public, receipt)).await {
        Ok(Ok(Some(loaded))) => loaded,
        Ok(Ok(None)) => return page::not_found(public, headers),
        failed => {
            let error = failed.ok().and_then(store::Result::err);
            tracing::warn!(?error, "the database does not answer; a page says less");
            (Reader::unknown(receipt), Act::unknown(receipt, public.app.config.controller.language))
        }
    };
    // The press is what led here: another one from this page is of no campaign.
    let link = Token { campaign: 0, ..*receipt };
    page::render(&DonePage {
        shell: reader.shell(public, query, headers),
        link: public.app.keys.tokens.sign(receipt),
        unsubscribe: public.sign(&link, Purpose::Unsubscribe),
        preferences: public.sign(&link, Purpose::Preferences),
        reader,
        act,
        too_late,
    })
}

/// GET: the same page again, in another language perhaps.
pub async fn show(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(token) = public.open(link, Purpose::Receipt) else {
        return page::not_found(&public, &headers);
    };
    answer(&public, &token, query.as_deref(), &headers).await
}

/// POST: takes the press back, or says why.
pub async fn press(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Response> {
    let posted = Posted::read(&public, link, Purpose::Receipt, request).await?;
    let Posted { token, headers, .. } = &posted;
    let undone = match (posted.one("act"), posted.one("reason").map(str::parse::<Why>)) {
        (Some("undo"), _) => undo(&public, token).await,
        (Some("reason"), Some(Ok(why))) => say(&public, token, why).await.map(|()| Undone::Unknown),
        // Nothing chosen is nothing said: the page again.
        (Some("reason"), None) => Ok(Undone::Unknown),
        _ => return Err(page::nothing_asked(&public, headers)),
    };
    match undone {
        Ok(undone) => Ok(told(&public, token, query.as_deref(), headers, undone == Undone::TooLate).await),
        Err(error) => Err(page::database_failed(&public, headers, &error)),
    }
}

async fn undo(public: &Public, receipt: &Token) -> store::Result<Undone> {
    let mut tx = public.app.db.write().await?;
    let undone = suppress::undo(&mut tx, receipt.address, i64::from(receipt.campaign), public.app.now()).await?;
    if undone == Undone::Now {
        tx.commit().await?;
    }
    Ok(undone)
}

/// Records why, once for each press.
async fn say(public: &Public, receipt: &Token, why: Why) -> store::Result<()> {
    let now = public.app.now().as_millisecond();
    let mut tx = public.app.db.write().await?;
    suppress::lock_person(&mut tx, receipt.address).await?;
    let entry = suppressions::by_id(&mut tx, i64::from(receipt.campaign)).await?;
    let Some(entry) = entry.filter(|e| suppress::is_a_press(e, receipt.address)) else { return Ok(()) };
    if now - entry.recorded_at >= REASON_HOURS * 3_600_000 {
        return Ok(());
    }
    let campaign = entry.campaign_id.unwrap_or(0);
    if events::has_since(&mut tx, campaign, EventKind::Why, receipt.address, entry.recorded_at).await? {
        return Ok(());
    }
    let event = Event {
        campaign_id: campaign,
        kind: EventKind::Why,
        class: why.as_str(),
        address_hash: receipt.address,
        at: now,
    };
    events::add(&mut tx, &[event]).await?;
    tx.commit().await
}

/// What is known of a press now. None: the receipt names no press of this person.
async fn load(public: &Public, receipt: &Token) -> store::Result<Option<(Reader, Act)>> {
    let app = &public.app;
    let now = app.now();
    let mut tx = app.db.read().await?;
    let mut reader = Reader::load(&mut tx, &Token { campaign: 0, ..*receipt }).await?;
    let entry = match receipt.campaign {
        0 | NOTED => None,
        id => suppressions::by_id(&mut tx, i64::from(id)).await?,
    };
    if ![0, NOTED].contains(&receipt.campaign)
        && !entry.as_ref().is_some_and(|e| suppress::is_a_press(e, receipt.address))
    {
        return Ok(None);
    }
    let campaign = entry.as_ref().and_then(|e| e.campaign_id).unwrap_or(0);
    let standing = suppressions::standing(&mut tx, &[receipt.address], &[], &[]).await?;
    let older = standing.iter().any(|e| {
        i64::from(receipt.campaign) != e.id
            && (!receipt.product_scope || e.product.is_empty() || Some(&e.product) == slug(&reader))
    });
    let stopped = |product: &str| !receipt.product_scope || slug(&reader).is_some_and(|slug| slug == product);
    let mut on_its_way = Vec::new();
    if entry.as_ref().is_none_or(|e| e.lifted_at.is_none()) {
        let since = now.as_millisecond() - ON_ITS_WAY_MINUTES * 60_000;
        for (slug, at) in deliveries::just_left(&mut tx, receipt.address, campaign, since).await? {
            let name = products::by_slug(&mut tx, &slug).await?.map_or_else(|| slug.clone(), |p| p.name);
            if stopped(&slug) {
                on_its_way.push(OnItsWay { about: name, at: local_time(public, at) });
            }
        }
    }
    let recorded_at = entry.as_ref().map_or(i64::MAX, |e| e.recorded_at);
    let said =
        entry.is_some() && events::has_since(&mut tx, campaign, EventKind::Why, receipt.address, recorded_at).await?;
    let fresh = now.as_millisecond().saturating_sub(recorded_at) < REASON_HOURS * 3_600_000;
    let state = match &entry {
        None if receipt.campaign == NOTED => Stands::Done,
        None => Stands::Stood,
        Some(e) if e.lifted_at.is_some() => Stands::Undone,
        Some(_) => Stands::Done,
    };
    let act = Act {
        state,
        product: reader.product.take().filter(|_| receipt.product_scope).map(|p| p.name),
        on_its_way: Some(on_its_way),
        may_undo: entry.as_ref().is_some_and(|e| suppress::may_be_undone(e, now)),
        asks_why: state == Stands::Done && !said && fresh,
        said,
        older,
    };
    Ok(Some((reader, act)))
}

fn slug(reader: &Reader) -> Option<&String> {
    reader.product.as_ref().map(|p| &p.slug)
}

fn local_time(public: &Public, millis: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    at.to_zoned(public.app.tz().clone()).strftime("%H:%M").to_string()
}

/// Where a press stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It refused.
    Done,
    /// It refused what was refused already.
    Stood,
    /// The person took it back.
    Undone,
}

/// What became of a press.
struct Act {
    state: Stands,
    /// Name of the product, when only that was stopped.
    product: Option<String>,
    /// None: nobody can say now.
    on_its_way: Option<Vec<OnItsWay>>,
    may_undo: bool,
    asks_why: bool,
    said: bool,
    /// Another refusal of the same stands.
    older: bool,
}

impl Act {
    /// All that can be said while the database is away.
    fn unknown(receipt: &Token, lang: Lang) -> Act {
        Act {
            state: Stands::Done,
            product: receipt.product_scope.then(|| lang.pick("ce sujet", "this subject").to_owned()),
            on_its_way: None,
            may_undo: false,
            asks_why: false,
            said: false,
            older: false,
        }
    }
}

/// A message that had left before the press.
struct OnItsWay {
    about: String,
    at: String,
}

#[derive(Template)]
#[template(path = "public/unsubscribed.html")]
struct DonePage {
    shell: Shell,
    reader: Reader,
    act: Act,
    /// Taking it back was asked for when it could not be any more.
    too_late: bool,
    link: String,
    unsubscribe: String,
    preferences: String,
}

impl DonePage {
    fn undone(&self) -> bool {
        self.act.state == Stands::Undone
    }

    fn stood(&self) -> bool {
        self.act.state == Stands::Stood
    }

    fn on_its_way(&self) -> &[OnItsWay] {
        self.act.on_its_way.as_deref().unwrap_or_default()
    }

    fn nothing_else_left(&self) -> bool {
        self.act.on_its_way.as_ref().is_some_and(Vec::is_empty)
    }

    fn reasons(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        Why::ALL.iter().map(|why| (why.as_str(), why.sentence(self.shell.lang)))
    }
}
