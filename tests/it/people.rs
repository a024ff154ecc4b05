//! One person: shown, corrected, and what they say recorded.

use ouinon::{
    domain::{
        address::Address,
        consents::{ConsentState, Proof},
        contacts::ContactKind,
    },
    pipeline::contacts::{self as people, EditError, Statement},
    store::{consents::ConsentPurpose, contacts, products},
};

use crate::{
    store::contact,
    world::{World, on_both},
};

fn marie() -> Address {
    Address::parse("marie@example.net").expect("an address")
}

async fn edit(world: &World, changes: &[(&str, &str)]) -> Result<bool, EditError> {
    let changes: Vec<(String, String)> = changes.iter().map(|(f, v)| (f.to_string(), v.to_string())).collect();
    people::edit(&world.app, &marie(), &changes).await
}

on_both! {
    /// A correction reads its values as an import does, may forget one, and leaves the rest.
    async fn corrected(world: &mut World) {
        world.tx(async |tx| contacts::save(tx, &[contact(world, "marie@example.net")]).await).await;
        world.advance(60);
        assert!(edit(world, &[("company", "Exemple SA"), ("kind", "b2b"), ("country", "de"), ("collected_at", "18/03/2025")]).await.expect("read"));
        assert!(edit(world, &[("last_activity", "click"), ("last_activity_at", "2026-05-01")]).await.expect("read"));
        // The last activity was wrong, and is moved back.
        assert!(edit(world, &[("last_activity_at", "2025-05-01")]).await.expect("read"));
        let found = people::dossier(&world.app, &marie()).await.expect("read").contact.expect("the contact");
        assert_eq!((found.company.as_str(), found.kind, found.country.as_str(), found.regime.as_str()),
            ("Exemple SA", ContactKind::Business, "DE", "DE"));
        assert_eq!((found.collected_at.as_str(), found.last_activity.as_str(), found.last_activity_at.as_str()),
            ("2025-03-18", "click", "2025-05-01"));
        assert!(found.informed && found.changed_at == world.now() && found.created_at < world.now());
        assert!(edit(world, &[("company", ""), ("country", ""), ("informed", "")]).await.expect("read"));
        let found = people::dossier(&world.app, &marie()).await.expect("read").contact.expect("the contact");
        assert_eq!((found.company.as_str(), found.regime.as_str(), found.informed), ("", "", false));
        assert!(!edit(world, &[("company", "")]).await.expect("read"), "nothing to change");
        for change in [("kind", "robot"), ("collected_at", "2030-01-01"), ("colour", "blue"), ("unsubscribed_at", ""), ("email", "x@y.example"), ("consent_crm", "yes")] {
            assert!(matches!(edit(world, &[change]).await, Err(EditError::Value(_))), "{change:?}");
        }
        let stranger = Address::parse("nobody@example.net").expect("an address");
        let unknown = people::edit(&world.app, &stranger, &[("company".into(), "X".into())]).await;
        assert!(matches!(unknown, Err(EditError::Unknown)));
    }

    /// What a person says is recorded once, and stays in their history.
    async fn said(world: &mut World) {
        world
            .tx(async |tx| {
                products::add(tx, "crm", "CRM", true, 1).await?;
                contacts::save(tx, &[contact(world, "marie@example.net")]).await
            })
            .await;
        let yes = Statement {
            purpose: ConsentPurpose::Mail,
            product: "crm".into(),
            state: ConsentState::Granted,
            at: world.app.now(),
            proof: Proof::Full,
            evidence: "form 12".into(),
        };
        assert_eq!(people::record(&world.app, &marie(), yes.clone()).await.expect("written"), Some(true));
        assert_eq!(people::record(&world.app, &marie(), yes.clone()).await.expect("written"), Some(false));
        world.advance(60);
        let no = Statement { state: ConsentState::Withdrawn, product: String::new(), at: world.app.now(), ..yes.clone() };
        assert_eq!(people::record(&world.app, &marie(), no).await.expect("written"), Some(true));
        let stranger = Address::parse("nobody@example.net").expect("an address");
        assert_eq!(people::record(&world.app, &stranger, yes).await.expect("read"), None);
        let history = people::dossier(&world.app, &marie()).await.expect("read").consents;
        let states: Vec<(ConsentState, &str)> = history.iter().map(|s| (s.state, s.product.as_str())).collect();
        assert_eq!(states, [(ConsentState::Granted, "crm"), (ConsentState::Withdrawn, "")]);
        let json = serde_json::to_value(&history[0]).expect("JSON");
        assert_eq!((&json["at"], &json["origin"]), (&serde_json::json!("2026-11-18T09:00:00Z"), &serde_json::json!("staff")));
    }
}
