//! The monitors together, over what a report says.
//!
//! Invariants:
//! - The levels depend on the reports and their order alone: fed again, they are the same.
//! - Nothing here changes a report. An alarm is for people, who set a new calibration set in place.

use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    kolmogorov::kolmogorov_smirnov,
    martingale::{ALARM_CAPITAL, Bag, Martingale},
    population::population_stability,
};

/// Reports compared with the calibration: fewer, and the index moves by chance (`9 (1/n + 1/m)`).
pub const WINDOW: usize = 500;
/// Fewest reports of which index and test are told: by chance alone the index of 300 is 0.04 on average.
pub const LEAST_WINDOW: usize = 300;
/// Reports after which the martingale begins again with capital 1: one that has lost too much notices nothing any more.
pub const RUN: usize = 1_000;
/// Population stability index above which the population is another.
pub const PSI_ALARM: f64 = 0.25;
/// Population stability index above which it is watched.
pub const PSI_WATCH: f64 = 0.1;
/// Probability below which the Kolmogorov-Smirnov test raises an alarm, over all features together (Bonferroni).
pub const KS_ALARM: f64 = 0.001;

/// What is compared of a report with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// The ejection fraction in percent.
    EfPercent,
    /// Width of the interval in points.
    IntervalWidth,
    /// The model's ejection fraction minus that of the contours, in points.
    GeometricGap,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 3] = [Self::EfPercent, Self::IntervalWidth, Self::GeometricGap];

    /// Its name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EfPercent => "ef_percent",
            Self::IntervalWidth => "interval_width",
            Self::GeometricGap => "geometric_gap",
        }
    }
}

/// One report with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The ejection fraction in percent.
    pub ef_percent: f64,
    /// Width of the interval in points.
    pub interval_width: f64,
    /// Model minus contours in points, where the contours gave a number.
    pub geometric_gap: Option<f64>,
    /// Drawn evenly from 0 to 1 without looking at the rest, for example from a hash of the study's UID: it settles ties.
    pub tie: f64,
}

impl Observation {
    /// The value of `feature`.
    pub fn value(&self, feature: Feature) -> Option<f64> {
        match feature {
            Feature::EfPercent => Some(self.ef_percent),
            Feature::IntervalWidth => Some(self.interval_width),
            Feature::GeometricGap => self.geometric_gap,
        }
    }
}

/// The studies of a calibration as the monitors see them: a sorted sample of each feature, not empty.
pub type Reference = BTreeMap<Feature, Vec<f64>>;

/// How far the reports of one feature have moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureLevels {
    /// Population stability index of the last [`WINDOW`] reports.
    pub population_stability: f64,
    /// Kolmogorov-Smirnov probability of the same.
    pub kolmogorov_smirnov_p: f64,
}

/// What the monitors say.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// By feature; none before [`LEAST_WINDOW`] reports had it.
    pub features: BTreeMap<Feature, FeatureLevels>,
    /// Capital of the martingale, at its highest in this run and the one before.
    pub capital: f64,
}

impl Levels {
    /// Whether the window's population is another one by its index.
    pub fn population_alarm(&self) -> bool {
        self.features.values().any(|levels| levels.population_stability > PSI_ALARM)
    }

    /// Whether the window differs beyond chance.
    pub fn kolmogorov_smirnov_alarm(&self) -> bool {
        let bound = KS_ALARM / Feature::ALL.len() as f64;
        self.features.values().any(|levels| levels.kolmogorov_smirnov_p < bound)
    }

    /// Whether betting against the calibration has paid.
    pub fn martingale_alarm(&self) -> bool {
        self.capital >= ALARM_CAPITAL
    }
}

/// Bets on one feature: how far it lies from the middle of the calibration.
#[derive(Debug, Clone)]
struct Bets {
    middle: f64,
    bag: Bag,
    martingale: Martingale,
}

impl Bets {
    fn new(sample: &[f64]) -> Self {
        let middle = sample.get(sample.len() / 2).copied().unwrap_or_default();
        let bag = Bag::new(sample.iter().map(|value| (value - middle).abs()).collect());
        Self { middle, bag, martingale: Martingale::default() }
    }
}

/// The monitors.
#[derive(Debug, Clone)]
pub struct Monitor {
    reference: Reference,
    window: VecDeque<Observation>,
    bets: BTreeMap<Feature, Bets>,
    /// Reports since the martingale began.
    run: usize,
    /// Highest capital of this run, and of the one before.
    peaks: [f64; 2],
}

impl Monitor {
    /// Begins with nothing seen.
    pub fn new(reference: Reference) -> Self {
        let bets = start(&reference);
        Self { reference, window: VecDeque::with_capacity(WINDOW), bets, run: 0, peaks: [1.0, 0.0] }
    }

    /// Reports in the window.
    pub fn reports(&self) -> usize {
        self.window.len()
    }

    /// Capital of the martingale, at its highest in this run and the one before.
    pub fn capital(&self) -> f64 {
        self.peaks[0].max(self.peaks[1])
    }

    /// Takes in the next report.
    pub fn observe(&mut self, observation: Observation) {
        if self.run == RUN {
            self.bets = start(&self.reference);
            self.run = 0;
            self.peaks = [1.0, self.peaks[0]];
        }
        self.run += 1;
        for (feature, bets) in &mut self.bets {
            let Some(value) = observation.value(*feature) else { continue };
            let p = bets.bag.rank((value - bets.middle).abs(), observation.tie);
            bets.martingale.observe(p);
        }
        // The mean of martingales is one: whichever feature moves, one bound on false alarms holds.
        let capitals = self.bets.values().map(|bets| bets.martingale.log_capital().exp());
        let capital = capitals.sum::<f64>() / self.bets.len().max(1) as f64;
        self.peaks[0] = self.peaks[0].max(capital);
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(observation);
    }

    /// What the monitors say now.
    pub fn levels(&self) -> Levels {
        let mut features = BTreeMap::new();
        for (feature, sample) in &self.reference {
            let mut values: Vec<f64> = self.window.iter().filter_map(|one| one.value(*feature)).collect();
            values.sort_by(f64::total_cmp);
            if values.len() < LEAST_WINDOW {
                continue;
            }
            let Some(test) = kolmogorov_smirnov(sample, &values) else { continue };
            let levels = FeatureLevels {
                population_stability: population_stability(sample, &values),
                kolmogorov_smirnov_p: test.p,
            };
            features.insert(*feature, levels);
        }
        Levels { features, capital: self.capital() }
    }
}

fn start(reference: &Reference) -> BTreeMap<Feature, Bets> {
    reference.iter().map(|(feature, sample)| (*feature, Bets::new(sample))).collect()
}
