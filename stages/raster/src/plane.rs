//! 8-bit planes, cut out of a picture and reduced by area.

use schemas::{BlobRef, FrameNumber};
use stage::{ClipHeader, FrameError, Frames, Image, Thumbnail};

/// A part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// `[left, top, width, height]` as a clip header says it, cut to a picture of `columns` by `rows`; the whole
    /// picture where nothing of the window lies inside.
    pub fn inside([left, top, width, height]: [u32; 4], columns: u32, rows: u32) -> Self {
        let (left, top) = (left.min(columns), top.min(rows));
        let (width, height) = (width.min(columns - left), height.min(rows - top));
        if width == 0 || height == 0 {
            return Self { left: 0, top: 0, width: columns as usize, height: rows as usize };
        }
        Self { left: left as usize, top: top as usize, width: width as usize, height: height as usize }
    }

    /// The same window as `[left, top, width, height]`.
    pub fn to_array(self) -> [u32; 4] {
        [self.left as u32, self.top as u32, self.width as u32, self.height as u32]
    }
}

/// One 8-bit sample for each pixel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl Plane {
    /// A plane over `samples`; missing ones are black, surplus ones dropped.
    pub fn new(width: usize, height: usize, mut samples: Vec<u8>) -> Self {
        let (width, height) = if width == 0 || height == 0 { (0, 0) } else { (width, height) };
        samples.resize(width * height, 0);
        Self { width, height, samples }
    }

    /// `value` of each pixel of `image` inside `window`.
    pub fn of_pixels(image: &Image, window: Window, mut value: impl FnMut([u8; 3]) -> u8) -> Self {
        let mut samples = Vec::with_capacity(window.width * window.height);
        for y in 0..window.height {
            samples.extend(pixels(image, window, y).iter().map(|pixel| value(*pixel)));
        }
        Self::new(window.width, window.height, samples)
    }

    /// Luma inside `window`: BT.601 in the fixed point of OpenCV 4 and 5 (`cvtColor`, 15 bits).
    pub fn luma(image: &Image, window: Window) -> Self {
        let mut samples = vec![0; window.width * window.height];
        for (y, row) in samples.chunks_exact_mut(window.width.max(1)).enumerate() {
            luma_row(pixels(image, window, y), row);
        }
        Self::new(window.width, window.height, samples)
    }

    /// [`Self::luma`], then [`Self::reduced_to_height`]; only one row is held at full size.
    pub fn luma_reduced_to_height(image: &Image, window: Window, height: usize) -> Self {
        if window.height <= height || window.width == 0 {
            return Self::luma(image, window);
        }
        let size = (window.width, window.height);
        reduced(size, at_height(size, height), |y, row| luma_row(pixels(image, window, y), row))
    }

    /// The luma of what is visible of one frame of the clip, reduced to at most `height` rows. Where the frame has not
    /// the size that the header says, of all of it.
    ///
    /// # Errors
    /// As [`Frames::frame`].
    pub fn thumbnail(
        frames: &dyn Frames,
        instance: &BlobRef,
        header: &ClipHeader,
        (number, height): (FrameNumber, usize),
    ) -> Result<Self, FrameError> {
        if let Some(Thumbnail { width, height, luma }) = frames.thumbnail(instance, number, height as u32)? {
            return Ok(Self::new(width as usize, height as usize, luma.to_vec()));
        }
        let image = frames.frame(instance, number)?.image;
        let window = Window::inside(header.visible, image.width, image.height);
        Ok(Self::luma_reduced_to_height(&image, window, height))
    }

    /// The distance between the largest and the smallest channel inside `window`: 0 where a pixel is grey.
    pub fn colourfulness(image: &Image, window: Window) -> Self {
        Self::of_pixels(image, window, |[r, g, b]| r.max(g).max(b) - r.min(g).min(b))
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All samples, row by row.
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// The rows from the top.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.samples.chunks_exact(self.width.max(1))
    }

    /// The sample of each pixel mapped by `value`.
    #[must_use]
    pub fn map(&self, value: impl Fn(u8) -> u8) -> Self {
        Self {
            width: self.width,
            height: self.height,
            samples: self.samples.iter().map(|s| value(*s)).collect(),
        }
    }

    /// The part inside `window`.
    #[must_use]
    pub fn crop(&self, window: Window) -> Self {
        let mut samples = Vec::with_capacity(window.width * window.height);
        for row in self.rows().skip(window.top).take(window.height) {
            let end = (window.left + window.width).min(row.len());
            samples.extend_from_slice(row.get(window.left.min(end)..end).unwrap_or_default());
        }
        Self::new(window.width, window.height, samples)
    }

    /// Raises each sample to that of `other` where it is larger. Planes of another size change nothing.
    pub fn raise_to(&mut self, other: &Self) {
        if (self.width, self.height) == (other.width, other.height) {
            self.samples
                .iter_mut()
                .zip(&other.samples)
                .for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
        }
    }

    /// Reduced to `width` by `height`, each sample the mean of the area it covers, rounded (OpenCV `INTER_AREA`).
    /// A side is never enlarged.
    #[must_use]
    pub fn reduced(&self, width: usize, height: usize) -> Self {
        let size = (width.clamp(1, self.width.max(1)), height.clamp(1, self.height.max(1)));
        if size == (self.width, self.height) || self.samples.is_empty() {
            return self.clone();
        }
        reduced((self.width, self.height), size, |y, row| {
            let from = y * self.width;
            let source = self.samples.get(from..).unwrap_or_default();
            row.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        })
    }

    /// Reduced so that the height is at most `height`, in proportion.
    #[must_use]
    pub fn reduced_to_height(&self, height: usize) -> Self {
        if self.height <= height {
            return self.clone();
        }
        let (width, height) = at_height((self.width, self.height), height);
        self.reduced(width, height)
    }
}

