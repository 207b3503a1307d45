//! From what was seen to a verdict. Plain decisions, in one place.
//!
//! ```text
//!   each measure:  no pairs ─▶ Empty      not judged ─▶ Shown      repetition beyond the margin ─▶ Noisy
//!                  too few pairs ─▶ TooFew     change established and beyond the margin ─▶ Regressed (or Improved)
//!                  whole interval within the margin ─▶ Within      else ─▶ Unclear
//!   the whole:     any Regressed ─▶ Regression
//!                  any Noisy, TooFew or Unclear, a gap in the rows, or no noise floor ─▶ Inconclusive
//!                  else ─▶ Pass
//! ```
//! A change is *established* where its test, adjusted by Holm, stays below alpha and the change seen is beyond the margin,
//! or where even the lower bound of the share of differing pairs is. A regression of a quiet measure stands whatever
//! another measure's noise: more data would not take it away.

use serde::{Deserialize, Serialize};

use crate::{
    diff::{
        observed::Observed,
        property::{Margin, MeasureId, Property, Worse},
    },
    margins::Margins,
    statistics::{agreement, proportion},
};

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Equivalent within the margins.
    Pass,
    /// Changed beyond a margin, in at least one measure.
    Regression,
    /// Too few pairs, noise above a margin, or no noise floor.
    Inconclusive,
}

impl Verdict {
    /// As it stands in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Regression => "regression",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Exit code of the command that says it; 3 is a run that failed.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Regression => 1,
            Self::Inconclusive => 2,
        }
    }
}

/// What one measure comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Changed beyond the margin, or for the worse where that is known.
    Regressed,
    /// The baseline differs from itself by more than the margin.
    Noisy,
    /// Neither a change beyond the margin nor its absence is shown.
    Unclear,
    /// Fewer pairs than conclude anything.
    TooFew,
    /// Changed for the better, where that is known.
    Improved,
    /// Within the margin.
    Within,
    /// Not judged.
    Shown,
    /// No pair speaks of it.
    Empty,
}

impl Outcome {
    /// As it stands in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Noisy => "noisy",
            Self::Unclear => "unclear",
            Self::TooFew => "too_few",
            Self::Improved => "improved",
            Self::Within => "within",
            Self::Shown => "shown",
            Self::Empty => "empty",
        }
    }

    fn leaves_open(self) -> bool {
        matches!(self, Self::Noisy | Self::Unclear | Self::TooFew)
    }
}

/// The baseline's difference from itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Pairs of both its answers.
    pub pairs: u64,
    /// What they come to.
    pub observed: Observed,
    /// Beyond the margin: a change of that size says nothing.
    pub beyond_margin: bool,
}

/// One property, compared and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name, for example `quality_gate.code.BLUR`; stable.
    pub id: String,
    /// The same in its parts.
    pub what: MeasureId,
    /// Pairs of studies that speak of it.
    pub pairs: u64,
    /// What it is held against.
    pub margin: Margin,
    /// What was seen.
    pub observed: Observed,
    /// The noise floor; absent where the baseline was not repeated, or the repetition does not speak of it.
    pub noise: Option<Noise>,
    /// What it comes to.
    pub outcome: Outcome,
    /// About how many pairs would show it to be within, should all stay as it is; absent where none would, or none are
    /// needed.
    pub pairs_needed: Option<u64>,
}

/// Why a verdict is what it is, the gravest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Reason {
    /// Changed beyond its margin.
    Regressed {
        /// Which measure.
        measure: String,
    },
    /// The baseline was not computed a second time.
    NoNoiseFloor,
    /// The baseline's second answer does not speak of these, or of fewer studies than conclude anything.
    NoiseUnknown {
        /// Which measures.
        measures: Vec<String>,
    },
    /// The baseline differs from itself by more than the margin.
    Noisy {
        /// Which measure.
        measure: String,
    },
    /// Rows are missing that no rejection explains.
    Gaps {
        /// How many.
        rows: u64,
    },
    /// Fewer pairs than conclude anything.
    TooFew {
        /// Which measures.
        measures: Vec<String>,
        /// Pairs of the one with fewest.
        pairs: u64,
        /// About how many are needed.
        needed: Option<u64>,
    },
    /// Neither a change nor its absence is shown.
    Unclear {
        /// Which measures.
        measures: Vec<String>,
        /// About how many pairs would show those to be within that can be.
        needed: Option<u64>,
    },
}

