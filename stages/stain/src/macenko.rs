//! The two stains of a picture, estimated from the plane in which its densities lie (Macenko et al., ISBI 2009).
//!
//! Steps and constants are those of `normalizeStaining.m` (M. Veta 2013), which torchstain follows:
//! 1. optical densities; pixels that are hardly stained are dropped ([`MaskRule`]);
//! 2. the plane of the two larger eigenvectors of the covariance;
//! 3. angles in that plane; the stains are the 1st and the 99th percentile, haematoxylin the one with more red;
//! 4. concentrations of all pixels; the 99th percentile of each stain says how strong it is.

use crate::{
    density::{density, mean_density},
    eigen,
    percentile::Percentile,
    staining::{Staining, Stains, dot},
};

/// Optical density below which a pixel is not stained, β.
const STAINED: f64 = 0.15;
/// Percentile of the extreme angles, α.
const EXTREME: f64 = 0.01;
/// Percentile of a concentration that says how strong the stain is.
const STRONG: f64 = 0.99;

/// Fewest stained pixels for an estimate, and the least share of all.
const LEAST_STAINED: (usize, f64) = (1000, 0.02);
/// Least ratio of the two larger eigenvalues. Eosin alone 0.001 to 0.010; haematoxylin and eosin 0.057 and more on
/// phantoms, 0.022 on a well-stained real tile (the target picture of tiatoolbox).
const LEAST_SPREAD: f64 = 0.01;
/// Degrees between the stains. Eosin alone 2.5 to 12.
const ANGLE: [f64; 2] = [15.0, 60.0];
/// Least entry of a stain vector: none gives light. Where glass is brighter than 240, eosin's red comes out as low as
/// -0.059 (tiles of CMU-1).
const LEAST_ENTRY: f64 = -0.08;
/// Variance of density below which all pixels are of one colour; one level in one of a million is 1e-11.
const ONE_COLOUR: f64 = 1e-14;
/// Least 99th percentile of a concentration.
const LEAST_STRENGTH: f64 = 0.05;

/// Which pixels count as stained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskRule {
    /// Every channel has density 0.15 or more. The original; it drops pale eosin, which absorbs little red.
    Any,
    /// The mean of the channels has.
    Mean,
}

/// How the stains are estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Macenko {
    /// Which pixels count.
    pub mask: MaskRule,
    /// How percentiles lie between pixels.
    pub percentile: Percentile,
}

/// What was found, before it is known to make sense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Stains and their strength.
    pub staining: Staining,
    /// Pixels that count as stained.
    pub kept: usize,
    /// Pixels looked at.
    pub of: usize,
    /// Of the covariance of the kept densities, ascending.
    pub eigenvalues: [f64; 3],
    /// The extreme angles in the plane, radians.
    pub angles: [f64; 2],
}

/// Why an estimate cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Degenerate {
    /// Too little is stained.
    #[error("{kept} pixels are stained where {needed} are needed")]
    FewStained {
        /// Stained pixels.
        kept: usize,
        /// Fewest for an estimate.
        needed: usize,
    },
    /// The densities lie on a line or in a point: one stain, or one colour.
    #[error(
        "the second eigenvalue is {ratio:.4} of the first where {LEAST_SPREAD} is needed: a single stain"
    )]
    SingleStain {
        /// The second largest eigenvalue over the largest.
        ratio: f64,
    },
    /// The stains are too alike or too unlike.
    #[error("the stains lie {degrees:.1} degrees apart where {} to {} are expected", ANGLE[0], ANGLE[1])]
    Angle {
        /// The angle between the stains.
        degrees: f64,
    },
    /// A stain would give light.
    #[error("a stain vector has the entry {entry:.3}, below {LEAST_ENTRY}")]
    NegativeEntry {
        /// The least entry.
        entry: f64,
    },
    /// A stain is hardly there.
    #[error("the 99th percentile of a stain is {strength:.3} where {LEAST_STRENGTH} is needed")]
    WeakStain {
        /// The weaker stain's 99th percentile.
        strength: f64,
    },
}

impl Macenko {
    /// What torchstain's numpy backend does.
    pub const TORCHSTAIN: Self = Self { mask: MaskRule::Any, percentile: Percentile::Linear };
    /// What `normalizeStaining.m` does.
    pub const MATLAB: Self = Self { mask: MaskRule::Any, percentile: Percentile::Hazen };
    /// Ours. On phantoms the mean rule errs 0.3 to 0.9 degrees in eosin where the original errs 10 to 24.
    pub const ROBUST: Self = Self { mask: MaskRule::Mean, percentile: Percentile::Linear };

