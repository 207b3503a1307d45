//! Spans as OTLP messages.

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status, span, status},
};
use runtime::trace::{Span, SpanKind, Value};

/// Bits of a span's or link's flags: sampled (W3C), and that it is known that the parent is another process's (OTLP).
const SAMPLED: u32 = 0x01;
const REMOTE: u32 = 0x300;

/// One request that exports `spans` of the process `instance`.
pub(super) fn request(spans: &[Span], instance: &str) -> ExportTraceServiceRequest {
    let resource = [
        ("service.name", "prescreen"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let resource = Resource {
        attributes: resource.map(|(key, value)| attribute(key, &value.into())).into(),
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "prescreen".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans =
        ScopeSpans { scope: Some(scope), spans: spans.iter().map(otlp).collect(), ..ScopeSpans::default() };
    let all =
        ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![all] }
}

fn otlp(span: &Span) -> OtlpSpan {
    let kind = match span.kind {
        SpanKind::Producer => span::SpanKind::Producer,
        SpanKind::Consumer => span::SpanKind::Consumer,
    };
    let code = if span.failed { status::StatusCode::Error } else { status::StatusCode::Unset };
    let links = span.links.iter().map(|(trace_id, span_id)| span::Link {
        trace_id: trace_id.as_bytes().to_vec(),
        span_id: span_id.as_bytes().to_vec(),
        flags: SAMPLED | REMOTE,
        ..span::Link::default()
    });
    OtlpSpan {
        trace_id: span.trace_id.as_bytes().to_vec(),
        span_id: span.span_id.as_bytes().to_vec(),
        trace_state: span.state.clone().unwrap_or_default(),
        parent_span_id: span.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED | if span.parent.is_some() { REMOTE } else { 0 },
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end.max(span.start)),
        attributes: span.attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        links: links.collect(),
        status: Some(Status { code: code.into(), message: String::new() }),
        ..OtlpSpan::default()
    }
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.clone()),
        Value::Number(number) => any_value::Value::IntValue(*number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Since the epoch; 0 before it.
fn nanoseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}
