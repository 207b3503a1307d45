//! W3C Trace Context: which trace a record belongs to, and which step of it made the record.
//!
//! ```text
//!   root:  trace id = SHA-256(run, study, revision), first 16 bytes    span id = SHA-256(event id), first 8 bytes
//!   child: trace id and tracestate of the input                        span id = SHA-256(event id), first 8 bytes
//! ```
//! Ids are derived, as event ids are: a record done again lands in the trace it was in, all hops of a revision are one
//! trace, and a replay's are another. What comes in and is no context is left out and never an error.

use std::fmt;

use sha2::Digest as _;

use crate::{EventId, Revision, RunId, StudyUid};

/// Longest `tracestate` that is passed on; the recommendation asks for at least so much.
const MAX_STATE: usize = 512;
/// Members of a `tracestate`, at most.
const MAX_MEMBERS: usize = 32;

/// The id of one trace: 16 bytes, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of one span of a trace: 8 bytes, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// The trace of one revision of a study in one run.
    pub fn of_study(run: &RunId, study: &StudyUid, revision: Revision) -> Self {
        Self::of(&[run.as_str(), study.as_str(), &revision.to_string()])
    }

    /// The trace that `parts` name.
    pub fn of(parts: &[&str]) -> Self {
        Self(derived("trace", parts))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// The span of the step that made event `id`.
    pub fn of_event(id: EventId) -> Self {
        Self(derived("span", &[&id.to_string()]))
    }

    /// The span of an attempt at event `id` that did not make it.
    pub fn of_attempt(id: EventId, attempt: u32) -> Self {
        Self(derived("attempt", &[&id.to_string(), &attempt.to_string()]))
    }

    /// The 8 bytes.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// The first bytes of a digest of `parts`, each with its length, so that no two lists of parts read the same.
fn derived<const N: usize>(kind: &str, parts: &[&str]) -> [u8; N] {
    let mut sha = sha2::Sha256::new();
    for part in [kind].iter().chain(parts) {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    let mut id = [0; N];
    for (byte, derived) in id.iter_mut().zip(sha.finalize()) {
        *byte = derived;
    }
    if id.iter().all(|byte| *byte == 0) {
        // All zero means "none" (W3C Trace Context 3.2.2.3).
        id = [1; N];
    }
    id
}

/// The headers `traceparent` and `tracestate` of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span of the step that made it.
    pub span_id: SpanId,
    /// Whether whoever began the trace records it.
    pub sampled: bool,
    /// What other systems of the same trace say; passed on as it is.
    state: Option<String>,
}

impl TraceContext {
    /// Begins the trace of a revision with event `id`.
    pub fn root(run: &RunId, study: &StudyUid, revision: Revision, id: EventId) -> Self {
        Self {
            trace_id: TraceId::of_study(run, study, revision),
            span_id: SpanId::of_event(id),
            sampled: true,
            state: None,
        }
    }

    /// The same trace, at the step that made event `id`.
    #[must_use]
    pub fn child(&self, id: EventId) -> Self {
        Self { span_id: SpanId::of_event(id), ..self.clone() }
    }

    /// Reads the two headers. `None` where `traceparent` is no such header; a `tracestate` that is none is left out.
    pub fn read(traceparent: &[u8], tracestate: Option<&[u8]>) -> Option<Self> {
        let (trace_id, span_id, flags) = parent(traceparent)?;
        Some(Self { trace_id, span_id, sampled: flags & 1 == 1, state: tracestate.and_then(state) })
    }

    /// The header `traceparent`, of version 00.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-0{}", self.trace_id, self.span_id, u8::from(self.sampled))
    }

    /// The header `tracestate`, if there is one.
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Trace id, span id and flags of a `traceparent`. A later version is read as far as this one goes.
fn parent(header: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (known, rest) = header.split_at_checked(55)?;
    let mut fields = known.split(|byte| *byte == b'-');
    let [version] = hex::<1>(fields.next()?)?;
    let (trace_id, span_id) = (hex::<16>(fields.next()?)?, hex::<8>(fields.next()?)?);
    let [flags] = hex::<1>(fields.next()?)?;
    let goes_on = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let is_set = trace_id.iter().any(|byte| *byte != 0) && span_id.iter().any(|byte| *byte != 0);
    (goes_on && is_set && fields.next().is_none()).then_some((TraceId(trace_id), SpanId(span_id), flags))
}

/// `N` bytes in lower-case hexadecimal.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

/// A `tracestate` that may be passed on (W3C Trace Context 3.3.1).
fn state(header: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(header).ok().filter(|text| text.len() <= MAX_STATE)?;
    let members =
        || text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|one| !one.is_empty());
    let keys = || members().filter_map(|member| member.split_once('=')).map(|(key, _)| key);
    let is_whole = (1..=MAX_MEMBERS).contains(&members().count())
        && members().all(is_member)
        && keys().enumerate().all(|(place, key)| keys().take(place).all(|before| before != key));
    is_whole.then(|| text.to_owned())
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let begins = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_key = key.len() <= 256
        && key.bytes().next().is_some_and(begins)
        && key.bytes().all(|byte| begins(byte) || b"_-*/@".contains(&byte));
    let is_value = (1..=256).contains(&value.len())
        && value.bytes().all(|byte| (0x20..=0x7e).contains(&byte) && byte != b'=');
    is_key && is_value
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
