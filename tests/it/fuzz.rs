//! The document of the public routes says what the router does, and a fuzzer that we did not write finds
//! no 5xx behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use ouinon::{
    domain::tokens::{Purpose, Token},
    store::{contacts, products},
};
use serde_json::{Value, json};

use crate::{
    http, needs, source,
    store::{contact, hash},
    world::{World, on_both},
};

const TEST: &str = "the fuzzer of the public routes";
/// Requests that schemathesis makes up for each operation.
const EXAMPLES: &str = "25";

fn document() -> Value {
    let text = std::fs::read_to_string(source::top().join("templates/public/openapi.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What the document says: path and methods.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let methods = |operations: &Value| {
        let all = operations.as_object().unwrap().keys().filter(|key| *key != "parameters");
        all.map(|method| method.to_uppercase()).collect()
    };
    let document = document();
    document["paths"].as_object().unwrap().iter().map(|(path, ops)| (path.clone(), methods(ops))).collect()
}

/// What the router of the source says: path and methods.
fn routed() -> BTreeMap<String, BTreeSet<String>> {
    let mut routes = BTreeMap::new();
    for file in source::program().iter().filter(|file| file.path.starts_with("src/web/public/")) {
        for after in file.of_program().split(".route(").skip(1) {
            let path = after.trim_start().trim_start_matches('"').split('"').next().unwrap();
            let handlers = after.split("\n        .").next().unwrap();
            let mut methods = BTreeSet::new();
            for method in ["get", "post", "put", "delete"] {
                if handlers.contains(&format!("{method}(")) {
                    methods.insert(method.to_uppercase());
                }
            }
            routes.insert(path.to_owned(), methods);
        }
    }
    routes
}

#[test]
fn the_document_names_every_route_and_no_other() {
    let routed = routed();
    assert!(routed.len() >= 8, "the routes are found: {routed:?}");
    assert_eq!(documented(), routed, "templates/public/openapi.json and the routes of src/web/public");
}

on_both! {
    /// Every documented operation answers as documented, and other methods are refused.
    async fn the_router_does_what_the_document_says(world: &mut World) {
        let served = http::serve(&world.app).await;
        let given = served.get("/api/openapi.json").await;
        assert_eq!(serde_json::from_str::<Value>(&given.body).unwrap(), document());
        let document = document();
        for (path, methods) in documented() {
            let concrete = path.replace("{token}", "nothing").replace("{slug}", "nothing").replace("{number}", "1");
            for method in ["GET", "POST", "PUT", "DELETE"] {
                let answer = served.ask(&format!("{method} {concrete} HTTP/1.1"), b"").await;
                if methods.contains(method) {
                    let said = &document["paths"][&path][method.to_lowercase()]["responses"][answer.status.to_string()];
                    assert!(said.is_object(), "{method} {path} answers {}, which is not documented", answer.status);
                } else {
                    assert_eq!(answer.status, 405, "{method} {path}");
                }
            }
        }
    }

    /// Who asks for page after page is slowed down; whoever unsubscribes from the same network is not.
    async fn a_flood_of_looks_hinders_no_unsubscribe(world: &mut World) {
        let served = http::serve(&world.app).await;
        let token = world.app.keys.tokens.sign(&Token {
            purpose: Purpose::Unsubscribe, address: hash(world, "marie@example.net"), product: 1, campaign: 1,
            product_scope: false, test: false,
        });
        let ask = async |method: &str, path: &str, body: &str| {
            let head = format!("{method} {path} HTTP/1.1\r\nX-Forwarded-For: 198.51.100.7\r\n\
                Content-Type: application/x-www-form-urlencoded");
            served.ask(&head, body.as_bytes()).await
        };
        let mut slowed = None;
        for _ in 0..5000 {
            let answer = ask("GET", "/", "").await;
            if answer.status == 429 {
                slowed = Some(answer);
                break;
            }
            assert_eq!(answer.status, 200);
        }
        let slowed = slowed.expect("a flood is slowed down");
        assert_eq!(slowed.header("retry-after"), Some("5"));
        assert_eq!(ask("GET", &format!("/o/{token}"), "").await.status, 200);
        // Where a no can be said, too: the choices, and the question of a re-permission.
        for (path, purpose) in [("p", Purpose::Preferences), ("a", Purpose::Answer)] {
            let token = world.app.keys.tokens.verify(&token).expect("ours");
            let link = world.app.keys.tokens.sign(&Token { purpose, ..token });
            assert_eq!(ask("GET", &format!("/{path}/{link}"), "").await.status, 200, "{path}");
        }
        assert_eq!(ask("POST", &format!("/o/{token}"), "List-Unsubscribe=One-Click").await.status, 200);
        assert_eq!(served.get("/").await.status, 200, "others are served");
    }

    /// schemathesis, with tokens that are ours and with what it makes up.
    async fn a_fuzzer_finds_no_5xx(world: &mut World) {
        let Some(python) = needs::python(&["schemathesis"], TEST) else { return };
        let person = "marie@example.net";
        world.tx(async |tx| {
            products::add(tx, "crm", "CRM", true, 1).await?;
            contacts::save(tx, &[contact(world, person)]).await
        }).await;
        let tokens: Vec<String> = Purpose::ALL.iter().flat_map(|purpose| {
            [false, true].map(|test| world.app.keys.tokens.sign(&Token {
                purpose: *purpose, address: hash(world, person), product: 1, campaign: 1, product_scope: test, test,
            }))
        }).collect();
        let mut document = document();
        for operations in document["paths"].as_object_mut().unwrap().values_mut() {
            for parameter in operations.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
                if parameter["name"] == "token" {
                    parameter["schema"] = json!({ "anyOf": [{ "type": "string", "enum": tokens }, { "type": "string", "minLength": 1 }] });
                }
            }
        }
        let file = world.folder().join("openapi.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let served = http::serve(&world.app).await;
        let mut command = Command::new(python);
        command
            .args(["-m", "schemathesis.cli", "run"])
            .arg(&file)
            .args(["--url", &format!("http://{}", served.at), "--checks", "not_a_server_error"])
            .args(["--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing", "--generation-database", "none"])
            .args(["--seed", "8058", "--suppress-health-check", "all", "--max-redirects", "0", "--no-color"])
            .current_dir(world.folder());
        let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{out}\n{err}");
        assert!(out.contains("passed"), "{out}");
        // It is still there, and still itself.
        assert_eq!(served.get("/healthz").await.status, 200);
        served.stop().await;
    }
}
