//! What a calibration found, as text and as JSON.

use std::fmt;

use calibration::{
    Contents, Fitted,
    conformal::{Adaptive, coverage_range},
    drift::Feature,
    groups::ALL,
};
use serde::Serialize;
use serde_json::json;

use super::{
    Eligible,
    ranking::{COVERAGES, Ranking},
};

/// Step of adaptive inference (Gibbs & Candès 2021).
const ADAPTIVE_RATE: f64 = 0.01;

/// The table.
pub(super) struct Table {
    contents: Contents,
    digest: String,
    left_out: String,
    blinded: usize,
    rankings: Vec<Ranking>,
    /// The share that adaptive inference would ask for after the last study.
    adaptive_alpha: f64,
}

impl Table {
    pub(super) fn new(fitted: &Fitted, eligible: &Eligible) -> Self {
        let contents = fitted.set.contents().clone();
        let mut adaptive = Adaptive::new(contents.alpha, ADAPTIVE_RATE);
        for (case, [lower, upper]) in eligible.cases.iter().zip(&fitted.intervals) {
            adaptive.observe(!(*lower..=*upper).contains(&case.truth));
        }
        Self {
            digest: fitted.set.digest().to_string(),
            left_out: eligible.left_out(),
            blinded: eligible.blinded,
            rankings: eligible.rankings(),
            adaptive_alpha: adaptive.alpha(),
            contents,
        }
    }
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Contents { id, model, fingerprint, synthetic, alpha, studies, groups, .. } = &self.contents;
        let rankings: Vec<_> = self
            .rankings
            .iter()
            .map(|ranking| {
                json!({
                    "doubt": ranking.name,
                    "studies": ranking.studies(),
                    "rank_correlation": ranking.correlation(),
                    "excess_aurc": ranking.excess(),
                    "mean_error": COVERAGES.map(|coverage| (coverage.to_string(), ranking.risk(coverage)))
                        .into_iter().collect::<std::collections::BTreeMap<_, _>>(),
                })
            })
            .collect();
        json!({
            "id": id,
            "sha256": self.digest,
            "model": model,
            "fingerprint": fingerprint,
            "synthetic": synthetic,
            "alpha": alpha,
            "studies": studies,
            "left_out": self.left_out,
            "blinded": self.blinded,
            "cross_validation": self.contents.cross_validation,
            "errors": self.contents.errors,
            "temperature": self.contents.temperature,
            "adaptive_alpha": self.adaptive_alpha,
            "groups": groups,
            "rankings": rankings,
        })
        .serialize(serializer)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = &self.contents;
        let percent = |share: f64| 100.0 * share;
        let kind = if set.synthetic { "phantoms; serves no patient" } else { "patients" };
        writeln!(f, "calibration set {} of {} {kind}", set.id, set.studies)?;
        writeln!(f, "sha256 {}\nmodel {}\ninference {}", self.digest, set.model, set.fingerprint)?;
        if !self.left_out.is_empty() {
            writeln!(f, "left out, because their reports give no number: {}", self.left_out)?;
        }
        writeln!(f, "truths given before the model's number was seen: {}", self.blinded)?;
        let tested = &set.cross_validation;
        writeln!(
            f,
            "\n{:.0} % intervals, cross-validated in {} parts: {:.1} % hold the truth, mean width {:.1} points",
            percent(set.alpha.coverage()),
            tested.folds,
            percent(tested.coverage),
            tested.mean_width
        )?;
        if let Some([low, high]) = coverage_range(set.studies as usize, set.alpha, 0.95) {
            writeln!(
                f,
                "with {} studies the true share lies between {:.1} and {:.1} % (19 times in 20)",
                set.studies,
                percent(low),
                percent(high)
            )?;
        }
        writeln!(
            f,
            "mean error {:.2} points; always saying the mean: {:.2}",
            set.errors.model, set.errors.mean_predictor
        )?;
        writeln!(
            f,
            "temperature {:.2}: the model's stated variance is that factor too small",
            set.temperature
        )?;
        writeln!(
            f,
            "adaptive inference would now ask for {:.1} % intervals",
            percent(1.0 - self.adaptive_alpha)
        )?;
        if !set.reference.contains_key(&Feature::GeometricGap) {
            writeln!(f, "no study has a geometric ejection fraction: drift of it will not be watched")?;
        }
        writeln!(f, "\n{:<44} {:>8} {:>8} {:>9} {:>7}", "group", "studies", "bound", "coverage", "width")?;
        for group in &set.groups {
            let bound = group.bound.map_or_else(|| "parent's".to_owned(), |bound| format!("{bound:.2}"));
            let label = if group.label == ALL { "all studies" } else { &group.label };
            writeln!(
                f,
                "{label:<44} {:>8} {bound:>8} {:>7.1} % {:>7.1}",
                group.studies,
                percent(group.coverage),
                group.mean_width
            )?;
        }
        writeln!(f, "\n{}", Ranking::header())?;
        self.rankings.iter().try_for_each(|ranking| writeln!(f, "{ranking}"))
    }
}
