//! Every page by axe-core: phone and desk, light and dark, French and English; nothing wider than the screen.

use ouinon::{
    domain::tokens::{Purpose, Token},
    mail::reading,
    pipeline::subscribe,
};

use super::driver::{Browser, axe};
use crate::{
    public::acts::{found, link_in, mailed},
    world::on_sqlite,
};

const TEST: &str = "the recipients' pages by axe-core";
/// WCAG 2.2 AA, and what is good practice besides.
const RUN: &str = "return axe.run(document, { resultTypes: ['violations'], runOnly: { type: 'tag', values: \
    ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] } }).then(found => \
    found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | ')))";
const WIDTH: &str = "return document.documentElement.scrollWidth - window.innerWidth";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible() {
    on_sqlite(async |world| {
        let Some(axe) = axe(TEST) else { return };
        let (post, mail) = mailed(world).await;
        let Some(browser) = Browser::open(TEST, true).await else { return };
        let mut pages: Vec<(&str, String, Option<&str>)> = vec![
            ("ask", link_in(&mail, 'o'), None),
            ("choices", link_in(&mail, 'p'), None),
            ("saved", link_in(&mail, 'p'), Some("button[name=save]")),
            ("why", link_in(&mail, 'w'), None),
            ("why-wrong", link_in(&mail, 'w'), Some("button[value=correction]")),
            ("form", "/s/crm".into(), None),
            ("form-wrong", "/s/crm".into(), Some("form.choices button")),
            ("home", "/".into(), None),
            ("lost", "/o/lost".into(), None),
        ];
        post.pages.post(&link_in(&mail, 'w'), "request=copy").await;
        let done = post.pages.post(&link_in(&mail, 'o'), "choice=product").await;
        pages.push(("done", found(&done, "/u/"), None));
        let undone = post.pages.post(&link_in(&mail, 'o'), "choice=everything").await;
        let receipt = found(&undone, "/u/");
        post.pages.post(&receipt, "act=undo").await;
        pages.push(("undone", receipt, None));
        let form = post.pages.get("/s/crm?lang=fr").await;
        let hash = &form.body.split("name=\"wording\" value=\"").nth(1).expect("a hash")[..64];
        let body = format!("email=paul@example.net&agree=yes&wording={hash}");
        assert_eq!(post.pages.post("/s/crm?lang=fr", &body).await.status, 200);
        subscribe::send_letters(&world.app).await.expect("the letter is sent");
        let letter = reading::read(&post.catcher.mailbag().messages()[1].bytes).expect("a message");
        let link = letter.text.split_whitespace().find(|word| word.contains("/c/")).expect("a link");
        pages.push(("confirm", link[link.find("/c/").expect("a path")..].to_owned(), None));
        let own = world.app.keys.tokens.verify(&link_in(&mail, 'o')[3..]).expect("ours");
        let sign = |token: Token| world.app.keys.tokens.sign(&token);
        pages.push((
            "expired",
            format!("/c/{}", sign(Token { purpose: Purpose::Confirm, campaign: 999, ..own })),
            None,
        ));
        let question = format!("/a/{}", sign(Token { purpose: Purpose::Answer, ..own }));
        for (name, press) in
            [("question", None), ("answered-yes", Some("button[value=yes]")), ("answered-no", Some("button[value=no]"))]
        {
            pages.push((name, question.clone(), press));
        }
        pages.push(("test", format!("/p/{}", sign(Token { purpose: Purpose::Preferences, test: true, ..own })), None));
        pages.push(("gone", format!("/v/{}", sign(Token { purpose: Purpose::View, campaign: 999, ..own })), None));

        let mut wrong = Vec::new();
        for (name, path, press) in &pages {
            for lang in ["fr", "en"] {
                browser.go(&format!("http://{}{path}?lang={lang}", post.pages.at)).await;
                if let Some(button) = press {
                    browser.press(button).await;
                }
                for (look, width, phone, dark) in [
                    ("phone", 375, true, false),
                    ("phone-dark", 375, true, true),
                    ("narrow", 320, true, false),
                    ("desk", 1280, false, false),
                ] {
                    browser.size(width, 812, phone).await;
                    browser.dark(dark).await;
                    browser.script(&axe).await;
                    let found = browser.script(RUN).await;
                    let found = found.as_array().cloned().unwrap_or_else(|| vec![found]);
                    wrong.extend(found.into_iter().map(|v| format!("{name} {lang} {look}: {v}")));
                    let over = browser.script(WIDTH).await.as_i64().unwrap_or(i64::MAX);
                    if over > 0 {
                        wrong.push(format!("{name} {lang} {look}: {over} pixels wider than the screen"));
                    }
                    if look != "narrow" {
                        browser.picture(&format!("page-{name}-{lang}-{look}")).await;
                    }
                }
            }
        }
        browser.close().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}
