//! `/api/openapi.json` is true: it names every route and no other, and the answers fit the shapes it gives.

use std::collections::BTreeSet;

use console::site::HistoryPoint;
use serde_json::{Value, json};

use crate::{
    hostile,
    serving::{Serving, TOKEN},
    world::World,
};

/// Where routes are made.
const SOURCES: [&str; 3] = [
    include_str!("../../src/server.rs"),
    include_str!("../../src/api/watch.rs"),
    include_str!("../../src/api/replays.rs"),
];

fn contract(console: &Serving) -> Value {
    serde_json::from_str(&console.get("/api/openapi.json").body).expect("JSON")
}

/// Method and path of every route that is no page.
fn routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for source in SOURCES {
        for line in source.lines() {
            let Some((path, rest)) =
                line.trim().strip_prefix(".route(\"").and_then(|rest| rest.split_once('"'))
            else {
                continue;
            };
            let method = rest.trim_start_matches([',', ' ']).split('(').next().unwrap_or_default();
            if ["/api/", "/pictures/", "/metrics"].iter().any(|room| path.starts_with(room)) {
                routes.insert(format!("{method} {path}"));
            }
        }
    }
    routes
}

#[test]
fn it_names_every_route_and_no_other() {
    let contract = contract(&Serving::start(World::default()));
    let mut named = BTreeSet::new();
    for (path, methods) in contract["paths"].as_object().expect("paths") {
        named.extend(methods.as_object().expect("methods").keys().map(|method| format!("{method} {path}")));
    }
    assert!(routes().len() > 25, "routes are found in the source: {:?}", routes());
    assert_eq!(named, routes());
}

#[test]
fn whatever_changes_something_asks_for_the_token() {
    let contract = contract(&Serving::start(World::default()));
    for (path, methods) in contract["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let secured = operation["security"] == json!([{ "token": [] }]);
            assert_eq!(secured, method == "post", "{method} {path}");
            assert_eq!(operation["responses"]["401"].is_object(), method == "post", "{method} {path}");
        }
    }
}

#[test]
fn answers_fit_the_shapes_it_gives() {
    let world = World {
        history: |_| vec![HistoryPoint { end_to_end_p50_s: Some(4.0), ..HistoryPoint::default() }],
        ..hostile::world()
    };
    let console = Serving::start(world);
    let contract = contract(&console);
    let fits = |name: &str, many: bool, body: &str| {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        let mut schema =
            if many { json!({ "type": "array", "minItems": 1, "items": reference }) } else { reference };
        schema["components"] = contract["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let answer: Value = serde_json::from_str(body).expect("JSON");
        assert!(validator.is_valid(&answer), "{name}: {:?}", validator.validate(&answer));
    };
    fits("GraphNode", true, &console.get("/api/graph").body);
    fits("HistoryPoint", true, &console.get("/api/history").body);
    fits("Status", false, &console.get("/api/status").body);
    fits("DeadLetter", true, &console.get("/api/dead-letters").body);
    fits("TappedRecord", true, &console.get("/api/tap?topic=study.acquired.v1").body);
    let request = r#"{"one":null,"dry_run":true}"#;
    fits("RedriveRequest", false, request);
    fits("Redriven", false, &console.post_json("/api/dead-letters/redrive", Some(TOKEN), request).body);
}