/// Width and height in proportion to those of `size`.
fn at_height((width, height): (usize, usize), target: usize) -> (usize, usize) {
    let across = (width as f64 * target as f64 / height as f64).round() as usize;
    (across.clamp(1, width.max(1)), target.max(1))
}

/// The pixels of row `y` of `window`; fewer where the picture ends.
fn pixels(image: &Image, window: Window, y: usize) -> &[[u8; 3]] {
    let (pixels, _) = image.rgb.as_chunks::<3>();
    let width = image.width as usize;
    let row = (window.top + y) * width;
    let (from, to) = (window.left.min(width), (window.left + window.width).min(width));
    pixels.get(row + from..row + to).unwrap_or_default()
}

/// Pixels looked at together: their bytes fill whole vectors of a processor.
const RUN: usize = 16;
/// Marks the bytes of a run that belong to the same pixel as the next byte: red and green, not blue.
const NOT_LAST: [u8; 3 * RUN] = {
    let mut marks = [0xff; 3 * RUN];
    let mut pixel = 0;
    while pixel < RUN {
        marks[3 * pixel + 2] = 0;
        pixel += 1;
    }
    marks
};

/// The luma of `pixels`, one for each. The weights sum to 1, so a grey pixel is its own luma; an ultrasound picture is
/// grey almost everywhere, and a run of pixels is asked for that much faster than it is weighed.
fn luma_row(pixels: &[[u8; 3]], levels: &mut [u8]) {
    let luma = |[r, g, b]: [u8; 3]| {
        ((u32::from(r) * 9798 + u32::from(g) * 19235 + u32::from(b) * 3735 + 16384) >> 15) as u8
    };
    let bytes = pixels.as_flattened();
    let (runs, _) = pixels.as_chunks::<RUN>();
    let (here, _) = bytes.as_chunks::<{ 3 * RUN }>();
    let (next, _) = bytes.get(1..).unwrap_or_default().as_chunks::<{ 3 * RUN }>();
    let (targets, _) = levels.as_chunks_mut::<RUN>();
    for (((run, here), next), levels) in runs.iter().zip(here).zip(next).zip(targets) {
        let pairs = here.iter().zip(next).zip(&NOT_LAST);
        let colour = pairs.fold(0, |any, ((here, next), mark)| any | ((here ^ next) & mark));
        *levels = if colour == 0 { run.map(|[level, ..]| level) } else { run.map(luma) };
    }
    // What fills no run, and the last run where nothing comes after it.
    let done = RUN * next.len();
    let rest = pixels.iter().zip(levels.iter_mut()).skip(done);
    rest.for_each(|(pixel, level)| *level = luma(*pixel));
}

/// A picture of `from` reduced to `to` (width, height; no side enlarged or 0), its rows read in order, each once, by
/// `read`.
fn reduced(from: (usize, usize), to: (usize, usize), mut read: impl FnMut(usize, &mut [u8])) -> Plane {
    let columns = Cover::list(from.0, to.0);
    let mut samples = Vec::with_capacity(to.0 * to.1);
    let mut row = vec![0_u8; from.0];
    let mut held = None;
    let mut sums = vec![0.0_f32; from.0];
    for cover in Cover::list(from.1, to.1) {
        sums.fill(0.0);
        for offset in 0..cover.count {
            // The last row under one sample may be the first under the next.
            let y = cover.first + offset;
            if held.replace(y) != Some(y) {
                row.fill(0);
                read(y, &mut row);
            }
            let weight = cover.weight(offset);
            sums.iter_mut().zip(&row).for_each(|(sum, sample)| *sum += weight * f32::from(*sample));
        }
        // Means are not negative: cutting off a half more is rounding.
        samples.extend(columns.iter().map(|column| (column.mean(&sums) + 0.5) as u8));
    }
    Plane::new(to.0, to.1, samples)
}

