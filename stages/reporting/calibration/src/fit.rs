//! From studies with a confirmed number to a calibration set.
//!
//! Refuses where no promise can be made: too few studies, a model no better than a constant, studies whose errors change on
//! the way (they are not exchangeable).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemas::Digest;

use crate::{
    conformal::{Alpha, Prediction, Score, quantile, reported_interval},
    drift::{Feature, Reference, kolmogorov_smirnov},
    groups::{ALL, Key, Traits, labels},
    set::{
        CalibrationSet, Contents, CrossValidation, Errors, Group, LEAST_STUDIES, MOST_REFERENCES, SetError,
    },
    temperature::{self, Stated},
};

/// Parts of a cross-validation.
const FOLDS: u32 = 10;
/// Probability below which the scores of the first and the second half are taken for two populations.
const HALVES_DIFFER: f64 = 0.001;

/// One study.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Whom it is of: cases of one unit are never on both sides of a cross-validation. The study's UID, or a pseudonym of
    /// the patient.
    pub unit: String,
    /// What the model says.
    pub prediction: Prediction,
    /// What is true, in percent.
    pub truth: f64,
    /// What kind of study.
    pub traits: Traits,
    /// What the contours alone say, in percent.
    pub geometric: Option<f64>,
}

/// What the set is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name and version.
    pub id: String,
    /// When it is made.
    pub made_at: Timestamp,
    /// The model that answered.
    pub model: Digest,
    /// The inference fingerprint of every answer.
    pub fingerprint: Digest,
    /// Whether the studies are phantoms.
    pub synthetic: bool,
    /// In what terms bounds are given.
    pub score: Score,
    /// The share of intervals that may miss.
    pub alpha: Alpha,
    /// What tells groups apart, the key that is dropped first at the front.
    pub group_by: Vec<Key>,
}

/// A set, and the interval that each case gets from the folds it is not in, in the order of the cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The set.
    pub set: CalibrationSet,
    /// One interval for each case.
    pub intervals: Vec<[f64; 2]>,
}

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Not enough studies for a promise.
    #[error("{found} usable studies; {needed} are needed, {} more", needed - found)]
    TooFew {
        /// Usable studies.
        found: usize,
        /// Fewest from which a set is made.
        needed: usize,
    },
    /// A number that cannot be.
    #[error("case {place} (counted from 1) has a truth outside 0 to 100 percent, or numbers that are none")]
    Impossible {
        /// Which case, counted from 1.
        place: usize,
    },
    /// The model knows nothing.
    #[error(
        "the model's mean error is {model:.2} points, that of always saying the mean {mean_predictor:.2}: its numbers \
         tell nothing of the truth, or stand beside the truth of other studies"
    )]
    NoBetterThanMean {
        /// Of the model.
        model: f64,
        /// Of the mean.
        mean_predictor: f64,
    },
    /// Errors change from the first to the last case.
    #[error(
        "the scores of the first and the second half of the studies are not of one population (p = {p:.1e}): something \
         changed on the way; calibrate on the studies since"
    )]
    NotExchangeable {
        /// Kolmogorov-Smirnov probability.
        p: f64,
    },
    /// The set contradicts itself.
    #[error("the set cannot be written")]
    Set(#[from] SetError),
}

/// Fewest studies from which a set is made: for a group of its own, and twice those from which an interval is finite at
/// all, so that a part of them gives a finite one too.
pub fn studies_needed(alpha: Alpha) -> usize {
    LEAST_STUDIES.max(2 * alpha.finite_from())
}

/// Makes a set of `cases`, which stand in the order in which they came.
pub fn fit(plan: Plan, cases: &[Case]) -> Result<Fitted, FitError> {
    let possible = |case: &Case| case.prediction.is_sound() && (0.0..=100.0).contains(&case.truth);
    if let Some(index) = cases.iter().position(|case| !possible(case)) {
        return Err(FitError::Impossible { place: index + 1 });
    }
    let needed = studies_needed(plan.alpha);
    if cases.len() < needed {
        return Err(FitError::TooFew { found: cases.len(), needed });
    }
    let everyone: Vec<&Case> = cases.iter().collect();
    let errors = errors(cases);
    if errors.model >= errors.mean_predictor {
        return Err(FitError::NoBetterThanMean {
            model: errors.model,
            mean_predictor: errors.mean_predictor,
        });
    }
    let scores: Vec<f64> = cases.iter().map(|case| plan.score.of(&case.prediction, case.truth)).collect();
    let (first, second) = scores.split_at(scores.len() / 2);
    if let Some(test) = kolmogorov_smirnov(&sorted(first), &sorted(second))
        && test.p < HALVES_DIFFER
    {
        return Err(FitError::NotExchangeable { p: test.p });
    }
    let intervals = cross_validated(&plan, cases);
    let bounds = bounds(&plan, &everyone);
    let contents = Contents {
        groups: groups(&plan, cases, &intervals, &bounds),
        cross_validation: {
            let (coverage, mean_width) = fared(cases.iter().zip(&intervals));
            CrossValidation { folds: FOLDS, coverage, mean_width }
        },
        errors,
        temperature: temperature_of(cases),
        reference: {
            // As reports will have them: by the bounds of the whole set.
            let reported: Vec<[f64; 2]> =
                cases.iter().map(|case| interval(&plan, case, Some(&bounds))).collect();
            reference(cases, &reported)
        },
        id: plan.id,
        made_at: plan.made_at,
        model: plan.model,
        fingerprint: plan.fingerprint,
        synthetic: plan.synthetic,
        score: plan.score,
        alpha: plan.alpha,
        studies: cases.len() as u32,
        group_by: plan.group_by,
    };
    Ok(Fitted { set: CalibrationSet::new(contents)?, intervals })
}

