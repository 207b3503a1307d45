//! Live numbers: the drawing, the events, how many may listen, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::atomic::Ordering,
    time::Duration,
};

use console::site::{Drain, Pause, StageStatus, StateCounts, Status};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    serving::Serving,
    world::{World, of},
};

fn row(stage: &str, topic: &str, lag: i64, eta: Option<f64>) -> StageStatus {
    StageStatus {
        stage: stage.to_owned(),
        topic: topic.to_owned(),
        lag_records: lag,
        oldest_age_s: (lag > 0).then_some(90.0),
        drain_eta_s: eta,
        drain: match (lag, eta) {
            (0, _) => Drain::Empty,
            (_, Some(_)) => Drain::Draining,
            (_, None) => Drain::NotDraining,
        },
        rate_per_s: 2.5,
        in_flight: 7,
        busy_ratio: 0.84,
        backpressured_ratio: 0.1,
        paused: None,
        errors: 3,
    }
}

/// The gate drains both lanes; keyframes is stuck, unless it is paused.
fn status(world: &World) -> Status {
    let mut stages = vec![
        row("quality_gate", "study.acquired.v1", 120, Some(48.0)),
        row("quality_gate", "study.acquired.v1.urgent", 3, Some(1.0)),
        row("keyframes", "study.accepted.v1", 9, None),
    ];
    for row in &mut stages {
        row.paused = of(&world.paused).contains(&row.stage).then_some(Pause::Operator);
    }
    let studies = StateCounts { received: 132, in_progress: 132, ..StateCounts::default() };
    Status { at: Timestamp::UNIX_EPOCH, studies, spooled: 4, stages }
}

fn world() -> World {
    World { status, ..World::default() }
}

/// One who listens, and reads an event at a time.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn connect(console: &Serving, path: &str) -> (u16, Self) {
        let mut stream = TcpStream::connect(console.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let host = console.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("sent");
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, Self(lines))
    }

    /// Name and data of the next event; nothing at the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let (mut name, mut data) = (String::new(), None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("a line or the end") == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("event: ") {
                text.trim().clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text.trim()).expect("JSON"));
            } else if line == "\n"
                && let Some(data) = data.take()
            {
                return Some((name, data));
            }
        }
    }
}

#[test]
fn the_drawing_shows_what_each_step_does() {
    let console = Serving::start(world());
    for path in ["/", "/pipeline"] {
        let page = console.get(path).body;
        let gate = &page[page.find("data-tone=\"quality_gate\"").expect("the gate")..];
        crate::report::in_order(
            gate,
            &[
                "data-is=\"busy\"",
                "Quality gate",
                "busy",
                "Rate",
                "5.0/s",
                "Waiting",
                "123",
                "In flight",
                ">7<",
                "Oldest",
                "90 s",
                "Errors",
                ">3<",
                "Drained in",
                "48 s",
                "data-bar=\"quality_gate.busy\"",
            ],
        );
        let keyframes = &page[page.find("data-tone=\"keyframes\"").expect("keyframes")..];
        crate::report::in_order(keyframes, &["data-is=\"stuck\"", "Keyframes", "not draining"]);
        assert!(page.contains("study.acquired.v1</text>"), "arrows carry their topics: {page}");
        crate::report::in_order(&page, &["In the spool", ">4<"]);
    }
    let chinese = console.get("/pipeline?lang=zh").body;
    for word in ["质量检查", "繁忙", "积压", "未在减少"] {
        assert!(chinese.contains(word), "{word}");
    }
}

#[test]
fn events_carry_the_status_and_the_same_words_as_the_page() {
    let console = Serving::start(world());
    let (code, mut listener) = Listener::connect(&console, "/api/live?lang=zh");
    assert_eq!(code, 200);
    let (name, data) = listener.next().expect("the first event, at once");
    assert_eq!(name, "status");
    let told: Status = serde_json::from_value(data).expect("a status");
    assert_eq!(told, status(&console.world));
    let (name, shown) = listener.next().expect("its words");
    assert_eq!((name.as_str(), &shown["texts"]["keyframes.eta"]), ("shown", &"未在减少".into()));
    assert_eq!(shown["texts"]["quality_gate.waiting"], "123");
    assert_eq!(shown["bars"]["quality_gate.busy"], 0.84);

    // What changes is told by the next events, without asking.
    of(&console.world.paused).insert("keyframes".to_owned());
    let paused = std::iter::from_fn(|| listener.next())
        .filter(|(name, _)| name == "shown")
        .find(|(_, shown)| shown["tones"]["keyframes"] == "paused");
    assert_eq!(paused.expect("before the end").1["texts"]["keyframes.state"], "已暂停");

    console.world.database_is_down.store(true, Ordering::Relaxed);
    let down = std::iter::from_fn(|| listener.next()).find(|(name, _)| name == "down");
    assert_eq!(down.expect("before the end").1, "database is not available at the moment");
}

