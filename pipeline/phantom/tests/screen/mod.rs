//! The fan of one frame, and the plain measures that corruption moves.

use image::GrayImage;
use image::imageops::{FilterType, blur, crop_imm, resize};
use phantom::echo::Machine;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const PROBE: (f64, f64) = (320.0, 46.0);
const RADIUS: f64 = 386.0;

/// Grey values of a frame, with the pixels that belong to the fan.
pub(crate) struct Fan {
    screen: GrayImage,
    half_angle: f64,
}

impl Fan {
    pub(crate) fn decode(jpeg: &[u8], machine: &Machine) -> Self {
        let rgb = image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap().to_rgb8();
        Self::from_rgb(rgb.as_raw(), machine)
    }

    /// Green stands for grey: inside the fan all channels are equal.
    pub(crate) fn from_rgb(rgb: &[u8], machine: &Machine) -> Self {
        let green = rgb.chunks_exact(3).map(|pixel| pixel[1]).collect();
        let screen = GrayImage::from_raw(WIDTH, HEIGHT, green).unwrap();
        Self { screen, half_angle: machine.half_angle_deg.to_radians() }
    }

    /// (depth as a share of the fan, grey) of each pixel 5 px and more inside the fan.
    fn pixels(&self) -> impl Iterator<Item = (f64, u8)> + '_ {
        self.screen.enumerate_pixels().filter_map(|(x, y, grey)| {
            let (dx, dy) = (f64::from(x) - PROBE.0, f64::from(y) - PROBE.1);
            let range = dx.hypot(dy);
            let from_edge = (self.half_angle - dx.atan2(dy).abs()) * range;
            (from_edge > 5.0 && range < RADIUS - 5.0).then_some((range / RADIUS, grey.0[0]))
        })
    }

    pub(crate) fn share(&self, of: impl Fn(u8) -> bool) -> f64 {
        let (hits, all) =
            self.pixels().fold((0, 0), |(hits, all), (_, g)| (hits + u32::from(of(g)), all + 1));
        f64::from(hits) / f64::from(all)
    }

    pub(crate) fn mean(&self) -> f64 {
        let (sum, all) = self.pixels().fold((0.0, 0.0), |(sum, all), (_, g)| (sum + f64::from(g), all + 1.0));
        sum / all
    }

    pub(crate) fn mean_difference(&self, other: &Self) -> f64 {
        let pairs = self.pixels().zip(other.pixels());
        let (sum, all) = pairs
            .fold((0.0, 0.0), |(sum, all), ((_, a), (_, b))| (sum + f64::from(a.abs_diff(b)), all + 1.0));
        sum / all
    }

    /// Variance of the Laplacian where the fan is 256 px high, over its middle.
    pub(crate) fn sharpness(&self) -> f64 {
        let side = 256.0 / RADIUS;
        let fan = crop_imm(&self.screen, 160, 46, 320, 386).to_image();
        let small = resize(&fan, (320.0 * side) as u32, 256, FilterType::Triangle);
        let at = |x: u32, y: u32| f64::from(small.get_pixel(x, y).0[0]);
        let mut values = Vec::new();
        for y in 120..220 {
            for x in 60..small.width() - 60 {
                values.push(at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y));
            }
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
    }

    /// Mean grey of blood and of tissue: the two classes of Otsu (1979) after smoothing, σ 2.5 px in a fan 256 px high.
    pub(crate) fn classes(&self) -> (f64, f64) {
        let smooth = Self { screen: blur(&self.screen, 2.5 * RADIUS as f32 / 256.0), ..*self };
        let mut histogram = [0.0_f64; 256];
        smooth.pixels().for_each(|(_, grey)| histogram[usize::from(grey)] += 1.0);
        let class = |range: std::ops::Range<usize>| {
            let count: f64 = histogram[range.clone()].iter().sum();
            let sum: f64 = range.map(|grey| grey as f64 * histogram[grey]).sum();
            (count, sum / count.max(1.0))
        };
        let between = |threshold: usize| {
            let ((n0, m0), (n1, m1)) = (class(0..threshold), class(threshold..256));
            n0 * n1 * (m0 - m1).powi(2)
        };
        let threshold = (1..256).max_by(|a, b| between(*a).total_cmp(&between(*b))).unwrap();
        (class(0..threshold).1, class(threshold..256).1)
    }

    /// Share of dark pixels at the ventricles' depth.
    pub(crate) fn ventricular_blood(&self) -> f64 {
        let upper = || self.pixels().filter(|(depth, _)| (0.12..0.58).contains(depth));
        let threshold = self.mean() * 0.7;
        upper().filter(|(_, grey)| f64::from(*grey) < threshold).count() as f64 / upper().count() as f64
    }

    /// Share of pixels darker than tissue between two depths, as shares of the fan.
    pub(crate) fn dark_share(&self, depths: std::ops::Range<f64>) -> f64 {
        let smooth = Self { screen: blur(&self.screen, 4.0), ..*self };
        let band = || smooth.pixels().filter(|(depth, _)| depths.contains(depth));
        let threshold = 0.7 * self.mean();
        band().filter(|(_, grey)| f64::from(*grey) < threshold).count() as f64 / band().count() as f64
    }

    /// Share of bright pixels left and right of the fan.
    pub(crate) fn bright_outside(&self) -> f64 {
        let sides = || {
            self.screen.enumerate_pixels().filter(|(x, y, _)| (60..430).contains(y) && !(50..590).contains(x))
        };
        sides().filter(|(_, _, grey)| grey.0[0] > 10).count() as f64 / sides().count() as f64
    }
}
