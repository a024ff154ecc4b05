//! `/p/TOKEN`: what a person receives: products, tracking, language, a pause.
//!
//! The form says what it showed beside what was chosen: only what differs is a change.

use askama::Template;
use axum::{
    extract::{RawQuery, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use jiff::civil::Date;
use tokio::time::timeout;

use super::{
    Public,
    body::{self, Fields},
    desk::Answer,
    link::{Posted, Segment, to_its_end},
    page::{self, Shell},
    unsubscribe::{PATIENCE, Reader},
};
use crate::{
    domain::{
        dates::add_days,
        lang::Lang,
        suppressions::{Origin, SuppressionReason},
        tokens::{Purpose, Token},
        wordings as texts,
    },
    pipeline::{
        preferences::{self, Changes, Choices, MAX_PAUSE_DAYS},
        press::{Press, Wish},
    },
    store,
};

/// GET and HEAD: what holds now.
pub async fn show(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(token) = public.open(link, Purpose::Preferences) else {
        return page::not_found(&public, &headers);
    };
    match look_up(&public, &token).await {
        Ok((reader, choices)) => {
            let shell = reader.shell(&public, query.as_deref(), &headers);
            page::render(&PreferencesPage::new(&public, &token, shell, reader, choices, Told::Nothing))
        }
        Err(error) => page::database_failed(&public, &headers, &error),
    }
}

/// POST: writes what the person changed.
pub async fn save(
    State(public): State<Public>,
    link: Segment,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Response> {
    let Posted { token, headers, fields } = Posted::read(&public, link, Purpose::Preferences, request).await?;
    if body::one(&fields, "save").is_none() {
        return Err(page::nothing_asked(&public, &headers));
    }
    match timeout(PATIENCE, keep(&public, &token, query.as_deref(), &headers, &fields)).await {
        Ok(Ok(response)) => Ok(response),
        failed => {
            let error = failed.ok().and_then(store::Result::err);
            tracing::error!(?error, "the database does not answer; what is refused goes to the desk");
            Ok(refuse_all_the_same(&public, &token, &headers, &fields).await)
        }
    }
}

/// What was switched off is refused, whatever becomes of the rest: it needs no database.
async fn refuse_all_the_same(public: &Public, token: &Token, headers: &HeaderMap, fields: &Fields) -> Response {
    let (changes, pause) = changes(fields, preferences::today(&public.app));
    let off = changes.products.iter().filter(|(slug, on)| !**on && is_slug(slug));
    let mut wishes: Vec<Wish> = off.map(|(slug, _)| Wish::Product(slug.clone())).collect();
    wishes.extend(changes.tracking.filter(|on| !on).map(|_| Wish::Tracking));
    if token.test || wishes.is_empty() {
        return page::unavailable(public, headers);
    }
    let is_all = pause.is_ok()
        && changes.language.is_none()
        && changes.pause.is_none()
        && changes.tracking != Some(true)
        && !changes.products.values().any(|on| *on);
    let press = |wish| Press {
        person: token.address,
        product: token.product,
        campaign: token.campaign,
        wish,
        reason: SuppressionReason::Unsubscribe,
        origin: Origin::Page,
        at: public.app.now().as_millisecond(),
    };
    match public.desk.press(wishes.into_iter().map(press).collect()).await {
        Answer::Failed => page::unavailable(public, headers),
        Answer::Written(_) | Answer::Noted => page::refusals_noted(public, headers, is_all),
    }
}

/// What a slug of ours looks like: the form comes from outside.
fn is_slug(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

async fn keep(
    public: &Public,
    token: &Token,
    query: Option<&str>,
    headers: &HeaderMap,
    fields: &Fields,
) -> store::Result<Response> {
    let (reader, before) = look_up(public, token).await?;
    let shell = reader.shell(public, query, headers);
    let (changes, pause) = changes(fields, preferences::today(&public.app));
    let is_real = !token.test && before.is_some();
    if !is_real || changes == Changes::default() && pause.is_err() {
        let told = if pause.is_ok() { Told::Nothing } else { Told::WrongDate { rest: false } };
        return Ok(answer(&PreferencesPage::new(public, token, shell, reader, before, told)));
    }
    // Whoever chooses a language reads the answer in it.
    let query = query.filter(|_| changes.language.is_none());
    let wanted: Vec<String> = changes.products.iter().filter(|(_, on)| **on).map(|(slug, _)| slug.clone()).collect();
    let (app, person, about, lang) = (public.app.clone(), token.address, (token.product, token.campaign), shell.lang);
    let changed = to_its_end(async move {
        let mut tx = app.db.write().await?;
        let after = preferences::change(&app, &mut tx, person, about, &changes, lang).await?;
        tx.commit().await.map(|()| after)
    });
    let after = changed.await?;
    let still_off = after.iter().flat_map(|c| &c.products).any(|p| !p.on && wanted.contains(&p.slug));
    let told = match pause {
        // What was said besides is no less meant, a no least of all.
        Err(WrongDate) => Told::WrongDate { rest: true },
        Ok(()) if still_off => Told::StillOff,
        Ok(()) => Told::Saved,
    };
    let language = after.as_ref().map(|c| c.language.clone()).unwrap_or_default();
    let reader = Reader { language, ..reader };
    let shell = reader.shell(public, query, headers);
    Ok(answer(&PreferencesPage::new(public, token, shell, reader, after, told)))
}

fn answer(page: &PreferencesPage) -> Response {
    match page.told {
        Told::WrongDate { .. } => (StatusCode::UNPROCESSABLE_ENTITY, page::render(page)).into_response(),
        _ => page::render(page),
    }
}

async fn look_up(public: &Public, token: &Token) -> store::Result<(Reader, Option<Choices>)> {
    let mut tx = public.app.db.read().await?;
    let reader = Reader::load(&mut tx, token).await?;
    let choices = preferences::of_person(&public.app, &mut tx, token.address, token.product).await?;
    Ok((reader, choices))
}

/// A pause that is no date, is over, or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WrongDate;

/// What differs between what the form showed and what was chosen; a pause that is none is not among it.
fn changes(fields: &Fields, today: Date) -> (Changes, Result<(), WrongDate>) {
    let mut changes = Changes::default();
    for (_, shown) in fields.iter().filter(|(name, _)| name == "shown") {
        let Some((slug, was)) = shown.rsplit_once(':') else { continue };
        let on = fields.iter().any(|(name, value)| name == "product" && value == slug);
        if on != (was == "on") {
            changes.products.insert(slug.to_owned(), on);
        }
    }
    if let Some(was) = body::one(fields, "tracking_shown") {
        let on = body::one(fields, "tracking") == Some("yes");
        changes.tracking = Some(on).filter(|on| *on != (was == "on"));
    }
    if let (Some(was), Some(chosen)) = (body::one(fields, "language_shown"), body::one(fields, "language")) {
        changes.language = chosen.parse().ok().filter(|_| chosen != was);
    }
    if let (Some(was), Some(chosen)) = (body::one(fields, "pause_shown"), body::one(fields, "pause")) {
        let chosen = chosen.trim();
        if chosen != was {
            let until = if chosen.is_empty() { Ok(None) } else { read_date(chosen, today).map(Some) };
            changes.pause = until.ok();
            return (changes, until.map(|_| ()));
        }
    }
    (changes, Ok(()))
}

/// `2026-12-31` as browsers send it, or `31/12/2026` where one shows a plain text field.
fn read_date(text: &str, today: Date) -> Result<Date, WrongDate> {
    let date = text.parse::<Date>().or_else(|_| Date::strptime("%d/%m/%Y", text)).map_err(|_| WrongDate)?;
    if (today..=add_days(today, MAX_PAUSE_DAYS)).contains(&date) { Ok(date) } else { Err(WrongDate) }
}

/// What the page says of what was just asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Saved,
    /// Saved, and what was switched on is still not sent: something else stands in the way.
    StillOff,
    /// The pause is none; the rest, if there was any, is saved.
    WrongDate {
        rest: bool,
    },
}

#[derive(Template)]
#[template(path = "public/preferences.html")]
struct PreferencesPage {
    shell: Shell,
    reader: Reader,
    choices: Option<Choices>,
    told: Told,
    intro: String,
    tracking: String,
    today: Date,
    last_day: Date,
    unsubscribe: String,
    why: String,
}

impl PreferencesPage {
    fn new(
        public: &Public,
        token: &Token,
        shell: Shell,
        reader: Reader,
        choices: Option<Choices>,
        told: Told,
    ) -> PreferencesPage {
        let sender = preferences::sender(&public.app, shell.lang);
        let today = preferences::today(&public.app);
        PreferencesPage {
            intro: texts::of_preferences(&sender, shell.lang).text,
            tracking: texts::of_tracking(&sender, shell.lang).text,
            today,
            last_day: add_days(today, MAX_PAUSE_DAYS),
            unsubscribe: public.sign(token, Purpose::Unsubscribe),
            why: public.sign(token, Purpose::Why),
            shell,
            reader,
            choices,
            told,
        }
    }

    fn saved(&self) -> bool {
        matches!(self.told, Told::Saved | Told::StillOff)
    }

    fn still_off(&self) -> bool {
        self.told == Told::StillOff
    }

    fn wrong_date(&self) -> bool {
        matches!(self.told, Told::WrongDate { .. })
    }

    fn all_but_the_date(&self) -> bool {
        self.told == Told::WrongDate { rest: true }
    }

    /// Nothing is on, and that is not all: saying so is another press.
    fn all_off(&self) -> bool {
        self.choices.as_ref().is_some_and(|c| !c.products.is_empty() && c.products.iter().all(|p| !p.on))
    }

    fn pause(&self) -> String {
        let until = self.choices.as_ref().and_then(|c| c.paused_until);
        until.map(|date| date.to_string()).unwrap_or_default()
    }

    /// The pause as people read it.
    fn pause_said(&self) -> String {
        let until = self.choices.as_ref().and_then(|c| c.paused_until);
        let format = self.shell.lang.pick("%d/%m/%Y", "%-d %B %Y");
        until.map(|date| date.strftime(format).to_string()).unwrap_or_default()
    }

    /// The word of the language in the form: ours, or empty for another or none.
    fn language(&self) -> &'static str {
        let tag = self.choices.as_ref().map(|c| c.language.as_str()).unwrap_or_default();
        Lang::from_tag(tag).map_or("", Lang::as_str)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn only_what_differs_from_what_was_shown_is_a_change() {
        let today = date(2026, 11, 18);
        let same = form(&[
            ("shown", "crm:on"),
            ("shown", "erp:off"),
            ("product", "crm"),
            ("product", "hidden"),
            ("tracking_shown", "off"),
            ("language_shown", "fr"),
            ("language", "fr"),
            ("pause_shown", "2026-12-01"),
            ("pause", "2026-12-01"),
        ]);
        assert_eq!(changes(&same, today), (Changes::default(), Ok(())));
        let other = form(&[
            ("shown", "crm:on"),
            ("shown", "erp:off"),
            ("product", "erp"),
            ("tracking_shown", "off"),
            ("tracking", "yes"),
            ("language_shown", ""),
            ("language", "en"),
            ("pause_shown", ""),
            ("pause", "31/12/2026"),
        ]);
        let expected = Changes {
            products: [("crm".to_owned(), false), ("erp".to_owned(), true)].into(),
            tracking: Some(true),
            language: Some(Lang::En),
            pause: Some(Some(date(2026, 12, 31))),
        };
        assert_eq!(changes(&other, today), (expected, Ok(())));
        let ended = form(&[("pause_shown", "2026-12-01"), ("pause", " ")]);
        assert_eq!(changes(&ended, today).0.pause, Some(None));
    }

    #[test]
    fn a_pause_is_a_date_within_a_year() {
        let today = date(2026, 11, 18);
        for wrong in ["2026-11-17", "2028-01-01", "soon", "31-12-2026", "2026-02-30", "9999-99-99"] {
            let asked = form(&[("shown", "crm:on"), ("pause_shown", ""), ("pause", wrong)]);
            let (rest, pause) = changes(&asked, today);
            assert_eq!((rest.pause, pause), (None, Err(WrongDate)), "{wrong}");
            assert_eq!(rest.products.get("crm"), Some(&false), "a no stands");
        }
        assert_eq!(changes(&form(&[("pause_shown", ""), ("pause", "2026-11-18")]), today).1, Ok(()));
    }

    proptest! {
        #[test]
        fn no_form_panics_and_what_is_not_shown_does_not_change(
            fields in proptest::collection::vec(
                (prop_oneof![
                    Just("shown".to_owned()), Just("product".to_owned()), Just("tracking".to_owned()),
                    Just("tracking_shown".to_owned()), Just("pause".to_owned()), Just("pause_shown".to_owned()),
                    Just("language".to_owned()), "\\PC{0,6}"],
                 prop_oneof![Just("crm:on".to_owned()), Just("crm".to_owned()), Just("yes".to_owned()), "\\PC{0,12}"]),
                0..12),
        ) {
            let (changes, pause) = changes(&fields, date(2026, 11, 18));
            let shown = |name: &str| fields.iter().any(|(n, _)| n == name);
            let listed = |slug: &String| {
                fields.iter().any(|(n, v)| n == "shown" && v.rsplit_once(':').is_some_and(|(s, _)| s == slug))
            };
            prop_assert!(changes.products.keys().all(listed));
            prop_assert!(changes.tracking.is_none() || shown("tracking_shown"));
            prop_assert!(changes.pause.is_none() && pause.is_ok() || (shown("pause") && shown("pause_shown")));
        }
    }
}