#[test]
fn listeners_are_bounded_and_the_streams_end_when_the_server_stops() {
    let console = Serving::start(world());
    let mut listeners: Vec<Listener> = (0..32)
        .map(|index| {
            let (status, mut listener) = Listener::connect(&console, "/api/live");
            assert_eq!(status, 200, "listener {index}");
            assert!(listener.next().is_some(), "each is told at once");
            listener
        })
        .collect();
    assert_eq!(Listener::connect(&console, "/api/live").0, 503, "one too many");
    assert_eq!(console.get("/api/status").status, 200, "everything else goes on");
    assert!(console.stops(), "nobody who listens keeps it from stopping");
    for listener in &mut listeners {
        while listener.next().is_some() {}
    }
}

#[test]
fn history_is_given_whole_or_from_a_time_on() {
    let point = |second| console::site::HistoryPoint {
        at: Timestamp::from_second(second).expect("a time"),
        ..console::site::HistoryPoint::default()
    };
    let world = World { history: |_| Vec::new(), ..world() };
    assert_eq!(Serving::start(world).get("/api/history").body, "[]");
    let world = World {
        history: |_| {
            let at = |second| Timestamp::from_second(second).unwrap_or_default();
            [10, 20, 30]
                .map(|second| console::site::HistoryPoint { at: at(second), ..Default::default() })
                .to_vec()
        },
        ..self::world()
    };
    let console = Serving::start(world);
    let points = |path: &str| -> Vec<console::site::HistoryPoint> {
        serde_json::from_str(&console.get(path).body).expect("points")
    };
    assert_eq!(points("/api/history"), [point(10), point(20), point(30)]);
    assert_eq!(points("/api/history?since=1970-01-01T00:00:20Z"), [point(30)]);
}

#[test]
fn what_a_step_does_has_one_word_the_gravest() {
    let told = |change: fn(&mut StageStatus)| {
        let mut quiet = row("keyframes", "study.accepted.v1", 0, None);
        (quiet.rate_per_s, quiet.in_flight, quiet.busy_ratio, quiet.backpressured_ratio) = (0.0, 0, 0.0, 0.0);
        change(&mut quiet);
        quiet
    };
    let cases: [(&str, StageStatus); 7] = [
        ("idle", told(|_| {})),
        ("works", told(|row| row.rate_per_s = 0.01)),
        ("busy", told(|row| row.busy_ratio = 0.9)),
        ("stuck", told(|row| (row.busy_ratio, row.lag_records, row.drain) = (0.9, 4, Drain::NotDraining))),
        ("blocked", told(|row| (row.busy_ratio, row.backpressured_ratio) = (0.2, 0.8))),
        ("waits", told(|row| (row.backpressured_ratio, row.paused) = (0.8, Some(Pause::Dependency)))),
        ("paused", told(|row| (row.backpressured_ratio, row.paused) = (0.8, Some(Pause::Operator)))),
    ];
    for (tone, row) in cases {
        *of(&ROW) = Some(row);
        let world = World {
            status: |_| Status {
                stages: of(&ROW).clone().into_iter().collect(),
                ..status(&World::default())
            },
            ..World::default()
        };
        let page = Serving::start(world).get("/pipeline").body;
        let step = format!("<tr class=\"step\" data-tone=\"keyframes\" data-is=\"{tone}\">");
        assert!(page.contains(&step), "{tone}: {page}");
    }
}

/// The one row of the test above: a world's status is a plain function.
static ROW: std::sync::Mutex<Option<StageStatus>> = std::sync::Mutex::new(None);

#[test]
fn a_graph_of_any_shape_is_drawn() {
    let mut apart = crate::world::graph();
    apart.retain(|node| ["keyframes", "store"].contains(&node.name.as_str()));
    apart.reverse();
    for graph in [Vec::new(), apart, crate::world::graph().into_iter().take(1).collect()] {
        let steps = graph.len();
        let page = Serving::start(World { graph, ..world() }).get("/pipeline");
        assert_eq!(page.status, 200);
        assert_eq!(
            page.body.matches("<g class=\"node\"").count(),
            2 * steps,
            "across and down: {}",
            page.body
        );
    }
}
