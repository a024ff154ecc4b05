//! A refusal that arrives while a campaign is being sent, at every moment it can.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use ouinon::{
    domain::{
        campaigns::{CampaignState, DeliveryState},
        contacts::{ContactKind, SourceKind},
        tokens::{Purpose, Token},
    },
    mail::catcher::{Action, Settings, What},
    pipeline::campaigns,
    store::{self, contacts::Contact},
};

use crate::{
    sending::{Sending, campaign},
    store::contact,
    world::{World, on_both},
};

/// So many professionals, all of whom may be written to.
pub async fn professionals(world: &World, count: usize) -> Vec<Contact> {
    let everybody: Vec<Contact> = (0..count)
        .map(|i| Contact {
            kind: ContactKind::Business,
            source_kind: SourceKind::DirectForm,
            ..contact(world, &format!("p{i:04}@business.example"))
        })
        .collect();
    world.tx(async |tx| store::contacts::save(tx, &everybody).await).await;
    world.tx(async |tx| store::contacts::page(tx, 0, count as i64).await).await
}

/// The path of somebody's unsubscribe link, which only the program can make.
async fn link(world: &World, contact: &Contact) -> String {
    let product = world.tx(async |tx| store::products::by_slug(tx, "crm").await).await.expect("the product");
    let campaign = world.tx(async |tx| store::campaigns::by_slug(tx, "autumn").await).await.expect("the campaign");
    let token = Token {
        purpose: Purpose::Unsubscribe,
        address: contact.address_hash,
        product: product.id as u32,
        campaign: campaign.id as u32,
        product_scope: false,
        test: false,
    };
    format!("/o/{}", world.app.keys.tokens.sign(&token))
}

