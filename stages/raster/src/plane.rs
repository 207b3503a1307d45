//! 8-bit planes, cut out of a picture and reduced by area.

use stage::Image;

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
    pub fn of_pixels(image: &Image, window: Window, value: impl Fn([u8; 3]) -> u8) -> Self {
        let (pixels, _) = image.rgb.as_chunks::<3>();
        let mut samples = Vec::with_capacity(window.width * window.height);
        for row in pixels.chunks_exact((image.width as usize).max(1)).skip(window.top).take(window.height) {
            samples.extend(row.iter().skip(window.left).take(window.width).map(|pixel| value(*pixel)));
        }
        Self::new(window.width, window.height, samples)
    }

    /// Luma inside `window`: BT.601 in the fixed point of OpenCV 4 and 5 (`cvtColor`, 15 bits).
    pub fn luma(image: &Image, window: Window) -> Self {
        Self::of_pixels(image, window, |[r, g, b]| {
            ((u32::from(r) * 9798 + u32::from(g) * 19235 + u32::from(b) * 3735 + 16384) >> 15) as u8
        })
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
        let rows = self.rows().skip(window.top).take(window.height);
        let samples = rows.flat_map(|row| row.iter().skip(window.left).take(window.width).copied()).collect();
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
        let (width, height) = (width.clamp(1, self.width.max(1)), height.clamp(1, self.height.max(1)));
        if (width, height) == (self.width, self.height) || self.samples.is_empty() {
            return self.clone();
        }
        let columns = Cover::list(self.width, width);
        let rows = Cover::list(self.height, height);
        let mut samples = Vec::with_capacity(width * height);
        let mut sums = vec![0.0_f32; self.width];
        for cover in &rows {
            sums.fill(0.0);
            for (offset, row) in self.rows().skip(cover.first).take(cover.count).enumerate() {
                let weight = cover.weight(offset);
                sums.iter_mut().zip(row).for_each(|(sum, sample)| *sum += weight * f32::from(*sample));
            }
            samples.extend(columns.iter().map(|column| {
                let part = sums.iter().skip(column.first).take(column.count).enumerate();
                let mean: f32 = part.map(|(offset, sum)| column.weight(offset) * sum).sum();
                mean.round() as u8
            }));
        }
        Self::new(width, height, samples)
    }

    /// Reduced so that the height is at most `height`, in proportion.
    #[must_use]
    pub fn reduced_to_height(&self, height: usize) -> Self {
        if self.height <= height {
            return self.clone();
        }
        let width = (self.width as f64 * height as f64 / self.height as f64).round() as usize;
        self.reduced(width.max(1), height)
    }
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
    fn a_window_outside_the_picture_means_the_whole_picture() {
        assert_eq!(Window::inside([9, 0, 4, 4], 4, 3).to_array(), [0, 0, 4, 3]);
    }
}
