use std::{collections::BTreeMap, convert::Infallible};

use jiff::Timestamp;
use proptest::prelude::*;
use schemas::{Area, Class, Envelope, ModelIdentity, RunId, event_id};

use super::*;

const TOPIC: &str = "study.acquired.v1";
const EXAMPLE: &str =
    include_str!("../../../../schemas/topics/study.acquired.v1/examples/echo_by_association.json");

fn study(n: u64) -> StudyUid {
    StudyUid::new(&format!("2.25.{n}")).unwrap()
}

fn envelope(n: u64, revision: u32) -> Envelope {
    let run = RunId::live();
    Envelope {
        id: event_id(&run, "intake", &[&n.to_string(), &revision.to_string()]),
        event_type: TOPIC.to_owned(),
        source: "/prescreen/intake".to_owned(),
        time: Timestamp::UNIX_EPOCH,
        subject: study(n),
        major: 1,
        minor: 0,
        trace: None,
        run,
        revision: Revision(revision),
        class: Class::Clinical,
    }
}

fn place(offset: i64) -> Place {
    Place { topic: TOPIC.to_owned(), partition: 0, offset }
}

fn collect(collector: &mut Collector, offset: i64, envelope: &Envelope, payload: &[u8]) {
    if collector.wants(Some(envelope)) {
        let found = Found { payload, quarantined: None };
        collector.take(place(offset), envelope, found, |_| Ok::<_, Infallible>(true)).unwrap();
    }
}

fn pins() -> Pins {
    Pins {
        config: "[model]\n".to_owned(),
        config_sha256: Digest::of(b"[model]\n"),
        model: ModelIdentity {
            name: "m".to_owned(),
            digest: Digest::of(b"m"),
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
            untrained: true,
            synthetic_only: false,
        },
        adapter: String::new(),
        stages: BTreeMap::from([(
            "s".to_owned(),
            StagePins {
                table_sha256: Digest::of(b"t"),
                prompts: BTreeMap::from([("echo".to_owned(), Digest::of(b"p"))]),
            },
        )]),
        code: Code { version: "1".to_owned(), revision: None },
    }
}

fn plan(inputs: Vec<Input>) -> Plan {
    Plan {
        version: VERSION,
        source: Source::Topic,
        stages: vec!["s".to_owned()],
        topics: vec![TopicRange {
            topic: TOPIC.to_owned(),
            partitions: vec![PartitionRange { partition: 0, start: 0, end: 1_000 }],
        }],
        studies: None,
        inputs,
        lost: Vec::new(),
        excluded: Excluded::default(),
        baseline: pins(),
        candidate: pins(),
        overlay: String::new(),
    }
}

#[test]
fn every_revision_is_an_input_and_a_repeated_event_is_not() {
    let mut collector = Collector::new(None);
    for (offset, (n, revision)) in [(1, 1), (2, 1), (1, 2), (1, 1), (2, 1)].into_iter().enumerate() {
        collect(&mut collector, offset as i64, &envelope(n, revision), b"{}");
    }
    // Another event of a study and revision that has its input: the store would keep the first one, too.
    let other = Envelope { id: event_id(&RunId::live(), "intake", &["other"]), ..envelope(2, 1) };
    collect(&mut collector, 5, &other, b"{}");
    let (inputs, excluded, lost) = collector.finish();
    let taken: Vec<_> = inputs.iter().map(|input| (input.study_uid.clone(), input.revision.0)).collect();
    assert_eq!(taken, [(study(1), 1), (study(2), 1), (study(1), 2)]);
    assert_eq!((excluded.repeated, lost.len()), (3, 0));
    assert_eq!(inputs[0].sha256, Digest::of(b"{}"));
}

#[test]
fn a_heartbeat_is_no_input_by_its_class_or_by_its_run() {
    let mut collector = Collector::new(None);
    collect(&mut collector, 0, &Envelope { class: Class::Heartbeat, ..envelope(1, 1) }, b"{}");
    collect(&mut collector, 1, &Envelope { run: RunId::new("heartbeat").unwrap(), ..envelope(2, 1) }, b"{}");
    let (inputs, excluded, _) = collector.finish();
    assert_eq!((inputs, excluded), (vec![], Excluded { heartbeat: 2, ..Excluded::default() }));
}

#[test]
fn a_run_other_than_live_is_no_input() {
    let mut collector = Collector::new(None);
    collect(&mut collector, 0, &Envelope { run: RunId::new("r-1").unwrap(), ..envelope(1, 1) }, b"{}");
    let (inputs, excluded, _) = collector.finish();
    assert_eq!((inputs, excluded), (vec![], Excluded { other_runs: 1, ..Excluded::default() }));
}

#[test]
fn studies_are_taken_by_name_and_those_not_found_are_named() {
    let mut collector = Collector::new(Some([study(1), study(9)].into()));
    collect(&mut collector, 0, &envelope(1, 1), b"{}");
    collect(&mut collector, 1, &envelope(2, 1), b"{}");
    assert!(!collector.wants(None));
    let (inputs, excluded, lost) = collector.finish();
    assert_eq!(inputs.len(), 1);
    assert_eq!(excluded, Excluded { not_asked_for: 1, unreadable: 1, ..Excluded::default() });
    assert_eq!(lost, [Lost::Study { study_uid: study(9) }]);
    assert!(lost[0].to_string().contains("2.25.9"));
}

