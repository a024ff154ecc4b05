//! Unsubscribing by the page: done, said why, and taken back.

use ouinon::{
    domain::{
        suppressions::{Origin, Scope, SuppressionReason},
        tokens::{Purpose, Token},
    },
    pipeline::{
        erase, report,
        suppress::{self, Reach, Refusal, Whom},
    },
    store::{self, events},
};

use super::acts::*;
use crate::{
    store::{AUTUMN, autumn, hash},
    world::{self, World, on_both},
};

/// Refuses about everything or a product, as an operator wrote it down earlier.
async fn refused_earlier(world: &World, reach: Reach) {
    let refusal = Refusal {
        whom: Whom::Person(hash(world, PERSON)),
        reach,
        reason: SuppressionReason::Unsubscribe,
        origin: Origin::Staff,
        at: Some(world.app.now()),
        campaign_id: None,
        note: String::new(),
    };
    let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
    world.tx(async |tx| suppress::refuse(tx, &key, &refusal, now).await).await;
    world.advance(60);
}

async fn events_of(world: &World) -> Vec<(String, String)> {
    let person = hash(world, PERSON);
    let found = world.tx(async |tx| events::of_person(tx, person).await).await;
    found.into_iter().map(|e| (e.kind, e.class)).collect()
}

on_both! {
    /// One press, a reason, and the press taken back: everything is as before, and the trace stays.
    async fn a_press_is_taken_back(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Unsubscribe).await;
        let before = code(world, "crm").await;
        assert_eq!(before, "LEGITIMATE_INTEREST_B2B");
        let done = served.post(&link, "choice=everything").await;
        assert_calm(&done, 200);
        assert!(done.body.contains("m•••@example.net") && done.body.contains("Aucun autre message n’était en route"));
        assert_eq!(code(world, "erp").await, "SUPPRESSED_GLOBAL");

        let receipt = found(&done, "/u/");
        let again = served.get(&format!("{receipt}?lang=en")).await;
        assert_calm(&again, 200);
        assert!(again.body.contains("will receive no more") && again.body.contains("Take this back"));
        assert_eq!(list(world).await.len(), 1, "looking changes nothing");

        let said = served.post(&receipt, "reason=too_many&act=reason").await;
        assert!(said.body.contains("Merci, c’est noté.") && !said.body.contains("value=\"too_many\""));
        served.post(&receipt, "reason=other&act=reason").await;
        for nothing in ["", "act=", "act=all", "reason=too_many", "act=reason&reason=spam", "act=undo&act=undo"] {
            assert_eq!(served.post(&receipt, nothing).await.status, 400, "{nothing:?}");
        }
        assert_eq!(list(world).await[0].lifted_at, None);

        world.advance(59 * 60);
        let undone = served.post(&receipt, "act=undo").await;
        assert_calm(&undone, 200);
        assert!(undone.body.contains("C’est annulé"));
        assert_eq!((code(world, "crm").await, code(world, "erp").await), (before, before));
        let entry = list(world).await.remove(0);
        assert!(entry.lifted_at == Some(world.now()) && entry.lifted_reason.contains("double opt-in"));
        let word = |kind: &str, class: &str| (kind.to_owned(), class.to_owned());
        assert_eq!(events_of(world).await, [word("unsubscribe", ""), word("reason", "too_many"), word("undo", "")]);

        // Twice changes nothing more, and a later press is a new refusal.
        assert!(served.post(&receipt, "act=undo").await.body.contains("C’est annulé"));
        assert_eq!(events_of(world).await.len(), 3);
        world.advance(60);
        served.post(&link, "choice=product").await;
        assert_eq!(code(world, "crm").await, "SUPPRESSED_PRODUCT");
        assert!(served.post(&receipt, "act=undo").await.body.contains("C’est annulé"));
        assert_eq!(code(world, "crm").await, "SUPPRESSED_PRODUCT", "an old receipt takes back its own press only");
    }

    /// An older refusal stands, whoever presses what later, and no consent comes out of an undo.
    async fn an_older_refusal_is_not_taken_back(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Unsubscribe).await;
        refused_earlier(world, Reach::Everything).await;
        let done = served.post(&link, "choice=everything").await;
        assert!(done.body.contains("Vous l’aviez déjà refusé") && !done.body.contains("value=\"undo\""), "{}", done.body);
        let receipt = found(&done, "/u/");
        assert_calm(&served.post(&receipt, "act=undo").await, 200);
        assert_eq!(code(world, "crm").await, "SUPPRESSED_GLOBAL");

        let done = served.post(&link, "choice=product").await;
        let undone = served.post(&found(&done, "/u/"), "act=undo").await;
        assert!(undone.body.contains("Un autre refus de votre part reste valable"), "{}", undone.body);
        assert_eq!(code(world, "crm").await, "SUPPRESSED_GLOBAL");
        let person = hash(world, PERSON);
        let said = world.tx(async |tx| {
            let contact = store::contacts::by_hash(tx, person).await?.expect("the contact");
            store::consents::of_contacts(tx, &[contact.id]).await
        }).await;
        assert_eq!(said, [], "an undo says yes to nothing");
    }

    /// Two presses are two receipts.
    async fn each_press_has_its_own_receipt(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Unsubscribe).await;
        let product = found(&served.post(&link, "choice=product").await, "/u/");
        world.advance(1);
        let everything = found(&served.post(&link, "choice=everything").await, "/u/");
        served.post(&everything, "act=undo").await;
        assert_eq!((code(world, "crm").await, code(world, "erp").await), ("SUPPRESSED_PRODUCT", "LEGITIMATE_INTEREST_B2B"));
        served.post(&product, "act=undo").await;
        assert_eq!(code(world, "crm").await, "LEGITIMATE_INTEREST_B2B");
    }

    /// Whatever is refused by another act while a press can still be taken back stands by itself: an undo takes
    /// back its own press, not what the provider, the sender or another page was told after it.
    async fn what_is_refused_after_a_press_outlives_its_undo(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Unsubscribe).await;
        let press = async || found(&served.post(&link, "choice=everything").await, "/u/");
        let first = press().await;
        // A double click is one press.
        world.advance(2);
        press().await;
        assert_eq!(list(world).await.len(), 1);

        world.advance(10 * 60);
        assert_eq!(served.post(&link, "List-Unsubscribe=One-Click").await.status, 200);
        assert_eq!(served.post(&link, "List-Unsubscribe=One-Click").await.status, 200);
        assert_eq!(list(world).await.len(), 2, "once");
        let undone = served.post(&first, "act=undo").await;
        assert!(undone.body.contains("Un autre refus de votre part reste valable"), "{}", undone.body);
        assert_eq!(code(world, "crm").await, "SUPPRESSED_GLOBAL", "what was answered 200 stands");

        // The same for what somebody told the sender, and for a press on the page of another copy of the mail.
        let product = async || found(&served.post(&link, "choice=product").await, "/u/");
        let first = product().await;
        world.advance(10 * 60);
        let second = product().await;
        served.post(&first, "act=undo").await;
        let left: Vec<String> = list(world).await.into_iter().filter(|e| e.lifted_at.is_none()).map(|e| e.product).collect();
        assert_eq!(left, ["", "crm"]);
        world.advance(60);
        refused_earlier(world, Reach::Product("crm".into())).await;
        served.post(&second, "act=undo").await;
        let left: Vec<Origin> = list(world).await.into_iter().filter(|e| e.lifted_at.is_none()).map(|e| e.origin).collect();
        assert_eq!(left, [Origin::OneClick, Origin::Staff]);
    }

    /// Too late, and friendly; a receipt is forged by nobody, and a mailed link is none.
    async fn a_late_or_forged_undo_changes_nothing(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Unsubscribe).await;
        let receipt = found(&served.post(&link, "choice=everything").await, "/u/");
        world.advance(60 * 60);
        let late = served.get(&receipt).await;
        assert!(late.status == 200 && !late.body.contains("value=\"undo\""));
        let late = served.post(&receipt, "act=undo").await;
        assert!(late.status == 200 && late.body.contains("C’est fait"), "{}", late.body);
        assert!(late.body.contains("ne s’annule que pendant une heure") && late.body.contains("/p/"), "{}", late.body);
        let token = link.strip_prefix("/o/").expect("the token");
        assert_eq!(served.post(&format!("/u/{token}"), "act=undo").await.status, 404);
        let receipt_token = receipt.strip_prefix("/u/").expect("the token");
        assert_eq!(served.post(&format!("/o/{receipt_token}"), "choice=product").await.status, 404);
        // A one-click of the mailbox provider is not a press on the page: it has no receipt.
        assert_eq!(code(world, "crm").await, "SUPPRESSED_GLOBAL");
        for method in ["PUT", "DELETE", "OPTIONS"] {
            let answer = served.ask(&format!("{method} {receipt} HTTP/1.1"), b"").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")));
        }
    }

    /// Erased in between: the receipt still takes back its press, and shows no address.
    async fn a_press_of_somebody_erased(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Unsubscribe).await;
        let receipt = found(&served.post(&link, "choice=everything").await, "/u/");
        let (key, person, now) = (world.app.keys.suppression.clone(), hash(world, PERSON), world.app.now());
        world.tx(async |tx| erase::erase(tx, &key, person, false, now).await).await.expect("there was a contact");
        assert!(!served.get(&receipt).await.body.contains("example.net"));
        assert_eq!(served.post(&receipt, "act=undo").await.status, 200);
        assert!(list(world).await.iter().all(|e| e.scope != Scope::Global || e.lifted_at.is_some()));
    }

    /// A sender whose name begins with a vowel is named as French names it, on every page and in the letter.
    async fn a_name_is_elided(world: &mut World) {
        let config = std::sync::Arc::make_mut(&mut world.app.config);
        config.controller.name = "Atelier Exemple".into();
        let served = opened(world).await;
        let unsubscribe = link(world, Purpose::Unsubscribe).await;
        let token = world.app.keys.tokens.verify(&unsubscribe["/o/".len()..]).expect("ours");
        let question = format!("/a/{}", world.app.keys.tokens.sign(&Token { purpose: Purpose::Answer, ..token }));
        let mut pages = Vec::new();
        for path in ["/", "/s/crm", &unsubscribe, &link(world, Purpose::Preferences).await, &question] {
            pages.push(served.get(path).await);
        }
        pages.push(served.post(&question, "answer=no").await);
        pages.push(served.post(&unsubscribe, "choice=product").await);
        for page in pages {
            assert_eq!(page.status, 200);
            assert!(page.body.contains("d’Atelier") || page.body.contains("qu’Atelier"), "{}", page.body);
            for wrong in ["de Atelier", "de <strong>Atelier", "que Atelier"] {
                assert!(!page.body.contains(wrong), "{wrong}: {}", page.body);
            }
        }
    }

    /// The campaign's report counts what people said of why, and the presses taken back.
    async fn the_report_says_why(world: &mut World) {
        let served = opened(world).await;
        let campaign = world.tx(async |tx| {
            store::campaigns::add(tx, &autumn(), AUTUMN, 1).await?;
            Ok(store::campaigns::by_slug(tx, "autumn").await?.expect("the campaign"))
        });
        let campaign = campaign.await;
        let tokens = &world.app.keys.tokens;
        let own = tokens.verify(&link(world, Purpose::Unsubscribe).await[3..]).expect("ours");
        let own = tokens.sign(&Token { campaign: campaign.id as u32, ..own });
        let done = served.post(&format!("/o/{own}"), "choice=everything").await;
        let receipt = found(&done, "/u/");
        served.post(&receipt, "reason=too_many&act=reason").await;
        let said = world.tx(async |tx| report::report(tx, &campaign).await).await;
        assert_eq!((said.unsubscribes, said.undone, said.reasons), (1, 0, [("too_many".to_owned(), 1)].into()));
        served.post(&receipt, "act=undo").await;
        let undone = world.tx(async |tx| report::report(tx, &campaign).await).await;
        assert_eq!((undone.unsubscribes, undone.undone), (1, 1));
    }

    /// What had already left is said; the message in the person's hands is not among it.
    async fn what_had_left_is_said(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Unsubscribe).await;
        let person = hash(world, PERSON);
        let left = |seconds: i64| world.now() - seconds * 1000;
        let campaign = world.tx(async |tx| {
            store::campaigns::add(tx, &autumn(), AUTUMN, 1).await?;
            let campaign = store::campaigns::by_slug(tx, "autumn").await?.expect("the campaign");
            let contact = store::contacts::by_hash(tx, person).await?.expect("the contact");
            let decided = store::deliveries::Decided {
                contact_id: contact.id,
                address_hash: person,
                state: ouinon::domain::campaigns::DeliveryState::Queued,
                code: "CONSENT",
                tracking: "none",
                rules_version: "test",
                relationship: contact.relationship,
                provider_group: String::new(),
                zone: String::new(),
            };
            store::deliveries::enqueue(tx, campaign.id, &[decided], left(100)).await?;
            let worker = store::workers::add(tx, 1).await?;
            let lane = store::lanes::Bound { provider_group: "", zone: "", past: 0 };
            store::lanes::claim(tx, campaign.id, worker, &lane, 10).await?;
            world::submit(tx, campaign.id, worker, &[contact.id], left(90)).await?;
            Ok(campaign.id)
        }).await;
        let done = served.post(&link, "choice=everything").await;
        assert!(done.body.contains("était déjà parti à 09:58"), "{}", done.body);
        assert!(campaign != 41, "the link is of another campaign");
        world.advance(30 * 60);
        let later = served.get(&found(&done, "/u/")).await;
        assert!(later.body.contains("Aucun autre message n’était en route"), "{}", later.body);
    }
}
