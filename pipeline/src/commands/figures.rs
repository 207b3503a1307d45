//! How `status`, `top` and `study` say numbers.

use console::site::{Drain, Pause, StageStatus};

/// Seconds in the unit that leaves two or three digits.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.0005 => "0 s".to_owned(),
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 5_970.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// The same, or a dash.
pub(super) fn duration_or_dash(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), duration)
}

/// When a backlog will be gone.
pub(super) fn drained_in(drain: Drain, eta: Option<f64>) -> String {
    match drain {
        Drain::Empty => "-".to_owned(),
        Drain::Draining => duration_or_dash(eta),
        Drain::NotDraining => "not draining".to_owned(),
        Drain::Unknown => "not known yet".to_owned(),
    }
}

/// Whether a stage takes records.
pub(super) fn state(paused: Option<Pause>) -> &'static str {
    match paused {
        None => "runs",
        Some(Pause::Operator) => "paused",
        Some(Pause::Dependency) => "waits",
    }
}

/// One stage with everything it reads, lanes together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StageLine {
    pub(super) stage: String,
    pub(super) paused: Option<Pause>,
    pub(super) rate_per_s: f64,
    pub(super) in_flight: i64,
    pub(super) lag: i64,
    pub(super) oldest_s: Option<f64>,
    pub(super) drain: Drain,
    pub(super) eta_s: Option<f64>,
    pub(super) busy: f64,
    pub(super) blocked: f64,
    pub(super) errors: u64,
}

/// The lines of a status, in its order.
pub(super) fn by_stage(rows: &[StageStatus]) -> Vec<StageLine> {
    let mut lines: Vec<StageLine> = Vec::new();
    for row in rows {
        let Some(line) = lines.iter_mut().find(|line| line.stage == row.stage) else {
            lines.push(StageLine {
                stage: row.stage.clone(),
                paused: row.paused,
                rate_per_s: row.rate_per_s,
                in_flight: row.in_flight,
                lag: row.lag_records,
                oldest_s: row.oldest_age_s,
                drain: row.drain,
                eta_s: row.drain_eta_s,
                busy: row.busy_ratio,
                blocked: row.backpressured_ratio,
                errors: row.errors,
            });
            continue;
        };
        // In flight, shares and errors are the stage's and stand in each of its rows.
        line.rate_per_s += row.rate_per_s;
        line.lag += row.lag_records;
        line.oldest_s = later(line.oldest_s, row.oldest_age_s);
        line.eta_s = later(line.eta_s, row.drain_eta_s);
        if weight(row.drain) > weight(line.drain) {
            line.drain = row.drain;
        }
    }
    for line in lines.iter_mut().filter(|line| line.drain != Drain::Draining) {
        line.eta_s = None;
    }
    lines
}

fn later(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::max)
}

/// What is said of several backlogs together: the worst.
fn weight(drain: Drain) -> u8 {
    match drain {
        Drain::Empty => 0,
        Drain::Draining => 1,
        Drain::Unknown => 2,
        Drain::NotDraining => 3,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(stage: &str, lag: i64, drain: Drain, eta: Option<f64>) -> StageStatus {
        StageStatus {
            stage: stage.to_owned(),
            topic: format!("{stage}.v1"),
            lag_records: lag,
            oldest_age_s: (lag > 0).then_some(lag as f64),
            drain_eta_s: eta,
            drain,
            rate_per_s: 1.25,
            in_flight: 3,
            busy_ratio: 0.5,
            backpressured_ratio: 0.25,
            paused: None,
            errors: 7,
        }
    }

    #[test]
    fn lanes_are_one_line_that_says_the_worst_of_them() {
        let rows = [
            row("keyframes", 0, Drain::Empty, Some(0.0)),
            row("keyframes", 40, Drain::Draining, Some(80.0)),
            row("inference", 5, Drain::Draining, Some(9.0)),
            row("inference", 50, Drain::NotDraining, None),
        ];
        let lines = by_stage(&rows);
        let said: Vec<_> = lines
            .iter()
            .map(|line| (line.stage.as_str(), line.lag, line.oldest_s, drained_in(line.drain, line.eta_s)))
            .collect();
        assert_eq!(
            said,
            [
                ("keyframes", 40, Some(40.0), "80 s".to_owned()),
                ("inference", 55, Some(50.0), "not draining".to_owned())
            ]
        );
        assert_eq!((lines[0].rate_per_s, lines[0].in_flight, lines[0].errors), (2.5, 3, 7));
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        let said = [0.0, 0.25, 0.9999, 9.94, 9.96, 99.4, 99.6, 3_600.0, 7_200.0, 200_000.0].map(duration);
        assert_eq!(
            said,
            ["0 s", "250 ms", "1.0 s", "9.9 s", "10 s", "99 s", "2 min", "60 min", "2.0 h", "2 d"]
        );
        assert_eq!(drained_in(Drain::Unknown, None), "not known yet");
    }
}
