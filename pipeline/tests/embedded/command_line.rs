//! The command line: what scripts rely on.

use std::fs;

use serde_json::Value;

use crate::harness::process::{Place, stderr, stdout};

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_64_and_name_the_fault() {
    let place = Place::new("commands");
    let wrong: [(&[&str], &str); 13] = [
        (&["pause", "store"], "cannot be paused"),
        (&["resume", "frobnicator"], "inference"),
        (&["redrive", "--topic", "study.unheard.v1"], "study.acquired.v1"),
        (&["redrive", "--reason", "bad_luck"], "object_missing"),
        (&["tap", "--topic", "report.issued.v1", "--rate", "3"], "--wait"),
        (&["frobnicate"], "frobnicate"),
        (&["demo", "--studies", "0"], "0"),
        (&["check", "--set", "console.lisen=1"], "lisen"),
        (&["check", "--set", "decode.workers=0"], "decode.workers"),
        (&["check", "--set", "stages.quality_gate.max_framez=3"], "max_framez"),
        (&["check", "--set", "database.url=\"postgres://a:b@c/d\""], "database"),
        (&["run", "--only", "keyframes"], "--only"),
        (&["study", "not-a-uid"], "uid"),
    ];
    for (arguments, named) in wrong {
        let output = place.cli(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).to_lowercase().contains(named), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
    assert_eq!(place.cli(&["--help"]).status.code(), Some(0));
    assert_eq!(place.cli(&["--version"]).status.code(), Some(0));
}

#[test]
fn without_a_running_system_there_is_a_plain_answer() {
    let place = Place::new("commands");
    let asking: [&[&str]; 8] = [
        &["status"],
        &["study", "1.2.3"],
        &["ingest", "."],
        &["top", "--once"],
        &["tap", "--topic", "study.acquired.v1"],
        &["pause", "inference"],
        &["resume", "inference"],
        &["redrive"],
    ];
    for arguments in asking {
        let output = place.cli(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(stderr(&output).contains("no running prescreen"), "{}", stderr(&output));
    }
}

#[test]
fn configuration_topics_and_tables_are_shown_before_anything_runs() {
    let place = Place::new("commands");
    let check = place.cli(&["check"]);
    assert_eq!((check.status.code(), stdout(&check).as_str()), (Some(0), "configuration: valid\n"));
    assert!(!place.data_dir().exists(), "a check leaves nothing behind");

    let topics = stdout(&place.cli(&["topics"]));
    assert_eq!(
        topics.lines().count(),
        22,
        "seven topics, each with an urgent lane and dead letters, and the topic of pauses: {topics}"
    );
    for name in ["study.acquired.v1 ", "keyframes.extracted.v1.urgent ", "report.issued.v1.dlq "] {
        assert!(topics.lines().any(|line| line.starts_with(name)), "{name}: {topics}");
    }
    let created = stdout(&place.cli(&["topics", "--create"]));
    assert_eq!(created.lines().filter(|line| line.ends_with("created")).count(), 22, "{created}");
    let again = stdout(&place.cli(&["topics", "--create"]));
    assert_eq!(again.lines().filter(|line| line.ends_with("exists")).count(), 22, "{again}");

    assert_eq!(place.cli(&["migrate", "--dry-run"]).status.code(), Some(1), "something is to be done");
    assert_eq!(place.cli(&["migrate"]).status.code(), Some(0));
    let done = place.cli(&["migrate", "--dry-run"]);
    assert_eq!((done.status.code(), stdout(&done).as_str()), (Some(0), "tables are up to date\n"));

    let live = place.cli(&["check", "--live"]);
    assert_eq!(live.status.code(), Some(0), "{}{}", stdout(&live), stderr(&live));
    for part in ["broker: ", "database: ", "blobs: ", "model: "] {
        assert!(stdout(&live).lines().any(|line| line.starts_with(part)), "{}", stdout(&live));
    }
}

#[test]
fn ingest_study_and_status_have_the_shapes_that_scripts_read() {
    let place = Place::new("asked service");
    let (good, spoilt) = (place.folder("good"), place.folder("spoilt"));
    let make = |folder: &std::path::Path, more: &[&str]| {
        let out = folder.to_str().unwrap();
        let output = place.cli(&[&["phantom", "echo", "--out", out, "--json"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let truth = object(&stdout(&output));
        assert_eq!(truth, object(&fs::read_to_string(folder.join("truth.json")).unwrap()));
        truth[0]["study_uid"].as_str().unwrap().to_owned()
    };
    let good_uid = make(&good, &["--seed", "70"]);
    let spoilt_uid = make(&spoilt, &["--seed", "71", "--corrupt", "blur:5"]);
    let service = place.start();

    // truth.json lies beside the studies: refused by name, and the studies go their way.
    let ingest = place.cli(&["ingest", good.to_str().unwrap(), "--wait", "--json"]);
    assert_eq!(ingest.status.code(), Some(1), "{}", stderr(&ingest));
    let lines = stdout(&ingest);
    let (refused, line) = lines.trim().split_once('\n').unwrap();
    let (refused, line) = (object(refused), object(line));
    assert_eq!((&refused["state"], &refused["study_uid"]), (&"refused".into(), &Value::Null));
    assert!(refused["file"].as_str().unwrap().ends_with("truth.json"), "{refused}");
    assert_eq!(keys(&line), ["reason", "seconds", "state", "study_uid"]);
    assert_eq!(
        (line["study_uid"].as_str(), line["state"].as_str()),
        (Some(good_uid.as_str()), Some("reported"))
    );
    assert!(line["seconds"].is_f64());

    let folder = spoilt.join(&spoilt_uid);
    let ingest = place.cli(&["ingest", folder.to_str().unwrap(), "--wait", "--json"]);
    assert_eq!(ingest.status.code(), Some(0), "{}", stderr(&ingest));
    let line = object(stdout(&ingest).trim());
    assert_eq!((line["state"].as_str(), line["reason"].as_str()), (Some("rejected"), Some("BLUR")));
    let again = place.cli(&["ingest", folder.to_str().unwrap(), "--wait", "--json"]);
    assert_eq!(again.status.code(), Some(0), "known already: {}", stderr(&again));
    assert_eq!(object(stdout(&again).trim())["state"], "rejected");

    let study = place.cli(&["study", &good_uid, "--json"]);
    assert_eq!(study.status.code(), Some(0));
    let timeline = object(&stdout(&study));
    assert_eq!(
        keys(&timeline),
        ["dead_letters", "events", "hops", "now", "rejection", "report", "revisions", "versions"]
    );
    assert_eq!(
        (&timeline["now"]["state"], &timeline["now"]["waits_for"]),
        (&"reported".into(), &Value::Null)
    );
    assert_eq!(timeline["versions"]["model_sha256"], timeline["report"]["model"]["digest"]);
    assert_eq!(timeline["hops"].as_array().unwrap().len(), 5);
    assert!(timeline["hops"][1]["after_s"].as_f64().unwrap() >= 0.0);
    assert_eq!(timeline["report"]["certainty"], "ABSTAIN");
    assert!(timeline["report"]["text"]["en"].as_str().unwrap().contains("ABSTAIN: model untrained"));
    assert!(timeline["report"]["text"]["zh"].as_str().unwrap().contains("仅供参考"));
    assert_eq!(timeline["report"]["ef"], Value::Null, "no number comes from anywhere but the model");
    let topics: Vec<&str> =
        timeline["events"].as_array().unwrap().iter().map(|event| event["topic"].as_str().unwrap()).collect();
    let way = [
        "study.acquired.v1",
        "study.accepted.v1",
        "keyframes.extracted.v1",
        "findings.inferred.v1",
        "report.issued.v1",
    ];
    assert_eq!(topics, way, "the timeline in its order");
    assert_eq!(place.cli(&["study", "1.2.3"]).status.code(), Some(1), "not known");

    let status = object(&stdout(&place.cli(&["status", "--json"])));
    let states =
        ["dead_lettered", "in_progress", "received", "rejected", "reported", "superseded", "unaccounted"];
    assert_eq!(keys(&status["studies"]), states);
    assert_eq!((&status["studies"]["reported"], &status["studies"]["rejected"]), (&1.into(), &1.into()));
    let fields = [
        "backpressured_ratio",
        "busy_ratio",
        "drain",
        "drain_eta_s",
        "errors",
        "in_flight",
        "lag_records",
        "oldest_age_s",
        "paused",
        "rate_per_s",
        "stage",
        "topic",
    ];
    for row in status["stages"].as_array().unwrap() {
        assert_eq!(keys(row), fields);
    }
    service.stop();
}
