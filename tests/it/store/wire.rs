//! Who is on the wire is being submitted, wherever it is written down, and nobody but the answer ends that.

use std::borrow::Cow;

use ouinon::{
    domain::campaigns::DeliveryState::{self, Accepted, Cancelled, Claimed, Deferred, Queued, Submitting, Unknown},
    store::{
        self, Db,
        deliveries::{Changed, Outcome, Wire},
        opens::Sent,
    },
};

use super::{LANE, queued, states};
use crate::world::{self, World, on_both};

fn accepted(contact_id: i64) -> Outcome {
    Outcome {
        contact_id,
        state: Accepted,
        next_attempt_at: None,
        ended_at: Some(9),
        bounce_class: String::new(),
        reply: "250 2.0.0 Ok".into(),
        unsent: 0,
    }
}

/// State, attempts, first and last submission, next attempt, end, class, answer.
type Row = (String, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, String, String);

/// What is on disk of a delivery, once nobody has it in hand.
async fn row(world: &World, contact: i64) -> Row {
    let sql = "SELECT state, attempts, first_submitted_at, submitted_at, next_attempt_at, ended_at, bounce_class, reply
         FROM delivery WHERE contact_id = $1 AND worker_id IS NULL";
    match world.db() {
        Db::Lite { readers, .. } => sqlx::query_as(sql).bind(contact).fetch_one(readers).await,
        Db::Pg(pool) => sqlx::query_as(sql).bind(contact).fetch_one(pool).await,
    }
    .unwrap()
}

/// What a claim leaves on disk.
fn claimed(world: &World) -> DeliveryState {
    if world.db().is_sqlite() { Queued } else { Claimed }
}

