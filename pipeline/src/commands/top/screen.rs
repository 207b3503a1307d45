//! What `top` shows: a pure function of a status, so that a test can read it.

use console::site::{Drain, Pause, Status};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Table, Widget},
};

use crate::commands::figures::{StageLine, by_stage, drained_in, duration_or_dash, state};

/// What is known of the system.
#[derive(Debug, Clone)]
pub(super) enum Picture {
    /// It answered.
    Now(Status),
    /// It does not answer; this is how it was.
    Stale { last: Status, why: String },
}

impl Picture {
    /// The picture after one more look.
    pub(super) fn after(self, look: Result<Status, String>) -> Self {
        let (Self::Now(last) | Self::Stale { last, .. }) = self;
        match look {
            Ok(status) => Self::Now(status),
            Err(why) => Self::Stale { last, why },
        }
    }
}

/// The whole screen; made for 80 by 24 and more.
pub(super) struct Screen<'a> {
    pub(super) picture: &'a Picture,
}

/// Widths of the columns. With one blank between them they fill 80.
const COLUMNS: [(&str, u16); 10] = [
    ("stage", 13),
    ("state", 6),
    ("rate/s", 7),
    ("flight", 6),
    ("waiting", 7),
    ("oldest", 7),
    ("drained in", 13),
    ("busy", 4),
    ("blkd", 4),
    ("err", 4),
];

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let (status, stale) = match self.picture {
            Picture::Now(status) => (status, None),
            Picture::Stale { last, why } => (last, Some(why)),
        };
        let lines = by_stage(&status.stages);
        let [head, studies, table, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(area);
        Paragraph::new(title(status, stale.is_some())).render(head, buffer);
        Paragraph::new(counts(status)).render(studies, buffer);
        let widths = COLUMNS.map(|(_, width)| Constraint::Length(width));
        let names = COLUMNS.iter().enumerate().map(|(index, (name, width))| {
            Cell::from(if index < 2 {
                (*name).to_owned()
            } else {
                format!("{name:>0$}", usize::from(*width))
            })
        });
        let header = Row::new(names).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
        let rows = lines.iter().map(row);
        let style = if stale.is_some() { Style::new().dim() } else { Style::new() };
        Table::new(rows, widths).header(header).column_spacing(1).style(style).render(table, buffer);
        let foot_line = match stale {
            Some(why) => Line::from(format!("no answer: {why}")).red(),
            None if lines.is_empty() => Line::from("the broker has not told its backlog yet").yellow(),
            None => {
                Line::from("q quits   waiting and drain: all processes; flight, busy, blkd, err: this one")
                    .dim()
            }
        };
        Paragraph::new(foot_line).render(foot, buffer);
    }
}

fn title(status: &Status, stale: bool) -> Line<'static> {
    let at = status.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let mut spans = vec![Span::from("prescreen ").bold(), Span::from(at)];
    if stale {
        spans.push(Span::from("  (how it was then)").red());
    }
    spans.push(Span::from("  for reference only; not a medical device").dim());
    Line::from(spans)
}

fn counts(status: &Status) -> Vec<Line<'static>> {
    let studies = &status.studies;
    let count = |name: &str, count: i64, bad: bool| {
        let span = Span::from(format!("{count} {name}  "));
        if bad && count > 0 { span.red().bold() } else { span }
    };
    vec![
        Line::from(vec![
            count("received", studies.received, false),
            count("in progress", studies.in_progress, false),
            count("spooled", status.spooled, false),
            count("unaccounted", studies.unaccounted, true),
        ]),
        Line::from(vec![
            count("reported", studies.reported, false),
            count("rejected", studies.rejected, false),
            count("superseded", studies.superseded, false),
            count("dead-lettered", studies.dead_lettered, true),
        ]),
    ]
}

