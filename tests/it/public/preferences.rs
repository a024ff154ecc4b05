//! The preference centre: only what a person changes is changed.

use std::sync::Arc;

use ouinon::{
    domain::{
        consents::Proof,
        suppressions::{Origin, SuppressionReason},
        tokens::Purpose,
    },
    pipeline::suppress,
    store::{self, consents::Consent},
};

use super::acts::*;
use crate::{
    http::{Answer, Served},
    store::hash,
    world::{World, on_both},
};

async fn said(world: &World) -> Vec<Consent> {
    let person = hash(world, PERSON);
    world
        .tx(async |tx| {
            let contact = store::contacts::by_hash(tx, person).await?.expect("the contact");
            store::consents::of_contacts(tx, &[contact.id]).await
        })
        .await
}

/// Changes fields of the page's form and sends it.
async fn save(served: &Served, link: &str, change: impl FnOnce(&mut Vec<(String, String)>)) -> Answer {
    let page = served.get(link).await;
    let mut fields = fields(&page, "save");
    change(&mut fields);
    fields.push(("save".into(), "yes".into()));
    served.post(link, &form(&fields)).await
}

fn tick(name: &str, value: &str) -> impl FnOnce(&mut Vec<(String, String)>) {
    move |fields| fields.push((name.to_owned(), value.to_owned()))
}

fn untick(name: &str, value: &str) -> impl FnOnce(&mut Vec<(String, String)>) {
    move |fields| fields.retain(|(n, v)| !(n == name && v == value))
}

fn set(name: &str, value: &str) -> impl FnOnce(&mut Vec<(String, String)>) {
    move |fields| fields.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| *v = value.to_owned())
}

async fn contact(world: &World) -> store::contacts::Contact {
    let person = hash(world, PERSON);
    world.tx(async |tx| store::contacts::by_hash(tx, person).await).await.expect("the contact")
}

