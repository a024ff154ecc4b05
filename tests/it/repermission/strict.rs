//! Nobody becomes a professional, and no refusal is lost, by the way a file is written or by a flag.

use super::{Reading, plan_of, told, try_plan};
use crate::world::{World, on_both, on_sqlite};

/// Addresses of `n` people with these cells behind, under this header.
fn csv(header: &str, lines: &[(usize, &str)]) -> Vec<u8> {
    let mut text = format!("email;pays;type de source;date de collecte;{header}\n");
    let mut number = 0;
    for (n, cells) in lines {
        for _ in 0..*n {
            number += 1;
            text.push_str(&format!("p{number}@s.example;FR;salon;2025-03-18;{cells}\n"));
        }
    }
    text.into_bytes()
}

const PRO: Reading<'_> = Reading {
    map: &[],
    default: &[("kind", "business")],
    ignore: &[],
    date_order: None,
    sheet: None,
    as_of: None,
    out: None,
};

on_both! {
    /// One odd word in a column of kinds makes its line unusable, and professionals of nobody.
    async fn an_odd_word_makes_no_professionals(world: &mut World) {
        world.product("crm").await;
        let list = csv("type", &[(30, "particulier"), (1, "voir avec Luc")]);
        assert_eq!(told(&plan_of(world, &[("a.csv", &list)], &PRO).await), "invalid 1, no-basis 30");
        let plan = plan_of(world, &[("a.csv", &list)], &Reading::default()).await;
        assert_eq!(told(&plan), "invalid 1, no-basis 30");
        assert!(plan.files[0].left_out.is_empty());
        // Where most cannot be read nothing is, and what speaks for itself holds all the same.
        let list = csv("segment", &[(3, "Particulier"), (9, "Sud-Est"), (2, "B2C")]);
        assert_eq!(told(&plan_of(world, &[("a.csv", &list)], &PRO).await), "askable 9, no-basis 5");
    }

    /// Whatever a flag says for all lines, a consumer who is written down as one is one.
    async fn no_flag_makes_professionals_of_consumers(world: &mut World) {
        world.product("crm").await;
        let list = csv("type", &[(2, "particulier"), (1, "pro")]);
        for reading in [
            Reading { ignore: &["type"], ..PRO },
            Reading { map: &[("type", "company")], ..PRO },
            Reading { map: &[("type", "source")], ..PRO },
        ] {
            let error = try_plan(world, &[("a.csv", &list)], &reading).await.unwrap_err();
            assert!(error.is_bad_input() && error.to_string().contains("\"type\""), "{error}");
        }
        for (header, cells) in [
            ("Particulier", "oui"),
            ("Is_business", "non"),
            ("Professionnel", "non"),
            ("Civilité", "particulier"),
            ("Statut juridique", "particulier"),
            ("Remarque", "B2C"),
        ] {
            let list = csv(header, &[(1, cells)]);
            let reading = Reading { default: &[], ..PRO };
            assert!(!told(&plan_of(world, &[("a.csv", &list)], &reading).await).contains("askable"), "{header}");
            match try_plan(world, &[("a.csv", &list)], &PRO).await {
                Ok(plan) => assert_eq!(told(&plan), "no-basis 1", "{header}"),
                Err(error) => assert!(error.is_bad_input() && error.to_string().contains(header), "{header}: {error}"),
            }
        }
        for header in ["Type de client", "Client type", "B2B/B2C", "BtoB", "Pro/Part", "Customer Group", "Typologie"] {
            for word in ["particulier", "B2C", "Part.", "grand public", "personne physique"] {
                let list = csv(header, &[(3, word)]);
                match try_plan(world, &[("a.csv", &list)], &PRO).await {
                    Ok(plan) => assert_eq!(told(&plan), "no-basis 3", "{header} {word}"),
                    Err(error) => assert!(error.is_bad_input(), "{header} {word}: {error}"),
                }
            }
        }
        // Unless the file says nothing of it.
        let list = csv("ville", &[(2, "Lyon")]);
        assert_eq!(told(&plan_of(world, &[("a.csv", &list)], &PRO).await), "askable 2");
    }

    /// A no is a no, whatever stands beside it in its column.
    async fn a_no_beside_odd_words_is_kept(world: &mut World) {
        world.product("crm").await;
        for (header, cells, refused) in [
            ("Newsletter", ["O", "N", "N"], 2),
            ("Newsletter", ["Y", "N", "hebdo"], 1),
            ("Newsletter", ["non", "hebdo", "mensuelle"], 1),
            ("OPTIN_EMAIL", ["non", "oui", "oui"], 1),
            ("Désinscrit(e)", ["oui", "", "non"], 1),
            ("Liste d'opposition", ["x", "", ""], 1),
            ("UNSUB_TIME", ["2025-11-02", "", ""], 1),
            ("Unsubscribed from all email", ["true", "false", ""], 1),
            ("NPAI", ["oui", "", ""], 1),
            ("Statut", ["désabonné le 3 mars 2025", "actif depuis 2019", "spam"], 2),
            ("Commentaire", ["m'a dit STOP", "vu au salon", "Ne plus contacter !"], 2),
        ] {
            let list = csv(header, &[(1, cells[0]), (1, cells[1]), (1, cells[2])]);
            let plan = plan_of(world, &[("a.csv", &list)], &PRO).await;
            assert_eq!(plan.refusals, refused, "{header} {cells:?}: {}", told(&plan));
            assert!(plan.groups["askable"] <= 3 - refused, "{header} {cells:?}: {}", told(&plan));
            for reading in [Reading { ignore: &[header], ..PRO }, Reading { map: &[(header, "source")], ..PRO }] {
                let plan = plan_of(world, &[("a.csv", &list)], &reading).await;
                assert!(plan.groups["askable"] <= 3 - refused, "a flag drops {header} {cells:?}: {}", told(&plan));
            }
        }
    }

    /// A refusal belongs to its person though the address is written unlike an address.
    async fn a_refusal_of_a_wrapped_address_is_its_persons(world: &mut World) {
        world.product("crm").await;
        let clean = csv("type", &[(3, "pro")]);
        let refusing = b"email;desinscrit\n<p1@s.example>;oui\nmailto:P2@s.example;oui\n".as_slice();
        let plan = plan_of(world, &[("a.csv", &clean), ("b.csv", refusing)], &Reading::default()).await;
        assert_eq!((told(&plan).as_str(), plan.refusals), ("askable 1, invalid 2, refused 2", 2));
    }
}

/// Somebody's line is no header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_without_a_header_is_not_read() {
    on_sqlite(async |world| {
        world.product("crm").await;
        let error =
            try_plan(world, &[("a.csv", b"a@s.example;Jean;pro\nb@s.example;Ana;pro\n")], &PRO).await.unwrap_err();
        let told = error.to_string();
        assert!(error.is_bad_input() && told.contains("line 1") && !told.contains("a@s.example"), "{told}");
    })
    .await;
}
