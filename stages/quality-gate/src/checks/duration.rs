//! The clip holds a whole heart beat.

use schemas::{Check, CheckVerdict, ReasonCode};
use stage::ClipHeader;

use crate::{
    beat,
    checks::frame_rate,
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

/// Judges how many beats of `beat_s` seconds the clip holds, of one second where no beat is known. Without timing it
/// cannot be measured.
pub(crate) fn check(header: &ClipHeader, beat_s: Option<f64>, limits: Limits) -> Check {
    let Some(fps) = frame_rate::known(header) else {
        return Check {
            code: Some(frame_rate::UNKNOWN),
            ..RULE.check(None, limits.warn, CheckVerdict::Warn)
        };
    };
    // Frame times are written rounded: 30 frames of 33.333 ms are one second. A thousandth of a beat is below a frame.
    let seconds = f64::from(header.frames) / fps;
    let beats = (seconds / beat_s.unwrap_or(beat::ASSUMED_S) * 1000.0).round() / 1000.0;
    RULE.judge(beats, limits)
}
