//! What a person presses on a public page, or a provider for them: written together with others that
//! come at the same time, or into the journal while the database is away.
//!
//! A press names nobody: it holds the keyed hash and the numbers of the token, so it can wait in the
//! journal. What is applied twice changes nothing the second time.

use std::{collections::HashMap, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    domain::{
        address::AddressHash,
        consents::{ConsentState, Proof},
        suppressions::{Origin, SuppressionReason},
    },
    journal::Mark,
    pipeline::suppress::{self, Reach, Refusal, Whom, Written},
    store::{
        self, Tx, campaigns,
        consents::{self, Consent, ConsentPurpose},
        contacts,
        products::{self, Product},
    },
};

/// What is not wanted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// All marketing.
    Everything,
    /// Marketing about the product that the message was about; everything when nobody knows it any more.
    ItsProduct,
    /// Marketing about the product of this slug.
    Product(String),
    /// Individual tracking (TRK-4).
    Tracking,
}

/// One press.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Press {
    /// Whose.
    pub person: AddressHash,
    /// Id of the product that the message was about.
    pub product: u32,
    /// Id of the campaign; 0: none.
    pub campaign: u32,
    /// What is not wanted.
    pub wish: Wish,
    /// Unsubscribe or objection.
    pub reason: SuppressionReason,
    /// One-click or page.
    pub origin: Origin,
    /// When it was pressed, in milliseconds.
    pub at: i64,
}

/// What became of a press.
#[derive(Debug, Clone)]
pub struct Pressed {
    /// The product whose mail was stopped; none: everything was, or tracking.
    pub product: Option<Product>,
    /// The refusal that stands now; none for tracking.
    pub written: Option<Written>,
}

/// Writes presses, in their order, in one transaction; answers in the same order.
pub async fn write(app: &App, presses: &[Press]) -> store::Result<Vec<Pressed>> {
    let mut tx = app.db.write().await?;
    let pressed = write_in(app, &mut tx, presses).await?;
    tx.commit().await?;
    Ok(pressed)
}

/// Writes presses into the journal, and returns once they are on the disk.
pub fn note(app: &App, presses: &[Press]) -> io::Result<()> {
    let payloads: Result<Vec<Vec<u8>>, _> = presses.iter().map(serde_json::to_vec).collect();
    app.journal.append(&payloads?)
}

/// Applies what the journal holds, so that the next decision knows it; then empties it. Returns what
/// the journal was like: while its mark is the same, nothing new was promised.
///
/// # Errors
/// When the journal cannot be read or the database fails, nothing may be decided.
pub async fn settle(app: &App) -> store::Result<Mark> {
    loop {
        let mark = app.journal.mark()?;
        if mark.is_empty() {
            return Ok(mark);
        }
        let _turn = app.journal.settling().await;
        let mut contents = app.journal.read()?;
        let presses: Vec<Press> = contents.payloads.iter().filter_map(|payload| read(payload)).collect();
        // By a newer program: like what is damaged, it is kept for a person to look at.
        contents.damaged += contents.payloads.len() - presses.len();
        if contents.damaged > 0 {
            tracing::error!("the journal is damaged: what is whole is applied, and a copy of it is kept");
        }
        for some in presses.chunks(TOGETHER) {
            write(app, some).await?;
        }
        if app.journal.clear(&contents)? {
            tracing::info!(presses = presses.len(), "the journal is applied");
        }
    }
}

/// Presses of one transaction, at most: others want to write, too.
pub const TOGETHER: usize = 512;

fn read(payload: &[u8]) -> Option<Press> {
    serde_json::from_slice(payload).ok()
}

/// The same in a transaction that the caller ends; only then may any of them be called done.
pub async fn write_in(app: &App, tx: &mut Tx, presses: &[Press]) -> store::Result<Vec<Pressed>> {
    let now = app.now();
    let mut products = HashMap::new();
    let mut pressed = Vec::with_capacity(presses.len());
    let (mut refusals, mut tracked) = (Vec::new(), Vec::new());
    for press in presses {
        let product = match press.wish {
            Wish::ItsProduct => product_of(tx, &mut products, press).await?,
            Wish::Product(ref slug) => products::by_slug(tx, slug).await?,
            Wish::Everything | Wish::Tracking => None,
        };
        match refusal(press, product.as_ref()) {
            Some(refusal) => refusals.push(refusal),
            None => tracked.push(press),
        }
        pressed.push(Pressed { product, written: None });
    }
    let mut written = suppress::refuse_all(tx, &app.keys.suppression, &refusals, now).await?.into_iter();
    for (pressed, press) in pressed.iter_mut().zip(presses) {
        if press.wish != Wish::Tracking {
            pressed.written = written.next();
        }
    }
    stop_tracking(tx, &tracked, now).await?;
    Ok(pressed)
}