/// The source samples under one target sample, with their weights (sum 1).
struct Cover {
    first: usize,
    count: usize,
    /// Weights of the first, the inner and the last source sample.
    weights: [f32; 3],
}

impl Cover {
    fn list(source: usize, target: usize) -> Vec<Self> {
        let scale = source as f64 / target as f64;
        let cover = |index: usize| {
            let (from, to) = (index as f64 * scale, ((index + 1) as f64 * scale).min(source as f64));
            let first = from.floor() as usize;
            let last = ((to.ceil() as usize).max(first + 1) - 1).min(source - 1);
            let span = to - from;
            let head = ((first + 1) as f64).min(to) - from;
            let tail = to - (last as f64).max(from);
            Self {
                first,
                count: last - first + 1,
                weights: [(head / span) as f32, (1.0 / span) as f32, (tail / span) as f32],
            }
        };
        (0..target).map(cover).collect()
    }

    /// The weighted mean of the samples covered in `line`.
    fn mean(&self, line: &[f32]) -> f32 {
        let [head, inner, tail] = self.weights;
        match line.get(self.first..self.first + self.count) {
            Some([first, between @ .., last]) => {
                between.iter().fold(head * first, |sum, sample| sum + inner * sample) + tail * last
            }
            Some([only]) => head * only,
            _ => 0.0,
        }
    }

    fn weight(&self, offset: usize) -> f32 {
        let [head, inner, tail] = self.weights;
        if offset == 0 {
            head
        } else if offset + 1 == self.count {
            tail
        } else {
            inner
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_plane_keeps_its_mean_and_weighs_cut_samples() {
        let plane = Plane::new(5, 2, vec![0, 50, 100, 150, 200, 0, 50, 100, 150, 200]);
        // 5 to 2 columns: each covers 2.5 samples.
        assert_eq!(plane.reduced(2, 1).samples(), [40, 160]);
        assert_eq!(plane.reduced(5, 1).samples(), [0, 50, 100, 150, 200]);
        assert_eq!(plane.reduced(50, 20), plane, "a plane is never enlarged");
    }

    #[test]
    fn luma_of_a_window_equals_the_luma_of_the_picture_there() {
        let rgb: Vec<u8> = (0..4 * 3 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let image = Image { width: 4, height: 3, rgb: rgb.into() };
        let window = Window::inside([1, 1, 9, 9], 4, 3);
        assert_eq!(window, Window { left: 1, top: 1, width: 3, height: 2 });
        let whole = Plane::luma(&image, Window { left: 0, top: 0, width: 4, height: 3 });
        assert_eq!(Plane::luma(&image, window), whole.crop(window));
    }

    #[test]
    fn luma_is_weighed_alike_in_grey_runs_coloured_ones_and_what_is_left_over() {
        for (width, coloured) in [(16, 99), (16, 15), (32, 16), (47, 20), (64, 63), (100, 47), (5, 2), (1, 0)]
        {
            let pixel = |x: usize| if x == coloured { [10, 200, 90] } else { [(x * 5 % 256) as u8; 3] };
            let weighed = |[r, g, b]: [u8; 3]| {
                ((u32::from(r) * 9798 + u32::from(g) * 19235 + u32::from(b) * 3735 + 16384) >> 15) as u8
            };
            let image = Image { width: width as u32, height: 1, rgb: (0..width).flat_map(pixel).collect() };
            let expected: Vec<u8> = (0..width).map(|x| weighed(pixel(x))).collect();
            let window = Window { left: 0, top: 0, width, height: 1 };
            assert_eq!(
                Plane::luma(&image, window).samples(),
                expected,
                "{width} pixels, {coloured} in colour"
            );
        }
        for channel in 0..3 {
            let mut rgb = [77_u8; 3 * 40];
            rgb[3 * 7 + channel] = 200;
            let image = Image { width: 40, height: 1, rgb: rgb.to_vec().into() };
            let luma = Plane::luma(&image, Window { left: 0, top: 0, width: 40, height: 1 });
            assert_ne!(luma.samples()[7], 77, "one channel off is colour");
        }
    }

    #[test]
    fn luma_reduced_row_by_row_equals_the_luma_reduced_as_a_whole() {
        let rgb: Vec<u8> = (0..90 * 70 * 3_u64).map(|i| (i * i * 31 % 251) as u8).collect();
        let image = Image { width: 90, height: 70, rgb: rgb.into() };
        let window = Window { left: 7, top: 3, width: 81, height: 61 };
        for height in [1, 13, 20, 60, 61, 200] {
            let whole = Plane::luma(&image, window).reduced_to_height(height);
            assert_eq!(Plane::luma_reduced_to_height(&image, window, height), whole, "to {height} rows");
        }
    }

    #[test]
    fn a_window_outside_the_picture_means_the_whole_picture() {
        assert_eq!(Window::inside([9, 0, 4, 4], 4, 3).to_array(), [0, 0, 4, 3]);
    }
}
