//! What two sides' answers come to for one property.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    answer::Answer,
    property::{Kind, Margin, MeasureId, Middle, WHOLE},
};
use crate::{
    margins::Margins,
    pairs::StudyKey,
    statistics::{
        agreement::{Agreement, Equivalence, Estimate, agreement, equivalence},
        bootstrap::{Draws, Reading, interval},
        mean, median,
        proportion::{Paired, lower_bound, mcnemar, upper_bound},
        quantile,
    },
};

/// Both sides' answers, by study.
pub(crate) type Pairs<'a> = BTreeMap<&'a StudyKey, (&'a Answer, &'a Answer)>;

/// A share of pairs with its one-sided bounds (Clopper-Pearson), each of confidence `1 - alpha`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub pairs: u64,
    /// The share; 0 of none.
    pub share: f64,
    /// What it is at least.
    pub low: f64,
    /// What it is at most.
    pub high: f64,
}

impl Share {
    fn of(count: u64, pairs: u64, alpha: f64) -> Self {
        let share = if pairs == 0 { 0.0 } else { count as f64 / pairs as f64 };
        Self {
            count,
            pairs,
            share,
            low: lower_bound(count, pairs, alpha),
            high: upper_bound(count, pairs, alpha),
        }
    }
}

/// Mean, median and tail of one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// 95 % quantile.
    pub p95: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self { mean: mean(&values)?, median: quantile(&values, 0.5)?, p95: quantile(&values, 0.95)? })
    }
}

/// What was seen of one property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Observed {
    /// There or not.
    Presence {
        /// Studies of the baseline that have it.
        baseline: u64,
        /// Studies of the candidate that have it.
        candidate: u64,
        /// Studies that have it in the baseline only.
        lost: u64,
        /// Studies that have it in the candidate only.
        gained: u64,
        /// Studies that have it on one side only.
        discordant: Share,
        /// McNemar's exact probability, two-sided.
        exact_p: f64,
        /// Its mid-p.
        mid_p: f64,
        /// The exact probability after Holm over all properties of the same kind at the same stage.
        holm_p: f64,
    },
    /// The same or another.
    Identity {
        /// Studies in which it is another.
        changed: Share,
    },
    /// A number in points.
    Points {
        /// Pairs whose numbers are not equal.
        moved: u64,
        /// Candidate less baseline (Bland-Altman); absent of fewer than two pairs.
        agreement: Option<Agreement>,
        /// Whether the mean lies within the margin (two one-sided tests); absent where it is not judged.
        equivalence: Option<Equivalence>,
        /// Pairs that differ by more than a step; absent where there is none.
        beyond_step: Option<Share>,
    },
    /// A number that only its ratio says something of.
    Ratio {
        /// The baseline's.
        baseline: Option<Spread>,
        /// The candidate's.
        candidate: Option<Spread>,
        /// Candidate over baseline of the middle that is judged: median of times, mean of costs. Bootstrap interval of
        /// confidence `1 - 2 alpha`: percentile for medians, BCa for means. Absent where it has none.
        ratio: Option<Estimate>,
        /// Mean difference, BCa interval of the same confidence.
        increase: Option<Estimate>,
    },
    /// One number over all studies.
    Score {
        /// The baseline's.
        baseline: f64,
        /// The candidate's.
        candidate: f64,
        /// Candidate less baseline, percentile interval of confidence `1 - 2 alpha`.
        difference: Option<Estimate>,
    },
}

/// Numbers of both sides by pair, in order of study.
pub type Points = Vec<[f64; 2]>;

/// What is needed to observe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) margins: &'a Margins,
    pub(crate) seed: u64,
}

/// What was seen, over how many pairs, and the numbers behind it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) pairs: u64,
    pub(crate) observed: Observed,
    pub(crate) points: Points,
}

