//! Four plots of a calibration, as SVG. Text stays text, so that no font is needed to draw them.

use calibration::{
    Alpha, Case, Fitted, Plan,
    metrics::{Outcome, reliability},
    temperature::Stated,
};
use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, DrawingArea, IntoDrawingArea as _, LineSeries, PathElement, RGBColor,
        Rectangle, SVGBackend, SeriesLabelPosition,
    },
    style::{BLACK, Color as _, WHITE},
};

use super::ranking::Ranking;
use crate::exit::Failure;

/// Width and height in pixels.
const SIZE: (u32, u32) = (640, 480);
/// Bins of the reliability diagram (the standard ten).
const BINS: usize = 10;
/// Bands of the ejection fraction in percent; whole numbers, so that the edges lie between them.
const BANDS: [[f64; 2]; 3] = [[0.0, 40.5], [40.5, 49.5], [49.5, 100.0]];
/// Colours that people with any colour vision tell apart (Okabe & Ito 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const GREY: RGBColor = RGBColor(150, 150, 150);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Each plot with the name it is filed under.
pub(super) fn all(
    fitted: &Fitted,
    cases: &[Case],
    rankings: &[Ranking],
) -> Result<Vec<(&'static str, String)>, Failure> {
    Ok(vec![
        ("reliability", drawn(|area| draw_reliability(area, fitted, cases))?),
        ("risk-coverage", drawn(|area| draw_risk(area, rankings))?),
        ("width", drawn(|area| draw_widths(area, fitted))?),
        ("coverage", drawn(|area| draw_coverage(area, fitted, cases))?),
    ])
}

fn drawn(draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(undrawn)?;
        draw(&area)?;
        area.present().map_err(undrawn)?;
    }
    Ok(svg)
}

fn undrawn(error: impl std::fmt::Display) -> Failure {
    Failure::from(format!("a plot cannot be drawn: {error}"))
}

