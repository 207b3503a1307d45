//! The same study and fingerprint, the same bytes: whatever is asked beside it, and on however many threads.

use std::collections::BTreeMap;

use phantom::echo::EchoSpec;

use crate::harness::{
    process::Place,
    studies::{Study, make, submit},
    topic::records,
};

/// Askings that can be in the engine at the same time.
const TOGETHER: u64 = 8;

/// Two beats, so that each study is asked twice.
fn short(seed: u64) -> EchoSpec {
    let mut spec = EchoSpec::sample(seed);
    spec.heart.heart_rate = 120.0;
    spec.machine.frame_rate = 40.0;
    spec.machine.beats = 3.2;
    spec
}

/// Findings and reports of the studies, by topic and study, as they lie on the topics.
fn answers(place: &Place) -> BTreeMap<(&'static str, Vec<u8>), Vec<u8>> {
    let mut service = place.start();
    let folder = place.folder("studies");
    let studies: Vec<Study> = (0..TOGETHER).map(|seed| make(&short(seed), &folder)).collect();
    for study in &studies {
        submit(study, || place.entry());
    }
    for study in &studies {
        service.terminal(&study.uid);
    }
    let bootstrap = service.entry().broker;
    let topics = ["findings.inferred.v1", "report.issued.v1"];
    let found = topics.into_iter().flat_map(|topic| {
        records(&bootstrap, topic).into_iter().map(move |record| ((topic, record.key), record.payload))
    });
    found.collect()
}

#[test]
fn neither_company_nor_threads_change_a_byte() {
    let place = |name: &str, running: u64, threads: &str| {
        Place::new(name)
            .set("model.path=\"\"")
            .set("model.deterministic=true")
            .set("stages.inference.askings=2")
            .set(format!("model.running={running}"))
            .set(format!("model.queue={TOGETHER}"))
            .set(format!("runtime.workers.inference={running}"))
            .environment("RAYON_NUM_THREADS", threads)
    };
    let alone = answers(&place("alone", 1, "1"));
    let together = answers(&place("together", TOGETHER, "3"));
    assert_eq!(alone.keys().collect::<Vec<_>>(), together.keys().collect::<Vec<_>>());
    let numbers = alone.values().filter(|bytes| {
        let message: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        message["inference"]["answer"]["lvef_percent"].is_number()
    });
    assert!(numbers.count() >= 4, "most of the studies are answered with a number");
    for ((topic, study), bytes) in &alone {
        let (ours, theirs) =
            (String::from_utf8_lossy(bytes), String::from_utf8_lossy(&together[&(*topic, study.clone())]));
        assert_eq!(ours, theirs, "{topic}");
    }
}
