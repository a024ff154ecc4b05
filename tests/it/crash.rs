//! kill -9 during sending: everybody is accounted for, and nobody is mailed twice.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ouinon::{
    domain::{
        campaigns::{CampaignState, DeliveryState},
        contacts::{ContactKind, SourceKind},
    },
    mail::catcher::{Action, Settings, What},
    store::{self, contacts::Contact},
};

use crate::{
    program::Program,
    sending::{Sending, campaign},
    store::contact,
    world::{World, on_both},
};

const PEOPLE: usize = 600;

/// Professionals collected a month ago by the clock of the machine, which the real program reads.
async fn professionals(world: &World) {
    let now: i64 = ouinon::clock::Clock::System.now().as_second() - 30 * 86_400;
    let collected = jiff::Timestamp::from_second(now).unwrap().to_string();
    let everybody: Vec<Contact> = (0..PEOPLE)
        .map(|i| Contact {
            kind: ContactKind::Business,
            source_kind: SourceKind::DirectForm,
            collected_at: collected.clone(),
            ..contact(world, &format!("p{i:04}@business.example"))
        })
        .collect();
    world.tx(async |tx| store::contacts::save(tx, &everybody).await).await;
}

/// The addresses whose delivery is in a state.
async fn addresses_in(world: &World, state: DeliveryState) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let people = world.tx(async |tx| store::contacts::page(tx, 0, PEOPLE as i64).await).await;
    for someone in people {
        if world.state_of(someone.id).await == Some(state) {
            found.insert(someone.address);
        }
    }
    found
}

on_both! {
    /// The real program is killed again and again while it sends, each time at another moment.
    async fn killed_while_sending_nobody_gets_two_and_all_are_counted(world: &mut World) {
        // A server that takes its time: at any moment some messages are on the wire.
        let slow = Settings {
            script: Some(Arc::new(|event| match event.what {
                What::Message { .. } => Action::Slow(Duration::from_millis(10)),
                _ => Action::Usual,
            })),
            ..Settings::default()
        };
        let post = Sending::open(world, slow).await;
        world.product("crm").await;
        professionals(world).await;
        world.create(&campaign("autumn", "rate = \"60000/min\"")).await;
        let program = Program::beside(world);
        program.json(&["campaign", "launch", "autumn"]);
        let mailbag = post.catcher.mailbag();
        for (more, pause) in [(1, 0), (40, 3), (90, 7), (120, 1)] {
            let before = mailbag.count();
            let serving = program.serve(0);
            world.until("more mail is out", async || mailbag.count() >= before + more).await;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            serving.kill();
            let status = world.report("autumn").await.status;
            assert_eq!(status.state, CampaignState::Running, "killed too late to tell: {status:?}");
        }
        let serving = program.serve(0);
        world.until_state("autumn", CampaignState::Finished).await;
        serving.terminate();

        // `caught` fails when somebody was mailed twice.
        let caught: BTreeSet<String> = post.caught().into_keys().collect();
        let accepted = addresses_in(world, DeliveryState::Accepted).await;
        let unknown = addresses_in(world, DeliveryState::Unknown).await;
        assert_eq!(accepted.len() + unknown.len(), PEOPLE, "everybody is accepted, or known to be unknown");
        assert!(accepted.is_subset(&caught), "accepted means that the server has it");
        assert!(caught.iter().all(|a| accepted.contains(a) || unknown.contains(a)));
        assert!(!unknown.is_empty(), "four kills of a busy sender leave something on the wire");
        // Interrupted is a handful each time, and a person resolves it.
        assert!(unknown.len() < 4 * 100, "{} unknown", unknown.len());
        let address = unknown.first().unwrap();
        let fate = if caught.contains(address) { "accepted" } else { "cancelled" };
        program.json(&["campaign", "resolve", "autumn", "--address", address, "--as", fate]);
        assert_eq!(addresses_in(world, DeliveryState::Unknown).await.len(), unknown.len() - 1);
    }

    /// SIGTERM drains: nothing claimed or submitting is left behind, and nothing is unknown.
    async fn told_to_stop_it_leaves_nothing_in_hand(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        professionals(world).await;
        world.create(&campaign("autumn", "rate = \"12000/min\"")).await;
        let program = Program::beside(world);
        program.json(&["campaign", "launch", "autumn"]);
        let serving = program.serve(0);
        world.until("some mail is out", async || post.catcher.mailbag().count() >= 20).await;
        serving.terminate();
        let status = world.report("autumn").await.status;
        assert_eq!((status.claimed, status.submitting, status.unknown), (0, 0, 0), "{status:?}");
        assert_eq!(status.accepted as usize, post.caught().len());
        let serving = program.serve(0);
        world.until_state("autumn", CampaignState::Finished).await;
        serving.terminate();
        assert_eq!(post.caught().len(), PEOPLE);
    }
}
