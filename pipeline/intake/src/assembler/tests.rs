use proptest::prelude::*;
use schemas::{Area, BlobRef, Digest, Protocol, SeriesUid, Uid};

use super::*;

const TIMES: CompletionTimes =
    CompletionTimes { quiet: Duration::from_mins(1), cap: Duration::from_mins(10) };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn study(number: u8) -> StudyUid {
    StudyUid::new(&format!("1.2.{number}")).unwrap()
}

fn instance(number: u8) -> Instance {
    Instance {
        series: SeriesUid::new("1.3").unwrap(),
        uid: InstanceUid::new(&format!("1.4.{number}")).unwrap(),
        sop_class: Uid::new("1.2.840.10008.5.1.4.1.1.3.1").unwrap(),
        transfer_syntax: None,
        frames: 1,
        blob: BlobRef::of(Area::Raw, &[number]),
        data_set: Digest::of(&[number]),
        domain: Domain::Echo,
        not_analysable: None,
    }
}

fn received(study_number: u8, instance_number: u8, priority: Priority, second: i64) -> Entry {
    Entry::Received(Box::new(Received {
        study: study(study_number),
        instance: instance(instance_number),
        synthetic: false,
        priority,
        from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
        at: at(second),
    }))
}

fn close_due(assembler: &mut Assembler, second: i64) -> Vec<CompletionRule> {
    let due = assembler.due(at(second), TIMES);
    let rules = due.iter().map(|entry| match entry {
        Entry::Closed { closing, .. } => closing.completion.rule,
        other => panic!("{other:?} is no closing"),
    });
    let rules = rules.collect();
    for entry in due {
        assembler.apply(entry);
    }
    rules
}

#[test]
fn a_study_closes_after_the_quiet_time_and_not_before() {
    let mut assembler = Assembler::default();
    assembler.apply(received(1, 1, Priority::Routine, 0));
    assembler.apply(received(1, 2, Priority::Routine, 50));
    assert_eq!(assembler.next_due(at(50), TIMES), Some(TIMES.quiet));
    assert_eq!(close_due(&mut assembler, 109), []);
    assert_eq!(close_due(&mut assembler, 110), [CompletionRule::IdleTimeout]);
    assert_eq!(close_due(&mut assembler, 1_000), [], "a closed study is not closed again");
}

#[test]
fn a_study_that_never_gets_quiet_meets_the_cap() {
    let mut assembler = Assembler::default();
    for second in (0..600).step_by(30) {
        assembler.apply(received(1, (second / 30) as u8, Priority::Routine, second));
    }
    assert_eq!(close_due(&mut assembler, 599), []);
    assert_eq!(close_due(&mut assembler, 600), [CompletionRule::HardCap]);
}

#[test]
fn a_clock_set_back_closes_nothing_early() {
    let mut assembler = Assembler::default();
    assembler.apply(received(1, 1, Priority::Routine, 1_000));
    assert_eq!(close_due(&mut assembler, 10), []);
}

#[test]
fn a_late_instance_makes_a_revision_that_lists_everything() {
    let mut assembler = Assembler::default();
    assembler.apply(received(1, 1, Priority::Urgent, 0));
    close_due(&mut assembler, 60);
    assembler.apply(received(1, 2, Priority::Routine, 70));
    close_due(&mut assembler, 130);
    let (first, known) = assembler.next_unsettled().unwrap();
    assert_eq!((first.study.revision, first.instances.len()), (Revision(1), 1));
    assert_eq!(known.spooled().count(), 2);
    assembler.apply(Entry::Published { study: study(1), revision: Revision(1) });
    let (second, known) = assembler.next_unsettled().unwrap();
    assert_eq!((second.study.revision, second.instances.len()), (Revision(2), 2));
    assert_eq!(known.new_in(Revision(2)).count(), 1);
    assert_eq!(known.spooled().count(), 1);
    assert_eq!(second.study.priority, Priority::Urgent, "the lane does not change");
    assembler.apply(Entry::Published { study: study(1), revision: Revision(2) });
    assert!(assembler.study(&study(1)).is_none(), "a settled study leaves memory");
}

