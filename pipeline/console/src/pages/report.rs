//! A report or rejection as issued, for reading and for print.
//!
//! The interval stands before the value, so that the eye meets the doubt first; every text of the machine lies on a
//! watermark until a physician has moved the report on. The machine's text stands in both languages, as it was issued.

mod scale;

use std::sync::LazyLock;

use maud::{Markup, html};
use reporting::ReportWriter;
use schemas::{
    BlobRef, CalibrationUsed, Certainty, CheckVerdict, Clip, CodeSystem, Coding, Domain, EfEstimate,
    Keyframe, KeyframeKind, ReasonCode, Rejection, ReportIssued, Tag,
};
use serde::Serialize;
use serde_json::Value;

use super::{cell, optional};
use crate::{
    reader::Language,
    site::StudyRow,
    words::{CHINESE, Words},
};
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

/// The report and its keyframes.
pub(super) fn report(json: &Value, language: Language) -> Markup {
    let words = language.words();
    let Ok(report) = serde_json::from_value::<ReportIssued>(json.clone()) else {
        return html! { p.warn { (words.other_version) } };
    };
    html! {
        section.report {
            h2 { (words.preliminary_report) " " small { (words.ai_draft) } }
            (marks(&report, language))
            (answer(&report, words))
            (texts(&report.text.en, &report.text.zh, language))
            (pictures(&report.clips, words))
            (provenance(&report, words))
        }
    }
}

