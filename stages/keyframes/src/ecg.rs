//! R waves off the electrocardiogram that the machine draws into the picture.
//!
//! ```text
//!  strip ─▶ pixels of saturated hue ─▶ the hue that most have ─▶ one height for each column ─▶ R peaks (columns)
//!  columns to time:  the same trace in every frame    the whole clip from left to right
//!                    the trace moves to the left      the right end is now            (scrolling)
//!                    a gap moves to the right         the column before the gap is now (sweeping)
//! ```
//! A machine's calibration is not trusted blindly: what is found counts only where it agrees with the heartbeat seen in
//! the picture, which the caller checks.

use schemas::{BlobRef, FrameNumber};
use stage::{ClipHeader, EcgStrip, FrameError, Frames, Image, StageError};

use crate::{
    clock::Clock,
    peaks::{Demand, find_peaks},
};

/// Least distance between the largest and the smallest channel of a pixel of the trace.
const SATURATION: u8 = 60;
/// Hues are told apart in so many classes; the trace may spread into the two beside its own (JPEG).
const HUES: usize = 12;
/// Share of the columns that must show the trace.
const LEAST_COLUMNS: f64 = 0.5;
/// An R wave reaches this share of the trace's range.
const R_HEIGHT: f64 = 0.6;
/// Seconds between R waves, at least.
const R_DISTANCE_S: f64 = 0.3;
/// Traces are the same where their heights differ by at most so many pixels.
const SAME: f64 = 1.5;
/// Share of the columns that are the same in a trace that does not change, and between neighbouring frames of one that
/// moves.
const SAME_COLUMNS: f64 = 0.95;
const MOVED_COLUMNS: f64 = 0.6;
/// A trace of the whole clip is as long as the clip to within this share.
const WHOLE_CLIP: f64 = 0.05;

/// The R waves drawn in a clip, in milliseconds from its first frame; empty where none can be read off or placed in
/// time. Looks at three frames.
pub(crate) fn drawn_r_waves(
    header: &ClipHeader,
    instance: &BlobRef,
    frames: &dyn Frames,
    looked_at: usize,
) -> Result<Vec<f64>, StageError> {
    let clock = Clock::new(header, looked_at);
    let Some(last) = looked_at.checked_sub(1).filter(|last| *last >= 2) else { return Ok(Vec::new()) };
    let Some(end_ms) = clock.ms(last as f64) else { return Ok(Vec::new()) };
    let Some(newest) = strip(instance, frames, last)? else { return Ok(Vec::new()) };
    let Some(trace) = Trace::of(&newest.image) else { return Ok(Vec::new()) };
    let trace_before = |index: usize| -> Result<Option<Trace>, StageError> {
        Ok(strip(instance, frames, index)?.and_then(|strip| Trace::of(&strip.image)))
    };
    let (Some(oldest), Some(before)) = (trace_before(0)?, trace_before(last - 1)?) else {
        return Ok(Vec::new());
    };
    // A clip lasts from its first frame until the frame after its last one would come.
    let frame_ms = end_ms - clock.ms(last as f64 - 1.0).unwrap_or(end_ms);
    let clip = Moments { end_ms, frame_ms, seconds_per_pixel: newest.seconds_per_pixel };
    Ok(placed(&trace, &oldest, &before, &clip))
}

