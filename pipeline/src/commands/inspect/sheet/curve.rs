//! The area curve of a loop as a drawing.

use keyframes::{Mark, Trace};
use maud::{Markup, html};
use schemas::{FrameNumber, KeyframeKind};
use stage::ClipHeader;

/// Size of the drawing in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 250.0;
/// Left, top, right, bottom of the curve.
const PLOT: [f64; 4] = [16.0, 34.0, 704.0, 196.0];
/// At most so many labels on the axis of time.
const MOST_TICKS: f64 = 8.0;

/// A keyframe's name on the curve.
pub(super) struct Label<'a> {
    pub(super) name: &'a str,
    pub(super) kind: KeyframeKind,
    pub(super) frame: FrameNumber,
    pub(super) time_ms: Option<f64>,
}

/// The axis: milliseconds where time is known, else frames counted from 1.
struct Axis {
    first: f64,
    last: f64,
    in_time: bool,
}

impl Axis {
    fn of(trace: &Trace) -> Self {
        match (trace.times_ms.first(), trace.times_ms.last()) {
            (Some(first), Some(last)) => Self { first: *first, last: *last, in_time: true },
            _ => Self { first: 1.0, last: trace.curve.len() as f64, in_time: false },
        }
    }

    /// Of a place given both ways the one that this axis counts in.
    fn value(&self, time_ms: Option<f64>, frame: f64) -> f64 {
        time_ms.filter(|_| self.in_time).unwrap_or(frame)
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value - self.first) / (self.last - self.first).max(f64::EPSILON);
        PLOT[0] + share.clamp(0.0, 1.0) * (PLOT[2] - PLOT[0])
    }

    /// Round values on the axis with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];
        let span = self.last - self.first;
        let step =
            steps.into_iter().find(|step| span / step <= MOST_TICKS).unwrap_or(span.max(1.0) / MOST_TICKS);
        let count = (span / step) as u32;
        let from = (self.first / step).ceil() * step;
        let label =
            |value: f64| if self.in_time { format!("{:.1}", value / 1e3) } else { format!("{value:.0}") };
        (0..=count)
            .map(|index| from + f64::from(index) * step)
            .filter(|value| *value <= self.last)
            .map(|value| (self.x(value), label(value)))
            .collect()
    }
}

/// The curve with its marks, the blood signal behind it, the keyframes by name, the header's R waves.
pub(super) fn figure(trace: &Trace, header: &ClipHeader, labels: &[Label<'_>]) -> Markup {
    let axis = Axis::of(trace);
    let [left, top, right, bottom] = PLOT;
    let at = |index: usize| axis.x(axis.value(trace.times_ms.get(index).copied(), index as f64 + 1.0));
    let r_waves = header.r_waves_ms.iter().filter(|_| axis.in_time);
    html! {
        figure.curve {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="area curve with end-diastoles and end-systoles" {
                rect.plot x=(left) y=(top) width=(right - left) height=(bottom - top) {}
                @for (x, label) in axis.ticks() {
                    line.grid x1=(tenths(x)) x2=(tenths(x)) y1=(top) y2=(bottom) {}
                    text.tick x=(tenths(x)) y=(bottom + 42.0) { (label) }
                }
                @for time in r_waves {
                    line.r-wave x1=(tenths(axis.x(*time))) x2=(tenths(axis.x(*time))) y1=(bottom) y2=(bottom + 10.0) {}
                }
                polyline.area points=(line(&unit(&trace.area), &at)) {}
                polyline.line points=(line(&trace.curve, &at)) {}
                @for mark in &trace.marks { (dot(mark, trace, &axis)) }
                @for label in labels { (name(label, &axis)) }
            }
            figcaption {
                "Area curve 面积曲线: "
                span.key.line { "beating component, full above, empty below 搏动分量" } " "
                span.key.area { "share of blood 血池比例" } " "
                span.key.dot { "ED / ES found 检出" } " "
                @if !header.r_waves_ms.is_empty() { span.key.r-wave { "R waves of the header 头文件 R 波" } " " }
                @if axis.in_time { "· seconds 秒" } @else { "· frames 帧 (time unknown 时间未知)" }
                @if let Some(period) = trace.period_ms { " · period 周期 " (format!("{period:.0} ms")) }
            }
        }
    }
}

fn dot(mark: &Mark, trace: &Trace, axis: &Axis) -> Markup {
    let x = axis.x(axis.value(mark.time_ms, mark.frame + 1.0));
    let value = trace.curve.get(mark.frame.round().max(0.0) as usize).copied().unwrap_or_default();
    let class = if mark.kind == KeyframeKind::ED { "dot ed" } else { "dot es" };
    html! { circle class=(class) cx=(tenths(x)) cy=(tenths(y(value))) r="4.5" {} }
}

fn name(label: &Label<'_>, axis: &Axis) -> Markup {
    let x = axis.x(axis.value(label.time_ms, f64::from(label.frame.0)));
    let is_diastole = label.kind == KeyframeKind::ED;
    let (class, row) = if is_diastole { ("name ed", PLOT[1] - 10.0) } else { ("name es", PLOT[3] + 24.0) };
    html! {
        line class=(class) x1=(tenths(x)) x2=(tenths(x)) y1=(PLOT[1]) y2=(PLOT[3]) {}
        text class=(class) x=(tenths(x.clamp(PLOT[0] + 16.0, PLOT[2] - 16.0))) y=(row) { (label.name) }
    }
}

fn y(share: f64) -> f64 {
    // Some room above and below, so that dots stay inside.
    let share = 0.06 + 0.88 * share.clamp(0.0, 1.0);
    PLOT[3] - share * (PLOT[3] - PLOT[1])
}

fn line(values: &[f64], x: &impl Fn(usize) -> f64) -> String {
    let corners = values.iter().enumerate().map(|(index, value)| format!("{:.1},{:.1}", x(index), y(*value)));
    corners.collect::<Vec<String>>().join(" ")
}

/// Between their least and their greatest.
fn unit(values: &[f64]) -> Vec<f64> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter().map(|value| (value - least) / (most - least).max(f64::EPSILON)).collect()
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}