impl Look<'_> {
    /// Compares the property over all pairs of which both sides speak of it.
    pub(crate) fn at(&self, id: &MeasureId, pairs: &Pairs<'_>) -> Seen {
        match id.property.kind() {
            Kind::Presence => {
                let both = pairs.values().filter(|(a, b)| a.tells(id) && b.tells(id));
                self.presence(both.map(|(a, b)| (a.present.contains(id), b.present.contains(id))))
            }
            Kind::Identity => {
                let marks = pairs.values().filter_map(|(a, b)| Some((a.marks.get(id)?, b.marks.get(id)?)));
                let (changed, count) =
                    marks.fold((0, 0), |(n, all), (a, b)| (n + u64::from(a != b), all + 1));
                let changed = Share::of(changed, count, self.margins.alpha);
                Seen { pairs: count, observed: Observed::Identity { changed }, points: Points::new() }
            }
            Kind::Points => self.points(id.property.margin(self.margins), numbers(id, pairs)),
            Kind::Ratio(middle) => self.ratio(id, middle, numbers(id, pairs)),
            // Scores are made where the truth is known (`truth.rs`).
            Kind::Score => self.score::<()>(id, &[], |_| [0.0, 0.0]),
        }
    }

    pub(crate) fn presence(&self, both: impl Iterator<Item = (bool, bool)>) -> Seen {
        let mut table = Paired::default();
        both.for_each(|(baseline, candidate)| table.count(baseline, candidate));
        let test = mcnemar(table.lost, table.gained);
        let observed = Observed::Presence {
            baseline: table.both + table.lost,
            candidate: table.both + table.gained,
            lost: table.lost,
            gained: table.gained,
            discordant: Share::of(table.discordant(), table.pairs(), self.margins.alpha),
            exact_p: test.exact,
            mid_p: test.mid,
            holm_p: test.exact,
        };
        Seen { pairs: table.pairs(), observed, points: Points::new() }
    }

    pub(crate) fn points(&self, margin: Margin, points: Points) -> Seen {
        let differences: Vec<f64> = points.iter().map(|[baseline, candidate]| candidate - baseline).collect();
        let alpha = self.margins.alpha;
        let agreement = agreement(&differences, alpha);
        let (mut tested, mut beyond_step) = (None, None);
        if let Margin::Points { bias, step, .. } = margin {
            tested = agreement.as_ref().and_then(|found| equivalence(found, bias, alpha));
            let beyond = differences.iter().filter(|difference| difference.abs() > step).count();
            beyond_step = Some(Share::of(beyond as u64, differences.len() as u64, alpha));
        }
        // A width is a difference itself, and its last bits move with the ends.
        let moved = differences.iter().filter(|difference| difference.abs() > 1e-9).count() as u64;
        let observed = Observed::Points { moved, agreement, equivalence: tested, beyond_step };
        Seen { pairs: points.len() as u64, observed, points }
    }

    fn ratio(&self, id: &MeasureId, middle: Middle, points: Points) -> Seen {
        let reading = match middle {
            Middle::Median => Reading::Percentile,
            Middle::Mean => Reading::BiasCorrected,
        };
        // Of logarithms, so that exchanging the arms mirrors the interval.
        let logarithm = |[baseline, candidate]: [f64; 2]| (candidate / baseline).ln();
        let middles = |indices: &[usize]| {
            let arm = |arm: usize| {
                let mut values: Vec<f64> =
                    indices.iter().filter_map(|index| Some(points.get(*index)?[arm])).collect();
                match middle {
                    Middle::Median => median(&mut values),
                    Middle::Mean => mean(&values),
                }
                .unwrap_or(f64::NAN)
            };
            [arm(0), arm(1)]
        };
        let ratio = self.drawn(id, points.len(), reading, |indices| logarithm(middles(indices)));
        let increase = self.drawn(id, points.len(), Reading::BiasCorrected, |indices| {
            let differences: Vec<f64> =
                indices.iter().filter_map(|index| points.get(*index)).map(|[a, b]| b - a).collect();
            mean(&differences).unwrap_or(f64::NAN)
        });
        let exponential =
            |at: Estimate| Estimate { value: at.value.exp(), low: at.low.exp(), high: at.high.exp() };
        let arm = |arm: usize| Spread::of(points.iter().map(|point| point[arm]).collect());
        let observed =
            Observed::Ratio { baseline: arm(0), candidate: arm(1), ratio: ratio.map(exponential), increase };
        Seen { pairs: points.len() as u64, observed, points }
    }

    pub(crate) fn score<T>(&self, id: &MeasureId, cases: &[T], score: impl Fn(&[&T]) -> [f64; 2]) -> Seen {
        let all: Vec<&T> = cases.iter().collect();
        let [baseline, candidate] = score(&all);
        let difference = self.drawn(id, cases.len(), Reading::Percentile, |indices| {
            let drawn: Vec<&T> = indices.iter().filter_map(|index| cases.get(*index)).collect();
            let [baseline, candidate] = score(&drawn);
            candidate - baseline
        });
        let observed = Observed::Score { baseline, candidate, difference };
        Seen { pairs: cases.len() as u64, observed, points: Points::new() }
    }

    fn drawn(
        &self,
        id: &MeasureId,
        pairs: usize,
        reading: Reading,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Option<Estimate> {
        let name = id.to_string();
        let draws = Draws { seed: self.seed, name: &name, resamples: self.margins.resamples };
        // Pairs of nothing draw nothing.
        (pairs >= 2).then(|| interval(pairs, self.margins.alpha, reading, draws.indices(pairs), statistic))?
    }
}

fn numbers(id: &MeasureId, pairs: &Pairs<'_>) -> Points {
    // A study that took another way costs another thing: its verdict says so, not its cost.
    let alike = |a: &Answer, b: &Answer| id.subject != WHOLE || a.stages == b.stages;
    let both = pairs.values().filter(|(a, b)| alike(a, b));
    both.filter_map(|(a, b)| Some([*a.numbers.get(id)?, *b.numbers.get(id)?])).collect()
}
