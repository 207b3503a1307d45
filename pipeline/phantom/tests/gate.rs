//! The quality gate against phantoms of known faults, at gate size; `prescreen bench gate --full` is the same statistic
//! over thousands.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

#[path = "../../src/commands/bench/gate/exam.rs"]
mod exam;
#[path = "../../src/commands/bench/gate/score.rs"]
mod score;

use exam::Exam;
use phantom::echo::EchoSpec;
use quality_gate::QualityGate;
use schemas::{GatedInstance, Verdict};
use score::{
    CLEAN, Condition, LEAST_CAUGHT, LEAST_CLEAN_ACCEPTED, MOST_CLEAN_REJECTED, SPOILT, Tally,
    accepted_for_a4c, auc, detected,
};
use stage::{
    Outcome, Services, Stage as _,
    testing::{MemoryBlobs, ctx},
};

/// Of the first phantom; others than the bench's.
const SEED: u64 = 9_000;
const CLEAN_CLIPS: u64 = 12;
const SPOILT_CLIPS: u64 = 3;

fn gate(spec: &EchoSpec) -> (Verdict, Vec<GatedInstance>) {
    let defaults: toml::Table = toml::from_str(include_str!("../../../config/default.toml")).expect("TOML");
    let config = defaults["stages"]["quality_gate"].clone().try_into().expect("the table fits");
    let mut gate = QualityGate::build(config, &Services::without_model()).expect("it can be meant");
    let exam = Exam::make(spec).expect("a phantom");
    let blobs = MemoryBlobs::default();
    match gate.process(&exam.study, &mut ctx(&blobs, &exam.files)).expect("files in memory") {
        Outcome::Emit(accepted) => (accepted.verdict, accepted.instances),
        Outcome::Reject(rejection) => (Verdict::Reject, rejection.instances),
    }
}

fn tally(condition: &Condition, clips: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in SEED..SEED + clips {
        let (_, instances) = gate(&condition.spec(seed).expect("a severity on its scale"));
        for instance in &instances {
            tally.add(condition, instance);
        }
    }
    tally
}

/// How many of `clips` may miss a target of `share`, two standard errors of the sample allowed for.
fn most_misses(clips: usize, share: f64) -> usize {
    let clips = clips as f64;
    (clips * (1.0 - share) + 2.0 * (clips * share * (1.0 - share)).sqrt()).floor() as usize
}

#[test]
fn clean_loops_pass_and_each_fault_is_caught_under_its_code() {
    let clean = tally(&CLEAN, CLEAN_CLIPS);
    assert!(clean.rejected <= most_misses(clean.clips, 1.0 - MOST_CLEAN_REJECTED), "{:?}", clean.codes);
    let warned = clean.clips - clean.accepted;
    let accepted = clean.share(clean.accepted);
    assert!(
        warned <= most_misses(clean.clips, LEAST_CLEAN_ACCEPTED),
        "{accepted} accepted: {:?}",
        clean.codes
    );
    for condition in SPOILT {
        let spoilt = tally(&condition, SPOILT_CLIPS);
        let missed = spoilt.clips - spoilt.met;
        let name = condition.name();
        assert!(
            missed <= most_misses(spoilt.clips, LEAST_CAUGHT),
            "{name}: {missed} missed, said {:?}",
            spoilt.codes
        );
        for check in condition.checks {
            let (Some(good), Some(bad)) = (clean.values.get(*check), spoilt.values.get(*check)) else {
                continue;
            };
            if let (Some(auc), Some(caught)) = (auc(good, bad), detected(good, bad, 0.0)) {
                assert!(auc > 0.9, "{check} tells {name} from clean clips with an area of {auc} only");
                assert!(caught >= 0.5, "{check} catches {caught} of {name} where it spares all clean clips");
            }
        }
    }
}

#[test]
fn a_study_of_twenty_instances_is_taken_for_its_one_usable_loop() {
    let (verdict, instances) = gate(&EchoSpec::sample(SEED).with_exam(20));
    assert_eq!(instances.len(), 20);
    assert_ne!(verdict, Verdict::Reject);
    assert!(accepted_for_a4c(&instances), "{instances:?}");
}
