//! The refusals of a list become suppressions as soon as anything is done with it: never less than they
//! say, of people who are contacts and of people who are not, and again and again without harm.

use jiff::Timestamp;

use super::person::KeptRefusal;
use crate::{
    app::App,
    domain::{
        consents::{ConsentState, Proof},
        suppressions::{Origin, SuppressionReason},
    },
    pipeline::suppress::{self, Reach, Refusal, Whom},
    store::{
        self,
        consents::{self, Consent, ConsentPurpose},
        contacts,
        repermission::{self, Plan, Refusing},
    },
};

/// Lines in a transaction.
const TOGETHER: i64 = 500;

/// Records every refusal of the list, and notes that it is done.
pub async fn refusals(app: &App, plan: &Plan) -> store::Result<()> {
    let mut after = 0;
    loop {
        let mut tx = app.db.write().await?;
        let lines = repermission::refusing(&mut tx, plan.id, after, TOGETHER).await?;
        let Some(last) = lines.last() else {
            repermission::applied(&mut tx, plan.id, app.now().as_millisecond()).await?;
            return tx.commit().await;
        };
        after = last.position;
        let now = app.now();
        let all: Vec<Refusal> = lines.iter().flat_map(of_line).collect();
        suppress::refuse_all(&mut tx, &app.keys.suppression, &all, now).await?;
        tracking(&mut tx, &lines, now).await?;
        tx.commit().await?;
    }
}

fn kept(line: &Refusing) -> Vec<KeptRefusal> {
    serde_json::from_str(&line.refusals).unwrap_or_else(|_| {
        // Written by ourselves; should it not be read, the person has refused everything.
        vec![KeptRefusal { product: String::new(), tracking: false, at: None }]
    })
}

fn of_line(line: &Refusing) -> Vec<Refusal> {
    let about_mail = kept(line).into_iter().filter(|refusal| !refusal.tracking);
    about_mail
        .map(|refusal| Refusal {
            whom: Whom::Person(line.address_hash),
            reach: if refusal.product.is_empty() { Reach::Everything } else { Reach::Product(refusal.product) },
            reason: SuppressionReason::Unsubscribe,
            origin: Origin::Import,
            at: refusal.at.and_then(|at| Timestamp::from_millisecond(at).ok()),
            campaign_id: None,
            note: String::new(),
        })
        .collect()
}

/// Tracking that a line says was withdrawn stops for the contact, where there is one (TRK-4).
async fn tracking(tx: &mut store::Tx, lines: &[Refusing], now: Timestamp) -> store::Result<()> {
    let withdrawn = lines.iter().filter(|line| kept(line).iter().any(|refusal| refusal.tracking));
    let hashes: Vec<_> = withdrawn.map(|line| line.address_hash).collect();
    if hashes.is_empty() {
        return Ok(());
    }
    let events: Vec<Consent> = contacts::by_hashes(tx, &hashes)
        .await?
        .into_iter()
        .map(|contact| Consent {
            contact_id: contact.id,
            purpose: ConsentPurpose::Tracking,
            product: String::new(),
            state: ConsentState::Withdrawn,
            at: None,
            proof: Proof::None,
            evidence: String::new(),
            origin: Origin::Import,
            recorded_at: now.as_millisecond(),
        })
        .collect();
    consents::add(tx, &events).await.map(drop)
}
