//! The studies that differ, side by side; those whose text alone does; rows without a pair.

use std::collections::BTreeMap;

use maud::{Markup, html};
use schemas::{Bilingual, KeyframeKind};

use super::{Album, Limits, NoPicture, Say};
use crate::{
    diff::answer::{Picture, Summary},
    report::{
        Discordant, Report,
        token_diff::{Marked, Stretch, mark},
        words,
    },
};

pub(super) fn discordant(report: &Report, say: Say, album: &mut Album<'_>) -> Markup {
    let (limit, total) = (album.limits.studies, report.discordant.len());
    html! {
        h2 { (say.t("Studies that differ, the gravest first", "不一致检查(最严重者在前)")) small { " " (total) } }
        @if total == 0 { p { (say.t("None.", "无。")) } }
        @for study in report.discordant.iter().take(limit) { (one(report, study, say, album)) }
        @if total > limit {
            p.stacked { (say.t(
                &format!("{} more are in the JSON form.", total - limit),
                &format!("另有 {} 例见 JSON 格式。", total - limit),
            )) }
        }
    }
}

fn one(report: &Report, study: &Discordant, say: Say, album: &mut Album<'_>) -> Markup {
    let name = |id: &String| {
        report.measure(id).map_or_else(|| words::both(id, id), |found| words::measure(&found.what))
    };
    html! {
        section.study {
            h3.mono { (study.study.study_uid) @if study.study.revision.0 > 1 { " · r" (study.study.revision) } }
            p { @for id in &study.differs { span.badge.tag { (say.both(&name(id))) } " " } }
            (numbers(study, say))
            (texts(study, say))
            (pictures(study, say, album))
        }
    }
}

/// Both summaries, what differs marked.
fn numbers(study: &Discordant, say: Say) -> Markup {
    let (a, b) = (&study.baseline, &study.candidate);
    let list = |items: &[String]| items.join(", ");
    let point = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1} %"));
    let interval =
        |of: &Summary| of.interval.map_or_else(String::new, |[low, high]| format!("{low:.1} – {high:.1} %"));
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let rows = [
        (say.t("Verdict", "质量结论"), a.verdict.clone(), b.verdict.clone()),
        (say.t("Reasons", "原因"), list(&a.codes), list(&b.codes)),
        (say.t("Certainty", "确定度"), word(&a.certainty), word(&b.certainty)),
        (say.t("Tags", "标签"), list(&a.tags), list(&b.tags)),
        (say.t("LVEF", "LVEF"), point(a.lvef_percent), point(b.lvef_percent)),
        (say.t("Interval", "区间"), interval(a), interval(b)),
        (say.t("From contours", "轮廓法"), point(a.geometric_percent), point(b.geometric_percent)),
        (say.t("View", "切面"), word(&a.view), word(&b.view)),
        (say.t("Quality", "图像质量"), word(&a.quality), word(&b.quality)),
        (say.t("Findings", "所见"), list(&a.findings), list(&b.findings)),
    ];
    html! {
        div.scroll { table {
            thead { tr { th {} th { (say.t("Baseline", "基线")) } th { (say.t("Candidate", "候选")) } } }
            tbody { @for (name, before, after) in rows {
                @let same = before == after;
                @if !(before.is_empty() && after.is_empty()) {
                    tr class=(if same { "quiet" } else { "" }) {
                        th { (name) }
                        td.was[!same] { (before) }
                        td.changed[!same] { (after) }
                    }
                }
            } }
        } }
        @if let Some(gap) = study.lvef_difference {
            @if gap != 0.0 { p.note { "ΔLVEF " (words::signed(gap)) } }
        }
    }
}

fn texts(study: &Discordant, say: Say) -> Markup {
    let (Some(a), Some(b)) = (&study.text.baseline, &study.text.candidate) else {
        return html! {
            @if let Some(only) = study.text.baseline.as_ref().or(study.text.candidate.as_ref()) {
                div.side {
                    h4 { @if study.text.baseline.is_some() { (say.t("Report, baseline only", "报告(仅基线)")) } @else { (say.t("Report, candidate only", "报告(仅候选)")) } }
                    @for (language, text) in spoken(only, say) { div.text lang=(language) { (text) } }
                }
            }
        };
    };
    let marked: Vec<(&str, Marked)> = spoken(a, say)
        .into_iter()
        .zip(spoken(b, say))
        .map(|((language, first), (_, second))| (language, mark(first, second)))
        .collect();
    html! {
        @if a == b { p.note { (say.t("Both texts are the same.", "两份文字相同。")) } }
        div.sides {
            div.side {
                h4 { (say.t("Report, baseline", "报告(基线)")) }
                @for (language, marked) in &marked { div.text lang=(language) { @for part in &marked.first { (removed(part)) } } }
            }
            div.side {
                h4 { (say.t("Report, candidate", "报告(候选)")) }
                @for (language, marked) in &marked { div.text lang=(language) { @for part in &marked.second { (added(part)) } } }
            }
        }
        @if marked.iter().any(|(_, marked)| !marked.compared) {
            p.note { (say.t("The texts are too long to be marked.", "文字过长,未标记差异。")) }
        }
    }
}

