//! Enough frames for one beat.

use schemas::{Check, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const RULE: Rule = Rule {
    name: "frames",
    unit: "{frames}",
    worse: Worse::Below,
    code: ReasonCode::known("TRUNCATED"),
    advice: [
        "The loop has too few frames for a heart beat: acquire at least one and a half heart beats.",
        "动态图像帧数不足一个心动周期：请采集至少一个半心动周期。",
    ],
};

/// Judges the number of frames.
pub(crate) fn check(frames: u32, least: u32) -> Check {
    RULE.judge(f64::from(frames), Limits { warn: f64::from(least), reject: f64::from(least) })
}
