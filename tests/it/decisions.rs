//! What the store keeps of a person is what the decision reads, on either engine.

use ouinon::{
    domain::{
        campaigns::{CampaignKind, Elements, Sector, Terms, TrackingRequest},
        consents::ConsentState,
        contacts::{ContactKind, Relationship},
        eligibility::{self, Basis, Decision, Outcome, Person, Reason},
        suppressions::Scope,
    },
    store::{self, contacts::Contact},
};

use crate::{
    store::{consent, contact, refusal, stored},
    world::{World, on_both},
};

fn terms(kind: CampaignKind) -> Terms {
    Terms {
        kind,
        product: "crm".into(),
        profession_related: true,
        sector: Sector::None,
        has_promo: false,
        art14_notice: false,
        elements: Elements { identity: true, optout: true, postal: true },
        tracking: TrackingRequest::None,
    }
}

async fn facts(world: &World, contact: &Contact) -> Person {
    let mut people = world.tx(async |tx| store::facts::of(tx, std::slice::from_ref(contact), "crm").await).await;
    people.pop().expect("one person for one contact")
}

fn decide(world: &World, person: &Person) -> Decision {
    eligibility::decide(&world.app.rules, &terms(CampaignKind::Marketing), person, world.app.now())
}

fn consumer(world: &World, address: &str) -> Contact {
    Contact { kind: ContactKind::Consumer, relationship: Relationship::Prospect, ..contact(world, address) }
}

on_both! {
    /// Without a yes, no; with it, yes; after a refusal, no again.
    async fn a_yes_and_a_no_are_read_back(world: &mut World) {
        let someone = stored(world, consumer(world, "a@example.org")).await;
        let outcome = async |world: &World| decide(world, &facts(world, &someone).await).outcome;
        assert_eq!(outcome(world).await, Outcome::Block(Reason::NoConsent));
        let yes = consent(world, someone.id);
        world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&yes)).await).await;
        assert_eq!(outcome(world).await, Outcome::Send(Basis::Consent));
        world.advance(60);
        let mut no = consent(world, someone.id);
        no.state = ConsentState::Withdrawn;
        world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&no)).await).await;
        assert_eq!(outcome(world).await, Outcome::Block(Reason::ConsentWithdrawn));
    }

    /// Each scope of a refusal finds the person it covers, and nobody else.
    async fn a_refusal_covers_whom_it_says(world: &mut World) {
        let refused = stored(world, consumer(world, "a@sub.example.org")).await;
        let other = stored(world, consumer(world, "b@example.com")).await;
        for person in [&refused, &other] {
            let yes = consent(world, person.id);
            world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&yes)).await).await;
        }
        let whom = Some(refused.address_hash);
        let cases = [
            (store::suppressions::Entry { scope: Scope::Global, ..refusal(world, whom) }, Reason::SuppressedGlobal),
            (store::suppressions::Entry { scope: Scope::Hash, ..refusal(world, whom) }, Reason::SuppressedHash),
            (
                store::suppressions::Entry { scope: Scope::Product, product: "crm".into(), ..refusal(world, whom) },
                Reason::SuppressedProduct,
            ),
            (
                store::suppressions::Entry { scope: Scope::Domain, domain: "example.org".into(), ..refusal(world, None) },
                Reason::SuppressedDomain,
            ),
        ];
        for (entry, reason) in cases {
            let id = world.tx(async |tx| store::suppressions::add(tx, &entry).await).await;
            assert_eq!(decide(world, &facts(world, &refused).await).outcome, Outcome::Block(reason), "{entry:?}");
            assert_eq!(decide(world, &facts(world, &other).await).outcome, Outcome::Send(Basis::Consent), "{entry:?}");
            world.tx(async |tx| store::suppressions::lift(tx, id, "next case", 1).await).await;
        }
        let elsewhere = store::suppressions::Entry { scope: Scope::Product, product: "hosting".into(), ..refusal(world, whom) };
        world.tx(async |tx| store::suppressions::add(tx, &elsewhere).await).await;
        assert_eq!(decide(world, &facts(world, &refused).await).outcome, Outcome::Send(Basis::Consent));
    }

    /// Silence holds until the end of the day the person chose, in the controller's time zone.
    async fn who_asked_for_silence_is_left_alone_until_the_day_is_over(world: &mut World) {
        let someone = stored(world, consumer(world, "a@example.org")).await;
        let yes = consent(world, someone.id);
        world
            .tx(async |tx| {
                store::consents::add(tx, std::slice::from_ref(&yes)).await?;
                store::contacts::pause(tx, someone.id, "2026-11-18", 0).await
            })
            .await;
        let someone = world.tx(async |tx| store::contacts::by_ids(tx, &[someone.id]).await).await.remove(0);
        let outcome = async |world: &World| decide(world, &facts(world, &someone).await).outcome;
        assert_eq!(outcome(world).await, Outcome::Block(Reason::PausedByPerson));
        // 22:59:59 UTC is 23:59:59 in Paris.
        world.advance(13 * 3600 + 59 * 60 + 59);
        assert_eq!(outcome(world).await, Outcome::Block(Reason::PausedByPerson));
        world.advance(1);
        assert_eq!(outcome(world).await, Outcome::Send(Basis::Consent));
    }

    /// The sender's own rule of inactivity blocks who may otherwise be written to.
    async fn the_inactive_are_left_alone(world: &mut World) {
        let someone = stored(world, consumer(world, "a@example.org")).await;
        let yes = consent(world, someone.id);
        world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&yes)).await).await;
        let mut person = facts(world, &someone).await;
        assert_eq!(decide(world, &person).outcome, Outcome::Send(Basis::Consent));
        world.app.rules.settings.sunset_months = Some(1);
        assert_eq!(decide(world, &person).outcome, Outcome::Block(Reason::Sunset));
        // Whoever opened lately, as far as that may be known, is not inactive.
        let (hash, today) = (someone.address_hash, "2026-11-01".parse().expect("a date"));
        world.tx(async |tx| store::opens::opened(tx, &[hash], today).await).await;
        person = facts(world, &someone).await;
        assert_eq!(decide(world, &person).outcome, Outcome::Send(Basis::Consent));
    }

    /// Who was asked for permission is not asked again for months, even as somebody new.
    async fn who_was_asked_is_not_asked_again(world: &mut World) {
        let someone = stored(world, consumer(world, "a@example.org")).await;
        let asked_at = world.now();
        world
            .tx(async |tx| {
                store::facts::note_asked(tx, someone.address_hash, "crm", asked_at).await?;
                store::contacts::delete(tx, someone.id).await
            })
            .await;
        let back = Contact { relationship: Relationship::Customer, ..consumer(world, "a@example.org") };
        let back = stored(world, Contact { last_activity: "purchase".into(), last_activity_at: "2026-09-01".into(), ..back }).await;
        let person = facts(world, &back).await;
        let ask = terms(CampaignKind::Repermission);
        let outcome = eligibility::decide(&world.app.rules, &ask, &person, world.app.now()).outcome;
        assert_eq!(outcome, Outcome::Block(Reason::RepermissionCooldown));
    }
}
