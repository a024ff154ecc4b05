//! Asking: only those who may be asked, once, in waves, and everything they answer.

use std::{collections::BTreeSet, sync::Arc};

use ouinon::{
    domain::{
        address::Address,
        campaigns::{CampaignState, DeliveryState},
        contacts::{ContactKind, Relationship},
        lang::Lang,
        repermission::waves::{Share, Waves},
        suppressions::Scope,
    },
    mail::catcher::{Action, Caught, Script, Settings, What},
    pipeline::{
        campaigns, contacts as people,
        repermission::{
            purge,
            report::{self, Report},
            send::{self, Asking, SendError, Sent, Words},
        },
    },
    store::{self, contacts, contacts::Contact, suppressions},
};

use super::{Reading, plan_of, told};
use crate::{
    sending::{Sending, campaign, header, one_click_uri},
    store::{contact, stored},
    world::{World, on_both},
};

pub fn asking() -> Asking {
    Asking {
        from: Some("Société Exemple <bonjour@news.example>".into()),
        reply_to: None,
        subject: None,
        body: None,
        language: None,
        rate: Some(ouinon::domain::campaign_file::Rate::parse("60000/min").unwrap()),
        waves: Waves::default(),
    }
}

pub async fn send(world: &World, plan: &str, asking: &Asking) -> Sent {
    send::send(&world.app, plan, asking, Lang::En).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The report of a plan, whose numbers must add up.
pub async fn report(world: &World, plan: &str) -> Report {
    let plan = send::find(&world.app, plan).await.unwrap();
    let report = report::report(&world.app, &plan).await.unwrap();
    assert_eq!(report.base, report.waiting + report.blocked + report.sent + report.cancelled, "{report:?}");
    let answered = report.yes + report.no + report.unsubscribes + report.complaints;
    assert_eq!(report.accepted, answered + report.silent, "{report:?}");
    assert_eq!(report.silent, report.silence.business + report.silence.consumer + report.silence.gone, "{report:?}");
    report
}

/// The link of an answer in a message.
fn answer_path(post: &Sending, message: &Caught, answer: &str) -> String {
    let text = String::from_utf8_lossy(&message.bytes).replace("=\r\n", "").replace("=3D", "=");
    let start = format!("http://{}/a/", post.pages.at);
    let links: BTreeSet<&str> = text
        .match_indices(&start)
        .map(|(at, _)| text[at..].split(['"', '\r', ' ', ')', '<']).next().unwrap())
        .filter(|link| link.ends_with(&format!("?answer={answer}")))
        .collect();
    assert_eq!(links.len(), 1, "one link says {answer}: {links:?}");
    links.into_iter().next().unwrap().strip_prefix(&format!("http://{}", post.pages.at)).unwrap().to_owned()
}

async fn known(world: &World, address: &str) -> Option<Contact> {
    let hash = world.app.keys.suppression.hash(&Address::parse(address).unwrap());
    world.tx(async |tx| contacts::by_hash(tx, hash).await).await
}

const LIST: &str = "email;kind;relationship;country;source_kind;collected_at;similar;same_entity;refusal_offered;informed;language;unsubscribed_at\n\
    pro@s.example;b2b;prospect;FR;business_card;2025-06-01;;;;;fr;\n\
    eng@s.example;b2b;prospect;FR;public_source;2025-06-01;;;;;en;\n\
    client@example.net;b2c;client;FR;purchase;2025-06-01;oui;oui;oui;oui;fr;\n\
    rien@example.net;b2c;prospect;FR;direct_form;2026-06-01;;;;oui;fr;\n\
    stop@s.example;b2b;prospect;FR;business_card;2025-06-01;;;;;fr;2025-07-01\n";

on_both! {
    /// The whole way: sorted, asked, answered yes and no, reported; nobody else gets anything, and what
    /// the list refuses is refused for good.
    async fn asked_and_answered(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let plan = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        assert_eq!(told(&plan), "askable 3, no-basis 1, refused 1");
        assert_eq!(report(world, &plan.id).await.waiting, 3);
        let sent = send(world, &plan.id, &asking()).await;
        assert_eq!((sent.askable, sent.waves, sent.campaign.as_str()), (3, 1, "repermission-rp-1"));
        let again = send::send(&world.app, &plan.id, &asking(), Lang::En).await;
        assert!(matches!(&again, Err(error) if error.is_refused()), "{again:?}");
        world.send(&sent.campaign).await;

        let caught = post.caught();
        assert_eq!(caught.keys().map(String::as_str).collect::<Vec<_>>(), ["client@example.net", "eng@s.example", "pro@s.example"]);
        for (address, message) in &caught {
            let text = String::from_utf8_lossy(&message.bytes).replace("=\r\n", "");
            assert!(!text.contains("<img") && !text.contains("src=3D"), "no pixel");
            one_click_uri(&message.bytes);
            let subject = header(&message.bytes, "Subject").unwrap();
            assert!((address == "eng@s.example") == subject.starts_with("May we go on writing to you about CRM?"), "{subject}");
        }
        assert!(known(world, "rien@example.net").await.is_none(), "nobody else of the list becomes a contact");
        assert!(known(world, "pro@s.example").await.unwrap().informed, "the notice was given");
        let stop = world.app.keys.suppression.hash(&Address::parse("stop@s.example").unwrap());
        let entries = world.tx(async |tx| suppressions::standing(tx, &[stop], &[], &[]).await).await;
        assert_eq!((entries.len(), entries[0].scope), (1, Scope::Hash), "the refusal of the list is one, as a keyed hash");

        // Both links lead to the same question; looking answers nothing.
        let pro: &Arc<Caught> = &caught["pro@s.example"];
        let (yes, no) = (answer_path(&post, pro, "yes"), answer_path(&post, pro, "no"));
        let page = post.pages.get(&no).await;
        assert_eq!((page.status, page.body.matches("<button").count()), (200, 2));
        assert_eq!(post.pages.ask(&format!("HEAD {yes} HTTP/1.1"), b"").await.status, 200);
        assert_eq!(report(world, &plan.id).await.silent, 3);
        for nonsense in ["", "answer=maybe", "answer=yes&answer=no", "List-Unsubscribe=One-Click"] {
            assert_eq!(post.pages.post(&yes, nonsense).await.status, 400, "{nonsense}");
        }
        world.advance(120);
        assert_eq!(post.pages.post(&no, "answer=yes").await.status, 200);
        assert_eq!(post.pages.post(&yes, "answer=yes").await.status, 200, "a second press changes nothing");
        let eng = &caught["eng@s.example"];
        assert_eq!(post.pages.post(&answer_path(&post, eng, "yes"), "answer=no").await.status, 200);
        let told = report(world, &plan.id).await;
        assert_eq!((told.yes, told.no, told.unsubscribes, told.silent), (1, 1, 0, 1));
        assert_eq!((told.series.yes.as_slice(), told.series.no.as_slice()), (&[0, 0, 1][..], &[0, 0, 1][..]));
        assert_eq!(told.silence.consumer, 1, "a silent consumer has not consented");

        // A yes is a proven consent, a no a refusal; both hold in the next plan, and for ordinary mail.
        let next = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        assert_eq!(super::told(&next), "already 1, no-basis 2, refused 2");
        assert_eq!(next.by_reason["REPERMISSION_COOLDOWN"], 1);
        world.create(&campaign("after", "")).await;
        assert_eq!(world.preflight("after").await.send.by_basis.keys().copied().collect::<Vec<_>>(), ["CONSENT", "SOFT_OPT_IN"]);
        // A no taken back is a later yes; a yes taken back is a no.
        world.advance(60);
        post.pages.post(&answer_path(&post, eng, "no"), "answer=yes").await;
        post.pages.post(&yes, "answer=no").await;
        let told = report(world, &plan.id).await;
        assert_eq!((told.yes, told.no, told.silent), (1, 1, 1));
        assert_eq!(told.by_relationship["prospect"].yes, 1);
        let counted = |series: &[i64]| series.iter().sum::<i64>();
        assert_eq!((told.series.yes.as_slice(), counted(&told.series.no)), (&[0, 0, 0, 1][..], 1), "once, by the last answer");
        let next = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        assert_eq!(super::told(&next), "already 1, no-basis 2, refused 2");
        // Six months later whoever said nothing may be asked again.
        world.advance(200 * 24 * 3600);
        let next = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        assert_eq!(super::told(&next), "already 1, askable 1, no-basis 1, refused 2");
    }

    /// A consumer without proven consent gets the question on none of the ways there are.
    async fn a_consumer_is_never_asked(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let consumer = "email;kind;country;source_kind;collected_at;informed\nc@example.net;b2c;FR;direct_form;2026-06-01;oui\n";
        let plan = plan_of(world, &[("old.csv", consumer.as_bytes())], &Reading::default()).await;
        assert_eq!(told(&plan), "no-basis 1");
        let nobody = send::send(&world.app, &plan.id, &asking(), Lang::En).await;
        assert!(matches!(&nobody, Err(SendError::Nobody(_))) && nobody.unwrap_err().is_refused());

        // Known as a consumer, called a professional by a file.
        let person = Contact { kind: ContactKind::Consumer, relationship: Relationship::Prospect, ..contact(world, "c@example.net") };
        stored(world, person).await;
        let claims = consumer.replace("b2c", "b2b");
        let plan = plan_of(world, &[("old.csv", claims.as_bytes())], &Reading::default()).await;
        assert_eq!(told(&plan), "no-basis 1");

        // Called a professional by the plan, known as a consumer when it is sent, queued, or about to leave.
        let list = "email;kind;country;source_kind;collected_at\np@example.net;b2b;FR;business_card;2026-06-01\nq@example.net;b2b;FR;business_card;2026-06-01\n";
        let plan = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        assert_eq!(told(&plan), "askable 2");
        stored(world, Contact { kind: ContactKind::Consumer, relationship: Relationship::Prospect, ..contact(world, "p@example.net") }).await;
        let sent = send(world, &plan.id, &asking()).await;
        world.send(&sent.campaign).await;
        let told = report(world, &plan.id).await;
        assert_eq!((told.accepted, told.blocked), (1, 1), "{told:?}");
        assert_eq!(told.by_reason["NO_CONSENT"], 1);

        // An ordinary campaign of that kind, and a contact changed while it waits.
        let file = campaign("by-hand", "art14_notice = true").replace("kind = \"marketing\"", "kind = \"repermission\"");
        world.create(&file).await;
        assert_eq!(world.preflight("by-hand").await.send.total, 0, "the consumers by law, the other by RP-6");
        world.launch("by-hand").await;
        world.send("by-hand").await;
        let caught = post.caught();
        assert_eq!(caught.keys().map(String::as_str).collect::<Vec<_>>(), ["q@example.net"]);
        // Edited into a professional, it is the operator's statement; a refusal then still holds.
        let changes = [("kind".to_owned(), "b2c".to_owned())];
        assert!(people::edit(&world.app, &Address::parse("q@example.net").unwrap(), &changes).await.unwrap());
        world.advance(300 * 24 * 3600);
        let plan = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        assert_eq!(super::told(&plan), "no-basis 2");
    }

    /// A question of which nobody knows whether it arrived, and of which a person says that it did: it is not
    /// asked again before its time, and whoever was informed by it is informed.
    async fn a_question_that_arrived_by_a_persons_word(world: &mut World) {
        let cut: Script = Arc::new(|event| match event.what {
            What::Message { .. } => Action::Close,
            _ => Action::Usual,
        });
        let _post = Sending::open(world, Settings { script: Some(cut), ..Settings::default() }).await;
        world.product("crm").await;
        let pro = contact(world, "pro@s.example");
        stored(world, Contact { kind: ContactKind::Business, informed: false, ..pro }).await;
        let ask = |slug| campaign(slug, "art14_notice = true").replace("kind = \"marketing\"", "kind = \"repermission\"");
        for slug in ["once", "twice"] {
            world.create(&ask(slug)).await;
        }
        world.launch("once").await;
        world.send("once").await;
        assert_eq!(world.report("once").await.status.unknown, 1);
        let address = Address::parse("pro@s.example").unwrap();
        campaigns::resolve(&world.app, "once", &address, DeliveryState::Accepted).await.unwrap();
        assert!(known(world, "pro@s.example").await.unwrap().informed);
        let forecast = world.preflight("twice").await;
        assert_eq!(forecast.block.by_reason.get("REPERMISSION_COOLDOWN"), Some(&1), "{forecast:?}");
    }

    /// In waves, with a pause between them; stopped when too many object, and never asked twice by two plans.
    async fn in_waves_and_stopped(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let mut list = String::from("email;kind;country;source_kind;collected_at\n");
        for i in 0..300 {
            list.push_str(&format!("p{i}@s{i}.example;b2b;FR;business_card;2026-06-01\n"));
        }
        let plan = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        let other = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        let waves = Waves { wave: Share(5000), pause_s: 3600, ..Waves::default() };
        let sent = send(world, &plan.id, &Asking { waves, ..asking() }).await;
        assert_eq!(sent.waves, 2);
        let working = world.work();
        world.until("the first wave is out", async || report(world, &plan.id).await.accepted == 150).await;
        world.until("its end is noted", async || send::find(&world.app, &plan.id).await.unwrap().wave_ended_at.is_some()).await;
        assert_eq!(report(world, &plan.id).await.waiting, 150);
        // Five in a hundred are enough.
        let caught = post.caught();
        for message in caught.values().take(8) {
            assert_eq!(post.one_click(message).await.status, 200);
        }
        world.until_state(&sent.campaign, CampaignState::Paused).await;
        let told = report(world, &plan.id).await;
        assert_eq!((told.stopped_by.as_deref(), told.unsubscribes, told.waiting), (Some("stop-unsubscribes"), 8, 150));
        // A person looks, and lets it go on; the pause is over.
        world.advance(3700);
        campaigns::resume(&world.app, &sent.campaign).await.unwrap();
        world.until_state(&sent.campaign, CampaignState::Finished).await;
        let whole = report(world, &plan.id).await;
        assert_eq!((whole.accepted, whole.stopped_by), (300, None), "it is not stopped any more");
        assert_eq!(whole.was_stopped_by.as_deref(), Some("stop-unsubscribes"));
        // The other plan asks nobody of them again.
        let second = send(world, &other.id, &asking()).await;
        world.until_state(&second.campaign, CampaignState::Finished).await;
        working.stop().await;
        let told = report(world, &other.id).await;
        assert_eq!((told.sent, told.blocked), (0, 300));
        assert_eq!((told.by_reason["REPERMISSION_COOLDOWN"], told.by_reason["SUPPRESSED_GLOBAL"]), (292, 8));
        assert_eq!(post.catcher.mailbag().messages().len(), 300);
    }

    /// Of a plan that is cancelled after its first wave, the later waves are cancelled and wait for nothing.
    async fn cancelled_between_waves(world: &mut World) {
        let _post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let mut list = String::from("email;kind;country;source_kind;collected_at\n");
        for i in 0..20 {
            list.push_str(&format!("p{i}@s{i}.example;b2b;FR;business_card;2026-06-01\n"));
        }
        let plan = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        let waves = Waves { wave: Share(1000), pause_s: 3600, ..Waves::default() };
        let sent = send(world, &plan.id, &Asking { waves, ..asking() }).await;
        let working = world.work();
        world.until("the first wave is out", async || report(world, &plan.id).await.accepted == 2).await;
        campaigns::cancel(&world.app, &sent.campaign).await.unwrap();
        working.stop().await;
        let told = report(world, &plan.id).await;
        assert_eq!((told.sent, told.waiting, told.cancelled, told.stopped_by), (2, 0, 18, None));
    }

    /// What is refused is refused with its line in the operator's own file, and nothing leaves; the refusals
    /// of the list are recorded all the same.
    async fn refused_with_its_place(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let plan = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        let stop = world.app.keys.suppression.hash(&Address::parse("stop@s.example").unwrap());
        let refusals = async || world.tx(async |tx| suppressions::standing(tx, &[stop], &[], &[]).await).await.len();
        assert_eq!(refusals().await, 0);
        let with = |text: &str| Asking { body: Some(Words { name: "b3.md".into(), text: text.into() }), ..asking() };
        for (body, told) in [
            ("<img src=\"https://track.example/q.gif?u={{ contact.email }}\" width=1 height=1>", "b3.md: Line 1, column 1: the image"),
            ("Bonjour,\n\n![](https://t.example/a?e={{ contact.email }})", "b3.md: Line 3, column 1: the image"),
            ("\n\n\nBonjour [voir](https://shop.example/promo?u={{ contact.email }})", "b3.md: Line 4, column 9: the link"),
            ("a\n\n<div style=\"background:url(https://t.example/a)\">x</div>", "b3.md: Line 3, column 1: style"),
            ("a\n\n<div style=\"display:none\"><div><div>", "b3.md: Line 3, column 1: <div> is hidden"),
            ("a\n\n<div>\n\nb", "b3.md: Line 3, column 1: <div> is not closed"),
        ] {
            let refused = send::send(&world.app, &plan.id, &with(body), Lang::En).await.unwrap_err();
            assert!(refused.is_refused() && refused.to_string().contains(told), "{body}: {refused}");
            assert_eq!(refusals().await, 1, "never less");
        }
        for (body, told) in [
            ("Bonjour {{ contact.nme }}", "b3.md: line 1, column 12: "),
            ("a\n\nb <script>x</script>", "b3.md: line 3, column 3: "),
        ] {
            let wrong = send::send(&world.app, &plan.id, &with(body), Lang::En).await.unwrap_err();
            assert!(wrong.is_bad_input() && wrong.to_string().starts_with(told), "{body}: {wrong}");
        }
        let subject = Asking { subject: Some("{{ contact.nme }}".into()), ..asking() };
        let wrong = send::send(&world.app, &plan.id, &subject, Lang::En).await.unwrap_err();
        assert!(wrong.is_bad_input() && wrong.to_string().starts_with("--subject: "), "{wrong}");

        // The question itself stands below whatever words there are, in both parts and languages.
        let sent = send(world, &plan.id, &with("Texte court")).await;
        world.send(&sent.campaign).await;
        for (address, message) in post.caught() {
            let question = if address == "eng@s.example" { "go on writing to you about CRM?" } else { "au sujet de CRM ?" };
            let text = String::from_utf8_lossy(&message.bytes).replace("=\r\n", "").replace("\r\n", " ");
            assert!(text.matches(question).count() >= 2, "{address}: {text}");
        }
    }

    /// A list of which nobody may be asked, or that nobody answers for, still has its refusals recorded.
    async fn refusals_are_recorded_though_nobody_is_asked(world: &mut World) {
        world.product("crm").await;
        let hash = |who: &str| world.app.keys.suppression.hash(&Address::parse(who).unwrap());
        let list = "email;kind;country;unsubscribed_at\nc@example.net;b2c;FR;2025-07-01\n";
        let plan = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        let nobody = send::send(&world.app, &plan.id, &asking(), Lang::En).await;
        assert!(matches!(nobody, Err(SendError::Nobody(_))), "{nobody:?}");
        let refused = hash("c@example.net");
        assert_eq!(world.tx(async |tx| suppressions::standing(tx, &[refused], &[], &[]).await).await.len(), 1);

        let plan = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        let refused = hash("stop@s.example");
        let mut app = world.app.clone();
        Arc::make_mut(&mut app.config).controller.name.clear();
        let nameless = send::send(&app, &plan.id, &asking(), Lang::En).await;
        assert!(matches!(nameless, Err(SendError::NoController)), "{nameless:?}");
        assert_eq!(world.tx(async |tx| suppressions::standing(tx, &[refused], &[], &[]).await).await.len(), 1);
    }

    /// A campaign made by hand may have the name that the question's would have: nobody was asked by it.
    async fn a_name_that_is_taken(world: &mut World) {
        let _post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let plan = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        world.create(&campaign("repermission-rp-1", "")).await;
        let taken = send::send(&world.app, &plan.id, &asking(), Lang::En).await.unwrap_err();
        assert!(matches!(taken, SendError::NameTaken { .. }) && taken.is_bad_input(), "{taken}");
        let again = plan_of(world, &[("old.csv", LIST.as_bytes())], &Reading::default()).await;
        assert_eq!(send(world, &again.id, &asking()).await.campaign, "repermission-rp-2");
    }

    /// Who has no first name is greeted without one, and without the space before it.
    async fn greeted_without_a_name(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let list = "email;kind;country;source_kind;collected_at;language;first_name\n\
            a@s.example;b2b;FR;business_card;2026-06-01;fr;\nb@s.example;b2b;FR;business_card;2026-06-01;en;\n\
            c@s.example;b2b;FR;business_card;2026-06-01;fr;Ana\nd@s.example;b2b;FR;business_card;2026-06-01;en;Bob\n";
        let plan = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        let sent = send(world, &plan.id, &asking()).await;
        world.send(&sent.campaign).await;
        let caught = post.caught();
        for (who, greeting) in [("a", "Bonjour,"), ("b", "Hello,"), ("c", "Bonjour Ana,"), ("d", "Hello Bob,")] {
            let text = String::from_utf8_lossy(&caught[&format!("{who}@s.example")].bytes).into_owned();
            assert_eq!(text.matches(greeting).count(), 2, "{who}: {text}");
        }
    }

    /// What must go goes, with one function under two names; who refused stays refused.
    async fn purged(world: &mut World) {
        world.product("crm").await;
        let person = |who: &str, kind, collected: &str| Contact { kind, relationship: Relationship::Prospect, collected_at: collected.into(), ..contact(world, who) };
        for (who, kind, collected) in [
            ("old@s.example", ContactKind::Business, "2020-01-01"),
            ("new@s.example", ContactKind::Business, "2026-01-01"),
            ("undated@s.example", ContactKind::Business, ""),
            ("consumer@example.net", ContactKind::Consumer, "2026-01-01"),
        ] {
            stored(world, person(who, kind, collected)).await;
        }
        let refused = stored(world, person("refused@s.example", ContactKind::Business, "2020-01-01")).await;
        let no = crate::store::refusal(world, Some(refused.address_hash));
        world.tx(async |tx| store::suppressions::add(tx, &no).await).await;
        let count = async || world.tx(async |tx| contacts::count(tx).await).await;
        let dry = purge::purge(&world.app, None, true).await.unwrap();
        assert_eq!((dry.looked_at, dry.erased, count().await), (5, 4, 5), "{dry:?}");
        assert_eq!((dry.by_reason["RETENTION_EXPIRED"], dry.by_reason["RETENTION_UNKNOWN"], dry.by_reason["NO_CONSENT"]), (2, 1, 1));
        let list = "email;unsubscribed_at\nold@s.example;\nconsumer@example.net;oui\nnever@s.example;oui\n";
        let plan = plan_of(world, &[("old.csv", list.as_bytes())], &Reading::default()).await;
        let plan = send::find(&world.app, &plan.id).await.unwrap();
        let some = purge::purge(&world.app, Some(&plan), false).await.unwrap();
        assert_eq!((some.looked_at, some.erased, count().await), (2, 2, 3));
        for who in ["consumer@example.net", "never@s.example"] {
            let hash = world.app.keys.suppression.hash(&Address::parse(who).unwrap());
            let entries = world.tx(async |tx| suppressions::standing(tx, &[hash], &[], &[]).await).await;
            assert_eq!((entries.len(), entries[0].scope, entries[0].address.as_str()), (1, Scope::Hash, ""), "{who}");
        }
        let all = purge::purge(&world.app, None, false).await.unwrap();
        assert_eq!((all.erased, all.by_reason, count().await), (2, [("RETENTION_EXPIRED", 1), ("RETENTION_UNKNOWN", 1)].into(), 1));
        let entries = world.tx(async |tx| suppressions::standing(tx, &[refused.address_hash], &[], &[]).await).await;
        assert_eq!((entries.len(), entries[0].scope), (1, Scope::Hash), "the refusal outlives the data");
        assert_eq!(purge::purge(&world.app, None, false).await.unwrap().erased, 0);
    }
}
