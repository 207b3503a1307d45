//! The frames lie densely enough in time.

use schemas::{Check, CheckVerdict, ReasonCode};
use stage::ClipHeader;

use crate::rule::{Limits, Rule, Worse, bilingual};

const RULE: Rule = Rule {
    name: "frame_rate",
    unit: "Hz",
    worse: Worse::Below,
    code: ReasonCode::known("LOW_FPS"),
    advice: [
        "The frame rate is too low to see end-systole: narrow the sector or reduce depth, acquire again.",
        "帧频过低，难以分辨收缩末期：请缩小扇区或减小深度后重新采集。",
    ],
};

/// The code where the header says nothing about time.
pub(crate) const UNKNOWN: ReasonCode = ReasonCode::known("TIMING_UNKNOWN");

/// Frames per second, where they are known.
pub(crate) fn known(header: &ClipHeader) -> Option<f64> {
    header.timing.fps.filter(|fps| fps.is_finite() && *fps > 0.0)
}

/// Judges the frame rate; unknown timing is a warning, since the phases can still be found without a clock.
pub(crate) fn check(header: &ClipHeader, limits: Limits) -> Check {
    let Some(fps) = known(header) else {
        let advice = bilingual([
            "The header gives no frame time: set the device to export frame time or cine rate.",
            "图像头未给出帧时间：请将设备设置为导出帧时间或帧频。",
        ]);
        let check = RULE.check(None, limits.warn, CheckVerdict::Warn);
        return Check { code: Some(UNKNOWN), advice: Some(advice), ..check };
    };
    RULE.judge(fps, limits)
}
