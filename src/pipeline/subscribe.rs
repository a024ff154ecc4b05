//! Double opt-in: a form is sent, a letter asks for a confirmation, a page is pressed (GD-2, RP-8).
//!
//! Whoever sends the form learns nothing of the address: the same is done and said for everybody. The
//! letter is sent by a worker. A complained or dead address gets none, and none gets more than a few.
//! The confirmation is a yes with double opt-in proof: it lifts an earlier refusal of that product only.

use jiff::Timestamp;

use super::{
    import::merge::stranger,
    preferences, suppress,
    system_mail::{self, Author, Letter, LetterError, Sent},
    wordings,
};
use crate::{
    app::App,
    domain::{
        address::{Address, AddressHash},
        contacts::SourceKind,
        import::roles,
        lang::{Lang, french_of},
        suppressions::{Scope, SuppressionReason},
        templates::escape_html,
        tokens::{Purpose, Token},
        wordings::{self as texts, Shown},
    },
    store::{
        self, Tx,
        consents::{self, Consent},
        contacts::{self, Contact},
        products::{self, Product},
        subscriptions::{self, Asked, LetterState, Subscription},
        suppressions::Entry,
    },
};

/// How long a link of a letter works.
pub const LINK_DAYS: i64 = 7;
/// Between two letters to one address.
const LETTER_MINUTES: i64 = 10;
/// Letters to one address within a day, at most.
const LETTERS_A_DAY: i64 = 3;
/// Tries of a letter that the server does not take now.
const TRIES: i64 = 6;
/// Letters that a worker takes at once.
const TOGETHER: i64 = 20;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// The product of a form that everybody may see.
pub async fn product(tx: &mut Tx, slug: &str) -> store::Result<Option<Product>> {
    if slug.contains('\0') {
        return Ok(None);
    }
    Ok(products::by_slug(tx, slug).await?.filter(|p| p.public))
}

/// The text of a product's form that is in force.
pub async fn wording(app: &App, tx: &mut Tx, product: &Product, lang: Lang) -> store::Result<Shown> {
    wordings::in_force(tx, own_text(app, product, lang)).await
}

fn own_text(app: &App, product: &Product, lang: Lang) -> Shown {
    texts::of_form(&product.slug, &product.name, &preferences::sender(app, lang), lang)
}

/// What became of a form. It says nothing of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Recorded; a letter follows where one may.
    Recorded,
    /// The text that was agreed to is none of ours: to be shown again.
    OtherText,
}

/// Takes a form: who, about what, and the hash of the text that was agreed to.
pub async fn ask(
    app: &App,
    tx: &mut Tx,
    product: &Product,
    address: &Address,
    wording: &str,
    lang: Lang,
) -> store::Result<Taken> {
    let now = app.now();
    let person = app.keys.suppression.hash(address);
    suppress::lock_person(tx, person).await?;
    let Some(shown) = wordings::shown_once(tx, own_text(app, product, lang), wording).await? else {
        return Ok(Taken::OtherText);
    };
    let kept = wordings::keep(tx, &shown, now).await?;
    // Both are asked for everybody, so that no answer takes longer than another.
    let unwelcome = unwelcome(app, tx, address, &product.slug).await?;
    let enough = has_enough(tx, person, now).await?;
    let asked = Asked {
        product: &product.slug,
        address: address.as_str(),
        address_hash: person,
        language: lang.as_str(),
        wording: &kept.hash,
        mail: if unwelcome || enough { LetterState::Withheld } else { LetterState::Waiting },
    };
    subscriptions::add(tx, &asked, now.as_millisecond()).await?;
    Ok(Taken::Recorded)
}

/// Whether no letter about the product goes to the address, whatever is asked: it complained, is dead, or an
/// operator closed it. What the person refused is no reason: this is how they come back (SUP-7).
async fn unwelcome(app: &App, tx: &mut Tx, address: &Address, product: &str) -> store::Result<bool> {
    let found = suppress::check(tx, &app.keys.suppression, address, app.now()).await?;
    // Only what an operator wrote ends at the product that it names (SUP-9, SUP-10).
    let of_another = |entry: &Entry| {
        (entry.reason, entry.scope) == (SuppressionReason::Manual, Scope::Product) && entry.product != product
    };
    Ok(found.iter().any(|f| f.in_force && !f.entry.reason.is_the_persons_act() && !of_another(&f.entry)))
}

async fn has_enough(tx: &mut Tx, person: AddressHash, now: Timestamp) -> store::Result<bool> {
    let now = now.as_millisecond();
    let (letters, last) = subscriptions::since(tx, person, now - DAY).await?;
    Ok(letters >= LETTERS_A_DAY || last.is_some_and(|last| now - last < LETTER_MINUTES * MINUTE))
}

/// Where a link of a letter stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Waits for the press.
    Open(Subscription),
    /// Pressed before.
    Confirmed(Subscription),
    /// Too old.
    Expired {
        /// Slug of the product, while anything is known of it.
        product: Option<String>,
    },
}