/// Whether the baseline's own noise is beyond the margin. The point estimate decides: noise is to lie well below.
pub(crate) fn is_noisy(observed: &Observed, margin: Margin) -> bool {
    match (observed, margin) {
        (
            Observed::Presence { discordant: share, .. } | Observed::Identity { changed: share },
            Margin::Share(most),
        ) => share.share > most,
        (Observed::Points { agreement, beyond_step, .. }, Margin::Points { bias, share, .. }) => {
            agreement.is_some_and(|found| found.bias.value.abs() > bias)
                || beyond_step.is_some_and(|beyond| beyond.share > share)
        }
        (Observed::Ratio { ratio, increase, .. }, Margin::Ratio { most, floor }) => {
            let apart = ratio.is_some_and(|ratio| ratio.value > most || ratio.value < 1.0 / most);
            apart && increase.is_some_and(|increase| increase.value.abs() > floor)
        }
        _ => false,
    }
}

/// What a measure comes to, and about how many pairs would show it to be within its margin.
pub(crate) fn judge(measure: &Measure, margins: &Margins) -> (Outcome, Option<u64>) {
    if measure.margin == Margin::None {
        return (Outcome::Shown, None);
    }
    if measure.pairs == 0 {
        return (Outcome::Empty, None);
    }
    // Of failures one is enough, however few the pairs.
    if let (Observed::Presence { gained, .. }, Margin::Count(most)) = (&measure.observed, measure.margin) {
        return (if *gained > most { Outcome::Regressed } else { Outcome::Within }, None);
    }
    let needed = pairs_needed(measure, margins).map(|pairs| pairs.max(margins.min_pairs));
    if measure.noise.as_ref().is_some_and(|noise| noise.beyond_margin) {
        return (Outcome::Noisy, None);
    }
    if measure.pairs < margins.min_pairs {
        return (Outcome::TooFew, needed);
    }
    let found = change(measure, margins);
    match found {
        Change::Within => (Outcome::Within, None),
        Change::Open => (Outcome::Unclear, needed),
        Change::Beyond(direction) => match (measure.what.property.worse(), direction) {
            (Worse::More, Direction::Less) | (Worse::Less, Direction::More) => (Outcome::Improved, None),
            _ => (Outcome::Regressed, None),
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    More,
    Less,
}

impl Direction {
    fn of(change: f64) -> Self {
        if change < 0.0 { Self::Less } else { Self::More }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Within,
    Beyond(Direction),
    Open,
}

fn change(measure: &Measure, margins: &Margins) -> Change {
    match (&measure.observed, measure.margin) {
        (Observed::Presence { lost, gained, discordant, holm_p, .. }, Margin::Share(most)) => {
            let established = discordant.share > most && *holm_p < margins.alpha;
            if established || discordant.low > most {
                Change::Beyond(if gained >= lost { Direction::More } else { Direction::Less })
            } else if discordant.high < most {
                Change::Within
            } else {
                Change::Open
            }
        }
        (Observed::Identity { changed }, Margin::Share(most)) => {
            if changed.low > most {
                Change::Beyond(Direction::More)
            } else if changed.high < most {
                Change::Within
            } else {
                Change::Open
            }
        }
        (
            Observed::Points {
                agreement: Some(agreement),
                equivalence: Some(equivalence),
                beyond_step: Some(beyond),
                ..
            },
            Margin::Points { bias, share, .. },
        ) => {
            let mean = agreement.bias;
            let is_zero_refuted = mean.low > 0.0 || mean.high < 0.0;
            if (is_zero_refuted && mean.value.abs() > bias) || beyond.low > share {
                Change::Beyond(Direction::of(mean.value))
            } else if equivalence.low > -bias && equivalence.high < bias && beyond.high < share {
                Change::Within
            } else {
                Change::Open
            }
        }
        (Observed::Ratio { ratio, increase, .. }, Margin::Ratio { most, floor }) => {
            let (below_floor, above_floor) =
                increase.map_or((false, false), |increase| (increase.high <= floor, increase.low > floor));
            match ratio {
                _ if below_floor => Change::Within,
                Some(ratio) if ratio.high < most => Change::Within,
                Some(ratio) if ratio.low > most && above_floor => Change::Beyond(Direction::More),
                // Out of nothing, no ratio says how much it is.
                None if above_floor => Change::Beyond(Direction::More),
                _ => Change::Open,
            }
        }
        (Observed::Score { difference: Some(difference), .. }, Margin::Increase(most)) => {
            if difference.high < most {
                Change::Within
            } else if difference.low > most {
                Change::Beyond(Direction::More)
            } else {
                Change::Open
            }
        }
        _ => Change::Open,
    }
}

fn pairs_needed(measure: &Measure, margins: &Margins) -> Option<u64> {
    let alpha = margins.alpha;
    match (&measure.observed, measure.margin) {
        (
            Observed::Presence { discordant: share, .. } | Observed::Identity { changed: share },
            Margin::Share(most),
        ) => proportion::pairs_needed(share.count, share.pairs, most, alpha),
        (Observed::Points { agreement, beyond_step, .. }, Margin::Points { bias, share, .. }) => {
            let of_mean =
                agreement.as_ref().map_or(Some(2), |found| agreement::pairs_needed(found, bias, alpha))?;
            let beyond = beyond_step.as_ref()?;
            Some(of_mean.max(proportion::pairs_needed(beyond.count, beyond.pairs, share, alpha)?))
        }
        (Observed::Ratio { ratio: Some(ratio), .. }, Margin::Ratio { most, .. }) => {
            // An interval shrinks with the root of the pairs, on the scale of logarithms.
            let (room, reach) = ((most / ratio.value).ln(), (ratio.high / ratio.value).ln());
            let pairs = (measure.pairs as f64 * (reach / room).powi(2)).ceil();
            (room > 0.0 && pairs < 1e7).then_some(pairs as u64)
        }
        _ => None,
    }
}

/// What the whole comes to: reasons first, the gravest foremost.
pub(crate) fn decide(
    measures: &[Measure],
    gaps: u64,
    has_noise: bool,
    margins: &Margins,
) -> (Verdict, Vec<Reason>) {
    let with = |outcome: Outcome| measures.iter().filter(move |measure| measure.outcome == outcome);
    let mut reasons: Vec<Reason> =
        with(Outcome::Regressed).map(|measure| Reason::Regressed { measure: measure.id.clone() }).collect();
    let verdict = if reasons.is_empty() { Verdict::Pass } else { Verdict::Regression };
    if gaps > 0 {
        reasons.push(Reason::Gaps { rows: gaps });
    }
    let ids = |outcome| with(outcome).map(|measure| measure.id.clone()).collect::<Vec<_>>();
    let needed = |outcome| with(outcome).filter_map(|measure| measure.pairs_needed).max();
    if let Some(pairs) = with(Outcome::TooFew).map(|measure| measure.pairs).min() {
        reasons.push(Reason::TooFew {
            measures: ids(Outcome::TooFew),
            pairs,
            needed: needed(Outcome::TooFew),
        });
    }
    if has_noise {
        let unknown = measures.iter().filter(|measure| lacks_noise(measure, margins));
        let unknown: Vec<String> = unknown.map(|measure| measure.id.clone()).collect();
        if !unknown.is_empty() {
            reasons.push(Reason::NoiseUnknown { measures: unknown });
        }
    } else {
        reasons.push(Reason::NoNoiseFloor);
    }
    reasons.extend(with(Outcome::Noisy).map(|measure| Reason::Noisy { measure: measure.id.clone() }));
    let unclear = ids(Outcome::Unclear);
    if !unclear.is_empty() {
        reasons.push(Reason::Unclear { measures: unclear, needed: needed(Outcome::Unclear) });
    }
    let open = measures.iter().any(|measure| measure.outcome.leaves_open());
    let verdict = match verdict {
        Verdict::Pass if open || !reasons.is_empty() => Verdict::Inconclusive,
        verdict => verdict,
    };
    (verdict, reasons)
}

/// Whether a measure would be within, did anyone know the baseline to be quiet.
fn lacks_noise(measure: &Measure, margins: &Margins) -> bool {
    let enough = measure.noise.as_ref().is_some_and(|noise| noise.pairs >= margins.min_pairs);
    measure.outcome == Outcome::Within
        && measure.what.property.needs_noise_floor()
        && !is_about_truth(measure)
        && !enough
}

/// The truth judges the candidate's errors themselves; the noise of what they are made of is that of other measures.
fn is_about_truth(measure: &Measure) -> bool {
    matches!(measure.what.property, Property::Covered | Property::AbsoluteError | Property::CalibrationError)
}
