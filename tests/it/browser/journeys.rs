//! What a recipient does, told with a keyboard on a phone, without script.

use ouinon::{
    domain::requests::RequestKind,
    mail::{catcher::Settings, reading},
    pipeline::{requests, subscribe},
};

use super::driver::{Browser, SPACE};
use crate::{
    public::acts::{PERSON, code, code_of, in_days, link_in, mailed},
    sending::Sending,
    world::{World, on_both},
};

/// Where a link of the mail leads.
fn at(post: &Sending, path: &str) -> String {
    format!("http://{}{path}", post.pages.at)
}

on_both! {
    /// From the mail: everything off in one press, said why, and taken back; then one product in English.
    async fn unsubscribe_with_the_keyboard(world: &mut World) {
        let (post, mail) = mailed(world).await;
        let Some(browser) = Browser::open("unsubscribing in a browser", false).await else { return };
        browser.go(&at(&post, &link_in(&mail, 'o'))).await;
        assert_eq!(browser.text("h1").await, "Que voulez-vous arrêter ?");
        browser.picture("journey-1-ask-fr").await;
        browser.press("button[value=everything]").await;
        assert!(browser.text("main").await.contains("m•••@example.net ne recevra plus"));
        assert_eq!(code(world, "crm").await, "SUPPRESSED_GLOBAL");
        browser.picture("journey-2-done-fr").await;
        browser.tab_to("input[name=reason]").await;
        browser.keys(&[SPACE]).await;
        browser.press("button[value=reason]").await;
        assert!(browser.text("main").await.contains("Merci, c’est noté."));
        browser.press("button[value=undo]").await;
        assert_eq!(browser.text("h1").await, "C’est annulé");
        assert_eq!(code(world, "crm").await, "LEGITIMATE_INTEREST_B2B");
        browser.picture("journey-3-undone-fr").await;

        world.advance(60);
        browser.go(&at(&post, &link_in(&mail, 'o'))).await;
        browser.press("a.switch").await;
        assert_eq!(browser.text("h1").await, "What would you like to stop?");
        browser.press("button[value=product]").await;
        assert!(browser.text("main").await.contains("will receive no more marketing messages"));
        assert_eq!(code(world, "crm").await, "SUPPRESSED_PRODUCT");
        browser.press("a.switch").await;
        assert!(browser.text("main").await.contains("ne recevra plus"), "the switch shows the same page again");
        browser.close().await;
    }

    /// From the mail: a subject off, a pause, tracking on, the language changed, all with one form.
    async fn choose_with_the_keyboard(world: &mut World) {
        let (post, mail) = mailed(world).await;
        let Some(browser) = Browser::open("choosing in a browser", false).await else { return };
        browser.go(&at(&post, &link_in(&mail, 'p'))).await;
        assert!(browser.ticked("input[value=crm]").await && !browser.ticked("input[name=tracking]").await);
        browser.picture("journey-4-choices-fr").await;
        browser.tab_to("input[value=crm]").await;
        browser.keys(&[SPACE]).await;
        browser.tab_to("input[name=tracking]").await;
        browser.keys(&[SPACE]).await;
        browser.tab_to("select").await;
        browser.write("E").await;
        browser.press("button[name=save]").await;
        let saved = browser.text("main").await;
        assert!(saved.contains("Saved, and in effect at once.") && saved.contains("Nothing is ticked"), "{saved}");
        assert!(!browser.ticked("input[value=crm]").await && browser.ticked("input[name=tracking]").await);
        browser.picture("journey-5-saved-en").await;
        assert_eq!(code(world, "crm").await, "SUPPRESSED_PRODUCT");

        world.advance(60);
        browser.tab_to("input[value=crm]").await;
        browser.keys(&[SPACE]).await;
        browser.press("button[name=save]").await;
        assert_eq!(code(world, "crm").await, "TRACKED");
        let (date, link) = (in_days(world, 30), link_in(&mail, 'p'));
        let form = format!("save=yes&pause_shown=&pause={date}");
        assert_eq!(post.pages.post(&link, &form).await.status, 200);
        browser.go(&at(&post, &link)).await;
        assert!(browser.text("#pause-hint").await.contains("Paused until"));
        assert_eq!(code(world, "crm").await, "PAUSED_BY_PERSON");
        browser.close().await;
    }

    /// From the mail: why, a copy asked for, a correction written, and the message in the browser.
    async fn understand_with_the_keyboard(world: &mut World) {
        let (post, mail) = mailed(world).await;
        let Some(browser) = Browser::open("asking why in a browser", false).await else { return };
        browser.go(&at(&post, &link_in(&mail, 'v'))).await;
        assert!(browser.text("body").await.contains("votre CRM a du nouveau"));
        browser.picture("journey-6-view-fr").await;
        browser.go(&at(&post, &link_in(&mail, 'w'))).await;
        assert!(browser.text("main").await.contains("le salon de Lyon"));
        browser.picture("journey-7-why-fr").await;
        browser.press("button[value=copy]").await;
        assert!(browser.text("main").await.contains("C’est noté : vous avez demandé une copie de vos données."));
        browser.tab_to("textarea").await;
        browser.write("Je m'appelle Marie.").await;
        browser.press("button[value=correction]").await;
        let page = browser.text("main").await;
        assert!(page.contains("vous avez demandé une correction") && page.contains("réponse au plus tard le"), "{page}");
        browser.picture("journey-8-asked-fr").await;
        browser.press("a.switch").await;
        let page = browser.text("main").await;
        assert!(page.contains("Why did I get this message?"), "{page}");
        // Whoever got the mail passed on opens the page so.
        assert!(!page.contains("You asked for"), "{page}");
        let waiting = requests::list(&world.app, false).await.expect("read");
        assert_eq!(waiting.iter().map(|r| r.kind).collect::<Vec<_>>(), [RequestKind::Copy, RequestKind::Correction]);
        assert_eq!(waiting[1].text, "Je m'appelle Marie.");
        browser.close().await;
    }

    /// A form, its mistakes, a letter, and the confirmation.
    async fn subscribe_with_the_keyboard(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let from = ouinon::domain::campaign_file::Mailbox::parse("Société Exemple <bonjour@news.example>");
        std::sync::Arc::make_mut(&mut world.app.config).smtp.from = Some(from.expect("a mailbox"));
        let Some(browser) = Browser::open("subscribing in a browser", false).await else { return };
        browser.go(&at(&post, "/s/crm?lang=fr")).await;
        browser.picture("journey-9-form-fr").await;
        browser.tab_to("#email").await;
        browser.write(PERSON).await;
        browser.press("form.choices button").await;
        assert!(browser.text(".error").await.contains("Sans votre accord"));
        browser.tab_to("input[name=agree]").await;
        browser.keys(&[SPACE]).await;
        browser.press("form.choices button").await;
        assert_eq!(browser.text("h1").await, "Encore une étape");
        browser.picture("journey-10-taken-fr").await;
        subscribe::send_letters(&world.app).await.expect("the letter is sent");
        let letter = reading::read(&post.catcher.mailbag().messages()[0].bytes).expect("a message");
        let link = letter.text.split_whitespace().find(|word| word.contains("/c/")).expect("a link").to_owned();
        world.advance(60);
        browser.go(&link).await;
        browser.picture("journey-11-confirm-fr").await;
        browser.press("button[value=yes]").await;
        assert_eq!(browser.text("h1").await, "C’est confirmé");
        assert_eq!(code_of(world, PERSON, "crm").await, "CONSENT");
        browser.picture("journey-12-confirmed-fr").await;
        browser.close().await;
    }
}
