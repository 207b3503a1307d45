//! The comparison: rows of two sides in, a judged report out. No clock, and no chance but the seed.
//!
//! ```text
//!   rows ─▶ pairs ─▶ answers, one a study and side ─▶ measures ─▶ outcomes ─▶ verdict
//!                       └─ baseline against its repetition ─▶ noise ──┘          └─▶ Report: discordant studies first
//! ```

pub mod answer;
mod discordant;
pub mod observed;
pub mod property;
mod truth;

use std::collections::{BTreeMap, BTreeSet};

use schemas::{RunId, StudyUid};

use crate::{
    margins::{Margins, MarginsError},
    pairs::{self, Rows, Side, StudyKey},
    report::{FORMAT, Facts, Report, Resources},
    result::{Arm, StageResult},
    statistics::holm,
    verdict::{self, Measure, Noise, Outcome},
};
use answer::Answer;
use observed::{Look, Observed, Pairs, Points, Seen};
use property::{Group, MeasureId, Property, TRUTH, WHOLE};

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The run whose candidate is judged.
    pub run: RunId,
    /// What it is compared with: rows of [`Arm::Baseline`], or of [`Arm::Live`].
    pub baseline: Vec<StageResult>,
    /// What is judged: rows of [`Arm::Candidate`].
    pub candidate: Vec<StageResult>,
    /// The baseline's second answer, for example the live rows beside a baseline computed again. Without it nothing passes.
    pub noise: Option<Vec<StageResult>>,
    /// How far the candidate may differ.
    pub margins: Margins,
    /// Seed of every bootstrap.
    pub seed: u64,
    /// True ejection fractions in percent, where they are known.
    pub truth: BTreeMap<StudyUid, f64>,
    /// What the plan says of both sides.
    pub facts: Facts,
}

/// Rows from which no comparison can be made: the run failed.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A margin that cannot be judged by.
    #[error(transparent)]
    Margins(#[from] MarginsError),
    /// One side has no rows.
    #[error("the {} has no rows; finish the run, or name the run that has them", side.as_str())]
    NoRows {
        /// Which side.
        side: Side,
    },
    /// One side has rows of two arms.
    #[error("the {} has rows of arm {first} and of arm {other}; expected one arm", side.as_str())]
    MixedArms {
        /// Which side.
        side: Side,
        /// Arm of its first row.
        first: Arm,
        /// Another one.
        other: Arm,
    },
    /// What is judged is no candidate.
    #[error("the candidate's rows are of arm {arm}; expected candidate")]
    NoCandidate {
        /// Their arm.
        arm: Arm,
    },
    /// Answers were taken from the memo: the comparison would compare them with themselves.
    #[error("{hits} answers in {rows} rows of the {} came from the memo; expected 0: run again with the memo off", side.as_str())]
    MemoHits {
        /// Which side.
        side: Side,
        /// Answers.
        hits: u64,
        /// Rows with any.
        rows: usize,
    },
    /// Two rows of the same study, revision and stage.
    #[error("the {} has two rows of study {study} at {stage}; expected one", side.as_str())]
    Duplicate {
        /// Which side.
        side: Side,
        /// Which study.
        study: StudyUid,
        /// Which stage.
        stage: String,
    },
    /// A time that is none.
    #[error("the seconds of study {study} at {stage} are negative or no number")]
    Seconds {
        /// Which study.
        study: StudyUid,
        /// Which stage.
        stage: String,
    },
    /// An output that is not the message of its stage.
    #[error("the {arm} output of study {study} at {stage} is not what the stage says")]
    Output {
        /// Which arm.
        arm: Arm,
        /// Which study.
        study: StudyUid,
        /// Which stage.
        stage: String,
        /// How.
        source: serde_json::Error,
    },
    /// A truth that is none.
    #[error("the true ejection fraction of study {study} is {percent}; expected 0 to 100")]
    Truth {
        /// Which study.
        study: StudyUid,
        /// What was given.
        percent: f64,
    },
}

