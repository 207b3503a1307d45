//! What is fixed about each check of a slide or field of view.

use schemas::{Check, CheckVerdict, ReasonCode};
use stain::{Plan, REFERENCE};

use super::PathologyLimits;
use crate::rule::{Limits, Rule, Worse};

const TISSUE: Rule = Rule {
    name: "tissue",
    unit: "1",
    worse: Worse::Below,
    code: ReasonCode::known("BLANK"),
    advice: [
        "There is hardly any tissue in this picture: choose a field of view on tissue, or scan the slide again.",
        "图像中几乎没有组织：请选择含组织的视野，或重新扫描切片。",
    ],
};
const FOCUS: Rule = Rule {
    name: "focus",
    unit: "{grey}2",
    worse: Worse::Below,
    code: ReasonCode::known("OUT_OF_FOCUS"),
    advice: [
        "The picture is out of focus: clean the slide, focus again and capture it again.",
        "图像失焦：请清洁切片，重新对焦并采集。",
    ],
};
const PEN_MARK: [&str; 2] = [
    "There are pen marks on the tissue: wipe the slide and scan it again, or choose another field of view.",
    "组织上有记号笔痕迹：请擦净切片后重新扫描，或选择其他视野。",
];
const PEN: Rule =
    Rule { name: "pen", unit: "1", worse: Worse::Above, code: ReasonCode::known("PEN"), advice: PEN_MARK };
const BLACK_PEN: Rule = Rule {
    name: "black_pen",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("PEN"),
    advice: PEN_MARK,
};
const FOLD: Rule = Rule {
    name: "fold",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("FOLD"),
    advice: [
        "The tissue is folded: what lies in the fold cannot be read; look at another section.",
        "组织有折叠：折叠处无法判读，请查看其他切片。",
    ],
};
const PALE: Rule = Rule {
    name: "density",
    unit: "1",
    worse: Worse::Below,
    code: ReasonCode::known("PALE"),
    advice: [
        "The section is stained faintly or has faded: consider staining it again.",
        "切片染色过淡或已褪色：建议重新染色。",
    ],
};
const STAIN: Rule = Rule {
    name: "stain",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("STAIN_IMPLAUSIBLE"),
    advice: [
        "The colours are not those of haematoxylin and eosin: check which stain this slide has.",
        "颜色与苏木精-伊红染色不符：请核对该切片的染色方法。",
    ],
};
const STAIN_FALLBACK: Rule = Rule {
    name: "stain",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("STAIN_FALLBACK"),
    advice: [
        "The two stains cannot be told apart here; colours are normalised by the reference. Check the staining.",
        "无法区分两种染色，颜色按参考标准归一化；请核对染色质量。",
    ],
};
const RESOLUTION: Rule = Rule {
    name: "resolution",
    unit: "um",
    worse: Worse::Above,
    code: ReasonCode::known("LOW_RES"),
    advice: [
        "The picture is coarser than a 20x objective gives: scan or export at 20x or more.",
        "图像分辨率低于 20 倍物镜：请以 20 倍或更高倍率扫描或导出。",
    ],
};
const RESOLUTION_UNKNOWN: Rule = Rule {
    name: "resolution",
    unit: "um",
    worse: Worse::Above,
    code: ReasonCode::known("RESOLUTION_UNKNOWN"),
    advice: [
        "The file does not say how large a pixel is; it is read as if taken at 20x. Export with the scale kept.",
        "文件未注明像素尺寸，按 20 倍图像处理；导出时请保留比例信息。",
    ],
};

/// Judges the share of tissue.
pub(super) fn tissue(share: f64, limits: Limits) -> Check {
    TISSUE.judge(share, limits)
}

/// Judges the variance of the Laplacian; it rejects only where the re-blur metric agrees.
pub(super) fn focus(variance: f64, reblur: f64, limits: &PathologyLimits) -> Check {
    let blurred = reblur > limits.focus_reject_blur;
    FOCUS.judge(variance, if blurred { limits.focus } else { limits.focus.warning_only(Worse::Below) })
}

/// Judges the share of coloured pen.
pub(super) fn pen(share: f64, limits: Limits) -> Check {
    PEN.judge(share, limits)
}

/// Judges the share of black pen.
pub(super) fn black_pen(share: f64, limits: Limits) -> Check {
    BLACK_PEN.judge(share, limits)
}

/// Judges the share of folded tissue.
pub(super) fn fold(share: f64, warn: f64) -> Check {
    FOLD.judge(share, Limits { warn, reject: f64::INFINITY })
}

/// Judges the mean optical density of tissue.
pub(super) fn pale(density: f64, warn: f64) -> Check {
    PALE.judge(density, Limits { warn, reject: f64::NEG_INFINITY })
}

/// Judges whether the stains can be told, and whether they are haematoxylin and eosin.
pub(super) fn stain(plan: &Plan, warn: f64) -> Check {
    match plan {
        Plan::Own(_) => {
            let off_green = plan.staining(&REFERENCE).map_or(0.0, |found| found.stains.off_green());
            STAIN.judge(off_green, Limits { warn, reject: f64::INFINITY })
        }
        Plan::Reference(_) | Plan::Unchanged { .. } => STAIN_FALLBACK.check(None, warn, CheckVerdict::Warn),
    }
}

/// Judges the size of a pixel in micrometres.
pub(super) fn resolution(microns_per_pixel: Option<[f64; 2]>, warn: f64) -> Check {
    match microns_per_pixel {
        Some([across, down]) => {
            RESOLUTION.judge(f64::midpoint(across, down), Limits { warn, reject: f64::INFINITY })
        }
        None => RESOLUTION_UNKNOWN.check(None, warn, CheckVerdict::Warn),
    }
}
