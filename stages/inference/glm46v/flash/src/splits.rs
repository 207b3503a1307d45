//! Into how many parts the keys of a sequence are cut, so that one query keeps a whole card busy.

/// Parts that are read side by side and then combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splits {
    /// The keys in one part: the same bits whatever else is asked in the call.
    One,
    /// As many as the card has room for.
    FillCard,
}

/// Keys that a thread block reads at once.
const TILE: usize = 32;
/// Tiles below which a part is not worth its share of the combining.
const LEAST_TILES: usize = 4;
/// The combining kernel takes no more.
const MOST: usize = 128;

impl Splits {
    /// Parts for `tasks` (sequences times key heads) of up to `keys` keys on a card of so many multiprocessors.
    #[cfg_attr(not(any(test, feature = "cuda")), expect(dead_code, reason = "only cards are filled"))]
    pub(crate) fn count(self, tasks: usize, keys: usize, multiprocessors: usize) -> usize {
        match self {
            Self::One => 1,
            Self::FillCard => {
                // Two blocks of 128 threads run on a multiprocessor at once.
                let wanted = (2 * multiprocessors) / tasks.max(1);
                let useful = keys.div_ceil(TILE).div_ceil(LEAST_TILES);
                wanted.min(useful).clamp(1, MOST)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_long_sequence_fills_the_card_and_a_full_batch_is_left_whole() {
        let on_h200 = |sequences: usize, keys| Splits::FillCard.count(2 * sequences, keys, 132);
        assert_eq!(on_h200(1, 2600), 21);
        assert_eq!(on_h200(1, 100_000), 128);
        assert_eq!(on_h200(8, 2600), 16);
        assert_eq!(on_h200(64, 2600), 2);
        assert_eq!(on_h200(132, 2600), 1);
        assert_eq!(on_h200(1000, 2600), 1);
        assert_eq!(on_h200(1, 5), 1);
        assert_eq!(Splits::One.count(2, 100_000, 132), 1);
    }
}