/// What a plot is called, and its axes from 0.
struct Axes {
    title: String,
    x: (&'static str, f64),
    y: (&'static str, f64),
    /// Where no line is.
    legend: SeriesLabelPosition,
}

/// A line through `points`, with a dot at each if they are few, and its name in the legend.
struct Line {
    name: String,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

fn draw_lines(area: &Area<'_>, axes: &Axes, lines: Vec<Line>) -> Result<(), Failure> {
    let mut chart = ChartBuilder::on(area)
        .caption(&axes.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..axes.x.1, 0.0..axes.y.1)
        .map_err(undrawn)?;
    chart
        .configure_mesh()
        .x_desc(axes.x.0)
        .y_desc(axes.y.0)
        .light_line_style(WHITE)
        .draw()
        .map_err(undrawn)?;
    for Line { name, colour, points } in lines {
        let dots = points.len() <= BINS;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
            .map_err(undrawn)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        if dots {
            let dot = |point: &(f64, f64)| Circle::new(*point, 3, colour.filled());
            chart.draw_series(points.iter().map(dot)).map_err(undrawn)?;
        }
    }
    chart
        .configure_series_labels()
        .position(axes.legend.clone())
        .background_style(WHITE.mix(0.8))
        .border_style(GREY)
        .draw()
        .map_err(undrawn)
}

fn diagonal(most: f64) -> Line {
    Line { name: "ideal".to_owned(), colour: GREY, points: vec![(0.0, 0.0), (most, most)] }
}

/// How often the band said to be likeliest is the true one, against how likely it was said to be.
fn draw_reliability(area: &Area<'_>, fitted: &Fitted, cases: &[Case]) -> Result<(), Failure> {
    let at = |name: &str, colour: RGBColor, temperature: f64| {
        let outcomes: Vec<Outcome> = cases.iter().map(|case| band_outcome(case, temperature)).collect();
        let error = calibration::metrics::expected_calibration_error(&outcomes, BINS);
        let bins = reliability(&outcomes, BINS);
        let points = bins.iter().filter(|bin| bin.count > 0).map(|bin| (bin.confidence, bin.accuracy));
        Line { name: format!("{name}, calibration error {error:.3}"), colour, points: points.collect() }
    };
    let temperature = fitted.set.contents().temperature;
    let axes = Axes {
        title: format!("Band of the ejection fraction, {} studies", cases.len()),
        x: ("probability given to the band", 1.0),
        y: ("share that is right", 1.0),
        legend: SeriesLabelPosition::UpperLeft,
    };
    let [blue, red, ..] = COLOURS;
    let lines = vec![
        diagonal(1.0),
        at("as stated", blue, 1.0),
        at(&format!("at temperature {temperature:.2}"), red, temperature),
    ];
    draw_lines(area, &axes, lines)
}

/// The likeliest band of a case, and whether it is the true one.
fn band_outcome(case: &Case, temperature: f64) -> Outcome {
    let stated = Stated {
        mean: case.prediction.estimate,
        variance: case.prediction.deviation.powi(2),
        truth: case.truth,
    };
    let of = |band: [f64; 2]| (stated.probability(band, temperature), band);
    let likeliest = BANDS.map(of).into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let (confidence, [lower, upper]) = likeliest.unwrap_or_default();
    // Whole percents never lie on an edge, but for 0 and 100, which belong to the outer bands.
    let correct = (lower..=upper).contains(&case.truth.round());
    Outcome { confidence: confidence.clamp(0.0, 1.0), correct }
}

/// Mean error of the studies kept, by each signal.
fn draw_risk(area: &Area<'_>, rankings: &[Ranking]) -> Result<(), Failure> {
    let line = |(ranking, colour): (&Ranking, &RGBColor)| {
        let curve = ranking.curve();
        let count = curve.len() as f64;
        // The first few means jump, and say nothing.
        let point = |(index, risk): (usize, f64)| ((index + 1) as f64 / count, risk);
        let points = curve.into_iter().enumerate().map(point).filter(|(coverage, _)| *coverage >= 0.05);
        Line { name: ranking.name.to_owned(), colour: *colour, points: points.collect() }
    };
    let lines: Vec<Line> = rankings.iter().zip(&COLOURS).map(line).collect();
    let highest = lines.iter().flat_map(|line| &line.points).map(|(_, risk)| *risk).fold(0.0, f64::max);
    let axes = Axes {
        title: "Error of the studies kept, the least doubted first".to_owned(),
        x: ("share kept", 1.0),
        y: ("mean absolute error, points", (1.2 * highest).max(1.0)),
        legend: SeriesLabelPosition::LowerLeft,
    };
    draw_lines(area, &axes, lines)
}

/// How many intervals are how wide.
fn draw_widths(area: &Area<'_>, fitted: &Fitted) -> Result<(), Failure> {
    const BARS: usize = 30;
    let widths: Vec<f64> = fitted.intervals.iter().map(|[lower, upper]| upper - lower).collect();
    let widest = widths.iter().copied().fold(1.0, f64::max);
    let step = widest / BARS as f64;
    let mut counts = [0_usize; BARS];
    for width in widths {
        if let Some(count) = counts.get_mut(((width / step) as usize).min(BARS - 1)) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption("Width of the intervals, cross-validated", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..widest, 0.0..1.1 * most)
        .map_err(undrawn)?;
    chart
        .configure_mesh()
        .x_desc("width, points")
        .y_desc("studies")
        .light_line_style(WHITE)
        .draw()
        .map_err(undrawn)?;
    let [blue, ..] = COLOURS;
    let bars = counts.iter().enumerate().map(|(index, count)| {
        let left = index as f64 * step;
        Rectangle::new([(left, 0.0), (left + step, *count as f64)], blue.filled())
    });
    chart.draw_series(bars).map_err(undrawn)?;
    // 12 points are U_LOW at most, 20 U_MEDIUM, 30 are no number any more, as a fresh installation has them.
    let marks = [12.0, 20.0, 30.0].into_iter().filter(|mark| *mark < widest);
    let mark = |at: f64| PathElement::new([(at, 0.0), (at, 1.1 * most)], BLACK.stroke_width(1));
    chart.draw_series(marks.map(mark)).map_err(undrawn)?;
    Ok(())
}

/// The share of intervals that hold the truth, for each share promised.
fn draw_coverage(area: &Area<'_>, fitted: &Fitted, cases: &[Case]) -> Result<(), Failure> {
    let set = fitted.set.contents();
    let promised = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98];
    let mut points = Vec::new();
    for coverage in promised {
        let plan = Plan {
            id: set.id.clone(),
            made_at: set.made_at,
            model: set.model,
            fingerprint: set.fingerprint,
            synthetic: set.synthetic,
            score: set.score,
            alpha: Alpha::new(1.0 - coverage).map_err(undrawn)?,
            group_by: set.group_by.clone(),
        };
        // More is promised than so few studies allow: no point there.
        if let Ok(other) = calibration::fit(plan, cases) {
            points.push((coverage, other.set.contents().cross_validation.coverage));
        }
    }
    let axes = Axes {
        title: format!("Coverage of {} studies, cross-validated", cases.len()),
        x: ("share promised", 1.0),
        y: ("share that holds the truth", 1.0),
        legend: SeriesLabelPosition::UpperLeft,
    };
    let [blue, ..] = COLOURS;
    let lines = vec![diagonal(1.0), Line { name: "intervals".to_owned(), colour: blue, points }];
    draw_lines(area, &axes, lines)
}
