//! What a comparison says of changes that were planted, and of none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod page;
mod planted;
mod properties;
mod refused;
mod world;

use std::collections::BTreeMap;

use replay::{
    diff::{Comparison, compare},
    margins::{self, Margins},
    report::{Facts, Report},
    result::Arm,
};
use schemas::RunId;
use world::Study;

fn standard() -> Margins {
    toml::from_str(margins::STANDARD).unwrap()
}

/// The baseline's studies against the candidate's, with the live rows of the baseline as its repetition.
fn comparison(baseline: &[Study], candidate: &[Study]) -> Comparison {
    Comparison {
        run: RunId::new("r1").unwrap(),
        baseline: world::rows(baseline, Arm::Baseline),
        candidate: world::rows(candidate, Arm::Candidate),
        noise: Some(world::live(baseline)),
        margins: standard(),
        seed: 7,
        truth: BTreeMap::new(),
        facts: Facts {
            start_stage: "quality_gate".to_owned(),
            inputs: baseline.len() as u64,
            ..Facts::default()
        },
    }
}

fn changed(baseline: &[Study], change: impl Fn(&mut Study)) -> Vec<Study> {
    let mut candidate = baseline.to_vec();
    candidate.iter_mut().for_each(change);
    candidate
}

fn report(baseline: &[Study], candidate: &[Study]) -> Report {
    compare(&comparison(baseline, candidate)).unwrap()
}

fn beyond(report: &Report) -> Vec<&str> {
    use replay::verdict::Outcome;
    let found = report.measures.iter().filter(|measure| measure.outcome == Outcome::Regressed);
    found.map(|measure| measure.id.as_str()).collect()
}

fn differing(report: &Report) -> Vec<&str> {
    let mut uids: Vec<&str> = report.discordant.iter().map(|one| one.study.study_uid.as_str()).collect();
    uids.sort_unstable();
    uids
}
