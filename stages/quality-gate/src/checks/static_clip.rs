//! The heart moves: a frozen loop has no phases.

use schemas::{Check, ReasonCode};

use crate::{
    config::EchoLimits,
    motion::Motion,
    rule::{Rule, Worse},
};

const CODE: ReasonCode = ReasonCode::known("STATIC");
const ADVICE: [&str; 2] =
    ["Nothing moves in this loop: unfreeze and acquire again.", "动态图像静止不动：请解除冻结后重新采集。"];
const MOTION: Rule = Rule { name: "motion", unit: "{grey}", worse: Worse::Below, code: CODE, advice: ADVICE };
const DUPLICATES: Rule =
    Rule { name: "duplicate_frames", unit: "1", worse: Worse::Above, code: CODE, advice: ADVICE };

/// Judges how much the picture changes over the clip, and how many frames repeat the one before.
pub(crate) fn checks(motion: Motion, limits: &EchoLimits) -> [Check; 2] {
    [
        MOTION.judge(motion.deviation, limits.motion),
        DUPLICATES.judge(motion.duplicate_share, limits.duplicate_frames),
    ]
}
