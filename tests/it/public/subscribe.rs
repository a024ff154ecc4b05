//! The subscription form and the double opt-in.

use ouinon::{
    domain::{
        address::Address,
        consents::Proof,
        contacts::SourceKind,
        lang::Lang,
        suppressions::{Origin, SuppressionReason},
        wordings::Shown,
    },
    mail::{catcher::Settings, reading},
    pipeline::{
        erase, subscribe,
        suppress::{self, Reach, Refusal, Whom},
        wordings,
    },
    store::{
        self,
        subscriptions::{LetterState, Subscription},
    },
};

use super::acts::*;
use crate::{
    http::Answer,
    program::Program,
    sending::Sending,
    store::hash,
    world::{World, on_both},
};

const NEW: &str = "paul@example.net";

/// The mail server, the pages, and the product of the form; written from a configured address.
async fn open(world: &mut World) -> Sending {
    let config = std::sync::Arc::make_mut(&mut world.app.config);
    let from = ouinon::domain::campaign_file::Mailbox::parse("Société Exemple <bonjour@news.example>");
    config.smtp.from = Some(from.expect("a mailbox"));
    let post = Sending::open(world, Settings::default()).await;
    world.product("crm").await;
    post
}

/// Fills in the form as a browser would, for this address.
async fn send_form(post: &Sending, address: &str) -> Answer {
    let page = post.pages.get("/s/crm").await;
    assert_eq!(page.status, 200, "{}", page.body);
    let mut fields = fields(&page, "email");
    fields.retain(|(name, _)| name != "email");
    fields.push(("email".into(), address.into()));
    fields.push(("agree".into(), "yes".into()));
    post.pages.post("/s/crm?lang=fr", &form(&fields)).await
}

/// Lets a worker's turn pass; the letters that came.
async fn letters(world: &World, post: &Sending) -> Vec<reading::Reading> {
    let before = post.catcher.mailbag().count();
    subscribe::send_letters(&world.app).await.expect("the letters are sent");
    let messages = post.catcher.mailbag().messages();
    messages[before..].iter().map(|m| reading::read(&m.bytes).expect("a message")).collect()
}

/// The path of the link in a letter.
fn confirm_link(letter: &reading::Reading) -> String {
    let at = letter.text.find("/c/").expect("a link");
    letter.text[at..].split_whitespace().next().expect("it ends").to_owned()
}

async fn subscriptions(world: &World, address: &str) -> Vec<Subscription> {
    let person = hash(world, address);
    world.tx(async |tx| store::subscriptions::of_person(tx, person).await).await
}

async fn refused(world: &World, address: &str, reason: SuppressionReason) {
    let refusal = Refusal {
        whom: Whom::Address(Address::parse(address).expect("an address")),
        reach: Reach::Everything,
        reason,
        origin: Origin::Staff,
        at: Some(world.app.now()),
        campaign_id: None,
        note: String::new(),
    };
    let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
    world.tx(async |tx| suppress::refuse(tx, &key, &refusal, now).await).await;
}

