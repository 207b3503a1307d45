//! How good stated confidences and rankings are.

/// One statement: how sure, and whether it was right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Probability given to the statement, 0 to 1.
    pub confidence: f64,
    /// Whether it was right.
    pub correct: bool,
}

impl Outcome {
    fn hit(&self) -> f64 {
        f64::from(u8::from(self.correct))
    }
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Statements in it.
    pub count: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of them that were right.
    pub accuracy: f64,
}

/// `count` bins of equal width, each open below and closed above; a confidence of 0 falls into the first.
pub fn reliability(outcomes: &[Outcome], count: usize) -> Vec<Bin> {
    let mut bins = vec![Bin::default(); count];
    for outcome in outcomes {
        let above = (outcome.confidence * count as f64 - 1e-12).ceil() as usize;
        let Some(bin) = bins.get_mut(above.clamp(1, count.max(1)) - 1) else { continue };
        bin.count += 1;
        bin.confidence += outcome.confidence;
        bin.accuracy += outcome.hit();
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    bins
}

/// Expected calibration error over `bins` bins ([`reliability`]): the mean distance of confidence and accuracy, weighted by
/// the bins' sizes. 0 for no outcomes.
pub fn expected_calibration_error(outcomes: &[Outcome], bins: usize) -> f64 {
    let total = outcomes.len().max(1) as f64;
    let weighted = |bin: Bin| bin.count as f64 / total * (bin.confidence - bin.accuracy).abs();
    reliability(outcomes, bins).into_iter().map(weighted).sum()
}

/// Brier score: mean squared distance of confidence and outcome.
pub fn brier(outcomes: &[Outcome]) -> f64 {
    mean(outcomes.iter().map(|outcome| (outcome.confidence - outcome.hit()).powi(2)))
}

/// Mean negative log-likelihood in nats; a confidence is taken to be no nearer to 0 or 1 than 1e-15.
pub fn negative_log_likelihood(outcomes: &[Outcome]) -> f64 {
    mean(outcomes.iter().map(|outcome| {
        let sure = if outcome.correct { outcome.confidence } else { 1.0 - outcome.confidence };
        -sure.clamp(1e-15, 1.0 - 1e-15).ln()
    }))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// One study as a ranking sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The doubt by which studies are given up, the greatest first.
    pub doubt: f64,
    /// What keeping it costs: its absolute error, or 1 where it is wrong.
    pub loss: f64,
}

/// Mean loss of the `i + 1` least doubted studies, for every `i`. Studies of equal doubt share their mean loss, so that the
/// order in which they come does not matter.
pub fn risk_coverage(ranked: &[Ranked]) -> Vec<f64> {
    let mut sorted = ranked.to_vec();
    sorted.sort_by(|a, b| a.doubt.total_cmp(&b.doubt).then(a.loss.total_cmp(&b.loss)));
    let mut risks = Vec::with_capacity(sorted.len());
    let mut sum = 0.0;
    for equal in sorted.chunk_by(|a, b| a.doubt == b.doubt) {
        let loss = mean(equal.iter().map(|one| one.loss));
        for _ in equal {
            sum += loss;
            risks.push(sum / (risks.len() + 1) as f64);
        }
    }
    risks
}

/// Area under the risk-coverage curve: the mean of [`risk_coverage`].
pub fn aurc(ranked: &[Ranked]) -> f64 {
    mean(risk_coverage(ranked).into_iter())
}

/// [`aurc`] beyond that of the best possible ranking, which knows every loss.
pub fn excess_aurc(ranked: &[Ranked]) -> f64 {
    let oracle: Vec<Ranked> = ranked.iter().map(|one| Ranked { doubt: one.loss, ..*one }).collect();
    aurc(ranked) - aurc(&oracle)
}

/// Mean loss when the given share of studies is kept, the least doubted ones; nothing where that is none.
pub fn risk_at(ranked: &[Ranked], coverage: f64) -> Option<f64> {
    let kept = (coverage * ranked.len() as f64 + 1e-9) as usize;
    risk_coverage(ranked).get(kept.checked_sub(1)?).copied()
}

/// Spearman's rank correlation of doubt and loss, mean ranks for equal values: how well the doubt ranks the errors, 0 not
/// at all. Nothing where either is constant.
pub fn rank_correlation(ranked: &[Ranked]) -> Option<f64> {
    let doubts = ranks(ranked.iter().map(|one| one.doubt).collect());
    let losses = ranks(ranked.iter().map(|one| one.loss).collect());
    let centre = f64::midpoint(ranked.len() as f64, 1.0);
    let product =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - centre) * (b - centre)).sum() };
    let norm = (product(&doubts, &doubts) * product(&losses, &losses)).sqrt();
    (norm > 0.0).then(|| product(&doubts, &losses) / norm)
}

fn ranks(values: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = values.into_iter().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0.0; order.len()];
    let mut before = 0;
    for equal in order.chunk_by(|a, b| a.1 == b.1) {
        let rank = before as f64 + f64::midpoint(equal.len() as f64, 1.0);
        for (index, _) in equal {
            if let Some(place) = ranks.get_mut(*index) {
                *place = rank;
            }
        }
        before += equal.len();
    }
    ranks
}
