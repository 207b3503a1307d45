//! The best of scored places, apart from each other: no two overlap, every piece of tissue has its turn, and a place
//! near a chosen one counts for less.

/// Distance, in sides of a tile, within which a chosen place takes most of the worth of another.
const REACH: f64 = 3.0;

/// A place with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Left, top, width, height.
    pub(super) bbox: [u32; 4],
    /// Which piece of tissue.
    pub(super) piece: u32,
    /// How good, at least 0.
    pub(super) score: f64,
}

/// At most `most` places with their scores, in the order in which they were chosen. The best is always among them; a
/// place of score 0 only if there is no better. Of equals the first counts.
pub(super) fn spread(all: &[Candidate], most: usize) -> Vec<([u32; 4], f64)> {
    let mut chosen: Vec<Candidate> = Vec::new();
    // What a place is worth beside those chosen; those that overlap one are worth nothing.
    let mut nearest = vec![f64::INFINITY; all.len()];
    let mut served: Vec<u32> = Vec::new();
    while chosen.len() < most {
        // Pieces that have no tile yet go first.
        let next =
            best(all, &nearest, |one| !served.contains(&one.piece)).or_else(|| best(all, &nearest, |_| true));
        let next = next.or_else(|| all.first().copied().filter(|_| chosen.is_empty()));
        let Some(next) = next else { break };
        for (one, nearest) in all.iter().zip(&mut nearest) {
            *nearest = nearest.min(apart(one.bbox, next.bbox));
        }
        served.push(next.piece);
        chosen.push(next);
    }
    chosen.into_iter().map(|one| (one.bbox, one.score)).collect()
}

fn best(all: &[Candidate], nearest: &[f64], wanted: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
    let worth = |(one, nearest): (&Candidate, &f64)| one.score * (1.0 - (-(nearest / REACH).powi(2)).exp());
    let mut best: Option<(f64, Candidate)> = None;
    for pair in all.iter().zip(nearest).filter(|(one, _)| wanted(one)) {
        let worth = worth(pair);
        if worth > 0.0 && best.is_none_or(|(most, _)| worth > most) {
            best = Some((worth, *pair.0));
        }
    }
    best.map(|(_, one)| one)
}

/// Distance of the centres in sides of a tile; 0 where the places overlap.
fn apart(a: [u32; 4], b: [u32; 4]) -> f64 {
    let between = |axis: usize| {
        let side = f64::from(a[axis + 2].max(1));
        (f64::from(a[axis]) - f64::from(b[axis])).abs() / side
    };
    let (across, down) = (between(0), between(1));
    if across < 1.0 && down < 1.0 { 0.0 } else { across.hypot(down) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(left: u32, piece: u32, score: f64) -> Candidate {
        Candidate { bbox: [left, 0, 10, 10], piece, score }
    }

    fn lefts(all: &[Candidate], most: usize) -> Vec<u32> {
        spread(all, most).into_iter().map(|(bbox, _)| bbox[0]).collect()
    }

    #[test]
    fn the_best_goes_first_and_what_overlaps_it_never() {
        assert_eq!(lefts(&[at(0, 1, 0.5), at(5, 1, 0.9), at(14, 1, 0.8), at(15, 1, 0.1)], 4), [5, 15]);
    }

    #[test]
    fn every_piece_has_its_turn_before_a_second_tile_of_a_better_one() {
        let all = [at(0, 1, 0.9), at(20, 1, 0.8), at(40, 1, 0.7), at(100, 2, 0.1)];
        assert_eq!(lefts(&all, 2), [0, 100]);
        assert_eq!(lefts(&all, 9).len(), 4);
    }

    #[test]
    fn a_near_place_must_be_much_better_than_a_far_one() {
        assert_eq!(lefts(&[at(0, 1, 1.0), at(10, 1, 0.9), at(90, 1, 0.5)], 2), [0, 90]);
    }

    #[test]
    fn places_without_a_score_are_left_out_unless_there_is_nothing_else() {
        assert_eq!(lefts(&[at(0, 1, 0.0), at(50, 1, 0.2)], 2), [50]);
        assert_eq!(lefts(&[at(0, 1, 0.0), at(50, 1, 0.0)], 2), [0]);
        assert_eq!(lefts(&[], 2), Vec::<u32>::new());
    }
}
