//! While the patient is still there: the word on each loop, long before its study is complete.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use console::site::{Arrival, Sender};
use intake::scu::{self, Destination};
use schemas::Verdict;

use crate::harness::{
    process::{MODALITY, Place, Service},
    studies::{close, make, make_spoilt, small, submit},
};

/// What is promised, from the C-STORE's success to the console's page.
const PROMISED: Duration = Duration::from_secs(5);

/// Sends `files` over one association and says when each was answered 0000.
fn send(service: &Service, files: &[PathBuf]) -> BTreeMap<String, Instant> {
    let destination = Destination {
        address: service.entry().dicom.unwrap(),
        called_ae_title: "PRESCREEN".to_owned(),
        calling_ae_title: MODALITY.to_owned(),
        timeout: Duration::from_secs(20),
    };
    let mut answered = BTreeMap::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut note = |sent: scu::Sent| {
        assert_eq!(sent.status, 0);
        answered.insert(instance_of(&sent.path), Instant::now());
    };
    runtime.block_on(scu::send(files, &destination, &mut note)).unwrap();
    assert_eq!(answered.len(), files.len());
    answered
}

/// The harness names files by their SOP Instance UID.
fn instance_of(file: &Path) -> String {
    file.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn arrivals(service: &Service) -> Vec<Arrival> {
    service.json(&format!("/api/acquisition/{MODALITY}?limit=1000"))
}

/// Waits for the word on each of `answered` and gives how long each took since its C-STORE's success.
fn latencies(service: &mut Service, answered: &BTreeMap<String, Instant>) -> Vec<Duration> {
    let mut seen: BTreeMap<String, Duration> = BTreeMap::new();
    let url = format!("{}/api/acquisition/{MODALITY}?limit=1000", service.entry().url);
    service.until("every loop has its word", || {
        let words: Vec<Arrival> = ureq::get(&url).call().ok()?.body_mut().read_json().ok()?;
        for word in words {
            let instance = word.gate.instance.instance_uid.to_string();
            if let Some(at) = answered.get(&instance) {
                seen.entry(instance).or_insert_with(|| at.elapsed());
            }
        }
        (seen.len() == answered.len()).then_some(())
    });
    seen.into_values().collect()
}

#[test]
fn a_blurred_loop_is_on_its_machines_page_within_five_seconds_and_the_studys_own_verdict_follows() {
    let place = Place::new("service beside an echo machine");
    let folder = place.folder("sent");
    let mut service = place.start();
    let (status, page) = service.get(&format!("/acquisition/{MODALITY}"));
    assert_eq!(status, 200);
    assert!(page.contains("Nothing has arrived"), "{page}");

    let study = make_spoilt(90, "blur:5", &folder);
    let answered = send(&service, &study.files);
    let took = latencies(&mut service, &answered);
    assert!(took.iter().all(|took| *took < PROMISED), "{took:?}");

    let words = arrivals(&service);
    let blurred: Vec<&Arrival> = words
        .iter()
        .filter(|word| word.gate.instance.code.as_ref().is_some_and(|code| code.as_str() == "BLUR"))
        .collect();
    assert_eq!(blurred.len(), 2, "both loops, not the still: {words:?}");
    for word in &blurred {
        let gate = &word.gate;
        assert_eq!((gate.instance.verdict, gate.instance.applicable), (Verdict::Reject, true));
        assert_eq!(gate.study.study_uid.as_str(), study.uid);
        assert!(gate.study.synthetic);
        assert_eq!(gate.received_from.ae_title.as_deref(), Some(MODALITY));
        assert_eq!(word.study_state, None, "its study is open");
    }
    let (_, page) = service.get(&format!("/acquisition/{MODALITY}"));
    let gate = &blurred[0].gate;
    let (advice, picture) = (gate.advice.clone().unwrap(), gate.picture.clone().unwrap());
    let url = format!("/pictures/{}/{}", picture.sha256, picture.bytes);
    for shown in ["BLUR", "PROVISIONAL", advice.en.as_str(), advice.zh.as_str(), url.as_str()] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let mut png = ureq::get(format!("{}{url}", service.entry().url)).call().unwrap();
    let png = image::load_from_memory(&png.body_mut().read_to_vec().unwrap()).unwrap();
    assert!(png.width().max(png.height()) <= 640);
    assert!(png.to_luma8().pixels().any(|pixel| pixel[0] > 60), "something is to be seen");
    let senders: Vec<Sender> = service.json("/api/acquisition");
    assert_eq!((senders[0].ae_title.as_str(), senders[0].instances), (MODALITY, 3));
    assert!(service.get("/acquisition").1.contains(MODALITY));

    // The word decides nothing: nobody has heard of the study yet, and its verdict comes from its own gate.
    assert!(service.study(&study.uid).is_none());
    assert_eq!(service.status().studies.received, 0);
    assert!(close(&service.entry(), &study.uid));
    let row = service.terminal(&study.uid);
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("rejected", Some("BLUR")));
    let timeline = service.study(&study.uid).unwrap();
    assert!(timeline.events.iter().all(|event| event.topic != "instance.gated.v1"), "{timeline:?}");
    assert_eq!(arrivals(&service)[0].study_state.as_deref(), Some("rejected"));
    assert!(service.metric("prescreen_arrival_words_total", "verdict=\"reject\"") >= 2.0);
    assert_eq!(service.metric("prescreen_arrival_missed_total", ""), 0.0);
    service.stop();
}

