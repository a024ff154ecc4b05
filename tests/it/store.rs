//! The store on both engines: every statement, both schemas, and what must never be lost.

mod schema;
mod statements;
mod wire;

use ouinon::{
    domain::{
        address::{Address, AddressHash},
        campaign_file::CampaignFile,
        campaigns::DeliveryState,
        consents::{ConsentState, Proof},
        contacts::{AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
        suppressions::{Origin, Scope, SuppressionReason},
    },
    store::{
        self,
        consents::{Consent, ConsentPurpose},
        contacts::Contact,
        deliveries::{Changed, Decided, Outcome},
        lanes::Bound,
        suppressions::Entry,
    },
};

use crate::world::{self, World, on_both};

/// Texts that break whoever builds SQL or JSON by hand.
const ODD_TEXTS: &[&str] = &[
    "",
    "L'Été d'Œuvre",
    r#"quoted "twice" and 'once'"#,
    r"back\slash \n \u0041 \\",
    "tab\there\nand line\r\nends",
    "emoji 🦊👩‍👩‍👧‍👦 and \u{202e}bidi",
    "combining e\u{301} and \u{feff}mark",
    "control \u{1}\u{1f}\u{7f}",
    "$1 ?2 :three @four %s {} {{ contact }}",
    "'; DROP TABLE suppression; --",
    "null",
    "0",
    "1e5",
    "true",
    "[\"a\"]",
];

pub fn hash(world: &World, address: &str) -> AddressHash {
    world.app.keys.suppression.hash(&Address::parse(address).expect("an address"))
}

pub fn contact(world: &World, address: &str) -> Contact {
    Contact {
        id: 0,
        address: address.to_owned(),
        address_hash: hash(world, address),
        kind: ContactKind::ALL[0],
        address_kind: AddressKind::ALL[0],
        legal_form: LegalForm::ALL[0],
        relationship: Relationship::ALL[0],
        first_name: String::new(),
        last_name: String::new(),
        company: String::new(),
        job_title: String::new(),
        country: "FR".into(),
        regime: "FR".into(),
        language: "fr".into(),
        time_zone: String::new(),
        source: "a form".into(),
        source_kind: SourceKind::ALL[0],
        collected_at: "2026-01-01".into(),
        informed: true,
        similar_offer: false,
        same_entity: true,
        refusal_offered: false,
        relationship_end: String::new(),
        last_activity: String::new(),
        last_activity_at: String::new(),
        paused_until: String::new(),
        created_at: world.now(),
        changed_at: world.now(),
    }
}

pub fn consent(world: &World, contact_id: i64) -> Consent {
    Consent {
        contact_id,
        purpose: ConsentPurpose::Mail,
        product: "crm".into(),
        state: ConsentState::Granted,
        at: Some(world.now()),
        proof: Proof::ALL[0],
        evidence: String::new(),
        origin: Origin::ALL[0],
        recorded_at: world.now(),
    }
}

pub fn refusal(world: &World, hash: Option<AddressHash>) -> Entry {
    Entry {
        id: 0,
        scope: Scope::Global,
        product: String::new(),
        domain: String::new(),
        address: String::new(),
        address_hash: hash.map(|h| h.0.to_vec()),
        foreign_hash: String::new(),
        reason: SuppressionReason::ALL[0],
        origin: Origin::ALL[0],
        at: None,
        campaign_id: None,
        note: String::new(),
        recorded_at: world.now(),
        lifted_at: None,
        lifted_reason: String::new(),
    }
}

/// Stores a contact and returns it with its id.
pub async fn stored(world: &World, contact: Contact) -> Contact {
    world.tx(async |tx| store::contacts::save(tx, std::slice::from_ref(&contact)).await).await;
    world.tx(async |tx| store::contacts::by_hash(tx, contact.address_hash).await).await.expect("the contact is there")
}

/// A running campaign with one queued delivery per address; its id and the contacts.
async fn queued(world: &World, addresses: &[&str]) -> (i64, Vec<Contact>) {
    let campaign = world
        .tx(async |tx| {
            store::campaigns::add(tx, &autumn(), AUTUMN, world.now()).await?;
            store::campaigns::by_slug(tx, "autumn").await
        })
        .await
        .expect("the campaign is there")
        .id;
    let mut contacts = Vec::new();
    for address in addresses {
        contacts.push(stored(world, contact(world, address)).await);
    }
    let decided: Vec<Decided> = contacts.iter().map(decided).collect();
    world.tx(async |tx| store::deliveries::enqueue(tx, campaign, &decided, world.now()).await).await;
    (campaign, contacts)
}

fn decided(contact: &Contact) -> Decided {
    Decided {
        contact_id: contact.id,
        address_hash: contact.address_hash,
        state: DeliveryState::Queued,
        code: "CONSENT",
        tracking: "none",
        rules_version: "test",
        relationship: contact.relationship,
        provider_group: String::new(),
        zone: String::new(),
    }
}

/// The only lane of these stories.
const LANE: Bound = Bound { provider_group: "", zone: "", past: 0 };

async fn states(world: &World, campaign: i64) -> Vec<(DeliveryState, i64)> {
    let tally = world.tx(async |tx| store::deliveries::tally(tx, campaign).await).await;
    let mut states: Vec<(DeliveryState, i64)> = tally.into_iter().map(|t| (t.state, t.n)).collect();
    states.sort();
    states
}

on_both! {
    /// Text goes in and comes out as it was, through the lists that travel as JSON.
    async fn odd_texts_come_back_as_they_went(world: &mut World) {
        let mut given: Vec<Contact> = Vec::new();
        for (i, text) in ODD_TEXTS.iter().enumerate() {
            let mut one = contact(world, &format!("odd{i}@example.org"));
            (one.first_name, one.company, one.source) = ((*text).into(), (*text).into(), (*text).into());
            given.push(one);
        }
        world.tx(async |tx| store::contacts::save(tx, &given).await).await;
        let hashes: Vec<AddressHash> = given.iter().map(|c| c.address_hash).collect();
        let mut found = world.tx(async |tx| store::contacts::by_hashes(tx, &hashes).await).await;
        found.sort_by_key(|c| c.id);
        assert_eq!(found.len(), given.len());
        for (mut found, given) in found.into_iter().zip(given) {
            let id = std::mem::take(&mut found.id);
            assert_eq!(found, given);
            let mut yes = consent(world, id);
            yes.evidence = given.company;
            assert_eq!(world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&yes)).await).await, 1);
            assert_eq!(world.tx(async |tx| store::consents::of_contacts(tx, &[id]).await).await, [yes]);
        }
    }

    /// U+0000, which PostgreSQL cannot store, is refused there; nowhere does it cut a text short.
    async fn a_null_character_never_cuts_a_text_short(world: &mut World) {
        let mut odd = contact(world, "null@example.org");
        odd.company = "before\0after".into();
        let mut tx = world.db().write().await.unwrap();
        let saved = store::contacts::save(&mut tx, std::slice::from_ref(&odd)).await;
        if saved.is_ok() {
            tx.commit().await.unwrap();
            let found = world.tx(async |tx| store::contacts::by_hash(tx, odd.address_hash).await).await;
            assert_eq!(found.expect("it was saved").company, odd.company);
        } else {
            drop(tx);
            assert_eq!(world.tx(async |tx| store::contacts::count(tx).await).await, 0);
        }
    }

    /// What is not known comes back as not known, never as 0 or as an empty text.
    async fn nothing_comes_back_as_nothing(world: &mut World) {
        let someone = stored(world, contact(world, "a@example.org")).await;
        let undated = Consent { at: None, ..consent(world, someone.id) };
        let no = Entry { scope: Scope::Domain, domain: "example.com".into(), ..refusal(world, None) };
        let (campaign, progress, id, page) = world
            .tx(async |tx| {
                store::consents::add(tx, std::slice::from_ref(&undated)).await?;
                let id = store::suppressions::add(tx, &no).await?;
                store::campaigns::add(tx, &autumn(), AUTUMN, world.now()).await?;
                let campaign = store::campaigns::by_slug(tx, "autumn").await?.expect("it was added");
                let next = store::deliveries::next_attempt(tx, campaign.id).await?;
                Ok((campaign, next, id, store::suppressions::page(tx, 0, 10).await?))
            })
            .await;
        let nothing = (campaign.scheduled_at, campaign.launched_at, campaign.finished_at, campaign.enqueued_at);
        assert_eq!(nothing, (None, None, None, None));
        assert_eq!(progress, None);
        assert_eq!(page, [Entry { id, ..no }]);
        assert_eq!(world.tx(async |tx| store::consents::of_contacts(tx, &[someone.id]).await).await, [undated]);
    }

    /// The same address is one contact, the same event one event, and the same person one delivery.
    async fn what_is_there_is_not_added_twice(world: &mut World) {
        let first = stored(world, contact(world, "a@example.org")).await;
        let again = Contact { first_name: "Camille".into(), ..contact(world, "a@example.org") };
        let second = stored(world, again).await;
        assert_eq!((first.id, second.first_name.as_str()), (second.id, "Camille"));
        for (at, fresh) in [(Some(1), 1), (Some(1), 0), (None, 1), (None, 0), (Some(0), 1)] {
            let event = Consent { at, ..consent(world, first.id) };
            let added = world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&event)).await).await;
            assert_eq!(added, fresh, "an event at {at:?}");
        }
        let (campaign, contacts) = queued(world, &["b@example.org", "c@example.org"]).await;
        // Erased and imported again, with a new id.
        let twin = Decided { contact_id: 999, ..decided(&contacts[0]) };
        let rows = [decided(&contacts[1]), twin];
        let added = world.tx(async |tx| store::deliveries::enqueue(tx, campaign, &rows, world.now()).await).await;
        assert_eq!(added, 0);
        assert_eq!(states(world, campaign).await, [(DeliveryState::Queued, 2)]);
    }

    /// Who is deleted takes the consents along, and leaves the refusal.
    async fn a_refusal_outlives_the_contact(world: &mut World) {
        let someone = stored(world, contact(world, "a@example.org")).await;
        let other = stored(world, contact(world, "b@example.org")).await;
        let no = Entry { address: "a@example.org".into(), ..refusal(world, Some(someone.address_hash)) };
        world
            .tx(async |tx| {
                store::consents::add(tx, &[consent(world, someone.id), consent(world, other.id)]).await?;
                store::suppressions::add(tx, &no).await?;
                store::suppressions::forget_address(tx, someone.address_hash).await?;
                store::contacts::delete(tx, someone.id).await
            })
            .await;
        let left = world.tx(async |tx| store::consents::of_contacts(tx, &[someone.id, other.id]).await).await;
        assert_eq!(left.iter().map(|c| c.contact_id).collect::<Vec<_>>(), [other.id]);
        let standing =
            world.tx(async |tx| store::suppressions::standing(tx, &[someone.address_hash], &[], &[]).await).await;
        assert_eq!(standing.len(), 1);
        assert_eq!((standing[0].scope, standing[0].address.as_str()), (Scope::Hash, ""));
        // The same person, imported again, is somebody new with the old refusal.
        let back = stored(world, contact(world, "a@example.org")).await;
        assert!(back.id > other.id, "ids are not used again");
        assert_eq!(back.address_hash.0.to_vec(), standing[0].address_hash.clone().unwrap());
    }

    /// A lifted refusal stays with its trace, and is lifted once.
    async fn a_lifted_refusal_keeps_its_trace(world: &mut World) {
        let who = hash(world, "a@example.org");
        let id = world.tx(async |tx| store::suppressions::add(tx, &refusal(world, Some(who))).await).await;
        assert!(world.tx(async |tx| store::suppressions::lift(tx, id, "typed in error", 5).await).await);
        assert!(!world.tx(async |tx| store::suppressions::lift(tx, id, "again", 6).await).await);
        assert_eq!(world.tx(async |tx| store::suppressions::standing(tx, &[who], &[], &[]).await).await, []);
        let page = world.tx(async |tx| store::suppressions::page(tx, 0, 10).await).await;
        assert_eq!((page[0].lifted_at, page[0].lifted_reason.as_str()), (Some(5), "typed in error"));
    }

    /// Whoever comes late changes nothing: a claim, a submission and a record belong to one worker. SQLite has one sender:
    /// what it claims stays queued.
    async fn a_delivery_belongs_to_one_worker_at_a_time(world: &mut World) {
        let (campaign, contacts) = queued(world, &["a@example.org", "b@example.org", "c@example.org"]).await;
        let ids: Vec<i64> = contacts.iter().map(|c| c.id).collect();
        let (one, two) = world
            .tx(async |tx| Ok((store::workers::add(tx, 0).await?, store::workers::add(tx, 0).await?)))
            .await;
        let claim = async |worker| {
            let rows = world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 2).await).await;
            let mut ids: Vec<i64> = rows.into_iter().map(|c| c.contact_id).collect();
            ids.sort();
            ids
        };
        let is_shared = !world.db().is_sqlite();
        assert_eq!(claim(one).await, ids[..2]);
        if is_shared {
            assert_eq!(claim(two).await, ids[2..]);
            assert_eq!(claim(two).await, [0; 0]);
        } else {
            assert_eq!(claim(one).await, ids[..2]);
        }
        let submit = async |worker, own: std::ops::Range<usize>| {
            let asked = if is_shared { &ids[..] } else { &ids[own] };
            let mut mine =
                world.tx(async |tx| world::submit(tx, campaign, worker, asked, 7).await).await;
            mine.sort();
            mine
        };
        assert_eq!(submit(two, 2..3).await, ids[2..]);
        let blocked = Changed { contact_id: ids[0], state: DeliveryState::Blocked, code: "SUPPRESSED_GLOBAL" };
        for worker in [two, one] {
            let change = std::slice::from_ref(&blocked);
            world.tx(async |tx| store::deliveries::change(tx, campaign, worker, change, 8).await).await;
        }
        assert_eq!(submit(one, 0..2).await, ids[1..2]);
        let outcome = |contact_id, state| Outcome {
            contact_id,
            state,
            next_attempt_at: (state == DeliveryState::Deferred).then_some(100),
            ended_at: (state == DeliveryState::Accepted).then_some(9),
            bounce_class: String::new(),
            unsent: 0,
            reply: "250 2.0.0 Ok: \"queued\" as 'é'".into(),
        };
        let outcomes = [outcome(ids[1], DeliveryState::Accepted), outcome(ids[2], DeliveryState::Deferred)];
        let all: Vec<&Outcome> = outcomes.iter().collect();
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, one, &all).await).await, 1);
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, two, &all).await).await, 1);
        assert_eq!(world.tx(async |tx| world::record(tx, campaign, two, &all).await).await, 0);
        let expected = [(DeliveryState::Accepted, 1), (DeliveryState::Deferred, 1), (DeliveryState::Blocked, 1)];
        assert_eq!(states(world, campaign).await, expected);
        assert_eq!(world.tx(async |tx| store::deliveries::next_attempt(tx, campaign).await).await, Some(100));
        for (now, due) in [(99, vec![]), (100, vec![ids[2]])] {
            let rows = world.tx(async |tx| store::lanes::claim_due(tx, campaign, one, &LANE, now, 5).await).await;
            assert_eq!(rows.into_iter().map(|c| c.contact_id).collect::<Vec<_>>(), due);
        }
        assert_eq!(world.tx(async |tx| store::deliveries::cancel(tx, campaign, 10).await).await, 1);
    }

    /// What a dead worker held: claimed is queued again, submitting is unknown and never sent again.
    async fn a_dead_worker_leaves_nothing_in_hand(world: &mut World) {
        let (campaign, contacts) = queued(world, &["a@example.org", "b@example.org"]).await;
        let worker = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 10).await).await;
        let first = [contacts[0].id];
        world.tx(async |tx| world::submit(tx, campaign, worker, &first, 1).await).await;
        // On SQLite what was claimed has never left the queue.
        let requeued = if world.db().is_sqlite() { 0 } else { 1 };
        assert_eq!(world.tx(async |tx| store::deliveries::abandon(tx, worker, 2).await).await, (requeued, 1));
        assert_eq!(world.tx(async |tx| store::deliveries::abandon(tx, worker, 2).await).await, (0, 0));
        let unknown = world.tx(async |tx| store::deliveries::unknown(tx, campaign, 10).await).await;
        assert_eq!((unknown[0].contact_id, unknown[0].address.as_str()), (first[0], "a@example.org"));
        let resolve = async || {
            let to = DeliveryState::Accepted;
            let person = contacts[0].address_hash;
            world.tx(async |tx| store::deliveries::resolve(tx, campaign, person, to, 3).await).await
        };
        // Its contact may be erased by then: whoever knows the address can still end it.
        world.tx(async |tx| store::contacts::delete(tx, first[0]).await).await;
        let unknown = world.tx(async |tx| store::deliveries::unknown(tx, campaign, 10).await).await;
        assert_eq!((unknown[0].contact_id, unknown[0].address.as_str()), (first[0], ""));
        assert!(resolve().await);
        assert!(!resolve().await, "it is known now");
    }

    /// What passed the gate and was held back is as if it had not passed: no attempt, and no time begins.
    async fn what_never_left_is_no_attempt(world: &mut World) {
        let (campaign, contacts) = queued(world, &["a@example.org"]).await;
        let worker = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        let id = contacts[0].id;
        world.tx(async |tx| store::lanes::claim(tx, campaign, worker, &LANE, 10).await).await;
        for now in [10, 20] {
            world.tx(async |tx| world::submit(tx, campaign, worker, &[id], now).await).await;
            let held = Outcome::postponed(id, now);
            world.tx(async |tx| world::record(tx, campaign, worker, &[&held]).await).await;
            let due = world.tx(async |tx| store::lanes::claim_due(tx, campaign, worker, &LANE, now, 5).await).await;
            assert_eq!(due.len(), 1);
            assert_eq!((due[0].attempts, due[0].first_submitted_at), (0, None));
        }
    }

    /// Five soft bounces in a row (rules 5.4), whatever was refused in between for the sender's sake.
    async fn a_block_neither_counts_nor_begins_the_row_anew(world: &mut World) {
        const DAY: i64 = 86_400_000;
        let someone = stored(world, contact(world, "a@example.org")).await;
        let worker = world.tx(async |tx| store::workers::add(tx, 0).await).await;
        let classes = ["soft", "soft", "full", "soft", "block", "config", "unknown"];
        for (day, class) in classes.into_iter().enumerate().map(|(i, class)| (4 * i as i64, class)) {
            let slug = format!("autumn-{day}");
            let file = CampaignFile { slug: slug.clone(), ..autumn() };
            world.tx(async |tx| store::campaigns::add(tx, &file, AUTUMN, world.now()).await).await;
            let campaign = world.tx(async |tx| store::campaigns::by_slug(tx, &slug).await).await.unwrap().id;
            let ended = Outcome {
                contact_id: someone.id,
                state: DeliveryState::Bounced,
                next_attempt_at: None,
                ended_at: Some(day * DAY),
                bounce_class: class.to_owned(),
                reply: "refused".to_owned(),
                unsent: 0,
            };
            world
                .tx(async |tx| {
                    store::deliveries::enqueue(tx, campaign, &[decided(&someone)], 0).await?;
                    store::lanes::claim(tx, campaign, worker, &LANE, 1).await?;
                    world::submit(tx, campaign, worker, &[someone.id], day * DAY).await?;
                    world::record(tx, campaign, worker, &[&ended]).await
                })
                .await;
        }
        let past = world.tx(async |tx| store::deliveries::past(tx, someone.id, someone.address_hash).await).await;
        assert_eq!(past.len(), 5);
        assert!(ouinon::domain::bounces::reaches_soft_limit(&past));
    }
}

/// A campaign file that says as little as one may.
pub const AUTUMN: &str = "+++\nslug = \"autumn\"\nproduct = \"crm\"\nsubject = \"Bonjour\"\n\
                      from = \"Société Exemple <actu@news.example>\"\n+++\nBonjour.\n";

pub fn autumn() -> CampaignFile {
    CampaignFile::parse(AUTUMN, None).expect("the file is valid")
}
