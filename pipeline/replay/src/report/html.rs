//! The report as one self-contained page: no script, no request, nothing from elsewhere. It prints on A4.
//!
//! Order: the verdict with its reasons and what to do, what was compared, the noise floor, every measure, the plots, the
//! studies that differ, what had no pair, how to read it.

mod studies;
mod tables;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use schemas::{Bilingual, BlobRef, Digest};
use sha2::Digest as _;

pub use super::plots::PlotError;
use super::{FOR_REFERENCE_ONLY, Report, plots, words};
use crate::verdict::{Outcome, Verdict};

const STYLE: &str = include_str!("html/report.css");

/// Languages of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Simplified Chinese.
    Chinese,
    /// Both, with a switch that needs no script.
    Both,
}

/// Where pictures come from. One that is missing is said to be missing.
pub trait Pictures {
    /// The bytes of a masked picture, PNG.
    fn png(&mut self, image: &BlobRef) -> Option<Vec<u8>>;
}

/// No pictures at hand.
impl Pictures for () {
    fn png(&mut self, _: &BlobRef) -> Option<Vec<u8>> {
        None
    }
}

impl Pictures for BTreeMap<Digest, Vec<u8>> {
    fn png(&mut self, image: &BlobRef) -> Option<Vec<u8>> {
        self.get(&image.sha256).cloned()
    }
}

/// How much a page may hold. What is left out is counted on the page; the JSON form has all studies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Studies shown in full.
    pub studies: usize,
    /// Pictures in all.
    pub pictures: usize,
    /// Pictures of one side of a study.
    pub pictures_a_side: usize,
    /// Bytes of one picture.
    pub picture_bytes: usize,
    /// Rows of a list of studies.
    pub listed: usize,
}

impl Limits {
    /// A page that a browser opens at once and an archive takes: at most about 40 MiB.
    pub const PAGE: Self =
        Self { studies: 200, pictures: 120, pictures_a_side: 4, picture_bytes: 256 * 1024, listed: 500 };
}

/// The policy under which a server gives out a page of this module: its own style, embedded pictures, nothing else. The
/// page holds it too.
pub fn content_security_policy() -> String {
    let hash = STANDARD.encode(sha2::Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
}

/// Draws the page.
///
/// # Errors
/// A plot that cannot be drawn.
pub fn page(
    report: &Report,
    pictures: &mut dyn Pictures,
    language: Language,
    limits: Limits,
) -> Result<String, PlotError> {
    let say = Say(language);
    let mut album = Album { pictures, left: limits.pictures, limits };
    let title = format!("replay {}: {}", report.run, words::verdict(report.verdict).en);
    let root = if language == Language::Chinese { "zh-CN" } else { "en" };
    let content = html! {
        (DOCTYPE)
        html lang=(root) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(content_security_policy());
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    span.brand { "prescreen" }
                    span { (say.t("Replay", "回放")) " " span.mono { (report.run) } }
                    strong { (FOR_REFERENCE_ONLY) }
                    @if language == Language::Both { (switch()) }
                }
                main {
                    (summary(report, say))
                    (tables::compared(report, say))
                    (tables::noise(report, say))
                    (tables::measures(report, say))
                    (drawings(report, say)?)
                    (tables::transitions(report, say))
                    (studies::discordant(report, say, &mut album))
                    (studies::text_only(report, say, limits))
                    (studies::unpaired(report, say, limits))
                    (tables::method(report, say))
                }
                footer {
                    p { strong { (FOR_REFERENCE_ONLY) } }
                    p.stacked { (say.t(
                        "AI-assisted pre-screening results, for reference only; they require review and confirmation by a licensed physician before use. Not a medical device.",
                        "本结果由人工智能辅助生成,仅供参考,须经执业医师复核确认后方可生效。非医疗器械。",
                    )) }
                }
            }
        }
    };
    Ok(content.into_string())
}

/// Says a thing in the page's languages.
#[derive(Debug, Clone, Copy)]
struct Say(Language);

impl Say {
    fn t(self, en: &str, zh: &str) -> Markup {
        match self.0 {
            Language::English => html! { (en) },
            Language::Chinese => html! { (zh) },
            // The same in both needs saying once.
            Language::Both if en == zh => html! { (en) },
            Language::Both => html! { span lang="en" { (en) } " " span lang="zh-CN" { (zh) } },
        }
    }

    fn both(self, words: &Bilingual) -> Markup {
        self.t(&words.en, &words.zh)
    }

    fn english(self) -> bool {
        self.0 != Language::Chinese
    }

    fn chinese(self) -> bool {
        self.0 != Language::English
    }
}

fn switch() -> Markup {
    html! {
        span.languages {
            label { input type="radio" name="language" id="language-zh"; " 中文" }
            label { input type="radio" name="language" id="language-en"; " English" }
            label { input type="radio" name="language" id="language-both" checked; " 中 + En" }
        }
    }
}

/// Pictures as data URLs, until there are enough.
struct Album<'a> {
    pictures: &'a mut dyn Pictures,
    left: usize,
    limits: Limits,
}