fn marks(report: &ReportIssued, language: Language) -> Markup {
    html! {
        p.marks {
            span class={ "badge certainty " (tone(report.certainty)) } { (name_of(report.certainty)) } " "
            @for tag in &report.tags {
                @let (en, zh) = meaning(*tag);
                span.badge.tag title=(if language == Language::Chinese { zh } else { en }) { (name_of(tag)) } " "
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
fn answer(report: &ReportIssued, words: &Words) -> Markup {
    html! {
        @if let Some(code) = &report.abstention {
            div.answer.abstains {
                p.word { (words.no_judgement) }
                p.code { (code) }
            }
        } @else if let Some(ef) = &report.ef {
            (ejection_fraction(ef, report.calibration.as_ref(), words))
        }
    }
}

fn ejection_fraction(ef: &EfEstimate, calibration: Option<&CalibrationUsed>, words: &Words) -> Markup {
    html! {
        div.answer {
            p.subject { (words.ejection_fraction) }
            @match ef.interval {
                Some([low, high]) => p.interval {
                    (percent(low)) "–" (percent(high)) " %"
                    small { " " (percent(100.0 * (1.0 - calibration.map_or(0.1, |set| set.alpha)))) " % " (words.interval) }
                },
                None => p.interval.missing {
                    (words.no_interval) small { " " (words.without_calibration) }
                },
            }
            (scale(ef, words))
            p.point {
                span.mark.model { "●" } " " (words.model) " " b { (percent(ef.percent)) " %" }
                @if let Some(geometric) = ef.geometric_percent {
                    " " span.mark.contours { "◆" } " " (words.contours) " " b { (percent(geometric)) " %" }
                }
            }
            @if let Some(set) = calibration {
                p.note {
                    (words.calibration_set) " " b { (set.id) } " · " (words.group) " " (set.group) " · " (words.studies) " " (set.studies)
                    @if set.synthetic { " · " span.badge.phantom { "PHANTOM" } }
                    " · " span.mono { (set.digest) }
                }
            }
        }
    }
}

/// Both texts on their watermark, the reader's language first. The last line stands out.
fn texts(en: &str, zh: &str, first: Language) -> Markup {
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
    let (en, zh) = (article(en, "en"), article(zh, CHINESE.language));
    html! {
        div.languages {
            @match first { Language::English => { (en) (zh) } Language::Chinese => { (zh) (en) } }
        }
    }
}

fn pictures(clips: &[Clip], words: &Words) -> Markup {
    html! {
        div.pictures {
            @for clip in clips { @for keyframe in &clip.keyframes {
                (picture(clip, keyframe, &keyframe.image, words))
                @if let Some(normalised) = &keyframe.normalised { (picture(clip, keyframe, normalised, words)) }
            } }
        }
    }
}

/// `image` is the keyframe's own or its normalised one.
fn picture(clip: &Clip, keyframe: &Keyframe, image: &BlobRef, words: &Words) -> Markup {
    let kind = name_of(keyframe.kind);
    html! {
        figure {
            div.overlaid {
                img src={ "/pictures/" (image.sha256) "/" (image.bytes) } alt={ (kind) " " (words.frame) " " (keyframe.frame.0) } loading="lazy";
                span.overlay.kind { (phase(keyframe.kind, words)) }
                @if let Some(view) = clip.view { span.overlay.view { (name_of(view)) } }
                span.overlay.confidence { (format!("{:.0} %", keyframe.confidence * 100.0)) }
            }
            figcaption {
                (kind) " · " (words.frame) " " (keyframe.frame.0)
                @if keyframe.kind != KeyframeKind::Tile { " · " (words.beat) " " (keyframe.beat) }
                @if let Some(ms) = keyframe.time_ms { " · " (format!("{ms:.0} ms")) }
                @if let Some([x, y, width, height]) = keyframe.bbox { " · " (width) "×" (height) " px @ " (x) ", " (y) }
                " · " (words.found_by) " " (name_of(keyframe.source).replace('_', " "))
                @if let Some(geometry) = clip.geometry.as_ref().filter(|_| keyframe.kind == KeyframeKind::ED) {
                    " · " (words.contours) " " (percent(geometry.ef_percent)) " %"
                }
                @if keyframe.normalised.as_ref() == Some(image) { " · " (words.normalised) }
                @for flag in &clip.flags { " " span.badge.caution { (flag) } }
            }
        }
    }
}

fn phase(kind: KeyframeKind, words: &Words) -> &'static str {
    match kind {
        KeyframeKind::ED => words.end_diastole,
        KeyframeKind::ES => words.end_systole,
        KeyframeKind::Tile => words.tile,
    }
}

/// What made the report.
fn provenance(report: &ReportIssued, words: &Words) -> Markup {
    let system = |coding: &Coding| match coding.system {
        CodeSystem::Loinc => "LOINC",
        CodeSystem::Snomed => "SNOMED CT",
        CodeSystem::Dicom => "DICOM",
    };
    html! {
        h3 { (words.versions) }
        dl.provenance {
            dt { (words.model) } dd { (report.model.name) " · " (report.model.dtype) " · " (report.model.device) " · " span.mono { (report.model.digest) } }
            dt { (words.inference_fingerprint) } dd.mono { (report.inference_fingerprint) }
            dt { (words.run_fingerprint) } dd.mono { (report.run_fingerprint) }
            @if !report.codes.is_empty() {
                dt { (words.codes) }
                dd { @for coding in &report.codes { span.coding { (system(coding)) " " (coding.code) " " small { (coding.display) } } " " } }
            }
        }
    }
}

/// Written with the texts this build carries: a rejection is stored as reasons, not as a text.
static WRITER: LazyLock<ReportWriter> = LazyLock::new(ReportWriter::built_in);

/// The rejection of the study in `row`: its text with what to acquire again, and what was measured.
pub(super) fn rejection(json: &Value, row: Option<&StudyRow>, language: Language) -> Markup {
    let words = language.words();
    let Ok(rejection) = serde_json::from_value::<Rejection>(json.clone()) else {
        return html! { p.warn { (words.other_version) } };
    };
    let domain = row.and_then(|row| row.domain.clone()).map(Value::String);
    let domain = domain.and_then(|domain| serde_json::from_value(domain).ok()).unwrap_or(Domain::Unknown);
    let text = WRITER.rejected(domain, row.and_then(|row| row.synthetic).unwrap_or_default(), &rejection);
    html! {
        section.report {
            h2 { (words.unfit) }
            p.marks {
                span.badge.certainty.bad { "REJECTED" } " "
                @for code in codes(&rejection) { span.badge.rejected { (code) } " " }
            }
            (texts(&text.en, &text.zh, language))
            div.scroll { table.stack {
                thead { tr { th { (words.instance) } th { (words.check) } th.number { (words.value) } th.number { (words.threshold) } th { (words.verdict) } } }
                tbody { @for instance in &rejection.instances { @for check in &instance.checks { tr {
                    (cell(words.instance, Some("mono"), instance.instance_uid.to_string()))
                    (cell(words.check, Some("lead"), &check.name))
                    (cell(words.value, Some("number"), optional(check.value.map(|value| format!("{value:.3} {}", check.unit)))))
                    (cell(words.threshold, Some("number"), format!("{:.3}", check.threshold)))
                    (cell(words.verdict, None, passed(check.verdict, words)))
                } } } }
            } }
        }
    }
}

fn passed(verdict: CheckVerdict, words: &Words) -> &'static str {
    match verdict {
        CheckVerdict::Pass => words.pass,
        CheckVerdict::Warn => words.warn,
        CheckVerdict::Reject => words.reject,
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
