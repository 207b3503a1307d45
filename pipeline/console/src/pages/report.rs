//! A report or rejection as issued, for reading and for print.
//!
//! The interval stands before the value, so that the eye meets the doubt first; every text of the machine lies on a
//! watermark until a physician has moved the report on.

mod scale;

use std::sync::LazyLock;

use maud::{Markup, html};
use reporting::ReportWriter;
use schemas::{
    CalibrationUsed, Certainty, Clip, CodeSystem, Coding, Domain, EfEstimate, Keyframe, KeyframeKind,
    ReasonCode, Rejection, ReportIssued, Tag,
};
use serde::Serialize;
use serde_json::Value;

use crate::site::StudyRow;
use scale::scale;

/// An enum's name as it stands in messages.
fn name_of(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Percent to a tenth, whole where it is.
fn percent(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// The report, both languages, and its keyframes.
pub(super) fn report(json: &Value) -> Markup {
    let Ok(report) = serde_json::from_value::<ReportIssued>(json.clone()) else {
        return html! { p.warn { "The stored report is of a version this build cannot show." } };
    };
    html! {
        section.report {
            h2 { "Preliminary report " small { "初步报告 · AI draft 人工智能草稿" } }
            (marks(&report))
            (answer(&report))
            (texts(&report.text.en, &report.text.zh))
            (pictures(&report.clips))
            (provenance(&report))
        }
    }
}

fn marks(report: &ReportIssued) -> Markup {
    html! {
        p.marks {
            span class={ "badge certainty " (tone(report.certainty)) } { (name_of(report.certainty)) } " "
            @for tag in &report.tags {
                @let (en, zh) = meaning(*tag);
                span.badge.tag title={ (en) " " (zh) } { (name_of(tag)) } " "
            }
            @for code in &report.cautions { span.badge.caution { (code) } " " }
        }
    }
}

fn tone(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Low => "good",
        Certainty::Medium => "fair",
        Certainty::High => "bad",
        Certainty::Abstain => "none",
    }
}

/// What a mark means, for the one who points at it.
fn meaning(tag: Tag) -> (&'static str, &'static str) {
    match tag {
        Tag::Synthetic => ("A phantom, not a patient.", "合成体模，非患者。"),
        Tag::Uncalibrated => ("No calibration set stands behind the number.", "数值没有校准数据支持。"),
        Tag::EfDisagree => ("Model and contours lie far apart.", "模型与轮廓测量相差较大。"),
        Tag::ViewConflict => ("Model and device name different views.", "模型与设备标注的切面不一致。"),
        Tag::PhaseUnreliable => {
            ("End-diastole and end-systole are not reliable.", "舒张末期与收缩末期定位不可靠。")
        }
        Tag::QualityCaution => ("The gate passed it with warnings.", "质量检查通过但有警告。"),
        Tag::LanguagePolicy => ("The text was reworded or replaced.", "文字已被改写或替换。"),
        Tag::BandAmbiguous => ("The interval reaches over a band limit.", "区间跨越分级界限。"),
        Tag::Arrhythmia => ("The beats differ in length.", "心动周期长短不一。"),
        Tag::DriftAlarm => ("Recent studies differ from the calibration.", "近期检查与校准有差异。"),
        Tag::StainFallback => ("A reference stain was assumed.", "采用了参考染色。"),
        Tag::FormatUncertain => {
            ("The model was undecided whether to give a number.", "模型对是否给出数值犹豫不决。")
        }
    }
}

/// The number within its doubt, or that there is none and why.
fn answer(report: &ReportIssued) -> Markup {
    html! {
        @if let Some(code) = &report.abstention {
            div.answer.abstains {
                p.word { "No judgement " span lang="zh" { "不作判断" } }
                p.code { (code) }
            }
        } @else if let Some(ef) = &report.ef {
            (ejection_fraction(ef, report.calibration.as_ref()))
        }
    }
}

fn ejection_fraction(ef: &EfEstimate, calibration: Option<&CalibrationUsed>) -> Markup {
    html! {
        div.answer {
            p.subject { "Left ventricular ejection fraction " span lang="zh" { "左心室射血分数" } }
            @match ef.interval {
                Some([low, high]) => p.interval {
                    (percent(low)) "–" (percent(high)) " %"
                    small {
                        " " (percent(100.0 * (1.0 - calibration.map_or(0.1, |set| set.alpha)))) " % interval "
                        span lang="zh" { "区间" }
                    }
                },
                None => p.interval.missing {
                    "No interval " span lang="zh" { "无区间" }
                    small { " without calibration " span lang="zh" { "未校准" } }
                },
            }
            (scale(ef))
            p.point {
                span.mark.model { "●" } " Model " span lang="zh" { "模型" } " " b { (percent(ef.percent)) " %" }
                @if let Some(geometric) = ef.geometric_percent {
                    " " span.mark.contours { "◆" } " Contours " span lang="zh" { "轮廓" } " " b { (percent(geometric)) " %" }
                }
            }
            @if let Some(set) = calibration {
                p.note {
                    "Calibration set 校准集 " b { (set.id) } " · group " (set.group) " · " (set.studies) " studies"
                    @if set.synthetic { " · " span.badge.phantom { "PHANTOM" } }
                    " · " span.mono { (set.digest) }
                }
            }
        }
    }
}

/// Both texts on their watermark. The last line stands out.
fn texts(en: &str, zh: &str) -> Markup {
    let article = |text: &str, lang: &str| {
        let lines: Vec<&str> = text.lines().collect();
        html! {
            article.draft lang=(lang) {
                @for (index, line) in lines.iter().enumerate() {
                    @if index + 1 == lines.len() { p.last { (line) } } @else { p { (line) } }
                }
            }
        }
    };
    html! { div.languages { (article(en, "en")) (article(zh, "zh")) } }
}

fn pictures(clips: &[Clip]) -> Markup {
    html! {
        div.pictures {
            @for clip in clips { @for keyframe in &clip.keyframes {
                (picture(clip, keyframe, &keyframe.image.sha256.to_string(), keyframe.image.bytes, ""))
                @if let Some(normalised) = &keyframe.normalised {
                    (picture(clip, keyframe, &normalised.sha256.to_string(), normalised.bytes, " · stain normalised 染色归一"))
                }
            } }
        }
    }
}

fn picture(clip: &Clip, keyframe: &Keyframe, sha256: &str, bytes: u64, note: &str) -> Markup {
    let kind = name_of(keyframe.kind);
    html! {
        figure {
            div.overlaid {
                img src={ "/pictures/" (sha256) "/" (bytes) } alt={ (kind) " frame " (keyframe.frame.0) } loading="lazy";
                span.overlay.kind { (phase(keyframe.kind)) }
                @if let Some(view) = clip.view { span.overlay.view { (name_of(view)) } }
                span.overlay.confidence { (format!("{:.0} %", keyframe.confidence * 100.0)) }
            }
            figcaption {
                (kind) " · frame " (keyframe.frame.0)
                @if keyframe.kind != KeyframeKind::Tile { " · beat " (keyframe.beat) }
                @if let Some(ms) = keyframe.time_ms { " · " (format!("{ms:.0} ms")) }
                @if let Some([x, y, width, height]) = keyframe.bbox { " · " (width) "×" (height) " px at " (x) ", " (y) }
                " · by " (name_of(keyframe.source).replace('_', " "))
                @if let Some(geometry) = clip.geometry.as_ref().filter(|_| keyframe.kind == KeyframeKind::ED) {
                    " · contours " (percent(geometry.ef_percent)) " %"
                }
                (note)
                @for flag in &clip.flags { " " span.badge.caution { (flag) } }
            }
        }
    }
}

fn phase(kind: KeyframeKind) -> &'static str {
    match kind {
        KeyframeKind::ED => "ED 舒张末",
        KeyframeKind::ES => "ES 收缩末",
        KeyframeKind::Tile => "tile 图块",
    }
}