#[test]
fn a_word_comes_within_five_seconds_loop_after_loop() {
    let place = Place::new("service beside a busy machine");
    let folder = place.folder("sent");
    let mut service = place.start();
    let loops: Vec<PathBuf> = (100..110)
        .flat_map(|seed| make(&small(seed), &folder).files)
        .filter(|file| std::fs::metadata(file).unwrap().len() > 100_000)
        .take(20)
        .collect();
    assert_eq!(loops.len(), 20);
    // One by one, as they are acquired; then all at once, as a machine that sends at the end does.
    let mut took: Vec<Duration> = loops[..10]
        .iter()
        .flat_map(|file| {
            let answered = send(&service, std::slice::from_ref(file));
            latencies(&mut service, &answered)
        })
        .collect();
    let answered = send(&service, &loops[10..]);
    let burst = latencies(&mut service, &answered);
    for (name, took) in [("one by one", &mut took), ("10 at once", &mut burst.clone())] {
        took.sort();
        let percentile = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
        println!("{name}: C-STORE success to API p50 {:?}, p95 {:?}", percentile(50), percentile(95));
    }
    // Of the burst only that each has its word: how long the last one waits is the machine's speed.
    assert!(took.iter().all(|took| *took < PROMISED), "{took:?}");
    service.stop();
}

#[test]
fn a_kill_before_the_word_costs_the_word_alone() {
    let place = Place::new("service killed beside a machine");
    let folder = place.folder("sent");
    let service = place.start();
    let study = make(&small(120), &folder);
    let (first, others) = study.files.split_first().unwrap();
    send(&service, std::slice::from_ref(first));
    service.kill();

    let mut service = place.start();
    assert_eq!(arrivals(&service), [], "the word was not spoken yet");
    let answered = send(&service, others);
    latencies(&mut service, &answered);
    assert_eq!(arrivals(&service).len(), others.len());
    assert!(close(&service.entry(), &study.uid));
    assert_eq!(service.terminal(&study.uid).state, "reported");
    let row = service.study(&study.uid).unwrap().revisions.remove(0);
    assert_eq!(row.instances, Some(study.files.len() as i32), "the study has every instance");
    assert_eq!(service.status().studies.unaccounted, 0);

    // Without the gate everything else is as it was.
    service.stop();
    let place = Place::new("service without arrival gate").set("intake.arrival_gates=0");
    let mut service = place.start();
    submit(&study, || place.entry());
    assert_eq!(service.terminal(&study.uid).state, "reported");
    assert_eq!(arrivals(&service), []);
    service.stop();
}
