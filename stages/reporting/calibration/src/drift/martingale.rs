//! Conformal test martingale: bets against the claim that the studies to come are those of the calibration.
//!
//! While the claim holds, the rank of each new score among all before it is uniform, no betting scheme gains, and capital
//! reaches 100 with probability at most 1/100 in a whole run (Ville). Where new scores are larger than they should be,
//! their p-values are small, and the bets pay (Vovk 2005, chapter 7).

/// The capital that raises an alarm, from 1 at the start.
pub const ALARM_CAPITAL: f64 = 100.0;

/// The bets `ε p^(ε - 1)`, for ε from 0.05 to 0.95 in steps of 0.05; the capital is spread evenly over them.
const BETS: usize = 19;

/// All scores so far, against which the next one is ranked.
#[derive(Debug, Clone)]
pub struct Bag(Vec<f64>);

impl Bag {
    /// Holds the scores of the calibration.
    pub fn new(mut scores: Vec<f64>) -> Self {
        scores.sort_by(f64::total_cmp);
        Self(scores)
    }

    /// The share of scores, the new one among them, that are at least `score`, and takes it in. Equal ones count in part:
    /// `tie`, 0 to 1, drawn evenly and without looking at the score, makes the answer uniform.
    pub fn rank(&mut self, score: f64, tie: f64) -> f64 {
        let below = self.0.partition_point(|one| one.total_cmp(&score).is_lt());
        let up_to = self.0.partition_point(|one| one.total_cmp(&score).is_le());
        let above = (self.0.len() - up_to) as f64;
        let equal = (up_to - below + 1) as f64;
        self.0.insert(up_to, score);
        // Never 0: the bets would pay without end.
        (above + tie.clamp(1e-9, 1.0) * equal) / self.0.len() as f64
    }
}

/// Capital of the bets, as logarithms.
#[derive(Debug, Clone, PartialEq)]
pub struct Martingale {
    log_capitals: [f64; BETS],
}

impl Default for Martingale {
    fn default() -> Self {
        Self { log_capitals: [0.0; BETS] }
    }
}

impl Martingale {
    /// Settles every bet on `p`, which must be above 0.
    pub fn observe(&mut self, p: f64) {
        for (index, capital) in self.log_capitals.iter_mut().enumerate() {
            let exponent = 0.05 * (index + 1) as f64;
            *capital += exponent.ln() + (exponent - 1.0) * p.ln();
        }
    }

    /// Natural logarithm of the mean capital.
    pub fn log_capital(&self) -> f64 {
        let most = self.log_capitals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.log_capitals.iter().map(|capital| (capital - most).exp()).sum();
        most + (sum / BETS as f64).ln()
    }
}