fn strip(instance: &BlobRef, frames: &dyn Frames, index: usize) -> Result<Option<EcgStrip>, StageError> {
    match frames.ecg(instance, FrameNumber::from_index(index as u32)) {
        Ok(strip) => Ok(strip),
        // A frame that does not decode shows no electrocardiogram; the pictures say so for themselves.
        Err(FrameError::Damaged { .. } | FrameError::NotAnalysable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// When the clip's frames are, and how long a pixel of its strip takes if the header says so.
struct Moments {
    end_ms: f64,
    frame_ms: f64,
    seconds_per_pixel: Option<f64>,
}

/// The R waves of `newest` in milliseconds of the clip, by how the trace moved since the `oldest` frame and the one
/// `before`.
fn placed(newest: &Trace, oldest: &Trace, before: &Trace, clip: &Moments) -> Vec<f64> {
    let columns = newest.heights.len() as f64;
    let length_ms = clip.end_ms + clip.frame_ms;
    let told = clip.seconds_per_pixel.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    let still = newest.same(before, 0);
    let time: Box<dyn Fn(f64) -> f64> = if still.min(newest.same(oldest, 0)) >= SAME_COLUMNS {
        let whole = length_ms / columns;
        if told.is_some_and(|seconds| (seconds * 1e3 / whole - 1.0).abs() > WHOLE_CLIP) {
            return Vec::new();
        }
        Box::new(move |column| (column + 0.5) * whole)
    } else {
        let Some(ms) = told.map(|seconds| seconds * 1e3) else { return Vec::new() };
        let moved = (clip.frame_ms / ms).round() as usize;
        let end_ms = clip.end_ms;
        // Between waves the line is flat, and looks the same where it stood and where it moved: the better one counts.
        let shifted = newest.same(before, moved);
        if still.max(shifted) < MOVED_COLUMNS {
            return Vec::new();
        }
        if still >= shifted {
            let Some(now) = newest.newest_since(before) else { return Vec::new() };
            // What lies to the right of now is left over from the last time round.
            let ago = move |column: f64| (now - column).rem_euclid(columns);
            Box::new(move |column| end_ms - ago(column) * ms)
        } else {
            Box::new(move |column| end_ms - (columns - 1.0 - column) * ms)
        }
    };
    let ms_per_pixel = told.map_or(length_ms / columns, |seconds| seconds * 1e3);
    let mut waves: Vec<f64> =
        newest.r_columns(R_DISTANCE_S * 1e3 / ms_per_pixel).into_iter().map(time).collect();
    waves.retain(|ms| (0.0..=clip.end_ms).contains(ms));
    waves.sort_by(f64::total_cmp);
    waves
}

/// The drawn line: for each column how high it is, in pixels above the lower edge.
#[derive(Debug, Clone, PartialEq)]
struct Trace {
    heights: Vec<Option<f64>>,
}

impl Trace {
    /// The line of the hue that most saturated pixels have; none where too few columns show it.
    fn of(image: &Image) -> Option<Self> {
        let width = image.width as usize;
        let (pixels, _) = image.rgb.as_chunks::<3>();
        let mut counts = [0_u32; HUES];
        pixels.iter().copied().filter_map(hue).for_each(|hue| counts[hue] += 1);
        let main = counts.iter().enumerate().rev().max_by_key(|(_, count)| **count).map(|(hue, _)| hue)?;
        let of_line = |hue: usize| [main, (main + 1) % HUES, (main + HUES - 1) % HUES].contains(&hue);
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); width];
        for (y, row) in pixels.chunks_exact(width.max(1)).enumerate() {
            for (lit, pixel) in rows.iter_mut().zip(row) {
                if hue(*pixel).is_some_and(of_line) {
                    lit.push(image.height - y as u32);
                }
            }
        }
        let middle = |lit: &Vec<u32>| lit.get(lit.len() / 2).map(|height| f64::from(*height));
        let heights: Vec<Option<f64>> = rows.iter().map(middle).collect();
        let shown = heights.iter().flatten().count();
        (shown as f64 >= LEAST_COLUMNS * width.max(1) as f64).then_some(Self { heights })
    }

    /// Share of the columns, where both show the line, in which this one is `moved` columns to the left of `other`.
    fn same(&self, other: &Self, moved: usize) -> f64 {
        let both = self.heights.iter().zip(other.heights.iter().skip(moved));
        let gaps: Vec<f64> = both.filter_map(|(a, b)| Some((a.as_ref()? - b.as_ref()?).abs())).collect();
        gaps.iter().filter(|gap| **gap <= SAME).count() as f64 / gaps.len().max(1) as f64
    }

    /// The last column of the longest run that was drawn since `before`; a run may go on at the left end.
    fn newest_since(&self, before: &Self) -> Option<f64> {
        let count = self.heights.len();
        let drawn = |column: usize| {
            let (now, then) = (self.heights.get(column).copied()?, before.heights.get(column).copied()?);
            Some(match (now, then) {
                (Some(now), Some(then)) => (now - then).abs() > SAME,
                (Some(_), None) => true,
                (None, _) => false,
            })
        };
        let drawn: Vec<bool> = (0..count).map(|column| drawn(column) == Some(true)).collect();
        // A few columns of the new stretch may happen to lie where the old line was: the end is the last drawn column
        // before the gap that the machine leaves, or before the old line.
        let ends = (0..count).filter(|column| drawn.get(*column) == Some(&true));
        let fresh_before = |end: usize| {
            (0..count / 4).filter(|back| drawn.get((end + count - back) % count) == Some(&true)).count()
        };
        ends.map(|end| (fresh_before(end), end))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, end)| end as f64)
    }

    /// Columns of the R waves, at least `distance` apart; none where the line is flat.
    fn r_columns(&self, distance: f64) -> Vec<f64> {
        let known: Vec<(usize, f64)> = self
            .heights
            .iter()
            .enumerate()
            .filter_map(|(column, height)| Some((column, (*height)?)))
            .collect();
        let (low, high) =
            known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, height)| {
                (low.min(*height), high.max(*height))
            });
        if high - low <= 2.0 * SAME {
            return Vec::new();
        }
        // A column without the line is as high as the last one with it; ends are padded, so that a peak there counts.
        let mut last = low;
        let mut line = vec![low];
        line.extend(self.heights.iter().map(|height| {
            last = height.unwrap_or(last);
            last
        }));
        line.push(low);
        let peaks = find_peaks(&line, Demand { distance: distance.max(1.0), prominence: 0.0 });
        let least = low + R_HEIGHT * (high - low);
        let high_enough = |index: &usize| line.get(*index).is_some_and(|height| *height >= least);
        peaks.into_iter().map(|peak| peak.index).filter(high_enough).map(|index| (index - 1) as f64).collect()
    }
}