#[test]
fn an_input_whose_blob_is_gone_is_named_instead() {
    let blobs = blobs_of(EXAMPLE.as_bytes());
    assert!(!blobs.is_empty() && blobs.iter().all(|blob| blob.area == Area::Raw), "{blobs:?}");
    let gone = blobs[0].clone();
    let mut collector = Collector::new(None);
    for n in [1, 2] {
        let envelope = envelope(n, 1);
        assert!(collector.wants(Some(&envelope)));
        let found = Found { payload: EXAMPLE.as_bytes(), quarantined: None };
        collector
            .take(place(n as i64), &envelope, found, |blob| Ok::<_, Infallible>(n == 2 || *blob != gone))
            .unwrap();
    }
    let (inputs, _, lost) = collector.finish();
    assert_eq!(inputs.iter().map(|input| input.study_uid.clone()).collect::<Vec<_>>(), [study(2)]);
    assert_eq!(inputs[0].blobs, blobs);
    let named = lost[0].to_string();
    assert!(named.contains("2.25.1,") && named.contains(&gone.key()), "{named}");
}

#[test]
fn a_plan_is_read_as_it_was_written_and_nothing_else_is_taken() {
    let mut collector = Collector::new(None);
    collect(&mut collector, 3, &envelope(1, 1), EXAMPLE.as_bytes());
    let plan = plan(collector.finish().0);
    let text = plan.to_text();
    assert_eq!(Plan::read(&text).unwrap(), plan);
    let compact = serde_json::to_string(&plan).unwrap();
    assert_eq!(
        Plan::read(&compact).unwrap().sha256(),
        Digest::of(text.as_bytes()),
        "the layout does not count"
    );

    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Plan::read(&text.replacen(from, to, 1)).unwrap_err().to_string()
    };
    assert!(changed("\"version\": 1\n", "\"version\": 2\n").contains("version 2"));
    assert!(changed("\"overlay\"", "\"underlay\"").contains("no plan"));
    assert!(changed("\"offset\": 3", "\"offset\": 1000").contains("study.acquired.v1[0]@1000"));
    let doubled = Plan { inputs: [plan.inputs.clone(), plan.inputs.clone()].concat(), ..plan };
    assert!(matches!(Plan::read(&doubled.to_text()), Err(PlanError::Repeated { .. })));
}

#[test]
fn what_differs_from_the_plan_is_named() {
    let planned = pins();
    planned.check("baseline", &planned).unwrap();
    let refused = |change: fn(&mut Pins)| {
        let mut now = pins();
        change(&mut now);
        planned.check("candidate", &now).unwrap_err().to_string()
    };
    assert!(refused(|now| now.code.version = "2".to_owned()).contains("the candidate's build"));
    assert!(refused(|now| now.config_sha256 = Digest::of(b"other")).contains("configuration"));
    assert!(refused(|now| now.model.digest = Digest::of(b"other")).contains("model"));
    assert!(refused(|now| now.stages.clear()).contains("stage s"));
    let stage = |now: &mut Pins, change: fn(&mut StagePins)| now.stages.values_mut().for_each(change);
    let mut now = pins();
    stage(&mut now, |pins| pins.prompts.values_mut().for_each(|prompt| *prompt = Digest::of(b"other")));
    assert!(planned.check("baseline", &now).unwrap_err().to_string().contains("prompts of s"));
    let mut now = pins();
    stage(&mut now, |pins| pins.table_sha256 = Digest::of(b"other"));
    assert!(planned.check("baseline", &now).unwrap_err().to_string().contains("table stages.s"));
}

proptest! {
    /// Whatever lies in the range: each (study, revision) once, from the first of its records, and every record accounted for.
    #[test]
    fn every_record_is_an_input_or_counted(records in prop::collection::vec((0_u64..6, 1_u32..3, 0_u8..5), 0..40)) {
        let mut collector = Collector::new(Some((0..4).map(study).collect()));
        let mut expected = Vec::new();
        for (offset, (n, revision, kind)) in records.iter().enumerate() {
            let mut envelope = envelope(*n, *revision);
            match kind {
                0 => envelope.class = Class::Heartbeat,
                1 => envelope.run = RunId::new("r").unwrap(),
                _ => {
                    if *n < 4 && !expected.iter().any(|(_, seen)| *seen == (*n, *revision)) {
                        expected.push((offset as i64, (*n, *revision)));
                    }
                }
            }
            collect(&mut collector, offset as i64, &envelope, b"{}");
        }
        let (inputs, excluded, lost) = collector.finish();
        let taken: Vec<_> = inputs.iter().map(|input| input.place.offset).collect();
        prop_assert_eq!(taken, expected.iter().map(|(offset, _)| *offset).collect::<Vec<_>>());
        let Excluded { heartbeat, other_runs, not_asked_for, repeated, unreadable } = excluded;
        let left_out = heartbeat + other_runs + not_asked_for + repeated + unreadable;
        prop_assert_eq!(left_out + inputs.len() as u64, records.len() as u64);
        let met = expected.iter().map(|(_, (n, _))| n).collect::<BTreeSet<_>>().len();
        prop_assert_eq!(lost.len(), 4 - met);
        let plan = plan(inputs);
        prop_assert_eq!(Plan::read(&plan.to_text()).unwrap(), plan);
    }

    #[test]
    fn hostile_texts_are_no_plan_and_no_panic(text in ".{0,200}") {
        prop_assert!(Plan::read(&text).is_err());
        blobs_of(text.as_bytes());
    }
}