async fn refuse(world: &World, post: &Sending, contact: &Contact) {
    let answer = post.pages.post(&link(world, contact).await, "List-Unsubscribe=One-Click").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

on_both! {
    /// U20: who refuses while queued is not mailed, although the campaign was decided long before.
    async fn who_refuses_while_queued_is_not_mailed(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let everybody = professionals(world, 12).await;
        world.create(&campaign("autumn", "rate = \"120/min\"")).await;
        world.launch("autumn").await;
        let working = world.work();
        world.until("the first mail is out", async || post.catcher.mailbag().count() > 0).await;
        let last = everybody.last().unwrap();
        let waits = world.state_of(last.id).await;
        let waiting = [Some(DeliveryState::Queued), Some(DeliveryState::Claimed)];
        assert!(waiting.contains(&waits), "it is {waits:?} already");
        refuse(world, &post, last).await;
        world.until_state("autumn", CampaignState::Finished).await;
        working.stop().await;
        let caught = post.caught();
        assert!(!caught.contains_key(&last.address), "mailed after the refusal was on disk");
        assert_eq!(caught.len(), 11);
        assert_eq!(world.report("autumn").await.status.by_reason["SUPPRESSED_GLOBAL"], 1);
    }

    /// Refusals at full speed: whoever was not yet being submitted when 200 came back gets no mail.
    async fn a_200_is_kept_at_any_speed(world: &mut World) {
        let slow = Settings {
            script: Some(Arc::new(|event| match event.what {
                What::Message { .. } => Action::Slow(Duration::from_millis(15)),
                _ => Action::Usual,
            })),
            ..Settings::default()
        };
        let post = Sending::open(world, slow).await;
        world.product("crm").await;
        let everybody = professionals(world, 400).await;
        world.create(&campaign("autumn", "rate = \"60000/min\"")).await;
        world.launch("autumn").await;
        let working = world.work();
        world.until("the first mail is out", async || post.catcher.mailbag().count() > 0).await;
        let mut in_time = BTreeSet::new();
        let mut refusals = 0;
        // From the end towards those who are being sent, then past them.
        for someone in everybody.iter().rev().step_by(5) {
            refuse(world, &post, someone).await;
            refusals += 1;
            if !matches!(world.state_of(someone.id).await, Some(DeliveryState::Submitting | DeliveryState::Accepted)) {
                in_time.insert(someone.address.clone());
            }
        }
        world.until_state("autumn", CampaignState::Finished).await;
        working.stop().await;
        let caught = post.caught();
        let mailed: Vec<&String> = in_time.iter().filter(|address| caught.contains_key(*address)).collect();
        assert!(mailed.is_empty(), "mailed after 200: {mailed:?}");
        assert!(in_time.len() > 5, "the race was run: {} of {refusals} refused in time", in_time.len());
        let status = world.report("autumn").await.status;
        assert_eq!(status.blocked, in_time.len() as i64, "the others were on the wire: {status:?}");
        assert_eq!(status.accepted as usize, caught.len());
    }

    /// Paused means that nothing more leaves within a second; resumed, nobody is lost or mailed twice.
    async fn a_pause_loses_nobody(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        professionals(world, 30).await;
        world.create(&campaign("autumn", "rate = \"300/min\"")).await;
        world.launch("autumn").await;
        let working = world.work();
        world.until("some mail is out", async || post.catcher.mailbag().count() >= 5).await;
        campaigns::pause(&world.app, "autumn").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let paused = post.catcher.mailbag().count();
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(post.catcher.mailbag().count(), paused, "mail left a second after the pause");
        world.until("nothing stays in hand", async || {
            let status = world.report("autumn").await.status;
            (status.claimed, status.submitting) == (0, 0)
        })
        .await;
        campaigns::resume(&world.app, "autumn").await.unwrap();
        world.until_state("autumn", CampaignState::Finished).await;
        working.stop().await;
        assert_eq!(post.caught().len(), 30);
    }

    /// Cancelled, the rest is counted as cancelled and never sent.
    async fn a_cancelled_rest_is_counted(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        professionals(world, 60).await;
        world.create(&campaign("autumn", "rate = \"1200/min\"")).await;
        world.launch("autumn").await;
        let working = world.work();
        world.until("some mail is out", async || post.catcher.mailbag().count() >= 5).await;
        campaigns::cancel(&world.app, "autumn").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let out = post.caught().len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        working.stop().await;
        assert_eq!(post.caught().len(), out);
        let status = world.report("autumn").await.status;
        assert_eq!((status.accepted as usize, status.accepted + status.cancelled), (out, status.asked), "{status:?}");
    }

    /// Stopped at any moment, a worker lets go of everything, and the next one goes on.
    async fn workers_come_and_go(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        professionals(world, 200).await;
        world.create(&campaign("autumn", "rate = \"6000/min\"")).await;
        world.launch("autumn").await;
        for pause in [30, 250, 400, 120, 700] {
            let working = world.work();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            working.stop().await;
            let status = world.report("autumn").await.status;
            assert_eq!((status.claimed, status.submitting, status.unknown), (0, 0, 0), "{status:?}");
        }
        world.send("autumn").await;
        assert_eq!(post.caught().len(), 200);
    }

    /// A server that defers and refuses: deferred comes again, refused is over, and all of it is counted.
    async fn what_a_server_answers_is_recorded(world: &mut World) {
        let tried: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let seen = tried.clone();
        let moody = Settings {
            script: Some(Arc::new(move |event| match event.what {
                What::Command(line) if line.to_uppercase().starts_with("RCPT TO:<P0001@") => {
                    Action::Reply("550 5.1.1 no such user\r\n".into())
                }
                What::Command(line) if line.to_uppercase().starts_with("RCPT TO:<P0002@") => {
                    match seen.lock().unwrap().insert("p0002".into()) {
                        true => Action::Reply("451 4.7.1 come back later\r\n".into()),
                        false => Action::Usual,
                    }
                }
                _ => Action::Usual,
            })),
            ..Settings::default()
        };
        let post = Sending::open(world, moody).await;
        world.product("crm").await;
        let everybody = professionals(world, 10).await;
        world.create(&campaign("autumn", "rate = \"60000/min\"")).await;
        world.launch("autumn").await;
        let working = world.work();
        world.until("one is deferred", async || {
            let s = world.report("autumn").await.status;
            (s.accepted, s.bounced, s.deferred) == (8, 1, 1)
        }).await;
        assert_eq!(world.report("autumn").await.status.state, CampaignState::Running);
        // A day later, by the clock of the world.
        world.advance(86_400);
        world.until_state("autumn", CampaignState::Finished).await;
        working.stop().await;
        let status = world.report("autumn").await.status;
        assert_eq!((status.accepted, status.bounced, status.deferred), (9, 1, 0), "{status:?}");
        assert_eq!(post.caught().len(), 9);
        // The reply at RCPT is the best bounce there is: the mailbox is refused from now on.
        world.create(&campaign("winter", "rate = \"60000/min\"")).await;
        let forecast = world.preflight("winter").await;
        assert_eq!(forecast.block.by_reason.get("SUPPRESSED_HARD_BOUNCE"), Some(&1), "{forecast:?}");
        assert_eq!(everybody.len(), 10);
    }
}

/// Two workers on one database share the work, and nobody is mailed twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_a_campaign_on_postgresql() {
    crate::world::on_postgres("two_workers", async |world: &mut World| {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        professionals(world, 500).await;
        world.create(&campaign("autumn", "rate = \"60000/min\"")).await;
        world.launch("autumn").await;
        let (one, two) = (world.work(), world.work());
        world.until_state("autumn", CampaignState::Finished).await;
        one.stop().await;
        two.stop().await;
        assert_eq!(post.caught().len(), 500);
        let status = world.report("autumn").await.status;
        assert_eq!((status.accepted, status.unknown), (500, 0), "{status:?}");
    })
    .await;
}
