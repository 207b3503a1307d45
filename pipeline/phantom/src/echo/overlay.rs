//! What the machine burns into the picture: identity text, the word PHANTOM, the electrocardiogram.

use super::cycle::Cycle;
use super::font;
use super::scan::{HEIGHT, WIDTH};

/// Top row of the electrocardiogram.
pub(crate) const ECG_TOP: usize = 438;
/// Bottom row of the electrocardiogram, inclusive.
pub(crate) const ECG_BOTTOM: usize = 476;
/// Leftmost column of the electrocardiogram.
pub(crate) const ECG_LEFT: usize = 40;
/// Rightmost column of the electrocardiogram, inclusive.
pub(crate) const ECG_RIGHT: usize = 599;

pub(crate) type Rgb = [u8; 3];
const TEXT: Rgb = [190, 200, 210];
const WARNING: Rgb = [255, 200, 0];
const TRACE: Rgb = [0, 230, 60];
const CURSOR: Rgb = [200, 200, 200];
/// Behind letters; not quite black, so that snow leaves them readable.
const BACKING: Rgb = [4, 4, 4];

/// A screen of RGB pixels, interleaved, row by row.
#[derive(Clone)]
pub(crate) struct Screen {
    pub(crate) rgb: Vec<u8>,
}

impl Screen {
    pub(crate) fn black() -> Self {
        Self { rgb: vec![0; WIDTH * HEIGHT * 3] }
    }

    fn set(&mut self, x: usize, y: usize, colour: Rgb) {
        if x < WIDTH && y < HEIGHT {
            let at = (y * WIDTH + x) * 3;
            self.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Text whose top left corner is (x, y), dots of `dot` × `dot` pixels. Characters the font lacks are blank.
    fn text(&mut self, (x, y): (usize, usize), dot: usize, text: &str, colour: Rgb) {
        for (index, letter) in text.chars().enumerate() {
            let letter = font::columns(letter);
            let left = x + index * (font::COLUMNS + 1) * dot;
            for (dx, dy) in
                (0..=font::COLUMNS * dot).flat_map(|dx| (0..=font::ROWS * dot).map(move |dy| (dx, dy)))
            {
                let lit = letter.get(dx / dot).is_some_and(|bits| bits >> (dy / dot) & 1 == 1);
                self.set(left + dx, y + dy, if lit { colour } else { BACKING });
            }
        }
    }

    /// The lines above the sector: who this is said to be, and that it is nobody.
    pub(crate) fn annotate(&mut self, identity: [&str; 2], settings: [&str; 2]) {
        self.text((8, 6), 1, identity[0], TEXT);
        self.text((8, 18), 1, identity[1], TEXT);
        self.text((WIDTH - 190, 6), 1, settings[0], TEXT);
        self.text((WIDTH - 190, 18), 1, settings[1], TEXT);
        self.text((8, 32), 2, "PHANTOM", WARNING);
    }

    /// A line of large text.
    pub(crate) fn line(&mut self, at: (usize, usize), text: &str) {
        self.text(at, 2, text, TEXT);
    }

    /// The whole clip's electrocardiogram, one column per `duration / width`.
    pub(crate) fn electrocardiogram(&mut self, cycle: &Cycle, duration_ms: f64) {
        let columns = ECG_RIGHT - ECG_LEFT + 1;
        // R peaks at the top, S just above the bottom.
        let row = |t_ms: f64| {
            let height = (cycle.ecg(t_ms) + 0.3) / 1.35;
            let span = (ECG_BOTTOM - ECG_TOP) as f64;
            ECG_BOTTOM - (span * height.clamp(0.0, 1.0)).round() as usize
        };
        let step_ms = duration_ms / columns as f64;
        for column in 0..columns {
            let (from, to) = (row(column as f64 * step_ms), row((column + 1) as f64 * step_ms));
            for y in from.min(to)..=from.max(to) {
                self.set(ECG_LEFT + column, y, TRACE);
            }
        }
    }

    /// A tick under the trace at `share` (0..1) of the clip.
    pub(crate) fn cursor(&mut self, share: f64) {
        let x = ECG_LEFT + (share * (ECG_RIGHT - ECG_LEFT) as f64) as usize;
        (ECG_BOTTOM..HEIGHT).for_each(|y| self.set(x, y, CURSOR));
    }

    /// Writes a colour into one pixel.
    pub(crate) fn set_colour(&mut self, index: usize, colour: Rgb) {
        self.rgb[index * 3..index * 3 + 3].copy_from_slice(&colour);
    }

    /// Writes grey into one pixel.
    pub(crate) fn set_grey(&mut self, index: usize, grey: u8) {
        self.rgb[index * 3..index * 3 + 3].fill(grey);
    }

    /// Writes grey wherever nothing is drawn yet.
    pub(crate) fn fill_black(&mut self, grey: &[u8]) {
        for (pixel, &grey) in self.rgb.chunks_exact_mut(3).zip(grey) {
            if *pixel == [0, 0, 0] {
                pixel.fill(grey);
            }
        }
    }
}
