use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::span,
};
use runtime::trace::{SpanKind, attribute};
use schemas::{EventId, SpanId, TraceId};

use super::*;

fn span_of(number: u128) -> Span {
    Span {
        trace_id: TraceId::of(&["test", &number.to_string()]),
        span_id: SpanId::of_event(EventId(uuid::Uuid::from_u128(number))),
        parent: Some(SpanId::of_event(EventId(uuid::Uuid::from_u128(number + 1)))),
        state: Some("vendor=1".to_owned()),
        kind: SpanKind::Producer,
        name: "gate process".to_owned(),
        start: Timestamp::from_second(5).expect("a time"),
        end: Timestamp::from_second(7).expect("a time"),
        attributes: vec![(attribute::STAGE, "gate".into()), (attribute::ATTEMPT, 2.into())],
        links: vec![(TraceId::of(&["batch"]), SpanId::of_attempt(EventId(uuid::Uuid::nil()), 0))],
        failed: true,
    }
}

/// A collector that answers each request as told, and what it was sent.
fn collector(answers: Vec<&'static str>) -> (String, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sent, requests) = bounded(100);
    thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            sent.send(ExportTraceServiceRequest::decode(body(&mut stream).as_slice()).expect("protobuf"))
                .expect("a test that waits");
            write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .expect("an answer");
        }
    });
    (url, requests)
}

fn body(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).expect("a request");
        read.extend_from_slice(&some[..count]);
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces ") && head.contains("application/x-protobuf"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let length: usize = length.trim().parse().expect("a number");
        if read.len() >= end + 4 + length {
            return read.split_off(end + 4);
        }
    }
}

fn outcomes(registry: &Registry) -> Vec<(String, f64)> {
    let families = registry.gather();
    let family = families.iter().find(|one| one.name() == "prescreen_trace_spans_total").expect("declared");
    let metrics = family.get_metric().iter();
    metrics.map(|one| (one.get_label()[0].value().to_owned(), one.get_counter().get_value())).collect()
}

/// Exports `spans` to a collector that gives `answers`, and ends.
fn export(answers: Vec<&'static str>, count: u128) -> (Vec<ExportTraceServiceRequest>, Vec<(String, f64)>) {
    let registry = Registry::new();
    let expected = answers.len();
    let (url, requests) = collector(answers);
    let metrics = TraceMetrics::register(&registry).expect("metrics");
    let (queue, spans) = bounded(QUEUE);
    let (stop, stopped) = bounded::<()>(0);
    let exporter = Exporter {
        url: format!("{url}/v1/traces"),
        instance: "test".to_owned(),
        metrics,
        agent: ureq::Agent::config_builder().http_status_as_error(false).build().into(),
        reachable: true,
    };
    (0..count).for_each(|number| queue.send(span_of(number)).expect("room"));
    let thread = thread::spawn(move || exporter.run(&spans, &stopped));
    let got =
        (0..expected).map(|_| requests.recv_timeout(Duration::from_secs(30)).expect("a request")).collect();
    drop(stop);
    thread.join().expect("an end");
    (got, outcomes(&registry))
}

#[test]
fn a_span_arrives_as_it_was_told() {
    let (requests, outcomes) = export(vec!["200 OK"], 1);
    let all = &requests[0].resource_spans[0];
    let resource = all.resource.as_ref().expect("a resource");
    assert_eq!(resource.attributes[0].key, "service.name");
    let (sent, told) = (&all.scope_spans[0].spans[0], span_of(0));
    assert_eq!(sent.trace_id, told.trace_id.as_bytes());
    assert_eq!(sent.span_id, told.span_id.as_bytes());
    assert_eq!(sent.parent_span_id, told.parent.expect("a parent").as_bytes());
    assert_eq!((sent.trace_state.as_str(), sent.name.as_str()), ("vendor=1", "gate process"));
    assert_eq!((sent.start_time_unix_nano, sent.end_time_unix_nano), (5_000_000_000, 7_000_000_000));
    assert_eq!(sent.kind(), span::SpanKind::Producer);
    assert_eq!(sent.links[0].trace_id, told.links[0].0.as_bytes());
    assert_eq!(sent.status.as_ref().map(|status| status.code), Some(2), "an error");
    let values: Vec<_> = sent
        .attributes
        .iter()
        .map(|one| (one.key.as_str(), one.value.clone().and_then(|value| value.value).expect("a value")))
        .collect();
    let text = any_value::Value::StringValue("gate".to_owned());
    assert_eq!(values, [("prescreen.stage", text), ("prescreen.attempt", any_value::Value::IntValue(2))]);
    assert!(outcomes.contains(&("exported".to_owned(), 1.0)), "{outcomes:?}");
}

#[test]
fn a_busy_collector_is_asked_again_and_one_that_refuses_is_not() {
    let (requests, outcomes) = export(vec!["503 Service Unavailable", "200 OK"], 3);
    assert_eq!(requests[0], requests[1], "the same spans again");
    assert!(outcomes.contains(&("exported".to_owned(), 3.0)), "{outcomes:?}");
    let (_, outcomes) = export(vec!["400 Bad Request"], 3);
    assert!(outcomes.contains(&("refused".to_owned(), 3.0)), "{outcomes:?}");
    assert!(outcomes.contains(&("exported".to_owned(), 0.0)), "{outcomes:?}");
}

#[test]
fn a_request_has_a_bounded_number_of_spans() {
    let (requests, outcomes) = export(vec!["200 OK", "200 OK", "200 OK"], 1100);
    let sizes: Vec<usize> =
        requests.iter().map(|request| request.resource_spans[0].scope_spans[0].spans.len()).collect();
    assert_eq!(sizes, [512, 512, 76]);
    assert!(outcomes.contains(&("exported".to_owned(), 1100.0)), "{outcomes:?}");
}

#[test]
fn a_collector_that_is_not_there_costs_spans_and_no_time() {
    let registry = Registry::new();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let (tracing, spans) = Tracing::start(&url, "test", LogKey::new(b"test"), &registry).expect("started");
    let message: schemas::StudyAcquired = serde_json::from_str(include_str!(
        "../../../schemas/topics/study.acquired.v1/examples/echo_by_association.json"
    ))
    .expect("an example");
    let now = Timestamp::now();
    let envelope =
        schemas::Envelope::of(&message, EventId(uuid::Uuid::nil()), schemas::RunId::live(), "intake", now);
    let begun = Instant::now();
    let told = QUEUE + BATCH + 100;
    (0..told).for_each(|_| spans.published("intake", "study.acquired.v1", &envelope, now));
    assert!(begun.elapsed() < Duration::from_secs(2), "nobody waits: {:?}", begun.elapsed());
    drop(tracing);
    assert!(begun.elapsed() < Duration::from_secs(2) + FAREWELL, "{:?}", begun.elapsed());
    let outcomes = outcomes(&registry);
    assert!(outcomes.contains(&("dropped".to_owned(), told as f64)), "{outcomes:?}");
}
