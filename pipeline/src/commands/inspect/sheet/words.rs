//! Words and numbers of the sheet, in both languages. Nothing is told by colour alone.

use maud::{Markup, Render, html};
use schemas::{CheckVerdict, Domain, KeyframeKind, KeyframeSource, Verdict};

/// A verdict as it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    /// The class that gives its colour.
    pub(super) class: &'static str,
    sign: &'static str,
    en: &'static str,
    zh: &'static str,
}

impl Render for Word {
    fn render(&self) -> Markup {
        html! { span.sign { (self.sign) } " " (self.en) " " span lang="zh" { (self.zh) } }
    }
}

pub(super) fn of_verdict(verdict: Verdict) -> Word {
    match verdict {
        Verdict::Accept => Word { class: "good", sign: "✓", en: "accept", zh: "合格" },
        Verdict::Caution => Word { class: "fair", sign: "!", en: "caution", zh: "合格，但需注意" },
        Verdict::Reject => Word { class: "bad", sign: "✗", en: "reject", zh: "不合格" },
    }
}

pub(super) fn of_check(verdict: CheckVerdict) -> Word {
    match verdict {
        CheckVerdict::Pass => Word { class: "good", sign: "✓", en: "pass", zh: "通过" },
        CheckVerdict::Warn => Word { class: "fair", sign: "!", en: "warn", zh: "注意" },
        CheckVerdict::Reject => Word { class: "bad", sign: "✗", en: "reject", zh: "不通过" },
    }
}

pub(super) fn domain(domain: Domain) -> &'static str {
    match domain {
        Domain::Echo => "Echocardiography 超声心动图",
        Domain::Pathology => "H&E pathology 病理 H&E",
        Domain::Unknown => "Unknown kind of study 检查类型未知",
    }
}

pub(super) fn kind(kind: KeyframeKind) -> &'static str {
    match kind {
        KeyframeKind::ED => "end-diastole 舒张末期",
        KeyframeKind::ES => "end-systole 收缩末期",
        KeyframeKind::Tile => "tile 图块",
    }
}

pub(super) fn source(source: KeyframeSource) -> &'static str {
    match source {
        KeyframeSource::RWave => "R wave of the header 头文件 R 波",
        KeyframeSource::EcgStrip => "R wave of the drawn ECG 图中心电图 R 波",
        KeyframeSource::AreaCurve => "area curve 面积曲线",
        KeyframeSource::Extremes => "extremes of the clip, no cycle trusted 极值（周期不可信）",
        KeyframeSource::TileScore => "score 评分",
        KeyframeSource::WholeImage => "the whole picture 整图",
    }
}

/// A check's name in Chinese; none for one this page has not heard of.
pub(super) fn check(name: &str) -> Option<&'static str> {
    Some(match name {
        "blur" => "模糊",
        "laplacian_variance" => "锐度",
        "burned_in_text" => "烧录文字",
        "colour" => "彩色多普勒",
        "contrast" => "对比度",
        "decodable" => "可解码",
        "drift" => "漂移",
        "respiratory_drift" => "呼吸漂移",
        "dropout" => "回声失落",
        "duration" => "心动周期数",
        "fan" => "扇区",
        "frame_rate" => "帧率",
        "frames" => "帧数",
        "saturation" => "饱和",
        "blood_level" => "血池灰度",
        "black" => "黑像素",
        "tissue_level" => "组织灰度",
        "header" => "文件头",
        "resolution" => "分辨率",
        "motion" => "运动",
        "duplicate_frames" => "重复帧",
        "chambers" => "心腔",
        "axis_tilt" => "长轴倾斜",
        "mitral_annulus" => "二尖瓣环",
        "rv_lv_ratio" => "右/左室比",
        "elongation" => "左室长宽比",
        "apex_depth" => "心尖深度",
        "depth" => "位深",
        "tissue" => "组织",
        "focus" => "对焦",
        "pen" => "彩笔标记",
        "black_pen" => "黑笔标记",
        "fold" => "折叠",
        "density" => "染色浓度",
        "stain" => "染色可信度",
        _ => return None,
    })
}

/// A UCUM unit for people.
pub(super) fn unit(unit: &str) -> &str {
    match unit {
        "1" => "ratio 比值",
        "{grey}2" => "grey²",
        unit => unit.strip_prefix('{').and_then(|unit| unit.strip_suffix('}')).unwrap_or(unit),
    }
}

/// Three decimals of what is small, fewer of what is large.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