fn provenance(report: &ReportIssued) -> Markup {
    let system = |coding: &Coding| match coding.system {
        CodeSystem::Loinc => "LOINC",
        CodeSystem::Snomed => "SNOMED CT",
        CodeSystem::Dicom => "DICOM",
    };
    html! {
        dl.provenance {
            dt { "Model" } dd { (report.model.name) " · " (report.model.dtype) " · " (report.model.device) " · " span.mono { (report.model.digest) } }
            dt { "Inference" } dd.mono { (report.inference_fingerprint) }
            dt { "Run" } dd.mono { (report.run_fingerprint) }
            @if !report.codes.is_empty() {
                dt { "Codes" }
                dd { @for coding in &report.codes { span.coding { (system(coding)) " " (coding.code) " " small { (coding.display) } } " " } }
            }
        }
    }
}

/// Written with the texts this build carries: a rejection is stored as reasons, not as a text.
static WRITER: LazyLock<ReportWriter> = LazyLock::new(ReportWriter::built_in);

/// The rejection of the study in `row`: its text with what to acquire again, and what was measured.
pub(super) fn rejection(json: &Value, row: Option<&StudyRow>) -> Markup {
    let Ok(rejection) = serde_json::from_value::<Rejection>(json.clone()) else {
        return html! { p.warn { "The stored rejection is of a version this build cannot show." } };
    };
    let domain = row.and_then(|row| row.domain.clone()).map(Value::String);
    let domain = domain.and_then(|domain| serde_json::from_value(domain).ok()).unwrap_or(Domain::Unknown);
    let text = WRITER.rejected(domain, row.and_then(|row| row.synthetic).unwrap_or_default(), &rejection);
    html! {
        section.report {
            h2 { "Not fit to be read " small { "图像不合格" } }
            p.marks {
                span.badge.certainty.bad { "REJECTED" } " "
                @for code in codes(&rejection) { span.badge.rejected { (code) } " " }
            }
            (texts(&text.en, &text.zh))
            div.scroll { table {
                thead { tr { th { "Instance" } th { "Check" } th.number { "Value" } th.number { "Threshold" } th { "Verdict" } } }
                tbody { @for instance in &rejection.instances { @for check in &instance.checks { tr {
                    td.mono { (instance.instance_uid) } td { (check.name) }
                    td.number { @if let Some(value) = check.value { (format!("{value:.3} {}", check.unit)) } @else { "–" } }
                    td.number { (format!("{:.3}", check.threshold)) } td { (format!("{:?}", check.verdict).to_lowercase()) }
                } } } }
            } }
        }
    }
}

/// Each reason's code once.
fn codes(rejection: &Rejection) -> Vec<&ReasonCode> {
    let mut codes: Vec<&ReasonCode> = Vec::new();
    for reason in &rejection.reasons {
        if !codes.contains(&&reason.code) {
            codes.push(&reason.code);
        }
    }
    codes
}
