//! A picture as a landscape of whole-number heights: its summits, and the valleys around marked places.
//!
//! Neighbours are the four beside a pixel. Heights are whole numbers so that equal means equal on every machine; a
//! caller with fractions scales them first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::Mask;

/// Heights of the pixels of a picture, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relief {
    width: usize,
    heights: Vec<i32>,
}

impl Relief {
    /// Over `heights`, rows `width` long.
    pub fn new(width: usize, heights: Vec<i32>) -> Self {
        Self { width: width.max(1), heights }
    }

    /// The tops of the summits that rise at least `h` above the saddle to a higher one (scikit-image's `h_maxima` with
    /// a cross as footprint).
    pub fn summits(&self, h: i32) -> Mask {
        let rebuilt = self.rebuilt(h);
        let inside = self.heights.iter().zip(&rebuilt).map(|(height, level)| height - level >= h).collect();
        Mask::new(self.width, self.heights.len() / self.width, inside)
    }

    /// Reconstruction by dilation of the relief lowered by `h` under the relief (Vincent 1993, the hybrid algorithm):
    /// every summit loses `h`, or what it rises above its saddle if that is less.
    fn rebuilt(&self, h: i32) -> Vec<i32> {
        let mut level: Vec<i32> = self.heights.iter().map(|height| height.saturating_sub(h)).collect();
        let count = level.len();
        for index in 0..count {
            let [up, left, ..] = self.neighbours(index);
            self.raise(&mut level, index, [up, left]);
        }
        let mut open = VecDeque::new();
        for index in (0..count).rev() {
            let [.., right, down] = self.neighbours(index);
            self.raise(&mut level, index, [right, down]);
            if [right, down].into_iter().flatten().any(|next| self.may_rise(&level, next, index)) {
                open.push_back(index);
            }
        }
        while let Some(index) = open.pop_front() {
            for next in self.neighbours(index).into_iter().flatten() {
                if self.may_rise(&level, next, index) {
                    let raised = at(&level, index).min(at(&self.heights, next));
                    if let Some(slot) = level.get_mut(next) {
                        *slot = raised;
                    }
                    open.push_back(next);
                }
            }
        }
        level
    }

    /// Raises a pixel to the highest of `from`, not above its own height.
    fn raise(&self, level: &mut [i32], index: usize, from: [Option<usize>; 2]) {
        let highest = from.into_iter().flatten().map(|other| at(level, other)).max().unwrap_or(i32::MIN);
        let bound = at(&self.heights, index);
        if let Some(slot) = level.get_mut(index) {
            *slot = highest.max(*slot).min(bound);
        }
    }

    fn may_rise(&self, level: &[i32], index: usize, from: usize) -> bool {
        let own = at(level, index);
        own < at(level, from) && own < at(&self.heights, index)
    }

    /// Floods the relief from `markers` (0 = none), lowest places first, inside `within`: each pixel takes the marker
    /// whose water reaches it first, 0 where none does. Pixels of one height are taken in the order in which the water
    /// came beside them, so the result depends on nothing else (Meyer 1994; scikit-image's `watershed`).
    pub fn flooded(&self, markers: &[u32], within: &Mask) -> Vec<u32> {
        let mut labels: Vec<u32> = within
            .inside()
            .iter()
            .zip(markers)
            .map(|(inside, marker)| if *inside { *marker } else { 0 })
            .collect();
        labels.resize(self.heights.len(), 0);
        let mut shore: BinaryHeap<Reverse<(i32, u64, usize)>> = labels
            .iter()
            .enumerate()
            .filter(|(_, label)| **label != 0)
            .map(|(index, _)| Reverse((at(&self.heights, index), 0, index)))
            .collect();
        let mut age = 0_u64;
        while let Some(Reverse((_, _, index))) = shore.pop() {
            let label = labels.get(index).copied().unwrap_or(0);
            for next in self.neighbours(index).into_iter().flatten() {
                let open = within.inside().get(next) == Some(&true);
                if let Some(slot) = labels.get_mut(next).filter(|slot| open && **slot == 0) {
                    *slot = label;
                    age += 1;
                    shore.push(Reverse((at(&self.heights, next), age, next)));
                }
            }
        }
        labels
    }

    /// Up, left, right, down.
    fn neighbours(&self, index: usize) -> [Option<usize>; 4] {
        let x = index % self.width;
        [
            index.checked_sub(self.width),
            (x > 0).then(|| index - 1),
            (x + 1 < self.width && index + 1 < self.heights.len()).then_some(index + 1),
            (index + self.width < self.heights.len()).then_some(index + self.width),
        ]
    }
}

fn at(values: &[i32], index: usize) -> i32 {
    values.get(index).copied().unwrap_or(i32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summit_counts_by_its_rise_above_the_saddle() {
        // Summits of 9, 7 and 4; saddles of 5 and 3.
        let relief = Relief::new(9, vec![0, 4, 9, 5, 7, 3, 4, 3, 0]);
        let tops = |h| {
            let mask = relief.summits(h);
            (0..9).filter(|x| mask.contains(*x, 0)).collect::<Vec<_>>()
        };
        assert_eq!(tops(1), [2, 4, 6]);
        assert_eq!(tops(2), [2, 4]);
        assert_eq!(tops(3), [2]);
    }

    #[test]
    fn water_from_two_markers_meets_on_the_ridge_and_stays_inside() {
        let relief = Relief::new(7, vec![0, 1, 2, 5, 2, 1, 0]);
        let within = Mask::new(7, 1, vec![true, true, true, true, true, true, false]);
        assert_eq!(relief.flooded(&[1, 0, 0, 0, 0, 2, 0], &within), [1, 1, 1, 2, 2, 2, 0]);
        assert_eq!(relief.flooded(&[0; 7], &within), [0; 7]);
    }
}