/// What a press refuses; none when it is tracking alone.
fn refusal(press: &Press, product: Option<&Product>) -> Option<Refusal> {
    let reach = match (&press.wish, product) {
        (Wish::Tracking, _) => return None,
        (Wish::ItsProduct, Some(product)) => Reach::Product(product.slug.clone()),
        // The product may be gone: whoever refused it is held to nothing else.
        (Wish::Product(slug), _) => Reach::Product(slug.clone()),
        (Wish::ItsProduct, None) | (Wish::Everything, _) => Reach::Everything,
    };
    Some(Refusal {
        whom: Whom::Person(press.person),
        reach,
        reason: press.reason,
        origin: press.origin,
        at: Timestamp::from_millisecond(press.at).ok(),
        campaign_id: Some(i64::from(press.campaign)).filter(|id| *id != 0),
        note: String::new(),
    })
}

/// The product of a token: by its id, else that of its campaign.
async fn product_of(
    tx: &mut Tx,
    known: &mut HashMap<(u32, u32), Option<Product>>,
    press: &Press,
) -> store::Result<Option<Product>> {
    let key = (press.product, press.campaign);
    if let Some(product) = known.get(&key) {
        return Ok(product.clone());
    }
    let product = product(tx, press.product, press.campaign).await?;
    known.insert(key, product.clone());
    Ok(product)
}

/// What the message of a token was about: the product of that id, else that of its campaign, else
/// nobody knows, and then a refusal is of everything.
pub async fn product(tx: &mut Tx, id: u32, campaign: u32) -> store::Result<Option<Product>> {
    if let Some(product) = products::by_id(tx, i64::from(id)).await? {
        return Ok(Some(product));
    }
    match campaigns::by_id(tx, i64::from(campaign)).await? {
        Some(campaign) => products::by_slug(tx, &campaign.product).await,
        None => Ok(None),
    }
}

/// TRK-4: takes effect on what was delivered already, for the consent is asked again at every hit.
async fn stop_tracking(tx: &mut Tx, presses: &[&Press], now: Timestamp) -> store::Result<()> {
    if presses.is_empty() {
        return Ok(());
    }
    let hashes: Vec<AddressHash> = presses.iter().map(|press| press.person).collect();
    let ids: HashMap<AddressHash, i64> =
        contacts::addresses(tx, &hashes).await?.into_iter().map(|(id, hash, _)| (hash, id)).collect();
    // Of whom nothing is known, nothing is tracked.
    let events: Vec<Consent> = presses
        .iter()
        .filter_map(|press| {
            Some(Consent {
                contact_id: *ids.get(&press.person)?,
                purpose: ConsentPurpose::Tracking,
                product: String::new(),
                state: ConsentState::Withdrawn,
                at: Some(press.at),
                proof: Proof::None,
                evidence: String::new(),
                origin: press.origin,
                recorded_at: now.as_millisecond(),
            })
        })
        .collect();
    consents::add(tx, &events).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an older program wrote, a newer one reads.
    #[test]
    fn a_press_written_once_is_read_for_ever() {
        let press = Press {
            person: AddressHash([7; 32]),
            product: 3,
            campaign: 41,
            wish: Wish::ItsProduct,
            reason: SuppressionReason::Unsubscribe,
            origin: Origin::OneClick,
            at: 1_800_000_000_000,
        };
        let text = format!(
            "{{\"person\":\"{}\",\"product\":3,\"campaign\":41,\"wish\":\"its_product\",\"reason\":\"unsubscribe\",\
             \"origin\":\"one_click\",\"at\":1800000000000}}",
            "07".repeat(32)
        );
        assert_eq!(serde_json::to_string(&press).unwrap(), text);
        assert_eq!(read(text.as_bytes()), Some(press.clone()));
        let slug = Press { wish: Wish::Product("crm".into()), ..press };
        assert_eq!(read(&serde_json::to_vec(&slug).unwrap()), Some(slug));
    }

    proptest! {
        #[test]
        fn no_payload_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            prop_assert_eq!(read(&bytes), None);
            prop_assert_eq!(read(text.as_bytes()), None);
        }
    }
}