fn row(line: &StageLine) -> Row<'static> {
    let right = |index: usize, text: String| {
        let width = COLUMNS.get(index).map_or(0, |(_, width)| usize::from(*width));
        Cell::from(format!("{text:>width$}"))
    };
    let state_colour = match line.paused {
        None => Color::Green,
        Some(Pause::Operator) => Color::Yellow,
        Some(Pause::Dependency) => Color::Red,
    };
    let drain_colour = if line.drain == Drain::NotDraining { Color::Red } else { Color::Reset };
    let busy_colour = if line.busy >= 0.9 { Color::Yellow } else { Color::Reset };
    Row::new([
        Cell::from(line.stage.clone()),
        Cell::from(state(line.paused)).style(Style::new().fg(state_colour)),
        right(2, format!("{:.2}", line.rate_per_s)),
        right(3, line.in_flight.to_string()),
        right(4, line.lag.to_string()),
        right(5, duration_or_dash(line.oldest_s)),
        right(6, drained_in(line.drain, line.eta_s)).style(Style::new().fg(drain_colour)),
        right(7, percent(line.busy)).style(Style::new().fg(busy_colour)),
        right(8, percent(line.blocked)),
        right(9, line.errors.to_string()),
    ])
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use console::site::{StageStatus, StateCounts};
    use jiff::Timestamp;
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::commands::figures::tests::row as stage;

    fn status() -> Status {
        let stages = vec![
            stage("quality_gate", 0, Drain::Empty, Some(0.0)),
            StageStatus {
                paused: Some(Pause::Operator),
                rate_per_s: 0.0,
                ..stage("keyframes", 123_456, Drain::NotDraining, None)
            },
            StageStatus { busy_ratio: 1.0, ..stage("inference", 40, Drain::Draining, Some(83.0)) },
            StageStatus { paused: Some(Pause::Dependency), ..stage("reporting", 1, Drain::Unknown, None) },
            stage("store", 2, Drain::Draining, Some(0.4)),
        ];
        let studies = StateCounts { received: 312, dead_lettered: 2, ..StateCounts::default() };
        let at: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
        Status { at, studies, spooled: 4, stages }
    }

    /// The lines of a terminal of that size.
    fn lines(picture: &Picture, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| frame.render_widget(Screen { picture }, frame.area())).expect("drawn");
        super::super::text(terminal.backend().buffer()).lines().map(str::to_owned).collect()
    }

    #[test]
    fn everything_fits_on_80_by_24() {
        let shown = lines(&Picture::Now(status()), 80, 24);
        assert_eq!(shown.len(), 24);
        assert!(shown[0].starts_with("prescreen 2026-11-21 08:00:00Z"), "{shown:?}");
        assert!(shown[0].ends_with("not a medical device"), "{shown:?}");
        assert_eq!(shown[1], "312 received  0 in progress  4 spooled  0 unaccounted");
        assert_eq!(shown[2], "0 reported  0 rejected  0 superseded  2 dead-lettered");
        assert_eq!(
            shown[4..10],
            [
                "stage         state   rate/s flight waiting  oldest    drained in busy blkd  err",
                "quality_gate  runs      1.25      3       0       -             -  50%  25%    7",
                "keyframes     paused    0.00      3  123456  34.3 h  not draining  50%  25%    7",
                "inference     runs      1.25      3      40    40 s          83 s 100%  25%    7",
                "reporting     waits     1.25      3       1   1.0 s not known yet  50%  25%    7",
                "store         runs      1.25      3       2   2.0 s        400 ms  50%  25%    7",
            ]
        );
        assert!(shown[23].starts_with("q quits"), "{shown:?}");
    }

    #[test]
    fn a_system_that_does_not_answer_is_shown_as_it_was_with_the_reason() {
        let picture = Picture::Now(status()).after(Err("http://127.0.0.1:1 does not answer".to_owned()));
        let shown = lines(&picture, 80, 24);
        assert!(shown[0].contains("(how it was then)"), "{shown:?}");
        assert_eq!(shown[23], "no answer: http://127.0.0.1:1 does not answer");
        assert!(shown[6].starts_with("keyframes"), "{shown:?}");
        let shown = lines(&picture.after(Ok(status())), 80, 24);
        assert!(shown[23].starts_with("q quits"), "{shown:?}");
    }

    #[test]
    fn any_size_is_drawn_without_harm() {
        for (width, height) in [(1, 1), (20, 3), (40, 10), (300, 100)] {
            let shown = lines(&Picture::Now(status()), width, height);
            assert!(shown.len() <= usize::from(height), "{width}x{height}");
        }
        let empty = Status { stages: Vec::new(), ..status() };
        assert_eq!(lines(&Picture::Now(empty), 80, 24)[23], "the broker has not told its backlog yet");
    }
}
