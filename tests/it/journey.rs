//! The loop: from contacts to the inbox, and back to the next campaign.

use std::collections::BTreeSet;

use ouinon::{
    domain::{
        contacts::{AddressKind, ContactKind, Relationship, SourceKind},
        suppressions::{Origin, Scope},
    },
    mail::catcher::Settings,
    store::{self, contacts::Contact, suppressions::Entry},
};

use crate::{
    sending::{Sending, campaign, header},
    store::{consent, contact, refusal, stored},
    world::{World, on_both},
};

/// Twenty people of whom each is there for a reason: who may be written to, and why not.
async fn people(world: &World) -> (BTreeSet<String>, Vec<(&'static str, i64)>) {
    let mut may = BTreeSet::new();
    for i in 0..8 {
        let address = format!("pro{i}@business{i}.example");
        let someone = Contact {
            kind: ContactKind::Business,
            address_kind: AddressKind::Personal,
            relationship: Relationship::Prospect,
            source_kind: SourceKind::DirectForm,
            first_name: format!("Pro{i}"),
            ..contact(world, &address)
        };
        stored(world, someone).await;
        may.insert(address);
    }
    for i in 0..6 {
        let address = format!("person{i}@example.net");
        let someone = Contact {
            kind: ContactKind::Consumer,
            relationship: Relationship::Prospect,
            source_kind: SourceKind::DirectForm,
            ..contact(world, &address)
        };
        let someone = stored(world, someone).await;
        if i < 4 {
            let yes = consent(world, someone.id);
            world.tx(async |tx| store::consents::add(tx, std::slice::from_ref(&yes)).await).await;
            may.insert(address);
        }
    }
    for i in 0..3 {
        let address = format!("no{i}@business.example");
        let someone = Contact { kind: ContactKind::Business, ..contact(world, &address) };
        let someone = stored(world, someone).await;
        let no = refusal(world, Some(someone.address_hash));
        world.tx(async |tx| store::suppressions::add(tx, &no).await).await;
    }
    let blocked = Entry { scope: Scope::Domain, domain: "closed.example".into(), ..refusal(world, None) };
    world.tx(async |tx| store::suppressions::add(tx, &blocked).await).await;
    for i in 0..3 {
        let address = format!("c{i}@sub.closed.example");
        stored(world, Contact { kind: ContactKind::Business, ..contact(world, &address) }).await;
    }
    (may, vec![("NO_CONSENT", 2), ("SUPPRESSED_DOMAIN", 3), ("SUPPRESSED_GLOBAL", 3)])
}

on_both! {
    /// Twenty contacts through every floor: preflight says who, exactly they get it, one refuses with
    /// one click, and the next campaign leaves that person out.
    async fn the_loop_closes(world: &mut World) {
        let post = Sending::open(world, Settings::default()).await;
        world.product("crm").await;
        let (may, why_not) = people(world).await;

        world.create(&campaign("autumn", "rate = \"60000/min\"")).await;
        let forecast = world.preflight("autumn").await;
        assert_eq!((forecast.asked, forecast.send.total, forecast.block.total), (20, 12, 8));
        let by_reason: Vec<(&str, i64)> = forecast.block.by_reason.iter().map(|(r, n)| (*r, *n)).collect();
        assert_eq!(by_reason, why_not);
        world.launch("autumn").await;
        world.send("autumn").await;

        let caught = post.caught();
        assert_eq!(caught.keys().cloned().collect::<BTreeSet<_>>(), may);
        let report = world.report("autumn").await;
        assert_eq!((report.status.asked, report.status.accepted, report.status.blocked), (20, 12, 8));
        let told: Vec<(&str, i64)> = report.status.by_reason.iter().map(|(r, n)| (r.as_str(), *n)).collect();
        assert_eq!(told, why_not, "the report says what the preflight said");

        let message = &caught["pro3@business3.example"];
        assert!(header(&message.bytes, "Subject").unwrap().contains("Pro3"));
        let answer = post.one_click(message).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let entries = world.tx(async |tx| store::suppressions::page(tx, 4, 10).await).await;
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].scope, entries[0].origin), (Scope::Global, Origin::OneClick));
        assert_eq!(world.report("autumn").await.unsubscribes, 1);

        world.advance(3600);
        world.create(&campaign("winter", "rate = \"60000/min\"")).await;
        assert_eq!(world.preflight("winter").await.send.total, 11);
        world.launch("winter").await;
        world.send("winter").await;
        let after = post.catcher.mailbag().messages();
        let second: BTreeSet<String> = after[12..].iter().map(|m| m.to[0].trim_matches(['<', '>']).to_owned()).collect();
        assert_eq!(second, may.into_iter().filter(|a| a != "pro3@business3.example").collect());
        assert_eq!(world.report("winter").await.status.by_reason["SUPPRESSED_GLOBAL"], 4);
    }
}
