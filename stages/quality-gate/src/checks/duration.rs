//! The clip holds a whole heart beat.

use schemas::{Check, CheckVerdict, ReasonCode};
use stage::ClipHeader;

use crate::{
    checks::frame_rate,
    motion::median,
    rule::{Limits, Rule, Worse},
};

const RULE: Rule = Rule {
    name: "duration",
    unit: "{beats}",
    worse: Worse::Below,
    code: ReasonCode::known("TRUNCATED"),
    advice: [
        "The loop is shorter than needed: acquire at least one and a half heart beats.",
        "动态图像过短：请采集至少一个半心动周期。",
    ],
};

/// Seconds of a beat where nothing names the heart rate.
const ASSUMED_BEAT_S: f64 = 1.0;

/// Judges how many beats the clip holds: by the R waves, else by the heart rate, else by beats of one second.
/// Without timing it cannot be measured.
pub(crate) fn check(header: &ClipHeader, limits: Limits) -> Check {
    let Some(fps) = frame_rate::known(header) else {
        return Check {
            code: Some(frame_rate::UNKNOWN),
            ..RULE.check(None, limits.warn, CheckVerdict::Warn)
        };
    };
    let intervals = header.r_waves_ms.windows(2).filter_map(|pair| match pair {
        [from, to] if to > from => Some((to - from) / 1000.0),
        _ => None,
    });
    let intervals: Vec<f64> = intervals.collect();
    let by_rate = header.heart_rate.filter(|rate| rate.is_finite() && *rate > 0.0).map(|rate| 60.0 / rate);
    let beat = if intervals.is_empty() { by_rate.unwrap_or(ASSUMED_BEAT_S) } else { median(intervals) };
    // Frame times are written rounded: 30 frames of 33.333 ms are one second. A thousandth of a beat is below a frame.
    let beats = (f64::from(header.frames) / fps / beat * 1000.0).round() / 1000.0;
    RULE.judge(beats, limits)
}
