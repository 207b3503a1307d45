//! The ejection fraction on its scale of 0 to 100 percent, as a drawing: the bands behind, the interval, the contours, the
//! model's value last.
//!
//! Colours come from the stylesheet by class: the pages allow no inline style.

use maud::{Markup, html};
use schemas::EfEstimate;

use crate::words::Words;

/// Where the bands begin, in percent: reduced, mildly reduced, preserved (universal definition of heart failure, 2021).
const BANDS: [(&str, f64, f64); 3] =
    [("reduced", 0.0, 40.5), ("mild", 40.5, 49.5), ("preserved", 49.5, 100.0)];

/// The middle of each band, where its name stands.
const MIDDLES: [f64; 3] = [20.0, 45.0, 75.0];

/// Units of the drawing for one percent.
const UNIT: f64 = 8.0;
/// Room left and right for the outermost numbers.
const MARGIN: f64 = 20.0;

fn x(percent: f64) -> f64 {
    MARGIN + percent.clamp(0.0, 100.0) * UNIT
}

pub(super) fn scale(ef: &EfEstimate, words: &Words) -> Markup {
    let names = [words.band_reduced, words.band_mild, words.band_preserved];
    let model = x(ef.percent);
    html! {
        svg.scale viewBox="0 0 840 96" role="img" aria-label=(words.ef_scale) {
            @for (class, from, to) in BANDS {
                rect class={ "band " (class) } x=(x(from)) y="26" width=(x(to) - x(from)) height="26" {}
            }
            @for (name, at) in names.into_iter().zip(MIDDLES) { text.name x=(x(at)) y="16" { (name) } }
            @for tick in (0..=100).step_by(10) {
                @let at = x(f64::from(tick));
                line.tick x1=(at) y1="52" x2=(at) y2="58" {}
                text.number x=(at) y="76" { (tick) }
            }
            @if let Some([low, high]) = ef.interval {
                rect.interval x=(x(low)) y="30" width=(x(high) - x(low)) height="18" rx="4" {}
            }
            @if let Some(geometric) = ef.geometric_percent {
                @let at = x(geometric);
                polygon.contours points=(format!("{at},29 {},39 {at},49 {},39", at + 7.0, at - 7.0)) {}
            }
            circle.model cx=(model) cy="39" r="6" {}
        }
    }
}