/// Which fold a case is in: decided by its unit alone, so that neither order nor number of the cases matters.
fn fold(case: &Case) -> u32 {
    let digest = Digest::of(case.unit.as_bytes());
    digest.as_bytes().iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % FOLDS)
}

/// The bound of each group that has enough of `cases`, and of all.
fn bounds(plan: &Plan, cases: &[&Case]) -> BTreeMap<String, f64> {
    let mut scores: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for case in cases {
        let score = plan.score.of(&case.prediction, case.truth);
        for label in labels(&plan.group_by, &case.traits) {
            scores.entry(label).or_default().push(score);
        }
    }
    let enough = |(label, scores): &(String, Vec<f64>)| label == ALL || scores.len() >= LEAST_STUDIES;
    let with_bound = scores.into_iter().filter(enough);
    with_bound.map(|(label, scores)| (label, quantile(&scores, plan.alpha))).collect()
}

/// The interval of each case by the bounds of the other folds.
fn cross_validated(plan: &Plan, cases: &[Case]) -> Vec<[f64; 2]> {
    let folds: Vec<u32> = cases.iter().map(fold).collect();
    let others = |left_out: u32| {
        let kept = cases.iter().zip(&folds).filter(|(_, fold)| **fold != left_out);
        bounds(plan, &kept.map(|(case, _)| case).collect::<Vec<_>>())
    };
    let by_fold: Vec<BTreeMap<String, f64>> = (0..FOLDS).map(others).collect();
    let judged = |(case, fold): (&Case, &u32)| interval(plan, case, by_fold.get(*fold as usize));
    cases.iter().zip(&folds).map(judged).collect()
}

/// The interval of a case by `bounds`. Where one fold holds everything, the others promise nothing.
fn interval(plan: &Plan, case: &Case, bounds: Option<&BTreeMap<String, f64>>) -> [f64; 2] {
    let labels = labels(&plan.group_by, &case.traits);
    let bound = bounds
        .and_then(|bounds| labels.iter().find_map(|label| bounds.get(label)))
        .copied()
        .unwrap_or(f64::INFINITY);
    reported_interval(plan.score.interval(&case.prediction, bound), case.prediction.reported())
}

/// Share of intervals that hold the truth, and their mean width.
fn fared<'a>(held: impl Iterator<Item = (&'a Case, &'a [f64; 2])>) -> (f64, f64) {
    let (mut count, mut hits, mut width) = (0_usize, 0_usize, 0.0);
    for (case, [lower, upper]) in held {
        count += 1;
        hits += usize::from((*lower..=*upper).contains(&case.truth));
        width += upper - lower;
    }
    let count = count.max(1) as f64;
    (hits as f64 / count, width / count)
}

fn groups(plan: &Plan, cases: &[Case], intervals: &[[f64; 2]], bounds: &BTreeMap<String, f64>) -> Vec<Group> {
    let mut members: BTreeMap<String, Vec<(&Case, &[f64; 2])>> = BTreeMap::new();
    for (case, interval) in cases.iter().zip(intervals) {
        for label in labels(&plan.group_by, &case.traits) {
            members.entry(label).or_default().push((case, interval));
        }
    }
    let mut groups: Vec<Group> = members
        .into_iter()
        .map(|(label, members)| {
            let (coverage, mean_width) = fared(members.iter().copied());
            let bound = bounds.get(&label).copied();
            Group { label, studies: members.len() as u32, bound, coverage, mean_width }
        })
        .collect();
    groups.sort_by_key(|group| (group.label != ALL, group.label.clone()));
    groups
}

/// Mean absolute errors of the model and of the mean of the other studies.
fn errors(cases: &[Case]) -> Errors {
    let count = cases.len() as f64;
    let sum: f64 = cases.iter().map(|case| case.truth).sum();
    let model: f64 = cases.iter().map(|case| (case.prediction.reported() - case.truth).abs()).sum();
    let of_others = |case: &Case| ((sum - case.truth) / (count - 1.0) - case.truth).abs();
    let mean: f64 = cases.iter().map(of_others).sum();
    Errors { model: model / count, mean_predictor: mean / count }
}

/// 1 where no case states a spread.
fn temperature_of(cases: &[Case]) -> f64 {
    let stated: Vec<Stated> = cases
        .iter()
        .filter(|case| case.prediction.deviation > 0.0)
        .map(|case| Stated {
            mean: case.prediction.estimate,
            variance: case.prediction.deviation.powi(2),
            truth: case.truth,
        })
        .collect();
    temperature::fit(&stated).unwrap_or(1.0)
}

/// What the reports of these cases would show the drift monitors.
fn reference(cases: &[Case], intervals: &[[f64; 2]]) -> Reference {
    let ef = cases.iter().map(|case| case.prediction.reported()).collect();
    let width = intervals.iter().map(|[lower, upper]| upper - lower).collect();
    let gap = |case: &Case| case.geometric.map(|geometric| case.prediction.reported() - geometric);
    let gap: Vec<f64> = cases.iter().filter_map(gap).collect();
    [(Feature::EfPercent, ef), (Feature::IntervalWidth, width), (Feature::GeometricGap, gap)]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(feature, values)| (feature, thinned(sorted(&values))))
        .collect()
}

/// At most [`MOST_REFERENCES`] of `sorted`, evenly spaced, first and last among them.
fn thinned(sorted: Vec<f64>) -> Vec<f64> {
    if sorted.len() <= MOST_REFERENCES {
        return sorted;
    }
    let (last, steps) = (sorted.len() - 1, MOST_REFERENCES - 1);
    let places: BTreeSet<usize> = (0..=steps).map(|step| step * last / steps).collect();
    places.into_iter().filter_map(|place| sorted.get(place).copied()).collect()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
