//! Pictures that are no sector: Doppler spectra, M-mode, worksheets. They fill an exam; nothing is to be measured in them.

use rand::{Rng, RngCore};
use serde::Serialize;

use super::beam::{BEAMS, SAMPLES};
use super::cine::{Annotation, Cine, Timing};
use super::dicom::regions::Area;
use super::overlay::Screen;
use super::scan::WIDTH;
use super::truth::Truth;

/// Where a trace is drawn.
const PLOT: Area = Area { left: 40, top: 60, right: 599, bottom: 429 };
const COLUMNS: usize = PLOT.right - PLOT.left + 1;
const ROWS: usize = PLOT.bottom - PLOT.top + 1;

/// A technique of spectral Doppler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doppler {
    /// Pulsed wave at the tips of the mitral leaflets: the E and A waves.
    Pulsed,
    /// Continuous wave through the aortic valve: the ejection.
    Continuous,
}

/// A drawn trace and its scale.
pub(crate) struct Trace {
    pub(crate) screen: Screen,
    pub(crate) area: Area,
    /// Row of velocity 0; the top of an M-mode.
    pub(crate) baseline: usize,
    /// Physical size of a pixel across and down.
    pub(crate) deltas: [f64; 2],
}

/// The spectrum of velocities over the clip's time.
pub(crate) fn spectrum(
    doppler: Doppler,
    timing: &Timing,
    annotation: &Annotation<'_>,
    rng: &mut impl RngCore,
) -> Trace {
    // (velocity for each share of the stroke volume that passes in a ms, cm/s per row, baseline, spectrum is hollow)
    let (scale, cm_per_row, baseline, hollow) = match doppler {
        Doppler::Pulsed => (1.0e4, 0.5, PLOT.top + ROWS * 3 / 4, true),
        Doppler::Continuous => (1.9e4, 0.8, PLOT.top + ROWS / 4, false),
    };
    let mut screen = Screen::black();
    let title = match doppler {
        Doppler::Pulsed => "PW",
        Doppler::Continuous => "CW",
    };
    screen.annotate([annotation.name, annotation.identity], [title, ""]);
    let step_ms = timing.duration_ms() / COLUMNS as f64;
    for column in 0..COLUMNS {
        let flow = -timing.cycle.emptying_per_ms(column as f64 * step_ms);
        let flow = match doppler {
            Doppler::Pulsed => flow.max(0.0),
            Doppler::Continuous => flow.min(0.0),
        };
        let envelope = scale * flow;
        for row in PLOT.top..=PLOT.bottom {
            let velocity = (baseline as f64 - row as f64) * cm_per_row;
            let share = if envelope.abs() > 1.0 { velocity / envelope } else { -1.0 };
            let density = match share {
                s if !(0.0..=1.0).contains(&s) => 0.04,
                s if hollow && s < 0.7 => 0.12,
                s => 0.35 + 0.6 * s,
            };
            let grain = rng.random::<f64>();
            let wall = if velocity.abs() < 4.0 { 0.35 } else { 0.0 };
            let grey = (255.0 * (density + wall) * (0.35 + 0.65 * grain)).min(255.0) as u8;
            screen.set_grey(row * WIDTH + PLOT.left + column, grey);
        }
        screen.set_grey(baseline * WIDTH + PLOT.left + column, 200);
    }
    Trace { screen, area: PLOT, baseline, deltas: [step_ms / 1000.0, cm_per_row] }
}

/// The middle beam of a clip over its time.
pub(crate) fn m_mode(cine: &mut Cine, annotation: &Annotation<'_>) -> Trace {
    let mut screen = Screen::black();
    screen.annotate([annotation.name, annotation.identity], ["M-MODE", cine.take.view.name()]);
    let frames = cine.timing.frames;
    for frame in 0..frames {
        let polar = cine.echo(frame);
        let columns = frame * COLUMNS / frames..(frame + 1) * COLUMNS / frames;
        for row in 0..ROWS {
            let grey = polar[row * SAMPLES / ROWS * BEAMS + BEAMS / 2];
            for column in columns.clone() {
                screen.set_grey((PLOT.top + row) * WIDTH + PLOT.left + column, grey);
            }
        }
    }
    let seconds = cine.timing.duration_ms() / 1000.0 / COLUMNS as f64;
    let cm = cine.sector.depth_mm / 10.0 / ROWS as f64;
    Trace { screen, area: PLOT, baseline: PLOT.top, deltas: [seconds, cm] }
}

/// A page of measurements as a workstation prints it.
pub(crate) fn worksheet(truth: &Truth, annotation: &Annotation<'_>) -> Screen {
    let mut screen = Screen::black();
    screen.annotate([annotation.name, annotation.identity], ["WORKSHEET", ""]);
    let lines = [
        format!("HR {:.0} / MIN", truth.heart_rate),
        format!("LV EDV {:.0} ML", truth.edv_ml),
        format!("LV ESV {:.0} ML", truth.esv_ml),
        format!("LV EF {:.0} %", truth.ef_percent),
    ];
    for (line, text) in lines.iter().enumerate() {
        screen.line((60, 100 + 40 * line), text);
    }
    screen
}