    fn keeps(self, pixel: [u8; 3]) -> bool {
        match self.mask {
            MaskRule::Any => density(pixel).iter().all(|density| *density >= STAINED),
            MaskRule::Mean => mean_density(pixel) >= STAINED,
        }
    }

    /// Estimates the stains of `pixels`, whatever they are. Fails only where no plane exists: fewer than three stained
    /// pixels, or all of one colour.
    pub fn estimate(self, pixels: &[[u8; 3]]) -> Result<Estimate, Degenerate> {
        let kept: Vec<[f64; 3]> =
            pixels.iter().filter(|pixel| self.keeps(**pixel)).map(|pixel| density(*pixel)).collect();
        if kept.len() < 3 {
            return Err(Degenerate::FewStained { kept: kept.len(), needed: 3 });
        }
        let (eigenvalues, [_, middle, mut largest]) = eigen::symmetric(covariance(&kept));
        if eigenvalues[2] <= ONE_COLOUR {
            return Err(Degenerate::SingleStain { ratio: 0.0 });
        }
        // Densities are positive. With the largest axis pointing their way all angles lie between 0 and π, away from
        // the cut of `atan2`.
        if largest.iter().sum::<f64>() < 0.0 {
            largest = largest.map(|entry| -entry);
        }
        let mut angles: Vec<f64> = kept.iter().map(|od| dot(*od, largest).atan2(dot(*od, middle))).collect();
        let kept = kept.len();
        let mut extreme = |q| self.percentile.of(&mut angles, q).unwrap_or_default();
        let angles = [extreme(EXTREME), extreme(1.0 - EXTREME)];
        let [low, high] = angles.map(|angle| {
            let (sine, cosine) = angle.sin_cos();
            [0, 1, 2].map(|k| middle[k] * cosine + largest[k] * sine)
        });
        let stains = if low[0] > high[0] {
            Stains { haematoxylin: low, eosin: high }
        } else {
            Stains { haematoxylin: high, eosin: low }
        };
        let mut concentrations = Vec::with_capacity(pixels.len());
        let strongest = stains.unmixing().map(|row| {
            concentrations.clear();
            concentrations.extend(pixels.iter().map(|pixel| dot(row, density(*pixel))));
            self.percentile.of(&mut concentrations, STRONG).unwrap_or_default()
        });
        let staining = Staining { stains, strongest };
        Ok(Estimate { staining, kept, of: pixels.len(), eigenvalues, angles })
    }
}

impl Estimate {
    /// The staining, if the picture really shows two stains.
    pub fn checked(&self) -> Result<Staining, Degenerate> {
        let (least, share) = LEAST_STAINED;
        let needed = least.max((share * self.of as f64).ceil() as usize);
        if self.kept < needed {
            return Err(Degenerate::FewStained { kept: self.kept, needed });
        }
        let [_, second, first] = self.eigenvalues;
        let ratio = second / first;
        if ratio < LEAST_SPREAD {
            return Err(Degenerate::SingleStain { ratio });
        }
        let Staining { stains, strongest } = self.staining;
        let degrees = stains.angle_degrees();
        let [least, most] = ANGLE;
        if !(least..=most).contains(&degrees) {
            return Err(Degenerate::Angle { degrees });
        }
        let entries = stains.haematoxylin.into_iter().chain(stains.eosin);
        let entry = entries.fold(f64::INFINITY, f64::min);
        if entry < LEAST_ENTRY {
            return Err(Degenerate::NegativeEntry { entry });
        }
        let strength = strongest[0].min(strongest[1]);
        if strength < LEAST_STRENGTH {
            return Err(Degenerate::WeakStain { strength });
        }
        Ok(self.staining)
    }
}

/// Covariance with divisor n − 1 (numpy's `cov`).
fn covariance(points: &[[f64; 3]]) -> [[f64; 3]; 3] {
    let count = points.len() as f64;
    let sum = points.iter().fold([0.0; 3], |sum, point| [0, 1, 2].map(|k| sum[k] + point[k]));
    let mean = sum.map(|sum| sum / count);
    let mut covariance = [[0.0; 3]; 3];
    for point in points {
        let from_mean = [0, 1, 2].map(|k| point[k] - mean[k]);
        for (row, a) in covariance.iter_mut().zip(from_mean) {
            for (sum, b) in row.iter_mut().zip(from_mean) {
                *sum += a * b;
            }
        }
    }
    covariance.map(|row| row.map(|sum| sum / (count - 1.0)))
}
