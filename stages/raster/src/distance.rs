//! How far each pixel lies from the edge of its mask.

use crate::Mask;

/// The square of each pixel's distance to the nearest pixel outside the mask, in pixels; 0 outside. Exact
/// (Meijster 2000: two passes of whole numbers, linear in the pixels; scipy's `distance_transform_edt`).
///
/// What lies beyond the picture is no outside. Where nothing is outside, every distance is that to infinity, given as
/// [`u32::MAX`].
pub fn squared_distances(mask: &Mask) -> Vec<u32> {
    let (width, height) = (mask.width(), mask.height());
    let beyond = (width + height) as i64;
    let mut down = vec![0_i64; width * height];
    for x in 0..width {
        let mut column = ColumnPass { distance: beyond, beyond };
        for y in 0..height {
            let value = column.step(mask.contains(x, y));
            if let Some(slot) = down.get_mut(y * width + x) {
                *slot = value;
            }
        }
        column.distance = beyond;
        for y in (0..height).rev() {
            let value = column.step(mask.contains(x, y));
            if let Some(slot) = down.get_mut(y * width + x) {
                *slot = value.min(*slot);
            }
        }
    }
    let mut squared = Vec::with_capacity(down.len());
    let mut parabolas = Vec::with_capacity(width);
    for row in down.chunks_exact(width.max(1)) {
        lower_envelope(row, beyond, &mut parabolas, &mut squared);
    }
    squared
}

/// Steps along one column, counting from the last pixel outside.
struct ColumnPass {
    distance: i64,
    beyond: i64,
}

impl ColumnPass {
    fn step(&mut self, inside: bool) -> i64 {
        self.distance = if inside { (self.distance + 1).min(self.beyond) } else { 0 };
        self.distance
    }
}

/// One row of [`squared_distances`]: at `x` the smallest of `(x - i)^2 + column[i]^2`. `parabolas` keeps the candidates
/// `i`, each with the first `x` at which it is the smallest.
fn lower_envelope(column: &[i64], beyond: i64, parabolas: &mut Vec<(i64, i64, i64)>, out: &mut Vec<u32>) {
    let width = column.len() as i64;
    parabolas.clear();
    for (i, g) in (0_i64..).zip(column.iter().copied()) {
        let mut from = 0;
        while let Some(&(j, h, first)) = parabolas.last() {
            // The new parabola lies below the old one right of this x.
            from = (i * i - j * j + g * g - h * h).div_euclid(2 * (i - j)) + 1;
            if from > first {
                break;
            }
            parabolas.pop();
            from = 0;
        }
        if from < width {
            parabolas.push((i, g, from));
        }
    }
    let mut last = width;
    let start = out.len();
    out.resize(start + column.len(), 0);
    while let Some((i, g, first)) = parabolas.pop() {
        for x in first..last {
            let squared = if g >= beyond { u32::MAX } else { ((x - i) * (x - i) + g * g) as u32 };
            if let Some(slot) = out.get_mut(start + x as usize) {
                *slot = squared;
            }
        }
        last = last.min(first);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distances_of_a_picture_wholly_inside_are_infinite() {
        assert_eq!(squared_distances(&Mask::new(3, 2, vec![true; 6])), [u32::MAX; 6]);
        assert_eq!(squared_distances(&Mask::new(0, 0, Vec::new())), [0_u32; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_distance_is_the_smallest_to_any_pixel_outside(
            width in 1_usize..14, inside in proptest::collection::vec(proptest::bool::weighted(0.8), 1..140)
        ) {
            let height = inside.len().div_ceil(width);
            let mask = Mask::new(width, height, inside);
            let outside: Vec<(i64, i64)> = (0..width * height)
                .filter(|i| !mask.inside()[*i])
                .map(|i| ((i % width) as i64, (i / width) as i64))
                .collect();
            let brute = |i: usize| {
                let (x, y) = ((i % width) as i64, (i / width) as i64);
                outside.iter().map(|(a, b)| ((a - x).pow(2) + (b - y).pow(2)) as u32).min().unwrap_or(u32::MAX)
            };
            let expected: Vec<u32> = (0..width * height).map(brute).collect();
            prop_assert_eq!(squared_distances(&mask), expected);
        }
    }
}
