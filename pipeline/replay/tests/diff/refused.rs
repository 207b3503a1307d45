//! Rows from which no comparison can be made: the run failed, and says why.

use replay::{
    diff::{DiffError, compare},
    margins::Margins,
    pairs::Side,
    result::Arm,
};
use schemas::RunId;

use super::{changed, comparison, standard, world};

#[test]
fn answers_from_the_memo_are_refused_except_the_live_systems_own() {
    let studies = world::studies(60, 1);
    let cached = changed(&studies, |study| study.memo_hits = u64::from(study.number < 3));
    let refused = compare(&comparison(&studies, &cached)).unwrap_err();
    assert!(matches!(refused, DiffError::MemoHits { side: Side::Candidate, hits: 3, rows: 3 }), "{refused}");
    let mut given = comparison(&studies, &studies);
    given.noise = Some(world::live(&cached));
    given.noise.as_mut().unwrap()[0].memo_hits = 2;
    let report = compare(&given).unwrap();
    assert_eq!((report.memo_hits, report.live_memo_hits), (0, 2));
}

#[test]
fn rows_that_contradict_each_other_are_refused() {
    let studies = world::studies(3, 2);
    let given = comparison(&studies, &studies);
    let with = |change: &dyn Fn(&mut replay::diff::Comparison)| {
        let mut given = given.clone();
        change(&mut given);
        compare(&given).unwrap_err().to_string()
    };
    let expected = [
        (
            with(&|given| given.candidate.clear()),
            "the candidate has no rows; finish the run, or name the run that has them",
        ),
        (
            with(&|given| given.candidate.push(given.candidate[0].clone())),
            "the candidate has two rows of study 2.25.700000 at quality_gate; expected one",
        ),
        (
            with(&|given| given.baseline[1].arm = Arm::Live),
            "the baseline has rows of arm baseline and of arm live; expected one arm",
        ),
        (
            with(&|given| given.candidate = given.baseline.clone()),
            "the candidate's rows are of arm baseline; expected candidate",
        ),
        (
            with(&|given| given.baseline[0].seconds = Some(-1.0)),
            "the seconds of study 2.25.700000 at quality_gate are negative or no number",
        ),
        (
            with(&|given| given.baseline[0].output = serde_json::json!({ "verdict": "accept" })),
            "the baseline output of study 2.25.700000 at quality_gate is not what the stage says",
        ),
        (
            with(&|given| given.truth = [(world::uid(1), f64::NAN)].into()),
            "the true ejection fraction of study 2.25.700001 is NaN; expected 0 to 100",
        ),
        (
            with(&|given| given.margins.verdict_share = 1.0),
            "replay.margins.verdict_share is 1; expected a share above 0 and below 1",
        ),
    ];
    for (said, expected) in expected {
        assert_eq!(said, expected);
    }
}

#[test]
fn margins_are_read_strictly() {
    assert!(standard().check().is_ok());
    let unknown = format!("{}\nlvef_bias = 1.0\n", replay::margins::STANDARD);
    assert!(toml::from_str::<Margins>(&unknown).unwrap_err().to_string().contains("lvef_bias"));
    let missing = replay::margins::STANDARD.replace("alpha = 0.05", "");
    assert!(toml::from_str::<Margins>(&missing).unwrap_err().to_string().contains("alpha"));
    let wrong = Margins { ef_step_points: f64::NAN, ..standard() };
    assert!(wrong.check().unwrap_err().to_string().contains("ef_step_points is NaN"));
}

#[test]
fn stages_that_nobody_knows_are_compared_by_their_end_and_time() {
    let studies = world::studies(60, 3);
    let mut given = comparison(&studies, &studies);
    for rows in [&mut given.baseline, &mut given.candidate] {
        let mut further = rows.clone();
        further.retain(|row| row.stage == "reporting");
        for row in &mut further {
            row.stage = "archiving".to_owned();
        }
        rows.extend(further);
    }
    given.run = RunId::new("r2").unwrap();
    let report = compare(&given).unwrap();
    assert_eq!(report.measure("archiving.rejected").unwrap().pairs, 60);
    assert_eq!(report.measure("archiving.seconds").unwrap().pairs, 60);
}