on_both! {
    /// Cancelled, erased, blocked, given back, claimed again: none of it reaches a message that is leaving.
    async fn who_is_on_the_wire_is_left_alone(world: &mut World) {
        let (campaign, contacts) = queued(world, &["a@example.org", "b@example.org", "c@example.org"]).await;
        let (one, person) = (contacts[0].id, contacts[0].address_hash);
        let worker = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 3).await).await;
        assert_eq!(world.tx(async |tx| world::submit(tx, campaign, worker, &[one], 70).await).await, [one]);

        let is_seen = async || {
            let mut tally = states(world, campaign).await;
            tally.retain(|(state, _)| *state == Submitting);
            assert_eq!(tally, [(Submitting, 1)]);
            let told = world.tx(async |tx| store::deliveries::of_contact(tx, one).await).await;
            assert_eq!((told[0].state, told[0].attempts, told[0].submitted_at), (Submitting, 1, Some(70)));
            let told = world.tx(async |tx| store::deliveries::of_person(tx, campaign, person).await).await.unwrap();
            assert_eq!((told.state, told.submitted_at), (Submitting, Some(70)));
            let left = world.tx(async |tx| store::deliveries::just_left(tx, person, 0, 60).await).await;
            assert_eq!(left.len(), 1, "it is in the post");
            // Its links work, should it arrive before the answer is written down.
            let sent = Sent { campaign_id: campaign, address_hash: person };
            let leaves = world.tx(async |tx| store::opens::leaves(tx, &[sent]).await).await;
            assert_eq!(leaves[&sent].accepted_at, 70);
        };
        is_seen().await;
        assert!(world.tx(async |tx| store::deliveries::is_open(tx, campaign).await).await);

        let again = world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 3).await).await;
        assert!(again.iter().all(|claimed| claimed.contact_id != one), "{again:?}");
        world.tx(async |tx| store::deliveries::release(tx, campaign, worker, &[one]).await).await;
        let blocked = Changed { contact_id: one, state: DeliveryState::Blocked, code: "SUPPRESSED_GLOBAL" };
        world.tx(async |tx| store::deliveries::change(tx, campaign, worker, &[blocked], 8).await).await;
        world.tx(async |tx| store::deliveries::fail(tx, campaign, worker, one, "no", 8).await).await;
        assert_eq!(world.tx(async |tx| store::deliveries::cancel_contact(tx, one, 8).await).await, 0);
        assert_eq!(world.tx(async |tx| store::deliveries::cancel(tx, campaign, 8).await).await, 2);
        is_seen().await;
        assert_eq!(states(world, campaign).await, [(Submitting, 1), (Cancelled, 2)]);

        let ended = accepted(one);
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, worker, &[&ended]).await).await, 1);
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, worker, &[&ended]).await).await, 0, "once");
        assert_eq!(states(world, campaign).await, [(Accepted, 1), (Cancelled, 2)]);
        let told = world.tx(async |tx| store::deliveries::of_contact(tx, one).await).await;
        assert_eq!((told[0].attempts, told[0].submitted_at, told[0].ended_at), (1, Some(70), Some(9)));
    }

    /// A commit whose answer is lost, before a message went: it may go, once.
    async fn what_a_lost_commit_marked_is_known_again(world: &mut World) {
        let (campaign, contacts) = queued(world, &["a@example.org", "b@example.org"]).await;
        let ids = [contacts[0].id, contacts[1].id];
        let worker = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 2).await).await;
        world.tx(async |tx| world::submit(tx, campaign, worker, &ids[..1], 1).await).await;
        let marked = world.tx(async |tx| store::deliveries::still_submitting(tx, campaign, worker, &ids).await).await;
        assert_eq!(marked, ids[..1]);
        let going = world.tx(async |tx| {
            let mut wire = Wire::read(tx, worker).await?;
            wire.still_may_go(campaign, &marked);
            wire.submitting(tx, campaign, &ids, 2).await?;
            let mut going = wire.write(tx).await?;
            going.sort();
            assert_eq!(wire.write(tx).await?, [], "told once");
            Ok(going)
        }).await;
        assert_eq!(going, [(campaign, ids[0]), (campaign, ids[1])]);
        assert_eq!(world.tx(async |tx| world::submit(tx, campaign, worker, &ids, 3).await).await, [0; 0]);
        assert_eq!(states(world, campaign).await, [(Submitting, 2)]);
        // Rolled back, nothing of it has happened.
        let mut tx = world.db().write().await.unwrap();
        world::record(&mut tx, campaign, worker, &[&accepted(ids[0])]).await.unwrap();
        drop(tx);
        assert_eq!(states(world, campaign).await, [(Submitting, 2)]);
        world.tx(async |tx| world::record(tx, campaign, worker, &[&accepted(ids[0])]).await).await;
        assert_eq!(world.tx(async |tx| store::deliveries::abandon(tx, worker, 5).await).await, (0, 1));
        assert_eq!(states(world, campaign).await, [(Accepted, 1), (Unknown, 1)]);
    }

    /// The list that the gate keeps from commit to commit is what is on disk, and one of several workers touches no other's.
    async fn a_list_is_kept_from_commit_to_commit(world: &mut World) {
        let addresses: Vec<String> = (0..6).map(|i| format!("p{i}@example.org")).collect();
        let (campaign, contacts) = queued(world, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let ids: Vec<i64> = contacts.iter().map(|contact| contact.id).collect();
        let (worker, other) = world
            .tx(async |tx| Ok((store::workers::add(tx, 0).await?, store::workers::add(tx, 0).await?)))
            .await;
        world.tx(async |tx| store::lanes::claim(tx, campaign, other, &LANE, 1).await).await;
        world.tx(async |tx| world::submit(tx, campaign, other, &ids[..1], 1).await).await;
        world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 5).await).await;
        let mut wire = Wire::new(worker);
        for (now, going) in [(2, &ids[1..3]), (3, &ids[3..4]), (3, &ids[4..])] {
            let marked = world.tx(async |tx| {
                wire.submitting(tx, campaign, going, now).await?;
                wire.write(tx).await
            }).await;
            assert_eq!(marked.len(), going.len());
        }
        let told = world.tx(async |tx| store::deliveries::of_contact(tx, ids[3]).await).await;
        assert_eq!((told[0].state, told[0].submitted_at), (Submitting, Some(3)));
        let ended: Vec<Outcome> = ids.iter().map(|id| accepted(*id)).collect();
        // One of another worker's among them: it is not its to say.
        let mine: Vec<&Outcome> = ended.iter().take(4).collect();
        assert_eq!(world.tx(async |tx| { let n = wire.record(tx, campaign, &mine).await?; wire.write(tx).await?; Ok(n) }).await, 3);
        assert_eq!(states(world, campaign).await, [(Submitting, 3), (Accepted, 3)]);
        // Taken for dead: whatever it says comes late, and says no more than what became of it.
        assert_eq!(world.tx(async |tx| store::deliveries::abandon(tx, worker, 5).await).await, (0, 2));
        wire.lose();
        let late: Vec<&Outcome> = ended.iter().skip(4).collect();
        let recorded = world.tx(async |tx| {
            let recorded = wire.record(tx, campaign, &late).await?;
            wire.write(tx).await?;
            Ok((recorded, store::deliveries::record_late(tx, campaign, &late).await?))
        }).await;
        assert_eq!(recorded, (0, 2));
        assert_eq!(states(world, campaign).await, [(Submitting, 1), (Accepted, 5)]);
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, other, &[&ended[0]]).await).await, 1);
    }

    /// Taken at once or after a refusal, refused for now or for good, never sent: recorded in one go, each says all of its own.
    async fn what_ended_together_is_written_down_each_by_itself(world: &mut World) {
        let addresses = ["a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org"];
        let (campaign, contacts) = queued(world, &addresses).await;
        let ids: Vec<i64> = contacts.iter().map(|contact| contact.id).collect();
        let worker = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 5).await).await;
        world.tx(async |tx| world::submit(tx, campaign, worker, &ids[..1], 10).await).await;
        let answer = |state, ended_at, class: &str, reply: &str, id| {
            let next_attempt_at = (state == Deferred).then_some(15);
            Outcome { state, next_attempt_at, ended_at, bounce_class: class.into(), reply: reply.into(), ..accepted(id) }
        };
        let refused = answer(Deferred, None, "", "451 4.3.0 later", ids[0]);
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, worker, &[&refused]).await).await, 1);
        let written = |state: &str, attempts, first, last, next, end, class: &str, reply: &str| {
            (state.to_owned(), attempts, first, last, next, end, class.to_owned(), reply.to_owned())
        };
        let (first, second) = (Some(10), Some(20));
        assert_eq!(row(world, ids[0]).await, written("deferred", 1, first, first, Some(15), None, "", "451 4.3.0 later"));

        world.tx(async |tx| store::lanes::claim_due(tx, campaign, worker, &LANE, 15, 1).await).await;
        assert_eq!(world.tx(async |tx| world::submit(tx, campaign, worker, &ids, 20).await).await.len(), 5);
        let ended = [
            answer(Accepted, Some(21), "", "250 2.0.0 Ok: one", ids[0]),
            answer(Deferred, None, "", "452 4.2.2 full", ids[2]),
            answer(Accepted, Some(22), "", "250 2.0.0 Ok: \"two\", é", ids[1]),
            answer(DeliveryState::Bounced, Some(23), "hard", "550 5.1.1 nobody", ids[3]),
            Outcome::postponed(ids[4], 24),
        ];
        let all: Vec<&Outcome> = ended.iter().collect();
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, worker, &all).await).await, 5);
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, worker, &all).await).await, 0, "once");
        for (id, expected) in [
            (ids[0], written("accepted", 2, first, second, None, Some(21), "", "250 2.0.0 Ok: one")),
            (ids[1], written("accepted", 1, second, second, None, Some(22), "", "250 2.0.0 Ok: \"two\", é")),
            (ids[2], written("deferred", 1, second, second, Some(15), None, "", "452 4.2.2 full")),
            (ids[3], written("bounced", 1, second, second, None, Some(23), "hard", "550 5.1.1 nobody")),
            (ids[4], written("deferred", 0, None, None, Some(24), None, "", "")),
        ] {
            assert_eq!(row(world, id).await, expected);
        }
    }

    /// What was tried before is claimed on disk as well: deferred, due, on the wire, and deferred again.
    async fn what_is_tried_again_counts_its_attempts(world: &mut World) {
        let (campaign, contacts) = queued(world, &["a@example.org"]).await;
        let id = contacts[0].id;
        let worker = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 1).await).await;
        assert_eq!(states(world, campaign).await, [(claimed(world), 1)]);
        for (attempt, now) in [(1, 10), (2, 20), (3, 30)] {
            assert_eq!(world.tx(async |tx| world::submit(tx, campaign, worker, &[id], now).await).await, [id]);
            assert_eq!(states(world, campaign).await, [(Submitting, 1)]);
            let later = Outcome { state: Deferred, next_attempt_at: Some(now), ended_at: None, ..accepted(id) };
            assert_eq!(world.tx(async |tx| world::record(tx, campaign, worker, &[&later]).await).await, 1);
            let due = world.tx(async |tx| store::lanes::claim_due(tx, campaign, worker, &LANE, now, 1).await).await;
            assert_eq!((due[0].attempts, due[0].first_submitted_at), (attempt, Some(10)));
            assert_eq!(states(world, campaign).await, [(Claimed, 1)]);
        }
        world.tx(async |tx| world::submit(tx, campaign, worker, &[id], 40).await).await;
        assert_eq!(world.tx(async |tx| store::deliveries::abandon(tx, worker, 50).await).await, (0, 1));
        let told = world.tx(async |tx| store::deliveries::of_contact(tx, id).await).await;
        assert_eq!((told[0].state, told[0].attempts, told[0].submitted_at), (Unknown, 4, Some(40)));
    }
}

