//! What an operator does from the command line: watching, pausing, sampling, sending dead letters back.

use std::{
    fs,
    time::{Duration, Instant},
};

use console::site::{Drain, Pause, StageStatus, StudyTimeline};
use jiff::{SignedDuration, Timestamp};
use runtime::{Client, Headers, Publisher};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{
    PATIENCE, eventually,
    process::{Place, stderr, stdout},
    studies::{make, small, submit},
    topic::{Raw, produce, records},
};

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command that must end well.
fn done(place: &Place, arguments: &[&str]) -> String {
    let output = place.cli(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// The row of a stage for the routine lane of what it works on.
fn row(place: &Place, stage: &str) -> Option<StageStatus> {
    let rows = place.get_status()?.stages;
    rows.into_iter().find(|row| row.stage == stage && !row.topic.ends_with(".urgent"))
}

/// What the API says, once it says something.
fn get<T: DeserializeOwned>(place: &Place, path: &str) -> Option<T> {
    let url = format!("{}{path}", place.entry()?.url);
    ureq::get(url).call().ok()?.body_mut().read_json().ok()
}

fn timeline(place: &Place, uid: &str) -> Option<StudyTimeline> {
    get(place, &format!("/api/studies/{uid}"))
}

#[test]
fn a_fault_that_is_mended_ends_in_a_report_after_a_redrive_and_nothing_goes_back_twice() {
    // No provisional word: it would look for the same object.
    let place = Place::new("service with a hole in its blobs").set("intake.arrival_gates=0");
    let mut service = place.start();
    let folder = place.folder("sent");
    let studies = [make(&small(41), &folder), make(&small(44), &folder)];
    let [study, other] = &studies;
    done(&place, &["pause", "quality-gate"]);
    for study in &studies {
        submit(study, || place.entry());
    }
    let (raw, away) = (place.data_dir().join("blobs/raw"), place.data_dir().join("blobs/away"));
    service.until("the studies wait for the gate", || {
        row(&place, "quality_gate").filter(|row| row.lag_records == 2)
    });
    fs::rename(&raw, &away).unwrap();
    done(&place, &["resume", "quality-gate"]);
    for study in &studies {
        let dead = service.terminal(&study.uid);
        assert_eq!((dead.state.as_str(), dead.reason.as_deref()), ("dead_lettered", Some("object_missing")));
    }
    let told = done(&place, &["study", &study.uid]);
    assert!(told.contains("prescreen redrive --topic study.acquired.v1 --reason object_missing"), "{told}");

    // Only looked at: nothing changes.
    let tried = object(&done(&place, &["redrive", "--dry-run", "--json"]));
    let letters = tried["letters"].as_array().unwrap();
    assert_eq!((letters.len(), &letters[0][1], &tried["audit_id"]), (2, &"sent".into(), &Value::Null));
    assert_eq!(service.study(&study.uid).unwrap().revisions[0].state, "dead_lettered");
    let others = object(&done(&place, &["redrive", "--reason", "panic", "--json"]));
    assert_eq!(others["letters"].as_array().unwrap().len(), 0);

    // Sent back before it is mended, each dies again, and has one letter that waits.
    assert!(done(&place, &["redrive"]).contains("2 sent"));
    let broker = service.entry().broker;
    service.until("both are dead again", || {
        let died_twice = |uid: &str| Some(timeline(&place, uid)?.dead_letters.len() == 2);
        (died_twice(&study.uid)? && died_twice(&other.uid)?).then_some(())
    });
    for study in &studies {
        assert_eq!(service.terminal(&study.uid).state, "dead_lettered");
    }

    fs::remove_dir_all(&raw).ok();
    fs::rename(&away, &raw).unwrap();
    let reported = |uid: &str| {
        let timeline = timeline(&place, uid)?;
        (timeline.revisions[0].state == "reported").then_some(())
    };
    // What a redrive leaves that is killed between sending a letter and marking it.
    let acquired = records(&broker, "study.acquired.v1");
    let unmarked = acquired.iter().find(|record| record.key == other.uid.as_bytes()).unwrap();
    produce(&broker, "study.acquired.v1", unmarked);
    service.until("the other study is reported", || reported(&other.uid));

    let sent = object(&done(
        &place,
        &["redrive", "--topic", "study.acquired.v1.urgent", "--by", "night shift", "--json"],
    ));
    for letter in sent["letters"].as_array().unwrap() {
        let outcome = if letter[0]["study_uid"] == other.uid.as_str() { "duplicate" } else { "sent" };
        assert_eq!(letter[1], outcome, "{sent}");
    }
    assert_eq!(sent["letters"].as_array().unwrap().len(), 2, "{sent}");
    assert_eq!(sent["audit_id"], 4, "after a pause, a resume and a redrive");
    service.until("the study is reported", || reported(&study.uid));
    for study in &studies {
        let letters = service.study(&study.uid).unwrap().dead_letters;
        assert!(letters.iter().all(|letter| letter.redriven_at.is_some()), "{letters:?}");
    }

    // What went back is what had died, and nothing goes back once more.
    let all = records(&broker, "study.acquired.v1");
    for study in &studies {
        let its: Vec<&Raw> = all.iter().filter(|record| record.key == study.uid.as_bytes()).collect();
        assert_eq!(its.len(), 3);
        assert!(
            its.iter().all(|record| record.payload == its[0].payload && record.headers == its[0].headers)
        );
    }
    let nothing = object(&done(&place, &["redrive", "--json"]));
    assert_eq!((nothing["letters"].as_array().unwrap().len(), &nothing["audit_id"]), (0, &Value::Null));
    assert_eq!(records(&broker, "study.acquired.v1").len(), 6);
    let counts = service.status().studies;
    assert_eq!((counts.reported, counts.dead_lettered, counts.unaccounted), (2, 0, 0));
    service.stop();
}

#[test]
fn letters_whose_bytes_are_gone_are_named_and_left() {
    let place = Place::new("service with an emptied quarantine");
    let mut service = place.start();
    let broker = service.entry().broker;
    let poison = Raw { key: b"?".to_vec(), payload: vec![b'x'; 600_000], ..Raw::default() };
    produce(&broker, "study.accepted.v1", &poison);
    let listed = || get::<Vec<Value>>(&place, "/api/dead-letters").map(|letters| letters.len());
    service.until("the letter is known", || (listed() == Some(1)).then_some(()));
    let (quarantine, away) = (place.data_dir().join("blobs/quarantine"), place.data_dir().join("blobs/away"));
    fs::rename(&quarantine, &away).unwrap();
    let lost = place.cli(&["redrive", "--json"]);
    assert_eq!(lost.status.code(), Some(1), "{}", stderr(&lost));
    assert_eq!(object(&stdout(&lost))["letters"][0][1], "lost");
    assert_eq!(listed(), Some(1), "it still waits");

    fs::remove_dir_all(&quarantine).ok();
    fs::rename(&away, &quarantine).unwrap();
    assert!(done(&place, &["redrive"]).contains("1 sent"));
    let again = records(&broker, "study.accepted.v1");
    assert_eq!((again.len(), again[1].payload == poison.payload), (2, true), "the bytes from the quarantine");
    service.until("it died again", || {
        let letters: Vec<Value> = get(&place, "/api/dead-letters?redriven=true")?;
        (letters.len() == 2).then_some(())
    });
    service.stop();
}

#[test]
fn a_paused_stage_takes_nothing_until_it_is_resumed_even_after_a_restart() {
    let place = Place::new("service with a paused stage");
    let mut service = place.start();
    let study = make(&small(42), &place.folder("sent"));
    done(&place, &["pause", "inference"]);
    done(&place, &["pause", "inference"]);
    submit(&study, || place.entry());
    let paused =
        || row(&place, "inference").filter(|row| row.lag_records == 1 && row.drain == Drain::NotDraining);
    let waiting = service.until("the study waits", paused);
    assert_eq!((waiting.paused, waiting.drain_eta_s), (Some(Pause::Operator), None));
    assert_eq!(service.metric("prescreen_stage_paused_by_operator", "stage=\"inference\""), 1.0);
    for (arguments, all) in [
        (&["status"][..], &["paused", "not draining"][..]),
        (&["top", "--once"], &["inference     paused", "not draining", "not a medical device"]),
        (&["study", &study.uid], &["in_progress: inference is paused by an operator; 1 waiting there"]),
    ] {
        let text = done(&place, arguments);
        assert!(all.iter().all(|part| text.contains(part)), "{arguments:?}: {text}");
    }
    service.stop();

    let mut service = place.start();
    service.until("it waits still", paused);
    assert_eq!(service.study(&study.uid).unwrap().revisions[0].state, "in_progress");
    assert!(done(&place, &["resume", "inference"]).contains("goes on"));
    assert_eq!(service.terminal(&study.uid).state, "reported");
    service.until("nothing waits and nothing is paused", || {
        row(&place, "inference").filter(|row| row.lag_records == 0 && row.paused.is_none())
    });
    let pauses = records(&service.entry().broker, "control.v1");
    assert_eq!(pauses.len(), 2, "asked for twice, paused once");

    // What was sampled shows no UID, and no text that a model wrote.
    let sample = done(&place, &["tap", "--topic", "report.issued.v1", "--count", "5", "--json"]);
    let record = object(sample.trim());
    assert!(!sample.contains(&study.uid) && !sample.contains("reference only"), "{sample}");
    assert!(record["message"]["study"]["study_uid"].as_str().unwrap().starts_with("uid:"), "{sample}");
    assert_eq!(record["message"]["abstention"], "MODEL_UNTRAINED");
    let begun = Instant::now();
    let quiet = ["tap", "--topic", "study.rejected.v1", "--wait", "1s", "--rate", "5"];
    assert_eq!(done(&place, &quiet), "");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let strange = place.cli(&["tap", "--topic", "somebody.else"]);
    assert_eq!(strange.status.code(), Some(3));
    assert!(stderr(&strange).contains("is no topic of prescreen"), "{}", stderr(&strange));
    service.stop();
}

#[test]
fn the_graph_needs_no_running_system() {
    let place = Place::new("commands");
    let mermaid = done(&place, &["graph"]);
    assert!(
        mermaid.starts_with("flowchart LR\n") && mermaid.contains("reporting --> report_issued_v1\n"),
        "{mermaid}"
    );
    assert!(done(&place, &["graph", "--format", "dot"]).starts_with("digraph prescreen {\n"));
    let nodes = object(&done(&place, &["graph", "--json"]));
    assert_eq!(
        (nodes[0]["name"].as_str(), nodes[1]["reads"][0].as_str()),
        (Some("intake"), Some("study.acquired.v1"))
    );
    assert!(!place.data_dir().exists());
}

/// Records of the same study under other names.
fn clones(template: &Raw, count: usize) -> Vec<(String, Headers, Vec<u8>)> {
    let old = std::str::from_utf8(&template.key).unwrap();
    let text = std::str::from_utf8(&template.payload).unwrap();
    let clone = || {
        let new = format!("2.25.{}", Uuid::new_v4().as_u128());
        let mut record = template.clone();
        record.set_header("ce_subject", &new);
        record.set_header("ce_id", &Uuid::new_v4().to_string());
        let mut headers = Headers::default();
        record.headers.iter().for_each(|(name, value)| headers.push(name, value));
        let payload = text.replace(old, &new).into_bytes();
        (new, headers, payload)
    };
    (0..count).map(|_| clone()).collect()
}

fn seconds(duration: SignedDuration) -> f64 {
    duration.as_secs_f64()
}

#[test]
fn the_end_of_a_backlog_of_500_is_foretold_and_its_oldest_age_is_true() {
    let place = Place::new("service with a backlog");
    let mut service = place.start();
    let study = make(&small(43), &place.folder("sent"));
    submit(&study, || place.entry());
    service.terminal(&study.uid);
    let broker = service.entry().broker;
    let template = records(&broker, "study.accepted.v1").remove(0);
    done(&place, &["pause", "keyframes"]);
    let publisher = Publisher::connect(&Client::new(&broker), PATIENCE).unwrap();
    let clones = clones(&template, 500);
    let begun = Timestamp::now();
    for (study, headers, payload) in &clones {
        publisher.publish_record("study.accepted.v1", Some(study.as_bytes()), headers, payload).unwrap();
    }
    let spread = seconds(Timestamp::now().duration_since(begun));
    // Paused for a while: it grows old, and is not draining.
    let until = Instant::now() + Duration::from_secs(8);
    let mut ages = Vec::new();
    while Instant::now() < until {
        let status = service.status();
        let row = status.stages.iter().find(|row| row.stage == "keyframes" && row.lag_records > 0);
        if let Some(row) = row.filter(|row| row.lag_records == 500) {
            assert_eq!((row.drain, row.paused), (Drain::NotDraining, Some(Pause::Operator)));
            ages.push(row.oldest_age_s.unwrap() - seconds(status.at.duration_since(begun)));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let worst = ages.iter().copied().fold(0.0, |worst: f64, error| worst.max(error.abs()));
    assert!(ages.len() > 10, "{ages:?}");
    println!("oldest age, paused: {} looks, the worst {worst:.2} s off", ages.len());
    assert!(worst < 2.0, "{ages:?}");

    done(&place, &["resume", "keyframes"]);
    let start = Instant::now();
    let (mut looks, mut worst) = (Vec::new(), 0.0_f64);
    // On a busy machine 500 clips take minutes; what is judged is what was said of them.
    let end = eventually("the backlog is gone", Duration::from_mins(8), || {
        let (at, status) = (start.elapsed().as_secs_f64(), place.get_status()?);
        let row =
            status.stages.iter().find(|row| row.stage == "keyframes" && !row.topic.ends_with(".urgent"))?;
        looks.push((at, row.lag_records, row.drain, row.drain_eta_s));
        if let Some(age) = row.oldest_age_s {
            // Whichever record it is, it was written within `spread` of the first one.
            let truth = seconds(status.at.duration_since(begun));
            worst = worst.max((age - truth).max(truth - spread - age));
        }
        std::thread::sleep(Duration::from_millis(200));
        (row.lag_records == 0).then_some(at)
    });
    println!("oldest age, draining: the worst {worst:.2} s off");
    assert!(worst < 2.0, "{worst}");
    let mut errors: Vec<f64> = looks
        .iter()
        .filter(|(at, ..)| *at > 0.2 * end && *at < 0.9 * end)
        .map(|(at, _, _, eta)| eta.map_or(1.0, |eta| (eta - (end - at)).abs() / (end - at)))
        .collect();
    errors.sort_by(f64::total_cmp);
    let [median, ninth] = [errors[errors.len() / 2], errors[errors.len() * 9 / 10]];
    println!(
        "drained in {end:.1} s; error of the foretold end between 20 and 90 % of it: median {:.0} %, ninth decile {:.0} %",
        median * 100.0,
        ninth * 100.0
    );
    assert!(median < 0.25, "{errors:?}");
    service.stop();
}
