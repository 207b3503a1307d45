//! One model, asked in process and over HTTP: the stage finds the same.

use std::net::TcpListener;

use phantom::echo::EchoSpec;
use serde_json::Value;

use crate::harness::{
    process::Place,
    studies::{make, submit},
    topic::records,
};

/// How far two scores of one answer may lie apart: what a number loses on its way through JSON and back.
const ROUNDING: f64 = 1e-3;

/// What the inference of `place` says of the phantom of `spec`.
fn inferred(place: &Place, spec: &EchoSpec) -> Value {
    let mut service = place.start();
    let study = make(spec, &place.folder("studies"));
    submit(&study, || place.entry());
    assert_eq!(service.terminal(&study.uid).state, "reported");
    let bootstrap = service.entry().broker;
    let found = records(&bootstrap, "findings.inferred.v1");
    let record = found.iter().find(|record| record.key == study.uid.as_bytes()).unwrap();
    serde_json::from_slice(&record.payload).unwrap()
}

/// Equal, numbers within [`ROUNDING`]; says where not.
fn assert_alike(path: &str, one: &Value, other: &Value) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            assert!(one.keys().eq(other.keys()), "{path}: {one:?} {other:?}");
            one.iter().for_each(|(key, value)| assert_alike(&format!("{path}/{key}"), value, &other[key]));
        }
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len(), "{path}");
            (one.iter().zip(other).enumerate())
                .for_each(|(at, (a, b))| assert_alike(&format!("{path}/{at}"), a, b));
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            assert!((one - other).abs() <= ROUNDING, "{path}: {one} and {other}");
        }
        (one, other) => assert_eq!(one, other, "{path}"),
    }
}

#[test]
fn a_served_model_finds_what_it_finds_in_process() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Place::new("serve-model").set("model.path=\"\"").set("model.queue=64");
    let server = server.set(format!("model_server.listen=\"127.0.0.1:{port}\""));
    let mut serving = server.spawn(&["serve-model"]);
    serving.until("the model is served", || {
        ureq::get(format!("http://127.0.0.1:{port}/metrics")).call().ok().map(drop)
    });

    let key = server.data_dir().join("model-server.key");
    let remote = Place::new("remote")
        .set("model.kind=\"openai\"")
        .set(format!("model.openai.url=\"http://127.0.0.1:{port}\""))
        .set("model.openai.model=\"prescreen\"")
        .set("model.openai.top_logprobs=128")
        .set(format!("model.openai.key={{ file = \"{}\" }}", key.display()));
    let own = Place::new("own").set("model.path=\"\"");
    let spec = EchoSpec::sample(7);
    let (remote, own) = (inferred(&remote, &spec), inferred(&own, &spec));

    assert!(own["inference"]["answer"]["lvef_percent"].is_number(), "{own}");
    assert_eq!(remote["inference"], own["inference"]);
    assert_eq!(remote["generation"], own["generation"]);
    assert_eq!(remote["model"]["synthetic_only"], own["model"]["synthetic_only"]);
    assert_alike("evidence", &remote["evidence"], &own["evidence"]);
}
