//! The ultrasound sector: the pixels the transducer looks at.

use crate::{Mask, Plane};

/// Grey levels at or below which a pixel that never rises is outside the fan.
const BACKGROUND: u8 = 10;
/// Half the side of the square that closes gaps between speckles.
const CLOSING_REACH: usize = 3;

/// The fan in `brightest`, each pixel's largest value over the clip: brighter than background, gaps closed, the
/// largest component, its convex hull. Meant for planes of 100 to 300 rows.
pub fn fan(brightest: &Plane) -> Mask {
    Mask::of(brightest, |sample| sample > BACKGROUND)
        .dilated(CLOSING_REACH)
        .eroded(CLOSING_REACH)
        .largest_component()
        .convex_hull()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speckled_wedge_is_found_whole_and_a_caption_beside_it_is_not() {
        let (width, height) = (160, 120);
        let wedge = |x: usize, y: usize| (10..110).contains(&y) && x.abs_diff(80) * 100 <= (y - 10) * 60;
        let sample = |index: usize| {
            let (x, y) = (index % width, index / width);
            let speckle = (x * 7 + y * 13) % 5 != 0;
            let caption = y > 112 && x < 20;
            u8::from((wedge(x, y) && speckle) || caption) * 90
        };
        let found = fan(&Plane::new(width, height, (0..width * height).map(sample).collect()));
        let truth: Vec<bool> = (0..width * height).map(|index| wedge(index % width, index / width)).collect();
        let both = found.inside().iter().zip(&truth).filter(|(a, b)| **a && **b).count();
        let either = found.inside().iter().zip(&truth).filter(|(a, b)| **a || **b).count();
        assert!(both as f64 / either as f64 > 0.95, "intersection over union {both}/{either}");
        assert!(!found.contains(5, 115));
    }
}
