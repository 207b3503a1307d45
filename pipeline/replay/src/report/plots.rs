//! Plots of a report as inline SVG. Text stays text, so that no font is needed to draw them; axes are named in both
//! languages, so that one plot serves both.

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, DashedLineSeries, DrawingArea, IntoDrawingArea as _, LineSeries, PathElement,
        RGBColor, Rectangle, SVGBackend, SeriesLabelPosition,
    },
    style::{Color as _, WHITE},
};

use super::RiskCoverage;
use crate::{
    diff::{observed::Observed, property::Margin},
    verdict::Measure,
};

/// Width and height in pixels.
const SIZE: (u32, u32) = (640, 400);
/// Colours that people with any colour vision tell apart (Okabe & Ito 2008).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const RED: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const FONT: (&str, u32) = ("sans-serif", 15);
const GREY: RGBColor = RGBColor(150, 150, 150);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A plot that could not be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a plot cannot be drawn: {cause}")]
pub struct PlotError {
    cause: String,
}

fn undrawn(error: impl std::fmt::Display) -> PlotError {
    PlotError { cause: error.to_string() }
}

fn drawn(draw: impl FnOnce(&Area<'_>) -> Result<(), PlotError>) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(undrawn)?;
        draw(&area)?;
        area.present().map_err(undrawn)?;
    }
    Ok(svg)
}

/// Smallest and largest of `values` with some room around; 0 to 1 of nothing.
fn extent(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    if low > high {
        return [0.0, 1.0];
    }
    let room = ((high - low) * 0.08).max(0.5);
    [low - room, high + room]
}

/// Difference of both sides against their mean, with bias, limits of agreement and the margin (Bland & Altman 1986).
/// Nothing where the measure has no agreement to draw.
pub(super) fn agreement(measure: &Measure, points: &[[f64; 2]]) -> Result<Option<String>, PlotError> {
    let Observed::Points { agreement: Some(found), .. } = &measure.observed else { return Ok(None) };
    let Margin::Points { bias: margin, step, .. } = measure.margin else { return Ok(None) };
    let places: Vec<(f64, f64)> = points.iter().map(|[a, b]| (f64::midpoint(*a, *b), b - a)).collect();
    let lines = [
        (found.bias.value, RED, "bias 偏倚"),
        (found.lower_limit.value, BLUE, "limits of agreement 一致性界限"),
        (found.upper_limit.value, BLUE, ""),
    ];
    let [left, right] = extent(places.iter().map(|(x, _)| *x));
    let within = lines.iter().map(|(y, ..)| *y).chain([-step, step]);
    let [low, high] = extent(places.iter().map(|(_, y)| *y).chain(within));
    // Room for the legend above the dots.
    let high = high + 0.25 * (high - low);
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d(left..right, low..high)
            .map_err(undrawn)?;
        let band = Rectangle::new([(left, -margin), (right, margin)], GREEN.mix(0.14).filled());
        chart.draw_series([band]).map_err(undrawn)?;
        chart
            .configure_mesh()
            .x_desc("mean of both, points · 均值")
            .y_desc("candidate − baseline, points · 差值")
            .label_style(FONT)
            .light_line_style(WHITE.mix(0.0))
            .bold_line_style(GREY.mix(0.25))
            .draw()
            .map_err(undrawn)?;
        for (y, colour, name) in lines {
            let series = chart
                .draw_series(LineSeries::new([(left, y), (right, y)], colour.stroke_width(2)))
                .map_err(undrawn)?;
            if !name.is_empty() {
                series
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
            }
        }
        for y in [-step, step] {
            chart
                .draw_series(DashedLineSeries::new([(left, y), (right, y)], 5, 5, GREY.stroke_width(1)))
                .map_err(undrawn)?;
        }
        let dot = |place: &(f64, f64)| Circle::new(*place, 3, BLUE.mix(0.45).filled());
        chart.draw_series(places.iter().map(dot)).map_err(undrawn)?;
        chart
            .configure_series_labels()
            .label_font(FONT)
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(GREY)
            .draw()
            .map_err(undrawn)
    })
    .map(Some)
}

struct Line {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

fn draw_lines(
    area: &Area<'_>,
    axes: [(&str, f64); 2],
    place: SeriesLabelPosition,
    lines: Vec<Line>,
) -> Result<(), PlotError> {
    let [(x_name, x_most), (y_name, y_most)] = axes;
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..x_most, 0.0..y_most)
        .map_err(undrawn)?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .label_style(FONT)
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(GREY.mix(0.25))
        .draw()
        .map_err(undrawn)?;
    for Line { name, colour, points } in lines {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(undrawn)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font(FONT)
        .position(place)
        .background_style(WHITE.mix(0.8))
        .border_style(GREY)
        .draw()
        .map_err(undrawn)
}

const BASELINE: &str = "baseline 基线";
const CANDIDATE: &str = "candidate 候选";

/// Share of studies done within so many seconds, of both sides.
pub(super) fn latency(points: &[[f64; 2]]) -> Result<String, PlotError> {
    let steps = |arm: usize| {
        let mut seconds: Vec<f64> = points.iter().map(|point| point[arm]).collect();
        seconds.sort_by(f64::total_cmp);
        let count = seconds.len() as f64;
        let step = |(index, seconds): (usize, f64)| {
            [(seconds, index as f64 / count), (seconds, (index + 1) as f64 / count)]
        };
        seconds.into_iter().enumerate().flat_map(step).collect::<Vec<_>>()
    };
    let most = points.iter().flatten().copied().fold(0.0, f64::max).max(1e-3) * 1.05;
    let lines = vec![
        Line { name: BASELINE, colour: BLUE, points: steps(0) },
        Line { name: CANDIDATE, colour: RED, points: steps(1) },
    ];
    let axes = [("seconds a study · 每例用时(秒)", most), ("share done · 已完成比例", 1.0)];
    drawn(|area| draw_lines(area, axes, SeriesLabelPosition::LowerRight, lines))
}

/// Mean loss of the studies kept, the least doubted first, of both sides.
pub(super) fn risk(risk: &RiskCoverage) -> Result<String, PlotError> {
    let points = |curve: &[f64]| {
        let count = curve.len() as f64;
        let point = |(index, loss): (usize, &f64)| ((index + 1) as f64 / count, *loss);
        // The first few means jump, and say nothing.
        curve.iter().enumerate().map(point).filter(|(kept, _)| *kept >= 0.05).collect::<Vec<_>>()
    };
    let lines = vec![
        Line { name: BASELINE, colour: BLUE, points: points(&risk.baseline) },
        Line { name: CANDIDATE, colour: RED, points: points(&risk.candidate) },
    ];
    let highest = lines.iter().flat_map(|line| &line.points).map(|(_, loss)| *loss).fold(0.0, f64::max);
    let loss = if risk.truth {
        "mean error, points · 平均误差"
    } else {
        "mean |difference|, points · 平均差值"
    };
    let axes = [("share kept · 保留比例", 1.0), (loss, (1.2 * highest).max(1.0))];
    drawn(|area| draw_lines(area, axes, SeriesLabelPosition::LowerRight, lines))
}
