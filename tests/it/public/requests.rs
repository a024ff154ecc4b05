//! "Why did I get this?", what may be asked of the sender, and the message in a browser.

use ouinon::{
    domain::{address::Address, requests::RequestKind, tokens::Purpose},
    mail::reading,
    pipeline::{
        contacts as people, erase,
        requests::{self, EndError},
    },
};

use super::acts::*;
use crate::{
    program::Program,
    store::hash,
    world::{World, on_both},
};

async fn erased(world: &World) {
    let (key, person, now) = (world.app.keys.suppression.clone(), hash(world, PERSON), world.app.now());
    world.tx(async |tx| erase::erase(tx, &key, person, true, now).await).await.expect("there was a contact");
}

on_both! {
    /// From a caught mail: why it came, from where, when, from whom, and how to object.
    async fn why(world: &mut World) {
        let (post, mail) = mailed(world).await;
        let link = link_in(&mail, 'w');
        let page = post.pages.get(&link).await;
        assert_calm(&page, 200);
        for said in ["Vous recevez ce message à titre professionnel, parce que CRM se rapporte à votre métier",
            "le salon de Lyon", "01/01/2026", "18/11/2026", "Société Exemple (actu@news.example)", "1 rue de l",
            "vous opposer à la prospection"] {
            assert!(page.body.contains(said), "{said}: {}", page.body);
        }
        let english = post.pages.get(&format!("{link}?lang=en")).await;
        assert!(english.body.contains("You receive this message as a professional"), "{}", english.body);
        assert!(requests::list(&world.app, true).await.expect("read").is_empty(), "looking asks for nothing");
        // What is in the mail besides: each link opens its own page and no other.
        for (letter, other) in [('p', 'w'), ('w', 'v'), ('v', 'p')] {
            let own = link_in(&mail, letter);
            assert_eq!(post.pages.get(&own).await.status, 200, "{letter}");
            assert_eq!(post.pages.get(&own.replacen(letter, &other.to_string(), 1)).await.status, 404);
        }
        let unsubscribe = page.body.split("/o/").nth(1).expect("a link").split('"').next().expect("it ends");
        assert_eq!(post.pages.post(&format!("/o/{unsubscribe}"), "choice=product").await.status, 200);
        assert_eq!(code(world, "crm").await, "SUPPRESSED_PRODUCT");
        erased(world).await;
        let gone = post.pages.get(&link).await;
        assert_calm(&gone, 200);
        assert!(gone.body.contains("Nous n’avons plus vos coordonnées") && !gone.body.contains("Lyon"), "{}", gone.body);
        assert_calm(&post.pages.post(&link, "request=copy").await, 200);
        assert!(requests::list(&world.app, true).await.expect("read").is_empty());
    }

    /// What is asked for is recorded once, with a month to answer; the copy goes to the address on file.
    async fn requests_of_a_person(world: &mut World) {
        let (post, mail) = mailed(world).await;
        let link = link_in(&mail, 'w');
        for nothing in ["", "request=", "request=everything", "request=copy&request=erasure", "text=x"] {
            assert_eq!(post.pages.post(&link, nothing).await.status, 400, "{nothing:?}");
        }
        for _ in 0..2 {
            let page = post.pages.post(&link, "request=copy").await;
            assert_calm(&page, 200);
            assert!(page.body.contains("réponse au plus tard le 18/12/2026"), "{}", page.body);
        }
        assert!(post.pages.post(&link, "request=correction&text=+").await.body.contains("aria-invalid"));
        let text = format!("text=Mon+nom+est+%3Cb%3EMarie%3C%2Fb%3E.{}", "%00x".repeat(700));
        assert_eq!(post.pages.post(&link, &format!("request=correction&{text}")).await.status, 200);
        post.pages.post(&link, "request=erasure&text=dropped").await;
        world.advance(3 * 86_400);
        let waiting = requests::list(&world.app, false).await.expect("read");
        let said: Vec<(RequestKind, &str, Option<i64>)> =
            waiting.iter().map(|r| (r.kind, r.due_on.as_str(), r.days_left)).collect();
        assert_eq!(said, [(RequestKind::Copy, "2026-12-18", Some(27)), (RequestKind::Correction, "2026-12-18", Some(27)),
            (RequestKind::Erasure, "2026-12-18", Some(27))]);
        assert!(waiting[1].text.starts_with("Mon nom est <b>Marie</b>.") && waiting[1].text.chars().count() <= 1_000);
        assert!(!waiting[1].text.contains('\0') && waiting[2].text.is_empty());

        let before = post.catcher.mailbag().count();
        let done = requests::send_copy(&world.app, waiting[0].id).await.expect("sent");
        assert!(done.done_at.is_some());
        let sent = post.catcher.mailbag().messages()[before].clone();
        assert_eq!(sent.to, [PERSON]);
        let letter = reading::read(&sent.bytes).expect("a message");
        assert!(letter.text.contains("\"source\": \"le salon de Lyon\"") && letter.one_click.is_none());
        assert!(letter.headers.iter().any(|(n, v)| n == "Auto-Submitted" && v == "auto-generated"));
        assert!(matches!(requests::send_copy(&world.app, waiting[0].id).await, Err(EndError::Already(_))));
        assert!(matches!(requests::send_copy(&world.app, waiting[1].id).await, Err(EndError::NoCopy { .. })));
        assert!(matches!(requests::send_copy(&world.app, 999).await, Err(EndError::Unknown(999))));
        assert_eq!(post.catcher.mailbag().count(), before + 1);

        assert!(matches!(requests::done(&world.app, waiting[2].id, " ").await, Err(EndError::StillThere(_))));
        let exported = people::dossier(&world.app, &Address::parse(PERSON).expect("an address")).await.expect("read");
        assert_eq!(exported.requests.len(), 3);
        erased(world).await;
        let left = requests::list(&world.app, true).await.expect("read");
        assert!(left.iter().all(|r| r.address.is_none() && r.text.is_empty()), "an erasure forgets the words, too");
        requests::done(&world.app, waiting[2].id, "").await.expect("done");
        assert!(matches!(requests::done(&world.app, waiting[2].id, "").await, Err(EndError::Already(_))));
    }

    /// The operator's commands.
    async fn commands(world: &mut World) {
        let (post, mail) = mailed(world).await;
        post.pages.post(&link_in(&mail, 'w'), "request=erasure").await;
        let program = Program::beside(world);
        let listed = program.json(&["request", "list"]);
        assert_eq!((&listed[0]["kind"], &listed[0]["address"], &listed[0]["id"]),
            (&"erasure".into(), &PERSON.into(), &1.into()), "{listed}");
        let run = |args: &[&str]| program.run(args).status.code();
        assert_eq!(run(&["request", "done", "1"]), Some(3), "the person is still on file");
        assert_eq!((run(&["request", "done", "7"]), run(&["request", "send", "1"])), (Some(2), Some(3)));
        let done = program.json(&["request", "done", "1", "--note", "kept for the running contract"]);
        assert!(done["done_at"].is_string() && done["days_left"].is_null(), "{done}");
        assert_eq!(program.json(&["request", "list"]), serde_json::json!([]));
        assert_eq!(program.json(&["request", "list", "--all"]).as_array().map(Vec::len), Some(1));
    }

    /// The message in a browser: as it was sent, with the links of the mail, and nothing that watches.
    async fn the_message_in_a_browser(world: &mut World) {
        let (post, mail) = mailed(world).await;
        let link = link_in(&mail, 'v');
        let page = post.pages.get(&link).await;
        assert_eq!((page.status, page.header("referrer-policy")), (200, Some("no-referrer")));
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'") && policy.contains("img-src data:;") && !policy.contains("script"));
        assert_eq!((page.body.trim(), page.header("cache-control")), (mail.html.replace("\r\n", "\n").replace("<html>", "<html lang=\"fr\">").trim(), Some("no-store")));
        assert_eq!(post.pages.ask(&format!("HEAD {link} HTTP/1.1"), b"").await.status, 200);
        assert_eq!(post.pages.post(&link, "x=y").await.status, 405);
        let other = crate::public::acts::link(world, Purpose::View).await;
        assert_eq!(post.pages.get(&other).await.status, 410, "a campaign that was never sent to that person");
        erased(world).await;
        let gone = post.pages.get(&link).await;
        assert_calm(&gone, 410);
        assert!(gone.body.contains("Ce message n’est plus là"));
    }
}