#[test]
fn urgent_studies_are_published_first() {
    let mut assembler = Assembler::default();
    assembler.apply(received(1, 1, Priority::Routine, 0));
    assembler.apply(received(2, 2, Priority::Urgent, 1));
    close_due(&mut assembler, 100);
    assert_eq!(assembler.next_unsettled().unwrap().0.study.study_uid, study(2));
}

#[derive(Debug, Clone)]
enum Step {
    Receive { study: u8, instance: u8, urgent: bool },
    Wait { seconds: i64 },
    Force { study: u8 },
    Publish,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_u8, any::<u8>(), any::<bool>())
            .prop_map(|(study, instance, urgent)| Step::Receive { study, instance, urgent }),
        2 => (0..700_i64).prop_map(|seconds| Step::Wait { seconds }),
        1 => (0..3_u8).prop_map(|study| Step::Force { study }),
        2 => Just(Step::Publish),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes in whatever order: revisions of a study count up by one, list everything received so far, keep the
    /// priority of the first, and the journal's entries give the same state again.
    #[test]
    fn revisions_are_ordered_complete_and_stay_in_their_lane(steps in steps()) {
        let mut assembler = Assembler::default();
        let mut journal = Vec::new();
        let mut now = 0;
        let mut archive: HashMap<StudyUid, Study> = HashMap::new();
        let mut arrived: HashMap<StudyUid, std::collections::BTreeSet<InstanceUid>> = HashMap::new();
        let mut published: HashMap<StudyUid, (Revision, Priority)> = HashMap::new();
        for step in steps {
            let entries = match step {
                Step::Receive { study: number, instance: which, urgent } => {
                    let uid = study(number);
                    let recalled = if assembler.study(&uid).is_none() { archive.remove(&uid) } else { None };
                    let recalled: Vec<_> = recalled.into_iter().map(|study| Entry::Study(Box::new(study))).collect();
                    for entry in recalled {
                        journal.push(entry.clone());
                        assembler.apply(entry);
                    }
                    if assembler.study(&uid).is_none_or(|study| study.standing(&instance(which), false) == Standing::New) {
                        arrived.entry(uid).or_default().insert(instance(which).uid);
                        let priority = if urgent { Priority::Urgent } else { Priority::Routine };
                        vec![received(number, which, priority, now)]
                    } else {
                        vec![]
                    }
                }
                Step::Wait { seconds } => {
                    now += seconds;
                    assembler.due(at(now), TIMES)
                }
                Step::Force { study: number } => {
                    assembler.closing(&study(number), CompletionRule::Forced, at(now)).into_iter().collect()
                }
                Step::Publish => {
                    let next = assembler.next_unsettled().map(|(message, study)| (message, study.clone()));
                    match next {
                        None => vec![],
                        Some((message, known)) => {
                            let head = &message.study;
                            let uid = head.study_uid.clone();
                            let before = published.insert(uid.clone(), (head.revision, head.priority));
                            let (expected, lane) = before
                                .map_or((Revision::FIRST, head.priority), |(last, lane)| (last.next(), lane));
                            prop_assert_eq!(head.revision, expected);
                            prop_assert_eq!(head.priority, lane);
                            let listed: std::collections::BTreeSet<_> =
                                message.instances.iter().map(|instance| instance.instance_uid.clone()).collect();
                            prop_assert!(listed.is_subset(&arrived[&uid]));
                            if known.unsettled.len() == 1 && known.open.is_none() {
                                prop_assert_eq!(&listed, &arrived[&uid]);
                            }
                            let after = known.settled(head.revision);
                            if after.is_idle() {
                                archive.insert(uid.clone(), after);
                            }
                            vec![Entry::Published { study: uid, revision: head.revision }]
                        }
                    }
                }
            };
            for entry in entries {
                journal.push(entry.clone());
                assembler.apply(entry);
            }
            let mut replayed = Assembler::default();
            let lines = serde_json::to_vec(&journal).unwrap();
            serde_json::from_slice::<Vec<Entry>>(&lines).unwrap().into_iter().for_each(|entry| replayed.apply(entry));
            prop_assert_eq!(&replayed.studies, &assembler.studies);
        }
    }
}