/// Compares the candidate with the baseline.
///
/// # Errors
/// Rows that cannot be compared; nothing is left out to make them so.
pub fn compare(comparison: &Comparison) -> Result<Report, DiffError> {
    let Comparison { margins, truth, .. } = comparison;
    margins.check()?;
    if let Some((study, percent)) = truth.iter().find(|(_, percent)| !(0.0..=100.0).contains(*percent)) {
        return Err(DiffError::Truth { study: study.clone(), percent: *percent });
    }
    let baseline = Rows::of(&comparison.baseline, Side::Baseline)?;
    let candidate = Rows::of(&comparison.candidate, Side::Candidate)?;
    let repetition = comparison.noise.as_deref().map(|rows| Rows::of(rows, Side::Repetition)).transpose()?;
    if candidate.arm != Arm::Candidate {
        return Err(DiffError::NoCandidate { arm: candidate.arm });
    }
    let [of_baseline, of_candidate] = [answers(&baseline)?, answers(&candidate)?];
    let of_repetition = repetition.as_ref().map(answers).transpose()?;
    let judged_pairs = paired(&of_baseline, &of_candidate);
    let noise_pairs = of_repetition.as_ref().map(|repetition| paired(&of_baseline, repetition));

    let look = Look { margins, seed: comparison.seed };
    let mut points: BTreeMap<String, Points> = BTreeMap::new();
    let mut measures = Vec::new();
    let mut add = |what: MeasureId, seen: Seen, noise: Option<Seen>| {
        let margin = what.property.margin(margins);
        let id = what.to_string();
        if !seen.points.is_empty() {
            points.insert(id.clone(), seen.points);
        }
        let noise = noise.filter(|noise| noise.pairs > 0).map(|Seen { pairs, observed, .. }| Noise {
            pairs,
            beyond_margin: verdict::is_noisy(&observed, margin),
            observed,
        });
        let (outcome, pairs_needed) = (Outcome::Empty, None);
        measures.push(Measure {
            id,
            what,
            pairs: seen.pairs,
            margin,
            observed: seen.observed,
            noise,
            outcome,
            pairs_needed,
        });
    };
    for what in compared(&candidate, &judged_pairs) {
        let noise = noise_pairs.as_ref().map(|pairs| look.at(&what, pairs));
        let seen = look.at(&what, &judged_pairs);
        add(what, seen, noise);
    }
    let known = truth::Known::of(&judged_pairs, truth);
    for (property, seen) in known.measures(&look) {
        add(MeasureId::new(TRUTH, property), seen, None);
    }
    adjust(&mut measures);
    for measure in &mut measures {
        (measure.outcome, measure.pairs_needed) = verdict::judge(measure, margins);
    }

    let pairing = pairs::pair(&baseline, &candidate);
    let (verdict, reasons) = verdict::decide(&measures, pairing.gaps(), repetition.is_some(), margins);
    let found = discordant::find(&judged_pairs, &measures, margins);
    let needed = measures.iter().filter(|measure| measure.outcome != Outcome::Shown);
    Ok(Report {
        format: FORMAT.to_owned(),
        run: comparison.run.clone(),
        verdict,
        reasons,
        pairs_needed: needed.filter_map(|measure| measure.pairs_needed).max(),
        facts: comparison.facts.clone(),
        margins: *margins,
        seed: comparison.seed,
        baseline_arm: baseline.arm,
        repetition_arm: repetition.as_ref().map(|rows| rows.arm),
        // Rows with hits in a computed arm are refused above.
        memo_hits: 0,
        live_memo_hits: [Some(&baseline), repetition.as_ref()]
            .into_iter()
            .flatten()
            .map(|rows| rows.live_memo_hits)
            .max()
            .unwrap_or(0),
        resources: Resources { baseline: used(&baseline), candidate: used(&candidate) },
        calibration: known.shift(),
        risk: known.risk(&judged_pairs),
        transitions: discordant::transitions(&judged_pairs),
        discordant: found.discordant,
        text_only: found.text_only,
        pairing,
        measures,
        points,
    })
}

fn answers(rows: &Rows<'_>) -> Result<BTreeMap<StudyKey, Answer>, DiffError> {
    rows.studies.iter().map(|(study, stages)| Ok((study.clone(), Answer::of(stages)?))).collect()
}

fn paired<'a>(a: &'a BTreeMap<StudyKey, Answer>, b: &'a BTreeMap<StudyKey, Answer>) -> Pairs<'a> {
    a.iter().filter_map(|(study, answer)| Some((study, (answer, b.get(study)?)))).collect()
}

fn used(rows: &Rows<'_>) -> Option<crate::result::ModelUse> {
    rows.studies.values().flat_map(BTreeMap::values).filter_map(|row| row.model).reduce(answer::sum)
}

/// Every property that either side shows, of stages that the candidate computed.
fn compared(candidate: &Rows<'_>, pairs: &Pairs<'_>) -> BTreeSet<MeasureId> {
    let mut seen: BTreeSet<MeasureId> = BTreeSet::new();
    for answer in pairs.values().flat_map(|(a, b)| [a, b]) {
        seen.extend(answer.present.iter().chain(answer.numbers.keys()).chain(answer.marks.keys()).cloned());
    }
    // What nobody shows is worth saying too: no study was rejected, none failed, nothing abstained.
    let stages: BTreeSet<&str> =
        pairs.values().flat_map(|(_, b)| b.stages.iter().map(String::as_str)).collect();
    for stage in stages {
        seen.extend([Property::Failed, Property::Rejected].map(|property| MeasureId::new(stage, property)));
    }
    seen.extend([
        MeasureId::new(answer::QUALITY_GATE, Property::Caution),
        MeasureId::new(answer::INFERENCE, Property::Abstained),
        MeasureId::new(answer::REPORTING, Property::Abstained),
        MeasureId::new(answer::REPORTING, Property::LvefGiven),
    ]);
    seen.retain(|id| id.subject == WHOLE || candidate.has_stage(&id.subject));
    seen
}

/// Holm's adjustment over all properties of the same kind at the same stage.
fn adjust(measures: &mut [Measure]) {
    let mut families: BTreeMap<(String, Group), Vec<(usize, f64)>> = BTreeMap::new();
    for (index, measure) in measures.iter().enumerate() {
        if let Observed::Presence { exact_p, .. } = &measure.observed {
            let family = (measure.what.subject.clone(), measure.what.property.group());
            families.entry(family).or_default().push((index, *exact_p));
        }
    }
    for members in families.into_values() {
        let adjusted = holm::adjusted(&members.iter().map(|(_, p)| *p).collect::<Vec<_>>());
        for ((index, _), p) in members.into_iter().zip(adjusted) {
            if let Some(Observed::Presence { holm_p, .. }) =
                measures.get_mut(index).map(|measure| &mut measure.observed)
            {
                *holm_p = p;
            }
        }
    }
}
