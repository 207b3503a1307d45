//! Many tests at once.

/// Holm's adjusted probabilities, in the order given: comparing each with alpha keeps the chance of any false alarm among
/// them at alpha, whatever their dependence (Holm, Scand J Stat 1979;6:65).
pub fn adjusted(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = probabilities.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut adjusted = vec![1.0; probabilities.len()];
    let mut so_far = 0.0_f64;
    for (rank, (index, p)) in order.into_iter().enumerate() {
        so_far = so_far.max(p * (probabilities.len() - rank) as f64).min(1.0);
        if let Some(place) = adjusted.get_mut(index) {
            *place = so_far;
        }
    }
    adjusted
}
