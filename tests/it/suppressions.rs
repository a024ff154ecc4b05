//! Refusals: written once, never deleted, lifted only by whom the rules allow.

use jiff::{SignedDuration, Timestamp};
use ouinon::{
    domain::{
        address::{Address, foreign_hashes},
        consents::{ConsentState, Proof},
        suppressions::{Origin, Scope, SuppressionReason},
    },
    pipeline::{
        erase::{self, Erased},
        suppress::{self, LiftError, Reach, Refusal, Whom, Written},
        suppression_list,
    },
    store::{
        consents::{self, Consent, ConsentPurpose},
        contacts, events,
        suppressions::{self, Entry},
    },
};

use crate::{
    store::{contact, hash},
    world::{World, on_both},
};

const PERSON: &str = "marie@example.net";

fn address() -> Address {
    Address::parse(PERSON).expect("an address")
}

fn unsubscribed(whom: Whom, reach: Reach, at: Option<Timestamp>) -> Refusal {
    Refusal {
        whom,
        reach,
        reason: SuppressionReason::Unsubscribe,
        origin: Origin::OneClick,
        at,
        campaign_id: Some(7),
        note: String::new(),
    }
}

async fn refuse(world: &World, refusal: &Refusal) -> Written {
    let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
    world.tx(async |tx| suppress::refuse(tx, &key, refusal, now).await).await
}

/// Whether a refusal was new.
async fn is_new(world: &World, refusal: &Refusal) -> bool {
    matches!(refuse(world, refusal).await, Written::New(_))
}

async fn lift(world: &World, id: i64, because: &str) -> Result<Entry, LiftError> {
    let now = world.app.now();
    world.tx(async |tx| Ok(suppress::lift(tx, id, because, now).await)).await
}

async fn list(world: &World) -> Vec<Entry> {
    world.tx(async |tx| suppressions::page(tx, 0, 100).await).await
}

/// Records what the person said about a product, and returns when.
async fn say(world: &World, product: &str, state: ConsentState, proof: Proof) -> Timestamp {
    let (person, at) = (hash(world, PERSON), world.app.now());
    world
        .tx(async |tx| {
            let contact_id = contacts::by_hash(tx, person).await?.expect("the contact").id;
            let (product, evidence, origin) = (product.to_owned(), String::new(), Origin::Page);
            let (purpose, now) = (ConsentPurpose::Mail, at.as_millisecond());
            let said = Consent {
                contact_id,
                purpose,
                product,
                state,
                at: Some(now),
                proof,
                evidence,
                origin,
                recorded_at: now,
            };
            consents::add(tx, &[said]).await
        })
        .await;
    at
}

async fn with_contact(world: &World) {
    world.tx(async |tx| contacts::save(tx, &[contact(world, PERSON)]).await).await;
}