/// Why a picture is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoPicture {
    Missing,
    Damaged,
    TooLarge,
    Enough,
}

impl Album<'_> {
    fn url(&mut self, image: &BlobRef) -> Result<String, NoPicture> {
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
        if self.left == 0 {
            return Err(NoPicture::Enough);
        }
        if image.bytes > self.limits.picture_bytes as u64 {
            return Err(NoPicture::TooLarge);
        }
        let bytes = self.pictures.png(image).ok_or(NoPicture::Missing)?;
        if bytes.len() > self.limits.picture_bytes {
            return Err(NoPicture::TooLarge);
        }
        // What is shown is what was read, or nothing.
        if !bytes.starts_with(PNG) || Digest::of(&bytes) != image.sha256 {
            return Err(NoPicture::Damaged);
        }
        self.left -= 1;
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
    }
}

fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "good",
        Verdict::Regression => "bad",
        Verdict::Inconclusive => "fair",
    }
}

fn outcome_tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Regressed => "bad",
        Outcome::Noisy | Outcome::Unclear | Outcome::TooFew => "fair",
        Outcome::Improved | Outcome::Within => "good",
        Outcome::Shown | Outcome::Empty => "none",
    }
}

fn badge(outcome: Outcome, say: Say) -> Markup {
    html! { span class=(format!("badge stacked {}", outcome_tone(outcome))) { (say.both(&words::outcome(outcome))) } }
}

fn summary(report: &Report, say: Say) -> Markup {
    let judged = report
        .measures
        .iter()
        .filter(|measure| measure.outcome != Outcome::Shown && measure.pairs > 0)
        .count();
    let beyond = report.measures.iter().filter(|measure| measure.outcome == Outcome::Regressed).count();
    let requests = |used: Option<crate::result::ModelUse>| {
        used.map_or_else(|| "–".to_owned(), |used| used.requests.to_string())
    };
    let tiles = [
        (report.pairing.studies.to_string(), "paired studies", "配对检查"),
        (report.discordant.len().to_string(), "studies that differ", "不一致检查"),
        (format!("{beyond} / {judged}"), "measures beyond their margin", "超出界值的指标"),
        (report.pairing.unpaired.len().to_string(), "rows without a pair", "未配对行"),
        (report.memo_hits.to_string(), "memo hits (must be 0)", "缓存命中(须为 0)"),
        (
            format!("{} → {}", requests(report.resources.baseline), requests(report.resources.candidate)),
            "model requests",
            "模型请求数",
        ),
    ];
    html! {
        h1 { (say.t("Replay", "回放")) " " (report.run) }
        section class=(format!("answer {}", tone(report.verdict))) {
            div.word { (say.both(&words::verdict(report.verdict))) }
            p.stacked { (say.both(&words::meaning(report.verdict))) }
            @if !report.reasons.is_empty() {
                h3 { (say.t("Why", "原因")) }
                ul {
                    @for reason in &report.reasons { li.stacked { (say.both(&words::reason(report, reason))) } }
                }
            }
            h3 { (say.t("What to do", "下一步")) }
            p.stacked { (say.both(&words::advice(report))) }
        }
        div.tiles {
            @for (number, en, zh) in &tiles { div.tile { strong { (number) } span.note { (say.t(en, zh)) } } }
        }
    }
}

fn drawings(report: &Report, say: Say) -> Result<Markup, PlotError> {
    let mut figures: Vec<(String, Bilingual)> = Vec::new();
    for id in ["reporting.lvef", "keyframes.geometric_ef"] {
        let (Some(measure), Some(points)) = (report.measure(id), report.points.get(id)) else { continue };
        if let Some(svg) = plots::agreement(measure, points)? {
            let name = words::measure(&measure.what);
            let caption = words::both(
                format!(
                    "{}: agreement (Bland-Altman). Green: the margin of the bias; dashed: a reader's step.",
                    name.en
                ),
                format!("{}:一致性(Bland-Altman)。绿色为偏倚界值,虚线为阅读者步长。", name.zh),
            );
            figures.push((svg, caption));
        }
    }
    if let Some(risk) = &report.risk {
        let caption = if risk.truth {
            words::both(
                "Error of the studies kept, the least doubted first (risk and coverage).",
                "按不确定性由低到高保留检查时的误差(风险–覆盖率)。",
            )
        } else {
            words::both(
                "Risk and coverage without truths: distance of both sides in the studies kept, the least doubted first.",
                "无真值的风险–覆盖率:按不确定性由低到高保留检查时两侧的差值。",
            )
        };
        figures.push((plots::risk(risk)?, caption));
    }
    if let Some(points) = report.points.get("total.seconds") {
        let caption =
            words::both("Share of studies done within so many seconds.", "在给定时间内完成的检查比例。");
        figures.push((plots::latency(points)?, caption));
    }
    Ok(html! {
        @if !figures.is_empty() {
            h2 { (say.t("Plots", "图")) }
            div.plots {
                @for (svg, caption) in &figures {
                    figure { (PreEscaped(svg)) figcaption.stacked { (say.both(caption)) } }
                }
            }
        }
    })
}
