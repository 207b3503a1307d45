//! Studies whose truth and error are drawn from known distributions.

use calibration::{Alpha, Case, Key, Plan, Prediction, Score, Traits};
use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use schemas::Digest;

/// Chance with a seed.
pub(crate) fn chance(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A standard normal number (Box-Muller).
pub(crate) fn normal(chance: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (chance.random(), chance.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// `count` studies of ejection fractions from 20 to 70 percent, read with normal errors of `error` points; the model
/// states a spread of 1 to 3 points whatever its error.
pub(crate) fn studies(count: usize, error: f64, seed: u64) -> Vec<Case> {
    let mut chance = chance(seed);
    (0..count)
        .map(|index| {
            let truth = chance.random_range(20.0..70.0);
            let estimate = truth + error * normal(&mut chance);
            let deviation = chance.random_range(1.0..3.0);
            let prediction = Prediction {
                estimate,
                lower: estimate - 1.645 * deviation,
                upper: estimate + 1.645 * deviation,
                deviation,
            };
            let quality = if chance.random_bool(0.7) { "good" } else { "fair" };
            let traits =
                Traits::default().with(Key::Quality, quality).unwrap().with(Key::View, "A4C").unwrap();
            let geometric = Some(truth + 2.0 * normal(&mut chance));
            Case { unit: format!("{seed}.{index}"), prediction, truth, traits, geometric }
        })
        .collect()
}

/// What the set is to be: 90 % intervals by quality and view.
pub(crate) fn plan() -> Plan {
    Plan {
        id: "test-1".to_owned(),
        made_at: Timestamp::UNIX_EPOCH,
        model: Digest::of(b"model"),
        fingerprint: Digest::of(b"inference"),
        synthetic: true,
        score: Score::Quantiles,
        alpha: Alpha::new(0.1).unwrap(),
        group_by: vec![Key::Quality, Key::View],
    }
}
