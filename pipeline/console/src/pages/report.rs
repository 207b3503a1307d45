//! A report or rejection as issued, for reading.

use maud::{Markup, html};
use schemas::{Rejection, ReportIssued};
use serde_json::Value;

/// The report, both languages, and its keyframes.
pub(super) fn report(json: &Value) -> Markup {
    let Ok(report) = serde_json::from_value::<ReportIssued>(json.clone()) else {
        return html! { p.warn { "The stored report is of a version this build cannot show." } };
    };
    let tags: Vec<String> = report
        .tags
        .iter()
        .filter_map(|tag| serde_json::to_value(tag).ok()?.as_str().map(str::to_owned))
        .collect();
    html! {
        h2 { "Preliminary report " small { "初步报告 · AI draft" } }
        p { @for tag in &tags { span.badge.tag { (tag) } " " } @for code in &report.cautions { span.badge.caution { (code) } " " } }
        div.languages {
            article lang="en" { @for line in report.text.en.lines() { p { (line) } } }
            article lang="zh" { @for line in report.text.zh.lines() { p { (line) } } }
        }
        div.pictures {
            @for clip in &report.clips { @for keyframe in &clip.keyframes {
                figure {
                    img src={ "/pictures/" (keyframe.image.sha256) "/" (keyframe.image.bytes) } alt={ (format!("{:?}", keyframe.kind)) " frame " (keyframe.frame.0) } loading="lazy";
                    figcaption {
                        (format!("{:?}", keyframe.kind)) " · frame " (keyframe.frame.0)
                        @if let Some(view) = clip.view { " · " (format!("{view:?}")) }
                        @if let Some(ms) = keyframe.time_ms { " · " (format!("{ms:.0} ms")) }
                    }
                }
            } }
        }
        p.note { "Model " (report.model.name) " · fingerprint " span.mono { (report.run_fingerprint) } }
    }
}

/// The rejection with what to re-acquire.
pub(super) fn rejection(json: &Value) -> Markup {
    let Ok(rejection) = serde_json::from_value::<Rejection>(json.clone()) else {
        return html! { p.warn { "The stored rejection is of a version this build cannot show." } };
    };
    html! {
        h2 { "Not fit to be read " small { "不合格原因" } }
        ul { @for reason in &rejection.reasons {
            li { span.badge.rejected { (reason.code) } " " span lang="en" { (reason.advice.en) } " " span lang="zh" { (reason.advice.zh) } }
        } }
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