fn spoken(text: &Bilingual, say: Say) -> Vec<(&'static str, &str)> {
    let english = say.english().then_some(("en", text.en.as_str()));
    let chinese = say.chinese().then_some(("zh-CN", text.zh.as_str()));
    english.into_iter().chain(chinese).collect()
}

fn removed(part: &Stretch) -> Markup {
    html! { @if part.changed { del { (part.text) } } @else { (part.text) } }
}

fn added(part: &Stretch) -> Markup {
    html! { @if part.changed { ins { (part.text) } } @else { (part.text) } }
}

fn pictures(study: &Discordant, say: Say, album: &mut Album<'_>) -> Markup {
    let (a, b) = (&study.baseline_pictures, &study.candidate_pictures);
    let name = |en: &str, zh: &str| say.t(en, zh);
    html! {
        @if !a.is_empty() && !b.is_empty() && !study.frames_differ {
            div.side {
                h4 { (name("Keyframes, the same on both sides", "关键帧(两侧相同)")) }
                (row(a, say, album))
            }
        } @else if !a.is_empty() || !b.is_empty() {
            div.sides {
                div.side { h4 { (name("Keyframes, baseline", "关键帧(基线)")) } (row(a, say, album)) }
                div.side { h4 { (name("Keyframes, candidate", "关键帧(候选)")) } (row(b, say, album)) }
            }
        }
    }
}

fn row(pictures: &[Picture], say: Say, album: &mut Album<'_>) -> Markup {
    let most = album.limits.pictures_a_side;
    html! {
        div.pictures { @for picture in pictures.iter().take(most) { (figure(picture, say, album)) } }
        @if pictures.len() > most { p.note { "+ " (pictures.len() - most) } }
        @if pictures.is_empty() { p.note { (say.t("none", "无")) } }
    }
}

fn figure(picture: &Picture, say: Say, album: &mut Album<'_>) -> Markup {
    let kind = match picture.kind {
        KeyframeKind::ED => "ED",
        KeyframeKind::ES => "ES",
        KeyframeKind::Tile => "tile",
    };
    let caption = format!("{kind} · {}", picture.frame);
    html! {
        figure {
            @match album.url(&picture.image) {
                Ok(url) => img src=(url) alt=(caption);,
                Err(why) => div.dark { (missing(why, say)) },
            }
            figcaption title=(picture.instance_uid) { (caption) " · " (say.t("beat", "心搏")) " " (picture.beat) }
        }
    }
}

fn missing(why: NoPicture, say: Say) -> Markup {
    match why {
        NoPicture::Missing => say.t("not in the store", "存储中没有"),
        NoPicture::Damaged => say.t("not the picture that was read", "与读取时的图像不符"),
        NoPicture::TooLarge => say.t("too large for this page", "图像过大"),
        NoPicture::Enough => say.t("this page holds no more pictures", "本页图像数量已满"),
    }
}

pub(super) fn text_only(report: &Report, say: Say, limits: Limits) -> Markup {
    html! {
        @if !report.text_only.is_empty() {
            h2 { (say.t("Studies whose text alone differs", "仅文字不同的检查")) small { " " (report.text_only.len()) } }
            ul.mono { @for study in report.text_only.iter().take(limits.listed) { li { (study.study_uid) } } }
            @if report.text_only.len() > limits.listed { p.note { "+ " (report.text_only.len() - limits.listed) } }
        }
    }
}

pub(super) fn unpaired(report: &Report, say: Say, limits: Limits) -> Markup {
    let rows = &report.pairing.unpaired;
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    for row in rows {
        *counts.entry((row.missing, &row.why, &row.stage)).or_default() += 1;
    }
    html! {
        h2 { (say.t("Rows without a pair", "未配对行")) small { " " (rows.len()) } }
        @if rows.is_empty() { p { (say.t("None: every row has its like.", "无:每行均有配对。")) } } @else {
            div.scroll { table {
                thead { tr { th { (say.t("Stage", "阶段")) } th { (say.t("Missing on", "缺失侧")) } th { (say.t("Because", "原因")) } th.number { (say.t("Rows", "行数")) } } }
                tbody { @for ((missing, why, stage), count) in &counts {
                    tr { td { (say.both(&words::subject(stage))) } td { (say.both(&words::side(*missing))) } td { (say.both(&words::absence(why))) } td.number { (count) } }
                } }
            } }
            details {
                summary { (say.t("Which", "明细")) }
                ul.mono { @for row in rows.iter().take(limits.listed) {
                    li { (row.study.study_uid) " · " (row.stage) " · " (say.both(&words::side(row.missing))) " · " (say.both(&words::absence(&row.why))) }
                } }
                @if rows.len() > limits.listed { p.note { "+ " (rows.len() - limits.listed) } }
            }
        }
    }
}
