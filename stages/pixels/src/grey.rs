//! From stored grey values to 8-bit display values, by one table for the whole clip.
//!
//! A window found frame by frame would make brightness flicker and would move every later threshold, so there is none:
//! without a window in the header 8-bit values are shown as they are, and deeper ones by their full stored range.

use dicom_dictionary_std::tags;
use schemas::ReasonCode;

use crate::{
    header::{SampleLayout, warning},
    prescan::Attributes,
};

/// VOI LUT Function (0028,1056), PS3.3 C.11.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Linear,
    LinearExact,
    Sigmoid,
}

/// Window and rescale of a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GreyScale {
    layout: SampleLayout,
    inverted: bool,
    slope: f64,
    intercept: f64,
    window: Option<(f64, f64, Shape)>,
}

impl GreyScale {
    pub(crate) fn read(
        attributes: &Attributes,
        layout: SampleLayout,
        inverted: bool,
        warnings: &mut Vec<ReasonCode>,
    ) -> Self {
        let slope = attributes.number(tags::RESCALE_SLOPE).unwrap_or(1.0);
        let intercept = attributes.number(tags::RESCALE_INTERCEPT).unwrap_or(0.0);
        let usable = |value: f64| value.is_finite() && value.abs() < 1e9;
        let (slope, intercept) = if usable(slope) && slope.abs() > 1e-9 && usable(intercept) {
            (slope, intercept)
        } else {
            warnings.push(warning::RESCALE_INVALID);
            (1.0, 0.0)
        };
        let window = window(attributes, warnings);
        Self { layout, inverted, slope, intercept, window }
    }

    /// The display value of every stored value: 256 or 65,536 entries.
    pub(crate) fn table(&self) -> Vec<u8> {
        (0..1_u32 << self.layout.bits_allocated).map(|raw| self.display(self.layout.value(raw))).collect()
    }

    fn display(&self, stored: i32) -> u8 {
        let value = f64::from(stored) * self.slope + self.intercept;
        let share = match self.window {
            // PS3.3 C.11.2.1.2.1: the ends are excluded by half a step.
            Some((center, width, Shape::Linear)) if width <= 1.0 => {
                if value <= center - 0.5 {
                    0.0
                } else {
                    1.0
                }
            }
            Some((center, width, Shape::Linear)) => (value - (center - 0.5)) / (width - 1.0) + 0.5,
            Some((center, width, Shape::LinearExact)) => (value - center) / width + 0.5,
            Some((center, width, Shape::Sigmoid)) => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
            None => {
                let (low, high) = self.layout.range();
                (f64::from(stored) - f64::from(low)) / (f64::from(high) - f64::from(low))
            }
        };
        let share = if self.inverted { 1.0 - share } else { share };
        (share.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
    }
}

fn window(attributes: &Attributes, warnings: &mut Vec<ReasonCode>) -> Option<(f64, f64, Shape)> {
    let centers = attributes.get(tags::WINDOW_CENTER)?.numbers();
    let widths = attributes.get(tags::WINDOW_WIDTH).and_then(crate::prescan::Value::numbers);
    let shape = match attributes.text(tags::VOILUT_FUNCTION).as_deref() {
        Some("SIGMOID") => Shape::Sigmoid,
        Some("LINEAR_EXACT") => Shape::LinearExact,
        _ => Shape::Linear,
    };
    // PS3.3 C.11.2.1.2: width at least 1 (LINEAR) or above 0.
    let least = if shape == Shape::Linear { 1.0 } else { f64::MIN_POSITIVE };
    let window = centers.zip(widths).filter(|(centers, widths)| centers.len() == widths.len()).and_then(
        |(centers, widths)| {
            let (center, width) = (*centers.first()?, *widths.first()?);
            (center.is_finite() && width.is_finite() && width >= least).then_some((center, width, shape))
        },
    );
    if window.is_none() {
        warnings.push(warning::WINDOW_INVALID);
    }
    window
}

impl SampleLayout {
    /// The stored value in a raw word: overlay bits cut off, sign extended (PS3.5 §8.1.1).
    pub(crate) fn value(self, raw: u32) -> i32 {
        let stored = u32::from(self.bits_stored);
        let value = (raw >> (u32::from(self.high_bit) + 1 - stored)) & ((1 << stored) - 1);
        let value = value.cast_signed();
        if self.signed && value >> (stored - 1) == 1 { value - (1 << stored) } else { value }
    }

    /// Least and greatest stored value.
    pub(crate) fn range(self) -> (i32, i32) {
        let span = 1 << self.bits_stored;
        if self.signed { (-span / 2, span / 2 - 1) } else { (0, span - 1) }
    }
}
