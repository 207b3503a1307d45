//! Traces as a collector sees them: one study, one trace, every hop the child of the one before.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use phantom::echo::View;
use prost::Message as _;
use schemas::{Message as _, ReportIssued, Revision, RunId, StudyUid, TraceId};

use crate::harness::{
    PATIENCE, eventually,
    process::Place,
    studies::{make, make_spoilt, small, submit},
    topic::records,
};

/// An OTLP receiver over HTTP that keeps what it is sent.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let kept = spans.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, kept) = (stream.unwrap(), kept.clone());
                thread::spawn(move || {
                    while let Some(body) = request(&mut stream) {
                        let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                        let scopes =
                            request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                        kept.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                    }
                });
            }
        });
        Self { url, spans }
    }

    fn of_trace(&self, trace: &TraceId) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| span.trace_id == trace.as_bytes()).cloned().collect()
    }
}

/// The body of the next request of a connection.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        let mut some = [0; 1 << 14];
        let count = stream.read(&mut some).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&some[..count]);
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        while read.len() < end + 4 + length {
            let count = stream.read(&mut some).ok().filter(|count| *count > 0)?;
            read.extend_from_slice(&some[..count]);
        }
        return Some(read.split_off(end + 4));
    }
}

fn text(span: &Span, name: &str) -> String {
    let value = span.attributes.iter().find(|one| one.key == name).and_then(|one| one.value.clone()?.value);
    match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("{}: {name} is {other:?}", span.name),
    }
}

fn trace_of(uid: &str) -> TraceId {
    TraceId::of_study(&RunId::live(), &StudyUid::new(uid).unwrap(), Revision::FIRST)
}

#[test]
fn a_study_is_one_trace_and_each_hop_is_the_child_of_the_one_before() {
    let collector = Collector::start();
    let place = Place::new("traced service")
        .set(format!("trace.otlp=\"{}\"", collector.url))
        .set("intake.arrival_gates=0");
    let mut service = place.start();
    let folder = place.folder("sent");
    let good = make(&small(80).with_loop(View::A4c), &folder);
    let spoilt = make_spoilt(81, "blur:5", &folder);
    for study in [&good, &spoilt] {
        submit(study, || place.entry());
    }
    assert_eq!(service.terminal(&good.uid).state, "reported");
    assert_eq!(service.terminal(&spoilt.uid).state, "rejected");

    // Each hop, and the store's word on each of the five records.
    let trace = trace_of(&good.uid);
    let spans = eventually("the whole trace is there", PATIENCE, || {
        Some(collector.of_trace(&trace)).filter(|spans| spans.len() == 10)
    });
    let (stored, hops): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.name == "store process");
    let by_stage: BTreeMap<String, &Span> =
        hops.iter().map(|span| (text(span, "prescreen.stage"), *span)).collect();
    let way = ["intake", "quality_gate", "keyframes", "inference", "reporting"];
    assert_eq!(by_stage.len(), way.len(), "{:?}", by_stage.keys());
    let mut parent = Vec::new();
    let mut before = 0;
    for stage in way {
        let span = by_stage[stage];
        assert_eq!(span.parent_span_id, parent, "{stage}");
        assert_eq!(span.kind(), SpanKind::Producer, "{stage}");
        assert!(before <= span.start_time_unix_nano, "{stage} begins after what it takes was begun");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{stage}");
        assert_eq!(text(span, "prescreen.class"), "clinical");
        let of_it: Vec<_> = stored.iter().filter(|store| store.parent_span_id == span.span_id).collect();
        assert_eq!(of_it.len(), 1, "the store took what {stage} made");
        assert_eq!(text(of_it[0], "prescreen.outcome"), "written");
        (parent, before) = (span.span_id.clone(), span.start_time_unix_nano);
    }
    let report = records(&service.entry().broker, ReportIssued::TOPIC.name).remove(0);
    let last = parent.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(report.header("traceparent").unwrap(), format!("00-{trace}-{last}-01"));

    let rejected = eventually("the other trace is there", PATIENCE, || {
        Some(collector.of_trace(&trace_of(&spoilt.uid))).filter(|spans| spans.len() == 4)
    });
    let gate = rejected.iter().find(|span| span.name == "quality_gate process").unwrap();
    assert_eq!(text(gate, "prescreen.outcome"), "rejected");

    // No span names a study or a person.
    let told = format!("{:?}", collector.spans.lock().unwrap());
    assert!(
        ![&good.uid, &spoilt.uid].iter().any(|uid| told.contains(uid.as_str())) && !told.contains("PHANTOM")
    );
    assert_eq!(text(gate, "prescreen.study.uid_hash").len(), 12);
    assert!(service.metric("prescreen_trace_spans_total", "outcome=\"exported\"") >= 14.0);
    assert_eq!(service.metric("prescreen_trace_spans_total", "outcome=\"dropped\""), 0.0);
    service.stop();
}

#[test]
fn a_collector_that_is_down_keeps_no_study_waiting() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::new("service without its collector")
        .set(format!("trace.otlp=\"http://{}\"", nobody.local_addr().unwrap()));
    drop(nobody);
    let mut service = place.start();
    let study = make(&small(82).with_loop(View::A4c), &place.folder("sent"));
    submit(&study, || place.entry());
    assert_eq!(service.terminal(&study.uid).state, "reported");
    assert_eq!(service.metric("prescreen_trace_spans_total", "outcome=\"exported\""), 0.0);
    service.stop();
}