on_both! {
    /// Looking and saving without a change write nothing, and what is hidden is not shown.
    async fn unchanged_is_unchanged(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Preferences).await;
        let before = contact(world).await;
        let page = served.get(&link).await;
        assert_calm(&page, 200);
        for shown in ["CRM", "ERP", "name=\"tracking\" value=\"yes\">", "type=\"date\"", "m•••@example.net"] {
            assert!(page.body.contains(shown), "{shown}: {}", page.body);
        }
        assert!(!page.body.contains("Secret"));
        assert_eq!(served.ask(&format!("HEAD {link} HTTP/1.1"), b"").await.status, 200);
        let saved = save(&served, &link, |_| {}).await;
        assert_calm(&saved, 200);
        assert!(saved.body.contains("C’est enregistré"));
        assert_eq!((contact(world).await, said(world).await, list(world).await), (before, vec![], vec![]));
        for nothing in ["", "product=crm", "save=yes&save=yes"] {
            assert_eq!(served.post(&link, nothing).await.status, 400, "{nothing:?}");
        }
        // A form that shows nothing changes nothing, whatever it leaves out.
        assert_eq!(served.post(&link, "save=yes").await.status, 200);
        assert_eq!((said(world).await, list(world).await), (vec![], vec![]));
    }

    /// A product off and on again: a refusal of that product, then a yes with its proof and text.
    async fn products_off_and_on(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Preferences).await;
        let saved = save(&served, &link, untick("product", "crm")).await;
        assert!(!saved.body.contains("Rien n’est coché"));
        assert_eq!((code(world, "crm").await, code(world, "erp").await), ("SUPPRESSED_PRODUCT", "LEGITIMATE_INTEREST_B2B"));
        let entry = list(world).await.remove(0);
        assert_eq!((entry.origin, entry.product.as_str(), entry.campaign_id), (Origin::Page, "crm", Some(41)));
        assert_eq!(contact(world).await.last_activity, "", "a refusal is no contact (E16)");

        world.advance(60);
        let saved = save(&served, &link, untick("product", "erp")).await;
        assert!(saved.body.contains("Rien n’est coché"), "{}", saved.body);
        assert_eq!(code(world, "erp").await, "SUPPRESSED_PRODUCT");
        assert_eq!(code(world, "secret").await, "LEGITIMATE_INTEREST_B2B", "everything off is not all mail stopped");

        world.advance(60);
        save(&served, &link, tick("product", "crm")).await;
        assert_eq!((code(world, "crm").await, code(world, "erp").await), ("CONSENT", "SUPPRESSED_PRODUCT"));
        let yes = said(world).await.remove(0);
        assert_eq!((yes.product.as_str(), yes.proof, yes.origin), ("crm", Proof::Doi, Origin::Page));
        assert!(yes.evidence.starts_with("page=preferences wording=preferences version=1 language=fr sha256="), "{}", yes.evidence);
        let kept = world.tx(async |tx| store::wordings::of_name(tx, "preferences").await).await.remove(0);
        assert!(yes.evidence.contains(&kept.hash) && kept.text.contains("Société Exemple"));
        assert_eq!(contact(world).await.last_activity, "form");
    }

    /// Tracking is a choice of its own, and taken back as easily.
    async fn tracking_apart(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Preferences).await;
        save(&served, &link, tick("tracking", "yes")).await;
        assert_eq!(code(world, "crm").await, "TRACKED");
        world.advance(60);
        save(&served, &link, untick("tracking", "yes")).await;
        assert_eq!(code(world, "crm").await, "LEGITIMATE_INTEREST_B2B");
        assert_eq!(said(world).await.len(), 2);
    }

    /// A pause is decided like everything else, and ends by itself or by the person.
    async fn paused(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Preferences).await;
        let (soon, late) = (in_days(world, 10), in_days(world, 400));
        let wrong = save(&served, &link, set("pause", &late)).await;
        assert_calm(&wrong, 422);
        assert!(wrong.body.contains("aria-invalid=\"true\"") && contact(world).await.paused_until.is_empty());
        assert!(wrong.body.contains("Rien n’a été enregistré"), "{}", wrong.body);
        let and_a_no = |fields: &mut Vec<(String, String)>| {
            untick("product", "erp")(fields);
            set("pause", &late)(fields);
        };
        let wrong = save(&served, &link, and_a_no).await;
        assert_calm(&wrong, 422);
        assert!(wrong.body.contains("Le reste est enregistré, pas la pause"), "{}", wrong.body);
        assert_eq!((code(world, "erp").await, contact(world).await.paused_until), ("SUPPRESSED_PRODUCT", String::new()));
        save(&served, &link, set("pause", &soon)).await;
        assert_eq!(code(world, "crm").await, "PAUSED_BY_PERSON");
        let page = served.get(&link).await;
        assert!(page.body.contains("value=\"crm\" checked"), "a pause switches nothing off");
        world.advance(10 * 86_400);
        assert_eq!(code(world, "crm").await, "PAUSED_BY_PERSON", "the date is included");
        world.advance(86_400);
        assert_eq!(code(world, "crm").await, "LEGITIMATE_INTEREST_B2B");
        save(&served, &link, set("pause", &in_days(world, 5))).await;
        save(&served, &link, set("pause", "")).await;
        assert_eq!((code(world, "crm").await, contact(world).await.paused_until.as_str()), ("LEGITIMATE_INTEREST_B2B", ""));
    }

    /// The language of the pages and of the mail.
    async fn language(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Preferences).await;
        let saved = save(&served, &format!("{link}?lang=fr"), set("language", "en")).await;
        assert!(saved.body.contains("<html lang=\"en\">") && saved.body.contains("Saved"), "{}", saved.body);
        assert_eq!(contact(world).await.language, "en");
        assert!(served.get(&link).await.body.contains("What you receive"));
    }

    /// A yes that something else stands in the way of is recorded, and the page says so.
    async fn a_yes_that_is_not_enough(world: &mut World) {
        let served = opened(world).await;
        let complaint = suppress::Refusal {
            whom: suppress::Whom::Person(hash(world, PERSON)),
            reach: suppress::Reach::Everything,
            reason: SuppressionReason::Complaint,
            origin: Origin::Report,
            at: Some(world.app.now()),
            campaign_id: None,
            note: String::new(),
        };
        let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
        world.tx(async |tx| suppress::refuse(tx, &key, &complaint, now).await).await;
        world.advance(60);
        let link = link(world, Purpose::Preferences).await;
        let saved = save(&served, &link, tick("product", "crm")).await;
        assert!(saved.body.contains("autre chose empêche encore l’envoi"), "{}", saved.body);
        assert_eq!((code(world, "crm").await, said(world).await.len()), ("SUPPRESSED_COMPLAINT", 1));
    }

    /// A refusal of everything: a product switched on is the only one that comes back.
    async fn a_yes_lifts_its_product_only(world: &mut World) {
        let served = opened(world).await;
        served.post(&link(world, Purpose::Unsubscribe).await, "choice=everything").await;
        world.advance(60);
        let link = link(world, Purpose::Preferences).await;
        let page = served.get(&link).await;
        assert!(!page.body.contains("value=\"crm\" checked") && !page.body.contains("value=\"erp\" checked"));
        save(&served, &link, tick("product", "erp")).await;
        assert_eq!((code(world, "crm").await, code(world, "erp").await), ("SUPPRESSED_GLOBAL", "CONSENT"));
    }

    /// The switch holds on the way from page to page, and gives way to the language that the person chooses.
    async fn the_switch_is_kept_from_page_to_page(world: &mut World) {
        let served = opened(world).await;
        let asked = served.get(&format!("{}?lang=en", link(world, Purpose::Unsubscribe).await)).await;
        let onward = |page: &Answer, start: &str| {
            let at = page.body.find(start).unwrap_or_else(|| panic!("{start}: {}", page.body));
            page.body[at..].split('"').next().expect("it ends").to_owned()
        };
        let choices = served.get(&onward(&asked, "/p/")).await;
        assert!(choices.body.contains("What you receive"), "{}", choices.body);
        let why = served.get(&onward(&choices, "/w/")).await;
        assert!(why.body.contains("Why did I get this message?"), "{}", why.body);
        for start in ["/o/", "/p/"] {
            assert!(served.get(&onward(&why, start)).await.body.contains("<html lang=\"en\">"), "{start}");
        }
        // Where the form leads speaks as the form did, and after the choice of a language as chosen.
        let path = link(world, Purpose::Preferences).await;
        let saved = save(&served, &format!("{path}?lang=fr"), set("language", "en")).await;
        let action = saved.body.split("<form method=\"post\" action=\"").nth(1).expect("a form").split('"').next();
        assert_eq!(action, Some("?lang=en"), "{}", saved.body);
    }

    /// An old form changes what its reader changed, not what others changed since; sent ten times at once,
    /// it is written once.
    async fn stale_and_repeated_forms(world: &mut World) {
        let served = Arc::new(opened(world).await);
        let link = link(world, Purpose::Preferences).await;
        let page = served.get(&link).await;
        let mut old = fields(&page, "save");
        old.push(("save".into(), "yes".into()));
        save(&served, &link, untick("product", "erp")).await;
        world.advance(60);
        untick("product", "crm")(&mut old);
        tick("tracking", "yes")(&mut old);
        let crowd: Vec<_> = (0..10).map(|_| {
            let (served, link, body) = (served.clone(), link.clone(), form(&old));
            tokio::spawn(async move { served.post(&link, &body).await.status })
        }).collect();
        for one in crowd {
            assert_eq!(one.await.expect("it answers"), 200);
        }
        let refused: Vec<String> = list(world).await.into_iter().map(|e| e.product).collect();
        assert_eq!((refused, said(world).await.len()), (vec!["erp".to_owned(), "crm".to_owned()], 1));
    }

    /// What a person switches off is refused, whatever else has come to stand in the way of the mail meanwhile:
    /// it may not last.
    async fn a_no_is_kept_though_something_else_stands_in_the_way(world: &mut World) {
        let served = opened(world).await;
        let link = link(world, Purpose::Preferences).await;
        let page = served.get(&link).await;
        let mut shown = fields(&page, "save");
        shown.push(("save".into(), "yes".into()));
        let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
        let by_hand = suppress::Refusal {
            whom: suppress::Whom::Person(hash(world, PERSON)),
            reach: suppress::Reach::Everything,
            reason: SuppressionReason::Manual,
            origin: Origin::Staff,
            at: Some(now),
            campaign_id: None,
            note: String::new(),
        };
        world.tx(async |tx| suppress::refuse(tx, &key, &by_hand, now).await).await;
        untick("product", "crm")(&mut shown);
        assert_eq!(served.post(&link, &form(&shown)).await.status, 200);
        let id = list(world).await[0].id;
        world.tx(async |tx| Ok(suppress::lift(tx, id, "a mistake", now).await.expect("it is lifted"))).await;
        assert_eq!((code(world, "crm").await, code(world, "erp").await), ("SUPPRESSED_PRODUCT", "LEGITIMATE_INTEREST_B2B"));
    }

    /// A link of a test send, of another purpose, of somebody erased.
    async fn links_that_change_nothing(world: &mut World) {
        let served = opened(world).await;
        let path = link(world, Purpose::Preferences).await;
        let token = world.app.keys.tokens.verify(path.strip_prefix("/p/").expect("the token")).expect("ours");
        let test = format!("/p/{}", world.app.keys.tokens.sign(&ouinon::domain::tokens::Token { test: true, ..token }));
        assert_eq!(save(&served, &test, untick("product", "crm")).await.status, 200);
        for purpose in [Purpose::Unsubscribe, Purpose::Why, Purpose::View, Purpose::Confirm] {
            let other = link(world, purpose).await;
            let (_, token) = other.rsplit_once('/').expect("the token");
            assert_eq!(served.get(&format!("/p/{token}")).await.status, 404, "{purpose}");
        }
        assert_eq!(list(world).await, []);
        let (key, person, now) = (world.app.keys.suppression.clone(), hash(world, PERSON), world.app.now());
        world.tx(async |tx| ouinon::pipeline::erase::erase(tx, &key, person, false, now).await).await;
        let page = served.get(&path).await;
        assert_calm(&page, 200);
        assert!(page.body.contains("Nous n’avons plus vos coordonnées") && page.body.contains("value=\"everything\""));
        assert_eq!(served.post(&path, "save=yes&shown=crm:off&product=crm").await.status, 200);
        assert_eq!(list(world).await, []);
    }
}