/// The class of a pixel's hue; none where it is grey.
fn hue(pixel: [u8; 3]) -> Option<usize> {
    let [r, g, b] = pixel.map(f64::from);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let spread = most - least;
    if spread < f64::from(SATURATION) {
        return None;
    }
    let sixths = if most == r {
        (g - b) / spread
    } else if most == g {
        2.0 + (b - r) / spread
    } else {
        4.0 + (r - g) / spread
    };
    Some(((sixths.rem_euclid(6.0) / 6.0 * HUES as f64) as usize).min(HUES - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 300;
    const HEIGHT: usize = 40;
    const BEAT_MS: f64 = 800.0;
    const MS_PER_PIXEL: f64 = 10.0;

    /// An electrocardiogram with R waves at 200 ms and every 800 ms after, each with a T wave a third as high.
    fn level(ms: f64) -> f64 {
        let since = (ms - 200.0).rem_euclid(BEAT_MS);
        let bump = |at: f64, width: f64| (-0.5 * ((since - at) / width).powi(2)).exp();
        bump(0.0, 12.0) + bump(BEAT_MS, 12.0) + 0.33 * bump(260.0, 40.0)
    }

    /// A strip that shows at each column the moment that `moment` names; a gap where it names none.
    fn strip(moment: impl Fn(usize) -> Option<f64>) -> Image {
        let mut rgb = vec![0_u8; 3 * WIDTH * HEIGHT];
        let mut set = |x: usize, y: usize, colour: [u8; 3]| {
            rgb[3 * (y * WIDTH + x)..3 * (y * WIDTH + x) + 3].copy_from_slice(&colour);
        };
        for x in 0..WIDTH {
            // A grey grid line and, here and there, letters of another colour.
            set(x, HEIGHT - 1, [120; 3]);
            if x < 30 {
                set(x, 0, [250, 180, 20]);
            }
            if let Some(ms) = moment(x) {
                let row = HEIGHT - 4 - (level(ms) * (HEIGHT - 10) as f64) as usize;
                set(x, row, [20, 230, 60]);
                set(x, row + 1, [10, 200, 40]);
            }
        }
        Image { width: WIDTH as u32, height: HEIGHT as u32, rgb: rgb.into() }
    }

    fn trace(moment: impl Fn(usize) -> Option<f64>) -> Trace {
        Trace::of(&strip(moment)).expect("a line")
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1.5 * MS_PER_PIXEL, "{found} for {expected}");
        }
    }

    fn clip(end_ms: f64, seconds_per_pixel: Option<f64>) -> Moments {
        Moments { end_ms, frame_ms: 20.0, seconds_per_pixel }
    }

    #[test]
    fn a_still_trace_spans_the_whole_clip() {
        let still = trace(|x| Some(x as f64 * MS_PER_PIXEL));
        let whole = WIDTH as f64 * MS_PER_PIXEL - 20.0;
        for told in [None, Some(MS_PER_PIXEL / 1e3)] {
            near(&placed(&still, &still, &still, &clip(whole, told)), &[200.0, 1000.0, 1800.0, 2600.0]);
        }
        assert!(placed(&still, &still, &still, &clip(1500.0, Some(0.01))).is_empty(), "longer than the clip");
    }

    #[test]
    fn a_scrolling_trace_ends_now() {
        let at = |now: f64| trace(move |x| Some(now - (WIDTH - 1 - x) as f64 * MS_PER_PIXEL));
        let found = placed(&at(2000.0), &at(0.0), &at(1980.0), &clip(2000.0, Some(0.01)));
        near(&found, &[200.0, 1000.0, 1800.0]);
        assert!(
            placed(&at(2000.0), &at(0.0), &at(1980.0), &clip(2000.0, None)).is_empty(),
            "no time is told"
        );
    }

    #[test]
    fn a_sweeping_trace_ends_before_its_gap() {
        let at = |now: f64| {
            trace(move |x| {
                let now_column = (now / MS_PER_PIXEL) as usize % WIDTH;
                let ago = (now_column + WIDTH - x) % WIDTH;
                (ago < WIDTH - 8).then_some(now - ago as f64 * MS_PER_PIXEL)
            })
        };
        let found = placed(&at(2400.0), &at(0.0), &at(2380.0), &clip(2400.0, Some(0.01)));
        near(&found, &[200.0, 1000.0, 1800.0]);
    }

    #[test]
    fn a_strip_without_a_line_shows_no_waves() {
        let grey = Image { width: 10, height: 4, rgb: vec![90; 120].into() };
        assert_eq!(Trace::of(&grey), None);
        assert_eq!(Trace::of(&Image { width: 0, height: 0, rgb: Vec::new().into() }), None);
        let flat = Trace { heights: vec![Some(5.0); 50] };
        assert!(flat.r_columns(5.0).is_empty());
    }
}
