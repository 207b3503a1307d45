//! Spans: one trace for each revision, the right parents, links of a batch, and nothing that work waits for.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use crossbeam_channel::{Receiver, bounded};
use prometheus::IntCounter;
use runtime::{
    Exit, LogKey, RunSettings,
    trace::{Span, SpanKind, Spans, Value, attribute},
};
use schemas::{Message, Priority, SpanId, StudyAccepted, TraceContext, TraceId};
use stage::StageError;

use crate::{
    scripted::{Script, accepted, rejected},
    world::{World, acquired, uid, until},
};

struct Told {
    spans: Receiver<Span>,
    dropped: IntCounter,
}

/// Settings that let `room` spans wait, and where they wait.
fn told(room: usize) -> (Told, impl FnOnce(&mut RunSettings)) {
    let (queue, spans) = bounded(room);
    let dropped = IntCounter::new("dropped", "spans").unwrap();
    let told = Told { spans, dropped: dropped.clone() };
    (told, move |settings: &mut RunSettings| {
        settings.spans = Spans::into_queue(queue, dropped, LogKey::new(b"test"));
    })
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    match span.attributes.iter().find(|(known, _)| *known == name) {
        Some((_, Value::Text(text))) => text,
        other => panic!("{name}: {other:?}"),
    }
}