on_both! {
    /// Form, letter, page, press: somebody new is there, with a yes that says to which text.
    async fn somebody_new(world: &mut World) {
        let post = open(world).await;
        let shown = post.pages.get("/s/crm").await;
        assert_calm(&shown, 200);
        assert!(shown.body.contains("name=\"agree\" value=\"yes\" required>"), "never ticked: {}", shown.body);
        assert_eq!(post.pages.ask("HEAD /s/crm HTTP/1.1", b"").await.status, 200);
        let taken = send_form(&post, " Paul@Example.net ").await;
        assert_calm(&taken, 200);
        assert!(taken.body.contains("Regardez votre boîte aux lettres"), "{}", taken.body);
        let letters = letters(world, &post).await;
        let letter = &letters[0];
        assert_eq!((letters.len(), letter.to.as_str(), letter.one_click.as_deref()), (1, NEW, None));
        assert!(!letter.html.contains("<img") && letter.html.contains("/c/") && letter.from.contains("bonjour@news.example"));
        assert!(letter.headers.iter().any(|(n, v)| n == "Auto-Submitted" && v == "auto-generated"));

        let link = confirm_link(letter);
        world.advance(3600);
        let page = post.pages.get(&link).await;
        assert_calm(&page, 200);
        assert!(page.body.contains("p•••@example.net") && page.body.contains("J’accepte de recevoir"), "{}", page.body);
        assert_eq!(post.pages.post(&link, "confirm=no").await.status, 400);
        let nobody = hash(world, NEW);
        assert!(world.tx(async |tx| store::contacts::by_hash(tx, nobody).await).await.is_none(), "looking subscribes nobody");

        assert!(post.pages.post(&link, "confirm=yes").await.body.contains("C’est confirmé"));
        let contact = world.tx(async |tx| store::contacts::by_hash(tx, nobody).await).await.expect("the contact");
        assert_eq!((contact.source_kind, contact.regime.as_str(), contact.language.as_str(), contact.last_activity.as_str()),
            (SourceKind::DirectForm, "EU_DEFAULT", "fr", "form"));
        let said = world.tx(async |tx| store::consents::of_contacts(tx, &[contact.id]).await).await;
        assert_eq!((said.len(), said[0].proof, said[0].at, said[0].origin), (1, Proof::Doi, Some(world.now()), Origin::Page));
        let kept = world.tx(async |tx| store::wordings::of_name(tx, "form:crm").await).await.remove(0);
        let evidence = &said[0].evidence;
        assert!(evidence.starts_with("page=form wording=form:crm version=1 language=fr sha256=") && evidence.contains(&kept.hash));
        assert!(evidence.contains("asked=2026-11-18T09:00:00Z confirmed=2026-11-18T10:00:00Z mail="), "{evidence}");
        assert_eq!(code_of(world, NEW, "crm").await, "CONSENT");
        assert_eq!(subscriptions(world, NEW).await[0].address, "", "the plain address is the contact's alone");

        // Repeated, after a later refusal too: friendly, and nothing comes back.
        world.advance(60);
        refused(world, NEW, SuppressionReason::Unsubscribe).await;
        world.advance(60);
        let again = post.pages.post(&link, "confirm=yes").await;
        assert!(again.status == 200 && again.body.contains("C’était déjà confirmé"), "{}", again.body);
        assert_eq!(code_of(world, NEW, "crm").await, "SUPPRESSED_GLOBAL");
    }

    /// A confirmation lifts an earlier refusal, of that product only; complained and dead addresses get no
    /// letter, and the page says the same to everybody.
    async fn those_who_refused(world: &mut World) {
        let post = open(world).await;
        world.product("erp").await;
        let people = [(PERSON, SuppressionReason::Unsubscribe), ("plaint@example.net", SuppressionReason::Complaint),
            ("dead@example.net", SuppressionReason::HardBounce), ("shut@example.net", SuppressionReason::Manual)];
        for (address, reason) in people {
            world.tx(async |tx| store::contacts::save(tx, &[crate::store::contact(world, address)]).await).await;
            refused(world, address, reason).await;
        }
        world.advance(60);
        let mut pages = Vec::new();
        for (address, _) in people.into_iter().chain([(NEW, SuppressionReason::Manual)]) {
            pages.push(send_form(&post, address).await.body);
        }
        assert!(pages.iter().all(|page| *page == pages[0]), "the same page for everybody");
        let letters = letters(world, &post).await;
        let to: Vec<&str> = letters.iter().map(|l| l.to.as_str()).collect();
        assert_eq!(to, [PERSON, NEW]);
        assert_eq!(subscriptions(world, "dead@example.net").await[0].mail, LetterState::Withheld);
        post.pages.post(&confirm_link(&letters[0]), "confirm=yes").await;
        assert_eq!((code(world, "crm").await, code(world, "erp").await), ("CONSENT", "SUPPRESSED_GLOBAL"));
    }

    /// What an operator closed for one product is open for another; a complaint names none.
    async fn an_operators_no_to_one_product(world: &mut World) {
        let post = open(world).await;
        world.product("erp").await;
        for (address, reason) in [(PERSON, SuppressionReason::Manual), (NEW, SuppressionReason::Complaint)] {
            let whom = Whom::Address(Address::parse(address).expect("an address"));
            let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
            let refusal = Refusal { whom, reach: Reach::Product("erp".into()), reason, origin: Origin::Staff, at: Some(now),
                campaign_id: None, note: String::new() };
            world.tx(async |tx| suppress::refuse(tx, &key, &refusal, now).await).await;
            send_form(&post, address).await;
        }
        let to: Vec<String> = letters(world, &post).await.into_iter().map(|l| l.to).collect();
        assert_eq!(to, [PERSON]);
    }

    /// A complaint between form and letter counts.
    async fn a_complaint_in_between(world: &mut World) {
        let post = open(world).await;
        send_form(&post, NEW).await;
        refused(world, NEW, SuppressionReason::Complaint).await;
        assert!(letters(world, &post).await.is_empty());
        assert_eq!(subscriptions(world, NEW).await[0].mail, LetterState::Withheld);
    }

    /// A complaint after the letter counts too: the yes is recorded, and nothing is promised that will not come.
    async fn a_complaint_after_the_letter(world: &mut World) {
        let post = open(world).await;
        send_form(&post, NEW).await;
        let link = confirm_link(&letters(world, &post).await[0]);
        refused(world, NEW, SuppressionReason::Complaint).await;
        world.advance(60);
        let page = post.pages.post(&link, "confirm=yes").await;
        assert_calm(&page, 200);
        assert!(page.body.contains("Votre accord est noté, mais autre chose empêche encore l’envoi"), "{}", page.body);
        assert!(!page.body.contains("recevra les messages"), "{}", page.body);
        assert_eq!(code_of(world, NEW, "crm").await, "SUPPRESSED_COMPLAINT");
    }

    /// One address gets few letters, one network sends few forms, and a robot's form is dropped.
    async fn list_bombing(world: &mut World) {
        let post = open(world).await;
        for n in 0..6 {
            assert_calm(&send_form(&post, NEW).await, 200);
            world.advance(if n == 0 { 60 } else { 11 * 60 });
        }
        assert_eq!(letters(world, &post).await.len(), 3, "three a day, and not twice within ten minutes");
        let page = post.pages.get("/s/crm").await;
        let mut robot = fields(&page, "email");
        robot.retain(|(name, _)| name != "email" && name != "website");
        robot.extend([("email", "robot@example.net"), ("agree", "yes"), ("website", "http://spam.example")].map(|(n, v)| (n.into(), v.into())));
        let dropped = post.pages.post("/s/crm?lang=fr", &form(&robot)).await;
        assert_eq!(dropped.body, send_form(&post, "human@example.net").await.body);
        assert!(subscriptions(world, "robot@example.net").await.is_empty());
        world.advance(3600);
        let mut statuses = Vec::new();
        for n in 0..40 {
            statuses.push(send_form(&post, &format!("p{n}@example.net")).await.status);
        }
        assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 10, "thirty an hour: {statuses:?}");
        // Another network, named by the proxy in front, is not held up.
        let head = "POST /s/crm?lang=fr HTTP/1.1\r\nX-Forwarded-For: 203.0.113.8\r\nContent-Type: application/x-www-form-urlencoded";
        assert_eq!(post.pages.ask(head, b"email=x@example.net&agree=yes&wording=none").await.status, 422);
    }

    /// A network is not hidden by a header that the proxy in front does not write but lets through.
    async fn no_header_hides_a_network(world: &mut World) {
        let post = open(world).await;
        for said in [
            |n: u32| format!("X-Forwarded-For: 203.0.113.8\r\nForwarded: for=198.51.{n}.7"),
            |n: u32| format!("X-Forwarded-For: 198.51.{n}.9\r\nForwarded: for=203.0.114.8"),
        ] {
            let mut statuses = Vec::new();
            for n in 0..31 {
                let head = format!(
                    "POST /s/crm HTTP/1.1\r\n{}\r\nContent-Type: application/x-www-form-urlencoded", said(n)
                );
                statuses.push(post.pages.ask(&head, b"email=x@example.net&agree=yes&wording=none").await.status);
            }
            assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 1, "{statuses:?}");
        }
    }

    /// Expired, erased, forged, of another purpose: friendly, and nothing is written.
    async fn links_that_do_nothing(world: &mut World) {
        let post = open(world).await;
        send_form(&post, NEW).await;
        let letter = letters(world, &post).await.remove(0);
        let link = confirm_link(&letter);
        let person = hash(world, NEW);
        world.advance(7 * 86_400 + 1);
        let late = post.pages.post(&link, "confirm=yes").await;
        assert_calm(&late, 200);
        assert!(late.body.contains("Ce lien a expiré") && late.body.contains("/s/crm"), "{}", late.body);
        assert!(letters(world, &post).await.is_empty());
        assert_eq!(subscriptions(world, NEW).await[0].address, "", "who does not confirm is forgotten");
        assert!(world.tx(async |tx| store::contacts::by_hash(tx, person).await).await.is_none());
        let token = link.strip_prefix("/c/").expect("the token");
        for page in ["o", "p", "w", "v", "u"] {
            assert_eq!(post.pages.get(&format!("/{page}/{token}")).await.status, 404, "{page}");
        }
        // Asked for again, and erased before the press.
        send_form(&post, NEW).await;
        let link = confirm_link(&letters(world, &post).await.remove(0));
        let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
        world.tx(async |tx| store::contacts::save(tx, &[crate::store::contact(world, NEW)]).await).await;
        world.tx(async |tx| erase::erase(tx, &key, person, true, now).await).await;
        assert!(post.pages.post(&link, "confirm=yes").await.body.contains("Ce lien a expiré"));
    }

    /// What is wrong with a form is said; a text that was chosen since is shown again; hidden products have none.
    async fn forms_that_are_not_taken(world: &mut World) {
        let post = open(world).await;
        let hash_of = |page: &Answer| page.body.split("name=\"wording\" value=\"").nth(1).expect("a hash")[..64].to_owned();
        let old = hash_of(&post.pages.get("/s/crm").await);
        for (body, said) in [
            (format!("email=nobody&agree=yes&wording={old}"), "email-error"),
            (format!("email={NEW}&wording={old}"), "agree-error"),
            (format!("email={NEW}&agree=yes&wording={}", "0".repeat(64)), "Le texte a changé"),
        ] {
            let page = post.pages.post("/s/crm?lang=fr", &body).await;
            assert_calm(&page, 422);
            assert!(page.body.contains(said), "{said}: {}", page.body);
        }
        assert!(post.pages.post("/s/crm", "x=y").await.status == 400 && post.pages.get("/s/none").await.status == 404);
        assert_eq!(subscriptions(world, NEW).await, []);
        // The form that stands in another page goes on, in its own language, whatever is chosen since.
        let kept = world.tx(async |tx| {
            let product = store::products::by_slug(tx, "crm").await?.expect("the product");
            let shown = subscribe::wording(&world.app, tx, &product, Lang::Fr).await?;
            wordings::keep(tx, &shown, world.app.now()).await
        }).await;
        assert_eq!(kept.hash, old);
        let chosen = Shown { name: "form:crm".into(), lang: Lang::Fr, text: "Oui, écrivez-moi.".into() };
        world.tx(async |tx| wordings::choose(tx, &chosen, world.app.now()).await).await;
        let now = post.pages.get("/s/crm").await;
        assert!(now.body.contains("Oui, écrivez-moi.") && hash_of(&now) != old);
        let body = format!("email={NEW}&agree=yes&wording={old}");
        let head = "POST /s/crm HTTP/1.1\r\nAccept-Language: en\r\nContent-Type: application/x-www-form-urlencoded";
        assert_eq!(post.pages.ask(head, body.as_bytes()).await.status, 200);
        assert_eq!(subscriptions(world, NEW).await[0].wording, old);
        world.tx(async |tx| store::products::publish(tx, "crm", false).await).await;
        assert_eq!(post.pages.get("/s/crm").await.status, 404);
        assert_eq!(post.pages.post("/s/crm", &body).await.status, 404);
    }

    /// What no database keeps as text is answered like everything else that is wrong.
    async fn zeros_are_no_text(world: &mut World) {
        let post = open(world).await;
        assert_eq!(post.pages.get("/s/%00").await.status, 404);
        assert_eq!(post.pages.get("/s/cr%00m").await.status, 404);
        let body = format!("email={NEW}&agree=yes&wording=%00");
        assert_eq!(post.pages.post("/s/crm?lang=%00", &body).await.status, 422);
        assert_eq!(post.pages.post("/s/crm", "email=a%00b@example.net&agree=yes&wording=x").await.status, 422);
    }

    /// The operator's commands, and the letter that a serving worker sends.
    async fn commands(world: &mut World) {
        let post = open(world).await;
        let program = Program::beside(world).with("OUINON_SMTP_FROM", "Exemple <bonjour@news.example>");
        let snippet = program.json(&["form", "snippet", "crm", "--lang", "en"]);
        let html = snippet["html"].as_str().expect("HTML");
        let hash = snippet["sha256"].as_str().expect("a hash");
        assert!(html.contains(hash) && html.contains("/s/crm?lang=en") && !html.contains("<script"), "{html}");
        let chosen = program.json(&["form", "wording", "crm", "--lang", "en", "--text", "Yes,\n write to me."]);
        assert_eq!((&chosen["version"], &chosen["text"]), (&2.into(), &"Yes, write to me.".into()));
        let shown = program.json(&["form", "show", "crm"]);
        assert_eq!((&shown["wordings"][1]["text"], shown["kept"].as_array().map(Vec::len)), (&"Yes, write to me.".into(), Some(2)));
        assert_eq!(program.run(&["form", "show", "none"]).status.code(), Some(2));
        assert_eq!(program.run(&["form", "wording", "crm", "--lang", "en", "--text", " "]).status.code(), Some(2));

        let body = format!("email={NEW}&agree=yes&wording={hash}");
        assert_eq!(post.pages.post("/s/crm?lang=en", &body).await.status, 200);
        let working = world.work();
        world.until("the letter is there", async || post.catcher.mailbag().count() == 1).await;
        working.stop().await;
        let letter = reading::read(&post.catcher.mailbag().messages()[0].bytes).expect("a message");
        assert!(letter.subject.starts_with("Confirm your subscription"));
        world.until("it is noted", async || subscriptions(world, NEW).await[0].mail == LetterState::Sent).await;
    }
}
