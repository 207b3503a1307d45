//! W3C Trace Context: what is read, what is passed on, and that nothing from outside is ever an error.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

use proptest::prelude::*;
use schemas::{
    Envelope, EventId, Header, Message as _, Revision, RunId, SpanId, StudyAcquired, StudyUid, TraceContext,
    TraceId, event_id,
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const ACQUIRED: &str = include_str!("../topics/study.acquired.v1/examples/echo_by_association.json");

fn event(number: u128) -> EventId {
    EventId(uuid::Uuid::from_u128(number))
}

fn read(parent: &str) -> Option<TraceContext> {
    TraceContext::read(parent.as_bytes(), None)
}

fn envelope() -> Envelope {
    let message: StudyAcquired = serde_json::from_str(ACQUIRED).expect("an example");
    let id = event_id(&RunId::live(), "intake", &[message.study().study_uid.as_str()]);
    Envelope::of(&message, id, RunId::live(), "intake", "2026-11-20T08:00:00Z".parse().expect("a time"))
}

/// The envelope as it is read when its trace headers are replaced by `headers`.
fn with_headers(headers: &[(&str, &[u8])]) -> Envelope {
    let others: Vec<Header> =
        envelope().to_headers().into_iter().filter(|header| !header.key.starts_with("trace")).collect();
    let others = others.iter().map(|header| (header.key.as_str(), header.value.as_slice()));
    Envelope::from_headers(others.chain(headers.iter().copied())).expect("an envelope")
}

#[test]
fn a_context_survives_its_headers() {
    let context = read(PARENT).expect("a context");
    assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(context.span_id.to_string(), "b7ad6b7169203331");
    assert!(context.sampled);
    assert_eq!(context.traceparent(), PARENT);
    let not_sampled = read(&PARENT.replace("-01", "-00")).expect("a context");
    assert_eq!(not_sampled.traceparent(), PARENT.replace("-01", "-00"));
}

#[test]
fn what_is_no_traceparent_of_version_00_is_left_out_and_a_later_one_is_read_as_far_as_it_goes() {
    for wrong in [
        "",
        "00",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
    ] {
        assert_eq!(read(wrong), None, "{wrong:?}");
    }
    let later = read("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fd-more").expect("a context");
    assert_eq!(later.traceparent(), PARENT, "passed on as our version, with the flag that we know");
}

#[test]
fn a_tracestate_is_passed_on_as_it_is_or_not_at_all() {
    let state = |text: &str| TraceContext::read(PARENT.as_bytes(), Some(text.as_bytes())).expect("a context");
    let longest = format!("a={}", "x".repeat(256));
    for right in ["vendor=1", "rojo=00f067aa, congo=t61r\t,,0tenant@system=a b", &longest] {
        assert_eq!(state(right).tracestate(), Some(right));
        assert_eq!(state(right).child(event(1)).tracestate(), Some(right), "a child keeps it");
    }
    let many = (0..33).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
    let long = format!("a={}", "x".repeat(257));
    for wrong in ["", ",", "a", "a=", "A=1", "a=1,a=2", "a=1=2", "a=é", "=1", &many, &long] {
        assert_eq!(state(wrong).tracestate(), None, "{wrong:?}");
    }
}

#[test]
fn ids_are_derived_from_what_they_name() {
    let (live, study) = (RunId::live(), StudyUid::new("2.25.1").expect("a uid"));
    let root = TraceContext::root(&live, &study, Revision(1), event(1));
    assert_eq!(
        root,
        TraceContext::root(&live, &study, Revision(1), event(1)),
        "a redelivery lands where it was"
    );
    assert_eq!(root.trace_id, TraceId::of_study(&live, &study, Revision(1)));
    for other in [
        TraceId::of_study(&RunId::new("replay-1").expect("a run id"), &study, Revision(1)),
        TraceId::of_study(&live, &study, Revision(2)),
        TraceId::of_study(&live, &StudyUid::new("2.25.11").expect("a uid"), Revision(1)),
    ] {
        assert_ne!(other, root.trace_id);
    }
    let child = root.child(event(2));
    assert_eq!((child.trace_id, child.span_id), (root.trace_id, SpanId::of_event(event(2))));
    let spans =
        [child.span_id, root.span_id, SpanId::of_attempt(event(2), 1), SpanId::of_attempt(event(2), 2)];
    assert!(spans.iter().enumerate().all(|(place, span)| !spans[..place].contains(span)), "{spans:?}");
}

#[test]
fn an_envelope_begins_the_trace_of_its_study_and_what_is_made_of_it_goes_on_with_it() {
    let made = envelope();
    let trace = made.trace.clone().expect("a trace");
    assert_eq!(trace.trace_id, TraceId::of_study(&made.run, &made.subject, made.revision));
    assert_eq!(made.trace_of(event(7)), trace.child(event(7)));
    let untraced = with_headers(&[]);
    assert_eq!(untraced.trace, None);
    let began = untraced.trace_of(event(7));
    assert_eq!((began.trace_id, began.span_id), (trace.trace_id, SpanId::of_event(event(7))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_stands_in_the_trace_headers_the_record_is_read(
        parent in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[0-9a-f-]{50,60}".prop_map(String::into_bytes),
            Just(PARENT.as_bytes().to_vec()),
        ],
        state in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..600),
            "([a-z0-9@]{1,4}=[ -~]{0,4},?){0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let read = with_headers(&[("traceparent", &parent), ("tracestate", &state)]);
        if let Some(trace) = &read.trace {
            let trace_id = trace.trace_id.to_string();
            prop_assert_eq!(trace_id.as_bytes(), &parent[3..35]);
            let headers = read.to_headers();
            let headers = headers.iter().map(|header| (header.key.as_str(), header.value.as_slice()));
            prop_assert_eq!(&Envelope::from_headers(headers).expect("an envelope"), &read);
        } else {
            prop_assert!(TraceContext::read(&parent, None).is_none());
            prop_assert!(read.to_headers().iter().all(|header| !header.key.starts_with("trace")));
        }
    }

    #[test]
    fn what_is_written_is_read_back(trace in any::<u128>(), span in any::<u64>(), flags in any::<u8>()) {
        let parent = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
        let context = read(&parent);
        prop_assert_eq!(context.is_some(), trace != 0 && span != 0);
        if let Some(context) = context {
            prop_assert_eq!(context.traceparent(), format!("00-{trace:032x}-{span:016x}-{:02x}", flags & 1));
        }
    }
}
