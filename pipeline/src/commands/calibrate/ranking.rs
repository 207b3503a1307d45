//! What ranks errors: each signal as the doubt by which studies would be given up.

use std::fmt;

use calibration::metrics::{Ranked, excess_aurc, rank_correlation, risk_at, risk_coverage};

use super::studies::{Doubts, Eligible};

/// Shares of studies kept at which the remaining error is shown.
pub(crate) const COVERAGES: [f64; 4] = [1.0, 0.9, 0.8, 0.7];

/// A signal's value, where the study has it.
type Read = fn(&Doubts) -> Option<f64>;

const SIGNALS: [(&str, Read); 6] = [
    ("token spread", |doubts| doubts.token_spread),
    ("between-beat variance", |doubts| doubts.between_beats),
    ("geometry disagreement", |doubts| doubts.geometric_gap),
    ("gate warnings", |doubts| Some(doubts.gate_warnings)),
    ("semantic entropy", |doubts| doubts.semantic_entropy),
    ("token surprise", |doubts| doubts.token_surprise),
];

/// One signal over the studies that have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranking {
    pub(crate) name: &'static str,
    ranked: Vec<Ranked>,
}

impl Ranking {
    pub(crate) fn studies(&self) -> usize {
        self.ranked.len()
    }

    /// Spearman's correlation of doubt and absolute error.
    pub(crate) fn correlation(&self) -> Option<f64> {
        rank_correlation(&self.ranked)
    }

    /// Area under the risk-coverage curve beyond that of a ranking that knows the errors.
    pub(crate) fn excess(&self) -> f64 {
        excess_aurc(&self.ranked)
    }

    /// Mean error of the least doubted share.
    pub(crate) fn risk(&self, coverage: f64) -> Option<f64> {
        risk_at(&self.ranked, coverage)
    }

    /// Mean error of the `i + 1` least doubted studies.
    pub(crate) fn curve(&self) -> Vec<f64> {
        risk_coverage(&self.ranked)
    }

    /// Above the columns of the text form.
    pub(crate) fn header() -> String {
        let shares = COVERAGES.map(|coverage| format!("{:>7.0} %", 100.0 * coverage)).concat();
        format!("{:<24} {:>8} {:>9} {:>8}  mean error at{shares}", "doubt", "studies", "Spearman", "excess")
    }
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let correlation =
            self.correlation().map_or_else(|| "constant".to_owned(), |value| format!("{value:.3}"));
        let risks = COVERAGES
            .map(|coverage| {
                self.risk(coverage).map_or_else(|| format!("{:>9}", "-"), |risk| format!("{risk:>9.2}"))
            })
            .concat();
        let (name, studies, excess) = (self.name, self.studies(), self.excess());
        write!(f, "{name:<24} {studies:>8} {correlation:>9} {excess:>8.3}               {risks}")
    }
}

impl Eligible {
    /// Each signal that at least two studies have.
    pub(crate) fn rankings(&self) -> Vec<Ranking> {
        let of = |(name, read): &(&'static str, Read)| {
            let pairs = self.cases.iter().zip(&self.doubts);
            let ranked: Vec<Ranked> = pairs
                .filter_map(|(case, doubts)| {
                    let loss = (case.prediction.reported() - case.truth).abs();
                    Some(Ranked { doubt: read(doubts)?, loss })
                })
                .collect();
            Ranking { name, ranked }
        };
        SIGNALS.iter().map(of).filter(|ranking| ranking.studies() > 1).collect()
    }
}