/// Reads where the link of a token stands. The subscription stands in the place of the campaign.
pub async fn link(app: &App, tx: &mut Tx, token: &Token) -> store::Result<Link> {
    let found = subscriptions::by_id(tx, i64::from(token.campaign)).await?;
    let Some(found) = found.filter(|s| s.address_hash == token.address) else {
        return Ok(Link::Expired { product: None });
    };
    if found.confirmed_at.is_some() {
        return Ok(Link::Confirmed(found));
    }
    let age = app.now().as_millisecond() - found.asked_at;
    if found.address.is_empty() || age > LINK_DAYS * DAY {
        return Ok(Link::Expired { product: Some(found.product) });
    }
    Ok(Link::Open(found))
}

/// Confirms: the contact is there from now on, with a yes that says who, what, when, how and to which text.
/// True when it was this press that confirmed.
pub async fn confirm(app: &App, tx: &mut Tx, token: &Token) -> store::Result<(Link, bool)> {
    suppress::lock_person(tx, token.address).await?;
    let open = match link(app, tx, token).await? {
        Link::Open(open) => open,
        other => return Ok((other, false)),
    };
    let now = app.now();
    let Ok(address) = Address::parse(&open.address) else {
        return Ok((Link::Expired { product: Some(open.product) }, false));
    };
    subscriptions::confirm(tx, open.id, now.as_millisecond()).await?;
    let contact = contact(app, tx, &address, &open).await?;
    let name = texts::form(&open.product);
    let kept = store::wordings::by_hash(tx, &name, &open.language, &open.wording).await?;
    let asked = Timestamp::from_millisecond(open.asked_at).unwrap_or(now);
    let facts = [("asked", asked.to_string()), ("confirmed", now.to_string()), ("mail", open.message_id.clone())];
    let evidence = kept.map(|kept| wordings::evidence("form", &kept, &facts)).unwrap_or_default();
    let consent = Consent::confirmed(contact, open.product.clone(), evidence, now.as_millisecond());
    consents::add(tx, &[consent]).await?;
    Ok((Link::Confirmed(Subscription { confirmed_at: Some(now.as_millisecond()), ..open }), true))
}

/// The contact of a confirmed address. Of somebody new the strictest is assumed; of somebody known the
/// form is a contact coming from them (RET-3), and its text informed them (GD-3).
async fn contact(app: &App, tx: &mut Tx, address: &Address, open: &Subscription) -> store::Result<i64> {
    let now = app.now();
    let hash = open.address_hash;
    let known = contacts::by_hash(tx, hash).await?;
    let form = Lang::from_tag(&open.language).unwrap_or(Lang::Fr);
    let mut contact = known.clone().unwrap_or_else(|| Contact {
        // A country that nobody asked for: the rules for the whole of the EU (REG-1).
        regime: "EU_DEFAULT".to_owned(),
        address_kind: roles::address_kind(address),
        ..stranger(address, hash, now)
    });
    if contact.source_kind == SourceKind::Unknown {
        contact.source_kind = SourceKind::DirectForm;
    }
    if contact.source.is_empty() {
        contact.source = form.pick("formulaire d’inscription", "subscription form").to_owned();
    }
    if contact.collected_at.is_empty() {
        contact.collected_at = now.to_string();
    }
    if contact.language.is_empty() {
        contact.language.clone_from(&open.language);
    }
    contact.informed = true;
    if known.as_ref() != Some(&contact) {
        contact.changed_at = now.as_millisecond();
        contacts::save(tx, &[contact]).await?;
    }
    let id = contacts::by_hash(tx, hash).await?.ok_or(sqlx::Error::RowNotFound)?.id;
    contacts::heard(tx, id, &now.to_string(), now.as_millisecond()).await?;
    Ok(id)
}

/// Sends the letters that are due, and forgets the addresses of those who did not confirm in time.
/// Returns how many letters were taken.
pub async fn send_letters(app: &App) -> Result<usize, LetterError> {
    let now = app.now().as_millisecond();
    let mut tx = app.db.read().await?;
    let waits = subscriptions::is_due(&mut tx, now, now - LINK_DAYS * DAY).await?;
    drop(tx);
    if !waits {
        return Ok(0);
    }
    let mut tx = app.db.write().await?;
    subscriptions::forget_old(&mut tx, now - LINK_DAYS * DAY).await?;
    let due = subscriptions::take(&mut tx, now, TOGETHER).await?;
    tx.commit().await?;
    for subscription in &due {
        let (state, again, message_id) = send(app, subscription).await?;
        let mut tx = app.db.write().await?;
        subscriptions::mailed(&mut tx, subscription.id, state, again, &message_id).await?;
        tx.commit().await?;
    }
    Ok(due.len())
}