/// A database of the release before, with two messages on the wire, opened by this one.
async fn changed_over(folder: &std::path::Path) -> Db {
    let url = format!("sqlite:{}/old.db", folder.display());
    let mut before = sqlx::migrate!("migrations/sqlite");
    before.migrations = Cow::Owned(before.iter().filter(|migration| migration.version < 11).cloned().collect());
    let pool = sqlx::SqlitePool::connect(&format!("{url}?mode=rwc")).await.unwrap();
    before.run(&pool).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO delivery (campaign_id, contact_id, address_hash, state, code, tracking, rules_version, relationship,
         provider_group, decided_at, worker_id, attempts, submitted_at, bounce_class, reply, first_submitted_at)
         VALUES (1, 1, x'01', 'submitting', 'C', 'none', '1', 'none', 'g', 0, 7, 1, 50, '', '', 50),
                (1, 2, x'02', 'submitting', 'C', 'none', '1', 'none', 'g', 0, 7, 2, 60, '', '', 40),
                (1, 3, x'03', 'claimed', 'C', 'none', '1', 'none', 'g', 0, 7, 1, 40, '', '', 40),
                (1, 4, x'04', 'queued', 'C', 'none', '1', 'none', 'g', 0, NULL, 0, NULL, '', '', NULL)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    Db::open(&url).await.unwrap()
}

