//! Which token comes next, and when it is no use to go on. Pure functions of ids and scores.

/// The id with the highest score; of equal scores the lowest id. `None` where a score is not finite, or there is none.
pub(crate) fn greedy(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, score) in (0..).zip(logits) {
        if !score.is_finite() {
            return None;
        }
        if best.is_none_or(|(_, highest)| *score > highest) {
            best = Some((id, *score));
        }
    }
    best.map(|(id, _)| id)
}

/// When an answer that repeats itself is cut off: greedy decoding never leaves a loop by itself, it only fills
/// `max_new_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepetitionStop {
    /// Never.
    Off,
    /// When the last so many tokens are one block, of at most a quarter of them, over and over. At least 8.
    Window(usize),
}

impl RepetitionStop {
    /// 64 tokens: long enough for lists of equal numbers in a JSON answer.
    pub const DEFAULT: Self = Self::Window(64);

    /// Whether the ids generated so far end in a loop.
    pub fn is_looping(self, ids: &[u32]) -> bool {
        let Self::Window(window) = self else { return false };
        let window = window.max(8);
        let Some(tail) = ids.len().checked_sub(window).and_then(|start| ids.get(start..)) else {
            return false;
        };
        (1..=window / 4).any(|period| tail.iter().skip(period).eq(tail.iter().take(window - period)))
    }
}