fn number(span: &Span, name: &str) -> i64 {
    match span.attributes.iter().find(|(known, _)| *known == name) {
        Some((_, Value::Number(number))) => *number,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_step_is_the_child_of_what_made_its_input_and_the_parent_of_what_takes_its_output() {
    let world = World::new(1);
    let (message, envelope) = acquired(1, Priority::Urgent);
    world.publisher.publish(&message, &envelope, Priority::Urgent).unwrap();
    let (told, tune) = told(100);
    let running = world.start(Script::accept(), tune);
    let output = world.read(&StudyAccepted::TOPIC.urgent(), 1).remove(0).envelope();
    assert!(matches!(running.drain(), Exit::Drained));
    let span = told.spans.try_recv().unwrap();
    let (input, made) = (envelope.trace.unwrap(), output.trace.unwrap());
    assert_eq!((span.trace_id, span.span_id), (made.trace_id, made.span_id));
    assert_eq!((span.trace_id, span.parent), (input.trace_id, Some(input.span_id)));
    assert_eq!(span.kind, SpanKind::Producer);
    assert!(span.start <= span.end && !span.failed && span.links.is_empty(), "{span:?}");
    assert_eq!(text(&span, attribute::OUTCOME), "emitted");
    assert_eq!(text(&span, attribute::STAGE), "scripted");
    assert_eq!(text(&span, attribute::TOPIC), "study.acquired.v1.urgent");
    assert_eq!(text(&span, attribute::LANE), "urgent");
    assert_eq!(text(&span, attribute::RUN), "live");
    assert_eq!(text(&span, attribute::CLASS), "clinical");
    assert_eq!(number(&span, attribute::ATTEMPT), 1);
    assert_eq!(text(&span, attribute::STUDY), LogKey::new(b"test").hash(uid(1).as_bytes()));
    assert!(!format!("{span:?}").contains(&uid(1)), "no span names a study");
    assert!(told.spans.is_empty());
}

#[test]
fn every_attempt_is_told_and_only_the_last_is_the_parent_of_what_follows() {
    let world = World::new(1);
    world.publish_routine(0..3);
    let asked = AtomicUsize::new(0);
    let script = Script::new(move |input, _| match input.study().study_uid.as_str() {
        one if one == uid(0) && asked.fetch_add(1, Ordering::SeqCst) < 2 => {
            Err(StageError::record("not now"))
        }
        one if one == uid(1) => Err(StageError::invalid("never")),
        one if one == uid(2) => Ok(rejected()),
        _ => Ok(accepted(input)),
    });
    let (told, tune) = told(100);
    let running = world.start(script, tune);
    let output = world.read(StudyAccepted::TOPIC.name, 1).remove(0).envelope();
    until("each is at its end", || world.metric("prescreen_stage_processed_total", &[]) == 3.0);
    assert!(matches!(running.drain(), Exit::Drained));
    let spans: Vec<Span> = told.spans.try_iter().collect();
    let of = |n: u32| {
        let (_, envelope) = acquired(n, Priority::Routine);
        let input = envelope.trace.unwrap();
        let of_it: Vec<&Span> = spans.iter().filter(|span| span.trace_id == input.trace_id).collect();
        assert!(of_it.iter().all(|span| span.parent == Some(input.span_id)), "{of_it:?}");
        let outcomes: Vec<_> = of_it
            .iter()
            .map(|span| {
                (text(span, attribute::OUTCOME).to_owned(), number(span, attribute::ATTEMPT), span.failed)
            })
            .collect();
        (of_it, outcomes)
    };
    let (attempts, outcomes) = of(0);
    let failed = |attempt| ("failed".to_owned(), attempt, true);
    assert_eq!(outcomes, [failed(1), failed(2), ("emitted".to_owned(), 3, false)]);
    assert_eq!(attempts[2].span_id, output.trace.unwrap().span_id);
    assert!(attempts[..2].iter().all(|span| span.span_id != attempts[2].span_id));
    assert_ne!(attempts[0].span_id, attempts[1].span_id);
    let (_, outcomes) = of(1);
    assert_eq!(outcomes, [("invalid".to_owned(), 1, true), ("dead_lettered".to_owned(), 2, true)]);
    let (_, outcomes) = of(2);
    assert_eq!(outcomes, [("rejected".to_owned(), 1, false)]);
}

#[test]
fn a_batch_is_a_span_of_its_own_that_links_to_each_of_its_records() {
    let world = World::new(1);
    world.publish_routine(0..4);
    let (told, tune) = told(100);
    let running = world.start(Script::accept().batch(4, Duration::from_secs(5)), tune);
    world.read(StudyAccepted::TOPIC.name, 4);
    assert!(matches!(running.drain(), Exit::Drained));
    let spans: Vec<Span> = told.spans.try_iter().collect();
    let (batches, studies): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.name == "scripted batch");
    assert_eq!((batches.len(), studies.len()), (1, 4));
    let batch = batches[0];
    let inputs: Vec<(TraceId, SpanId)> = (0..4)
        .map(|n| acquired(n, Priority::Routine).1.trace.unwrap())
        .map(|TraceContext { trace_id, span_id, .. }| (trace_id, span_id))
        .collect();
    assert_eq!((batch.kind, batch.parent, &batch.links), (SpanKind::Consumer, None, &inputs));
    assert_eq!(number(batch, attribute::BATCH), 4);
    for (study, (trace_id, span_id)) in studies.iter().zip(inputs) {
        assert_eq!((study.trace_id, study.parent), (trace_id, Some(span_id)), "it stays in its own trace");
        assert_eq!(study.links, [(batch.trace_id, batch.span_id)]);
        assert_ne!(study.trace_id, batch.trace_id);
    }
}

#[test]
fn work_does_not_wait_for_spans_and_what_is_dropped_is_counted() {
    let world = World::new(1);
    world.publish_routine(0..50);
    let (told, tune) = told(10);
    let running = world.start(Script::accept(), tune);
    world.read(StudyAccepted::TOPIC.name, 50);
    assert!(matches!(running.drain(), Exit::Drained));
    assert_eq!((told.spans.len(), told.dropped.get()), (10, 40));
}

#[test]
fn a_record_whose_trace_cannot_be_read_begins_one_and_one_that_is_not_sampled_is_not_told() {
    let world = World::new(1);
    let publish = |n: u32, parent: &[u8]| {
        let (message, envelope) = acquired(n, Priority::Routine);
        let mut headers = runtime::Headers::default();
        for header in envelope.to_headers() {
            let value = if header.key == "traceparent" { parent } else { header.value.as_slice() };
            headers.push(&header.key, value);
        }
        let topic = schemas::StudyAcquired::TOPIC.name;
        let key = message.study().study_uid.to_string();
        world
            .publisher
            .publish_record(topic, Some(key.as_bytes()), &headers, &schemas::encode(&message))
            .unwrap();
    };
    publish(1, b"\xff not a context");
    publish(2, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    let (told, tune) = told(10);
    let running = world.start(Script::accept(), tune);
    let outputs = world.read(StudyAccepted::TOPIC.name, 2);
    assert!(matches!(running.drain(), Exit::Drained));
    let spans: Vec<Span> = told.spans.try_iter().collect();
    let (_, first) = acquired(1, Priority::Routine);
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].trace_id, spans[0].parent), (first.trace.unwrap().trace_id, None));
    let passed_on = outputs[1].envelope().trace.unwrap();
    assert_eq!(
        (passed_on.trace_id.to_string().as_str(), passed_on.sampled),
        ("0af7651916cd43dd8448eb211c80319c", false)
    );
}