/// Whose sender died: what its rows called submitting is found and ends as unknown.
#[tokio::test]
async fn what_was_being_submitted_before_the_upgrade_is_unknown_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let db = changed_over(folder.path()).await;
    let mut tx = db.write().await.unwrap();
    let mut tally: Vec<(DeliveryState, i64)> =
        store::deliveries::tally(&mut tx, 1).await.unwrap().into_iter().map(|t| (t.state, t.n)).collect();
    tally.sort();
    assert_eq!(tally, [(Queued, 1), (Claimed, 1), (Submitting, 2)]);
    assert_eq!(store::deliveries::abandon(&mut tx, 7, 90).await.unwrap(), (1, 2));
    let unknown = store::deliveries::unknown(&mut tx, 1, 9).await.unwrap();
    let times: Vec<Option<i64>> = unknown.iter().map(|unknown| unknown.submitted_at).collect();
    assert_eq!(times, [Some(50), Some(60)]);
    let rows: Vec<(i64, Option<i64>)> = match &mut tx {
        store::Tx::Lite(tx) => {
            sqlx::query_as("SELECT attempts, first_submitted_at FROM delivery ORDER BY contact_id LIMIT 2")
                .fetch_all(&mut **tx)
                .await
                .unwrap()
        }
        store::Tx::Pg(_) => unreachable!("the URL says SQLite"),
    };
    assert_eq!(rows, [(1, Some(50)), (2, Some(40))]);
}

/// Whose sender went on meanwhile, marked more in its way, and then either died or stopped and tidied up in its way.
#[tokio::test]
async fn a_sender_that_outlives_the_upgrade_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let db = changed_over(folder.path()).await;
    let mut tx = db.write().await.unwrap();
    let old_ways = "UPDATE delivery SET state = 'submitting', attempts = 1, submitted_at = 70, first_submitted_at = 70,
        worker_id = 7 WHERE contact_id = 4;
        UPDATE delivery SET state = 'queued', worker_id = NULL WHERE contact_id IN (1, 3)";
    match &mut tx {
        store::Tx::Lite(tx) => sqlx::raw_sql(old_ways).execute(&mut **tx).await.unwrap(),
        store::Tx::Pg(_) => unreachable!("the URL says SQLite"),
    };
    assert_eq!(store::deliveries::orphans(&mut tx).await.unwrap(), [7]);
    assert_eq!(store::deliveries::abandon(&mut tx, 7, 90).await.unwrap(), (0, 3));
    let unknown = store::deliveries::unknown(&mut tx, 1, 9).await.unwrap();
    let who: Vec<(i64, Option<i64>)> =
        unknown.iter().map(|unknown| (unknown.contact_id, unknown.submitted_at)).collect();
    assert_eq!(who, [(1, Some(50)), (2, Some(60)), (4, Some(70))]);
    assert_eq!(store::deliveries::orphans(&mut tx).await.unwrap(), [0; 0]);
}