async fn send(app: &App, subscription: &Subscription) -> store::Result<(LetterState, Option<i64>, String)> {
    let now = app.now().as_millisecond();
    let mut tx = app.db.read().await?;
    let again = |tries: i64| (tries < TRIES).then(|| now + (1 << tries.clamp(0, 10)) * 5 * MINUTE);
    let later = |state: LetterState| match again(subscription.mail_tries) {
        Some(at) => (LetterState::Waiting, Some(at), String::new()),
        None => (state, None, String::new()),
    };
    let product = products::by_slug(&mut tx, &subscription.product).await?;
    let (Ok(to), Some(product)) = (Address::parse(&subscription.address), product) else {
        return Ok((LetterState::Failed, None, String::new()));
    };
    // A complaint or bounce since the form was sent counts, too.
    if unwelcome(app, &mut tx, &to, &product.slug).await? {
        return Ok((LetterState::Withheld, None, String::new()));
    }
    let Some(author) = system_mail::author(app, &mut tx).await? else { return Ok(later(LetterState::Failed)) };
    drop(tx);
    let Some(letter) = letter(app, subscription, &product, to, &author) else {
        return Ok(later(LetterState::Failed));
    };
    let message_id = system_mail::message_id(&letter, &author);
    Ok(match system_mail::send(app, &letter, &author).await {
        Ok(Sent::Accepted) => (LetterState::Sent, None, message_id),
        Ok(Sent::Refused | Sent::Unknown) => (LetterState::Failed, None, message_id),
        Ok(Sent::Later) => later(LetterState::Failed),
        Err(error) => {
            tracing::error!(%error, "a letter that asks for a confirmation cannot be sent");
            later(LetterState::Failed)
        }
    })
}

/// The letter. None while links have nowhere to lead.
fn letter(app: &App, asked: &Subscription, product: &Product, to: Address, author: &Author) -> Option<Letter> {
    let base = app.config.public.url.as_deref()?;
    let lang = Lang::from_tag(&asked.language).unwrap_or(app.config.controller.language);
    let token = Token {
        purpose: Purpose::Confirm,
        address: asked.address_hash,
        product: product.id as u32,
        campaign: u32::try_from(asked.id).ok()?,
        product_scope: false,
        test: false,
    };
    let link = format!("{base}/c/{}", app.keys.tokens.sign(&token));
    let sender = match app.config.controller.name.as_str() {
        "" if author.name.is_empty() => author.address.as_str(),
        "" => author.name.as_str(),
        name => name,
    };
    let (name, of) = (&product.name, french_of(sender));
    let (subject, asks, press, otherwise) = lang.pick(
        (
            format!("Confirmez votre inscription : {name}"),
            format!("Quelqu’un, vous sans doute, a demandé à recevoir à cette adresse les messages {of} sur {name}."),
            "Confirmer mon inscription",
            format!(
                "Ce lien fonctionne pendant {LINK_DAYS} jours. Sans confirmation, vous ne recevrez rien, et votre \
                 adresse est oubliée : si ce n’était pas vous, il n’y a rien à faire."
            ),
        ),
        (
            format!("Confirm your subscription: {name}"),
            format!("Somebody, probably you, asked for messages from {sender} about {name} at this address."),
            "Confirm my subscription",
            format!(
                "This link works for {LINK_DAYS} days. Without your confirmation you will receive nothing, and your \
                 address is forgotten: if it was not you, there is nothing to do."
            ),
        ),
    );
    let (hello, colon) = lang.pick(("Bonjour,", " :"), ("Hello,", ":"));
    let text = format!("{hello}\n\n{asks}\n\n{press}{colon}\n{link}\n\n{otherwise}\n\n{sender}\n");
    let html = html(lang, &[hello, &asks], (press, &link), &[&otherwise, sender]);
    Some(Letter { to, subject, text, html: Some(html), lang, seed: format!("confirm {} {link}", asked.id) })
}

/// A letter of a few lines and one link, without anything to load.
fn html(lang: Lang, before: &[&str], (label, link): (&str, &str), after: &[&str]) -> String {
    let escaped = |text: &str| {
        let mut out = String::new();
        escape_html(&mut out, text).expect("writing to a String does not fail");
        out
    };
    let lines = |lines: &[&str]| -> String { lines.iter().map(|line| format!("<p>{}</p>\n", escaped(line))).collect() };
    format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head><meta charset=\"utf-8\"><meta name=\"color-scheme\" \
         content=\"light dark\"><title>{label}</title></head>\n<body style=\"margin: 0 auto; padding: 24px; max-width: \
         560px; font: 16px/1.5 sans-serif;\">\n{}<p><a href=\"{}\" style=\"display: inline-block; padding: 12px 18px; \
         border-radius: 8px; background: #1f5f4f; color: #ffffff; font-weight: bold; text-decoration: none;\">{}</a></p>\n{}\
         </body>\n</html>\n",
        lines(before),
        escaped(link),
        escaped(label),
        lines(after),
    )
}