on_both! {
    /// The same refusal twice is one entry; another reach, reason or person is another.
    async fn written_once(world: &mut World) {
        with_contact(world).await;
        let person = || Whom::Person(hash(world, PERSON));
        let now = Some(world.app.now());
        let global = unsubscribed(person(), Reach::Everything, now);
        assert!(is_new(world, &global).await);
        assert!(!is_new(world, &global).await);
        // However the person is named, and whatever the person calls it.
        for whom in [Whom::Address(address()), Whom::Hash(hash(world, PERSON))] {
            assert!(!is_new(world, &Refusal { whom, ..global.clone() }).await);
        }
        assert!(!is_new(world, &Refusal { reason: SuppressionReason::Objection, ..global.clone() }).await);
        assert!(!is_new(world, &Refusal { reach: Reach::Address, ..global.clone() }).await);
        // What is lifted in another way says something else.
        for reason in [SuppressionReason::Complaint, SuppressionReason::HardBounce, SuppressionReason::Manual] {
            let other = Refusal { reason, ..global.clone() };
            assert!(is_new(world, &other).await, "{reason}");
            assert!(!is_new(world, &other).await, "{reason}");
        }
        assert!(is_new(world, &unsubscribed(person(), Reach::Product("crm".into()), now)).await);
        assert!(is_new(world, &unsubscribed(Whom::Domain("example.net".into()), Reach::Everything, now)).await);
        let foreign = foreign_hashes(&address())[0].clone();
        assert!(is_new(world, &unsubscribed(Whom::Foreign(foreign), Reach::Everything, now)).await);
        assert_eq!(list(world).await.len(), 7);
        // One event for each new refusal of the person, however often it was said.
        let counted = world.tx(async |tx| events::series(tx, 7, world.now() - 1).await).await;
        assert_eq!(counted, [(0, "complaint".to_owned(), 1), (0, "unsubscribe".to_owned(), 2)]);
    }

    /// A batch that says the same twice writes it once.
    async fn batches(world: &mut World) {
        let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
        let one = unsubscribed(Whom::Address(address()), Reach::Everything, Some(now));
        let other = unsubscribed(Whom::Domain("example.org".into()), Reach::Everything, Some(now));
        let all = [one.clone(), other.clone(), one, other];
        let written = world.tx(async |tx| suppress::refuse_all(tx, &key, &all, now).await).await;
        assert_eq!(written, [Written::New(1), Written::New(2), Written::Stood(1), Written::Stood(2)]);
    }

    /// A refusal that the person has lifted since does not stand in for a new one (SUP-7).
    async fn refused_opted_in_refused(world: &mut World) {
        with_contact(world).await;
        let first = unsubscribed(Whom::Person(hash(world, PERSON)), Reach::Everything, Some(world.app.now()));
        assert!(is_new(world, &first).await);
        // At the same instant the refusal stands.
        say(world, "crm", ConsentState::Granted, Proof::Doi).await;
        world.advance(60);
        let again = || Refusal { at: Some(world.app.now()), ..first.clone() };
        assert!(!is_new(world, &again()).await);
        // Another proof than a double opt-in lifts nothing.
        say(world, "crm", ConsentState::Granted, Proof::Full).await;
        world.advance(60);
        assert!(!is_new(world, &again()).await);
        say(world, "crm", ConsentState::Granted, Proof::Doi).await;
        world.advance(60);
        // The old refusal, imported once more, is no new one.
        assert!(!is_new(world, &first).await);
        assert!(is_new(world, &again()).await);
        assert!(!is_new(world, &again()).await);
        // What cannot be dated cannot be lifted either: it says more than what can.
        assert!(is_new(world, &Refusal { at: None, ..first.clone() }).await);
        assert!(!is_new(world, &Refusal { at: None, ..first.clone() }).await);
        assert_eq!(list(world).await.len(), 3);
    }

    /// A refusal of one product is lifted by an opt-in to that product alone.
    async fn an_opt_in_to_another_product_lifts_nothing(world: &mut World) {
        with_contact(world).await;
        let said = world.app.now();
        let of = |product: &str| unsubscribed(Whom::Person(hash(world, PERSON)), Reach::Product(product.into()), Some(said));
        refuse(world, &of("crm")).await;
        refuse(world, &of("erp")).await;
        world.advance(60);
        say(world, "erp", ConsentState::Granted, Proof::Doi).await;
        world.advance(60);
        let now = Some(world.app.now());
        assert!(!is_new(world, &Refusal { at: now, ..of("crm") }).await);
        let (key, now_instant) = (world.app.keys.suppression.clone(), world.app.now());
        let found = world.tx(async |tx| suppress::check(tx, &key, &address(), now_instant).await).await;
        let blocking: Vec<(&str, bool)> = found.iter().map(|f| (f.entry.product.as_str(), f.blocks())).collect();
        assert_eq!(blocking, [("crm", true), ("erp", false)]);
        assert!(is_new(world, &Refusal { at: now, ..of("erp") }).await);
    }

    /// By hand only what the rules allow, with a reason, once; and it can be refused anew.
    async fn lifted_by_hand(world: &mut World) {
        let now = world.app.now();
        for reason in SuppressionReason::ALL.iter().copied() {
            let refusal = Refusal { reason, ..unsubscribed(Whom::Address(address()), Reach::Product(reason.to_string()), Some(now)) };
            let Written::New(id) = refuse(world, &refusal).await else { panic!("{reason} stood already") };
            assert!(matches!(lift(world, id, "  ").await, Err(LiftError::NoReason)));
            let lifted = lift(world, id, "typed by mistake").await;
            if reason.is_the_persons_act() {
                assert!(matches!(lifted, Err(LiftError::PersonsAct { .. })), "{reason}");
                assert!(!is_new(world, &refusal).await);
            } else {
                assert!(lifted.is_ok(), "{reason}");
                assert!(matches!(lift(world, id, "again").await, Err(LiftError::Already(_))));
                assert!(is_new(world, &refusal).await, "{reason} holds again when it is said again");
            }
        }
        assert!(matches!(lift(world, 999, "nobody").await, Err(LiftError::Unknown)));
        let key = world.app.keys.suppression.clone();
        let whole = world.tx(async |tx| Ok(suppress::lift_address(tx, &key, &address(), "all", now).await)).await;
        assert!(matches!(whole, Err(LiftError::PersonsAct { .. })), "all or nothing");
    }

    /// Lifting an address leaves what covers its whole domain.
    async fn lifting_an_address_leaves_the_domain(world: &mut World) {
        let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
        for whom in [Whom::Address(address()), Whom::Foreign(foreign_hashes(&address())[1].clone()), Whom::Domain("net.example".into()), Whom::Domain("example.net".into())] {
            refuse(world, &Refusal { reason: SuppressionReason::Manual, ..unsubscribed(whom, Reach::Everything, None) }).await;
        }
        let lifted = world.tx(async |tx| Ok(suppress::lift_address(tx, &key, &address(), "a mistake", now).await)).await;
        assert_eq!(lifted.expect("both are manual").iter().map(|e| e.id).collect::<Vec<_>>(), [1, 2]);
        let left = world.tx(async |tx| suppress::check(tx, &key, &address(), now).await).await;
        assert_eq!(left.iter().map(|f| f.entry.domain.as_str()).collect::<Vec<_>>(), ["example.net"]);
    }

    /// A refusal from tomorrow does not stand yet, and stands in for none of today.
    async fn not_begun_yet(world: &mut World) {
        let tomorrow = world.app.now() + SignedDuration::from_hours(24);
        let later = unsubscribed(Whom::Address(address()), Reach::Everything, Some(tomorrow));
        refuse(world, &later).await;
        let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
        let found = world.tx(async |tx| suppress::check(tx, &key, &address(), now).await).await;
        assert!(!found[0].in_force && !found[0].blocks());
        assert!(is_new(world, &Refusal { at: Some(now), ..later }).await);
    }

    /// Erasure cancels what waits, forgets the address everywhere, and keeps every no.
    async fn erased(world: &mut World) {
        with_contact(world).await;
        let person = hash(world, PERSON);
        refuse(world, &unsubscribed(Whom::Person(person), Reach::Everything, Some(world.app.now()))).await;
        refuse(world, &unsubscribed(Whom::Person(person), Reach::Product("crm".into()), Some(world.app.now()))).await;
        say(world, "erp", ConsentState::Withdrawn, Proof::None).await;
        say(world, "shop", ConsentState::Refused, Proof::None).await;
        world.advance(60);
        say(world, "shop", ConsentState::Granted, Proof::Doi).await;
        let (key, now) = (world.app.keys.suppression.clone(), world.app.now());
        let erased = world.tx(async |tx| erase::erase(tx, &key, person, false, now).await).await;
        assert_eq!(erased, Some(Erased { cancelled: 0 }));
        let left: Vec<_> = list(world).await.into_iter().map(|e| (e.scope, e.product.clone(), e.address.clone(), e.origin, e.hash())).collect();
        let (nobody, crm, erp) = (String::new, "crm".to_owned(), "erp".to_owned());
        assert_eq!(left, [
            (Scope::Hash, nobody(), nobody(), Origin::OneClick, Some(person)),
            (Scope::Product, crm, nobody(), Origin::OneClick, Some(person)),
            (Scope::Product, erp, nobody(), Origin::Erasure, Some(person)),
        ]);
        assert!(world.tx(async |tx| contacts::by_hash(tx, person).await).await.is_none());
        let again = world.tx(async |tx| erase::erase(tx, &key, person, false, now).await).await;
        assert_eq!(again, None);
    }

    /// Asked for by the person, an erasure is an objection: no old file brings the person back.
    async fn erased_for_good(world: &mut World) {
        with_contact(world).await;
        let (key, person, now) = (world.app.keys.suppression.clone(), hash(world, PERSON), world.app.now());
        world.tx(async |tx| erase::erase(tx, &key, person, true, now).await).await.expect("there was a contact");
        let entries = list(world).await;
        assert_eq!((entries.len(), entries[0].scope, entries[0].reason, entries[0].origin),
            (1, Scope::Hash, SuppressionReason::Objection, Origin::Erasure));
        with_contact(world).await;
        let found = world.tx(async |tx| suppress::check(tx, &key, &address(), now).await).await;
        assert!(found[0].blocks());
    }

    /// What is exported says no more than it may, and nothing that a spreadsheet would run.
    async fn exported(world: &mut World) {
        let now = Some(world.app.now());
        let noted = |whom, note: &str| Refusal { note: note.into(), reason: SuppressionReason::Manual, ..unsubscribed(whom, Reach::Everything, now) };
        refuse(world, &noted(Whom::Address(Address::parse("+tag@example.org").expect("an address")), "=1+1")).await;
        refuse(world, &noted(Whom::Hash(hash(world, PERSON)), "a \"quoted\", word")).await;
        refuse(world, &Refusal { at: None, ..noted(Whom::Domain("example.com".into()), "") }).await;
        let Written::New(id) = refuse(world, &noted(Whom::Domain("lifted.example".into()), "")).await else { panic!("new") };
        lift(world, id, "a mistake").await.expect("by hand");
        let hex = hash(world, PERSON).to_hex();
        let mut csv = Vec::new();
        assert_eq!(suppression_list::export_csv(world.db(), false, world.app.keys.suppression_print(), &mut csv).await.expect("written"), 3);
        let (at, print) = (world.app.now(), world.app.keys.suppression_print());
        assert_eq!(String::from_utf8(csv).expect("text"), format!(
            "scope,address,domain,hash,product,reason,origin,at,note,key\n\
             global,'+tag@example.org,,,,manual,one_click,{at},'=1+1,\n\
             hash,,,hmac:{hex},,manual,one_click,{at},\"a \"\"quoted\"\", word\",{print}\n\
             domain,,example.com,,,manual,one_click,unknown,,\n"));
        let mut json = Vec::new();
        suppression_list::export_json(world.db(), true, world.app.keys.suppression_print(), &mut json).await.expect("written");
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&json).expect("JSON");
        assert_eq!((rows.len(), &rows[1]["hash"]), (3, &serde_json::json!(format!("hmac:{hex}"))));
        assert!(!String::from_utf8_lossy(&json).contains("tag@"), "hashed means hashed");
    }
}
