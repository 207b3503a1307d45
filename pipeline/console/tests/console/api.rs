//! What the API reads.

use console::site::{Arrival, GraphNode, Sender, StudyRow, TappedRecord};

use crate::{
    hostile::{self, ODD_AE, accepted, blurred, colour},
    serving::Serving,
    world::{self, World},
};

#[test]
fn the_api_gives_the_same_words_on_arrivals_as_the_page() {
    let console = Serving::start(hostile::world());
    let senders: Vec<Sender> = serde_json::from_str(&console.get("/api/acquisition").body).expect("senders");
    assert_eq!(senders[0].ae_title, ODD_AE);
    let body = console.get("/api/acquisition/US%201%2F2%3F%23%25%26%3Cb%3E?limit=7").body;
    let arrivals: Vec<Arrival> = serde_json::from_str(&body).expect("arrivals");
    assert_eq!(arrivals, [colour(), blurred(), accepted()]);
    let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&json[1]["standing"], &json[1]["instance"]["code"]), (&"provisional".into(), &"BLUR".into()));
    assert_eq!(console.told(), [format!("arrivals of {ODD_AE}: 7")]);
}

#[test]
fn confirmed_studies_come_in_pages_of_at_most_a_thousand() {
    let console = Serving::start(World::default());
    for path in ["", "?skip=1000&limit=2", "?limit=4000"] {
        let answer = console.get(&format!("/api/calibration/studies{path}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{path}");
    }
    assert_eq!(console.get("/api/calibration/studies?last=1").status, 400);
    let told = ["confirmed after 0: 1000", "confirmed after 1000: 2", "confirmed after 0: 1000"];
    assert_eq!(console.told(), told);
}

#[test]
fn studies_are_listed_since_a_time() {
    let console = Serving::start(hostile::world());
    let listed = |since: &str| {
        let body = console.get(&format!("/api/studies?since={since}")).body;
        serde_json::from_str::<Vec<StudyRow>>(&body).expect("rows").len()
    };
    assert_eq!((listed("1970-01-01T00:00:00Z"), listed("1970-01-01T00:00:01Z")), (1, 0));
}

#[test]
fn the_graph_is_given_as_it_is_drawn() {
    let console = Serving::start(World::default());
    let graph: Vec<GraphNode> = serde_json::from_str(&console.get("/api/graph").body).expect("steps");
    assert_eq!(graph, world::graph());
}

#[test]
fn a_tap_is_bounded_whatever_was_asked() {
    let console = Serving::start(World::default());
    let tap = |query: &str| {
        let body = console.get(&format!("/api/tap?topic=study.acquired.v1{query}")).body;
        serde_json::from_str::<Vec<TappedRecord>>(&body).expect("records")
    };
    assert_eq!(tap("")[0].headers["ce_subject"], "#5f3a");
    tap("&count=4000000000&wait_ms=18446744073709551615&rate_per_s=4");
    let told = console.told();
    assert!(told[0].contains("count: 10, wait_ms: 0, rate_per_s: 0"), "{told:?}");
    assert!(told[1].contains("count: 1000, wait_ms: 30000, rate_per_s: 4"), "{told:?}");
}

#[test]
fn a_name_rebound_to_loopback_is_refused() {
    let console = Serving::start(World::default());
    let port = console.address.port();
    for (host, status) in [
        (format!("localhost:{port}"), 200),
        ("[::1]".to_owned(), 200),
        (format!("[::1]:{port}"), 200),
        (format!("attacker.example:{port}"), 403),
        (format!("127.0.0.1.attacker.example:{port}"), 403),
        ("localhost.attacker.example".to_owned(), 403),
    ] {
        let answer = console.raw(&format!("GET /api/status HTTP/1.1\r\nHost: {host}"), b"");
        assert_eq!(answer.status, status, "{host}");
    }
}
